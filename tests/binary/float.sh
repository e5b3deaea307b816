#!/usr/bin/env bash
# The runtime does no arithmetic on tensors but sampling: every floating-point instruction of its
# archives, by object, against the list of what may be there. Single precision, the tensors' own, is
# nowhere.
# Once: the archives of the runtime, which no configuration compiles otherwise.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-$PWD/.build}

# sample and logits: the one place for logits. The others add up and divide results: score the sum of nll of tokens,
# binary_score their mean, binary_bench rates.
allowed=' sample.o logits.o score.o binary_score.o binary_bench.o '
vector=' sample.o logits.o binary_bench.o binary_score.o ' # vectors of doubles; conversions of integers use them

arithmetic() { # arithmetic: lines "OBJECT INSTRUCTION" of llvm-objdump's output
	awk '/file format/ { split($1, part, /[()]/); object = part[2] }
		$2 ~ /^v?(add|sub|mul|div|sqrt|max|min|hadd|hsub|addsub|dp|round|rcp|rsqrt|fn?m(add|sub|addsub)[0-9]*)[ps][sd]$/ ||
		$2 ~ /^f(add|sub|mul|mulx|div|sqrt|abd|n?m(add|sub)|nmul|ml[as]l?|(max|min)(nm)?|addp|(max|min)(nm)?p|cmla|recp[esx]|rsqrt[es])$/ {
			print object, $2, /[ ,]s[0-9]|\.[24]s/ && $2 ~ /^f/ || $2 ~ /s$/ ? "single" : "double" }'
}
for arch in x86_64 aarch64; do
	archive=$BUILD/lib/$arch/runtime.a
	if ! [ -e "$archive" ]; then echo "skip ${arch}_float_instructions: not built (ninja $arch)"; continue; fi
	found=$(/usr/lib/llvm-19/bin/llvm-objdump -d --no-show-raw-insn "$archive" | arithmetic | sort -u)
	bad=
	while read -r object instruction width; do
		[[ "$object $instruction" =~ ^logits\.o\ v?f?max ]] && continue # the greatest logit, as it is
		[[ $allowed == *" $object "* ]] && [ "$width" = double ] &&
			{ [[ $instruction != *pd ]] || [[ $vector == *" $object "* ]]; } || bad+="$object $instruction"$'\n'
	done <<<"$found"
	if [ -z "$bad" ] && [[ $found == *'sample.o '* ]]; then echo "ok ${arch}_float_instructions"
	else echo "$bad"; echo "FAIL ${arch}_float_instructions"; fi
done

# The reader of instructions sees them: a loop over floats, compiled alike.
TMP=${TMP:-$(mktemp -d)}
echo 'void f(float *x, float *y, int n) { for (int i = 0; i < n; i++) x[i] = x[i] * y[i] + y[i]; }' >"$TMP/f.c"
for arch in x86_64 aarch64; do
	clang --target=$arch-linux-musl -O2 -c -o "$TMP/f.o" "$TMP/f.c" && rm -f "$TMP/f.a" &&
		/usr/lib/llvm-19/bin/llvm-ar rcs "$TMP/f.a" "$TMP/f.o" &&
		/usr/lib/llvm-19/bin/llvm-objdump -d --no-show-raw-insn "$TMP/f.a" | arithmetic |
		grep -q '^f\.o .* single$' && echo "ok ${arch}_float_instructions_are_seen" ||
		echo "FAIL ${arch}_float_instructions_are_seen"
done
