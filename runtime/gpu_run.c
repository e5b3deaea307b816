#include "gpu_run.h"

#include <stdlib.h>
#include <string.h>

/* Of cuda.h. */
enum { ATTRIBUTE_MULTIPROCESSORS = 16, ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76, ATTRIBUTE_SHARED_OPTIN = 97 };
enum { FUNCTION_SHARED_BYTES = 8, STREAM_NON_BLOCKING = 1 };

enum { PIECE_BYTES = 8 << 20, NPIECES = 2, ALIGN_BYTES = 256 };

/* ---- devices ---- */

static bool read_device(struct gpu_device *g, struct err *e)
{
	const struct gpu_driver *d = g->d;
	int major = 0, minor = 0;
	size_t all = 0, available = 0;
	if (!gpu_ok(d, d->device_name(g->name, sizeof(g->name), g->device), "asking for the device's name", e) ||
		!gpu_ok(d, d->device_attribute(&major, ATTRIBUTE_MAJOR, g->device), "asking for the device's version", e) ||
		!gpu_ok(d, d->device_attribute(&minor, ATTRIBUTE_MINOR, g->device), "asking for the device's version", e) ||
		!gpu_ok(d, d->device_attribute(&g->nmulti, ATTRIBUTE_MULTIPROCESSORS, g->device), "counting multiprocessors", e) ||
		!gpu_ok(d, d->device_attribute(&g->shared_bytes, ATTRIBUTE_SHARED_OPTIN, g->device), "asking for shared memory", e) ||
		!gpu_ok(d, d->context_retain(&g->context, g->device), "opening the device", e) ||
		!gpu_ok(d, d->context_set(g->context), "opening the device", e) ||
		!gpu_ok(d, d->memory_info(&available, &all), "asking for the device's memory", e))
		return false;
	g->arch = major * 10 + minor;
	g->free_bytes = available;
	g->all_bytes = all;
	return true;
}

bool gpu_device_open(struct gpu_device *g, int index, struct err *e)
{
	int n = 0;
	*g = (struct gpu_device){.d = gpu_driver_open(e)};
	if (!g->d)
		return false;
	if (!gpu_ok(g->d, g->d->device_count(&n), "counting devices", e))
		return false;
	if (index < 0 || index >= n)
		return err_set(e, ERR_TOOL, n ? "no CUDA device %d; there are %d, from 0 on" : "no CUDA device", index, n);
	if (!gpu_ok(g->d, g->d->device_get(&g->device, index), "opening the device", e))
		return false;
	if (read_device(g, e))
		return true;
	gpu_device_close(g);
	return false;
}

void gpu_device_close(struct gpu_device *g)
{
	if (g->context)
		g->d->context_release(g->device);
	*g = (struct gpu_device){0};
}

const struct gpu_image *gpu_image_choose(const struct gpu_image *image, size_t n, int arch)
{
	const struct gpu_image *best = NULL;
	for (size_t i = 0; i < n; i++)
		if (image[i].arch / 10 == arch / 10 && image[i].arch <= arch && (!best || image[i].arch > best->arch))
			best = &image[i];
	return best;
}

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

/* One allocation, from `base` on; places in it are the table, then the arguments of the kernel that does what all do, and
 * its counter. t NULL: only how large it is. */
static uint64_t place(const struct gpu_program *p, const struct gpu_run *with, uint64_t base, uint64_t *t)
{
	const struct program *h = &p->head;
	const uint64_t part[] = {h->slab_bytes, h->scratch_bytes, all_args(p) * sizeof(uint64_t), sizeof(uint32_t)};
	const uint32_t slot[] = {0, 1 + h->nexternal, 2 + h->nexternal, 3 + h->nexternal};
	uint64_t at = 0;
	for (uint32_t i = 0; i < h->nexternal; i++) {
		uint64_t there = shared_with(with, &h->external[i]);
		if (t)
			t[1 + i] = there ? there : base + at;
		at += there ? 0 : padded(h->external[i].bytes);
	}
	for (size_t i = 0; i < NELEM(slot); i++) {
		if (t)
			t[slot[i]] = base + at;
		at += padded(part[i]);
	}
	return at;
}

/* Pieces through pinned memory: while one is on its way the next is read. */
struct pinned {
	const struct gpu_driver *d;
	void *piece[NPIECES];
	gpu_stream stream[NPIECES];
	int next;
};

static bool pinned_open(struct pinned *s, const struct gpu_driver *d, struct err *e)
{
	*s = (struct pinned){.d = d};
	for (int i = 0; i < NPIECES; i++)
		if (!gpu_ok(d, d->host_alloc(&s->piece[i], PIECE_BYTES, 0), "allocating pinned memory", e) ||
			!gpu_ok(d, d->stream_new(&s->stream[i], STREAM_NON_BLOCKING), "making a stream", e))
			return false;
	return true;
}

static bool pinned_send(struct pinned *s, uint64_t to, const void *from, uint64_t bytes, struct err *e)
{
	for (uint64_t at = 0; at < bytes; at += PIECE_BYTES) {
		size_t n = bytes - at < PIECE_BYTES ? (size_t)(bytes - at) : PIECE_BYTES;
		int i = s->next++ % NPIECES;
		if (!gpu_ok(s->d, s->d->stream_wait(s->stream[i]), "sending weights", e))
			return false;
		memcpy(s->piece[i], (const char *)from + at, n);
		if (!gpu_ok(s->d, s->d->to_device(to + at, s->piece[i], n, s->stream[i]), "sending weights", e))
			return false;
	}
	return true;
}

static bool pinned_close(struct pinned *s, struct err *e)
{
	bool ok = true;
	for (int i = 0; i < NPIECES; i++) {
		if (s->stream[i]) {
			ok = gpu_ok(s->d, s->d->stream_wait(s->stream[i]), "sending weights", ok ? e : NULL) && ok;
			s->d->stream_free(s->stream[i]);
		}
		if (s->piece[i])
			s->d->host_free(s->piece[i]);
	}
	return ok;
}

static bool send_all(struct gpu_run *r, struct err *e)
{
	const struct program *h = &r->p->head;
	struct pinned s;
	bool ok = pinned_open(&s, r->g->d, e);
	for (uint32_t i = 0; i < h->nexternal && ok; i++) {
		const struct program_external *x = &h->external[i];
		if (shared_with(r->with, x))
			continue;
		if (x->kind == EXTERNAL_PARAM)
			ok = pinned_send(&s, r->t[1 + i], r->host[1 + i], x->bytes, e);
		else if (x->kind == EXTERNAL_STATE)
			ok = gpu_ok(r->g->d, r->g->d->fill(r->t[1 + i], 0, x->bytes, r->stream), "clearing the cache", e);
	}
	return pinned_close(&s, ok ? e : NULL) && ok;
}

/* ---- code ---- */

/* As many blocks as the device holds at a time. */
static bool find_function(struct gpu_run *r, uint32_t i, const char *name, uint64_t shared_bytes, struct err *e)
{
	const struct gpu_driver *d = r->g->d;
	int blocks = 0;
	if (shared_bytes > (uint64_t)r->g->shared_bytes)
		return err_set(e, ERR_DEVICE, "%s: kernel %s needs %llu bytes of shared memory, a block has %d", r->g->name, name,
			(unsigned long long)shared_bytes, r->g->shared_bytes);
	if (!gpu_ok(d, d->module_function(&r->function[i], r->module, name), name, e) ||
		!gpu_ok(d, d->function_set(r->function[i], FUNCTION_SHARED_BYTES, (int)shared_bytes), name, e) ||
		!gpu_ok(d, d->occupancy(&blocks, r->function[i], GPU_THREADS, shared_bytes), name, e))
		return false;
	r->nblock[i] = (unsigned)((blocks > 0 ? blocks : 1) * r->g->nmulti);
	return true;
}

static uint64_t most_shared(const struct gpu_program *p)
{
	uint64_t most = 0;
	for (uint32_t i = 0; i < p->nkernel; i++)
		most = p->kernel[i].shared_bytes > most ? p->kernel[i].shared_bytes : most;
	return most;
}

static bool find_functions(struct gpu_run *r, const void *cubin, struct err *e)
{
	const struct gpu_program *p = r->p;
	if (r->with)
		r->module = r->with->module;
	else if (!gpu_ok(r->g->d, r->g->d->module_load(&r->module, cubin), "loading GPU code", e))
		return false;
	if (*p->all)
		return find_function(r, p->nkernel, p->all, most_shared(p), e);
	for (uint32_t i = 0; i < p->nkernel; i++)
		if (!find_function(r, i, p->kernel[i].name, p->kernel[i].shared_bytes, e))
			return false;
	return true;
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

static bool enough_memory(const struct gpu_run *r, struct err *e)
{
	if (r->bytes <= r->g->free_bytes)
		return true;
	return err_set(e, ERR_DEVICE, "%s has %.1f GB of memory free of %.1f, %.1f are needed", r->g->name,
		(double)r->g->free_bytes / 1e9, (double)r->g->all_bytes / 1e9, (double)r->bytes / 1e9);
}

bool gpu_run_open(struct gpu_run *r, const struct gpu_run_request *q, struct err *e)
{
	const struct gpu_driver *d = q->g->d;
	const struct gpu_program *p = q->p;
	*r = (struct gpu_run){.g = q->g, .p = p, .host = q->host, .with = q->with, .bytes = place(p, q->with, 0, NULL)};
	r->function = xcalloc(p->nkernel + 1, sizeof(*r->function));
	r->nblock = xcalloc(p->nkernel + 1, sizeof(*r->nblock));
	r->t = xcalloc(p->head.nexternal + 4, sizeof(*r->t));
	bool ok = enough_memory(r, e) && gpu_ok(d, d->stream_new(&r->stream, STREAM_NON_BLOCKING), "making a stream", e) &&
		gpu_ok(d, d->alloc(&r->base, r->bytes ? r->bytes : 1), "allocating device memory", e);
	if (ok) {
		r->g->free_bytes -= r->bytes;
		place(p, q->with, r->base, r->t);
		ok = find_functions(r, q->cubin, e) && send_all(r, e) && (!*p->all || send_all_args(r, e));
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
	free(r->function);
	free(r->nblock);
	free(r->t);
	*r = (struct gpu_run){0};
}

static bool send_inputs(struct gpu_run *r, struct err *e)
{
	const struct program *h = &r->p->head;
	for (uint32_t i = 0; i < h->nexternal; i++)
		if (h->external[i].kind == EXTERNAL_INPUT &&
			!gpu_ok(r->g->d, r->g->d->to_device(r->t[1 + i], r->host[1 + i], h->external[i].bytes, r->stream),
				"sending inputs", e))
			return false;
	return true;
}

static bool start_all(struct gpu_run *r, const int64_t *dim, struct err *e)
{
	const struct gpu_program *p = r->p;
	struct gpu_call_all call = {.arg = r->all_arg, .counter = r->counter, .before = r->arrivals};
	void *arg[] = {&call};
	unsigned blocks = r->nblock[p->nkernel];
	memcpy(call.dim, dim, p->head.ndim * sizeof(*dim));
	r->arrivals += p->nwait * blocks;
	return gpu_ok(r->g->d, r->g->d->launch_all(r->function[p->nkernel], blocks, 1, 1, GPU_THREADS, 1, 1,
		(unsigned)most_shared(p), r->stream, arg), p->all, e);
}

bool gpu_run_start(struct gpu_run *r, const int64_t *dim, struct err *e)
{
	if (!send_inputs(r, e))
		return false;
	if (*r->p->all)
		return start_all(r, dim, e);
	for (uint32_t i = 0; i < r->p->nkernel; i++) {
		const struct gpu_kernel *k = &r->p->kernel[i];
		struct gpu_call call = {{0}, {0}};
		void *arg[] = {&call};
		for (uint32_t a = 0; a < k->narg; a++)
			call.t[a] = r->t[k->arg[a].slot] + k->arg[a].offset;
		memcpy(call.dim, dim, r->p->head.ndim * sizeof(*dim));
		if (!gpu_ok(r->g->d, r->g->d->launch(r->function[i], r->nblock[i], 1, 1, GPU_THREADS, 1, 1, (unsigned)k->shared_bytes,
			r->stream, arg, NULL), k->name, e))
			return false;
	}
	return true;
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
