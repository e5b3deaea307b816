/* The table of targets, and what binaries ask of the CPU. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "cpu.h"
#include "target.h"
#include "variant.h"

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

/* The emitter's module is in a compile's key by content, but the table is not in the module: a change of any
 * field must change what the key takes from it. */
TEST(every_field_of_a_target_is_in_its_text)
{
	struct arena a = {0};
	const struct target t = {"n", ARCH_X86_64, "t", "c", "f", "e", 8, 6, 1, false, INT8_PAIRS};
	struct target changed[10];
	for (size_t i = 0; i < NELEM(changed); i++)
		changed[i] = t;
	changed[0].arch = ARCH_AARCH64;
	changed[1].triple = "other";
	changed[2].cpu = "other";
	changed[3].features = "other";
	changed[4].needs = "other";
	changed[5].lanes = 16;
	changed[6].tile_rows = 7;
	changed[7].tile_panels = 2;
	changed[8].dpbf16 = true;
	changed[9].int8 = INT8_SIGNED;
	for (size_t i = 0; i < NELEM(changed); i++)
		if (!strcmp(target_text(&a, &changed[i]), target_text(&a, &t)))
			FAIL("field %zu is not in the text", i + 1);
	arena_release(&a);
}

/* What a binary with code for every target of this architecture would hold. */
static struct variants all_variants(struct arena *a)
{
	struct variant *v = NULL;
	size_t n = 0;
	for (int i = 0; i < ntargets; i++)
		if (targets[i].arch == target_native()->arch)
			*arena_push(a, v, n) = (struct variant){.name = targets[i].name, .needs = targets[i].needs};
	return (struct variants){v, n};
}

TEST(a_binary_takes_the_most_capable_code_that_runs)
{
	struct arena a = {0};
	struct variants all = all_variants(&a);
	const struct variant *best = NULL;
	struct cpu cpu;
	struct err e;
	cpu_read(&cpu);
	for (size_t i = 0; i < all.n; i++) {
		const struct variant *v = &all.v[i], *forced = variant_choose(all, &cpu, v->name, &e);
		bool runs = target_runs_here(target_find(v->name));
		best = runs ? v : best;
		CHECK(forced == (runs ? v : NULL));
		CHECK(runs || (e.kind == ERR_TOOL && strstr(e.msg, v->name)));
		CHECK(variant_choose((struct variants){all.v, i + 1}, &cpu, NULL, &e) == best);
	}
	CHECK_STR(best->name, target_native()->name);
	CHECK(!variant_choose(all, &cpu, "none-such", &e) && e.kind == ERR_SPEC);
	arena_release(&a);
}

#ifdef __x86_64__
/* One line must hold all of it. */
TEST(a_cpu_without_anything_is_told_what_each_variant_lacks)
{
	struct arena a = {0};
	struct variants all = all_variants(&a);
	struct cpu none = {0};
	struct err e;
	REQUIRE(!variant_choose(all, &none, NULL, &e));
	CHECK_INT(e.kind, ERR_TOOL);
	CHECK(strlen(e.msg) < sizeof(e.msg) - 1);
	const char *at = e.msg;
	for (size_t i = 0; i < all.n; i++) {
		const char *p = strstr(at, arena_printf(&a, " %s (lacks ", all.v[i].name));
		if (!p)
			FAIL("nothing of '%s' in '%s'", all.v[i].name, e.msg);
		else
			at = p;
	}
	CHECK(e.msg[strlen(e.msg) - 1] == ')');
	arena_release(&a);
}
#endif
