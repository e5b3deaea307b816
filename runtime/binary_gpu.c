/* The emitted binary on a GPU: which device, which code for it, and a session there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binary.h"
#include "gpu_run.h"

enum { MAX_IMAGES = 32 };

/* Open from here to the end of the process. */
struct gpu_binary {
	struct gpu_device device;
	struct gpu_session session;
	struct gpu_program *program;
	size_t nprogram;
};

/* "gpu/sm_90" and "gpu/ptx_90" of the container, by what stands before the number. */
static size_t list_images(const struct container *c, const char *kind, struct gpu_image *image)
{
	size_t n = 0, prefix = strlen(kind);
	for (uint64_t i = 0; i < c->nentry && n < MAX_IMAGES; i++) {
		struct container_entry entry = container_get(c, i);
		if (entry.kind == ENTRY_GPU && !strncmp(entry.name, kind, prefix))
			image[n++] = (struct gpu_image){atoi(entry.name + prefix), entry.data.p};
	}
	return n;
}

void binary_gpu_info(struct strbuf *out, struct binary *b)
{
	struct gpu_image image[MAX_IMAGES];
	size_t n = list_images(&b->container, "gpu/sm_", image);
	strbuf_adds(out, "GPU code      ");
	for (size_t i = 0; i < n; i++)
		strbuf_addf(out, "%ssm_%d", i ? ", " : "", image[i].arch);
	n = list_images(&b->container, "gpu/ptx_", image);
	strbuf_addf(out, n ? ", PTX of sm_%d for later ones\n" : "\n", n ? image[0].arch : 0);
}

/* Code made for the device, else PTX, which the driver compiles. */
static const void *choose_image(struct binary *b, int arch, struct err *e)
{
	struct gpu_image image[MAX_IMAGES];
	const struct gpu_image *best = gpu_image_choose(image, list_images(&b->container, "gpu/sm_", image), arch);
	if (best)
		return best->cubin;
	if (list_images(&b->container, "gpu/ptx_", image) && image[0].arch <= arch)
		return image[0].cubin;
	err_set(e, ERR_TOOL, "this program has no code for sm_%d", arch);
	return NULL;
}

static bool device_index(const char *device, int *index, struct err *e)
{
	int used = 0;
	*index = 0;
	if (!device || !strcmp(device, "cuda"))
		return true;
	return (sscanf(device, "cuda:%d%n", index, &used) == 1 && !device[used] && *index >= 0) ||
		err_set(e, ERR_SPEC, "--device: '%s' is none of cpu, cuda and cuda:N", device);
}

bool binary_gpu_open(struct binary *b, struct err *e)
{
	struct param_source params = {&b->container, container_param};
	struct gpu_binary *g = arena_new(&b->arena, struct gpu_binary);
	struct buf table = container_find(&b->container, CONTAINER_GPU_PREFIX "table");
	int index;
	if (!device_index(b->options.device, &index, e))
		return false;
	if (!table.p)
		return err_set(e, ERR_IO, "the program's table of GPU code is missing");
	if (!gpu_code_read(&b->arena, table, &g->program, &g->nprogram, e) || !g->nprogram ||
		!gpu_device_open(&g->device, index, e))
		return false;
	const void *image = choose_image(b, g->device.arch, e);
	if (image && session_open(&b->session, &g->program[0].head, &params, b->pool, (uint32_t)b->info.context, e)) {
		if (gpu_session_open(&g->session, &b->session, &g->device, g->program, g->nprogram, image, e)) {
			b->where = g->device.name;
			return true;
		}
		session_release(&b->session);
	}
	gpu_device_close(&g->device);
	return false;
}
