/* Interrupts, checkpoints, seeds and tools: calls that live longer than a moment. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

/* ---- a rule that takes 40 steps and saves when asked ---- */

enum { NSTEPS = 40 };

struct march {
	atomic_int stop;
	int stop_at, stop_level; /* sets stop before that step */
	int kill_at;             /* dies there */
	int first, nsteps;       /* of the last call */
	int64_t tick_ns;         /* of the fake clock, per step */
};

static bool run_march(struct rule_call *c, struct err *e)
{
	struct world *w = (struct world *)(uintptr_t)call_env(c);
	struct march *m = w->in_rule_ctx;
	struct buf saved, in;
	struct digest state;
	uint64_t step = 0;
	if (!call_input(c, 0, &in, e) || !call_checkpoint_get(c, &step, &saved, e))
		return false;
	state = digest_of(in.p, in.n);
	if (saved.p)
		memcpy(&state, saved.p, sizeof(state));
	m->first = (int)step;
	m->nsteps = 0;
	for (; step < NSTEPS; step++) {
		if (m->stop_at && (int)step == m->stop_at)
			atomic_store(&m->stop, m->stop_level);
		if (m->kill_at && (int)step == m->kill_at)
			kill(getpid(), SIGKILL);
		enum call_next next = call_next(c);
		struct buf part[2] = {{&state.hi, 8}, {&state.lo, 8}};
		if ((next == CALL_SAVE || next == CALL_SAVE_AND_STOP) &&
			!call_checkpoint_put(c, step, part, 2, e))
			return false;
		if (next == CALL_SAVE_AND_STOP || next == CALL_STOP)
			return err_set(e, ERR_CANCELLED, "stopped at step %d", (int)step);
		state = digest_of(&state, sizeof(state));
		m->nsteps++;
	}
	return call_output(c, 0, (struct buf){&state, sizeof(state)}, e);
}

static const struct rule march_rule = {.name = "march", .version = 1, .run = run_march};

/* A monotonic clock that moves 10 s at each look. */
static int64_t fast_tick(const struct os_ops *os)
{
	static _Atomic int64_t now;
	(void)os;
	return atomic_fetch_add(&now, 10000000000);
}

static struct digest march(struct world *w, struct march *m)
{
	struct digest d = {0};
	w->in_rule_ctx = m;
	w->stop = &m->stop;
	atomic_store(&m->stop, 0);
	if (!world_open(w))
		return d;
	struct action *a = world_action(w, "march", &march_rule, NULL, "@a.txt");
	world_action(w, "after", &mix_rule, NULL, "march");
	world_run(w);
	action_digest(a, 0, &d);
	return d;
}

TEST(an_interrupted_action_resumes_with_the_same_bits)
{
	struct world w;
	struct march m = {0};
	struct strbuf log;
	world_init(&w, "undisturbed");
	world_write(&w, "a.txt", "x");
	struct digest want = march(&w, &m), got;
	CHECK(w.ok && m.nsteps == NSTEPS);
	world_close(&w);
	world_release(&w);

	world_init(&w, "w");
	world_write(&w, "a.txt", "x");
	m = (struct march){.stop_at = 17, .stop_level = 1};
	march(&w, &m);
	CHECK(!w.ok && w.result.interrupted && w.err.kind == ERR_CANCELLED);
	CHECK_STR(w.err.msg, "interrupted; the same command goes on where it stopped");
	CHECK_STR(world_ran(&w), "");
	CHECK(w.result.nfailed == 1 && w.result.nskipped == 1);
	world_close(&w);
	CHECK_INT(world_leftovers(&w), 0);
	/* at once: no checkpoint is made, the last one stays */
	m = (struct march){.stop_at = 23, .stop_level = 2};
	march(&w, &m);
	CHECK(!w.ok && m.first == 17 && m.nsteps == 6);
	world_close(&w);
	CHECK_INT(world_leftovers(&w), 0);
	m = (struct march){0};
	got = march(&w, &m);
	CHECK(w.ok && digest_equal(got, want));
	CHECK(m.first == 17 && m.nsteps == NSTEPS - 17);
	CHECK_STR(world_ran(&w), "after");
	world_close(&w);
	strbuf_init(&log);
	CHECK(world_log(&w, "march", REPORT_TEXT, &log, &w.err));
	CHECK(strstr(log.s, "  interrupted  march") && strstr(log.s, "  resumed:17  march"));
	strbuf_release(&log);
	struct store_stat st;
	REQUIRE(world_open(&w));
	CHECK(store_stat(w.store, &st, &w.err) && st.ncheckpoint == 0);
	world_close(&w);
	world_release(&w);
}

TEST(checkpoints_are_due_by_time)
{
	struct os_ops os = *quiet_os();
	struct world w;
	struct march m = {0};
	world_init(&w, "w");
	world_write(&w, "a.txt", "x");
	struct digest want = march(&w, &m), got;
	world_close(&w);
	remove_tree(world_path(&w, "store"));
	/* dies at step 30; by the fast clock a minute is some steps, so a checkpoint was made */
	pid_t child = fork();
	if (child == 0) {
		os.tick_ns = fast_tick;
		w.os = &os;
		m = (struct march){.kill_at = 30};
		march(&w, &m);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	CHECK(WIFSIGNALED(status));
	m = (struct march){0};
	got = march(&w, &m);
	CHECK(w.ok && digest_equal(got, want));
	if (m.first <= 0 || m.first >= 30)
		FAIL("resumed at step %d", m.first);
	world_close(&w);
	CHECK_INT(world_leftovers(&w), 0);
	world_release(&w);
}

TEST(an_interrupt_lets_short_calls_end_and_starts_none)
{
	struct world w;
	atomic_int stop = 1;
	world_init(&w, "w");
	world_write(&w, "a.txt", "x");
	w.stop = &stop;
	REQUIRE(world_open(&w));
	world_action(&w, "a", &mix_rule, NULL, "@a.txt");
	world_run(&w);
	CHECK(!w.ok && w.err.kind == ERR_CANCELLED && w.result.nskipped == 1);
	CHECK_STR(world_ran(&w), "");
	world_close(&w);
	stop = 0;
	REQUIRE(world_open(&w));
	world_action(&w, "a", &mix_rule, NULL, "@a.txt");
	world_run(&w);
	CHECK(w.ok);
	world_close(&w);
	/* nothing to do: an interrupt changes nothing */
	stop = 1;
	REQUIRE(world_open(&w));
	world_action(&w, "a", &mix_rule, NULL, "@a.txt");
	world_run(&w);
	CHECK(w.ok && w.result.interrupted);
	world_close(&w);
	world_release(&w);
}

/* ---- seeds: a table of squares, one line per input, that reuses the lines it has ---- */

static bool run_table(struct rule_call *c, struct err *e)
{
	struct world *w = (struct world *)(uintptr_t)call_env(c);
	struct buf seed, in;
	struct strbuf out;
	bool ok = call_seed_get(c, (struct buf){"t", 1}, &seed, e);
	const char *old = ok ? arena_strndup(call_arena(c), seed.p ? seed.p : "", seed.n) : "";
	strbuf_init(&out);
	for (size_t i = 0; ok && i < call_ninput(c); i++) {
		char line[64];
		if (!(ok = call_input(c, i, &in, e)))
			break;
		int n = atoi(arena_strndup(call_arena(c), in.p, in.n));
		snprintf(line, sizeof(line), "%d %d\n", n, n * n);
		w->nslow += !strstr(old, line);
		strbuf_adds(&out, line);
	}
	ok = ok && call_output(c, 0, strbuf_buf(&out), e);
	if (ok)
		call_seed_put(c, (struct buf){"t", 1}, 0);
	strbuf_release(&out);
	return ok;
}

TEST(seeds_save_work_and_change_nothing)
{
	static const struct rule table = {.name = "table", .version = 1, .run = run_table};
	struct world w;
	world_init(&w, "w");
	for (int n = 3; n <= 5; n++) {
		struct input input[5];
		char text[5][2];
		REQUIRE(world_open(&w));
		for (int i = 0; i < n; i++) {
			text[i][0] = (char)('3' + i);
			input[i] = input_bytes("row", (struct buf){text[i], 1});
		}
		struct action *a = world_add(&w, "t", &table, NULL, input, (size_t)n);
		world_run(&w);
		CHECK(w.ok);
		CHECK_INT(w.nslow, n == 3 ? 3 : 1); /* rows computed */
		CHECK_STR(world_text(&w, a, 0), n == 3 ? "3 9\n4 16\n5 25\n" :
			n == 4                         ? "3 9\n4 16\n5 25\n6 36\n" :
							 "3 9\n4 16\n5 25\n6 36\n7 49\n");
		world_close(&w);
	}
	world_release(&w);
}

/* ---- tools ---- */

struct tool_run {
	const char *const *argv;
	struct strbuf out;
	struct err err;
	bool ok;
	atomic_int *stop;
};

static void run_tool_now(struct rule_call *c, void *ctx)
{
	struct tool_run *t = ctx;
	t->ok = call_tool(c, t->argv, &t->out, &t->err);
}

static void try_tool(const char *const argv[], struct tool_run *t)
{
	struct world w;
	world_init(&w, "w");
	t->argv = argv;
	strbuf_init(&t->out);
	w.stop = t->stop;
	w.in_rule = run_tool_now;
	w.in_rule_ctx = t;
	REQUIRE(world_open(&w));
	world_action(&w, "t", &mix_rule, argv[2], "");
	world_run(&w);
	world_close(&w);
	world_release(&w);
}

TEST(tools_give_their_output_or_a_clear_error)
{
	static const char *const hello[] = {"/bin/sh", "-c", "echo out; echo err >&2; env", NULL},
				 *const bad[] = {"/bin/sh", "-c", "echo; echo 'ld: no'; exit 3",
					 NULL},
				 *const dead[] = {"/bin/sh", "-c", "kill -9 $$", NULL},
				 *const none[] = {"/nonexistent/ld", "x", "y", NULL};
	struct tool_run t = {0};
	try_tool(hello, &t);
	CHECK(t.ok && strncmp(t.out.s, "out\nerr\n", 8) == 0);
	CHECK(strstr(t.out.s, "PATH=/usr/bin:/bin") && !strstr(t.out.s, "HOME="));
	strbuf_release(&t.out);
	try_tool(bad, &t);
	CHECK(!t.ok && t.err.kind == ERR_IO);
	CHECK_STR(t.err.msg, "'/bin/sh' ended with status 3: ld: no");
	strbuf_release(&t.out);
	try_tool(dead, &t);
	CHECK_STR(t.err.msg, "'/bin/sh' was killed by signal 9: ");
	strbuf_release(&t.out);
	try_tool(none, &t);
	CHECK(!t.ok && t.err.kind == ERR_TOOL);
	CHECK_STR(t.err.msg, "unable to run '/nonexistent/ld': No such file or directory");
	strbuf_release(&t.out);
}

static void stop_then_tool(struct rule_call *c, void *ctx)
{
	struct tool_run *t = ctx;
	atomic_store(t->stop, 2);
	run_tool_now(c, ctx);
}

TEST(a_second_interrupt_kills_tools)
{
	static const char *const forever[] = {"/bin/sh", "-c", "sleep 1000 & wait", NULL};
	atomic_int stop = 0;
	struct tool_run t = {.stop = &stop, .argv = forever};
	struct world w;
	world_init(&w, "w");
	strbuf_init(&t.out);
	w.stop = &stop;
	w.in_rule = stop_then_tool;
	w.in_rule_ctx = &t;
	REQUIRE(world_open(&w));
	world_action(&w, "t", &mix_rule, NULL, "");
	world_run(&w);
	CHECK(!t.ok && t.err.kind == ERR_CANCELLED);
	CHECK_STR(t.err.msg, "'/bin/sh' was stopped");
	strbuf_release(&t.out);
	world_close(&w);
	world_release(&w);
}

static void look_at_tmpdir(struct rule_call *c, void *ctx)
{
	char *path = ctx;
	struct err e;
	char file[1100];
	const char *dir = call_tmpdir(c, &e);
	if (!dir) {
		FAIL("%s", e.msg);
		return;
	}
	snprintf(path, 1000, "%s", dir);
	CHECK(call_tmpdir(c, &e) == dir);
	snprintf(file, sizeof(file), "%s/a/b", dir);
	CHECK(make_directories(file, &e));
	snprintf(file, sizeof(file), "%s/a/b/c", dir);
	CHECK(file_write(file, (struct buf){"x", 1}, 0444, &e));
}

TEST(a_temporary_folder_ends_with_its_call)
{
	struct world w;
	char path[1000] = "";
	world_init(&w, "w");
	w.in_rule = look_at_tmpdir;
	w.in_rule_ctx = path;
	REQUIRE(world_open(&w));
	world_action(&w, "t", &mix_rule, NULL, "");
	world_run(&w);
	CHECK(w.ok && *path && access(path, F_OK) != 0);
	world_close(&w);
	CHECK_INT(world_leftovers(&w), 0);
	world_release(&w);
}

/* ---- measuring ---- */

/* "beside" works until "first" is done, when the measurement could begin. */
struct beside {
	struct world w;
	pthread_cond_t done;
	bool first_done;
	int ncalled, nactive_then;
};

static void hold_beside(struct rule_call *c, void *ctx)
{
	struct beside *x = ctx;
	if (strcmp(call_param(c, "name"), "beside"))
		return;
	pthread_mutex_lock(&x->w.mutex);
	while (!x->first_done)
		pthread_cond_wait(&x->done, &x->w.mutex);
	pthread_mutex_unlock(&x->w.mutex);
}

static void see_first_done(void *ctx, const struct build_event *ev)
{
	struct beside *x = ctx;
	if (ev->kind != EVENT_DONE || strcmp(ev->action, "first"))
		return;
	pthread_mutex_lock(&x->w.mutex);
	x->first_done = true;
	pthread_cond_broadcast(&x->done);
	pthread_mutex_unlock(&x->w.mutex);
}

static bool measure(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct beside *x = ctx;
	(void)b, (void)input, (void)e;
	pthread_mutex_lock(&x->w.mutex);
	x->ncalled++;
	x->nactive_then += x->w.nactive;
	pthread_mutex_unlock(&x->w.mutex);
	build_want(x->w.build, world_action(&x->w, "end", &mix_rule, NULL, "first"));
	return true;
}

static void measure_build(struct beside *x)
{
	REQUIRE(world_open(&x->w));
	struct input in = input_output("first", world_action(&x->w, "first", &mix_rule, NULL, "@seed"), 0);
	world_action(&x->w, "beside", &mix_rule, NULL, "@seed");
	build_measure(x->w.build, "speed", &in, 1, measure, x);
	world_run(&x->w);
	CHECK(x->w.ok);
}

TEST(a_measurement_has_the_machine_to_itself_and_no_dry_run_measures)
{
	struct beside x = {.done = PTHREAD_COND_INITIALIZER};
	world_init(&x.w, "w");
	x.w.in_rule = hold_beside;
	x.w.on_event = see_first_done;
	x.w.in_rule_ctx = x.w.on_event_ctx = &x;
	world_write(&x.w, "seed", "x");
	measure_build(&x);
	CHECK_STR(world_ran(&x.w), "beside end first");
	CHECK(x.ncalled == 1 && x.nactive_then == 0);
	world_close(&x.w);
	/* its inputs are cached, and a build would measure again */
	x.w.flags = BUILD_DRY_RUN;
	measure_build(&x);
	CHECK(x.ncalled == 1 && !build_find(x.w.build, "end"));
	struct strbuf plan;
	strbuf_init(&plan);
	build_plan(x.w.build, REPORT_TEXT, &plan);
	CHECK(strstr(plan.s, "then   what follows from speed\n") != NULL);
	strbuf_release(&plan);
	world_close(&x.w);
	x.w.flags = 0;
	measure_build(&x);
	CHECK(x.ncalled == 2 && x.w.nran == 0);
	world_close(&x.w);
	world_release(&x.w);
	pthread_cond_destroy(&x.done);
}
