#!/usr/bin/env bash
# Golden bytes of the rules: small specs over committed inputs are built in an empty cache, and for every action (of
# others than read.xml and made.xml for what scores and chooses, and which rows are new) golden.txt holds rule, version, key and digests of the outputs. Equal key and other bytes: the rule
# makes something else of the same input, and its version must go up, since old caches would answer with the
# old bytes. Another key: an input, a parameter or a version changed; BLESS=1 records the new rows, but not
# while some row's bytes changed under its key. compile, gpu and link are left out: their bytes follow LLVM, NVRTC
# and the linker, which are in their keys as files. All others give the same bytes on every machine, from every
# compiler, with any LLVM.
set -u
TRIM=${TRIM:-$PWD/.build/trim} TMP=${TMP:-$(mktemp -d)}
golden=$PWD/tests/rules/golden.txt
# every rule there is, by file, by table and by golden row
sed -n 's/^const struct rule rule_\([a-z]*\) = {\(\.name = \)\?"\1",.*/\1/p' rules/*.c | LC_ALL=C sort >"$TMP/files"
sed -n '/rules_table\[\]/,/;/p' rules/rules.c | grep -o '&rule_[a-z]*' | sed 's/&rule_//' | LC_ALL=C sort >"$TMP/table"
{ cut -d' ' -f2 "$golden"; echo compile; echo gpu; echo link; } | LC_ALL=C sort -u >"$TMP/rows"
for x in table rows; do
	if diff "$TMP/files" "$TMP/$x"; then echo "ok rules/every-rule-in-$x"; else echo "FAIL rules/every-rule-in-$x"; fi
done
for v in $(compgen -e TRIM_ | grep -vx TRIM_KEEP_CODE); do unset "$v"; done
export HOME=$TMP TRIM_CACHE=$TMP/cache XDG_STATE_HOME=$TMP/state XDG_CONFIG_HOME=$TMP/config TRIM_QUIET=1
cp -r tests/rules/{model,rows.jsonl,*.xml,*.lock} "$TMP" && cd "$TMP" && touch .trim-root || exit 1

for s in read made several scores lora grown; do
	if ! "$TRIM" build $s.xml >log 2>&1; then cat log; echo "FAIL rules/$s: not built"; exit 1; fi
	# SPEC/ACTION RULE VERSION KEY OUTPUT=HEX...
	"$TRIM" graph $s.xml --format json |
		sed -n 's/^{"name":"\([^"]*\)","rule":"\([^"]*\)","version":\([0-9]*\),"state":"cached","key":"\([^"]*\)",.*"outputs":{\(.*\)}}.*/\1 \2 \3 \4 \5/p' |
		sed "s,^,$s/,; s/\"//g; s/:/=/g; s/,\([a-z]*=\)/ \1/g" | grep -v ' \(compile\|link\) ' |
		grep "^read\|^made\| \(score\|choose\|fresh\) " >>now
done
LC_ALL=C sort -o now now

kept=0
while read -r action rule version key outputs; do
	read -r _ _ was was_key was_outputs < <(grep "^$action " "$golden")
	if [ "$key" = "${was_key:-}" ] && [ "$outputs" = "$was_outputs" ]; then
		echo "ok rules/$action"
	elif [ "$key" = "${was_key:-}" ]; then
		kept=1
		echo "rule '$rule' makes other bytes than before and is still version $version: $was_outputs became $outputs"
		echo "FAIL rules/$action"
	elif [ -z "${BLESS:-}" ]; then
		echo "FAIL rules/$action: key $key of version $version, recorded ${was_key:-none} of version ${was:-none}; BLESS=1 records it"
	else
		echo "ok rules/$action: recorded"
	fi
	was= was_key= was_outputs=
done <now
if [ -n "${BLESS:-}" ] && [ $kept -eq 0 ]; then cp now "$golden"; fi
if [ "$(wc -l <now)" -eq "$(wc -l <"$golden")" ]; then echo "ok rules/no-row-left-over"
else diff <(cut -d' ' -f1 <now) <(cut -d' ' -f1 "$golden"); echo "FAIL rules/no-row-left-over"; fi

# Every method ranks all units of its kind, and the first of them went: report and lock have its numbers.
"$TRIM" report --json scores.xml >report && python3 - <<'PY' && echo "ok rules/every-score-reported" || echo "FAIL rules/every-score-reported"
import json
chain = {c["schedule"]: c for c in json.load(open("scores.lock"))["chain"] if c["round"] == 1}
for s in json.load(open("report"))["schedules"]:
    r, name = s["rounds"][0], s["schedule"]
    kind, method = name.split("-")[-1], "-".join(name.split("-")[:-1])
    scores, units, rank = r["scores"], r["scores"]["units"], r["scores"]["rank"]
    assert scores["method"] == chain[name]["method"] == method, s
    assert len(units) == (2 if kind == "block" or method == "given" else 4), s
    first = min(units, key=lambda u: -u[rank[1:]] if rank[0] == "-" else u[rank])
    assert first["dropped"] == 1 and sum("dropped" in u for u in units) == 1, s
    assert all(u.startswith(first["unit"]) for u in r["dropped"]) and len(r["dropped"]) == (2 if kind == "block" else 1), s
    assert all(abs(d[rank.strip("-")] - first[rank.strip("-")]) < 1e-9 for d in chain[name]["dropped"]), s
PY
