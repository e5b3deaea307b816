#include "gpu_trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nvrtc.h"
#include "test.h"

bool gpu_trial_real(void)
{
	const char *set = getenv("TRIM_TEST_GPU");
	return set && *set;
}

bool gpu_trial_device(struct gpu_device *g, const char *setting, struct err *e)
{
	char path[4096];
	const char *build = getenv("BUILD");
	if (!gpu_trial_real()) {
		snprintf(path, sizeof(path), "%s/tests/fake-cuda.so", build ? build : ".build");
		setenv("TRIM_CUDA_DRIVER", path, 1);
		setenv("TRIM_FAKE_CUDA", setting ? setting : "90 1073741824 0", 1);
	}
	return gpu_device_open(g, 0, e);
}

bool gpu_trial_code_open(struct gpu_trial_code *c, const struct cuda_source *source, int arch)
{
	struct err e;
	memset(c, 0, sizeof(*c));
	strbuf_init(&c->made);
	if (!gpu_trial_real()) {
		bool ok = shim_open(&c->shim, source);
		c->cubin = c->shim.path;
		return ok;
	}
	if (!nvrtc_compile(source->text, arch, &c->made, &e)) {
		FAIL("%s", e.msg);
		return false;
	}
	c->cubin = c->made.s;
	return true;
}

void gpu_trial_code_close(struct gpu_trial_code *c)
{
	if (c->shim.library)
		shim_close(&c->shim);
	strbuf_release(&c->made);
}
