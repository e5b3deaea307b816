#include "layered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "effort.h"
#include "importance.h"
#include "region_key.h"

enum piece { PIECE_EMBED, PIECE_ATTN, PIECE_MLP, PIECE_HEAD, PIECE_COMPARE, NPIECES };

/* Inputs of every program that has them, by row or by output row. */
enum { FIRST_OUT = 5 };
static const char *const row_input[LAYERED_INPUTS] = {"tok", "pos", "slot", "lo", "hi", "out", "target"};
/* Numbers by row that programs give. */
static const char *const row_number[] = {"nll", "distance", "angle", "norm2"};
enum { NROW_NUMBERS = NELEM(row_number) };

/* Memory is the device's. */
struct layered {
	struct arena arena;
	struct layered_options o;
	struct device *device;
	const struct graph *plan[NPIECES];
	void ***t[NPIECES]; /* per layer (one for embed and head): pointers of its externals */
	float *number[NROW_NUMBERS];
};

float *layered_residual(struct layered *l)
{
	return device_alloc(l->device, (size_t)(l->o.rows * l->o.weights.state->config.width) * sizeof(float));
}

void layered_copy(struct layered *l, float *to, const float *from, int64_t rows)
{
	device_copy(l->device, to, from, (size_t)(rows * l->o.weights.state->config.width) * sizeof(float));
}

static void plan_pieces(struct layered *l)
{
	struct forward f = {.config = &l->o.weights.state->config, .numerics = l->o.numerics,
		.max_rows = l->o.rows, .max_out = l->o.outs, .slots = l->o.slots};
	struct arena *a = &l->arena;
	enum device_kind on = l->o.device;
	l->plan[PIECE_EMBED] = device_plan(on, a, forward_piece_embed(a, &f));
	l->plan[PIECE_ATTN] = device_plan(on, a, forward_piece_half(a, &f, HALF_ATTN));
	l->plan[PIECE_MLP] = device_plan(on, a, forward_piece_half(a, &f, HALF_MLP));
	l->plan[PIECE_HEAD] = device_plan(on, a, forward_piece_head(a, &f));
	l->plan[PIECE_COMPARE] = device_plan(on, a, importance_compare(a, &f));
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
	*out = (struct layered_needs){0};
	plan_pieces(&l);
	for (int p = 0; p < NPIECES; p++) {
		const struct graph *g = l.plan[p];
		out->memory_bytes += times_bound(o->weights.state, (enum piece)p) * bound_bytes(g);
		out->nfunction += region_functions(g);
		*effort[p] = graph_effort(g, &sizes);
	}
	out->memory_bytes += device_shared_bytes(o->device, l.plan, NPIECES, o->nthreads);
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
	if (ok) {
		*out = device_alloc(l->device, bytes.n);
		device_write(l->device, *out, bytes.s, bytes.n);
	}
	strbuf_release(&bytes);
	return ok;
}

/* Of a list of names; -1: it is none of them. */
static int index_of(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return (int)i;
	return -1;
}

static bool bind(struct layered *l, int piece, int layer, struct err *e)
{
	const struct program *prog = device_program(l->device, piece);
	void **t = l->t[piece][layer] = arena_array(&l->arena, void *, prog->nexternal + 1);
	for (uint32_t i = 0; i < prog->nexternal; i++) {
		const struct program_external *x = &prog->external[i];
		int number = index_of(row_number, NROW_NUMBERS, x->name);
		if (x->kind == EXTERNAL_STATE)
			t[1 + i] = device_alloc(l->device, x->bytes);
		else if (x->kind == EXTERNAL_PARAM &&
			!load_weight(l, l->plan[piece], graph_find_leaf(l->plan[piece], x->name), layer,
				&t[1 + i], e))
			return false;
		else if (x->kind == EXTERNAL_OUTPUT && number >= 0)
			t[1 + i] = l->number[number];
	}
	return true;
}

static size_t most_rows(const struct layered *l)
{
	return (size_t)(l->o.rows > l->o.outs ? l->o.rows : l->o.outs);
}

static void reserve_numbers(struct layered *l)
{
	for (int i = 0; i < NROW_NUMBERS; i++)
		l->number[i] = device_alloc(l->device, most_rows(l) * sizeof(float));
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
	if (!device_open(&l->device, o->device, o->nthreads, e))
		return false;
	plan_pieces(l);
	if (!device_load(l->device, l->plan, NPIECES, e))
		return false;
	reserve_numbers(l);
	return bind_all(l, e) && device_ok(l->device, e);
}

bool layered_ok(const struct layered *l, struct err *e)
{
	return device_ok(l->device, e);
}

void layered_free(struct layered *l)
{
	if (!l)
		return;
	device_free(l->device);
	arena_release(&l->arena);
	free(l);
}

void layered_send(struct layered *l, struct layered_rows *r)
{
	const int32_t *const from[LAYERED_INPUTS] = {r->tok, r->pos, r->slot, r->lo, r->hi, r->out, r->target};
	for (int i = 0; i < LAYERED_INPUTS; i++) {
		if (!r->there[i])
			r->there[i] = device_alloc(l->device, most_rows(l) * sizeof(int32_t));
		device_write(l->device, r->there[i], from[i], (size_t)(i < FIRST_OUT ? r->nrow : r->nout) * sizeof(int32_t));
	}
}

struct named {
	const char *name;
	const void *p;
};

static void place(const struct program *prog, void **t, const char *name, const void *p)
{
	int at = program_external_find(prog, name);
	if (at >= 0)
		t[1 + at] = (void *)(uintptr_t)p;
}

static void run(struct layered *l, enum piece piece, int layer, const struct layered_rows *r, const struct named *extra,
	size_t nextra)
{
	const struct program *prog = device_program(l->device, piece);
	void **t = l->t[piece][layer];
	int64_t dim[2];
	for (int i = 0; i < LAYERED_INPUTS; i++)
		place(prog, t, row_input[i], r->there[i]);
	for (size_t i = 0; i < nextra; i++)
		place(prog, t, extra[i].name, extra[i].p);
	for (uint32_t i = 0; i < prog->ndim; i++)
		dim[i] = !strcmp(prog->dim[i].name, "R") ? r->nrow : r->nout;
	device_run(l->device, piece, t, dim);
}

static void read_number(struct layered *l, const char *name, int64_t n, float *out)
{
	device_read(l->device, out, l->number[index_of(row_number, NROW_NUMBERS, name)], (size_t)n * sizeof(*out));
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
	const struct named extra[] = {{"x", c->x}, {"y", c->y}};
	run(l, PIECE_COMPARE, 0, r, extra, NELEM(extra));
	read_number(l, "distance", r->nrow, c->distance);
	read_number(l, "angle", r->nrow, c->angle);
	read_number(l, "norm2", r->nrow, c->norm2);
}

void layered_nll(struct layered *l, const struct layered_rows *r, const float *x, float *nll)
{
	run(l, PIECE_HEAD, 0, r, &(struct named){"x", x}, 1);
	read_number(l, "nll", r->nout, nll);
}
