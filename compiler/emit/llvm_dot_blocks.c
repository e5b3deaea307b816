/*
 * Register tiles of dots of q8 with q8 or q4 (ir.h): per block an exact sum of products of integers, then
 * one fma with the block's scales.
 *
 * Weights are a group of 4 k per lane and load; a q4 line becomes two such groups by a shift and a mask, so
 * behind the load there is one kernel. How a group is added depends on the target:
 *
 *   unsigned  vpdpbusd and usdot take unsigned weights (w + 128) and signed activations; the sum starts from
 *             the record's -128 * (sum of the row's block) and needs no correction behind it.
 *   signed    sdot takes the weights as they are.
 *   pairs, x86: vpmaddubsw saturates with such weights. |w| and the activation with w's sign give the same
 *             products, of which two are at most 128 * 127 * 2 < 2^15: exact.
 *   pairs, aarch64: smull, and the same bound lets two neighbours be added in 16 bits.
 */
#include <string.h>

#include "llvm_dot.h"

enum { SCALES_AHEAD = 512 };
enum { GROUP = 4, GROUPS = Q_BLOCK / GROUP, GROUP_BYTES = GROUP * PANEL };

static LLVMTypeRef i8(struct kernel *k)
{
	return LLVMInt8TypeInContext(k->context);
}

static LLVMValueRef at_byte(struct kernel *k, LLVMValueRef p, LLVMValueRef i, int64_t scale, int64_t plus)
{
	i = LLVMBuildMul(k->at, i, const_i64(k, scale), "");
	return element_at(k, i8(k), p, LLVMBuildAdd(k->at, i, const_i64(k, plus), ""));
}

static LLVMValueRef splat_i32(struct kernel *k, uint32_t v, int width)
{
	return splat(k, LLVMConstInt(k->i32, v, false), width);
}

/* ---- a group of 4 k: acc + sum over the group of w * a per lane ---- */

/* What the loop over rows needs of a vector of weights. */
struct weights {
	LLVMValueRef v;    /* unsigned: w + 128; else w, bytes */
	LLVMValueRef size; /* pairs, x86: |w| */
	LLVMValueRef minus;/* pairs, avx512: where w < 0 */
};

/* Bytes w + 128, as i32. */
static struct weights prepare(struct kernel *k, LLVMValueRef v, int width)
{
	struct weights w = {.v = v};
	if (k->target->int8 == INT8_UNSIGNED)
		return w;
	LLVMTypeRef bytes = LLVMVectorType(i8(k), (unsigned)width * GROUP);
	w.v = LLVMBuildBitCast(k->at, LLVMBuildXor(k->at, v, splat_i32(k, 0x80808080u, width), ""), bytes, "");
	if (k->target->int8 == INT8_SIGNED || k->target->arch != ARCH_X86_64)
		return w;
	LLVMValueRef arg[] = {w.v, LLVMConstInt(LLVMInt1TypeInContext(k->context), 0, false)};
	w.size = intrinsic_over(k, "llvm.abs", &bytes, 1, arg, 2);
	if (width == 16)
		w.minus = LLVMBuildICmp(k->at, LLVMIntSLT, w.v, LLVMConstNull(bytes), "");
	return w;
}

static LLVMValueRef add_group_x86(struct kernel *k, LLVMValueRef acc, const struct weights *w, LLVMValueRef a,
	int width)
{
	LLVMTypeRef bytes = LLVMTypeOf(w->v);
	bool wide = width == 16;
	a = LLVMBuildBitCast(k->at, a, bytes, "");
	if (wide)
		a = LLVMBuildSelect(k->at, w->minus, LLVMBuildNeg(k->at, a, ""), a, "");
	else
		a = intrinsic_over(k, "llvm.x86.avx2.psign.b", NULL, 0, (LLVMValueRef[]){a, w->v}, 2);
	LLVMValueRef pair = intrinsic_over(k, wide ? "llvm.x86.avx512.pmaddubs.w.512" : "llvm.x86.avx2.pmadd.ub.sw",
		NULL, 0, (LLVMValueRef[]){w->size, a}, 2);
	LLVMValueRef one = splat(k, LLVMConstInt(k->i16, 1, false), width * 2);
	LLVMValueRef sum = intrinsic_over(k, wide ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd", NULL, 0,
		(LLVMValueRef[]){pair, one}, 2);
	return LLVMBuildAdd(k->at, acc, sum, "");
}

static LLVMValueRef half_of(struct kernel *k, LLVMValueRef v, int half)
{
	LLVMValueRef lane[8];
	for (int i = 0; i < 8; i++)
		lane[i] = LLVMConstInt(k->i32, (uint64_t)(8 * half + i), false);
	return LLVMBuildShuffleVector(k->at, v, LLVMGetPoison(LLVMTypeOf(v)), LLVMConstVector(lane, 8), "");
}

static LLVMValueRef add_group_neon(struct kernel *k, LLVMValueRef acc, const struct weights *w, LLVMValueRef a)
{
	LLVMTypeRef pairs = LLVMVectorType(k->i16, 8), sums[] = {LLVMVectorType(k->i32, 4), pairs};
	LLVMValueRef product[2];
	a = LLVMBuildBitCast(k->at, a, LLVMTypeOf(w->v), "");
	for (int i = 0; i < 2; i++)
		product[i] = intrinsic_over(k, "llvm.aarch64.neon.smull", &pairs, 1,
			(LLVMValueRef[]){half_of(k, w->v, i), half_of(k, a, i)}, 2);
	LLVMValueRef pair = intrinsic_over(k, "llvm.aarch64.neon.addp", &pairs, 1, product, 2);
	return LLVMBuildAdd(k->at, acc, intrinsic_over(k, "llvm.aarch64.neon.saddlp", sums, 2, &pair, 1), "");
}

/* One instruction: acc, then weights and activations, unsigned ones first. */
static LLVMValueRef add_group_at_once(struct kernel *k, LLVMValueRef acc, const struct weights *w, LLVMValueRef a,
	int width)
{
	LLVMTypeRef overload[] = {vector_of(k->i32, width), LLVMVectorType(i8(k), (unsigned)width * GROUP)};
	bool x86 = k->target->arch == ARCH_X86_64;
	const char *name = x86 ? width == 16 ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256"
		: k->target->int8 == INT8_UNSIGNED ? "llvm.aarch64.neon.usdot" : "llvm.aarch64.neon.sdot";
	a = LLVMBuildBitCast(k->at, a, overload[1], "");
	return intrinsic_over(k, name, x86 ? NULL : overload, x86 ? 0 : 2, (LLVMValueRef[]){acc, w->v, a}, 3);
}

static LLVMValueRef add_group(struct kernel *k, LLVMValueRef acc, const struct weights *w, LLVMValueRef a,
	int width)
{
	if (k->target->int8 != INT8_PAIRS)
		return add_group_at_once(k, acc, w, a, width);
	if (k->target->arch == ARCH_X86_64)
		return add_group_x86(k, acc, w, a, width);
	return add_group_neon(k, acc, w, a);
}

/* Groups in the body of a loop: the whole block where an instruction does a group, else the code would be
 * long. */
static int groups_at_once(const struct target *t)
{
	return t->int8 == INT8_PAIRS ? 2 : GROUPS;
}

/* ---- the tile ---- */

struct walk {
	struct tile *t;
	LLVMValueRef block;           /* i64 */
	LLVMValueRef *row, *panel;    /* where the tile's rows and panels begin */
	LLVMValueRef *sum;            /* rows * panels * nvector allocas, i32 */
};

/* Vector v of panel p in group `group` of those that begin at `line`, as w + 128. */
static LLVMValueRef load_weights(struct kernel *k, struct walk *w, LLVMValueRef line, int group, int p, int v)
{
	struct tile *t = w->t;
	bool q4 = t->d->dtype == DT_Q4;
	int64_t plus = (q4 ? group / 2 : group) * GROUP_BYTES + v * t->width * GROUP;
	LLVMValueRef x = load_vector(k, k->i32, at_byte(k, w->panel[p], line, GROUP_BYTES, plus), t->width);
	if (!q4)
		return x;
	if (group % 2 == 0)
		x = LLVMBuildShl(k->at, x, splat_i32(k, 4, t->width), "");
	return LLVMBuildAnd(k->at, x, splat_i32(k, 0xf0f0f0f0u, t->width), "");
}

/* `count` groups from group `first` of all blocks on. */
static void add_groups(struct kernel *k, struct walk *w, LLVMValueRef first, int count)
{
	struct tile *t = w->t;
	int ncolumn = t->panels * t->nvector;
	LLVMValueRef line = first;
	if (t->d->dtype == DT_Q4)
		line = LLVMBuildLShr(k->at, first, const_i64(k, 1), "");
	for (int group = 0; group < count; group++) {
		struct weights b[BLOCK_PANELS * PANEL];
		for (int j = 0; j < ncolumn; j++)
			b[j] = prepare(k, load_weights(k, w, line, group, j / t->nvector, j % t->nvector), t->width);
		for (int row = 0; row < t->rows; row++) {
			LLVMValueRef a = load_vector(k, k->i32, at_byte(k, w->row[row], first, GROUP, group * GROUP), 1);
			a = splat(k, a, t->width);
			for (int j = 0; j < ncolumn; j++) {
				LLVMTypeRef vector = vector_of(k->i32, t->width);
				LLVMValueRef sum = w->sum[row * ncolumn + j];
				LLVMValueRef old = LLVMBuildLoad2(k->at, vector, sum, "");
				LLVMBuildStore(k->at, add_group(k, old, &b[j], a, t->width), sum);
			}
		}
	}
}

static void add_all_groups(struct kernel *k, struct walk *w)
{
	int step = groups_at_once(k->target);
	LLVMValueRef first = LLVMBuildMul(k->at, w->block, const_i64(k, GROUPS), "");
	if (step == GROUPS) {
		add_groups(k, w, first, GROUPS);
		return;
	}
	struct loop l;
	loop_begin(k, &l, first, LLVMBuildAdd(k->at, first, const_i64(k, GROUPS), ""), step);
	add_groups(k, w, l.i, step);
	loop_end(k, &l);
}

/* The block's scales of vector v of panel p, as f32. */
static LLVMValueRef load_scales(struct kernel *k, struct walk *w, int p, int v)
{
	struct tile *t = w->t;
	LLVMValueRef at = at_byte(k, w->panel[p], w->block, PANEL * 2,
		t->d->panels_shape.scales + v * t->width * 2);
	LLVMValueRef half = LLVMBuildLoad2(k->at,
		vector_of(LLVMHalfTypeInContext(k->context), t->width), at, "");
	LLVMSetAlignment(half, 2);
	return LLVMBuildFPExt(k->at, half, vector_of(k->f32, t->width), "");
}

static void begin_sums(struct kernel *k, struct walk *w)
{
	struct tile *t = w->t;
	int ncolumn = t->panels * t->nvector;
	for (int row = 0; row < t->rows; row++) {
		LLVMValueRef from = LLVMConstInt(k->i32, 0, false);
		if (k->target->int8 == INT8_UNSIGNED)
			from = load_vector(k, k->i32,
				at_byte(k, w->row[row], w->block, 8, t->d->rows_shape.scales + 4), 1);
		for (int j = 0; j < ncolumn; j++)
			LLVMBuildStore(k->at, splat(k, from, t->width), w->sum[row * ncolumn + j]);
	}
}

/* Asks for what lies `ahead` bytes behind the block's `each` bytes of a part, `end` bytes long, of panel p. Behind the
 * part's end a row alone goes on in the next tile. */
static void prefetch_part(struct kernel *k, struct walk *w, int p, int64_t from, int64_t each, int64_t end, int64_t ahead)
{
	struct tile *t = w->t;
	LLVMValueRef at = LLVMBuildAdd(k->at, LLVMBuildMul(k->at, w->block, const_i64(k, each), ""), const_i64(k, ahead), "");
	if (t->rows == 1) {
		LLVMValueRef next = LLVMBuildAdd(k->at, at, const_i64(k, t->panels * t->d->panels_shape.bytes - end), "");
		at = LLVMBuildSelect(k->at, LLVMBuildICmp(k->at, LLVMIntSLT, at, const_i64(k, end), ""), at, next, "");
	}
	emit_prefetch(k, at_byte(k, w->panel[p], at, 1, from), prefetch_cache(t));
}

static void prefetch(struct kernel *k, struct walk *w)
{
	struct tile *t = w->t;
	const struct block_shape *s = &t->d->panels_shape;
	int64_t bytes = s->scales / s->nblock, scales = PANEL * 2;
	for (int p = 0; p < t->panels; p++) {
		for (int64_t line = 0; line < bytes; line += Q_ALIGN)
			prefetch_part(k, w, p, 0, bytes, s->scales, prefetch_bytes(t) + line);
		if (t->rows == 1)
			prefetch_part(k, w, p, s->scales, scales, s->nblock * scales, SCALES_AHEAD);
	}
}

static void add_block(struct kernel *k, struct walk *w)
{
	struct tile *t = w->t;
	int ncolumn = t->panels * t->nvector;
	LLVMValueRef scale[BLOCK_PANELS * PANEL];
	prefetch(k, w);
	begin_sums(k, w);
	add_all_groups(k, w);
	for (int j = 0; j < ncolumn; j++)
		scale[j] = load_scales(k, w, j / t->nvector, j % t->nvector);
	for (int row = 0; row < t->rows; row++) {
		LLVMValueRef a = load_vector(k, k->f32,
			at_byte(k, w->row[row], w->block, 8, t->d->rows_shape.scales), 1);
		a = splat(k, a, t->width);
		for (int j = 0; j < ncolumn; j++) {
			LLVMTypeRef vector = vector_of(k->f32, t->width);
			LLVMValueRef sum = LLVMBuildLoad2(k->at, vector_of(k->i32, t->width),
				w->sum[row * ncolumn + j], "");
			sum = LLVMBuildSIToFP(k->at, sum, vector, "");
			LLVMValueRef *to = &t->acc[row * ncolumn + j];
			LLVMValueRef old = load_vector(k, k->f32, *to, t->width);
			LLVMValueRef by = LLVMBuildFMul(k->at, a, scale[j], "");
			store_vector(k, fma_value(k, sum, by, old), *to, 4);
		}
	}
}

/* Whether the tile's floats find room in registers beside the sums; else they stay in the buffer. */
static bool acc_in_registers(const struct kernel *k, const struct tile *t)
{
	int ncolumn = t->panels * t->nvector, nregister = k->target->lanes == 8 ? 16 : 32;
	bool sizes = k->target->int8 == INT8_PAIRS && k->target->arch == ARCH_X86_64;
	int weights = sizes ? 2 * ncolumn : ncolumn;
	return 2 * t->rows * ncolumn + weights + 2 <= nregister;
}

void emit_blocks_tile(struct kernel *k, struct tile *t, LLVMValueRef buffer, LLVMValueRef column)
{
	int ncolumn = t->panels * t->nvector, nacc = t->rows * ncolumn;
	struct walk w = {.t = t};
	struct loop l;
	w.row = arena_array(k->arena, LLVMValueRef, t->rows);
	w.panel = arena_array(k->arena, LLVMValueRef, t->panels);
	w.sum = arena_array(k->arena, LLVMValueRef, nacc);
	t->acc = arena_array(k->arena, LLVMValueRef, nacc);
	for (int row = 0; row < t->rows; row++)
		w.row[row] = at_byte(k, t->a, LLVMBuildAdd(k->at, t->m, const_i64(k, row), ""),
			t->d->rows_shape.bytes, 0);
	for (int p = 0; p < t->panels; p++)
		w.panel[p] = at_byte(k, t->b, LLVMBuildAdd(k->at, t->panel, const_i64(k, p), ""),
			t->d->panels_shape.bytes, 0);
	LLVMValueRef *at = arena_array(k->arena, LLVMValueRef, nacc);
	for (int i = 0; i < nacc; i++) {
		int row = i / ncolumn, j = i % ncolumn;
		at[i] = element_at(k, k->f32, buffer, LLVMBuildAdd(k->at, column,
			const_i64(k, row * BLOCK_LANES + j * t->width), ""));
		t->acc[i] = acc_in_registers(k, t) ? alloca_entry(k, vector_of(k->f32, t->width), "acc") : at[i];
		store_vector(k, LLVMConstNull(vector_of(k->f32, t->width)), t->acc[i], 4);
		w.sum[i] = alloca_entry(k, vector_of(k->i32, t->width), "sum");
	}
	loop_begin(k, &l, const_i64(k, 0), const_i64(k, t->d->rows_shape.nblock), 1);
	w.block = l.i;
	add_block(k, &w);
	loop_end(k, &l);
	for (int i = 0; i < nacc && acc_in_registers(k, t); i++)
		store_vector(k, load_vector(k, k->f32, t->acc[i], t->width), at[i], 4);
}

struct tile_size blocks_tile_size(const struct target *t)
{
	if (t->lanes == 16)
		return (struct tile_size){6, 2, 4};
	return (struct tile_size){4, 1, 2};
}
