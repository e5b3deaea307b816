/* The map ops as CUDA C, one row per op: helpers of cuda_prelude.c where C's own operator would flush or overflow
 * differently. Semantics: ir.h. */
#include <stdio.h>
#include <string.h>

#include "cuda_kernel.h"
#include "recipe.h"

/* %1, %2, %3 are the sources. */
struct row {
	const char *real, *integer;
};

static const struct row rows[NOPS] = {
	[OP_ADD] = {"%1 + %2", "(int)((unsigned)%1 + (unsigned)%2)"},
	[OP_SUB] = {"%1 - %2", "(int)((unsigned)%1 - (unsigned)%2)"},
	[OP_MUL] = {"%1 * %2", "(int)((unsigned)%1 * (unsigned)%2)"},
	[OP_DIV] = {"__fdiv_rn(%1, %2)", NULL},
	[OP_MIN] = {"%1 < %2 ? %1 : %2", "%1 < %2 ? %1 : %2"},
	[OP_MAX] = {"%1 > %2 ? %1 : %2", "%1 > %2 ? %1 : %2"},
	[OP_FMA] = {"__fmaf_rn(%1, %2, %3)", NULL},
	[OP_NEG] = {"negate(%1)", NULL},
	[OP_SQRT] = {"__fsqrt_rn(%1)", NULL},
	[OP_RINT] = {"rintf(%1)", NULL},
	[OP_LT] = {"(int)(%1 < %2)", "(int)(%1 < %2)"},
	[OP_EQ] = {"(int)(%1 == %2)", "(int)(%1 == %2)"},
	[OP_SELECT] = {"%1 != 0 ? %2 : %3", "%1 != 0 ? %2 : %3"},
	[OP_AND] = {NULL, "%1 & %2"},
	[OP_OR] = {NULL, "%1 | %2"},
	[OP_SHL] = {NULL, "(int)((unsigned)%1 << (%2 & 31))"},
	[OP_SHR] = {NULL, "(int)((unsigned)%1 >> (%2 & 31))"},
	[OP_TO_I32] = {"__float2int_rn(%1)", NULL},
	[OP_TO_F32] = {NULL, "(float)%1"},
	[OP_BITS_OF] = {"(int)to_bits(%1)", NULL},
	[OP_FROM_BITS] = {NULL, "from_bits((unsigned)%1)"},
};

static const char *fill(struct arena *a, const char *row, const char *const *src)
{
	struct strbuf out;
	strbuf_init(&out);
	for (const char *p = row; *p; p++) {
		if (*p == '%')
			strbuf_adds(&out, src[*++p - '1']);
		else
			strbuf_addc(&out, *p);
	}
	const char *text = arena_strndup(a, out.s, out.n);
	strbuf_release(&out);
	return text;
}

static const char *expression(struct arena *a, const struct graph *g, const struct node *n, const char *const *src)
{
	/* Which column: of what the op computes with, not of what it gives. */
	int from = n->op == OP_SELECT ? 1 : 0;
	bool integer = g->node[n->src[from]].type.dtype == DT_I32;
	const char *row = integer ? rows[n->op].integer : rows[n->op].real;
	if (!row)
		BUG("the CUDA emitter has no row for op '%s'", op_info[n->op].name);
	return fill(a, row, src);
}

const char *cuda_scalar(struct cuda_fn *f, const struct node *n, const char *const *src)
{
	return expression(f->arena, f->g, n, src);
}

void cuda_recipe(struct strbuf *out, struct arena *a, enum op op)
{
	struct graph *g = recipe_graph(a, op);
	strbuf_addf(out, "DEVICE float %s_f32(float x)\n{\n", op_info[op].name);
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		const char *src[IR_MAX_SRCS];
		const char *type = n->type.dtype == DT_I32 ? "int" : "float";
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			src[s] = arena_printf(a, "v%d", n->src[s]);
		float value = (float)n->value;
		uint32_t bits;
		memcpy(&bits, &value, sizeof(bits));
		if (n->op == OP_INPUT)
			strbuf_addf(out, "\tconst float v%d = x;\n", i);
		else if (n->op == OP_CONST && n->type.dtype == DT_I32)
			strbuf_addf(out, "\tconst int v%d = (int)%lldL;\n", i, (long long)n->value);
		else if (n->op == OP_CONST)
			strbuf_addf(out, "\tconst float v%d = from_bits(0x%08xu);\n", i, bits);
		else
			strbuf_addf(out, "\tconst %s v%d = %s;\n", type, i, expression(a, g, n, src));
	}
	strbuf_addf(out, "\treturn v%d;\n}\n", g->output[0].node);
}
