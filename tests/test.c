#include "test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "splitmix.h"

static struct test *first, **last = &first;
static int nfailures;
static char skipped[256], tmpdir[256];

void test_register(struct test *t)
{
	*last = t;
	last = &t->next;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	printf("%s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	nfailures++;
}

void test_skip(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(skipped, sizeof(skipped), fmt, ap);
	va_end(ap);
}

void test_check_str(const char *file, int line, const char *got, const char *want)
{
	if (!got || !want ? got != want : strcmp(got, want) != 0)
		test_fail(file, line, "got  \"%s\"\n  want \"%s\"", got ? got : "(null)",
			want ? want : "(null)");
}

void test_check_int(const char *file, int line, const char *expr, long long got, long long want)
{
	if (got != want)
		test_fail(file, line, "%s is %lld, want %lld", expr, got, want);
}

const char *test_data(void)
{
	const char *data = getenv("TRIM_TEST_DATA");
	if (!data)
		data = "../shared/data";
	if (access(data, R_OK) == 0)
		return data;
	test_skip("no test data in '%s'", data);
	return NULL;
}

bool test_is_first(void)
{
	const char *build = getenv("BUILD"), *slash = build ? strrchr(build, '/') : NULL;
	return !build || !strcmp(slash ? slash + 1 : build, ".build");
}

int test_seeds(int n)
{
	return test_is_first() || !n ? n : n < 4 ? 1 : n / 4;
}

const char *test_tmpdir(void)
{
	if (!tmpdir[0]) {
		const char *parent = getenv("TMPDIR");
		snprintf(tmpdir, sizeof(tmpdir), "%s/trim-test-XXXXXX", parent ? parent : "/tmp");
		if (!mkdtemp(tmpdir)) {
			perror("mkdtemp");
			exit(1);
		}
	}
	return tmpdir;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	remove(path);
	return 0;
}

void rng_init(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = splitmix64(&seed);
}

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

uint64_t rng_next(struct rng *r)
{
	uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

double rng_uniform(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53;
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc < 2;
}

/* Seconds of CPU so far, with those of children that have ended. */
static double cpu_seconds(void)
{
	double s = 0;
	for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
		struct rusage r;
		getrusage(who, &r);
		s += (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
			(double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
	}
	return s;
}

static void print_ok(const char *name, double seconds)
{
	if (getenv("TEST_TIMES"))
		printf("ok %s (%.2f s)\n", name, seconds);
	else
		printf("ok %s\n", name);
}

int main(int argc, char **argv)
{
	int nfailed = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (struct test *t = first; t; t = t->next) {
		if (!wanted(t->name, argc, argv))
			continue;
		nfailures = 0;
		skipped[0] = '\0';
		double before = cpu_seconds();
		t->run();
		if (tmpdir[0]) {
			nftw(tmpdir, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
			tmpdir[0] = '\0';
		}
		if (nfailures)
			printf("FAIL %s\n", t->name);
		else if (skipped[0])
			printf("skip %s: %s\n", t->name, skipped);
		else
			print_ok(t->name, cpu_seconds() - before);
		nfailed += nfailures > 0;
	}
	return nfailed > 0;
}
