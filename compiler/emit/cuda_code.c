#include "cuda_code.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

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

struct job {
	struct cuda_code *code;
	int n, arch;
	const struct nvrtc *nvrtc;
	atomic_int next;
	atomic_bool failed; /* the first to set it has e to itself */
	struct err *e;
};

static void *work(void *arg)
{
	struct job *j = arg;
	struct err e;
	for (int i; (i = atomic_fetch_add(&j->next, 1)) < j->n;)
		if (!make(&j->code[i], j->nvrtc, j->arch, &e) && !atomic_exchange(&j->failed, true) && j->e)
			*j->e = e;
	return NULL;
}

bool cuda_code_make(struct cuda_code *c, int n, const struct gpu_device *g, int nthreads, struct err *e)
{
	struct job j = {.code = c, .n = n, .nvrtc = nvrtc_open(e), .e = e};
	pthread_t *thread;
	int nstarted = 0;
	if (!j.nvrtc)
		return false;
	j.arch = choose_arch(j.nvrtc, g->arch);
	if (!j.arch)
		return err_set(e, ERR_TOOL, "NVRTC %d.%d makes no code for sm_%d, which %s is", j.nvrtc->major, j.nvrtc->minor, g->arch,
			g->name);
	thread = xcalloc((size_t)nthreads, sizeof(*thread));
	while (nstarted < nthreads - 1 && nstarted < n - 1 && !pthread_create(&thread[nstarted], NULL, work, &j))
		nstarted++;
	work(&j); /* of those that did not start, too */
	while (nstarted)
		pthread_join(thread[--nstarted], NULL);
	free(thread);
	return !atomic_load(&j.failed);
}
