#!/usr/bin/env bash
# What a numerics class costs, as an action: when there is one, what shares it, that its numbers reach lock,
# binary, report and JSON, and that they are the same from any number of threads and any interrupt.
# Once: which actions run and where their numbers go.
set -u
DATA=${TRIM_TEST_DATA:-$PWD/../shared/data}
. tests/build/world.bash

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok cost/$1"; else cat log; echo "FAIL cost/$1"; fi
}
target() { # target NAME HARDWARE ATTRIBUTES
	echo "<target name='$1' hardware='$2' $3/>"
}
spec() { # spec VALIDATION TARGETS
	cat >s.xml <<-XML
		<trim xmlns="urn:trim:spec:1" name="s">
		  <model path="model"/>
		$(dataset "test=\"40%\" train=\"20%\" calibration=\"20%\"$1")
		  $2
		</trim>
	XML
}
again() { # again NAME EXPECTED [OPTION]...: the actions that run now
	local name=$1 expected=$2 got; shift 2
	"$TRIM" build --events events "$@" s.xml >log 2>&1
	got=$(sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' events | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')
	echo "expected '$expected', ran '$got'" >>log
	[ "$got" = "$expected" ]; verdict "again/$name" $?
}
of() { # of NAME EXPRESSION: true of lock L, target NAME's section T and its cost C
	python3 -c '
import json, sys
L = json.load(open("s.lock")); T = L["targets"][sys.argv[1]]; C = T.get("cost")
print(C); sys.exit(not eval(sys.argv[2]))' "$@" >log 2>&1
}
all() { # all NAME CLASS...: everything that a first build runs for targets that are named as their class
	local c
	for c in "$@"; do echo "$c/compile $c/link $c/lock import/evaluate-$c import/golden-$c import/quantise-$c"; done
}
data='data/rows/rows.rows.jsonl data/rows/split data/rows/task data/rows/tokens.calibration data/rows/tokens.test'\
' data/rows/tokens.train data/rows/tokens.validation'
sorted() { tr ' ' '\n' | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//; s/^ //'; }

# f32 is what a state is measured against: no such action.
spec ' validation="20%"' "$(target f32 x86-64-v3 'weights="f32"')"
again f32 "$(echo "$data import import/shape tokenizer $(all f32)" | sorted)"
of f32 'C is None'; verdict f32-says-nothing $?
# Another class has one, and needs no weights of f32 in the store.
spec ' validation="20%"' "$(target int4 x86-64-v3 'weights="int4"')"
again int4 "$(echo "import/cost-int4 $(all int4)" | sorted)"
of int4 'list(T)[-2:] == ["parent", "cost"] and list(C) == ["rows", "tokens", "nll", "perplexity", "unquantised_nll",
	"unquantised_perplexity", "kl", "same_argmax"]'; verdict section $?
of int4 'C["rows"] == 15 and C["tokens"] > C["rows"] and C["kl"] > 0 and 0 < C["same_argmax"] <= 1'; verdict numbers $?
of int4 'C["nll"] != C["unquantised_nll"] and 200 < C["perplexity"] < 400'; verdict perplexity $?
# Bits belong to the class: one cost for all its targets, also of another architecture.
int4=$(target int4 x86-64-v3 'weights="int4"')
spec ' validation="20%"' "$int4$(target v4 x86-64-v4 'weights="int4"')"
again another-target 'v4/compile v4/link v4/lock'
if ! "$TRIM" doctor | grep -q 'runtime aarch64 *missing'; then
	spec ' validation="20%"' "$int4$(target arm aarch64-neon 'weights="int4"')"
	again twin 'arm/compile arm/link arm/lock'
	of arm 'C == L["targets"]["int4"]["cost"]'; verdict twin-says-the-same $?
else
	echo "skip cost/twin: no runtime"
fi
# The class is of head and cache too, not of the weights alone.
spec ' validation="20%"' "$int4$(target head x86-64-v3 'weights="int4" head="int8"')"
again head 'head/compile head/link head/lock import/cost-int4-head-int8 import/evaluate-int4-head-int8'\
' import/golden-int4-head-int8 import/quantise-int4-head-int8'
of head 'C["kl"] < L["targets"]["int4"]["cost"]["kl"]'; verdict head-costs-less $?
spec ' validation="20%"' "$int4"
again back ''

# ---- where it is told ----
cp s.lock told.lock
out/s/int4/s info >info 2>log && grep -q '^cost  *rows 15, tokens [0-9]*, nll .*, kl [0-9.e-]*, same_argmax ' info; verdict info $?
"$TRIM" inspect out/s/int4/s >inspect 2>log && grep '^cost ' info | diff - <(grep '^cost ' inspect) >log; verdict inspect $?
"$TRIM" build s.xml --json >json 2>log && "$TRIM" report s.xml --json >report 2>>log && python3 - >log 2>&1 <<'PY'
import json
told = json.load(open("told.lock"))["targets"]["int4"]["cost"]
built, report = json.load(open("json")), json.load(open("report"))
assert built["metrics"]["int4"]["cost"] == told and "cost" not in built["metrics"]["parent"], built
assert report["targets"][1]["cost"] == told and "cost" not in report["targets"][0], report
PY
verdict json $?
"$TRIM" report s.xml 2>log | grep -q '^int4  *int4  *[0-9.]* *[0-9.]* *[0-9.]* *[0-9.]* % *[0-9]*$'; verdict report $?
"$TRIM" why s.xml import/cost-int4 >log 2>&1 && grep -q 'import/cost-int4: not run: nothing changed' log; verdict why $?
sed -i 's/"kl":/"kl":1/' s.lock; "$TRIM" build --locked s.xml >log 2>&1
[ $? -eq 1 ] && grep -q 'targets / int4 / cost / kl' log; verdict locked $?
cp told.lock s.lock

# ---- what runs it again ----
# Other rows of the split: measured anew; test rows are none of them.
spec ' validation="10%"' "$int4"
sed -i 's/test="40%"/test="50%"/' s.xml
again rows 'data/rows/split data/rows/tokens.test data/rows/tokens.validation import/cost-int4 import/evaluate-int4'\
' int4/link int4/lock'
grep -q '"event":"run",.*"action":"import/cost-int4",.*tokens' events; verdict rows-are-why $?
# Without such rows, or without data at all, there is nothing to measure on.
spec '' "$int4"
again no-validation 'data/rows/split data/rows/tokens.calibration data/rows/tokens.train data/rows/tokens.validation'\
' int4/link int4/lock'
of int4 'C is None and T["metrics"]'; verdict no-validation-says-nothing $?
sed -i '/<dataset/,/<\/dataset/d' s.xml
again no-data 'int4/link int4/lock'
of int4 'C is None and "metrics" not in T'; verdict no-data-says-nothing $?

# ---- the same bits ----
spec ' validation="20%"' "$int4"
for j in 1 2; do
	rm -f s.lock
	TRIM_CACHE=$TMP/cache-$j "$TRIM" build -j $j s.xml >log 2>&1; cmp s.lock told.lock >>log 2>&1; verdict threads-$j $?
done
# Killed behind a checkpoint, which is saved at every window: it goes on from there. A real model, so that there
# is something to interrupt.
if [ ! -d "$DATA/models/stories260K" ]; then echo "skip cost/killed: no data"; exit 0; fi
spec ' validation="20%"' "$int4"
head -c 300000 "$DATA/datasets/tinystories/tinystories_lower_4M.txt" >lower.txt
sed -i 's,path="model",path="data:models/stories260K/hf",; s,format="jsonl" path="rows.jsonl",format="text" path="lower.txt",
	s,<task.*,<task kind="text" length="256"/>,' s.xml
"$TRIM" build --root data="$DATA" s.xml >log 2>&1 && mv s.lock told.lock
kill_in import/cost-int4 2 "$TRIM" build --root data="$DATA" --events events --checkpoint 0 s.xml
"$TRIM" build --root data="$DATA" --events events s.xml >log 2>&1
[ "$(told resume import/cost-int4)" -eq 1 ] && cmp s.lock told.lock >>log 2>&1; verdict killed $?
