/*
 * Programs on a CUDA device: code and memory of one program, weights sent once, then runs.
 *
 * A device's memory is the program's slab, scratch and every external. Params go there when the program is opened, in
 * pieces through pinned memory, so that reading the file and sending overlap; states begin as 0. Inputs go with every
 * run; an output comes when it is asked for. A failing device is an error like any other; none of this prints.
 */
#ifndef GPU_RUN_H
#define GPU_RUN_H

#include "gpu_device.h"
#include "model_run.h"

struct gpu_run;
struct gpu_run_request {
	struct gpu_device *g;
	const struct gpu_program *p;
	const void *cubin;
	void *const *host;    /* memory of the externals as program_run has it, host[1 + i]; the caller's */
	struct gpu_run *with; /* NULL, or an open run, closed later, of the same cubin: params and states of one name and
	                       * size are its */
};

struct gpu_run {
	struct gpu_device *g;
	const struct gpu_program *p;
	gpu_module module;
	gpu_stream stream;
	struct gpu_functions code; /* private from here on */
	uint64_t all_arg, counter; /* of the kernel that does what all do */
	uint32_t arrivals;
	uint64_t base;          /* of its own memory */
	uint64_t *t;            /* addresses as gpu_code.h has them */
	void *const *host;
	struct gpu_run *with;
	uint64_t bytes;         /* of device memory */
	uint8_t *inputs;        /* as they begin that memory */
};

/* Params are sent now, inputs with every run. ERR_DEVICE: the device's memory is too small, with both sizes, or it
 * failed. */
bool gpu_run_open(struct gpu_run *r, const struct gpu_run_request *q, struct err *e);
void gpu_run_close(struct gpu_run *r);

/* Launches all kernels; dim as program_run has it. */
bool gpu_run_start(struct gpu_run *r, const int64_t *dim, struct err *e);
/* Waits, and copies the first bytes of an external to the host. */
bool gpu_run_get(struct gpu_run *r, int external, void *to, uint64_t bytes, struct err *e);

/*
 * A session whose program runs on a device from now on: opened on p[0].head, whose memory on the host is inputs and
 * logits. p[1], if n is 2, is the same model for few rows, and runs calls that have no more. gpu_session_close before
 * session_release.
 */
struct gpu_session {
	struct gpu_run run[2];
	int nrun;
	void **host; /* of run[1] */
	struct session *s;
	int logits[2], rows, out; /* externals; dimensions, of all programs */
};
bool gpu_session_open(struct gpu_session *gs, struct session *s, struct gpu_device *g, const struct gpu_program *p, size_t n,
	const void *cubin, struct err *e);
void gpu_session_close(struct gpu_session *gs);

#endif
