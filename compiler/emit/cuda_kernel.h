/*
 * Inside the CUDA emitter: one function under construction, and what the region emitters share.
 *
 * Code is text; a value is the name of a variable of the function. Each thread computes whole elements: what runs
 * along what is a loop of the region's emitter, never of a value's. Items are dealt to blocks by `block`, a number below `blocks` that need
 * not be the block's own. `is_long`: some row may have many slots (cuda_attention_splits).
 */
#ifndef CUDA_KERNEL_H
#define CUDA_KERNEL_H

#include "cuda.h"
#include "strbuf.h"

/* A form of wgmma (cuda_dot_wgmma.h), and those that a source calls. */
struct cuda_wgmma {
	int tokens;
	bool shares_lanes, across;
};
struct cuda_wgmmas {
	struct cuda_wgmma *use;
	int n;
};

struct cuda_fn {
	struct arena *arena;
	struct strbuf *out; /* the body so far */
	const struct graph *g;
	const struct region *region;
	int depth;                     /* of blocks that are open */
	int nname;                     /* names given out */
	int arg_node[PROGRAM_MAX_ARGS]; /* node whose memory t[i] is */
	int narg;
	int64_t shared_bytes, shared_bytes_90; /* of code of sm_90a where that is more; else 0 */
	struct cuda_wgmmas *wgmma;     /* of the source */
	/* Where a tile of dots has both places of a flip: the dots' values at the other one. */
	struct cuda_across {
		int node;
		const char *value;
	} across[4];
	int nacross;
	int64_t scratch_bytes;  /* of memory that kernels of one region share; 0: none */
	int *touched, ntouched; /* nodes that the region computes or reads, sorted */
};

/* Where in the iteration space code is: an expression for each axis (NULL: none), and what is known there. */
struct spot {
	const char *index[UINT8_MAX + 1];
	/* Of an axis whose index was found by division, while it has that one: variables for it, for all axes before it that were divided with it,
	 * and for those and itself. */
	struct divided {
		const char *index, *before, *with;
	} divided[UINT8_MAX + 1];
	const char **known; /* of the touched nodes: a variable's name */
};

/* ---- text ---- */
void cuda_line(struct cuda_fn *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cuda_open(struct cuda_fn *f, const char *fmt, ...) PRINTF_LIKE(2, 3); /* a line that ends in {, one deeper */
void cuda_block(struct cuda_fn *f); /* a block of its own */
void cuda_close(struct cuda_fn *f);
const char *cuda_name(struct cuda_fn *f, const char *stem); /* a new one: stem and a number */
const char *cuda_text(struct cuda_fn *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- axes ---- */
const char *cuda_extent(struct cuda_fn *f, int axis); /* in this call: a number, or the name of a dynamic axis */
/* The extents' product of axes [first, last) of t. */
const char *cuda_extents(struct cuda_fn *f, const struct type *t, int first, int last);
/* Declares indices of axes [first, last) of t, by division of the variable `flat`. */
void cuda_unflatten(struct cuda_fn *f, struct spot *s, const struct type *t, int first, int last, const char *flat);
/* The other way round, by maximum extents; last == first: "0". */
const char *cuda_flat(struct cuda_fn *f, const struct spot *s, const struct type *t, int first, int last);

/* ---- values (cuda_value.c) ---- */
void spot_init(struct cuda_fn *f, struct spot *s);
void spot_fork(struct cuda_fn *f, struct spot *to, const struct spot *from);
void spot_know(struct cuda_fn *f, struct spot *s, int n, const char *value);
/* The variable that holds node n at s: computed, loaded, or known. Known values are those of enclosing blocks. */
const char *cuda_eval(struct cuda_fn *f, int n, struct spot *s);
const char *cuda_load(struct cuda_fn *f, int n, const struct spot *s); /* an expression: what stands in memory */
const char *cuda_memory(struct cuda_fn *f, int n);                     /* "t3" */
/* Evaluates stored node n at s and writes it (put, assign: to the state). */
void cuda_store(struct cuda_fn *f, int n, struct spot *s);
/* All stored nodes of the region; and only what is written, which then is known: nothing that is stored elsewhere makes later loads wait. */
void cuda_store_all(struct cuda_fn *f, struct spot *s);
void cuda_eval_stored(struct cuda_fn *f, struct spot *s);
/* Only what maps of the region read from memory; and `to` knows what `from`, at the same place, does. */
void cuda_eval_loads(struct cuda_fn *f, struct spot *s);
void spot_share(struct cuda_fn *f, struct spot *to, const struct spot *from);

/* ---- cuda_scalar.c: a map op on variables, as an expression ---- */
const char *cuda_scalar(struct cuda_fn *f, const struct node *n, const char *const *src);
void cuda_recipe(struct strbuf *out, struct arena *a, enum op op); /* DEVICE float NAME_f32(float x) */

/* ---- cuda_blocks.c: elements of q8, q4 and c8 tables ---- */
const char *cuda_load_block(struct cuda_fn *f, int n, const struct spot *s);
void cuda_copy_block(struct cuda_fn *f, int from, const struct spot *s, int to, const struct spot *place);
/* A row of q8 in a region that computes its values: 32 neighbouring threads, all of a warp, are at a block's places. */
bool cuda_quantises(const struct cuda_fn *f);
void cuda_store_quantised(struct cuda_fn *f, int n, struct spot *s);

/* ---- region emitters; a region of several kernels is called with part 0, 1, ... ---- */
typedef void cuda_region(struct cuda_fn *f, int part);
cuda_region cuda_map, cuda_reduce, cuda_scatter, cuda_quantise, cuda_dot, cuda_attention;
void cuda_attention_grad(struct cuda_fn *f, int part);
/* Attention of a program of few rows: whether its second kernel has work only where a row has many slots, which inputs say; and code that
 * returns whether one has. */
bool cuda_attention_splits(const struct graph *g, const struct region *r);
void cuda_attention_long(struct cuda_fn *f);
int cuda_parts(const struct graph *g, const struct region *r);

extern const char cuda_prelude[];

#endif
