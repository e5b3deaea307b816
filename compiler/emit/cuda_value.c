/* Text, axes and elementwise values of the CUDA emitter. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cuda_kernel.h"

/* ---- text ---- */

static void indented(struct cuda_fn *f, const char *fmt, va_list ap)
{
	char text[4096];
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		BUG("a line of generated code is longer than %zu", sizeof(text));
	for (int i = 0; i <= f->depth; i++)
		strbuf_addc(f->out, '\t');
	strbuf_adds(f->out, text);
}

void cuda_line(struct cuda_fn *f, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	indented(f, fmt, ap);
	va_end(ap);
	strbuf_addc(f->out, '\n');
}

void cuda_open(struct cuda_fn *f, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	indented(f, fmt, ap);
	va_end(ap);
	strbuf_adds(f->out, " {\n");
	f->depth++;
}

void cuda_block(struct cuda_fn *f)
{
	cuda_line(f, "{");
	f->depth++;
}

void cuda_close(struct cuda_fn *f)
{
	f->depth--;
	cuda_line(f, "}");
}

const char *cuda_text(struct cuda_fn *f, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		BUG("an expression of generated code is longer than %zu", sizeof(text));
	return arena_strdup(f->arena, text);
}

const char *cuda_name(struct cuda_fn *f, const char *stem)
{
	return cuda_text(f, "%s%d", stem, f->nname++);
}

/* ---- axes ---- */

const char *cuda_extent(struct cuda_fn *f, int axis)
{
	const struct axis *a = &f->g->axis[axis];
	if (!a->dynamic)
		return cuda_text(f, "%lld", (long long)a->extent);
	int n = 0;
	for (int i = 0; i < axis; i++)
		n += f->g->axis[i].dynamic;
	return cuda_text(f, "d%d", n);
}

const char *cuda_extents(struct cuda_fn *f, const struct type *t, int first, int last)
{
	const char *text = NULL;
	int64_t n = 1;
	for (int i = first; i < last; i++) {
		if (!f->g->axis[t->axis[i]].dynamic) {
			n *= f->g->axis[t->axis[i]].extent;
			continue;
		}
		const char *extent = cuda_extent(f, t->axis[i]);
		text = text ? cuda_text(f, "%s * %s", text, extent) : extent;
	}
	if (!text)
		return cuda_text(f, "%lld", (long long)n);
	return n == 1 ? text : cuda_text(f, "%s * %lld", text, (long long)n);
}

/* Division of 64 bits is some ten times that of 32 on a GPU. */
void cuda_unflatten(struct cuda_fn *f, struct spot *s, const struct type *t, int first, int last, const char *flat)
{
	bool narrow = type_extents(f->g, t, first, last) <= INT32_MAX;
	for (int i = last - 1; i >= first; i--) {
		/* The outermost takes what is left: no division when there is one axis. */
		if (i == first) {
			s->index[t->axis[i]] = flat;
			return;
		}
		const char *extent = cuda_extent(f, t->axis[i]), *index = cuda_name(f, "ix"), *rest = cuda_name(f, "ix");
		if (narrow) {
			cuda_line(f, "const int %s = (int)((u32)%s %% (u32)%s);", index, flat, extent);
			cuda_line(f, "const int %s = (int)((u32)%s / (u32)%s);", rest, flat, extent);
		} else {
			cuda_line(f, "const int %s = (int)(%s %% %s);", index, flat, extent);
			cuda_line(f, "const i64 %s = %s / %s;", rest, flat, extent);
		}
		s->index[t->axis[i]] = index;
		s->divided[t->axis[i]] = (struct divided){index, rest, flat};
		flat = rest;
	}
}

static const char *index_along(struct cuda_fn *f, const struct spot *s, int axis)
{
	if (!s->index[axis])
		BUG("axis '%s' has no index here", f->g->axis[axis].name);
	return s->index[axis];
}

/* A variable for axes until `axis`, where one is known for those before it that has the name `before`; else NULL. Where they were divided
 * extents were those of this call, here they are the largest. */
static const char *flat_with(const struct cuda_fn *f, const struct spot *s, const char *before, int axis)
{
	const struct divided *d = &s->divided[axis];
	return d->before == before && d->index == s->index[axis] && !f->g->axis[axis].dynamic ? d->with : NULL;
}

const char *cuda_flat(struct cuda_fn *f, const struct spot *s, const struct type *t, int first, int last)
{
	const char *at = NULL;
	for (int i = first; i < last; i++) {
		const char *index = index_along(f, s, t->axis[i]), *more;
		int64_t extent = f->g->axis[t->axis[i]].extent;
		for (; i + 1 < last && (more = flat_with(f, s, index, t->axis[i + 1])); i++) {
			index = more;
			extent *= f->g->axis[t->axis[i + 1]].extent;
		}
		at = at ? cuda_text(f, "(%s * (i64)%lld + %s)", at, (long long)extent, index) : cuda_text(f, "(i64)%s", index);
	}
	return at ? at : "0";
}

/* ---- places ---- */

static int known_slot(struct cuda_fn *f, int n)
{
	int lo = 0, hi = f->ntouched - 1;
	while (lo < hi) {
		int mid = (lo + hi) / 2;
		if (f->touched[mid] < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo > hi || f->touched[lo] != n)
		BUG("%%%d does not belong to this kernel", n);
	return lo;
}

void spot_init(struct cuda_fn *f, struct spot *s)
{
	memset(s, 0, sizeof(*s));
	s->known = arena_array(f->arena, const char *, f->ntouched);
}

void spot_fork(struct cuda_fn *f, struct spot *to, const struct spot *from)
{
	*to = *from;
	to->known = arena_copy(f->arena, from->known, (size_t)f->ntouched * sizeof(*to->known));
}

void spot_know(struct cuda_fn *f, struct spot *s, int n, const char *value)
{
	s->known[known_slot(f, n)] = value;
}

const char *cuda_memory(struct cuda_fn *f, int n)
{
	n = state_of(f->g, n);
	int i = 0;
	while (i < f->narg && f->arg_node[i] != n)
		i++;
	if (i == PROGRAM_MAX_ARGS)
		BUG("region needs more than %d tensors", PROGRAM_MAX_ARGS);
	if (i == f->narg)
		f->arg_node[f->narg++] = n;
	return cuda_text(f, "t%d", i);
}

/* The formula of layout_offset(). */
static const char *element_index(struct cuda_fn *f, const struct spot *s, const struct node *node)
{
	const struct type *t = &node->type;
	struct layout l = node->layout;
	if (l.kind == LAYOUT_ROW) {
		const char *at = cuda_flat(f, s, t, 0, t->naxis);
		return l.pad ? cuda_text(f, "%s + (i64)%s * %d", at, index_along(f, s, t->axis[0]), l.pad) : at;
	}
	long long npanels = (long long)((type_extents(f->g, t, l.first, l.last) + PANEL - 1) / PANEL);
	long long inner = (long long)type_extents(f->g, t, l.last, t->naxis);
	const char *outer = cuda_flat(f, s, t, 0, l.first), *o = cuda_flat(f, s, t, l.first, l.last);
	const char *in = cuda_flat(f, s, t, l.last, t->naxis);
	if (t->dtype == DT_BF16)
		return cuda_text(f, "panel_pair(%s, %lldL, %s, %s, %lld)", outer, npanels, o, in, inner);
	return cuda_text(f, "panel_element(%s, %lldL, %s, %s, %lld)", outer, npanels, o, in, inner);
}

static const char *const dtype_names[NDTYPES] = {
	[DT_F32] = "f32", [DT_BF16] = "bf16", [DT_I32] = "i32", [DT_F16] = "f16"};

const char *cuda_load(struct cuda_fn *f, int n, const struct spot *s)
{
	const struct node *node = &f->g->node[n];
	if (dtype_has_blocks(node->type.dtype))
		return cuda_load_block(f, n, s);
	return cuda_text(f, "load_%s(%s, %s)", dtype_names[node->type.dtype], cuda_memory(f, n), element_index(f, s, node));
}

/* ---- values ---- */

static bool in_memory(const struct cuda_fn *f, int n)
{
	const struct node *node = &f->g->node[n];
	if (op_info[node->op].class == CLASS_LEAF)
		return node->op != OP_CONST && node->op != OP_IOTA;
	return node->region >= 0 && &f->g->region[node->region] != f->region;
}

static const char *constant(struct cuda_fn *f, const struct node *n)
{
	if (n->type.dtype == DT_I32)
		return cuda_text(f, "(int)%lldL", (long long)n->value);
	float x = (float)n->value;
	uint32_t bits;
	memcpy(&bits, &x, sizeof(bits));
	return cuda_text(f, "from_bits(0x%08xu) /* %g */", bits, (double)x);
}

/* What lacks the axis does not vary along it, and stays known. */
static void move_along(struct cuda_fn *f, struct spot *to, const struct spot *from, int axis, const char *index)
{
	spot_fork(f, to, from);
	for (int i = 0; i < f->ntouched; i++)
		if (type_has_axis(&f->g->node[f->touched[i]].type, axis))
			to->known[i] = NULL;
	to->index[axis] = index;
}

static const char *flipped(struct cuda_fn *f, const struct node *n, struct spot *s)
{
	struct spot other;
	const char *index = cuda_text(f, "(%s - 1 - %s)", cuda_extent(f, n->axis), index_along(f, s, n->axis));
	move_along(f, &other, s, n->axis, index);
	for (int i = 0; i < f->nacross; i++)
		spot_know(f, &other, f->across[i].node, f->across[i].value);
	return cuda_eval(f, n->src[0], &other);
}

static const char *gathered(struct cuda_fn *f, const struct node *n, struct spot *s)
{
	struct spot other = *s;
	other.index[n->axis] = cuda_eval(f, n->src[1], s);
	return cuda_load(f, n->src[0], &other);
}

static const char *mapped(struct cuda_fn *f, const struct node *n, struct spot *s)
{
	const char *src[IR_MAX_SRCS];
	for (int i = 0; i < op_info[n->op].nsrc; i++)
		src[i] = cuda_eval(f, n->src[i], s);
	return cuda_scalar(f, n, src);
}

const char *cuda_eval(struct cuda_fn *f, int i, struct spot *s)
{
	const struct node *n = &f->g->node[i];
	const char **known = &s->known[known_slot(f, i)], *text;
	if (*known)
		return *known;
	if (in_memory(f, i))
		text = cuda_load(f, i, s);
	else if (n->op == OP_CONST)
		text = constant(f, n);
	else if (n->op == OP_IOTA)
		text = cuda_text(f, "(int)%s", index_along(f, s, n->type.axis[0]));
	else if (n->op == OP_EXPAND)
		return *known = cuda_eval(f, n->src[0], s);
	else if (n->op == OP_FLIP)
		return *known = flipped(f, n, s);
	else if (n->op == OP_GATHER)
		text = gathered(f, n, s);
	else if (op_info[n->op].class == CLASS_MAP)
		text = mapped(f, n, s);
	else
		BUG("%%%d '%s' cannot be evaluated here", i, op_info[n->op].name);
	const char *name = cuda_name(f, "v");
	cuda_line(f, "const %s %s = %s;", n->type.dtype == DT_I32 ? "int" : "float", name, text);
	return *known = name;
}

/* The node whose value is written where stored node n lies. */
static int written(const struct cuda_fn *f, int n)
{
	const struct node *node = &f->g->node[n];
	return node->op == OP_ASSIGN || node->op == OP_PUT ? node->src[1] : n;
}

void cuda_store(struct cuda_fn *f, int n, struct spot *s)
{
	const struct node *node = &f->g->node[n];
	struct spot where = *s;
	int from = written(f, n);
	if (node->op == OP_QUANTISE) {
		cuda_store_quantised(f, n, s);
		return;
	}
	if (node->op == OP_PUT)
		where.index[node->axis] = cuda_eval(f, node->src[2], s);
	if (dtype_has_blocks(node->type.dtype)) {
		cuda_copy_block(f, from, s, n, &where);
		return;
	}
	const char *value = cuda_eval(f, from, s);
	cuda_line(f, "store_%s(%s, %s, %s);", dtype_names[node->type.dtype], cuda_memory(f, n),
		element_index(f, &where, node), value);
}

void cuda_eval_stored(struct cuda_fn *f, struct spot *s)
{
	for (int i = 0; i < f->region->nnode; i++) {
		int n = f->region->node[i];
		const struct node *node = &f->g->node[n];
		if (node->op == OP_QUANTISE)
			cuda_eval(f, node->src[0], s);
		if (!node->stored || dtype_has_blocks(node->type.dtype))
			continue;
		cuda_eval(f, written(f, n), s);
		if (node->op == OP_PUT)
			cuda_eval(f, node->src[2], s);
	}
}

void cuda_eval_loads(struct cuda_fn *f, struct spot *s)
{
	for (int i = 0; i < f->region->nnode; i++) {
		const struct node *n = &f->g->node[f->region->node[i]];
		for (int k = 0; op_info[n->op].class == CLASS_MAP && n->op != OP_FLIP && k < op_info[n->op].nsrc; k++)
			if (in_memory(f, n->src[k]))
				cuda_eval(f, n->src[k], s);
	}
}

void spot_share(struct cuda_fn *f, struct spot *to, const struct spot *from)
{
	for (int i = 0; i < f->ntouched; i++)
		to->known[i] = to->known[i] ? to->known[i] : from->known[i];
}

void cuda_store_all(struct cuda_fn *f, struct spot *s)
{
	for (int i = 0; i < f->region->nnode; i++)
		if (f->g->node[f->region->node[i]].stored)
			cuda_store(f, f->region->node[i], s);
}
