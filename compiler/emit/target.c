#include "target.h"

#include <string.h>

#include "cpu.h"

#define V3 "avx2,bmi2,f16c,fma"
#define V4 V3 ",avx512f,avx512bw,avx512dq,avx512vl"
#define X86 ARCH_X86_64, "x86_64-unknown-linux-musl"
#define ARM ARCH_AARCH64, "aarch64-unknown-linux-musl", "generic"

/* From plain to capable: the last that runs here is `native`. */
const struct target targets[] = {
	/* dpbf16: Intel's CPUs with avx512bf16 do half as many vdpbf16ps as fma per cycle (115 of 229 Gflop/s on a
	 * Sapphire Rapids), AMD's as many: only Zen's rows use it. */
	{"aarch64-neon", ARM, "+neon", "", 4, 4, 1, false, INT8_PAIRS},
	{"aarch64-dotprod", ARM, "+neon,+dotprod", "asimddp", 4, 4, 1, false, INT8_SIGNED},
	{"aarch64-i8mm", ARM, "+neon,+dotprod,+i8mm", "asimddp,i8mm", 4, 4, 1, false, INT8_UNSIGNED},
	{"x86-64-v3", X86, "x86-64-v3", "", V3, 8, 6, 1, false, INT8_PAIRS},
	{"avx-vnni", X86, "x86-64-v3", "+avxvnni", V3 ",avxvnni", 8, 6, 1, false, INT8_UNSIGNED},
	{"x86-64-v4", X86, "x86-64-v4", "", V4, 16, 12, 2, false, INT8_PAIRS},
	{"avx512-bf16", X86, "x86-64-v4", "+avx512bf16,+avx512vnni", V4 ",avx512bf16,avx512vnni", 16,
		12, 2, false, INT8_UNSIGNED},
	{"zen4", X86, "znver4", "", V4 ",avx512bf16,avx512vnni,sse4a", 16, 12, 2, true, INT8_UNSIGNED},
	{"zen5", X86, "znver5", "", V4 ",avx512bf16,avx512vnni,sse4a,avxvnni", 16, 12, 2, true,
		INT8_UNSIGNED},
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

const char *target_text(struct arena *a, const struct target *t)
{
	return arena_printf(a, "%d|%s|%s|%s|%s|%d|%d|%d|%d|%d", t->arch, t->triple, t->cpu, t->features, t->needs,
		t->lanes, t->tile_rows, t->tile_panels, t->dpbf16, t->int8);
}

#ifdef __x86_64__
static const enum target_arch own_arch = ARCH_X86_64;
#else
static const enum target_arch own_arch = ARCH_AARCH64;
#endif

static bool runs_on(const struct cpu *c, const struct target *t)
{
	return t->arch == own_arch && cpu_has_all(c, t->needs, NULL);
}

bool target_runs_here(const struct target *t)
{
	struct cpu cpu;
	cpu_read(&cpu);
	return runs_on(&cpu, t);
}

const struct target *target_native(void)
{
	const struct target *best = NULL;
	struct cpu cpu;
	cpu_read(&cpu);
	for (int i = 0; i < ntargets; i++)
		if (runs_on(&cpu, &targets[i]))
			best = &targets[i];
	return best;
}
