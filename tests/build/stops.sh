#!/usr/bin/env bash
# Where a chain stops that was not told how far: by a gate on validation rows, by a measured speed. Which rounds run,
# which rows are named, what is chosen. Then the smoke test: every stage, its own folder, no lock.
# Once: which rounds run and what is chosen.
set -u
. tests/build/world.bash

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok stops/$1"; else cat log; echo "FAIL stops/$1"; fi
}
# Nothing is tuned, so round 0 is the import, whose evaluation it shares, and a round's loss is what dropping its unit costs this model, in nats over round 0 on
# validation rows (upper bound): round 1 -0.023, round 2 +0.027, round 3 -0.018, round 4 -0.066.
spec() { # spec MARGIN KEEP [SPLIT [GATE [MORE]]]
	cat <<-XML
		<trim xmlns="urn:trim:spec:1" name="g">
		  <model path="model"/>
		$(dataset "${3:-test=\"30%\" train=\"30%\" calibration=\"10%\" validation=\"30%\"}")
		  <schedule><score method="given" rows="4" units="blk.0.attn blk.1.mlp blk.1.attn blk.0.mlp"/>
		    <tune epochs="0" trainable="100%"/></schedule>
		  <gate metric="nll" margin="$1" confidence="95%" ${4:-}/>
		  <target name="g" keep="$2" hardware="x86-64-v3" weights="f32"/>
		  ${5:-}
		</trim>
	XML
}
build() { # build STATUS [OPTION]...: its talk in log, what ran in `ran`, in that order
	local want=$1 rc; shift
	TRIM_QUIET= "$TRIM" build -j 1 --events events g.xml "$@" >out.txt 2>log
	rc=$?
	sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' events >ran
	[ "$rc" -eq "$want" ] || echo "ended with $rc, not $want" >>log
	[ "$rc" -eq "$want" ]
}
ran() { # ran PATTERN EXPECTED: names that match, sorted
	local got
	got=$(grep -E "$1" ran | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')
	echo "expected '$2', ran '$got'" >>log
	[ "$got" = "$2" ]
}
# No test row is named before the last state was tried: nothing that measures one, and not its tokens.
test_rows_last() {
	awk '/tokens.test|\/evaluate-/ { test = 1 } /validate-|choose|\/round-.*\/gate-/ && test { exit 1 }' ran
}

# ---- keep="gate" ----
spec 0.01 gate >g.xml
build 0 && ran '/(choose|tune)$' 'main/round-0/tune main/round-1/choose main/round-1/tune main/round-2/choose main/round-2/tune' &&
	ran 'validate|evaluate' 'import/evaluate-f32 main/round-0/validate-f32'\
' main/round-1/evaluate-f32 main/round-1/validate-f32 main/round-2/validate-f32' &&
	ran '/gate-' 'g/gate-1 g/round-0/gate-1 g/round-1/gate-1 g/round-2/gate-1' && test_rows_last
verdict gate/first-failure-ends $?
grep -q "target 'g' takes main/round-1, main/round-2 did not pass on validation rows" log; verdict gate/says-so $?
python3 - >log 2>&1 <<'PY'
import json
lock = json.load(open("g.lock"))
assert [r["dropped"][0]["unit"] for r in lock["chain"]] == ["blk.0.attn"], lock["chain"]
assert [g["passed"] for g in lock["targets"]["g"]["gates"]] == [True]
PY
verdict gate/lock $?
cp g.lock chosen.lock
build 0 && ran . '' && cmp g.lock chosen.lock >>log; verdict gate/again-nothing $?

# Another target takes the chain further: no other choice.
spec 0.01 gate '' '' '<target name="far" keep="1 units" hardware="x86-64-v3" weights="bf16"/>' >g.xml
build 0 && ran '/choose$' 'main/round-3/choose' && ran 'validate|round-.*/gate' '' &&
	python3 - >>log 2>&1 <<'PY'
import json
lock, was = (json.load(open(f)) for f in ("g.lock", "chosen.lock"))
assert len(lock["chain"]) == 3 and lock["targets"]["g"] == was["targets"]["g"]
PY
verdict gate/whatever-other-targets-want $?
# What was built alone leaves the other's rounds in the lock.
cp g.lock both.lock
build 0 --target g && cmp g.lock both.lock >>log; verdict gate/partial-build-keeps-rounds $?
rm -f g.lock

spec 0.05 gate >g.xml
build 0 && grep -q "takes main/round-4, the last of the chain" log && ran '/choose$' 'main/round-4/choose'
verdict gate/all-pass $?
# Too few rows prove nothing: not even round 0 passes, which is taken, and test rows decide.
spec 0.05 gate 'test="60%" train="10%" calibration="10%" validation="20%"' >g.xml
build 0 && ran '/choose$' '' && ran 'round-.*/gate' 'g/round-0/gate-1' &&
	grep -q 'g.xml:[0-9:]*: note: target .g. takes main/round-0, nothing dropped: main/round-0 did not pass' log
verdict gate/nothing-passes $?
# Test rows decide the exit code alone: too few of them, and what passed on validation rows has failed.
spec 0.01 gate 'test="10%" train="40%" calibration="10%" validation="40%"' >g.xml
build 3 && ran '/round-.*/gate-|/gate-' 'g/gate-1 g/round-0/gate-1 g/round-1/gate-1 g/round-2/gate-1' &&
	[ -x out/g/failed/g/g ]
verdict gate/test-rows-decide $?
spec 0.05 gate '' 'against="parent"' >g.xml
build 0 && grep -q '"event":"hit".*"import/validate-f32"' events; verdict gate/parent $?
spec 0.01 gate 'test="60%" train="10%" calibration="10%" validation="20%"' >g.xml
"$TRIM" check g.xml >log 2>&1; [ $? -eq 0 ] && grep -q "has 1[0-9] validation rows, and without any loss it takes" log
verdict gate/check-warns $?

# ---- keep="N tokens/s": any machine makes 0.001 and none a billion ----
rm -rf out g.lock
export TRIM_CACHE=$TMP/cache-first
decodes() { grep -c ' decodes .* tokens/s$' log; }
spec 9 '0.001 tokens/s' >g.xml
build 0 && [ "$(decodes)" = 1 ] && grep -q "takes main/round-0, the first at 0.001 tokens/s or more" log &&
	ran 'round-.*/(compile|choose)' 'g/round-0/compile' && test_rows_last
verdict speed/measured $?
python3 - >log 2>&1 <<'PY'
import json
stop = json.load(open("g.lock"))["targets"]["g"]["stop"]
assert stop.keys() == {"keep", "units", "of"} and (stop["keep"], stop["units"]) == ("0.001 tokens/s", 4), stop
PY
verdict speed/lock-has-depth-alone $?
cp g.lock chosen.lock
TRIM_CACHE=$TMP/cache-speed build 0 --locked && [ "$(decodes)" = 0 ] && ran 'round-.*/compile' '' && cmp g.lock chosen.lock >>log
verdict speed/read-from-lock $?
spec 9 '1e9 tokens/s' >g.xml
build 2 && grep -q "no state of the chain gives target 'g' keep=\"1e9 tokens/s\"; the last one, with 0 units, decodes" log &&
	[ "$(decodes)" = 5 ] && ran 'evaluate|link' ''
verdict speed/out-of-reach $?
build 0 --smoke && [ "$(decodes)" = 1 ] && [ -x out/_smoke/g/g/g ]
verdict speed/smoke $?

# ---- trim build --smoke ----
rm -rf out g.lock "$XDG_STATE_HOME"
export TRIM_CACHE=$TMP/cache-smoke
spec 0.01 gate '' '' '<target name="far" keep="1 units" hardware="x86-64-v3" weights="bf16"/>' >g.xml
sed -i 's/epochs="0"/epochs="3"/; s/method="given" rows="4" units="[^"]*"/rows="9"/
	s/train="30%" calibration="10%"/train="20%" calibration="20%"/' g.xml
build 0 --smoke && ran '(choose|tune|score|drop)$' 'main/round-0/tune main/round-1/choose main/round-1/drop'\
' main/round-1/score main/round-1/tune' && ran '/gate|cost' 'far/gate-1 g/gate-1 g/round-0/gate-1 main/round-1/cost-bf16' &&
	ran 'link$' 'far/link g/link'
verdict smoke/every-stage $?
[ -x out/_smoke/g/g/g ] && [ -x out/_smoke/g/far/g ] && [ ! -e out/g ] && [ ! -e g.lock ] && [ "$(cat out/.gitignore)" = '*' ]
verdict smoke/own-folder-no-lock $?
out/_smoke/g/g/g info --json >info 2>log && python3 - >>log 2>&1 <<'PY'
import json
section = json.load(open("info"))["lock"]["targets"]["g"]
assert section["metrics"]["rows"] == section["gates"][0]["rows"] == 8, section
PY
verdict smoke/eight-rows $?
build 0 --smoke --json && python3 - >>log 2>&1 <<'PY'
import json
assert [o["gate"] for o in json.load(open("out.txt"))["outputs"]] == ["undecided"] * 2
PY
verdict smoke/gates-undecided $?
# A lock that is there stays as it is, and the build is as if there had been no smoke test.
echo 'not even JSON' >g.lock
build 0 --smoke && grep -qx 'not even JSON' g.lock; verdict smoke/lock-untouched $?
rm g.lock
build 0 && cp g.lock with.lock && "$TRIM" why g.xml main/round-0/tune >>log && ! grep -q "changed from" log &&
	! grep -q 'smoke' g.lock
verdict smoke/forgotten-by-why $?
build 2 --smoke --locked && grep -q 'a smoke test has no lock' log; verdict smoke/not-locked $?
