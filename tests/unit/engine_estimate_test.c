/* Estimates in the engine: what they look at, what the journal learns of them, what is said before long work. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "build_internal.h"
#include "json.h"
#include "world.h"

enum { PETA = 1000000000000000 };

/* As mix; the work is the length of the first input, or of the parameter of what makes it, times 1e9. */
static bool foretell(const struct estimate_call *c, struct estimate *out)
{
	struct buf in;
	const char *p = fields_get(estimate_params(c), "p");
	if (!estimate_ninput(c) || (p && !strcmp(p, "unknown")))
		return false;
	const struct estimate_call *maker = estimate_maker(c, 0);
	double n = estimate_input(c, 0, &in) ? (double)in.n
		: maker ? atof(fields_get(estimate_params(maker), "p")) : 0;
	*out = (struct estimate){.memory_bytes = p && !strcmp(p, "huge") ? PETA : 50000000, .lower = "a smaller p",
		.work = 1e9 * n, .kind = "thinking"};
	return true;
}

static bool run_slowly(struct rule_call *c, struct err *e)
{
	return mix_rule.run(c, e);
}

static const struct rule think_rule = {.name = "think", .version = 1, .pool = "compute", .run = run_slowly,
	.estimate = foretell};

struct heard {
	char text[2048];
	size_t n;
};

static void hear(void *ctx, const struct build_event *ev)
{
	struct heard *h = ctx;
	if (ev->kind == EVENT_WARN || ev->kind == EVENT_EXPECT || ev->kind == EVENT_RUN)
		h->n += (size_t)snprintf(h->text + h->n, sizeof(h->text) - h->n, "%s %s: %s\n", event_name(ev->kind),
			ev->action ? ev->action : "-", ev->text);
}

static const struct json *json_of(struct arena *a, struct strbuf *members)
{
	struct json *root;
	struct err e;
	const char *text = arena_printf(a, "{%s}", members->s);
	if (!json_parse(a, (struct buf){text, strlen(text)}, NULL, 1, &root, &e))
		FAIL("%s", e.msg);
	strbuf_clear(members);
	return root;
}

static double number(const struct json *row, const char *name)
{
	const struct json *v = json_get(row, name);
	return v && v->kind == JSON_NUMBER ? v->number : NAN;
}

static const struct json *item(const struct json *list, int i)
{
	if (!list || (size_t)i >= list->nitem)
		BUG("the list has no item %d", i);
	return &list->item[i];
}

static void think(struct world *w, const char *p, enum build_flags flags)
{
	w->flags = flags;
	REQUIRE(world_open(w));
	world_action(w, "first", &mix_rule, "64", "");
	world_action(w, "second", &think_rule, p, "first");
	world_run(w);
	CHECK(w->ok);
}

/* Seconds come from what runs did, scaled by work; 32 hex digits are 32e9 of work. */
TEST(plan_says_seconds_and_memory_by_earlier_runs)
{
	struct world w;
	struct strbuf out;
	struct arena a = {0};
	world_init(&w, "w");
	strbuf_init(&out);
	think(&w, "1", BUILD_DRY_RUN);
	build_plan(w.build, REPORT_JSON, &out);
	const struct json *plan = json_of(&a, &out), *row = item(json_get(plan, "actions"), 1);
	CHECK(isnan(number(row, "seconds"))); /* nothing ever ran, and nobody measures a machine here */
	CHECK(number(row, "memory_bytes") == 50000000 && number(plan, "memory_bytes") == 50000000);
	world_close(&w);
	think(&w, "1", 0);
	world_close(&w);
	CHECK(world_log(&w, "second", REPORT_JSON, &out, &w.err));
	row = item(json_get(json_of(&a, &out), "log"), 0);
	CHECK(number(row, "expected_bytes") == 50000000 && number(row, "peak_bytes") > 0);
	CHECK(isnan(number(row, "expected_seconds")));
	double took = number(row, "seconds");
	/* Twice the parameter of what is not made yet is twice the work. */
	w.flags = BUILD_DRY_RUN;
	REQUIRE(world_open(&w));
	world_action(&w, "new", &mix_rule, "64000000", "");
	world_action(&w, "newer", &think_rule, "2", "new");
	world_action(&w, "newest", &think_rule, "unknown", "new");
	world_run(&w);
	build_plan(w.build, REPORT_JSON, &out);
	plan = json_of(&a, &out);
	struct estimate e = estimate_of(w.build, build_find(w.build, "newer"));
	CHECK(e.work == 64e15);
	double seconds = number(item(json_get(plan, "actions"), 1), "seconds");
	CHECK(seconds > 0 && fabs(seconds / 2e6 - took) <= 0.00051); /* the log has milliseconds */
	CHECK(isnan(number(item(json_get(plan, "actions"), 2), "memory_bytes")));
	world_close(&w);
	strbuf_release(&out);
	arena_release(&a);
	world_release(&w);
}

static bool more(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	(void)b, (void)ctx, (void)input, (void)e;
	return true;
}

static double a_billion_a_second(void *ctx, const char *kind, int threads)
{
	CHECK(!strcmp(kind, "thinking") && threads > 0);
	++*(int *)ctx;
	return 1e9;
}

/* Said once, before the first long action; memory of what is planned is compared before any of it runs. */
TEST(what_is_ahead_is_said_before_it_begins)
{
	struct world w;
	struct heard h = {.n = 0};
	int nasked = 0;
	world_init(&w, "w");
	w.on_event = hear;
	w.on_event_ctx = &h;
	REQUIRE(world_open(&w));
	w.build->o.rate = a_billion_a_second;
	w.build->o.rate_ctx = &nasked;
	world_action(&w, "first", &mix_rule, "64", "");
	world_action(&w, "second", &think_rule, "64", "first");
	struct action *third = world_action(&w, "third", &think_rule, "huge", "second");
	struct input in = input_output("in", third, 0);
	build_generate(w.build, "more", &in, 1, more, NULL);
	build_foresee(w.build, "more", &(struct foreseen){third, 10}, 1);
	world_run(&w);
	CHECK(w.ok && nasked > 0);
	char *first = strstr(h.text, "warn third: needs about 1000000.0 GB of memory, "), *run = strstr(h.text, "run second");
	CHECK(first && run && first < run && strstr(first, "; a smaller p lowers it\n"));
	char *ahead = strstr(h.text, "expect -: about 12 min ahead, with up to 1000000.0 GB of memory\n");
	CHECK(ahead && ahead < run && !strstr(ahead + 1, "expect -"));
	world_close(&w);
	world_release(&w);
}

static bool foretell_making(const struct estimate_call *c, struct estimate *out)
{
	const char *p = fields_get(estimate_params(c), "p");
	*out = (struct estimate){.work = 1e11, .kind = "thinking", .fixed_seconds = 10, .fixed = digest_of(p, strlen(p))};
	return true;
}

static const struct rule make_rule = {.name = "make", .version = 1, .pool = "compute", .run = run_slowly,
	.estimate = foretell_making};

static double expected(struct world *w, const char *action)
{
	struct strbuf out;
	struct arena a = {0};
	strbuf_init(&out);
	CHECK(world_log(w, action, REPORT_JSON, &out, &w->err));
	double seconds = number(item(json_get(json_of(&a, &out), "log"), 0), "expected_seconds");
	strbuf_release(&out);
	arena_release(&a);
	return seconds;
}

/* What the first one makes, the second one has: in a plan, in what is said before, and when they run. Nobody has the third's. */
TEST(what_is_made_once_is_expected_once)
{
	struct world w;
	struct heard h = {.n = 0};
	struct strbuf out;
	struct arena a = {0};
	int nasked = 0;
	world_init(&w, "w");
	w.on_event = hear;
	w.on_event_ctx = &h;
	strbuf_init(&out);
	for (int dry = 1; dry >= 0; dry--) {
		w.flags = dry ? BUILD_DRY_RUN : 0;
		REQUIRE(world_open(&w));
		w.build->o.rate = a_billion_a_second;
		w.build->o.rate_ctx = &nasked;
		world_action(&w, "first", &make_rule, "7", "");
		world_action(&w, "second", &make_rule, "7", "first");
		struct action *third = world_action(&w, "third", &make_rule, "8", "second");
		struct input in = input_output("in", third, 0);
		build_generate(w.build, "more", &in, 1, more, NULL);
		build_foresee(w.build, "more", &(struct foreseen){third, 7}, 1);
		world_run(&w);
		CHECK(w.ok);
		if (dry) {
			build_plan(w.build, REPORT_JSON, &out);
			const struct json *plan = json_of(&a, &out);
			CHECK(number(plan, "seconds") == 320 && number(plan, "then_seconds") == 700);
		}
		world_close(&w);
	}
	CHECK(strstr(h.text, "expect -: about 17 min ahead"));
	CHECK(expected(&w, "first") == 110);
	/* The journal's rate by now, of a run of next to no time: only what is made is left. */
	CHECK(expected(&w, "second") < 10 && expected(&w, "third") >= 10);
	strbuf_release(&out);
	arena_release(&a);
	world_release(&w);
}

/* What follows from a generator is counted by what is like it. */
TEST(plan_adds_what_is_foreseen)
{
	struct world w;
	struct strbuf out;
	int nasked = 0;
	world_init(&w, "w");
	strbuf_init(&out);
	w.flags = BUILD_DRY_RUN;
	REQUIRE(world_open(&w));
	w.build->o.rate = a_billion_a_second;
	w.build->o.rate_ctx = &nasked;
	world_action(&w, "first", &mix_rule, "64", "");
	struct action *second = world_action(&w, "second", &think_rule, "huge", "first");
	struct input in = input_output("in", second, 0);
	build_generate(w.build, "more", &in, 1, more, NULL);
	build_foresee(w.build, "more", &(struct foreseen){second, 2.5}, 1);
	world_run(&w);
	build_plan(w.build, REPORT_TEXT, &out);
	CHECK(strstr(out.s, "   64.000 s  1000000000 MB  second  [think]"));
	CHECK(strstr(out.s, "then   what follows from more, about 3 min\n"));
	CHECK(strstr(out.s, "about 64.0 s in all and 3 min of what follows"));
	CHECK(strstr(out.s, "\nwarning: second needs about 1000000.0 GB of memory, "));
	world_close(&w);
	strbuf_release(&out);
	world_release(&w);
}

/* ---- what a machine has ---- */

static void put(struct world *w, const char *file, const char *text)
{
	char *path = xstrdup(world_path(w, file));
	for (char *p = path + strlen(w->dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(path, 0755);
	}
	free(path);
	world_write(w, file, text);
}

TEST(memory_is_the_least_of_machine_and_groups)
{
	struct world w;
	world_init(&w, "w");
	CHECK(memory_available_below(w.dir) == 0);
	put(&w, "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n");
	CHECK(memory_available_below(w.dir) == 4000 * 1024);
	/* Version 2: a group further out is the narrow one; files in memory count as free. */
	put(&w, "proc/self/cgroup", "0::/outer/inner\n");
	put(&w, "sys/fs/cgroup/outer/inner/memory.max", "max\n");
	put(&w, "sys/fs/cgroup/outer/inner/memory.current", "100\n");
	put(&w, "sys/fs/cgroup/outer/memory.max", "3000000\n");
	put(&w, "sys/fs/cgroup/outer/memory.current", "1500000\n");
	put(&w, "sys/fs/cgroup/outer/memory.stat", "anon 1\nactive_file 200000\ninactive_file 300000\n");
	CHECK(memory_available_below(w.dir) == 2000000);
	/* Version 1. */
	put(&w, "proc/self/cgroup", "9:name=systemd:/\n4:memory:/a\n");
	put(&w, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
	put(&w, "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "7\n");
	CHECK(memory_available_below(w.dir) == 4000 * 1024);
	put(&w, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n");
	CHECK(memory_available_below(w.dir) == 993);
	put(&w, "sys/fs/cgroup/memory/memory.limit_in_bytes", "500\n");
	put(&w, "sys/fs/cgroup/memory/memory.usage_in_bytes", "600\n");
	CHECK(memory_available_below(w.dir) == 1); /* known, and none */
	world_release(&w);
}
