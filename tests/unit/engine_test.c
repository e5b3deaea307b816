/* The engine with rules without meaning: which calls ran, and what came out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "world.h"

/* ---- the rebuild matrix ----
 *
 *     a.txt -> imp (mix)  \
 *     b.txt -> tok (mix)  -> score (mix) -> pair a, b -> q4, q8 (tool)
 *     b.txt -> head (first byte) -> cut (mix)
 *     a.txt, b.txt -> parts (manifest) -> pick (drops b's) -> sum
 *
 * Wanted: q4, q8, cut, sum.
 */
struct change {
	const char *text;
	void (*apply)(struct world *w);
	const char *ran;
	bool more;               /* one more leaf */
	const char *mix_param;   /* of score */
	const char *sum_param;
};

static void add_matrix_graph(struct world *w, const struct change *c)
{
	static const char *const wanted[] = {"q4", "q8", "cut", "sum"};
	world_action(w, "imp", &mix_rule, "1", "@a.txt");
	world_action(w, "tok", &mix_rule, "1", "@b.txt");
	world_action(w, "head", &first_rule, NULL, "@b.txt");
	world_action(w, "cut", &mix_rule, "1", "head");
	world_action(w, "score", &mix_rule, c && c->mix_param ? c->mix_param : "1", "imp tok");
	world_action(w, "pair", &pair_rule, "1", "score");
	world_action(w, "q4", &tool_rule, "4", "pair:0");
	world_action(w, "q8", &tool_rule, "8", "pair:1");
	world_action(w, "parts", &parts_rule, NULL, "@a.txt @b.txt");
	world_action(w, "pick", &pick_rule, NULL, "parts");
	world_action(w, "sum", &sum_rule, c && c->sum_param ? c->sum_param : "s", "pick");
	for (size_t i = 0; i < NELEM(wanted); i++)
		build_want(w->build, build_find(w->build, wanted[i]));
	if (c && c->more)
		build_want(w->build, world_action(w, "more", &mix_rule, "m", "pair:0 cut"));
}

static const char base_a[] = "the first file", base_b[] = "the second file";

static void base_build(struct world *w, const char *name)
{
	world_init(w, name);
	world_write(w, "a.txt", base_a);
	world_write(w, "b.txt", base_b);
	if (!world_open(w)) {
		FAIL("%s", w->err.msg);
		return;
	}
	add_matrix_graph(w, NULL);
	world_run(w);
	CHECK_STR(world_ran(w), "cut head imp pair parts pick q4 q8 score sum tok");
	CHECK(w->ok);
	world_close(w);
}

static void object_path(struct world *w, struct digest d, char out[1100])
{
	char hex[DIGEST_HEX];
	digest_hex(d, hex);
	snprintf(out, 1100, "%s/store/objects/%.2s/%s", w->dir, hex, hex + 2);
}

/* The object of an output of the base build, by asking the engine again. */
static void output_path(struct world *w, const char *action, size_t output, char out[1100])
{
	struct digest d = {0};
	if (!world_open(w))
		return;
	add_matrix_graph(w, NULL);
	world_run(w);
	if (!action_digest(build_find(w->build, action), output, &d))
		FAIL("no output of %s", action);
	world_close(w);
	object_path(w, d, out);
}

static void lose(struct world *w, const char *action, size_t output)
{
	char path[1100];
	output_path(w, action, output, path);
	CHECK(unlink(path) == 0);
}

/* Turns a bit: the size stays. */
static void damage(struct world *w, const char *action, size_t output)
{
	char path[1100];
	output_path(w, action, output, path);
	chmod(path, 0644);
	FILE *f = fopen(path, "r+");
	int c = f ? fgetc(f) : 0;
	if (!f || fseek(f, 0, SEEK_SET) || fputc(c ^ 1, f) == EOF || fclose(f))
		FAIL("unable to damage '%s'", path);
}

static void nothing(struct world *w)
{
	(void)w;
}
static void touch(struct world *w)
{
	world_write(w, "a.txt", base_a);
	world_write(w, "b.txt", base_b);
}
static void edit_a(struct world *w)
{
	world_write(w, "a.txt", "the First file");
}
static void edit_b(struct world *w)
{
	world_write(w, "b.txt", "the Second file");
}
static void edit_b_start(struct world *w)
{
	world_write(w, "b.txt", "A second file");
}
static void new_tool(struct world *w)
{
	w->tool = "1.1";
}
static void lose_score(struct world *w)
{
	lose(w, "score", 0);
}
static void lose_q8(struct world *w)
{
	lose(w, "q8", 0);
}
static void truncate_q8(struct world *w)
{
	char path[1100];
	output_path(w, "q8", 0, path);
	CHECK(truncate(path, 3) == 0);
}
static void lose_pair_and_new_tool(struct world *w)
{
	lose(w, "pair", 0);
	new_tool(w);
}
static void lose_chain_and_new_tool(struct world *w)
{
	lose(w, "score", 0);
	lose(w, "pair", 0);
	lose(w, "imp", 0);
	new_tool(w);
}
static void damage_pair(struct world *w)
{
	damage(w, "pair", 0);
	new_tool(w);
}
static void lose_part(struct world *w)
{
	char path[1100];
	object_path(w, digest_of(base_a, strlen(base_a)), path);
	CHECK(unlink(path) == 0);
}
static void damage_part(struct world *w)
{
	char path[1100];
	object_path(w, digest_of(base_a, strlen(base_a)), path);
	chmod(path, 0644);
	FILE *f = fopen(path, "w");
	CHECK(f && fputs("THE first file", f) >= 0 && fclose(f) == 0);
}
static void lose_record(struct world *w)
{
	char hex[DIGEST_HEX], path[1100];
	struct digest key = {0};
	REQUIRE(world_open(w));
	add_matrix_graph(w, NULL);
	world_run(w);
	CHECK(action_key(build_find(w->build, "score"), &key));
	world_close(w);
	digest_hex(key, hex);
	snprintf(path, sizeof(path), "%s/store/actions/%.2s/%s", w->dir, hex, hex + 2);
	CHECK(unlink(path) == 0);
}
static void lose_all_objects(struct world *w)
{
	remove_tree(world_path(w, "store/objects"));
}
static void lose_all(struct world *w)
{
	remove_tree(world_path(w, "store"));
}
static void collect(struct world *w)
{
	struct store_stat st;
	REQUIRE(world_open(w));
	add_matrix_graph(w, NULL);
	world_run(w);
	CHECK(build_root(w->build, "spec", &w->err));
	CHECK(store_gc(w->store, GC_YES, &st, &w->err));
	CHECK_INT(st.nremoved, 0);
	world_close(w);
}
static void collect_all(struct world *w)
{
	struct store_stat st;
	REQUIRE(world_open(w));
	CHECK(store_gc(w->store, GC_YES, &st, &w->err));
	world_close(w);
}

static const char everything[] = "cut head imp pair parts pick q4 q8 score sum tok";

static const struct change change[] = {
	{.text = "nothing at all", .apply = nothing,
		.ran = ""},
	{.text = "files touched, bytes equal", .apply = touch,
		.ran = ""},
	{.text = "one more leaf", .apply = nothing,
		.ran = "more", .more = true},
	/* an action over what the manifest names depends on the manifest */
	{.text = "a file edited", .apply = edit_a,
		.ran = "imp pair parts pick q4 q8 score sum"},
	{.text = "a file edited where a cut-off hides it", .apply = edit_b,
		.ran = "head pair parts pick q4 q8 score tok"},
	{.text = "a file edited where nothing hides it", .apply = edit_b_start,
		.ran = "cut head pair parts pick q4 q8 score tok"},
	{.text = "a tool changed", .apply = new_tool,
		.ran = "q4 q8"},
	{.text = "a parameter changed", .apply = nothing,
		.ran = "pair q4 q8 score", .mix_param = "2"},
	{.text = "an intermediate object lost, nobody reads it", .apply = lose_score,
		.ran = ""},
	{.text = "a wanted object lost", .apply = lose_q8,
		.ran = "q8"},
	{.text = "a wanted object cut short", .apply = truncate_q8,
		.ran = "q8"},
	{.text = "an intermediate object lost and read", .apply = lose_pair_and_new_tool,
		.ran = "pair q4 q8"},
	{.text = "a chain of objects lost and read", .apply = lose_chain_and_new_tool,
		.ran = "imp pair q4 q8 score"},
	/* the damage shows when q4 reads it: it starts again */
	{.text = "an intermediate object damaged and read", .apply = damage_pair,
		.ran = "pair q4 q4 q8"},
	{.text = "a named object lost, nobody reads it", .apply = lose_part,
		.ran = ""},
	{.text = "a named object lost and read", .apply = lose_part,
		.ran = "parts sum", .sum_param = "2"},
	{.text = "a named object damaged and read", .apply = damage_part,
		.ran = "parts sum sum", .sum_param = "2"},
	{.text = "a record lost", .apply = lose_record,
		.ran = "score"},
	{.text = "all objects lost", .apply = lose_all_objects,
		.ran = everything},
	{.text = "the cache removed", .apply = lose_all,
		.ran = everything},
	{.text = "garbage collected under a root", .apply = collect,
		.ran = ""},
	{.text = "garbage collected without root", .apply = collect_all,
		.ran = everything},
};

/* The bytes of the wanted outputs as a clean build in a new place makes them. */
static void clean_build(const struct world *like, const struct change *c, char text[4][64])
{
	static const char *const wanted[] = {"q4", "q8", "cut", "sum"};
	struct world w;
	struct strbuf b;
	world_init(&w, "clean");
	w.tool = like->tool;
	for (int i = 0; i < 2; i++) {
		const char *file = i ? "b.txt" : "a.txt";
		char from[1100];
		snprintf(from, sizeof(from), "%s/%s", like->dir, file);
		strbuf_init(&b);
		CHECK(file_read(&b, from, NULL));
		world_write(&w, file, b.s);
		strbuf_release(&b);
	}
	if (world_open(&w)) {
		add_matrix_graph(&w, c);
		world_run(&w);
		CHECK(w.ok);
		for (int i = 0; i < 4; i++)
			snprintf(text[i], 64, "%s",
				world_text(&w, build_find(w.build, wanted[i]), 0));
		world_close(&w);
	}
	remove_tree(w.dir);
	world_release(&w);
}

TEST(rebuild_matrix)
{
	static const char *const wanted[] = {"q4", "q8", "cut", "sum"};
	for (size_t i = 0; i < NELEM(change); i++) {
		const struct change *c = &change[i];
		struct world w;
		char name[32], want[4][64];
		snprintf(name, sizeof(name), "row%zu", i);
		base_build(&w, name);
		c->apply(&w);
		clean_build(&w, c, want);
		for (int again = 0; again < 2; again++) {
			REQUIRE(world_open(&w));
			add_matrix_graph(&w, c);
			world_run(&w);
			if (!w.ok)
				FAIL("%s: %s", c->text, w.err.msg);
			if (strcmp(world_ran(&w), again ? "" : c->ran) != 0)
				FAIL("%s%s: ran \"%s\", want \"%s\"", c->text,
					again ? " (again)" : "", world_ran(&w),
					again ? "" : c->ran);
			for (int k = 0; k < 4; k++)
				CHECK_STR(
					world_text(&w, build_find(w.build, wanted[k]), 0), want[k]);
			world_close(&w);
			CHECK_INT(world_leftovers(&w), 0);
		}
		world_release(&w);
	}
}

/* docs/rebuild-engine.md is this table; TRIM_BLESS=1 in the environment writes it. */
TEST(rebuild_matrix_stands_in_the_docs)
{
	struct strbuf want, have;
	struct err e;
	strbuf_init(&want);
	strbuf_init(&have);
	strbuf_adds(&want, "# What runs again\n\n"
			   "Written by `TRIM_BLESS=1 .build/tests/engine_test rebuild_matrix`, "
			   "from the table that the "
			   "test of this name checks\ncall by call. The graph:\n\n"
			   "    a.txt -> imp \\\n"
			   "    b.txt -> tok -> score -> pair -> q4, q8 (they use a tool)\n"
			   "    b.txt -> head (its first byte) -> cut\n"
			   "    a.txt, b.txt -> parts (a manifest over objects) -> pick (drops the "
			   "last) -> sum\n\n"
			   "Wanted: q4, q8, cut, sum. Afterwards a second build runs nothing, and "
			   "the results are "
			   "those of a clean build.\n\n"
			   "| what changed | what runs |\n|---|---|\n");
	for (size_t i = 0; i < NELEM(change); i++)
		strbuf_addf(&want, "| %s | %s |\n", change[i].text,
			change[i].ran == everything ? "everything" :
			*change[i].ran              ? change[i].ran :
						      "nothing");
	if (getenv("TRIM_BLESS"))
		CHECK(file_write("docs/rebuild-engine.md", strbuf_buf(&want), 0644, &e));
	if (file_read(&have, "docs/rebuild-engine.md", &e))
		CHECK_STR(have.s, want.s);
	else
		FAIL("%s", e.msg);
	strbuf_release(&want);
	strbuf_release(&have);
}

/* ---- dynamic graphs ---- */

/* A chain like that of rounds: each round scores, and its generator adds the next one while the
 * score begins with a digit; then the end. */
struct chain {
	struct world *w;
	int round;
};

static bool next_round(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct chain *c = ctx;
	char drop[32], score[32], from[32];
	const char first = *(const char *)input[0].p;
	(void)e;
	snprintf(from, sizeof(from), "score-%d", c->round);
	if (first < '0' || first > '9' || c->round == 6) {
		build_want(b, world_action(c->w, "end", &mix_rule, NULL, from));
		return true;
	}
	c->round++;
	snprintf(drop, sizeof(drop), "drop-%d", c->round);
	snprintf(score, sizeof(score), "score-%d", c->round);
	world_action(c->w, drop, &mix_rule, NULL, from);
	struct action *a = world_action(c->w, score, &mix_rule, NULL, drop);
	struct input in = input_output("score", a, 0);
	build_generate(b, "round", &in, 1, next_round, c);
	return true;
}

static void chain_build(struct world *w, struct chain *c)
{
	REQUIRE(world_open(w));
	*c = (struct chain){w, 0};
	struct action *a = world_action(w, "score-0", &mix_rule, NULL, "@seed");
	struct input in = input_output("score", a, 0);
	build_generate(w->build, "round", &in, 1, next_round, c);
	world_run(w);
}

TEST(generators_add_what_follows_from_results)
{
	struct world w;
	struct chain c;
	int seen_rounds[8] = {0}, nkinds = 0;
	world_init(&w, "w");
	for (int seed = 0; seed < 12; seed++) {
		char text[16];
		snprintf(text, sizeof(text), "seed %d", seed);
		world_write(&w, "seed", text);
		chain_build(&w, &c);
		CHECK(w.ok);
		CHECK_INT(w.nran, 2 + 2 * c.round);
		CHECK(build_find(w.build, "end") != NULL);
		nkinds += !seen_rounds[c.round]++;
		world_close(&w);
		int round = c.round;
		chain_build(&w, &c);
		CHECK(w.ok && c.round == round && w.nran == 0);
		CHECK_INT(w.result.ncached, 2 + 2 * round);
		world_close(&w);
	}
	CHECK(nkinds > 1); /* the rounds did depend on the bytes */
	/* a dry run stops where it would have to know */
	world_write(&w, "seed", "another");
	w.flags = BUILD_DRY_RUN;
	chain_build(&w, &c);
	CHECK(w.ok && w.nran == 0 && c.round == 0);
	CHECK(w.result.nwould_run == 1 && w.result.nunknown == 0);
	struct strbuf plan;
	strbuf_init(&plan);
	build_plan(w.build, REPORT_TEXT, &plan);
	CHECK(strstr(plan.s, "then   what follows from round\n") != NULL);
	strbuf_release(&plan);
	world_close(&w);
	world_release(&w);
}

static bool bad_generator(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	(void)b, (void)ctx, (void)input;
	return err_set(e, ERR_SPEC, "keep is below what is least possible");
}

TEST(a_failing_generator_fails_the_build)
{
	struct world w;
	world_init(&w, "w");
	world_write(&w, "seed", "x");
	REQUIRE(world_open(&w));
	struct input in = input_output("s", world_action(&w, "s", &mix_rule, NULL, "@seed"), 0);
	build_generate(w.build, "rounds", &in, 1, bad_generator, NULL);
	world_run(&w);
	CHECK(!w.ok);
	CHECK_STR(w.err.msg, "rounds: keep is below what is least possible");
	CHECK_INT(w.err.kind, ERR_SPEC);
	CHECK(w.result.nrun == 1 && w.result.nfailed == 1 && w.result.nskipped == 0);
	world_close(&w);
	world_release(&w);
}

TEST(a_file_that_cannot_be_written_fails_the_build)
{
	struct world w;
	world_init(&w, "w");
	world_write(&w, "a.txt", "x");
	REQUIRE(world_open(&w));
	build_output(w.build, world_action(&w, "a", &mix_rule, NULL, "@a.txt"), 0,
		world_path(&w, "a.txt/out"), 0); /* below a file */
	world_run(&w);
	CHECK(!w.ok && w.err.kind == ERR_IO);
	CHECK(w.result.nrun == 1 && w.result.nfailed == 1 && w.result.nwritten == 0);
	world_close(&w);
	world_release(&w);
}

/* ---- failures ---- */

TEST(keep_going_runs_what_does_not_depend_on_a_failure)
{
	struct world w;
	world_init(&w, "w");
	world_write(&w, "a.txt", "x");
	for (int keep = 0; keep < 2; keep++) {
		w.flags = keep ? BUILD_KEEP_GOING : 0;
		w.jobs = 1;
		REQUIRE(world_open(&w));
		world_action(&w, "bad", &fail_rule, NULL, "@a.txt");
		world_action(&w, "good", &mix_rule, NULL, "@a.txt");
		world_action(&w, "better", &mix_rule, NULL, "good");
		world_action(&w, "after", &mix_rule, NULL, "bad");
		world_action(&w, "after2", &mix_rule, NULL, "after good");
		world_run(&w);
		CHECK(!w.ok);
		CHECK_STR(w.err.msg, "bad: loss is NaN");
		CHECK_INT(w.err.kind, ERR_NUMERIC);
		CHECK_STR(world_ran(&w), keep ? "bad better good" : "bad");
		CHECK_INT(w.result.nfailed, 1);
		CHECK_INT(w.result.nskipped, keep ? 2 : 4);
		CHECK_INT(w.result.nrun, keep ? 2 : 0);
		world_close(&w);
	}
	world_release(&w);
}

TEST(a_missing_file_fails_only_who_reads_it)
{
	struct world w;
	char want[1100];
	world_init(&w, "w");
	world_write(&w, "a.txt", "x");
	w.flags = BUILD_KEEP_GOING;
	REQUIRE(world_open(&w));
	world_action(&w, "bad", &mix_rule, NULL, "@gone.txt");
	world_action(&w, "good", &mix_rule, NULL, "@a.txt");
	world_run(&w);
	CHECK(!w.ok);
	snprintf(want, sizeof(want), "bad: unable to open '%s/gone.txt': No such file or directory",
		w.dir);
	CHECK_STR(w.err.msg, want);
	CHECK_STR(world_ran(&w), "good");
	world_close(&w);
	world_release(&w);
}

static bool run_unsteady(struct rule_call *c, struct err *e)
{
	static int calls; /* what a rule must not have */
	char text[16];
	snprintf(text, sizeof(text), "%d", calls++);
	return call_output(c, 0, (struct buf){text, strlen(text)}, e);
}

static bool run_forgetful(struct rule_call *c, struct err *e)
{
	(void)c, (void)e;
	return true;
}

TEST(rules_that_break_their_contract_are_named)
{
	static const struct rule unsteady = {.name = "unsteady", .version = 1, .run = run_unsteady};
	static const struct rule forgetful = {
		.name = "forgetful", .version = 1, .run = run_forgetful};
	struct world w;
	struct digest d = {0};
	char path[1100];
	world_init(&w, "w");
	for (int round = 0; round < 2; round++) {
		REQUIRE(world_open(&w));
		struct action *u = world_action(&w, "u", &unsteady, NULL, "");
		build_want(w.build, u);
		world_run(&w);
		action_digest(u, 0, &d);
		CHECK(w.ok == (round == 0));
		world_close(&w);
		object_path(&w, d, path);
		unlink(path);
	}
	CHECK_STR(
		w.err.msg, "u: rule 'unsteady' gave other bytes than before from the same inputs");
	REQUIRE(world_open(&w));
	world_action(&w, "f", &forgetful, NULL, "");
	world_run(&w);
	CHECK(!w.ok);
	CHECK_STR(w.err.msg, "f: rule 'forgetful' gave no output 'out'");
	world_close(&w);
	world_release(&w);
}

/* ---- threads ---- */

struct meeting {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	int n, want;
};

/* Returns when `want` calls are here at the same time. */
static void meet(struct rule_call *c, void *ctx)
{
	struct meeting *m = ctx;
	struct timespec until;
	int rc = 0;
	(void)c;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	pthread_mutex_lock(&m->mutex);
	m->n++;
	pthread_cond_broadcast(&m->cond);
	while (m->n < m->want && rc == 0)
		rc = pthread_cond_timedwait(&m->cond, &m->mutex, &until);
	if (rc)
		FAIL("%d calls at once, want %d", m->n, m->want);
	pthread_mutex_unlock(&m->mutex);
}

TEST(independent_actions_run_at_the_same_time)
{
	struct world w;
	struct meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 4};
	world_init(&w, "w");
	w.in_rule = meet;
	w.in_rule_ctx = &m;
	REQUIRE(world_open(&w));
	for (int i = 0; i < 4; i++) {
		char name[8];
		snprintf(name, sizeof(name), "m%d", i);
		world_action(&w, name, &mix_rule, NULL, "");
	}
	world_run(&w);
	CHECK(w.ok && w.most_active == 4);
	world_close(&w);
	world_release(&w);
}

TEST(pools_and_jobs_are_limits)
{
	for (int jobs = 1; jobs <= 5; jobs += 2) {
		struct world w;
		char name[16];
		snprintf(name, sizeof(name), "w%d", jobs);
		world_init(&w, name);
		w.jobs = jobs;
		REQUIRE(world_open(&w));
		for (int i = 0; i < 60; i++) {
			const struct rule *rule[] = {&mix_rule, &slow_rule, &heavy_rule};
			snprintf(name, sizeof(name), "n%d", i);
			world_action(&w, name, rule[i % 3], NULL, i < 6 ? "" : "n0 n1");
		}
		world_run(&w);
		CHECK(w.ok);
		CHECK_INT(w.result.nrun, 60);
		CHECK(w.most_active <= jobs && w.most_slow <= 2);
		CHECK_INT(w.nheavy_beside, 0);
		world_close(&w);
		world_release(&w);
	}
}

TEST(equal_actions_of_one_build_run_once)
{
	struct world w;
	world_init(&w, "w");
	world_write(&w, "a.txt", "x");
	REQUIRE(world_open(&w));
	char path[1100];
	snprintf(path, sizeof(path), "%s/a.txt", w.dir);
	struct input in = input_file("file", path);
	struct field same = {"name", "shared"};
	for (int i = 0; i < 8; i++) {
		char name[8];
		snprintf(name, sizeof(name), "e%d", i);
		struct action_def def = {name, &mix_rule, {&same, 1}, &in, 1};
		build_action(w.build, &def);
	}
	world_run(&w);
	CHECK(w.ok);
	CHECK_STR(world_ran(&w), "shared");
	CHECK(w.result.nrun == 1 && w.result.ncached == 7);
	world_close(&w);
	world_release(&w);
}

/* ---- output files ---- */

static void files_build(struct world *w)
{
	char path[1100];
	REQUIRE(world_open(w));
	struct action *a = world_action(w, "a", &mix_rule, NULL, "@a.txt");
	snprintf(path, sizeof(path), "%s/out/x/bin", w->dir);
	build_output(w->build, a, 0, path, OUTPUT_EXECUTABLE);
	world_run(w);
	CHECK(w->ok);
	struct strbuf b;
	strbuf_init(&b);
	CHECK(file_read(&b, path, NULL));
	CHECK_STR(b.s, world_text(w, a, 0));
	strbuf_release(&b);
	world_close(w);
}

TEST(output_files_are_restored)
{
	struct world w;
	char out[1100], object[1100];
	world_init(&w, "w");
	world_write(&w, "a.txt", "x");
	snprintf(out, sizeof(out), "%s/out/x/bin", w.dir);
	files_build(&w);
	CHECK(w.result.nrun == 1 && w.result.nwritten == 1);
	CHECK(access(out, X_OK) == 0);
	files_build(&w);
	CHECK(w.result.nrun == 0 && w.result.nwritten == 0);
	world_write(&w, "out/x/bin", "edited");
	files_build(&w);
	CHECK(w.result.nrun == 0 && w.result.nwritten == 1);
	CHECK(unlink(out) == 0);
	files_build(&w);
	CHECK(w.result.nrun == 0 && w.result.nwritten == 1);
	/* the object is not needed while the file is right */
	struct strbuf b;
	strbuf_init(&b);
	CHECK(file_read(&b, out, NULL));
	object_path(&w, digest_of(b.s, b.n), object);
	strbuf_release(&b);
	CHECK(unlink(object) == 0);
	REQUIRE(world_open(&w));
	build_output(w.build, world_action(&w, "a", &mix_rule, NULL, "@a.txt"), 0, out,
		OUTPUT_EXECUTABLE);
	world_run(&w);
	CHECK(w.ok && w.result.nrun == 0 && w.result.nwritten == 0);
	world_close(&w);
	CHECK(unlink(out) == 0);
	files_build(&w);
	CHECK(w.result.nrun == 1 && w.result.nwritten == 1);
	world_release(&w);
}

static bool run_link(struct rule_call *c, struct err *e)
{
	struct buf in;
	struct arena *a = call_arena(c);
	struct recipe_part *part = arena_array(a, struct recipe_part, 2);
	struct recipe r = {.part = part, .npart = 2};
	struct strbuf text, whole;
	if (!call_input(c, 0, &in, e) || !call_put(c, in, &part[1].object, e))
		return false;
	part[0] = (struct recipe_part){.zero = true, .bytes = 3};
	part[1].bytes = in.n;
	strbuf_init(&text);
	strbuf_init(&whole);
	strbuf_add(&whole, "\0\0\0", 3);
	strbuf_add(&whole, in.p, in.n);
	r.whole = digest_of(whole.s, whole.n);
	r.bytes = whole.n;
	recipe_write(&text, &r);
	bool ok = call_output(c, 0, strbuf_buf(&text), e);
	strbuf_release(&text);
	strbuf_release(&whole);
	return ok;
}

TEST(recipe_outputs_are_assembled_and_restored)
{
	static const struct rule link_rule = {.name = "link", .version = 1, .run = run_link};
	static const size_t written[] = {1, 0, 1, 1}, ran[] = {1, 0, 0, 1};
	struct world w;
	char out[1100], object[1100];
	world_init(&w, "w");
	world_write(&w, "a.txt", "weights");
	snprintf(out, sizeof(out), "%s/out/bin", w.dir);
	object_path(&w, digest_of("weights", 7), object);
	for (size_t i = 0; i < NELEM(ran); i++) {
		if (i == 2)
			world_write(&w, "out/bin", "stripped");
		if (i == 3)
			CHECK(unlink(out) == 0 && unlink(object) == 0);
		REQUIRE(world_open(&w));
		build_output(w.build, world_action(&w, "l", &link_rule, NULL, "@a.txt"), 0, out,
			OUTPUT_RECIPE);
		world_run(&w);
		CHECK(w.ok);
		CHECK_INT(w.result.nrun, ran[i]);
		CHECK_INT(w.result.nwritten, written[i]);
		world_close(&w);
		struct strbuf b;
		strbuf_init(&b);
		CHECK(file_read(&b, out, NULL));
		CHECK(b.n == 10 && memcmp(b.s, "\0\0\0weights", 10) == 0);
		strbuf_release(&b);
	}
	world_release(&w);
}
