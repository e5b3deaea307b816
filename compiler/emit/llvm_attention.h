/* What the forward and the backward half of attention share. */
#ifndef LLVM_ATTENTION_H
#define LLVM_ATTENTION_H

#include "heads.h"
#include "llvm_kernel.h"

enum {
	QUERIES = 8,      /* at most so many of one KV head share a reading of its keys and values */
	SLOTS_NEAR = 128, /* slots whose values stay in the nearest cache while all features take their turn */
};

/*
 * n queries of one KV head against slots [lo, end), which all their slots are among. Scores lie as they are
 * made: behind each other the panels from lo's on, in a panel the queries, of each PANEL slots.
 */
struct scores {
	int n;
	LLVMValueRef q;        /* float*: features of a query, then of the next */
	LLVMValueRef out;      /* float* */
	LLVMValueRef panels;   /* of slots: the head's first */
	enum dtype kv;         /* what they hold */
	int64_t panel_bytes;
	LLVMValueRef lo, end;  /* i64 */
	LLVMValueRef from, to; /* i64[n]: each query's slots */
	LLVMValueRef sum;      /* float[n]: of its exps */
	LLVMValueRef next;     /* what is read after the softmax, and asked for meanwhile; NULL: nothing */
};
/* Vectors of sums that each of n rows may have in registers, beside what they are made of; may be 0. */
int sums_per_row(const struct kernel *k, int n);
/* s = q . k for whole panels; lanes outside of a query's slots are computed too. */
void emit_scores(struct kernel *k, const struct heads *h, const struct scores *s);
/* Each score becomes exp(score - the query's largest), 0 outside of its slots; their sums as OP_SUM has it. */
void emit_softmax(struct kernel *k, const struct scores *s);

/* Slots of v, or of k, row by row. */
struct values {
	const struct heads *h;
	int node;
	LLVMValueRef first; /* the KV head's first slot, among all of the node */
	int64_t slot_bytes; /* c8: a panel's share */
};
/* Weights of n queries among the `of` whose scores begin at slot lo's panel. */
struct weights {
	int n, of;
	LLVMValueRef p, lo;
};
/* acc[n][features] += sum over slots [from, to) of weight * value, a chain of fma ascending. */
void emit_weighted(struct kernel *k, const struct values *v, const struct weights *w, LLVMValueRef acc,
	LLVMValueRef from, LLVMValueRef to);

/* Calls body for whole vectors of n floats, then for the rest. */
typedef void floats_body(struct kernel *k, LLVMValueRef i, int width, void *arg);
void each_float(struct kernel *k, int64_t n, floats_body *body, void *arg);
struct copy {
	LLVMValueRef from, to;
};
floats_body copy_floats; /* arg: struct copy */
/* A piece of the kernel's scratch, n floats from a cache line on. */
LLVMValueRef scratch_floats(struct kernel *k, int64_t n);
/* An i32 of a one-axis tensor, as i64. */
LLVMValueRef load_index(struct kernel *k, int node, LLVMValueRef row);

void emit_attention_grad(struct kernel *k, const struct heads *h);

static inline LLVMValueRef plus(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildAdd(k->at, a, b, "");
}

static inline LLVMValueRef minus(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSub(k->at, a, b, "");
}

static inline LLVMValueRef times(struct kernel *k, LLVMValueRef i, int64_t by)
{
	return LLVMBuildMul(k->at, i, const_i64(k, by), "");
}

static inline LLVMValueRef panel_of(struct kernel *k, LLVMValueRef slot)
{
	return LLVMBuildLShr(k->at, slot, const_i64(k, 4), "");
}
_Static_assert(PANEL == 16, "panel_of");

/* Width neighbours at p + i floats. */
static inline LLVMValueRef load_f32(struct kernel *k, LLVMValueRef p, LLVMValueRef i, int width)
{
	return load_vector(k, k->f32, element_at(k, k->f32, p, i), width);
}

static inline void store_f32(struct kernel *k, LLVMValueRef v, LLVMValueRef p, LLVMValueRef i)
{
	store_vector(k, v, element_at(k, k->f32, p, i), 4);
}

#endif
