#include "device.h"

#include <stdlib.h>
#include <string.h>

static const struct device_ops *const devices[NDEVICES] = {[DEVICE_CPU] = &device_cpu, [DEVICE_CUDA] = &device_cuda,
	[DEVICE_CUBLASLT] = &device_cublaslt};

const char *device_name(enum device_kind kind)
{
	return devices[kind]->name;
}

enum device_kind device_find(const char *name)
{
	for (int i = 0; i < NDEVICES; i++)
		if (!strcmp(devices[i]->name, name))
			return (enum device_kind)i;
	BUG("there is no device '%s'", name);
}

const char *device_work(enum device_kind kind, enum dtype weight)
{
	const char *work = devices[kind]->work[weight];
	return work ? work : dtype_name[weight];
}

int device_version(enum device_kind kind)
{
	return devices[kind]->version;
}

int device_library(enum device_kind kind)
{
	return devices[kind]->library ? devices[kind]->library(NULL) : 0;
}

struct graph *device_plan(enum device_kind kind, struct arena *a, const struct graph *g)
{
	return devices[kind]->plan(a, g);
}

bool device_open(struct device **out, enum device_kind kind, int nthreads, struct err *e)
{
	struct device *d = xcalloc(1, sizeof(*d));
	*out = d;
	d->ops = devices[kind];
	d->nthreads = nthreads;
	return d->ops->open(d, e);
}

void device_free(struct device *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->nowned; i++)
		d->ops->release(d, d->owned[i]);
	d->ops->close(d);
	arena_release(&d->arena);
	free(d);
}

bool device_load(struct device *d, const struct graph *const *graph, int ngraph, struct err *e)
{
	d->program = arena_array(&d->arena, const struct program *, ngraph);
	d->nprogram = ngraph;
	return d->ops->load(d, graph, ngraph, e);
}

const struct program *device_program(const struct device *d, int i)
{
	return d->program[i];
}

uint64_t device_shared_bytes(enum device_kind kind, const struct graph *const *graph, int ngraph, int nthreads)
{
	return devices[kind]->shared_bytes(graph, ngraph, nthreads);
}

bool device_has_room(const struct device *d, uint64_t bytes, struct err *e)
{
	return d->ops->has_room(d, bytes, e);
}

void *device_alloc(struct device *d, size_t bytes)
{
	void *p = d->failed ? NULL : d->ops->alloc(d, bytes);
	d->failed = d->failed || !p;
	if (p)
		*arena_push(&d->arena, d->owned, d->nowned) = p;
	device_clear(d, p, bytes);
	return p;
}

void device_release(struct device *d, void *p)
{
	for (size_t i = 0; i < d->nowned; i++)
		if (d->owned[i] == p) {
			d->owned[i] = d->owned[--d->nowned];
			d->ops->release(d, p);
			return;
		}
	if (p)
		BUG("memory that the device '%s' does not have", d->ops->name);
}

void device_write(struct device *d, void *to, const void *from, size_t bytes)
{
	d->failed = d->failed || !d->ops->write(d, to, from, bytes);
}

void device_read(struct device *d, void *to, const void *from, size_t bytes)
{
	d->failed = d->failed || !d->ops->read(d, to, from, bytes);
	if (d->failed)
		memset(to, 0, bytes);
}

void device_copy(struct device *d, void *to, const void *from, size_t bytes)
{
	d->failed = d->failed || !d->ops->copy(d, to, from, bytes);
}

void device_clear(struct device *d, void *p, size_t bytes)
{
	d->failed = d->failed || !d->ops->clear(d, p, bytes);
}

const void *device_bytes(struct device *d, struct arena *a, const void *p, size_t bytes)
{
	if (d->ops->host_follows)
		return p;
	void *copy = arena_alloc(a, bytes);
	device_read(d, copy, p, bytes);
	return copy;
}

void device_run(struct device *d, int i, void **t, const int64_t *dim)
{
	d->failed = d->failed || !d->ops->run(d, i, t, dim);
}

bool device_ok(const struct device *d, struct err *e)
{
	if (d->failed && e)
		*e = d->error;
	return !d->failed;
}
