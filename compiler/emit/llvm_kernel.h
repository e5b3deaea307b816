/*
 * Inside the LLVM emitter: one kernel under construction, and what the region emitters share.
 *
 * Code is built with allocas for everything that changes and promoted to registers by mem2reg; no
 * other optimisation is needed (docs/decisions.md, 13). A value is a scalar, or a
 * vector of env.width along env.vector_axis. Vector code and its scalar tail come from the same
 * functions called with different widths, so they compute the same bits.
 */
#ifndef LLVM_KERNEL_H
#define LLVM_KERNEL_H

#include <llvm-c/Core.h>

#include "ir.h"
#include "program.h"
#include "target.h"

enum { KERNEL_MAX_ARGS = PROGRAM_MAX_ARGS };

struct kernel {
	struct arena *arena;
	LLVMContextRef context;
	LLVMModuleRef module;
	LLVMBuilderRef at;
	LLVMTypeRef f32, i16, i32, i64, ptr;
	const struct target *target;
	const struct graph *g;
	const struct region *region;

	LLVMValueRef function, scratch, item_lo, item_hi;
	LLVMValueRef dim[UINT8_MAX + 1]; /* i64 extent of each axis of the graph in this call */
	int arg_node[KERNEL_MAX_ARGS];   /* node whose memory arg i is */
	LLVMValueRef arg[KERNEL_MAX_ARGS];
	int narg;
	int64_t scratch_bytes; /* what the kernel needs, so far */
	int *touched, ntouched; /* nodes that the kernel computes or reads, sorted */
};

/* A value at one place of the iteration space. */
struct value {
	LLVMValueRef v; /* NULL: none */
	bool vector;    /* width elements along the vector axis; else one scalar for all of them */
};

/* Where in the iteration space code is: an index per axis, and the vector axis. */
struct env {
	LLVMValueRef index[UINT8_MAX + 1]; /* i64; of the vector axis: of its first element */
	int vector_axis;                   /* -1: none */
	int width;                         /* 1: scalar code */
	struct value *known;               /* see known_at: what is set is not evaluated again */
};

/* ---- llvm_value.c ---- */

LLVMValueRef const_i64(struct kernel *k, int64_t v);
LLVMTypeRef vector_of(LLVMTypeRef element, int width); /* the element itself for width 1 */
LLVMValueRef splat(struct kernel *k, LLVMValueRef scalar, int width);
/* A call; arguments are cast to what this LLVM wants: 19 and 22 differ in element types. */
LLVMValueRef intrinsic_over(struct kernel *k, const char *name, LLVMTypeRef *overload, size_t noverload,
	LLVMValueRef *arg, unsigned narg);
/* The same with one overloaded type, or none (NULL). */
LLVMValueRef intrinsic(struct kernel *k, const char *name, LLVMTypeRef overload, LLVMValueRef *arg,
	int narg);
enum cache { CACHE_SECOND = 2, CACHE_NEAREST = 3 }; /* as LLVM counts */
void emit_prefetch(struct kernel *k, LLVMValueRef p, enum cache to); /* to read */
LLVMValueRef min_i64(struct kernel *k, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef max_i64(struct kernel *k, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef fma_value(struct kernel *k, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);

/* p + index elements. */
LLVMValueRef element_at(struct kernel *k, LLVMTypeRef t, LLVMValueRef p, LLVMValueRef index);
LLVMValueRef load_vector(struct kernel *k, LLVMTypeRef element, LLVMValueRef p, int width);
void store_vector(struct kernel *k, LLVMValueRef v, LLVMValueRef p, int element_bytes);
/* width neighbours of dtype as registers hold them: f32 or i32. */
LLVMValueRef load_typed(struct kernel *k, enum dtype dtype, LLVMValueRef base, LLVMValueRef index,
	int width);

LLVMValueRef alloca_entry(struct kernel *k, LLVMTypeRef t, const char *name);

/* for (i = from; i < to; i += step); the index is an i64 in loop.i. */
struct loop {
	LLVMBasicBlockRef head, body, end;
	LLVMValueRef counter, i, step;
};
void loop_begin(struct kernel *k, struct loop *l, LLVMValueRef from, LLVMValueRef to, int64_t step);
void loop_end(struct kernel *k, struct loop *l);

/* The pointer of node n's memory (a leaf, or stored): registers it as an argument. */
LLVMValueRef memory_of(struct kernel *k, int n);

/* Fills touched. */
void kernel_touch(struct kernel *k);
/* What is known of node n at env; v NULL: nothing yet. */
struct value *known_at(struct kernel *k, struct env *env, int n);
void env_init(struct kernel *k, struct env *env);
/* The same place; what is known is known there too, and what is learnt stays there. */
void env_fork(struct kernel *k, struct env *to, const struct env *from);
/* Splits a flattened index over axes [first, last) of t into env->index. */
void env_unflatten(struct kernel *k, struct env *env, const struct type *t, int first, int last,
	LLVMValueRef flat);
/* The other way round; of lane `lane` along the vector axis. */
LLVMValueRef flat_index(struct kernel *k, const struct env *env, const struct type *t, int first, int last,
	int lane);
LLVMValueRef extent_product(struct kernel *k, const struct type *t, int first, int last);

/* Node n at env, computed, loaded, or known. */
struct value evaluate(struct kernel *k, int n, struct env *env);
/* As a full vector (splat when it does not vary). */
LLVMValueRef evaluate_full(struct kernel *k, int n, struct env *env);
/* What stands in node n's memory at env, as a full vector. */
LLVMValueRef load_node(struct kernel *k, int n, struct env *env);
/* Evaluates stored node n at env and writes it to its memory (put, assign: to the state). */
void store_node(struct kernel *k, int n, struct env *env);

/* Loops along `axis` over [from, to): vectors of `width`, then scalars; body is called for each with
 * an env whose vector axis and index are set. */
typedef void nest_body(struct kernel *k, struct env *env, void *arg);
void vector_loop(struct kernel *k, const struct env *env, int axis, LLVMValueRef from,
	LLVMValueRef to, int width, nest_body *body, void *arg);

/* ---- llvm_quantise.c: what stands in a table with blocks at env, as f32, along the vector axis ---- */
LLVMValueRef load_blocks(struct kernel *k, int n, struct env *env, int width);
/* Values of c8 with their scales, from node `from` at env to node `to` at its place. */
void copy_blocks(struct kernel *k, int from, const struct env *env, int to, const struct env *place);

/* ---- llvm_scalar.c: the map ops on registers of one width ---- */
LLVMValueRef emit_scalar_op(struct kernel *k, enum op op, LLVMValueRef *src, int width);
/* A recipe applied to one value of any width. */
LLVMValueRef emit_recipe(struct kernel *k, enum op op, LLVMValueRef x, int width);

/* ---- region emitters: the body of the kernel over items [item_lo, item_hi), and how many there are ---- */
void emit_map_region(struct kernel *k);
void emit_reduce_region(struct kernel *k);
void emit_dot_region(struct kernel *k);
void emit_attention_region(struct kernel *k);
void emit_scatter_region(struct kernel *k);
void emit_quantise_region(struct kernel *k);
LLVMValueRef map_items(struct kernel *k);
LLVMValueRef reduce_items(struct kernel *k);
LLVMValueRef dot_items(struct kernel *k);
LLVMValueRef attention_items(struct kernel *k);
LLVMValueRef quantise_items(struct kernel *k);

#endif
