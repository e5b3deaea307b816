/* Work side by side: each once, and of those that fail the first is among them, whatever the threads do. */
#include <stdatomic.h>

#include "beside.h"
#include "test.h"

enum { N = 200 };

struct seen {
	atomic_int times[N];
	int fails[2]; /* -1: none */
};

static bool see(void *ctx, int i)
{
	struct seen *s = ctx;
	atomic_fetch_add(&s->times[i], 1);
	return i != s->fails[0] && i != s->fails[1];
}

static void try(int nthreads, int first, int second)
{
	struct seen s = {.fails = {first, second}};
	bool ended = false;
	beside(N, nthreads, see, &s);
	for (int i = 0; i < N; i++) {
		int times = atomic_load(&s.times[i]);
		CHECK(times == 1 || (times == 0 && first >= 0 && i > first));
		CHECK(!ended || !times); /* begun in order: behind one that was not there is none */
		ended = ended || !times;
	}
	if (nthreads == 1)
		CHECK(ended == (first >= 0));
}

TEST(all_are_done_once_until_one_fails)
{
	for (int nthreads = 1; nthreads <= 9; nthreads += 4) {
		try(nthreads, -1, -1);
		try(nthreads, 3, 5);
		try(nthreads, 0, N - 1);
	}
}
