#!/usr/bin/env bash
# A schedule from spec to binaries on a real model and little data: which rounds run when the spec changes,
# the same digests whatever the threads and interrupts, and `predict`/`score` agreeing with the lock.
# Once: which rounds run, resumed or not; rules.sh runs the same rules everywhere.
set -u
data=${TRIM_TEST_DATA:-../shared/data}
names="rounds-added rounds-back threads interrupted-resumes lower-keep-error learning-rate gate-fails nan-named
	appended-calibration
	killed-in-tune killed-in-scan killed-in-lora"
if ! [ -d "$data/models/stories260K" ]; then
	for n in $names; do echo "skip schedule/$n: no test data in '$data'"; done
	exit 0
fi
export XDG_STATE_HOME=$TMP/state
cd "$TMP" && touch .trim-root || exit 1
head -c 60000 "$data/datasets/tinystories/tinystories_lower_4M.txt" >lower.txt

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok schedule/$1"; else echo "FAIL schedule/$1"; fi
}

# spec KEEP [RATE] [MORE]; $method: attributes of <tune>
method=
spec() {
	cat >s.xml <<EOT
<trim xmlns="urn:trim:spec:1" name="s">
  <model path="models:stories260K/hf"/>
  <dataset name="lower" format="text" path="lower.txt">
    <split test="20%" train="40%" calibration="20%" validation="10%"/>
    <task kind="text" length="96"/>
  </dataset>
  <schedule arithmetic="f32">
    <score method="scan" rows="8" tie-break="likelihood activation-norm"/>
    <tune $method epochs="1" batch="16" learning-rate="${2:-1e-3}" trainable="50%" seed="1"/>
  </schedule>
  ${3:-}
  <target name="a" hardware="x86-64-v3" weights="f32" keep="$1"/>
</trim>
EOT
}
build() { # build [OPTION]...: events of rounds that ran go to `ran`
	"$TRIM" build s.xml --root models="$data/models" --events events "$@" >out.txt 2>err.txt
	rc=$?
	sed -n 's/.*"event":"run",.*"action":"main\/\([^"]*\)".*/\1/p' events | sort | tr '\n' ' ' >ran
	return $rc
}

export TRIM_CACHE=$TMP/cache
spec 85%
build || cat err.txt
cp s.lock lock.85
spec 70%
build || cat err.txt
# rounds 1 .. n of the first build did not run again
! grep -q 'round-0/\|round-1/' ran && grep -q 'round-[3-9]/tune' ran; verdict rounds-added $?
spec 85%
build && [ ! -s ran ] && cmp -s s.lock lock.85; verdict rounds-back $?

export TRIM_CACHE=$TMP/cache1
build -j 1 && cmp -s s.lock lock.85; verdict threads $?

# stop_in SIGNAL ACTION N [OPTION]...: a first build that gets the signal behind the N-th step of an action; its exit in rc
stop_in() {
	local signal=$1 action=$2 left=$3 line pid; shift 3
	rm -f events s.lock
	exec 3< <(exec "$TRIM" build s.xml --root models="$data/models" --events /dev/stdout "$@" 2>err.txt)
	pid=$!
	while read -r line <&3; do
		case $line in *'"event":"progress",'*"\"action\":\"main/$action\""*)
			left=$((left - 1))
			[ $left -ne 0 ] || kill "-$signal" $pid
		esac
	done
	wait $pid 2>/dev/null; rc=$?
	exec 3<&-
}

# One interrupt inside a tune: the checkpoint is written, the next build goes on from there.
export TRIM_CACHE=$TMP/cache2
stop_in INT round-1/tune 1
resumed=1
if [ $rc -eq 130 ]; then
	build; cmp -s s.lock lock.85 && grep -q '"event":"resume",.*"action":"main/round-1/tune"' events && resumed=0
else
	echo "the build ended with $rc before it could be interrupted"; tail -3 err.txt
fi
verdict interrupted-resumes $resumed

export TRIM_CACHE=$TMP/cache
spec 5%
build; [ $? -eq 2 ] && grep -q 'keep="5%" is below what no drop can take' err.txt; verdict lower-keep-error $?

spec 85% 5e-4
build && grep -q 'round-0/tune' ran && grep -q 'round-1/tune' ran && ! grep -q 'parent/score' ran
verdict learning-rate $?

spec 85% 1e-3 '<gate against="parent" metric="nll" margin="0.00001" confidence="95%"/>'
sed -i 's/keep="85%"/keep="55%"/' s.xml
build; [ $? -eq 3 ] && [ -x out/s/failed/a/s ]; verdict gate-fails $?

spec 85% 10
build; [ $? -eq 1 ] && grep -q 'at step [0-9]* of [0-9]*, which begins with row' err.txt; verdict nan-named $?

# kill -9 inside an action that saves at every step (so also inside the save): the next build resumes there.
killed() { # killed NAME ACTION
	export TRIM_CACHE=$TMP/cache-$1
	spec 85%
	sed -i 's/rows="8"/rows="50"/' s.xml
	stop_in KILL "$2" 2 --checkpoint 0
	build -j 1 || cat err.txt
	grep -q "\"event\":\"resume\",.*\"action\":\"main/$2\"" events && cmp -s s.lock lock.whole
	verdict "$1" $?
}
spec 85%
sed -i 's/rows="8"/rows="50"/' s.xml
build || cat err.txt
cp s.lock lock.whole
killed killed-in-tune round-0/tune
killed killed-in-scan round-1/score
method='method="lora" rank="4" distill="30%" temperature="2"'
spec 85%
sed -i 's/rows="8"/rows="50"/' s.xml
export TRIM_CACHE=$TMP/cache
build || cat err.txt
cp s.lock lock.whole
killed killed-in-lora round-1/tune
method=

# Calibration rows of their own; one more of them scores itself alone, in every round that is still the same.
head -c 6000 "$data/datasets/tinystories/tinystories_lower_4M.txt" | tail -c 3000 >cal.txt
spec 85%
sed -i 's/test="20%" train="40%" calibration="20%" validation="10%"/path="lower.txt" test="20%" train="40%" validation="10%"/
s/ format="text" path="lower.txt">/ format="text"><split path="cal.txt" calibration="100%"\/>/
s/rows="8"/rows="9"/' s.xml
build || cat err.txt
first=$(grep '"event":"progress",.*parent/score' events | sed -n '$s/.*"total":\([0-9]*\).*/\1/p')
printf '\n\na row that was never there before, about a cat and a very small hat.\n' >>cal.txt
sed -i 's/rows="9"/rows="10"/' s.xml
build || cat err.txt
grep '"event":"progress",.*parent/score' events | sed -n 's/.*"total":\([0-9]*\).*/\1/p' | sort -u >totals
[ "${first:-0}" -gt 5 ] && [ "$(cat totals)" = 1 ]; verdict appended-calibration $?
