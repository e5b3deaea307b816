/* An HF directory: config.json to the config, one or several safetensors files to the tensors. */
#include "arch.h"

#include "json.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

const char *const hf_rope_types[] = {
	[MODEL_ROPE_PLAIN] = "default",
	[MODEL_ROPE_LINEAR] = "linear",
	[MODEL_ROPE_LLAMA3] = "llama3",
};

struct hf {
	struct model *m;
	const char *config_path;
	enum arch_tied tied;
	struct err *e;
};

#define fail(hf, v, ...)                                                                           \
	err_at((hf)->e, ERR_IO, (hf)->config_path, (v)->line, (v)->col, __VA_ARGS__)

static const char *join(struct model *m, const char *name)
{
	return model_files_path(&m->arena, &m->files, name);
}

static bool exists(const struct model *m, const char *name)
{
	return model_files_have(&m->files, name);
}

static bool read_json(struct model *m, const char *name, struct json **out, struct err *e)
{
	struct map map;
	struct buf bytes;
	const char *path = join(m, name);
	if (!model_files_read(&m->arena, &m->files, name, &map, &bytes, e))
		return false;
	bool ok = json_parse(&m->arena, bytes, path, 1, out, e);
	map_release(&map);
	if (!ok && e)
		e->kind = ERR_IO;
	if (ok && (*out)->kind != JSON_OBJECT)
		return err_at(e, ERR_IO, path, 1, 1, "expected a JSON object");
	return ok;
}

/* Null is how HF spells absent. */
static const struct json *get(const struct json *object, const char *key)
{
	const struct json *v = json_get(object, key);
	return v && v->kind != JSON_NULL ? v : NULL;
}

static bool read_arch(struct hf *hf, const struct json *config)
{
	const struct json *v = get(config, "model_type");
	if (!v || v->kind != JSON_STRING)
		return fail(hf, v ? v : config, "'model_type' is missing or no string");
	hf->m->config.arch = arch_find(ARCH_HF, v->text, hf->config_path, hf->e);
	if (!hf->m->config.arch && hf->e) {
		hf->e->line = v->line;
		hf->e->col = v->col;
	}
	return hf->m->config.arch;
}

static bool read_keys(struct hf *hf, const struct json *config)
{
	const struct arch *a = hf->m->config.arch;
	for (size_t i = 0; i < a->nkey; i++) {
		const char *name = a->key[i].key[ARCH_HF];
		const struct json *v = name ? get(config, name) : NULL;
		if (v && (v->kind != JSON_NUMBER ||
				 !arch_set(&hf->m->config, &a->key[i], v->number)))
			return fail(hf, v, "'%s' is not a positive %s in range", name,
				a->key[i].kind == KEY_INT ? "integer" : "number");
		if (!v && a->key[i].required)
			return fail(hf, config, "'%s' is missing", name);
		if (!v && a->key[i].kind != KEY_INT)
			arch_set(&hf->m->config, &a->key[i], a->key[i].fallback);
	}
	if (!hf->m->config.vocab)
		return fail(hf, config, "'vocab_size' is missing");
	return true;
}

static bool read_fixed(struct hf *hf, const struct json *config)
{
	const struct arch *a = hf->m->config.arch;
	struct strbuf text;
	bool ok = true;
	strbuf_init(&text);
	for (size_t i = 0; i < a->nfixed_hf && ok; i++) {
		const struct json *v = get(config, a->fixed_hf[i].key);
		if (!v)
			continue;
		strbuf_clear(&text);
		json_write(&text, v);
		ok = v->kind == JSON_NUMBER ? v->number == strtod(a->fixed_hf[i].json, NULL)
					    : !strcmp(text.s, a->fixed_hf[i].json);
		if (!ok)
			fail(hf, v, "'%s' of %.100s is not supported; expected %s",
				a->fixed_hf[i].key, text.s, a->fixed_hf[i].json);
	}
	strbuf_release(&text);
	return ok;
}

static bool read_positive(struct hf *hf, const struct json *object, const char *key, double *out)
{
	const struct json *v = get(object, key);
	if (!v || v->kind != JSON_NUMBER || !(v->number > 0))
		return fail(hf, v ? v : object,
			"'%s' of the RoPE scaling is missing or not positive", key);
	*out = v->number;
	return true;
}

/* "rope_scaling", or "rope_parameters" since transformers 5; the type is "rope_type" or "type". */
static bool read_rope(struct hf *hf, const struct json *config)
{
	const char *const *types = hf_rope_types;
	struct model_config *c = &hf->m->config;
	const struct json *rope = get(config, "rope_parameters");
	if (!rope)
		rope = get(config, "rope_scaling");
	if (!rope)
		return true;
	if (rope->kind != JSON_OBJECT)
		return fail(hf, rope, "the RoPE scaling is no object");
	if (get(rope, "rope_theta") && !read_positive(hf, rope, "rope_theta", &c->rope_theta))
		return false;
	const struct json *type = get(rope, "rope_type");
	if (!type)
		type = get(rope, "type");
	if (!type || (type->kind == JSON_STRING && !strcmp(type->text, types[MODEL_ROPE_PLAIN])))
		return true;
	if (type->kind == JSON_STRING && !strcmp(type->text, types[MODEL_ROPE_LINEAR])) {
		c->rope = MODEL_ROPE_LINEAR;
		return read_positive(hf, rope, "factor", &c->rope_factor);
	}
	if (type->kind != JSON_STRING || strcmp(type->text, types[MODEL_ROPE_LLAMA3]))
		return fail(hf, type,
			"RoPE scaling '%.40s' is not supported; expected 'default', 'linear' or "
			"'llama3'",
			type->kind == JSON_STRING ? type->text : "?");
	double context;
	c->rope = MODEL_ROPE_LLAMA3;
	if (!read_positive(hf, rope, "factor", &c->rope_factor) ||
		!read_positive(hf, rope, "low_freq_factor", &c->rope_low) ||
		!read_positive(hf, rope, "high_freq_factor", &c->rope_high) ||
		!read_positive(hf, rope, "original_max_position_embeddings", &context))
		return false;
	if (c->rope_low >= c->rope_high)
		return fail(hf, rope,
			"'low_freq_factor' of the RoPE scaling is not below 'high_freq_factor'");
	if (context < 1 || context > 1 << 28)
		return fail(hf, rope,
			"'original_max_position_embeddings' of the RoPE scaling is out of range");
	c->rope_original_context = (int)context;
	return true;
}

static bool add_eos(struct hf *hf, const struct json *v)
{
	struct model_config *c = &hf->m->config;
	int64_t id;
	if (!json_int(v, &id) || id < 0 || id > INT32_MAX)
		return fail(hf, v, "'eos_token_id' is not a token or a list of tokens");
	for (int i = 0; i < c->neos; i++)
		if (c->eos_id[i] == id)
			return true;
	if (c->neos == MODEL_EOS_MAX)
		return fail(hf, v, "more than %d end tokens", MODEL_EOS_MAX);
	c->eos_id[c->neos++] = (int)id;
	return true;
}

static bool read_ends(struct hf *hf, const struct json *config)
{
	const struct json *bos = get(config, "bos_token_id"), *eos = get(config, "eos_token_id");
	int64_t id;
	if (bos) {
		if (!json_int(bos, &id) || id < 0 || id > INT32_MAX)
			return fail(hf, bos, "'bos_token_id' is not a token");
		hf->m->config.bos_id = (int)id;
	}
	if (!eos)
		return true;
	if (eos->kind != JSON_ARRAY)
		return add_eos(hf, eos);
	for (size_t i = 0; i < eos->nitem; i++)
		if (!add_eos(hf, &eos->item[i]))
			return false;
	return true;
}

static bool read_config(struct hf *hf)
{
	struct json *config, *generation;
	hf->config_path = join(hf->m, "config.json");
	if (!read_json(hf->m, "config.json", &config, hf->e) || !read_arch(hf, config) ||
		!read_fixed(hf, config) || !read_keys(hf, config) || !read_rope(hf, config) ||
		!read_ends(hf, config))
		return false;
	const struct json *tied = get(config, "tie_word_embeddings");
	if (tied && tied->kind != JSON_TRUE && tied->kind != JSON_FALSE)
		return fail(hf, tied, "'tie_word_embeddings' is neither true nor false");
	hf->tied = !tied ? TIED_UNSAID : tied->kind == JSON_TRUE ? TIED_YES : TIED_NO;

	/* Chat models name their end-of-turn token there alone. */
	static const char generation_name[] = "generation_config.json";
	if (exists(hf->m, generation_name)) {
		if (!read_json(hf->m, generation_name, &generation, hf->e))
			return false;
		const char *config_path = hf->config_path;
		hf->config_path = join(hf->m, generation_name);
		if (!read_ends(hf, generation))
			return false;
		hf->config_path = config_path;
	}
	return arch_finish_config(&hf->m->config, hf->config_path, hf->e);
}

/* Reads one safetensors file behind the *n tensors that all[] holds. */
static bool read_file(struct hf *hf, const char *name, struct stored **all, size_t *n)
{
	struct model *m = hf->m;
	struct stored *s;
	size_t ns;
	struct buf bytes;
	if (!model_files_read(&m->arena, &m->files, name, &m->map[m->nmap++], &bytes, hf->e) ||
		!safetensors_open(&m->arena, bytes, join(m, name), &s, &ns, hf->e))
		return false;
	for (size_t i = 0; i < ns; i++)
		*arena_push(&m->arena, *all, *n) = s[i];
	return true;
}

static int compare_string(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct file names of a weight_map, sorted. */
static bool shard_names(
	struct hf *hf, const struct json *map, const char *index_path, const char ***out, size_t *n)
{
	const char **name = arena_array(&hf->m->arena, const char *, map->nitem);
	for (size_t i = 0; i < map->nitem; i++) {
		const struct json *v = &map->item[i];
		if (v->kind != JSON_STRING || !v->text_bytes || strlen(v->text) != v->text_bytes ||
			strchr(v->text, '/'))
			return err_at(hf->e, ERR_IO, index_path, v->line, v->col,
				"tensor '%.200s': expected the name of a file beside the index",
				map->key[i]);
		name[i] = v->text;
	}
	qsort(name, map->nitem, sizeof(*name), compare_string);
	*n = 0;
	for (size_t i = 0; i < map->nitem; i++)
		if (!i || strcmp(name[i], name[*n - 1]))
			name[(*n)++] = name[i];
	*out = name;
	return true;
}

/* Each tensor must be in the file where the index says it is, and in no other. */
static bool check_index(struct hf *hf, const struct json *map, const char *index_path,
	const struct stored *s, size_t n)
{
	const char **names = arena_array(&hf->m->arena, const char *, n);
	size_t twice;
	bool ok = true;
	for (size_t i = 0; i < n; i++)
		names[i] = s[i].name;
	if (stored_duplicate(names, n, &twice))
		return err_at(hf->e, ERR_IO, s[twice].path, 0, 0,
			"byte %zu: tensor '%s' stands in another file too", s[twice].offset,
			s[twice].name);
	if (stored_duplicate(map->key, map->nitem, &twice))
		return err_at(hf->e, ERR_IO, index_path, map->item[twice].line,
			map->item[twice].col, "tensor '%.200s' appears twice", map->key[twice]);
	const struct stored **sorted = stored_by_name(s, n);
	for (size_t i = 0; i < map->nitem && ok; i++) {
		const struct json *file = &map->item[i];
		const struct stored **at = stored_find(sorted, n, map->key[i]);
		if (!at || strcmp((*at)->path, join(hf->m, file->text)))
			ok = err_at(hf->e, ERR_IO, index_path, file->line, file->col,
				"tensor '%.200s' is not in '%s'", map->key[i], file->text);
	}
	free(sorted);
	return ok;
}

static bool read_shards(struct hf *hf, const char *index_name, struct stored **all, size_t *n)
{
	struct json *index;
	const char **name = NULL;
	size_t nname = 0;
	const char *index_path = join(hf->m, index_name);
	if (!read_json(hf->m, index_name, &index, hf->e))
		return false;
	const struct json *map = json_get(index, "weight_map");
	if (!map || map->kind != JSON_OBJECT || !map->nitem)
		return err_at(hf->e, ERR_IO, index_path, 1, 1,
			"'weight_map' is missing, no object or empty");
	if (!shard_names(hf, map, index_path, &name, &nname))
		return false;
	hf->m->map = arena_array(&hf->m->arena, struct map, nname);
	for (size_t i = 0; i < nname; i++)
		if (!read_file(hf, name[i], all, n))
			return false;
	return check_index(hf, map, index_path, *all, *n);
}

bool hf_open(struct model *m, struct err *e)
{
	struct hf hf = {m, NULL, TIED_UNSAID, e};
	struct stored *all = NULL;
	size_t n = 0;
	if (!read_config(&hf))
		return false;
	static const char single[] = "model.safetensors", index[] = "model.safetensors.index.json";
	m->map = arena_array(&m->arena, struct map, 1);
	if (exists(m, single)) {
		if (!read_file(&hf, single, &all, &n))
			return false;
	} else if (exists(m, index)) {
		if (!read_shards(&hf, index, &all, &n))
			return false;
	} else {
		return err_at(e, ERR_IO, m->path, 0, 0,
			"no 'model.safetensors' and no 'model.safetensors.index.json' beside "
			"config.json%s",
			exists(m, "pytorch_model.bin") ? "; 'pytorch_model.bin' is not read"
							     : "");
	}
	return arch_bind(m, ARCH_HF, all, n, hf.tied, e);
}
