#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data.h"
#include "file.h"

struct reading {
	struct arena a;
	struct strbuf bytes;
	struct row_table t;
	struct err e;
};

static bool read_text(struct reading *r, const struct data_source *s, struct buf text)
{
	struct data_file f = {"d", text};
	*r = (struct reading){0};
	strbuf_init(&r->bytes);
	return data_read(s, &f, &r->bytes, &r->e) &&
		row_table_open(&r->t, strbuf_buf(&r->bytes), &r->e);
}

static void release(struct reading *r)
{
	strbuf_release(&r->bytes);
	arena_release(&r->a);
}

static struct buf text_buf(const char *s)
{
	return (struct buf){s, strlen(s)};
}

/* "line key json" for each row, or "line:col: msg". */
static void dump(struct strbuf *out, const struct reading *r, bool ok)
{
	if (!ok) {
		strbuf_addf(out, "%d:%d: %s", r->e.line, r->e.col, r->e.msg);
		return;
	}
	for (size_t i = 0; i < r->t.nrow; i++) {
		struct buf text = row_table_text(&r->t, i), key = row_table_key(&r->t, i);
		strbuf_addf(out, "%s%u ", i ? "\n" : "", r->t.row[i].line);
		if (key.p)
			strbuf_addf(out, "%.*s ", (int)key.n, (const char *)key.p);
		strbuf_add(out, text.p, text.n);
	}
}

TEST(readers_give_exactly_these_rows)
{
	static const struct {
		enum data_format format;
		enum text_rows rows;
		const char *text, *want;
	} table[] = {
		{DATA_TEXT, ROWS_BLANK_LINE, "", ""},
		{DATA_TEXT, ROWS_BLANK_LINE, "\n \n\t\n", ""},
		{DATA_TEXT, ROWS_BLANK_LINE, "a\nb\n\n\nc", "1 {\"text\":\"a\\nb\"}\n5 {\"text\":\"c\"}"},
		{DATA_TEXT, ROWS_BLANK_LINE, "\n\n a \r\nb\r\n\r\nc\r\n",
			"3 {\"text\":\" a \\nb\"}\n6 {\"text\":\"c\"}"},
		{DATA_TEXT, ROWS_BLANK_LINE, "\xef\xbb\xbf" "a\n", "1 {\"text\":\"a\"}"},
		{DATA_TEXT, ROWS_LINE, "a\n\nb\r\n \nc", "1 {\"text\":\"a\"}\n3 {\"text\":\"b\"}\n5 {\"text\":\"c\"}"},
		{DATA_TEXT, ROWS_FILE, "a\n\nb\n", "1 {\"text\":\"a\\n\\nb\\n\"}"},
		{DATA_TEXT, ROWS_FILE, "\n\n", ""},
		{DATA_TEXT, ROWS_LINE, "ok\nb\xff", "2:2: byte 0xff is not UTF-8"},
		{DATA_TEXT, ROWS_LINE, "ok\xc3", "1:3: byte 0xc3 is not UTF-8"},
		{DATA_JSONL, 0, "{\"b\":1,\"a\":[true,null]}\n\n [\"x\"] \r\n",
			"1 {\"a\":[true,null],\"b\":1}\n3 [\"x\"]"},
		{DATA_JSONL, 0, "{\"a\":1}\n{\"a\":}\n", "2:6: expected a value, found '}'"},
		{DATA_JSONL, 0, "{\"a\":1}\n  7\n", "2:3: expected a row, an object or a list"},
		{DATA_JSONL, 0, "{\"a\":\"x\n", "1:6: string without its closing quote"},
		{DATA_JSONL, 0, "{\"a\":\"\\ud800\"}", "1:7: lone high surrogate"},
		{DATA_JSON, 0, "[{\"a\":1},\n {\"a\":1.0}]", "1 {\"a\":1}\n2 {\"a\":1.0}"},
		{DATA_JSON, 0, "{\n\"k1\": {\"a\":\"\\u00e9\"},\n\"k2\": {}}",
			"2 k1 {\"a\":\"\xc3\xa9\"}\n3 k2 {}"},
		{DATA_JSON, 0, "{\"k\": {\"a\":1, \"a\":2}}", "1 k {\"a\":2}"},
		{DATA_JSON, 0, "[]", ""},
		{DATA_JSON, 0, "{\"data\": 5}", "1:10: expected a row, an object or a list"},
		{DATA_JSON, 0, "5", "1:1: expected a list of rows or an object of them by key"},
		{DATA_JSON, 0, "[{}\n,", "2:2: expected a value, found the end of the text"},
		{DATA_CSV, 0, "q,a\r\n\"x, \"\"y\"\"\nz\",A\r\n\r\n,\r\n",
			"2 {\"a\":\"A\",\"q\":\"x, \\\"y\\\"\\nz\"}\n5 {\"a\":\"\",\"q\":\"\"}"},
		{DATA_CSV, 0, "a\n1\n2", "2 {\"a\":\"1\"}\n3 {\"a\":\"2\"}"},
		{DATA_CSV, 0, "a,b\n", ""},
		{DATA_CSV, 0, "\xef\xbb\xbf" "a,b\n1,\"\"\n", "2 {\"a\":\"1\",\"b\":\"\"}"},
		{DATA_CSV, 0, "a,b\n1\n", "2:1: 1 fields, expected 2 as in the header"},
		{DATA_CSV, 0, "a,b\n\n\n1,2,3\n", "4:1: 3 fields, expected 2 as in the header"},
		{DATA_CSV, 0, "a,b,a\n", "1:1: column 'a' stands twice in the header"},
		{DATA_CSV, 0, "a\n\"x\n\ny", "2:1: quoted field without its closing quote"},
		{DATA_CSV, 0, "a,b\n1,\"x\"y\n", "2:6: expected a comma behind a quoted field"},
		{DATA_CSV, 0, "a,b\n1,x\"y\n",
			"2:4: quote inside of a field that does not begin with one"},
		{DATA_CSV, 0, "a,b\n1,\"\n\n\"x\n", "4:2: expected a comma behind a quoted field"},
		{DATA_CSV_NO_HEADER, 0, "x,y\n\"1\n2\",z\n",
			"1 {\"1\":\"x\",\"2\":\"y\"}\n2 {\"1\":\"1\\n2\",\"2\":\"z\"}"},
		{DATA_CSV_NO_HEADER, 0, "x,y\nz\n", "2:1: 1 fields, expected 2 as in the first record"},
	};
	for (size_t i = 0; i < NELEM(table); i++) {
		struct data_source s = {.format = table[i].format, .rows = table[i].rows};
		struct reading r;
		struct strbuf got;
		strbuf_init(&got);
		dump(&got, &r, read_text(&r, &s, text_buf(table[i].text)));
		if (strcmp(got.s, table[i].want) != 0)
			FAIL("%s\n  got  %s\n  want %s", table[i].text, got.s, table[i].want);
		strbuf_release(&got);
		release(&r);
	}
}

static void task_of(struct arena *a, struct task *t, const char *prompt, const char *answer)
{
	struct err e;
	*t = (struct task){.kind = TASK_COMPLETION, .length_tokens = 64, .prompt = prompt, .answer = answer};
	if (!task_init(a, t, &e))
		FAIL("%s", e.msg);
}

/* The one row of a text; fields q and a are read. */
static struct row_record one_row(const struct data_source *s, const char *text)
{
	struct reading r;
	struct row_record row = {0};
	if (!read_text(&r, s, text_buf(text)) || r.t.nrow != 1)
		FAIL("%s: %s", text, r.e.msg);
	else
		row = r.t.row[0];
	release(&r);
	return row;
}

TEST(places_follow_the_values_read_and_nothing_else)
{
	enum { SAME = 1, SAME_ROW = 3, SAME_NORM = 4 };
	static const char base[] = "{\"q\":\"What is it?\",\"a\":\"a  cat\",\"x\":1}";
	static const struct {
		enum data_format format;
		const char *prompt, *text;
		int want;
	} table[] = {
		{DATA_JSONL, "{q}", "{\"q\":\"What is it?\",\"a\":\"a  cat\",\"x\":1}", SAME_ROW | SAME_NORM},
		{DATA_JSONL, "{q}", " {\"x\":2, \"a\" : \"a  cat\", \"q\":\"What is it?\"}", SAME_ROW | SAME_NORM},
		{DATA_JSONL, "Q: {q}\nA:", base, SAME_ROW | SAME_NORM},
		{DATA_JSONL, "{q}{q}{a}", base, SAME_ROW | SAME_NORM},
		{DATA_JSON, "{q}", "{\"key\":\n{\"q\":\"What is it?\",\"a\":\"a  cat\"}}", SAME_ROW | SAME_NORM},
		{DATA_JSONL, "{q}", "{\"q\":\"What is it?\",\"a\":\"a cat\"}", SAME | SAME_NORM},
		{DATA_JSONL, "{q}", "{\"q\":\" What\\nis it? \",\"a\":\"a cat\\n\"}", SAME | SAME_NORM},
		{DATA_JSONL, "{question}", "{\"question\":\"What is it?\",\"a\":\"a  cat\"}", SAME | SAME_NORM},
		{DATA_CSV, "{q}", "x,a,q\n1,a cat,What is it?\n", SAME | SAME_NORM},
		{DATA_JSONL, "{q}", "{\"q\":\"what is it\",\"a\":\"A cat.\"}", SAME_NORM},
		{DATA_JSONL, "{q}{x}", base, 0},
		{DATA_JSONL, "{q}", "{\"q\":\"What is it\",\"a\":\"the cat\"}", 0},
		{DATA_JSONL, "{q}", "{\"q\":\"What is\",\"a\":\"it? a cat\"}", 0},
	};
	struct arena a = {0};
	struct task t;
	struct data_source s = {.format = DATA_JSONL, .task = &t};
	task_of(&a, &t, "{q}", "{a}");
	struct row_record want = one_row(&s, base);
	for (size_t i = 0; i < NELEM(table); i++) {
		task_of(&a, &t, table[i].prompt, "{a}");
		s.format = table[i].format;
		struct row_record got = one_row(&s, table[i].text);
		int same = digest_equal(got.place, want.place) * 1 +
			digest_equal(got.digest, want.digest) * 2 + digest_equal(got.norm, want.norm) * 4;
		if (same != table[i].want)
			FAIL("row %zu, %s: same is %d, want %d", i, table[i].text, same, table[i].want);
	}
	arena_release(&a);
}

TEST(places_by_field_file_and_key)
{
	struct arena a = {0};
	struct task t;
	task_of(&a, &t, "{q}", "{a}");
	struct data_source s = {.format = DATA_JSON, .task = &t, .by = "g.id"};
	struct row_record x = one_row(&s, "{\"k\":{\"q\":\"1\",\"a\":\"1\",\"g\":{\"id\":5}}}");
	struct row_record y = one_row(&s, "{\"l\":{\"q\":\"2\",\"a\":\"1\",\"g\":{\"id\":\"5\"}}}");
	struct row_record z = one_row(&s, "{\"k\":{\"q\":\"1\",\"a\":\"1\",\"g\":{\"id\":6}}}");
	CHECK(digest_equal(x.place, y.place) && !digest_equal(x.place, z.place));
	CHECK(digest_equal(x.digest, z.digest) && !digest_equal(x.digest, y.digest));
	s.by = "@key";
	x = one_row(&s, "{\"k\":{\"q\":\"1\",\"a\":\"1\"}}");
	y = one_row(&s, "{\"k\":{\"q\":\"2\",\"a\":\"1\"}}");
	z = one_row(&s, "{\"l\":{\"q\":\"1\",\"a\":\"1\"}}");
	CHECK(digest_equal(x.place, y.place) && !digest_equal(x.place, z.place));
	s.by = "@file";
	x = one_row(&s, "{\"k\":{\"q\":\"1\",\"a\":\"1\"}}");
	z = one_row(&s, "{\"l\":{\"q\":\"2\",\"a\":\"3\"}}");
	CHECK(digest_equal(x.place, z.place) && !digest_equal(x.place, y.place));
	arena_release(&a);
}

TEST(rows_say_where_they_lack_what_is_read)
{
	static const struct {
		const char *by, *key, *text, *want;
	} table[] = {
		{NULL, NULL, "{\"q\":1,\"a\":2}\n\n{\"Q\":1,\"answer\":2}\n",
			"d:3:1: field 'q': the row has no 'q'"},
		{"@key", NULL, "{\"q\":1,\"a\":2}\n",
			"d:1:1: the row has no key to be split by; rows of an object have, or name a field"},
		{"@fil", NULL, "", "rows are split by '@file', '@key' or a field, not by '@fil'"},
		{"patent", NULL, "{\"q\":1,\"a\":2,\"patient\":3}\n",
			"d:1:1: field 'patent': the row has no 'patent'; did you mean 'patient'?"},
		{"a[", NULL, "",
			"in the field to split by: expected '[*]', '[NUMBER]' or '[\"NAME\"]'"},
		{NULL, "k", "{\"q\":1,\"a\":2,\"k\":[]}\n", "d:1:1: field 'k' is no key"},
	};
	struct arena a = {0};
	struct task t;
	task_of(&a, &t, "{q}", "{a}");
	for (size_t i = 0; i < NELEM(table); i++) {
		struct data_source s = {.format = DATA_JSONL, .task = &t, .by = table[i].by,
			.key = table[i].key};
		struct reading r;
		char text[1200];
		if (read_text(&r, &s, text_buf(table[i].text)))
			FAIL("accepted: %s", table[i].want);
		err_format(&r.e, text, sizeof(text));
		CHECK_STR(text, table[i].want);
		release(&r);
	}
	arena_release(&a);
}

TEST(damaged_row_tables_are_noticed)
{
	struct data_source s = {.format = DATA_JSON};
	struct reading r;
	REQUIRE(read_text(&r, &s, text_buf("{\"k\":{\"a\":1},\"l\":{\"b\":\"text\"}}")));
	struct row_table t;
	for (size_t n = 0; n < r.bytes.n; n++) {
		char *cut = xmalloc(n);
		memcpy(cut, r.bytes.s, n);
		if (row_table_open(&t, (struct buf){cut, n}, &r.e))
			FAIL("a table cut to %zu bytes was read", n);
		free(cut);
	}
	for (size_t i = 0; i < r.bytes.n; i++) {
		char kept = r.bytes.s[i];
		r.bytes.s[i] = (char)(kept ^ 0xff);
		if (row_table_open(&t, strbuf_buf(&r.bytes), &r.e)) {
			for (size_t k = 0; k < t.nrow; k++) {
				struct json *v;
				row_table_json(&r.a, &t, k, &v, NULL);
				row_table_key(&t, k);
			}
		}
		r.bytes.s[i] = kept;
	}
	release(&r);
}

/* Damaged inputs of every format: an error or rows, never a fault. */
TEST(any_bytes_are_survived)
{
	static const char *const seeds[] = {"{\"a\":[\"\\u00e9\",{\"b\":-1.5e3}]}\n{\"c\":null}\n",
		"[{\"a\":1},{\"b\":[true]}]", "h,i\r\n\"x\"\"y\",z\r\n1,2\n", "one\n\ntwo\r\n\nthree"};
	struct rng rng;
	size_t read = 0, refused = 0;
	rng_init(&rng, 3);
	for (int round = 0; round < 4000; round++) {
		const char *seed = seeds[rng_below(&rng, NELEM(seeds))];
		size_t n = strlen(seed);
		char *text = xmalloc(n);
		memcpy(text, seed, n);
		for (uint64_t k = 1 + rng_below(&rng, 3); k > 0; k--) {
			static const char odd[] = "\"\\{}[],:\n\r\t\0\xff\xc3\xa9 0";
			text[rng_below(&rng, n)] = odd[rng_below(&rng, sizeof(odd))];
		}
		struct data_source s = {.format = (enum data_format)rng_below(&rng, 5),
			.rows = (enum text_rows)rng_below(&rng, 3)};
		struct reading r;
		bool ok = read_text(&r, &s, (struct buf){text, n - rng_below(&rng, n)});
		if (ok)
			read++;
		else
			refused++;
		if (!ok && (r.e.kind != ERR_SPEC || !r.e.line || strcmp(r.e.file, "d") != 0))
			FAIL("%s:%d: %s", r.e.file, r.e.line, r.e.msg);
		for (size_t k = 0; ok && k < r.t.nrow; k++) {
			struct json *v;
			CHECK(row_table_json(&r.a, &r.t, k, &v, &r.e));
		}
		release(&r);
		free(text);
	}
	CHECK(read > 500 && refused > 500);
}

static void put(const char *folder, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	CHECK(file_write(path, (struct buf){"x", 1}, 0644, NULL));
}

TEST(paths_name_files_folders_and_globs)
{
	static const char *const table[][2] = {
		{"d/a.jsonl", "d/a.jsonl"},
		{"d", "d/a.jsonl d/b.jsonl d/s/c.jsonl"},
		{"d/", "d/a.jsonl d/b.jsonl d/s/c.jsonl"},
		{".", "d/a.jsonl d/b.jsonl d/s/c.jsonl e[1].jsonl"},
		{"d/*.jsonl", "d/a.jsonl d/b.jsonl"},
		{"d/[ab].*", "d/a.jsonl d/a.txt d/b.jsonl"},
		{"*/*/*.jsonl", "d/s/c.jsonl"},
		{"e[1].jsonl", "e[1].jsonl"},
		{"d/a", "no data at 'd/a': No such file or directory"},
		{"d/z*", "no file matches 'd/z*'"},
		{"f", "no '*.jsonl' file in the folder 'f'"},
	};
	const char *root = test_tmpdir();
	struct arena a = {0};
	CHECK(make_directories(arena_printf(&a, "%s/d/s", root), NULL));
	CHECK(make_directories(arena_printf(&a, "%s/f", root), NULL));
	put(root, "d/b.jsonl");
	put(root, "d/a.jsonl");
	put(root, "d/a.txt");
	put(root, "d/.hidden.jsonl");
	put(root, "d/s/c.jsonl");
	put(root, "e[1].jsonl");
	CHECK(symlink(".", arena_printf(&a, "%s/d/loop", root)) == 0);
	for (size_t i = 0; i < NELEM(table); i++) {
		const char **name;
		size_t n;
		struct err e;
		struct strbuf got;
		strbuf_init(&got);
		bool ok = data_list(&a, root, table[i][0], DATA_JSONL, &name, &n, &e);
		if (!ok)
			strbuf_adds(&got, e.msg);
		for (size_t k = 0; ok && k < n; k++) {
			strbuf_addf(&got, "%s%s", k ? " " : "", name[k]);
			if (!data_match(table[i][0], name[k]))
				FAIL("'%s' does not match '%s'", table[i][0], name[k]);
		}
		CHECK_STR(got.s, table[i][1]);
		strbuf_release(&got);
	}
	CHECK(!data_match("d", "da.jsonl"));
	CHECK(!data_match("d/*.jsonl", "d/s/c.jsonl"));
	CHECK(!data_match("d/a.jsonl", "d/b.jsonl"));
	arena_release(&a);
}

static bool read_real(struct reading *r, const struct data_source *s, const char *data,
	const char *name)
{
	struct map m;
	char path[512];
	*r = (struct reading){0};
	snprintf(path, sizeof(path), "%s/datasets/%s", data, name);
	if (!map_open(&m, path, &r->e))
		return false;
	bool ok = read_text(r, s, (struct buf){m.p, m.n});
	map_release(&m);
	return ok;
}

/* Row 0 of real datasets, as the specs of the examples would have it. */
TEST(golden_rows_of_real_data)
{
	static const char *columns[] = {"{2}", "{3}", "{4}", "{5}"};
	static const struct {
		const char *file;
		enum data_format format;
		struct task task;
		size_t nrow; /* 0: not known from elsewhere */
		const char *begins, *ends, *answer;
		size_t nchoice;
		int gold;
	} table[] = {
		{"mmlu/professional_accounting_test.csv", DATA_CSV_NO_HEADER,
			{.kind = TASK_CHOICE, .prompt = "{1}\nAnswer:", .choice = columns, .nchoice = 4,
				.answer = "{6}"},
			282, "You bought a limousine for $98,000 and are planning",
			"including any festivities and weekends?\nAnswer:", "164%", 4, 0},
		{"mmlu/professional_law_test.csv", DATA_CSV_NO_HEADER,
			{.kind = TASK_CHOICE, .prompt = "{1}", .choice = columns, .nchoice = 4,
				.answer = "{6}"},
			1534, "One afternoon, a pilot was flying a small airplane",
			"The attorney's testimony is",
			"inadmissible, because the attorney-client privilege prevents such a breach of "
			"confidential communications. ",
			4, 2},
		{"gsm8k/test.jsonl", DATA_JSONL,
			{.kind = TASK_COMPLETION, .prompt = "Q: {question}\nA:", .answer = "{answer}"},
			1319, "Q: Janet\xe2\x80\x99s ducks lay 16 eggs per day.",
			"every day at the farmers' market?\nA:",
			"Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\nShe makes 9 * 2 = "
			"$<<9*2=18>>18 every day at the farmer\xe2\x80\x99s market.\n#### 18",
			0, 0},
		{"medmcqa/validation.jsonl", DATA_JSONL,
			{.kind = TASK_CHOICE, .prompt = "{question}", .choices_field = "options",
				.answer = "{answer_idx}"},
			2816, "A 29 yrs old woman with a pregnancy of 17 week", "best advice to her is",
			"Amniotic fluid samples plus chromosomal analysis will definitely tell her that next "
			"baby will be down syndromic or not",
			4, 2},
		{"tinystories/tinystories_lower_4M.txt", DATA_TEXT, {.kind = TASK_TEXT}, 0, "", "",
			"one day, a little girl named lily found a needle in her room. she knew it was "
			"difficult to play with it because it was sharp. lily wanted to share the needle with "
			"her mom, so she could sew a button on her shirt.", 0, 0},
	};
	const char *data = test_data();
	if (!data)
		return;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct task t = table[i].task;
		struct data_source s = {.format = table[i].format, .task = &t};
		struct reading r;
		struct arena a = {0};
		struct task_row row;
		t.length_tokens = 1024;
		REQUIRE(task_init(&a, &t, NULL));
		if (!read_real(&r, &s, data, table[i].file)) {
			FAIL("%s:%d:%d: %s", table[i].file, r.e.line, r.e.col, r.e.msg);
			return;
		}
		if (table[i].nrow)
			CHECK_INT(r.t.nrow, table[i].nrow);
		for (size_t k = r.t.nrow; k-- > 0;) {
			if (!row_table_render(&r.a, &r.t, k, &t, &row, &r.e)) {
				FAIL("%s:%d: %s", r.e.file, r.e.line, r.e.msg);
				break;
			}
		}
		size_t nb = strlen(table[i].begins), ne = strlen(table[i].ends);
		CHECK(row.prompt.n >= nb && !memcmp(row.prompt.p, table[i].begins, nb));
		CHECK(row.prompt.n >= ne);
		CHECK_STR((const char *)row.prompt.p + row.prompt.n - ne, table[i].ends);
		CHECK_STR(row.answer.p, table[i].answer);
		CHECK_INT(row.nchoice, table[i].nchoice);
		CHECK_INT(row.gold, table[i].gold);
		release(&r);
		arena_release(&a);
	}
}
