#!/usr/bin/env bash
# The interpreter is an oracle for tests: the program, the module that generates code and what goes into
# emitted binaries hold none of it. The examples that the suite builds are built by this very program.
# Once: names in archives, which are the same lists everywhere.
set -u
BUILD=${BUILD:-$PWD/.build} TMP=${TMP:-$(mktemp -d)}
symbols() { nm -g --defined-only "$1" | awk 'NF == 3 {print $3}' | LC_ALL=C sort -u; }
holds() { symbols "$1" | LC_ALL=C comm -12 - "$TMP/interpreter"; }
symbols "$BUILD/interp.a" >"$TMP/interpreter"
if grep -qx interp_run "$TMP/interpreter" && [ "$(holds "$BUILD/tests/emit_test")" = "$(cat "$TMP/interpreter")" ]; then
	echo "ok no_interpreter/is_seen_in_a_test"
else echo "FAIL no_interpreter/is_seen_in_a_test"; fi
for f in trim lib/trim-llvm.so lib/x86_64/runtime.a; do
	found=$(holds "$BUILD/$f")
	if [ -z "$found" ] && [ -s "$BUILD/$f" ]; then echo "ok no_interpreter/$f"
	else echo "$found"; echo "FAIL no_interpreter/$f"; fi
done
