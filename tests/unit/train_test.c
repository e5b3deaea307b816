/*
 * Training graphs of a whole tiny model in doubles: every gradient against central finite differences of
 * the loss, and a step of AdamW against the formula written out. What generated code makes of the same
 * graphs is held by emit_test.c, bit for bit.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "interp.h"
#include "test.h"
#include "train.h"

enum { ROWS = 9 };

struct tiny {
	struct arena a;
	struct state state;
	struct train train;
	struct graph *g;
	int64_t dim[64];
	struct interp_tensor tensor[128];
	int64_t elements[128];
	int ntensor;
};

static bool all_but_block_0(void *ctx, const char *name)
{
	(void)ctx;
	return strncmp(name, "blk.0.", 6) != 0 && strcmp(name, "rope.freq") != 0;
}

static bool has_attn[] = {true, true, false}, has_mlp[] = {true, true, true};

static double *tensor(struct tiny *t, const char *name)
{
	for (int i = 0; i < t->ntensor; i++)
		if (!strcmp(t->tensor[i].name, name))
			return t->tensor[i].p;
	return NULL;
}

static void add(struct tiny *t, const char *name, int node)
{
	int64_t n = layout_elements(t->g, &t->g->node[node].type, (struct layout){0});
	t->elements[t->ntensor] = n;
	t->tensor[t->ntensor++] = (struct interp_tensor){name, arena_alloc(&t->a, (size_t)n * 8)};
}

static void tiny_init(struct tiny *t, struct graph *(*build)(struct arena *, const struct train *), uint64_t seed)
{
	struct rng r;
	rng_init(&r, seed);
	memset(t, 0, sizeof(*t));
	t->state = (struct state){.config = {.arch = &arch_llama, .layers = 3, .width = 6, .ffn = 5,
		.heads = 2, .kv_heads = 1, .head_dim = 4, .vocab = 7, .context = 16, .rms_eps = 1e-5f,
		.tied = true}, .has_attn = has_attn, .has_mlp = has_mlp};
	t->train = (struct train){.state = &t->state, .max_rows = ROWS, .max_out = ROWS,
		.trains = all_but_block_0, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .decay = 0.1};
	t->g = build(&t->a, &t->train);
	for (int i = 0; i < t->g->naxis; i++)
		t->dim[i] = t->g->axis[i].extent;
	for (int i = 0; i < t->g->nnode; i++) {
		const struct node *n = &t->g->node[i];
		if (n->op != OP_INPUT && n->op != OP_PARAM && n->op != OP_STATE)
			continue;
		add(t, n->name, i);
		for (int64_t k = 0; k < t->elements[t->ntensor - 1]; k++) {
			double *p = t->tensor[t->ntensor - 1].p;
			int32_t *ip = t->tensor[t->ntensor - 1].p;
			if (n->type.dtype == DT_I32)
				ip[k] = !strcmp(n->name, "pos") ? (int32_t)k % 4
					: !strcmp(n->name, "lo") ? (int32_t)(k - k % 4)
					: !strcmp(n->name, "hi") ? (int32_t)k + 1
					: !strcmp(n->name, "out") ? (int32_t)k
								  : (int32_t)rng_below(&r, 7);
			else
				p[k] = rng_uniform(&r) - 0.5;
			if (!strncmp(n->name, "g.", 2) && build == train_grad)
				p[k] = 0;
			if (!strncmp(n->name, "v.", 2))
				p[k] = fabs(p[k]);
		}
	}
	for (int i = 0; i < t->g->noutput; i++)
		add(t, t->g->output[i].name, t->g->output[i].node);
}

static void run(struct tiny *t)
{
	struct err e;
	struct interp_call call = {INTERP_F64, t->dim, t->tensor, t->ntensor};
	if (!interp_run(t->g, &call, &e))
		FAIL("%s", e.msg);
}

TEST(whole_model_gradients_are_those_of_the_loss)
{
	struct tiny t;
	int checked = 0;
	tiny_init(&t, train_grad, 3);
	run(&t);
	double *first[128]; /* later runs add to the sums */
	for (int i = 0; i < t.ntensor; i++)
		first[i] = arena_copy(&t.a, t.tensor[i].p, (size_t)t.elements[i] * 8);
	for (int i = 0; i < t.ntensor; i++) {
		if (strncmp(t.tensor[i].name, "g.", 2))
			continue;
		double *w = tensor(&t, t.tensor[i].name + 2), *grad = first[i], scale = 1e-3;
		for (int64_t k = 0; k < t.elements[i]; k++)
			scale = fmax(scale, fabs(grad[k]));
		for (int64_t k = 0; k < t.elements[i]; k += 1 + t.elements[i] / 5, checked++) {
			double h = 1e-5, old = w[k];
			w[k] = old + h;
			run(&t);
			double up = *tensor(&t, "loss");
			w[k] = old - h;
			run(&t);
			double down = *tensor(&t, "loss");
			w[k] = old;
			double want = (up - down) / (2 * h);
			if (fabs(want - grad[k]) > 1e-6 * scale)
				FAIL("%s[%lld]: %.12g, by differences %.12g", t.tensor[i].name, (long long)k,
					grad[k], want);
		}
	}
	CHECK(checked > 50);
	arena_release(&t.a);
}

TEST(adamw_is_its_formula)
{
	struct tiny t;
	tiny_init(&t, train_update, 5);
	double rate = 0.01, c1 = 2.5, c2 = 7, clip = 0.3, norm = 0;
	*tensor(&t, "rate") = rate;
	*tensor(&t, "c1") = c1;
	*tensor(&t, "c2") = c2;
	*tensor(&t, "clip") = clip;
	struct arena a = {0};
	double *before[128];
	for (int i = 0; i < t.ntensor; i++) {
		before[i] = arena_copy(&a, t.tensor[i].p, (size_t)t.elements[i] * 8);
		for (int64_t k = 0; !strncmp(t.tensor[i].name, "g.", 2) && k < t.elements[i]; k++)
			norm += before[i][k] * before[i][k];
	}
	norm = sqrt(norm);
	run(&t);
	CHECK(fabs(*tensor(&t, "grad_norm") - norm) < 1e-12);
	int updated = 0;
	for (int i = 0; i < t.ntensor; i++) {
		const char *name = t.tensor[i].name;
		if (strncmp(name, "g.", 2))
			continue;
		int w = 0, m = 0, v = 0;
		for (int k = 0; k < t.ntensor; k++) {
			w = !strcmp(t.tensor[k].name, name + 2) ? k : w;
			m = t.tensor[k].name[0] == 'm' && !strcmp(t.tensor[k].name + 1, name + 1) ? k : m;
			v = t.tensor[k].name[0] == 'v' && !strcmp(t.tensor[k].name + 1, name + 1) ? k : v;
		}
		bool matrix = !strstr(name, "norm");
		for (int64_t k = 0; k < t.elements[i]; k++, updated++) {
			double g = before[i][k] * fmin(1, clip / (norm + 1e-6));
			double m1 = 0.9 * before[m][k] + 0.1 * g, v1 = 0.99 * before[v][k] + 0.01 * g * g;
			double step = m1 * c1 / (sqrt(v1 * c2) + 1e-8) + (matrix ? 0.1 * before[w][k] : 0);
			double want = before[w][k] - rate * step, got = ((double *)t.tensor[w].p)[k];
			if (fabs(want - got) > 1e-12)
				FAIL("%s[%lld]: want %.15g, got %.15g", name + 2, (long long)k, want, got);
			CHECK(((double *)t.tensor[i].p)[k] == 0);
		}
	}
	CHECK(updated > 100);
	arena_release(&a);
	arena_release(&t.a);
}

/* Steps of many tensors with equal axes would be one region, but a kernel takes 64 tensors. */
TEST(regions_read_no_more_than_a_kernel_takes)
{
	struct arena a = {0};
	struct graph *g = graph_new(&a, "steps");
	struct type scalar = {.dtype = DT_F32}, vector = {DT_F32, 1, {(uint8_t)graph_axis(g, "D", 8, false)}, 0};
	int rate = ir_leaf(g, OP_INPUT, "rate", scalar), nregion = 0;
	for (int i = 0; i < 100; i++) {
		int x = ir_leaf(g, OP_STATE, arena_printf(&a, "x%d", i), vector);
		int d = ir_leaf(g, OP_STATE, arena_printf(&a, "d%d", i), vector);
		ir_assign(g, x, ir_sub(g, x, ir_mul(g, rate, d)));
	}
	const struct graph *plan = graph_plan(&a, g);
	for (int r = 0; r < plan->nregion; r++, nregion++) {
		const struct region *region = &plan->region[r];
		bool *read = arena_array(&a, bool, plan->nnode);
		int n = 0;
		for (int k = 0; k < region->nnode; k++) {
			const struct node *m = &plan->node[region->node[k]];
			n += m->stored && m->op != OP_ASSIGN; /* that is where it was read */
			for (int s = 0; s < op_info[m->op].nsrc; s++) {
				n += plan->node[m->src[s]].region != r && !read[m->src[s]];
				read[m->src[s]] = true;
			}
		}
		CHECK(n <= 64);
	}
	CHECK(nregion > 4);
	arena_release(&a);
}
