#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "file.h"
#include "pretokenize.h"
#include "tok_train.h"
#include "tokenizer.h"

enum { SPECIALS = TOK_TRAIN_LEAST - 1 };

static bool train(const struct buf *rows, size_t nrows, uint32_t nvocab, struct strbuf *block,
	struct tokenizer *t)
{
	struct err e;
	strbuf_clear(block);
	if (tok_train_bpe(rows, nrows, nvocab, block, &e) && tokenizer_load(t, strbuf_buf(block), &e))
		return true;
	FAIL("%s", e.msg);
	return false;
}

static struct buf row(const char *s)
{
	return (struct buf){s, strlen(s)};
}

TEST(training_finds_the_frequent_pairs)
{
	struct strbuf block, got;
	struct tokenizer t;
	strbuf_init(&block);
	strbuf_init(&got);
	const struct buf rows[] = {row("low low low low low lower lower"), row("newest newest 12"),
		row("newest wide wide\n\nnewest newest newest")};
	REQUIRE(train(rows, 3, SPECIALS + 24, &block, &t));
	for (uint32_t id = SPECIALS; id < t.nvocab; id++) {
		struct buf b = tokenizer_decode_token(&t, id, 0);
		strbuf_addc(&got, '|');
		strbuf_add(&got, b.p, b.n);
	}
	/* "we" 8 times; " l" and "lo" 7; then 6 of "newest", from the lexicographically first pair on;
	 * characters are half of it: "1" and "2" stay bytes. */
	CHECK_STR(got.s, "|we| l| lo|ewe|ewes|ewest|newest| newest| low| w| lowe| lower"
		"|e| |w|l|o|n|s|t|\n|d|i|r");
	strbuf_release(&block);
	strbuf_release(&got);
}

/* The definition, counted anew for each piece. Words of letters and spaces only. */
struct slow_word {
	char part[40][20];
	int n, count;
};

static void train_slowly(struct slow_word *w, int nw, int npieces, struct strbuf *out)
{
	for (int made = 0; made < npieces;) {
		const char *left = NULL, *right = NULL;
		int best = 0;
		for (int i = 0; i < nw; i++)
			for (int k = 0; k + 1 < w[i].n; k++) {
				const char *x = w[i].part[k], *y = w[i].part[k + 1];
				int count = 0;
				if (strlen(x) + strlen(y) > 16)
					continue;
				for (int j = 0; j < nw; j++)
					for (int m = 0; m + 1 < w[j].n; m++)
						if (!strcmp(w[j].part[m], x) && !strcmp(w[j].part[m + 1], y))
							count += w[j].count;
				int order = left ? strcmp(x, left) : 0;
				if (left && !order)
					order = strcmp(y, right);
				if (count > best || (count == best && order < 0)) {
					best = count;
					left = x;
					right = y;
				}
			}
		if (!left)
			return;
		char x[20], y[20], both[40];
		strcpy(x, left);
		strcpy(y, right);
		strcpy(both, x);
		strcat(both, y);
		struct strbuf entry;
		strbuf_init(&entry);
		strbuf_addf(&entry, "|%s|", both);
		/* Two pairs may make one text: one piece. */
		if (!strstr(out->s, entry.s)) {
			strbuf_addf(out, "%s|", both);
			made++;
		}
		strbuf_release(&entry);
		for (int i = 0; i < nw; i++) {
			int n = 0;
			for (int k = 0; k < w[i].n; n++) {
				bool here = k + 1 < w[i].n && !strcmp(w[i].part[k], x) &&
					!strcmp(w[i].part[k + 1], y);
				if (here)
					strcpy(w[i].part[n], both);
				else if (n != k)
					strcpy(w[i].part[n], w[i].part[k]);
				k += here ? 2 : 1;
			}
			w[i].n = n;
		}
	}
}

TEST(training_equals_the_slow_way)
{
	struct rng r;
	rng_init(&r, 9);
	for (int round = 0; round < 40; round++) {
		struct slow_word w[30] = {0};
		struct strbuf text, want, got, block;
		struct tokenizer t;
		strbuf_init(&text);
		strbuf_init(&want);
		strbuf_init(&got);
		strbuf_init(&block);
		int nw = 0, npieces = 10 + (int)rng_below(&r, 60);
		for (int i = 0; i < 30; i++) {
			char s[34] = " ";
			int n = 1 + (int)rng_below(&r, i % 5 ? 6 : 31), count = 1 + (int)rng_below(&r, 4), k;
			for (k = 1; k <= n; k++)
				s[k] = "abc"[rng_below(&r, 3)];
			s[k] = '\0';
			for (int c = 0; c < count; c++)
				strbuf_adds(&text, text.n ? s : s + 1);
			w[nw].n = n + 1;
			w[nw].count = count;
			for (k = 0; k <= n; k++)
				w[nw].part[k][0] = s[k];
			nw++;
		}
		strbuf_adds(&want, "|");
		train_slowly(w, nw, npieces, &want);
		struct buf b = strbuf_buf(&text);
		REQUIRE(train(&b, 1, (uint32_t)(SPECIALS + 4 + npieces), &block, &t));
		strbuf_adds(&got, "|");
		for (uint32_t id = SPECIALS; id + 4 < t.nvocab; id++) {
			struct buf piece = tokenizer_decode_token(&t, id, 0);
			strbuf_add(&got, piece.p, piece.n);
			strbuf_adds(&got, "|");
		}
		CHECK_STR(got.s, want.s);
		strbuf_release(&text);
		strbuf_release(&want);
		strbuf_release(&got);
		strbuf_release(&block);
	}
}

TEST(training_depends_on_the_rows_not_their_order)
{
	enum { N = 200 };
	struct rng r;
	struct strbuf text, x, y;
	struct tokenizer t;
	struct buf rows[N];
	size_t end[N + 1] = {0};
	strbuf_init(&text);
	strbuf_init(&x);
	strbuf_init(&y);
	rng_init(&r, 4);
	for (int i = 0; i < N; i++) {
		for (size_t k = rng_below(&r, 60); k > 0; k--)
			strbuf_addc(&text, rng_below(&r, 50) ? " etaoin12.\n\xc3\xa9"[rng_below(&r, 13)]
				: (char)rng_next(&r));
		end[i + 1] = text.n;
	}
	for (int i = 0; i < N; i++)
		rows[i] = (struct buf){text.s + end[i], end[i + 1] - end[i]};
	REQUIRE(train(rows, N, 400, &x, &t));
	for (int i = N - 1; i > 0; i--) {
		size_t k = rng_below(&r, (uint64_t)i + 1);
		struct buf swap = rows[i];
		rows[i] = rows[k];
		rows[k] = swap;
	}
	REQUIRE(train(rows, N, 400, &y, &t));
	CHECK(x.n == y.n && memcmp(x.s, y.s, x.n) == 0);
	/* And all of it survives, also what is no UTF-8. */
	struct token_list l = {0};
	struct strbuf out;
	strbuf_init(&out);
	tokenizer_encode(&t, text.s, text.n, TOKENIZER_ADD_START, &l);
	tokenizer_decode(&t, l.id, l.n, TOKENIZER_AT_START, &out);
	CHECK(out.n == text.n && memcmp(out.s, text.s, text.n) == 0);
	CHECK_INT(l.id[0], t.start_id);
	token_list_release(&l);
	strbuf_release(&out);
	strbuf_release(&text);
	strbuf_release(&x);
	strbuf_release(&y);
}

TEST(training_of_little_text)
{
	struct strbuf block;
	struct tokenizer t;
	struct err e;
	const struct buf one = row("a"), none = row(""), noise = {"\xff\xfe", 2};
	strbuf_init(&block);
	REQUIRE(train(&one, 1, 100000, &block, &t));
	CHECK_INT(t.nvocab, SPECIALS + 3); /* " a", " ", "a" */
	REQUIRE(train(&noise, 1, 1000, &block, &t));
	CHECK_INT(t.nvocab, SPECIALS + 1);
	CHECK(!tok_train_bpe(&none, 1, 1000, &block, &e));
	CHECK_STR(e.msg, "unable to train a tokenizer: the rows hold no text");
	CHECK(!tok_train_bpe(NULL, 0, 1000, &block, &e));
	CHECK(!tok_train_bpe(&one, 1, 259, &block, &e));
	CHECK_STR(e.msg, "a vocabulary of 259 is too small: 3 special tokens, 256 bytes and a character "
		"make 260");
	REQUIRE(train(&one, 1, 260, &block, &t));
	CHECK_INT(t.nvocab, 260);
	strbuf_release(&block);
}

/* What it is for: fewer tokens per byte than a vocabulary of the same size made for other text. */
TEST(training_on_tinystories)
{
	const char *data = test_data();
	struct arena a = {0};
	struct map m;
	struct err e;
	struct strbuf block;
	struct tokenizer t;
	struct token_list l = {0};
	if (!data)
		return;
	strbuf_init(&block);
	REQUIRE(map_open(&m, arena_printf(&a, "%s/datasets/tinystories/tinystories_lower_4M.txt", data),
		&e));
	struct buf text = {m.p, m.n};
	REQUIRE(train(&text, 1, 4096, &block, &t));
	CHECK_INT(t.nvocab, 4096);
	tokenizer_encode(&t, (const char *)m.p, m.n, 0, &l);
	CHECK(l.n * 4 < m.n);
	token_list_release(&l);
	map_release(&m);
	strbuf_release(&block);
	arena_release(&a);
}
