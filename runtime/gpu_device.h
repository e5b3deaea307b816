/*
 * CUDA devices, code for them, and launches of a program's kernels. A failing device is an error like any other.
 */
#ifndef GPU_DEVICE_H
#define GPU_DEVICE_H

#include "gpu_code.h"
#include "gpu_driver.h"

struct gpu_device {
	const struct gpu_driver *d;
	int device;
	char name[128];
	int arch;         /* 90: compute capability 9.0 */
	int nmulti;       /* multiprocessors */
	int shared_bytes; /* dynamic, that a block may have */
	uint64_t free_bytes, all_bytes;
	gpu_context context;
};

/* Device `index` of those that the driver shows. ERR_TOOL: no driver, no such device. */
bool gpu_device_open(struct gpu_device *g, int index, struct err *e);
void gpu_device_close(struct gpu_device *g);

/* Code for one architecture; runs on devices of the same major number and a minor one not below. */
struct gpu_image {
	int arch;
	const void *cubin;
};
/* The best of them for a device; NULL: there is none. */
const struct gpu_image *gpu_image_choose(const struct gpu_image *image, size_t n, int arch);

/* What launching a program needs: its functions in a loaded module, and as many blocks as the device holds at a time. */
struct gpu_functions {
	const struct gpu_device *g;
	const struct gpu_program *p;
	gpu_function *function; /* one for each kernel; of all alone: that one */
	unsigned *nblock;
};
enum gpu_way { GPU_ONE_BY_ONE, GPU_ALL_IN_ONE }; /* the second where the program has such a kernel */
bool gpu_functions_open(struct gpu_functions *f, const struct gpu_device *g, gpu_module module, const struct gpu_program *p,
	enum gpu_way way, struct err *e);
void gpu_functions_close(struct gpu_functions *f); /* zeroed is allowed */

/* Kernel by kernel, each behind all before it. t: addresses as gpu_code.h has them; dim as program_run has it. */
bool gpu_launch(const struct gpu_functions *f, const uint64_t *t, const int64_t *dim, gpu_stream stream, struct err *e);
/* Of its kernels only those from first to before last. */
struct gpu_some {
	uint32_t first, last;
};
bool gpu_launch_some(const struct gpu_functions *f, struct gpu_some part, const uint64_t *t, const int64_t *dim, gpu_stream stream,
	struct err *e);
/* Dynamic shared memory of the kernel that does what all do. */
uint64_t gpu_most_shared(const struct gpu_program *p, int arch);

/* ERR_DEVICE: as many bytes are not free, with both sizes. */
bool gpu_has_room(const struct gpu_device *g, uint64_t bytes, struct err *e);

#endif
