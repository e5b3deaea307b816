#!/usr/bin/env bash
# A target for GPUs from spec to text, without a GPU: what the binary does where there is no driver, and with a driver that
# has no device (tests/gpu/fake_cuda.c), by which it runs the CUDA C that its code was made from as C.
# Once: needs NVRTC, and holds what an emitted binary does.
set -u
. tests/build/world.bash
here=$OLDPWD

verdict() { # verdict NAME STATUS
	if [ "$2" -eq 0 ]; then echo "ok gpu/$1"; else cat log; echo "FAIL gpu/$1"; fi
}
build() { # build HARDWARE WEIGHTS: the model as it is, in $binary
	cat >g.xml <<-XML
		<trim xmlns="urn:trim:spec:1" name="g">
		  <model path="model"/>
		$(dataset)
		  <schedule><score method="last"/><tune epochs="0" trainable="100%"/></schedule>
		  <target name="t" hardware="$1" weights="$2" keep="${3:-100%}"/>
		</trim>
	XML
	binary=out/g/t/g
	"$TRIM" build g.xml --json >built 2>log
}
on() { # on ARGUMENT...: the binary, with a device; what it says goes to `log`
	env TRIM_CUDA_DRIVER="$here/.build/tests/fake-cuda.so" TRIM_FAKE_CUDA="${fake:-90 268435456 0}" \
		TRIM_FAKE_CUDA_LIBRARY="$TMP/kernels.so" "$binary" "$@" 2>log
}
says() { # says STATUS OF-LOG: what the last one ended with
	[ "$rc" -eq "$1" ] && [[ $(cat log) = $2 ]]
}

build 'cuda-sm_90 cuda-sm_80' f32; verdict builds $?
python3 - >>log 2>&1 <<'PY'
import json
o = json.load(open("built"))
assert o["actions"]["failed"] == 0, o
assert o["metrics"]["t"]["measured"] == "twin", o
lock = json.load(open("g.lock"))
assert lock["targets"]["t"]["hardware"] == "x86-64-v3 sm_80 sm_90", lock
PY
verdict hardware $?
"$TRIM" build g.xml --json >again 2>log && grep -q '"run":0' again; verdict never-twice $?
# What is made again: one GPU more, code for that one; another context, all code; what was there before, nothing.
again() { # again EXPECTED SPEC-EDIT
	sed -i "$2" g.xml
	"$TRIM" build g.xml --events events >log 2>&1
	ran=$(sed -n 's/.*"event":"run".*"action":"\(t\/[^"]*\)".*/\1/p' events | LC_ALL=C sort | tr '\n' ' ')
	echo "ran $ran" >>log
	[ "${ran% }" = "$1" ]
}
again 't/gpu-sm_86 t/link t/lock' 's/cuda-sm_80/cuda-sm_80 cuda-sm_86/'; verdict again/one-more $?
again 't/compile t/gpu-sm_80 t/gpu-sm_86 t/gpu-sm_90 t/link t/lock' 's/weights="f32"/weights="f32" context="90"/'; verdict again/context $?
again '' 's/ cuda-sm_86//; s/ context="90"//'; verdict again/back $?
"$binary" info >log 2>&1 && grep -q '^GPU code      sm_80, sm_90, PTX of sm_80 for later ones$' log; verdict info $?

# Nothing there: one line, and the CPU; or 36.
text=$("$binary" -p '' -n 12 2>log); rc=$?
says 0 'g: no CUDA driver here (*); *; running on the CPU' && [ -n "$text" ]; verdict no-driver $?
"$binary" -p '' -n 12 --device cuda >/dev/null 2>log; rc=$?
says 36 'g: no CUDA driver here *'; verdict no-driver-36 $?
[ "$("$binary" -p '' -n 12 --device cpu 2>log)" = "$text" ] && [ ! -s log ]; verdict cpu $?

# The code that it was made from, as C.
"$TRIM" inspect g.xml --emit cuda >kernels.cu 2>log &&
	printf '#include "%s/tests/gpu/shim.h"\n#include "%s/kernels.cu"\n#include "%s/tests/gpu/shim_run.h"\n' "$here" "$TMP" "$here" >kernels.c &&
	gcc -std=gnu11 -O1 -march=x86-64-v3 -ffp-contract=off -fno-tree-ter -fno-math-errno -w -fPIC -shared -o kernels.so kernels.c -lm \
		>>log 2>&1
verdict source $?
[ "$(on -p '' -n 12)" = "$text" ] && [ ! -s log ]; verdict text $?
[ "$(on -p "$text" -n 3 --device cuda:0)" = "$("$binary" -p "$text" -n 3 --device cpu)" ]; verdict text-behind-a-prompt $?
on selftest >said && grep -q 'as recorded on a CPU but for 0.02 of the largest, on fake 0' said; verdict selftest $?
on bench --json >said && python3 -c 'import json; assert json.load(open("said"))["decode_tokens_per_second"] > 0' 2>>log; verdict bench $?

# What is there does not do.
on -p '' -n 1 --device cuda:3 >/dev/null; rc=$?; says 36 'g: no CUDA device 3; there are 1, from 0 on'; verdict no-such-device $?
on -p '' -n 1 --device gpu >/dev/null; rc=$?; says 2 "g: --device: 'gpu' is none of cpu, cuda and cuda:N"; verdict no-such-name $?
fake='75 268435456 0'; got=$(on -p '' -n 12); rc=$?
says 0 'g: this program has no code for sm_75; running on the CPU' && [ "$got" = "$text" ]; verdict too-old $?
fake='120 268435456 0'; [ "$(on -p '' -n 12)" = "$text" ] && [ ! -s log ]; verdict later-by-ptx $?
fake='90 100000 0'; got=$(on -p '' -n 12); rc=$?
says 0 'g: fake 0 has 0.1 MB of memory free of 0.1 MB, * MB are needed; running on the CPU' && [ "$got" = "$text" ]; verdict little-memory $?
on -p '' -n 12 --device cuda >/dev/null; rc=$?; says 36 'g: fake 0 has *'; verdict little-memory-36 $?
fake='90 268435456 3'; on -p '' -n 12 >/dev/null; rc=$?; says 1 'g: p1_all failed: unspecified launch failure (CUDA error 719)'
verdict failing-device $?

# How fast it is only a GPU can tell.
build 'cuda-sm_90 x86-64-v3' f32 '100 tokens/s'; rc=$?
says 36 "*keep=\"100 tokens/s\" of target 't' is to be measured on a machine that runs code for 'x86-64-v3 sm_90'*"; verdict keep-by-speed $?

# Without code for GPUs there is no choice.
build x86-64-v3 f32
"$binary" -p '' -n 1 --device cuda >/dev/null 2>log; rc=$?
says 36 'g: --device cuda: this program has code for CPUs alone'; verdict none-in-it $?
[ "$("$binary" -p '' -n 12 --device cpu 2>log)" = "$text" ]; verdict cpu-of-none-in-it $?
