#!/usr/bin/env bash
# Chains go on side by side, in whatever order their actions end; the lock lists their rounds as the spec lists
# the schedules, so equal builds give equal bytes. Then what of it a binary carries, and that a binary is linked
# again when that changes, and only then.
# Once: orders, and texts of the lock.
set -u
. tests/build/world.bash

# The first schedule's rounds take long and begin with the parent's scores, the second's take next to nothing; the names
# are not in order either.
cat >two.xml <<XML
<trim xmlns="urn:trim:spec:1" name="two">
  <model path="model"/>
$(dataset)
  <schedule name="slow"><score rows="8"/><tune epochs="1" batch="4" trainable="50%"/></schedule>
  <schedule name="fast"><score method="last"/><tune epochs="0" trainable="100%"/></schedule>
  <target name="s" schedule="slow" keep="3 units" hardware="x86-64-v3" weights="f32"/>
  <target name="f" schedule="fast" keep="2 units" hardware="x86-64-v3" weights="f32"/>
</trim>
XML
rounds() { sed -n 's/.*"schedule":"\([a-z]*\)","round":\([0-9]*\).*/\1-\2/p' two.lock | tr '\n' ' '; }
for j in 1 4; do
	rm -f two.lock
	TRIM_CACHE=$TMP/cache-$j "$TRIM" build -j $j --events events two.xml >log 2>&1 || cat log
	# the order in which rounds were chosen, as the engine ran them
	sed -n 's,.*"event":"done".*"action":"\([a-z]*\)/round-\([0-9]\)/choose".*,\1-\2,p' events | tr '\n' ' ' >chosen
	if [ "$(cat chosen)" != "$(rounds)" ]; then echo "ok lock/chosen-in-another-order-$j"
	else echo "FAIL lock/chosen-in-another-order-$j: the test proves nothing: $(cat chosen)"; fi
	if [ "$(rounds)" = 'slow-1 fast-1 fast-2 ' ]; then echo "ok lock/order-of-the-spec-$j"
	else echo "$(rounds)"; echo "FAIL lock/order-of-the-spec-$j"; fi
	cp two.lock lock-$j
done
if cmp lock-1 lock-4; then echo "ok lock/equal-bytes"; else echo "FAIL lock/equal-bytes"; fi

# ---- what a binary carries ----
verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok lock/$1"; else cat log; echo "FAIL lock/$1"; fi
}
export TRIM_CACHE=$TMP/cache-1
# A target with a gate of its own, and one that stops earlier on the chain.
gate='<gate against="parent" metric="nll" margin="9" confidence="90%"/>'
sed -i "s|<target name=\"s\".*|${gate}<target name=\"s\" schedule=\"slow\" keep=\"3 units\" hardware=\"x86-64-v3\" weights=\"f32\"/>|
	s|</trim>|  <target name=\"early\" schedule=\"fast\" keep=\"3 units\" hardware=\"x86-64-v3\" weights=\"bf16\"/>\n</trim>|" two.xml
"$TRIM" build two.xml >log 2>&1; verdict builds $?
for t in s f early; do
	"out/two/$t/two" info --json >info 2>log && "$TRIM" inspect --json "out/two/$t/two" >inspect 2>>log &&
		python3 - $t >log 2>&1 <<'PY'
import json, sys
name = sys.argv[1]
lock, info, inspect = (json.load(open(f)) for f in ("two.lock", "info", "inspect"))
schedule, rounds = {"s": ("slow", 1), "f": ("fast", 2), "early": ("fast", 1)}[name]
chain = [r for r in lock["chain"] if r["schedule"] == schedule][:rounds]
assert len(chain) == rounds and len(lock["inputs"]) > 3 and lock["targets"][name]["gates"]
want = {"inputs": lock["inputs"], "chain": chain, "targets": {name: lock["targets"][name]}}
assert info["lock"] == want, (info["lock"], want)
assert json.dumps(info["lock"]) == json.dumps(want), "another order"
assert inspect["info"] == info
PY
	verdict "excerpt-$t" $?
done
# The same for people, from the binary and from outside.
out/two/s/two info >info 2>log && "$TRIM" inspect out/two/s/two >inspect 2>>log
sed 's/-\?[0-9]*\.[0-9]\{3,\}/X/g; s/^weights .*/weights/; s/[0-9a-f]\{32\}/HEX/' info >shown
diff - shown >log <<'TEXT'
name          two
architecture  llama, 2 blocks
parameters    7488
weights
context       96 tokens
target        s, x86-64-v3
dropped       1 units: blk.1.attn
round         1: blk.1.attn (nll X, norm X)
metrics       rows 34, skipped 0, tokens 136, bytes 109, nll X, nll_per_byte X, perplexity X
parent        rows 34, skipped 0, tokens 136, bytes 109, nll X, nll_per_byte X, perplexity X
gate          metric nll, margin 9, confidence 0.9, rows 34, reference X, candidate X, loss X, bound X, passed true
input         HEX  model/config.json
input         HEX  model/model.safetensors
input         HEX  model/tokenizer.model
input         HEX  rows.jsonl
code for      x86-64-v3
runs here     x86-64-v3
tasks         predict
TEXT
verdict printed $?
grep -v '^tasks ' info | diff - <(head -n "$(($(wc -l <info) - 1))" inspect) >log && grep -q 't:blk.0.attn.q' inspect
verdict printed-by-inspect $?
cp -r "$TMP" "$TMP.elsewhere" && (cd "$TMP.elsewhere" && rm -rf out cache-* two.lock &&
	HOME=$PWD TRIM_CACHE=$PWD/c "$TRIM" build -j 3 two.xml) >log 2>&1 &&
	for t in s f early; do cmp "out/two/$t/two" "$TMP.elsewhere/out/two/$t/two" || break; done >>log 2>&1
verdict same-bytes-elsewhere $?
rm -rf "$TMP.elsewhere"

again() { # again NAME EXPECTED: the actions that run now
	"$TRIM" build --events events two.xml >log 2>&1
	local got
	got=$(sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' events | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')
	echo "expected '$2', ran '$got'" >>log
	[ "$got" = "$2" ]; verdict "again/$1" $?
}
again nothing ''
sed -i 's/<schedule name="slow">/<!-- a comment -->\n  &/' two.xml
again comment ''
sed -i '/name="early"/s/bf16"/bf16" context="64"/' two.xml
again another-target 'early/compile early/link early/lock'
sed -i '/name="early"/d' two.xml
again target-gone ''
sed -i 's/\(<schedule name="fast".*\)method="last"/\1method="random"/' two.xml
again another-schedule 'f/compile f/gate-1 f/link f/lock fast/round-1/choose fast/round-1/score fast/round-2/choose'\
' fast/round-2/drop fast/round-2/evaluate-f32 fast/round-2/golden-f32 fast/round-2/quantise-f32 fast/round-2/score'\
' fast/round-2/shape fast/round-2/tune'
sed -i 's/margin="9"/margin="8"/' two.xml
again verdict 'f/gate-1 f/link f/lock s/gate-1 s/link s/lock'
# Fewer test rows: other metrics of the same states.
sed -i 's/test="40%"/test="30%"/; s/validation="10%"/validation="20%"/' two.xml
again metrics 'data/rows/split data/rows/tokens.test data/rows/tokens.validation f/gate-1 f/link f/lock'\
' fast/round-2/evaluate-f32 import/evaluate-f32 s/gate-1 s/link s/lock slow/round-0/evaluate-f32 slow/round-1/evaluate-f32'
