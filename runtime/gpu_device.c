#include "gpu_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of cuda.h. */
enum { ATTRIBUTE_MULTIPROCESSORS = 16, ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76, ATTRIBUTE_SHARED_OPTIN = 97 };
enum { FUNCTION_SHARED_BYTES = 8 };

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

/* "1.5 GB" */
static const char *amount(char text[32], uint64_t bytes)
{
	snprintf(text, 32, bytes < 1000000000 ? "%.1f MB" : "%.1f GB", (double)bytes / (bytes < 1000000000 ? 1e6 : 1e9));
	return text;
}

bool gpu_has_room(const struct gpu_device *g, uint64_t bytes, struct err *e)
{
	char available[32], all[32], need[32];
	return bytes <= g->free_bytes ||
		err_set(e, ERR_DEVICE, "%s has %s of memory free of %s, %s are needed", g->name, amount(available, g->free_bytes),
			amount(all, g->all_bytes), amount(need, bytes));
}

/* ---- code ---- */

static bool find_function(struct gpu_functions *f, uint32_t i, gpu_module module, const char *name, uint64_t shared_bytes,
	struct err *e)
{
	const struct gpu_driver *d = f->g->d;
	int blocks = 0;
	if (shared_bytes > (uint64_t)f->g->shared_bytes)
		return err_set(e, ERR_DEVICE, "%s: kernel %s needs %llu bytes of shared memory, a block has %d", f->g->name, name,
			(unsigned long long)shared_bytes, f->g->shared_bytes);
	if (!gpu_ok(d, d->module_function(&f->function[i], module, name), name, e) ||
		!gpu_ok(d, d->function_set(f->function[i], FUNCTION_SHARED_BYTES, (int)shared_bytes), name, e) ||
		!gpu_ok(d, d->occupancy(&blocks, f->function[i], GPU_THREADS, shared_bytes), name, e))
		return false;
	f->nblock[i] = (unsigned)((blocks > 0 ? blocks : 1) * f->g->nmulti);
	return true;
}

uint64_t gpu_most_shared(const struct gpu_program *p, int arch)
{
	uint64_t most = 0;
	for (uint32_t i = 0; i < p->nkernel; i++) {
		uint64_t bytes = gpu_shared_bytes(&p->kernel[i], arch);
		most = bytes > most ? bytes : most;
	}
	return most;
}

bool gpu_functions_open(struct gpu_functions *f, const struct gpu_device *g, gpu_module module, const struct gpu_program *p,
	enum gpu_way way, struct err *e)
{
	*f = (struct gpu_functions){.g = g, .p = p};
	f->function = xcalloc(p->nkernel + 1, sizeof(*f->function));
	f->nblock = xcalloc(p->nkernel + 1, sizeof(*f->nblock));
	if (way == GPU_ALL_IN_ONE) {
		bool ok = find_function(f, 0, module, p->all, gpu_most_shared(p, g->arch), e);
		f->nblock[0] = f->nblock[0] > GPU_MOST_BLOCKS ? GPU_MOST_BLOCKS : f->nblock[0];
		return ok;
	}
	for (uint32_t i = 0; i < p->nkernel; i++)
		if (!find_function(f, i, module, p->kernel[i].name, gpu_shared_bytes(&p->kernel[i], g->arch), e))
			return false;
	return true;
}

void gpu_functions_close(struct gpu_functions *f)
{
	free(f->function);
	free(f->nblock);
	*f = (struct gpu_functions){0};
}

bool gpu_launch_some(const struct gpu_functions *f, struct gpu_some part, const uint64_t *t, const int64_t *dim, gpu_stream stream,
	struct err *e)
{
	const struct gpu_driver *d = f->g->d;
	for (uint32_t i = part.first; i < part.last; i++) {
		const struct gpu_kernel *k = &f->p->kernel[i];
		struct gpu_call call = {{0}, {0}};
		void *arg[] = {&call};
		for (uint32_t a = 0; a < k->narg; a++)
			call.t[a] = t[k->arg[a].slot] + k->arg[a].offset;
		memcpy(call.dim, dim, f->p->head.ndim * sizeof(*dim));
		unsigned shared = (unsigned)gpu_shared_bytes(k, f->g->arch);
		if (!gpu_ok(d, d->launch(f->function[i], f->nblock[i], 1, 1, GPU_THREADS, 1, 1, shared, stream, arg, NULL), k->name, e))
			return false;
	}
	return true;
}

bool gpu_launch(const struct gpu_functions *f, const uint64_t *t, const int64_t *dim, gpu_stream stream, struct err *e)
{
	return gpu_launch_some(f, (struct gpu_some){0, f->p->nkernel}, t, dim, stream, e);
}
