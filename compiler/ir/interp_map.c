/* The elementwise ops, one function per op and kind of number. */
#include <immintrin.h>
#include <math.h>

#include "interp_op.h"

#define FN(id, field, expr)                                                                        \
	static union cell id(const union cell *s)                                                  \
	{                                                                                          \
		return (union cell){.field = (expr)};                                              \
	}

/* min, max and compares are arithmetic: a denormal source counts as 0 of its sign (DAZ), and no
 * compiler may turn that into a plain copy. */
static float daz(union cell c)
{
	return (union cell){.u = c.u & 0x7f800000 ? c.u : c.u & 0x80000000}.f;
}

FN(add_f32, f, s[0].f + s[1].f)
FN(add_i32, u, s[0].u + s[1].u)
FN(add_f64, d, s[0].d + s[1].d)
FN(sub_f32, f, s[0].f - s[1].f)
FN(sub_i32, u, s[0].u - s[1].u)
FN(sub_f64, d, s[0].d - s[1].d)
FN(mul_f32, f, s[0].f * s[1].f)
FN(mul_i32, u, s[0].u * s[1].u)
FN(mul_f64, d, s[0].d * s[1].d)
FN(div_f32, f, s[0].f / s[1].f)
FN(div_f64, d, s[0].d / s[1].d)
FN(min_f32, f, daz(s[0]) < daz(s[1]) ? daz(s[0]) : daz(s[1]))
FN(min_i32, i, s[0].i < s[1].i ? s[0].i : s[1].i)
FN(min_f64, d, s[0].d < s[1].d ? s[0].d : s[1].d)
FN(max_f32, f, daz(s[0]) > daz(s[1]) ? daz(s[0]) : daz(s[1]))
FN(max_i32, i, s[0].i > s[1].i ? s[0].i : s[1].i)
FN(max_f64, d, s[0].d > s[1].d ? s[0].d : s[1].d)
FN(fma_f32, f, fmaf(s[0].f, s[1].f, s[2].f))
FN(fma_f64, d, fma(s[0].d, s[1].d, s[2].d))
FN(neg_f32, u, s[0].u ^ 0x80000000)
FN(neg_f64, d, -s[0].d)
FN(sqrt_f32, f, sqrtf(s[0].f))
FN(sqrt_f64, d, sqrt(s[0].d))
FN(rint_f32, f, rintf(daz(s[0])))
FN(rint_f64, d, rint(s[0].d))
FN(lt_f32, i, daz(s[0]) < daz(s[1]))
FN(lt_i32, i, s[0].i < s[1].i)
FN(lt_f64, i, s[0].d < s[1].d)
FN(eq_f32, i, daz(s[0]) == daz(s[1]))
FN(eq_i32, i, s[0].i == s[1].i)
FN(eq_f64, i, s[0].d == s[1].d)
FN(and_i32, u, s[0].u & s[1].u)
FN(or_i32, u, s[0].u | s[1].u)
FN(shl_i32, u, s[0].u << (s[1].u & 31))
FN(shr_i32, u, s[0].u >> (s[1].u & 31))
/* The instruction, because a C cast of what is out of range is undefined. */
FN(to_i32_f32, i, _mm_cvtss_si32(_mm_set_ss(s[0].f)))
FN(to_i32_f64, i, _mm_cvtsd_si32(_mm_set_sd(s[0].d)))
FN(to_f32_f32, f, (float)s[0].i)
FN(to_f32_f64, d, s[0].i)
FN(bits_of_f32, u, s[0].u)
FN(from_bits_f32, u, s[0].u)
FN(bits_of_f64, u, (union cell){.f = (float)s[0].d}.u)
FN(from_bits_f64, d, s[0].f)
FN(exp_f64, d, exp(s[0].d))
FN(log_f64, d, log(s[0].d))
FN(sin_f64, d, sin(s[0].d))
FN(cos_f64, d, cos(s[0].d))

static union cell select_any(const union cell *s)
{
	return s[0].i ? s[1] : s[2];
}

static union cell same_any(const union cell *s)
{
	return s[0];
}

/* Recipes have no exact column: graph_lower has rewritten them. */
const struct map_row map_rows[NOPS] = {
	[OP_ADD] = {add_f32, add_i32, add_f64},
	[OP_SUB] = {sub_f32, sub_i32, sub_f64},
	[OP_MUL] = {mul_f32, mul_i32, mul_f64},
	[OP_DIV] = {div_f32, NULL, div_f64},
	[OP_MIN] = {min_f32, min_i32, min_f64},
	[OP_MAX] = {max_f32, max_i32, max_f64},
	[OP_FMA] = {fma_f32, NULL, fma_f64},
	[OP_NEG] = {neg_f32, NULL, neg_f64},
	[OP_SQRT] = {sqrt_f32, NULL, sqrt_f64},
	[OP_RINT] = {rint_f32, NULL, rint_f64},
	[OP_LT] = {lt_f32, lt_i32, lt_f64},
	[OP_EQ] = {eq_f32, eq_i32, eq_f64},
	[OP_SELECT] = {select_any, select_any, select_any},
	[OP_AND] = {NULL, and_i32, NULL},
	[OP_OR] = {NULL, or_i32, NULL},
	[OP_SHL] = {NULL, shl_i32, NULL},
	[OP_SHR] = {NULL, shr_i32, NULL},
	[OP_TO_I32] = {to_i32_f32, NULL, to_i32_f64},
	[OP_TO_F32] = {to_f32_f32, NULL, to_f32_f64},
	[OP_BITS_OF] = {bits_of_f32, NULL, bits_of_f64},
	[OP_FROM_BITS] = {from_bits_f32, NULL, from_bits_f64},
	[OP_EXP] = {NULL, NULL, exp_f64},
	[OP_LOG] = {NULL, NULL, log_f64},
	[OP_SIN] = {NULL, NULL, sin_f64},
	[OP_COS] = {NULL, NULL, cos_f64},
	[OP_CAST] = {NULL, NULL, same_any},
	[OP_STOP] = {same_any, same_any, same_any},
	[OP_EXPAND] = {same_any, same_any, same_any},
};

union cell const_cell(const struct node *n)
{
	if (n->type.dtype == DT_I32)
		return (union cell){.i = (int32_t)n->value};
	return (union cell){.f = (float)n->value};
}

union cell map_scalar(const struct graph *f, union cell x, union cell *value)
{
	for (int k = 0; k < f->nnode; k++) {
		const struct node *n = &f->node[k];
		bool real = n->type.dtype != DT_I32;
		union cell s[3];
		for (int i = 0; i < op_info[n->op].nsrc; i++) {
			s[i] = value[n->src[i]];
			real = real || f->node[n->src[i]].type.dtype != DT_I32;
		}
		if (n->op == OP_INPUT)
			value[k] = x;
		else if (n->op == OP_CONST)
			value[k] = const_cell(n);
		else
			value[k] = (real ? map_rows[n->op].f32 : map_rows[n->op].i32)(s);
	}
	return value[f->output[0].node];
}

bool eval_map(struct eval *v, struct err *e)
{
	(void)e;
	const struct node *n = v->node;
	int nsrc = op_info[n->op].nsrc;
	bool real = n->type.dtype != DT_I32;
	const int64_t *at[3];
	for (int i = 0; i < nsrc; i++) {
		real = real || src_type(v, i)->dtype != DT_I32;
		at[i] = offsets_in(v, &n->type, src_type(v, i));
	}
	const struct map_row *row = &map_rows[n->op];
	map_fn *fn = !real ? row->i32 : eval_f64(v) ? row->f64 : row->f32;
	if (!fn)
		BUG("op '%s' has no function for these dtypes", op_info[n->op].name);
	int64_t total = count(v->call, &n->type);
	for (int64_t k = 0; k < total; k++) {
		union cell s[3];
		for (int i = 0; i < nsrc; i++)
			s[i] = v->src[i][at[i][k]];
		v->out[k] = fn(s);
	}
	return true;
}
