#!/usr/bin/env bash
# Emitted binaries around a hand-written model (tests/unit/fake_model.c), for every architecture that
# runs here: their modes, their errors, and what stripping and damage do to them.
set -u
cd "$(dirname "$0")/../.." || exit 1
TMP=${TMP:-$(mktemp -d)} BUILD=${BUILD:-$PWD/.build}
fake=$BUILD/tests/fake_binary
here=tests/binary

check() { # check NAME COMMAND...: ok when it succeeds
	local name=${arch}_$1 out
	shift
	if out=$("$@" 2>&1); then echo "ok $name"; else echo "$out"; echo "FAIL $name"; fi
}
want() { # want NAME STATUS PATTERN ARGUMENT...: status of the program, pattern of what it says
	local name=${arch}_$1 status=$2 pattern=$3 got rc
	shift 3
	got=$($run "${program:-$TMP/x}" "$@" 2>&1 </dev/null); rc=$?
	# shellcheck disable=SC2053
	if [ "$rc" -eq "$status" ] && [[ $got == $pattern ]]; then echo "ok $name"
	else echo "status $rc: $got"; echo "FAIL $name"; fi
}
x() { $run "$TMP/x" "$@"; }

# What follows a prompt follows a part of it too.
continues() {
	local all cut
	all=$(x -p hello) && [ ${#all} -gt 20 ] || return 1
	for cut in 1 2 7 20; do
		[ "${all:$cut}" = "$(x -p "hello${all:0:$cut}")" ] || { echo "after $cut"; return 1; }
		[ "${all:0:$cut}" = "$(x -p hello -n $cut)" ] || { echo "-n $cut"; return 1; }
	done
}
ways_in() {
	local all
	all=$(x -p hello)
	printf hello >"$TMP/prompt"
	[ "$all" = "$(x -f "$TMP/prompt")" ] && [ "$all" = "$(printf hello | x -p -)" ]
}
as_json() {
	x -p hello --json | python3 -c '
import json, sys
o = json.load(sys.stdin)
assert o["text"] == sys.argv[1] and o["prompt_tokens"] == 6 and o["finish"] == "end", o
assert o["tokens"] == len(o["text"]), o' "$(x -p hello)"
}
stops() { # before the first of the texts, also when it takes several tokens
	local all=$1 text
	for text in "${all:5:1}" "${all:9:4}" "${all:30:9}"; do
		[ "${all%%"$text"*}" = "$(x -p hello --stop "$text")" ] || { echo "--stop '$text'"; return 1; }
		[ "${all%%"$text"*}" = "$(x -p hello --stop "$text" --stop "${all:40:3}")" ] || return 1
		[[ $(x -p hello --stop "$text" --json) == *'"finish":"stop"}' ]] || return 1
	done
}
samples() { # a seed is a text, another seed another
	local a b
	a=$(x -p hello -n 30 --temp 1 --seed 1) && b=$(x -p hello -n 30 --temp 1 --seed 2) || return 1
	[ "$a" = "$(x -p hello -n 30 --temp=1 --seed=1 --threads 3)" ] && [ "$a" != "$b" ] &&
		[ "$(x -p hello)" = "$(x -p hello --temp 1 --top-k 1 --seed 9)" ]
}
threads() {
	local n all text
	all=$(x -p hello) text=$(head -c 700 "$here/reference.py" | x score -)
	for n in 1 2 3 4; do
		[ "$all" = "$(x -p hello --threads $n)" ] || return 1
		[ "$text" = "$(head -c 700 "$here/reference.py" | x score - --threads $n)" ] || return 1
	done
}
scores() {
	local n # around the window of 96 tokens
	for n in 1 94 95 96 190 191 500; do
		head -c $n "$here/reference.py" >"$TMP/text"
		x score "$TMP/text" --json | python3 "$here/reference.py" score "$TMP/text" || return 1
	done
}
predicts() {
	printf '{"q":"one"}\n\n{"q":"two"}\n{"q":"thr\\u0065e"}' >"$TMP/rows"
	x predict "$TMP/rows" | python3 "$here/reference.py" predict one two three &&
		x predict - <"$TMP/rows" | python3 "$here/reference.py" predict one two three &&
		x predict --field q=four | python3 "$here/reference.py" predict four &&
		x predict "$TMP/rows" --field q=five | python3 "$here/reference.py" predict five five five
}
predicts_answers() {
	local got
	got=$(printf '%s\n' '{"q":"one","a":"yes"}' '{"q":"one","a":"no"}' '{"q":"one","a":"maybe"}' |
		x predict -)
	[ "$(grep -c '"correct":true' <<<"$got")" -eq 1 ] &&
		[ "$(grep -c '"answer":"\(yes\|no\|maybe\)","correct":' <<<"$got")" -eq 3 ]
}
no_threads() { # room for the stacks of some of them
	local got rc
	got=$(ulimit -v 200000; x -p hello --threads 1000 2>&1); rc=$?
	[ $rc -eq 1 ] && [ "$got" = 'x: unable to start 1000 threads' ] || { echo "$rc: $got"; return 1; }
}
benches() {
	x bench --json | python3 -c '
import json, sys
o = json.load(sys.stdin)
assert o.pop("cpu") == "plain" and o["threads"] == 2, o
assert o["prefill_tokens"] == 48 and o["decode_tokens"] == 48, o
assert all(v > 0 for v in o.values()), o'
}
says_info() {
	x info --json | python3 -c '
import json, sys
o = json.load(sys.stdin)
assert o["name"] == "fake" and o["dropped"] == ["3.mlp", "1.attention"] and o["lock"]["keep"] == "50%", o'
}

strips() { # strips TOOL
	cp "$TMP/x" "$TMP/stripped" && "$1" "$TMP/stripped" || return 1
	[ "$(x -p hello)" = "$($run "$TMP/stripped" -p hello)" ] && $run "$TMP/stripped" selftest &&
		[ -z "$(readelf -sW "$TMP/stripped")" ]
}
equal_bytes() {
	(cd "$TMP" && "$fake" y "$arch" "$object") && cmp "$TMP/x" "$TMP/y" &&
		! grep -q -a -e "$TMP" -e "$PWD" "$TMP/x"
}

# A changed byte anywhere in the directory, and a file cut anywhere, end in one line and status 1.
damaged() {
	local at n got rc
	at=$(readelf -SW "$TMP/x" | sed -n 's/.* \.weights *PROGBITS *[0-9a-f]* \([0-9a-f]*\) .*/\1/p')
	[ -n "$at" ] && at=$((16#$at)) || return 1
	for n in 0 3 8 16 24 32 50 64 72 80 88 100 230; do
		cp "$TMP/x" "$TMP/bad"
		printf '\245' | dd of="$TMP/bad" bs=1 seek=$((at + n)) conv=notrunc status=none
		got=$($run "$TMP/bad" -p hello 2>&1); rc=$?
		if [ $rc -ne 1 ] || [[ $got != "bad: the program's data are damaged: "* ]]; then
			echo "byte $n: $rc: $got"; return 1
		fi
	done
}
# Code for several CPUs in one file, of which the last that runs is taken.
dispatch() {
	program=$TMP/several
	"$fake" "$program" "$arch" "$object,$able" || echo "FAIL ${arch}_links_several"
	want best 0 '*every bit as recorded, by the code for able' selftest
	want best_info 0 '*code for      plain, able?runs here     able?*' info
	want best_info_json 0 '*"variants":\[{"name":"plain","lacks":\[\]},{"name":"able","lacks":\[\]}\],"runs":"able"}' info --json
	want forced 0 '*every bit as recorded, by the code for plain' selftest --cpu plain
	want forced_json 0 '{"tokens":20,"rows":10,"equal":true,"cpu":"plain"}' selftest --json --cpu=plain
	want forced_info 0 '*?runs here     plain?*' info --cpu plain
	want forced_text 0 "$(x -p hello)" -p hello --cpu plain
	want forced_unknown 2 "several: no code for 'abel' in this program; it holds plain, able; did you mean 'able'?" -p a --cpu abel
	want forced_odd 2 "several: no code for 'x' in this program; it holds plain, able" info --cpu x
	[ -n "$run" ] || want forced_bench 0 '{"cpu":"plain",*' bench --json --cpu plain
	check strips_table strips_table
	unset program
}
strips_table() { # what is left of a stripped program still knows its code
	cp "$program" "$TMP/stripped" && /usr/lib/llvm-19/bin/llvm-strip "$TMP/stripped" &&
		$run "$TMP/stripped" selftest | grep 'by the code for able' &&
		$run "$TMP/stripped" selftest --cpu plain | grep 'by the code for plain'
}
golden_damage() { # a changed weight does not go unnoticed
	local at
	at=$(grep -a -b -o 'TRIMGOLD' "$TMP/x" | cut -d: -f1 | tail -n 1)
	cp "$TMP/x" "$TMP/bad"
	printf '\245' | dd of="$TMP/bad" bs=1 seek=$((at + 200)) conv=notrunc status=none
	$run "$TMP/bad" selftest 2>&1 | grep -q 'bad: self-test failed: read at once, the logits behind'
}
cut_off() {
	local size n got rc
	size=$(stat -c %s "$TMP/x")
	# The sections behind the data may go; the kernel itself refuses a file without its headers.
	for n in 3000 8000 16000; do
		head -c $((size - n)) "$TMP/x" >"$TMP/bad"; chmod +x "$TMP/bad"
		got=$($run "$TMP/bad" info 2>&1); rc=$?
		if [ $rc -ne 1 ] || [[ $got != "bad: the program's file was cut off: "* ]]; then
			echo "$n bytes: $rc: $got"; return 1
		fi
	done
}

for arch in x86_64 aarch64; do
	object=$BUILD/tests/fake_$arch.o able=$BUILD/tests/fake_able_$arch.o run=
	if [ "$arch" != "$(uname -m)" ]; then
		run=qemu-$arch
		if ! [ -e "$object" ]; then echo "skip ${arch}_binary: not built (ninja $arch)"; continue; fi
		if ! command -v $run >/dev/null; then echo "skip ${arch}_binary: no $run"; continue; fi
	fi
	"$fake" "$TMP/x" "$arch" "$object" || { echo "FAIL ${arch}_links"; continue; }

	want greedy_text 0 'xx nuxftulrvgsdyxydpreiohlpwoevda jnnbgefucrtiekrabh' -p hello
	want empty_prompt 0 'rr' -p ''
	check prefill_and_decode_agree continues
	check prompts_from_files ways_in
	check json as_json
	check stop_texts stops "$(x -p hello)"
	check sampling samples
	check threads threads
	[ -n "$run" ] || check no_threads no_threads
	check score scores
	check predict predicts
	check predict_answers predicts_answers
	check info says_info
	check equal_bytes_and_no_paths equal_bytes
	want selftest 0 '20 tokens, 10 rows of logits: every bit as recorded, by the code for plain' selftest
	want help 0 'fake: hash, 1 blocks, *usage: x -p TEXT *--threads N *' --help

	long=$(printf '%096d' 0)
	want full_context 0 '?' -p "${long:1}"
	want too_long 2 'x: the text has 97 tokens, the context holds 96' -p "$long"
	want no_mode 2 'x: what should be done? -p TEXT continues a text; see --help'
	want two_prompts 2 'x: -p and -f both give the text to continue' -p a -f b
	want no_file 1 "x: unable to open '/no/such': No such file*" -f /no/such
	want bad_mode 2 "x: unknown mode 'scor'; did you mean 'score'?" scor
	want bad_option 2 "x: unknown option '--tmep'; did you mean '--temp'?" --tmep=1
	want bad_number 2 "x: --temp: 'hot' is no number from 0 to 1e+06" --temp hot
	want bad_count 2 "x: -n: '1.5' is no whole number" -n 1.5
	want no_value 2 'x: --seed needs S' --seed
	want wrong_mode 2 'x: option --seed does not go with score' score f --seed 1
	want extra_word 2 "x: 'c' is one argument too many" score b c
	want no_argument 2 "x: 'info' takes no argument, 'b' was given" info b
	want nothing_to_score 2 "x: '/dev/null' holds no text to score" score /dev/null
	want no_rows 2 'x: predict needs ROWS.jsonl, - or --field NAME=VALUE' predict
	printf '{"q":"one"}\n{"p":"two"}\n' >"$TMP/bad.jsonl"
	want bad_row 2 "*\"choice\":*x: $TMP/bad.jsonl:2:1: in the prompt: *'q'*" predict "$TMP/bad.jsonl"
	printf '{"q":"one"}\n{"q":\n' >"$TMP/bad.jsonl"
	want bad_json 2 "*x: $TMP/bad.jsonl:2:*" predict "$TMP/bad.jsonl"
	want long_row 2 'x: --field:1: row of * tokens (*), length is 60' predict --field "q=$long"

	[ -n "$run" ] || check gnu_strip strips strip # knows its own architecture only
	check llvm_strip strips /usr/lib/llvm-19/bin/llvm-strip
	dispatch
	check damaged_directory damaged
	check damaged_golden golden_damage
	[ -n "$run" ] || check cut_off cut_off # qemu shows its own file as /proc/self/exe

	program=$TMP/less
	while IFS=: read -r without mode message; do
		"$fake" "$program" "$arch" "$object" "$without" || echo "FAIL ${arch}_links_without_$without"
		# shellcheck disable=SC2086
		want "without_${without#t:}" "${mode%% *}" "less: $message" ${mode#* }
	done <<-'END'
		tokenizer:1 selftest:the program's tokenizer is missing
		info:1 info:the program's description is missing
		golden:1 selftest:the program holds no recorded logits
		task:2 predict -:the program was built without a task; -p continues texts
	END
	"$fake" "$program" "$arch" "$object" t:bias
	want without_weights 1 "less: weights of 'bias' are missing" -p hello
	unset program
done
arch=x86_64 run=

# 3 GB of weights survive both strips, which write them out.
three_gigabytes() {
	(cd "$TMP" && "$fake" "$TMP/x" x86_64 "$BUILD/tests/fake_x86_64.o" big 3221225472) &&
		strips strip && rm "$TMP/stripped" && strips /usr/lib/llvm-19/bin/llvm-strip
}
if [ -n "${TRIM_TEST_LARGE:-}" ]; then check strip_3_gigabytes three_gigabytes
else echo "skip ${arch}_strip_3_gigabytes: writes 6 GB; set TRIM_TEST_LARGE=1"; fi
rm -f "$TMP/stripped"

"$fake" "$TMP/x" x86_64 "$BUILD/tests/fake_x86_64.o"
check bench benches

# A CPU that lacks something: one line, before any generated code; what needs none still works.
"$fake" "$TMP/x" x86_64 "$BUILD/tests/fake_needy.o"
want cpu_lacks 36 'x: no code of this program runs on this CPU: needy (lacks avx512needy)' -p hello
want cpu_lacks_info 0 'name *code for      needy (lacks avx512needy)*runs here     none*' info
want cpu_lacks_info_json 0 '*,"variants":\[{"name":"needy","lacks":\["avx512needy"\]}\],"runs":null}' info --json
want cpu_lacks_help 0 'fake: *' --help
"$fake" "$TMP/x" x86_64 "$BUILD/tests/fake_x86_64.o,$BUILD/tests/fake_needy.o"
want cpu_lacks_one 0 '*by the code for plain' selftest
want cpu_lacks_one_info 0 '*code for      plain, needy (lacks avx512needy)?runs here     plain?*' info
want cpu_lacks_forced 36 "x: the code for 'needy' does not run on this CPU; the program holds plain, needy (lacks avx512needy)" \
	-p hello --cpu needy
want cpu_lacks_forced_info 36 "x: the code for 'needy' *" info --cpu needy

# The same file under two CPUs of the other architecture.
if [ -e "$BUILD/tests/fake_able_aarch64.o" ] && command -v qemu-aarch64 >/dev/null; then
	arch=aarch64
	"$fake" "$TMP/x" aarch64 "$BUILD/tests/fake_aarch64.o,$BUILD/tests/fake_able_aarch64.o"
	run='qemu-aarch64 -cpu cortex-a53'
	want old_cpu 0 '*by the code for plain' selftest
	want old_cpu_info 0 '*code for      plain, able (lacks asimddp)?runs here     plain?*' info
	want old_cpu_forced 36 "x: the code for 'able' does not run on this CPU; the program holds plain, able (lacks asimddp)" \
		-p hello --cpu able
	run='qemu-aarch64 -cpu max'
	want new_cpu 0 '*by the code for able' selftest
	"$fake" "$TMP/x" aarch64 "$BUILD/tests/fake_able_aarch64.o"
	run='qemu-aarch64 -cpu cortex-a53'
	want old_cpu_lacks 36 'x: no code of this program runs on this CPU: able (lacks asimddp)' -p hello
else
	echo "skip aarch64_dispatch: not built (ninja aarch64) or no qemu-aarch64"
fi
