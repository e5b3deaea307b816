/*
 * The n-th call to the system fails, n = 1, 2, ... until a build passes without meeting the fault:
 * whatever a build says is right, what it cannot do it says clearly, and the next build, on a sound
 * system, ends as if nothing had happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_os.h"
#include "world.h"

static const char *const wanted[] = {"q", "sum", "shell", "end"};
static char want_text[NELEM(wanted)][64];

static bool generate(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	(void)b, (void)input, (void)e;
	build_want(b, world_action(ctx, "end", &mix_rule, NULL, "pair:1"));
	return true;
}

static void add_graph(struct world *w)
{
	char path[1100];
	world_action(w, "imp", &mix_rule, "1", "@a.txt");
	world_action(w, "pair", &pair_rule, "1", "imp @b.txt");
	struct action *q = world_action(w, "q", &tool_rule, "1", "pair:0");
	world_action(w, "parts", &parts_rule, NULL, "@a.txt @b.txt");
	world_action(w, "pick", &pick_rule, NULL, "parts");
	world_action(w, "sum", &sum_rule, "s", "pick");
	build_want(w->build, world_action(w, "shell", &shell_rule, NULL, ""));
	snprintf(path, sizeof(path), "%s/out/q", w->dir);
	build_output(w->build, q, 0, path, 0);
	struct input in = input_output("in", build_find(w->build, "sum"), 0);
	build_generate(w->build, "more", &in, 1, generate, w);
}

static void run_graph(struct world *w)
{
	add_graph(w);
	world_run(w);
}

static void check_results(struct world *w, const char *when)
{
	struct strbuf b;
	for (size_t i = 0; i < NELEM(wanted); i++) {
		struct action *a = build_find(w->build, wanted[i]);
		struct digest d;
		if (!a || !action_digest(a, 0, &d) ||
			!digest_equal(d, digest_of(want_text[i], strlen(want_text[i]))))
			FAIL("%s: '%s' is wrong", when, wanted[i]);
	}
	strbuf_init(&b);
	if (!file_read(&b, world_path(w, "out/q"), NULL) || strcmp(b.s, want_text[0]) != 0)
		FAIL("%s: out/q is \"%s\", want \"%s\"", when, b.s, want_text[0]);
	strbuf_release(&b);
}

/* What is right, from a build that meets no fault. */
static void learn(struct world *w)
{
	world_init(w, "clean");
	world_write(w, "a.txt", "one");
	world_write(w, "b.txt", "two");
	REQUIRE(world_open(w));
	run_graph(w);
	CHECK(w->ok);
	for (size_t i = 0; i < NELEM(wanted); i++)
		snprintf(want_text[i], 64, "%s", world_text(w, build_find(w->build, wanted[i]), 0));
	check_results(w, "clean");
	world_close(w);
	world_release(w);
}

static bool clear_message(const struct err *e, const char *reason)
{
	/* what failed, and the system's reason; a rule that had to be made again says its own */
	return strlen(e->msg) > 10 && strstr(e->msg, reason);
}

/* One build with the fault, from an empty store or from one that has `half` of the results, then a
 * sound one. Returns whether the fault was met. */
static bool try_fault(enum fault_kind kind, int n, enum fault_effect effect, int error, bool half)
{
	struct world w;
	struct fault_os os;
	char when[80];
	bool met;
	snprintf(when, sizeof(when), "%s %d%s%s", fault_name[kind], n, half ? " half" : "",
		effect == FAULT_FROM_THEN_ON ? " and on" : "");
	world_init(&w, "w");
	world_write(&w, "a.txt", half ? "zero" : "one");
	world_write(&w, "b.txt", "two");
	if (half) {
		if (world_open(&w)) {
			run_graph(&w);
			world_close(&w);
		}
		world_write(&w, "a.txt", "one");
		unlink(world_path(&w, "out/q"));
	}
	fault_os_init(&os, kind, n, effect, error);
	w.os = &os.ops;
	bool opened = world_open(&w);
	if (opened)
		run_graph(&w);
	met = os.nfaults > 0;
	if (opened && w.ok)
		check_results(&w, when);
	else if (!met)
		FAIL("%s: failed without a fault: %s", when, w.err.msg);
	else if (!clear_message(&w.err, strerror(error)) &&
		!(error == EROFS && strstr(w.err.msg, "cannot be written here")))
		FAIL("%s: unclear message: \"%s\"", when, w.err.msg);
	if (opened)
		world_close(&w);
	w.os = quiet_os();
	if (world_open(&w)) {
		run_graph(&w);
		if (!w.ok)
			FAIL("%s: the next build fails: %s", when, w.err.msg);
		else
			check_results(&w, when);
		struct store_stat st;
		struct strbuf damaged;
		strbuf_init(&damaged);
		CHECK(store_verify(w.store, &st, &damaged, &w.err));
		if (st.ndamaged)
			FAIL("%s: %s", when, damaged.s);
		strbuf_release(&damaged);
		world_close(&w);
	} else {
		FAIL("%s: the store cannot be opened: %s", when, w.err.msg);
	}
	remove_tree(w.dir);
	world_release(&w);
	return met;
}

TEST(every_call_may_fail)
{
	struct world clean;
	int total = 0;
	learn(&clean);
	for (int kind = 0; kind < FAULT_ANY; kind++) {
		for (int half = 0; half < 2; half++) {
			int n = 1;
			while (try_fault((enum fault_kind)kind, n, FAULT_ONCE,
				kind == FAULT_ALLOC ? ENOMEM : EIO, half))
				n++;
			total += n - 1;
			/* a table that is never used would test nothing */
			if (n == 1 && kind != FAULT_TRUNCATE && !(half && kind == FAULT_MKDIR) &&
				!(half && kind == FAULT_SPAWN))
				FAIL("%s is never called", fault_name[kind]);
		}
	}
	printf("%d faults\n", total);
}

TEST(the_disk_may_be_full)
{
	struct world clean;
	learn(&clean);
	for (int half = 0; half < 2; half++)
		for (int n = 1; try_fault(FAULT_WRITE, n, FAULT_FROM_THEN_ON, ENOSPC, half); n++)
			;
}

TEST(the_cache_may_be_read_only)
{
	static const enum fault_kind change[] = {
		FAULT_OPEN, FAULT_RENAME, FAULT_UNLINK, FAULT_MKDIR, FAULT_WRITE};
	struct world w;
	learn(&w);
	world_init(&w, "clean");
	/* everything is answered: nothing needs writing */
	struct fault_os os;
	fault_os_init(&os, FAULT_ANY, 0, FAULT_FROM_THEN_ON, EROFS);
	for (size_t i = 0; i < NELEM(change); i++) {
		fault_os_init(&os, change[i], 1, FAULT_FROM_THEN_ON, EROFS);
		w.os = &os.ops;
		REQUIRE(world_open(&w));
		run_graph(&w);
		if (!w.ok)
			FAIL("%s: %s", fault_name[change[i]], w.err.msg);
		else
			check_results(&w, "read-only");
		CHECK_STR(world_ran(&w), "");
		world_close(&w);
	}
	/* something is missing: a message that says so */
	w.os = quiet_os();
	world_write(&w, "a.txt", "new");
	fault_os_init(&os, FAULT_OPEN, 1, FAULT_FROM_THEN_ON, EROFS);
	w.os = &os.ops;
	REQUIRE(world_open(&w));
	run_graph(&w);
	CHECK(!w.ok);
	char want[700];
	snprintf(want, sizeof(want),
		"imp: the cache '%s/store' cannot be written here, and a result "
		"is missing in it",
		w.dir);
	CHECK_STR(w.err.msg, want);
	CHECK_STR(world_ran(&w), "");
	world_close(&w);
	world_release(&w);
}
