#!/usr/bin/env bash
# on-new-rows="continue": what runs when rows are appended, removed or changed, what lock, report, plan and binary say of it,
# and that the same lock gives the same bits in an empty cache, from any threads and behind a kill.
# Twice: actions and texts; what another compiler could change, unit tests and rules.sh see.
set -u
. tests/build/world.bash

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok continue/$1"; else cat log; echo "FAIL continue/$1"; fi
}
tune='epochs="1" batch="4" learning-rate="1e-3"' more=
targets='<target name="t" hardware="x86-64-v3" weights="f32" keep="3 units"/>'
spec() { # spec: of $tune, $more, $targets
	cat >s.xml <<-XML
		<trim xmlns="urn:trim:spec:1" name="s">
		  <model path="model"/>
		$(dataset)
		$more
		  <schedule><score method="perplexity" rows="8"/><tune trainable="100%" on-new-rows="continue" $tune/></schedule>
		  $targets
		</trim>
	XML
}
build() { # build [OPTION]...: names of what ran go to `ran`
	TRIM_QUIET= "$TRIM" build s.xml --events events "$@" >out.txt 2>log; local rc=$?
	sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' events | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//' >ran
	return $rc
}
again() { # again NAME EXPECTED: what runs now; braces as the shell's
	local expected
	expected=$(eval echo "$2" | tr ' ' '\n' | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')
	build
	printf 'expected %s\nran      %s\n' "$expected" "$(cat ran)" >>log
	[ "$(cat ran)" = "$expected" ]; verdict "$1" $?
}
of() { # of EXPRESSION: true of lock L, target t's section T
	python3 -c '
import json, sys
L = json.load(open("s.lock")); T = L["targets"]["t"]
print(T, L.get("tuned")); sys.exit(not eval(" ".join(sys.argv[1].split())))' "$1" >>log 2>&1
}
state() { sed -n 's/.*"state":"\([0-9a-f]*\)".*/\1/p' s.lock; }
split_of() { # split_of SPLIT: numbers of its rows, from 1
	grep -n "^$1\$" splits | cut -d: -f1
}
rows() { # rows N...: these rows of all.jsonl, appended
	for i in "$@"; do sed -n "${i}p" all.jsonl; done >>rows.jsonl
}

# ---- what is appended ----
cp rows.jsonl all.jsonl; spec
for i in $(seq "$(wc -l <rows.jsonl)"); do "$TRIM" show s.xml --json --row "$i"; done | sed 's/.*"split":"\([a-z]*\)".*/\1/' >splits
mapfile -t train < <(split_of train); mapfile -t test < <(split_of test); mapfile -t calibration < <(split_of calibration)
late=("${train[@]: -5}") # three come first, then two
python3 - "${late[@]}" "${test[-1]}" "${calibration[-1]}" <<'PY'
import sys
gone = set(map(int, sys.argv[1:]))
lines = open("all.jsonl").readlines()
open("rows.jsonl", "w").writelines(l for i, l in enumerate(lines, 1) if i not in gone)
PY
first=$(wc -l <rows.jsonl)
build; verdict first $?
of 'list(T) == ["hardware", "numerics", "context", "state", "metrics", "parent"] and
	[list(t["rows"]["files"].items()) for t in L["tuned"]["main"]["on"]] == [[("rows.jsonl", '"$first"')]]'; verdict first-lock $?
cp s.lock first.lock; from=$(state)
again nothing ''
# A round of a chain that goes on is that of one that does not, key by key.
sed -i 's/ on-new-rows="continue"//' s.xml
again retune ''
[ "$(state)" = "$from" ] && of '"tuned" not in L'; verdict retune-same-bits $?
spec; cp first.lock s.lock
# Rows that do not train: the chain stands, also where they might have scored; all states are measured anew.
rows "${test[-1]}" "${calibration[-1]}"
data='data/rows/{rows.rows.jsonl,split,then-0/split,then-0/tokens.{train,calibration,validation}}'
again other-rows "$data data/rows/tokens.test {import,main/round-{0,1}}/evaluate-f32 t/{lock,link}"
[ "$(state)" = "$from" ] && of 'len(L["tuned"]["main"]["on"]) == 1 and "continued" not in T'; verdict other-rows-lock $?
again other-rows-nothing ''
# Train rows: one pass from each target's state, and from round 0, which it is compared with.
rows "${late[@]:0:3}"
TRIM_QUIET= "$TRIM" plan s.xml >plan 2>log
grep -qx "trim: schedule 'main': new train rows since the lock, 3 of 'rows'; its states go on with them" log; verdict plan $?
"$TRIM" plan --json s.xml 2>log | grep -q '"rows":\[{"schedule":"main","how":"grown","times":2,"why":"3 of .rows."}\]'; verdict plan-json $?
pass() { # pass T: what a pass at time T runs
	echo "data/rows/then-$1/split main/continue-$1/{fresh,tokens} main/round-{0,1}/continue-$1/{shape,tune,quantise-f32,evaluate-f32} \
		main/round-1/continue-$1/golden-f32"
}
again grown "$data data/rows/tokens.test $(pass 1) t/{lock,link}"
of 'T["continued"] == [{"from": "'"$from"'", "rows": {"new": 3, "old": 3}}] and T["state"] != "'"$from"'" and
	L["chain"] == json.load(open("first.lock"))["chain"] and len(L["tuned"]["main"]["on"]) == 2'; verdict grown-lock $?
second=$(state)
again grown-nothing ''
"$TRIM" plan --json s.xml 2>log | grep -q '"how":"same","times":2,"why":null'; verdict plan-same $?
# Once more, from there on. What the first pass read is looked up again and comes out as it was.
rows "${late[@]:3}"
again twice "$data data/rows/{tokens.test,then-1/split} main/continue-1/tokens $(pass 2) t/{lock,link}"
of '[(c["from"], c["rows"]) for c in T["continued"]] == [("'"$from"'", {"new": 3, "old": 3}), ("'"$second"'", {"new": 2, "old": 2})]'
verdict twice-lock $?
cp s.lock twice.lock; cp rows.jsonl twice.jsonl
"$TRIM" report s.xml 2>log >text && sed -n '/^went on/,/^$/p' text | sed 's/[0-9a-f]\{32\}/HEX/' >shown
diff - shown >>log <<'TEXT'
went on with new rows
t                pass 1: 3 new and 3 old rows, from state HEX
t                pass 2: 2 new and 2 old rows, from state HEX

TEXT
verdict report $?
out/s/t/s info 2>log | grep '^new rows' | sed 's/[0-9a-f]\{32\}/HEX/' >shown
diff - shown >>log <<'TEXT'
new rows      from HEX, rows {"new":3,"old":3}
new rows      from HEX, rows {"new":2,"old":2}
TEXT
verdict info $?

# ---- the same lock, the same bits ----
TRIM_CACHE=$TMP/cache-clone build -j 1 --locked; [ $? -eq 0 ] && cmp s.lock twice.lock >>log; verdict clone $?
TRIM_CACHE=$TMP/cache-killed kill_in main/round-1/continue-1/tune 1 "$TRIM" build s.xml --events events --checkpoint 0
TRIM_CACHE=$TMP/cache-killed build -j 2 --locked
[ $? -eq 0 ] && cmp s.lock twice.lock >>log && ! grep -q 'round-[01]/tune' ran; verdict killed $?
# Without the lock there is nothing to go on from: all rows are those of round 0.
rm s.lock
build && of '"continued" not in T and len(L["tuned"]["main"]["on"]) == 1 and
	T["state"] != json.load(open("twice.lock"))["targets"]["t"]["state"]'; verdict no-lock $?
# Another depth of the chain: rounds as they were from its first rows, then both passes.
cp twice.lock s.lock; sed -i 's/keep="3 units"/keep="2 units"/' s.xml
again another-depth "main/round-2/{score,choose,drop,tune} main/round-2/continue-{1,2}/tune t/{compile,lock,link} \
	main/round-2/continue-2/{shape,golden-f32,quantise-f32,evaluate-f32}"
of 'len(T["continued"]) == 2 and len(L["chain"]) == 2'; verdict another-depth-lock $?
spec; cp twice.lock s.lock

# ---- what does not go on ----
broken() { # broken NAME WHY: plan and build say so, it is tuned anew, and then there is nothing to do
	TRIM_QUIET= "$TRIM" plan s.xml >plan 2>log
	grep -q "^trim: s.xml:[0-9:]*: note: schedule 'main' is tuned anew, from round 0: $2$" log &&
		build && grep -q "is tuned anew, from round 0: $2$" log && of '"continued" not in T and len(L["tuned"]["main"]["on"]) == 1'
	verdict "$1" $?
	build && [ ! -s ran ] && ! grep -q 'tuned anew' log; verdict "$1-nothing" $?
	cp twice.lock s.lock; cp twice.jsonl rows.jsonl; spec
}
changed="the rows of dataset 'rows' that its states were tuned on are no longer its first ones"
n=$(wc -l <rows.jsonl)
sed -i 1d rows.jsonl
broken removed "$changed ($n rows then, $((n - 1)) now): some were removed, changed or moved"
tac twice.jsonl >rows.jsonl
broken moved "$changed ($n rows then, $n now): some were removed, changed or moved"
other='model, datasets or schedule are others than those of the lock'
sed -i 's/learning-rate="1e-3"/learning-rate="2e-3"/' s.xml
broken schedule "$other"
cp model/model.safetensors was; python3 - <<'PY'
data = bytearray(open("model/model.safetensors", "rb").read())
data[-3] ^= 1
open("model/model.safetensors", "wb").write(data)
PY
broken model "$other"
cp was model/model.safetensors
# What makes no state makes none anew: where a chain stops, which states stay, gates, targets.
sed -i 's/<schedule>/<gate metric="nll" margin="9"\/><schedule states="targets">/; s/weights="f32"/weights="bf16"/' s.xml
build && ! grep -q 'tuned anew' log && ! grep -q '/tune' ran && of 'len(T["continued"]) == 2'; verdict no-matter $?

# ---- with the rest of the language ----
# Several sets, of which one grows: no weight repeats its rows, and old ones come from all.
more='<dataset name="b" path="b.jsonl" weight="5"><split test="50%" train="50%"/>'
more+='<task kind="text" length="96"><prompt>{text}</prompt></task></dataset>'
head -n 60 all.jsonl >b.jsonl
tune='steps="4" batch="4" learning-rate="1e-3" patience="1" validate-every="1"'
targets='<target name="t" hardware="x86-64-v3" weights="f32" keep="100%"/>'
two() { spec; sed -i 's/<dataset name="rows"/& weight="1"/' s.xml; }
two; rm s.lock
build
tail -n 15 all.jsonl >>b.jsonl
build && of '(lambda r: list(r) == ["rows", "b"] and r["rows"]["new"] == 0 and 0 < r["rows"]["old"] < r["b"]["new"] and
	r["rows"]["old"] + r["b"]["old"] == r["b"]["new"])(T["continued"][0]["rows"])'; verdict sets $?
"$TRIM" report --json s.xml 2>>log | grep -q '"round":0,"continue":1,"kept"'; verdict looks $?
# A gate finds its state by the rows of the first time; test rows then judge what went on.
more= tune='epochs="1" batch="4" learning-rate="1e-3"'
targets='<gate metric="nll" margin="9"/><target name="t" hardware="x86-64-v3" weights="bf16" keep="gate"/>'
head -n 60 all.jsonl >rows.jsonl; spec; rm s.lock
sed -i 's/test="40%" train="30%" calibration="20%" validation="10%"/test="40%" train="15%" calibration="20%" validation="25%"/' s.xml
build; round=$(grep -c '"round":' s.lock)
tail -n 15 all.jsonl >>rows.jsonl
build; of 'len(L["chain"]) == '"$round"' and T["continued"] and T["gates"][0]["rows"] == T["metrics"]["rows"]' &&
	! grep -q 'validate\|/round-[0-9]*/gate' ran && grep -q 'main/round-0/continue-1/evaluate-bf16' ran && grep -q 'continue-1/cost-bf16' ran
verdict gate $?
# A tokenizer that is trained stays that of the first rows.
targets='<target name="t" hardware="x86-64-v3" weights="f32" keep="100%"/>'
head -n 60 all.jsonl >rows.jsonl; spec; rm s.lock
made='<model init="random" arch="llama" layers="2" width="16" ffn="24" heads="2" context="96"><tokenizer train="bpe" vocab="290"/></model>'
sed -i "s|<model path=\"model\"/>|$made|" s.xml
build; tail -n 15 all.jsonl >>rows.jsonl
build && of 'T["continued"]' && grep -qw tokenizer ran && ! grep -q '\bimport \|round-0/tune' ran; verdict tokenizer $?
TRIM_CACHE=$TMP/cache-tokenizer build --locked; verdict tokenizer-clone $?
# A smoke test knows no lock.
build --smoke && ! grep -q 'continue-' ran; verdict smoke $?
sed 's/epochs="1"/epochs="0"/' s.xml >zero.xml; "$TRIM" check zero.xml >log 2>&1
[ $? -eq 2 ] && grep -q 'zero.xml:[0-9:]*: on-new-rows="continue" with epochs="0": what was never tuned does not go on' log; verdict untuned $?
