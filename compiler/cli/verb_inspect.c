/* What a model, an emitted binary or a spec's inference program consists of. */
#include "cli.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch.h"
#include "container.h"
#include "cuda.h"
#include "emit.h"
#include "json.h"
#include "link.h"
#include "lock.h"
#include "model.h"
#include "model_info.h"
#include "plan.h"
#include "variant.h"

/* ---- models ---- */

static void add_model(struct strbuf *out, const struct model *m)
{
	const struct model_config *c = &m->config;
	uint64_t bytes = 0, elements = 0;
	for (size_t i = 0; i < m->ntensor; i++) {
		bytes += m->tensor[i].bytes;
		elements += m->tensor[i].bytes / model_dtypes[m->tensor[i].dtype].bytes;
	}
	strbuf_addf(out, "{\"architecture\":\"%s\",\"layers\":%d,\"width\":%d,\"ffn\":%d,\"heads\":%d,"
			 "\"kv_heads\":%d,\"head_dim\":%d,\"vocab\":%d,\"context\":%d,\"tied\":%s,"
			 "\"parameters\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"tensors\":[",
		c->arch->name, c->layers, c->width, c->ffn, c->heads, c->kv_heads, c->head_dim, c->vocab,
		c->context, c->tied ? "true" : "false", elements, bytes);
	for (size_t i = 0; i < m->ntensor; i++) {
		const struct model_tensor *t = &m->tensor[i];
		strbuf_addf(out, "%s{\"name\":\"%s\",\"dtype\":\"%s\",\"shape\":[", i ? "," : "", t->name,
			model_dtypes[t->dtype].name);
		for (int d = 0; d < t->ndim; d++)
			strbuf_addf(out, "%s%zu", d ? "," : "", t->dims[d]);
		strbuf_addf(out, "],\"bytes\":%zu}", t->bytes);
	}
	strbuf_adds(out, "]}\n");
}

/* ---- binaries ---- */

/* The container is the last loaded segment (link.h). False: no program of ours. */
static bool find_container(const struct map *file, struct buf *out)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph, last = {0};
	if (file->n < sizeof(eh))
		return false;
	memcpy(&eh, file->p, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
		eh.e_phentsize != sizeof(ph))
		return false;
	for (size_t i = 0; i < eh.e_phnum; i++) {
		if (eh.e_phoff > file->n || file->n - eh.e_phoff < (i + 1) * sizeof(ph))
			return false;
		memcpy(&ph, file->p + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type == PT_LOAD && ph.p_vaddr >= last.p_vaddr)
			last = ph;
	}
	if (last.p_offset > file->n || file->n - last.p_offset < last.p_filesz)
		return false;
	*out = (struct buf){file->p + last.p_offset, last.p_filesz};
	return out->n >= strlen(CONTAINER_MAGIC) && !memcmp(out->p, CONTAINER_MAGIC, strlen(CONTAINER_MAGIC));
}

/* The code that a binary holds, and which of it would run here. */
struct code {
	struct variants all;
	struct cpu cpu;
	const struct variant *runs; /* NULL: none */
};

/* Another architecture is what a CPU lacks, too. */
static void find_code(struct arena *a, const struct model_info *info, struct code *out)
{
	const struct target *native = target_native();
	struct variant *v = NULL;
	char *rest = arena_strdup(a, info->hardware);
	*out = (struct code){0};
	for (char *name; (name = strsep(&rest, " "));) {
		const struct target *t = target_find(name);
		bool other = t && native && t->arch != native->arch;
		*arena_push(a, v, out->all.n) = (struct variant){.name = name,
			.needs = !t ? "a CPU that is not known" : other ? link_arch_name(t->arch) : t->needs};
	}
	out->all.v = v;
	cpu_read(&out->cpu);
	out->runs = variant_choose(out->all, &out->cpu, NULL, NULL);
}

static bool add_info(struct strbuf *out, struct buf info, struct err *e)
{
	struct arena a = {0};
	struct model_info m;
	struct code code;
	bool ok = model_info_read(&a, info, &m, e);
	if (ok) {
		find_code(&a, &m, &code);
		variants_json(out, info, code.all, &code.cpu, code.runs);
	}
	arena_release(&a);
	return ok;
}

static bool add_binary(struct strbuf *out, const struct map *file, struct err *e)
{
	struct buf bytes;
	struct container c;
	if (!find_container(file, &bytes))
		return err_set(e, ERR_SPEC, "no program that trim has made");
	if (!container_open(&c, bytes, e))
		return false;
	struct buf info = container_find(&c, "info");
	strbuf_adds(out, "{\"info\":");
	if (!info.p)
		strbuf_adds(out, "null");
	else if (!add_info(out, info, e))
		return false;
	strbuf_addf(out, ",\"bytes\":%zu,\"entries\":[", file->n);
	for (uint64_t i = 0; i < c.nentry; i++) {
		struct container_entry x = container_get(&c, i);
		strbuf_adds(out, i ? ",{\"name\":" : "{\"name\":");
		strbuf_add_json(out, x.name, strlen(x.name));
		strbuf_addf(out, ",\"bytes\":%zu}", x.data.n);
	}
	strbuf_adds(out, "]}\n");
	return true;
}

/* ---- people ---- */

static bool is_list(const struct json *v)
{
	return v->kind == JSON_ARRAY && v->nitem && v->item[0].kind == JSON_OBJECT;
}

static void print_row(struct cli *c, const struct json *row)
{
	struct strbuf b;
	strbuf_init(&b);
	for (size_t i = 0; i < row->nitem; i++) {
		strbuf_adds(&b, "  ");
		if (row->item[i].kind == JSON_STRING)
			strbuf_addf(&b, i ? "%s" : "%-24s", row->item[i].text);
		else
			json_write(&b, &row->item[i]);
	}
	fprintf(c->out, "%s\n", b.s);
	strbuf_release(&b);
}

/* "name  value" a line; lists of objects as rows below their name. */
static void print_object(struct cli *c, const struct json *o)
{
	for (size_t i = 0; i < o->nitem; i++) {
		const struct json *v = &o->item[i];
		struct strbuf b;
		if (v->kind == JSON_OBJECT) /* "info", printed before */
			continue;
		if (is_list(v)) {
			fprintf(c->out, "%s:\n", o->key[i]);
			for (size_t k = 0; k < v->nitem; k++)
				print_row(c, &v->item[k]);
			continue;
		}
		strbuf_init(&b);
		if (v->kind == JSON_STRING)
			strbuf_adds(&b, v->text);
		else
			json_write(&b, v);
		fprintf(c->out, "%-14s %s\n", o->key[i], b.s);
		strbuf_release(&b);
	}
}

/* What a program says of itself, as it prints it. */
static bool print_info(struct cli *c, const struct json *info, struct err *e)
{
	struct strbuf b;
	struct model_info m;
	if (!info || info->kind != JSON_OBJECT)
		return true;
	strbuf_init(&b);
	json_write(&b, info);
	bool ok = model_info_read(c->arena, strbuf_buf(&b), &m, e);
	strbuf_clear(&b);
	ok = ok && model_info_print(&b, &m, e);
	if (ok) {
		struct code code;
		find_code(c->arena, &m, &code);
		variants_print(&b, code.all, &code.cpu, code.runs);
		fputs(b.s, c->out);
	}
	strbuf_release(&b);
	return ok;
}

static bool print(struct cli *c, const struct strbuf *text, struct err *e)
{
	struct json *root;
	if (c->json) {
		fputs(text->s, c->out);
		return true;
	}
	if (!json_parse(c->arena, strbuf_buf(text), NULL, 1, &root, e))
		return false;
	if (!print_info(c, json_get(root, "info"), e))
		return false;
	print_object(c, root);
	return true;
}

/* ---- programs ---- */

/* Code for each CPU, below its name where there are several. */
static bool emit_code(const struct graph *plan, const struct plan_hardware *h, enum emit_form form, struct strbuf *out,
	struct err *e)
{
	for (size_t i = 0; i < h->n; i++) {
		struct emit_request r = {h->target[i], &plan, 1, form, NULL};
		if (h->n > 1)
			strbuf_addf(out, "%s%s %s\n", i ? "\n" : "", form == EMIT_ASM ? "#" : ";", h->target[i]->name);
		if (!emit_object(&r, out, e))
			return false;
	}
	return true;
}

static bool emit_stage(struct cli *c, const struct graph *g, const struct plan_hardware *h, const char *form,
	struct strbuf *out, struct err *e)
{
	if (strcmp(form, "ir") == 0 || strcmp(form, "lowered") == 0) {
		graph_print(out, form[0] == 'i' ? g : graph_lower(c->arena, g));
		return true;
	}
	const struct graph *plan = graph_plan(c->arena, g);
	if (strcmp(form, "plan") == 0) {
		graph_print(out, plan);
		return true;
	}
	return emit_code(plan, h, form[0] == 'l' ? EMIT_LLVM_IR : EMIT_ASM, out, e);
}

static bool emit_cuda(struct cli *c, const struct forward *f, struct strbuf *out)
{
	const struct graph *plan[GPU_PLANS];
	gpu_step_plans(c->arena, f, plan);
	strbuf_adds(out, cuda_emit(c->arena, plan, GPU_PLANS).text);
	return true;
}

static const struct spec_target *choose_target(struct cli *c, const struct spec *s, struct err *e)
{
	const char *name = cli_option(c, "target");
	return name ? spec_target_need(s, name, e) : &s->target[0];
}

/* What --cpu names of it. */
static bool choose_cpu(struct cli *c, struct plan_hardware *h, const struct spec_target *t, struct err *e)
{
	const char *name = cli_option(c, "cpu");
	const char **names = NULL;
	size_t n = 0;
	for (size_t i = 0; name && i < h->n; i++) {
		if (!strcmp(h->target[i]->name, name)) {
			h->target += i;
			h->n = 1;
			return true;
		}
		*arena_push(c->arena, names, n) = h->target[i]->name;
	}
	if (!name)
		return true;
	const char *near = nearest_name(name, names, n);
	return err_set(e, ERR_SPEC, "target '%s' has no code for '%s'; its hardware is %s%s%s%s", t->name, name, h->names,
		near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool emit_program(struct cli *c, const struct spec *s, const char *form, struct strbuf *out,
	struct err *e)
{
	const struct spec_target *t = choose_target(c, s, e);
	struct plan_hardware hardware;
	enum numerics numerics;
	struct model m;
	if (!t)
		return false;
	if (!plan_hardware(c->arena, t, NULL, &hardware, e) || !choose_cpu(c, &hardware, t, e) ||
		!plan_numerics(t, &numerics, e))
		return false;
	if (s->model.source != MODEL_PATH)
		return spec_err_at(e, s->model.at, "a model that is not a file or folder is not supported yet");
	bool ok = model_open(&m, s->model.path->path, e);
	if (ok) {
		struct forward f = {.config = &m.config, .numerics = numerics, .max_rows = STEP_ROWS,
			.max_out = STEP_OUTS, .slots = t->context ? t->context : m.config.context};
		ok = strcmp(form, "cuda") ? emit_stage(c, forward_step(c->arena, &f), &hardware, form, out, e)
					  : emit_cuda(c, &f, out);
	}
	model_release(&m);
	return ok;
}

static int inspect_spec(struct cli *c, const char *path)
{
	const char *form = cli_option(c, "emit");
	struct spec *s;
	struct strbuf out;
	struct model m;
	struct err e = {0};
	int code = cli_load_spec(c, path, &s);
	if (code != EXIT_OK)
		return code;
	strbuf_init(&out);
	if (form) {
		if (emit_program(c, s, form, &out, &e))
			fputs(out.s, c->out);
		else
			code = cli_fail(c, &e);
	} else if (s->model.source != MODEL_PATH) {
		spec_err_at(&e, s->model.at, "a model that is not a file or folder is not supported yet");
		code = cli_fail(c, &e);
	} else {
		bool ok = model_open(&m, s->model.path->path, &e);
		if (ok)
			add_model(&out, &m);
		model_release(&m);
		if (!ok || !print(c, &out, &e))
			code = cli_fail(c, &e);
	}
	strbuf_release(&out);
	return code;
}

static bool has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);
	return n > k && strcmp(s + n - k, suffix) == 0;
}

static bool inspect_file(struct cli *c, const char *path, struct strbuf *out, struct err *e)
{
	struct stat st;
	struct map file = {0};
	struct model m;
	if (stat(path, &st) < 0)
		return err_set(e, ERR_SPEC, "no such file or folder '%s'", path);
	bool elf = S_ISREG(st.st_mode) && map_open(&file, path, NULL) && file.n >= SELFMAG &&
		!memcmp(file.p, ELFMAG, SELFMAG);
	bool ok;
	if (elf) {
		ok = add_binary(out, &file, e) || err_context(e, "%s", path);
	} else {
		ok = model_open(&m, path, e);
		if (ok)
			add_model(out, &m);
		model_release(&m);
	}
	map_release(&file);
	return ok && print(c, out, e);
}

int verb_inspect(struct cli *c)
{
	struct strbuf out;
	struct err e = {0};
	if (has_suffix(c->arg[0], ".xml"))
		return inspect_spec(c, c->arg[0]);
	if (cli_flag(c, "emit")) {
		err_set(&e, ERR_SPEC, "--emit needs a spec, '%s' is none", c->arg[0]);
		return cli_fail(c, &e);
	}
	strbuf_init(&out);
	bool ok = inspect_file(c, c->arg[0], &out, &e);
	strbuf_release(&out);
	return ok ? EXIT_OK : cli_fail(c, &e);
}
