#!/usr/bin/env bash
# What is said of memory before actions run against what they took: every kind of long action, on models large enough that
# the process itself is little of it. And that a plan has memory, time and warnings where a user looks for them.
# Once: what a sanitizer holds beside what a program asks for is nobody's estimate
set -u
. tests/build/world.bash
unset TRIM_KEEP_CODE # what is expected has code generation in it

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok estimates/$1"; else cat log; echo "FAIL estimates/$1"; fi
}
schedule() { # schedule NAME ARITHMETIC TUNE
	echo "  <schedule name=\"$1\" arithmetic=\"$2\"><score rows=\"2\"/><tune steps=\"1\" batch=\"4\" $3/></schedule>"
}
target() { # target SCHEDULE WEIGHTS KEEP
	echo "  <target name=\"$1\" schedule=\"$1\" hardware=\"x86-64-v3\" weights=\"$2\" keep=\"$3\"/>"
}
spec() { # spec NAME LAYERS WIDTH FFN, the rest from stdin
	cat >"$1.xml" <<-XML
		<trim xmlns="urn:trim:spec:1" name="$1">
		  <model init="random" seed="3" arch="llama" layers="$2" width="$3" ffn="$4" heads="8" kv-heads="4" context="512">
		    <tokenizer train="bpe" vocab="272" dataset="rows"/>
		  </model>
		$(dataset)
		$(cat)
		</trim>
	XML
}
# fits SPEC ACTION...: each within 15 % of its peak. One job at a time, so that no action has company.
fits() {
	local spec=$1
	shift
	"$TRIM" build -j 1 "$spec.xml" >log 2>&1 && "$TRIM" log --json "$spec.xml" >said 2>>log || { verdict "$spec" 1; return; }
	for action; do
		python3 - "$action" >log 2>&1 <<-'PY'
			import json, sys
			a = next(a for a in json.load(open("said"))["log"] if a.get("action") == sys.argv[1])
			print(a)
			assert 0.85 < a["expected_bytes"] / a["peak_bytes"] < 1.15
			assert a["peak_bytes"] > 80e6
		PY
		verdict "$spec/$action" $?
	done
}

spec wide 3 768 2048 <<-XML
	$(schedule full bf16 'method="full"')
	$(schedule sparse bf16 'trainable="34%" embeddings="freeze"')
	$(target full bf16 "5 units")
	$(target sparse int8 "100%")
XML
fits wide full/round-0/tune full/round-1/score full/round-1/tune sparse/parent/score sparse/round-0/tune \
	full/round-1/evaluate-bf16 sparse/round-0/evaluate-int8 sparse/round-0/cost-int8 full/round-0/quantise-bf16
spec deep 8 512 1024 <<-XML
	$(schedule lora f32 'method="lora" rank="8"')
	$(schedule distilled f32 'method="full" distill="50%"')
	$(target lora f32 "100%")
	$(target distilled f32 "100%")
XML
fits deep lora/round-0/tune distilled/round-0/tune distilled/round-0/evaluate-f32

# ---- before it runs ----
sed -i 's/steps="1"/steps="2"/' deep.xml
"$TRIM" plan --json deep.xml >plan 2>log && python3 - >>log 2>&1 <<-'PY'
	import json
	plan, log = json.load(open("plan")), json.load(open("said"))["log"]
	rows = {a["action"]: a for a in plan["actions"]}
	was = {a["action"]: a for a in log if "action" in a}
	tune = rows["distilled/round-0/tune"]
	assert abs(tune["memory_bytes"] - was["distilled/round-0/tune"]["expected_bytes"]) < 1e7, tune
	# One step more; what it took before is in the journal.
	assert tune["seconds"] > 0 and rows["lora/round-0/tune"]["seconds"] > 0
	# Behind a tune that has not run, by the shape of what it begins with.
	assert rows["distilled/round-0/evaluate-f32"]["memory_bytes"] > 1e8
	assert plan["memory_bytes"] == max(a["memory_bytes"] or 0 for a in plan["actions"]) and plan["available_bytes"] > 0
	assert plan["warnings"] == []
PY
verdict plan/says-it $?

# ---- rounds that have no actions yet: the more units go, the longer ----
then_seconds() { # then_seconds KEEP
	sed -i "s/keep=\"[0-9]* units\"/keep=\"$1 units\"/" wide.xml
	"$TRIM" plan --json wide.xml 2>>log | python3 -c 'import json, sys; print(json.load(sys.stdin)["then_seconds"] or 0)'
}
echo "$(then_seconds 4) $(then_seconds 2) $(then_seconds 1)" >seconds
awk '{ print; exit !($1 > 0 && $2 > 1.5 * $1 && $3 > $2) }' seconds >>log
verdict plan/foresees-rounds $?
