/*
 * The vocabulary inside a GGUF file (https://github.com/ggml-org/ggml, docs/gguf.md): the keys
 * tokenizer.ggml.*. model "llama" is sentencepiece BPE by scores, "gpt2" byte-level BPE by
 * merges whose pattern `pre` names.
 */
#include "tok.h"

#include <string.h>

#include "gguf.h"
#include "pretokenize.h"
#include "tokenizer.h"

#define KEY(name) "tokenizer.ggml." name

static bool is_text(struct buf b, const char *text)
{
	return b.n == strlen(text) && memcmp(b.p, text, b.n) == 0;
}

static bool read_flag(const struct gguf *g, const char *key, bool *flag, struct err *e)
{
	return !gguf_find(g, key) || gguf_bool(g, key, flag, e);
}

/* Absent, or ~0, is none. */
static bool read_id(const struct tok *t, const struct gguf *g, const char *key, uint32_t *id,
	struct err *e)
{
	int64_t v;
	if (!gguf_find(g, key))
		return true;
	if (!gguf_int(g, key, &v, e))
		return false;
	if (v == -1 || v == UINT32_MAX)
		return true;
	if (v < 0 || (uint64_t)v >= t->ntoken)
		return err_at(e, ERR_SPEC, t->path, 0, 0, "%s is %lld, outside the vocabulary of %zu", key,
			(long long)v, t->ntoken);
	*id = (uint32_t)v;
	return true;
}

static bool read_tokens(struct tok *t, const struct gguf *g, struct err *e)
{
	static const unsigned types[] = {[1] = TOKEN_NORMAL, [2] = TOKEN_UNKNOWN, [3] = TOKEN_CONTROL,
		[4] = TOKEN_USER, [5] = TOKEN_UNUSED, [6] = TOKEN_BYTE};
	struct buf *name;
	double *score = NULL;
	int64_t *type = NULL;
	size_t n, nscore = 0, ntype = 0;
	if (!gguf_strings(t->a, g, KEY("tokens"), &name, &n, e))
		return false;
	if (t->kind == TOKENIZER_SPM && !gguf_floats(t->a, g, KEY("scores"), &score, &nscore, e))
		return false;
	if (gguf_find(g, KEY("token_type")) &&
		!gguf_ints(t->a, g, KEY("token_type"), &type, &ntype, e))
		return false;
	if ((score && nscore != n) || (type && ntype != n))
		return err_at(e, ERR_SPEC, t->path, 0, 0,
			"%zu tokens, but %zu scores and %zu types", n, nscore, ntype);
	for (size_t i = 0; i < n; i++) {
		unsigned char byte;
		if (type && (type[i] < 1 || type[i] >= (int64_t)NELEM(types)))
			return err_at(e, ERR_SPEC, t->path, 0, 0, "unknown type %lld of token %zu",
				(long long)type[i], i);
		unsigned kind = type ? types[type[i]] : TOKEN_NORMAL;
		if (!tok_put(t, i, name[i], kind, e))
			return false;
		struct tok_token *k = &t->token[i];
		k->score = score ? score[i] : 0;
		if (kind == TOKEN_BYTE) {
			if (!tok_parse_byte(name[i], &byte))
				return err_at(e, ERR_SPEC, t->path, 0, 0,
					"byte token %zu is not written <0xXX>", i);
			k->text = (struct buf){arena_copy(t->a, &byte, 1), 1};
		} else if (t->kind == TOKENIZER_SPM) {
			k->text = tok_unescape(t->a, name[i]);
		} else if (kind == TOKEN_NORMAL && name[i].n) {
			tok_set_ordinary(t, (uint32_t)i);
		}
	}
	tok_index(t);
	return true;
}

static bool read_merges(struct tok *t, const struct gguf *g, struct err *e)
{
	struct buf *merge;
	size_t n;
	if (!gguf_strings(t->a, g, KEY("merges"), &merge, &n, e))
		return false;
	t->merge = arena_array(t->a, struct tok_merge, n);
	for (size_t i = 0; i < n; i++) {
		const char *s = merge[i].p, *space = merge[i].n ? memchr(s, ' ', merge[i].n) : NULL;
		if (!space)
			return err_at(e, ERR_SPEC, t->path, 0, 0,
				"merge %zu: expected two tokens and a space between", i);
		size_t left = (size_t)(space - s);
		if (!tok_put_merge(t, (struct buf){s, left},
				(struct buf){space + 1, merge[i].n - left - 1}, e))
			return false;
	}
	return true;
}

static bool read_pattern(struct tok *t, const struct gguf *g, struct err *e)
{
	static const struct {
		const char *pre;
		enum pretokenize_pattern pattern;
		unsigned traits;
	} known[] = {
		{"gpt-2", PRETOKENIZE_GPT2, 0},
		{"phi-2", PRETOKENIZE_GPT2, 0},
		{"mpt", PRETOKENIZE_GPT2, 0},
		{"olmo", PRETOKENIZE_GPT2, 0},
		{"smollm", PRETOKENIZE_DIGITS, 0},
		{"starcoder", PRETOKENIZE_DIGITS, 0},
		{"llama-bpe", PRETOKENIZE_LLAMA3, TOK_WHOLE_WORDS | TOK_ADDS_START},
		{"llama3", PRETOKENIZE_LLAMA3, TOK_WHOLE_WORDS | TOK_ADDS_START},
		{"llama-v3", PRETOKENIZE_LLAMA3, TOK_WHOLE_WORDS | TOK_ADDS_START},
		{"qwen2", PRETOKENIZE_QWEN2, 0},
	};
	struct buf pre = {"gpt-2", 5};
	if (gguf_find(g, KEY("pre")) && !gguf_string(g, KEY("pre"), &pre, e))
		return false;
	for (size_t i = 0; i < NELEM(known); i++)
		if (is_text(pre, known[i].pre)) {
			t->pattern = known[i].pattern;
			t->traits |= known[i].traits;
			return true;
		}
	return err_at(e, ERR_SPEC, t->path, 0, 0,
		"unable to tell how the tokenizer '%.*s' (" KEY("pre") ") splits words",
		(int)(pre.n < 80 ? pre.n : 80), (const char *)pre.p);
}

bool tok_read_gguf(struct tok *t, const struct gguf *g, struct err *e)
{
	struct buf model;
	t->path = g->path;
	if (!gguf_string(g, KEY("model"), &model, e))
		return false;
	bool spm = is_text(model, "llama"), add_start = spm, add_end = false, prefix = spm;
	if (!spm && !is_text(model, "gpt2"))
		return err_at(e, ERR_SPEC, t->path, 0, 0,
			"unable to use a tokenizer of type '%.*s': only 'llama' and 'gpt2' are supported",
			(int)(model.n < 80 ? model.n : 80), (const char *)model.p);
	t->kind = spm ? TOKENIZER_SPM : TOKENIZER_BYTE_LEVEL;
	t->traits = spm ? TOK_FUSE_UNK : 0;
	if (!read_tokens(t, g, e) || (!spm && (!read_pattern(t, g, e) || !read_merges(t, g, e))))
		return false;
	add_start = add_start || t->traits & TOK_ADDS_START;
	uint32_t stop[2] = {TOKENIZER_NONE, TOKENIZER_NONE};
	if (spm) {
		t->start_id = 1;
		t->end_id = 2;
		t->unk_id = 0;
	}
	if (!read_id(t, g, KEY("bos_token_id"), &t->start_id, e) ||
		!read_id(t, g, KEY("eos_token_id"), &t->end_id, e) ||
		!read_id(t, g, KEY("unknown_token_id"), &t->unk_id, e) ||
		!read_id(t, g, KEY("eot_token_id"), &stop[0], e) ||
		!read_id(t, g, KEY("eom_token_id"), &stop[1], e) ||
		!read_flag(g, KEY("add_bos_token"), &add_start, e) ||
		!read_flag(g, KEY("add_eos_token"), &add_end, e) ||
		!read_flag(g, KEY("add_space_prefix"), &prefix, e))
		return false;
	if (add_end)
		return err_at(e, ERR_SPEC, t->path, 0, 0,
			"unable to use a tokenizer that adds an end token to every text");
	for (size_t i = 0; i < NELEM(stop); i++)
		if (stop[i] != TOKENIZER_NONE)
			t->token[stop[i]].type |= TOKEN_STOP;
	t->traits = (t->traits & ~(unsigned)TOK_ADDS_START) | (add_start ? TOK_ADDS_START : 0) |
		(prefix ? TOK_PREFIX | TOK_PREFIX_EVERY : 0);
	return true;
}
