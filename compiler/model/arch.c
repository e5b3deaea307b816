#include "arch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct arch *const archs[] = {
	&arch_llama,
};

const struct arch *arch_find(
	enum arch_format format, const char *name, const char *file, struct err *e)
{
	const char *names[NELEM(archs)];
	char known[256] = "";
	for (size_t i = 0; i < NELEM(archs); i++) {
		names[i] = format == ARCH_HF ? archs[i]->hf_type : archs[i]->name;
		if (!strcmp(name, names[i]))
			return archs[i];
		size_t n = strlen(known);
		snprintf(known + n, sizeof(known) - n, "%s'%s'", n ? ", " : "", names[i]);
	}
	const char *near = nearest_name(name, names, NELEM(names));
	if (near)
		err_at(e, ERR_IO, file, 0, 0, "unknown architecture '%s'; did you mean '%s'?", name,
			near);
	else
		err_at(e, ERR_IO, file, 0, 0, "unknown architecture '%s'; known: %s", name, known);
	return NULL;
}

double arch_get(const struct model_config *c, const struct arch_key *key)
{
	const char *at = (const char *)c + key->offset;
	switch (key->kind) {
	case KEY_INT:
		return *(const int *)at;
	case KEY_FLOAT:
		return (double)*(const float *)at;
	case KEY_DOUBLE:
		return *(const double *)at;
	}
	BUG("key kind %d", (int)key->kind);
}

/* False for what no model has: not positive, not integral, too large. */
bool arch_set(struct model_config *c, const struct arch_key *key, double value)
{
	char *at = (char *)c + key->offset;
	if (!(value > 0) || isinf(value))
		return false;
	switch (key->kind) {
	case KEY_INT:
		if (value != floor(value) || value > 1 << 28)
			return false;
		*(int *)at = (int)value;
		return true;
	case KEY_FLOAT:
		*(float *)at = (float)value;
		return true;
	case KEY_DOUBLE:
		*(double *)at = value;
		return true;
	}
	BUG("key kind %d", (int)key->kind);
}

bool arch_finish_config(struct model_config *c, const char *file, struct err *e)
{
	if (!c->kv_heads)
		c->kv_heads = c->heads;
	if (c->heads % c->kv_heads)
		return err_at(e, ERR_IO, file, 0, 0, "%d heads cannot share %d KV heads evenly",
			c->heads, c->kv_heads);
	if (!c->head_dim && c->width % c->heads)
		return err_at(e, ERR_IO, file, 0, 0, "width %d is not a multiple of %d heads",
			c->width, c->heads);
	if (!c->head_dim)
		c->head_dim = c->width / c->heads;
	if (c->head_dim % 2)
		return err_at(e, ERR_IO, file, 0, 0, "head dimension %d is odd, RoPE turns pairs",
			c->head_dim);
	if (c->bos_id >= c->vocab)
		return err_at(e, ERR_IO, file, 0, 0,
			"start token %d is outside the vocabulary of %d", c->bos_id, c->vocab);
	for (int i = 0; i < c->neos; i++)
		if (c->eos_id[i] >= c->vocab)
			return err_at(e, ERR_IO, file, 0, 0,
				"end token %d is outside the vocabulary of %d", c->eos_id[i],
				c->vocab);
	return true;
}

size_t arch_dim_size(const struct model_config *c, enum arch_dim dim)
{
	switch (dim) {
	case DIM_NONE:
		break;
	case DIM_D:
		return (size_t)c->width;
	case DIM_F:
		return (size_t)c->ffn;
	case DIM_V:
		return (size_t)c->vocab;
	case DIM_Q:
		return (size_t)c->heads * (size_t)c->head_dim;
	case DIM_KV:
		return (size_t)c->kv_heads * (size_t)c->head_dim;
	}
	BUG("dimension %d has no size", (int)dim);
}

void arch_name(const char *pattern, int layer, char *out, size_t out_bytes)
{
	const char *n = strstr(pattern, "{N}");
	if (n)
		snprintf(out, out_bytes, "%.*s%d%s", (int)(n - pattern), pattern, layer, n + 3);
	else
		snprintf(out, out_bytes, "%s", pattern);
}

bool arch_each_tensor(const struct model_config *c,
	bool (*visit)(void *ctx, const struct arch_tensor *row, int layer), void *ctx)
{
	const struct arch *a = c->arch;
	for (size_t i = 0, end; i < a->ntensor; i = end) {
		bool layered = strstr(a->tensor[i].name, "{N}");
		for (end = i + 1; layered && end < a->ntensor && strstr(a->tensor[end].name, "{N}"); end++)
			;
		if (c->tied && !strcmp(a->tensor[i].name, "head"))
			continue;
		for (int layer = 0; layer < (layered ? c->layers : 1); layer++)
			for (size_t k = i; k < end; k++)
				if (!visit(ctx, &a->tensor[k], layered ? layer : -1))
					return false;
	}
	return true;
}

/* Whether `name` is `pattern` with some number for "{N}". */
static bool matches(const char *pattern, const char *name)
{
	const char *n = strstr(pattern, "{N}");
	if (!n)
		return !strcmp(pattern, name);
	size_t head = (size_t)(n - pattern);
	if (strncmp(pattern, name, head))
		return false;
	size_t digits = strspn(name + head, "0123456789");
	return digits && !strcmp(n + 3, name + head + digits);
}

/* What arch_bind carries around: the stored tensors in the order of their names. */
struct binder {
	struct model *m;
	enum arch_format format;
	const struct stored **stored;
	bool *used;
	size_t nstored;
	const struct stored *embed, *head; /* head NULL: it is the embedding */
	struct err *e;
};

static const struct stored *find_stored(struct binder *b, const char *name)
{
	const struct stored **at = stored_find(b->stored, b->nstored, name);
	if (!at)
		return NULL;
	b->used[at - b->stored] = true;
	return *at;
}

/* Marks what the table asks for, so that what a missing tensor may be confused with is the rest. A
 * config may claim more layers than the file could have tensors. */
static void mark_known(struct binder *b)
{
	const struct arch *a = b->m->config.arch;
	for (size_t i = 0; i < a->ntensor; i++) {
		int layers = strstr(a->tensor[i].name, "{N}") ? b->m->config.layers : 1;
		for (int layer = 0; layer < layers && (size_t)layer < b->nstored; layer++) {
			char name[256];
			arch_name(a->tensor[i].in[b->format], layer, name, sizeof(name));
			find_stored(b, name);
		}
	}
}

static bool fail_missing(struct binder *b, const struct arch_tensor *row, int layer)
{
	char name[256], canonical[128];
	arch_name(row->in[b->format], layer, name, sizeof(name));
	arch_name(row->name, layer, canonical, sizeof(canonical));
	const char **names = xcalloc(b->nstored, sizeof(*names));
	size_t n = 0;
	for (size_t i = 0; i < b->nstored; i++)
		if (!b->used[i])
			names[n++] = b->stored[i]->name;
	const char *near = nearest_name(name, names, n);
	err_at(b->e, ERR_IO, b->m->path, 0, 0, "tensor '%s' (%s) is missing%s%s%s", name, canonical,
		near ? "; found '" : "", near ? near : "", near ? "'" : "");
	free(names);
	return false;
}

static bool check_stored(struct binder *b, const struct arch_tensor *row, const struct stored *s)
{
	size_t want[2];
	int ndim = 0;
	char got_text[100], want_text[100];
	if (s->dtype == MODEL_NDTYPE)
		return err_at(b->e, ERR_IO, s->path, 0, 0,
			"byte %zu: tensor '%s' is %s; only F32, F16 and BF16 are read", s->offset,
			s->name, s->type_name);
	for (; ndim < 2 && row->dims[ndim] != DIM_NONE; ndim++)
		want[ndim] = arch_dim_size(&b->m->config, row->dims[ndim]);
	if (s->ndim == ndim && !memcmp(s->dims, want, (size_t)ndim * sizeof(*want)))
		return true;
	stored_shape(s->dims, s->ndim, got_text, sizeof(got_text));
	stored_shape(want, ndim, want_text, sizeof(want_text));
	return err_at(b->e, ERR_IO, s->path, 0, 0,
		"byte %zu: tensor '%s' has shape %s; expected %s by the config", s->offset, s->name,
		got_text, want_text);
}

/* GGUF rows of a head go (0, hd/2, 1, hd/2+1, ...) in HF's counting, because ggml turns neighbours;
 * this brings them back: HF's row s*hd/2 + i of a head is row 2*i + s there. */
static const uint8_t *unturn(struct model *m, const struct stored *s, int heads)
{
	size_t half = (size_t)m->config.head_dim / 2, row_bytes = s->bytes / s->dims[0];
	uint8_t *out = arena_alloc(&m->arena, s->bytes), *to = out;
	for (size_t h = 0; h < (size_t)heads; h++)
		for (size_t second = 0; second < 2; second++)
			for (size_t i = 0; i < half; i++, to += row_bytes)
				memcpy(to, s->data + (2 * (h * half + i) + second) * row_bytes,
					row_bytes);
	return out;
}

static void add_tensor(
	struct binder *b, const struct arch_tensor *row, int layer, const struct stored *s)
{
	struct model *m = b->m;
	char name[128];
	arch_name(row->name, layer, name, sizeof(name));
	struct model_tensor *t = arena_push(&m->arena, m->tensor, m->ntensor);
	*t = (struct model_tensor){
		.name = arena_strdup(&m->arena, name),
		.dtype = s->dtype,
		.ndim = s->ndim,
		.data = s->data,
		.bytes = s->bytes,
		.layer = layer,
		.row = row,
		.file = s->path,
		.offset = s->offset,
	};
	memcpy(t->dims, s->dims, sizeof(t->dims));
	if (b->format == ARCH_GGUF && row->turned != TURNED_NOT)
		t->data = unturn(
			m, s, row->turned == TURNED_Q ? m->config.heads : m->config.kv_heads);
}

static bool bind_row(void *ctx, const struct arch_tensor *row, int layer)
{
	struct binder *b = ctx;
	char name[256];
	if (!strcmp(row->name, "embed") || !strcmp(row->name, "head")) { /* bind_ends has checked them */
		add_tensor(b, row, layer, !strcmp(row->name, "embed") ? b->embed : b->head);
		return true;
	}
	arch_name(row->in[b->format], layer, name, sizeof(name));
	const struct stored *s = find_stored(b, name);
	if (!s)
		return fail_missing(b, row, layer);
	if (!check_stored(b, row, s))
		return false;
	add_tensor(b, row, layer, s);
	return true;
}

static const struct arch_tensor *find_row(const struct arch *a, const char *name)
{
	for (size_t i = 0; i < a->ntensor; i++)
		if (!strcmp(a->tensor[i].name, name))
			return &a->tensor[i];
	BUG("architecture '%s' has no tensor '%s'", a->name, name);
}

/* Decides which stored tensors are embedding and head. */
static bool bind_ends(struct binder *b, enum arch_tied tied)
{
	const struct arch *a = b->m->config.arch;
	const struct arch_tensor *erow = find_row(a, "embed"), *hrow = find_row(a, "head");
	const struct stored *embed = find_stored(b, erow->in[b->format]);
	const struct stored *head = find_stored(b, hrow->in[b->format]);
	if (!embed && head && tied == TIED_YES) {
		embed = head;
		head = NULL;
	}
	if (!embed)
		return fail_missing(b, erow, -1);
	if (!head && tied == TIED_NO)
		return fail_missing(b, hrow, -1);
	if (!check_stored(b, erow, embed) || (head && !check_stored(b, hrow, head)))
		return false;
	if (head && head->dtype == embed->dtype && !memcmp(head->data, embed->data, embed->bytes))
		head = NULL;
	if (head && tied == TIED_YES)
		return err_at(b->e, ERR_IO, head->path, 0, 0,
			"byte %zu: the config ties head and embedding, but '%s' differs from '%s'",
			head->offset, head->name, embed->name);
	b->embed = embed;
	b->head = head;
	return true;
}

/* What is left over would be weights that silently do nothing. */
static bool check_leftovers(struct binder *b)
{
	const struct arch *a = b->m->config.arch;
	for (size_t i = 0; i < b->nstored; i++) {
		bool known = b->used[i];
		for (size_t k = 0; k < a->nignored && !known; k++)
			known = matches(a->ignored[k], b->stored[i]->name);
		if (!known)
			return err_at(b->e, ERR_IO, b->stored[i]->path, 0, 0,
				"byte %zu: tensor '%s' has no place in a '%s' model of %d layers",
				b->stored[i]->offset, b->stored[i]->name, a->name,
				b->m->config.layers);
	}
	return true;
}

static bool bind_all(struct binder *b, enum arch_tied tied)
{
	mark_known(b);
	if (!bind_ends(b, tied))
		return false;
	b->m->config.tied = !b->head;
	return arch_each_tensor(&b->m->config, bind_row, b) && check_leftovers(b);
}

bool arch_bind(struct model *m, enum arch_format format, const struct stored *s, size_t n,
	enum arch_tied tied, struct err *e)
{
	struct binder b = {.m = m, .format = format, .stored = stored_by_name(s, n),
		.used = xcalloc(n, sizeof(*b.used)), .nstored = n, .e = e};
	bool ok = bind_all(&b, tied);
	free(b.stored);
	free(b.used);
	return ok;
}
