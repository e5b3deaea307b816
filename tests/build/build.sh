#!/usr/bin/env bash
# A spec without schedule, from XML to text out of the binary; then what runs again after which change. The
# table of that is docs/rebuild.md: BLESS=1 writes it anew.
# Twice: actions and texts; what another compiler could change, unit tests and rules.sh see.
set -u
here=$PWD
TRIM=${TRIM:-$PWD/.build/trim} BUILD=${BUILD:-$PWD/.build} TMP=${TMP:-$(mktemp -d)}
data=${TRIM_TEST_DATA:-$PWD/../shared/data} model=$data/models/stories260K
if [ ! -r "$model/stories260K.gguf" ]; then echo "skip build: no data"; exit 0; fi
for v in $(compgen -e TRIM_ | grep -vx TRIM_KEEP_CODE); do unset "$v"; done
unset CI CLICOLOR_FORCE
export HOME=$TMP TRIM_CACHE=$TMP/cache XDG_STATE_HOME=$TMP/state XDG_CONFIG_HOME=$TMP/config
mkdir -p "$TMP/p/m"; cd "$TMP/p" || exit 1; touch .trim-root
cp "$model/stories260K.gguf" m/; cp -r "$model/hf" m/
chmod -R u+w m; want=$model/greedy-200-steps.txt

verdict() { # verdict NAME OK
	if [ "$2" -eq 0 ]; then echo "ok build/$1"; else cat "$TMP/log" 2>/dev/null; echo "FAIL build/$1"; fi
}
spec() { # spec FILE NAME MODEL TARGETS
	printf '<trim xmlns="urn:trim:spec:1" name="%s">\n<model path="%s"/>\n%s\n</trim>\n' "$2" "$3" "$4" >"$1"
}
here_t='<target name="here" hardware="x86-64-v3" weights="f32"/>'
two_t=$here_t'<target name="two" hardware="x86-64-v3" weights="bf16"/>'
ran() { # the actions that ran, files written behind them; builds
	"$TRIM" build --events "$TMP/events" "$@" >"$TMP/out" 2>"$TMP/log"
	rc=$?
	sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' "$TMP/events" | LC_ALL=C sort | tr '\n' ' ' |
		sed 's/ $//'
	grep -q '"event":"output"' "$TMP/events" && printf ' + file'
	return $rc
}
text() { "$1" -p "" -n 200 --temp 0 --threads 1; }

# ---- end to end ----
spec gguf.xml gguf m/stories260K.gguf "$here_t"
all='here/compile here/link here/lock import import/golden-f32 import/quantise-f32 import/shape tokenizer + file'
got=$(ran gguf.xml); verdict first "$([ "$got" = "$all" ]; echo $?)"
bin=out/gguf/here/gguf
text $bin >"$TMP/text"; cmp "$TMP/text" "$want" >"$TMP/log" 2>&1; verdict greedy-text $?
$bin selftest >"$TMP/log" 2>&1; verdict selftest $?
[ "$(cat out/.gitignore)" = '*' ]; verdict gitignore $?
digest=$(sed -n '/"outputs"/,$p' gguf.lock | sed -n 's/.*"here": "\(.*\)"/\1/p')
[ ${#digest} -eq 32 ]; verdict lock $?
[ "$(ran gguf.xml)" = '' ]; verdict nothing-again $?
json='{"actions":{"run":0,"cached":8,"failed":0},"outputs":[{"target":"here","path":"out/gguf/here/gguf","gate":null}],"metrics":{}}'
"$TRIM" build gguf.xml --json -q >"$TMP/log" 2>&1; [ "$(cat "$TMP/log")" = "$json" ]; verdict json $?
began=$(date +%s%N); "$TRIM" build -q gguf.xml >/dev/null; ended=$(date +%s%N)
echo "nothing changed: $(((ended - began) / 10000))e-2 ms of wall time"

# The same weights from the other format, whose config says another context: one list of packed weights in
# the cache, whatever it was made from, and the same scores.
spec hf.xml hf m/hf '<target name="here" hardware="x86-64-v3" weights="f32" context="512"/>'
spec gg.xml hf m/stories260K.gguf '<target name="here" hardware="x86-64-v3" weights="f32" context="512"/>'
ran gg.xml >/dev/null; cp out/hf/here/hf "$TMP/from-gguf"
ran hf.xml >/dev/null; verdict hf $?
weights() { grep -al '^trim-weights 1$' -r "$TMP/cache/objects" | wc -l; }
[ "$(weights)" -eq 1 ]; verdict hf-equal-tensors $?
text out/hf/here/hf | cmp - "$want" >"$TMP/log" 2>&1; verdict hf-greedy-text $?
out/hf/here/hf selftest >"$TMP/log" 2>&1; verdict hf-selftest $?
printf 'Once upon a time there was a fox. He was red.\n' >"$TMP/some.txt"
out/hf/here/hf score "$TMP/some.txt" --json >"$TMP/a" 2>"$TMP/log"; "$TMP/from-gguf" score "$TMP/some.txt" --json >"$TMP/b"
[ -s "$TMP/a" ] && cmp "$TMP/a" "$TMP/b" >>"$TMP/log" 2>&1; verdict hf-equal-score $?

# Another architecture, other bits of code, the same text.
if ! "$TRIM" doctor | grep -q 'runtime aarch64 *missing' && command -v qemu-aarch64 >/dev/null; then
	spec arm.xml arm m/stories260K.gguf '<target name="arm" hardware="aarch64-neon" weights="f32"/>'
	[ "$(ran arm.xml)" = 'arm/compile arm/link arm/lock + file' ]; verdict aarch64-shares $?
	for n in 1 2; do
		timeout 300 qemu-aarch64 out/arm/arm/arm -p "" -n 200 --temp 0 --threads $n | cmp - "$want" >"$TMP/log" 2>&1
		verdict aarch64-greedy-text-$n $?
	done
	timeout 300 qemu-aarch64 out/arm/arm/arm selftest --threads 1 >"$TMP/log" 2>&1; verdict aarch64-selftest $?
else
	echo "skip build/aarch64: no runtime or no qemu-aarch64"
fi

# Weights of integers: one list of packed weights for all targets, the same text, and the recorded logits.
target() { echo "<target name='$1' hardware='$1' weights='$w' ${2-}/>"; }
for w in int8 int4; do
	spec $w.xml $w m/stories260K.gguf "$(target x86-64-v3)$(target native)"
	got=$(ran $w.xml); all="import/golden-$w import/quantise-$w native/compile native/link native/lock x86-64-v3/compile x86-64-v3/link x86-64-v3/lock + file"
	echo "$got" >>"$TMP/log"; [ "$got" = "$all" ]; verdict $w $?
	text out/$w/native/$w >"$TMP/text"; text out/$w/x86-64-v3/$w | cmp - "$TMP/text" >"$TMP/log" 2>&1; verdict $w-text $?
	[ "$(head -c 16 "$TMP/text")" = 'Once upon a time' ]; verdict $w-sense $?
	for t in native x86-64-v3; do
		for n in 1 2; do out/$w/$t/$w selftest --threads $n >"$TMP/log" 2>&1; verdict $w-selftest-$t-$n $?; done
	done
	out/$w/native/$w info | grep -q "bytes, $w\$"; verdict $w-info $?
	spec $w.xml $w m/stories260K.gguf "$(target native 'head="bf16"')"
	ran $w.xml >/dev/null; out/$w/native/$w selftest >"$TMP/log" 2>&1; verdict $w-head $?
	out/$w/native/$w info | grep -q "bytes, $w-head-bf16\$"; verdict $w-head-info $?
	"$TRIM" doctor | grep -q 'runtime aarch64 *missing' || ! command -v qemu-aarch64 >/dev/null && continue
	spec arm.xml $w m/stories260K.gguf "$(target aarch64-neon)"
	[ "$(ran arm.xml)" = 'aarch64-neon/compile aarch64-neon/link aarch64-neon/lock + file' ]; verdict $w-aarch64-shares $?
	timeout 300 qemu-aarch64 out/$w/aarch64-neon/$w selftest --threads 1 >"$TMP/log" 2>&1; verdict $w-aarch64-selftest $?
done

# Caches of every dtype, for weights of any: what was recorded comes again, decoded or read at once.
for c in f32:bf16 f32:f16 bf16:f32 bf16:int8 int8:f16 int4:int8; do
	w=${c%:*} kv=${c#*:} name=${c%:*}-kv-${c#*:}
	spec kv.xml $name m/stories260K.gguf "$(target native "kv='$kv'")$(target x86-64-v3 "kv='$kv'")"
	ran kv.xml >/dev/null; verdict $name $?
	for t in native x86-64-v3; do
		for n in 1 2; do out/$name/$t/$name selftest --threads $n >"$TMP/log" 2>&1; verdict $name-selftest-$t-$n $?; done
	done
	out/$name/native/$name info | grep -q "bytes, $name\$"; verdict $name-info $?
	text out/$name/native/$name >"$TMP/text"; [ "$(head -c 16 "$TMP/text")" = 'Once upon a time' ]; verdict $name-sense $?
done

# A program without that runtime builds the other target.
mkdir -p alone/lib; cp "$TRIM" alone/; ln -s "$BUILD/lib/trim-llvm.so" "$BUILD/lib/x86_64" alone/lib/
spec lack.xml lack m/stories260K.gguf "$here_t<target name='arm' hardware='aarch64-neon' weights='f32'/>"
alone/trim build -q lack.xml --root trim="$here/specs" >"$TMP/log" 2>&1; rc=$?
[ $rc -eq 36 ] && grep -q "target 'arm': the runtime for aarch64 is missing" "$TMP/log" && [ -x out/lack/here/lack ]
verdict lacking-target-alone $?

# ---- what runs again ----
table='| what changed | what runs again |
|---|---|
'
row() { # row NAME TEXT EXPECTED [ARGUMENTS]: a change was made; what runs, and the text is still right
	local name=$1 what=$2 expected=$3 got; shift 3
	got=$(ran "${@:-gguf.xml}")
	echo "expected '$expected', ran '$got'" >>"$TMP/log"
	[ "$got" = "$expected" ] && text $bin | cmp -s - "$want"; verdict "again/$name" $?
	table+="| $what | $(echo "${got:-nothing}" | sed 's/^ + file$/nothing; the file is written/; s/ + file$/; the file is written/') |
"
}
row nothing 'nothing' ''
printf x >>alone/trim; other=$TRIM TRIM=$PWD/alone/trim
row program 'trim itself, whose passes plan the code' 'here/compile' gguf.xml --root trim="$here/specs"
TRIM=$other
sed -i 's/<model/<!-- a comment -->\n   <model/' gguf.xml
row comment 'a comment, white space in the spec' ''
sed -i 's/hardware="x86-64-v3" weights="f32"/weights="f32" hardware="x86-64-v3"/' gguf.xml
row order 'the order of attributes' ''
touch m/stories260K.gguf
row touched 'the model file touched, its bytes equal' ''
mv m moved; cp -r moved m; rm -rf moved
row copied 'the model copied to a new folder of the same name' ''
spec gguf.xml gguf m/stories260K.gguf "$two_t"
row target 'one more target, of another numerics class' 'import/golden-bf16 import/quantise-bf16 two/compile two/link two/lock + file'
spec gguf.xml gguf m/stories260K.gguf "$two_t<target name='three' hardware='x86-64-v4' weights='f32'/>"
row class 'one more target, of a class that is there' 'three/compile three/link three/lock + file'
spec gguf.xml gguf m/stories260K.gguf "${here_t/x86-64-v3/x86-64-v3 avx512-bf16}"
row cpu 'one more CPU for which the binary has code' 'here/compile-avx512-bf16 here/link here/lock + file'
spec gguf.xml gguf m/stories260K.gguf "${here_t/f32\"/f32\" threads=\"1\"}"
row threads 'an attribute that only the binary reads (threads)' 'here/link + file'
spec gguf.xml gguf m/stories260K.gguf "${here_t/f32\"/f32\" context=\"256\"}"
row context 'an attribute that code depends on (context)' 'here/compile here/link here/lock + file'
spec gguf.xml gguf m/stories260K.gguf "$here_t"
row back 'all of that undone' ' + file'
rm $bin
row removed 'the binary removed' ' + file'
strip $bin 2>/dev/null || printf x >>$bin
row stripped 'the binary stripped' ' + file'
"$TRIM" cache verify >"$TMP/log" 2>&1; verdict verify-after-strip $?
rm -f $(grep -al TRIMGOLD -r "$TMP/cache/objects")
row object-unread 'an object of the cache removed that nobody reads' ''
rm $bin
row object 'the same, and the binary removed' 'here/link import/golden-f32 + file'
for f in $(grep -al TRIMGOLD -r "$TMP/cache/objects"); do chmod u+w "$f"; printf damage >>"$f"; done
"$TRIM" cache verify >"$TMP/log" 2>&1; [ $? -eq 1 ]; verdict verify-finds-damage $?
rm $bin
row damaged 'an object damaged, and the binary removed' 'here/link import/golden-f32 + file'
if [ -n "${BLESS:-}" ] || ! [ -e "$here/docs/rebuild.md" ]; then
	printf '%s\n\n%s' "# What runs again

Written by \`BLESS=1 tests/run .build build.sh\`, held by that test. The spec: one model (a GGUF file), one target
\`here\` (x86-64-v3, f32 weights). An action runs when its key has no answer in the cache; what is not named was not run." \
		"$table" >"$here/docs/rebuild.md"
fi
diff <(sed -n '/^|/p' "$here/docs/rebuild.md") <(printf %s "$table") >"$TMP/log"; verdict table-in-the-docs $?

# ---- locks, dry runs, reports ----
expect() { # NAME EXIT PATTERN COMMAND...
	local name=$1 code=$2 pattern=$3; shift 3
	"$@" >"$TMP/log" 2>&1; local rc=$?
	[ $rc -eq "$code" ] && grep -q -- "$pattern" "$TMP/log"; verdict "$name" $?
}
expect locked 0 'out/gguf/here/gguf' "$TRIM" build --locked gguf.xml
cp gguf.lock "$TMP/lock"; sed -i 's/"hardware":"x86-64-v3"/"hardware":"zen5"/' gguf.lock
expect locked.differs 1 'targets / here / hardware: recorded "zen5", now "x86-64-v3"' "$TRIM" build --locked gguf.xml
cp "$TMP/lock" gguf.lock
spec native.xml native m/stories260K.gguf '<target name="here" hardware="native" weights="f32"/>'
expect locked.none 1 "there is no 'native.lock'" "$TRIM" build --locked native.xml
"$TRIM" build -q native.xml >/dev/null 2>&1; sed -i 's/"hardware":"[^"]*"/"hardware":"x86-64-v3"/' native.lock
expect locked.pins-native 1 'outputs / here' "$TRIM" build --locked native.xml
out/native/here/native info | grep -q x86-64-v3; verdict locked.native-hardware $?
spec gguf.xml gguf m/stories260K.gguf "$two_t"
spec dry.xml dry m/stories260K.gguf '<target name="here" hardware="x86-64-v3" weights="f32" context="128"/>'
expect dry-run 0 'run .*here/compile' "$TRIM" build -n dry.xml
[ ! -e out/dry ]; verdict dry-run-writes-nothing $?
expect plan 0 'to run, ' "$TRIM" plan gguf.xml
expect one-target 0 'two/gguf' "$TRIM" build --target two gguf.xml
grep -q '"here": {' gguf.lock && grep -q '"two": {' gguf.lock; verdict lock-keeps-other-targets $?
expect unknown-target 2 "no target 'tow'; did you mean 'two'" "$TRIM" build --target tow gguf.xml
expect why 0 'here/link: not run: nothing changed' "$TRIM" why gguf.xml here/link
expect why.unknown 2 "no action 'here/lnk'; did you mean 'here/link'" "$TRIM" why gguf.xml here/lnk
expect status 0 'up to date, 0 out of date' "$TRIM" status gguf.xml
expect log 0 'cached' "$TRIM" log gguf.xml
holds() { # EXPRESSION COMMAND...: true of `d`, the object that the command prints
	local e=$1; shift
	"$@" --json 2>"$TMP/err" | python3 -c "import json, sys; d = json.load(sys.stdin); print(d); sys.exit(not ($e))"
}
expect why.json 0 '' holds 'd["spec"] == "gguf.xml" and d["actions"] == [{"action": "here/link", "rule": "link", "state": "not run", "why": d["actions"][0]["why"]}]' \
	"$TRIM" why gguf.xml here/link
expect status.json 0 '' holds 'd["actions"] == [] and d["out_of_date"] == 0 and d["up_to_date"] > 5' "$TRIM" status gguf.xml
expect plan.json 0 '' holds 'd["run"] == 2 and [a["action"] for a in d["actions"]] == ["here/compile", "here/lock", "here/link"]' "$TRIM" plan dry.xml
expect dry-run.json 0 '' holds 'd["perhaps"] == 1' "$TRIM" build -n dry.xml
expect log.json 0 '' holds '{b["build"] for b in d["log"]} == set(range(1, d["log"][-1]["build"] + 1))' "$TRIM" log gguf.xml
expect log.unknown 2 "no past build has an action 'here/lnk'; did you mean 'here/link'?" "$TRIM" log gguf.xml here/lnk
expect graph.json 0 '"rule":"link"' "$TRIM" graph gguf.xml --format json
expect graph.bad 2 "did you mean 'ninja'" "$TRIM" graph gguf.xml --format ninj
expect cache.gc 0 'would be removed' "$TRIM" cache gc
"$TRIM" cache gc --yes >"$TMP/log" 2>&1 && [ "$(ran gguf.xml)" = '' ]; verdict gc-keeps-what-specs-need $?
expect inspect.model 0 '^parameters *260032$' "$TRIM" inspect m/hf
expect inspect.binary 0 't:blk.0.attn.q' "$TRIM" inspect $bin
expect inspect.other 2 'no program that trim has made' "$TRIM" inspect "$TRIM"
for form in ir lowered plan llvm asm; do
	expect "emit.$form" 0 . "$TRIM" inspect gguf.xml --emit $form
done
expect doctor 0 'code generator' "$TRIM" doctor
# A damaged model is an error with its place, and harms no other target.
head -c 100000 m/stories260K.gguf >m/short.gguf; spec short.xml short m/short.gguf "$here_t"
expect damaged-model 1 'import.*byte' "$TRIM" build short.xml
mkdir -p m/empty; spec empty.xml empty m/empty "$here_t"
expect no-config 2 'empty.xml:2:.*holds no config.json' "$TRIM" build empty.xml

# ---- the example ----
cp -r "$here/examples/first-light" example
expect example 0 . "$TRIM" build example/trim.xml --target laptop --root data="$data"
text example/out/first-light/laptop/first-light | cmp - "$want" >"$TMP/log" 2>&1; verdict example-text $?
