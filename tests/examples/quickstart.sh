#!/usr/bin/env bash
# The quickstart's base: the world it was made from, what its units are worth, and what `trim export` writes.
# Once: an example as users run it.
set -u
BUILD=${BUILD:-$PWD/.build} TMP=${TMP:-$(mktemp -d)}
trim=${TRIM:-$BUILD/trim} here=$PWD/examples/quickstart
for v in $(compgen -e TRIM_ | grep -vx TRIM_KEEP_CODE); do unset "$v"; done
export TRIM_CACHE=$TMP/cache HOME=$TMP XDG_STATE_HOME=$TMP/state TRIM_QUIET=1
export TRIM_ROOT_EXAMPLE=$here TRIM_ROOT_WORLD=$TMP

check() { # NAME COMMAND...
	local name=$1; shift
	if "$@" >"$TMP/log" 2>&1; then echo "ok examples/$name"
	else cat "$TMP/log"; echo "FAIL examples/$name"; fi
}
spec() { # NAME MODEL TARGETS...: without tuning, so that a build takes seconds
	local name=$1 model=$2; shift 2
	cat >"$TMP/$name.xml" <<XML
<trim xmlns="urn:trim:spec:1" name="$name">
  <model path="$model"/>
  <dataset name="clinical" format="jsonl" path="world:clinical.jsonl">
    <split test="10%" train="40%" calibration="40%" validation="10%"/>
    <task kind="choice" length="96">
      <prompt>{text} Question: {question} Answer:</prompt>
      <choices field="choices"/> <answer field="answer"/>
    </task>
  </dataset>
  $*
</trim>
XML
}

one_world() {
	mkdir -p "$TMP/again" "$TMP/other"
	"$BUILD/world_data" 1 "$TMP" && "$BUILD/world_data" 1 "$TMP/again" && "$BUILD/world_data" 2 "$TMP/other" &&
		cmp "$TMP/mixed.jsonl" "$TMP/again/mixed.jsonl" && ! cmp -s "$TMP/mixed.jsonl" "$TMP/other/mixed.jsonl" &&
		cmp "$TMP/clinical.jsonl" "$TMP/again/clinical.jsonl" &&
		sha256sum -c - <<-END # what base/ was made from, whatever compiler made the generator
			ca480128b8a06dbad38040dc8e8ce681b6e7fe685357e851dbdaec4ae525df76  $TMP/mixed.jsonl
			9a13705692891475f0d641f5aca07e110279297d9e62c5b0341ee9edf390c1d3  $TMP/clinical.jsonl
		END
}
no_row_seen() { # no text with its question of a domain's file stands in the documents of the base
	python3 - "$TMP" <<'PY'
import json, sys
seen = set()
for line in open(sys.argv[1] + "/mixed.jsonl"):
	row = json.loads(line)
	text, *asked = (row["prompt"] + " " + row["answer"]).split(" Question: ")
	seen |= {(text, a.split(" Answer: ")[0]) for a in asked}
assert len(seen) > 10000
for domain in ("clinical", "legal", "finance"):
	rows = [json.loads(line) for line in open(f"{sys.argv[1]}/{domain}.jsonl")]
	assert len(rows) > 1000
	for r in rows:
		assert (r["text"], r["question"]) not in seen, r
		assert len(set(r["choices"])) == 4 and r["answer"] in r["choices"], r
PY
}
builds() {
	spec clinical example:base '<schedule><score rows="200"/><tune epochs="0" trainable="50%"/></schedule>' \
		'<target name="whole" keep="100%" hardware="x86-64-v3" weights="f32"/>' \
		'<target name="less" keep="13 units" hardware="x86-64-v3" weights="f32"/>'
	"$trim" build "$TMP/clinical.xml"
}
no_idle_units() { # none of them was planted: each alone costs 0.02 nats a token
	"$trim" report "$TMP/clinical.xml" --json | python3 -c '
import json, sys
scores = json.load(sys.stdin)["schedules"][0]["parent"]["scores"]; units = scores["units"]
idle = [(u["unit"], u["nll"]) for u in units if u["nll"] - scores["base"]["nll"] < 0.02]
assert len(units) == 16 and not idle, idle'
}
exports_what_was_read() {
	"$trim" export "$TMP/clinical.xml" "$TMP/hf" --target whole && cmp "$here/base/config.json" "$TMP/hf/config.json" &&
		cmp "$here/base/model.safetensors" "$TMP/hf/model.safetensors" &&
		cmp "$here/base/tokenizer.model" "$TMP/hf/tokenizer.model"
}
exports_what_is_left() { # zeros add nothing: the exported model says the same, bit for bit
	"$trim" export "$TMP/clinical.xml" "$TMP/less" --target less || return 1
	cat >"$TMP/again.xml" <<-'XML'
		<trim xmlns="urn:trim:spec:1" name="again">
		  <model path="less"/>
		  <target name="again" hardware="x86-64-v3" weights="f32"/>
		</trim>
	XML
	"$trim" build "$TMP/again.xml" || return 1
	cut -d'"' -f4 "$TMP/clinical.jsonl" | head -n 30 >"$TMP/text"
	local a="$TMP/out/again/again/again" b="$TMP/out/clinical/less/clinical" w="$TMP/out/clinical/whole/clinical"
	[ "$("$a" score "$TMP/text" --json)" = "$("$b" score "$TMP/text" --json)" ] &&
		[ "$("$w" score "$TMP/text" --json)" != "$("$b" score "$TMP/text" --json)" ] &&
		[ "$("$a" -p 'Facts:' -n 40)" = "$("$b" -p 'Facts:' -n 40)" ]
}
refuses() { # before anything is built, and what there is no writer for
	! "$trim" export "$TMP/clinical.xml" "$TMP/none" && grep -q 'has 2 targets; say which: --target whole' "$TMP/log" &&
		! "$trim" export "$TMP/clinical.xml" "$TMP/none" --target whole --format gguf &&
		! TRIM_CACHE=$TMP/empty "$trim" export "$TMP/clinical.xml" "$TMP/none" --target whole &&
		[ ! -e "$TMP/none" ]
}

check world_is_the_same one_world
check tests_are_new no_row_seen
check builds builds
check no_idle_units no_idle_units
check exports_what_was_read exports_what_was_read
check exports_what_is_left exports_what_is_left
check export_refuses refuses
