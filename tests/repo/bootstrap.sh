#!/usr/bin/env bash
# ./bootstrap on machines that are not this one: the files of another /proc and /etc (BOOTSTRAP_SYSTEM)
# and programs that only note how they were called. Each case says what is wrong, and holds status,
# the one line on stderr, and exactly which commands ran as root. tests/chroot/prove does the real thing.
# Once: a shell script.
set -u
cd "$(dirname "$0")/../.." || exit 1
TMP=${TMP:-$(mktemp -d)}
M=$TMP/machine

shim() { # shim NAME BODY
	printf '#!/bin/sh\n%s\n' "$2" >"$M/bin/$1" && chmod +x "$M/bin/$1"
}

# A plain user's Debian 12 with everything installed, and a copy of bootstrap; each case spoils it.
machine() {
	rm -rf "$M"; mkdir -p "$M/bin" "$M/etc" "$M/proc" "$M/sys/fs/cgroup" "$M/tree/.build/sysroot-aarch64" "$M/usr"
	cp bootstrap "$M/tree/"
	printf 'ID=debian\nVERSION_ID="12"\n' >"$M/etc/os-release"
	echo 'flags : fpu avx avx2 bmi1 bmi2 f16c fma abm movbe xsave' >"$M/proc/cpuinfo"
	printf 'MemTotal: 9 kB\nMemAvailable: 4000000 kB\nSwapFree: 0 kB\n' >"$M/proc/meminfo"
	shim uname 'case $1 in -s) echo Linux;; *) echo x86_64;; esac'
	shim id 'echo 1000'
	shim df 'printf "h\nfs 9 9 9000000 9%% /\n"'
	shim sleep 'echo "sleep $*" >>"$M/log"'
	shim ldconfig 'cat "$M/libraries"'
	echo '	libnvrtc.so.11.2 (libc6,x86-64) => /usr/lib/x' >"$M/libraries"
	shim ninja 'echo "ninja $*" >>"$M/log"'
	shim dpkg-query 'for p; do :; done; grep -qx "$p" "$M/absent" && exit 1; echo "ii "'
	shim apt-get 'echo "apt-get $*" | sed "s/ -q -y -o [^ ]* -o [^ ]*//" >>"$M/log"
		[ "$http_proxy$DEBIAN_FRONTEND" ] && echo "env $http_proxy $DEBIAN_FRONTEND" >>"$M/log"
		if [ -s "$M/busy" ]; then sed -i 1d "$M/busy"; echo "E: Could not get lock x" >&2; exit 100; fi
		case "$*" in *" install "*) [ -e "$M/offline" ] && exit 100; : >"$M/absent";; esac'
	: >"$M/absent"; : >"$M/log"
}
sudo_allowed() { shim sudo '[ "$1" = -n ] && shift; [ "$2" = true ] || echo sudo >>"$M/log"; exec "$@"'; }
sudo_refused() { shim sudo 'exit 1'; }

boot() { # boot ARGUMENTS...: sets rc, out, err, log
	out=$(env -i HOME=/ http_proxy="${proxy:-}" M="$M" BOOTSTRAP_SYSTEM="$M" PATH="$M/bin:/usr/bin:/bin" \
		"$M/tree/bootstrap" "$@" 2>"$M/err"); rc=$?
	err=$(cat "$M/err") log=$(cat "$M/log")
}

# Without a real sudo in the way: the machine that runs this test may have one.
nosudo() { for p in /usr/bin/sudo /bin/sudo; do [ ! -x "$p" ] || return 1; done; }

want() { # want NAME STATUS ERR-PATTERN LOG
	local problem=
	[ "$rc" -eq "$2" ] || problem+="status $rc, not $2; "
	# shellcheck disable=SC2053
	[[ $err = $3 ]] || problem+="stderr is '$err'; "
	[ "$rc" -ne 36 ] || [ "$(wc -l <"$M/err")" -eq 1 ] || problem+="not one line; "
	[ "$log" = "$4" ] || problem+="log is '$log'; "
	if [ -z "$problem" ]; then echo "ok $1"; else printf '%s\nFAIL %s\n' "$problem" "$1"; fi
}
built=$'ninja \nninja aarch64'

machine; boot build
want nothing_missing_calls_no_apt 0 '*built .build/trim*' "$built"

machine; echo 'ID=ubuntu' >"$M/etc/os-release"; boot test
want another_system_is_refused 36 '*this is ubuntu*run: docker run * debian:12 ./bootstrap test' ''
machine; printf 'ID=debian\nVERSION_ID="13"\n' >"$M/etc/os-release"; boot build
want another_debian_is_refused 36 '*this is debian 13*run: docker run *' ''
machine; shim uname 'case $1 in -s) echo Linux;; *) echo aarch64;; esac'; boot build
want another_architecture_is_refused 36 '*on aarch64*--platform linux/amd64*' ''
machine; rm "$M/etc/os-release"; boot build
want an_unknown_system_is_refused 36 '*an unknown system*' ''

machine; echo 'flags : fpu avx bmi1 bmi2 f16c fma abm movbe xsave' >"$M/proc/cpuinfo"; boot build
want an_old_cpu_is_refused 36 '*below x86-64-v3 (it lacks avx2)*' ''

machine; printf 'MemAvailable: 300000 kB\nSwapFree: 100000 kB\n' >"$M/proc/meminfo"; boot build
want little_memory_is_refused 36 '*390 MB of memory are free, 800 MB are needed*swapon*' ''
machine; printf 'MemAvailable: 300000 kB\nSwapFree: 900000 kB\n' >"$M/proc/meminfo"; boot build
want swap_counts_as_memory 0 '*' "$built"
machine; echo 500000000 >"$M/sys/fs/cgroup/memory.max"; boot build
want a_containers_limit_counts 36 '*476 MB of memory are free*' ''

machine; shim df 'printf "h\nfs 9 9 102400 9%% /\n"'; boot build
want little_disk_is_refused 36 "*'.' has 100 MB of free disk, 1000 MB are needed; free 900 MB there*" ''
machine; shim id 'echo 0'; echo gcc >"$M/absent"
shim df 'case $2 in .) echo; echo "fs 9 9 9000000 9% /";; *) echo; echo "fs 9 9 102400 9% /";; esac'; boot build
want little_disk_for_packages_is_refused 36 "*/usr' has 100 MB*" ''

machine; printf 'lld-19\ngcc\n' >"$M/absent"; sudo_refused; boot build
want sudo_with_a_password_is_not_asked 36 \
	'*run: sudo apt-get update && sudo apt-get install -y --no-install-recommends gcc lld-19' ''
if nosudo; then
	machine; printf 'lld-19\ngcc\n' >"$M/absent"; boot build
	want without_sudo_root_is_named 36 \
		'*; as root run: apt-get update && apt-get install -y --no-install-recommends gcc lld-19' ''
else
	echo "skip without_sudo_root_is_named: this machine has sudo"
fi
machine; echo qemu-user >"$M/absent"; boot build
want build_needs_no_test_package 0 '*' "$built"

machine; printf 'lld-19\n' >"$M/absent"; sudo_allowed; proxy=http://p:1 boot build
want sudo_installs_and_passes_proxies 0 '*installing lld-19*' "sudo
apt-get update
env http://p:1 noninteractive
sudo
apt-get install --no-install-recommends lld-19
env http://p:1 noninteractive
$built"

machine; shim id 'echo 0'; printf 'lld-19\n' >"$M/absent"; printf '1\n2\n' >"$M/busy"; boot build
want apts_locks_are_waited_for 0 "*another program holds apt's lock*" "apt-get update
env  noninteractive
sleep 5
apt-get update
env  noninteractive
sleep 5
apt-get update
env  noninteractive
apt-get install --no-install-recommends lld-19
env  noninteractive
$built"

machine; shim id 'echo 0'; printf 'lld-19\n' >"$M/absent"; : >"$M/offline"; boot build
[ "$rc" -eq 36 ] && [[ $(tail -n 1 "$M/err") = *'see to the network or http_proxy, then run: apt-get update &&'* ]] &&
	[[ $log != *ninja* ]] && echo "ok offline_it_names_the_command" || echo "FAIL offline_it_names_the_command"

# What needs no code for GPUs works without NVRTC; the command that fetches it says that it could not.
machine; : >"$M/libraries"; boot nvrtc
[ "$rc" -eq 36 ] && [[ $err = *'fetching libnvrtc11.2 '*'no GPU targets: NVRTC could not be fetched (.build/nvrtc.log)'* ]] &&
	[[ $log = 'apt-get indextargets'*' update'*' download libnvrtc11.2 libnvrtc-builtins11.8' ]] && [ ! -e "$M/tree/.build/nvrtc" ] &&
	echo "ok nvrtc_that_cannot_be_fetched" || { echo "$rc, $err, $log"; echo "FAIL nvrtc_that_cannot_be_fetched"; }
machine; boot nvrtc
want nvrtc_of_the_system_is_enough 0 '' ''

# Installing: modes, places, and only what is there; a glob without a match is no file.
machine
put() { mkdir -p "$(dirname "$M/tree/$1")" && echo x >"$M/tree/$1"; }
put .build/trim; put .build/lib/emit.so; put .build/lib/aarch64/crt1.o
put specs/trim.xsd; put specs/arch/llama.xml
boot install "$M/prefix"
got=$(find "$M/prefix" -type f ! -path '*/lib/trim/x86_64/*' -printf '%m %P\n' | LC_ALL=C sort -k2)
[ "$rc" -eq 0 ] && [ "$got" = '755 bin/trim
644 lib/trim/aarch64/crt1.o
755 lib/trim/emit.so
644 share/trim/specs/arch/llama.xml
644 share/trim/specs/trim.xsd' ] && echo "ok install_copies_its_list" || { echo "$got"; echo "FAIL install_copies_its_list"; }

if [ "$(id -u)" -eq 0 ]; then
	echo "skip install_refuses_a_closed_folder: root may write anywhere"
else
	machine; sudo_refused; mkdir -m 555 "$M/closed"; boot install "$M/closed/there"
	want install_refuses_a_closed_folder 36 "*/closed/there' is not writable; run: ./bootstrap install *" ''
fi

machine; boot; [ "$rc" -eq 0 ] && [[ $out = usage:* ]] && [ -z "$err$log" ] &&
	echo "ok no_argument_prints_usage" || echo "FAIL no_argument_prints_usage"
machine; boot biuld
want an_unknown_verb_is_refused 2 "*unknown command 'biuld'*usage:*" ''

# The sum of three runs, and a run that never came to its tests.
machine; shim ninja 'case $1 in check) echo "x 1 passed"; echo "3 passed, 0 failed, 1 skipped";;
	check-clang) echo "4 passed, 2 failed, 0 skipped"; exit 1;; check-asan) exit 1;; esac'; boot test
[ "$rc" -eq 1 ] && [ "$(tail -n 1 <<<"$out")" = "7 passed, 3 failed, 1 skipped" ] &&
	echo "ok test_sums_its_three_runs" || { echo "$out"; echo "FAIL test_sums_its_three_runs"; }
