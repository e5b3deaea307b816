/*
 * The harness of the C tests. A file holds any number of
 *
 *     TEST(err_context_goes_before_the_message) { ... CHECK(cond); ... }
 *
 * and links test.c, which has main: it runs every TEST, or those whose names contain one of its
 * arguments, and prints a line for each: `ok NAME`, `FAIL NAME` (after lines that say where and
 * what) or `skip NAME: why`. tests/run counts these lines. TEST_TIMES in the environment adds the
 * seconds of CPU to `ok NAME`.
 */
#ifndef TEST_H
#define TEST_H

#include <stdbool.h>
#include <stdint.h>

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

void test_register(struct test *t);
void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void test_check_str(const char *file, int line, const char *got, const char *want);
void test_check_int(const char *file, int line, const char *expr, long long got, long long want);

/* The folder of real models and datasets ($TRIM_TEST_DATA, else ../shared/data), or NULL after
 * test_skip when it is absent: `const char *data = test_data(); if (!data) return;` */
const char *test_data(void);

/* How many of n random cases to try: generated code is the same whatever compiled the emitter, so the gcc configuration tries
 * all and the others, which look at the emitter's memory and arithmetic, a fourth. */
int test_seeds(int n);
bool test_is_first(void); /* the gcc configuration */

/* A fresh directory that lives until the test ends; removed with what is in it. */
const char *test_tmpdir(void);

/* xoshiro256**, seeded by each test for itself. */
struct rng {
	uint64_t s[4];
};
void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* n > 0 */
double rng_uniform(struct rng *r);             /* [0, 1) */

#define TEST(id)                                                                                   \
	static void id(void);                                                                      \
	__attribute__((constructor)) static void register_##id(void)                              \
	{                                                                                          \
		static struct test t = {#id, id, 0};                                               \
		test_register(&t);                                                                 \
	}                                                                                          \
	static void id(void)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			test_fail(__FILE__, __LINE__, "%s", #cond);                                \
	} while (0)
#define CHECK_STR(got, want) test_check_str(__FILE__, __LINE__, (got), (want))
#define CHECK_INT(got, want)                                                                       \
	test_check_int(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
/* For what the rest of the test cannot do without. */
#define REQUIRE(cond)                                                                              \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			test_fail(__FILE__, __LINE__, "%s", #cond);                                \
			return;                                                                    \
		}                                                                                  \
	} while (0)
#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)

#endif
