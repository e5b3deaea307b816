#include "tok_train.h"

#include <stdlib.h>
#include <string.h>

#include "pretokenize.h"
#include "tok.h"
#include "tokenizer.h"
#include "utf8.h"

enum { PIECE_CHARS_MAX = 16 };

/* Distinct texts, numbered as they come. */
struct texts {
	struct arena *a;
	struct buf *text;
	size_t n;
	uint32_t *slot; /* 1 + number */
	size_t nslot;
};

/* The words in which a pair was seen; it may be gone from some by now. */
struct place {
	uint32_t word;
	struct place *next;
};

struct pair {
	uint32_t left, right;
	int64_t count;
	struct place *places;
	bool grew; /* since the heap saw it */
};

struct candidate {
	int64_t count;
	uint32_t pair;
};

/* One stretch of kept characters, as often as it occurs. */
struct word {
	uint32_t *symbol;
	uint32_t n;
	int64_t count;
};

struct trainer {
	struct arena *a;
	struct texts symbols; /* characters first, then pieces */
	uint32_t *nchar;      /* of each symbol */
	size_t nnchar;
	struct word *word;
	size_t nword;
	struct pair *pair;
	size_t npair;
	uint32_t *pair_slot; /* 1 + index */
	size_t npair_slot;
	struct candidate *heap;
	size_t nheap, heap_cap;
	uint32_t *grown; /* pairs that grew in this merge */
	size_t ngrown, grown_cap;
};

static void texts_rehash(struct texts *t)
{
	t->nslot = t->nslot ? t->nslot * 2 : 1024;
	t->slot = arena_array(t->a, uint32_t, t->nslot);
	for (size_t i = 0; i < t->n; i++) {
		size_t at = tokenizer_hash_text(t->text[i].p, t->text[i].n);
		while (t->slot[at & (t->nslot - 1)])
			at++;
		t->slot[at & (t->nslot - 1)] = (uint32_t)i + 1;
	}
}

/* The number of a text; new ones are copied and get the next. */
static uint32_t texts_put(struct texts *t, const char *s, size_t n)
{
	if (t->n * 2 >= t->nslot)
		texts_rehash(t);
	size_t at = tokenizer_hash_text(s, n);
	for (;; at++) {
		uint32_t slot = t->slot[at & (t->nslot - 1)];
		if (!slot)
			break;
		const struct buf *have = &t->text[slot - 1];
		if (have->n == n && memcmp(have->p, s, n) == 0)
			return slot - 1;
	}
	t->slot[at & (t->nslot - 1)] = (uint32_t)t->n + 1;
	*arena_push(t->a, t->text, t->n) = (struct buf){arena_copy(t->a, s, n), n};
	return (uint32_t)t->n - 1;
}

static int compare_texts(struct buf x, struct buf y)
{
	int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
	return order ? order : (x.n > y.n) - (x.n < y.n);
}

static int64_t *count_words(struct texts *words, const struct buf *rows, size_t nrows)
{
	int64_t *count = NULL;
	size_t ncount = 0;
	struct strbuf row;
	strbuf_init(&row);
	for (size_t r = 0; r < nrows; r++) {
		strbuf_clear(&row);
		strbuf_addc(&row, ' ');
		strbuf_add(&row, rows[r].p, rows[r].n);
		for (size_t i = 0, n; i < row.n && row.n > 1; i += n) {
			n = pretokenize_next(PRETOKENIZE_QWEN2, row.s + i, row.n - i);
			uint32_t k = texts_put(words, row.s + i, n);
			if (k == ncount)
				*arena_push(words->a, count, ncount) = 0;
			count[k]++;
		}
	}
	strbuf_release(&row);
	return count;
}

struct character {
	struct buf text;
	int64_t count;
};

static int compare_characters(const void *a, const void *b)
{
	const struct character *x = a, *y = b;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return compare_texts(x->text, y->text);
}

/* Fills the first symbols. */
static void choose_characters(struct trainer *t, const struct texts *words, const int64_t *count,
	size_t room)
{
	struct texts seen = {.a = t->a};
	struct character *c = NULL;
	size_t nc = 0;
	int64_t total = 0, covered = 0;
	for (size_t w = 0; w < words->n; w++) {
		const char *s = words->text[w].p;
		for (size_t i = 0, len; i < words->text[w].n; i += len) {
			uint32_t cp;
			len = utf8_decode(s + i, words->text[w].n - i, &cp);
			if (!len) {
				len = 1;
				continue;
			}
			uint32_t k = texts_put(&seen, s + i, len);
			if (k == nc)
				*arena_push(t->a, c, nc) = (struct character){seen.text[k], 0};
			c[k].count += count[w];
			total += count[w];
		}
	}
	if (nc)
		qsort(c, nc, sizeof(*c), compare_characters);
	size_t most = room / 2 ? room / 2 : 1;
	for (size_t i = 0; i < nc && i < most; i++) {
		if ((double)covered >= 0.9995 * (double)total)
			break;
		covered += c[i].count;
		texts_put(&t->symbols, c[i].text.p, c[i].text.n);
		*arena_push(t->a, t->nchar, t->nnchar) = 1;
	}
}

/* The symbol of a character, or TOKENIZER_NONE. */
static uint32_t find_symbol(const struct texts *t, const char *s, size_t n)
{
	for (size_t at = tokenizer_hash_text(s, n); t->nslot; at++) {
		uint32_t slot = t->slot[at & (t->nslot - 1)];
		if (!slot)
			break;
		if (t->text[slot - 1].n == n && memcmp(t->text[slot - 1].p, s, n) == 0)
			return slot - 1;
	}
	return TOKENIZER_NONE;
}

static void end_word(struct trainer *t, const uint32_t *symbol, size_t n, int64_t count)
{
	if (n < 2)
		return;
	*arena_push(t->a, t->word, t->nword) =
		(struct word){arena_copy(t->a, symbol, n * sizeof(*symbol)), (uint32_t)n, count};
}

static void split_words(struct trainer *t, const struct texts *words, const int64_t *count)
{
	for (size_t w = 0; w < words->n; w++) {
		const char *s = words->text[w].p;
		size_t bytes = words->text[w].n, n = 0;
		uint32_t *symbol = xmalloc(bytes * sizeof(*symbol));
		for (size_t i = 0, len; i < bytes; i += len) {
			uint32_t cp, id = TOKENIZER_NONE;
			len = utf8_decode(s + i, bytes - i, &cp);
			if (len)
				id = find_symbol(&t->symbols, s + i, len);
			len = len ? len : 1;
			if (id != TOKENIZER_NONE) {
				symbol[n++] = id;
				continue;
			}
			end_word(t, symbol, n, count[w]);
			n = 0;
		}
		end_word(t, symbol, n, count[w]);
		free(symbol);
	}
}

static uint32_t pair_index(struct trainer *t, uint32_t left, uint32_t right)
{
	if (t->npair * 2 >= t->npair_slot) {
		t->npair_slot = t->npair_slot ? t->npair_slot * 2 : 4096;
		t->pair_slot = arena_array(t->a, uint32_t, t->npair_slot);
		for (size_t i = 0; i < t->npair; i++) {
			size_t at = tokenizer_hash_pair(t->pair[i].left, t->pair[i].right);
			while (t->pair_slot[at & (t->npair_slot - 1)])
				at++;
			t->pair_slot[at & (t->npair_slot - 1)] = (uint32_t)i + 1;
		}
	}
	size_t at = tokenizer_hash_pair(left, right);
	for (;; at++) {
		uint32_t slot = t->pair_slot[at & (t->npair_slot - 1)];
		if (!slot)
			break;
		if (t->pair[slot - 1].left == left && t->pair[slot - 1].right == right)
			return slot - 1;
	}
	t->pair_slot[at & (t->npair_slot - 1)] = (uint32_t)t->npair + 1;
	*arena_push(t->a, t->pair, t->npair) = (struct pair){.left = left, .right = right};
	return (uint32_t)t->npair - 1;
}

/* Whether x should be merged before y. */
static bool goes_first(const struct trainer *t, struct candidate x, struct candidate y)
{
	if (x.count != y.count)
		return x.count > y.count;
	const struct pair *p = &t->pair[x.pair], *q = &t->pair[y.pair];
	int order = compare_texts(t->symbols.text[p->left], t->symbols.text[q->left]);
	if (!order)
		order = compare_texts(t->symbols.text[p->right], t->symbols.text[q->right]);
	return order < 0;
}

static void heap_push(struct trainer *t, struct candidate c)
{
	if (t->nheap == t->heap_cap) {
		t->heap_cap = t->heap_cap ? t->heap_cap * 2 : 4096;
		t->heap = xrealloc(t->heap, t->heap_cap * sizeof(*t->heap));
	}
	size_t i = t->nheap++;
	for (; i && goes_first(t, c, t->heap[(i - 1) / 2]); i = (i - 1) / 2)
		t->heap[i] = t->heap[(i - 1) / 2];
	t->heap[i] = c;
}

static struct candidate heap_pop(struct trainer *t)
{
	struct candidate top = t->heap[0], last = t->heap[--t->nheap];
	size_t i = 0;
	for (size_t child; (child = 2 * i + 1) < t->nheap; i = child) {
		if (child + 1 < t->nheap && goes_first(t, t->heap[child + 1], t->heap[child]))
			child++;
		if (!goes_first(t, t->heap[child], last))
			break;
		t->heap[i] = t->heap[child];
	}
	t->heap[i] = last;
	return top;
}

/* Counts pair i of the word `sign` times over. */
static void count_pair(struct trainer *t, const struct word *w, uint32_t i, int sign)
{
	uint32_t left = w->symbol[i], right = w->symbol[i + 1];
	if (t->nchar[left] + t->nchar[right] > PIECE_CHARS_MAX)
		return;
	uint32_t k = pair_index(t, left, right);
	struct pair *p = &t->pair[k];
	p->count += sign * w->count;
	if (sign > 0 && !p->grew) {
		p->grew = true;
		if (t->ngrown == t->grown_cap) {
			t->grown_cap = t->grown_cap ? t->grown_cap * 2 : 4096;
			t->grown = xrealloc(t->grown, t->grown_cap * sizeof(*t->grown));
		}
		t->grown[t->ngrown++] = k;
	}
}

static void add_place(struct trainer *t, uint32_t left, uint32_t right, uint32_t word)
{
	if (t->nchar[left] + t->nchar[right] > PIECE_CHARS_MAX)
		return;
	struct pair *p = &t->pair[pair_index(t, left, right)];
	if (p->places && p->places->word == word)
		return;
	struct place *place = arena_new(t->a, struct place);
	*place = (struct place){word, p->places};
	p->places = place;
}

/* A pair whose count only fell is entered anew when its old entry comes up. */
static void enter_grown(struct trainer *t)
{
	for (size_t i = 0; i < t->ngrown; i++) {
		struct pair *p = &t->pair[t->grown[i]];
		p->grew = false;
		if (p->count > 0)
			heap_push(t, (struct candidate){p->count, t->grown[i]});
	}
	t->ngrown = 0;
}

static void merge_in_word(struct trainer *t, uint32_t word, uint32_t left, uint32_t right,
	uint32_t merged)
{
	struct word *w = &t->word[word];
	uint32_t at = 0, n = 0;
	while (at + 1 < w->n && (w->symbol[at] != left || w->symbol[at + 1] != right))
		at++;
	if (at + 1 >= w->n)
		return;
	for (uint32_t i = 0; i + 1 < w->n; i++)
		count_pair(t, w, i, -1);
	for (uint32_t i = 0; i < w->n; n++) {
		bool here = i + 1 < w->n && w->symbol[i] == left && w->symbol[i + 1] == right;
		w->symbol[n] = here ? merged : w->symbol[i];
		i += here ? 2 : 1;
	}
	w->n = n;
	for (uint32_t i = 0; i + 1 < n; i++) {
		count_pair(t, w, i, 1);
		if (w->symbol[i] == merged || w->symbol[i + 1] == merged)
			add_place(t, w->symbol[i], w->symbol[i + 1], word);
	}
}

/* Makes pieces until there are `nsymbol` symbols, or no pair is left. */
static void make_pieces(struct trainer *t, size_t nsymbol)
{
	struct strbuf text;
	strbuf_init(&text);
	for (uint32_t w = 0; w < t->nword; w++)
		for (uint32_t i = 0; i + 1 < t->word[w].n; i++) {
			count_pair(t, &t->word[w], i, 1);
			add_place(t, t->word[w].symbol[i], t->word[w].symbol[i + 1], w);
		}
	enter_grown(t);
	while (t->nheap && t->symbols.n < nsymbol) {
		struct candidate c = heap_pop(t);
		struct pair p = t->pair[c.pair];
		if (c.count != p.count) {
			if (c.count > p.count && p.count > 0)
				heap_push(t, (struct candidate){p.count, c.pair});
			continue;
		}
		struct buf left = t->symbols.text[p.left], right = t->symbols.text[p.right];
		strbuf_clear(&text);
		strbuf_add(&text, left.p, left.n);
		strbuf_add(&text, right.p, right.n);
		/* Two pairs may make one text: then the piece is there already. */
		uint32_t merged = texts_put(&t->symbols, text.s, text.n);
		uint32_t nchar = t->nchar[p.left] + t->nchar[p.right];
		if (merged == t->nnchar)
			*arena_push(t->a, t->nchar, t->nnchar) = nchar;
		t->pair[c.pair].places = NULL;
		for (struct place *place = p.places; place; place = place->next)
			merge_in_word(t, place->word, p.left, p.right, merged);
		enter_grown(t);
	}
	strbuf_release(&text);
}

static bool put_literal(struct tok *k, const char *name, unsigned type, struct err *e)
{
	return tok_put(k, k->ntoken, (struct buf){name, strlen(name)}, type, e);
}

static bool write_trained(struct trainer *t, size_t nchars, struct strbuf *out, struct err *e)
{
	struct tok k;
	tok_init(&k, t->a, "tokenizer");
	k.kind = TOKENIZER_SPM;
	k.traits = TOK_FUSE_UNK | TOK_ADDS_START | TOK_PREFIX | TOK_PREFIX_EVERY;
	k.unk_id = 0;
	k.start_id = 1;
	k.end_id = 2;
	if (!put_literal(&k, "<unk>", TOKEN_UNKNOWN, e) || !put_literal(&k, "<s>", TOKEN_CONTROL, e) ||
		!put_literal(&k, "</s>", TOKEN_CONTROL, e))
		return false;
	for (int c = 0; c < 256; c++) {
		char byte = (char)c;
		if (!put_literal(&k, arena_printf(t->a, "<0x%02X>", c), TOKEN_BYTE, e))
			return false;
		k.token[k.ntoken - 1].text = (struct buf){arena_copy(t->a, &byte, 1), 1};
	}
	for (size_t i = 0; i < t->symbols.n; i++) {
		size_t s = i + nchars < t->symbols.n ? i + nchars : i + nchars - t->symbols.n;
		if (!tok_put(&k, k.ntoken, t->symbols.text[s], TOKEN_NORMAL, e))
			return false;
		k.token[k.ntoken - 1].score = -(double)i;
	}
	return tok_write(&k, out, e);
}

bool tok_train_bpe(const struct buf *rows, size_t nrows, uint32_t nvocab,
	struct strbuf *serialised, struct err *e)
{
	if (nvocab < TOK_TRAIN_LEAST)
		return err_set(e, ERR_SPEC,
			"a vocabulary of %u is too small: 3 special tokens, 256 bytes and a character "
			"make %d",
			nvocab, TOK_TRAIN_LEAST);
	struct arena a = {0};
	struct trainer t = {.a = &a, .symbols = {.a = &a}};
	struct texts words = {.a = &a};
	int64_t *count = count_words(&words, rows, nrows);
	size_t room = nvocab - (TOK_TRAIN_LEAST - 1);
	choose_characters(&t, &words, count, room);
	size_t nchars = t.symbols.n;
	split_words(&t, &words, count);
	make_pieces(&t, room);
	bool ok = nchars ? write_trained(&t, nchars, serialised, e)
		: err_set(e, ERR_SPEC, "unable to train a tokenizer: the rows hold no text");
	free(t.heap);
	free(t.grown);
	arena_release(&a);
	return ok;
}
