#include "gpu_code.h"

#include <string.h>

#include "json.h"

uint64_t gpu_shared_bytes(const struct gpu_kernel *k, int arch)
{
	return arch == 90 ? k->shared_bytes_90 : k->shared_bytes;
}

static void add_name(struct strbuf *out, const char *name)
{
	strbuf_add_json(out, name, strlen(name));
}

static void add_kernel(struct strbuf *out, const struct gpu_kernel *k)
{
	strbuf_addc(out, '[');
	add_name(out, k->name);
	strbuf_addf(out, ",%llu,%llu,[", (unsigned long long)k->shared_bytes, (unsigned long long)k->shared_bytes_90);
	for (uint32_t i = 0; i < k->narg; i++)
		strbuf_addf(out, "%s%llu,%llu", i ? "," : "", (unsigned long long)k->arg[i].slot,
			(unsigned long long)k->arg[i].offset);
	strbuf_adds(out, "]]");
}

static void add_program(struct strbuf *out, const struct gpu_program *p)
{
	const struct program *h = &p->head;
	strbuf_adds(out, "{\"name\":");
	add_name(out, h->name);
	strbuf_addf(out, ",\"slab_bytes\":%llu,\"scratch_bytes\":%llu,\"waits\":%u,\"waits_of_one\":%u,\"all\":", (unsigned long long)h->slab_bytes,
		(unsigned long long)h->scratch_bytes, p->nwait, p->nwait_of_one);
	add_name(out, p->all);
	strbuf_adds(out, ",\"dims\":[");
	for (uint32_t i = 0; i < h->ndim; i++) {
		strbuf_adds(out, i ? ",[" : "[");
		add_name(out, h->dim[i].name);
		strbuf_addf(out, ",%lld]", (long long)h->dim[i].max);
	}
	strbuf_adds(out, "],\"externals\":[");
	for (uint32_t i = 0; i < h->nexternal; i++) {
		strbuf_adds(out, i ? ",[" : "[");
		add_name(out, h->external[i].name);
		strbuf_addf(out, ",%u,%u,%llu]", h->external[i].kind, h->external[i].dtype,
			(unsigned long long)h->external[i].bytes);
	}
	strbuf_adds(out, "],\"kernels\":[");
	for (uint32_t i = 0; i < p->nkernel; i++) {
		strbuf_adds(out, i ? "," : "");
		add_kernel(out, &p->kernel[i]);
	}
	strbuf_adds(out, "]}");
}

void gpu_code_write(struct strbuf *out, const struct gpu_program *p, size_t n)
{
	strbuf_addc(out, '[');
	for (size_t i = 0; i < n; i++) {
		strbuf_adds(out, i ? "," : "");
		add_program(out, &p[i]);
	}
	strbuf_addc(out, ']');
}

/* ---- reading: every value is checked, since it may come from a file ---- */

static bool damaged(const struct json *at, struct err *e, const char *what)
{
	return err_set(e, ERR_IO, "the table of GPU code is damaged at byte %d: %s", at ? at->col : 0, what);
}

static bool read_list(const struct json *v, const struct json *at, const char *what, struct err *e)
{
	return (v && v->kind == JSON_ARRAY) || damaged(at, e, what);
}

/* Row `v` of n values: a name, then numbers. */
static bool read_row(const struct json *v, size_t n, const char **name, uint64_t *number, struct err *e)
{
	int64_t x;
	if (v->kind != JSON_ARRAY || v->nitem < n || v->item[0].kind != JSON_STRING)
		return damaged(v, e, "a row with a name was expected");
	*name = v->item[0].text;
	for (size_t i = 1; i < n; i++) {
		if (!json_int(&v->item[i], &x) || x < 0)
			return damaged(&v->item[i], e, "a number was expected");
		number[i - 1] = (uint64_t)x;
	}
	return true;
}

static bool read_kernel(struct arena *a, const struct program *head, const struct json *v, struct gpu_kernel *k, struct err *e)
{
	uint64_t shared[2];
	if (!read_row(v, 3, &k->name, shared, e) || v->nitem != 4)
		return damaged(v, e, "a kernel was expected");
	const struct json *list = &v->item[3];
	k->shared_bytes = shared[0];
	k->shared_bytes_90 = shared[1];
	if (list->kind != JSON_ARRAY || list->nitem % 2 || list->nitem / 2 > PROGRAM_MAX_ARGS)
		return damaged(list, e, "a kernel's arguments were expected");
	struct program_arg *arg = arena_array(a, struct program_arg, list->nitem / 2 + 1);
	for (size_t i = 0; i < list->nitem; i++) {
		int64_t x;
		if (!json_int(&list->item[i], &x) || x < 0 || (i % 2 == 0 && x > (int64_t)head->nexternal + 1))
			return damaged(&list->item[i], e, "an argument was expected");
		*(i % 2 ? &arg[i / 2].offset : &arg[i / 2].slot) = (uint64_t)x;
	}
	k->arg = arg;
	k->narg = (uint32_t)(list->nitem / 2);
	return true;
}

static bool read_size(const struct json *v, const char *name, uint64_t *to, struct err *e)
{
	const struct json *member = json_get(v, name);
	int64_t x;
	if (!member || !json_int(member, &x) || x < 0)
		return damaged(v, e, name);
	*to = (uint64_t)x;
	return true;
}

static bool read_program(struct arena *a, const struct json *v, struct gpu_program *p, struct err *e)
{
	const struct json *name = json_get(v, "name"), *dims = json_get(v, "dims");
	const struct json *externals = json_get(v, "externals"), *kernels = json_get(v, "kernels");
	struct program *h = &p->head;
	*p = (struct gpu_program){.head = {.abi = PROGRAM_ABI}, .all = ""};
	const struct json *all = json_get(v, "all");
	uint64_t nwait, nwait_of_one;
	if (!name || name->kind != JSON_STRING || !all || all->kind != JSON_STRING)
		return damaged(v, e, "a program with names was expected");
	if (!read_size(v, "slab_bytes", &h->slab_bytes, e) || !read_size(v, "scratch_bytes", &h->scratch_bytes, e) ||
		!read_size(v, "waits", &nwait, e) || !read_size(v, "waits_of_one", &nwait_of_one, e) ||
		!read_list(dims, v, "dims", e) || !read_list(externals, v, "externals", e) || !read_list(kernels, v, "kernels", e))
		return false;
	if (dims->nitem > GPU_MAX_DIMS)
		return damaged(dims, e, "too many dimensions");
	struct program_dim *dim = arena_array(a, struct program_dim, dims->nitem + 1);
	struct program_external *external = arena_array(a, struct program_external, externals->nitem + 1);
	struct gpu_kernel *kernel = arena_array(a, struct gpu_kernel, kernels->nitem + 1);
	uint64_t n[3];
	h->name = name->text;
	p->all = all->text;
	p->nwait = (uint32_t)nwait;
	p->nwait_of_one = (uint32_t)nwait_of_one;
	h->ndim = (uint32_t)dims->nitem;
	h->nexternal = (uint32_t)externals->nitem;
	p->nkernel = (uint32_t)kernels->nitem;
	for (size_t i = 0; i < dims->nitem; i++) {
		if (!read_row(&dims->item[i], 2, &dim[i].name, n, e))
			return false;
		dim[i].max = (int64_t)n[0];
	}
	for (size_t i = 0; i < externals->nitem; i++) {
		if (!read_row(&externals->item[i], 4, &external[i].name, n, e))
			return false;
		external[i].kind = (uint32_t)n[0];
		external[i].dtype = (uint32_t)n[1];
		external[i].bytes = n[2];
	}
	h->dim = dim;
	h->external = external;
	for (size_t i = 0; i < kernels->nitem; i++)
		if (!read_kernel(a, h, &kernels->item[i], &kernel[i], e))
			return false;
	p->kernel = kernel;
	return true;
}

bool gpu_code_read(struct arena *a, struct buf text, struct gpu_program **p, size_t *n, struct err *e)
{
	struct json *root;
	if (!json_parse(a, text, NULL, 1, &root, e))
		return err_context(e, "the table of GPU code");
	if (root->kind != JSON_ARRAY)
		return damaged(root, e, "a list of programs was expected");
	*n = root->nitem;
	*p = arena_array(a, struct gpu_program, root->nitem + 1);
	for (size_t i = 0; i < root->nitem; i++)
		if (!read_program(a, &root->item[i], &(*p)[i], e))
			return false;
	return true;
}
