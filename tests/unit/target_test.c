/* The table of targets, and what binaries ask of the CPU. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "cpu.h"
#include "target.h"

/* What gcc's or clang's own start-up code found; -1 for names it does not know. */
static int compiler_has(const char *feature)
{
#ifdef __x86_64__
#define HAS(f)                                                                                     \
	if (!strcmp(feature, f))                                                                   \
		return __builtin_cpu_supports(f) > 0;
	HAS("avx2") HAS("bmi2") HAS("fma") HAS("avx512f") HAS("avx512bw") HAS("avx512dq") HAS("avx512vl")
	HAS("avx512bf16") HAS("avx512vnni") HAS("sse4a")
#undef HAS
	if (!strcmp(feature, "f16c"))
		return __builtin_cpu_supports("avx2") > 0; /* no CPU has one without the other */
#endif
	return -1;
}

/* What the compiler asks of a CPU and what a binary asks of it when it starts, feature by feature. */
TEST(targets_and_binaries_know_the_same_features)
{
	struct cpu cpu;
	int compared = 0;
	cpu_read(&cpu);
	for (int i = 0; i < ntargets; i++) {
		const char *p = targets[i].needs;
		for (size_t n; *p; p += n + (p[n] == ',')) {
			char name[32];
			n = strcspn(p, ",");
			snprintf(name, sizeof(name), "%.*s", (int)n, p);
			struct target one = {.arch = targets[i].arch, .needs = name};
			int want = compiler_has(name);
			compared += want >= 0;
			if (want >= 0 && (cpu_has(&cpu, name) != want || target_runs_here(&one) != want))
				FAIL("%s: '%s': the compiler finds it is %s", targets[i].name, name,
					want ? "here" : "missing");
		}
	}
#ifdef __x86_64__
	CHECK(compared > 20);
#endif
}
