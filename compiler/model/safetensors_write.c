/* A model as an HF directory: the inverse of hf.c and safetensors.c, walking the same tables. */
#include "arch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* HF readers tell 10000.0 from 10000, and take no 1e+04 for an integer. */
static void add_number(struct strbuf *out, const char *key, enum arch_key_kind kind, double x)
{
	strbuf_addf(out, "\"%s\": ", key);
	if (kind == KEY_INT)
		strbuf_addf(out, "%.0f", x);
	else if (kind == KEY_FLOAT)
		strbuf_add_float(out, (float)x);
	else if (x == floor(x) && x < 1e15)
		strbuf_addf(out, "%.1f", x);
	else
		strbuf_add_double(out, x);
}

static void add_rope(struct strbuf *out, const struct model_config *c)
{
	if (c->rope == MODEL_ROPE_PLAIN)
		return;
	strbuf_addf(out, "  \"rope_scaling\": {\"rope_type\": \"%s\", ", hf_rope_types[c->rope]);
	add_number(out, "factor", KEY_DOUBLE, c->rope_factor);
	if (c->rope == MODEL_ROPE_LLAMA3) {
		strbuf_adds(out, ", ");
		add_number(out, "low_freq_factor", KEY_DOUBLE, c->rope_low);
		strbuf_adds(out, ", ");
		add_number(out, "high_freq_factor", KEY_DOUBLE, c->rope_high);
		strbuf_addf(out, ", \"original_max_position_embeddings\": %d",
			c->rope_original_context);
	}
	strbuf_adds(out, "},\n");
}

static void add_tokens(struct strbuf *out, const struct model_config *c)
{
	if (c->bos_id >= 0)
		strbuf_addf(out, "  \"bos_token_id\": %d,\n", c->bos_id);
	if (c->neos == 1)
		strbuf_addf(out, "  \"eos_token_id\": %d,\n", c->eos_id[0]);
	for (int i = 0; c->neos > 1 && i < c->neos; i++)
		strbuf_addf(out, "%s%d%s", i ? ", " : "  \"eos_token_id\": [", c->eos_id[i],
			i + 1 == c->neos ? "],\n" : "");
}

static void config_json(struct strbuf *out, const struct model *m)
{
	const struct model_config *c = &m->config;
	const struct arch *a = c->arch;
	strbuf_addf(out, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n",
		a->hf_class, a->hf_type);
	for (size_t i = 0; i < a->nkey; i++) {
		const struct arch_key *key = &a->key[i];
		if (!key->key[ARCH_HF])
			continue;
		strbuf_adds(out, "  ");
		add_number(out, key->key[ARCH_HF], key->kind, arch_get(c, key));
		strbuf_adds(out, ",\n");
	}
	for (size_t i = 0; i < a->nfixed_hf; i++)
		if (strcmp(a->fixed_hf[i].json, "null"))
			strbuf_addf(
				out, "  \"%s\": %s,\n", a->fixed_hf[i].key, a->fixed_hf[i].json);
	add_rope(out, c);
	add_tokens(out, c);
	strbuf_addf(out, "  \"tie_word_embeddings\": %s,\n", c->tied ? "true" : "false");
	strbuf_addf(out, "  \"torch_dtype\": \"%s\"\n}\n", model_dtypes[m->tensor[0].dtype].torch);
}

/* Wider elements first, so that each tensor is aligned to its element. The caller frees. */
static const struct model_tensor **file_order(const struct model *m)
{
	const struct model_tensor **order = xcalloc(m->ntensor, sizeof(*order));
	size_t n = 0;
	for (size_t bytes = 8; bytes; bytes /= 2)
		for (size_t i = 0; i < m->ntensor; i++)
			if (model_dtypes[m->tensor[i].dtype].bytes == bytes)
				order[n++] = &m->tensor[i];
	return order;
}

/* The first bytes of the file: length and JSON, padded so that the data is aligned to 8. */
static void header(struct strbuf *out, const struct model_tensor *const *order, size_t n)
{
	size_t at = 0;
	uint64_t bytes = 0;
	char name[256], shape[100];
	strbuf_add(out, &bytes, sizeof(bytes));
	strbuf_adds(out, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (size_t i = 0; i < n; i++) {
		const struct model_tensor *t = order[i];
		arch_name(t->row->in[ARCH_HF], t->layer, name, sizeof(name));
		stored_shape(t->dims, t->ndim, shape, sizeof(shape));
		strbuf_adds(out, ",");
		strbuf_add_json(out, name, strlen(name));
		strbuf_addf(out, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
			model_dtypes[t->dtype].name, shape, at, at + t->bytes);
		at += t->bytes;
	}
	strbuf_adds(out, "}");
	while (out->n % 8)
		strbuf_addc(out, ' ');
	bytes = out->n - sizeof(bytes);
	memcpy(out->s, &bytes, sizeof(bytes));
}

static bool write_safetensors(const struct model *m, const char *path, struct err *e)
{
	const struct model_tensor **order = file_order(m);
	struct buf *part = xcalloc(m->ntensor + 1, sizeof(*part));
	struct strbuf head;
	strbuf_init(&head);
	header(&head, order, m->ntensor);
	part[0] = strbuf_buf(&head);
	for (size_t i = 0; i < m->ntensor; i++)
		part[1 + i] = (struct buf){order[i]->data, order[i]->bytes};
	bool ok = file_write_parts(path, part, m->ntensor + 1, 0644, e);
	strbuf_release(&head);
	free(part);
	free(order);
	return ok;
}

bool model_write_hf(const struct model *m, const char *dir, struct err *e)
{
	struct strbuf path, config;
	strbuf_init(&path);
	strbuf_init(&config);
	strbuf_addf(&path, "%s/model.safetensors", dir);
	bool ok = make_directories(dir, e) && write_safetensors(m, path.s, e);
	if (ok) {
		strbuf_clear(&path);
		strbuf_addf(&path, "%s/config.json", dir);
		config_json(&config, m);
		ok = file_write(path.s, strbuf_buf(&config), 0644, e);
	}
	strbuf_release(&path);
	strbuf_release(&config);
	return ok;
}
