#!/usr/bin/env bash
# Chains go on side by side, in whatever order their actions end; the lock lists their rounds as the spec lists
# the schedules, so equal builds give equal bytes.
set -u
TRIM=${TRIM:-$PWD/.build/trim} TMP=${TMP:-$(mktemp -d)}
for v in $(compgen -e TRIM_); do unset "$v"; done
export HOME=$TMP XDG_STATE_HOME=$TMP/state XDG_CONFIG_HOME=$TMP/config TRIM_QUIET=1
cp -r tests/rules/{model,rows.jsonl} "$TMP" && cd "$TMP" && touch .trim-root || exit 1

# The first schedule's rounds take long, the second's next to nothing; the names are not in order either.
cat >two.xml <<'XML'
<trim xmlns="urn:trim:spec:1" name="two">
  <model path="model"/>
  <dataset name="rows" format="jsonl" path="rows.jsonl">
    <split test="40%" train="30%" calibration="20%" validation="10%"/>
    <task kind="completion" length="96"><prompt>{text} {question}</prompt><answer field="answer"/></task>
  </dataset>
  <schedule name="slow"><score rows="8"/><tune epochs="1" batch="4" trainable="100%"/></schedule>
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
