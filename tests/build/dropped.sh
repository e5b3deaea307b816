#!/usr/bin/env bash
# A binary from which halves were dropped holds nothing of them: their weights are no entries, their names are
# nowhere in the file but in the list of what was dropped, their kernels no symbols, their cache takes no bytes.
# Once: what is inside binaries, whose code and runtime no configuration compiles otherwise.
set -u
. tests/build/world.bash
if [ "$(uname -m)" != x86_64 ]; then echo "skip dropped: runs code for x86-64"; exit 0; fi

cat >d.xml <<XML
<trim xmlns="urn:trim:spec:1" name="d">
  <model path="model"/>
$(dataset)
  <schedule>
    <score method="given" rows="8" units="blk.0.attn blk.1.mlp blk.1.attn blk.0.mlp"/>
    <tune epochs="0" trainable="100%"/>
  </schedule>
  <target name="t" hardware="x86-64-v3 x86-64-v4" weights="f32" keep="4 units 3 units 2 units 1 units"/>
</trim>
XML
"$TRIM" build d.xml >log 2>&1 || { cat log; echo "FAIL dropped/builds"; exit 0; }
verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok dropped/$1"; else cat log; echo "FAIL dropped/$1"; fi
}

order=(blk.0.attn blk.1.mlp blk.1.attn blk.0.mlp)
for keep in 4 3 2 1; do
	bin=out/d/t-${keep}units/d left="${order[*]:4-keep}"
	"$TRIM" inspect --json $bin >inspect
	python3 - "$left" $bin >log 2>&1 <<'PY'
import json, re, sys
left, file = sys.argv[1].split(), open(sys.argv[2], "rb").read()
o = json.load(open("inspect"))
parts = {"attn": ["norm", "q", "k", "v", "o"], "mlp": ["norm", "gate", "up", "down"]}
want = {"embed", "norm"} | {f"{u}.{p}" for u in left for p in parts[u.split(".")[2]]}
if any(u.endswith("attn") for u in left):
    want.add("rope.freq")
entry = {e["name"][2:]: e["bytes"] for e in o["entries"] if e["name"].startswith("t:")}
assert set(entry) == want, set(entry) ^ want
assert sum(entry.values()) == o["info"]["weight_bytes"]
# Weights, and the states of a cache: blk.0.attn.q, blk.0.k.
named = {m.decode() for m in re.findall(rb"blk\.\d+\.(?:attn\.\w+|mlp\.\w+|[kv]\b)", file)}
caches = {u[:-4] + c for u in left if u.endswith("attn") for c in "kv"}
assert named == {w for w in want if w.startswith("blk")} | caches, named
PY
	verdict weights-$keep $?
	# One function serves all blocks of a kind, and there is code for two CPUs.
	nm $bin | awk '{print $3}' >symbols
	case $left in *attn*) has=2;; *) has=0;; esac
	[ "$(grep -c '^k[0-9]*_attention$' symbols)" -eq $has ] && grep -q '^k[0-9]*_dot$' symbols; verdict symbols-$keep $?
	$bin selftest --threads 1 >log 2>&1; verdict selftest-$keep $?
done
# What is left without attention reads its weights for a token, and no cache.
for n in 1 2; do
	out/d/t-${n}units/d bench --json --threads 1 >bench-$n && out/d/t-${n}units/d info --json >info-$n
done
python3 - >log 2>&1 <<'PY'
import json
read = [json.load(open(f"bench-{n}"))["bytes_per_token"] - json.load(open(f"info-{n}"))["weight_bytes"] for n in (1, 2)]
assert read[0] == 0 and read[1] > 0, read
PY
verdict cache $?
