/*
 * Low-rank additions: Hu et al. 2021, eq. 3. A matrix W (out | in) of a trainable block is frozen
 * and gives dot(x, W) + alpha / rank * dot(dot(x, A), B); A (L | in) and B (out | L) train, L the
 * rank. B begins at 0, A uniform in +-1 / sqrt(inputs), as the authors' and Hugging Face's
 * libraries draw it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "splitmix.h"
#include "train_method.h"

static const char part_a[] = ".lora-a", part_b[] = ".lora-b";

static bool ends(const char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);
	return n > t && !strcmp(name + n - t, tail);
}

bool train_lora_part(const char *name)
{
	return ends(name, part_a) || ends(name, part_b);
}

bool train_lora_adapts(const struct train *t, const char *name)
{
	struct unit u;
	const struct state_tensor *s = state_find(t->state, name);
	return t->lora && s && s->ndim == 2 && unit_of_tensor(name, &u) && t->trains(t->ctx, name);
}

static int part(struct graph *g, enum op op, const char *name, const char *tail, struct type type)
{
	return ir_leaf(g, op, arena_printf(g->arena, "%s%s", name, tail), type);
}

/* A's or B's axes: those of w that x has, behind L; those that it lacks, before L. */
static struct type part_type(
	const struct graph *g, const struct type *w, const struct type *x, bool a)
{
	struct type t = {.dtype = DT_F32};
	uint8_t l = (uint8_t)graph_find_axis(g, "L");
	if (a)
		t.axis[t.naxis++] = l;
	for (int i = 0; i < w->naxis; i++)
		if (type_has_axis(x, w->axis[i]) == a)
			t.axis[t.naxis++] = w->axis[i];
	if (!a)
		t.axis[t.naxis++] = l;
	return t;
}

int train_lora_product(void *ctx, struct graph *g, const char *name, int x, int y)
{
	const struct train *t = ctx;
	if (!train_lora_adapts(t, name))
		return y;
	if (graph_find_axis(g, "L") < 0)
		graph_axis(g, "L", t->lora->rank, false);
	struct type w = g->node[graph_find_leaf(g, name)].type, from = g->node[x].type,
		    low = {.dtype = DT_F32};
	for (int i = 0; i < from.naxis; i++)
		if (!type_has_axis(&w, from.axis[i]))
			low.axis[low.naxis++] = from.axis[i];
	low.axis[low.naxis++] = (uint8_t)graph_find_axis(g, "L");
	int a = part(g, OP_PARAM, name, part_a, part_type(g, &w, &from, true));
	int b = part(g, OP_PARAM, name, part_b, part_type(g, &w, &from, false));
	int down = ir_dot(g, x, ir_cast(g, a, from.dtype), low);
	int scaled = ir_mul(g, down, ir_const(g, t->lora->alpha / (double)t->lora->rank));
	int up = ir_dot(
		g, ir_cast(g, scaled, from.dtype), ir_cast(g, b, from.dtype), g->node[y].type);
	return ir_add(g, y, up);
}

struct graph *train_merge(struct arena *a, const struct train *t)
{
	struct graph *g = graph_new(a, "merge"), *forward = train_shape(a, t);
	bool any = false;
	for (int i = 0; i < forward->naxis; i++)
		graph_axis(g, forward->axis[i].name, forward->axis[i].extent, false);
	for (int i = 0; i < forward->nnode; i++) {
		const struct node *n = &forward->node[i];
		if (n->op != OP_PARAM || !train_lora_adapts(t, n->name))
			continue;
		any = true;
		char name[2][96];
		int leaf[2];
		for (int k = 0; k < 2; k++) {
			snprintf(name[k], sizeof(name[k]), "%s%s", n->name, k ? part_b : part_a);
			const struct node *p = &forward->node[graph_find_leaf(forward, name[k])];
			leaf[k] = ir_leaf(g, OP_PARAM, name[k], p->type);
		}
		/* Both through a map: the dot's layouts need not be those in which the leaves lie.
		 */
		int down = ir_mul(g, leaf[0], ir_const(g, 1 / (double)t->lora->rank));
		int up = ir_mul(g, leaf[1], ir_const(g, t->lora->alpha));
		int w = ir_leaf(g, OP_STATE, n->name, n->type);
		ir_assign(g, w, ir_add(g, w, ir_dot(g, up, down, n->type)));
	}
	return any ? g : NULL;
}

bool train_lora_draw(const struct train *t, const char *name, float *w, size_t n)
{
	size_t length = strlen(name) - strlen(part_a);
	if (!ends(name, part_a))
		return false;
	struct digest d = digest_of(name, length);
	uint64_t x = d.lo ^ (t->lora->seed + t->state->ndropped) * 0xd1342543de82ef95u;
	double inputs = (double)n / (double)t->lora->rank;
	for (size_t i = 0; i < n; i++) {
		double u = (double)(splitmix64(&x) >> 11) * 0x1p-53;
		w[i] = (float)((2 * u - 1) / sqrt(inputs));
	}
	return true;
}
