/*
 * A CUDA device, and code of the CUDA emitter, compiled for exactly that device: a module for each program. Everything goes
 * through one stream, so nothing has to wait but the host for what it reads. Two rows: products are code like all else, or
 * cuBLASLt makes them between the kernels.
 *
 * The driver's context of the first device that it shows is opened once and stays until the process ends.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cublaslt.h"
#include "cuda_code.h"
#include "device.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gpu_device first; /* d NULL: not open */

struct cuda_device {
	struct gpu_device g; /* the first, with the memory that is free by now */
	gpu_stream stream;
	gpu_module *module;  /* of each program */
	struct gpu_functions *code;
	struct gpu_program *program;
	uint64_t **t;        /* of each program, for launches */
	uint64_t slab, scratch;
	struct cublaslt library; /* zeros: all is code */
	struct cuda_products *products;
	struct cublaslt_way ***way; /* of each program's products */
};

/* What the library's documentation recommends for its fastest kernels. */
enum { WORKSPACE_BYTES = 32 << 20 };
/* Goes up when bits change by what the library is asked for: this, and all that cublaslt.c sets. */
enum { PRODUCTS_VERSION = 1 };

static bool open_first(struct err *e)
{
	pthread_mutex_lock(&lock);
	bool ok = first.d || gpu_device_open(&first, 0, e);
	pthread_mutex_unlock(&lock);
	return ok;
}

/* A context is current in one thread at a time, and memory may have gone to others since. */
static bool use_first(struct gpu_device *g, struct err *e)
{
	size_t all = 0, available = 0;
	*g = first;
	if (!gpu_ok(g->d, g->d->context_set(g->context), "opening the device", e) ||
		!gpu_ok(g->d, g->d->memory_info(&available, &all), "asking for the device's memory", e))
		return false;
	g->free_bytes = available;
	return true;
}

static bool cuda_open(struct device *d, struct err *e)
{
	enum { STREAM_NON_BLOCKING = 1 };
	struct cuda_device *own = arena_new(&d->arena, struct cuda_device);
	d->own = own;
	return open_first(e) && use_first(&own->g, e) &&
		gpu_ok(own->g.d, own->g.d->stream_new(&own->stream, STREAM_NON_BLOCKING), "making a stream", e);
}

static bool cublaslt_device_open(struct device *d, struct err *e)
{
	return cuda_open(d, e) && cublaslt_open(&((struct cuda_device *)d->own)->library, e);
}

static void close_library(struct device *d)
{
	struct cuda_device *own = d->own;
	for (int i = 0; i < d->nprogram && own->way; i++)
		for (size_t k = 0; own->way[i] && k < own->products[i].n; k++)
			cublaslt_way_free(own->way[i][k]);
	cublaslt_close(&own->library);
}

static void cuda_close(struct device *d)
{
	struct cuda_device *own = d->own;
	const struct gpu_driver *driver = own->g.d;
	close_library(d);
	for (int i = 0; i < d->nprogram && own->module; i++) {
		gpu_functions_close(&own->code[i]);
		if (own->module[i])
			driver->module_unload(own->module[i]);
	}
	if (own->stream)
		driver->stream_free(own->stream);
}

/* ---- memory ---- */

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static bool cuda_has_room(const struct device *d, uint64_t bytes, struct err *e)
{
	const struct cuda_device *own = d->own;
	return gpu_has_room(&own->g, bytes, e);
}

static void *cuda_alloc(struct device *d, size_t bytes)
{
	struct cuda_device *own = d->own;
	uint64_t p = 0;
	if (!gpu_ok(own->g.d, own->g.d->alloc(&p, bytes ? bytes : 1), "allocating device memory", &d->error))
		return NULL;
	return (void *)(uintptr_t)p;
}

static void cuda_release(struct device *d, void *p)
{
	struct cuda_device *own = d->own;
	own->g.d->stream_wait(own->stream);
	own->g.d->free(address(p));
}

/* The driver takes what the host may change before the copy is done to a place of its own first. */
static bool cuda_write(struct device *d, void *to, const void *from, size_t bytes)
{
	struct cuda_device *own = d->own;
	return !bytes || gpu_ok(own->g.d, own->g.d->to_device(address(to), from, bytes, own->stream), "writing to the device",
		&d->error);
}

static bool cuda_read(struct device *d, void *to, const void *from, size_t bytes)
{
	struct cuda_device *own = d->own;
	const struct gpu_driver *driver = own->g.d;
	return !bytes || (gpu_ok(driver, driver->to_host(to, address(from), bytes, own->stream), "reading results", &d->error) &&
		gpu_ok(driver, driver->stream_wait(own->stream), "running GPU code", &d->error));
}

static bool cuda_copy(struct device *d, void *to, const void *from, size_t bytes)
{
	struct cuda_device *own = d->own;
	return !bytes || gpu_ok(own->g.d, own->g.d->copy(address(to), address(from), bytes, own->stream), "copying", &d->error);
}

static bool cuda_clear(struct device *d, void *p, size_t bytes)
{
	struct cuda_device *own = d->own;
	return !bytes || gpu_ok(own->g.d, own->g.d->fill(address(p), 0, bytes, own->stream), "clearing memory", &d->error);
}

/* ---- code ---- */

/* Program i from its code. */
static bool load_one(struct device *d, int i, const struct cuda_code *code, struct err *e)
{
	struct cuda_device *own = d->own;
	own->program[i] = code->source.program[0];
	own->products[i] = code->source.products[0];
	own->way[i] = arena_array(&d->arena, struct cublaslt_way *, own->products[i].n + 1);
	d->program[i] = &own->program[i].head;
	own->t[i] = arena_array(&d->arena, uint64_t, own->program[i].head.nexternal + 2);
	return gpu_ok(own->g.d, own->g.d->module_load(&own->module[i], code->cubin.s), "loading GPU code", e) &&
		gpu_functions_open(&own->code[i], &own->g, own->module[i], &own->program[i], GPU_ONE_BY_ONE, e);
}

static bool load_all(struct device *d, const struct graph *const *graph, int ngraph, struct err *e)
{
	struct cuda_device *own = d->own;
	struct cuda_code *code = arena_array(&d->arena, struct cuda_code, ngraph);
	for (int i = 0; i < ngraph; i++) {
		code[i].source = own->library.handle ? cuda_emit_products(&d->arena, &graph[i], 1) : cuda_emit(&d->arena, &graph[i], 1);
		strbuf_init(&code[i].cubin);
	}
	bool ok = cuda_code_make(code, ngraph, &own->g, d->nthreads, e);
	for (int i = 0; i < ngraph; i++) {
		ok = ok && load_one(d, i, &code[i], e);
		strbuf_release(&code[i].cubin);
	}
	return ok;
}

static bool cuda_load(struct device *d, const struct graph *const *graph, int ngraph, struct err *e)
{
	struct cuda_device *own = d->own;
	uint64_t slab = 0, scratch = 0;
	own->module = arena_array(&d->arena, gpu_module, ngraph);
	own->code = arena_array(&d->arena, struct gpu_functions, ngraph);
	own->program = arena_array(&d->arena, struct gpu_program, ngraph);
	own->t = arena_array(&d->arena, uint64_t *, ngraph);
	own->products = arena_array(&d->arena, struct cuda_products, ngraph);
	own->way = arena_array(&d->arena, struct cublaslt_way **, ngraph);
	if (!load_all(d, graph, ngraph, e))
		return false;
	for (int i = 0; i < ngraph; i++) {
		const struct program *p = d->program[i];
		slab = p->slab_bytes > slab ? p->slab_bytes : slab;
		scratch = p->scratch_bytes > scratch ? p->scratch_bytes : scratch;
	}
	own->slab = address(device_alloc(d, slab));
	own->scratch = address(device_alloc(d, scratch));
	if (own->library.handle) {
		own->library.workspace = address(device_alloc(d, WORKSPACE_BYTES));
		own->library.workspace_bytes = WORKSPACE_BYTES;
	}
	return device_ok(d, e);
}

typedef struct cuda_source emit_fn(struct arena *a, const struct graph *const *graph, int ngraph);

static uint64_t shared_bytes(const struct graph *const *graph, int ngraph, emit_fn *emit)
{
	uint64_t slab = 0, scratch = 0;
	for (int i = 0; i < ngraph; i++) {
		struct arena a = {0};
		uint64_t own = emit(&a, &graph[i], 1).program[0].head.scratch_bytes;
		slab = (uint64_t)graph[i]->slab_bytes > slab ? (uint64_t)graph[i]->slab_bytes : slab;
		scratch = own > scratch ? own : scratch;
		arena_release(&a);
	}
	return slab + scratch;
}

static uint64_t cuda_shared_bytes(const struct graph *const *graph, int ngraph, int nthreads)
{
	(void)nthreads;
	return shared_bytes(graph, ngraph, cuda_emit);
}

static uint64_t cublaslt_shared_bytes(const struct graph *const *graph, int ngraph, int nthreads)
{
	(void)nthreads;
	return shared_bytes(graph, ngraph, cuda_emit_products) + WORKSPACE_BYTES;
}

static int64_t extent(struct cuda_extent x, const int64_t *dim)
{
	return x.dim < 0 ? x.fixed : x.fixed * dim[x.dim];
}

static bool multiply(struct device *d, int i, size_t k, const int64_t *dim)
{
	struct cuda_device *own = d->own;
	const struct cuda_product *p = &own->products[i].product[k];
	const uint64_t *t = own->t[i];
	const struct cublaslt_product product = {.dtype = p->dtype, .m = extent(p->m, dim), .n = extent(p->n, dim),
		.k = extent(p->k, dim), .a_m = p->rows_m, .a_k = p->rows_k, .b_n = p->lanes_n, .b_k = p->lanes_k, .d_m = p->result_m,
		.a = t[p->rows.slot] + p->rows.offset, .b = t[p->lanes.slot] + p->lanes.offset, .d = t[p->result.slot] + p->result.offset};
	return cublaslt_multiply(&own->library, &product, &own->way[i][k], own->stream, &d->error);
}

static bool cuda_run(struct device *d, int i, void **t, const int64_t *dim)
{
	struct cuda_device *own = d->own;
	const struct program *p = d->program[i];
	t[0] = (void *)(uintptr_t)own->slab;
	for (uint32_t k = 0; k <= p->nexternal; k++)
		own->t[i][k] = address(t[k]);
	own->t[i][p->nexternal + 1] = own->scratch;
	uint32_t done = 0, all = own->program[i].nkernel;
	for (size_t k = 0; k < own->products[i].n; k++) {
		uint32_t before = own->products[i].product[k].before;
		if (!gpu_launch_some(&own->code[i], (struct gpu_some){done, before}, own->t[i], dim, own->stream, &d->error) ||
			!multiply(d, i, k, dim))
			return false;
		done = before;
	}
	return gpu_launch_some(&own->code[i], (struct gpu_some){done, all}, own->t[i], dim, own->stream, &d->error);
}

/* What both have. */
#define CUDA_OPS .close = cuda_close, .load = cuda_load, .has_room = cuda_has_room, .alloc = cuda_alloc, .release = cuda_release, \
	.write = cuda_write, .read = cuda_read, .copy = cuda_copy, .clear = cuda_clear, .run = cuda_run

const struct device_ops device_cuda = {.name = "cuda", .version = GPU_CLASS_VERSION, .plan = graph_plan_gpu, .open = cuda_open,
	.work = {[DT_F32] = "cuda f32", [DT_BF16] = "cuda bf16", [DT_Q8] = "cuda q8", [DT_Q4] = "cuda q4"},
	.shared_bytes = cuda_shared_bytes, CUDA_OPS};
const struct device_ops device_cublaslt = {.name = "cuda-cublaslt", .version = GPU_CLASS_VERSION * 1000 + PRODUCTS_VERSION,
	.work = {[DT_F32] = "cublaslt f32", [DT_BF16] = "cublaslt bf16", [DT_Q8] = "cublaslt q8", [DT_Q4] = "cublaslt q4"},
	.library = cublaslt_version, .plan = graph_plan_rows, .open = cublaslt_device_open, .shared_bytes = cublaslt_shared_bytes,
	CUDA_OPS};
