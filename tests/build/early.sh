#!/usr/bin/env bash
# Early stops of a tune: which state is kept and where it stops, what the looks read and what they leave alone, which
# changes make it run again, and the same bits from any threads and behind a kill.
# Twice: actions and texts; what another compiler could change, unit tests and rules.sh see.
set -u
. tests/build/world.bash

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok early/$1"; else cat log; echo "FAIL early/$1"; fi
}
spec() { # spec TUNE [SPLIT [KEEP [ROWS]]]: attributes; XML of the datasets
	cat >s.xml <<-XML
		<trim xmlns="urn:trim:spec:1" name="s">
		  <model path="model"/>
		${4:-$(dataset "${2:-test=\"40%\" validation=\"20%\" calibration=\"10%\" train=\"30%\"}")}
		  <schedule><score method="last"/><tune trainable="100%" batch="4" decay="constant" $1/></schedule>
		  <target name="t" hardware="x86-64-v3" weights="f32" keep="${3:-100%}"/>
		</trim>
	XML
}
build() { # build [OPTION]...: names of what ran go to `ran`
	"$TRIM" build s.xml --events events "$@" >log 2>&1; local rc=$?
	sed -n 's/.*"event":"run".*"action":"\([^"]*\)".*/\1/p' events | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//' >ran
	return $rc
}
tunes() { # tunes EXPECTED: actions that tune, of what ran
	local got
	got=$(tr ' ' '\n' <ran | grep '/tune$' | tr '\n' ' ' | sed 's/ $//')
	echo "expected '$1', ran '$(cat ran)'" >>log
	[ "$got" = "$1" ]
}
state() { sed -n 's/.*"state":"\([0-9a-f]*\)".*/\1/p' s.lock; }
looks() { # looks EXPRESSION: true of the list L of the report, its first round R
	"$TRIM" report --json s.xml 2>>log >report && { [ -e first ] || cp report first; } && python3 -c '
import json, sys
L = json.load(open("report"))["schedules"][0].get("looks"); R = L and L[0]
F = json.load(open("first"))["schedules"][0]["looks"][0]["validation"]
print(L); sys.exit(not eval(" ".join(sys.argv[1].split())))' "$1" >>log 2>&1
}

# It goes up soon: the lowest look is kept, and nothing is done behind as many looks as the patience has.
spec 'epochs="40" learning-rate="1e-2" patience="3" validate-every="5"'
build && looks 'R["of"] == 160 and R["kept"] > 0 and R["stopped"] == R["kept"] + 15 < 160 and
	[s for s, _ in R["validation"]] == list(range(0, R["stopped"] + 1, 5)) and
	min(R["validation"], key=lambda v: v[1])[0] == R["kept"]'
verdict stops $?
kept=$(python3 -c 'import json; print(json.load(open("report"))["schedules"][0]["looks"][0]["kept"])') early=$(state)
cp s.lock early.lock
"$TRIM" report s.xml >text 2>log; sed -n '/early stop/,$p' text | sed 's/[0-9]\.[0-9]\{4\}/X.XXXX/g' >shown
diff - shown >log <<TEXT
  early stop, nats a token on validation rows:
    round      at first      least    at step stopped at         of
    0            X.XXXX     X.XXXX $(printf '%10d %10d' "$kept" $((kept + 15)))        160
TEXT
verdict told $?
# Looks change nothing: as many steps alone come to the same bits, at a constant rate.
spec "steps=\"$kept\" learning-rate=\"1e-2\""
build; [ "$(state)" = "$early" ]; verdict same-as-so-many-steps $?
looks 'L is None'; verdict no-looks-none-told $?

# What makes it run again: where and how patiently it looks, and the rows that it looks at; never test rows.
spec 'epochs="40" learning-rate="1e-2" patience="3" validate-every="5"'
build && tunes ''; verdict again/nothing $?
sed -i 's/patience="3"/patience="4"/' s.xml
build && tunes 'main/round-0/tune'; verdict again/patience $?
looks 'R["validation"][:len(F)] == F and len(R["validation"]) > len(F)'; verdict again/patience-looks-on $?
sed -i 's/patience="4"/patience="3"/; s/validate-every="5"/validate-every="6"/' s.xml
build && tunes 'main/round-0/tune'; verdict again/every $?
more='test="40%" validation="25%" calibration="5%" train="30%"'
spec 'epochs="40" learning-rate="1e-2" patience="3" validate-every="5"' "$more"
build && tunes 'main/round-0/tune'; verdict again/validation-rows $?
spec 'epochs="2" learning-rate="1e-2"'
build
spec 'epochs="2" learning-rate="1e-2"' "$more"
build && tunes ''; verdict again/validation-rows-unread $?
spec 'epochs="40" learning-rate="1e-2" patience="3" validate-every="5"'
build
i=1 # the first row that tests goes
until "$TRIM" show s.xml --json --row $i | grep -q '"split":"test"'; do i=$((i + 1)); done
sed -i "${i}d" rows.jsonl
build && tunes '' && grep -q 'evaluate-f32' ran; verdict again/no-test-rows $?
cp "$OLDPWD/tests/rules/rows.jsonl" . && build; verdict again/back $?

# Nothing got better: the state is the one that it began with, tensor for tensor.
spec 'epochs="1" learning-rate="3" patience="1" validate-every="1"'
build && looks 'R["kept"] == 0 and R["stopped"] == 1'; verdict none-better $?
none=$(state)
spec 'epochs="0"'
build; [ "$(state)" = "$none" ]; verdict none-better-is-untuned $?
# A tenth of the steps where nothing is said; the last step is looked at whatever the interval.
spec 'steps="24" learning-rate="1e-3" patience="99"'
build && looks '[s for s, _ in R["validation"]] == list(range(0, 25, 3)) and R["stopped"] == 24'; verdict tenths $?
spec 'steps="24" learning-rate="1e-3" patience="99" validate-every="10"'
build && looks '[s for s, _ in R["validation"]] == [0, 10, 20, 24]'; verdict last-step $?

# Each round looks for itself, additions of low rank and a parent or not; whatever its loss, looks see nll.
spec 'method="lora" steps="6" learning-rate="1e-3" patience="2" distill="50%"' '' '2 units'
build && looks '[r["round"] for r in L] == [0, 1, 2] and all(r["of"] == 6 for r in L)'; verdict rounds $?
first() { python3 -c 'import json; print(json.load(open("report"))["schedules"][0]["looks"][0]["validation"][0][1])'; }
a=$(first)
spec 'steps="6" learning-rate="1e-3" patience="2"'
build && looks L && [ "$a" = "$(first)" ]; verdict nll-alone $?

# Several sets: by tokens, or by the weights that all of them have.
two() { # two WEIGHT WEIGHT [PART]: the second without train rows where it is none
	echo "<dataset name='a' path='rows.jsonl'$1><split test='40%' validation='20%' calibration='10%' train='30%'/>"
	echo "<task kind='completion' length='96'><prompt>{text} {question}</prompt><answer field='answer'/></task></dataset>"
	echo "<dataset name='b' path='rows.jsonl'$2><split test='40%' validation='20%' train='40%'/>"
	echo "<task kind='text' length='96'><prompt>{text}</prompt></task></dataset>"
}
begins() { # begins WEIGHT WEIGHT: the first look's loss
	spec 'steps="1" learning-rate="1e-3" patience="1"' '' '' "$(two "$1" "$2")"
	build && looks L && first
}
a=$(begins " weight='1'" " weight='1e-5'") b=$(begins " weight='1e-5'" " weight='1'") half=$(begins " weight='2'" " weight='2'")
echo "a $a b $b half $half" >>log
awk "BEGIN { d = ($a + $b) / 2 - $half; exit !(d * d < 1e-9 && ($a - $b) ^ 2 > 1e-4) }"; verdict by-weight $?
size=$(begins '' '')
echo "size $size" >>log
awk "BEGIN { exit !(($b - $size) ^ 2 < ($a - $size) ^ 2 && ($a - $size) * ($b - $size) < 0) }"; verdict by-tokens $?

# ---- the same bits ----
tune='epochs="40" learning-rate="1e-2" patience="3" validate-every="5"'
spec "$tune"
for j in 1 2; do
	rm -f s.lock
	TRIM_CACHE=$TMP/cache-$j build -j $j; cmp s.lock early.lock >>log 2>&1; verdict threads-$j $?
done
export TRIM_CACHE=$TMP/cache-killed
for step in 3 30; do # behind the first look, and behind some
	rm -f s.lock
	kill_in main/round-0/tune $step "$TRIM" build s.xml --events events --checkpoint 0
	build -j 1; cmp s.lock early.lock >>log && [ "$(told resume main/round-0/tune)" -eq 1 ]; verdict killed-$step $?
done
