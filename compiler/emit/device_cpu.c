/* Threads of this machine's CPU, and code of the LLVM emitter. */
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "effort.h"
#include "emit.h"

struct cpu_device {
	struct pool *pool;
	struct loaded loaded;
	bool has_code;
	void *slab, *scratch;
};

static bool cpu_open(struct device *d, struct err *e)
{
	struct cpu_device *own = arena_new(&d->arena, struct cpu_device);
	d->own = own;
	own->pool = pool_new(d->nthreads);
	return own->pool || err_set(e, ERR_IO, "unable to start %d threads", d->nthreads);
}

static void cpu_close(struct device *d)
{
	struct cpu_device *own = d->own;
	if (own->has_code)
		emit_unload(&own->loaded);
	if (own->pool)
		pool_free(own->pool);
}

static void *cpu_alloc(struct device *d, size_t bytes)
{
	(void)d;
	return xaligned(bytes);
}

static void cpu_release(struct device *d, void *p)
{
	(void)d;
	free(p);
}

static bool cpu_load(struct device *d, const struct graph *const *graph, int ngraph, struct err *e)
{
	struct cpu_device *own = d->own;
	size_t slab = 0, scratch = 0;
	own->has_code = emit_native(graph, ngraph, d->nthreads, &own->loaded, e);
	if (!own->has_code)
		return false;
	for (int i = 0; i < ngraph; i++) {
		const struct program *p = d->program[i] = own->loaded.program[i];
		slab = p->slab_bytes > slab ? p->slab_bytes : slab;
		scratch = program_scratch_bytes(p) > scratch ? program_scratch_bytes(p) : scratch;
	}
	own->slab = device_alloc(d, slab);
	own->scratch = device_alloc(d, scratch * (size_t)d->nthreads);
	return true;
}

static uint64_t cpu_shared_bytes(const struct graph *const *graph, int ngraph, int nthreads)
{
	uint64_t slab = 0, scratch = 0;
	for (int i = 0; i < ngraph; i++) {
		uint64_t own = (uint64_t)graph_scratch(graph[i]);
		slab = (uint64_t)graph[i]->slab_bytes > slab ? (uint64_t)graph[i]->slab_bytes : slab;
		scratch = own > scratch ? own : scratch;
	}
	return slab + scratch * (uint64_t)nthreads;
}

static bool cpu_has_room(const struct device *d, uint64_t bytes, struct err *e)
{
	(void)d, (void)bytes, (void)e;
	return true;
}

/* write, read and copy. */
static bool cpu_move(struct device *d, void *to, const void *from, size_t bytes)
{
	(void)d;
	if (bytes)
		memcpy(to, from, bytes);
	return true;
}

static bool cpu_clear(struct device *d, void *p, size_t bytes)
{
	(void)d;
	memset(p, 0, bytes);
	return true;
}

static bool cpu_run(struct device *d, int i, void **t, const int64_t *dim)
{
	const struct cpu_device *own = d->own;
	t[0] = own->slab;
	program_run(d->program[i], own->pool, t, dim, own->scratch);
	return true;
}

const struct device_ops device_cpu = {.name = "cpu", .plan = graph_plan, .open = cpu_open, .close = cpu_close, .load = cpu_load,
	.shared_bytes = cpu_shared_bytes, .has_room = cpu_has_room, .alloc = cpu_alloc, .release = cpu_release, .write = cpu_move,
	.read = cpu_move, .copy = cpu_move, .clear = cpu_clear, .run = cpu_run, .host_follows = true};
