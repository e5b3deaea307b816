/*
 * Training graphs of a tiny model in doubles: the gradients of every piece against central finite differences of
 * what it gives, and a step of AdamW against the formula written out. That they make up the whole is held by
 * torch_test.c, what generated code makes of them by emit_test.c, bit for bit.
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

static void add(struct tiny *t, const struct graph *g, const char *name, int node)
{
	if (tensor(t, name))
		return;
	int64_t n = layout_elements(g, &g->node[node].type, (struct layout){0});
	t->elements[t->ntensor] = n;
	t->tensor[t->ntensor++] = (struct interp_tensor){name, arena_alloc(&t->a, (size_t)n * 8)};
}

static bool is_gradient(const char *name)
{
	return !strncmp(name, "g.", 2);
}

/* Memory for all of a graph; of other graphs of the same names there is one. */
static void add_graph(struct tiny *t, const struct graph *g, struct rng *r)
{
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		if ((n->op != OP_INPUT && n->op != OP_PARAM && n->op != OP_STATE) || tensor(t, n->name))
			continue;
		add(t, g, n->name, i);
		for (int64_t k = 0; k < t->elements[t->ntensor - 1]; k++) {
			double *p = t->tensor[t->ntensor - 1].p;
			int32_t *ip = t->tensor[t->ntensor - 1].p;
			if (n->type.dtype == DT_I32)
				ip[k] = !strcmp(n->name, "pos") ? (int32_t)k % 4
					: !strcmp(n->name, "lo") ? (int32_t)(k - k % 4)
					: !strcmp(n->name, "hi") ? (int32_t)k + 1
					: !strcmp(n->name, "out") ? (int32_t)(ROWS - 1 - k)
								  : (int32_t)rng_below(r, 7);
			else
				p[k] = rng_uniform(r) - 0.5;
			if (!strncmp(n->name, "v.", 2))
				p[k] = fabs(p[k]);
		}
	}
	for (int i = 0; i < g->noutput; i++)
		add(t, g, g->output[i].name, g->output[i].node);
}

static void tiny_init(struct tiny *t)
{
	memset(t, 0, sizeof(*t));
	t->state = (struct state){.config = {.arch = &arch_llama, .layers = 3, .width = 6, .ffn = 5,
		.heads = 2, .kv_heads = 1, .head_dim = 4, .vocab = 7, .context = 16, .rms_eps = 1e-5f,
		.tied = true}, .has_attn = has_attn, .has_mlp = has_mlp};
	t->train = (struct train){.state = &t->state, .max_rows = ROWS, .trains = all_but_block_0, .beta1 = 0.9,
		.beta2 = 0.99, .eps = 1e-8, .decay = 0.1};
}

static void run(struct tiny *t, const struct graph *g)
{
	struct err e;
	int64_t dim[64];
	for (int i = 0; i < g->naxis; i++)
		dim[i] = !strcmp(g->axis[i].name, "O") ? ROWS - 2 : g->axis[i].extent;
	struct interp_call call = {INTERP_F64, dim, t->tensor, t->ntensor};
	if (!interp_run(g, &call, &e))
		FAIL("%s", e.msg);
}

/* What the gradients are of: the loss, or the sum of y * dy. */
static double objective(struct tiny *t, const struct graph *g)
{
	double sum = 0, *y, *dy = tensor(t, "dy");
	run(t, g);
	if (tensor(t, "loss"))
		return *tensor(t, "loss");
	y = tensor(t, "y");
	for (int i = 0; i < ROWS * 6; i++)
		sum += y[i] * dy[i];
	return sum;
}

/* d(objective)/d(name) as the back pass has it, of element k. */
static void check_gradient(struct tiny *t, const struct graph *forward, const char *name, const double *gradient,
	int64_t n)
{
	double *w = tensor(t, name), scale = 1e-3;
	for (int64_t k = 0; k < n; k++)
		scale = fmax(scale, fabs(gradient[k]));
	for (int64_t k = 0; k < n; k += 1 + n / 9) {
		double h = 1e-5, old = w[k];
		w[k] = old + h;
		double up = objective(t, forward);
		w[k] = old - h;
		double down = objective(t, forward);
		w[k] = old;
		double want = (up - down) / (2 * h);
		if (fabs(want - gradient[k]) > 1e-6 * scale)
			FAIL("%s %s[%lld]: %.12g, by differences %.12g", forward->name, name, (long long)k,
				gradient[k], want);
	}
}

/* Returns how many gradients there are. */
static int check_piece(struct tiny *t, const struct graph *forward, const struct graph *back, uint64_t seed)
{
	struct rng r;
	int checked = 0;
	rng_init(&r, seed);
	add_graph(t, forward, &r);
	add_graph(t, back, &r);
	if (forward != back) /* what attention gave */
		run(t, forward);
	double *before[128];
	for (int i = 0; i < t->ntensor; i++)
		before[i] = arena_copy(&t->a, t->tensor[i].p, (size_t)t->elements[i] * 8);
	run(t, back);
	double *gradient[128]; /* later runs add to the sums */
	for (int i = 0; i < t->ntensor; i++)
		gradient[i] = arena_copy(&t->a, t->tensor[i].p, (size_t)t->elements[i] * 8);
	for (int i = 0; i < t->ntensor; i++) {
		const char *name = t->tensor[i].name;
		int64_t n = t->elements[i];
		double *after = gradient[i];
		if (!is_gradient(name) && strcmp(name, "dx") != 0)
			continue;
		bool of_x = !is_gradient(name);
		const double *had = of_x ? tensor(t, "dy") : before[i];
		for (int64_t k = 0; k < n && (!of_x || forward == back); k++)
			after[k] -= had[k];
		check_gradient(t, forward, of_x ? "x" : name + 2, after, n);
		checked++;
	}
	return checked;
}

TEST(gradients_of_every_piece_are_those_of_what_it_gives)
{
	struct tiny t;
	tiny_init(&t);
	CHECK_INT(check_piece(&t, train_embed(&t.a, &t.train), train_embed_back(&t.a, &t.train), 3), 1);
	for (int layer = 0; layer < 3; layer++)
		for (int half = 0; half < NHALVES; half++) {
			struct arena *a = &t.a;
			arena_release(a);
			tiny_init(&t);
			struct graph *back = train_half_back(a, &t.train, (enum half)half, layer);
			int n = check_piece(&t, train_half(a, &t.train, (enum half)half, layer), back, 4 + (uint64_t)layer);
			CHECK_INT(n, layer == 0 ? 1 : half == HALF_ATTN ? 6 : 5);
		}
	arena_release(&t.a);
	tiny_init(&t);
	struct graph *head = train_head(&t.a, &t.train);
	CHECK_INT(check_piece(&t, head, head, 9), 3);
	arena_release(&t.a);
}

TEST(adamw_is_its_formula)
{
	struct tiny t;
	struct rng r;
	rng_init(&r, 5);
	tiny_init(&t);
	struct graph *update = train_update(&t.a, &t.train);
	add_graph(&t, update, &r);
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
	run(&t, update);
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
