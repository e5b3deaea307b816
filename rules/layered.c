#include "layered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "effort.h"
#include "importance.h"
#include "program.h"

enum { MAX_EXTERNALS = 32 };
enum piece { PIECE_EMBED, PIECE_ATTN, PIECE_MLP, PIECE_HEAD, PIECE_COMPARE, NPIECES };

struct layered {
	struct arena arena;
	struct layered_options o;
	struct loaded loaded;
	struct pool *pool;
	const struct graph *plan[NPIECES];
	const struct program *prog[NPIECES];
	void ***t[NPIECES]; /* per layer (one for embed and head): pointers of its externals */
	void **owned;       /* every allocation */
	size_t nowned;
	void *slab, *scratch;
};

static void *own(struct layered *l, size_t bytes)
{
	void *p = xaligned(bytes);
	*arena_push(&l->arena, l->owned, l->nowned) = p;
	return memset(p, 0, bytes);
}

float *layered_residual(struct layered *l)
{
	return own(l, (size_t)(l->o.rows * l->o.weights.state->config.width) * sizeof(float));
}

static void plan_pieces(struct layered *l)
{
	struct forward f = {.config = &l->o.weights.state->config, .numerics = l->o.numerics,
		.max_rows = l->o.rows, .max_out = l->o.outs, .slots = l->o.slots};
	struct arena *a = &l->arena;
	l->plan[PIECE_EMBED] = graph_plan(a, forward_piece_embed(a, &f));
	l->plan[PIECE_ATTN] = graph_plan(a, forward_piece_half(a, &f, HALF_ATTN));
	l->plan[PIECE_MLP] = graph_plan(a, forward_piece_half(a, &f, HALF_MLP));
	l->plan[PIECE_HEAD] = graph_plan(a, forward_piece_head(a, &f));
	l->plan[PIECE_COMPARE] = graph_plan(a, importance_compare(a, &f));
}

static bool load_code(struct layered *l, struct err *e)
{
	plan_pieces(l);
	if (!emit_native(l->plan, NPIECES, l->o.nthreads, &l->loaded, e))
		return false;
	for (int i = 0; i < NPIECES; i++)
		l->prog[i] = l->loaded.program[i];
	return true;
}

/* How often a piece is bound: halves once a layer that has them. */
static uint64_t times_bound(const struct state *s, enum piece p)
{
	uint64_t n = 0;
	if (p != PIECE_ATTN && p != PIECE_MLP)
		return 1;
	for (int i = 0; i < s->config.layers; i++)
		n += p == PIECE_ATTN ? s->has_attn[i] : s->has_mlp[i];
	return n;
}

static uint64_t bound_bytes(const struct graph *plan)
{
	uint64_t bytes = 0;
	for (int i = 0; i < plan->nnode; i++)
		if (plan->node[i].op == OP_PARAM || plan->node[i].op == OP_STATE)
			bytes += (uint64_t)tensor_bytes(plan, &plan->node[i]);
	return bytes;
}

void layered_foretell(const struct layered_options *o, const struct layered_load *load, struct layered_needs *out)
{
	struct layered l = {.o = *o};
	const struct effort_sizes sizes = {load->rows, load->outs, load->attended};
	double *const effort[NPIECES] = {[PIECE_EMBED] = &out->embed, [PIECE_ATTN] = &out->half[HALF_ATTN],
		[PIECE_MLP] = &out->half[HALF_MLP], [PIECE_HEAD] = &out->head, [PIECE_COMPARE] = &out->compare};
	uint64_t slab = 0, scratch = 0;
	*out = (struct layered_needs){0};
	plan_pieces(&l);
	for (int p = 0; p < NPIECES; p++) {
		const struct graph *g = l.plan[p];
		uint64_t own = (uint64_t)graph_scratch(g);
		slab = (uint64_t)g->slab_bytes > slab ? (uint64_t)g->slab_bytes : slab;
		scratch = own > scratch ? own : scratch;
		out->memory_bytes += times_bound(o->weights.state, (enum piece)p) * bound_bytes(g);
		out->nregion += (size_t)g->nregion;
		*effort[p] = graph_effort(g, &sizes);
	}
	out->memory_bytes += slab + scratch * (uint64_t)o->nthreads;
	arena_release(&l.arena);
}

/* "blk.0.attn.q" of a piece is "blk.LAYER.attn.q" of the state. */
static const char *name_in_state(struct layered *l, const char *name, int layer)
{
	return strncmp(name, "blk.0.", 6) ? name
					  : arena_printf(&l->arena, "blk.%d.%s", layer, name + 6);
}

static bool load_weight(struct layered *l, const struct graph *g, int node, int layer, void **out,
	struct err *e)
{
	const char *name = name_in_state(l, g->node[node].name, layer);
	struct strbuf bytes;
	strbuf_init(&bytes);
	bool ok = weight_pack(&l->o.weights, g, node, name, &bytes, e);
	if (ok)
		*out = memcpy(own(l, bytes.n), bytes.s, bytes.n);
	strbuf_release(&bytes);
	return ok;
}

static bool bind(struct layered *l, int piece, int layer, struct err *e)
{
	const struct program *prog = l->prog[piece];
	void **t = l->t[piece][layer] = arena_array(&l->arena, void *, prog->nexternal + 1);
	t[0] = l->slab;
	for (uint32_t i = 0; i < prog->nexternal; i++) {
		const struct program_external *x = &prog->external[i];
		if (x->kind == EXTERNAL_STATE)
			t[1 + i] = own(l, x->bytes);
		else if (x->kind == EXTERNAL_PARAM &&
			!load_weight(l, l->plan[piece], graph_find_leaf(l->plan[piece], x->name), layer,
				&t[1 + i], e))
			return false;
	}
	return true;
}

static bool bind_all(struct layered *l, struct err *e)
{
	const struct state *s = l->o.weights.state;
	for (int p = 0; p < NPIECES; p++)
		l->t[p] = arena_array(&l->arena, void **, s->config.layers);
	if (!bind(l, PIECE_EMBED, 0, e) || !bind(l, PIECE_HEAD, 0, e) || !bind(l, PIECE_COMPARE, 0, e))
		return false;
	for (int i = 0; i < s->config.layers; i++)
		if ((s->has_attn[i] && !bind(l, PIECE_ATTN, i, e)) ||
			(s->has_mlp[i] && !bind(l, PIECE_MLP, i, e)))
			return false;
	return true;
}

bool layered_open(struct layered **out, const struct layered_options *o, struct err *e)
{
	struct layered *l = xcalloc(1, sizeof(*l));
	*out = l;
	l->o = *o;
	l->pool = pool_new(o->nthreads);
	if (!l->pool)
		return err_set(e, ERR_IO, "unable to start %d threads", o->nthreads);
	if (!load_code(l, e))
		return false;
	uint64_t slab = 0;
	size_t scratch = 0;
	for (int p = 0; p < NPIECES; p++) {
		if (l->prog[p]->slab_bytes > slab)
			slab = l->prog[p]->slab_bytes;
		if (program_scratch_bytes(l->prog[p]) > scratch)
			scratch = program_scratch_bytes(l->prog[p]);
	}
	l->slab = own(l, slab);
	l->scratch = own(l, scratch * (size_t)o->nthreads);
	return bind_all(l, e);
}

void layered_free(struct layered *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->nowned; i++)
		free(l->owned[i]);
	emit_unload(&l->loaded);
	pool_free(l->pool);
	arena_release(&l->arena);
	free(l);
}

struct named {
	const char *name;
	const void *p;
};

static void run(struct layered *l, enum piece piece, int layer, const struct layered_rows *r,
	const struct named *extra, size_t nextra)
{
	const struct program *prog = l->prog[piece];
	const struct named rows[] = {{"tok", r->tok}, {"pos", r->pos}, {"slot", r->slot}, {"lo", r->lo},
		{"hi", r->hi}, {"out", r->out}, {"target", r->target}};
	void *t[MAX_EXTERNALS];
	int64_t dim[2];
	if (prog->nexternal + 1 > MAX_EXTERNALS)
		BUG("piece '%s' has %u externals", prog->name, prog->nexternal);
	memcpy(t, l->t[piece][layer], (prog->nexternal + 1) * sizeof(*t));
	for (size_t i = 0; i < NELEM(rows) + nextra; i++) {
		const struct named *n = i < NELEM(rows) ? &rows[i] : &extra[i - NELEM(rows)];
		int at = program_external_find(prog, n->name);
		if (at >= 0)
			t[1 + at] = (void *)(uintptr_t)n->p;
	}
	for (uint32_t i = 0; i < prog->ndim; i++)
		dim[i] = !strcmp(prog->dim[i].name, "R") ? r->nrow : r->nout;
	program_run(prog, l->pool, t, dim, l->scratch);
}

void layered_embed(struct layered *l, const struct layered_rows *r, float *y)
{
	run(l, PIECE_EMBED, 0, r, &(struct named){"y", y}, 1);
}

void layered_half(struct layered *l, const struct layered_rows *r, const struct layered_half *h)
{
	const struct named extra[] = {{"x", h->x}, {"y", h->y}};
	run(l, h->half == HALF_ATTN ? PIECE_ATTN : PIECE_MLP, h->layer, r, extra, NELEM(extra));
}

void layered_compare(struct layered *l, const struct layered_rows *r, const struct layered_compare *c)
{
	const struct named extra[] = {{"x", c->x}, {"y", c->y}, {"distance", c->distance}, {"angle", c->angle},
		{"norm2", c->norm2}};
	run(l, PIECE_COMPARE, 0, r, extra, NELEM(extra));
}

void layered_nll(struct layered *l, const struct layered_rows *r, const float *x, float *nll)
{
	const struct named extra[] = {{"x", x}, {"nll", nll}};
	run(l, PIECE_HEAD, 0, r, extra, NELEM(extra));
}
