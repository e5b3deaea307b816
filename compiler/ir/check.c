#include "check.h"

#include <string.h>

typedef bool shape_rule(const struct graph *g, const struct node *n, struct err *e);

static const struct type *source(const struct graph *g, const struct node *n, int i)
{
	return &g->node[n->src[i]].type;
}

static bool wrong(const struct node *n, struct err *e, const char *what)
{
	return err_set(e, ERR_SPEC, "op '%s': %s", op_info[n->op].name, what);
}

static bool is_real(enum dtype t)
{
	return t == DT_F32 || t == DT_BF16 || t == DT_F16;
}

/* Every axis of every source occurs in the result, which has no others. */
static bool check_broadcast(const struct graph *g, const struct node *n, struct err *e)
{
	for (int i = 0; i < op_info[n->op].nsrc; i++)
		for (int a = 0; a < source(g, n, i)->naxis; a++)
			if (!type_has_axis(&n->type, source(g, n, i)->axis[a]))
				return wrong(n, e, "a source has an axis that the result lacks");
	for (int a = 0; a < n->type.naxis; a++) {
		bool found = false;
		for (int i = 0; i < op_info[n->op].nsrc; i++)
			found = found || type_has_axis(source(g, n, i), n->type.axis[a]);
		if (!found)
			return wrong(n, e, "the result has an axis that no source has");
	}
	return true;
}

static bool check_leaf(const struct graph *g, const struct node *n, struct err *e)
{
	(void)g;
	if (n->op == OP_CONST)
		return n->type.naxis == 0 && n->type.dtype != DT_BF16
			? true
			: wrong(n, e, "a constant is an f32 or i32 scalar");
	return n->name ? true : wrong(n, e, "needs a name");
}

static bool check_iota(const struct graph *g, const struct node *n, struct err *e)
{
	(void)g;
	return n->type.dtype == DT_I32 && n->type.naxis == 1
		? true
		: wrong(n, e, "the result is i32 with one axis");
}

static bool check_arith(const struct graph *g, const struct node *n, struct err *e)
{
	bool real = true, integer = true;
	for (int i = 0; i < op_info[n->op].nsrc; i++) {
		real = real && is_real(source(g, n, i)->dtype);
		integer = integer && source(g, n, i)->dtype == DT_I32;
	}
	if (!real && !integer)
		return wrong(n, e, "sources mix i32 and reals");
	if (n->type.dtype != (real ? DT_F32 : DT_I32))
		return wrong(n, e, "the result is f32 of reals, i32 of i32");
	return check_broadcast(g, n, e);
}

static bool check_real(const struct graph *g, const struct node *n, struct err *e)
{
	for (int i = 0; i < op_info[n->op].nsrc; i++)
		if (!is_real(source(g, n, i)->dtype))
			return wrong(n, e, "sources are reals");
	return n->type.dtype == DT_F32 ? check_broadcast(g, n, e)
				       : wrong(n, e, "the result is f32");
}

static bool check_compare(const struct graph *g, const struct node *n, struct err *e)
{
	if (is_real(source(g, n, 0)->dtype) != is_real(source(g, n, 1)->dtype))
		return wrong(n, e, "sources mix i32 and reals");
	return n->type.dtype == DT_I32 ? check_broadcast(g, n, e)
				       : wrong(n, e, "the result is i32");
}

static bool check_select(const struct graph *g, const struct node *n, struct err *e)
{
	if (source(g, n, 0)->dtype != DT_I32)
		return wrong(n, e, "source 0 is the i32 condition");
	if (is_real(source(g, n, 1)->dtype) != is_real(source(g, n, 2)->dtype) ||
		is_real(source(g, n, 1)->dtype) != (n->type.dtype == DT_F32))
		return wrong(n, e, "both choices and the result are f32, or all are i32");
	return check_broadcast(g, n, e);
}

static bool check_bits(const struct graph *g, const struct node *n, struct err *e)
{
	for (int i = 0; i < op_info[n->op].nsrc; i++)
		if (source(g, n, i)->dtype != DT_I32)
			return wrong(n, e, "sources are i32");
	return n->type.dtype == DT_I32 ? check_broadcast(g, n, e)
				       : wrong(n, e, "the result is i32");
}

static bool check_to_i32(const struct graph *g, const struct node *n, struct err *e)
{
	if (!is_real(source(g, n, 0)->dtype) || n->type.dtype != DT_I32)
		return wrong(n, e, "takes a real, gives i32");
	return check_broadcast(g, n, e);
}

static bool check_to_f32(const struct graph *g, const struct node *n, struct err *e)
{
	/* from_bits is how a rounded value becomes a bf16 or f16. */
	bool result = n->type.dtype == DT_F32 ||
		(n->op == OP_FROM_BITS && (n->type.dtype == DT_BF16 || n->type.dtype == DT_F16));
	if (source(g, n, 0)->dtype != DT_I32 || !result)
		return wrong(n, e, "takes i32, gives a real");
	return check_broadcast(g, n, e);
}

static bool check_cast(const struct graph *g, const struct node *n, struct err *e)
{
	if (!is_real(source(g, n, 0)->dtype) || !is_real(n->type.dtype))
		return wrong(n, e, "takes a real, gives a real");
	return check_broadcast(g, n, e);
}

static bool check_same(const struct graph *g, const struct node *n, struct err *e)
{
	if (source(g, n, 0)->dtype != n->type.dtype)
		return wrong(n, e, "the dtype changes");
	return check_broadcast(g, n, e);
}

static bool check_expand(const struct graph *g, const struct node *n, struct err *e)
{
	if (source(g, n, 0)->dtype != n->type.dtype)
		return wrong(n, e, "the dtype changes");
	for (int a = 0; a < source(g, n, 0)->naxis; a++)
		if (!type_has_axis(&n->type, source(g, n, 0)->axis[a]))
			return wrong(n, e, "the source has an axis that the result lacks");
	return true;
}

static bool check_flip(const struct graph *g, const struct node *n, struct err *e)
{
	if (!type_equal(source(g, n, 0), &n->type))
		return wrong(n, e, "the type changes");
	int at = type_axis_position(&n->type, n->axis);
	if (at < 0 || at == n->type.naxis - 1)
		return wrong(n, e, "its axis is one of the source's, and not the last");
	return g->axis[n->axis].dynamic ? wrong(n, e, "its axis is dynamic") : true;
}

static bool check_reduce(const struct graph *g, const struct node *n, struct err *e)
{
	if (!is_real(source(g, n, 0)->dtype) || n->type.dtype != DT_F32)
		return wrong(n, e, "takes a real, gives f32");
	for (int a = 0; a < n->type.naxis; a++)
		if (!type_has_axis(source(g, n, 0), n->type.axis[a]))
			return wrong(n, e, "the result has an axis that the source lacks");
	return n->type.naxis < source(g, n, 0)->naxis ? true : wrong(n, e, "nothing is reduced");
}

/* Both operands of a dot of integers: blocks along the same axes, in the same order. */
static bool check_dot_blocks(const struct graph *g, const struct node *n, struct err *e)
{
	const struct type *a = source(g, n, 0), *b = source(g, n, 1);
	if (a->dtype != DT_Q8 || g->node[n->src[0]].op != OP_QUANTISE || g->node[n->src[1]].op != OP_PARAM)
		return wrong(n, e, "takes what quantise gives, and a q8 or q4 param");
	for (int i = 0; i < n->type.naxis; i++)
		if (type_has_axis(a, n->type.axis[i]) != (i < a->outer))
			return wrong(n, e, "the result has source 0's outer axes, then source 1's");
	if (a->outer + b->outer != n->type.naxis || a->naxis - a->outer != b->naxis - b->outer)
		return wrong(n, e, "reduces all inner axes, and no others");
	for (int i = 0; i < a->naxis - a->outer; i++)
		if (a->axis[a->outer + i] != b->axis[b->outer + i])
			return wrong(n, e, "the sources order their inner axes differently");
	return true;
}

static bool check_dot(const struct graph *g, const struct node *n, struct err *e)
{
	const struct type *a = source(g, n, 0), *b = source(g, n, 1);
	int nreduced = 0;
	bool blocks = dtype_has_blocks(a->dtype) && dtype_has_blocks(b->dtype);
	if ((!blocks && (a->dtype != b->dtype || !is_real(a->dtype) || a->dtype == DT_F16)) || n->type.dtype != DT_F32)
		return wrong(n, e, "takes two f32, two bf16 or two with blocks, gives f32");
	if (!n->type.naxis)
		return wrong(n, e, "the result needs an axis: its lanes");
	for (int i = 0; i < n->type.naxis; i++)
		if (type_has_axis(a, n->type.axis[i]) == type_has_axis(b, n->type.axis[i]))
			return wrong(n, e, "each axis of the result comes from one source");
	for (int i = 0; i < a->naxis; i++) {
		bool kept = type_has_axis(&n->type, a->axis[i]);
		if (!kept && !type_has_axis(b, a->axis[i]))
			return wrong(n, e, "an axis of source 0 is neither reduced nor kept");
		nreduced += !kept;
	}
	for (int i = 0; i < b->naxis; i++)
		if (!type_has_axis(&n->type, b->axis[i]) && !type_has_axis(a, b->axis[i]))
			return wrong(n, e, "an axis of source 1 is neither reduced nor kept");
	if (!nreduced)
		return wrong(n, e, "nothing is reduced");
	return blocks ? check_dot_blocks(g, n, e) : true;
}

static bool check_quantise(const struct graph *g, const struct node *n, struct err *e)
{
	const struct type *x = source(g, n, 0);
	if (x->dtype != DT_F32 || (n->type.dtype != DT_Q8 && n->type.dtype != DT_C8) || x->naxis != n->type.naxis ||
		memcmp(x->axis, n->type.axis, (size_t)x->naxis))
		return wrong(n, e, "takes f32, gives q8 or c8 of the same axes");
	return true;
}

static bool check_gather(const struct graph *g, const struct node *n, struct err *e)
{
	const struct type *table = source(g, n, 0), *index = source(g, n, 1);
	bool blocks = dtype_has_blocks(table->dtype);
	if (index->dtype != DT_I32 || n->type.dtype != (blocks ? DT_F32 : table->dtype))
		return wrong(n, e, "source 1 is i32, the result has the table's dtype, or f32 of blocks");
	if (!type_has_axis(table, n->axis))
		return wrong(n, e, "the table lacks the axis");
	if (blocks && type_axis_position(table, n->axis) >= table->outer)
		return wrong(n, e, "the axis is one of the blocks'");
	if (n->type.naxis != index->naxis + table->naxis - 1)
		return wrong(n, e, "the result has the index's axes and the table's others");
	for (int i = 0; i < index->naxis; i++)
		if (n->type.axis[i] != index->axis[i])
			return wrong(n, e, "the index's axes come first in the result");
	for (int i = 0, at = index->naxis; i < table->naxis; i++) {
		if (table->axis[i] == n->axis)
			continue;
		if (type_has_axis(index, table->axis[i]) || n->type.axis[at++] != table->axis[i])
			return wrong(n, e, "the result has the index's axes and the table's others");
	}
	return true;
}

static bool check_scatter(const struct graph *g, const struct node *n, struct err *e)
{
	const struct type *x = source(g, n, 0), *index = source(g, n, 1);
	if (!is_real(x->dtype) || index->dtype != DT_I32 || n->type.dtype != DT_F32)
		return wrong(n, e, "takes a real and an i32 index, gives f32");
	if (index->naxis != 1 || !x->naxis || x->axis[0] != index->axis[0] ||
		n->type.naxis != x->naxis || n->type.axis[0] != n->axis)
		return wrong(n, e, "the index's one axis, x's first, becomes the result's first");
	return memcmp(n->type.axis + 1, x->axis + 1, (size_t)x->naxis - 1) == 0
		? true
		: wrong(n, e, "the other axes stay as they are");
}

static bool check_put(const struct graph *g, const struct node *n, struct err *e)
{
	const struct type *state = source(g, n, 0), *x = source(g, n, 1), *index = source(g, n, 2);
	if (g->node[state_of(g, n->src[0])].op != OP_STATE || !type_equal(state, &n->type))
		return wrong(n, e, "changes a state in place");
	if (x->dtype != state->dtype || index->dtype != DT_I32)
		return wrong(n, e, "x has the state's dtype, the index is i32");
	if (index->naxis != 1 || !x->naxis || x->axis[0] != index->axis[0] ||
		x->naxis != state->naxis || !type_has_axis(state, n->axis))
		return wrong(n, e, "the index's one axis, x's first, replaces the state's");
	for (int i = 0, at = 1; i < state->naxis; i++)
		if (state->axis[i] != n->axis && x->axis[at++] != state->axis[i])
			return wrong(n, e, "x has the state's other axes in their order");
	return true;
}

static bool check_assign(const struct graph *g, const struct node *n, struct err *e)
{
	if (g->node[state_of(g, n->src[0])].op != OP_STATE || !type_equal(source(g, n, 0), &n->type))
		return wrong(n, e, "changes a state in place");
	return source(g, n, 1)->dtype == n->type.dtype && type_same_axes(source(g, n, 1), &n->type)
		? true
		: wrong(n, e, "the value has the state's dtype and axes");
}

/* Axes of k before and behind the slots occur in q and in this order; the row axis is q's first. */
static bool check_attention(const struct graph *g, const struct node *n, struct err *e)
{
	const struct type *q = source(g, n, 0), *k = source(g, n, 1), *v = source(g, n, 2);
	int at = type_axis_position(k, n->axis), behind = k->naxis - at - 1;
	bool cached = k->dtype == DT_C8 && n->op == OP_ATTENTION && k->outer == at + 1;
	if (q->dtype != DT_F32 || n->type.dtype != DT_F32 || (!is_real(k->dtype) && !cached) || !type_equal(k, v))
		return wrong(n, e, "q and the result are f32, k and v of one real type, or c8 with features inside");
	if (at < 0 || behind < 1 || q->naxis < 1 + at + behind)
		return wrong(n, e, "k is (heads, slots, features), q has heads and features too");
	for (int i = 3; i < 5; i++)
		if (source(g, n, i)->dtype != DT_I32 || source(g, n, i)->naxis != 1 ||
			source(g, n, i)->axis[0] != q->axis[0])
			return wrong(n, e, "lo and hi are i32 with the row axis, q's first");
	for (int i = 0; i < at; i++)
		if (q->axis[1 + i] != k->axis[i])
			return wrong(n, e, "k's heads follow the row axis in q");
	for (int i = 0; i < behind; i++)
		if (q->axis[q->naxis - behind + i] != k->axis[at + 1 + i])
			return wrong(n, e, "k's features are q's last axes");
	return type_equal(q, &n->type) || n->op != OP_ATTENTION
		? true
		: wrong(n, e, "the result is like q");
}

static bool check_attention_d(const struct graph *g, const struct node *n, struct err *e)
{
	for (int i = 5; i < 7; i++)
		if (!type_equal(source(g, n, i), source(g, n, 0)))
			return wrong(n, e, "o and do are like q");
	if (!check_attention(g, n, e))
		return false;
	struct type want = attention_grad_type(g, n);
	return type_equal(&want, &n->type)
		? true
		: wrong(n, e, "the result is like q, or has q's heads with the slots and features of k");
}

static shape_rule *const rules[NOPS] = {
#define OP(id, name, class, nsrc, shape, grad) check_##shape,
#include "ops.h"
#undef OP
};

static bool reads_blocks(const struct node *n, int s, enum dtype t)
{
	if (n->op == OP_GATHER)
		return s == 0;
	if (t == DT_C8)
		return (n->op == OP_PUT && s < 2) || (n->op == OP_ATTENTION && (s == 1 || s == 2));
	return n->op == OP_DOT;
}

/* Where blocks may stand at all. */
static bool check_blocks(const struct graph *g, const struct node *n, struct err *e)
{
	const struct type *t = &n->type;
	bool cache = t->dtype == DT_C8;
	for (int i = 0; i < op_info[n->op].nsrc; i++) {
		enum dtype from = source(g, n, i)->dtype;
		if (dtype_has_blocks(from) && !reads_blocks(n, i, from))
			return wrong(n, e, from == DT_C8 ? "does not read c8" : "does not read q8 or q4");
	}
	if (!dtype_has_blocks(t->dtype))
		return t->outer ? wrong(n, e, "only q8, q4 and c8 have inner axes") : true;
	if (n->op != OP_QUANTISE && n->op != (cache ? OP_STATE : OP_PARAM) && !(cache && n->op == OP_PUT))
		return wrong(n, e, cache ? "only quantise and states are c8" : "only quantise and params are q8 or q4");
	if (t->outer >= t->naxis)
		return wrong(n, e, "q8, q4 and c8 need inner axes");
	for (int a = t->outer; a < t->naxis; a++)
		if (g->axis[t->axis[a]].dynamic)
			return wrong(n, e, "an inner axis is dynamic");
	bool panels = n->layout.kind == LAYOUT_PANEL && n->layout.last == t->outer;
	if (n->op == OP_PARAM)
		return panels && n->layout.first == 0
			? true
			: wrong(n, e, "a param of q8 or q4 has panels of its outer axes");
	if (n->op == OP_QUANTISE)
		return n->layout.kind == LAYOUT_ROW ? true : wrong(n, e, "the result has rows");
	return panels || n->layout.kind == LAYOUT_ROW ? true : wrong(n, e, "a c8 state has rows or panels of slots");
}

bool node_check(const struct graph *g, const struct node *n, struct err *e)
{
	if (n->type.naxis > IR_MAX_AXES)
		return wrong(n, e, "too many axes");
	for (int a = 0; a < n->type.naxis; a++) {
		if (n->type.axis[a] >= g->naxis)
			return wrong(n, e, "an axis is unknown");
		for (int b = 0; b < a; b++)
			if (n->type.axis[a] == n->type.axis[b])
				return wrong(n, e, "an axis occurs twice");
	}
	if (n->layout.kind == LAYOUT_PANEL &&
		(n->layout.first >= n->layout.last || n->layout.last >= n->type.naxis))
		return wrong(n, e, "a panel layout needs panel axes and inner axes");
	if (n->layout.pad && (n->layout.kind != LAYOUT_ROW || n->type.naxis < 2 || n->name))
		return wrong(n, e, "only rows of what is computed may be padded");
	return check_blocks(g, n, e) && rules[n->op](g, n, e);
}

bool graph_check(const struct graph *g, struct err *e)
{
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			if (n->src[s] < 0 || n->src[s] >= i) {
				err_set(e, ERR_SPEC, "op '%s': source %d is not an earlier node",
					op_info[n->op].name, s);
				return err_context(e, "%%%d", i);
			}
		if (!node_check(g, n, e))
			return err_context(e, "%%%d", i);
		if (g->region && n->region >= g->nregion)
			return err_set(e, ERR_SPEC, "%%%d: region %d does not exist", i, n->region);
	}
	for (int i = 0; i < g->noutput; i++)
		if (g->output[i].node < 0 || g->output[i].node >= g->nnode)
			return err_set(e, ERR_SPEC, "output '%s' names no node", g->output[i].name);
	return true;
}
