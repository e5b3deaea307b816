/* What the engine says: reasons, why, status, plan, log, graphs, events. Golden texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "world.h"

/* imp (mix @a.txt) -> score (tool) -> out (mix, with bytes) */
struct variant {
	const char *param, *rule_param;
	int version;
	bool more, less;
};

static void build(struct world *w, const struct variant *v, enum build_flags flags)
{
	w->flags = flags;
	REQUIRE(world_open(w));
	world_action(w, "imp", &mix_rule, v->param, "@a.txt");
	world_action(w, "score", &tool_rule, v->rule_param,
		v->less ? "" : v->more ? "imp @b.txt" : "imp");
	world_run(w);
	CHECK(w->ok);
}

/* Replaces what differs from run to run by fixed text. */
static const char *mask(struct world *w, const char *text)
{
	static char out[16384];
	size_t n = 0, dir = strlen(w->dir);
	while (*text && n < sizeof(out) - 1) {
		if (strncmp(text, w->dir, dir) == 0 && text[dir] == '/') {
			text += dir + 1;
		} else {
			out[n++] = *text++;
		}
	}
	out[n] = '\0';
	return out;
}

static void check_why(struct world *w, const char *action, const char *want)
{
	struct strbuf out;
	struct err e;
	strbuf_init(&out);
	if (build_why(w->build, action, REPORT_TEXT, &out, &e))
		CHECK_STR(mask(w, out.s), want);
	else
		FAIL("%s", e.msg);
	strbuf_release(&out);
}

TEST(why_names_what_changed)
{
	struct world w;
	struct err e;
	world_init(&w, "w");
	world_write(&w, "a.txt", "one");
	world_write(&w, "b.txt", "two");
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	check_why(&w, "imp", "imp: ran: it is new\n");
	world_close(&w);

	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	check_why(&w, "imp", "imp: not run: nothing changed since build 1\n");
	CHECK(!build_why(w.build, "scroe", REPORT_TEXT, &(struct strbuf){0}, &e));
	CHECK_STR(e.msg, "no action 'scroe'; did you mean 'score'?");
	world_close(&w);

	world_write(&w, "a.txt", "uno");
	build(&w, &(struct variant){"1", "1", 1, false, false}, BUILD_DRY_RUN);
	check_why(&w, "imp", "imp: would run: input 'file' changed: a.txt\n");
	check_why(&w, "score", "score: not known yet: an action before it would run\n");
	world_close(&w);

	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	check_why(&w, "imp", "imp: ran: input 'file' changed: a.txt\n");
	check_why(&w, "score", "score: ran: input 'in' changed: imp\n");
	world_close(&w);

	build(&w, &(struct variant){"2", "1", 1, false, false}, 0);
	check_why(&w, "imp", "imp: ran: parameter 'p' changed from '1' to '2'\n");
	world_close(&w);

	build(&w, &(struct variant){NULL, "1", 1, false, false}, 0);
	check_why(&w, "imp", "imp: ran: parameter 'p' is gone\n");
	world_close(&w);

	w.tool = "1.1";
	build(&w, &(struct variant){NULL, "1", 1, true, false}, 0);
	check_why(&w, "imp", "imp: not run: nothing changed since build 5\n");
	check_why(&w, "score", "score: ran: tool 'hammer' changed from '1.0' to '1.1'; "
			       "input 'file' is new: b.txt\n");
	world_close(&w);

	build(&w, &(struct variant){"3", "1", 1, false, true}, 0);
	check_why(&w, "imp", "imp: ran: parameter 'p' is new: '3'\n");
	check_why(
		&w, "score", "score: ran: input 'in' is gone: imp; input 'file' is gone: b.txt\n");
	world_close(&w);

	/* back to what another build made: the cache knows */
	build(&w, &(struct variant){"2", "1", 1, false, true}, 0);
	check_why(&w, "imp", "imp: not run: parameter 'p' changed from '3' to '2' since build 7, "
			     "and the cache already holds the result\n");
	world_close(&w);

	remove_tree(world_path(&w, "store"));
	build(&w, &(struct variant){"2", "1", 1, false, true}, 0);
	check_why(&w, "imp", "imp: ran: its record is no longer in the cache\n");
	world_close(&w);

	CHECK(unlink(world_path(&w, "journal")) == 0);
	build(&w, &(struct variant){"2", "1", 1, false, true}, 0);
	check_why(&w, "imp", "imp: not run: the cache already holds the result, made for another "
			     "spec or earlier\n");
	world_close(&w);
	world_release(&w);
}

TEST(why_says_so_when_bytes_are_made_again)
{
	struct world w;
	struct digest d;
	char hex[DIGEST_HEX], path[1100];
	world_init(&w, "w");
	world_write(&w, "a.txt", "one");
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	CHECK(action_digest(build_find(w.build, "imp"), 0, &d));
	world_close(&w);
	digest_hex(d, hex);
	snprintf(path, sizeof(path), "%s/store/objects/%.2s/%s", w.dir, hex, hex + 2);
	CHECK(unlink(path) == 0);
	w.tool = "2.0";
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	check_why(
		&w, "imp", "imp: ran: its output is missing from the cache and 'score' needs it\n");
	world_close(&w);
	world_release(&w);
}

static bool run_versioned(struct rule_call *c, struct err *e)
{
	return call_output(c, 0, (struct buf){"same", 4}, e);
}

TEST(why_names_a_new_version_of_a_rule)
{
	static const struct rule rule[] = {{.name = "r", .version = 1, .run = run_versioned},
		{.name = "r", .version = 2, .run = run_versioned},
		{.name = "s", .version = 2, .run = run_versioned}};
	static const char *const want[] = {"x: ran: it is new\n",
		"x: ran: rule 'r' changed from version 1 to 2\n",
		"x: ran: its rule changed from 'r' to 's'\n"};
	struct world w;
	world_init(&w, "w");
	for (size_t i = 0; i < NELEM(rule); i++) {
		REQUIRE(world_open(&w));
		world_action(&w, "x", &rule[i], NULL, "");
		world_action(&w, "y", &mix_rule, NULL, "x");
		world_run(&w);
		check_why(&w, "x", want[i]);
		CHECK_STR(world_ran(&w), i ? "" : "y"); /* same bytes: cut off */
		world_close(&w);
	}
	world_release(&w);
}

TEST(status_and_plan_list_what_is_out_of_date)
{
	struct world w;
	struct strbuf out;
	world_init(&w, "w");
	world_write(&w, "a.txt", "one");
	strbuf_init(&out);
	build(&w, &(struct variant){"1", "1", 1, false, false}, BUILD_DRY_RUN);
	build_status(w.build, REPORT_TEXT, &out);
	CHECK_STR(out.s, "out of date  imp: it is new\nperhaps      score\n"
			 "0 up to date, 1 out of date, 1 perhaps, 0 failed\n");
	strbuf_clear(&out);
	build_plan(w.build, REPORT_TEXT, &out);
	CHECK_STR(out.s, "run            ? s             imp  [mix]  it is new\n"
			 "maybe          ? s             score  [tool]  an input would be made anew; "
			 "unchanged bytes would "
			 "stop here\n"
			 "1 to run, 1 perhaps, 0 cached; about 0.0 s in all without 2 never run "
			 "before, 0.0 MB of "
			 "outputs\n");
	world_close(&w);
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	world_close(&w);
	CHECK(access(world_path(&w, "journal"), F_OK) == 0);
	build(&w, &(struct variant){"1", "2", 1, false, false}, BUILD_DRY_RUN);
	strbuf_clear(&out);
	build_status(w.build, REPORT_TEXT, &out);
	CHECK_STR(out.s, "out of date  score: parameter 'p' changed from '1' to '2'\n"
			 "1 up to date, 1 out of date, 0 perhaps, 0 failed\n");
	world_close(&w);
	strbuf_release(&out);
	world_release(&w);
}

/* Times of day to "T", how long it took to "D", how much memory to "M". */
static char *mask_times(char *text)
{
	char *to = text;
	for (char *p = text; *p;) {
		int n = 0;
		if (*p != ' ' && sscanf(p, "%*4d-%*2d-%*2d %*2d:%*2d:%*2dZ%n", &n) == 0 && n > 0) {
			*to++ = 'T';
			p += n;
		} else if (*p >= '0' && *p <= '9' && sscanf(p, "%*d.%*3d s%n", &n) == 0 && n > 0) {
			*to++ = 'D';
			p += n;
		} else if (*p >= '0' && *p <= '9' && sscanf(p, "%*d MB at its peak%n", &n) == 0 && n > 0) {
			*to++ = 'M';
			p += n;
		} else {
			*to++ = *p++;
		}
	}
	*to = '\0';
	return text;
}

TEST(log_lists_builds_and_actions)
{
	struct world w;
	struct strbuf out;
	world_init(&w, "w");
	strbuf_init(&out);
	CHECK(world_log(&w, NULL, REPORT_TEXT, &out, &w.err));
	CHECK_STR(out.s, "");
	world_write(&w, "a.txt", "one");
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	world_close(&w);
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	world_close(&w);
	CHECK(world_log(&w, NULL, REPORT_TEXT, &out, &w.err));
	mask_times(out.s);
	CHECK_STR(out.s, "build 1  T  run  imp  D  M  it is new\n"
			 "build 1  T  run  score  D  M  it is new\n"
			 "build 1  T  2 run, 0 cached, 0 failed, 0 skipped\n"
			 "build 2  T  0 run, 2 cached, 0 failed, 0 skipped\n");
	strbuf_clear(&out);
	CHECK(world_log(&w, "score", REPORT_TEXT, &out, &w.err));
	mask_times(out.s);
	CHECK_STR(out.s, "build 1  T  run  score  D  M  it is new\n");
	strbuf_release(&out);
	world_release(&w);
}

/* The values of members that no two runs share to one letter. */
static void mask_json(char *text)
{
	static const char *const member[] = {"\"time\":\"", "\"seconds\":", "\"peak_bytes\":", "\"available_bytes\":"};
	static const char letter[] = "TSMM";
	char *to = text;
	while (*text) {
		size_t k = 0;
		while (k < NELEM(member) && strncmp(text, member[k], strlen(member[k])))
			k++;
		for (size_t i = 0; i < (k < NELEM(member) ? strlen(member[k]) : 1); i++)
			*to++ = *text++;
		if (k == NELEM(member))
			continue;
		*to++ = letter[k];
		text += strcspn(text, letter[k] == 'T' ? "\"" : ",}");
	}
	*to = '\0';
}

/* Members as they stand in an object; it must be JSON. */
static void check_json(struct world *w, struct strbuf *got, const char *want)
{
	struct arena a = {0};
	struct json *root;
	struct err e;
	const char *text = arena_printf(&a, "{%s}", got->s);
	if (!json_parse(&a, (struct buf){text, strlen(text)}, NULL, 1, &root, &e))
		FAIL("%d:%d: %s", e.line, e.col, e.msg);
	mask_json(got->s);
	CHECK_STR(mask(w, got->s), want);
	strbuf_clear(got);
	arena_release(&a);
}

TEST(reports_are_json_too)
{
	struct world w;
	struct strbuf out;
	struct err e;
	world_init(&w, "w");
	world_write(&w, "a.txt", "one");
	strbuf_init(&out);
	build(&w, &(struct variant){"a\"\n\\b", "1", 1, false, false}, BUILD_DRY_RUN);
	build_status(w.build, REPORT_JSON, &out);
	check_json(&w, &out, "\"actions\":[\n"
		"{\"action\":\"imp\",\"rule\":\"mix\",\"state\":\"out of date\",\"why\":\"it is new\"},\n"
		"{\"action\":\"score\",\"rule\":\"tool\",\"state\":\"perhaps\"}],\"outputs\":[],"
		"\"up_to_date\":0,\"out_of_date\":1,\"perhaps\":1,\"failed\":0");
	build_plan(w.build, REPORT_JSON, &out);
	check_json(&w, &out, "\"actions\":[\n"
		"{\"action\":\"imp\",\"rule\":\"mix\",\"state\":\"run\",\"seconds\":S,\"memory_bytes\":null,\"bytes\":0,"
		"\"why\":\"it is new\"},\n"
		"{\"action\":\"score\",\"rule\":\"tool\",\"state\":\"maybe\",\"seconds\":S,\"memory_bytes\":null,\"bytes\":0,"
		"\"why\":\"an input would be made anew; unchanged bytes would stop here\"}],\"then\":[],"
		"\"run\":1,\"perhaps\":1,\"cached\":0,\"seconds\":S,\"bytes\":0,"
		"\"then_seconds\":null,\"memory_bytes\":null,\"available_bytes\":M,\"warnings\":[]");
	CHECK(build_why(w.build, "score", REPORT_JSON, &out, &e));
	check_json(&w, &out, "\"actions\":[\n{\"action\":\"score\",\"rule\":\"tool\",\"state\":\"not known yet\","
		"\"why\":\"an action before it would run\"}]");
	world_close(&w);
	build(&w, &(struct variant){"a\"\n\\b", "1", 1, false, false}, 0);
	world_close(&w);
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	CHECK(build_why(w.build, NULL, REPORT_JSON, &out, &e));
	check_json(&w, &out, "\"actions\":[\n{\"action\":\"imp\",\"rule\":\"mix\",\"state\":\"ran\",\"why\":"
		"\"parameter 'p' changed from 'a\\\"\\n\\\\b' to '1'\"},\n"
		"{\"action\":\"score\",\"rule\":\"tool\",\"state\":\"ran\",\"why\":\"input 'in' changed: imp\"}]");
	world_close(&w);
	CHECK(world_log(&w, "imp", REPORT_JSON, &out, &e));
	check_json(&w, &out, "\"log\":[\n"
		"{\"build\":1,\"time\":\"T\",\"how\":\"run\",\"action\":\"imp\",\"rule\":\"mix\",\"why\":\"it is new\","
		"\"seconds\":S,\"peak_bytes\":M},\n"
		"{\"build\":2,\"time\":\"T\",\"how\":\"run\",\"action\":\"imp\",\"rule\":\"mix\",\"why\":"
		"\"parameter 'p' changed from 'a\\\"\\n\\\\b' to '1'\",\"seconds\":S,\"peak_bytes\":M}]");
	CHECK(world_log(&w, NULL, REPORT_JSON, &out, &e));
	check_json(&w, &out, "\"log\":[\n"
		"{\"build\":1,\"time\":\"T\",\"how\":\"run\",\"action\":\"imp\",\"rule\":\"mix\",\"why\":\"it is new\","
		"\"seconds\":S,\"peak_bytes\":M},\n"
		"{\"build\":1,\"time\":\"T\",\"how\":\"run\",\"action\":\"score\",\"rule\":\"tool\",\"why\":\"it is new\","
		"\"seconds\":S,\"peak_bytes\":M},\n"
		"{\"build\":1,\"time\":\"T\",\"run\":2,\"cached\":0,\"failed\":0,\"skipped\":0},\n"
		"{\"build\":2,\"time\":\"T\",\"how\":\"run\",\"action\":\"imp\",\"rule\":\"mix\",\"why\":"
		"\"parameter 'p' changed from 'a\\\"\\n\\\\b' to '1'\",\"seconds\":S,\"peak_bytes\":M},\n"
		"{\"build\":2,\"time\":\"T\",\"how\":\"run\",\"action\":\"score\",\"rule\":\"tool\",\"why\":"
		"\"input 'in' changed: imp\",\"seconds\":S,\"peak_bytes\":M},\n"
		"{\"build\":2,\"time\":\"T\",\"run\":2,\"cached\":0,\"failed\":0,\"skipped\":0}]");
	CHECK(!world_log(&w, "imq", REPORT_JSON, &out, &e));
	CHECK_STR(e.msg, "no past build has an action 'imq'; did you mean 'imp'?");
	strbuf_release(&out);
	world_release(&w);
}

TEST(journal_survives_torn_tails_and_damage)
{
	struct world w;
	struct strbuf whole, out;
	struct rng r;
	struct err e;
	world_init(&w, "w");
	strbuf_init(&whole);
	strbuf_init(&out);
	world_write(&w, "a.txt", "tab\tline\nend");
	build(&w, &(struct variant){"a\tb\n\\c=d", "1", 1, false, false}, 0);
	world_close(&w);
	build(&w, &(struct variant){"plain", "1", 1, false, false}, 0);
	check_why(&w, "imp", "imp: ran: parameter 'p' changed from 'a\tb\n\\c=d' to 'plain'\n");
	world_close(&w);
	CHECK(file_read(&whole, world_path(&w, "journal"), &e));
	rng_init(&r, 11);
	for (int round = 0; round < 150; round++) {
		size_t keep = (size_t)rng_below(&r, whole.n + 1),
		       flip = (size_t)rng_below(&r, whole.n);
		whole.s[flip] ^= 1;
		CHECK(file_write(world_path(&w, "journal"), (struct buf){whole.s, keep}, 0644, &e));
		whole.s[flip] ^= 1;
		build(&w, &(struct variant){"plain", "1", 1, false, false}, 0);
		CHECK_INT(w.nran, 0);
		world_close(&w);
		strbuf_clear(&out);
		CHECK(world_log(&w, NULL, REPORT_TEXT, &out, &e));
		if (!strstr(out.s, "0 run, 2 cached"))
			FAIL("round %d: the newest build is not in the log: %s", round, out.s);
	}
	strbuf_release(&whole);
	strbuf_release(&out);
	world_release(&w);
}

TEST(nothing_changed_adds_two_short_lines)
{
	struct world w;
	struct strbuf before, after;
	struct err e;
	world_init(&w, "w");
	world_write(&w, "a.txt", "one");
	strbuf_init(&before);
	strbuf_init(&after);
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	world_close(&w);
	CHECK(file_read(&before, world_path(&w, "journal"), &e));
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	world_close(&w);
	CHECK(file_read(&after, world_path(&w, "journal"), &e));
	CHECK(after.n > before.n && after.n < before.n + 120);
	strbuf_release(&before);
	strbuf_release(&after);
	world_release(&w);
}

TEST(graphs_print_in_every_format)
{
	static const struct {
		const char *format, *want;
	} row[] = {
		{"dot", "digraph trim {\n\trankdir=LR;\n\tnode [shape=box];\n"
			"\tf0 [shape=note,label=\"a.txt\"];\n"
			"\ta0 [label=\"imp\",style=bold];\n\tf0 -> a0 [label=\"file\"];\n"
			"\ta1 [label=\"score\",style=bold];\n\ta0 -> a1 [label=\"in\"];\n}\n"},
		{"mermaid", "flowchart LR\n\tf0>\"a.txt\"]\n\ta0[\"imp\"]\n\tf0 --> a0\n"
			    "\ta1[\"score\"]\n\ta0 --> a1\n"},
		{"ninja", "rule mix\n  command = : $out\nrule tool\n  command = : $out\n"
			  "rule file\n  command = : $out\nbuild imp: mix a.txt\nbuild score: tool "
			  "imp\n"},
		/* the keys here pin how a key is made: a change rebuilds everything everywhere */
		{"json", "{\"actions\":[\n{\"name\":\"imp\",\"rule\":\"mix\",\"version\":1,"
			 "\"state\":\"run\","
			 "\"key\":\"3af98a65a7bd070b9a093e895de9f776\",\"parameters\":{\"name\":"
			 "\"imp\","
			 "\"p\":\"1\"},\"tools\":{},\"inputs\":[{\"name\":\"file\",\"file\":\"a."
			 "txt\","
			 "\"digest\":\"0a1c6d4cf41eb499911faba7321fe1a0\"}],\"outputs\":{\"out\":"
			 "\"72dd530e511694f5882e8770f1484dee\"}},\n"
			 "{\"name\":\"score\",\"rule\":\"tool\",\"version\":1,\"state\":\"run\","
			 "\"key\":\"037b94a5c00fb62b9ea7230963a5bb34\",\"parameters\":{\"name\":"
			 "\"score\","
			 "\"p\":\"1\"},\"tools\":{\"hammer\":\"1.0\"},\"inputs\":[{\"name\":\"in\","
			 "\"action\":\"imp\",\"digest\":\"72dd530e511694f5882e8770f1484dee\"}],"
			 "\"outputs\":"
			 "{\"out\":\"d04258f38515702e130244df0e1d7f4d\"}}\n]}\n"},
	};
	struct world w;
	struct strbuf out;
	struct err e;
	world_init(&w, "w");
	world_write(&w, "a.txt", "one");
	strbuf_init(&out);
	build(&w, &(struct variant){"1", "1", 1, false, false}, 0);
	for (size_t i = 0; i < NELEM(row); i++) {
		strbuf_clear(&out);
		CHECK(build_graph(w.build, row[i].format, &out, &e));
		CHECK_STR(mask(&w, out.s), row[i].want);
	}
	CHECK(!build_graph(w.build, "dto", &out, &e));
	CHECK_STR(e.msg, "unknown graph format 'dto'; did you mean 'dot'?");
	strbuf_release(&out);
	world_close(&w);
	world_release(&w);
}

/* ---- events ---- */

static void collect(void *ctx, const struct build_event *ev)
{
	struct build_event copy = *ev;
	copy.time_ns = 0;
	copy.wall_ns = 0;
	event_write(ctx, &copy);
}

static void report_progress(struct rule_call *c, void *ctx)
{
	(void)ctx;
	call_progress(c, &(struct progress){3, 10, "rows", "loss 1.5"});
	call_progress(c, &(struct progress){4, 10, "rows", NULL}); /* too soon after the last */
	call_warn(c, "row %d is \"long\"", 7);
}

TEST(events_tell_the_build_as_lines_of_json)
{
	struct world w;
	struct strbuf out;
	world_init(&w, "w");
	world_write(&w, "a.txt", "one");
	strbuf_init(&out);
	w.on_event = collect;
	w.on_event_ctx = &out;
	w.in_rule = report_progress;
	w.jobs = 1;
	REQUIRE(world_open(&w));
	world_action(&w, "imp", &mix_rule, NULL, "@a.txt");
	world_run(&w);
	world_close(&w);
	w.in_rule = NULL;
	REQUIRE(world_open(&w));
	world_action(&w, "imp", &mix_rule, NULL, "@a.txt");
	world_action(&w, "bad", &fail_rule, NULL, "imp");
	world_action(&w, "after", &mix_rule, NULL, "bad");
	world_run(&w);
	world_close(&w);
	CHECK_STR(out.s,
		"{\"event\":\"add\",\"time_ns\":0,\"action\":\"imp\",\"rule\":\"mix\"}\n"
		"{\"event\":\"begin\",\"time_ns\":0}\n"
		"{\"event\":\"run\",\"time_ns\":0,\"action\":\"imp\",\"rule\":\"mix\",\"text\":"
		"\"it is new\"}\n"
		"{\"event\":\"progress\",\"time_ns\":0,\"action\":\"imp\",\"rule\":\"mix\","
		"\"done\":3,"
		"\"total\":10,\"unit\":\"rows\",\"text\":\"loss 1.5\"}\n"
		"{\"event\":\"warn\",\"time_ns\":0,\"action\":\"imp\",\"rule\":\"mix\",\"text\":"
		"\"row 7 is \\\"long\\\"\"}\n"
		"{\"event\":\"done\",\"time_ns\":0,\"action\":\"imp\",\"rule\":\"mix\",\"wall_ns\":"
		"0}\n"
		"{\"event\":\"end\",\"time_ns\":0,\"run\":1,\"cached\":0,\"failed\":0,\"skipped\":"
		"0,"
		"\"would_run\":0,\"unknown\":0,\"written\":0,\"interrupted\":false}\n"
		"{\"event\":\"add\",\"time_ns\":0,\"action\":\"imp\",\"rule\":\"mix\"}\n"
		"{\"event\":\"add\",\"time_ns\":0,\"action\":\"bad\",\"rule\":\"fail\"}\n"
		"{\"event\":\"add\",\"time_ns\":0,\"action\":\"after\",\"rule\":\"mix\"}\n"
		"{\"event\":\"begin\",\"time_ns\":0}\n"
		"{\"event\":\"hit\",\"time_ns\":0,\"action\":\"imp\",\"rule\":\"mix\"}\n"
		"{\"event\":\"run\",\"time_ns\":0,\"action\":\"bad\",\"rule\":\"fail\",\"text\":"
		"\"it is new\"}\n"
		"{\"event\":\"fail\",\"time_ns\":0,\"action\":\"bad\",\"rule\":\"fail\",\"text\":"
		"\"bad: loss is NaN\"}\n"
		"{\"event\":\"skip\",\"time_ns\":0,\"action\":\"after\",\"rule\":\"mix\",\"text\":"
		"\"'bad' failed\"}\n"
		"{\"event\":\"end\",\"time_ns\":0,\"run\":0,\"cached\":1,\"failed\":1,\"skipped\":"
		"1,"
		"\"would_run\":0,\"unknown\":0,\"written\":0,\"interrupted\":false}\n");
	strbuf_release(&out);
	world_release(&w);
}
