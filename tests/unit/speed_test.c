/* keep="N tokens/s": which state is taken for which speeds, and that a depth in the lock is read instead. The clock is
 * replaced; everything else is a real build of a small model. One test measures for real. */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain.h"
#include "file.h"
#include "lock.h"
#include "speed.h"

struct world {
	struct arena a;
	const char *dir;
	const char *hardware, *per_round;
	const double *speed;     /* of round 0, 1, ...; NULL: measured */
	struct json *lock;       /* of the build before; NULL: none */
	struct strbuf measured;  /* states, in order */
	struct store *store;
	struct rule_env env;
	struct plan_options options;
	struct build *build;
	struct plan plan;
	struct build_result result;
	bool ok;
	struct err err;
};

static bool fake_speed(void *ctx, const struct speed_job *job, double *out, struct err *e)
{
	struct world *w = ctx;
	int round = atoi(strrchr(job->state, '-') + 1);
	strbuf_addf(&w->measured, "%s%s", w->measured.n ? " " : "", job->state);
	CHECK(job->object.n && job->weights.n && job->context == 96);
	if (!w->speed)
		return speed_measure(w->store, job, out, e);
	*out = w->speed[round];
	return true;
}

static int64_t recorded(void *ctx, const char *target, const char *identity)
{
	const struct world *w = ctx;
	return lock_stop_units(w->lock, target, identity);
}

static struct spec *load(struct world *w, const char *keep)
{
	char here[4096];
	const char *repo = getcwd(here, sizeof(here)) ? here : ".";
	struct spec_root root[] = {{"repo", repo}, {"trim", arena_printf(&w->a, "%s/specs", repo)}};
	struct spec_roots roots = {root, 2};
	struct spec_log log;
	struct spec *spec;
	struct err e;
	const char *path = arena_printf(&w->a, "%s/s.xml", w->dir), *text = arena_printf(&w->a,
		"<trim xmlns='urn:trim:spec:1' name='s'><model path='repo:tests/rules/model'/>"
		"<dataset name='rows' format='jsonl' path='repo:tests/rules/rows.jsonl'>"
		"<split test='30%%' train='30%%' calibration='20%%' validation='20%%'/><task kind='completion' length='96'>"
		"<prompt>{text} {question}</prompt><answer field='answer'/></task></dataset>"
		"<schedule per-round='%s'><score method='last' rows='4'/><tune epochs='0' trainable='100%%'/></schedule>"
		"<target name='t' keep='%s' hardware='%s' weights='f32'/></trim>", w->per_round, keep, w->hardware);
	spec_log_init(&log, &w->a);
	if (!file_write(path, (struct buf){text, strlen(text)}, 0644, &e) ||
		!spec_load(&w->a, path, &(struct spec_options){&roots, false}, &spec, &log)) {
		FAIL("%s", log.nmsg ? log.msg[0].err.msg : e.msg);
		return NULL;
	}
	return spec;
}

static void open_world(struct world *w)
{
	*w = (struct world){.dir = test_tmpdir(), .hardware = "x86-64-v3", .per_round = "1"};
	strbuf_init(&w->measured);
}

/* Builds; world_end after each. */
static bool build(struct world *w, const char *keep, enum build_flags flags)
{
	const struct spec *spec = load(w, keep);
	strbuf_clear(&w->measured);
	w->options = (struct plan_options){.path = arena_printf(&w->a, "%s/s.xml", w->dir), .units = recorded,
		.speed = fake_speed, .ctx = w};
	w->env = (struct rule_env){.runtime_folder = {[ARCH_AARCH64] = "/none"}};
	if (!spec || !store_open(&w->store, NULL, arena_printf(&w->a, "%s/store", w->dir), STORE_WRITE, &w->err))
		return false;
	struct build_options o = {.store = w->store, .jobs = 2, .flags = flags, .env = &w->env};
	w->plan = (struct plan){.arena = &w->a, .spec = spec, .o = &w->options, .env = &w->env};
	w->ok = build_new(&w->build, &o, &w->err);
	w->plan.build = w->build;
	w->ok = w->ok && plan_spec(&w->plan, &w->err) && build_run(w->build, &w->result, &w->err);
	if (!w->ok)
		FAIL("keep=\"%s\": %s", keep, w->err.msg);
	return w->ok;
}

static void end(struct world *w)
{
	build_free(w->build);
	store_free(w->store);
	w->build = NULL;
	w->store = NULL;
}

/* The lock of what was built, for the next build. */
static void keep_lock(struct world *w)
{
	struct strbuf text;
	strbuf_init(&text);
	struct json *old = w->lock;
	if (!lock_write(&text, &w->plan, old, &w->err) ||
		!json_parse(&w->a, (struct buf){arena_strdup(&w->a, text.s), text.n}, "lock", 1, &w->lock, &w->err))
		FAIL("%s", w->err.msg);
	CHECK(!strstr(text.s, "tokens_per_second"));
	strbuf_release(&text);
}

static void close_world(struct world *w)
{
	strbuf_release(&w->measured);
	arena_release(&w->a);
}

TEST(the_first_state_that_is_fast_enough_is_taken)
{
	static const double rising[] = {10, 20, 30, 40, 50}, uneven[] = {10, 30, 20, 25, 50};
	static const struct {
		const char *keep;
		const double *speed;
		int round; /* -1: none */
		const char *measured;
	} cases[] = {
		{"5 tokens/s", rising, 0, "main/round-0"},
		{"10 tokens/s", rising, 0, "main/round-0"},
		{"10.5 tokens/s", rising, 1, "main/round-0 main/round-1"},
		{"25 tokens/s", uneven, 1, "main/round-0 main/round-1"},
		{"50 tokens/s", uneven, 4, "main/round-0 main/round-1 main/round-2 main/round-3 main/round-4"},
		{"51 tokens/s", rising, -1, "main/round-0 main/round-1 main/round-2 main/round-3 main/round-4"},
	};
	struct world w;
	open_world(&w);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		w.speed = cases[i].speed;
		if (!build(&w, cases[i].keep, 0))
			break;
		const struct plan_target *t = &w.plan.target[0];
		CHECK_STR(w.measured.s, cases[i].measured);
		CHECK(t->failed == (cases[i].round < 0));
		if (t->failed) {
			CHECK_STR(t->err.msg, "no state of the chain gives target 't' keep=\"51 tokens/s\"; the last one, with 0 "
				"units, decodes 50.00 tokens/s here");
			CHECK(!t->state && !t->on && !build_find(w.build, "main/round-4/evaluate-f32"));
		} else {
			CHECK_INT(t->nround, cases[i].round);
			CHECK_INT(t->stop_units, 4 - cases[i].round);
		}
		end(&w);
	}
	close_world(&w);
}

TEST(a_depth_in_the_lock_is_read_until_what_it_was_chosen_for_changes)
{
	static const double speed[] = {10, 20, 30, 40, 50}, slow[] = {1, 2, 3, 4, 5};
	struct world w;
	open_world(&w);
	w.speed = speed;
	if (build(&w, "25 tokens/s", 0)) {
		CHECK_INT(w.plan.target[0].nround, 2);
		keep_lock(&w);
	}
	end(&w);
	/* Another machine: nothing is measured, whatever it would say; a dry run knows the depth too. */
	w.speed = slow;
	for (int dry = 0; dry < 2 && build(&w, "25 tokens/s", dry ? BUILD_DRY_RUN : 0); dry++) {
		CHECK_STR(w.measured.s, "");
		CHECK_INT(w.plan.target[0].nround, 2);
		CHECK_INT(w.result.nrun, 0);
		if (!dry)
			keep_lock(&w);
		end(&w);
	}
	/* Another wish, and another step. Neither is written to the lock, so each finds the record of before. */
	w.speed = speed;
	if (build(&w, "15 tokens/s", 0)) {
		CHECK_STR(w.measured.s, "main/round-0 main/round-1");
		CHECK_INT(w.plan.target[0].nround, 1);
	}
	end(&w);
	w.per_round = "2";
	if (build(&w, "25 tokens/s", 0))
		CHECK_STR(w.measured.s, "main/round-0 main/round-1 main/round-2");
	end(&w);
	w.per_round = "1";
	/* Without a lock a dry run does not measure: what follows is not known. */
	w.lock = NULL;
	if (build(&w, "25 tokens/s", BUILD_DRY_RUN)) {
		CHECK_STR(w.measured.s, "");
		CHECK(!w.plan.target[0].state && !w.plan.target[0].failed);
	}
	end(&w);
	close_world(&w);
}

TEST(what_cannot_run_here_needs_a_depth_in_the_lock)
{
	struct world w;
	open_world(&w);
	w.hardware = target_native()->arch == ARCH_X86_64 ? "aarch64-neon" : "x86-64-v3";
	if (build(&w, "25 tokens/s", BUILD_DRY_RUN)) {
		/* The import is known to no cache yet, so nothing is. */
		CHECK(!w.plan.target[0].failed);
	}
	end(&w);
	if (build(&w, "25 tokens/s", 0)) {
		const struct plan_target *t = &w.plan.target[0];
		CHECK(t->failed && t->err.kind == ERR_TOOL && t->err.line == 1);
		CHECK(strstr(t->err.msg, "is to be measured on a machine that runs code for"));
		CHECK_STR(w.measured.s, "");
		const char *lock = arena_printf(&w.a, "{\"targets\":{\"t\":{\"stop\":{\"units\":3,\"of\":\"%s\"}}}}", t->stop_of);
		CHECK(json_parse(&w.a, (struct buf){lock, strlen(lock)}, "lock", 1, &w.lock, &w.err));
	}
	end(&w);
	/* Dry, since there may be no runtime for it here. */
	if (build(&w, "25 tokens/s", BUILD_DRY_RUN)) {
		CHECK(!w.plan.target[0].failed);
		CHECK_INT(w.plan.target[0].stop_units, 3);
	}
	end(&w);
	close_world(&w);
}

TEST(code_of_the_target_is_measured_over_its_weights)
{
	struct world w;
	open_world(&w);
	if (build(&w, "0.001 tokens/s", 0)) {
		CHECK_STR(w.measured.s, "main/round-0");
		CHECK_INT(w.plan.target[0].nround, 0);
	}
	end(&w);
	close_world(&w);
}
