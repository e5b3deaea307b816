#!/usr/bin/env bash
# Once: which actions run, what is chosen, what the lock says.
# Targets beside each other: one that takes the best of several schedules by validation rows, one that is judged against
# it, one that is tuned once more behind its chain. What runs, in which order, and what the lock says of it.
set -u
. tests/build/world.bash

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok choice/$1"; else cat log; echo "FAIL choice/$1"; fi
}
spec() { # spec LIST MARGIN
	cat <<-XML
		<trim xmlns="urn:trim:spec:1" name="c">
		  <model path="model"/>
		$(dataset 'test="40%" train="30%" calibration="10%" validation="20%"')
		  <schedule name="slow"><score method="last" rows="4"/><tune method="full" steps="3" learning-rate="1e-6"/></schedule>
		  <schedule name="fast"><score method="last" rows="4"/><tune method="full" steps="3" learning-rate="1e-2"/></schedule>
		  <schedule name="half"><score method="last" rows="4"/><tune method="full" steps="2" learning-rate="1e-3"/></schedule>
		  <target name="small" schedule="half" keep="2 units" hardware="x86-64-v3" weights="f32">
		    <gate target="full" metric="nll" margin="$2"/>
		    <tune method="full" steps="4" learning-rate="1e-3"/>
		  </target>
		  <target name="plain" schedule="half" keep="2 units" hardware="x86-64-v3" weights="f32"/>
		  <target name="full" schedule="$1" keep="100%" hardware="x86-64-v3" weights="f32"/>
		</trim>
	XML
}
build() { # build STATUS [OPTION]...
	local want=$1 rc; shift
	TRIM_QUIET= "$TRIM" build -j 1 --events events c.xml "$@" >out.txt 2>log
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
lock() { python3 -c '
import json
L = json.load(open("c.lock")); T = L["targets"]
'"$1" >>log 2>&1; }

# Both schedules are tuned and measured on validation rows; test rows are read for the chosen one alone, behind that.
spec 'slow fast' 300% >c.xml
build 0 --target full && ran '/tune$' 'fast/round-0/tune slow/round-0/tune' &&
	ran 'validate|evaluate' 'fast/round-0/evaluate-f32 fast/round-0/validate-f32 import/evaluate-f32 slow/round-0/validate-f32' &&
	awk '/tokens.test|\/evaluate-/ { test = 1 } /validate-/ && test { exit 1 }' ran
verdict best-of-two $?
lock '
f = T["full"]
assert f["schedule"] == "fast" and list(f["tried"]) == ["slow", "fast"], f
assert f["tried"]["fast"]["nll"] < f["tried"]["slow"]["nll"] and f["tried"]["fast"]["rows"] != f["metrics"]["rows"]'
verdict lock-says-what-was-tried $?
grep -q "target 'full' takes fast/round-0, of 2 schedules that with the lowest nll on validation rows, " log
verdict says-so $?
cp c.lock first.lock
spec 'fast slow' 300% >c.xml
build 0 --target full && ran '/(tune|validate.*|evaluate.*)$' '' && lock 'assert T["full"]["schedule"] == "fast"'
verdict whatever-the-order $?

# What a target is judged against is built with it, and in the spec may stand behind it.
rm -rf c.lock "$TRIM_CACHE"
spec 'slow fast' 300% >c.xml
build 0 --target small && lock 'assert list(T) == ["small", "full"], T' &&
	ran '/tune$' 'fast/round-0/tune half/round-0/tune half/round-1/tune half/round-2/tune slow/round-0/tune small/tune' &&
	lock '
g, = T["small"]["gates"]
assert g["target"] == "full" and g["relative"] and g["passed"] and g["margin"] == 3
assert abs(g["reference"] - T["full"]["metrics"]["nll"]) < 1e-9 and abs(g["candidate"] - T["small"]["metrics"]["nll"]) < 1e-9
assert abs(g["loss"] - (g["candidate"] / g["reference"] - 1)) < 1e-12'
verdict judged-against-a-target $?
# Behind the chain: the chain is another's too, and its state another.
build 0 && ran '/tune$' '' && lock '
assert T["small"]["state"] != T["plain"]["state"] and T["small"]["metrics"]["nll"] < T["plain"]["metrics"]["nll"]'
verdict tuned-behind-the-chain $?
# Only the target whose tune changed.
sed -i 's/steps="4"/steps="5"/' c.xml
build 0 && ran '/(tune|choose|link)$' 'small/link small/tune'; verdict tune-is-the-targets-own $?
spec 'slow fast' 0.001% >c.xml
build 3 && [ -x out/c/failed/small/c ] && [ -x out/c/full/c ]; verdict gate-fails $?
build 0 --smoke && [ -x out/_smoke/c/small/c ] && [ -x out/_smoke/c/full/c ]; verdict smoke $?
# A reference that cannot be built here is named.
spec 'slow fast' 300% | sed '/name="full"/s/keep="100%"/keep="1%"/' >c.xml
build 2 && grep -q "target 'small' is judged against 'full', which cannot be built here" log; verdict reference-fails $?
# Text that bears the loss, by bytes: answers and their delimiters.
lock '
m = T["plain"]["metrics"]
assert m["bytes"] > m["rows"] and abs(m["nll_per_byte"] * m["bytes"] - m["nll"] * m["tokens"]) < 1e-6, m'
verdict nll-per-byte $?

# ---- how much a round drops, and by what ----
round() { # round SCORE KEEP [SCHEDULE [TUNE]]
	cat >c.xml <<-XML
		<trim xmlns="urn:trim:spec:1" name="c">
		  <model path="model"/>
		$(dataset 'test="40%" train="30%" calibration="10%" validation="20%"')
		  <schedule ${3:-}><score rows="4" $1/><tune method="full" steps="2" learning-rate="1e-3"/></schedule>
		  <target name="t" keep="$2" hardware="x86-64-v3" weights="f32">${4:-}</target>
		</trim>
	XML
	rm -f c.lock
}
sizes='
import json
with open("model/model.safetensors", "rb") as f:
    head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
head.pop("__metadata__", None)
size = lambda t: t["data_offsets"][1] - t["data_offsets"][0]
def unit_bytes(u):
    layer, kind = u.split(".")[1:]
    mlp = lambda n: ".mlp." in n or "post_attention" in n
    return sum(size(t) for n, t in head.items() if n.startswith("model.layers.%s." % layer) and mlp(n) == (kind == "mlp"))
'
# At once, in the ranking's order, as many as have the share of the import's bytes, and not one more.
round 'method="given" units="blk.1.mlp blk.0.attn blk.0.mlp blk.1.attn"' 70% 'per-round="30%"'
build 0 && python3 -c "$sizes"'
units = [d["unit"] for d in json.load(open("c.lock"))["chain"][0]["dropped"]]
gone = [unit_bytes(u) for u in units]
assert len(units) > 1 and units == ["blk.1.mlp", "blk.0.attn", "blk.0.mlp", "blk.1.attn"][:len(units)], units
assert sum(gone) >= 0.3 * sum(map(size, head.values())) > sum(gone[:-1]), (units, gone)' >>log 2>&1
verdict round-of-a-share $?
round 'method="scan"' 60% 'per-round="100%"'
build 2 && grep -q "bytes shall go, but all that method 'scan' ranked and that are left, 4, have less" log
verdict round-of-too-much $?
round 'method="angular"' 99% 'unit="block" per-round="40%"'
build 0 && lock 'assert len(L["chain"][0]["dropped"]) == 4'; verdict run-of-a-share $?
# By bytes: the first to go costs least over its bytes, by the numbers that the scores have anyway.
round 'method="scan" per="byte"' '3 units'
build 0 && "$TRIM" report c.xml --json >report.json && python3 -c "$sizes"'
scores = json.load(open("report.json"))["schedules"][0]["rounds"][0]["scores"]
cost = {u["unit"]: (u["nll"] - scores["base"]["nll"]) / unit_bytes(u["unit"]) for u in scores["units"]}
gone = [u["unit"] for u in scores["units"] if "dropped" in u]
assert gone == [min(cost, key=cost.get)], (gone, cost)' >>log 2>&1
verdict per-byte $?
# The steps of the chain count: round 0 and two rounds of 2 each leave 4 of 10.
round 'method="last"' '2 units' '' '<tune method="full" steps="10" counts="chain"/>'
build 0 && grep '"event":"progress".*"action":"t/tune"' events | grep -q '"total":4,'; verdict steps-of-the-chain $?
round 'method="last"' '2 units' '' '<tune method="full" steps="6" counts="chain"/>'
build 2 && grep -q "c.xml:[0-9:]*: steps=\"6\" are those of all rounds too, and the chain of target 't' had 6 until main/round-2" log
verdict no-steps-left $?
