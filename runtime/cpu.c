#include "cpu.h"

#include <sched.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Register state that the system must save: bits of XCR0. */
enum { STATE_NONE = 0, STATE_YMM = 0x6, STATE_ZMM = 0xe6, STATE_TILE = 0x60000 };

struct feature {
	const char *name;
	int word, bit;
	uint32_t state;
};

/* Where cpu_read leaves registers of leaf 1, 7, 7 with subleaf 1, and 0x80000001. */
enum { EAX, EBX, ECX, EDX, LEAF_1 = 0, LEAF_7 = 4, LEAF_7_1 = 8, LEAF_X1 = 12 };

/* Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E. */
static const struct feature features[] = {
	{"sse3", LEAF_1 + ECX, 0, STATE_NONE},
	{"ssse3", LEAF_1 + ECX, 9, STATE_NONE},
	{"fma", LEAF_1 + ECX, 12, STATE_YMM},
	{"sse4.1", LEAF_1 + ECX, 19, STATE_NONE},
	{"sse4.2", LEAF_1 + ECX, 20, STATE_NONE},
	{"movbe", LEAF_1 + ECX, 22, STATE_NONE},
	{"popcnt", LEAF_1 + ECX, 23, STATE_NONE},
	{"avx", LEAF_1 + ECX, 28, STATE_YMM},
	{"f16c", LEAF_1 + ECX, 29, STATE_YMM},
	{"bmi", LEAF_7 + EBX, 3, STATE_NONE},
	{"avx2", LEAF_7 + EBX, 5, STATE_YMM},
	{"bmi2", LEAF_7 + EBX, 8, STATE_NONE},
	{"avx512f", LEAF_7 + EBX, 16, STATE_ZMM},
	{"avx512dq", LEAF_7 + EBX, 17, STATE_ZMM},
	{"avx512ifma", LEAF_7 + EBX, 21, STATE_ZMM},
	{"avx512cd", LEAF_7 + EBX, 28, STATE_ZMM},
	{"avx512bw", LEAF_7 + EBX, 30, STATE_ZMM},
	{"avx512vl", LEAF_7 + EBX, 31, STATE_ZMM},
	{"avx512vbmi", LEAF_7 + ECX, 1, STATE_ZMM},
	{"avx512vbmi2", LEAF_7 + ECX, 6, STATE_ZMM},
	{"gfni", LEAF_7 + ECX, 8, STATE_NONE},
	{"vaes", LEAF_7 + ECX, 9, STATE_YMM},
	{"vpclmulqdq", LEAF_7 + ECX, 10, STATE_YMM},
	{"avx512vnni", LEAF_7 + ECX, 11, STATE_ZMM},
	{"avx512bitalg", LEAF_7 + ECX, 12, STATE_ZMM},
	{"avx512vpopcntdq", LEAF_7 + ECX, 14, STATE_ZMM},
	{"avx512vp2intersect", LEAF_7 + EDX, 8, STATE_ZMM},
	{"amx-bf16", LEAF_7 + EDX, 22, STATE_TILE},
	{"avx512fp16", LEAF_7 + EDX, 23, STATE_ZMM},
	{"amx-tile", LEAF_7 + EDX, 24, STATE_TILE},
	{"amx-int8", LEAF_7 + EDX, 25, STATE_TILE},
	{"avxvnni", LEAF_7_1 + EAX, 4, STATE_YMM},
	{"avx512bf16", LEAF_7_1 + EAX, 5, STATE_ZMM},
	{"lzcnt", LEAF_X1 + ECX, 5, STATE_NONE},
	{"sse4a", LEAF_X1 + ECX, 6, STATE_NONE},
};

static void read_leaf(struct cpu *out, int at, uint32_t leaf, uint32_t subleaf)
{
	uint32_t r[4];
	__cpuid_count(leaf, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
	for (int i = 0; i < 4; i++)
		out->word[at + i] = r[i];
}

static uint64_t saved_state(const struct cpu *c)
{
	uint32_t lo, hi;
	enum { OSXSAVE = 1 << 27 };
	if (!(c->word[LEAF_1 + ECX] & OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

/* Leaves 1 and 0x80000001 are there on every 64-bit CPU; a later one only when the CPU says so. */
void cpu_read(struct cpu *out)
{
	*out = (struct cpu){0};
	read_leaf(out, LEAF_1, 1, 0);
	read_leaf(out, LEAF_X1, 0x80000001, 0);
	if ((uint32_t)__get_cpuid_max(0, NULL) >= 7)
		read_leaf(out, LEAF_7, 7, 0);
	if (out->word[LEAF_7 + EAX] >= 1) /* how many subleaves follow */
		read_leaf(out, LEAF_7_1, 7, 1);
	out->saved = saved_state(out);
}

static bool saves(const struct cpu *c, const struct feature *f)
{
	return (c->saved & f->state) == f->state;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

struct feature {
	const char *name;
	int word, bit;
};

enum { HWCAP, HWCAP2 };

/* Linux, arch/arm64/include/uapi/asm/hwcap.h. */
static const struct feature features[] = {
	{"fp", HWCAP, 0},
	{"asimd", HWCAP, 1},
	{"atomics", HWCAP, 8},
	{"fphp", HWCAP, 9},
	{"asimdhp", HWCAP, 10},
	{"asimdrdm", HWCAP, 12},
	{"asimddp", HWCAP, 20},
	{"sve", HWCAP, 22},
	{"asimdfhm", HWCAP, 23},
	{"sve2", HWCAP2, 1},
	{"i8mm", HWCAP2, 13},
	{"bf16", HWCAP2, 14},
};

void cpu_read(struct cpu *out)
{
	*out = (struct cpu){.word = {[HWCAP] = getauxval(AT_HWCAP), [HWCAP2] = getauxval(AT_HWCAP2)}};
}

/* What the kernel lists it saves. */
static bool saves(const struct cpu *c, const struct feature *f)
{
	(void)c;
	(void)f;
	return true;
}
#else
#error "features are not known for this processor"
#endif

bool cpu_has(const struct cpu *c, const char *feature)
{
	for (size_t i = 0; i < NELEM(features); i++)
		if (!strcmp(features[i].name, feature))
			return (c->word[features[i].word] >> features[i].bit & 1) && saves(c, &features[i]);
	return false;
}

bool cpu_has_all(const struct cpu *c, const char *list, struct strbuf *missing)
{
	bool all = true;
	char name[32];
	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ",");
		if (n >= sizeof name)
			BUG("a feature with a name of %zu bytes in '%s'", n, list);
		memcpy(name, p, n);
		name[n] = '\0';
		if (n && !cpu_has(c, name)) {
			if (missing)
				strbuf_addf(missing, "%s%s", all ? "" : ", ", name);
			all = false;
		}
		p += n + (p[n] == ',');
	}
	return all;
}

int cpu_threads(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof set, &set))
		return 1;
	int n = CPU_COUNT(&set);
	return n > 0 ? n : 1;
}
