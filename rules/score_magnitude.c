/*
 * The sum of a unit's |w| over its matrices, as the numerics class holds them; least goes. Looks at no rows.
 * (Shortened LLaMA: Kim et al. 2024.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "importance.h"
#include "region_key.h"
#include "score_method.h"

struct magnitude {
	struct score *s;
	struct arena *a;
	const struct graph *plan[NHALVES];
	struct device *device;
};

static const struct graph *plan_half(struct arena *a, const struct score *s, enum half half)
{
	struct forward f = {.config = &s->state.config, .numerics = s->numerics, .max_rows = 1, .max_out = 1};
	return device_plan(s->device, a, importance_magnitude(a, &f, half));
}

/* One half's weights, packed by one thread, beside a tensor of the state. */
static void foretell(const struct score *s, struct score_needs *out)
{
	enum { PACK_EFFORT = 60 }; /* of a byte */
	uint64_t half_bytes[NHALVES] = {0}, tensor_bytes_most = 0, total = 0;
	*out = (struct score_needs){0};
	for (enum half half = 0; half < NHALVES; half++) {
		const struct graph *g = plan_half(s->a, s, half);
		half_bytes[half] = (uint64_t)g->slab_bytes;
		for (int i = 0; i < g->nnode; i++)
			if (g->node[i].op == OP_PARAM)
				half_bytes[half] += (uint64_t)tensor_bytes(g, &g->node[i]);
		out->nfunction += region_functions(g);
	}
	for (size_t i = 0; i < s->state.ntensor; i++) {
		const struct state_tensor *t = &s->state.tensor[i];
		struct unit u;
		if (!unit_of_tensor(t->name, &u))
			continue;
		total += t->bytes;
		tensor_bytes_most = t->bytes > tensor_bytes_most ? t->bytes : tensor_bytes_most;
	}
	out->memory_bytes = (half_bytes[0] > half_bytes[1] ? half_bytes[0] : half_bytes[1]) + 2 * tensor_bytes_most;
	out->effort = (double)total * PACK_EFFORT;
}

static bool load_code(struct magnitude *m, struct err *e)
{
	for (enum half half = 0; half < NHALVES; half++)
		m->plan[half] = plan_half(m->a, m->s, half);
	return device_open(&m->device, m->s->device, m->s->nthreads, e) && device_load(m->device, m->plan, NHALVES, e);
}

static bool load_weight(struct magnitude *m, const struct graph *plan, const char *name, int layer, void *to,
	struct err *e)
{
	struct strbuf bytes;
	strbuf_init(&bytes);
	/* "blk.0.attn.q" of the program is "blk.LAYER.attn.q" of the state. */
	bool ok = weight_pack(&m->s->weights, plan, graph_find_leaf(plan, name),
		arena_printf(m->a, "blk.%d.%s", layer, name + strlen("blk.0.")), &bytes, e);
	if (ok)
		device_write(m->device, to, bytes.s, bytes.n);
	strbuf_release(&bytes);
	return ok;
}

/* One half's weights at a time are in memory. */
static bool measure_half(struct magnitude *m, struct unit u, double *sum, struct err *e)
{
	enum half half = u.kind == UNIT_ATTN ? HALF_ATTN : HALF_MLP;
	const struct program *prog = device_program(m->device, half);
	void **t = xcalloc(prog->nexternal + 1, sizeof(*t));
	const int64_t no_dim[1] = {0};
	float number = 0;
	bool ok = true;
	for (uint32_t i = 0; ok && i < prog->nexternal; i++) {
		const struct program_external *x = &prog->external[i];
		t[1 + i] = device_alloc(m->device, x->bytes);
		ok = device_ok(m->device, e) &&
			(x->kind != EXTERNAL_PARAM || load_weight(m, m->plan[half], x->name, u.layer, t[1 + i], e));
	}
	if (ok) {
		device_run(m->device, half, t, no_dim);
		device_read(m->device, &number, t[1 + program_external_find(prog, "sum")], sizeof(number));
		*sum += (double)number;
		ok = device_ok(m->device, e);
	}
	for (uint32_t i = 0; i < prog->nexternal; i++)
		device_release(m->device, t[1 + i]);
	free(t);
	return ok;
}

static bool measure(struct score *s, struct scores *out, struct err *e)
{
	struct arena a = {0};
	struct magnitude m = {.s = s, .a = &a};
	bool ok = load_code(&m, e);
	for (size_t i = 0; ok && i < s->n; i++) {
		double sum = 0;
		for (size_t k = 0; ok && k < s->candidate[i].nhalf; k++)
			ok = measure_half(&m, s->candidate[i].half[k], &sum, e);
		out->unit[i].value[0] = sum;
	}
	device_free(m.device);
	arena_release(&a);
	return ok;
}

const struct score_method score_magnitude = {
	.column = {"magnitude"}, .rank = {"magnitude"}, .measure = measure, .foretell = foretell};
