/* runtime/tokenizer.h on vocabularies made here: no data needed. The ids of real ones: tok_ids_test.c. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "pretokenize.h"
#include "tok.h"
#include "tokenizer.h"
#include "unicode_class.h"
#include "utf8.h"

struct made {
	struct arena a;
	struct tok tok;
	struct strbuf block;
	struct tokenizer t;
};

static void made_init(struct made *m, enum tokenizer_kind kind, unsigned traits)
{
	*m = (struct made){0};
	strbuf_init(&m->block);
	tok_init(&m->tok, &m->a, "made");
	m->tok.kind = kind;
	m->tok.traits = traits;
}

static void made_release(struct made *m)
{
	strbuf_release(&m->block);
	arena_release(&m->a);
}

static uint32_t put(struct made *m, const char *text, unsigned type, double score)
{
	struct err e;
	CHECK(tok_put(&m->tok, m->tok.ntoken, (struct buf){text, strlen(text)}, type, &e));
	m->tok.token[m->tok.ntoken - 1].score = score;
	return (uint32_t)m->tok.ntoken - 1;
}

static void put_bytes(struct made *m)
{
	for (int c = 0; c < 256; c++) {
		char byte = (char)c;
		uint32_t id = put(m, arena_printf(&m->a, "<0x%02X>", c), TOKEN_BYTE, 0);
		m->tok.token[id].text = (struct buf){arena_copy(&m->a, &byte, 1), 1};
	}
}

static void merge(struct made *m, uint32_t left, uint32_t right, uint32_t id)
{
	*arena_push(&m->a, m->tok.merge, m->tok.nmerge) = (struct tok_merge){left, right, id};
}

static bool finish(struct made *m)
{
	struct err e;
	bool ok = tok_write(&m->tok, &m->block, &e) &&
		tokenizer_load(&m->t, strbuf_buf(&m->block), &e);
	if (!ok)
		FAIL("%s", e.msg);
	return ok;
}

/* Tokens as text: "a|b|<0A>", the unknown one as "?". */
static void check_pieces(const struct made *m, const char *text, size_t n, unsigned flags,
	const char *want)
{
	struct token_list l = {0};
	struct strbuf got;
	strbuf_init(&got);
	tokenizer_encode(&m->t, text, n, flags, &l);
	for (size_t i = 0; i < l.n; i++) {
		struct buf b = tokenizer_decode_token(&m->t, l.id[i], TOKENIZER_SHOW_SPECIAL);
		if (i)
			strbuf_addc(&got, '|');
		if (l.id[i] == m->t.unk_id)
			strbuf_addc(&got, '?');
		else if ((m->t.type[l.id[i]] & TOKEN_TYPE_MASK) == TOKEN_BYTE)
			strbuf_addf(&got, "<%02X>", *(const unsigned char *)b.p);
		else
			strbuf_add(&got, b.p, b.n);
	}
	CHECK_STR(got.s, want);
	strbuf_release(&got);
	token_list_release(&l);
}

static void check(const struct made *m, const char *text, unsigned flags, const char *want)
{
	check_pieces(m, text, strlen(text), flags, want);
}

TEST(spm_merges_by_score_and_leftmost_among_equals)
{
	struct made m;
	made_init(&m, TOKENIZER_SPM, TOK_FUSE_UNK | TOK_PREFIX | TOK_PREFIX_EVERY);
	m.tok.unk_id = put(&m, "<unk>", TOKEN_UNKNOWN, 0);
	put(&m, "a", TOKEN_NORMAL, 0);
	put(&m, "b", TOKEN_NORMAL, 0);
	put(&m, "ab", TOKEN_NORMAL, -2);
	put(&m, "ba", TOKEN_NORMAL, -2);
	put(&m, "bb", TOKEN_NORMAL, -1);
	put(&m, "bba", TOKEN_NORMAL, -9);
	put(&m, " ", TOKEN_NORMAL, 0);
	put(&m, " a", TOKEN_NORMAL, -5);
	put(&m, "x\xc3\xa9", TOKEN_NORMAL, -1); /* its characters are no tokens */
	m.tok.start_id = put(&m, "<s>", TOKEN_CONTROL, 0);
	m.tok.traits |= TOK_ADDS_START;
	put(&m, "<u>", TOKEN_USER | TOKEN_LSTRIP | TOKEN_RSTRIP, 0);
	put(&m, "<u>u", TOKEN_USER, 0);
	put(&m, "", TOKEN_NORMAL, 0);
	put(&m, "q", TOKEN_CONTROL, 0);
	put(&m, "w", TOKEN_UNUSED, 0);
	REQUIRE(finish(&m));
	check(&m, "", TOKENIZER_ADD_START, "<s>");
	check(&m, "aba", 0, " |ab|a");
	check(&m, "bab", 0, " |ba|b");
	check(&m, "abba", 0, " a|bba");
	check(&m, "abba", TOKENIZER_CONTINUE, "a|bba");
	check(&m, "bbbb", TOKENIZER_CONTINUE, "bb|bb");
	check(&m, "bbb", TOKENIZER_CONTINUE, "bb|b");
	check(&m, "x\xc3\xa9x", TOKENIZER_CONTINUE, "x\xc3\xa9|?");
	check(&m, "zz\xff\xc3", TOKENIZER_CONTINUE, "?");
	check(&m, "zaz", TOKENIZER_CONTINUE, "?|a|?");
	check(&m, "qaw", TOKENIZER_CONTINUE, "?|a|?"); /* text becomes no control token */
	check(&m, "qaw", TOKENIZER_CONTINUE | TOKENIZER_PARSE_SPECIAL, "q| a|?");
	check(&m, "<s>a", TOKENIZER_CONTINUE, "?|a"); /* fused: not asked for */
	check(&m, "<s>a", TOKENIZER_CONTINUE | TOKENIZER_PARSE_SPECIAL, "<s>| a");
	check(&m, "b \n<u>\t\xc2\xa0 b<u>ub", 0, " |b|<u>| |b|<u>u| |b");
	CHECK_INT(tokenizer_find(&m.t, " a", 2), 8);
	CHECK_INT(tokenizer_find(&m.t, "<s>", 3), m.t.start_id);
	CHECK_INT(tokenizer_find(&m.t, "w", 1), TOKENIZER_NONE);
	CHECK_INT(tokenizer_find(&m.t, "", 0), TOKENIZER_NONE);
	made_release(&m);
}

TEST(merges_follow_the_list_not_the_text)
{
	struct made m;
	made_init(&m, TOKENIZER_MERGES, TOK_FUSE_UNK);
	m.tok.unk_id = put(&m, "<unk>", TOKEN_UNKNOWN, 0);
	uint32_t a = put(&m, "a", TOKEN_NORMAL, 0), b = put(&m, "b", TOKEN_NORMAL, 0);
	uint32_t ab = put(&m, "ab", TOKEN_NORMAL, 0), ba = put(&m, "ba", TOKEN_NORMAL, 0);
	uint32_t aba = put(&m, "aba", TOKEN_NORMAL, 0);
	merge(&m, b, a, ba);
	merge(&m, ab, a, aba); /* only behind a merge of a b, which comes later in the list */
	merge(&m, a, b, ab);
	put(&m, "<u>", TOKEN_USER, 0);
	REQUIRE(finish(&m));
	check(&m, "aba", 0, "a|ba");
	check(&m, "abb", 0, "ab|b");
	check(&m, "axxb", 0, "a|?|b");
	check(&m, "xx<u>x", 0, "?|<u>|?");
	made_release(&m);
}

TEST(whole_words_need_no_merges)
{
	for (int whole = 0; whole < 2; whole++) {
		struct made m;
		made_init(&m, TOKENIZER_BYTE_LEVEL, whole ? TOK_WHOLE_WORDS : 0);
		m.tok.pattern = PRETOKENIZE_GPT2;
		m.tok.unk_id = put(&m, "<unk>", TOKEN_UNKNOWN, 0);
		put(&m, "a", TOKEN_NORMAL, 0);
		put(&m, "b", TOKEN_NORMAL, 0);
		put(&m, "ab", TOKEN_NORMAL, 0);
		REQUIRE(finish(&m));
		check(&m, "ab", 0, whole ? "ab" : "a|b");
		check(&m, "abab", 0, "a|b|a|b");
		made_release(&m);
	}
}

/* Merges the best pair again and again, looking at all of them each time. */
static size_t encode_slowly(const struct made *m, const char *s, size_t n, uint32_t *out)
{
	size_t at[256], nsymbol = 0; /* ends of symbols; ASCII only */
	uint32_t id[256];
	for (size_t i = 0; i < n; i++) {
		id[nsymbol] = tokenizer_find(&m->t, s + i, 1);
		at[nsymbol++] = i + 1;
	}
	for (;;) {
		size_t best = SIZE_MAX;
		double best_score = 0;
		uint32_t best_id = 0;
		for (size_t i = 0; i + 1 < nsymbol; i++) {
			size_t begin = i ? at[i - 1] : 0;
			uint32_t merged = TOKENIZER_NONE;
			double score = 0;
			if (m->t.kind == TOKENIZER_SPM) {
				merged = tokenizer_find(&m->t, s + begin, at[i + 1] - begin);
				score = merged == TOKENIZER_NONE ? 0 : m->tok.token[merged].score;
			} else {
				for (size_t k = m->tok.nmerge; k-- > 0 && merged == TOKENIZER_NONE;)
					if (m->tok.merge[k].left == id[i] &&
						m->tok.merge[k].right == id[i + 1]) {
						merged = m->tok.merge[k].id;
						score = -(double)k;
					}
			}
			if (merged != TOKENIZER_NONE && (best == SIZE_MAX || score > best_score)) {
				best = i;
				best_score = score;
				best_id = merged;
			}
		}
		if (best == SIZE_MAX)
			break;
		id[best] = best_id;
		at[best] = at[best + 1];
		for (size_t i = best + 1; i + 1 < nsymbol; i++) {
			id[i] = id[i + 1];
			at[i] = at[i + 1];
		}
		nsymbol--;
	}
	memcpy(out, id, nsymbol * sizeof(*out));
	return nsymbol;
}

TEST(encoding_equals_the_slow_way)
{
	static const char letters[] = "abc ";
	struct rng r;
	rng_init(&r, 7);
	for (int round = 0; round < 300; round++) {
		struct made m;
		bool spm = round & 1;
		made_init(&m, spm ? TOKENIZER_SPM : TOKENIZER_MERGES, 0);
		m.tok.unk_id = put(&m, "<unk>", TOKEN_UNKNOWN, 0);
		for (int i = 0; i < 4; i++)
			put(&m, arena_strndup(&m.a, letters + i, 1), TOKEN_NORMAL, -1);
		for (int i = 0; i < 40; i++) {
			uint32_t left = 1 + (uint32_t)rng_below(&r, m.tok.ntoken - 1);
			uint32_t right = 1 + (uint32_t)rng_below(&r, m.tok.ntoken - 1);
			struct buf x = m.tok.token[left].text, y = m.tok.token[right].text;
			/* Half of the vocabularies hold spaces at the beginning of words only. */
			if (x.n + y.n > 12 || (round & 2 && *(const char *)y.p == ' '))
				continue;
			struct buf name = {arena_printf(&m.a, "%.*s%.*s", (int)x.n,
				(const char *)x.p, (int)y.n, (const char *)y.p), x.n + y.n};
			tok_index(&m.tok);
			uint32_t id = tok_find(&m.tok, name);
			if (id == TOKENIZER_NONE)
				id = put(&m, name.p, TOKEN_NORMAL, -(double)rng_below(&r, 20));
			if (!spm)
				merge(&m, left, right, id);
		}
		REQUIRE(finish(&m));
		if (round & 2)
			CHECK(m.t.traits & TOK_WORDS);
		for (int text = 0; text < 20; text++) {
			char s[200];
			uint32_t want[256];
			size_t n = rng_below(&r, sizeof(s));
			for (size_t i = 0; i < n; i++)
				s[i] = letters[rng_below(&r, 4)];
			size_t nwant = encode_slowly(&m, s, n, want);
			struct token_list got = {0};
			tokenizer_encode(&m.t, s, n, 0, &got);
			if (got.n != nwant || (nwant && memcmp(got.id, want, nwant * 4) != 0))
				FAIL("round %d: '%.*s'", round, (int)n, s);
			token_list_release(&got);
		}
		made_release(&m);
	}
}

/* A vocabulary with all bytes, a few words and an end token. */
static void make_small(struct made *m)
{
	made_init(m, TOKENIZER_SPM, TOK_FUSE_UNK | TOK_PREFIX | TOK_PREFIX_EVERY | TOK_ADDS_START);
	m->tok.unk_id = put(m, "<unk>", TOKEN_UNKNOWN, 0);
	m->tok.start_id = put(m, "<s>", TOKEN_CONTROL, 0);
	m->tok.end_id = put(m, "</s>", TOKEN_CONTROL, 0);
	put_bytes(m);
	put(m, " ", TOKEN_NORMAL, -3);
	put(m, "a", TOKEN_NORMAL, -3);
	put(m, " a", TOKEN_NORMAL, -1);
	put(m, "aa", TOKEN_NORMAL, -2);
	put(m, "\xe2\x82\xac", TOKEN_NORMAL, -3);
	put(m, "</u>", TOKEN_USER, 0);
	finish(m);
}

static size_t random_text(struct rng *r, bool utf8, char *s, size_t max)
{
	size_t n = 0;
	while (n + 4 <= max && rng_below(r, 60)) {
		static const uint32_t limit[] = {0x80, 0x80, 0x800, 0x10000, 0x110000};
		uint32_t cp = (uint32_t)rng_below(r, limit[rng_below(r, 5)]);
		if (!utf8)
			s[n++] = (char)rng_next(r);
		else if (cp < 0xd800 || cp > 0xdfff)
			n += utf8_encode(cp, s + n);
		if (rng_below(r, 4) == 0)
			s[n++] = " a"[rng_below(r, 2)];
	}
	return n;
}

TEST(decoding_gives_the_text_back)
{
	struct made m;
	struct rng r;
	struct strbuf whole, stream;
	struct token_list l = {0};
	make_small(&m);
	rng_init(&r, 11);
	strbuf_init(&whole);
	strbuf_init(&stream);
	for (int round = 0; round < 2000; round++) {
		char s[300];
		bool utf8 = round & 1;
		size_t n = random_text(&r, utf8, s, sizeof(s) - 4), where;
		struct tokenizer_stream st;
		l.n = 0;
		strbuf_clear(&whole);
		strbuf_clear(&stream);
		tokenizer_encode(&m.t, s, n, TOKENIZER_ADD_START, &l);
		tokenizer_decode(&m.t, l.id, l.n, TOKENIZER_AT_START, &whole);
		CHECK(whole.n == n && memcmp(whole.s, s, n) == 0);
		tokenizer_stream_init(&st, &m.t, TOKENIZER_AT_START);
		for (size_t i = 0; i < l.n; i++) {
			tokenizer_stream_put(&st, l.id[i], &stream);
			if (utf8 && !utf8_valid(stream.s, stream.n, &where))
				FAIL("round %d: half a character at byte %zu", round, where);
		}
		tokenizer_stream_end(&st, &stream);
		CHECK(stream.n == n && memcmp(stream.s, s, n) == 0);
	}
	strbuf_release(&whole);
	strbuf_release(&stream);
	token_list_release(&l);
	made_release(&m);
}

TEST(decoding_drops_only_the_space_that_encoding_put)
{
	struct made m;
	struct strbuf out;
	make_small(&m);
	strbuf_init(&out);
	uint32_t a = tokenizer_find(&m.t, " a", 2), user = tokenizer_find(&m.t, "</u>", 4);
	const uint32_t ids[] = {m.t.start_id, a, a, user, a, m.t.end_id, 999999, m.t.unk_id};
	tokenizer_decode(&m.t, ids, NELEM(ids), TOKENIZER_AT_START, &out);
	CHECK_STR(out.s, "a a</u>a\xef\xbf\xbd");
	strbuf_clear(&out);
	tokenizer_decode(&m.t, ids, NELEM(ids), TOKENIZER_SHOW_SPECIAL, &out);
	CHECK_STR(out.s, "<s>a a</u>a</s>\xef\xbf\xbd");
	strbuf_clear(&out);
	tokenizer_decode(&m.t, ids + 1, 1, 0, &out); /* a text goes on */
	CHECK_STR(out.s, " a");
	CHECK(tokenizer_is_stop(&m.t, m.t.end_id));
	CHECK(!tokenizer_is_stop(&m.t, m.t.start_id) && !tokenizer_is_stop(&m.t, 999999));
	strbuf_release(&out);
	made_release(&m);
}

TEST(stream_holds_back_only_what_may_become_a_character)
{
	static const struct {
		const char *bytes, *shown; /* shown: after each byte how many are out */
	} cases[] = {
		{"\xe2\x82\xac", "003"},
		{"\xf0\x9f\x98\x80z", "00045"},
		{"\xe2z", "02"},
		{"\x80\x80", "12"},
		{"\xe2\x82\xe2\x82\xac", "00225"},
		{"\xff\xc1q", "123"},
		{"a\xc3", "11"},
	};
	struct made m;
	make_small(&m);
	for (size_t k = 0; k < NELEM(cases); k++) {
		struct tokenizer_stream st;
		struct strbuf out;
		strbuf_init(&out);
		tokenizer_stream_init(&st, &m.t, 0);
		size_t n = strlen(cases[k].bytes);
		for (size_t i = 0; i < n; i++) {
			tokenizer_stream_put(&st, m.t.byte_id[(unsigned char)cases[k].bytes[i]], &out);
			CHECK_INT(out.n, cases[k].shown[i] - '0');
			tokenizer_stream_put(&st, m.t.end_id, &out); /* no text: nothing moves */
			CHECK_INT(out.n, cases[k].shown[i] - '0');
		}
		tokenizer_stream_end(&st, &out);
		CHECK_STR(out.s, cases[k].bytes);
		strbuf_release(&out);
	}
	made_release(&m);
}

/* Quadratic work would take hours here. */
TEST(long_texts_of_one_word_take_no_time)
{
	enum { N = 3000000 };
	char *s = xmalloc(N);
	struct token_list l = {0};
	for (int byte_level = 0; byte_level < 2; byte_level++) {
		struct made m;
		if (!byte_level) {
			make_small(&m);
		} else {
			made_init(&m, TOKENIZER_BYTE_LEVEL, 0);
			m.tok.pattern = PRETOKENIZE_LLAMA3;
			m.tok.unk_id = put(&m, "<unk>", TOKEN_UNKNOWN, 0);
			uint32_t a = put(&m, "a", TOKEN_NORMAL, 0);
			uint32_t space = put(&m, " ", TOKEN_NORMAL, 0);
			merge(&m, a, a, put(&m, "aa", TOKEN_NORMAL, 0));
			merge(&m, space, space, put(&m, "  ", TOKEN_NORMAL, 0));
			REQUIRE(finish(&m));
		}
		for (const char *c = "a z"; *c; c++) {
			memset(s, *c, N);
			l.n = 0;
			tokenizer_encode(&m.t, s, N, TOKENIZER_CONTINUE, &l);
			CHECK(l.n >= 1 && l.n <= N);
			if (*c == 'a')
				CHECK_INT(l.n, N / 2);
		}
		made_release(&m);
	}
	token_list_release(&l);
	free(s);
}

TEST(damaged_blocks_are_errors_or_harmless)
{
	static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x10};
	static const char text[] = "aa a</u> \xe2\x82\xac z<s>\xff";
	struct made m;
	struct err e;
	struct token_list l = {0};
	struct strbuf out;
	size_t nerror = 0;
	make_small(&m);
	strbuf_init(&out);
	size_t n = m.block.n;
	char *copy = xmalloc(n); /* exactly as large, so that ASan sees each byte beyond */
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < NELEM(changes); k++) {
			struct tokenizer t;
			memcpy(copy, m.block.s, n);
			copy[i] = (char)((unsigned char)copy[i] ^ changes[k]);
			if (!tokenizer_load(&t, (struct buf){copy, n}, &e)) {
				CHECK(e.kind == ERR_IO && e.msg[0]);
				nerror++;
				continue;
			}
			l.n = 0;
			out.n = 0;
			tokenizer_encode(&t, text, sizeof(text), TOKENIZER_ADD_START |
				TOKENIZER_PARSE_SPECIAL, &l);
			tokenizer_decode(&t, l.id, l.n, TOKENIZER_AT_START, &out);
			tokenizer_find(&t, text, 2);
		}
	CHECK(nerror > n);
	free(copy);
	for (size_t len = 0; len < n; len += len < 2000 ? 1 : 97) {
		struct tokenizer t;
		char *part = xmalloc(len ? len : 1);
		memcpy(part, m.block.s, len);
		CHECK(!tokenizer_load(&t, (struct buf){part, len}, &e));
		/* Also when the block says itself that it ends there. */
		uint32_t bytes = (uint32_t)len;
		if (len >= 16)
			memcpy(part + 12, &bytes, 4);
		CHECK(!tokenizer_load(&t, (struct buf){part, len}, &e));
		free(part);
	}
	strbuf_release(&out);
	token_list_release(&l);
	made_release(&m);
}

TEST(load_names_what_is_wrong)
{
	static const struct {
		size_t word;
		uint32_t value;
		const char *want;
	} cases[] = {
		{0, 1, "damaged tokenizer: no tokenizer block"},
		{2, 7, "unable to read tokenizer version 7: this program reads 1"},
		{4, 3, "damaged tokenizer: unknown kind, trait or pattern"},
		{7, 100000000, "damaged tokenizer: its tables go beyond the end"},
		{10, 1000, "damaged tokenizer: a hash table that is no power of two"},
		{12, 5000, "damaged tokenizer: a start, end or unknown token outside the vocabulary"},
		{12, UINT32_MAX, "damaged tokenizer: no start token"},
		{16, 0, "damaged tokenizer: a byte's token is no byte"},
		{16 + 256, 9, "damaged tokenizer: the texts do not fill the block"},
		{16 + 256 + 9, 0, "damaged tokenizer: token texts overlap"},
	};
	struct made m;
	make_small(&m);
	uint32_t *copy = xmalloc(m.block.n);
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct tokenizer t;
		struct err e = {0};
		memcpy(copy, m.block.s, m.block.n);
		copy[cases[i].word] = cases[i].value;
		CHECK(!tokenizer_load(&t, (struct buf){copy, m.block.n}, &e));
		CHECK_STR(e.msg, cases[i].want);
	}
	free(copy);
	made_release(&m);
}

/* Words as the regular expressions cut them, by Hugging Face's tokenizers 0.23. */
TEST(words_are_cut_as_the_patterns_say)
{
	enum { GPT2 = PRETOKENIZE_GPT2, DIGITS = PRETOKENIZE_DIGITS, LLAMA3 = PRETOKENIZE_LLAMA3,
		QWEN2 = PRETOKENIZE_QWEN2 };
	static const struct {
		int pattern;
		const char *text, *want;
	} cases[] = {
		{GPT2, "Hello, world's  best", "Hello|,| world|'s| | best"},
		{DIGITS, "Hello, world's  best", "Hello|,| world|'s| | best"},
		{LLAMA3, "Hello, world's  best", "Hello|,| world|'s| | best"},
		{GPT2, "I'LL don't 'Twas 'tis y'all", "I|'|LL| don|'t| '|Twas| '|tis| y|'|all"},
		{LLAMA3, "I'LL don't 'Twas 'tis y'all", "I|'LL| don|'t| '|Twas| '|tis| y|'all"},
		{QWEN2, "I'LL don't 'Twas 'tis y'all", "I|'LL| don|'t| '|Twas| '|tis| y|'all"},
		{GPT2, "x 12345 6", "x| 12345| 6"},
		{DIGITS, "x 12345 6", "x| |1|2|3|4|5| |6"},
		{LLAMA3, "x 12345 6", "x| |123|45| |6"},
		{QWEN2, "x 12345 6", "x| |1|2|3|4|5| |6"},
		{GPT2, "a  \n\n  b\n", "a|  \n\n | b|\n"},
		{DIGITS, "a  \n\n  b\n", "a|  \n\n | b|\n"},
		{LLAMA3, "a  \n\n  b\n", "a|  \n\n| | b|\n"},
		{GPT2, "tab\tword \t9  7", "tab|\t|word| |\t|9| | 7"},
		{DIGITS, "tab\tword \t9  7", "tab|\t|word| \t|9|  |7"},
		{LLAMA3, "tab\tword \t9  7", "tab|\tword| |\t|9| | |7"},
		{QWEN2, "tab\tword \t9  7", "tab|\tword| |\t|9| | |7"},
		{GPT2, "(foo)!!\n\n next", "(|foo|)!!|\n\n| next"},
		{LLAMA3, "(foo)!!\n\n next", "(foo|)!!\n\n| next"},
		{GPT2, "\u00a0nbsp\u3000\u3042 x\u0301y", "\u00a0|nbsp|\u3000|\u3042| x|\u0301|y"},
		{LLAMA3, "\u00a0nbsp\u3000\u3042 x\u0301y", "\u00a0nbsp|\u3000\u3042| x|\u0301y"},
		{GPT2, "\u0667\u0668 \u00bd\u00b2 \u2167x", "\u0667\u0668| \u00bd\u00b2| \u2167|x"},
		{QWEN2, "\u0667\u0668 \u00bd\u00b2 \u2167x",
			"\u0667|\u0668| |\u00bd|\u00b2| |\u2167|x"},
		{GPT2, "a\r\n\r\nb  ", "a|\r\n\r|\n|b|  "},
		{QWEN2, "a\r\n\r\nb  ", "a|\r\n\r\n|b|  "},
		{DIGITS, "'s' 'd'", "'s|'| '|d|'"},
		{QWEN2, "'s' 'd'", "'s|'| '|d|'"},
		{LLAMA3, "\U0001f680\U0001f680 go  \U0001f680",
			"\U0001f680\U0001f680| go| | \U0001f680"},
		{PRETOKENIZE_WHOLE, "a b\n1", "a b\n1"},
		{QWEN2, "'", "'"},
		{GPT2, " ", " "},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct strbuf got;
		const char *s = cases[i].text;
		size_t n = strlen(s);
		strbuf_init(&got);
		for (size_t at = 0, len; at < n; at += len) {
			len = pretokenize_next((enum pretokenize_pattern)cases[i].pattern, s + at,
				n - at);
			if (len == 0 || len > n - at) {
				FAIL("a word of %zu bytes", len);
				break;
			}
			if (at)
				strbuf_addc(&got, '|');
			strbuf_add(&got, s + at, len);
		}
		CHECK_STR(got.s, cases[i].want);
		strbuf_release(&got);
	}
}

TEST(words_cover_random_bytes)
{
	struct rng r;
	rng_init(&r, 3);
	for (int round = 0; round < 4000; round++) {
		char s[304];
		size_t n = random_text(&r, round & 1, s, sizeof(s) - 4);
		enum pretokenize_pattern pattern = (enum pretokenize_pattern)(round % PRETOKENIZE_NPATTERN);
		for (size_t at = 0, len; at < n; at += len) {
			len = pretokenize_next(pattern, s + at, n - at);
			REQUIRE(len >= 1 && len <= n - at);
		}
		size_t lead = pretokenize_leading_space(s, n), trail = pretokenize_trailing_space(s, n);
		CHECK(lead <= n && trail <= n);
	}
	CHECK_INT(pretokenize_leading_space(" \u3000\nx ", 7), 5);
	CHECK_INT(pretokenize_trailing_space("x\xe3\x80 \u3000\n", 8), 5);
	CHECK_INT(pretokenize_trailing_space(" \n", 2), 2);
}

TEST(unicode_classes)
{
	static const struct {
		uint32_t cp;
		enum unicode_class want;
	} cases[] = {
		{'a', UNICODE_LETTER}, {'0', UNICODE_NUMBER}, {' ', UNICODE_SPACE}, {'!', UNICODE_OTHER},
		{0, UNICODE_OTHER}, {0x85, UNICODE_SPACE}, {0x200b, UNICODE_OTHER},
		{0xbd, UNICODE_NUMBER}, {0x4e00, UNICODE_LETTER}, {0x301, UNICODE_OTHER},
		{0x10ffff, UNICODE_OTHER}, {0x110000, UNICODE_OTHER}, {UINT32_MAX, UNICODE_OTHER},
	};
	for (size_t i = 0; i < NELEM(cases); i++)
		CHECK_INT(unicode_class(cases[i].cp), cases[i].want);
	for (unsigned i = 1; i < unicode_table_n; i++)
		CHECK(unicode_table[i - 1] >> 2 < unicode_table[i] >> 2);
}
