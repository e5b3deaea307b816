/*
 * What a build costs in which nothing changed: asserted in system calls and bytes, which are the
 * same on every machine; printed in time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build_internal.h"
#include "fault_os.h"
#include "world.h"

static double now_ms(void)
{
	return (double)os_posix()->tick_ns(NULL) / 1e6;
}

/* n actions in layers of 100, each with a file or two results before it as inputs. */
static void add_graph(struct world *w, int n)
{
	struct action **a = xcalloc((size_t)n, sizeof(*a));
	char path[1100];
	snprintf(path, sizeof(path), "%s/a.txt", w->dir);
	for (int i = 0; i < n; i++) {
		char name[32];
		struct input in[2];
		snprintf(name, sizeof(name), "n%d", i);
		if (i < 100) {
			in[0] = input_file("file", path);
			in[1] = input_bytes("i", (struct buf){name, strlen(name)});
		} else {
			in[0] = input_output("x", a[i - 100], 0);
			in[1] = input_output("y", a[i - 1 - i % 50], 0);
		}
		a[i] = world_add(w, name, &mix_rule, "1", in, 2);
		if (i >= n - 100)
			build_want(w->build, a[i]);
	}
	free(a);
}

static int calls_of(struct world *w, int n, double *ms, size_t *bytes)
{
	struct fault_os os;
	fault_os_init(&os, FAULT_ANY, -1, FAULT_ONCE, 0); /* counts, and never fails */
	w->os = &os.ops;
	double start = now_ms();
	if (!world_open(w))
		return -1;
	add_graph(w, n);
	world_run(w);
	CHECK(w->ok);
	CHECK_INT(w->result.nrun, 0);
	CHECK_INT(w->result.ncached, n);
	*bytes = w->build->arena.total_bytes;
	world_close(w);
	*ms = now_ms() - start;
	return os.ncalls;
}

TEST(nothing_changed_costs_little_and_grows_in_line)
{
	static const int size[] = {300, 5000, 10000};
	int ncalls[3];
	size_t bytes[3];
	for (size_t i = 0; i < NELEM(size); i++) {
		struct world w;
		char name[16];
		double ms = 0, best = 1e9;
		snprintf(name, sizeof(name), "w%d", size[i]);
		world_init(&w, name);
		world_write(&w, "a.txt", "x");
		REQUIRE(world_open(&w));
		add_graph(&w, size[i]);
		double start = now_ms();
		world_run(&w);
		CHECK(w.ok);
		CHECK_INT(w.result.nrun, size[i]);
		printf("%d actions: first build %.0f us each, ", size[i],
			(now_ms() - start) * 1e3 / size[i]);
		world_close(&w);
		for (int k = 0; k < 5; k++) {
			ncalls[i] = calls_of(&w, size[i], &ms, &bytes[i]);
			best = ms < best ? ms : best;
		}
		printf("nothing changed %.2f ms, %.2f us, %.2f system calls and %zu bytes each\n",
			best, best * 1e3 / size[i], (double)ncalls[i] / size[i],
			bytes[i] / (size_t)size[i]);
		/* a record is opened, read to its end and closed; the rest is per build */
		CHECK(ncalls[i] <= 4 * size[i] + 400);
		remove_tree(w.dir);
		world_release(&w);
	}
	CHECK(bytes[2] < 2.2 * (double)bytes[1]);
	CHECK(ncalls[2] < 2.2 * ncalls[1]);
}

/* A clock ahead of the files' times, so that the table keeps what was just written. */
static int64_t later(const struct os_ops *os)
{
	return os_posix()->now_ns(os) + 5000000000;
}

TEST(a_dataset_of_many_files_is_listed_without_reading_them)
{
	enum { NFILES = 10000 };
	struct world w;
	struct fault_os os;
	struct listed_file *f;
	size_t nf;
	char path[1100];
	double ms = 0;
	world_init(&w, "w");
	snprintf(path, sizeof(path), "%s/data", w.dir);
	REQUIRE(make_directories(path, NULL));
	for (int i = 0; i < NFILES; i++) {
		char name[1200];
		snprintf(name, sizeof(name), "%s/row-%d.txt", path, i);
		FILE *file = fopen(name, "w");
		REQUIRE(file && fprintf(file, "row %d\n", i) > 0 && fclose(file) == 0);
	}
	for (int round = 0; round < 3; round++) {
		fault_os_init(&os, FAULT_ANY, -1, FAULT_ONCE, 0);
		os.ops.now_ns = later;
		w.os = &os.ops;
		double start = now_ms();
		REQUIRE(world_open(&w));
		struct arena a = {0};
		REQUIRE(statcache_list(w.stat, &a, path, &f, &nf, &w.err));
		CHECK_INT(nf, NFILES);
		struct input *in = xcalloc(nf, sizeof(*in));
		for (size_t i = 0; i < nf; i++) {
			in[i] = input_file("row", arena_printf(&a, "%s/%s", path, f[i].name));
		}
		build_want(w.build, world_add(&w, "rows", &mix_rule, NULL, in, nf));
		free(in);
		world_run(&w);
		CHECK(w.ok && w.result.nrun == (round == 0));
		CHECK_INT(statcache_nhashed(w.stat), round ? 0 : NFILES);
		if (round) /* looked at for the list and for the action */
			CHECK(os.ncalls < 2 * NFILES + 100);
		arena_release(&a);
		world_close(&w);
		ms = now_ms() - start;
	}
	printf("%d files, nothing changed: %.1f ms\n", NFILES, ms);
	world_release(&w);
}
