/* From what a target's `hardware` says to the rows of the target table. */
#include "test.h"

#include <string.h>

#include "plan.h"
#include "spec_table.h"

/* The language cannot include the table, so it repeats its names. */
TEST(the_language_knows_every_target_and_its_architecture)
{
	static const char *const arch[] = {[ARCH_X86_64] = "x86-64", [ARCH_AARCH64] = "aarch64"};
	int n = 0;
	while (spec_cpus[n])
		n++;
	CHECK_INT(n, ntargets + 1);
	CHECK_STR(spec_cpus[0], "native");
	CHECK(!spec_cpu_archs[0]);
	for (int i = 0; i < ntargets; i++) {
		int word = spec_word_index(spec_cpus, targets[i].name);
		if (word < 0)
			FAIL("'%s' is not in the language", targets[i].name);
		else
			CHECK_STR(spec_cpu_archs[word], arch[targets[i].arch]);
	}
}

/* Separated by spaces; NULL: an error. */
static const char *resolve(struct arena *a, const char *cpus, const char *locked, struct err *e)
{
	struct spec_target t = {.name = "t", .hardware.name = cpus};
	struct plan_hardware h;
	char *rest = arena_strdup(a, cpus);
	for (char *name; (name = strsep(&rest, " "));)
		if (!strncmp(name, "sm_", 3))
			*arena_push(a, t.hardware.gpu, t.hardware.ngpu) = name;
		else if (*name)
			*arena_push(a, t.hardware.cpu, t.hardware.ncpu) = name;
	if (!plan_hardware(a, &t, locked, &h, e))
		return NULL;
	for (size_t i = 1; i < h.n; i++)
		CHECK(h.target[i - 1] < h.target[i]);
	return h.names;
}

TEST(hardware_is_sorted_and_native_is_what_the_lock_says)
{
	static const struct {
		const char *cpus, *locked, *want;
	} cases[] = {
		{"zen5", NULL, "zen5"},
		{"zen5 x86-64-v3", NULL, "x86-64-v3 zen5"},
		{"aarch64-i8mm aarch64-neon aarch64-dotprod", NULL, "aarch64-neon aarch64-dotprod aarch64-i8mm"},
		{"zen5 x86-64-v3", "zen4 zen5", "x86-64-v3 zen5"},
		{"native", "zen5", "zen5"},
		{"native", "x86-64-v3 zen5", "zen5"},
		{"native x86-64-v3", "x86-64-v3 zen5", "x86-64-v3 zen5"},
		{"zen5 native", "x86-64-v3 zen5", "x86-64-v3 zen5"},
		{"zen5 native", "zen5", "zen5"},
		{"x86-64-v4 native", "x86-64-v3 zen5", "x86-64-v4 zen5"},
		{"sm_90", NULL, "x86-64-v3 sm_90"},
		{"sm_120 sm_80 zen4 sm_90", NULL, "zen4 sm_80 sm_90 sm_120"},
		{"native sm_90", "zen5 sm_90", "zen5 sm_90"},
		{"sm_90 native", "zen5 sm_80", "zen5 sm_90"},
	};
	struct arena a = {0};
	struct err e;
	for (size_t i = 0; i < NELEM(cases); i++)
		CHECK_STR(resolve(&a, cases[i].cpus, cases[i].locked, &e), cases[i].want);
	const char *native = target_native()->name;
	CHECK_STR(resolve(&a, "native", NULL, &e), native);
	CHECK_STR(resolve(&a, arena_printf(&a, "native %s", native), NULL, &e), native);
	arena_release(&a);
}

TEST(native_of_another_architecture_is_an_error)
{
	struct arena a = {0};
	struct err e;
	const char *other = NULL;
	for (int i = 0; i < ntargets; i++)
		if (targets[i].arch != target_native()->arch)
			other = targets[i].name;
	CHECK(!resolve(&a, arena_printf(&a, "native %s", other), NULL, &e));
	CHECK_INT(e.kind, ERR_SPEC);
	CHECK(strstr(e.msg, other) && strstr(e.msg, target_native()->name) && strstr(e.msg, "one architecture"));
	CHECK(!resolve(&a, "native", "zen9", &e) && strstr(e.msg, "no code can be made for 'native'"));
	CHECK(!resolve(&a, "sm_90 aarch64-neon", NULL, &e) && strstr(e.msg, "code for GPUs goes with x86-64"));
	arena_release(&a);
}
