/* The map ops as LLVM instructions, one row per op. Semantics: ir.h. */
#include "llvm_kernel.h"

#include "recipe.h"

typedef LLVMValueRef scalar_op(struct kernel *k, LLVMValueRef *s, int width);

static bool is_integer(LLVMValueRef v)
{
	LLVMTypeRef t = LLVMTypeOf(v);
	if (LLVMGetTypeKind(t) == LLVMVectorTypeKind)
		t = LLVMGetElementType(t);
	return LLVMGetTypeKind(t) == LLVMIntegerTypeKind;
}

#define ARITHMETIC(name, integer, real)                                                            \
	static LLVMValueRef name(struct kernel *k, LLVMValueRef *s, int width)                     \
	{                                                                                          \
		(void)width;                                                                       \
		return is_integer(s[0]) ? integer(k->at, s[0], s[1], "")                           \
					: real(k->at, s[0], s[1], "");                             \
	}
ARITHMETIC(emit_add, LLVMBuildAdd, LLVMBuildFAdd)
ARITHMETIC(emit_sub, LLVMBuildSub, LLVMBuildFSub)
ARITHMETIC(emit_mul, LLVMBuildMul, LLVMBuildFMul)

#define BINARY(name, build)                                                                        \
	static LLVMValueRef name(struct kernel *k, LLVMValueRef *s, int width)                     \
	{                                                                                          \
		(void)width;                                                                       \
		return build(k->at, s[0], s[1], "");                                               \
	}
BINARY(emit_div, LLVMBuildFDiv)
BINARY(emit_and, LLVMBuildAnd)
BINARY(emit_or, LLVMBuildOr)

/* Mod 32, as ir.h says: LLVM leaves a larger count undefined. */
#define SHIFT(name, build)                                                                         \
	static LLVMValueRef name(struct kernel *k, LLVMValueRef *s, int width)                     \
	{                                                                                          \
		LLVMValueRef mask = splat(k, LLVMConstInt(k->i32, 31, false), width);              \
		return build(k->at, s[0], LLVMBuildAnd(k->at, s[1], mask, ""), "");                \
	}
SHIFT(emit_shl, LLVMBuildShl)
SHIFT(emit_shr, LLVMBuildLShr)

static LLVMValueRef less(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return is_integer(a) ? LLVMBuildICmp(k->at, LLVMIntSLT, a, b, "")
			     : LLVMBuildFCmp(k->at, LLVMRealOLT, a, b, "");
}

static LLVMValueRef emit_min(struct kernel *k, LLVMValueRef *s, int width)
{
	(void)width;
	return LLVMBuildSelect(k->at, less(k, s[0], s[1]), s[0], s[1], "");
}

static LLVMValueRef emit_max(struct kernel *k, LLVMValueRef *s, int width)
{
	(void)width;
	return LLVMBuildSelect(k->at, less(k, s[1], s[0]), s[0], s[1], "");
}

static LLVMValueRef emit_fma(struct kernel *k, LLVMValueRef *s, int width)
{
	(void)width;
	return fma_value(k, s[0], s[1], s[2]);
}

static LLVMValueRef emit_neg(struct kernel *k, LLVMValueRef *s, int width)
{
	(void)width;
	return LLVMBuildFNeg(k->at, s[0], "");
}

static LLVMValueRef emit_sqrt(struct kernel *k, LLVMValueRef *s, int width)
{
	(void)width;
	return intrinsic(k, "llvm.sqrt", LLVMTypeOf(s[0]), s, 1);
}

static LLVMValueRef emit_rint(struct kernel *k, LLVMValueRef *s, int width)
{
	(void)width;
	return intrinsic(k, "llvm.rint", LLVMTypeOf(s[0]), s, 1);
}

static LLVMValueRef emit_lt(struct kernel *k, LLVMValueRef *s, int width)
{
	return LLVMBuildZExt(k->at, less(k, s[0], s[1]), vector_of(k->i32, width), "");
}

static LLVMValueRef emit_eq(struct kernel *k, LLVMValueRef *s, int width)
{
	LLVMValueRef c = is_integer(s[0]) ? LLVMBuildICmp(k->at, LLVMIntEQ, s[0], s[1], "")
					  : LLVMBuildFCmp(k->at, LLVMRealOEQ, s[0], s[1], "");
	return LLVMBuildZExt(k->at, c, vector_of(k->i32, width), "");
}

static LLVMValueRef emit_select(struct kernel *k, LLVMValueRef *s, int width)
{
	LLVMValueRef zero = LLVMConstNull(vector_of(k->i32, width));
	LLVMValueRef c = LLVMBuildICmp(k->at, LLVMIntNE, s[0], zero, "");
	return LLVMBuildSelect(k->at, c, s[1], s[2], "");
}

static LLVMValueRef emit_to_i32(struct kernel *k, LLVMValueRef *s, int width)
{
	return LLVMBuildFPToSI(k->at, emit_rint(k, s, width), vector_of(k->i32, width), "");
}

static LLVMValueRef emit_to_f32(struct kernel *k, LLVMValueRef *s, int width)
{
	return LLVMBuildSIToFP(k->at, s[0], vector_of(k->f32, width), "");
}

static LLVMValueRef emit_bits_of(struct kernel *k, LLVMValueRef *s, int width)
{
	return LLVMBuildBitCast(k->at, s[0], vector_of(k->i32, width), "");
}

static LLVMValueRef emit_from_bits(struct kernel *k, LLVMValueRef *s, int width)
{
	return LLVMBuildBitCast(k->at, s[0], vector_of(k->f32, width), "");
}

static scalar_op *const scalar_ops[NOPS] = {
	[OP_ADD] = emit_add, [OP_SUB] = emit_sub, [OP_MUL] = emit_mul, [OP_DIV] = emit_div,
	[OP_MIN] = emit_min, [OP_MAX] = emit_max, [OP_FMA] = emit_fma, [OP_NEG] = emit_neg,
	[OP_SQRT] = emit_sqrt, [OP_RINT] = emit_rint, [OP_LT] = emit_lt, [OP_EQ] = emit_eq,
	[OP_SELECT] = emit_select, [OP_AND] = emit_and, [OP_OR] = emit_or, [OP_SHL] = emit_shl,
	[OP_SHR] = emit_shr, [OP_TO_I32] = emit_to_i32, [OP_TO_F32] = emit_to_f32,
	[OP_BITS_OF] = emit_bits_of, [OP_FROM_BITS] = emit_from_bits,
};

LLVMValueRef emit_scalar_op(struct kernel *k, enum op op, LLVMValueRef *src, int width)
{
	if (!scalar_ops[op])
		BUG("the LLVM emitter has no row for op '%s'", op_info[op].name);
	return scalar_ops[op](k, src, width);
}

LLVMValueRef emit_recipe(struct kernel *k, enum op op, LLVMValueRef x, int width)
{
	struct graph *g = recipe_graph(k->arena, op);
	LLVMValueRef *v = arena_array(k->arena, LLVMValueRef, g->nnode);
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		LLVMValueRef src[IR_MAX_SRCS];
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			src[s] = v[n->src[s]];
		if (n->op == OP_INPUT)
			v[i] = x;
		else if (n->op == OP_CONST)
			v[i] = splat(k, n->type.dtype == DT_I32
					? LLVMConstInt(k->i32, (uint64_t)(int64_t)n->value, true)
					: LLVMConstReal(k->f32, (float)n->value), width);
		else
			v[i] = emit_scalar_op(k, n->op, src, width);
	}
	return v[g->output[0].node];
}
