#include "interp.h"

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#include "interp_op.h"
#include "recipe.h"

struct run {
	const struct graph *g;
	const struct interp_call *call;
	union cell **value; /* per node: its dense value, NULL when there is none now */
	bool *needed;       /* per node */
	uint8_t *slab;      /* NULL: node by node */
	int region;         /* the one that runs now; -1: outside all */
};

/* NULL: elementwise. Leaves that the caller binds, put and assign are memory: see fetch(). */
static eval_fn *const eval_fns[NOPS] = {
	[OP_CONST] = eval_const,
	[OP_IOTA] = eval_iota,
	[OP_FLIP] = eval_flip,
	[OP_SUM] = eval_reduce,
	[OP_RMAX] = eval_reduce,
	[OP_DOT] = eval_dot,
	[OP_QUANTISE] = eval_quantise,
	[OP_GATHER] = eval_gather,
	[OP_SCATTER] = eval_scatter,
	[OP_ATTENTION] = eval_attention,
	[OP_ATTENTION_DQ] = eval_attention_grad,
	[OP_ATTENTION_DK] = eval_attention_grad,
	[OP_ATTENTION_DV] = eval_attention_grad,
};

static bool is_bound(enum op op)
{
	return op == OP_INPUT || op == OP_PARAM || op == OP_STATE;
}

static bool writes_state(enum op op)
{
	return op == OP_PUT || op == OP_ASSIGN;
}

/* ---- memory: elements in their dtype and layout (f64 mode: double or int32_t, row-major) ---- */

static void element_get(enum interp_mode mode, enum dtype dtype, const void *p, int64_t at,
	union cell *c)
{
	uint16_t half;
	if (dtype == DT_BF16 && mode == INTERP_EXACT) {
		memcpy(&half, (const char *)p + at * 2, 2);
		c->u = (uint32_t)half << 16;
	} else if (dtype == DT_F16 && mode == INTERP_EXACT) {
		memcpy(&half, (const char *)p + at * 2, 2);
		c->f = f16_value(half);
	} else if (dtype != DT_I32 && mode == INTERP_F64) {
		memcpy(&c->d, (const char *)p + at * 8, 8);
	} else {
		memcpy(&c->u, (const char *)p + at * 4, 4);
	}
}

static void element_put(enum interp_mode mode, enum dtype dtype, void *p, int64_t at, union cell c)
{
	uint16_t half = dtype == DT_F16 ? f16_bits(c.f) : (uint16_t)(c.u >> 16);
	if ((dtype == DT_BF16 || dtype == DT_F16) && mode == INTERP_EXACT)
		memcpy((char *)p + at * 2, &half, 2);
	else if (dtype != DT_I32 && mode == INTERP_F64)
		memcpy((char *)p + at * 8, &c.d, 8);
	else
		memcpy((char *)p + at * 4, &c.u, 4);
}

/* Where each element of n, in row-major order over the actual extents, lies in memory. */
static int64_t *memory_offsets(const struct run *r, const struct node *n)
{
	struct layout layout = r->call->mode == INTERP_F64 ? (struct layout){0} : n->layout;
	int64_t index[IR_MAX_AXES] = {0}, total = count(r->call, &n->type);
	int64_t *at = xcalloc((size_t)total, sizeof(*at));
	for (int64_t k = 0; k < total; k++) {
		at[k] = layout_offset(r->g, &n->type, layout, index);
		for (int i = n->type.naxis - 1; i >= 0; i--) {
			if (++index[i] < r->call->dim[n->type.axis[i]])
				break;
			index[i] = 0;
		}
	}
	return at;
}

static union cell *value_new(const struct run *r, const struct node *n)
{
	return xcalloc((size_t)count(r->call, &n->type) + 1, sizeof(union cell));
}

/* Values with blocks: the same for one row-major element after the other. */
static bool next_index(const struct run *r, const struct type *t, int64_t *index)
{
	for (int i = t->naxis - 1; i >= 0; i--) {
		if (++index[i] < r->call->dim[t->axis[i]])
			return true;
		index[i] = 0;
	}
	return false;
}

static union cell *blocks_load(const struct run *r, const struct node *n, const uint8_t *memory)
{
	union cell *value = value_new(r, n), *c = value;
	int64_t index[IR_MAX_AXES] = {0};
	do {
		struct block_place at = block_place(r->g, &n->type, n->layout, index);
		uint16_t half;
		if (n->layout.kind == LAYOUT_ROW || n->type.dtype == DT_C8) {
			c->q.i = (int8_t)memory[at.value];
			memcpy(&c->q.scale, memory + at.scale, sizeof(float));
		} else {
			c->q.i = n->type.dtype == DT_Q8 ? memory[at.value] - 128
							: 16 * ((memory[at.value] >> at.shift & 15) - 8);
			memcpy(&half, memory + at.scale, sizeof(half));
			c->q.scale = f16_value(half);
		}
		c++;
	} while (next_index(r, &n->type, index));
	return value;
}

/* What quantise gives; rows of q8 have sums. */
static void blocks_store(const struct run *r, const struct node *n, const union cell *value,
	uint8_t *memory)
{
	const union cell *c = value;
	int64_t index[IR_MAX_AXES] = {0};
	struct block_shape shape = block_shape(r->g, &n->type, n->layout);
	do {
		struct block_place at = block_place(r->g, &n->type, n->layout, index);
		int64_t k = at.value % shape.bytes;
		int32_t sum = 0;
		if (n->type.dtype == DT_C8) {
			memory[at.value] = (uint8_t)c->q.i;
			memcpy(memory + at.scale, &c->q.scale, sizeof(float));
			c++;
			continue;
		}
		if (k == 0)
			memset(memory + at.value, 0, (size_t)shape.scales);
		if (k % Q_BLOCK)
			memcpy(&sum, memory + at.scale + 4, sizeof(sum));
		sum += -128 * c->q.i;
		memory[at.value] = (uint8_t)c->q.i;
		memcpy(memory + at.scale, &c->q.scale, sizeof(float));
		memcpy(memory + at.scale + 4, &sum, sizeof(sum));
		c++;
	} while (next_index(r, &n->type, index));
}

static union cell *value_load(const struct run *r, const struct node *n, const void *memory)
{
	if (dtype_has_blocks(n->type.dtype) && r->call->mode == INTERP_EXACT)
		return blocks_load(r, n, memory);
	union cell *value = value_new(r, n);
	int64_t *at = memory_offsets(r, n);
	for (int64_t k = 0, total = count(r->call, &n->type); k < total; k++)
		element_get(r->call->mode, n->type.dtype, memory, at[k], &value[k]);
	free(at);
	return value;
}

static void value_store(const struct run *r, const struct node *n, const union cell *value,
	void *memory)
{
	if (dtype_has_blocks(n->type.dtype) && r->call->mode == INTERP_EXACT) {
		blocks_store(r, n, value, memory);
		return;
	}
	int64_t *at = memory_offsets(r, n);
	for (int64_t k = 0, total = count(r->call, &n->type); k < total; k++)
		element_put(r->call->mode, n->type.dtype, memory, at[k], value[k]);
	free(at);
}

static void value_drop(struct run *r, int node)
{
	free(r->value[node]);
	r->value[node] = NULL;
}

static void *bound(const struct run *r, const char *name)
{
	for (int i = 0; i < r->call->ntensor; i++)
		if (!strcmp(r->call->tensor[i].name, name))
			return r->call->tensor[i].p;
	return NULL;
}

static bool leaf_memory(const struct run *r, int node, void **p, struct err *e)
{
	node = state_of(r->g, node);
	*p = bound(r, r->g->node[node].name);
	return *p ? true
		  : err_set(e, ERR_SPEC, "graph '%s': '%s' is not bound", r->g->name,
			    r->g->node[node].name);
}

/* The planned bytes of a stored value; NULL when it has no place in a slab. */
static bool slab_place(const struct run *r, int node, void **p, struct err *e)
{
	const struct node *n = &r->g->node[node];
	*p = NULL;
	if (!r->slab || !n->stored || n->offset < 0)
		return true;
	if (n->offset + tensor_bytes(r->g, n) > r->g->slab_bytes)
		return err_set(e, ERR_SPEC, "%%%d lies beyond the slab", node);
	*p = r->slab + n->offset;
	return true;
}

/* ---- nodes ---- */

static bool node_run(struct run *r, int node, struct err *e);

/* Makes value[node] present. State memory is read anew each time: put and assign change it. */
static bool fetch(struct run *r, int node, struct err *e)
{
	const struct node *n = &r->g->node[node];
	void *p;
	if (is_bound(n->op) || writes_state(n->op)) {
		if (r->value[node] && n->op != OP_STATE && !writes_state(n->op))
			return true;
		if (!leaf_memory(r, node, &p, e))
			return false;
		value_drop(r, node);
		r->value[node] = value_load(r, n, p);
		return true;
	}
	if (r->value[node])
		return true;
	if (!r->slab || n->region < 0 || n->region == r->region)
		return node_run(r, node, e);
	if (!slab_place(r, node, &p, e))
		return false;
	if (!p)
		return err_set(e, ERR_SPEC, "%%%d of region %d is read in region %d, but not stored",
			node, n->region, r->region);
	r->value[node] = value_load(r, n, p);
	return true;
}

/* Writes x (source 1) into the state, at rows source 2 for a put. */
static bool state_write(struct eval *v, union cell *state, struct err *e)
{
	const struct type *x = src_type(v, 1);
	int axis = v->node->axis;
	int64_t stride[MAX_GRAPH_AXES], step = 0;
	const int64_t *index_at = NULL;
	strides(v->call, &v->node->type, stride);
	if (v->node->op == OP_PUT) {
		step = stride[axis];
		stride[axis] = 0;
		index_at = offsets_in(v, x, src_type(v, 2));
	}
	const int64_t *at = offsets(v->scratch, v->call, x, stride);
	for (int64_t k = 0, n = count(v->call, x); k < n; k++) {
		int32_t index = index_at ? v->src[2][index_at[k]].i : 0;
		if (index_at && !check_index(v, index, axis, e))
			return false;
		state[at[k] + index * step] = v->src[1][k];
	}
	return true;
}

static bool state_run(struct run *r, struct eval *v, int node, struct err *e)
{
	void *p;
	if (!leaf_memory(r, node, &p, e))
		return false;
	union cell *state = value_load(r, v->node, p);
	bool ok = state_write(v, state, e);
	if (ok)
		value_store(r, v->node, state, p);
	free(state);
	return ok;
}

static bool node_run(struct run *r, int node, struct err *e)
{
	const struct node *n = &r->g->node[node];
	struct arena scratch = {0};
	struct eval v = {.g = r->g, .call = r->call, .node = n, .scratch = &scratch};
	void *p;
	for (int i = 0; i < op_info[n->op].nsrc; i++) {
		bool only_written = i == 0 && writes_state(n->op);
		if (!only_written && !fetch(r, n->src[i], e))
			return false;
	}
	/* Only now: fetching a source again replaces its value. */
	for (int i = 0; i < op_info[n->op].nsrc; i++)
		v.src[i] = r->value[n->src[i]];
	bool ok;
	if (writes_state(n->op)) {
		ok = state_run(r, &v, node, e);
	} else {
		v.out = r->value[node] = value_new(r, n);
		ok = (eval_fns[n->op] ? eval_fns[n->op] : eval_map)(&v, e) &&
			slab_place(r, node, &p, e);
		if (ok && p)
			value_store(r, n, v.out, p);
	}
	arena_release(&scratch);
	return ok;
}

/* ---- the whole graph ---- */

static bool run_nodes(struct run *r, struct err *e)
{
	const struct graph *g = r->g;
	int *last_use = xcalloc((size_t)g->nnode + 1, sizeof(*last_use));
	bool ok = true;
	for (int i = 0; i < g->nnode; i++)
		for (int s = 0; r->needed[i] && s < op_info[g->node[i].op].nsrc; s++)
			last_use[g->node[i].src[s]] = i;
	for (int i = 0; i < g->noutput; i++)
		last_use[g->output[i].node] = g->nnode;
	for (int i = 0; ok && i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		if (!r->needed[i] || is_bound(n->op))
			continue;
		ok = node_run(r, i, e);
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			if (last_use[n->src[s]] == i)
				value_drop(r, n->src[s]);
	}
	free(last_use);
	return ok;
}

/* A kernel may write any of its results before it has read any of its sources: so the places of the
 * results are spoilt first, and a plan that lets them overlap shows. */
static bool spoil_results(struct run *r, const struct region *region, struct err *e)
{
	void *p;
	for (int i = 0; i < region->nnode; i++) {
		if (!slab_place(r, region->node[i], &p, e))
			return false;
		if (p)
			memset(p, 0xff, (size_t)tensor_bytes(r->g, &r->g->node[region->node[i]]));
	}
	return true;
}

static bool run_regions(struct run *r, struct err *e)
{
	const struct graph *g = r->g;
	for (r->region = 0; r->region < g->nregion; r->region++) {
		const struct region *region = &g->region[r->region];
		bool needed = false;
		for (int i = 0; i < region->nnode; i++)
			needed = needed || r->needed[region->node[i]];
		if (!needed)
			continue;
		if (!spoil_results(r, region, e))
			return false;
		for (int i = 0; i < region->nnode; i++) {
			int node = region->node[i];
			if (!r->value[node] && !node_run(r, node, e))
				return false;
		}
		for (int i = 0; i < g->nnode; i++) {
			const struct node *n = &g->node[i];
			bool placed = n->region < 0 || n->offset >= 0 || is_bound(n->op);
			if (placed || (n->region == r->region && !n->stored))
				value_drop(r, i);
		}
	}
	r->region = -1;
	return true;
}

static bool write_outputs(struct run *r, struct err *e)
{
	for (int i = 0; i < r->g->noutput; i++) {
		const struct graph_output *o = &r->g->output[i];
		void *p = bound(r, o->name);
		if (!p)
			continue;
		if (!fetch(r, o->node, e))
			return false;
		value_store(r, &r->g->node[o->node], r->value[o->node], p);
	}
	return true;
}

static bool *needed_nodes(const struct graph *g, const struct run *r)
{
	bool *needed = xcalloc((size_t)g->nnode + 1, sizeof(*needed));
	for (int i = 0; i < g->noutput; i++)
		if (bound(r, g->output[i].name))
			needed[g->output[i].node] = true;
	for (int i = g->nnode - 1; i >= 0; i--) {
		needed[i] = needed[i] || writes_state(g->node[i].op);
		for (int s = 0; needed[i] && s < op_info[g->node[i].op].nsrc; s++)
			needed[g->node[i].src[s]] = true;
	}
	return needed;
}

static bool run(const struct graph *g, const struct interp_call *call, struct err *e)
{
	struct run r = {.g = g, .call = call, .region = -1};
	bool planned = g->region && call->mode == INTERP_EXACT;
	r.value = xcalloc((size_t)g->nnode + 1, sizeof(*r.value));
	r.needed = needed_nodes(g, &r);
	if (planned) {
		r.slab = xmalloc((size_t)g->slab_bytes + 1);
		memset(r.slab, 0xff, (size_t)g->slab_bytes + 1);
	}
	bool ok = (planned ? run_regions(&r, e) : run_nodes(&r, e)) && write_outputs(&r, e);
	for (int i = 0; i < g->nnode; i++)
		value_drop(&r, i);
	free(r.value);
	free(r.needed);
	free(r.slab);
	return ok;
}

bool interp_run(const struct graph *g, const struct interp_call *call, struct err *e)
{
	struct arena a = {0};
	bool recipes = false;
	for (int i = 0; i < g->nnode; i++)
		recipes = recipes || op_info[g->node[i].op].class == CLASS_RECIPE;
	if (call->mode == INTERP_F64)
		return run(g, call, e);
	if (recipes)
		g = graph_lower(&a, g);
	unsigned old = _mm_getcsr();
	_mm_setcsr(0x9fc0); /* round to nearest even, flush denormals both ways, all masked */
	bool ok = run(g, call, e);
	_mm_setcsr(old);
	arena_release(&a);
	return ok;
}
