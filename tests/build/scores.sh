#!/usr/bin/env bash
# Scores in a build: which rounds score and choose, that their numbers reach lock and report, that runs of blocks are
# neighbours, and the same bits whatever is remembered and where it was killed. Every method: tests/rules.
# Once: which actions run; rules.sh runs every score everywhere.
set -u
DATA=${TRIM_TEST_DATA:-$PWD/../shared/data}
. tests/build/world.bash

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok scores/$1"; else cat log; echo "FAIL scores/$1"; fi
}
spec() { # spec SCHEDULE SCORE KEEP: attributes, and units that stay
	cat >s.xml <<-XML
		<trim xmlns="urn:trim:spec:1" name="s">
		  <model init="random" seed="3" arch="llama" layers="5" width="16" ffn="24" heads="2" kv-heads="1" context="96">
		    <tokenizer train="bpe" vocab="272" dataset="rows"/>
		  </model>
		$(dataset)
		  <schedule $1>
		    <score $2/>
		    <tune trainable="100%" epochs="0"/>
		  </schedule>
		  <target name="t" hardware="x86-64-v3" weights="f32" keep="$3 units"/>
		</trim>
	XML
}
build() { # build [OPTION]...: the actions of the schedule that ran go to `ran`
	"$TRIM" build --events events "$@" s.xml >log 2>&1
	local rc=$?
	sed -n 's/.*"event":"run",.*"action":"main\/\([^"]*\)".*/\1/p' events | LC_ALL=C sort | tr '\n' ' ' >ran
	return $rc
}
ran() { # ran NAME PATTERN EXPECTED: of the actions that match, exactly those ran
	local got
	got=$(tr ' ' '\n' <ran | grep "$2" | tr '\n' ' ' | sed 's/ $//')
	echo "expected '$3', ran '$got'" >>log
	[ "$got" = "$3" ]; verdict "$1" $?
}
holds() { # holds NAME PYTHON: of rounds R of the report, their dropped units, lock L
	"$TRIM" report --json s.xml >report 2>>log && python3 - "$2" >>log 2>&1 <<-'PY'
		import json, sys
		S, L = json.load(open("report"))["schedules"][0], json.load(open("s.lock"))
		R = S["rounds"]
		value = lambda round, unit: next(u for u in R[round - 1]["scores"]["units"] if u["unit"] == unit)
		assert eval(" ".join(sys.argv[1].split())), (sys.argv[1], S, L["chain"])
	PY
	verdict "$1" $?
}

# ---- scan-every ----
spec '' 'method="perplexity" rows="8" scan-every="3"' 5
build
ran every/scores '/score' 'round-1/score round-4/score'
ran every/chooses '/choose' 'round-1/choose round-2/choose round-3/choose round-4/choose round-5/choose'
holds every/by-one-ranking '[R[i]["dropped"][0] for i in range(3)] ==
	[u["unit"] for u in sorted(R[0]["scores"]["units"], key=lambda u: u["nll"])][:3]'
holds every/told '[r["scored"] for r in R] == [1, 1, 1, 4, 4] and [c.get("scored") for c in L["chain"]] == [None, 1, 1, None, 4]
	and [u["dropped"] for u in sorted(R[0]["scores"]["units"], key=lambda u: u["nll"])[:3]] == [1, 2, 3]
	and "scores" not in R[1] and len(R[3]["scores"]["units"]) == 7'
holds every/lock-has-the-numbers 'all(abs(c["dropped"][0]["nll"] - value(c.get("scored", c["round"]), c["dropped"][0]["unit"])["nll"])
	< 1e-9 for c in L["chain"])'
# Less often: rounds that went by the same ranking stay, the fourth goes by an older one.
sed -i 's/scan-every="3"/scan-every="4"/' s.xml
build
ran every/less-scores '/score' 'round-5/score'
ran every/less-chooses '/choose' 'round-4/choose round-5/choose'
# Whatever ranks: what it reads decides what makes it score anew.
spec '' 'method="magnitude" rows="8"' 8
build
sed -i 's/rows="8"/rows="9"/' s.xml
build
ran magnitude-reads-no-rows '/score' ''

# ---- runs of blocks ----
spec 'unit="block" per-round="2"' 'method="angular" rows="8"' 2
build
holds angular/runs 'len(R) == 2 and all(len({u[:5] for u in r["dropped"]}) == 2 for r in R) and
	len({u for r in R for u in r["dropped"]}) == 8'
holds angular/neighbours 'all((lambda left, gone: left.index(gone[1]) == left.index(gone[0]) + 1)(
	[b for b in range(5) if not any(f"blk.{b}." in u for p in R[:r["round"] - 1] for u in p["dropped"])],
	sorted({int(u[4]) for u in r["dropped"]})) for r in R)'
holds angular/lock 'all(len({d["angle"] for d in c["dropped"]}) == 1 for c in L["chain"])'
spec 'unit="block" per-round="3" keep="1 units"' 'method="angular" rows="8"' 1
build; [ $? -ne 0 ] && grep -q "3 units shall go, but of those that method 'angular' ranked 0 are left" log
verdict angular/too-few $?
spec '' 'method="given" units="blk.0.mlp blk.9.attn blk.3.attn"' 7
build; [ $? -ne 0 ] && grep -q "1 units shall go, but of those that method 'given' ranked 0 are left" log
verdict given/too-few $?

# ---- what is remembered ----
# The rows that score are the first of their split: two more of them are the only ones that run, to the same bits.
totals() { # of the progress of what scored
	grep '"event":"progress",.*round-1/score' events | sed -n 's/.*"total":\([0-9]*\).*/\1/p' | sort -u | tr '\n' ' '
}
spec "" "method='scan' rows='8'" 9
build
sed -i "s/rows='8'/rows='10'/" s.xml
build && totals >got; cp s.lock seeded.lock
"$TRIM" report s.xml >text 2>>log
# perplexity reads what scan measured.
sed -i "s/'scan'/'perplexity'/" s.xml
build && totals >shared
sed -i "s/'perplexity'/'scan'/" s.xml
rm -rf "$TRIM_CACHE"; rm -f s.lock
build && totals >>got
echo "totals: $(cat got shared)" >>log
[ "$(cat got)" = '2 10 ' ] && cmp s.lock seeded.lock >>log 2>&1; verdict seed $?
[ -e shared ] && [ ! -s shared ]; verdict shared $?
# A line a unit, of which the dropped ones are marked.
[ "$(grep -c '^    blk\.[0-9.a-z]* *[-0-9.e]*.$' text)" -eq 10 ] && [ "$(grep -c '^    blk.*\*$' text)" -eq 1 ]; verdict report $?

# ---- killed ----
if [ ! -d "$DATA/models/stories260K" ]; then echo "skip scores/killed: no data"; exit 0; fi
head -c 300000 "$DATA/datasets/tinystories/tinystories_lower_4M.txt" >lower.txt
spec '' 'method="taylor" rows="50"' 9
sed -i '/<model/,/<\/model>/d; s,^  <dataset.*,  <model path="data:models/stories260K/hf"/>&,
	s,format="jsonl" path="rows.jsonl",format="text" path="lower.txt",; s,<task.*,<task kind="text" length="256"/>,' s.xml
rm -rf "$TRIM_CACHE"; rm -f s.lock
build --root data="$DATA" && mv s.lock told.lock
kill_in main/round-1/score 2 "$TRIM" build --root data="$DATA" --events events --checkpoint 0 s.xml
build -j 1 --root data="$DATA"
[ "$(told resume main/round-1/score)" -eq 1 ] && cmp s.lock told.lock >>log 2>&1; verdict killed $?
