#!/usr/bin/env bash
# states="targets": what of a chain stays in the cache, and what runs when something that went is wanted again.
# Twice: actions and texts; what another compiler could change, unit tests and rules.sh see.
set -u
. tests/build/world.bash

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok states/$1"; else cat log; echo "FAIL states/$1"; fi
}
spec() { # spec STATES KEEP [TARGETS]
	local one="<target name='t' hardware='x86-64-v3' weights='f32' keep='$2'/>"
	cat >s.xml <<-XML
		<trim xmlns="urn:trim:spec:1" name="s">
		  <model path="model"/>
		$(dataset 'test="40%" validation="20%" calibration="10%" train="30%"')
		  <schedule states="$1"><score method="last"/><tune trainable="100%" steps="2" patience="9"/></schedule>
		  ${3:-$one}
		</trim>
	XML
}
again() { # again NAME EXPECTED: the actions that run now, of those with states
	"$TRIM" build s.xml --events events >log 2>&1
	local got
	got=$(sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' events | grep -v '^data/\|^import\|^tokenizer\|link$\|lock$\|compile$' |
		LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')
	printf 'expected %s\nran      %s\n' "$2" "$got" >>log
	[ "$got" = "$2" ]; verdict "$1" $?
}
loose() { "$TRIM" cache gc --json | grep -o '"removed":[0-9]*'; } # what gc would take: rows that may save work
objects() { find "$TRIM_CACHE/objects" -type f | wc -l; }

spec all '1 units'
again all "main/round-0/evaluate-f32 main/round-0/quantise-f32 main/round-0/shape main/round-0/tune$(
	for r in 1 2 3; do printf ' main/round-%d/choose main/round-%d/drop' $r $r
	[ $r = 3 ] && printf ' main/round-3/evaluate-f32 main/round-3/golden-f32 main/round-3/quantise-f32'
	printf ' main/round-%d/score' $r; [ $r = 3 ] && printf ' main/round-3/shape'; printf ' main/round-%d/tune' $r; done) main/trainable"
cp s.lock all.lock; before=$(objects); loose >loose
"$TRIM" report --json s.xml >all.report 2>log
# It enters no key; what no target takes is gone without a word from gc, which would find nothing more.
spec targets '1 units'
again targets ''
cmp s.lock all.lock >log && [ "$(objects)" -lt "$before" ] && loose | cmp - loose >>log; verdict gone $?
again nothing ''
"$TRIM" report --json s.xml 2>log | cmp - all.report >>log; verdict report $?
# Further along the chain: from the last state, which is there.
spec targets '0 units'
again deeper 'main/round-4/choose main/round-4/drop main/round-4/evaluate-f32 main/round-4/golden-f32 main/round-4/quantise-f32'\
' main/round-4/score main/round-4/shape main/round-4/tune'
# What went is made again, from round 0, to the same bits; nothing is scored anew.
spec targets '2 units'
again back 'main/round-1/drop main/round-1/tune main/round-2/drop main/round-2/evaluate-f32 main/round-2/golden-f32 main/round-2/quantise-f32'\
' main/round-2/shape main/round-2/tune'
rm -rf "$TRIM_CACHE"; cp s.lock two.lock
again clean "main/round-0/evaluate-f32 main/round-0/quantise-f32 main/round-0/shape main/round-0/tune main/round-1/choose main/round-1/drop"\
' main/round-1/score main/round-1/tune main/round-2/choose main/round-2/drop main/round-2/evaluate-f32 main/round-2/golden-f32'\
' main/round-2/quantise-f32 main/round-2/score main/round-2/shape main/round-2/tune main/trainable'
cmp s.lock two.lock >log; verdict same-bits $?
# What another target takes stays, of other specs too, and of targets that were built alone.
two="<target name='t' hardware='x86-64-v3' weights='f32' keep='1 units'/><target name='u' hardware='x86-64-v3' weights='f32' keep='2 units'/>"
spec targets '' "$two"
"$TRIM" build s.xml >log 2>&1; with=$(objects)
again both ''
"$TRIM" build --target t s.xml >log 2>&1 && [ "$(objects)" = "$with" ]; verdict alone $?
sed "s/name=\"s\"/name=\"other\"/; s/<target name='t'.*keep='1 units'\/>//" s.xml >other.xml
"$TRIM" build other.xml >log 2>&1
spec targets '1 units'
"$TRIM" build s.xml >log 2>&1 && "$TRIM" build other.xml --events events >log 2>&1 && ! grep -q '"event":"run"' events; verdict other-spec $?
# While another process uses the cache nothing goes.
spec all '2 units'; sed -i 's/steps="2"/steps="3"/' s.xml
"$TRIM" build s.xml >log 2>&1; with=$(objects)
sed -i 's/states="all"/states="targets"/' s.xml
flock -s "$TRIM_CACHE/locks/gc" "$TRIM" build s.xml >log 2>&1 && [ "$(objects)" = "$with" ]; verdict in-use $?
"$TRIM" build s.xml >log 2>&1 && [ "$(objects)" -lt "$with" ]; verdict not-in-use $?
# A chain that is searched: what was tried and not taken is gone, and the search stands.
spec targets gate; sed -i 's/  <target/  <gate metric="nll" against="tuned" margin="0.0001"\/>&/' s.xml
"$TRIM" build s.xml >log 2>&1; [ $? -ne 3 ] || echo "it fails on test rows" >>log
again gate ''
