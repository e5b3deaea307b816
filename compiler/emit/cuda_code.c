#include "cuda_code.h"

#include <stdlib.h>

#include "beside.h"
#include "code_keep.h"
#include "nvrtc.h"

/* The device's own architecture, else the nearest one below of the same generation: its code runs too. */
static int choose_arch(const struct nvrtc *n, int arch)
{
	int best = 0;
	for (int i = 0; i < n->narch; i++)
		if (n->arch[i] / 10 == arch / 10 && n->arch[i] <= arch && n->arch[i] > best)
			best = n->arch[i];
	return best;
}

static struct digest key_of(const struct cuda_source *s, const struct nvrtc *n, int arch)
{
	struct hasher *h = hasher_new();
	hasher_adds(h, "cubin");
	hasher_add_field(h, (const int[]){n->major, n->minor, arch}, 3 * sizeof(int));
	for (const char *const *option = nvrtc_options; *option; option++)
		hasher_adds(h, *option);
	hasher_add_field(h, s->text, s->text_bytes);
	return hasher_end(h);
}

static bool make(struct cuda_code *c, const struct nvrtc *n, int arch, struct err *e)
{
	const char *folder = getenv("TRIM_KEEP_CODE");
	struct digest key = key_of(&c->source, n, arch);
	if (code_get(folder ? folder : "", key, &c->cubin))
		return true;
	if (!nvrtc_compile(c->source.text, arch, &c->cubin, e))
		return false;
	code_put(folder ? folder : "", key, strbuf_buf(&c->cubin));
	return true;
}

struct making {
	struct cuda_code *code;
	const struct nvrtc *nvrtc;
	int arch;
	struct err *error; /* of each; no message: none */
};

static bool make_one(void *making, int i)
{
	const struct making *m = making;
	return make(&m->code[i], m->nvrtc, m->arch, &m->error[i]);
}

bool cuda_code_make(struct cuda_code *c, int n, const struct gpu_device *g, int nthreads, struct err *e)
{
	struct making m = {.code = c, .nvrtc = nvrtc_open(e)};
	const struct err *failed = NULL;
	if (!m.nvrtc)
		return false;
	m.arch = choose_arch(m.nvrtc, g->arch);
	if (!m.arch)
		return err_set(e, ERR_TOOL, "NVRTC %d.%d makes no code for sm_%d, which %s is", m.nvrtc->major, m.nvrtc->minor, g->arch,
			g->name);
	m.error = xcalloc((size_t)n, sizeof(*m.error));
	beside(n, nthreads, make_one, &m);
	for (int i = 0; i < n && !failed; i++)
		failed = m.error[i].msg[0] ? &m.error[i] : NULL;
	if (failed && e)
		*e = *failed;
	bool ok = !failed;
	free(m.error);
	return ok;
}
