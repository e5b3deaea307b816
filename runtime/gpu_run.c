#include "gpu_run.h"

#include <stdlib.h>
#include <string.h>

#include "gpu_send.h"

/* Of cuda.h. */
enum { STREAM_NON_BLOCKING = 1 };

enum { ALIGN_BYTES = 256 };

/* ---- memory ---- */

static uint64_t padded(uint64_t bytes)
{
	return (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

static uint64_t all_args(const struct gpu_program *p)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < p->nkernel && *p->all; i++)
		n += p->kernel[i].narg;
	return n;
}

/* Where another run has the external; 0: nowhere. */
static uint64_t shared_with(const struct gpu_run *with, const struct program_external *x)
{
	int i = with ? program_external_find(&with->p->head, x->name) : -1;
	if (i < 0 || (x->kind != EXTERNAL_PARAM && x->kind != EXTERNAL_STATE))
		return 0;
	const struct program_external *y = &with->p->head.external[i];
	return y->kind == x->kind && y->bytes == x->bytes ? with->t[1 + i] : 0;
}

static uint64_t input_bytes(const struct program *h)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < h->nexternal; i++)
		n += h->external[i].kind == EXTERNAL_INPUT ? padded(h->external[i].bytes) : 0;
	return n;
}

/* One allocation, from `base` on: inputs, which are sent together, the rest of the table, then the arguments of the kernel that does what
 * all do, and its counter. t NULL: only how large it is. */
static uint64_t place(const struct gpu_program *p, const struct gpu_run *with, uint64_t base, uint64_t *t)
{
	const struct program *h = &p->head;
	const uint64_t part[] = {h->slab_bytes, h->scratch_bytes, all_args(p) * sizeof(uint64_t), sizeof(uint32_t)};
	const uint32_t slot[] = {0, 1 + h->nexternal, 2 + h->nexternal, 3 + h->nexternal};
	uint64_t input = 0, at = input_bytes(h);
	for (uint32_t i = 0; i < h->nexternal; i++) {
		uint64_t there = shared_with(with, &h->external[i]), *next = h->external[i].kind == EXTERNAL_INPUT ? &input : &at;
		if (t)
			t[1 + i] = there ? there : base + *next;
		*next += there ? 0 : padded(h->external[i].bytes);
	}
	for (size_t i = 0; i < NELEM(slot); i++) {
		if (t)
			t[slot[i]] = base + at;
		at += padded(part[i]);
	}
	return at;
}

/* Params begin to go to the device. */
static struct gpu_sending *send_params(struct gpu_run *r)
{
	const struct program *h = &r->p->head;
	struct gpu_part *part = xcalloc(h->nexternal + 1, sizeof(*part));
	size_t n = 0;
	for (uint32_t i = 0; i < h->nexternal; i++)
		if (h->external[i].kind == EXTERNAL_PARAM && !shared_with(r->with, &h->external[i]))
			part[n++] = (struct gpu_part){r->t[1 + i], r->host[1 + i], h->external[i].bytes};
	struct gpu_sending *s = gpu_send_start(r->g, part, n);
	free(part);
	return s;
}

static bool clear_states(struct gpu_run *r, struct err *e)
{
	const struct program *h = &r->p->head;
	for (uint32_t i = 0; i < h->nexternal; i++)
		if (h->external[i].kind == EXTERNAL_STATE && !shared_with(r->with, &h->external[i]) &&
			!gpu_ok(r->g->d, r->g->d->fill(r->t[1 + i], 0, h->external[i].bytes, r->stream), "clearing the cache", e))
			return false;
	return true;
}

/* ---- code ---- */

static bool find_functions(struct gpu_run *r, const void *cubin, struct err *e)
{
	if (r->with)
		r->module = r->with->module;
	else if (!gpu_ok(r->g->d, r->g->d->module_load(&r->module, cubin), "loading GPU code", e))
		return false;
	return gpu_functions_open(&r->code, r->g, r->module, r->p, *r->p->all ? GPU_ALL_IN_ONE : GPU_ONE_BY_ONE, e);
}

/* Arguments of the kernel that does what all do. */
static bool send_all_args(struct gpu_run *r, struct err *e)
{
	const struct gpu_program *p = r->p;
	uint64_t *arg = xcalloc(all_args(p) + 1, sizeof(*arg)), n = 0;
	for (uint32_t i = 0; i < p->nkernel; i++)
		for (uint32_t a = 0; a < p->kernel[i].narg; a++)
			arg[n++] = r->t[p->kernel[i].arg[a].slot] + p->kernel[i].arg[a].offset;
	r->all_arg = r->t[2 + p->head.nexternal];
	r->counter = r->t[3 + p->head.nexternal];
	bool ok = gpu_ok(r->g->d, r->g->d->to_device(r->all_arg, arg, n * sizeof(*arg), r->stream), "sending arguments", e) &&
		gpu_ok(r->g->d, r->g->d->fill(r->counter, 0, sizeof(uint32_t), r->stream), "clearing a counter", e) &&
		gpu_ok(r->g->d, r->g->d->stream_wait(r->stream), "sending arguments", e);
	free(arg);
	return ok;
}

bool gpu_run_open(struct gpu_run *r, const struct gpu_run_request *q, struct err *e)
{
	const struct gpu_driver *d = q->g->d;
	const struct gpu_program *p = q->p;
	*r = (struct gpu_run){.g = q->g, .p = p, .host = q->host, .with = q->with, .bytes = place(p, q->with, 0, NULL)};
	r->t = xcalloc(p->head.nexternal + 4, sizeof(*r->t));
	r->inputs = xcalloc(1, input_bytes(&p->head) + 1);
	bool ok = gpu_has_room(r->g, r->bytes, e) && gpu_ok(d, d->stream_new(&r->stream, STREAM_NON_BLOCKING), "making a stream", e) &&
		gpu_ok(d, d->alloc(&r->base, r->bytes ? r->bytes : 1), "allocating device memory", e);
	if (ok) {
		r->g->free_bytes -= r->bytes;
		place(p, q->with, r->base, r->t);
		struct gpu_sending *params = send_params(r);
		ok = find_functions(r, q->cubin, e) && clear_states(r, e) && (!*p->all || send_all_args(r, e));
		ok = gpu_send_finish(params, ok ? e : NULL) && ok;
	}
	if (!ok)
		gpu_run_close(r);
	return ok;
}

void gpu_run_close(struct gpu_run *r)
{
	if (!r->g)
		return;
	if (r->stream)
		r->g->d->stream_wait(r->stream);
	if (r->base) {
		r->g->d->free(r->base);
		r->g->free_bytes += r->bytes;
	}
	if (r->module && !r->with)
		r->g->d->module_unload(r->module);
	if (r->stream)
		r->g->d->stream_free(r->stream);
	gpu_functions_close(&r->code);
	free(r->t);
	free(r->inputs);
	*r = (struct gpu_run){0};
}

static bool send_inputs(struct gpu_run *r, struct err *e)
{
	const struct program *h = &r->p->head;
	for (uint32_t i = 0; i < h->nexternal; i++)
		if (h->external[i].kind == EXTERNAL_INPUT)
			memcpy(r->inputs + (r->t[1 + i] - r->base), r->host[1 + i], h->external[i].bytes);
	return !input_bytes(h) || gpu_ok(r->g->d, r->g->d->to_device(r->base, r->inputs, input_bytes(h), r->stream), "sending inputs", e);
}

static bool start_all(struct gpu_run *r, const int64_t *dim, struct err *e)
{
	const struct gpu_program *p = r->p;
	struct gpu_call_all call = {.arg = r->all_arg, .counter = r->counter, .own = r->t[1 + p->head.nexternal], .before = r->arrivals};
	void *arg[] = {&call};
	unsigned blocks = r->code.nblock[0];
	memcpy(call.dim, dim, p->head.ndim * sizeof(*dim));
	bool ok = gpu_ok(r->g->d, r->g->d->launch_all(r->code.function[0], blocks, 1, 1, GPU_THREADS, 1, 1,
		(unsigned)gpu_most_shared(p, r->g->arch), r->stream, arg), p->all, e);
	if (ok)
		r->arrivals += p->nwait * blocks;
	return ok;
}

bool gpu_run_start(struct gpu_run *r, const int64_t *dim, struct err *e)
{
	return send_inputs(r, e) && (*r->p->all ? start_all(r, dim, e) : gpu_launch(&r->code, r->t, dim, r->stream, e));
}

bool gpu_run_get(struct gpu_run *r, int external, void *to, uint64_t bytes, struct err *e)
{
	return gpu_ok(r->g->d, r->g->d->to_host(to, r->t[1 + external], bytes, r->stream), "reading results", e) &&
		gpu_ok(r->g->d, r->g->d->stream_wait(r->stream), "running GPU code", e);
}

/* ---- sessions ---- */

static int dim_find(const struct program *p, const char *name)
{
	for (uint32_t i = 0; i < p->ndim; i++)
		if (!strcmp(p->dim[i].name, name))
			return (int)i;
	return -1;
}

/* The program of few rows, where the call has no more; its dimensions have the same order (gpu_session_open). */
static bool run_session(void *ctx, const int64_t *dim, uint64_t logits_bytes, struct err *e)
{
	struct gpu_session *gs = ctx;
	const struct program *few = gs->nrun > 1 ? &gs->run[1].p->head : NULL;
	int i = few && dim[gs->rows] <= few->dim[gs->rows].max && dim[gs->out] <= few->dim[gs->out].max;
	/* Both write the cache, on streams of their own: each run ends before the next one begins. */
	return gpu_run_start(&gs->run[i], dim, e) && gpu_run_get(&gs->run[i], gs->logits[i], gs->s->logits, logits_bytes, e);
}

/* Whether the second program asks for nothing that the first one has not. */
static bool belongs(struct gpu_session *gs, const struct program *first, const struct program *few, struct err *e)
{
	bool same = first->ndim == few->ndim;
	for (uint32_t i = 0; i < few->ndim && same; i++)
		same = !strcmp(first->dim[i].name, few->dim[i].name);
	for (uint32_t i = 0; i < few->nexternal && same; i++) {
		int at = program_external_find(first, few->external[i].name);
		same = at >= 0 && first->external[at].kind == few->external[i].kind &&
			few->external[i].bytes <= first->external[at].bytes;
		if (same)
			gs->host[1 + i] = gs->s->t[1 + at];
	}
	return same || err_set(e, ERR_IO, "program '%s' is not '%s' with fewer rows", few->name, first->name);
}

bool gpu_session_open(struct gpu_session *gs, struct session *s, struct gpu_device *g, const struct gpu_program *p, size_t n,
	const void *cubin, struct err *e)
{
	struct gpu_run_request q = {.g = g, .p = p, .cubin = cubin, .host = s->t};
	*gs = (struct gpu_session){.s = s, .rows = dim_find(&p->head, "R"), .out = dim_find(&p->head, "O")};
	bool ok = gpu_run_open(&gs->run[0], &q, e);
	gs->nrun = ok;
	gs->logits[0] = program_external_find(&p->head, "logits");
	if (ok && n > 1) {
		gs->host = xcalloc(p[1].head.nexternal + 1, sizeof(*gs->host));
		q = (struct gpu_run_request){g, &p[1], cubin, gs->host, &gs->run[0]};
		ok = belongs(gs, &p[0].head, &p[1].head, e) && gpu_run_open(&gs->run[1], &q, e);
		gs->nrun += ok;
		gs->logits[1] = program_external_find(&p[1].head, "logits");
	}
	if (ok)
		s->device = (struct session_device){gs, run_session};
	else
		gpu_session_close(gs);
	return ok;
}

void gpu_session_close(struct gpu_session *gs)
{
	if (gs->s)
		gs->s->device = (struct session_device){0};
	while (gs->nrun)
		gpu_run_close(&gs->run[--gs->nrun]);
	free(gs->host);
	*gs = (struct gpu_session){0};
}
