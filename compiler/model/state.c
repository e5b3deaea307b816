#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "stored.h"

static const char *const dtype_names[MODEL_NDTYPE] = {"f32", "f16", "bf16"};
static const char *const rope_names[] = {"plain", "linear", "llama3"};

void unit_name(struct unit u, char out[32])
{
	snprintf(out, 32, "blk.%d.%s", u.layer, u.kind == UNIT_ATTN ? "attn" : "mlp");
}

bool unit_of_tensor(const char *name, struct unit *out)
{
	int n = 0;
	char half[8];
	if (sscanf(name, "blk.%d.%7[a-z]%n", &out->layer, half, &n) != 2)
		return false;
	out->kind = !strcmp(half, "attn") ? UNIT_ATTN : UNIT_MLP;
	return !strcmp(half, "attn") || !strcmp(half, "mlp");
}

bool unit_parse(const char *name, struct unit *out)
{
	char canonical[32];
	if (!unit_of_tensor(name, out))
		return false;
	unit_name(*out, canonical);
	return !strcmp(name, canonical);
}

bool units_read(struct arena *a, struct buf text, struct unit **out, size_t *n, struct err *e)
{
	char *rest = arena_strndup(a, text.p, text.n);
	*out = NULL;
	*n = 0;
	for (char *name; (name = strsep(&rest, "\n"));) {
		struct unit u;
		if (!*name)
			continue;
		if (!unit_parse(name, &u))
			return err_set(e, ERR_IO, "'%s' is no unit", name);
		*arena_push(a, *out, *n) = u;
	}
	return true;
}

void state_write(struct strbuf *out, const struct state *s)
{
	const struct model_config *c = &s->config;
	char hex[DIGEST_HEX], unit[32];
	strbuf_addf(out, "trim-state 1\narch %s\n", c->arch->name);
	strbuf_addf(out, "layers %d width %d ffn %d heads %d kv-heads %d head-dim %d vocab %d context %d\n",
		c->layers, c->width, c->ffn, c->heads, c->kv_heads, c->head_dim, c->vocab, c->context);
	strbuf_adds(out, "rms-eps ");
	strbuf_add_float(out, c->rms_eps);
	strbuf_addf(out, " rope %s %.17g %.17g %.17g %.17g %d\n", rope_names[c->rope], c->rope_theta,
		c->rope_factor, c->rope_low, c->rope_high, c->rope_original_context);
	strbuf_addf(out, "tied %d bos %d eos", c->tied, c->bos_id);
	for (int i = 0; i < c->neos; i++)
		strbuf_addf(out, " %d", c->eos_id[i]);
	strbuf_addc(out, '\n');
	if (s->ndropped)
		strbuf_adds(out, "dropped");
	for (size_t i = 0; i < s->ndropped; i++) {
		unit_name(s->dropped[i], unit);
		strbuf_addf(out, " %s", unit);
	}
	if (s->ndropped)
		strbuf_addc(out, '\n');
	for (size_t i = 0; i < s->ntensor; i++) {
		const struct state_tensor *t = &s->tensor[i];
		strbuf_addf(out, "tensor %s %s", t->name, dtype_names[t->dtype]);
		for (int d = 0; d < t->ndim; d++)
			strbuf_addf(out, " %zu", t->dims[d]);
		digest_hex(t->digest, hex);
		strbuf_addf(out, " %s %llu\n", hex, (unsigned long long)t->bytes);
	}
}

/* ---- reading: words of one line ---- */

struct words {
	char *word[64];
	int n;
};

static void split(char *line, struct words *w)
{
	w->n = 0;
	for (char *p = strtok_r(line, " ", &line); p && w->n < (int)NELEM(w->word);
		p = strtok_r(NULL, " ", &line))
		w->word[w->n++] = p;
}

/* The word behind `key`, 0 when it is absent. */
static const char *value(const struct words *w, const char *key)
{
	for (int i = 0; i + 1 < w->n; i++)
		if (!strcmp(w->word[i], key))
			return w->word[i + 1];
	return "0";
}

static bool read_tensor(struct arena *a, const struct words *w, struct state *s)
{
	struct state_tensor t = {.dtype = MODEL_NDTYPE};
	for (int d = 0; d < MODEL_NDTYPE; d++)
		if (w->n >= 6 && !strcmp(w->word[2], dtype_names[d]))
			t.dtype = (enum model_dtype)d;
	t.ndim = w->n - 5;
	if (t.dtype == MODEL_NDTYPE || t.ndim < 1 || t.ndim > 2)
		return false;
	t.name = arena_strdup(a, w->word[1]);
	uint64_t elements = 1;
	for (int d = 0; d < t.ndim; d++)
		elements *= t.dims[d] = strtoull(w->word[3 + d], NULL, 10);
	t.bytes = strtoull(w->word[w->n - 1], NULL, 10);
	*arena_push(a, s->tensor, s->ntensor) = t;
	return digest_parse(w->word[w->n - 2], &s->tensor[s->ntensor - 1].digest) &&
		t.bytes == elements * model_dtypes[t.dtype].bytes;
}

static bool read_line(struct arena *a, const struct words *w, struct state *s, struct err *e)
{
	struct model_config *c = &s->config;
	const char *key = w->n ? w->word[0] : "";
	if (!strcmp(key, "arch") && w->n == 2)
		return (c->arch = arch_find(ARCH_GGUF, w->word[1], NULL, e)) != NULL;
	if (!strcmp(key, "layers")) {
		c->layers = atoi(value(w, "layers"));
		c->width = atoi(value(w, "width"));
		c->ffn = atoi(value(w, "ffn"));
		c->heads = atoi(value(w, "heads"));
		c->kv_heads = atoi(value(w, "kv-heads"));
		c->head_dim = atoi(value(w, "head-dim"));
		c->vocab = atoi(value(w, "vocab"));
		c->context = atoi(value(w, "context"));
		return true;
	}
	if (!strcmp(key, "rms-eps") && w->n == 9) {
		c->rms_eps = strtof(w->word[1], NULL);
		for (size_t i = 0; i < NELEM(rope_names); i++)
			if (!strcmp(w->word[3], rope_names[i]))
				c->rope = (enum model_rope)i;
		c->rope_theta = strtod(w->word[4], NULL);
		c->rope_factor = strtod(w->word[5], NULL);
		c->rope_low = strtod(w->word[6], NULL);
		c->rope_high = strtod(w->word[7], NULL);
		c->rope_original_context = atoi(w->word[8]);
		return true;
	}
	if (!strcmp(key, "tied")) {
		c->tied = atoi(value(w, "tied")) != 0;
		c->bos_id = atoi(value(w, "bos"));
		for (int i = 5; i < w->n && c->neos < MODEL_EOS_MAX; i++)
			c->eos_id[c->neos++] = atoi(w->word[i]);
		return true;
	}
	if (!strcmp(key, "dropped")) {
		for (int i = 1; i < w->n; i++)
			if (!unit_parse(w->word[i], arena_push(a, s->dropped, s->ndropped)))
				return err_set(e, ERR_IO, "'%s' is no unit", w->word[i]);
		return true;
	}
	return !strcmp(key, "tensor") && read_tensor(a, w, s)
		? true
		: err_set(e, ERR_IO, "unable to read '%s' of a model state", key);
}

bool state_read(struct arena *a, struct buf text, const char *file, struct state *out, struct err *e)
{
	struct words w;
	char *copy = arena_strndup(a, text.p, text.n), *next;
	int line = 1;
	*out = (struct state){0};
	for (char *p = copy; *p; p = next, line++) {
		size_t n = strcspn(p, "\n");
		next = p + n + (p[n] == '\n');
		p[n] = '\0';
		split(p, &w);
		bool head = line == 1 && w.n == 2 && !strcmp(w.word[0], "trim-state") &&
			!strcmp(w.word[1], "1");
		if (line == 1 && !head)
			return err_at(e, ERR_IO, file, 1, 0, "not a model state of this version");
		if (line > 1 && !read_line(a, &w, out, e)) {
			if (e) {
				snprintf(e->file, sizeof(e->file), "%s", file ? file : "");
				e->line = line;
			}
			return false;
		}
	}
	if (!out->config.arch || out->config.layers < 1 || !out->ntensor)
		return err_at(e, ERR_IO, file, line, 0, "the model state ends early");
	out->has_attn = arena_array(a, bool, out->config.layers);
	out->has_mlp = arena_array(a, bool, out->config.layers);
	for (size_t i = 0; i < out->ntensor; i++) {
		struct unit u;
		if (!unit_of_tensor(out->tensor[i].name, &u))
			continue;
		if (u.layer < 0 || u.layer >= out->config.layers)
			return err_at(e, ERR_IO, file, 0, 0, "tensor '%s' lies outside the model",
				out->tensor[i].name);
		(u.kind == UNIT_ATTN ? out->has_attn : out->has_mlp)[u.layer] = true;
	}
	return true;
}

struct state state_shape(struct arena *a, const struct state *s)
{
	struct state out = *s;
	out.ndropped = 0;
	out.config.bos_id = -1;
	out.config.neos = 0;
	out.tensor = arena_copy(a, s->tensor, s->ntensor * sizeof(*s->tensor));
	for (size_t i = 0; i < s->ntensor; i++) {
		struct state_tensor *t = &out.tensor[i];
		uint64_t elements = t->bytes / model_dtypes[t->dtype].bytes;
		t->dtype = MODEL_F32;
		t->bytes = elements * model_dtypes[MODEL_F32].bytes;
		t->digest = (struct digest){0};
	}
	return out;
}

const struct state_tensor *state_find(const struct state *s, const char *name)
{
	for (size_t i = 0; i < s->ntensor; i++)
		if (!strcmp(s->tensor[i].name, name))
			return &s->tensor[i];
	return NULL;
}

bool state_drop(struct arena *a, const struct state *s, struct unit u, struct state *out,
	struct err *e)
{
	char name[32];
	unit_name(u, name);
	if (u.layer < 0 || u.layer >= s->config.layers ||
		!(u.kind == UNIT_ATTN ? s->has_attn : s->has_mlp)[u.layer])
		return err_set(e, ERR_SPEC, "unit '%s' is not there to be dropped", name);
	*out = *s;
	out->tensor = arena_array(a, struct state_tensor, s->ntensor);
	out->ntensor = 0;
	for (size_t i = 0; i < s->ntensor; i++) {
		struct unit of;
		if (!unit_of_tensor(s->tensor[i].name, &of) || of.kind != u.kind || of.layer != u.layer)
			out->tensor[out->ntensor++] = s->tensor[i];
	}
	out->dropped = arena_array(a, struct unit, s->ndropped + 1);
	if (s->ndropped)
		memcpy(out->dropped, s->dropped, s->ndropped * sizeof(u));
	out->dropped[out->ndropped++] = u;
	size_t layers = (size_t)s->config.layers;
	out->has_attn = arena_copy(a, s->has_attn, layers * sizeof(bool));
	out->has_mlp = arena_copy(a, s->has_mlp, layers * sizeof(bool));
	(u.kind == UNIT_ATTN ? out->has_attn : out->has_mlp)[u.layer] = false;
	return true;
}

uint64_t state_import_bytes(const struct state *s, enum model_dtype dtype)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < s->ntensor; i++) {
		uint64_t elements = s->tensor[i].bytes / model_dtypes[s->tensor[i].dtype].bytes;
		bytes += elements * model_dtypes[dtype].bytes;
	}
	return bytes;
}

struct listing {
	struct arena *arena;
	struct state *s;
	struct err *e;
};

static bool list_tensor(void *ctx, const struct arch_tensor *row, int layer)
{
	struct listing *l = ctx;
	char name[64];
	size_t bytes;
	arch_name(row->name, layer, name, sizeof(name));
	struct state_tensor t = {.name = arena_strdup(l->arena, name), .dtype = MODEL_F32};
	for (; t.ndim < 2 && row->dims[t.ndim] != DIM_NONE; t.ndim++)
		t.dims[t.ndim] = arch_dim_size(&l->s->config, row->dims[t.ndim]);
	if (!stored_size(t.dims, t.ndim, sizeof(float), &bytes))
		return err_set(l->e, ERR_SPEC, "tensor '%s' is too large", name);
	t.bytes = bytes;
	*arena_push(l->arena, l->s->tensor, l->s->ntensor) = t;
	return true;
}

bool state_list(struct arena *a, struct state *s, struct err *e)
{
	struct listing l = {a, s, e};
	return arch_each_tensor(&s->config, list_tensor, &l);
}
