#include "llvm_kernel.h"

#include <string.h>

#include "layout.h"

LLVMValueRef const_i64(struct kernel *k, int64_t v)
{
	return LLVMConstInt(k->i64, (uint64_t)v, true);
}

LLVMTypeRef vector_of(LLVMTypeRef element, int width)
{
	return width == 1 ? element : LLVMVectorType(element, (unsigned)width);
}

LLVMValueRef splat(struct kernel *k, LLVMValueRef scalar, int width)
{
	if (width == 1)
		return scalar;
	LLVMTypeRef t = vector_of(LLVMTypeOf(scalar), width);
	LLVMValueRef one = LLVMBuildInsertElement(k->at, LLVMGetPoison(t), scalar,
		LLVMConstInt(k->i32, 0, false), "");
	return LLVMBuildShuffleVector(k->at, one, LLVMGetPoison(t),
		LLVMConstNull(LLVMVectorType(k->i32, (unsigned)width)), "");
}

LLVMValueRef intrinsic_over(struct kernel *k, const char *name, LLVMTypeRef *overload, size_t noverload,
	LLVMValueRef *arg, unsigned narg)
{
	enum { MOST = 4 };
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	if (!id || narg > MOST)
		BUG("LLVM has no intrinsic '%s' of %u arguments", name, narg);
	LLVMTypeRef param[MOST], type = LLVMIntrinsicGetType(k->context, id, overload, noverload);
	LLVMValueRef cast[MOST];
	LLVMGetParamTypes(type, param);
	for (unsigned i = 0; i < narg; i++)
		cast[i] = LLVMBuildBitCast(k->at, arg[i], param[i], "");
	return LLVMBuildCall2(k->at, type,
		LLVMGetIntrinsicDeclaration(k->module, id, overload, noverload), cast, narg, "");
}

LLVMValueRef intrinsic(struct kernel *k, const char *name, LLVMTypeRef overload, LLVMValueRef *arg,
	int narg)
{
	return intrinsic_over(k, name, &overload, overload ? 1 : 0, arg, (unsigned)narg);
}

void emit_prefetch(struct kernel *k, LLVMValueRef p, enum cache to)
{
	LLVMValueRef read = LLVMConstInt(k->i32, 0, false), locality = LLVMConstInt(k->i32, to, false);
	LLVMValueRef data = LLVMConstInt(k->i32, 1, false);
	intrinsic(k, "llvm.prefetch", k->ptr, (LLVMValueRef[]){p, read, locality, data}, 4);
}

LLVMValueRef min_i64(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(k->at, LLVMBuildICmp(k->at, LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef max_i64(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(k->at, LLVMBuildICmp(k->at, LLVMIntSGT, a, b, ""), a, b, "");
}

LLVMValueRef fma_value(struct kernel *k, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
	LLVMValueRef arg[] = {a, b, c};
	return intrinsic(k, "llvm.fma", LLVMTypeOf(a), arg, 3);
}

LLVMValueRef element_at(struct kernel *k, LLVMTypeRef t, LLVMValueRef p, LLVMValueRef index)
{
	return LLVMBuildGEP2(k->at, t, p, &index, 1, "");
}

static unsigned bytes_of(LLVMTypeRef t)
{
	LLVMTypeKind kind = LLVMGetTypeKind(t);
	return kind == LLVMFloatTypeKind ? 4 : kind == LLVMHalfTypeKind ? 2 : LLVMGetIntTypeWidth(t) / 8;
}

LLVMValueRef load_vector(struct kernel *k, LLVMTypeRef element, LLVMValueRef p, int width)
{
	LLVMValueRef v = LLVMBuildLoad2(k->at, vector_of(element, width), p, "");
	LLVMSetAlignment(v, bytes_of(element));
	return v;
}

void store_vector(struct kernel *k, LLVMValueRef v, LLVMValueRef p, int element_bytes)
{
	LLVMSetAlignment(LLVMBuildStore(k->at, v, p), (unsigned)element_bytes);
}

static LLVMTypeRef memory_type(struct kernel *k, enum dtype t)
{
	return t == DT_F32 ? k->f32 : t == DT_BF16 ? k->i16 : t == DT_F16 ? LLVMHalfTypeInContext(k->context) : k->i32;
}

LLVMValueRef load_typed(struct kernel *k, enum dtype dtype, LLVMValueRef base, LLVMValueRef index,
	int width)
{
	LLVMTypeRef t = memory_type(k, dtype);
	LLVMValueRef v = load_vector(k, t, element_at(k, t, base, index), width);
	if (dtype == DT_F16)
		return LLVMBuildFPExt(k->at, v, vector_of(k->f32, width), "");
	if (dtype != DT_BF16)
		return v;
	v = LLVMBuildZExt(k->at, v, vector_of(k->i32, width), "");
	v = LLVMBuildShl(k->at, v, splat(k, LLVMConstInt(k->i32, 16, false), width), "");
	return LLVMBuildBitCast(k->at, v, vector_of(k->f32, width), "");
}

static void store_typed(struct kernel *k, enum dtype dtype, LLVMValueRef v, LLVMValueRef base,
	LLVMValueRef index, int width)
{
	LLVMTypeRef t = memory_type(k, dtype);
	if (dtype == DT_BF16) {
		v = LLVMBuildBitCast(k->at, v, vector_of(k->i32, width), "");
		v = LLVMBuildLShr(k->at, v, splat(k, LLVMConstInt(k->i32, 16, false), width), "");
		v = LLVMBuildTrunc(k->at, v, vector_of(k->i16, width), "");
	} else if (dtype == DT_F16) {
		v = LLVMBuildFPTrunc(k->at, v, vector_of(t, width), "");
	}
	store_vector(k, v, element_at(k, t, base, index), dtype_bytes(dtype));
}

LLVMValueRef alloca_entry(struct kernel *k, LLVMTypeRef t, const char *name)
{
	LLVMBasicBlockRef here = LLVMGetInsertBlock(k->at);
	LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(k->function);
	LLVMValueRef first = LLVMGetFirstInstruction(entry);
	if (first)
		LLVMPositionBuilderBefore(k->at, first);
	else
		LLVMPositionBuilderAtEnd(k->at, entry);
	LLVMValueRef p = LLVMBuildAlloca(k->at, t, name);
	LLVMPositionBuilderAtEnd(k->at, here);
	return p;
}

void loop_begin(struct kernel *k, struct loop *l, LLVMValueRef from, LLVMValueRef to, int64_t step)
{
	l->counter = alloca_entry(k, k->i64, "i");
	l->step = const_i64(k, step);
	l->head = LLVMAppendBasicBlockInContext(k->context, k->function, "head");
	l->body = LLVMAppendBasicBlockInContext(k->context, k->function, "body");
	l->end = LLVMAppendBasicBlockInContext(k->context, k->function, "end");
	LLVMBuildStore(k->at, from, l->counter);
	LLVMBuildBr(k->at, l->head);
	LLVMPositionBuilderAtEnd(k->at, l->head);
	l->i = LLVMBuildLoad2(k->at, k->i64, l->counter, "i");
	LLVMBuildCondBr(k->at, LLVMBuildICmp(k->at, LLVMIntSLT, l->i, to, ""), l->body, l->end);
	LLVMPositionBuilderAtEnd(k->at, l->body);
}

void loop_end(struct kernel *k, struct loop *l)
{
	LLVMBuildStore(k->at, LLVMBuildAdd(k->at, l->i, l->step, ""), l->counter);
	LLVMBuildBr(k->at, l->head);
	LLVMPositionBuilderAtEnd(k->at, l->end);
}

LLVMValueRef memory_of(struct kernel *k, int n)
{
	n = state_of(k->g, n);
	for (int i = 0; i < k->narg; i++)
		if (k->arg_node[i] == n)
			return k->arg[i];
	/* The argument is loaded in the entry block, where it dominates every use. */
	if (k->narg == KERNEL_MAX_ARGS)
		BUG("region needs more than %d tensors", KERNEL_MAX_ARGS);
	LLVMBasicBlockRef here = LLVMGetInsertBlock(k->at);
	LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(k->function);
	LLVMPositionBuilderBefore(k->at, LLVMGetBasicBlockTerminator(entry));
	LLVMValueRef p = element_at(k, k->ptr, LLVMGetParam(k->function, 0), const_i64(k, k->narg));
	k->arg[k->narg] = LLVMBuildLoad2(k->at, k->ptr, p, "t");
	LLVMPositionBuilderAtEnd(k->at, here);
	k->arg_node[k->narg] = n;
	return k->arg[k->narg++];
}

static void touch(struct kernel *k, int n)
{
	int at = 0;
	while (at < k->ntouched && k->touched[at] < n)
		at++;
	if (at < k->ntouched && k->touched[at] == n)
		return;
	arena_push(k->arena, k->touched, k->ntouched);
	memmove(k->touched + at + 1, k->touched + at, (size_t)(k->ntouched - 1 - at) * sizeof(int));
	k->touched[at] = n;
	/* Inline nodes are evaluated here with all that they need; others end at memory. */
	const struct node *node = &k->g->node[n];
	bool here = node->region < 0 || &k->g->region[node->region] == k->region;
	for (int s = 0; here && s < op_info[node->op].nsrc; s++)
		touch(k, node->src[s]);
}

void kernel_touch(struct kernel *k)
{
	for (int i = 0; i < k->region->nnode; i++)
		touch(k, k->region->node[i]);
}

struct value *known_at(struct kernel *k, struct env *env, int n)
{
	int lo = 0, hi = k->ntouched - 1;
	while (lo < hi) {
		int mid = (lo + hi) / 2;
		if (k->touched[mid] < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo > hi || k->touched[lo] != n)
		BUG("%%%d does not belong to this kernel", n);
	return &env->known[lo];
}

void env_init(struct kernel *k, struct env *env)
{
	memset(env, 0, sizeof(*env));
	env->vector_axis = -1;
	env->width = 1;
	env->known = arena_array(k->arena, struct value, k->ntouched);
}

void env_fork(struct kernel *k, struct env *to, const struct env *from)
{
	*to = *from;
	to->known = arena_copy(k->arena, from->known, (size_t)k->ntouched * sizeof(*to->known));
}

LLVMValueRef extent_product(struct kernel *k, const struct type *t, int first, int last)
{
	LLVMValueRef n = const_i64(k, 1);
	for (int i = first; i < last; i++)
		n = LLVMBuildMul(k->at, n, k->dim[t->axis[i]], "");
	return n;
}

void env_unflatten(struct kernel *k, struct env *env, const struct type *t, int first, int last,
	LLVMValueRef flat)
{
	for (int i = last - 1; i >= first; i--) {
		LLVMValueRef extent = k->dim[t->axis[i]];
		/* The outermost takes what is left: no division when there is one axis. */
		if (i == first) {
			env->index[t->axis[i]] = flat;
		} else {
			env->index[t->axis[i]] = LLVMBuildURem(k->at, flat, extent, "");
			flat = LLVMBuildUDiv(k->at, flat, extent, "");
		}
	}
}

static LLVMValueRef index_along(struct kernel *k, const struct env *env, int axis, int lane)
{
	LLVMValueRef i = env->index[axis];
	if (!i)
		BUG("axis '%s' has no index here", k->g->axis[axis].name);
	return lane && axis == env->vector_axis ? LLVMBuildAdd(k->at, i, const_i64(k, lane), "") : i;
}

LLVMValueRef flat_index(struct kernel *k, const struct env *env, const struct type *t,
	int first, int last, int lane)
{
	LLVMValueRef at = const_i64(k, 0);
	for (int i = first; i < last; i++) {
		LLVMValueRef extent = const_i64(k, k->g->axis[t->axis[i]].extent);
		at = LLVMBuildMul(k->at, at, extent, "");
		at = LLVMBuildAdd(k->at, at, index_along(k, env, t->axis[i], lane), "");
	}
	return at;
}

/* The element index of lane `lane`; the formula of layout_offset(). */
static LLVMValueRef element_index(struct kernel *k, const struct env *env, const struct type *t,
	struct layout l, int lane)
{
	if (l.kind == LAYOUT_ROW) {
		LLVMValueRef at = flat_index(k, env, t, 0, t->naxis, lane);
		if (!l.pad)
			return at;
		LLVMValueRef row = index_along(k, env, t->axis[0], lane);
		return LLVMBuildAdd(k->at, at, LLVMBuildMul(k->at, row, const_i64(k, l.pad), ""), "");
	}
	bool pairs = t->dtype == DT_BF16;
	int64_t npanels = (type_extents(k->g, t, l.first, l.last) + PANEL - 1) / PANEL;
	int64_t inner = type_extents(k->g, t, l.last, t->naxis);
	LLVMValueRef panel16 = const_i64(k, PANEL), two = const_i64(k, 2);
	LLVMValueRef outer = flat_index(k, env, t, 0, l.first, lane);
	LLVMValueRef o = flat_index(k, env, t, l.first, l.last, lane);
	LLVMValueRef in = flat_index(k, env, t, l.last, t->naxis, lane);
	LLVMValueRef panel = LLVMBuildMul(k->at, outer, const_i64(k, npanels), "");
	panel = LLVMBuildAdd(k->at, panel, LLVMBuildUDiv(k->at, o, panel16, ""), "");
	LLVMValueRef in_panel = LLVMBuildURem(k->at, o, panel16, "");
	LLVMValueRef step = pairs ? LLVMBuildUDiv(k->at, in, two, "") : in;
	LLVMValueRef at = LLVMBuildMul(k->at, panel, const_i64(k, pairs ? (inner + 1) / 2 : inner), "");
	at = LLVMBuildAdd(k->at, at, step, "");
	at = LLVMBuildMul(k->at, at, const_i64(k, pairs ? 2 * PANEL : PANEL), "");
	if (!pairs)
		return LLVMBuildAdd(k->at, at, in_panel, "");
	at = LLVMBuildAdd(k->at, at, LLVMBuildMul(k->at, in_panel, two, ""), "");
	return LLVMBuildAdd(k->at, at, LLVMBuildURem(k->at, in, two, ""), "");
}

static bool varies(const struct env *env, const struct type *t)
{
	return env->width > 1 && env->vector_axis >= 0 && type_has_axis(t, env->vector_axis);
}

static bool contiguous(const struct env *env, const struct type *t, struct layout l)
{
	return l.kind == LAYOUT_ROW && t->naxis && t->axis[t->naxis - 1] == env->vector_axis;
}

static LLVMValueRef lane_const(struct kernel *k, int lane)
{
	return LLVMConstInt(k->i32, (uint64_t)lane, false);
}

static struct value load_memory(struct kernel *k, int n, struct env *env)
{
	const struct node *node = &k->g->node[n];
	const struct type *t = &node->type;
	LLVMValueRef base = memory_of(k, n);
	if (dtype_has_blocks(t->dtype))
		return (struct value){load_blocks(k, n, env, varies(env, t) ? env->width : 1), varies(env, t)};
	if (!varies(env, t))
		return (struct value){
			load_typed(k, t->dtype, base, element_index(k, env, t, node->layout, 0), 1), false};
	if (contiguous(env, t, node->layout))
		return (struct value){load_typed(k, t->dtype, base,
			element_index(k, env, t, node->layout, 0), env->width), true};
	LLVMTypeRef element = t->dtype == DT_I32 ? k->i32 : k->f32;
	LLVMValueRef v = LLVMGetPoison(vector_of(element, env->width));
	for (int lane = 0; lane < env->width; lane++) {
		LLVMValueRef at = element_index(k, env, t, node->layout, lane);
		v = LLVMBuildInsertElement(k->at, v, load_typed(k, t->dtype, base, at, 1),
			lane_const(k, lane), "");
	}
	return (struct value){v, true};
}

LLVMValueRef load_node(struct kernel *k, int n, struct env *env)
{
	struct value v = load_memory(k, n, env);
	return v.vector ? v.v : splat(k, v.v, env->width);
}

static struct value evaluate_iota(struct kernel *k, const struct node *n, struct env *env)
{
	LLVMValueRef base = index_along(k, env, n->type.axis[0], 0);
	base = LLVMBuildTrunc(k->at, base, k->i32, "");
	if (!varies(env, &n->type))
		return (struct value){base, false};
	LLVMValueRef lane[PANEL];
	for (int i = 0; i < env->width; i++)
		lane[i] = lane_const(k, i);
	LLVMValueRef v = splat(k, base, env->width);
	return (struct value){LLVMBuildAdd(k->at, v, LLVMConstVector(lane, (unsigned)env->width), ""),
		true};
}

static struct value evaluate_map(struct kernel *k, const struct node *n, struct env *env)
{
	struct value src[IR_MAX_SRCS];
	LLVMValueRef v[IR_MAX_SRCS];
	int nsrc = op_info[n->op].nsrc;
	bool vector = false;
	for (int s = 0; s < nsrc; s++) {
		src[s] = evaluate(k, n->src[s], env);
		vector = vector || src[s].vector;
	}
	int width = vector ? env->width : 1;
	for (int s = 0; s < nsrc; s++)
		v[s] = vector && !src[s].vector ? splat(k, src[s].v, width) : src[s].v;
	return (struct value){emit_scalar_op(k, n->op, v, width), vector};
}

static struct value evaluate_flip(struct kernel *k, const struct node *n, struct env *env)
{
	struct env other = *env;
	other.known = arena_array(k->arena, struct value, k->ntouched);
	for (int i = 0; i < k->ntouched; i++) /* what lacks the axis does not vary along it */
		if (!type_has_axis(&k->g->node[k->touched[i]].type, n->axis))
			other.known[i] = env->known[i];
	LLVMValueRef last = LLVMBuildSub(k->at, k->dim[n->axis], const_i64(k, 1), "");
	other.index[n->axis] = LLVMBuildSub(k->at, last, env->index[n->axis], "");
	return evaluate(k, n->src[0], &other);
}

static LLVMValueRef index_value(struct kernel *k, int n, struct env *env)
{
	struct value v = evaluate(k, n, env);
	if (v.vector)
		BUG("an index varies along the vector axis");
	return LLVMBuildSExt(k->at, v.v, k->i64, "");
}

static struct value evaluate_gather(struct kernel *k, const struct node *n, struct env *env)
{
	struct env other = *env;
	other.known = arena_array(k->arena, struct value, k->ntouched);
	other.index[n->axis] = index_value(k, n->src[1], env);
	return load_memory(k, n->src[0], &other);
}

static bool in_memory(const struct kernel *k, int n)
{
	const struct node *node = &k->g->node[n];
	if (op_info[node->op].class == CLASS_LEAF)
		return node->op != OP_CONST && node->op != OP_IOTA;
	if (node->region < 0)
		return false;
	return &k->g->region[node->region] != k->region;
}

struct value evaluate(struct kernel *k, int i, struct env *env)
{
	const struct node *n = &k->g->node[i];
	if (known_at(k, env, i)->v)
		return *known_at(k, env, i);
	struct value v;
	if (in_memory(k, i))
		v = load_memory(k, i, env);
	else if (n->op == OP_CONST && n->type.dtype == DT_I32)
		v = (struct value){LLVMConstInt(k->i32, (uint64_t)(int64_t)n->value, true), false};
	else if (n->op == OP_CONST)
		v = (struct value){LLVMConstReal(k->f32, (float)n->value), false};
	else if (n->op == OP_IOTA)
		v = evaluate_iota(k, n, env);
	else if (n->op == OP_EXPAND)
		v = evaluate(k, n->src[0], env);
	else if (n->op == OP_FLIP)
		v = evaluate_flip(k, n, env);
	else if (n->op == OP_GATHER)
		v = evaluate_gather(k, n, env);
	else if (op_info[n->op].class == CLASS_MAP)
		v = evaluate_map(k, n, env);
	else
		BUG("%%%d '%s' cannot be evaluated here", i, op_info[n->op].name);
	*known_at(k, env, i) = v;
	return v;
}

LLVMValueRef evaluate_full(struct kernel *k, int n, struct env *env)
{
	struct value v = evaluate(k, n, env);
	return v.vector ? v.v : splat(k, v.v, env->width);
}

/* Whether a vector is pairs of neighbours in panels of bf16: it begins with an even index along k. */
static bool has_pairs(const struct kernel *k, const struct env *env, const struct type *t, struct layout l)
{
	int last = t->axis[t->naxis - 1];
	return l.kind == LAYOUT_PANEL && t->dtype == DT_BF16 && l.last < t->naxis && env->vector_axis == last &&
		env->width % 2 == 0 && k->g->axis[last].extent % 2 == 0;
}

static void store_pairs(struct kernel *k, LLVMValueRef v, LLVMValueRef p, int width)
{
	v = LLVMBuildBitCast(k->at, v, vector_of(k->i32, width), "");
	v = LLVMBuildLShr(k->at, v, splat(k, LLVMConstInt(k->i32, 16, false), width), "");
	v = LLVMBuildTrunc(k->at, v, vector_of(k->i16, width), "");
	v = LLVMBuildBitCast(k->at, v, vector_of(k->i32, width / 2), "");
	for (int i = 0; i < width / 2; i++) {
		LLVMValueRef pair = width == 2 ? v : LLVMBuildExtractElement(k->at, v, lane_const(k, i), "");
		store_vector(k, pair, element_at(k, k->i32, p, const_i64(k, i * PANEL)), 4);
	}
}

void store_node(struct kernel *k, int n, struct env *env)
{
	const struct node *node = &k->g->node[n];
	struct env where = *env;
	int from = n;
	if (node->op == OP_ASSIGN || node->op == OP_PUT)
		from = node->src[1];
	if (node->op == OP_PUT)
		where.index[node->axis] = index_value(k, node->src[2], env);
	const struct type *t = &node->type;
	if (dtype_has_blocks(t->dtype)) {
		copy_blocks(k, from, env, n, &where);
		return;
	}
	LLVMValueRef base = memory_of(k, n);
	struct value v = evaluate(k, from, env);
	if (!varies(&where, t)) {
		if (v.vector)
			BUG("%%%d varies along an axis that it lacks", n);
		store_typed(k, t->dtype, v.v, base, element_index(k, &where, t, node->layout, 0), 1);
		return;
	}
	LLVMValueRef full = v.vector ? v.v : splat(k, v.v, env->width);
	if (contiguous(&where, t, node->layout)) {
		store_typed(k, t->dtype, full, base, element_index(k, &where, t, node->layout, 0),
			env->width);
		return;
	}
	if (has_pairs(k, &where, t, node->layout)) {
		store_pairs(k, full, element_at(k, k->i16, base, element_index(k, &where, t, node->layout, 0)), env->width);
		return;
	}
	for (int lane = 0; lane < env->width; lane++)
		store_typed(k, t->dtype, LLVMBuildExtractElement(k->at, full, lane_const(k, lane), ""),
			base, element_index(k, &where, t, node->layout, lane), 1);
}

void vector_loop(struct kernel *k, const struct env *env, int axis, LLVMValueRef from,
	LLVMValueRef to, int width, nest_body *body, void *arg)
{
	LLVMValueRef split = from;
	if (width > 1) {
		LLVMValueRef n = LLVMBuildSub(k->at, to, from, "");
		n = LLVMBuildAnd(k->at, n, const_i64(k, -(int64_t)width), "");
		split = LLVMBuildAdd(k->at, from, n, "");
	}
	for (int w = width; w >= 1; w = w > 1 ? 1 : 0) {
		struct loop l;
		struct env inner;
		loop_begin(k, &l, w > 1 ? from : split, w > 1 ? split : to, w);
		env_fork(k, &inner, env);
		inner.vector_axis = axis;
		inner.width = w;
		inner.index[axis] = l.i;
		body(k, &inner, arg);
		loop_end(k, &l);
	}
}
