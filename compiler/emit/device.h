/*
 * Where programs of a stage run: threads of this machine's CPU, or a CUDA device. One file each, and a row of devices[].
 *
 * A device's memory lies behind pointers that its programs follow and nobody else: others get at it by device_write,
 * device_read and device_copy. What a device fails to do is remembered: from then on it does nothing, what is read is 0,
 * and device_ok says why; so callers ask once behind a step and not behind every call. The CPU never fails.
 *
 * A device belongs to one thread.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "arena.h"
#include "ir.h"
#include "program.h"

/* DEVICE_CUBLASLT: a CUDA device where NVIDIA's library multiplies. */
enum device_kind { DEVICE_CPU, DEVICE_CUDA, DEVICE_CUBLASLT, NDEVICES };

const char *device_name(enum device_kind kind); /* as a spec says it: "cuda" */
enum device_kind device_find(const char *name); /* BUG on a name that no row has */
/* What is done with weights of that dtype, as kinds of work go: "bf16", "cuda bf16". */
const char *device_work(enum device_kind kind, enum dtype weight);
/* Of the numerics classes where they are not the CPU's, for keys; else 0. Neither the model of the device nor its compiler
 * enters a key: what one GPU made is an artifact like any other. */
int device_version(enum device_kind kind);
/* Of the library that has a part in the numbers that come out; 0: none has, or it is not there. For keys as well. */
int device_library(enum device_kind kind);

/* A graph as its programs are planned. */
struct graph *device_plan(enum device_kind kind, struct arena *a, const struct graph *g);

struct device;
/* ERR_TOOL: it is not there, or no code can be made for it. */
bool device_open(struct device **out, enum device_kind kind, int nthreads, struct err *e);
void device_free(struct device *d); /* with all of its memory; NULL is allowed */

/* Code of all programs that will run, once, before any memory is allocated: program i is that of device_plan's graph i. */
bool device_load(struct device *d, const struct graph *const *graph, int ngraph, struct err *e);
/* Its externals and dimensions, in the order that device_run has them. */
const struct program *device_program(const struct device *d, int i);

/* What programs take beside their externals, so without device_load: slab and scratch, of all of them together. */
uint64_t device_shared_bytes(enum device_kind kind, const struct graph *const *graph, int ngraph, int nthreads);

/* ERR_DEVICE: so much is not free, with both sizes. A CPU's memory is not counted (estimates do). */
bool device_has_room(const struct device *d, uint64_t bytes, struct err *e);

/* Zeros, 64-byte aligned. */
void *device_alloc(struct device *d, size_t bytes);
void device_release(struct device *d, void *p);

void device_write(struct device *d, void *to, const void *from, size_t bytes);
void device_read(struct device *d, void *to, const void *from, size_t bytes);
void device_copy(struct device *d, void *to, const void *from, size_t bytes);
void device_clear(struct device *d, void *p, size_t bytes);
/* Its bytes for the host to read: where they are if the host can follow the pointer, else copied to the arena. */
const void *device_bytes(struct device *d, struct arena *a, const void *p, size_t bytes);

/* Runs program i: t[1 + k] is external k, the device sets t[0]; dim as program_run has it. */
void device_run(struct device *d, int i, void **t, const int64_t *dim);

/* Whether nothing failed so far; e: the first that did. */
bool device_ok(const struct device *d, struct err *e);

/* ---- for the files of devices ---- */

struct device_ops {
	const char *name;
	const char *work[NDTYPES]; /* NULL: the dtype's name */
	int version; /* of its numerics classes; 0: they are those of arch.h */
	int (*library)(struct err *e); /* its version; NULL: there is none */
	struct graph *(*plan)(struct arena *a, const struct graph *g);
	bool (*open)(struct device *d, struct err *e);
	void (*close)(struct device *d);
	bool (*load)(struct device *d, const struct graph *const *graph, int ngraph, struct err *e);
	uint64_t (*shared_bytes)(const struct graph *const *graph, int ngraph, int nthreads);
	bool (*has_room)(const struct device *d, uint64_t bytes, struct err *e);
	/* NULL, with d->error: there is no memory. */
	void *(*alloc)(struct device *d, size_t bytes);
	void (*release)(struct device *d, void *p);
	bool (*write)(struct device *d, void *to, const void *from, size_t bytes);
	bool (*read)(struct device *d, void *to, const void *from, size_t bytes);
	bool (*copy)(struct device *d, void *to, const void *from, size_t bytes);
	bool (*clear)(struct device *d, void *p, size_t bytes);
	bool (*run)(struct device *d, int i, void **t, const int64_t *dim);
	bool host_follows; /* its pointers */
};
extern const struct device_ops device_cpu, device_cuda, device_cublaslt;

struct device {
	const struct device_ops *ops;
	int nthreads;
	const struct program **program;
	int nprogram;
	void **owned;
	size_t nowned;
	bool failed;
	struct err error;
	void *own; /* of ops */
	struct arena arena;
};

#endif
