#!/usr/bin/env bash
# Stages on a GPU, without one: what NVRTC is given is compiled as C (tests/gpu/fake_nvrtc.c) and a driver without a device runs
# it, so score, tune and evaluate come out as on the CPU but for rounding; and what is said where a device is missing, too
# small or fails.
# Once: which actions run and what is said is no compiler's matter; cuda_test holds the arithmetic.
set -u
. tests/build/world.bash
keep=${TRIM_KEEP_CODE-}
unset TRIM_KEEP_CODE # it would keep paths of this test's libraries
tree=$OLDPWD
mkdir fake

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok device/$1"; else cat log; echo "FAIL device/$1"; fi
}
on() { # on COMMAND...: with a driver and an NVRTC
	env TRIM_CUDA_DRIVER="$tree/.build/tests/fake-cuda.so" TRIM_NVRTC="$tree/.build/tests/fake-nvrtc.so" \
		TRIM_CUBLASLT="$tree/.build/tests/fake-cublaslt.so" TRIM_FAKE_NVRTC="$tree $TMP/fake" \
		TRIM_FAKE_CUDA="${fake:-90 268435456 0}" "$@"
}
spec() { # spec NAME DEVICE HARDWARE
	cat >"$1.xml" <<-XML
		<trim xmlns="urn:trim:spec:1" name="$1">
		  <model path="model"/>
		$(dataset)
		  <schedule name="a" device="$2"><score rows="4"/><tune steps="3" batch="4" trainable="50%"/></schedule>
		  <schedule name="b" device="$2" arithmetic="bf16">
		    <score method="taylor" rows="4"/>
		    <tune steps="2" batch="4" method="lora" rank="4" distill="50%" patience="2" validate-every="1"/>
		  </schedule>
		  <gate metric="nll" margin="50%"/>
		  <target name="a" schedule="a" hardware="$3" weights="f32" keep="3 units"/>
		  <target name="b" schedule="b" hardware="$3" weights="bf16" keep="3 units"/>
		</trim>
	XML
}
spec gpu cuda cuda-sm_90
spec cpu cpu x86-64-v3

"$TRIM" build gpu.xml >log 2>&1; rc=$?
[ $rc -eq 36 ] && grep -q 'a/parent/score: no CUDA driver here' log; verdict no-driver $?
on env TRIM_NVRTC=none.so "$TRIM" build gpu.xml >log 2>&1; rc=$?
[ $rc -eq 36 ] && grep -q "target 'a': unable to open NVRTC" log; verdict no-nvrtc $?
fake='75 268435456 0' on "$TRIM" build gpu.xml >log 2>&1; rc=$?
[ $rc -eq 36 ] && grep -q 'a/parent/score: NVRTC 99.0 makes no code for sm_75, which fake 0 is' log; verdict old-device $?

on "$TRIM" build gpu.xml --json >gpu.json 2>log; verdict builds $?
TRIM_KEEP_CODE=$keep "$TRIM" build cpu.xml --json >cpu.json 2>log; verdict builds-on-the-cpu $?
cat >compare.py <<'PY'
import json
def near(a, b, part):
    return abs(a - b) <= part * abs(b)
lock, told = ({n: json.load(open(n + end)) for n in ("gpu", "cpu")} for end in (".lock", ".json"))
for g, c in zip(lock["gpu"]["chain"], lock["cpu"]["chain"], strict=True):
    assert [d["unit"] for d in g["dropped"]] == [d["unit"] for d in c["dropped"]], (g, c)
    for i, j in zip(g["dropped"], c["dropped"]):
        for k in j:
            assert k == "unit" or near(i[k], j[k], 1e-5 if g["schedule"] == "a" else 2e-2), (g, c)
for t, part in ("a", 1e-5), ("b", 5e-3):
    g, c = (told[n]["metrics"][t] for n in ("gpu", "cpu"))
    print(t, g, c)
    assert near(g["nll"], c["nll"], part) and g["measured"] == "here" and g["tokens"] == c["tokens"] > 0
    assert g["nll"] != c["nll"] # of a class of its own
PY
python3 compare.py >log 2>&1; verdict results-are-the-cpu-s $?

# Which actions are whose: evaluations of GPU targets run on the device, and their names and keys say so.
"$TRIM" graph gpu.xml --format json >graph 2>log
grep -q '"a/round-0/evaluate-f32-cuda"' graph && ! grep -q '"a/round-0/evaluate-f32"' graph; verdict names $?
# Products by NVIDIA's library, in score and tune; its version is part of what they are, and evaluate stays with what ships.
sed 's/name="gpu"/name="library"/; s/device="cuda"/& math="cublaslt"/' gpu.xml >library.xml
on env TRIM_CUBLASLT=none.so "$TRIM" build library.xml >log 2>&1; rc=$?
[ $rc -eq 36 ] && grep -q 'trim: [ab]/[a-z0-9/-]*: unable to open cuBLASLt: none.so' log; verdict no-library $?
on env TRIM_CUBLASLT="$tree/.build/tests/fake-cuda.so" "$TRIM" build library.xml >log 2>&1; rc=$?
[ $rc -eq 36 ] && grep -q "has no cublasLtGetVersion: cuBLASLt of CUDA 11 or later is needed" log; verdict another-library $?
on "$TRIM" build library.xml --json --events events >gpu.json 2>log; verdict builds-by-library $?
[ "$(told run 'a/parent/score')" -eq 1 ] && [ "$(told run '[ab]/round-0/tune')" -eq 2 ] # gpu.xml's are others
verdict library-makes-its-own $?
mv library.lock gpu.lock
python3 compare.py >log 2>&1; verdict results-by-library-are-the-cpu-s $?
on env TRIM_FAKE_CUBLASLT=990001 "$TRIM" build -n library.xml >log 2>&1
grep -q "^run .* a/parent/score .*'library version' changed from '990000' to '990001'" log &&
	! grep -q '^run .*evaluate' log; verdict library-in-the-key $?

# A CPU target of such a schedule ships code for the CPU, so that is what is measured.
sed 's/name="gpu"/name="both"/; s/<\/trim>/<target name="c" schedule="a" hardware="x86-64-v3" weights="f32" keep="3 units"\/><\/trim>/' \
	gpu.xml >both.xml
TRIM_KEEP_CODE=$keep "$TRIM" build both.xml --target c --events events >log 2>&1
verdict no-device-is-asked-for $?
[ "$(told run 'a/round-[0-9]*/evaluate-f32')" -gt 0 ] && [ "$(told run '.*\(tune\|score\|-cuda\)')" -eq 0 ]; verdict cpu-target $?
on "$TRIM" build gpu.xml --json 2>log | grep -q '"run":0'; verdict never-twice $?

# What a device cannot do is said before it begins, or when it happens; nothing of it is kept.
sed -i 's/steps="3"/steps="4"/' gpu.xml
fake='90 100000 0' on "$TRIM" plan gpu.xml >log 2>&1
grep -q '^warning: a/round-0/tune needs about [0-9]* MB of the GPU.s memory, 0 MB are there; a smaller share trainable' log
verdict plan-warns $?
fake='90 100000 0' on "$TRIM" build gpu.xml >log 2>&1; rc=$?
[ $rc -eq 1 ] && grep -q 'a/round-0/tune: fake 0 has 0.1 MB of memory free of 0.1 MB, [0-9.]* MB are needed' log; verdict little-memory $?
fake='90 268435456 9' on "$TRIM" build gpu.xml >log 2>&1; rc=$?
[ $rc -eq 1 ] && grep -q 'a/round-0/tune: k.* failed: unspecified launch failure (CUDA error 719)' log; verdict failing-device $?
on "$TRIM" build gpu.xml >log 2>&1; verdict goes-on $?
