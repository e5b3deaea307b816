/* Datasets of a spec through the rules: parameters say all that the spec said and nothing of this machine;
 * rows, split and tokenise give what compiler/data gives; appended rows are tokenised alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval.h"
#include "file.h"
#include "task_tokenizer.h"
#include "test.h"
#include "tok.h"
#include "world.h"

struct project {
	struct arena a;
	const char *dir;
	struct spec *spec;
	struct dataset d;
};

static void put(struct project *p, const char *name, const char *text)
{
	struct err e;
	if (!p->dir) {
		p->dir = arena_strdup(&p->a, test_tmpdir());
		put(p, ".trim-root", "");
	}
	const char *path = arena_printf(&p->a, "%s/%s", p->dir, name), *slash = strrchr(path, '/');
	if (!make_directories(arena_strndup(&p->a, path, (size_t)(slash - path)), &e) ||
		!file_write(path, (struct buf){text, strlen(text)}, 0644, &e))
		FAIL("%s", e.msg);
}

static bool open_spec(struct project *p, const char *dataset, struct err *e)
{
	const char *data = getenv("TRIM_TEST_DATA");
	struct spec_root root = {"data", data ? data : "../shared/data"};
	struct spec_roots roots = {&root, 1};
	struct spec_log log;
	put(p, "m", "");
	put(p, "spec.xml", arena_printf(&p->a, "<trim xmlns='urn:trim:spec:1' name='x'><model path='m'/>"
		"%s"
		"<hardware name='h' cpu='x86-64-v3'/><target name='t' hardware='h'/></trim>", dataset));
	spec_log_init(&log, &p->a);
	if (spec_load(&p->a, arena_printf(&p->a, "%s/spec.xml", p->dir),
		    &(struct spec_options){&roots, false}, &p->spec, &log))
		return dataset_open(&p->a, &p->spec->dataset[0], &p->d, e);
	if (e)
		*e = log.msg[0].err;
	return false;
}

/* ---- parameters ---- */

static void check_same_task(struct project *p, const struct task *got, const struct task *want)
{
	struct strbuf a, b;
	(void)p;
	strbuf_init(&a);
	strbuf_init(&b);
	task_write(&a, got);
	task_write(&b, want);
	CHECK(a.n == b.n && !memcmp(a.s, b.s, a.n));
	strbuf_release(&a);
	strbuf_release(&b);
}

static void check_fields(struct project *p, const struct fields *f)
{
	for (size_t i = 0; i < f->nfield; i++)
		if (strstr(f->field[i].value, p->dir) || strstr(f->field[i].value, "data:"))
			FAIL("parameter %s: '%s'", f->field[i].name, f->field[i].value);
}

static void check_round_trip(struct project *p)
{
	struct fields tokenise = {0}, split = {0};
	struct task task, want = dataset_task(&p->d, 777);
	struct split_rule *rule;
	struct err e;
	size_t n;
	dataset_tokenise_param(&p->a, &p->d, 777, &tokenise);
	check_fields(p, &tokenise);
	REQUIRE(fields_task(&p->a, &tokenise, &task, &e));
	check_same_task(p, &task, &want);
	for (size_t i = 0; i < p->d.nfile; i++) {
		struct fields rows = {0};
		struct data_source source;
		dataset_rows_param(&p->a, &p->d, i, &rows);
		check_fields(p, &rows);
		/* What only tokenising looks at is no reason to read rows again. */
		CHECK(!fields_get(&rows, "length") && !fields_get(&rows, "delimiter"));
		REQUIRE(fields_task(&p->a, &rows, &task, &e));
		fields_source(&rows, &task, &source);
		CHECK(source.format == p->d.source.format && source.rows == p->d.source.rows);
		CHECK_STR(source.by ? source.by : "", p->d.file[i].by ? p->d.file[i].by : "");
		CHECK_STR(task.prompt, want.prompt);
	}
	dataset_split_param(&p->a, &p->d, 5, &split);
	check_fields(p, &split);
	CHECK_INT(fields_int(&split, "seed"), 5);
	fields_split(&p->a, &split, &rule, &n);
	CHECK_INT(n, p->d.nrule);
	for (size_t i = 0; i < n; i++) {
		const struct split_rule *w = &p->d.rule[i];
		CHECK_STR(rule[i].path ? rule[i].path : "", w->path ? w->path : "");
		for (int k = 0; k < NSPLIT; k++) {
			CHECK(rule[i].part[k].from == w->part[k].from &&
				rule[i].part[k].share == w->part[k].share);
			if (w->part[k].from == FROM_FILES)
				CHECK_STR(rule[i].part[k].files, w->part[k].files);
			if (w->part[k].from == FROM_IDS)
				CHECK_STR(rule[i].part[k].ids.name, w->part[k].ids.name);
		}
	}
}

#define SHARES "<split test='12.5%' train='60%' calibration='20%' validation='7.5%'/>"
#define CHOICES "<choice>yes</choice><choice> no {q}</choice>"

TEST(parameters_say_what_the_spec_said)
{
	static const struct {
		const char *dataset;
		size_t nfile;
	} cases[] = {
		{"<dataset name='d' path='j.jsonl'>" SHARES "<task kind='choice' length='50' delimiter='&#10;' "
		 "on-long='cut-prompt'><prompt> {q}&#10;{{x}} </prompt>" CHOICES "<answer field='a.b'/></task>"
		 "</dataset>", 1},
		{"<dataset name='d' path='text' format='text'>" SHARES "<task kind='text' row='line'/></dataset>", 2},
		{"<dataset name='d' path='text' format='text'><split test='10%' by='@file'/>"
		 "<split path='text/b.txt' test='20%' train='80%'/><task kind='text' row='file' on-long='skip'/>"
		 "</dataset>", 2},
		{"<dataset name='d' format='csv'><split path='c/*.csv' by='@key' test='ids:ids.txt' train='3%'/>"
		 "<task kind='choice'><prompt>{1}</prompt><choices field='2'/><answer field='3'/></task></dataset>",
			1},
		{"<dataset name='d' format='jsonl'><split test='j.jsonl' train='k/*.jsonl'/>"
		 "<task kind='completion'><prompt>{q}</prompt><answer>{a} !</answer></task></dataset>", 2},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct project p = {0};
		struct err e;
		put(&p, "j.jsonl", "");
		put(&p, "k/k.jsonl", "");
		put(&p, "text/a.txt", "x");
		put(&p, "text/b.txt", "y");
		put(&p, "c/c.csv", "");
		put(&p, "ids.txt", "1");
		if (!open_spec(&p, cases[i].dataset, &e)) {
			FAIL("case %d: %s", (int)i, e.msg);
		} else {
			CHECK_INT(p.d.nfile, cases[i].nfile);
			check_round_trip(&p);
		}
		arena_release(&p.a);
	}
}

TEST(a_file_is_split_by_its_own_rule)
{
	struct project p = {0};
	struct err e;
	put(&p, "text/a.txt", "x");
	put(&p, "text/b.txt", "y");
	REQUIRE(open_spec(&p, "<dataset name='d' path='text' format='text'><split test='10%' by='@file'/>"
		"<split path='text/b.txt' test='20%' train='80%'/><task kind='text' row='file'/></dataset>", &e));
	CHECK_STR(p.d.file[0].name, "text/a.txt");
	CHECK_STR(p.d.file[0].by, "@file");
	CHECK(!p.d.file[1].by && !p.d.rule[0].path);
	CHECK_STR(p.d.rule[1].path, "text/b.txt");
	CHECK_INT(p.d.rule[1].part[SPLIT_TEST].share, 200000);
	CHECK(p.d.task.on_long == LONG_WINDOWS);
	CHECK_INT(dataset_task(&p.d, 99).length_tokens, 99);
	arena_release(&p.a);
}

TEST(a_csv_has_a_header_unless_columns_have_numbers)
{
	static const struct {
		const char *task;
		enum data_format format;
	} cases[] = {
		{"<task kind='completion'><prompt>{q}</prompt><answer field='2'/></task>", DATA_CSV_NO_HEADER},
		{"<task kind='completion'><prompt>{q} 1</prompt><answer field='a2'/></task>", DATA_CSV},
		{"<task kind='choice'><prompt>{q}</prompt><choice>{1}</choice><choice>x</choice>"
		 "<answer field='a'/></task>", DATA_CSV_NO_HEADER},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct project p = {0};
		struct err e;
		put(&p, "c.csv", "");
		REQUIRE(open_spec(&p, arena_printf(&p.a, "<dataset name='d' path='c.csv'>%s%s</dataset>",
			SHARES, cases[i].task), &e));
		CHECK_INT(p.d.source.format, cases[i].format);
		arena_release(&p.a);
	}
}

/* ---- the rules ---- */

struct actions {
	struct action *rows[4], *split, *tokens[NSPLIT];
};

/* The actions as a plan makes them, with the tokenizer as bytes. */
static void add_actions(struct world *w, struct project *p, struct buf tokenizer, struct actions *out)
{
	struct input in[8];
	struct fields split = {0}, tokenise = {0};
	size_t n = 0;
	for (size_t i = 0; i < p->d.nfile; i++) {
		struct fields rows = {0};
		struct input file = input_file("file", p->d.file[i].path);
		dataset_rows_param(&p->a, &p->d, i, &rows);
		out->rows[i] = build_action(w->build, &(struct action_def){arena_printf(&p->a, "rows-%zu", i),
			&rule_rows, rows, &file, 1});
		in[n++] = input_output("rows", out->rows[i], 0);
	}
	size_t nrows = n;
	for (size_t i = 0; i < p->d.nrule * NSPLIT; i++)
		if (p->d.ids[i].path)
			in[n++] = input_file(arena_printf(&p->a, "ids.%zu.%s", i / NSPLIT,
				split_names[i % NSPLIT]), p->d.ids[i].path);
	dataset_split_param(&p->a, &p->d, 0, &split);
	out->split = build_action(w->build, &(struct action_def){"split", &rule_split, split, in, n});
	dataset_tokenise_param(&p->a, &p->d, 512, &tokenise);
	in[nrows] = input_bytes("tokenizer", tokenizer);
	for (int k = 0; k < NSPLIT; k++) {
		in[nrows + 1] = input_output("list", out->split, (size_t)k);
		out->tokens[k] = build_action(w->build, &(struct action_def){
			arena_printf(&p->a, "tokenise-%s", split_names[k]), &rule_tokenise, tokenise, in, nrows + 2});
		build_want(w->build, out->tokens[k]);
	}
}

static bool read_tokenizer(struct project *p, struct strbuf *out)
{
	const char *data = test_data();
	struct err e;
	strbuf_init(out);
	if (!data)
		return false;
	if (tok_read(&p->a, arena_printf(&p->a, "%s/models/stories260K/hf", data), out, &e))
		return true;
	FAIL("%s", e.msg);
	return false;
}

static bool run(struct world *w, struct project *p, struct buf tokenizer, struct actions *out)
{
	if (!world_open(w)) {
		FAIL("%s", w->err.msg);
		return false;
	}
	add_actions(w, p, tokenizer, out);
	world_run(w);
	if (!w->ok)
		FAIL("%s", w->err.msg);
	return w->ok;
}

static struct buf output(struct world *w, struct project *p, struct action *a, size_t n)
{
	struct buf b = {0};
	struct err e;
	if (!build_read(w->build, a, n, &p->a, &b, &e))
		FAIL("%s", e.msg);
	return b;
}

static void check_equal(struct buf got, const struct strbuf *want)
{
	CHECK(got.n == want->n && !memcmp(got.p, want->s, got.n));
}

TEST(rules_split_and_tokenise_pubmedqa)
{
	static const char spec[] = "<dataset name='pubmedqa' path='data:datasets/pubmedqa/ori_pqal.json'>"
		"<split test='ids:data:datasets/pubmedqa/test_ground_truth.json' train='80%' calibration='10%' "
		"validation='10%'/><task kind='choice' length='512' on-long='cut-prompt'>"
		"<prompt>{CONTEXTS[*]}&#10;Question: {QUESTION}&#10;Answer:</prompt>"
		"<choice>yes</choice><choice>no</choice><choice>maybe</choice><answer field='final_decision'/>"
		"</task></dataset>";
	struct project p = {0};
	struct strbuf block, want;
	struct dataset_rows rows;
	struct split_counts counts;
	struct tokenizer tokenizer;
	struct actions act;
	struct world w;
	struct err e;
	if (!read_tokenizer(&p, &block))
		return;
	if (!open_spec(&p, spec, &e)) {
		FAIL("%s", e.msg);
		return;
	}
	/* Its published split: 276 yes, 169 no, 55 maybe. */
	REQUIRE(dataset_read(&p.d, &rows, &e) &&
		split_count(&p.a, rows.t, rows.nt, &rows.split, &p.d.task, &counts, &e));
	CHECK_INT(rows.split.nrow[SPLIT_TEST], 500);
	CHECK_INT(rows.split.nrow[NSPLIT], 0);
	for (int i = 0; i < 3; i++) {
		static const size_t all[] = {552, 338, 110}, test[] = {276, 169, 55};
		size_t sum = 0;
		for (int k = 0; k <= NSPLIT; k++)
			sum += counts.n[i][k];
		CHECK_INT(sum, all[i]);
		CHECK_INT(counts.n[i][SPLIT_TEST], test[i]);
	}

	world_init(&w, "pubmedqa");
	w.jobs = 2;
	REQUIRE(run(&w, &p, strbuf_buf(&block), &act));
	CHECK_INT(w.result.nrun, 6);
	check_equal(output(&w, &p, act.rows[0], 0), &rows.bytes[0]);
	REQUIRE(tokenizer_load(&tokenizer, strbuf_buf(&block), &e));
	struct tokeniser tok = task_tokenizer(&tokenizer);
	struct task task = dataset_task(&p.d, 512);
	for (int k = 0; k < NSPLIT; k++) {
		struct split_list list;
		struct token_table table;
		strbuf_init(&want);
		split_list_write(&want, rows.t, rows.nt, &rows.split, (enum split)k, 0);
		check_equal(output(&w, &p, act.split, (size_t)k), &want);
		REQUIRE(split_list_open(&list, strbuf_buf(&want), &e));
		REQUIRE(token_table_open(&table, output(&w, &p, act.tokens[k], 0), &e));
		CHECK_INT(table.nrecord, list.n);
		struct tokenise_job job = {.t = rows.t, .nt = rows.nt, .list = &list, .task = &task,
			.tok = &tok, .made_by = table.made_by};
		struct strbuf tokens;
		strbuf_init(&tokens);
		REQUIRE(data_tokenise(&job, &tokens, &e));
		check_equal(output(&w, &p, act.tokens[k], 0), &tokens);
		for (uint64_t i = 0; i < table.nrecord; i++) {
			CHECK_INT(table.record[i].nanswer, 3);
			CHECK(table.record[i].gold >= 0 && table.record[i].prompt_tokens <= 512);
			CHECK_INT(table.token[table.record[i].token_at], 1);
		}
		strbuf_release(&tokens);
		strbuf_release(&want);
	}
	world_close(&w);
	world_release(&w);
	dataset_rows_release(&rows);
	strbuf_release(&block);
	arena_release(&p.a);
}

static const char *many_rows(struct project *p, int n)
{
	struct strbuf b;
	strbuf_init(&b);
	for (int i = 0; i < n; i++)
		strbuf_addf(&b, "{\"q\":\"What is %d?\",\"a\":\"It is %d.\"}\n", i, i * i % 97);
	const char *text = arena_strdup(&p->a, b.s);
	strbuf_release(&b);
	return text;
}

/* The same rows in one store after another, and all at once in a new one. */
TEST(appended_rows_give_what_all_rows_give)
{
	static const char spec[] = "<dataset name='d' path='r.jsonl'>" SHARES
		"<task kind='completion'><prompt>{q}</prompt><answer field='a'/></task></dataset>";
	struct project p = {0};
	struct strbuf block;
	struct actions act;
	struct world first, fresh;
	struct buf want[NSPLIT];
	struct err e;
	if (!read_tokenizer(&p, &block))
		return;
	put(&p, "r.jsonl", many_rows(&p, 300));
	REQUIRE(open_spec(&p, spec, &e));
	world_init(&first, "first");
	REQUIRE(run(&first, &p, strbuf_buf(&block), &act));
	CHECK_INT(first.result.nrun, 6);
	world_close(&first);
	REQUIRE(world_open(&first));
	add_actions(&first, &p, strbuf_buf(&block), &act);
	world_run(&first);
	CHECK_INT(first.result.nrun, 0);
	world_close(&first);

	put(&p, "r.jsonl", many_rows(&p, 330));
	world_init(&fresh, "fresh");
	REQUIRE(run(&fresh, &p, strbuf_buf(&block), &act));
	for (int k = 0; k < NSPLIT; k++)
		want[k] = output(&fresh, &p, act.tokens[k], 0);
	world_close(&fresh);
	REQUIRE(run(&first, &p, strbuf_buf(&block), &act));
	CHECK_INT(first.result.nrun, 6);
	for (int k = 0; k < NSPLIT; k++) {
		struct buf got = output(&first, &p, act.tokens[k], 0);
		CHECK(got.n == want[k].n && !memcmp(got.p, want[k].p, got.n));
	}
	world_close(&first);
	world_release(&first);
	world_release(&fresh);
	strbuf_release(&block);
	arena_release(&p.a);
}

TEST(bad_rows_name_file_and_line)
{
	struct project p = {0};
	struct actions act;
	struct world w;
	struct err e;
	put(&p, "sub/r.jsonl", "{\"q\":\"x\",\"a\":\"y\"}\n{\"q\":\"x\"}\n");
	REQUIRE(open_spec(&p, "<dataset name='d' path='sub/r.jsonl'>" SHARES
		"<task kind='completion'><prompt>{q}</prompt><answer field='a'/></task></dataset>", &e));
	world_init(&w, "bad");
	REQUIRE(world_open(&w));
	add_actions(&w, &p, (struct buf){"", 0}, &act);
	world_run(&w);
	CHECK(!w.ok && w.err.kind == ERR_SPEC && w.err.line == 2);
	CHECK_STR(w.err.file, "sub/r.jsonl");
	world_close(&w);
	world_release(&w);
	arena_release(&p.a);
}
