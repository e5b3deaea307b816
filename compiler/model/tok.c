#include "tok.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"
#include "gguf.h"
#include "tokenizer.h"
#include "utf8.h"

enum { VOCAB_MAX = 1 << 24 };

void tok_init(struct tok *t, struct arena *a, const char *path)
{
	*t = (struct tok){.a = a, .path = path, .start_id = TOKENIZER_NONE,
		.end_id = TOKENIZER_NONE, .unk_id = TOKENIZER_NONE};
}

bool tok_put(struct tok *t, uint64_t id, struct buf name, unsigned type, struct err *e)
{
	if (id >= VOCAB_MAX)
		return err_at(e, ERR_SPEC, t->path, 0, 0, "token id %llu of '%.*s' is beyond %d",
			(unsigned long long)id, (int)(name.n < 40 ? name.n : 40),
			(const char *)name.p, VOCAB_MAX);
	if (id >= t->token_cap) {
		size_t cap = t->token_cap ? t->token_cap : 1024;
		while (cap <= id)
			cap *= 2;
		struct tok_token *grown = arena_array(t->a, struct tok_token, cap);
		if (t->ntoken)
			memcpy(grown, t->token, t->ntoken * sizeof(*grown));
		t->token = grown;
		t->token_cap = cap;
	}
	for (; t->ntoken <= id; t->ntoken++)
		t->token[t->ntoken] = (struct tok_token){.type = TOKEN_UNUSED, .name = {"", 0},
			.text = {"", 0}};
	t->token[id].name = t->token[id].text = name;
	t->token[id].type = type;
	return true;
}

void tok_index(struct tok *t)
{
	t->nname_slot = 16;
	while (t->nname_slot < t->ntoken * 2)
		t->nname_slot *= 2;
	t->name_slot = arena_array(t->a, uint32_t, t->nname_slot);
	for (size_t i = t->ntoken; i-- > 0;) {
		struct buf name = t->token[i].name;
		if (!name.n || tok_find(t, name) != TOKENIZER_NONE)
			continue;
		size_t at = tokenizer_hash_text(name.p, name.n);
		while (t->name_slot[at & (t->nname_slot - 1)])
			at++;
		t->name_slot[at & (t->nname_slot - 1)] = (uint32_t)i + 1;
	}
}

uint32_t tok_find(const struct tok *t, struct buf name)
{
	for (size_t at = tokenizer_hash_text(name.p, name.n);; at++) {
		uint32_t slot = t->name_slot[at & (t->nname_slot - 1)];
		if (!slot)
			return TOKENIZER_NONE;
		struct buf have = t->token[slot - 1].name;
		if (have.n == name.n && memcmp(have.p, name.p, name.n) == 0)
			return slot - 1;
	}
}

struct buf tok_unescape(struct arena *a, struct buf name)
{
	const char *s = name.p;
	char *out = arena_alloc(a, name.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < name.n;) {
		if (name.n - i >= 3 && memcmp(s + i, "\xe2\x96\x81", 3) == 0) {
			out[n++] = ' ';
			i += 3;
		} else {
			out[n++] = s[i++];
		}
	}
	return (struct buf){out, n};
}

bool tok_parse_byte(struct buf name, unsigned char *byte)
{
	const char *s = name.p;
	if (name.n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
		return false;
	int value = 0;
	for (int i = 3; i < 5; i++) {
		if (s[i] >= '0' && s[i] <= '9')
			value = value * 16 + s[i] - '0';
		else if (s[i] >= 'A' && s[i] <= 'F')
			value = value * 16 + s[i] - 'A' + 10;
		else
			return false;
	}
	*byte = (unsigned char)value;
	return true;
}

/* GPT-2 (encoder.py, bytes_to_unicode): printable bytes of Latin-1 stand for themselves, the others
 * in order for U+0100, U+0101, ... */
static int byte_of_character(uint32_t cp)
{
	int moved = 0x100;
	for (int byte = 0; byte < 256; byte++) {
		bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
		if (cp == (uint32_t)(printable ? byte : moved++))
			return byte;
	}
	return -1;
}

bool tok_byte_text(struct arena *a, struct buf name, struct buf *text)
{
	const char *s = name.p;
	char *out = arena_alloc(a, name.n + 1);
	size_t n = 0;
	for (size_t i = 0, len; i < name.n; i += len) {
		uint32_t cp;
		len = utf8_decode(s + i, name.n - i, &cp);
		int byte = !len ? -1 : cp > 0x20 && cp < 0x7f ? (int)cp : byte_of_character(cp);
		if (byte < 0)
			return false;
		out[n++] = (char)byte;
	}
	*text = (struct buf){out, n};
	return true;
}

void tok_set_ordinary(struct tok *t, uint32_t id)
{
	struct tok_token *k = &t->token[id];
	unsigned char byte;
	k->type = TOKEN_NORMAL;
	if (t->kind == TOKENIZER_BYTE_LEVEL) {
		if (!tok_byte_text(t->a, k->name, &k->text)) {
			k->text = k->name;
			k->type = TOKEN_UNUSED;
		}
	} else if (tok_parse_byte(k->name, &byte)) {
		k->type = TOKEN_BYTE;
		k->text = (struct buf){arena_copy(t->a, &byte, 1), 1};
	} else {
		k->text = tok_unescape(t->a, k->name);
		/* Spaces of a text are escaped first, so a name with a real one matches nothing. */
		if (memchr(k->name.p, ' ', k->name.n))
			k->type = TOKEN_UNUSED;
	}
}

bool tok_put_merge(struct tok *t, struct buf left, struct buf right, struct err *e)
{
	struct strbuf both;
	strbuf_init(&both);
	strbuf_add(&both, left.p, left.n);
	strbuf_add(&both, right.p, right.n);
	struct tok_merge m = {tok_find(t, left), tok_find(t, right),
		tok_find(t, strbuf_buf(&both))};
	strbuf_release(&both);
	if (m.left == TOKENIZER_NONE || m.right == TOKENIZER_NONE || m.id == TOKENIZER_NONE)
		return err_at(e, ERR_SPEC, t->path, 0, 0,
			"merge %zu ('%.*s' '%.*s') is of tokens that are not in the vocabulary",
			t->nmerge, (int)(left.n < 40 ? left.n : 40), (const char *)left.p,
			(int)(right.n < 40 ? right.n : 40), (const char *)right.p);
	t->merge[t->nmerge++] = m;
	return true;
}

static void add_word(struct strbuf *out, uint32_t word)
{
	strbuf_add(out, &word, sizeof(word));
}

static size_t table_size(size_t n)
{
	size_t size = 1;
	while (size < n + n / 2 + 1)
		size *= 2;
	return size;
}

static unsigned type_of(const struct tok *t, size_t id)
{
	return t->token[id].type & TOKEN_TYPE_MASK;
}

static bool is_plain(const struct tok *t, size_t id)
{
	return t->token[id].text.n && (type_of(t, id) == TOKEN_NORMAL || type_of(t, id) == TOKEN_USER);
}

/* Types and traits that follow from the rest. */
static bool settle(struct tok *t, struct err *e)
{
	uint32_t *ends[] = {&t->start_id, &t->end_id, &t->unk_id};
	if (!t->ntoken)
		return err_at(e, ERR_SPEC, t->path, 0, 0, "the tokenizer has no tokens");
	for (size_t i = 0; i < NELEM(ends); i++)
		if (*ends[i] != TOKENIZER_NONE && *ends[i] >= t->ntoken)
			return err_at(e, ERR_SPEC, t->path, 0, 0,
				"special token %u is outside the vocabulary of %zu", *ends[i], t->ntoken);
	if (t->start_id == TOKENIZER_NONE)
		t->traits &= ~(unsigned)TOK_ADDS_START;
	if (t->unk_id != TOKENIZER_NONE && t->unk_id != t->start_id && t->unk_id != t->end_id)
		t->token[t->unk_id].type = TOKEN_UNKNOWN;
	for (size_t i = 0; i < t->ntoken; i++)
		if (type_of(t, i) == TOKEN_UNKNOWN && i != t->unk_id)
			t->token[i].type = TOKEN_UNUSED;
	if (t->end_id != TOKENIZER_NONE)
		t->token[t->end_id].type |= TOKEN_STOP;
	if (t->kind == TOKENIZER_BYTE_LEVEL)
		return true;
	t->traits |= TOK_WORDS;
	for (size_t i = 0; i < t->ntoken; i++) {
		const char *s = t->token[i].text.p;
		size_t n = t->token[i].text.n;
		for (size_t k = 1; k < n && is_plain(t, i); k++)
			if (s[k] == ' ' && s[k - 1] != ' ')
				t->traits &= ~(unsigned)TOK_WORDS;
	}
	return true;
}

static bool fill_byte_ids(const struct tok *t, uint32_t byte_id[256], struct err *e)
{
	for (int c = 0; c < 256; c++)
		byte_id[c] = TOKENIZER_NONE;
	for (size_t i = t->ntoken; i-- > 0;) {
		bool byte = type_of(t, i) == TOKEN_BYTE ||
			(t->kind == TOKENIZER_BYTE_LEVEL && type_of(t, i) == TOKEN_NORMAL);
		if (byte && t->token[i].text.n == 1)
			byte_id[*(const unsigned char *)t->token[i].text.p] = (uint32_t)i;
	}
	for (int c = 0; c < 256; c++)
		if (byte_id[c] == TOKENIZER_NONE && t->unk_id == TOKENIZER_NONE)
			return err_at(e, ERR_SPEC, t->path, 0, 0,
				"the tokenizer has no token for byte 0x%02x, and none for unknown text", c);
	return true;
}

static int compare_scores(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x < y) - (x > y);
}

/* How many distinct scores are better: equal scores must stay equal, for then the leftmost wins. */
static bool add_ranks(const struct tok *t, struct strbuf *out, struct err *e)
{
	double *score = arena_array(t->a, double, t->ntoken);
	size_t n = 0, ndistinct = 0;
	for (size_t i = 0; i < t->ntoken; i++) {
		if (t->token[i].score != t->token[i].score)
			return err_at(e, ERR_SPEC, t->path, 0, 0, "the score of token %zu is NaN", i);
		if (is_plain(t, i))
			score[n++] = t->token[i].score;
	}
	qsort(score, n, sizeof(*score), compare_scores);
	for (size_t i = 0; i < n; i++)
		if (!ndistinct || score[ndistinct - 1] != score[i])
			score[ndistinct++] = score[i];
	for (size_t i = 0; i < t->ntoken; i++) {
		if (!is_plain(t, i)) {
			add_word(out, TOKENIZER_NONE);
			continue;
		}
		double *found = bsearch(&t->token[i].score, score, ndistinct, sizeof(*score),
			compare_scores);
		add_word(out, (uint32_t)(found - score));
	}
	return true;
}

/* Enters id unless its text is already there. */
static void enter_text(const struct tok *t, uint32_t *slot, size_t nslot, size_t id)
{
	struct buf text = t->token[id].text;
	for (size_t at = tokenizer_hash_text(text.p, text.n);; at++) {
		uint32_t *s = &slot[at & (nslot - 1)];
		if (*s) {
			struct buf have = t->token[*s - 1].text;
			if (have.n == text.n && memcmp(have.p, text.p, text.n) == 0)
				return;
		} else {
			*s = (uint32_t)id + 1;
			return;
		}
	}
}

/* Of equal texts the ordinary token, then the first. */
static uint32_t *text_table(const struct tok *t, size_t nslot)
{
	uint32_t *slot = arena_array(t->a, uint32_t, nslot);
	for (size_t i = 0; i < t->ntoken; i++)
		if (is_plain(t, i))
			enter_text(t, slot, nslot, i);
	for (size_t i = 0; i < t->ntoken; i++)
		if (t->token[i].text.n &&
			(type_of(t, i) == TOKEN_CONTROL || type_of(t, i) == TOKEN_UNKNOWN))
			enter_text(t, slot, nslot, i);
	return slot;
}

/* Of equal pairs the last, as in tokenizers' hash map. */
static uint32_t *merge_table(const struct tok *t, size_t nslot)
{
	uint32_t *slot = arena_array(t->a, uint32_t, nslot);
	for (size_t i = 0; i < t->nmerge; i++) {
		const struct tok_merge *m = &t->merge[i];
		size_t at = tokenizer_hash_pair(m->left, m->right);
		for (;; at++) {
			uint32_t s = slot[at & (nslot - 1)];
			if (!s || (t->merge[s - 1].left == m->left && t->merge[s - 1].right == m->right))
				break;
		}
		slot[at & (nslot - 1)] = (uint32_t)i + 1;
	}
	return slot;
}

struct special {
	uint32_t id;
	size_t n;
};

static int compare_specials(const void *a, const void *b)
{
	const struct special *x = a, *y = b;
	if (x->n != y->n)
		return x->n < y->n ? 1 : -1;
	return (x->id > y->id) - (x->id < y->id);
}

static struct special *specials_of(const struct tok *t, size_t *n)
{
	struct special *special = NULL;
	*n = 0;
	for (size_t i = 0; i < t->ntoken; i++) {
		unsigned type = type_of(t, i);
		if (t->token[i].text.n &&
			(type == TOKEN_CONTROL || type == TOKEN_USER || type == TOKEN_UNKNOWN))
			*arena_push(t->a, special, *n) =
				(struct special){(uint32_t)i, t->token[i].text.n};
	}
	if (*n)
		qsort(special, *n, sizeof(*special), compare_specials);
	return special;
}

bool tok_write(struct tok *t, struct strbuf *out, struct err *e)
{
	uint32_t byte_id[256], text_at = 0;
	size_t begin = out->n, nspecial, max_token_bytes = 0;
	if (!settle(t, e) || !fill_byte_ids(t, byte_id, e))
		return false;
	struct special *special = specials_of(t, &nspecial);
	size_t ntext_slot = table_size(t->ntoken), nmerge_slot = table_size(t->nmerge);
	for (size_t i = 0; i < t->ntoken; i++)
		if (t->token[i].text.n > max_token_bytes)
			max_token_bytes = t->token[i].text.n;
	strbuf_adds(out, TOKENIZER_MAGIC);
	const uint32_t header[] = {TOKENIZER_VERSION, 0, t->kind, t->traits, t->pattern,
		(uint32_t)t->ntoken, (uint32_t)t->nmerge, (uint32_t)nspecial, (uint32_t)ntext_slot,
		(uint32_t)nmerge_slot, t->start_id, t->end_id, t->unk_id, (uint32_t)max_token_bytes};
	_Static_assert(8 + sizeof(header) == TOKENIZER_HEADER_BYTES, "as tokenizer.h says");
	strbuf_add(out, header, sizeof(header));
	strbuf_add(out, byte_id, sizeof(byte_id));
	for (size_t i = 0; i < t->ntoken; i++) {
		add_word(out, text_at);
		if (t->token[i].text.n > INT32_MAX - text_at)
			return err_at(e, ERR_SPEC, t->path, 0, 0, "the vocabulary is larger than 2 GiB");
		text_at += (uint32_t)t->token[i].text.n;
	}
	add_word(out, text_at);
	if (t->kind == TOKENIZER_SPM && !add_ranks(t, out, e))
		return false;
	for (size_t i = 0; i < t->nmerge; i++) {
		add_word(out, t->merge[i].left);
		add_word(out, t->merge[i].right);
		add_word(out, t->merge[i].id);
	}
	for (size_t i = 0; i < nspecial; i++)
		add_word(out, special[i].id);
	strbuf_add(out, text_table(t, ntext_slot), ntext_slot * sizeof(uint32_t));
	strbuf_add(out, merge_table(t, nmerge_slot), nmerge_slot * sizeof(uint32_t));
	for (size_t i = 0; i < t->ntoken; i++)
		strbuf_addc(out, (char)t->token[i].type);
	while ((out->n - begin) % 4)
		strbuf_addc(out, 0);
	for (size_t i = 0; i < t->ntoken; i++)
		strbuf_add(out, t->token[i].text.p, t->token[i].text.n);
	uint32_t bytes = (uint32_t)(out->n - begin);
	memcpy(out->s + begin + 12, &bytes, sizeof(bytes));
	return true;
}

static bool read_one(struct tok *t, const struct model_files *f,
	bool (*read)(struct tok *, struct buf, struct err *), struct err *e)
{
	struct map m;
	struct buf bytes;
	bool ok = model_files_read(t->a, f, t->path, &m, &bytes, e);
	t->path = model_files_path(t->a, f, t->path);
	ok = ok && read(t, bytes, e);
	map_release(&m);
	return ok;
}

static bool read_vocab_merges(struct tok *t, const struct model_files *f, struct err *e)
{
	struct map vocab_map, merges_map = {0};
	struct buf vocab, merges;
	bool ok = model_files_read(t->a, f, t->path, &vocab_map, &vocab, e) &&
		model_files_read(t->a, f, "merges.txt", &merges_map, &merges, e);
	t->path = model_files_path(t->a, f, t->path);
	ok = ok && tok_read_vocab_merges(t, vocab, merges, e);
	map_release(&vocab_map);
	map_release(&merges_map);
	return ok;
}

/* t->path is the file's name when a reader is called. */
static bool read_files(struct tok *t, const struct model_files *f, struct err *e)
{
	static const struct {
		const char *name;
		bool (*read)(struct tok *, struct buf, struct err *); /* NULL: two files */
	} formats[] = {
		{"tokenizer.json", tok_read_hf_json},
		{"tokenizer.model", tok_read_spm},
		{"vocab.json", NULL},
	};
	for (size_t i = 0; i < NELEM(formats); i++)
		if (model_files_have(f, formats[i].name)) {
			t->path = formats[i].name;
			bool ok = formats[i].read ? read_one(t, f, formats[i].read, e)
						  : read_vocab_merges(t, f, e);
			return ok && tok_read_hf_config(t, f, e);
		}
	return err_at(e, ERR_SPEC, f->folder, 0, 0,
		"no tokenizer found: expected tokenizer.json, tokenizer.model or vocab.json");
}

static bool read_gguf(struct tok *t, struct gguf *g, struct strbuf *serialised, struct err *e)
{
	bool ok = tok_read_gguf(t, g, e) && tok_write(t, serialised, e);
	gguf_release(g);
	return ok;
}

bool tok_read(struct arena *a, const char *model_path, struct strbuf *serialised, struct err *e)
{
	struct model_files files = {.folder = model_path};
	struct stat st;
	struct tok t;
	struct gguf g;
	tok_init(&t, a, model_path);
	if (stat(model_path, &st) < 0)
		return err_errno(e, "unable to read the model '%s'", model_path);
	if (S_ISDIR(st.st_mode))
		return read_files(&t, &files, e) && tok_write(&t, serialised, e);
	if (gguf_open(&g, model_path, e))
		return read_gguf(&t, &g, serialised, e);
	gguf_release(&g);
	return false;
}

bool tok_read_files(struct arena *a, const struct model_file *file, size_t nfile,
	struct strbuf *serialised, struct err *e)
{
	struct model_files files = {"", file, nfile};
	struct tok t;
	struct gguf g;
	tok_init(&t, a, nfile ? file[0].name : "");
	if (nfile != 1 || !strcmp(file[0].name, "tokenizer.json") ||
		!strcmp(file[0].name, "tokenizer.model"))
		return read_files(&t, &files, e) && tok_write(&t, serialised, e);
	if (gguf_open_bytes(&g, file[0].bytes, file[0].name, e))
		return read_gguf(&t, &g, serialised, e);
	gguf_release(&g);
	return false;
}
