/*
 * A device for tests: one that is none (tests/gpu/fake_cuda.c), whose code the shim runs, or with TRIM_TEST_GPU=1 the first
 * that there is, with code from NVRTC.
 */
#ifndef GPU_TRIAL_H
#define GPU_TRIAL_H

#include "gpu_run.h"
#include "shim_program.h"

bool gpu_trial_real(void);

/* setting: of the device that is none, "ARCH BYTES LAUNCH"; NULL: one that has all and does not fail. */
bool gpu_trial_device(struct gpu_device *g, const char *setting, struct err *e);

struct gpu_trial_code {
	const void *cubin;
	struct shim shim;
	struct strbuf made;
};
/* False after FAIL; gpu_trial_code_close either way. */
bool gpu_trial_code_open(struct gpu_trial_code *c, const struct cuda_source *source, int arch);
void gpu_trial_code_close(struct gpu_trial_code *c);

#endif
