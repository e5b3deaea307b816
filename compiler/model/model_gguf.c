/* A GGUF file: its metadata to the config, its tensors to canonical ones. */
#include "arch.h"

#include "gguf.h"

#include <inttypes.h>
#include <string.h>

static bool read_arch(struct model *m, struct err *e)
{
	struct buf name;
	if (!gguf_string(m->gguf, "general.architecture", &name, e))
		return false;
	const char *text = arena_strndup(&m->arena, name.p, name.n);
	m->config.arch = arch_find(ARCH_GGUF, text, m->path, e);
	return m->config.arch;
}

static bool read_key(struct model *m, const struct arch_key *key, struct err *e)
{
	const char *name = key->key[ARCH_GGUF];
	const struct gguf_value *v = name ? gguf_find(m->gguf, name) : NULL;
	int64_t integer = 0;
	double number = key->fallback;
	if (!v && key->kind == KEY_INT && !key->required)
		return true;
	if (v || key->required) {
		if (key->kind == KEY_INT ? !gguf_int(m->gguf, name, &integer, e)
					 : !gguf_float(m->gguf, name, &number, e))
			return false;
		if (key->kind == KEY_INT)
			number = (double)integer;
	}
	if (!arch_set(&m->config, key, number))
		return err_at(e, ERR_IO, m->path, 0, 0,
			"byte %zu: key '%s' is not positive or out of range", v ? v->offset : 0,
			name);
	return true;
}

static bool check_fixed(struct model *m, const char *key, int64_t want, struct err *e)
{
	const struct gguf_value *v = gguf_find(m->gguf, key);
	int64_t got;
	if (!v)
		return true;
	if (!gguf_int(m->gguf, key, &got, e))
		return false;
	if (got == want)
		return true;
	return err_at(e, ERR_IO, m->path, 0, 0,
		"byte %zu: key '%s' of %" PRId64 " is not supported; expected %" PRId64, v->offset,
		key, got, want);
}

/* The vocabulary's size is the tokenizer's where no key says it. */
static bool read_vocab(struct model *m, struct err *e)
{
	const struct gguf_value *tokens = gguf_find(m->gguf, "tokenizer.ggml.tokens");
	if (!m->config.vocab && tokens && tokens->type == GGUF_ARRAY && tokens->nitem <= INT32_MAX)
		m->config.vocab = (int)tokens->nitem;
	if (!m->config.vocab)
		return err_at(e, ERR_IO, m->path, 0, 0,
			"neither '%s.vocab_size' nor 'tokenizer.ggml.tokens' gives the size of the "
			"vocabulary",
			m->config.arch->name);
	return true;
}

static bool read_rope(struct model *m, struct err *e)
{
	struct buf type;
	struct model_config *c = &m->config;
	for (size_t i = 0; i < m->gguf->ntensor; i++)
		if (!strcmp(m->gguf->tensor[i].name, "rope_freqs.weight"))
			return err_at(e, ERR_IO, m->path, 0, 0,
				"byte %zu: RoPE scaling by 'rope_freqs.weight' is not supported; "
				"take the HF directory",
				m->gguf->tensor[i].offset);
	const char *key = arena_printf(&m->arena, "%s.rope.scaling.type", c->arch->name);
	if (!gguf_find(m->gguf, key))
		return true;
	if (!gguf_string(m->gguf, key, &type, e))
		return false;
	if (type.n == 4 && !memcmp(type.p, "none", 4))
		return true;
	if (type.n != 6 || memcmp(type.p, "linear", 6))
		return err_at(e, ERR_IO, m->path, 0, 0,
			"byte %zu: RoPE scaling '%.*s' is not supported; expected 'none' or "
			"'linear'",
			gguf_find(m->gguf, key)->offset, type.n > 40 ? 40 : (int)type.n,
			(const char *)type.p);
	c->rope = MODEL_ROPE_LINEAR;
	key = arena_printf(&m->arena, "%s.rope.scaling.factor", c->arch->name);
	if (!gguf_float(m->gguf, key, &c->rope_factor, e))
		return false;
	if (!(c->rope_factor > 0))
		return err_at(
			e, ERR_IO, m->path, 0, 0, "the factor of the RoPE scaling is not positive");
	return true;
}

/* A token's id, -1 when the key is absent or says none by its largest value. */
static bool read_token(struct model *m, const char *key, int *out, struct err *e)
{
	int64_t id;
	*out = -1;
	if (!gguf_find(m->gguf, key))
		return true;
	if (!gguf_int(m->gguf, key, &id, e))
		return false;
	if (id >= 0 && id <= INT32_MAX)
		*out = (int)id;
	return true;
}

static bool read_ends(struct model *m, struct err *e)
{
	static const char *const keys[] = {
		"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
	struct model_config *c = &m->config;
	if (!read_token(m, "tokenizer.ggml.bos_token_id", &c->bos_id, e))
		return false;
	for (size_t i = 0; i < NELEM(keys); i++) {
		int id;
		if (!read_token(m, keys[i], &id, e))
			return false;
		if (id >= 0 && !(c->neos && c->eos_id[0] == id))
			c->eos_id[c->neos++] = id;
	}
	return true;
}

static bool read_config(struct model *m, struct err *e)
{
	const struct arch *a = m->config.arch;
	for (size_t i = 0; i < a->nkey; i++)
		if (!read_key(m, &a->key[i], e))
			return false;
	if (!read_vocab(m, e) || !read_ends(m, e) || !arch_finish_config(&m->config, m->path, e))
		return false;
	for (size_t i = 0; i < a->nfixed_gguf; i++)
		if (!check_fixed(m, a->fixed_gguf[i].key, a->fixed_gguf[i].value, e))
			return false;
	for (size_t i = 0; i < NELEM(a->gguf_head_dim) && a->gguf_head_dim[i]; i++)
		if (!check_fixed(m, a->gguf_head_dim[i], m->config.head_dim, e))
			return false;
	return read_rope(m, e);
}

bool model_gguf_open(struct model *m, struct err *e)
{
	m->gguf = arena_new(&m->arena, struct gguf);
	bool ok = m->files.file ? gguf_open_bytes(m->gguf, m->files.file[0].bytes, m->path, e)
				: gguf_open(m->gguf, m->path, e);
	return ok && read_arch(m, e) && read_config(m, e) &&
	       arch_bind(m, ARCH_GGUF, m->gguf->tensor, m->gguf->ntensor, TIED_UNSAID, e);
}
