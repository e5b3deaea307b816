#!/usr/bin/env bash
# The tree's own rules, read from its #include lines and its file list: who may include whom, where
# the headers of LLVM and libxml2 may stand, names used once, no file above 800 lines, no path of the
# machine it was built on. Each rule is also shown a small tree that breaks it.
# Once: files of the tree.
set -u
cd "$(dirname "$0")/../.." || exit 1

sources() { # sources ROOT: what people wrote, without data
	(cd "$1" && find . \( -name .git -o -name .build -o -name .gpu -o -name out \) -prune -o -type f \
		\( -name '*.[ch]' -o -name '*.S' -o -name '*.cu' -o -name '*.sh' -o -name '*.ninja' \
		-o -name '*.md' -o -name '*.xsd' -o -perm -u+x \) -print | sed 's,^\./,,' | LC_ALL=C sort)
}

# The order. A line: folder, then the folders whose headers its files may include besides its own.
# rules, tests, examples and the program's top (compiler/main.c, compiler/cli) are below.
order='
runtime/base
runtime          runtime/base
cache            runtime/base
compiler/spec    runtime/base runtime
compiler/model   runtime/base runtime compiler/ir
compiler/data    runtime/base runtime
compiler/ir      runtime/base runtime
compiler/emit    runtime/base runtime compiler/ir
compiler/build   runtime/base cache
rules            runtime/base runtime cache compiler/spec compiler/model compiler/data compiler/ir compiler/emit compiler/build
'

include_order() { # include_order ROOT: a line for each include that goes against the order
	local c
	c=$(sources "$1" | grep '\.[ch]$') || return 0
	(cd "$1" && awk -v order="$order" '
	function folder(path,  i, best) { # the longest folder of the order that holds path
		best = ""
		for (i in known)
			if (index(path, i "/") == 1 && length(i) > length(best)) best = i
		if (best == "") { best = path; sub(/\/[^\/]*$/, "", best) }
		return best
	}
	BEGIN {
		n = split(order, line, "\n")
		for (i = 1; i <= n; i++) {
			m = split(line[i], f, " ")
			if (m == 0) continue
			known[f[1]] = 1
			for (j = 1; j <= m; j++) may[f[1], f[j]] = 1
		}
		for (i = 1; i < ARGC; i++)
			if (ARGV[i] ~ /\.h$/) { name = ARGV[i]; sub(/.*\//, "", name); header[name] = ARGV[i] }
	}
	/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
		name = $0; sub(/^[^<"]*[<"]/, "", name); sub(/[>"].*/, "", name)
		system_header = $0 ~ /include[ \t]*</
		here = folder(FILENAME)
		file = FILENAME; sub(/.*\//, "", file)
		at = FILENAME ":" FNR ": "
		if (system_header) {
			if (name ~ /^llvm(-c)?\// && !(here == "compiler/emit" && file ~ /llvm/))
				print at "LLVM header outside compiler/emit/*llvm*"
			if (name ~ /^libxml\// && here != "compiler/spec" && here !~ /^tests/)
				print at "libxml2 header outside compiler/spec"
			if (name ~ /^(cuda|nvrtc|cublas)/)
				print at "CUDA header; the libraries are opened at run time without"
			next
		}
		base = name; sub(/.*\//, "", base)
		if (!(base in header)) { print at "no header \"" name "\" in the tree"; next }
		there = folder(header[base])
		if (here ~ /^(tests|examples)/ || here == "compiler" || here == "compiler/cli") next
		if (!(here in known)) { print at "folder \"" here "\" has no place in the order"; next }
		if (here != there && !((here, there) in may))
			print at here " includes " there " (" base ")"
	}' $c)
}

unique_names() {
	local kind
	for kind in c h; do
		sources "$1" | grep "\.$kind\$" | sed 's,.*/,,' | LC_ALL=C sort | uniq -d
	done
}

long_files() {
	sources "$1" | grep -v '\.md$' | while read -r f; do
		n=$(wc -l <"$1/$f")
		[ "$n" -le 800 ] || echo "$f: $n lines"
	done
}

# Folders that only one machine has. Ours are relative, or begin with /usr, /proc, /sys, /tmp, /etc.
build_paths() {
	sources "$1" | while read -r f; do
		grep -nHE '(^|[^A-Za-z0-9_.$}~])/(root|home|work|mnt|media|Users|nix)/[A-Za-z0-9]' "$1/$f"
	done | sed "s,^$1/,,"
}

# What is built remembers its folder neither: equal sources give equal files.
built_paths() {
	find "${BUILD:-.build}" -maxdepth 2 \( -name '*.a' -o -name '*.so' -o -name '*_test' -o -name trim \) \
		-exec grep -lF "$PWD/" {} +
}

verdict() { # verdict NAME PROBLEMS
	if [ -z "$2" ]; then echo "ok $1"; else printf '%s\nFAIL %s\n' "$2" "$1"; fi
}
verdict includes_follow_the_order "$(include_order .)"
verdict c_file_names_are_unique "$(unique_names .)"
verdict no_file_above_800_lines "$(long_files .)"
verdict no_path_of_one_machine "$(build_paths .)"
verdict no_path_in_what_is_built "$(built_paths)"

# The same rules on a tree that breaks each of them.
bad=$(mktemp -d) || exit 1
trap 'rm -rf "$bad"' EXIT
put() { mkdir -p "$bad/$(dirname "$1")"; printf "$2\n" >"$bad/$1"; }
put runtime/base/low.h ''
put runtime/base/low.c '#include "high.h"'
put runtime/high.h '#include "low.h"'
put runtime/gpu/deep.c '#include "low.h"\n#include "high.h"\n#include "graph.h"'
put cache/shelf.h ''
put cache/shelf.c '#include "shelf.h"\n  #  include "high.h"'
put compiler/build/graph.h '#include "shelf.h"'
put compiler/ir/graph2.c '#include "x.h"\n#include <llvm-c/Core.h>'
put compiler/emit/x.h '#include "high.h"'
put compiler/emit/x_llvm.c '#include <llvm-c/Core.h>\n#include "x.h"'
put compiler/emit/x_cuda.c '#include <cuda.h>\n#include <llvm/IR/IR.h>'
put compiler/main.c '#include "x.h"\n#include "graph.h"\n#include "nowhere.h"\n#include <libxml/tree.h>'
put compiler/new/place.c '#include "low.h"'
put rules/r.c '#include "graph.h"\n#include "x.h"'
put tests/unit/low.c '#include "graph.h"'
put docs/a.md "see /""home/me/notes, not a/home/b nor /usr/lib"
yes | head -n 801 >"$bad/rules/long.h"
want='cache/shelf.c:2: cache includes runtime (high.h)
compiler/emit/x_cuda.c:1: CUDA header; the libraries are opened at run time without
compiler/emit/x_cuda.c:2: LLVM header outside compiler/emit/*llvm*
compiler/ir/graph2.c:1: compiler/ir includes compiler/emit (x.h)
compiler/ir/graph2.c:2: LLVM header outside compiler/emit/*llvm*
compiler/main.c:3: no header "nowhere.h" in the tree
compiler/main.c:4: libxml2 header outside compiler/spec
compiler/new/place.c:1: folder "compiler/new" has no place in the order
runtime/base/low.c:1: runtime/base includes runtime (high.h)
runtime/gpu/deep.c:3: runtime includes compiler/build (graph.h)
low.c
rules/long.h: 801 lines
docs/a.md:1:see /'"home/me/notes, not a/home/b nor /usr/lib"
got=$(include_order "$bad"; unique_names "$bad"; long_files "$bad"; build_paths "$bad")
verdict broken_trees_are_caught "$(diff <(echo "$want") <(echo "$got"))"
