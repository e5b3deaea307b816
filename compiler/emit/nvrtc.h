/*
 * NVRTC, NVIDIA's compiler of CUDA C, opened at run time: nothing of it is needed to build, and no header. It works
 * without a device and without a driver. Equal sources give equal bytes.
 */
#ifndef NVRTC_H
#define NVRTC_H

#include "arena.h"
#include "strbuf.h"

struct nvrtc {
	int major, minor;
	const char *path;   /* of the library, as it was found */
	const int *arch;    /* that it knows: 80 is sm_80 */
	int narch;
};

/* Once in a process; lives as long as it. TRIM_NVRTC names a library, else the loader looks for one by the names it has
 * had since CUDA 11.2. ERR_TOOL when there is none: the message says where one comes from. */
const struct nvrtc *nvrtc_open(struct err *e);

bool nvrtc_knows(const struct nvrtc *n, int arch);
/* Whether code for 90 is made for sm_90a, which alone has wgmma: from CUDA 12 on. */
bool nvrtc_has_wgmma(const struct nvrtc *n);

/* How it is called, beside the architecture; for keys of what it makes. NULL ends. */
extern const char *const nvrtc_options[];

/* Appends device code of sm_ARCH, of 90 as nvrtc_has_wgmma says. ERR_TOOL: no NVRTC, or it does not know ARCH. A source
 * that does not compile is a bug of the emitter: ERR_TOOL with the compiler's first line. */
bool nvrtc_compile(const char *source, int arch, struct strbuf *cubin, struct err *e);
/* The same as PTX, which drivers compile for later architectures; ends in 0. */
bool nvrtc_compile_ptx(const char *source, int arch, struct strbuf *ptx, struct err *e);

#endif
