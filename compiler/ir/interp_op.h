/*
 * Inside the interpreter: how one node is computed from dense values.
 *
 * A value is an array of cells in the order of its type's axes, row-major, extents as they are in
 * this call. Every op is written over offset tables: offsets(axes, stride) lists, for every index
 * over `axes` in row-major order, where that element lies in an operand with these strides. An
 * operand that lacks an axis has stride 0 there, which is what broadcasting is.
 */
#ifndef INTERP_OP_H
#define INTERP_OP_H

#include "interp.h"

union cell {
	float f;    /* reals, exact mode */
	double d;   /* reals, f64 mode */
	int32_t i;
	uint32_t u; /* the bits of f or i */
	struct {
		int32_t i;
		float scale;
	} q;        /* q8, q4 and c8: an integer and its block's scale; in f64 mode they are reals */
};

struct eval {
	const struct graph *g;
	const struct interp_call *call;
	const struct node *node;
	const union cell *src[IR_MAX_SRCS];
	union cell *out;       /* zeroed */
	struct arena *scratch; /* of this node alone */
};

/* ops.h's elementwise ops; which column applies depends on the dtypes and the mode. */
typedef union cell map_fn(const union cell *s);
struct map_row {
	map_fn *f32, *i32, *f64;
};
extern const struct map_row map_rows[NOPS];

union cell const_cell(const struct node *n); /* exact mode */

/* f(x) of a graph of scalars in primitive ops (recipe_graph): leaf "x", output 0. value has room
 * for all its nodes. */
union cell map_scalar(const struct graph *f, union cell x, union cell *value);

typedef bool eval_fn(struct eval *v, struct err *e);
eval_fn eval_map, eval_const, eval_iota, eval_flip, eval_reduce, eval_dot;
eval_fn eval_gather, eval_scatter, eval_attention, eval_attention_grad, eval_quantise;

static inline bool eval_f64(const struct eval *v)
{
	return v->call->mode == INTERP_F64;
}

const struct type *src_type(const struct eval *v, int i);
int64_t count(const struct interp_call *call, const struct type *axes);

enum { MAX_GRAPH_AXES = 256 };

/* stride[axis] of a dense value, 0 for axes that it lacks; stride has MAX_GRAPH_AXES elements. */
void strides(const struct interp_call *call, const struct type *t, int64_t *stride);
int64_t *offsets(struct arena *a, const struct interp_call *call, const struct type *axes,
	const int64_t *stride);
/* The common case: where each index over `axes` lies in a value of type t. */
int64_t *offsets_in(struct eval *v, const struct type *axes, const struct type *t);

/* An index value within [0, extent of axis), else an error. */
bool check_index(const struct eval *v, int32_t index, int axis, struct err *e);

/* Sum or maximum in 16 accumulators and a tree, as ir.h says. */
float lanes_sum(const float *x, int64_t n);
float lanes_max(const float *x, int64_t n);

#endif
