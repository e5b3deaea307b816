#!/usr/bin/env bash
# What ./bootstrap leaves in .build/sysroot-ARCH is enough for a static musl program with threads,
# printf and strtod of long doubles: compiled by clang, linked by ld.lld, run (aarch64 under qemu).
# Once: what bootstrap fetched.
set -u
cd "$(dirname "$0")/../.." || exit 1
TMP=${TMP:-$(mktemp -d)}
lld=/usr/lib/llvm-19/bin/ld.lld

cat >"$TMP/x.c" <<'C'
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
static atomic_long n;
static void *count(void *arg)
{
	for (int i = 0; i < 1000; i++)
		n++;
	return arg;
}
int main(int argc, char **argv)
{
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], 0, count, 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], 0);
	long double x = strtold(argc > 1 ? argv[1] : "", 0);
	printf("%ld %.6f %.2Lf %.1f\n", (long)n, sqrt(2), x * x, fma(argc, 2, 3));
	return 0;
}
C

for arch in x86_64 aarch64; do
	name=${arch}_links_and_runs_a_static_program
	root=.build/sysroot-$arch run=
	[ "$arch" = x86_64 ] || run=qemu-$arch
	if ! [ -e $root/usr/lib/libc.a ]; then echo "skip $name: no $root (./bootstrap sysroot)"; continue; fi
	missing=
	for tool in clang "$lld" $run; do command -v "$tool" >/dev/null || missing+=" $tool"; done
	if [ -n "$missing" ]; then echo "skip $name: no$missing"; continue; fi
	flags=; [ "$arch" = x86_64 ] || flags=-mno-outline-atomics
	gcc_lib=$root/usr/lib/libgcc.a; [ -e "$gcc_lib" ] || gcc_lib=
	got=$(cd "$TMP" && root=$OLDPWD/$root
		clang --target=$arch-linux-musl --sysroot="$root" $flags -O2 -c x.c -o x.o 2>&1 &&
		"$lld" -static -o x "$root"/usr/lib/crt1.o "$root"/usr/lib/crti.o x.o --start-group \
			"$root"/usr/lib/libc.a ${gcc_lib:+"$OLDPWD/$gcc_lib"} --end-group "$root"/usr/lib/crtn.o 2>&1 &&
		$run ./x 2.5 2>&1)
	if [ "$got" = "4000 1.414214 6.25 7.0" ]; then echo "ok $name"; else printf '%s\nFAIL %s\n' "$got" "$name"; fi
done
