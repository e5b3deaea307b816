#include "cuda_product.h"

static bool is_dot(const struct graph *g, int n)
{
	return g->node[n].op == OP_DOT;
}

bool cuda_is_product(const struct graph *g, const struct region *r)
{
	for (int i = 0; i < r->nnode; i++)
		if (is_dot(g, r->node[i]))
			return !dtype_has_blocks(g->node[g->node[r->node[i]].src[0]].type.dtype);
	return false;
}

/* Whether the result's own memory is m lines of n neighbours, one line as far from the next as any other. */
static bool lies_in_lines(const struct node *n, const struct dot *d)
{
	const struct type *t = &n->type;
	bool lines = n->layout.kind == LAYOUT_ROW && !n->layout.pad && t->dtype == DT_F32 && t->naxis == d->m.naxis + d->n.naxis;
	for (int i = 0; lines && i < t->naxis; i++)
		lines = t->axis[i] == (i < d->m.naxis ? d->m.axis[i] : d->n.axis[i - d->m.naxis]);
	return lines;
}

bool cuda_is_only_products(const struct graph *g, const struct region *r)
{
	for (int i = 0; i < r->nnode; i++) {
		const struct node *n = &g->node[r->node[i]];
		struct dot d;
		if (n->op != OP_DOT || !n->stored)
			return false;
		d = dot_shape(g, n);
		if (!lies_in_lines(n, &d))
			return false;
	}
	return true;
}

int64_t cuda_product_place(const struct graph *g, const struct region *r, int i)
{
	enum { ALIGN_BYTES = 256 };
	int64_t at = 0;
	for (int k = 0; k < r->nnode && i; k++)
		if (is_dot(g, r->node[k])) {
			struct dot d = dot_shape(g, &g->node[r->node[k]]);
			int64_t bytes = type_extents(g, &d.m, 0, d.m.naxis) * d.nlanes * (int64_t)sizeof(float);
			at += (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
			i--;
		}
	return at;
}

static int number_of_dim(const struct graph *g, int axis)
{
	int n = 0;
	for (int i = 0; i < axis; i++)
		n += g->axis[i].dynamic;
	return n;
}

/* Only the first of a group can be dynamic (dot_shape.c). */
static struct cuda_extent extent_of(const struct graph *g, const struct type *t)
{
	bool dynamic = t->naxis && g->axis[t->axis[0]].dynamic;
	return (struct cuda_extent){type_extents(g, t, dynamic, t->naxis), dynamic ? number_of_dim(g, t->axis[0]) : -1};
}

struct cuda_product cuda_product_of(const struct graph *g, const struct node *n)
{
	struct dot d = dot_shape(g, n);
	if (d.panels)
		BUG("graph '%s': a dot's operand has panels, which no library reads", g->name);
	return (struct cuda_product){.dtype = d.dtype, .m = extent_of(g, &d.m), .n = extent_of(g, &d.n), .k = extent_of(g, &d.r),
		.rows_m = d.m_stride, .rows_k = d.k_stride, .lanes_n = d.lane_stride, .lanes_k = d.row_stride, .result_m = d.nlanes};
}

void cuda_behind_products(struct cuda_fn *f)
{
	struct cuda_dots d = cuda_dots(f);
	const struct dot *first = &d.dot[0];
	const char *value[CUDA_MAX_DOTS];
	f->scratch_bytes = cuda_product_place(f->g, f->region, d.ndot);
	cuda_line(f, "const i64 nm = %s, nn = %lld;", cuda_extents(f, &first->m, 0, first->m.naxis), (long long)first->nlanes);
	cuda_open(f, "for (i64 i = block * (i64)THREADS + THREAD; i < nm * nn; i += blocks * (i64)THREADS)");
	cuda_line(f, "const i64 m = i / nn, n = i %% nn;");
	for (int i = 0; i < d.ndot; i++) {
		value[i] = cuda_name(f, "product");
		cuda_line(f, "const float %s = load_f32(scratch + %lld, i);", value[i], (long long)cuda_product_place(f->g, f->region, i));
	}
	cuda_epilogue(f, &d, "m", "n", value);
	cuda_close(f);
}
