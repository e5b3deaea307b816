#include "cpu.h"

#include <sched.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };

/* Register state that the system must save: bits of XCR0. */
enum { STATE_NONE = 0, STATE_YMM = 0x6, STATE_ZMM = 0xe6, STATE_TILE = 0x60000 };

struct feature {
	const char *name;
	uint32_t leaf, subleaf;
	int reg, bit;
	uint32_t state;
};

/* Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E. */
static const struct feature features[] = {
	{"sse3", 1, 0, ECX, 0, STATE_NONE},
	{"ssse3", 1, 0, ECX, 9, STATE_NONE},
	{"fma", 1, 0, ECX, 12, STATE_YMM},
	{"sse4.1", 1, 0, ECX, 19, STATE_NONE},
	{"sse4.2", 1, 0, ECX, 20, STATE_NONE},
	{"movbe", 1, 0, ECX, 22, STATE_NONE},
	{"popcnt", 1, 0, ECX, 23, STATE_NONE},
	{"avx", 1, 0, ECX, 28, STATE_YMM},
	{"f16c", 1, 0, ECX, 29, STATE_YMM},
	{"bmi", 7, 0, EBX, 3, STATE_NONE},
	{"avx2", 7, 0, EBX, 5, STATE_YMM},
	{"bmi2", 7, 0, EBX, 8, STATE_NONE},
	{"avx512f", 7, 0, EBX, 16, STATE_ZMM},
	{"avx512dq", 7, 0, EBX, 17, STATE_ZMM},
	{"avx512ifma", 7, 0, EBX, 21, STATE_ZMM},
	{"avx512cd", 7, 0, EBX, 28, STATE_ZMM},
	{"avx512bw", 7, 0, EBX, 30, STATE_ZMM},
	{"avx512vl", 7, 0, EBX, 31, STATE_ZMM},
	{"avx512vbmi", 7, 0, ECX, 1, STATE_ZMM},
	{"avx512vbmi2", 7, 0, ECX, 6, STATE_ZMM},
	{"gfni", 7, 0, ECX, 8, STATE_NONE},
	{"vaes", 7, 0, ECX, 9, STATE_YMM},
	{"vpclmulqdq", 7, 0, ECX, 10, STATE_YMM},
	{"avx512vnni", 7, 0, ECX, 11, STATE_ZMM},
	{"avx512bitalg", 7, 0, ECX, 12, STATE_ZMM},
	{"avx512vpopcntdq", 7, 0, ECX, 14, STATE_ZMM},
	{"avx512vp2intersect", 7, 0, EDX, 8, STATE_ZMM},
	{"amx-bf16", 7, 0, EDX, 22, STATE_TILE},
	{"avx512fp16", 7, 0, EDX, 23, STATE_ZMM},
	{"amx-tile", 7, 0, EDX, 24, STATE_TILE},
	{"amx-int8", 7, 0, EDX, 25, STATE_TILE},
	{"avxvnni", 7, 1, EAX, 4, STATE_YMM},
	{"avx512bf16", 7, 1, EAX, 5, STATE_ZMM},
	{"lzcnt", 0x80000001, 0, ECX, 5, STATE_NONE},
	{"sse4a", 0x80000001, 0, ECX, 6, STATE_NONE},
};

static uint64_t saved_state(void)
{
	uint32_t r[4], lo, hi;
	enum { OSXSAVE = 1 << 27 };
	if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || !(r[ECX] & OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

bool cpu_has(const char *feature)
{
	for (size_t i = 0; i < NELEM(features); i++) {
		const struct feature *f = &features[i];
		uint32_t r[4];
		if (strcmp(f->name, feature) != 0)
			continue;
		return __get_cpuid_count(f->leaf, f->subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) &&
			(r[f->reg] >> f->bit & 1) && (saved_state() & f->state) == f->state;
	}
	return false;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

struct feature {
	const char *name;
	unsigned long which; /* AT_HWCAP or AT_HWCAP2 */
	int bit;
};

/* Linux, arch/arm64/include/uapi/asm/hwcap.h. */
static const struct feature features[] = {
	{"fp", AT_HWCAP, 0},
	{"asimd", AT_HWCAP, 1},
	{"atomics", AT_HWCAP, 8},
	{"fphp", AT_HWCAP, 9},
	{"asimdhp", AT_HWCAP, 10},
	{"asimdrdm", AT_HWCAP, 12},
	{"asimddp", AT_HWCAP, 20},
	{"sve", AT_HWCAP, 22},
	{"asimdfhm", AT_HWCAP, 23},
	{"sve2", AT_HWCAP2, 1},
	{"i8mm", AT_HWCAP2, 13},
	{"bf16", AT_HWCAP2, 14},
};

bool cpu_has(const char *feature)
{
	for (size_t i = 0; i < NELEM(features); i++)
		if (!strcmp(features[i].name, feature))
			return getauxval(features[i].which) >> features[i].bit & 1;
	return false;
}
#else
#error "features are not known for this processor"
#endif

bool cpu_has_all(const char *list, struct strbuf *missing)
{
	bool all = true;
	char name[32];
	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ",");
		if (n >= sizeof name)
			BUG("a feature with a name of %zu bytes in '%s'", n, list);
		memcpy(name, p, n);
		name[n] = '\0';
		if (n && !cpu_has(name)) {
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
