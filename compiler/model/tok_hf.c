/*
 * The tokenizer files of a Hugging Face directory (https://github.com/huggingface/tokenizers).
 *
 * tokenizer.json is a pipeline: normalizer, pre_tokenizer, model, post_processor. Here each known
 * step sets a trait; what is not known is refused with its place. Two steps are taken for what the
 * model was trained with: NFC is left out (see tokenizer.h), and Metaspace puts its space before
 * every text as sentencepiece does, not only before those that begin with none.
 */
#include "tok.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "json.h"
#include "pretokenize.h"
#include "tokenizer.h"

struct hf {
	struct tok *t;
	struct err *e;
	bool byte_level, digits;
};

static bool PRINTF_LIKE(3, 4) fail(const struct hf *h, const struct json *v, const char *fmt, ...)
{
	char msg[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_at(h->e, ERR_SPEC, h->t->path, v ? v->line : 0, v ? v->col : 0, "%s", msg);
}

static bool is_null(const struct json *v)
{
	return !v || v->kind == JSON_NULL;
}

static bool is_true(const struct json *object, const char *key)
{
	const struct json *v = json_get(object, key);
	return v && v->kind == JSON_TRUE;
}

static bool is_text(const struct json *v, const char *text)
{
	return v && v->kind == JSON_STRING && v->text_bytes == strlen(text) &&
		memcmp(v->text, text, v->text_bytes) == 0;
}

/* "" if absent or no string. */
static const char *text_at(const struct json *object, const char *key)
{
	const struct json *v = json_get(object, key);
	return v && v->kind == JSON_STRING ? v->text : "";
}

static struct buf text_of(const struct json *v)
{
	return (struct buf){v->text, v->text_bytes};
}

static bool read_vocab(struct hf *h, const struct json *vocab)
{
	int64_t id;
	if (is_null(vocab) || vocab->kind != JSON_OBJECT)
		return fail(h, vocab, "expected an object of tokens and their ids as vocabulary");
	for (size_t i = 0; i < vocab->nitem; i++) {
		const char *name = vocab->key[i];
		if (!json_int(&vocab->item[i], &id) || id < 0)
			return fail(h, &vocab->item[i], "expected a token id for '%.80s'", name);
		if (!tok_put(h->t, (uint64_t)id, (struct buf){name, strlen(name)}, TOKEN_NORMAL, h->e))
			return false;
		if (*name)
			tok_set_ordinary(h->t, (uint32_t)id);
	}
	tok_index(h->t);
	return true;
}

static bool read_merges(struct hf *h, const struct json *merges)
{
	if (is_null(merges) || merges->kind != JSON_ARRAY)
		return fail(h, merges, "expected an array as merges");
	h->t->merge = arena_array(h->t->a, struct tok_merge, merges->nitem);
	for (size_t i = 0; i < merges->nitem; i++) {
		const struct json *m = &merges->item[i];
		struct buf left, right;
		if (m->kind == JSON_ARRAY && m->nitem == 2 && m->item[0].kind == JSON_STRING &&
			m->item[1].kind == JSON_STRING) {
			left = text_of(&m->item[0]);
			right = text_of(&m->item[1]);
		} else {
			const char *space = m->kind == JSON_STRING ? strchr(m->text, ' ') : NULL;
			if (!space || space == m->text || !space[1] || strchr(space + 1, ' '))
				return fail(h, m, "expected two tokens with one space between as merge %zu",
					i);
			left = (struct buf){m->text, (size_t)(space - m->text)};
			right = (struct buf){space + 1, m->text_bytes - left.n - 1};
		}
		if (!tok_put_merge(h->t, left, right, h->e))
			return false;
	}
	return true;
}

/* Calls `step` for v, or for each element of the sequence v. */
static bool each(struct hf *h, const struct json *v, const char *list,
	bool (*step)(struct hf *, const struct json *))
{
	if (is_null(v))
		return true;
	if (strcmp(text_at(v, "type"), "Sequence") != 0)
		return step(h, v);
	const struct json *items = json_get(v, list);
	if (is_null(items) || items->kind != JSON_ARRAY)
		return fail(h, v, "expected '%s' in this sequence", list);
	for (size_t i = 0; i < items->nitem; i++)
		if (!step(h, &items->item[i]))
			return false;
	return true;
}

#define ESCAPED_SPACE "\xe2\x96\x81"

static bool normalizer_step(struct hf *h, const struct json *v)
{
	const char *type = text_at(v, "type");
	if (strcmp(type, "NFC") == 0)
		return true;
	if (strcmp(type, "Prepend") == 0 && is_text(json_get(v, "prepend"), ESCAPED_SPACE)) {
		h->t->traits |= TOK_PREFIX | TOK_PREFIX_EVERY;
		return true;
	}
	const struct json *pattern = json_get(v, "pattern");
	if (strcmp(type, "Replace") == 0 && is_text(json_get(pattern, "String"), " ") &&
		is_text(json_get(v, "content"), ESCAPED_SPACE))
		return true;
	return fail(h, v, "unable to use the normalizer '%s' of this tokenizer", type);
}

static bool split_step(struct hf *h, const struct json *v)
{
	static const struct {
		const char *regex;
		enum pretokenize_pattern pattern;
	} known[] = {
		{"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
			PRETOKENIZE_GPT2},
		{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
		 " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
			PRETOKENIZE_LLAMA3},
		{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
		 " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
			PRETOKENIZE_QWEN2},
	};
	const char *regex = text_at(json_get(v, "pattern"), "Regex");
	for (size_t i = 0; i < NELEM(known); i++)
		if (strcmp(regex, known[i].regex) == 0 && !is_true(v, "invert") &&
			is_text(json_get(v, "behavior"), "Isolated") &&
			h->t->pattern == PRETOKENIZE_WHOLE) {
			h->t->pattern = known[i].pattern;
			return true;
		}
	return fail(h, v, "unable to use the pattern of this pre-tokenizer: '%.200s'", regex);
}

static bool pre_tokenizer_step(struct hf *h, const struct json *v)
{
	const char *type = text_at(v, "type");
	if (strcmp(type, "Split") == 0)
		return split_step(h, v);
	if (strcmp(type, "Digits") == 0 && is_true(v, "individual_digits")) {
		h->digits = true;
		return true;
	}
	if (strcmp(type, "ByteLevel") == 0) {
		const struct json *regex = json_get(v, "use_regex");
		const struct json *space = json_get(v, "add_prefix_space");
		h->byte_level = true;
		if (!space || space->kind != JSON_FALSE)
			return fail(h, v, "unable to use a ByteLevel pre-tokenizer with add_prefix_space");
		if ((!regex || regex->kind == JSON_TRUE) && h->t->pattern != PRETOKENIZE_WHOLE)
			return fail(h, v, "unable to use two patterns in one pre-tokenizer");
		if (!regex || regex->kind == JSON_TRUE)
			h->t->pattern = PRETOKENIZE_GPT2;
		return true;
	}
	if (strcmp(type, "Metaspace") == 0 && is_text(json_get(v, "replacement"), ESCAPED_SPACE)) {
		const char *scheme = text_at(v, "prepend_scheme");
		const struct json *split = json_get(v, "split");
		if (!split || split->kind != JSON_FALSE)
			return fail(h, v, "unable to use a Metaspace pre-tokenizer that splits");
		if (strcmp(scheme, "always") == 0)
			h->t->traits |= TOK_PREFIX | TOK_PREFIX_EVERY;
		else if (strcmp(scheme, "first") == 0)
			h->t->traits |= TOK_PREFIX;
		else if (strcmp(scheme, "never") != 0)
			return fail(h, v, "unknown prepend_scheme '%s'", scheme);
		return true;
	}
	return fail(h, v, "unable to use the pre-tokenizer '%s' of this tokenizer", type);
}

static bool post_processor_step(struct hf *h, const struct json *v)
{
	const char *type = text_at(v, "type");
	if (strcmp(type, "ByteLevel") == 0)
		return true;
	if (strcmp(type, "TemplateProcessing") != 0)
		return fail(h, v, "unable to use the post-processor '%s' of this tokenizer", type);
	const struct json *single = json_get(v, "single");
	size_t n = single && single->kind == JSON_ARRAY ? single->nitem : 0;
	const struct json *start = n == 2 ? json_get(&single->item[0], "SpecialToken") : NULL;
	if (n == 0 || n > 2 || (n == 2 && !start) || !json_get(&single->item[n - 1], "Sequence"))
		return fail(h, v, "unable to use this template: expected a start token and the text");
	if (!start)
		return true;
	const struct json *id = json_get(start, "id");
	h->t->start_id = id && id->kind == JSON_STRING ? tok_find(h->t, text_of(id)) : TOKENIZER_NONE;
	if (h->t->start_id == TOKENIZER_NONE)
		return fail(h, v, "the template's start token is not in the vocabulary");
	h->t->traits |= TOK_ADDS_START;
	return true;
}

static bool add_token(struct hf *h, int64_t id, const struct json *v)
{
	const struct json *content = json_get(v, "content");
	if (id < 0 || is_null(content) || content->kind != JSON_STRING || !content->text_bytes)
		return fail(h, v, "expected 'id' and 'content' of an added token");
	if (is_true(v, "single_word"))
		return fail(h, v, "unable to use the added token '%.80s' with single_word",
			content->text);
	unsigned type = is_true(v, "special") ? TOKEN_CONTROL : TOKEN_USER;
	type |= is_true(v, "lstrip") ? TOKEN_LSTRIP : 0;
	type |= is_true(v, "rstrip") ? TOKEN_RSTRIP : 0;
	if (!tok_put(h->t, (uint64_t)id, text_of(content), type, h->e))
		return false;
	if (h->t->kind != TOKENIZER_BYTE_LEVEL)
		h->t->token[id].text = tok_unescape(h->t->a, text_of(content));
	return true;
}

static bool read_added_tokens(struct hf *h, const struct json *added)
{
	for (size_t i = 0; added && i < added->nitem; i++) {
		int64_t id;
		const struct json *v = json_get(&added->item[i], "id");
		if (!v || !json_int(v, &id))
			return fail(h, &added->item[i], "expected 'id' and 'content' of an added token");
		if (!add_token(h, id, &added->item[i]))
			return false;
	}
	tok_index(h->t);
	return true;
}

static bool read_model(struct hf *h, const struct json *model)
{
	static const char *const unusable[] = {"continuing_subword_prefix", "end_of_word_suffix",
		"dropout"};
	struct tok *t = h->t;
	if (is_null(model) || model->kind != JSON_OBJECT)
		return fail(h, model, "expected 'model'");
	const char *type = text_at(model, "type");
	if (*type ? strcmp(type, "BPE") != 0 : !json_get(model, "merges"))
		return fail(h, model, "unable to use a tokenizer of type '%s': only BPE is supported",
			type);
	for (size_t i = 0; i < NELEM(unusable); i++) {
		const struct json *v = json_get(model, unusable[i]);
		if (!is_null(v) && !is_text(v, ""))
			return fail(h, v, "unable to use a tokenizer with %s", unusable[i]);
	}
	if (!read_vocab(h, json_get(model, "vocab")) || !read_merges(h, json_get(model, "merges")))
		return false;
	const struct json *unk = json_get(model, "unk_token");
	if (unk && unk->kind == JSON_STRING) {
		t->unk_id = tok_find(t, text_of(unk));
		if (t->unk_id == TOKENIZER_NONE)
			return fail(h, unk, "the unknown token '%.80s' is not in the vocabulary", unk->text);
	}
	if (is_true(model, "fuse_unk"))
		t->traits |= TOK_FUSE_UNK;
	if (is_true(model, "ignore_merges"))
		t->traits |= TOK_WHOLE_WORDS;
	for (size_t i = 0; i < t->ntoken && !is_true(model, "byte_fallback"); i++)
		if (t->token[i].type == TOKEN_BYTE) {
			t->token[i].type = TOKEN_UNUSED;
			t->token[i].text = t->token[i].name;
		}
	return true;
}

bool tok_read_hf_json(struct tok *t, struct buf file, struct err *e)
{
	struct hf h = {t, e, false, false};
	struct json *root;
	if (!json_parse(t->a, file, t->path, 1, &root, e))
		return false;
	if (root->kind != JSON_OBJECT)
		return fail(&h, root, "expected an object");
	if (!each(&h, json_get(root, "normalizer"), "normalizers", normalizer_step) ||
		!each(&h, json_get(root, "pre_tokenizer"), "pretokenizers", pre_tokenizer_step))
		return false;
	if (h.digits && t->pattern != PRETOKENIZE_GPT2)
		return fail(&h, root, "unable to use a Digits pre-tokenizer without ByteLevel's pattern");
	if (h.digits)
		t->pattern = PRETOKENIZE_DIGITS;
	if (t->pattern != PRETOKENIZE_WHOLE && !h.byte_level)
		return fail(&h, root, "unable to use a pre-tokenizer's pattern without ByteLevel");
	t->kind = h.byte_level ? TOKENIZER_BYTE_LEVEL : TOKENIZER_MERGES;
	return read_model(&h, json_get(root, "model")) &&
		read_added_tokens(&h, json_get(root, "added_tokens")) &&
		each(&h, json_get(root, "post_processor"), "processors", post_processor_step);
}

bool tok_read_vocab_merges(struct tok *t, struct buf vocab, struct buf merges, struct err *e)
{
	struct hf h = {t, e, true, false};
	struct json *root;
	t->kind = TOKENIZER_BYTE_LEVEL;
	if (!json_parse(t->a, vocab, t->path, 1, &root, e) || !read_vocab(&h, root))
		return false;
	const char *p = merges.p, *end = p ? p + merges.n : p;
	size_t nline = 1;
	for (const char *s = p; s != end; s++)
		nline += *s == '\n';
	t->merge = arena_array(t->a, struct tok_merge, nline);
	for (int line = 1; p != end; line++) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		const char *next = eol ? eol + 1 : end;
		if (!eol)
			eol = end;
		if (eol != p && eol[-1] == '\r')
			eol--;
		size_t n = (size_t)(eol - p);
		const char *space = memchr(p, ' ', n);
		bool comment = line == 1 && n >= 9 && memcmp(p, "#version:", 9) == 0;
		if (n && !comment) {
			if (!space)
				return err_at(e, ERR_SPEC, t->path, 0, 0,
					"merges.txt:%d: expected two tokens and a space between", line);
			if (!tok_put_merge(t, (struct buf){p, (size_t)(space - p)},
					(struct buf){space + 1, (size_t)(eol - space - 1)}, e))
				return err_context(e, "merges.txt:%d", line);
		}
		p = next;
	}
	return true;
}

/* The object in a file of the directory; *out is NULL if there is no such file. */
static bool read_object(struct tok *t, const struct model_files *f, const char *name,
	struct json **out, struct err *e)
{
	struct map m;
	struct buf bytes;
	const char *path = model_files_path(t->a, f, name);
	*out = NULL;
	if (!model_files_have(f, name))
		return true;
	if (!model_files_read(t->a, f, name, &m, &bytes, e))
		return false;
	bool ok = json_parse(t->a, bytes, path, 1, out, e);
	map_release(&m);
	if (ok && (*out)->kind != JSON_OBJECT)
		return err_at(e, ERR_SPEC, path, 1, 1, "expected an object");
	t->path = path;
	return ok;
}

static bool choose_pattern(struct hf *h, const struct json *config, const struct json *model_config)
{
	static const struct {
		const char *class, *model_type;
		enum pretokenize_pattern pattern;
	} known[] = {
		{"GPT2Tokenizer", "gpt2", PRETOKENIZE_GPT2},
		{"GPT2TokenizerFast", "gpt2", PRETOKENIZE_GPT2},
		{"Qwen2Tokenizer", "qwen2", PRETOKENIZE_QWEN2},
		{"Qwen2TokenizerFast", "qwen2", PRETOKENIZE_QWEN2},
	};
	const char *class = text_at(config, "tokenizer_class");
	const char *type = text_at(model_config, "model_type");
	for (size_t i = 0; i < NELEM(known); i++)
		if (strcmp(*class ? class : type, *class ? known[i].class : known[i].model_type) == 0) {
			h->t->pattern = known[i].pattern;
			return true;
		}
	if (*class || *type)
		return fail(h, NULL,
			"unable to tell how '%s' splits words: its directory has vocab.json but no "
			"tokenizer.json",
			*class ? class : type);
	h->t->pattern = PRETOKENIZE_GPT2; /* whose format it is */
	return true;
}

static bool read_added_decoder(struct hf *h, const struct json *added)
{
	for (size_t i = 0; added && i < added->nitem; i++) {
		char *end = NULL;
		long long id = added->kind == JSON_OBJECT ? strtoll(added->key[i], &end, 10) : -1;
		if (!end || end == added->key[i] || *end)
			return fail(h, &added->item[i], "expected the id of an added token");
		if (!add_token(h, id, &added->item[i]))
			return false;
	}
	return true;
}

/* The id of a token that is named by a string or by an object with `content`; `was` if it is not. */
static bool named_token(struct hf *h, const struct json *config, const char *key, uint32_t *id)
{
	const struct json *v = json_get(config, key);
	if (v && v->kind == JSON_OBJECT)
		v = json_get(v, "content");
	if (is_null(v))
		return true;
	uint32_t found = v->kind == JSON_STRING ? tok_find(h->t, text_of(v)) : TOKENIZER_NONE;
	if (found == TOKENIZER_NONE)
		return fail(h, v, "%s is not in the vocabulary", key);
	*id = found;
	return true;
}

/* "bos_token_id" and "eos_token_id": an id, or a list of ids. */
static bool numbered_tokens(struct hf *h, const struct json *config, const char *key, uint32_t *first)
{
	const struct json *v = json_get(config, key);
	if (is_null(v))
		return true;
	size_t n = v->kind == JSON_ARRAY ? v->nitem : 1;
	for (size_t i = 0; i < n; i++) {
		const struct json *item = v->kind == JSON_ARRAY ? &v->item[i] : v;
		int64_t id;
		if (!json_int(item, &id) || id >= (int64_t)h->t->ntoken)
			return fail(h, item, "%s is not an id of the tokenizer's %zu tokens", key,
				h->t->ntoken);
		if (id < 0)
			continue;
		if (*first == TOKENIZER_NONE)
			*first = (uint32_t)id;
		if (first == &h->t->end_id)
			h->t->token[id].type |= TOKEN_STOP;
	}
	return true;
}

static bool read_tokenizer_config(struct hf *h, const struct json *config)
{
	struct tok *t = h->t;
	uint32_t unk = t->unk_id;
	if (!read_added_decoder(h, json_get(config, "added_tokens_decoder")))
		return false;
	tok_index(t);
	if (!named_token(h, config, "bos_token", &t->start_id) ||
		!named_token(h, config, "eos_token", &t->end_id) ||
		!named_token(h, config, "unk_token", &unk))
		return false;
	if (t->unk_id == TOKENIZER_NONE && t->kind != TOKENIZER_BYTE_LEVEL)
		t->unk_id = unk;
	const struct json *adds = json_get(config, "add_bos_token");
	if (!is_null(adds) && adds->kind == JSON_TRUE)
		t->traits |= TOK_ADDS_START;
	else if (!is_null(adds))
		t->traits &= ~(unsigned)TOK_ADDS_START;
	if (is_true(config, "add_eos_token"))
		return fail(h, json_get(config, "add_eos_token"),
			"unable to use a tokenizer that adds an end token to every text");
	return true;
}

bool tok_read_hf_config(struct tok *t, const struct model_files *f, struct err *e)
{
	struct hf h = {t, e, false, false};
	struct json *config, *model_config, *generation;
	if (!read_object(t, f, "generation_config.json", &generation, e) ||
		!read_object(t, f, "config.json", &model_config, e))
		return false;
	const char *model_path = t->path;
	if (!read_object(t, f, "tokenizer_config.json", &config, e))
		return false;
	if (t->kind == TOKENIZER_BYTE_LEVEL && t->pattern == PRETOKENIZE_WHOLE &&
		!choose_pattern(&h, config, model_config))
		return false;
	if (config && !read_tokenizer_config(&h, config))
		return false;
	t->path = model_path;
	if (!numbered_tokens(&h, model_config, "bos_token_id", &t->start_id) ||
		!numbered_tokens(&h, model_config, "eos_token_id", &t->end_id))
		return false;
	t->path = model_files_path(t->a, f, "generation_config.json");
	if (!numbered_tokens(&h, generation, "eos_token_id", &t->end_id))
		return false;
	t->path = f->folder;
	return true;
}
