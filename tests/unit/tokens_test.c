#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data_pack.h"
#include "tokens.h"

/* A token for each byte; what begins a text gets a dummy prefix. Counts its calls. */
static bool encode(void *ctx, struct buf text, enum text_place place, struct token_ids *out,
	struct err *e)
{
	const unsigned char *p = text.p;
	(void)e;
	++*(size_t *)ctx;
	if (place == TEXT_BEGINS && text.n)
		token_ids_add(out, '_');
	for (size_t i = 0; i < text.n; i++)
		token_ids_add(out, p[i]);
	return true;
}

static struct buf piece(void *ctx, uint32_t id)
{
	static const char ascii[] = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_"
				    "`abcdefghijklmnopqrstuvwxyz{|}~";
	(void)ctx;
	return (struct buf){ascii + (id - ' '), 1};
}

struct made {
	struct arena a;
	struct task task;
	struct strbuf rows, tokens;
	struct row_table t;
	struct token_table table;
	struct tokeniser tok;
	size_t calls;
	struct err e;
};

static void make_rows(struct made *m, enum data_format format, const char *text)
{
	struct data_source s = {.format = format, .task = &m->task};
	struct data_file f = {"d.jsonl", {text, strlen(text)}};
	strbuf_init(&m->rows);
	strbuf_init(&m->tokens);
	m->tok = (struct tokeniser){.ctx = &m->calls, .encode = encode, .piece = piece, .start = '^',
		.end = '$'};
	if (!task_init(&m->a, &m->task, &m->e) || !data_read(&s, &f, &m->rows, &m->e) ||
		!row_table_open(&m->t, strbuf_buf(&m->rows), &m->e))
		FAIL("%s", m->e.msg);
}

static bool tokenise(struct made *m, const struct split_list *list, const struct token_table *seed)
{
	struct tokenise_job job = {.t = &m->t, .nt = 1, .list = list, .task = &m->task,
		.tok = &m->tok, .made_by = {1, 2}, .seed = seed};
	m->calls = 0;
	strbuf_clear(&m->tokens);
	return data_tokenise(&job, &m->tokens, &m->e) &&
		token_table_open(&m->table, strbuf_buf(&m->tokens), &m->e);
}

static void release(struct made *m)
{
	strbuf_release(&m->rows);
	strbuf_release(&m->tokens);
	arena_release(&m->a);
}

/* Completions of many lengths. */
static char *completions(struct arena *a, size_t from, size_t n)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	struct strbuf b;
	strbuf_init(&b);
	for (size_t i = from; i < from + n; i++)
		strbuf_addf(&b, "{\"p\":\"%zu%.*s\",\"a\":\"%.*s\"}\n", i, (int)(i * 7 % 23), letters,
			(int)(i * 5 % 11), letters);
	char *text = arena_strdup(a, b.s);
	strbuf_release(&b);
	return text;
}

static void completion_task(struct made *m, uint32_t length)
{
	m->task = (struct task){.kind = TASK_COMPLETION, .length_tokens = length, .prompt = "{p}",
		.answer = "{a}"};
}

TEST(token_tables_hold_the_layout_of_each_row_in_list_order)
{
	struct made m = {0};
	struct strbuf bytes;
	struct split_result r;
	struct split_list list;
	struct split_rule rule = {NULL, {[SPLIT_TRAIN] = {.from = FROM_SHARE, .share = SHARE_ALL / 2}}};
	completion_task(&m, 64);
	make_rows(&m, DATA_JSONL, completions(&m.a, 0, 200));
	REQUIRE(data_split(&m.a, &m.t, 1, &rule, 1, &r, &m.e));
	strbuf_init(&bytes);
	split_list_write(&bytes, &m.t, 1, &r, SPLIT_TRAIN, 42);
	REQUIRE(split_list_open(&list, strbuf_buf(&bytes), &m.e));
	REQUIRE(tokenise(&m, &list, NULL));
	CHECK_INT(m.table.nrecord, list.n);
	CHECK_INT(m.table.nskipped, 0);
	for (uint64_t i = 0; i < m.table.nrecord; i++) {
		CHECK(digest_equal(m.table.record[i].row, list.row[i]));
		struct token_row row = token_table_row(&m.table, i), *want;
		struct task_row text;
		size_t n, at = 0;
		while (!digest_equal(m.t.row[at].digest, list.row[i]))
			at++;
		REQUIRE(row_table_render(&m.a, &m.t, at, &m.task, &text, &m.e));
		REQUIRE(task_layout(&m.a, &m.task, &text, &m.tok, &want, &n, &m.e));
		CHECK_INT(row.prompt_tokens, want->prompt_tokens);
		CHECK_INT(row.answer_tokens[0], want->answer_tokens[0]);
		CHECK_INT(row.gold, 0);
		CHECK_INT(m.table.record[i].gold_bytes, text.answer.n + 1); /* the delimiter */
		CHECK(!memcmp(row.token, want->token, token_row_length(want, 0) * sizeof(uint32_t)));
	}
	/* A list that names what is in no table. */
	struct digest unknown = {1, 1};
	list = (struct split_list){SPLIT_TRAIN, 1, &unknown};
	CHECK(!tokenise(&m, &list, NULL));
	CHECK_STR(m.e.msg, "row 00000000000000010000000000000001 of the train list is in no row table");
	strbuf_release(&bytes);
	release(&m);
}

TEST(a_seed_saves_work_and_changes_no_byte)
{
	struct made old = {0}, new = {0};
	completion_task(&old, 64);
	completion_task(&new, 64);
	make_rows(&old, DATA_JSONL, completions(&old.a, 0, 100));
	make_rows(&new, DATA_JSONL, completions(&new.a, 30, 90));
	REQUIRE(tokenise(&old, NULL, NULL));
	REQUIRE(tokenise(&new, NULL, NULL));
	CHECK_INT(new.calls, 180); /* prompt and answer each */
	struct strbuf want;
	strbuf_init(&want);
	strbuf_add(&want, new.tokens.s, new.tokens.n);
	REQUIRE(tokenise(&new, NULL, &old.table));
	CHECK_INT(new.calls, 40); /* rows 100 ... 119 */
	CHECK(want.n == new.tokens.n && !memcmp(want.s, new.tokens.s, want.n));
	old.table.made_by.lo++;
	REQUIRE(tokenise(&new, NULL, &old.table));
	CHECK_INT(new.calls, 180);
	strbuf_release(&want);

	struct made text = {.task = {.kind = TASK_TEXT, .length_tokens = 6, .on_long = LONG_WINDOWS}};
	make_rows(&text, DATA_TEXT, "a document of some windows\n\nshort\n\none more of them\n");
	REQUIRE(tokenise(&text, NULL, NULL));
	CHECK_INT(text.table.nrecord, 6 + 2 + 4);
	CHECK_INT(text.table.record[6].nparts, 2);
	static const uint64_t gold_bytes[] = {26, 0, 0, 0, 0, 0, 5, 0, 16, 0, 0, 0};
	for (size_t i = 0; i < 12; i++)
		CHECK_INT(text.table.record[i].gold_bytes, gold_bytes[i]);
	struct made seeded = {.task = {.kind = TASK_TEXT, .length_tokens = 6, .on_long = LONG_WINDOWS}};
	make_rows(&seeded, DATA_TEXT, "one more of them\n\na document of some windows");
	REQUIRE(tokenise(&seeded, NULL, &text.table));
	CHECK_INT(seeded.calls, 0);
	CHECK_INT(seeded.table.nrecord, 10);
	CHECK(seeded.table.record[0].gold_bytes == 16 && seeded.table.record[4].gold_bytes == 26);
	release(&text);
	release(&seeded);
	release(&old);
	release(&new);
}

TEST(long_rows_are_refused_skipped_or_cut)
{
	static const char rows[] = "{\"p\":\"a\",\"a\":\"b\"}\n\n{\"p\":\"abcdefgh\",\"a\":\"b\"}\n";
	struct made m = {0};
	completion_task(&m, 8);
	make_rows(&m, DATA_JSONL, rows);
	CHECK(!tokenise(&m, NULL, NULL));
	CHECK_STR(m.e.file, "d.jsonl");
	CHECK_INT(m.e.line, 3);
	CHECK_STR(m.e.msg, "row of 13 tokens (10 of prompt, 3 of answer), length is 8");
	m.task.on_long = LONG_SKIP;
	REQUIRE(tokenise(&m, NULL, NULL));
	CHECK(m.table.nrecord == 1 && m.table.nskipped == 1);
	m.task.on_long = LONG_CUT_PROMPT;
	REQUIRE(tokenise(&m, NULL, NULL));
	CHECK(m.table.nrecord == 2 && m.table.nskipped == 0 && m.table.record[1].total_tokens == 8);
	release(&m);
}

/* Cut and changed tables: an error, or a table whose every record can be read. */
TEST(damaged_token_tables_are_noticed)
{
	struct made m = {.task = {.kind = TASK_TEXT, .length_tokens = 4, .on_long = LONG_WINDOWS}};
	make_rows(&m, DATA_TEXT, "abcdef\n\ngh\n");
	REQUIRE(tokenise(&m, NULL, NULL));
	struct token_table t;
	for (size_t n = 0; n < m.tokens.n; n++) {
		char *cut = xmalloc(n);
		memcpy(cut, m.tokens.s, n);
		if (token_table_open(&t, (struct buf){cut, n}, &m.e))
			FAIL("a table cut to %zu bytes was read", n);
		free(cut);
	}
	size_t refused = 0;
	for (size_t i = 0; i < m.tokens.n; i++) {
		char kept = m.tokens.s[i];
		m.tokens.s[i] = (char)(kept ^ 0xff);
		if (!token_table_open(&t, strbuf_buf(&m.tokens), &m.e)) {
			refused++;
		} else {
			uint64_t sum = 0;
			for (uint64_t k = 0; k < t.nrecord; k++) {
				struct token_row r = token_table_row(&t, k);
				for (uint32_t n = 0; n < token_row_length(&r, 0); n++)
					sum += r.token[n];
			}
			CHECK(sum > 0);
		}
		m.tokens.s[i] = kept;
	}
	CHECK(refused > m.tokens.n / 4);
	release(&m);
}

TEST(packed_rows_are_the_documents_and_nothing_else)
{
	enum { R = 70 };
	struct made m = {0};
	completion_task(&m, 64);
	make_rows(&m, DATA_JSONL, completions(&m.a, 0, 120));
	REQUIRE(tokenise(&m, NULL, NULL));
	size_t n, nbatch, ndoc = 0, used = 0;
	uint32_t *order = pack_order(&m.a, &m.table, 42, 1, &n);
	struct pack_batch *batch;
	bool *seen = arena_array(&m.a, bool, n);
	REQUIRE(n == 120);
	REQUIRE(pack_rows(&m.a, &m.table, order, n, R, &batch, &nbatch, &m.e));
	for (size_t i = 0; i < nbatch; i++) {
		const struct pack_batch *b = &batch[i];
		uint32_t at = 0;
		double weight = 0;
		for (uint32_t d = 0; d < b->ndoc; d++) {
			struct token_row r = token_table_row(&m.table, b->record[d]);
			CHECK(!seen[b->record[d]]);
			seen[b->record[d]] = true;
			CHECK_INT(b->first[d], at);
			/* With one answer the tokens of a row lie in sequence order. */
			for (uint32_t k = 0; k + 1 < token_row_length(&r, 0); k++, at++) {
				CHECK_INT(b->token[at], r.token[k]);
				CHECK_INT(b->target[at], r.token[k + 1]);
				CHECK_INT(b->position[at], k);
				CHECK_INT(b->lo[at], b->first[d]);
				CHECK(b->weight[at] == (k + 1 >= r.prompt_tokens ? 1.0f : 0.0f));
				weight += (double)b->weight[at];
			}
		}
		CHECK_INT(b->nused, at);
		CHECK(b->weight_sum == weight && at <= R);
		for (; at < R; at++)
			CHECK(!b->token[at] && !b->position[at] && b->lo[at] == at && b->target[at] == -1 &&
				b->weight[at] == 0.0f);
		ndoc += b->ndoc;
		used += b->nused;
	}
	CHECK_INT(ndoc, 120);
	CHECK(used > nbatch * R * 8 / 10);
	/* First-fit, replayed: each document lies in the first batch that had room for it. */
	uint32_t *full = arena_array(&m.a, uint32_t, nbatch), *docs = arena_array(&m.a, uint32_t, nbatch);
	for (size_t i = 0; i < n; i++) {
		struct token_row r = token_table_row(&m.table, order[i]);
		size_t k = 0;
		while (full[k] + token_row_length(&r, 0) - 1 > R)
			k++;
		REQUIRE(k < nbatch && docs[k] < batch[k].ndoc);
		CHECK_INT(batch[k].record[docs[k]++], order[i]);
		full[k] += token_row_length(&r, 0) - 1;
	}
	CHECK(!pack_rows(&m.a, &m.table, order, n, 20, &batch, &nbatch, &m.e));
	release(&m);
}

TEST(packing_takes_the_gold_choice)
{
	static const char *choices[] = {"x", "yz"};
	struct made m = {.task = {.kind = TASK_CHOICE, .length_tokens = 64, .prompt = "{p}",
				 .answer = "{a}", .choice = choices, .nchoice = 2}};
	make_rows(&m, DATA_JSONL, "{\"p\":\"Q\",\"a\":\"yz\"}\n{\"p\":\"R\",\"a\":\"x\"}\n");
	REQUIRE(tokenise(&m, NULL, NULL));
	struct pack_batch *b;
	size_t n;
	static const uint32_t order[] = {0, 1};
	REQUIRE(pack_rows(&m.a, &m.table, order, 2, 12, &b, &n, &m.e) && n == 1);
	char token[13] = "", target[13] = "", lo[13] = "", weight[13] = "";
	for (int i = 0; i < 12; i++) {
		token[i] = b->token[i] ? (char)b->token[i] : '.';
		target[i] = b->target[i] < 0 ? '.' : (char)b->target[i];
		lo[i] = (char)('a' + b->lo[i]);
		weight[i] = b->weight[i] > 0 ? '1' : '0';
	}
	CHECK_STR(token, "^_Q y^_R ...");
	CHECK_STR(target, "_Q yz_R x...");
	CHECK_STR(lo, "aaaaaffffjkl");
	CHECK_STR(weight, "001110011000");
	release(&m);
}

TEST(an_epoch_is_an_order_of_its_own)
{
	struct made m = {0}, more = {0};
	completion_task(&m, 64);
	completion_task(&more, 64);
	make_rows(&m, DATA_JSONL, completions(&m.a, 0, 60));
	make_rows(&more, DATA_JSONL, completions(&more.a, 0, 90));
	REQUIRE(tokenise(&m, NULL, NULL) && tokenise(&more, NULL, NULL));
	size_t n, nmore;
	uint32_t *one = pack_order(&m.a, &m.table, 1, 0, &n), *two = pack_order(&m.a, &m.table, 1, 1, &n);
	uint32_t *again = pack_order(&m.a, &m.table, 1, 0, &n), *seed = pack_order(&m.a, &m.table, 2, 0, &n);
	CHECK(!memcmp(one, again, n * sizeof(*one)));
	CHECK(memcmp(one, two, n * sizeof(*one)) != 0 && memcmp(one, seed, n * sizeof(*one)) != 0);
	/* Rows added to the set leave the others in the order they had. */
	uint32_t *all = pack_order(&more.a, &more.table, 1, 0, &nmore);
	size_t k = 0;
	for (size_t i = 0; i < nmore; i++) {
		if (all[i] < 60)
			CHECK_INT(all[i], one[k++]);
	}
	CHECK_INT(k, 60);
	release(&m);
	release(&more);
}

TEST(show_prints_a_row_with_its_mask)
{
	static const char *choices[] = {"no", "a\"b"};
	struct made m = {.task = {.kind = TASK_CHOICE, .length_tokens = 64, .prompt = "{p}?",
				 .answer = "{a}", .choice = choices, .nchoice = 2}};
	struct split_result r;
	struct split_rule rule = {NULL, {[SPLIT_TRAIN] = {.from = FROM_SHARE, .share = SHARE_ALL}}};
	struct strbuf out;
	char hex[DIGEST_HEX], want[1024];
	make_rows(&m, DATA_JSON, "{\n\"k\":{\"p\":\"Q\",\"a\":\"no\"}}");
	REQUIRE(data_split(&m.a, &m.t, 1, &rule, 1, &r, &m.e));
	strbuf_init(&out);
	struct show_job job = {&m.t, 1, &r, &m.task, &m.tok};
	REQUIRE(data_show(&job, 0, &out, &m.e));
	digest_hex(m.t.row[0].digest, hex);
	snprintf(want, sizeof(want),
		"row: 1 of 1, d.jsonl:2, %s\nkey: \"k\"\nsplit: train\nprompt: \"Q?\"\n"
		"choice 1, gold: \"no\"\nchoice 2: \"a\\\"b\"\nprompt, 4 tokens\n"
		"  - 94 \"^\"\n  - 95 \"_\"\n  - 81 \"Q\"\n  - 63 \"?\"\n"
		"answer 1, 3 tokens, gold\n  + 32 \" \"\n  + 110 \"n\"\n  + 111 \"o\"\n"
		"answer 2, 4 tokens\n  . 32 \" \"\n  . 97 \"a\"\n  . 34 \"\\\"\"\n  . 98 \"b\"\n",
		hex);
	CHECK_STR(out.s, want);
	CHECK(!data_show(&job, 1, &out, &m.e));
	CHECK_STR(m.e.msg, "no row 2; the dataset has 1 rows");
	strbuf_release(&out);
	release(&m);
}
