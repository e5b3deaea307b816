#include "target.h"

#include <string.h>

#include "cpu.h"

#define V3 "avx2,bmi2,f16c,fma"
#define V4 V3 ",avx512f,avx512bw,avx512dq,avx512vl"
#define X86 ARCH_X86_64, "x86_64-unknown-linux-musl"

/* From plain to capable: the last that runs here is `native`. */
const struct target targets[] = {
	/* Intel's CPUs with avx512bf16 do half as many vdpbf16ps as fma per cycle (115 of 229 Gflop/s on a
	 * Sapphire Rapids), AMD's as many: only Zen's rows use it. */
	{"aarch64-neon", ARCH_AARCH64, "aarch64-unknown-linux-musl", "generic", "+neon", "", 4, 4, 1,
		false, false},
	{"x86-64-v3", X86, "x86-64-v3", "", V3, 8, 6, 1, false, false},
	{"x86-64-v4", X86, "x86-64-v4", "", V4, 16, 12, 2, false, false},
	{"avx512-bf16", X86, "x86-64-v4", "+avx512bf16,+avx512vnni", V4 ",avx512bf16,avx512vnni", 16,
		12, 2, false, true},
	{"zen4", X86, "znver4", "", V4 ",avx512bf16,avx512vnni,sse4a", 16, 12, 2, true, true},
	{"zen5", X86, "znver5", "", V4 ",avx512bf16,avx512vnni,sse4a,avxvnni", 16, 12, 2, true, true},
};
const int ntargets = (int)NELEM(targets);

const struct target *target_find(const char *name)
{
	if (!strcmp(name, "native"))
		return target_native();
	for (int i = 0; i < ntargets; i++)
		if (!strcmp(targets[i].name, name))
			return &targets[i];
	return NULL;
}

/* As cpu_has, without its price: under a hypervisor each cpuid traps, and asking it for all rows took
 * 1.2 ms of a build in which nothing happens; the compilers ask once, when the program starts (2 us). The
 * names are the same; what not both gcc and clang know, cpu_has does. */
static bool has(const char *feature)
{
#ifdef __x86_64__
#define HAS(f)                                                                                     \
	if (!strcmp(feature, f))                                                                   \
		return __builtin_cpu_supports(f) > 0;
	HAS("avx2")
	HAS("bmi2")
	HAS("fma")
	HAS("avx512f")
	HAS("avx512bw")
	HAS("avx512dq")
	HAS("avx512vl")
	HAS("avx512bf16")
	HAS("avx512vnni")
	HAS("sse4a")
	if (!strcmp(feature, "f16c"))
		return __builtin_cpu_supports("avx2") > 0; /* no CPU has one without the other */
#undef HAS
#endif
	return cpu_has(feature);
}

bool target_runs_here(const struct target *t)
{
#ifdef __x86_64__
	if (t->arch != ARCH_X86_64)
		return false;
#else
	if (t->arch != ARCH_AARCH64)
		return false;
#endif
	char name[32];
	for (const char *p = t->needs; *p;) {
		size_t n = strcspn(p, ",");
		memcpy(name, p, n);
		name[n] = '\0';
		if (!has(name))
			return false;
		p += n + (p[n] == ',');
	}
	return true;
}

const struct target *target_native(void)
{
	const struct target *best = NULL;
	for (int i = 0; i < ntargets; i++)
		if (target_runs_here(&targets[i]))
			best = &targets[i];
	return best;
}
