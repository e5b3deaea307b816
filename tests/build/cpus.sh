#!/usr/bin/env bash
# One binary with code for several CPUs: what adding one runs, that all of it gives the recorded bits over one
# copy of the weights, which of it is taken on which CPU, and what lock, inspect and errors say of it.
# Once: which actions run, and binaries, whose code and runtime no configuration compiles otherwise.
set -u
data=${TRIM_TEST_DATA:-$PWD/../shared/data} model=$data/models/stories260K/stories260K.gguf
if [ ! -r "$model" ]; then echo "skip cpus: no data"; exit 0; fi
if [ "$(uname -m)" != x86_64 ]; then echo "skip cpus: names code for x86-64"; exit 0; fi
. tests/build/world.bash
unset TRIM_QUIET
cp "$model" m.gguf || exit 1
log=$TMP/log

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok cpus/$1"; else cat "$log"; echo "FAIL cpus/$1"; fi
}
spec() { # spec FILE WEIGHTS HARDWARE [TARGET]: a target `t`, and what else stands beside it
	printf '<trim xmlns="urn:trim:spec:1" name="%s">\n<model path="m.gguf"/>\n<target name="t" hardware="%s" weights="%s"/>\n%s</trim>\n' \
		"${1%.xml}" "$3" "$2" "${4-}" >"$1"
}
builds() { # builds NAME SPEC EXPECTED: the actions that run
	"$TRIM" build --events events "$2" >"$log" 2>&1; local rc=$? got
	got=$(sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' events | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')
	echo "expected '$3', ran '$got'" >>"$log"
	[ $rc -eq 0 ] && [ "$got" = "$3" ]; verdict "$1" $?
}
says() { # says NAME STATUS PATTERN COMMAND...
	local name=$1 status=$2 pattern=$3 got rc; shift 3
	got=$("$@" 2>&1); rc=$?
	echo "status $rc, expected $status and '$pattern': $got" >"$log"
	# shellcheck disable=SC2053
	[ $rc -eq "$status" ] && [[ $got == $pattern ]]; verdict "$name" $?
}
hardware() { sed -n 's/.*"t": {"hardware":"\([^"]*\)".*/\1/p' "$1"; }

# ---- what runs ----
spec a.xml f32 x86-64-v3
builds one a.xml 'import import/golden-f32 import/quantise-f32 import/shape t/compile t/link t/lock tokenizer'
cp out/a/t/a one
spec a.xml f32 'x86-64-v4 x86-64-v3'
builds second-added a.xml 't/compile-x86-64-v4 t/link t/lock'
[ "$(hardware a.lock)" = 'x86-64-v3 x86-64-v4' ]; verdict lock-lists-both $?
spec a.xml f32 'x86-64-v3 x86-64-v4'
builds another-order a.xml ''
spec a.xml f32 'x86-64-v3 x86-64-v4' '<target name="u" hardware="x86-64-v4" weights="f32"/>'
builds code-is-shared a.xml 'u/link u/lock'
spec a.xml f32 'x86-64-v3 x86-64-v4 zen5'
builds third-added a.xml 't/compile-zen5 t/link t/lock'
spec a.xml f32 x86-64-v3
builds all-undone a.xml ''
cmp out/a/t/a one >"$log" 2>&1; verdict same-binary-again $?
says one-info 0 '*code for      x86-64-v3?runs here     x86-64-v3?*' ./one info

# ---- every one of them gives the recorded bits, over one copy of the weights ----
runs=$("$TRIM" doctor --json | sed 's/.*"runs here":"\([^"]*\)".*/\1/')
best=${runs##* } all="x86-64-v3 avx-vnni x86-64-v4 avx512-bf16 zen4 zen5"
printf 'Once upon a time there was a fox. He was red.\n' >text
entries() { "$TRIM" inspect --json "$1" | python3 -c 'import json, sys
print([e for e in json.load(sys.stdin)["entries"] if e["name"][:2] == "t:"])'; }
for w in f32 bf16 int8 int4; do
	spec $w.xml $w "$all"
	"$TRIM" build -q $w.xml >"$log" 2>&1; verdict $w $?
	bin=out/$w/t/$w
	says $w-best 0 "*every bit as recorded, by the code for $best" $bin selftest
	$bin score text --json >score
	for cpu in $runs; do
		for n in 1 2; do says $w-$cpu-$n 0 "*as recorded, by the code for $cpu" $bin selftest --cpu $cpu --threads $n; done
		$bin score text --json --cpu $cpu | cmp - score >"$log" 2>&1; verdict $w-$cpu-score $?
	done
	spec $w-one.xml $w x86-64-v3
	"$TRIM" build -q $w-one.xml >"$log" 2>&1
	cmp <(entries out/$w-one/t/$w-one) <(entries $bin) >"$log" 2>&1 && [ -n "$(entries $bin)" ]; verdict $w-one-copy $?
done
for cpu in $all; do
	[[ " $runs " == *" $cpu "* ]] ||
		says absent-$cpu 36 "f32: the code for '$cpu' does not run on this CPU; the program holds x86-64-v3, *" out/f32/t/f32 -p a --cpu $cpu
done

# A CPU of before all of them, and one that has no more than the plainest asks for.
if command -v qemu-x86_64 >/dev/null; then
	says old 36 "int8: no code of this program runs on this CPU: x86-64-v3 (lacks avx2, bmi2, f16c, fma), *, zen5 (lacks *sse4a, avxvnni)" \
		qemu-x86_64 -cpu Nehalem out/int8/t/int8 -p a
	says old-info 0 '*runs here     none?*' qemu-x86_64 -cpu Nehalem out/int8/t/int8 info
	says plain 0 '*every bit as recorded, by the code for x86-64-v3*' \
		timeout 300 qemu-x86_64 -cpu Haswell out/int8/t/int8 selftest --threads 1
else
	echo "skip cpus/old: no qemu-x86_64"
fi

# ---- native among them ----
pin=zen5; [ "$best" = zen5 ] && pin=zen4
others=$(sed "s/\b$best\b//" <<<'x86-64-v3 x86-64-v4')
spec n.xml f32 "native $others"
"$TRIM" build -q n.xml >"$log" 2>&1; [[ " $(hardware n.lock) " == *" $best "* ]]; verdict native $?
builds native-locked n.xml ''
sed -i 's/"hardware":"[^"]*"/"hardware":"x86-64-v3 x86-64-v4 '$pin'"/' n.lock
spec n.xml f32 'native x86-64-v3 x86-64-v4'
says native-pinned 1 "*n.lock: the lock differs at outputs / t: *" "$TRIM" build -q --locked n.xml
says native-is-the-lock 0 "*code for      x86-64-v3, x86-64-v4*, $pin*" out/n/t/n info
spec n.xml f32 'native aarch64-neon'
says native-elsewhere 2 "trim: n.xml:3:28: hardware=\"native aarch64-neon\" is 'aarch64-neon' and '$best' here; a binary is for one architecture*" \
	"$TRIM" build -q n.xml

# ---- evaluated here, where any of it runs here ----
cat >d.xml <<XML
<trim xmlns="urn:trim:spec:1" name="d">
  <model path="model"/>
$(dataset)
  <target name="t" hardware="aarch64-neon aarch64-dotprod" weights="f32"/>
  <target name="u" hardware="PIN x86-64-v3" weights="f32"/>
</trim>
XML
sed -i "s/PIN/$pin/" d.xml
"$TRIM" build -q --json d.xml >built 2>"$log"
python3 - >"$log" 2>&1 <<'PY'
import json
m = json.load(open("built"))["metrics"]
assert m["t"].pop("measured") == "twin" and m["u"].pop("measured") == "here" and m["t"] == m["u"], m
PY
verdict measured $?

# ---- what others say ----
says inspect 0 "*target        t, $all*code for      x86-64-v3,*runs here     $best*" "$TRIM" inspect out/f32/t/f32
"$TRIM" inspect --json out/f32/t/f32 >inspect; out/f32/t/f32 info --json >info
python3 - "$all" "$runs" >"$log" 2>&1 <<'PY'
import json, sys
cpus, runs = (a.split() for a in sys.argv[1:])
inspect, info, lock = (json.load(open(f)) for f in ("inspect", "info", "f32.lock"))
assert inspect["info"] == info
assert [v["name"] for v in info["variants"]] == cpus and info["runs"] == runs[-1]
assert [v["name"] for v in info["variants"] if not v["lacks"]] == runs
assert lock["targets"]["t"]["hardware"].split() == info["hardware"].split() == cpus
PY
verdict json $?
says report 0 "*\"hardware\":\"$all\"*" "$TRIM" report --json f32.xml
says bench 0 '{"cpu":"x86-64-v3","threads":1,*' out/f32/t/f32 bench --json --cpu x86-64-v3 --threads 1
spec e.xml bf16 'zen4 x86-64-v3'
[ "$("$TRIM" inspect e.xml --emit asm | grep -c '^# \(x86-64-v3\|zen4\)$')" -eq 2 ]; verdict asm-of-each $?
[ "$("$TRIM" inspect e.xml --emit llvm | grep -c '^; \(x86-64-v3\|zen4\)$')" -eq 2 ]; verdict llvm-of-each $?
"$TRIM" inspect e.xml --emit asm --cpu x86-64-v3 >v3; "$TRIM" inspect e.xml --emit asm --cpu zen4 >zen4
grep -q vdpbf16ps zen4 && grep -q vfmadd v3 && ! grep -q -e vdpbf16ps -e zmm v3; verdict asm-of-one $?
"$TRIM" inspect e.xml --emit asm | cmp - <(echo '# x86-64-v3'; cat v3; printf '\n# zen4\n'; cat zen4) >"$log" 2>&1
verdict asm-is-those $?
says asm-of-none 2 "trim: target 't' has no code for 'zen'; its hardware is x86-64-v3 zen4; did you mean 'zen4'?" \
	"$TRIM" inspect e.xml --emit asm --cpu zen

# ---- the other architecture, under an old CPU and a new one ----
if "$TRIM" doctor | grep -q 'runtime aarch64 *missing' || ! command -v qemu-aarch64 >/dev/null; then
	echo "skip cpus/aarch64: no runtime or no qemu-aarch64"; exit 0
fi
old='timeout 300 qemu-aarch64 -cpu cortex-a53' new='timeout 300 qemu-aarch64 -cpu max'
for w in f32 int8; do
	spec arm.xml $w 'aarch64-dotprod aarch64-neon'
	"$TRIM" build -q arm.xml >"$log" 2>&1; verdict arm-$w $?
	bin=out/arm/t/arm
	says arm-$w-inspect 0 '*code for      aarch64-neon (lacks aarch64), aarch64-dotprod (lacks aarch64)?runs here     none?*' \
		"$TRIM" inspect $bin
	says arm-$w-old 0 '*every bit as recorded, by the code for aarch64-neon' $old $bin selftest --threads 1
	says arm-$w-new 0 '*every bit as recorded, by the code for aarch64-dotprod' $new $bin selftest --threads 1
	says arm-$w-forced 0 '*as recorded, by the code for aarch64-neon' $new $bin selftest --threads 1 --cpu aarch64-neon
done
says arm-old-info 0 '*code for      aarch64-neon, aarch64-dotprod (lacks asimddp)?runs here     aarch64-neon?*' $old $bin info
says arm-old-forced 36 "arm: the code for 'aarch64-dotprod' does not run on this CPU; the program holds aarch64-neon, aarch64-dotprod (lacks asimddp)" \
	$old $bin selftest --cpu aarch64-dotprod
spec arm.xml int8 'aarch64-i8mm aarch64-dotprod'
builds arm-other-two arm.xml 't/compile-aarch64-i8mm t/link t/lock'
says arm-none 36 'arm: no code of this program runs on this CPU: aarch64-dotprod (lacks asimddp), aarch64-i8mm (lacks asimddp, i8mm)' \
	$old $bin -p a
