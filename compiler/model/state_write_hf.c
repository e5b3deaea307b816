/* A state as an HF directory: the tensors of its architecture's table in canonical order. */
#include "state.h"

#include "arch.h"

struct writer {
	const struct state *s;
	bool (*read)(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e);
	void *ctx;
	struct model m;
	struct err *e;
};

static bool add_tensor(void *ctx, const struct arch_tensor *row, int layer)
{
	struct writer *w = ctx;
	struct arena *a = &w->m.arena;
	char name[64];
	struct buf bytes;
	arch_name(row->name, layer, name, sizeof(name));
	const struct state_tensor *t = state_find(w->s, name);
	struct model_tensor *to = arena_push(a, w->m.tensor, w->m.ntensor);
	*to = (struct model_tensor){.name = arena_strdup(a, name), .row = row, .layer = layer};
	for (; to->ndim < 2 && row->dims[to->ndim] != DIM_NONE; to->ndim++)
		to->dims[to->ndim] = arch_dim_size(&w->s->config, row->dims[to->ndim]);
	to->dtype = t ? t->dtype : w->m.tensor[0].dtype;
	if (!stored_size(to->dims, to->ndim, model_dtypes[to->dtype].bytes, &to->bytes))
		return err_set(w->e, ERR_IO, "tensor '%s' is too large", name);
	if (!t) {
		to->data = arena_alloc(a, to->bytes);
		return true;
	}
	if (!w->read(w->ctx, t, &bytes, w->e))
		return false;
	to->data = bytes.p;
	return bytes.n == to->bytes || err_set(w->e, ERR_IO, "tensor '%s' has %zu bytes, its shape needs %zu",
		name, bytes.n, to->bytes);
}

bool state_write_hf(const struct state *s, const char *dir,
	bool (*read)(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e), void *ctx,
	struct err *e)
{
	struct writer w = {s, read, ctx, {.config = s->config}, e};
	bool ok = arch_each_tensor(&s->config, add_tensor, &w) && model_write_hf(&w.m, dir, e);
	arena_release(&w.m.arena);
	return ok;
}
