/*
 * The n-th allocation of a build fails: the process says so and aborts (exhausted host memory is no
 * error value here), and the next one finds a sound store. Linked with --wrap, so that every
 * allocation of ours counts, in every library of the program.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);

static atomic_long nalloc, fail_at;

static bool fails(void)
{
	return atomic_fetch_add(&nalloc, 1) + 1 == atomic_load(&fail_at);
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

static void build_all(struct world *w)
{
	if (!world_open(w))
		return;
	world_action(w, "imp", &mix_rule, "1", "@a.txt");
	world_action(w, "parts", &parts_rule, NULL, "@a.txt imp");
	world_action(w, "sum", &sum_rule, "s", "parts");
	world_action(w, "pair", &pair_rule, "1", "imp");
	struct action *a = world_action(w, "last", &mix_rule, "1", "sum pair:1");
	char path[1100];
	snprintf(path, sizeof(path), "%s/out", w->dir);
	build_output(w->build, a, 0, path, 0);
	world_run(w);
}

TEST(every_allocation_may_fail)
{
	struct world w;
	char want[64];
	long ntried = 0, passed_at = 0;
	world_init(&w, "w");
	world_write(&w, "a.txt", "one");
	build_all(&w);
	REQUIRE(w.ok);
	snprintf(want, sizeof(want), "%s", world_text(&w, build_find(w.build, "last"), 0));
	world_close(&w);
	world_release(&w);
	/* denser at first, where each is another place */
	for (long n = 1; !passed_at; n += 1 + n / 40) {
		char name[32];
		snprintf(name, sizeof(name), "w%ld", n);
		world_init(&w, name);
		world_write(&w, "a.txt", "one");
		fflush(NULL);
		pid_t child = fork();
		if (child == 0) {
			struct rlimit none = {0, 0};
			setrlimit(RLIMIT_CORE, &none);
			int fd = open(world_path(&w, "stderr"), O_WRONLY | O_CREAT, 0644);
			dup2(fd, 2);
			atomic_store(&nalloc, 0);
			atomic_store(&fail_at, n);
			build_all(&w);
			if (w.build)
				world_close(&w);
			_exit(atomic_load(&nalloc) < n ? 0 : w.ok ? 1 : 2);
		}
		int status = 0;
		struct strbuf said;
		strbuf_init(&said);
		waitpid(child, &status, 0);
		if (!file_read(&said, world_path(&w, "stderr"), NULL))
			FAIL("allocation %ld: no word", n);
		if (WIFSIGNALED(status)) {
			if (!strstr(said.s, "out of memory"))
				FAIL("allocation %ld: unclear end: \"%s\"", n, said.s);
		} else if (WEXITSTATUS(status) == 0) {
			passed_at = n;
		} /* else the error came back as a value, or did not matter */
		strbuf_release(&said);
		ntried++;
		build_all(&w);
		if (!w.ok)
			FAIL("allocation %ld: the next build fails: %s", n, w.err.msg);
		else
			CHECK_STR(world_text(&w, build_find(w.build, "last"), 0), want);
		world_close(&w);
		remove_tree(w.dir);
		world_release(&w);
	}
	printf("%ld of %ld allocations\n", ntried, passed_at - 1);
	CHECK(passed_at > 100);
}
