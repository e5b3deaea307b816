/*
 * The op IR: one graph serves score, tune, evaluate and inference.
 *
 * A graph is a list of nodes in SSA form; a node refers only to nodes before it, so the list is a
 * topological order. A value is a tensor with *named* axes: no reshape, no transpose, no positional
 * broadcasting. Sources of elementwise ops broadcast by axis identity; a dot sums over the axes that
 * both sources have and the result lacks. The order of a type's axes is only the storage order.
 *
 * Axes by convention: R rows (tokens of this call), O rows whose logits are wanted, S KV slots,
 * V vocabulary, D model width, F feed-forward width, K KV heads, G query heads per KV head, X the
 * two RoPE halves, E half a head. A head is (X,E). R and O are dynamic: their extent is a maximum
 * and the caller says how many there are.
 *
 * Registers are f32 or i32. dtype bf16 is an f32 whose low 16 bits are 0, f16 an f32 that a half has too; only
 * memory holds 2 bytes.
 * q8 and q4 exist in memory alone: integers in blocks of Q_BLOCK with a scale each. Their axes from
 * type.outer on are the inner ones, written behind a bar, q8 (R | D): flattened, they are cut into
 * blocks, the last of which may be short. A q4 value is a q8 value whose low four bits are 0, so -128
 * to 112 in steps of 16. A param is weights: LAYOUT_PANEL, scales f16. What `quantise` gives is the other
 * operand of a dot: LAYOUT_ROW, q8, scales f32. There are no others, and only dot and gather read them.
 * c8 is what a cache holds of 8 bits: `quantise` gives it as well, `put` writes it to a state, attention and
 * gather read it, as the integer times the f32 scale of its block.
 *
 * Semantics that fix every bit (class f32 and bf16; the interpreter is the reference):
 * - All arithmetic is IEEE single precision, round to nearest even, with denormal inputs and results
 *   of arithmetic flushed to zero of the same sign (FTZ and DAZ set). No contraction but `fma`. What
 *   only moves bits flushes nothing: neg, select, and, or, shifts, bits_of, from_bits, stop, index and
 *   memory ops.
 *   What rounds up to the smallest normal number is kept, as x86 does; ARM without FEAT_AFP flushes it
 *   (docs/decisions.md, 21).
 * - min(a,b) is a < b ? a : b and max(a,b) is a > b ? a : b, so NaN gives b.
 * - to_i32 rounds to nearest even; out of range is undefined, and no graph of ours does it.
 * - i32 arithmetic wraps; shl and shr shift by their second source mod 32, shr fills with 0; compares
 *   give 0 or 1; select takes any nonzero as true.
 * - sum and rmax run over the reduced axes flattened in the source's storage order, index i:
 *   16 accumulators, number i mod 16 taking its elements in order from 0 (rmax: from -inf), then
 *   added as a tree: a[j] = a[j] + a[j+8] for j < 8, then +4, +2, +1.
 * - dot sums over its reduced axes flattened in source 0's storage order, index k, in chunks of
 *   DOT_CHUNK: in a chunk acc starts from 0 and acc = fma(a_k, b_k, acc) for k ascending; bf16
 *   sources go in pairs, the odd k before the even one (vdpbf16ps; a missing odd element of the last
 *   pair counts as 0). The dot is ((chunk 0 + chunk 1) + chunk 2) + ... . Sources have one dtype.
 * - dot of q8 (source 0) and q8 or q4 (source 1, a param): acc starts from 0; for each block ascending
 *   acc = fma(f32(sum of the block's products of integers), scale 0 * scale 1, acc). The sum is exact.
 * - quantise: per block m = max |x|; scale = m / 127; q = rint(x * (127 / m)); all 0 when m < 2^-100.
 * - attention: see below.
 * Bits therefore depend on no vector width, tile, thread count or batch.
 */
#ifndef IR_H
#define IR_H

#include "arena.h"
#include "strbuf.h"

enum {
	IR_MAX_AXES = 8,  /* of one tensor */
	IR_MAX_SRCS = 7,
	PANEL = 16,       /* output rows side by side in packed operands */
	SUM_LANES = 16,   /* accumulators of a row reduction */
	DOT_CHUNK = 512,  /* reduced elements per chunk of a dot */
	PV_CHUNK = 512,   /* slots per chunk of attention's weighted sum */
	Q_BLOCK = 32,     /* values of q8, q4 and c8 that share a scale */
	Q_ALIGN = 64,     /* bytes to which the parts of their layouts are padded */
};

enum dtype { DT_F32, DT_BF16, DT_I32, DT_Q8, DT_Q4, DT_F16, DT_C8, NDTYPES };

enum op_class { CLASS_LEAF, CLASS_MAP, CLASS_RECIPE, CLASS_INDEX, CLASS_REDUCE, CLASS_DOT,
	CLASS_MEMORY, CLASS_ATTENTION, CLASS_QUANTISE };

enum op {
#define OP(id, name, class, nsrc, shape, grad) OP_##id,
#include "ops.h"
#undef OP
	NOPS
};

struct op_info {
	const char *name;
	enum op_class class;
	int nsrc;
};
extern const struct op_info op_info[NOPS];

struct axis {
	const char *name;
	int64_t extent; /* of a dynamic axis the maximum */
	bool dynamic;
};

struct type {
	enum dtype dtype;
	int naxis; /* 0: a scalar */
	uint8_t axis[IR_MAX_AXES]; /* indices into graph.axis, in storage order, last is contiguous */
	uint8_t outer;             /* q8, q4, c8: axes before the inner ones; else 0 */
};

/*
 * Where element (i...) of a tensor lies. LAYOUT_ROW: row-major in axis order, extents at their
 * maximum; behind each index of the first axis `pad` elements are left out, since rows that lie a
 * multiple of the page's size apart share few lines of a cache. LAYOUT_PANEL: axes [first, last)
 * flattened are the panel index o, axes before it are outer, axes behind it flattened are the inner index k; element at
 *     ((outer * ceil(O/16) + o/16) * inner + k) * 16 + o%16
 * so that 16 neighbours in o are one vector and k walks in order. bf16 keeps pairs of k together,
 * as vdpbf16ps wants them: ((outer * ceil(O/16) + o/16) * ceil(inner/2) + k/2) * 32 + o%16*2 + k%2.
 * What pads is 0.
 *
 * q8 and q4, a param: axes before type.outer are the panel index. A panel has its values first, then its
 * scales. Values: groups of 4 in k; q8: 64 bytes per group, byte o%16*4 + k%4 is the value + 128. q4: 64
 * bytes per two groups, byte o%16*4 + k%4 has (value / 16 + 8) of the first group in its low half, of the
 * second in the high one. Scales: 16 f16 per block. What pads is value 0, and scale 0 in lanes that do
 * not exist. The part of the scales is padded to Q_ALIGN.
 * q8, from quantise: a row (the outer axes flattened) is ceil(inner / 32) * 32 signed bytes, 0 where
 * padded, then per block { f32 scale; i32 -128 * (sum of the block's values) }, padded to Q_ALIGN.
 *
 * c8: rows (the outer axes flattened; LAYOUT_PANEL: axes [first, last) flattened, panels of each index before them)
 * in panels of 16. A panel has its values first, signed bytes: byte o%16*inner + k, or k*16 + o%16 of
 * LAYOUT_PANEL; then 16 f32 scales per block. It is padded to Q_ALIGN.
 */
enum layout_kind { LAYOUT_ROW, LAYOUT_PANEL };
struct layout {
	enum layout_kind kind;
	uint8_t first, last;
	int pad; /* rows; what is stored and read by the passes' own choice only, never leaves and outputs */
};

struct node {
	enum op op;
	struct type type;
	int src[IR_MAX_SRCS]; /* op_info[op].nsrc node indices, each smaller than this node's own */
	int axis;             /* flip, gather, put, scatter, attention: an index into graph.axis */
	double value;         /* const */
	const char *name;     /* input, param, state: unique in the graph */

	/* Written by the passes, in this order. */
	struct layout layout; /* layout.c */
	int region;           /* region.c; -1: leaf, or constant and evaluated wherever it is used */
	bool stored;          /* region.c: other regions or the caller read it from memory */
	int64_t offset;       /* slab.c: bytes from the slab's start; -1: no slab place (leaf, aliases) */
};

/*
 * Op by op, beyond what the names say (x, y ... are sources; axes in storage order):
 *
 * input, param, state  what the caller binds: per-call data, weights, memory that assign and put
 *                      change in place. A node that reads a state and stands before a write sees the
 *                      memory as it was; who wants what was written reads the result of put or assign.
 *                      What a node behind the write sees in the state itself is not defined, nor what
 *                      one behind a second write sees in the result of the first.
 * iota                 i32 (A): the index along its one axis.
 * cast                 f32 -> bf16, round to nearest even (denormals to 0, NaN stays NaN); f32 -> f16 too, where
 *                      denormal halves are numbers like others; bf16, f16 -> f32 is x * 1: denormals to 0.
 * stop                 x, with no gradient.
 * quantise             x f32 -> q8 or c8 of the same axes; the blocks' axes are static.
 * expand               x broadcast to, or stored in the order of, the result's axes.
 * flip                 y[.., i, ..] = x[.., extent-1-i, ..] along `axis`, which is not the last one.
 * gather               table (A, ...), index i32 (...) -> table rows: result axes = index axes, then the
 *                      table's axes without `axis`. An index out of range is the caller's bug. Of a q8 or
 *                      q4 table (A | ...): f32, the integers times their scales.
 * scatter              x (N, ...), index i32 (N) -> (A, ...): result[a] = sum, in order of n from 0,
 *                      of the x[n] with index[n] = a, added one by one; `axis` is A. N is one axis.
 * put                  state (.., A, ..), x (N, ...), index i32 (N): state[.., index[n], ..] = x[n, ...];
 *                      the result is the state after it (same memory). `axis` is A.
 * assign               state, x: state = x; the result is the state after it (same memory).
 *
 * attention            q (N, B..., G..., C...), k (B..., A, C...), v (B..., A, C...), lo i32 (N), hi i32 (N)
 *                      -> like q. `axis` is A, the slots. Row n attends slots lo[n] <= s < hi[n] (at
 *                      least one). k, v may be bf16, f16 or c8; q, the result and all arithmetic are f32.
 *                      B: axes of k before A; C: those behind it, flattened c; G: the others of q.
 *                        s(s)  = chain of fma over c ascending from 0 of q_c * k_sc
 *                        m     = max of s over the slots
 *                        p(s)  = exp(s - m)                          [the exp of recipe.c]
 *                        l     = sum of p as `sum` does it, i = s - lo
 *                        o_c   = chunks of PV_CHUNK slots from lo: fma(p(s), v_sc, acc) ascending from 0;
 *                                chunks added in order; then o_c / l
 *                      The caller scales q. The slot axis may be the row axis itself (packed training
 *                      rows: lo is the document's first row, hi is n + 1).
 * attention_dq/dk/dv   q, k, v, lo, hi, o, do -> gradient with respect to q (like q), k or v: of those what each
 *                      query head adds, (B..., G..., A, C...). All f32.
 *                      p, l as above; delta = sum over c, a chain of fma ascending, of do_c * o_c;
 *                        w(n,s)  = p(s) * (1 / l)
 *                        dp(n,s) = chain of fma over c of do_c * v_sc
 *                        ds(n,s) = w * (dp - delta)
 *                        dq_c  = 0 + chain of fma over s ascending from 0 of ds * k_sc
 *                        dk_sc = 0 + chain over n ascending from 0 of fma(ds, q_c, acc)
 *                        dv_sc = 0 + the same with fma(w, do_c, acc)
 *                      (0 + x: no zero is negative.) Where an operand is not finite, any of them may be NaN.
 */

enum region_kind { REGION_MAP, REGION_REDUCE, REGION_DOT, REGION_ATTENTION, REGION_SCATTER,
	REGION_QUANTISE };
enum { NREGION_KINDS = REGION_QUANTISE + 1 };
extern const char *const region_kind_name[NREGION_KINDS]; /* as the text form and kernels' symbols have them */

/* A region becomes one kernel: nodes run together, values that only they use are never stored. */
struct region {
	enum region_kind kind;
	int *node, nnode; /* in graph order; the core (dot, attention, ...) among them */
	struct type space;/* the axes it loops over, outermost first; dtype unused */
};

struct graph_output {
	const char *name;
	int node;
};

struct graph {
	struct arena *arena; /* owns everything below */
	const char *name;
	struct axis *axis;
	int naxis;
	struct node *node;
	int nnode;
	struct graph_output *output; /* what the caller reads; assign and put count as used anyway */
	int noutput;
	struct region *region; /* region.c; NULL before */
	int nregion;
	int64_t slab_bytes;    /* slab.c */
};

/* ---- building (ir.c): each call appends one checked node and returns its index. A call that breaks
 * a shape rule is a bug of the caller: BUG() with the op and types. ---- */

struct graph *graph_new(struct arena *a, const char *name);
int graph_axis(struct graph *g, const char *name, int64_t extent, bool dynamic);
int graph_find_axis(const struct graph *g, const char *name); /* -1: none */
int graph_find_leaf(const struct graph *g, const char *name); /* -1: none */
void graph_add_output(struct graph *g, const char *name, int node);

/* "R D" -> axes by name, for builders; the names must exist. "V | D": D is the inner axis when dtype has
 * blocks; else the bar says nothing. */
struct type graph_type(const struct graph *g, enum dtype dtype, const char *axes);

int ir_leaf(struct graph *g, enum op op, const char *name, struct type t);
/* Makes node i, behind all that was built upon it, an input of that name: its value is known. */
void ir_give(struct graph *g, int i, const char *name);
int ir_const(struct graph *g, double value);
int ir_const_i32(struct graph *g, int32_t value);
int ir_iota(struct graph *g, int axis);
int ir_map(struct graph *g, enum op op, int a, int b, int c); /* unused sources: -1; also recipes */
int ir_from_bits(struct graph *g, int x, enum dtype dtype);   /* bf16, f16: x must be one */
int ir_cast(struct graph *g, int x, enum dtype dtype);        /* x itself when it is that already */
int ir_quantise(struct graph *g, int x, int outer);          /* q8; the type's `outer` */
int ir_quantise_cache(struct graph *g, int x, int outer);    /* the same, c8 */
int ir_expand(struct graph *g, int x, struct type t);         /* x itself when nothing changes */
int ir_flip(struct graph *g, int x, int axis);
int ir_reduce(struct graph *g, enum op op, int x, struct type t); /* t: what remains */
int ir_dot(struct graph *g, int a, int b, struct type t);
int ir_gather(struct graph *g, int table, int index, int axis);
int ir_scatter(struct graph *g, int x, int index, int axis);
int ir_put(struct graph *g, int state, int x, int index, int axis);
int ir_assign(struct graph *g, int state, int x);
int ir_attention(struct graph *g, int q, int k, int v, int lo, int hi, int axis);
/* Of the result of n, an op attention_d*. */
struct type attention_grad_type(const struct graph *g, const struct node *n);
int ir_attention_grad(struct graph *g, enum op op, int attention, int dout);

#define ir_add(g, a, b) ir_map((g), OP_ADD, (a), (b), -1)
#define ir_sub(g, a, b) ir_map((g), OP_SUB, (a), (b), -1)
#define ir_mul(g, a, b) ir_map((g), OP_MUL, (a), (b), -1)
#define ir_div(g, a, b) ir_map((g), OP_DIV, (a), (b), -1)
#define ir_fma(g, a, b, c) ir_map((g), OP_FMA, (a), (b), (c))
#define ir_unary(g, op, a) ir_map((g), (op), (a), -1, -1)

/* ---- types and layouts (type.c) ---- */

bool type_has_axis(const struct type *t, int axis);
int type_axis_position(const struct type *t, int axis); /* -1: absent */
/* Product of the extents, at most, of axes [first, last). */
int64_t type_extents(const struct graph *g, const struct type *t, int first, int last);
bool type_same_axes(const struct type *a, const struct type *b); /* the same set, any order */
bool type_equal(const struct type *a, const struct type *b);     /* dtype, axes and order */
extern const char *const dtype_name[NDTYPES];
int dtype_bytes(enum dtype t); /* in memory; of a dtype with blocks 1, see layout_elements */
bool dtype_has_blocks(enum dtype t);
float f16_value(uint16_t half); /* exact, denormal ones too */
uint16_t f16_bits(float x);     /* of a number that is one */

/* Elements (padding counted) and bytes of a tensor at the axes' extents. Of a dtype with blocks both are
 * bytes. */
int64_t layout_elements(const struct graph *g, const struct type *t, struct layout l);
int64_t tensor_bytes(const struct graph *g, const struct node *n);
/* Element index of the element at index[0..naxis). */
int64_t layout_offset(const struct graph *g, const struct type *t, struct layout l,
	const int64_t *index);

/* Rows (panels) of a tensor with blocks: how many there are, and of each the bytes, the blocks, and where
 * the scales begin. */
struct block_shape {
	int64_t count, bytes, nblock, scales;
};
struct block_shape block_shape(const struct graph *g, const struct type *t, struct layout l);

/* Where an element lies, in bytes: the one that has its value, shifted left by `shift`; its block's scale. */
struct block_place {
	int64_t value, scale;
	int shift;
};
struct block_place block_place(const struct graph *g, const struct type *t, struct layout l,
	const int64_t *index);

/* ---- passes, in the order they run. Each leaves a graph that graph_check accepts. ---- */

/* Shapes, dtypes, order, annotations: an error names node and rule. Run after reading text. */
bool graph_check(const struct graph *g, struct err *e);

/* A new graph in arena a without recipes: exp, log, sin, cos, cast, stop become primitive maps.
 * (recipe.c; the polynomials and their errors are documented there.) Outputs, leaves kept. */
struct graph *graph_lower(struct arena *a, const struct graph *g);

/* The state leaf whose memory a put or assign is, through any number of them; else i itself. */
int state_of(const struct graph *g, int i);

/* Removes nodes that no output, assign or put needs, and equal nodes (same op, sources, type). */
struct graph *graph_simplify(struct arena *a, const struct graph *g);

/* How dots want the source of their lanes: with lanes side by side, or, without blocks, in rows of either order. */
enum dot_lanes { LANES_SIDE_BY_SIDE, LANES_IN_ROWS };
/* layout.c: a new graph with node.layout, and copies of what is wanted in two layouts. */
struct graph *graph_layouts(struct arena *a, const struct graph *g, enum dot_lanes lanes);
/* region.c: fills region, node.region, node.stored. Where regions wait for each other by a barrier of a whole GPU there are fewer: what is made of
 * attention's result is one region with it, and in a graph of few rows a row of q8 with what computes its values. */
enum regions_for { REGIONS_FOR_CPU, REGIONS_FOR_GPU };
void graph_regions(struct graph *g, enum regions_for target);
/* Whether its dynamic axes have no more than FEW_ROWS: a program that decodes. */
enum { FEW_ROWS = 8 };
bool graph_has_few_rows(const struct graph *g);
void graph_slab(struct graph *g, enum regions_for target); /* slab.c: fills node.offset, slab_bytes; 64-byte aligned */

/* wait.c, of a planned graph: which regions must not run beside those since the last that waited, of which there
 * are at most `most`. One flag per region. own: of each node, whether
 * all that run have it in memory of their own; NULL: none. */
bool *graph_waits(struct arena *a, const struct graph *g, int most, const bool *own);

/* All of the above in order: the form that emitters take. For GPUs: REGIONS_FOR_GPU. */
struct graph *graph_plan(struct arena *a, const struct graph *g);
struct graph *graph_plan_gpu(struct arena *a, const struct graph *g);
struct graph *graph_plan_rows(struct arena *a, const struct graph *g); /* LANES_IN_ROWS, too: for a library that multiplies */

/* ---- text form (text.c): what --emit prints is exactly what graph_parse reads ---- */
void graph_print(struct strbuf *out, const struct graph *g);
bool graph_parse(struct arena *a, struct buf text, const char *file, struct graph **out,
	struct err *e);

/* ---- gradients (grad.c): rows of vector-Jacobian products in the same ops ---- */

/* Appends nodes that compute d(sum of y * dy)/d(wrt[i]), dy an f32 node like y that no gradient passes, and writes
 * their indices to dwrt[] (-1: y does not depend on it). Gradients are f32. A dot's gradient operands are cast
 * to the dtype its sources have (the numerics class rounds the backward pass like the forward one). */
void graph_vjp(struct graph *g, int y, int dy, const int *wrt, int nwrt, int *dwrt);
/* The same of a loss, an f32 scalar node: d(loss)/d(wrt[i]). */
void graph_gradient(struct graph *g, int loss, const int *wrt, int nwrt, int *dwrt);

#endif
