/*
 * Attention and its three gradients, in the order of arithmetic that ir.h fixes.
 *
 * Both modes run the same code: reals travel as doubles, and the exact mode's operations round each
 * result to float, which a double holds exactly.
 */
#include "interp_op.h"

#include <math.h>

#include "recipe.h"

struct arith;

/* Axis groups as ir.h names them, flattened; xy[i]: where element i of group y lies in what is
 * like operand x. */
struct heads {
	int64_t nn, nb, ng, nc, nslot;
	const int64_t *qn, *qb, *qg, *qc;
	const int64_t *kb, *ks, *kc;
	const int64_t *db, *dg, *ds, *dc; /* of the result, if it has slots */
};

/* The exact mode's exp is the recipe, run on one number at a time. */
struct attention {
	struct eval *v;
	const struct arith *ar;
	struct heads h;
	struct arena rows; /* of one row */
	const struct graph *exp;
	union cell *exp_value; /* one per node of exp */
};

struct arith {
	double (*add)(double, double);
	double (*sub)(double, double);
	double (*mul)(double, double);
	double (*div)(double, double);
	double (*fma)(double, double, double);
	double (*exp)(const struct attention *, double);
	double (*sum)(const double *, int64_t, struct arena *);
};

static double add_f32(double a, double b) { return (float)a + (float)b; }
static double sub_f32(double a, double b) { return (float)a - (float)b; }
static double mul_f32(double a, double b) { return (float)a * (float)b; }
static double div_f32(double a, double b) { return (float)a / (float)b; }
static double fma_f32(double a, double b, double c) { return fmaf((float)a, (float)b, (float)c); }

static double exp_f32(const struct attention *t, double x)
{
	return map_scalar(t->exp, (union cell){.f = (float)x}, t->exp_value).f;
}

static double sum_f32(const double *x, int64_t n, struct arena *a)
{
	float *f = arena_array(a, float, (size_t)n);
	for (int64_t i = 0; i < n; i++)
		f[i] = (float)x[i];
	return lanes_sum(f, n);
}

static double add_f64(double a, double b) { return a + b; }
static double sub_f64(double a, double b) { return a - b; }
static double mul_f64(double a, double b) { return a * b; }
static double div_f64(double a, double b) { return a / b; }

static double exp_f64(const struct attention *t, double x)
{
	(void)t;
	return exp(x);
}

static double sum_f64(const double *x, int64_t n, struct arena *a)
{
	(void)a;
	double sum = 0;
	for (int64_t i = 0; i < n; i++)
		sum += x[i];
	return sum;
}

static const struct arith exact = {add_f32, sub_f32, mul_f32, div_f32, fma_f32, exp_f32, sum_f32};
static const struct arith f64 = {add_f64, sub_f64, mul_f64, div_f64, fma, exp_f64, sum_f64};

/* One row of q against its slots. */
struct row {
	int64_t n, b, g;     /* indices of the groups */
	int64_t lo, nslot;   /* slots lo <= s < lo + nslot */
	double *p, l;        /* p(s) and their sum */
};

static void add_axis(struct type *t, int axis)
{
	t->axis[t->naxis++] = (uint8_t)axis;
}

static void heads_init(struct heads *h, struct eval *v)
{
	const struct type *q = src_type(v, 0), *k = src_type(v, 1);
	struct type n = {0}, b = {0}, g = {0}, c = {0}, slot = {0};
	int at = type_axis_position(k, v->node->axis);
	add_axis(&n, q->axis[0]);
	add_axis(&slot, v->node->axis);
	for (int i = 0; i < at; i++)
		add_axis(&b, k->axis[i]);
	for (int i = at + 1; i < k->naxis; i++)
		add_axis(&c, k->axis[i]);
	for (int i = 1; i < q->naxis; i++)
		if (!type_has_axis(&b, q->axis[i]) && !type_has_axis(&c, q->axis[i]))
			add_axis(&g, q->axis[i]);
	*h = (struct heads){
		.nn = count(v->call, &n), .nb = count(v->call, &b), .ng = count(v->call, &g),
		.nc = count(v->call, &c), .nslot = count(v->call, &slot),
		.qn = offsets_in(v, &n, q), .qb = offsets_in(v, &b, q),
		.qg = offsets_in(v, &g, q), .qc = offsets_in(v, &c, q),
		.kb = offsets_in(v, &b, k), .ks = offsets_in(v, &slot, k),
		.kc = offsets_in(v, &c, k),
	};
	if (v->node->op == OP_ATTENTION_DK || v->node->op == OP_ATTENTION_DV) {
		h->db = offsets_in(v, &b, &v->node->type);
		h->dg = offsets_in(v, &g, &v->node->type);
		h->ds = offsets_in(v, &slot, &v->node->type);
		h->dc = offsets_in(v, &c, &v->node->type);
	}
}

static double real(const struct attention *t, const union cell *c)
{
	return t->ar == &f64 ? c->d : (double)c->f;
}

static void set_real(const struct attention *t, union cell *c, double x)
{
	if (t->ar == &f64)
		c->d = x;
	else
		c->f = (float)x;
}

/* Offsets of element c of row r in what is like q, and of slot s in what is like k. */
static int64_t in_q(const struct attention *t, const struct row *r, int64_t c)
{
	return t->h.qn[r->n] + t->h.qb[r->b] + t->h.qg[r->g] + t->h.qc[c];
}

static int64_t in_k(const struct attention *t, const struct row *r, int64_t s, int64_t c)
{
	return t->h.kb[r->b] + t->h.ks[s] + t->h.kc[c];
}

static double q_like(const struct attention *t, int src, const struct row *r, int64_t c)
{
	return real(t, &t->v->src[src][in_q(t, r, c)]);
}

static double k_like(const struct attention *t, int src, const struct row *r, int64_t s, int64_t c)
{
	const union cell *x = &t->v->src[src][in_k(t, r, s, c)];
	if (t->ar == &exact && dtype_has_blocks(src_type(t->v, src)->dtype))
		return (double)((float)x->q.i * x->q.scale);
	return real(t, x);
}

/* The chain of fma over c of source `a` (like q) and source `b` (like k) at slot s. */
static double chain(const struct attention *t, int a, int b, const struct row *r, int64_t s)
{
	double acc = 0;
	for (int64_t c = 0; c < t->h.nc; c++)
		acc = t->ar->fma(q_like(t, a, r, c), k_like(t, b, r, s, c), acc);
	return acc;
}

static bool row_init(struct attention *t, struct row *r, struct err *e)
{
	int32_t lo = t->v->src[3][r->n].i, hi = t->v->src[4][r->n].i;
	if (lo < 0 || hi <= lo || hi > t->h.nslot)
		return err_set(e, ERR_SPEC, "op '%s': row %lld attends slots %d to %d of %lld",
			op_info[t->v->node->op].name, (long long)r->n, lo, hi,
			(long long)t->h.nslot);
	r->lo = lo;
	r->nslot = hi - lo;
	r->p = arena_array(&t->rows, double, (size_t)r->nslot);
	double max = -INFINITY;
	for (int64_t i = 0; i < r->nslot; i++) {
		r->p[i] = chain(t, 0, 1, r, lo + i);
		max = max > r->p[i] ? max : r->p[i];
	}
	for (int64_t i = 0; i < r->nslot; i++)
		r->p[i] = t->ar->exp(t, t->ar->sub(r->p[i], max));
	r->l = t->ar->sum(r->p, r->nslot, &t->rows);
	return true;
}

static void row_forward(struct attention *t, const struct row *r)
{
	for (int64_t c = 0; c < t->h.nc; c++) {
		double o = 0;
		for (int64_t from = 0; from < r->nslot; from += PV_CHUNK) {
			int64_t to = from + PV_CHUNK < r->nslot ? from + PV_CHUNK : r->nslot;
			double acc = 0;
			for (int64_t i = from; i < to; i++)
				acc = t->ar->fma(r->p[i], k_like(t, 2, r, r->lo + i, c), acc);
			o = from ? t->ar->add(o, acc) : acc;
		}
		set_real(t, &t->v->out[in_q(t, r, c)], t->ar->div(o, r->l));
	}
}

static int64_t in_result(const struct attention *t, const struct row *r, int64_t s, int64_t c)
{
	return t->h.db[r->b] + t->h.dg[r->g] + t->h.ds[s] + t->h.dc[c];
}

static void accumulate(const struct attention *t, int64_t at, double a, double b)
{
	union cell *out = &t->v->out[at];
	set_real(t, out, t->ar->fma(a, b, real(t, out)));
}

/* Outputs start from 0, and rows come in order: every chain is as ir.h says. */
static void row_gradient(struct attention *t, const struct row *r)
{
	enum op op = t->v->node->op;
	double delta = 0;
	for (int64_t c = 0; c < t->h.nc; c++)
		delta = t->ar->fma(q_like(t, 6, r, c), q_like(t, 5, r, c), delta);
	for (int64_t i = 0; i < r->nslot; i++) {
		int64_t s = r->lo + i;
		double w = t->ar->mul(r->p[i], t->ar->div(1, r->l));
		double ds = t->ar->mul(w, t->ar->sub(chain(t, 6, 2, r, s), delta));
		for (int64_t c = 0; c < t->h.nc; c++) {
			if (op == OP_ATTENTION_DQ)
				accumulate(t, in_q(t, r, c), ds, k_like(t, 1, r, s, c));
			else if (op == OP_ATTENTION_DK)
				accumulate(t, in_result(t, r, s, c), ds, q_like(t, 0, r, c));
			else
				accumulate(t, in_result(t, r, s, c), w, q_like(t, 6, r, c));
		}
	}
}

static bool all_rows(struct eval *v, void (*run)(struct attention *, const struct row *),
	struct err *e)
{
	struct attention t = {.v = v, .ar = eval_f64(v) ? &f64 : &exact};
	struct row r;
	bool ok = true;
	heads_init(&t.h, v);
	t.exp = recipe_graph(v->scratch, OP_EXP);
	t.exp_value = arena_array(v->scratch, union cell, (size_t)t.exp->nnode);
	for (r.n = 0; ok && r.n < t.h.nn; r.n++)
		for (r.b = 0; ok && r.b < t.h.nb; r.b++)
			for (r.g = 0; ok && r.g < t.h.ng; r.g++) {
				ok = row_init(&t, &r, e);
				if (ok)
					run(&t, &r);
				arena_release(&t.rows);
			}
	return ok;
}

bool eval_attention(struct eval *v, struct err *e)
{
	return all_rows(v, row_forward, e);
}

/* 0 + x. */
static void settle_zeros(struct eval *v)
{
	const struct type *t = &v->node->type;
	const int64_t *at = offsets_in(v, t, t);
	for (int64_t i = 0; i < count(v->call, t); i++) {
		if (eval_f64(v))
			v->out[at[i]].d += 0;
		else
			v->out[at[i]].f += 0;
	}
}

bool eval_attention_grad(struct eval *v, struct err *e)
{
	if (!all_rows(v, row_gradient, e))
		return false;
	settle_zeros(v);
	return true;
}
