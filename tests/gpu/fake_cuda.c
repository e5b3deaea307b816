/*
 * A CUDA driver without a device, for tests of the runtime: device memory is the process's, a module's image is the path of a
 * library made by the shim (shim_run.h), and a launch runs it there and then. TRIM_FAKE_CUDA="ARCH BYTES LAUNCH":
 * compute capability (0: no device), bytes of device memory, and which launch behind a module fails (0: none).
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_OK, FAKE_OUT_OF_MEMORY = 2, FAKE_NO_DEVICE = 100, FAKE_NOT_FOUND = 500, FAKE_LAUNCH_FAILED = 719 };

static int setting(int which)
{
	int arch = 90, memory = 1 << 28, launch = 0;
	const char *s = getenv("TRIM_FAKE_CUDA");
	if (s)
		sscanf(s, "%d %d %d", &arch, &memory, &launch);
	return which == 0 ? arch : which == 1 ? memory : launch;
}

static size_t used;
static int nlaunch;

int cuInit(unsigned flags) { (void)flags; return setting(0) ? FAKE_OK : FAKE_NO_DEVICE; }
int cuDriverGetVersion(int *v) { *v = 13000; return FAKE_OK; }
int cuDeviceGetCount(int *n) { *n = 1; return FAKE_OK; }
int cuDeviceGet(int *device, int i) { *device = i; return FAKE_OK; }
int cuDeviceGetName(char *name, int bytes, int device) { snprintf(name, (size_t)bytes, "fake %d", device); return FAKE_OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
	(void)device;
	*value = attribute == 16 ? 2 : attribute == 75 ? setting(0) / 10 : attribute == 76 ? setting(0) % 10 : (setting(0) == 90 ? 227 : 99) << 10;
	return FAKE_OK;
}
int cuDevicePrimaryCtxRetain(void **c, int device) { (void)device; *c = &used; return FAKE_OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return FAKE_OK; }
int cuCtxSetCurrent(void *c) { (void)c; return FAKE_OK; }
int cuMemGetInfo_v2(size_t *available, size_t *all)
{
	*all = (size_t)setting(1);
	*available = *all - used;
	return FAKE_OK;
}
int cuModuleLoadData(void **m, const void *image)
{
	nlaunch = 0;
	const char *path = getenv("TRIM_FAKE_CUDA_LIBRARY"); /* what stands for any image */
	*m = dlopen(path ? path : image, RTLD_NOW | RTLD_LOCAL);
	return *m ? FAKE_OK : FAKE_NOT_FOUND;
}

struct function {
	void *kernel, *run, *run_all, *blocks, *wrong;
	struct function *next;
};
static struct function *functions; /* of all modules; the last one that goes takes them along */
int cuModuleUnload(void *m)
{
	while (functions) {
		struct function *f = functions;
		functions = f->next;
		free(f);
	}
	dlclose(m);
	return FAKE_OK;
}

int cuModuleGetFunction(struct function **f, void *m, const char *name)
{
	*f = malloc(sizeof(**f));
	struct function *before = functions;
	functions = *f;
	**f = (struct function){.next = before, .kernel = dlsym(m, name), .run = dlsym(m, "shim_run"),
		.run_all = dlsym(m, "shim_run_all"), .blocks = dlsym(m, "shim_chosen_blocks"), .wrong = dlsym(m, "shim_was_wrong")};
	return (*f)->kernel ? FAKE_OK : FAKE_NOT_FOUND;
}
int cuFuncSetAttribute(struct function *f, int attribute, int value) { (void)f; (void)attribute; (void)value; return FAKE_OK; }
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, struct function *f, int threads, size_t shared)
{
	(void)f, (void)threads, (void)shared;
	*blocks = 1;
	return FAKE_OK;
}
int cuMemAlloc_v2(uint64_t *p, size_t bytes)
{
	if (used + bytes > (size_t)setting(1))
		return FAKE_OUT_OF_MEMORY;
	void *memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
	memset(memory, 0xee, bytes);
	used += bytes;
	*p = (uint64_t)(uintptr_t)memory;
	return FAKE_OK;
}
int cuMemFree_v2(uint64_t p) { free((void *)(uintptr_t)p); used = 0; return FAKE_OK; }
int cuMemsetD8Async(uint64_t p, unsigned char v, size_t n, void *s) { (void)s; memset((void *)(uintptr_t)p, v, n); return FAKE_OK; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t n, void *s)
{
	(void)s;
	memcpy((void *)(uintptr_t)to, from, n);
	return FAKE_OK;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t n, void *s)
{
	(void)s;
	memcpy(to, (void *)(uintptr_t)from, n);
	return FAKE_OK;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t n, void *s)
{
	(void)s;
	memcpy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, n);
	return FAKE_OK;
}
int cuMemHostAlloc(void **p, size_t n, unsigned flags) { (void)flags; *p = malloc(n); return FAKE_OK; }
int cuMemFreeHost(void *p) { free(p); return FAKE_OK; }
int cuStreamCreate(void **s, unsigned flags) { (void)flags; *s = malloc(1); return FAKE_OK; }
int cuStreamDestroy_v2(void *s) { free(s); return FAKE_OK; }
int cuStreamSynchronize(void *s) { (void)s; return FAKE_OK; }
int cuLaunchKernel(struct function *f, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
	unsigned shared, void *stream, void **arg, void **extra)
{
	(void)y, (void)z, (void)bx, (void)by, (void)bz, (void)stream, (void)extra;
	if (++nlaunch == setting(2))
		return FAKE_LAUNCH_FAILED;
	*(int *)f->blocks = (int)x;
	((void (*)(void *, void *, size_t))f->run)(f->kernel, arg[0], shared);
	return *(const char **)f->wrong ? FAKE_LAUNCH_FAILED : FAKE_OK;
}
int cuLaunchCooperativeKernel(struct function *f, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
	unsigned shared, void *stream, void **arg)
{
	(void)y, (void)z, (void)bx, (void)by, (void)bz, (void)stream;
	if (++nlaunch == setting(2))
		return FAKE_LAUNCH_FAILED;
	*(int *)f->blocks = (int)x;
	((void (*)(void *, void *, size_t))f->run_all)(f->kernel, arg[0], shared);
	return *(const char **)f->wrong ? FAKE_LAUNCH_FAILED : FAKE_OK;
}
int cuGetErrorString(int result, const char **text)
{
	*text = result == FAKE_OUT_OF_MEMORY ? "out of memory" : result == FAKE_NO_DEVICE ? "no CUDA-capable device is detected"
		: result == FAKE_LAUNCH_FAILED ? "unspecified launch failure" : "named symbol not found";
	return FAKE_OK;
}
