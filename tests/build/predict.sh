#!/usr/bin/env bash
# What a build says about accuracy is what the binary's predict does, row for row, and what score says of a
# text is what evaluate says. No schedule: the model as it is.
# Once: two ways through binaries and rules to the same numbers.
set -u
TRIM=${TRIM:-$PWD/.build/trim} TMP=${TMP:-$(mktemp -d)}
data=${TRIM_TEST_DATA:-$PWD/../shared/data}
if [ ! -r "$data/datasets/medmcqa/validation.jsonl" ]; then echo "skip predict: no data"; exit 0; fi
for v in $(compgen -e TRIM_ | grep -vx TRIM_KEEP_CODE); do unset "$v"; done
export HOME=$TMP TRIM_CACHE=$TMP/cache XDG_STATE_HOME=$TMP/state XDG_CONFIG_HOME=$TMP/config
mkdir -p "$TMP/p"; cd "$TMP/p" || exit 1; touch .trim-root
verdict() { # verdict NAME OK
	if [ "$2" -eq 0 ]; then echo "ok predict/$1"; else cat "$TMP/log" 2>/dev/null; echo "FAIL predict/$1"; fi
}
field() { sed -n "s/.*\"$2\":{[^{}]*\"$1\":\([0-9.e-]*\).*/\1/p" out.json; } # of the metrics of a target

head -n 120 "$data/datasets/medmcqa/validation.jsonl" >rows.jsonl
cat >choice.xml <<'X'
<trim xmlns="urn:trim:spec:1" name="choice">
  <model path="data:models/stories260K/hf"/>
  <dataset name="rows" path="rows.jsonl">
    <split test="100%"/>
    <task kind="choice" length="300" on-long="cut-prompt"><prompt>Question: {question}&#10;Answer:</prompt>
      <choices field="options"/><answer field="answer_idx"/></task>
  </dataset>
  <target name="f32" hardware="x86-64-v3" weights="f32"/>
  <target name="bf16" hardware="x86-64-v3" weights="bf16"/>
</trim>
X
"$TRIM" build choice.xml --root data="$data" --json >out.json 2>"$TMP/log"; verdict build $?
for t in f32 bf16; do
	"out/choice/$t/choice" predict rows.jsonl >predicted 2>"$TMP/log"; verdict "runs-$t" $?
	right=$(grep -c '"correct":true' predicted) all=$(grep -c '"choice"' predicted)
	want=$(field accuracy $t) got=$(awk "BEGIN { printf \"%.15g\", $right / $all }")
	echo "$right of $all right; the build says '$want'" >"$TMP/log"
	[ "$all" -eq 120 ] && [ "$right" -gt 0 ] && awk "BEGIN { exit ($want - $got) ^ 2 > 1e-28 }"
	verdict "accuracy-$t" $?
	# One row alone, and by two threads.
	sed -n 77p rows.jsonl >one; "out/choice/$t/choice" predict one --threads 2 2>&1 | cmp - <(sed -n 77p predicted) >"$TMP/log" 2>&1
	verdict "alone-$t" $?
done

# Documents that fill a window each, so that both cut the text at the same places.
tr '\n' ' ' <"$data/datasets/tinystories/tinystories_cased_197k.txt" | head -c 3000 >text.txt
cat >text.xml <<'X'
<trim xmlns="urn:trim:spec:1" name="text">
  <model path="data:models/stories260K/hf"/>
  <dataset name="text" path="text.txt"><split test="100%"/><task kind="text" row="file" length="128"/></dataset>
  <target name="f32" hardware="x86-64-v3" weights="f32" context="128"/>
</trim>
X
"$TRIM" build text.xml --root data="$data" --json >out.json 2>"$TMP/log"; verdict build-text $?
out/text/f32/text score text.txt --json >scored 2>"$TMP/log"; verdict score $?
echo "$(cat scored); the build says nll $(field nll f32)" >"$TMP/log"
[ -n "$(field nll f32)" ] && grep -q "\"nll\":$(field nll f32),\"perplexity\":$(field perplexity f32)}" scored
verdict score-is-evaluate $?
