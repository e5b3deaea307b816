#include "gpu_driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gpu_driver driver;
static bool opened;

static const struct {
	const char *name;
	size_t at;
} symbols[] = {
#define SYMBOL(name, member) {name, offsetof(struct gpu_driver, member)}
	SYMBOL("cuInit", init), SYMBOL("cuDriverGetVersion", version), SYMBOL("cuDeviceGetCount", device_count),
	SYMBOL("cuDeviceGet", device_get), SYMBOL("cuDeviceGetName", device_name),
	SYMBOL("cuDeviceGetAttribute", device_attribute),
	SYMBOL("cuDevicePrimaryCtxRetain", context_retain), SYMBOL("cuDevicePrimaryCtxRelease_v2", context_release),
	SYMBOL("cuCtxSetCurrent", context_set), SYMBOL("cuMemGetInfo_v2", memory_info),
	SYMBOL("cuModuleLoadData", module_load), SYMBOL("cuModuleUnload", module_unload),
	SYMBOL("cuModuleGetFunction", module_function), SYMBOL("cuFuncSetAttribute", function_set),
	SYMBOL("cuOccupancyMaxActiveBlocksPerMultiprocessor", occupancy),
	SYMBOL("cuMemAlloc_v2", alloc), SYMBOL("cuMemFree_v2", free), SYMBOL("cuMemsetD8Async", fill),
	SYMBOL("cuMemcpyHtoDAsync_v2", to_device), SYMBOL("cuMemcpyDtoHAsync_v2", to_host), SYMBOL("cuMemcpyDtoDAsync_v2", copy),
	SYMBOL("cuMemHostAlloc", host_alloc), SYMBOL("cuMemFreeHost", host_free),
	SYMBOL("cuStreamCreate", stream_new), SYMBOL("cuStreamDestroy_v2", stream_free),
	SYMBOL("cuStreamSynchronize", stream_wait), SYMBOL("cuLaunchKernel", launch),
	SYMBOL("cuLaunchCooperativeKernel", launch_all),
	SYMBOL("cuGetErrorString", error_text),
};
_Static_assert(NELEM(symbols) * sizeof(void *) == sizeof(struct gpu_driver), "a symbol for each member");

static bool open_library(struct err *e)
{
	const char *set = getenv("TRIM_CUDA_DRIVER");
	const char *path = set && *set ? set : "libcuda.so.1";
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return err_set(e, ERR_TOOL, "no CUDA driver here (%s); NVIDIA's kernel driver brings it", dlerror());
	for (size_t i = 0; i < NELEM(symbols); i++) {
		void *p = dlsym(lib, symbols[i].name);
		if (!p)
			return err_set(e, ERR_TOOL, "the CUDA driver '%s' is too old: it has no %s", path, symbols[i].name);
		memcpy((char *)&driver + symbols[i].at, &p, sizeof(p));
	}
	return gpu_ok(&driver, driver.init(0), "starting the CUDA driver", e);
}

const struct gpu_driver *gpu_driver_open(struct err *e)
{
	pthread_mutex_lock(&lock);
	opened = opened || open_library(e);
	bool ok = opened;
	pthread_mutex_unlock(&lock);
	return ok ? &driver : NULL;
}

bool gpu_ok(const struct gpu_driver *d, int result, const char *what, struct err *e)
{
	const char *text = NULL;
	if (!result)
		return true;
	if (d->error_text(result, &text) || !text)
		text = "unknown error";
	return err_set(e, ERR_DEVICE, "%s failed: %s (CUDA error %d)", what, text, result);
}
