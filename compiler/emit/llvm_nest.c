/* Map and reduce regions: loop nests over named axes. */
#include <string.h>

#include "llvm_kernel.h"

static bool is_reduce(const struct node *n)
{
	return op_info[n->op].class == CLASS_REDUCE;
}

/* The largest vector that pays for an axis: no wider than its extent. */
static int nest_width(const struct kernel *k, int axis)
{
	int width = k->target->lanes;
	while (width > 1 && width > k->g->axis[axis].extent)
		width /= 2;
	return width;
}

/* ---- maps: an item is one row along the last axis ---- */

LLVMValueRef map_items(struct kernel *k)
{
	const struct type *space = &k->region->space;
	return extent_product(k, space, 0, space->naxis ? space->naxis - 1 : 0);
}

static void store_all(struct kernel *k, struct env *env, void *arg)
{
	(void)arg;
	for (int i = 0; i < k->region->nnode; i++)
		if (k->g->node[k->region->node[i]].stored)
			store_node(k, k->region->node[i], env);
}

void emit_map_region(struct kernel *k)
{
	const struct type *space = &k->region->space;
	struct loop item;
	struct env env;
	env_init(k, &env);
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	if (space->naxis == 0) {
		store_all(k, &env, NULL);
	} else {
		int last = space->axis[space->naxis - 1];
		env_unflatten(k, &env, space, 0, space->naxis - 1, item.i);
		vector_loop(k, &env, last, const_i64(k, 0), k->dim[last], nest_width(k, last),
			store_all, NULL);
	}
	loop_end(k, &item);
}

/*
 * ---- reductions ----
 *
 * kept: the axes that remain (one row per combination); reduced: the others, in storage order of the
 * source. When the last axis of the space is reduced, vectors run along it and hold neighbouring
 * accumulators; else they run along the last kept axis and hold the same accumulator of neighbouring
 * rows.
 */
struct reduction {
	struct type kept, reduced; /* of the space, in its order */
	bool along;                /* vectors run along the reduction */
	int row_width;             /* along == false: rows side by side, vectors run along the last kept axis */
	struct env *row;           /* the row that code is in: kept axes are set */
	int node;                  /* the reduction being emitted */
	LLVMValueRef accumulators; /* float[16 * row_width] */
	LLVMValueRef counter;      /* i64*: flattened index along the reduction */
	LLVMValueRef vectors[SUM_LANES]; /* along: <width x float>* each */
	int nvector;
};

static void split_space(const struct kernel *k, struct reduction *r)
{
	const struct type *space = &k->region->space;
	const struct node *core = NULL;
	memset(r, 0, sizeof(*r));
	for (int i = 0; i < k->region->nnode && !core; i++)
		if (is_reduce(&k->g->node[k->region->node[i]]))
			core = &k->g->node[k->region->node[i]];
	for (int i = 0; i < space->naxis; i++) {
		struct type *t = type_has_axis(&core->type, space->axis[i]) ? &r->kept : &r->reduced;
		t->axis[t->naxis++] = space->axis[i];
	}
	r->along = !type_has_axis(&core->type, space->axis[space->naxis - 1]);
}

LLVMValueRef reduce_items(struct kernel *k)
{
	struct reduction r;
	split_space(k, &r);
	return extent_product(k, &r.kept, 0, r.along ? r.kept.naxis : r.kept.naxis - 1);
}

static LLVMValueRef combine(struct kernel *k, const struct reduction *r, LLVMValueRef a,
	LLVMValueRef b, int width)
{
	LLVMValueRef pair[] = {a, b};
	return emit_scalar_op(k, k->g->node[r->node].op == OP_SUM ? OP_ADD : OP_MAX, pair, width);
}

static LLVMValueRef identity(struct kernel *k, const struct reduction *r)
{
	return k->g->node[r->node].op == OP_SUM ? LLVMConstReal(k->f32, 0)
						: LLVMConstReal(k->f32, -__builtin_inf());
}

static LLVMValueRef accumulator_at(struct kernel *k, const struct reduction *r, LLVMValueRef i)
{
	LLVMValueRef at = LLVMBuildMul(k->at, i, const_i64(k, r->along ? 1 : r->row_width), "");
	return element_at(k, k->f32, r->accumulators, at);
}

/* One element (or the same element of row_width rows) into its accumulator. */
static void accumulate(struct kernel *k, struct env *env, void *arg)
{
	struct reduction *r = arg;
	int width = r->along ? 1 : r->row_width;
	LLVMValueRef i = LLVMBuildLoad2(k->at, k->i64, r->counter, "");
	LLVMValueRef p = accumulator_at(k, r,
		LLVMBuildAnd(k->at, i, const_i64(k, SUM_LANES - 1), ""));
	LLVMValueRef x = r->along ? evaluate(k, k->g->node[r->node].src[0], env).v
				  : evaluate_full(k, k->g->node[r->node].src[0], env);
	LLVMValueRef old = load_vector(k, k->f32, p, width);
	store_vector(k, combine(k, r, old, x, width), p, 4);
	LLVMBuildStore(k->at, LLVMBuildAdd(k->at, i, const_i64(k, 1), ""), r->counter);
}

/* 16 neighbouring elements, the first of which belongs to accumulator 0. */
static void accumulate_vectors(struct kernel *k, struct env *env, struct reduction *r)
{
	int width = SUM_LANES / r->nvector, axis = env->vector_axis;
	LLVMValueRef first = env->index[axis];
	for (int v = 0; v < r->nvector; v++) {
		struct env part;
		env_fork(k, &part, env);
		part.width = width;
		part.index[axis] = LLVMBuildAdd(k->at, first, const_i64(k, v * width), "");
		LLVMValueRef x = evaluate_full(k, k->g->node[r->node].src[0], &part);
		LLVMValueRef old = load_vector(k, k->f32, r->vectors[v], width);
		store_vector(k, combine(k, r, old, x, width), r->vectors[v], 4);
	}
}

/* Loops over reduced axes [depth, end); at the bottom one element or a run along the last axis. */
static void reduce_loops(struct kernel *k, struct env *env, struct reduction *r, int depth)
{
	int last = r->reduced.naxis - 1;
	if (depth > last) {
		accumulate(k, env, r);
		return;
	}
	int axis = r->reduced.axis[depth];
	LLVMValueRef from = const_i64(k, 0);
	if (depth == last && r->nvector) {
		/* Whole groups of 16 here; what is left of a single reduced axis goes one by one. */
		LLVMValueRef whole = LLVMBuildAnd(k->at, k->dim[axis], const_i64(k, -SUM_LANES), "");
		struct loop l;
		struct env inner;
		loop_begin(k, &l, from, whole, SUM_LANES);
		env_fork(k, &inner, env);
		inner.vector_axis = axis;
		inner.width = SUM_LANES / r->nvector;
		inner.index[axis] = l.i;
		accumulate_vectors(k, &inner, r);
		loop_end(k, &l);
		for (int v = 0; v < r->nvector; v++) {
			int width = SUM_LANES / r->nvector;
			LLVMValueRef p = accumulator_at(k, r, const_i64(k, v * width));
			store_vector(k, load_vector(k, k->f32, r->vectors[v], width), p, 4);
		}
		LLVMBuildStore(k->at, const_i64(k, 0), r->counter);
		from = whole;
	}
	struct loop l;
	struct env inner;
	loop_begin(k, &l, from, k->dim[axis], 1);
	env_fork(k, &inner, env);
	inner.index[axis] = l.i;
	reduce_loops(k, &inner, r, depth + 1);
	loop_end(k, &l);
}

/* Element i belongs to accumulator i mod 16, so a run may be cut into groups of 16 when it is the only one. */
static bool runs_in_groups(const struct kernel *k, const struct reduction *r)
{
	int axis = r->reduced.axis[r->reduced.naxis - 1];
	return r->along && k->target->lanes <= SUM_LANES && r->reduced.naxis == 1 &&
		k->g->axis[axis].extent >= SUM_LANES;
}

static void emit_reduction(struct kernel *k, struct reduction *r)
{
	int width = r->along ? 1 : r->row_width;
	for (int i = 0; i < SUM_LANES; i++)
		store_vector(k, splat(k, identity(k, r), width), accumulator_at(k, r, const_i64(k, i)), 4);
	LLVMBuildStore(k->at, const_i64(k, 0), r->counter);
	r->nvector = runs_in_groups(k, r) ? SUM_LANES / k->target->lanes : 0;
	for (int v = 0; v < r->nvector; v++) {
		LLVMTypeRef t = vector_of(k->f32, k->target->lanes);
		r->vectors[v] = alloca_entry(k, t, "sum");
		store_vector(k, splat(k, identity(k, r), k->target->lanes), r->vectors[v], 4);
	}
	struct env loops;
	env_fork(k, &loops, r->row);
	reduce_loops(k, &loops, r, 0);
	LLVMValueRef a[SUM_LANES];
	for (int i = 0; i < SUM_LANES; i++)
		a[i] = load_vector(k, k->f32, accumulator_at(k, r, const_i64(k, i)), width);
	for (int half = SUM_LANES / 2; half >= 1; half /= 2)
		for (int i = 0; i < half; i++)
			a[i] = combine(k, r, a[i], a[i + half], width);
	*known_at(k, r->row, r->node) = (struct value){a[0], !r->along && width > 1};
}

/* Of the whole space, not of a row. */
static bool is_full(const struct kernel *k, const struct reduction *r, int i)
{
	const struct node *n = &k->g->node[i];
	const struct type *t = n->op == OP_PUT || n->op == OP_ASSIGN ? &k->g->node[n->src[1]].type
								     : &n->type;
	for (int a = 0; a < r->reduced.naxis; a++)
		if (type_has_axis(t, r->reduced.axis[a]))
			return true;
	return false;
}

static void store_full(struct kernel *k, struct env *env, void *arg)
{
	struct reduction *r = arg;
	for (int i = 0; i < k->region->nnode; i++)
		if (k->g->node[k->region->node[i]].stored && is_full(k, r, k->region->node[i]))
			store_node(k, k->region->node[i], env);
}

static void full_loops(struct kernel *k, struct env *env, struct reduction *r, int depth)
{
	if (depth == r->reduced.naxis) {
		store_full(k, env, r);
		return;
	}
	int axis = r->reduced.axis[depth];
	if (r->along && depth == r->reduced.naxis - 1) {
		vector_loop(k, env, axis, const_i64(k, 0), k->dim[axis], nest_width(k, axis), store_full,
			r);
		return;
	}
	struct loop l;
	struct env inner;
	loop_begin(k, &l, const_i64(k, 0), k->dim[axis], 1);
	env_fork(k, &inner, env);
	inner.index[axis] = l.i;
	full_loops(k, &inner, r, depth + 1);
	loop_end(k, &l);
}

/* One row, or row_width neighbouring ones. */
static void emit_row(struct kernel *k, struct env *env, void *arg)
{
	struct reduction *r = arg;
	bool any_full = false;
	r->row = env;
	r->row_width = env->width;
	r->accumulators = alloca_entry(k,
		LLVMArrayType(k->f32, (unsigned)(SUM_LANES * (r->along ? 1 : env->width))), "acc");
	r->counter = alloca_entry(k, k->i64, "n");
	for (int i = 0; i < k->region->nnode; i++) {
		int n = k->region->node[i];
		if (is_reduce(&k->g->node[n])) {
			r->node = n;
			emit_reduction(k, r);
		} else if (!is_full(k, r, n)) {
			/* Row values are computed here, where every later loop can see them. */
			if (k->g->node[n].op != OP_ASSIGN)
				evaluate(k, n, env);
		} else {
			any_full = any_full || k->g->node[n].stored;
		}
	}
	for (int i = 0; i < k->region->nnode; i++) {
		int n = k->region->node[i];
		if (k->g->node[n].stored && !is_full(k, r, n))
			store_node(k, n, env);
	}
	if (any_full)
		full_loops(k, env, r, 0);
}

void emit_reduce_region(struct kernel *k)
{
	struct reduction r;
	struct loop item;
	struct env env;
	split_space(k, &r);
	env_init(k, &env);
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	int outer = r.along ? r.kept.naxis : r.kept.naxis - 1;
	env_unflatten(k, &env, &r.kept, 0, outer, item.i);
	if (r.along) {
		emit_row(k, &env, &r);
	} else {
		int axis = r.kept.axis[r.kept.naxis - 1];
		vector_loop(k, &env, axis, const_i64(k, 0), k->dim[axis], nest_width(k, axis), emit_row,
			&r);
	}
	loop_end(k, &item);
}

/*
 * ---- scatter: rows are added one by one in their order, so an item may own columns, never rows ----
 * One item clears the result and adds all rows; it is small beside the products around it.
 */
static void clear_one(struct kernel *k, struct env *env, void *arg)
{
	int n = *(int *)arg;
	*known_at(k, env, n) = (struct value){LLVMConstReal(k->f32, 0), false};
	store_node(k, n, env);
}

static void add_one(struct kernel *k, struct env *env, void *arg)
{
	int n = *(int *)arg;
	const struct node *node = &k->g->node[n];
	struct env to;
	env_fork(k, &to, env);
	LLVMValueRef index = LLVMBuildSExt(k->at, evaluate(k, node->src[1], env).v, k->i64, "");
	to.index[node->axis] = index;
	LLVMValueRef pair[] = {load_node(k, n, &to), evaluate_full(k, node->src[0], env)};
	*known_at(k, &to, n) = (struct value){emit_scalar_op(k, OP_ADD, pair, env->width), env->width > 1};
	store_node(k, n, &to);
}

static void scatter_loops(struct kernel *k, struct env *env, const struct type *t, int depth,
	nest_body *body, int *n)
{
	int axis = t->axis[depth];
	if (depth == t->naxis - 1) {
		vector_loop(k, env, axis, const_i64(k, 0), k->dim[axis], nest_width(k, axis), body, n);
		return;
	}
	struct loop l;
	struct env inner;
	loop_begin(k, &l, const_i64(k, 0), k->dim[axis], 1);
	env_fork(k, &inner, env);
	inner.index[axis] = l.i;
	scatter_loops(k, &inner, t, depth + 1, body, n);
	loop_end(k, &l);
}

void emit_scatter_region(struct kernel *k)
{
	int n = k->region->node[0];
	const struct node *node = &k->g->node[n];
	struct env env;
	struct loop item;
	env_init(k, &env);
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	scatter_loops(k, &env, &node->type, 0, clear_one, &n);
	scatter_loops(k, &env, &k->g->node[node->src[0]].type, 0, add_one, &n);
	loop_end(k, &item);
}
