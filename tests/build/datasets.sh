#!/usr/bin/env bash
# Several datasets in one spec, of every format and kind of task: what runs when one of them changes, what lock,
# report and JSON say of each, gates by dataset, scores over some of them, and predict of the binary.
# Once: which actions run and what is said of them; units and rules.sh read every format everywhere.
set -u
golden=$PWD/tests/build/datasets.lock
. tests/build/world.bash

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok datasets/$1"; else cat log; echo "FAIL datasets/$1"; fi
}
python3 - <<'PY'
import json, random
rows = [json.loads(l) for l in open("rows.jsonl")]
json.dump({"r%d" % i: r for i, r in enumerate(rows)}, open("pick.json", "w"))
with open("table.csv", "w") as f:
	for r in rows:
		f.write('"%s","%s",yes,no,%s\n' % (r["text"], r["question"], "AB"[r["answer"] == "no"]))
with open("facts.txt", "w") as f:
	f.write("\n\n".join(r["text"] for r in rows))
with open("facts-test.txt", "w") as f:
	f.write("\n\n".join(r["question"] + " " + r["text"] for r in rows))
# one line, many windows
with open("long.txt", "w") as f:
	f.write(" ".join(r["text"] for r in rows))
with open("long-test.txt", "w") as f:
	f.write(" ".join(r["question"] for r in rows))
PY
split='test="40%" train="30%" calibration="20%" validation="10%"'
yes_no='<choice>yes</choice><choice>no</choice><answer field="answer"/>'
sets() { # sets [WEIGHTS]: five, of these weights
	local w=(${1:-})
	at() { [ -z "${w[$1]:-}" ] || printf ' weight="%s"' "${w[$1]}"; }
	cat <<-XML
		<dataset name="pick" path="pick.json"$(at 0)>
		  <split $split/><task kind="choice" length="96"><prompt>{text} {question}</prompt>$yes_no</task>
		</dataset>
		<dataset name="ask" path="rows.jsonl"$(at 1)>
		  <split $split/><task kind="completion" length="96"><prompt>{text} {question}</prompt><answer field="answer"/></task>
		</dataset>
		<dataset name="table" path="table.csv"$(at 2)>
		  <split $split/><task kind="choice" length="96"><prompt>{1} {2}</prompt><choice>{3}</choice><choice>{4}</choice><answer field="5"/></task>
		</dataset>
		<dataset name="facts" format="text"$(at 3)>
		  <split path="facts.txt" train="70%" calibration="30%"/><split test="facts-test.txt"/><task kind="text" length="96"/>
		</dataset>
		<dataset name="long" format="text"$(at 4)>
		  <split train="long.txt" test="long-test.txt"/><task kind="text" row="file" length="32"/>
		</dataset>
	XML
}
spec() { # spec SETS [GATES] [SCORE] [TUNE]
	cat >s.xml <<-XML
		<trim xmlns="urn:trim:spec:1" name="s">
		<model path="model"/>
		$1
		<schedule keep="3 units"><score rows="8" ${3:-}/><tune ${4:-epochs=\"1\"} batch="8" learning-rate="1e-3" trainable="100%"/></schedule>
		${2:-}
		<target name="t" hardware="x86-64-v3" weights="f32"/>
		</trim>
	XML
}
build() { # build [OPTION]...: names of what ran go to `ran`
	"$TRIM" build s.xml --json --events events "$@" >out.json 2>log; local rc=$?
	sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' events | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//' >ran
	return $rc
}
again() { # again NAME EXPECTED: what runs now; braces as the shell's
	local expected
	expected=$(eval echo "$2" | tr ' ' '\n' | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')
	build
	printf 'expected %s\nran      %s\n' "$expected" "$(cat ran)" >>log
	[ "$(cat ran)" = "$expected" ]; verdict "again/$1" $?
}
of() { # of EXPRESSION: true of lock L, target's section T, JSON J
	python3 -c '
import json, sys
L = json.load(open("s.lock")); T = L["targets"]["t"]; J = json.load(open("out.json"))
print(sys.argv[1]); sys.exit(not eval(sys.argv[1]))' "$1" >log 2>&1
}

# ---- a first build: every set has its own rows, tokens, metrics and verdicts ----
gates='<gate dataset="facts" against="parent" margin="9"/><gate dataset="pick" against="parent" margin="90pp"/>'
spec "$(sets)" "$gates"
env -u TRIM_QUIET "$TRIM" check s.xml >checked 2>log
sed -n 's/^\([a-z]*\): .*/\1/p;s/^  all *//p' checked | tr -s ' ' | tr '\n' ' ' >got
echo "pick 34 7 18 16 0 ask 34 7 18 16 0 table 31 9 17 18 0 facts 75 0 21 54 0 long 1 0 0 1 0 " >want
diff want <(cat got; echo) >>log; [ ! -s log ]; verdict check $?
all='pick ask table facts long'
again first "import tokenizer main/trainable import/shape main/round-{0,1}/{shape,tune} main/round-1/{score,choose,drop,golden-f32} \
	{import,main/round-{0,1}}/{quantise-f32,evaluate-f32/{pick,ask,table,facts,long}} data/{pick,ask,table,facts,long}/{split,task,tokens.{test,validation,calibration,train}} \
	data/{pick/rows.pick.json,ask/rows.rows.jsonl,table/rows.table.csv,facts/rows.facts{,-test}.txt,long/rows.long{,-test}.txt} \
	t/{compile,link,lock,gate-1/facts,gate-2/pick}"
of 'list(T["metrics"]) == list(T["parent"]) == "'"$all"'".split()'; verdict lock-by-dataset $?
of '[(g["dataset"], g["metric"]) for g in T["gates"]] == [("facts", "nll"), ("pick", "accuracy")]'
verdict lock-gates $?
of 'all({k: v for k, v in J["metrics"]["t"][d].items() if k != "measured"} == T["metrics"][d] and
	J["metrics"]["parent"][d]["nll"] == T["parent"][d]["nll"] for d in "'"$all"'".split())'; verdict json-by-dataset $?
of '("accuracy" in T["metrics"]["table"]) and "accuracy" not in T["metrics"]["ask"]'; verdict metrics-of-the-kind $?
sed 's/-\?[0-9]\+\.[0-9]\{3,\}\(e-[0-9]*\)\?/X/g; s/[0-9a-f]\{32\}/HEX/' s.lock >shown
[ -z "${BLESS:-}" ] || cp shown "$golden"
diff "$golden" shown >log; verdict lock-golden $?
"$TRIM" report s.xml >shown 2>log; grep -c '^  \(pick\|ask\|table\|facts\|long\) ' shown | grep -qx 10; verdict report $?

# ---- the binary: each set's task, and what the lock says of it ----
binary=out/s/t/s
accuracy() { # accuracy SET ROWS: predict over the set's test rows is what the lock says
	"$binary" predict --dataset "$1" "$2" >predicted 2>log
	local n right
	n=$(wc -l <predicted) right=$(grep -c '"correct":true' predicted)
	of "T['metrics']['$1']['rows'] == $n and abs(T['metrics']['$1']['accuracy'] - $right / $n) < 1e-12"
}
for i in $(seq 75); do # which rows are test
	"$TRIM" show s.xml --dataset pick --json --row "$i"
done | sed -n 's/.*"split":"test".*"key":"r\([0-9]*\)".*/\1/p' >test-rows
while read -r i; do sed -n "$((i + 1))p" rows.jsonl; done <test-rows >test.jsonl
accuracy pick test.jsonl; verdict predict-choice $?
"$binary" predict --dataset ask test.jsonl >predicted 2>log && [ "$(grep -c '"text":' predicted)" -eq 34 ]; verdict predict-completion $?
refuses() { # refuses NAME PATTERN ARGUMENT...
	local name=$1 pattern=$2; shift 2
	"$binary" predict "$@" test.jsonl >log 2>&1; [ $? -eq 2 ] && grep -q "$pattern" log; verdict "predict-$name" $?
}
refuses which '^s: the rows of which dataset? --dataset is one of ask, pick, table$'
refuses unknown "^s: the program has no dataset 'pik'; did you mean 'pick'?$" --dataset pik
refuses text "^s: the program's task is text" --dataset facts
"$binary" info 2>log | grep -q '^tasks  *predict --dataset ask, facts, long, pick, table$'; verdict info $?

# ---- what a change of one set runs ----
printf '\n\nIs a new row read?\n' >>facts-test.txt
again test-rows "data/facts/{rows.facts-test.txt,split,tokens.{test,validation,calibration,train}} {import,main/round-{0,1}}/evaluate-f32/facts t/gate-1/facts t/{lock,link}"
printf '\n\nA new row is learned.\n' >>facts.txt
again train-rows "data/facts/{rows.facts.txt,split,tokens.{test,validation,calibration,train}} main/round-{0,1}/{shape,tune,quantise-f32} \
	main/round-1/{score,choose,drop,golden-f32} main/round-{0,1}/evaluate-f32/{pick,ask,table,facts,long} \
	t/gate-{1/facts,2/pick} t/{lock,link}"
untrimmed() { sed -i 's/keep="3 units"/keep="100%"/' s.xml; }
spec "$(sets '2 1 1 0.5 0.5')" "$gates"; untrimmed
build; verdict weights $?
! grep -q 'data/ask\|data/pick\|import/' ran && grep -q 'round-0/tune' ran; verdict weights-tune-alone $?
spec "$(sets '4 2 2 1 1')" "$gates"; untrimmed
again same-shares ''

# ---- kill -9 amid the mixed rows: the next build, on one thread, goes on there to the same bits ----
spec "$(sets '4 2 2 1 1')" '' '' 'epochs="4"'; untrimmed
build; cp s.lock whole.lock; verdict many-epochs $?
export TRIM_CACHE=$TMP/cache-killed
rm -f s.lock
kill_in main/round-0/tune 30 "$TRIM" build s.xml --events events --checkpoint 0
build -j 1; cmp s.lock whole.lock >>log && [ "$(told resume main/round-0/tune)" -eq 1 ]; verdict killed $?
export TRIM_CACHE=$TMP/cache

# ---- gates ----
gate() { # gate NAME EXIT PASSED-AS-PYTHON GATES
	spec "$(sets '4 2 2 1 1')" "$4"; untrimmed
	build; local rc=$?
	[ $rc -eq "$2" ] && of "[(g['dataset'], g['passed']) for g in T['gates']] == $3"; verdict "gate-$1" $?
}
loose='against="parent" metric="nll" margin="9"' tight='against="parent" metric="nll" margin="1e-9"'
gate passes 0 "[('ask', True)]" "<gate dataset='ask' $loose/>"
# one document proves nothing, whatever the margin: of all sets that one fails
gate one-of-all-fails 3 "[(d, d != 'long') for d in '$all'.split()]" "<gate $loose/>"
env -u TRIM_QUIET "$TRIM" build s.xml >log 2>&1
[ -x out/s/failed/t/s ] && [ "$(grep -c "^trim: target 't': gate not passed: {\"dataset\":\"" log)" -eq 5 ]; verdict gate-names-the-set $?
gate other-set 0 "[('facts', True), ('ask', True)]" "<gate dataset='facts' $loose/><gate dataset='ask' $loose/>"
gate fails-by-set 3 "[('facts', True), ('long', False)]" "<gate dataset='facts' $loose/><gate dataset='long' $loose/>"

# ---- scores ----
base() { # base ON [WEIGHTS]: the untouched model's nll as `score` has it, of the sets that it is on
	spec "$(sets "${2:-}")" '' "on=\"$1\"" 'epochs="0"'
	sed -i 's/trainable="100%"/trainable="50%"/' s.xml
	untrimmed
	build && "$TRIM" report s.xml --json 2>>log | tr -d '\n' | sed 's/.*"parent":{"dropped":\[\],"scores":{[^}]*"base":{[^}]*"nll":\([0-9.]*\).*/\1/'
}
a=$(base ask) p=$(base pick) f=$(base facts)
near() { awk "BEGIN { d = ($1) - ($2); exit !(d * d < 1e-9) }"; } # of six digits
echo "ask $a pick $p facts $f" >log
# by size: answers are 4 and 3 tokens
near "$(base 'pick ask')" "(4 * $a + 3 * $p) / 7"; verdict score-by-size $?
near "$(base 'facts ask' '1 3 1 1 1')" "(3 * $a + $f) / 4"; verdict score-by-weight $?
near "$(base 'ask facts' '1 3 1 1 1')" "(3 * $a + $f) / 4" && [ ! -s ran ]; verdict score-order-of-names $?

# ---- a base from nothing, its tokenizer from all sets or some ----
made() { # made TOKENIZER-ATTRIBUTES
	spec "$(sets)" '' 'on="pick"'
	sed -i '/<schedule/d; s|<model path="model"/>|<model init="random" arch="llama" layers="2" width="16" ffn="24" heads="2" context="96"><tokenizer train="bpe" vocab="290" '"$1"'/></model>|' s.xml
	build
}
made ''; verdict made $?
made 'dataset="ask pick table long facts"' && [ ! -s ran ]; verdict tokenizer-of-all $?
made 'dataset="pick table"' && grep -q tokenizer ran; verdict tokenizer-of-some $?

# ---- rows that one set trains on and another tests with: what counts is letters and digits ----
printf '{"s":"The  hat is Blue!"}\n{"s":"The map is red."}\n{"s":"What is 1+1?"}\n{"s":"Nothing else."}\n' >train.jsonl
printf '\nThe hat is blue.\n\nThe hat was blue.\n\nwhat is 1 + 1\n' >test.txt
printf 'the MAP\nis red\n' >own.txt
printf 'The map, is red\n' >more.txt
cat >leak.xml <<'XML'
<trim xmlns="urn:trim:spec:1" name="leak">
  <model path="model"/>
  <dataset name="learn" format="jsonl"><split train="train.jsonl" test="clean.jsonl"/><task kind="text"><prompt>{s}</prompt></task></dataset>
  <dataset name="told" format="text"><split test="test.txt"/><task kind="text"/></dataset>
  <dataset name="own" format="text"><split test="own.txt" train="more.txt"/><task kind="text"/></dataset>
  <target name="t" hardware="x86-64-v3"/>
</trim>
XML
echo '{"s":"Clean."}' >clean.jsonl
"$TRIM" check leak.xml >log 2>&1; rc=$?
[ $rc -eq 0 ] && diff - log >difference <<'TEXT'
trim: leak.xml:4:3: note: 2 test rows of 'told' are as good as equal to a train row of 'learn', test.txt:2 to train.jsonl:1 for one (--json lists them)
trim: leak.xml:5:3: note: 1 test row of 'own' is as good as equal to a train row of 'learn', own.txt:1 to train.jsonl:2 for one
TEXT
verdict leaks $?
"$TRIM" check --json leak.xml 2>/dev/null | python3 -c '
import json, sys
for l in json.load(sys.stdin)["leaks"]:
	print(*("%s %s:%d" % (r["dataset"], r["file"], r["line"]) for r in (l["test"], l["train"])), sep=", ")' >log
diff - log >difference <<'TEXT'
told test.txt:2, learn train.jsonl:1
told test.txt:6, learn train.jsonl:3
own own.txt:1, learn train.jsonl:2
TEXT
verdict leaks-json $?
