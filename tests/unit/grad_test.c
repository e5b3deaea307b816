/*
 * Gradients against central finite differences in f64 mode: every op with a row in ops.h's gradient
 * column must stand in a case below. Sizes are random, 1 and primes among them; the axis R is
 * dynamic and mostly shorter than its maximum.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph_run.h"

enum { TRIALS = 6, MAX_WRT = 16 };

static const char *const gradient_of[NOPS] = {
#define OP(id, name, class, nsrc, shape, grad) #grad,
#include "ops.h"
#undef OP
};

#define X "%x = param name=x : f32 (A,B)\n"
#define QKV                                                                                        \
	"%q = param name=q : f32 (R,K,G,E)\n%k = param name=k : f32 (K,S,E)\n"                      \
	"%v = param name=v : f32 (K,S,E)\n%lo = input name=lo : i32 (R)\n"                         \
	"%hi = input name=hi : i32 (R)\n"

#define NORM(y, x, weight)                                                                         \
	"%" y "2 = mul %" x " %" x " : f32 (R,D)\n%" y "s = sum %" y "2 : f32 (R)\n"               \
	"%" y "m = mul %" y "s %third : f32 (R)\n%" y "e = add %" y "m %eps : f32 (R)\n"           \
	"%" y "r = sqrt %" y "e : f32 (R)\n%" y "n = div %" x " %" y "r : f32 (R,D)\n"             \
	"%" y "w = mul %" y "n %" weight " : f32 (R,D)\n%" y " = cast %" y "w : bf16 (R,D)\n"
#define WEIGHT(w, axes)                                                                            \
	"%" w "master = param name=" w " : f32 " axes "\n%" w " = cast %" w "master : bf16 " axes "\n"
#define ROPE(y, x, axes)                                                                           \
	"%" y "f = flip axis=X %" x " : f32 " axes "\n%" y "c = mul %" x " %cos : f32 " axes "\n"   \
	"%" y "t = mul %" y "f %turn : f32 " axes "\n%" y " = add %" y "c %" y "t : f32 " axes "\n"

/* A decoder layer with its loss: norms, RoPE, grouped attention over packed rows, SiLU, both
 * residuals, cross entropy per row. */
#define BLOCK                                                                                      \
	"%third = const value=0.3 : f32 ()\n%eps = const value=1e-3 : f32 ()\n"                    \
	"%one = const value=1 : f32 ()\n%x = param name=x : f32 (R,D)\n"                           \
	"%g1 = param name=g1 : f32 (D)\n%g2 = param name=g2 : f32 (D)\n"                           \
	"%lo = input name=lo : i32 (R)\n%hi = input name=hi : i32 (R)\n%i = input name=i : i32 (R)\n" \
	"%position = iota : i32 (R)\n%p = to_f32 %position : f32 (R)\n"                            \
	"%frequency = input name=frequency : f32 (E)\n%angle = mul %p %frequency : f32 (R,E)\n"     \
	"%cos = cos %angle : f32 (R,E)\n%sin = sin %angle : f32 (R,E)\n%minus = neg %sin : f32 (R,E)\n" \
	"%half = iota : i32 (X)\n%turn = select %half %sin %minus : f32 (R,X,E)\n"                  \
	WEIGHT("wq", "(K,G,X,E,D)") WEIGHT("wk", "(K,X,E,D)") WEIGHT("wv", "(K,X,E,D)")            \
	WEIGHT("wo", "(D,K,G,X,E)") WEIGHT("gate", "(F,D)") WEIGHT("up", "(F,D)")                  \
	WEIGHT("down", "(D,F)") WEIGHT("head", "(V,D)")                                            \
	NORM("h", "x", "g1")                                                                       \
	"%q0 = dot %h %wq : f32 (R,K,G,X,E)\n%k0 = dot %h %wk : f32 (R,K,X,E)\n"                   \
	"%v0 = dot %h %wv : f32 (R,K,X,E)\n"                                                       \
	ROPE("q", "q0", "(R,K,G,X,E)") ROPE("k1", "k0", "(R,K,X,E)")                               \
	"%k2 = cast %k1 : bf16 (R,K,X,E)\n%k = expand %k2 : bf16 (K,R,X,E)\n"                      \
	"%v2 = cast %v0 : bf16 (R,K,X,E)\n%v = expand %v2 : bf16 (K,R,X,E)\n"                      \
	"%a0 = attention axis=R %q %k %v %lo %hi : f32 (R,K,G,X,E)\n"                              \
	"%a = cast %a0 : bf16 (R,K,G,X,E)\n%o = dot %a %wo : f32 (R,D)\n%y = add %x %o : f32 (R,D)\n" \
	NORM("m", "y", "g2")                                                                       \
	"%u = dot %m %gate : f32 (R,F)\n%w = dot %m %up : f32 (R,F)\n%nu = neg %u : f32 (R,F)\n"  \
	"%eu = exp %nu : f32 (R,F)\n%su = add %eu %one : f32 (R,F)\n%silu = div %u %su : f32 (R,F)\n" \
	"%f0 = mul %silu %w : f32 (R,F)\n%f = cast %f0 : bf16 (R,F)\n"                             \
	"%d = dot %f %down : f32 (R,D)\n%out = add %y %d : f32 (R,D)\n"                           \
	"%b = cast %out : bf16 (R,D)\n%logits = dot %b %head : f32 (R,V)\n"                        \
	"%most = rmax %logits : f32 (R)\n%less = sub %logits %most : f32 (R,V)\n"                  \
	"%ex = exp %less : f32 (R,V)\n%total = sum %ex : f32 (R)\n%log = log %total : f32 (R)\n"   \
	"%v9 = iota : i32 (V)\n%gold = eq %v9 %i : i32 (R,V)\n%zero = const value=0 : f32 ()\n"    \
	"%picked = select %gold %less %zero : f32 (R,V)\n%at = sum %picked : f32 (R)\n"            \
	"%z = sub %log %at : f32 (R)\n"

/* axes: one letter each. The loss is the sum of z, weighted at random. i32 leaves hold indices of V,
 * lo and hi ranges of slots; all others random numbers, all positive if `positive`. */
static const struct grad_case {
	const char *axes, *graph;
	bool positive;
} cases[] = {
	{"ABR", "%x = param name=x : f32 (A,R)\n%y = param name=y : f32 (R,B)\n"
		"%z = add %x %y : f32 (A,R,B)\n", false},
	{"AB", X "%y = param name=y : f32 (B,A)\n%z = sub %x %y : f32 (A,B)\n", false},
	{"AB", X "%y = param name=y : f32 (B)\n%u = sub %y %x : f32 (A,B)\n%z = sub %u %u : f32 (A,B)\n",
		false},
	{"ABR", "%x = param name=x : f32 (A,R)\n%y = param name=y : f32 (R,B)\n"
		"%z = mul %x %y : f32 (B,A,R)\n", false},
	{"AB", X "%z = mul %x %x : f32 (A,B)\n", false},
	{"AB", X "%y = param name=y : f32 (A)\n%z = div %y %x : f32 (A,B)\n", true},
	{"AB", X "%y = param name=y : f32 (B,A)\n%z = min %x %y : f32 (A,B)\n", false},
	{"AB", X "%y = param name=y : f32 ()\n%z = max %x %y : f32 (A,B)\n", false},
	{"AB", X "%y = param name=y : f32 (A)\n%c = param name=c : f32 (B)\n"
		"%z = fma %y %c %x : f32 (A,B)\n", false},
	{"AB", X "%z = neg %x : f32 (A,B)\n", false},
	{"AB", X "%z = sqrt %x : f32 (A,B)\n", true},
	{"AB", X "%y = param name=y : f32 (B)\n%c = lt %x %y : i32 (A,B)\n"
		"%u = mul %x %x : f32 (A,B)\n%z = select %c %u %y : f32 (A,B)\n", false},
	{"AB", X "%z = exp %x : f32 (A,B)\n", false},
	{"AB", X "%z = log %x : f32 (A,B)\n", true},
	{"AB", X "%z = sin %x : f32 (A,B)\n", false},
	{"AB", X "%z = cos %x : f32 (A,B)\n", false},
	{"AB", X "%h = cast %x : bf16 (A,B)\n%f = cast %h : f32 (A,B)\n%z = mul %f %h : f32 (A,B)\n", false},
	{"ABR", "%x = param name=x : f32 (A,R)\n%z = expand %x : f32 (R,B,A)\n", false},
	{"AB", X "%u = flip axis=A %x : f32 (A,B)\n%z = mul %x %u : f32 (A,B)\n", false},
	{"ABR", "%x = param name=x : f32 (R,A,B)\n%z = sum %x : f32 (A)\n", false},
	{"ABR", "%x = param name=x : f32 (R,A,B)\n%s = sum %x : f32 ()\n%z = mul %s %x : f32 (R,A,B)\n", false},
	{"ABR", "%x = param name=x : f32 (R,A)\n%y = param name=y : f32 (B,A)\n"
		"%z = dot %x %y : f32 (R,B)\n", false},
	{"ABR", "%x = param name=x : f32 (A,R)\n%y = param name=y : f32 (R,B)\n"
		"%z = dot %x %y : f32 (B,A)\n", false},
	{"ABR", "%x = param name=x : f32 (R,A,B)\n%y = param name=y : f32 (B,A)\n"
		"%z = dot %x %y : f32 (R)\n", false},
	{"AR", "%x = param name=x : f32 (R,A)\n%y = param name=y : f32 (A)\n"
		"%z = dot %y %x : f32 (R)\n", false},
	{"ABR", "%x = param name=x : f32 (R,A)\n%y = param name=y : bf16 (B,A)\n"
		"%h = cast %x : bf16 (R,A)\n%z = dot %h %y : f32 (R,B)\n", false},
	{"ABVR", "%x = param name=x : f32 (V,A,B)\n%i = input name=i : i32 (R)\n"
		"%z = gather axis=V %x %i : f32 (R,A,B)\n", false},
	{"AVR", "%x = param name=x : bf16 (A,V)\n%i = input name=i : i32 (R)\n"
		"%z = gather axis=V %x %i : bf16 (R,A)\n", false},
	{"EGKSR", QKV "%z = attention axis=S %q %k %v %lo %hi : f32 (R,K,G,E)\n", false},
	{"EGKSR", QKV "%hk = cast %k : bf16 (K,S,E)\n%hv = cast %v : bf16 (K,S,E)\n"
		"%o = attention axis=S %q %hk %hv %lo %hi : f32 (R,K,G,E)\n"
		"%z = mul %o %q : f32 (R,K,G,E)\n", false},
	{"EGR", "%q = param name=q : f32 (R,G,E)\n%k = param name=k : f32 (R,E)\n"
		"%v = param name=v : f32 (R,E)\n%lo = input name=lo : i32 (R)\n"
		"%hi = input name=hi : i32 (R)\n"
		"%z = attention axis=R %q %k %v %lo %hi : f32 (R,G,E)\n", false},
	/* log softmax: the gradient through the maximum is zero, and rightly so. */
	{"AB", X "%m = rmax %x : f32 (A)\n%d = sub %x %m : f32 (A,B)\n%e = exp %d : f32 (A,B)\n"
		"%s = sum %e : f32 (A)\n%l = log %s : f32 (A)\n%z = sub %d %l : f32 (A,B)\n", false},
	/* RMS norm, a weight, a residual: sources used more than once. */
	{"ABR", "%x = param name=x : f32 (R,A)\n%g = param name=g : f32 (A)\n"
		"%w = param name=y : f32 (B,A)\n%s = mul %x %x : f32 (R,A)\n%t = sum %s : f32 (R)\n"
		"%r = sqrt %t : f32 (R)\n%n = div %x %r : f32 (R,A)\n%m = mul %n %g : f32 (R,A)\n"
		"%u = dot %m %w : f32 (R,B)\n%d = dot %u %w : f32 (R,A)\n%z = add %d %x : f32 (R,A)\n",
		true},
	{"DEFGKRVX", BLOCK, false},
};

struct trial {
	struct graph_run r;
	int nwrt, wrt[MAX_WRT], dwrt[MAX_WRT]; /* nodes of g */
	int source[MAX_WRT], gradient[MAX_WRT]; /* tensors of r; gradient -1: none */
};

/* The case's graph with random extents, the loss and the gradients appended. */
static bool trial_graph(struct trial *t, const struct grad_case *c, struct rng *rng, int number)
{
	static const int sizes[] = {2, 3, 1, 5};
	struct strbuf text;
	struct arena *a = &t->r.arena;
	strbuf_init(&text);
	/* With many axes there are many elements, hence many differences. */
	size_t nsizes = strlen(c->axes) > 5 ? 2 : NELEM(sizes);
	for (const char *p = c->axes; *p; p++) {
		int extent = *p == 'X' ? 2 : number ? sizes[rng_below(rng, nsizes)] : 1;
		strbuf_addf(&text, "axis %c %d%s\n", *p, extent, *p == 'R' ? " dynamic" : "");
	}
	strbuf_adds(&text, c->graph);
	struct err e;
	struct graph *g;
	bool ok = graph_parse(a, strbuf_buf(&text), NULL, &g, &e);
	if (!ok)
		FAIL("%d:%d: %s\n%s", e.line, e.col, e.msg, text.s);
	strbuf_release(&text);
	if (!ok)
		return false;
	int z = g->nnode - 1;
	t->nwrt = 0;
	for (int i = 0; i < g->nnode; i++)
		if (g->node[i].op == OP_PARAM)
			t->wrt[t->nwrt++] = i;
	struct type type = g->node[z].type;
	type.dtype = DT_F32;
	int weighted = ir_mul(g, z, ir_leaf(g, OP_INPUT, "weights", type));
	int loss = type.naxis ? ir_reduce(g, OP_SUM, weighted, (struct type){0}) : weighted;
	graph_gradient(g, loss, t->wrt, t->nwrt, t->dwrt);
	graph_add_output(g, "loss", loss);
	for (int i = 0; i < t->nwrt; i++)
		if (t->dwrt[i] >= 0)
			graph_add_output(g, arena_printf(a, "gradient_%d", i), t->dwrt[i]);
	if (!graph_check(g, &e)) {
		FAIL("%s", e.msg);
		return false;
	}
	return graph_run_init(&t->r, g);
}

static void fill(struct trial *t, const struct grad_case *c, struct rng *rng)
{
	struct graph_run *r = &t->r;
	for (int i = 0; i < r->ntensor; i++) {
		const struct node *n = &r->g->node[r->node[i]];
		if (op_info[n->op].class != CLASS_LEAF)
			continue;
		for (int64_t k = 0; k < graph_run_elements(r, i); k++) {
			double x = 0.5 + rng_uniform(rng);
			if (!c->positive && rng_below(rng, 2))
				x = -x;
			if (n->type.dtype == DT_I32) { /* V's index, or the slots lo <= s < hi */
				int axis = graph_find_axis(r->g, n->name[0] == 'i' ? "V"
					: strchr(c->axes, 'S') ? "S" : "R");
				int64_t extent = r->dim[axis];
				x = (double)rng_below(rng, (uint64_t)extent);
				x = n->name[0] == 'l' ? floor(x / 2) : n->name[0] == 'h'
					? floor((double)(extent - 1) / 2) + 1 : x;
			}
			graph_run_set(r, i, k, x);
		}
	}
}

static bool trial_init(struct trial *t, const struct grad_case *c, struct rng *rng, int number)
{
	char name[32];
	if (!trial_graph(t, c, rng, number))
		return false;
	int rows = graph_find_axis(t->r.g, "R");
	if (rows >= 0 && number % 3 && t->r.dim[rows] > 1)
		t->r.dim[rows]--;
	fill(t, c, rng);
	for (int i = 0; i < t->nwrt; i++) {
		t->source[i] = graph_run_tensor(&t->r, t->r.g->node[t->wrt[i]].name);
		snprintf(name, sizeof(name), "gradient_%d", i);
		t->gradient[i] = t->dwrt[i] < 0 ? -1 : graph_run_tensor(&t->r, name);
	}
	return true;
}

/* d(loss) / d(element k of wrt i). */
static double difference(struct trial *t, int i, int64_t k)
{
	struct graph_run *r = &t->r;
	double x = graph_run_get(r, t->source[i], k), h = 1e-5, loss[2];
	struct interp_tensor all[GRAPH_RUN_TENSORS];
	int n = 0;
	for (int m = 0; m < r->ntensor; m++) /* the gradients themselves are not wanted here */
		if (strncmp(r->tensor[m].name, "gradient", 8))
			all[n++] = r->tensor[m];
	struct interp_call call = {INTERP_F64, r->dim, all, n};
	struct err e;
	for (int side = 0; side < 2; side++) {
		graph_run_set(r, t->source[i], k, side ? x + h : x - h);
		if (!interp_run(r->g, &call, &e))
			FAIL("%s", e.msg);
		loss[side] = graph_run_get(r, graph_run_tensor(r, "loss"), 0);
	}
	graph_run_set(r, t->source[i], k, x);
	return (loss[1] - loss[0]) / (2 * h);
}

static void check_gradients(struct trial *t, const struct grad_case *c)
{
	if (!graph_run_go(&t->r))
		return;
	for (int i = 0; i < t->nwrt; i++)
		for (int64_t k = 0; k < graph_run_elements(&t->r, t->source[i]); k++) {
			double want = difference(t, i, k);
			double got = t->gradient[i] < 0 ? 0 : graph_run_get(&t->r, t->gradient[i], k);
			if (fabs(got - want) > 1e-6 * fmax(1, fabs(want)))
				FAIL("d %s[%lld] is %.9g, not %.9g, in\n%s", t->r.tensor[t->source[i]].name,
					(long long)k, got, want, c->graph);
		}
}

TEST(grad_of_every_op_is_its_finite_difference)
{
	bool seen[NOPS] = {0};
	struct rng rng;
	rng_init(&rng, 5);
	for (size_t i = 0; i < NELEM(cases); i++)
		for (int number = 0; number < TRIALS; number++) {
			struct trial t = {.r = {.mode = INTERP_F64}};
			if (trial_init(&t, &cases[i], &rng, number)) {
				check_gradients(&t, &cases[i]);
				for (int k = 0; k < graph_find_leaf(t.r.g, "weights"); k++)
					seen[t.r.g->node[k].op] = true;
			}
			graph_run_release(&t.r);
		}
	for (int op = 0; op < NOPS; op++)
		if (!seen[op] && strcmp(gradient_of[op], "none") && strcmp(gradient_of[op], "zero"))
			FAIL("op '%s' has gradient '%s' and no case", op_info[op].name, gradient_of[op]);
}

/* The same graphs and numbers, rounded: what runs for real is near what was differentiated, and the
 * planned form has the same bits. */
TEST(grad_in_exact_mode_is_near_f64_mode)
{
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct trial exact = {.r = {.mode = INTERP_EXACT}}, real = {.r = {.mode = INTERP_F64}};
		struct rng rng;
		rng_init(&rng, i);
		REQUIRE(trial_init(&exact, &cases[i], &rng, 2));
		rng_init(&rng, i);
		REQUIRE(trial_init(&real, &cases[i], &rng, 2));
		for (int k = 0; k < real.r.ntensor; k++) /* equal inputs, as far as bf16 has rounded them */
			for (int64_t m = 0; m < graph_run_elements(&real.r, k); m++)
				graph_run_set(&real.r, k, m, graph_run_get(&exact.r, k, m));
		REQUIRE(graph_run_go(&exact.r) && graph_run_go(&real.r));
		struct graph_run planned = {0};
		graph_run_planned(&planned, &exact.r);
		graph_run_check_text(&planned);
		if (graph_run_go(&planned))
			graph_run_check_same(&planned, &exact.r);
		graph_run_release(&planned);
		double tolerance = strstr(cases[i].graph, "bf16") ? 0.1 : 1e-4;
		for (int w = 0; w < real.nwrt; w++)
			for (int64_t k = 0; k < graph_run_elements(&real.r, real.source[w]); k++) {
				if (real.gradient[w] < 0)
					continue;
				double got = graph_run_get(&exact.r, exact.gradient[w], k);
				double want = graph_run_get(&real.r, real.gradient[w], k);
				if (fabs(got - want) > tolerance * fmax(1, fabs(want)))
					FAIL("gradient %d[%lld] is %g, not %g, in\n%s", w, (long long)k, got, want,
						cases[i].graph);
			}
		graph_run_release(&exact.r);
		graph_run_release(&real.r);
	}
}

/* What the loss does not depend on, or only through an op whose gradient is zero, has none. */
TEST(grad_stops_where_it_should)
{
	struct arena a = {0};
	struct graph *g = graph_new(&a, "stops");
	struct type scalar = {.dtype = DT_F32};
	int x = ir_leaf(g, OP_PARAM, "x", scalar), y = ir_leaf(g, OP_PARAM, "y", scalar);
	int z = ir_leaf(g, OP_PARAM, "z", scalar), n = g->nnode;
	int wrt[] = {x, y, z}, d[3];
	int stopped = ir_add(g, ir_unary(g, OP_STOP, x), ir_unary(g, OP_RINT, y));
	graph_gradient(g, ir_mul(g, stopped, z), wrt, 3, d);
	CHECK_INT(d[0], -1);
	CHECK_INT(d[1], -1);
	CHECK(d[2] >= 0);
	n = g->nnode;
	graph_gradient(g, x, &y, 1, d);
	CHECK_INT(d[0], -1);
	CHECK_INT(g->nnode, n); /* nothing appended for nothing */
	graph_gradient(g, x, &x, 1, d);
	CHECK(g->node[d[0]].op == OP_CONST && g->node[d[0]].value == 1);
	arena_release(&a);
}
