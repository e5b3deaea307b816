#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "pretokenize.h"
#include "utf8.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the block is used where it lies");

#define NONE TOKENIZER_NONE

/* Positions in a piece of text are 32 bits; a longer text is cut. */
enum { PIECE_BYTES_MAX = 1 << 30 };

enum header_word {
	H_MAGIC, /* two words */
	H_VERSION = 2,
	H_BYTES,
	H_KIND,
	H_TRAITS,
	H_PATTERN,
	H_NVOCAB,
	H_NMERGE,
	H_NSPECIAL,
	H_NTEXT_SLOT,
	H_NMERGE_SLOT,
	H_START,
	H_END,
	H_UNK,
	H_MAX_TOKEN,
};

/* A neighbour in a piece: bytes [start, start + len) of it. len is 0 once it was merged away. */
struct symbol {
	uint32_t start, len, id;
	uint32_t prev, next; /* NONE at the ends */
};

/* A merge that may be due. It is stale unless the pair at `left` still has `len` bytes: symbols only
 * grow, so an equal length means an untouched pair. */
struct due {
	uint64_t order; /* rank << 32 | left */
	uint32_t len, id;
};

struct encoder {
	const struct tokenizer *t;
	struct token_list *out;
	struct symbol *symbol;
	uint32_t nsymbol;
	size_t symbol_cap;
	struct due *heap;
	size_t nheap, heap_cap;
	const char *text; /* of the piece */
	bool after_unk;   /* the last token of this stretch is the unknown one */
};

uint32_t tokenizer_hash_text(const char *text, size_t n)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)text[i]) * 16777619u;
	return h ^ h >> 15;
}

uint32_t tokenizer_hash_pair(uint32_t left, uint32_t right)
{
	uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

static enum token_type type_of(const struct tokenizer *t, uint32_t id)
{
	return (enum token_type)(t->type[id] & TOKEN_TYPE_MASK);
}

static const char *text_of(const struct tokenizer *t, uint32_t id, size_t *n)
{
	*n = t->text_at[id + 1] - t->text_at[id];
	return t->text + t->text_at[id];
}

static bool damaged(struct err *e, const char *what)
{
	return err_set(e, ERR_IO, "damaged tokenizer: %s", what);
}

static bool ids_fit(const uint32_t *id, size_t n, uint32_t limit, bool none_too)
{
	for (size_t i = 0; i < n; i++)
		if (id[i] >= limit && !(none_too && id[i] == NONE))
			return false;
	return true;
}

static bool check_tokens(struct tokenizer *t, uint64_t ntext, struct err *e)
{
	if (t->text_at[0] != 0 || t->text_at[t->nvocab] != ntext)
		return damaged(e, "the texts do not fill the block");
	for (uint32_t i = 0; i < t->nvocab; i++) {
		if (t->text_at[i] > t->text_at[i + 1])
			return damaged(e, "token texts overlap");
		if (t->type[i] & ~TOKEN_BITS || type_of(t, i) >= TOKEN_NTYPE)
			return damaged(e, "unknown token type");
	}
	bool every_byte = true;
	for (int c = 0; c < 256; c++) {
		uint32_t id = t->byte_id[c];
		if (id == NONE)
			every_byte = false;
		else if (id >= t->nvocab || t->text_at[id + 1] - t->text_at[id] != 1)
			return damaged(e, "a byte's token is no byte");
	}
	if (t->unk_id == NONE && !every_byte)
		return damaged(e, "neither an unknown token nor all bytes");
	return true;
}

static bool check_tables(struct tokenizer *t, struct err *e)
{
	const uint32_t ends[] = {t->start_id, t->end_id, t->unk_id};
	if (!ids_fit(ends, NELEM(ends), t->nvocab, true))
		return damaged(e, "a start, end or unknown token outside the vocabulary");
	if (t->traits & TOK_ADDS_START && t->start_id == NONE)
		return damaged(e, "no start token");
	if (!ids_fit(t->merge, (size_t)t->nmerge * 3, t->nvocab, false))
		return damaged(e, "a merge outside the vocabulary");
	if (!ids_fit(t->special, t->nspecial, t->nvocab, false))
		return damaged(e, "a special token outside the vocabulary");
	if (!ids_fit(t->text_slot, t->ntext_slot, t->nvocab + 1, false))
		return damaged(e, "a text slot outside the vocabulary");
	if (!ids_fit(t->merge_slot, t->nmerge_slot, t->nmerge + 1, false))
		return damaged(e, "a merge slot outside the merges");
	for (uint32_t i = 0; i < t->nspecial; i++) {
		size_t n;
		const char *s = text_of(t, t->special[i], &n);
		if (n == 0)
			return damaged(e, "a special token without text");
		t->special_first[(unsigned char)*s] = true;
	}
	return true;
}

bool tokenizer_load(struct tokenizer *t, struct buf bytes, struct err *e)
{
	const uint32_t *h = bytes.p;
	*t = (struct tokenizer){0};
	if (bytes.n < TOKENIZER_HEADER_BYTES || memcmp(bytes.p, TOKENIZER_MAGIC, 8) != 0)
		return damaged(e, "no tokenizer block");
	if ((uintptr_t)bytes.p % sizeof(*h))
		return damaged(e, "not aligned to 4 bytes");
	if (h[H_VERSION] != TOKENIZER_VERSION)
		return err_set(e, ERR_IO, "unable to read tokenizer version %u: this program reads %d",
			h[H_VERSION], TOKENIZER_VERSION);
	if (h[H_BYTES] != bytes.n)
		return err_set(e, ERR_IO, "damaged tokenizer: %zu bytes, expected %u", bytes.n,
			h[H_BYTES]);
	if (h[H_KIND] >= TOKENIZER_NKIND || h[H_TRAITS] & ~(uint32_t)TOK_TRAITS ||
		h[H_PATTERN] >= PRETOKENIZE_NPATTERN)
		return damaged(e, "unknown kind, trait or pattern");
	t->kind = (enum tokenizer_kind)h[H_KIND];
	t->traits = h[H_TRAITS];
	t->pattern = h[H_PATTERN];
	t->nvocab = h[H_NVOCAB];
	t->nmerge = h[H_NMERGE];
	t->nspecial = h[H_NSPECIAL];
	t->ntext_slot = h[H_NTEXT_SLOT];
	t->nmerge_slot = h[H_NMERGE_SLOT];
	t->start_id = h[H_START];
	t->end_id = h[H_END];
	t->unk_id = h[H_UNK];
	t->max_token_bytes = h[H_MAX_TOKEN];
	if ((t->ntext_slot & (t->ntext_slot - 1)) || (t->nmerge_slot & (t->nmerge_slot - 1)))
		return damaged(e, "a hash table that is no power of two");

	uint64_t nrank = t->kind == TOKENIZER_SPM ? t->nvocab : 0;
	uint64_t types = TOKENIZER_HEADER_BYTES + 4 * (256 + (uint64_t)t->nvocab + 1 + nrank +
		3 * (uint64_t)t->nmerge + t->nspecial + t->ntext_slot + t->nmerge_slot);
	uint64_t texts = (types + t->nvocab + 3) / 4 * 4;
	if (texts > bytes.n)
		return damaged(e, "its tables go beyond the end");
	const uint32_t *p = h + TOKENIZER_HEADER_BYTES / 4;
	t->byte_id = p, p += 256;
	t->text_at = p, p += (size_t)t->nvocab + 1;
	t->rank = p, p += nrank;
	t->merge = p, p += 3 * (size_t)t->nmerge;
	t->special = p, p += t->nspecial;
	t->text_slot = p, p += t->ntext_slot;
	t->merge_slot = p;
	t->type = (const uint8_t *)bytes.p + types;
	t->text = (const char *)bytes.p + texts;
	return check_tokens(t, bytes.n - texts, e) && check_tables(t, e);
}

int64_t tokenizer_start(const struct tokenizer *t)
{
	return t->traits & TOK_ADDS_START ? (int64_t)t->start_id : -1;
}

void token_list_push(struct token_list *l, uint32_t id)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 256;
		l->id = xrealloc(l->id, l->cap * sizeof(*l->id));
	}
	l->id[l->n++] = id;
}

void token_list_release(struct token_list *l)
{
	free(l->id);
	*l = (struct token_list){0};
}

uint32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n)
{
	if (n > t->max_token_bytes || n == 0)
		return NONE;
	/* Bounded, for a damaged table may have no empty slot. */
	uint32_t at = tokenizer_hash_text(text, n);
	for (uint32_t i = 0; i < t->ntext_slot; i++) {
		uint32_t slot = t->text_slot[at++ & (t->ntext_slot - 1)];
		if (!slot)
			break;
		size_t len;
		const char *s = text_of(t, slot - 1, &len);
		if (len == n && memcmp(s, text, n) == 0)
			return slot - 1;
	}
	return NONE;
}

/* A token that ordinary text can become, or NONE. */
static uint32_t find_plain(const struct tokenizer *t, const char *text, size_t n)
{
	uint32_t id = tokenizer_find(t, text, n);
	return id != NONE && (type_of(t, id) == TOKEN_NORMAL || type_of(t, id) == TOKEN_USER) ? id
		: NONE;
}

/* The index in merge[], or NONE. */
static uint32_t find_merge(const struct tokenizer *t, uint32_t left, uint32_t right)
{
	uint32_t at = tokenizer_hash_pair(left, right);
	for (uint32_t i = 0; i < t->nmerge_slot; i++) {
		uint32_t slot = t->merge_slot[at++ & (t->nmerge_slot - 1)];
		if (!slot)
			break;
		const uint32_t *m = t->merge + 3 * (size_t)(slot - 1);
		if (m[0] == left && m[1] == right)
			return slot - 1;
	}
	return NONE;
}

static void heap_push(struct encoder *c, struct due due)
{
	if (c->nheap == c->heap_cap) {
		c->heap_cap = c->heap_cap ? c->heap_cap * 2 : 256;
		c->heap = xrealloc(c->heap, c->heap_cap * sizeof(*c->heap));
	}
	size_t i = c->nheap++;
	for (; i && c->heap[(i - 1) / 2].order > due.order; i = (i - 1) / 2)
		c->heap[i] = c->heap[(i - 1) / 2];
	c->heap[i] = due;
}

static struct due heap_pop(struct encoder *c)
{
	struct due top = c->heap[0], last = c->heap[--c->nheap];
	size_t i = 0;
	for (size_t child; (child = 2 * i + 1) < c->nheap; i = child) {
		if (child + 1 < c->nheap && c->heap[child + 1].order < c->heap[child].order)
			child++;
		if (last.order <= c->heap[child].order)
			break;
		c->heap[i] = c->heap[child];
	}
	c->heap[i] = last;
	return top;
}

/* Enters the merge of `left` and what follows it, if there is one. */
static void consider(struct encoder *c, uint32_t left)
{
	const struct tokenizer *t = c->t;
	if (left == NONE || c->symbol[left].next == NONE)
		return;
	const struct symbol *l = &c->symbol[left], *r = &c->symbol[l->next];
	struct due due = {.len = l->len + r->len};
	uint32_t rank;
	if (t->kind == TOKENIZER_SPM) {
		due.id = find_plain(t, c->text + l->start, due.len);
		rank = due.id == NONE ? NONE : t->rank[due.id];
	} else {
		rank = find_merge(t, l->id, r->id);
		due.id = rank == NONE ? NONE : t->merge[3 * (size_t)rank + 2];
	}
	if (rank == NONE)
		return;
	due.order = (uint64_t)rank << 32 | left;
	heap_push(c, due);
}

static void add_symbol(struct encoder *c, uint32_t start, uint32_t len, uint32_t id)
{
	if (c->nsymbol == c->symbol_cap) {
		c->symbol_cap = c->symbol_cap ? c->symbol_cap * 2 : 256;
		c->symbol = xrealloc(c->symbol, c->symbol_cap * sizeof(*c->symbol));
	}
	uint32_t i = c->nsymbol++;
	c->symbol[i] = (struct symbol){start, len, id, i ? i - 1 : NONE, NONE};
	if (i)
		c->symbol[i - 1].next = i;
}

static bool all_bytes(const struct tokenizer *t, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (t->byte_id[(unsigned char)s[i]] == NONE)
			return false;
	return true;
}

static void add_symbols(struct encoder *c, uint32_t n)
{
	const struct tokenizer *t = c->t;
	c->nsymbol = 0;
	for (uint32_t i = 0, len; i < n; i += len) {
		const char *s = c->text + i;
		uint32_t cp, id;
		len = 1;
		if (t->kind != TOKENIZER_BYTE_LEVEL) {
			len = (uint32_t)utf8_decode(s, n - i, &cp);
			if (len && (id = find_plain(t, s, len)) != NONE) {
				add_symbol(c, i, len, id);
				continue;
			}
			len = len ? len : 1;
		}
		/* SPM may still merge a character that is no token into one. */
		if (t->kind == TOKENIZER_SPM)
			add_symbol(c, i, len, NONE);
		else if (all_bytes(t, s, len))
			for (uint32_t k = 0; k < len; k++)
				add_symbol(c, i + k, 1, t->byte_id[(unsigned char)s[k]]);
		else
			add_symbol(c, i, len, t->unk_id);
	}
}

static void emit(struct encoder *c, uint32_t id)
{
	bool unk = id == c->t->unk_id;
	if (!unk || !c->after_unk || !(c->t->traits & TOK_FUSE_UNK))
		token_list_push(c->out, id);
	c->after_unk = unk;
}

/* Merges one piece of text up, and emits what is left. */
static void encode_piece(struct encoder *c, const char *text, uint32_t n)
{
	const struct tokenizer *t = c->t;
	uint32_t whole;
	if (t->traits & TOK_WHOLE_WORDS && (whole = find_plain(t, text, n)) != NONE) {
		emit(c, whole);
		return;
	}
	c->text = text;
	c->nheap = 0;
	add_symbols(c, n);
	for (uint32_t i = 0; i + 1 < c->nsymbol; i++)
		consider(c, i);
	while (c->nheap) {
		struct due due = heap_pop(c);
		struct symbol *l = &c->symbol[(uint32_t)due.order];
		if (!l->len || l->next == NONE || l->len + c->symbol[l->next].len != due.len)
			continue;
		struct symbol *r = &c->symbol[l->next];
		l->len = due.len;
		l->id = due.id;
		l->next = r->next;
		r->len = 0;
		if (l->next != NONE)
			c->symbol[l->next].prev = (uint32_t)due.order;
		consider(c, l->prev);
		consider(c, (uint32_t)due.order);
	}
	for (uint32_t i = 0; i < c->nsymbol; i++) {
		const struct symbol *s = &c->symbol[i];
		if (!s->len)
			continue;
		if (s->id != NONE)
			emit(c, s->id);
		else if (all_bytes(t, text + s->start, s->len))
			for (uint32_t k = 0; k < s->len; k++)
				emit(c, t->byte_id[(unsigned char)text[s->start + k]]);
		else
			emit(c, t->unk_id);
	}
}

/* Bytes up to the next place that no token spans. */
static size_t next_piece(const struct tokenizer *t, const char *s, size_t n)
{
	size_t i = n;
	if (t->kind == TOKENIZER_BYTE_LEVEL) {
		i = pretokenize_next((enum pretokenize_pattern)t->pattern, s, n);
	} else if (t->traits & TOK_WORDS) {
		i = 0;
		while (i < n && s[i] == ' ')
			i++;
		const char *space = memchr(s + i, ' ', n - i);
		i = space ? (size_t)(space - s) : n;
	}
	return i < PIECE_BYTES_MAX ? i : PIECE_BYTES_MAX;
}

/* A stretch of text without special tokens. */
static void encode_stretch(struct encoder *c, const char *s, size_t n, bool prefix)
{
	struct strbuf copy;
	strbuf_init(&copy);
	c->after_unk = false;
	if (prefix && n) {
		strbuf_addc(&copy, ' ');
		strbuf_add(&copy, s, n);
		s = copy.s;
		n = copy.n;
	}
	for (size_t i = 0, len; i < n; i += len) {
		len = next_piece(c->t, s + i, n - i);
		encode_piece(c, s + i, (uint32_t)len);
	}
	strbuf_release(&copy);
}

/* The special token at s, or NONE. */
static uint32_t special_at(const struct tokenizer *t, const char *s, size_t n, unsigned flags)
{
	if (!t->special_first[(unsigned char)*s])
		return NONE;
	for (uint32_t i = 0; i < t->nspecial; i++) {
		uint32_t id = t->special[i];
		size_t len;
		const char *text = text_of(t, id, &len);
		if (len <= n && memcmp(text, s, len) == 0 &&
			(flags & TOKENIZER_PARSE_SPECIAL || type_of(t, id) == TOKEN_USER))
			return id;
	}
	return NONE;
}

void tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
	struct token_list *out)
{
	struct encoder c = {.t = t, .out = out};
	if (flags & TOKENIZER_ADD_START && t->traits & TOK_ADDS_START)
		token_list_push(out, t->start_id);
	size_t begin = 0;
	bool prefix = t->traits & TOK_PREFIX && !(flags & TOKENIZER_CONTINUE);
	for (size_t i = 0; i < n;) {
		uint32_t id = special_at(t, text + i, n - i, flags);
		if (id == NONE) {
			i++;
			continue;
		}
		size_t len, end = i;
		text_of(t, id, &len);
		if (t->type[id] & TOKEN_LSTRIP)
			end -= pretokenize_trailing_space(text + begin, i - begin);
		encode_stretch(&c, text + begin, end - begin, prefix);
		token_list_push(out, id);
		i += len;
		if (t->type[id] & TOKEN_RSTRIP)
			i += pretokenize_leading_space(text + i, n - i);
		begin = i;
		prefix = t->traits & TOK_PREFIX_EVERY;
	}
	encode_stretch(&c, text + begin, n - begin, prefix);
	free(c.symbol);
	free(c.heap);
}

bool tokenizer_is_stop(const struct tokenizer *t, uint32_t id)
{
	return id < t->nvocab && t->type[id] & TOKEN_STOP;
}

struct buf tokenizer_decode_token(const struct tokenizer *t, uint32_t id, unsigned flags)
{
	static const struct buf unknown = {"\xef\xbf\xbd", 3};
	if (id >= t->nvocab)
		return (struct buf){"", 0};
	enum token_type type = type_of(t, id);
	if (type == TOKEN_UNKNOWN)
		return unknown;
	if (type == TOKEN_CONTROL && !(flags & TOKENIZER_SHOW_SPECIAL))
		return (struct buf){"", 0};
	size_t n;
	const char *s = text_of(t, id, &n);
	if (flags & TOKENIZER_AT_START && t->traits & TOK_PREFIX && type != TOKEN_CONTROL &&
		type != TOKEN_USER && n && *s == ' ')
		return (struct buf){s + 1, n - 1};
	return (struct buf){s, n};
}

/* The flags for the token behind `id`. */
static unsigned flags_behind(const struct tokenizer *t, uint32_t id, unsigned flags)
{
	if (id >= t->nvocab)
		return flags;
	if (type_of(t, id) != TOKEN_CONTROL && type_of(t, id) != TOKEN_USER)
		return flags & ~(unsigned)TOKENIZER_AT_START;
	return t->traits & TOK_PREFIX_EVERY ? flags | TOKENIZER_AT_START : flags;
}

void tokenizer_decode(const struct tokenizer *t, const uint32_t *id, size_t n, unsigned flags,
	struct strbuf *out)
{
	for (size_t i = 0; i < n; i++) {
		struct buf b = tokenizer_decode_token(t, id[i], flags);
		strbuf_add(out, b.p, b.n);
		flags = flags_behind(t, id[i], flags);
	}
}

void tokenizer_stream_init(struct tokenizer_stream *s, const struct tokenizer *t, unsigned flags)
{
	*s = (struct tokenizer_stream){.t = t, .flags = flags};
}

/* Bytes at the end of s that may be the beginning of a character. */
static unsigned unfinished(const char *s, size_t n)
{
	for (unsigned back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = (unsigned char)s[n - back];
		if ((c & 0xc0) == 0x80)
			continue;
		unsigned want = c >= 0xf5 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
		return want > back ? back : 0;
	}
	return 0;
}

void tokenizer_stream_put(struct tokenizer_stream *s, uint32_t id, struct strbuf *out)
{
	struct buf b = tokenizer_decode_token(s->t, id, s->flags);
	s->flags = flags_behind(s->t, id, s->flags);
	/* What is held stays behind a token without text: it is not part of the text. */
	if (!b.n)
		return;
	size_t before = out->n;
	strbuf_add(out, s->held, s->nheld);
	strbuf_add(out, b.p, b.n);
	s->nheld = unfinished(out->s + before, out->n - before);
	out->n -= s->nheld;
	memcpy(s->held, out->s + out->n, s->nheld);
	out->s[out->n] = '\0';
}

void tokenizer_stream_end(struct tokenizer_stream *s, struct strbuf *out)
{
	strbuf_add(out, s->held, s->nheld);
	s->nheld = 0;
}
