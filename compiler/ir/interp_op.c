/* The ops that are not elementwise, attention apart. */
#include "interp_op.h"

#include <math.h>
#include <string.h>

const struct type *src_type(const struct eval *v, int i)
{
	return &v->g->node[v->node->src[i]].type;
}

int64_t count(const struct interp_call *call, const struct type *axes)
{
	int64_t n = 1;
	for (int i = 0; i < axes->naxis; i++)
		n *= call->dim[axes->axis[i]];
	return n;
}

void strides(const struct interp_call *call, const struct type *t, int64_t *stride)
{
	for (int i = 0; i < MAX_GRAPH_AXES; i++)
		stride[i] = 0;
	int64_t n = 1;
	for (int i = t->naxis - 1; i >= 0; i--) {
		stride[t->axis[i]] = n;
		n *= call->dim[t->axis[i]];
	}
}

int64_t *offsets(struct arena *a, const struct interp_call *call, const struct type *axes,
	const int64_t *stride)
{
	int64_t n = count(call, axes), index[IR_MAX_AXES] = {0}, at = 0;
	int64_t *out = arena_array(a, int64_t, (size_t)n + 1);
	for (int64_t k = 0; k < n; k++) {
		out[k] = at;
		for (int i = axes->naxis - 1; i >= 0; i--) {
			at += stride[axes->axis[i]];
			if (++index[i] < call->dim[axes->axis[i]])
				break;
			at -= stride[axes->axis[i]] * index[i];
			index[i] = 0;
		}
	}
	return out;
}

int64_t *offsets_in(struct eval *v, const struct type *axes, const struct type *t)
{
	int64_t stride[MAX_GRAPH_AXES];
	strides(v->call, t, stride);
	return offsets(v->scratch, v->call, axes, stride);
}

bool check_index(const struct eval *v, int32_t index, int axis, struct err *e)
{
	if (index >= 0 && index < v->call->dim[axis])
		return true;
	return err_set(e, ERR_SPEC, "op '%s': index %d out of range of axis '%s' (%lld)",
		op_info[v->node->op].name, index, v->g->axis[axis].name,
		(long long)v->call->dim[axis]);
}

/* The axes of `all` that `without` lacks, in the order of `all`. */
static struct type axes_without(const struct type *all, const struct type *without)
{
	struct type t = {.dtype = all->dtype};
	for (int i = 0; i < all->naxis; i++)
		if (!type_has_axis(without, all->axis[i]))
			t.axis[t.naxis++] = all->axis[i];
	return t;
}

bool eval_const(struct eval *v, struct err *e)
{
	(void)e;
	if (eval_f64(v) && v->node->type.dtype != DT_I32)
		v->out->d = v->node->value;
	else
		*v->out = const_cell(v->node);
	return true;
}

bool eval_iota(struct eval *v, struct err *e)
{
	(void)e;
	for (int64_t i = 0; i < v->call->dim[v->node->type.axis[0]]; i++)
		v->out[i].i = (int32_t)i;
	return true;
}

bool eval_flip(struct eval *v, struct err *e)
{
	(void)e;
	const struct type *t = &v->node->type;
	int axis = v->node->axis;
	int64_t stride[MAX_GRAPH_AXES], last = v->call->dim[axis] - 1;
	strides(v->call, t, stride);
	stride[axis] = -stride[axis];
	const int64_t *at = offsets(v->scratch, v->call, t, stride);
	for (int64_t k = 0, n = count(v->call, t); k < n; k++)
		v->out[k] = v->src[0][at[k] - last * stride[axis]];
	return true;
}

static float tree(float *lane, float (*join)(float, float))
{
	for (int width = SUM_LANES / 2; width; width /= 2)
		for (int j = 0; j < width; j++)
			lane[j] = join(lane[j], lane[j + width]);
	return lane[0];
}

static float join_add(float a, float b)
{
	return a + b;
}

static float join_max(float a, float b)
{
	union cell s[2] = {{.f = a}, {.f = b}};
	return map_rows[OP_MAX].f32(s).f;
}

float lanes_sum(const float *x, int64_t n)
{
	float lane[SUM_LANES] = {0};
	for (int64_t i = 0; i < n; i++)
		lane[i % SUM_LANES] += x[i];
	return tree(lane, join_add);
}

float lanes_max(const float *x, int64_t n)
{
	float lane[SUM_LANES];
	for (int j = 0; j < SUM_LANES; j++)
		lane[j] = -INFINITY;
	for (int64_t i = 0; i < n; i++)
		lane[i % SUM_LANES] = join_max(lane[i % SUM_LANES], x[i]);
	return tree(lane, join_max);
}

static double plain_sum(const double *x, int64_t n)
{
	double sum = 0;
	for (int64_t i = 0; i < n; i++)
		sum += x[i];
	return sum;
}

static double plain_max(const double *x, int64_t n)
{
	double max = -INFINITY;
	for (int64_t i = 0; i < n; i++)
		max = fmax(max, x[i]);
	return max;
}

bool eval_reduce(struct eval *v, struct err *e)
{
	(void)e;
	static const struct {
		float (*f32)(const float *, int64_t);
		double (*f64)(const double *, int64_t);
	} rows[NOPS] = {[OP_SUM] = {lanes_sum, plain_sum}, [OP_RMAX] = {lanes_max, plain_max}};
	struct type reduced = axes_without(src_type(v, 0), &v->node->type);
	int64_t n = count(v->call, &reduced), nout = count(v->call, &v->node->type);
	const int64_t *start = offsets_in(v, &v->node->type, src_type(v, 0));
	const int64_t *step = offsets_in(v, &reduced, src_type(v, 0));
	float *x = arena_array(v->scratch, float, (size_t)n);
	double *xd = arena_array(v->scratch, double, (size_t)n);
	for (int64_t k = 0; k < nout; k++) {
		const union cell *src = v->src[0] + start[k];
		for (int64_t i = 0; i < n; i++) {
			x[i] = src[step[i]].f;
			xd[i] = eval_f64(v) ? src[step[i]].d : 0;
		}
		if (eval_f64(v))
			v->out[k].d = rows[v->node->op].f64(xd, n);
		else
			v->out[k].f = rows[v->node->op].f32(x, n);
	}
	return true;
}

struct dot {
	const union cell *a, *b;
	const int64_t *ka, *kb; /* reduced element k lies at a[ka[k]] and b[kb[k]] */
	int64_t n;
};

static float dot_f32(const struct dot *d)
{
	float sum = 0;
	for (int64_t from = 0; from < d->n; from += DOT_CHUNK) {
		int64_t to = from + DOT_CHUNK < d->n ? from + DOT_CHUNK : d->n;
		float acc = 0;
		for (int64_t k = from; k < to; k++)
			acc = fmaf(d->a[d->ka[k]].f, d->b[d->kb[k]].f, acc);
		sum = from ? sum + acc : acc;
	}
	return sum;
}

static float dot_bf16(const struct dot *d)
{
	float sum = 0;
	for (int64_t from = 0; from < d->n; from += DOT_CHUNK) {
		int64_t to = from + DOT_CHUNK < d->n ? from + DOT_CHUNK : d->n;
		float acc = 0;
		for (int64_t k = from; k < to; k += 2) {
			float a = k + 1 < to ? d->a[d->ka[k + 1]].f : 0;
			float b = k + 1 < to ? d->b[d->kb[k + 1]].f : 0;
			acc = fmaf(a, b, acc);
			acc = fmaf(d->a[d->ka[k]].f, d->b[d->kb[k]].f, acc);
		}
		sum = from ? sum + acc : acc;
	}
	return sum;
}

static double dot_f64(const struct dot *d)
{
	double sum = 0;
	for (int64_t k = 0; k < d->n; k++)
		sum += d->a[d->ka[k]].d * d->b[d->kb[k]].d;
	return sum;
}

static float dot_blocks(const struct dot *d)
{
	float acc = 0;
	for (int64_t from = 0; from < d->n; from += Q_BLOCK) {
		int64_t to = from + Q_BLOCK < d->n ? from + Q_BLOCK : d->n;
		int32_t sum = 0;
		for (int64_t k = from; k < to; k++)
			sum += d->a[d->ka[k]].q.i * d->b[d->kb[k]].q.i;
		float scale = d->a[d->ka[from]].q.scale * d->b[d->kb[from]].q.scale;
		acc = fmaf((float)sum, scale, acc);
	}
	return acc;
}

bool eval_dot(struct eval *v, struct err *e)
{
	(void)e;
	const struct type *out = &v->node->type;
	struct type reduced = axes_without(src_type(v, 0), out);
	const int64_t *a = offsets_in(v, out, src_type(v, 0));
	const int64_t *b = offsets_in(v, out, src_type(v, 1));
	struct dot d = {.ka = offsets_in(v, &reduced, src_type(v, 0)),
		.kb = offsets_in(v, &reduced, src_type(v, 1)),
		.n = count(v->call, &reduced)};
	enum dtype t = src_type(v, 0)->dtype;
	for (int64_t i = 0, n = count(v->call, out); i < n; i++) {
		d.a = v->src[0] + a[i];
		d.b = v->src[1] + b[i];
		if (eval_f64(v))
			v->out[i].d = dot_f64(&d);
		else
			v->out[i].f = t == DT_Q8 ? dot_blocks(&d) : t == DT_BF16 ? dot_bf16(&d) : dot_f32(&d);
	}
	return true;
}

bool eval_gather(struct eval *v, struct err *e)
{
	const struct type *out = &v->node->type;
	int axis = v->node->axis;
	int64_t stride[MAX_GRAPH_AXES];
	strides(v->call, src_type(v, 0), stride);
	int64_t step = stride[axis];
	stride[axis] = 0; /* also when the index itself has this axis */
	const int64_t *at = offsets(v->scratch, v->call, out, stride);
	const int64_t *index_at = offsets_in(v, out, src_type(v, 1));
	for (int64_t k = 0, n = count(v->call, out); k < n; k++) {
		int32_t index = v->src[1][index_at[k]].i;
		if (!check_index(v, index, axis, e))
			return false;
		const union cell *c = &v->src[0][at[k] + index * step];
		if (dtype_has_blocks(src_type(v, 0)->dtype) && !eval_f64(v))
			v->out[k].f = (float)c->q.i * c->q.scale;
		else
			v->out[k] = *c;
	}
	return true;
}

/* One block of n values. */
static void quantise_block(const union cell *x, int64_t n, union cell *out)
{
	float m = 0;
	for (int64_t k = 0; k < n; k++)
		m = fabsf(x[k].f) > m ? fabsf(x[k].f) : m;
	float inverse = m < 0x1p-100f ? 0 : 127 / m, scale = m < 0x1p-100f ? 0 : m / 127;
	for (int64_t k = 0; k < n; k++) {
		out[k].q.i = (int32_t)rintf(x[k].f * inverse);
		out[k].q.scale = scale;
	}
}

bool eval_quantise(struct eval *v, struct err *e)
{
	(void)e;
	const struct type *t = &v->node->type;
	struct type inner = {.naxis = t->naxis - t->outer};
	memcpy(inner.axis, t->axis + t->outer, (size_t)inner.naxis);
	int64_t total = count(v->call, t), n = count(v->call, &inner);
	if (eval_f64(v)) {
		memcpy(v->out, v->src[0], (size_t)total * sizeof(*v->out));
		return true;
	}
	for (int64_t row = 0; row < total; row += n)
		for (int64_t k = 0; k < n; k += Q_BLOCK)
			quantise_block(v->src[0] + row + k, n - k < Q_BLOCK ? n - k : Q_BLOCK,
				v->out + row + k);
	return true;
}

bool eval_scatter(struct eval *v, struct err *e)
{
	const struct type *x = src_type(v, 0);
	int axis = v->node->axis;
	int64_t stride[MAX_GRAPH_AXES];
	strides(v->call, &v->node->type, stride);
	int64_t step = stride[axis];
	stride[axis] = 0;
	const int64_t *at = offsets(v->scratch, v->call, x, stride);
	const int64_t *index_at = offsets_in(v, x, src_type(v, 1));
	for (int64_t k = 0, n = count(v->call, x); k < n; k++) {
		int32_t index = v->src[1][index_at[k]].i;
		if (!check_index(v, index, axis, e))
			return false;
		union cell *o = &v->out[at[k] + index * step];
		if (eval_f64(v))
			o->d += v->src[0][k].d;
		else
			o->f += v->src[0][k].f;
	}
	return true;
}
