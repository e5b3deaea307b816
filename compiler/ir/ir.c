#include "ir.h"

#include <string.h>

#include "check.h"

#define CLASS_OF(class) CLASS_##class
const struct op_info op_info[NOPS] = {
#define OP(id, name, class, nsrc, shape, grad) {name, CLASS_OF(class), nsrc},
#include "ops.h"
#undef OP
};

struct graph *graph_new(struct arena *a, const char *name)
{
	struct graph *g = arena_new(a, struct graph);
	g->arena = a;
	g->name = arena_strdup(a, name);
	return g;
}

int graph_find_axis(const struct graph *g, const char *name)
{
	for (int i = 0; i < g->naxis; i++)
		if (!strcmp(g->axis[i].name, name))
			return i;
	return -1;
}

int graph_axis(struct graph *g, const char *name, int64_t extent, bool dynamic)
{
	if (extent < 1 || graph_find_axis(g, name) >= 0 || g->naxis == UINT8_MAX)
		BUG("axis '%s' of extent %lld", name, (long long)extent);
	*arena_push(g->arena, g->axis, g->naxis) =
		(struct axis){arena_strdup(g->arena, name), extent, dynamic};
	return g->naxis - 1;
}

int graph_find_leaf(const struct graph *g, const char *name)
{
	for (int i = 0; i < g->nnode; i++)
		if (op_info[g->node[i].op].class == CLASS_LEAF && g->node[i].name &&
			!strcmp(g->node[i].name, name))
			return i;
	return -1;
}

void graph_add_output(struct graph *g, const char *name, int node)
{
	*arena_push(g->arena, g->output, g->noutput) =
		(struct graph_output){arena_strdup(g->arena, name), node};
}

struct type graph_type(const struct graph *g, enum dtype dtype, const char *axes)
{
	struct type t = {.dtype = dtype};
	char name[32];
	for (const char *p = axes; *p;) {
		size_t n = strcspn(p, " ");
		if (n == 1 && *p == '|') {
			t.outer = dtype_has_blocks(dtype) ? (uint8_t)t.naxis : 0;
			p += 1 + strspn(p + 1, " ");
			continue;
		}
		if (n >= sizeof(name) || t.naxis == IR_MAX_AXES)
			BUG("axes '%s'", axes);
		memcpy(name, p, n);
		name[n] = '\0';
		int axis = graph_find_axis(g, name);
		if (axis < 0)
			BUG("graph '%s' has no axis '%s'", g->name, name);
		t.axis[t.naxis++] = (uint8_t)axis;
		p += n + strspn(p + n, " ");
	}
	return t;
}

static int append(struct graph *g, struct node n)
{
	struct err e;
	n.region = -1;
	n.offset = -1;
	for (int i = op_info[n.op].nsrc; i < IR_MAX_SRCS; i++)
		n.src[i] = -1;
	if (!node_check(g, &n, &e))
		BUG("graph '%s': %s", g->name, e.msg);
	*arena_push(g->arena, g->node, g->nnode) = n;
	return g->nnode - 1;
}

int ir_leaf(struct graph *g, enum op op, const char *name, struct type t)
{
	struct layout l = {.kind = LAYOUT_ROW};
	if (op == OP_PARAM && dtype_has_blocks(t.dtype))
		l = (struct layout){LAYOUT_PANEL, 0, t.outer, 0};
	return append(g,
		(struct node){.op = op, .type = t, .layout = l, .name = arena_strdup(g->arena, name)});
}

void ir_give(struct graph *g, int i, const char *name)
{
	struct node n = {.op = OP_INPUT, .type = g->node[i].type, .name = arena_strdup(g->arena, name),
		.region = -1, .offset = -1};
	for (int s = 0; s < IR_MAX_SRCS; s++)
		n.src[s] = -1;
	g->node[i] = n;
}

int ir_const(struct graph *g, double value)
{
	return append(g, (struct node){.op = OP_CONST, .type = {.dtype = DT_F32}, .value = value});
}

int ir_const_i32(struct graph *g, int32_t value)
{
	return append(g, (struct node){.op = OP_CONST, .type = {.dtype = DT_I32}, .value = value});
}

int ir_iota(struct graph *g, int axis)
{
	struct type t = {.dtype = DT_I32, .naxis = 1, .axis = {(uint8_t)axis}};
	return append(g, (struct node){.op = OP_IOTA, .type = t});
}

/* The source with the most axes gives the order; what it lacks follows as the others have it. */
static struct type broadcast_type(const struct graph *g, const int *src, int nsrc)
{
	int widest = 0;
	for (int i = 1; i < nsrc; i++)
		if (g->node[src[i]].type.naxis > g->node[src[widest]].type.naxis)
			widest = i;
	struct type t = g->node[src[widest]].type;
	for (int i = 0; i < nsrc; i++)
		for (int a = 0; a < g->node[src[i]].type.naxis; a++)
			if (!type_has_axis(&t, g->node[src[i]].type.axis[a])) {
				if (t.naxis == IR_MAX_AXES)
					BUG("too many axes");
				t.axis[t.naxis++] = g->node[src[i]].type.axis[a];
			}
	return t;
}

int ir_map(struct graph *g, enum op op, int a, int b, int c)
{
	int src[3] = {a, b, c}, nsrc = op_info[op].nsrc;
	struct type t = broadcast_type(g, src, nsrc);
	bool integer = g->node[src[nsrc - 1]].type.dtype == DT_I32;
	if (op == OP_LT || op == OP_EQ || op == OP_BITS_OF || op == OP_TO_I32)
		integer = true;
	else if (op == OP_FROM_BITS || op == OP_TO_F32)
		integer = false;
	t.dtype = integer ? DT_I32 : DT_F32;
	if (op == OP_STOP)
		t.dtype = g->node[a].type.dtype;
	return append(g, (struct node){.op = op, .type = t, .src = {a, b, c}});
}

int ir_from_bits(struct graph *g, int x, enum dtype dtype)
{
	struct type t = g->node[x].type;
	t.dtype = dtype;
	return append(g, (struct node){.op = OP_FROM_BITS, .type = t, .src = {x}});
}

int ir_cast(struct graph *g, int x, enum dtype dtype)
{
	struct type t = g->node[x].type;
	if (t.dtype == dtype)
		return x;
	t.dtype = dtype;
	return append(g, (struct node){.op = OP_CAST, .type = t, .src = {x}});
}

static int quantise(struct graph *g, int x, enum dtype dtype, int outer)
{
	struct type t = g->node[x].type;
	t.dtype = dtype;
	t.outer = (uint8_t)outer;
	return append(g, (struct node){.op = OP_QUANTISE, .type = t, .src = {x}});
}

int ir_quantise(struct graph *g, int x, int outer)
{
	return quantise(g, x, DT_Q8, outer);
}

int ir_quantise_cache(struct graph *g, int x, int outer)
{
	return quantise(g, x, DT_C8, outer);
}

int ir_expand(struct graph *g, int x, struct type t)
{
	t.dtype = g->node[x].type.dtype;
	if (type_equal(&g->node[x].type, &t))
		return x;
	return append(g, (struct node){.op = OP_EXPAND, .type = t, .src = {x}});
}

int ir_flip(struct graph *g, int x, int axis)
{
	return append(g, (struct node){.op = OP_FLIP, .type = g->node[x].type, .src = {x}, .axis = axis});
}

int ir_reduce(struct graph *g, enum op op, int x, struct type t)
{
	t.dtype = DT_F32;
	return append(g, (struct node){.op = op, .type = t, .src = {x}});
}

int ir_dot(struct graph *g, int a, int b, struct type t)
{
	t.dtype = DT_F32;
	return append(g, (struct node){.op = OP_DOT, .type = t, .src = {a, b}});
}

int ir_gather(struct graph *g, int table, int index, int axis)
{
	const struct type *from = &g->node[table].type;
	struct type t = g->node[index].type;
	t.dtype = dtype_has_blocks(from->dtype) ? DT_F32 : from->dtype;
	for (int i = 0; i < from->naxis; i++)
		if (from->axis[i] != axis && t.naxis < IR_MAX_AXES)
			t.axis[t.naxis++] = from->axis[i];
	return append(g, (struct node){.op = OP_GATHER, .type = t, .src = {table, index}, .axis = axis});
}

int ir_scatter(struct graph *g, int x, int index, int axis)
{
	struct type t = g->node[x].type;
	t.dtype = DT_F32;
	t.axis[0] = (uint8_t)axis;
	return append(g, (struct node){.op = OP_SCATTER, .type = t, .src = {x, index}, .axis = axis});
}

int ir_put(struct graph *g, int state, int x, int index, int axis)
{
	return append(g, (struct node){.op = OP_PUT, .type = g->node[state].type,
		.src = {state, x, index}, .axis = axis});
}

int ir_assign(struct graph *g, int state, int x)
{
	return append(g, (struct node){.op = OP_ASSIGN, .type = g->node[state].type, .src = {state, x}});
}

int state_of(const struct graph *g, int i)
{
	while (g->node[i].op == OP_PUT || g->node[i].op == OP_ASSIGN)
		i = g->node[i].src[0];
	return i;
}

int ir_attention(struct graph *g, int q, int k, int v, int lo, int hi, int axis)
{
	return append(g, (struct node){.op = OP_ATTENTION, .type = g->node[q].type,
		.src = {q, k, v, lo, hi}, .axis = axis});
}

struct type attention_grad_type(const struct graph *g, const struct node *n)
{
	const struct type *q = &g->node[n->src[0]].type, *k = &g->node[n->src[1]].type;
	struct type t = {.dtype = DT_F32};
	int at = type_axis_position(k, n->axis), behind = k->naxis - at;
	if (n->op == OP_ATTENTION_DQ) {
		t = *q;
		return t;
	}
	/* B and G as q has them, then the slots and C as k has them */
	for (int i = 1; i < q->naxis - behind + 1; i++)
		t.axis[t.naxis++] = q->axis[i];
	for (int i = at; i < k->naxis; i++)
		t.axis[t.naxis++] = k->axis[i];
	return t;
}

int ir_attention_grad(struct graph *g, enum op op, int attention, int dout)
{
	struct node n = g->node[attention];
	n.op = op;
	n.type = attention_grad_type(g, &n);
	n.src[5] = attention;
	n.src[6] = dout;
	n.name = NULL;
	return append(g, n);
}
