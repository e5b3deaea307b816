/*
 * The CUDA driver, opened at run time: libcuda.so.1, which comes with NVIDIA's kernel driver, and no header of it. What
 * is here is what running programs needs (gpu_run.h); a result other than 0 is an error of the driver.
 *
 * TRIM_CUDA_DRIVER names another library instead. CUDA_VISIBLE_DEVICES is the driver's own.
 */
#ifndef GPU_DRIVER_H
#define GPU_DRIVER_H

#include "base.h"

/* As cuda.h has them: handles, and device addresses as 64-bit numbers. */
typedef struct gpu_module_handle *gpu_module;
typedef struct gpu_function_handle *gpu_function;
typedef struct gpu_stream_handle *gpu_stream;
typedef struct gpu_context_handle *gpu_context;

struct gpu_driver {
	int (*init)(unsigned flags);
	int (*version)(int *version); /* 12040 is 12.4 */
	int (*device_count)(int *n);
	int (*device_get)(int *device, int i);
	int (*device_name)(char *name, int bytes, int device);
	int (*device_attribute)(int *value, int attribute, int device);
	int (*context_retain)(gpu_context *c, int device);
	int (*context_release)(int device);
	int (*context_set)(gpu_context c);
	int (*memory_info)(size_t *free_bytes, size_t *all_bytes);
	int (*module_load)(gpu_module *m, const void *image);
	int (*module_unload)(gpu_module m);
	int (*module_function)(gpu_function *f, gpu_module m, const char *name);
	int (*function_set)(gpu_function f, int attribute, int value);
	int (*occupancy)(int *blocks, gpu_function f, int threads, size_t shared_bytes);
	int (*alloc)(uint64_t *p, size_t bytes);
	int (*free)(uint64_t p);
	int (*fill)(uint64_t p, unsigned char value, size_t n, gpu_stream s);
	int (*to_device)(uint64_t to, const void *from, size_t bytes, gpu_stream s);
	int (*to_host)(void *to, uint64_t from, size_t bytes, gpu_stream s);
	int (*copy)(uint64_t to, uint64_t from, size_t bytes, gpu_stream s);
	int (*host_alloc)(void **p, size_t bytes, unsigned flags);
	int (*host_free)(void *p);
	int (*stream_new)(gpu_stream *s, unsigned flags);
	int (*stream_free)(gpu_stream s);
	int (*stream_wait)(gpu_stream s);
	int (*launch)(gpu_function f, unsigned x, unsigned y, unsigned z, unsigned block_x, unsigned block_y, unsigned block_z,
		unsigned shared_bytes, gpu_stream s, void **arg, void **extra);
	int (*launch_all)(gpu_function f, unsigned x, unsigned y, unsigned z, unsigned block_x, unsigned block_y, unsigned block_z,
		unsigned shared_bytes, gpu_stream s, void **arg);
	int (*error_text)(int result, const char **text);
};

/* Once in a process. ERR_TOOL when there is no driver, or one too old to have all of these: one line that a user can
 * act on. */
const struct gpu_driver *gpu_driver_open(struct err *e);

/* False, with ERR_DEVICE and the driver's words, unless result is 0: `what` failed. */
bool gpu_ok(const struct gpu_driver *d, int result, const char *what, struct err *e);

#endif
