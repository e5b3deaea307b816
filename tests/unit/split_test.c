#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "split.h"

enum { TABLES_MAX = 4 };

/* Row tables of texts, as rules would hand them over. */
struct set {
	struct arena a;
	struct task task;
	struct data_source source;
	struct strbuf bytes[TABLES_MAX];
	struct row_table t[TABLES_MAX];
	size_t nt;
	struct err e;
};

static void set_init(struct set *s, enum data_format format, const char *prompt, const char *answer)
{
	*s = (struct set){.source = {.format = format}};
	s->task = (struct task){.kind = answer ? TASK_COMPLETION : TASK_TEXT, .length_tokens = 64,
		.prompt = prompt, .answer = answer};
	if (!task_init(&s->a, &s->task, &s->e))
		FAIL("%s", s->e.msg);
	s->source.task = &s->task;
}

static void set_release(struct set *s)
{
	for (size_t i = 0; i < s->nt; i++)
		strbuf_release(&s->bytes[i]);
	arena_release(&s->a);
}

static void set_add(struct set *s, const char *name, struct buf text)
{
	struct data_file f = {name, text};
	struct strbuf *b = &s->bytes[s->nt];
	strbuf_init(b);
	if (!data_read(&s->source, &f, b, &s->e) ||
		!row_table_open(&s->t[s->nt], strbuf_buf(b), &s->e))
		FAIL("%s:%d: %s", name, s->e.line, s->e.msg);
	s->nt++;
}

static void set_add_text(struct set *s, const char *name, const char *text)
{
	set_add(s, name, (struct buf){text, strlen(text)});
}

static struct split_rule shares(uint32_t test, uint32_t validation, uint32_t calibration,
	uint32_t train)
{
	uint32_t percent[] = {[SPLIT_TEST] = test, [SPLIT_VALIDATION] = validation,
		[SPLIT_CALIBRATION] = calibration, [SPLIT_TRAIN] = train};
	struct split_rule r = {0};
	for (int i = 0; i < NSPLIT; i++) {
		r.part[i].from = percent[i] ? FROM_SHARE : FROM_NOWHERE;
		r.part[i].share = percent[i] * (SHARE_ALL / 100);
	}
	return r;
}

static bool split(struct set *s, const struct split_rule *r, size_t n, struct split_result *out)
{
	return data_split(&s->a, s->t, s->nt, r, n, out, &s->e);
}

/* n rows of which some are equal, as JSONL; the order is the caller's. */
static void put_rows(struct strbuf *out, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		strbuf_addf(out, "{\"q\":\"question %zu\",\"a\":\"%zu\",\"x\":%zu}\n", i % 900, i % 900 % 7, i);
}

TEST(appending_rows_moves_none)
{
	struct set before, after;
	struct split_result rb, ra;
	struct split_rule rule = shares(20, 10, 10, 60);
	struct strbuf text;
	strbuf_init(&text);
	put_rows(&text, 0, 500);
	set_init(&before, DATA_JSONL, "{q}", "{a}");
	set_add(&before, "d.jsonl", strbuf_buf(&text));
	set_init(&after, DATA_JSONL, "{q}", "{a}");
	put_rows(&text, 500, 700);
	set_add(&after, "renamed.jsonl", strbuf_buf(&text));
	REQUIRE(split(&before, &rule, 1, &rb) && split(&after, &rule, 1, &ra));
	CHECK_INT(after.t[0].nrow, 1200);
	CHECK(!memcmp(rb.of[0], ra.of[0], 500));
	for (size_t i = 0; i < 300; i++) /* rows 900 ... 1199 are rows 0 ... 299 again */
		CHECK_INT(ra.of[0][900 + i], ra.of[0][i]);
	for (int k = 0; k < NSPLIT; k++)
		CHECK(rb.nrow[k] && ra.nrow[k] > rb.nrow[k]);
	strbuf_release(&text);
	set_release(&before);
	set_release(&after);
}

TEST(other_shares_move_no_test_row)
{
	static const uint32_t table[][4] = {{20, 10, 10, 60}, {20, 0, 0, 80}, {20, 30, 30, 20},
		{20, 1, 1, 1}, {30, 10, 10, 50}, {100, 0, 0, 0}};
	struct set s;
	struct split_result first, r;
	struct strbuf text;
	strbuf_init(&text);
	put_rows(&text, 0, 900);
	set_init(&s, DATA_JSONL, "{q}", "{a}");
	set_add(&s, "d.jsonl", strbuf_buf(&text));
	for (size_t i = 0; i < NELEM(table); i++) {
		struct split_rule rule = shares(table[i][0], table[i][1], table[i][2], table[i][3]);
		REQUIRE(split(&s, &rule, 1, &r));
		size_t sum = 0;
		for (int k = 0; k <= NSPLIT; k++)
			sum += r.nrow[k];
		CHECK_INT(sum, 900);
		if (!i)
			first = r;
		for (size_t k = 0; k < 900; k++) {
			bool was = first.of[0][k] == SPLIT_TEST, is = r.of[0][k] == SPLIT_TEST;
			if (was > is || (table[i][0] == 20 && was != is))
				FAIL("row %zu under shares %zu", k, i);
		}
		/* A share is what it says, within four standard deviations of a binomial. */
		for (int k = 0; k < NSPLIT; k++) {
			static const int column[] = {[SPLIT_TEST] = 0, [SPLIT_VALIDATION] = 1,
				[SPLIT_CALIBRATION] = 2, [SPLIT_TRAIN] = 3};
			double p = table[i][column[k]] / 100.0, off = (double)r.nrow[k] - 900 * p;
			if (off * off > 16 * 900 * p * (1 - p))
				FAIL("%zu rows for a share of %g", r.nrow[k], p);
		}
	}
	strbuf_release(&text);
	set_release(&s);
}

/* Places are for ever: a row must be test in every spec and with every later trim. */
TEST(test_has_the_lowest_places_and_places_never_change)
{
	struct set s;
	struct split_result r;
	struct split_rule rule = shares(20, 10, 10, 60);
	struct strbuf text;
	char hex[DIGEST_HEX];
	strbuf_init(&text);
	put_rows(&text, 0, 800);
	set_init(&s, DATA_JSONL, "{q}", "{a}");
	set_add(&s, "d.jsonl", strbuf_buf(&text));
	REQUIRE(split(&s, &rule, 1, &r));
	for (size_t i = 0; i < 800; i++) {
		double place = (double)s.t[0].row[i].place.hi * 0x1p-64;
		enum split want = place < 0.2 ? SPLIT_TEST
			: place < 0.3	      ? SPLIT_VALIDATION
			: place < 0.4	      ? SPLIT_CALIBRATION
					      : SPLIT_TRAIN;
		CHECK_INT(r.of[0][i], want);
	}
	digest_hex(s.t[0].row[0].place, hex);
	CHECK_STR(hex, "56b8fc84cba7d77494314449ea17c096");
	digest_hex(s.t[0].row[0].digest, hex);
	CHECK_STR(hex, "ee49cb5d25b72c0cef977a0681db128f");
	strbuf_release(&text);
	set_release(&s);
}

TEST(lists_hold_their_split_in_an_order_of_seed_and_rows_alone)
{
	struct set s, mixed;
	struct split_result r, rm;
	struct split_rule rule = shares(20, 10, 10, 60);
	struct strbuf text, list[3];
	struct split_list l, other;
	set_init(&s, DATA_JSONL, "{q}", "{a}");
	set_init(&mixed, DATA_JSONL, "{q}", "{a}");
	strbuf_init(&text);
	put_rows(&text, 0, 1000);
	set_add(&s, "d.jsonl", strbuf_buf(&text));
	/* The same rows in another order, in two files. */
	strbuf_clear(&text);
	put_rows(&text, 400, 600);
	set_add(&mixed, "e.jsonl", strbuf_buf(&text));
	strbuf_clear(&text);
	put_rows(&text, 0, 400);
	set_add(&mixed, "f.jsonl", strbuf_buf(&text));
	REQUIRE(split(&s, &rule, 1, &r) && split(&mixed, &rule, 1, &rm));
	for (int i = 0; i < 3; i++)
		strbuf_init(&list[i]);
	split_list_write(&list[0], s.t, s.nt, &r, SPLIT_TRAIN, 42);
	split_list_write(&list[1], mixed.t, mixed.nt, &rm, SPLIT_TRAIN, 42);
	split_list_write(&list[2], s.t, s.nt, &r, SPLIT_TRAIN, 43);
	CHECK(list[0].n == list[1].n && !memcmp(list[0].s, list[1].s, list[0].n));
	REQUIRE(split_list_open(&l, strbuf_buf(&list[0]), &s.e));
	REQUIRE(split_list_open(&other, strbuf_buf(&list[2]), &s.e));
	CHECK_INT(l.split, SPLIT_TRAIN);
	CHECK_INT(l.n, r.nrow[SPLIT_TRAIN]);
	CHECK(other.n == l.n && memcmp(l.row, other.row, l.n * sizeof(*l.row)) != 0);
	size_t found = 0;
	for (size_t i = 0; i < s.t[0].nrow; i++) {
		bool in = false;
		for (size_t k = 0; k < l.n; k++)
			in = in || digest_equal(l.row[k], s.t[0].row[i].digest);
		found += in;
		CHECK(in == (r.of[0][i] == SPLIT_TRAIN));
	}
	CHECK_INT(found, l.n);
	CHECK(!split_list_open(&l, (struct buf){list[0].s, list[0].n - 8}, &s.e));
	for (int i = 0; i < 3; i++)
		strbuf_release(&list[i]);
	strbuf_release(&text);
	set_release(&s);
	set_release(&mixed);
}

TEST(files_and_keys_claim_before_shares_divide)
{
	static const char json[] = "{\"k1\":{\"q\":\"1\",\"a\":\"1\"},\"k2\":{\"q\":\"2\",\"a\":\"1\"},"
				   "\"k3\":{\"q\":\"3\",\"a\":\"1\"}}";
	struct set s;
	struct split_result r;
	set_init(&s, DATA_JSON, "{q}", "{a}");
	set_add_text(&s, "x/a.json", json);
	set_add_text(&s, "x/b.json", "[{\"q\":\"1\",\"a\":\"1\"}]");
	struct split_rule rule[2] = {{0}, {.path = "x/b.json"}};
	rule[0].part[SPLIT_TEST] = (struct split_part){.from = FROM_IDS, .ids = {"ids", {" k3\r\n\nk1\n", 9}}};
	rule[0].part[SPLIT_TRAIN] = (struct split_part){.from = FROM_SHARE, .share = SHARE_ALL};
	rule[1].part[SPLIT_CALIBRATION] = (struct split_part){.from = FROM_FILES, .files = "x/*.json"};
	REQUIRE(split(&s, rule, 2, &r));
	CHECK_INT(r.of[0][0], SPLIT_TEST);
	CHECK_INT(r.of[0][1], SPLIT_TRAIN);
	CHECK_INT(r.of[0][2], SPLIT_TEST);
	CHECK_INT(r.of[1][0], SPLIT_CALIBRATION);
	rule[0].part[SPLIT_TEST].ids.bytes = (struct buf){"{\"k2\": \"yes\"}", 13};
	REQUIRE(split(&s, rule, 2, &r));
	CHECK(r.of[0][0] == SPLIT_TRAIN && r.of[0][1] == SPLIT_TEST && r.of[0][2] == SPLIT_TRAIN);
	set_release(&s);
}

#define IDS(text) {.from = FROM_IDS, .ids = {"ids", {text, sizeof(text) - 1}}}
#define SHARE(percent) {.from = FROM_SHARE, .share = (percent) * 10000}
#define FILES(path) {.from = FROM_FILES, .files = path}

TEST(splits_that_cannot_be_are_refused)
{
	static const char json[] = "{\"k1\":{\"q\":\"1\",\"a\":\"1\"},\n\"k2\":{\"q\":\"2\",\"a\":\"1\"}}";
	static const struct {
		struct split_rule rule[2];
		size_t n;
		const char *want;
	} table[] = {
		{{{NULL, {SHARE(60), SHARE(41)}}}, 1, "shares of 101% in one <split>"},
		{{{NULL, {SHARE(50)}}, {NULL, {SHARE(50)}}}, 2, "two <split> without a path"},
		{{{"d.json", {SHARE(50)}}, {"*.json", {SHARE(50)}}}, 2,
			"file 'd.json' is named by two <split>: 'd.json' and '*.json'"},
		{{{NULL, {IDS("k1\nk9\nk8\n"), SHARE(100)}}}, 1,
			"ids: 2 of 3 keys are in no row, 'k8' among them"},
		{{{NULL, {IDS("k2"), IDS("k2\nk1")}}}, 1, "d.json:2: the row is claimed by both test and validation"},
		{{{NULL, {IDS("\n \n"), SHARE(100)}}}, 1, "ids: a list of keys without a key"},
		{{{NULL, {IDS("[{}]"), SHARE(100)}}}, 1, "ids:1:2: expected the key of a row"},
		{{{NULL, {IDS("[\"k1\""), SHARE(100)}}}, 1,
			"ids:1:6: expected ',' or ']', found the end of the text"},
		{{{NULL, {FILES("e.json"), SHARE(100)}}}, 1, "no file of the dataset is 'e.json' (test)"},
		{{{NULL, {FILES("d.json"), SHARE(100)}}}, 1, "the validation split has no rows"},
	};
	struct set s;
	set_init(&s, DATA_JSON, "{q}", "{a}");
	set_add_text(&s, "d.json", json);
	for (size_t i = 0; i < NELEM(table); i++) {
		struct split_result r;
		char text[1200];
		if (split(&s, table[i].rule, table[i].n, &r)) {
			FAIL("accepted: %s", table[i].want);
			continue;
		}
		err_format(&s.e, text, sizeof(text));
		CHECK_STR(text, table[i].want);
	}
	set_release(&s);
	struct split_result r;
	struct split_rule rule = {NULL, {IDS("k1")}};
	set_init(&s, DATA_JSONL, "{q}", "{a}");
	set_add_text(&s, "d.jsonl", "{\"q\":1,\"a\":2}\n");
	CHECK(!split(&s, &rule, 1, &r));
	CHECK_STR(s.e.msg, "a list of keys needs rows with keys; name the field that holds them");
	set_release(&s);
}

TEST(leaks_are_train_rows_that_test_has_but_for_case_and_punctuation)
{
	struct set s, other;
	struct split_result r, ro;
	set_init(&s, DATA_JSONL, "{q}", "{a}");
	set_add_text(&s, "test.jsonl",
		"{\"q\":\"What is it?\",\"a\":\"A cat\"}\n{\"q\":\"Else\",\"a\":\"x\"}\n");
	set_add_text(&s, "train.jsonl", "{\"q\":\"Own\",\"a\":\"row\"}\n");
	set_init(&other, DATA_CSV_NO_HEADER, "{1}", "{2}");
	set_add_text(&other, "o.csv", "new,row\nWHAT is it,a cat.\n");
	struct split_rule rule = {NULL, {[SPLIT_TEST] = FILES("test.jsonl"), [SPLIT_TRAIN] = FILES("train.jsonl")}};
	struct split_rule all = {NULL, {[SPLIT_TRAIN] = SHARE(100)}};
	REQUIRE(split(&s, &rule, 1, &r) && split(&other, &all, 1, &ro));
	struct leak_set sets[] = {{"one", s.t, s.nt, &r}, {"two", other.t, other.nt, &ro}};
	struct leak *leak;
	CHECK_INT(data_leaks(&s.a, sets, 1, &leak), 0);
	REQUIRE(data_leaks(&s.a, sets, 2, &leak) == 1);
	CHECK(leak->test.set == 0 && leak->test.table == 0 && leak->test.row == 0);
	CHECK(leak->train.set == 1 && leak->train.table == 0 && leak->train.row == 1);
	set_release(&s);
	set_release(&other);
}

static bool add_real(struct set *s, const char *data, const char *name)
{
	struct map m;
	char path[512];
	snprintf(path, sizeof(path), "%s/datasets/%s", data, name);
	if (!map_open(&m, path, &s->e))
		return false;
	set_add(s, name, (struct buf){m.p, m.n});
	map_release(&m);
	return true;
}

TEST(pubmedqa_has_its_500_test_rows)
{
	static const char *choices[] = {"yes", "no", "maybe"};
	const char *data = test_data();
	if (!data)
		return;
	struct set s = {.source = {.format = DATA_JSON}};
	struct split_result r;
	struct split_counts c;
	struct strbuf ids;
	char path[512];
	s.task = (struct task){.kind = TASK_CHOICE, .length_tokens = 1024, .choice = choices, .nchoice = 3,
		.prompt = "{CONTEXTS[*]}\nQuestion: {QUESTION}\nAnswer:", .answer = "{final_decision}"};
	s.source.task = &s.task;
	REQUIRE(task_init(&s.a, &s.task, &s.e));
	REQUIRE(add_real(&s, data, "pubmedqa/ori_pqal.json"));
	strbuf_init(&ids);
	snprintf(path, sizeof(path), "%s/datasets/pubmedqa/test_ground_truth.json", data);
	REQUIRE(file_read(&ids, path, &s.e));
	struct split_rule rule = shares(0, 10, 10, 80);
	rule.part[SPLIT_TEST] = (struct split_part){.from = FROM_IDS, .ids = {"ids", strbuf_buf(&ids)}};
	REQUIRE(split(&s, &rule, 1, &r));
	CHECK_INT(s.t[0].nrow, 1000);
	CHECK_INT(r.nrow[SPLIT_TEST], 500);
	CHECK_INT(r.nrow[NSPLIT], 0);
	REQUIRE(split_count(&s.a, s.t, s.nt, &r, &s.task, &c, &s.e));
	REQUIRE(c.nlabel == 3);
	/* 552, 338 and 110 in all; 276, 169 and 55 in the published test set. */
	static const size_t want[3][2] = {{552, 276}, {338, 169}, {110, 55}};
	for (size_t i = 0; i < 3; i++) {
		size_t sum = 0;
		for (int k = 0; k <= NSPLIT; k++)
			sum += c.n[i][k];
		CHECK_STR(c.label[i], choices[i]);
		CHECK_INT(sum, want[i][0]);
		CHECK_INT(c.n[i][SPLIT_TEST], want[i][1]);
	}
	strbuf_release(&ids);
	set_release(&s);
}

/* No row of the other half moves, duplicates stay together, and what is equal but for white space
 * does too, in real rows as well. */
TEST(real_rows_stay_where_they_are)
{
	static const struct {
		const char *file, *prompt, *answer;
		enum data_format format;
	} table[] = {
		{"gsm8k/train.jsonl", "{question}", "{answer}", DATA_JSONL},
		{"medmcqa/validation.jsonl", "{question}", "{answer_idx}", DATA_JSONL},
		{"tinystories/tinystories_lower_4M.txt", NULL, NULL, DATA_TEXT},
	};
	const char *data = test_data();
	if (!data)
		return;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct set whole, half;
		struct split_result rw, rh;
		struct split_rule rule = shares(10, 10, 10, 70);
		struct strbuf text;
		char path[512];
		strbuf_init(&text);
		set_init(&whole, table[i].format, table[i].prompt, table[i].answer);
		set_init(&half, table[i].format, table[i].prompt, table[i].answer);
		snprintf(path, sizeof(path), "%s/datasets/%s", data, table[i].file);
		REQUIRE(file_read(&text, path, &whole.e));
		set_add(&whole, "w", strbuf_buf(&text));
		size_t n = text.n / 2;
		while (n < text.n && (text.s[n - 1] != '\n' || (i == 2 && text.s[n - 2] != '\n')))
			n++;
		set_add(&half, "h", (struct buf){text.s, n});
		REQUIRE(split(&whole, &rule, 1, &rw) && split(&half, &rule, 1, &rh));
		CHECK(half.t[0].nrow > 1000 && half.t[0].nrow < whole.t[0].nrow);
		CHECK(!memcmp(rw.of[0], rh.of[0], half.t[0].nrow));
		struct leak_set set = {"w", whole.t, 1, &rw};
		struct leak *leak;
		size_t nleak = data_leaks(&whole.a, &set, 1, &leak);
		for (size_t k = 0; k < nleak; k++) {
			const struct row_record *x = &whole.t[0].row[leak[k].train.row];
			CHECK(!digest_equal(x->place, whole.t[0].row[leak[k].test.row].place));
		}
		strbuf_release(&text);
		set_release(&whole);
		set_release(&half);
	}
}
