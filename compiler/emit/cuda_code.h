/* Device code of sources, made here by NVRTC for exactly the device at hand, and kept as objects of the CPU's are (code_keep.h). */
#ifndef CUDA_CODE_H
#define CUDA_CODE_H

#include "cuda.h"
#include "gpu_device.h"

struct cuda_code {
	struct cuda_source source;
	struct strbuf cubin; /* appended to */
};

/* All n, side by side by as many threads. ERR_TOOL: there is no NVRTC, or it makes no code for the device. */
bool cuda_code_make(struct cuda_code *c, int n, const struct gpu_device *g, int nthreads, struct err *e);

#endif
