#include "chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "link.h"
#include "lock.h"
#include "nvrtc.h"
#include "os.h"
#include "plan_data.h"

/* ---- what chain.c shares ---- */

const char *plan_number(struct plan *p, int64_t n)
{
	return arena_printf(p->arena, "%lld", (long long)n);
}

const char *plan_set_name(const struct plan *p, const char *name, int dataset)
{
	return p->spec->ndataset == 1 ? name
				      : arena_printf(p->arena, "%s/%s", name, p->spec->dataset[dataset].name);
}

void plan_add_input(struct plan *p, struct inputs *in, struct input i)
{
	*arena_push(p->arena, in->input, in->n) = i;
}

static void add_file(struct plan *p, struct inputs *in, const char *role, const char *path)
{
	plan_add_input(p, in, input_file(role, path));
}

struct action *plan_action(struct plan *p, const char *name, const struct rule *rule,
	const struct inputs *in, struct fields param)
{
	struct action *a = build_find(p->build, name);
	struct action_def def = {name, rule, param, in->input, in->n};
	return a ? a : build_action(p->build, &def);
}

/* ---- model: import and tokenizer ---- */

/* Inputs that are files of one model or tokenizer, a folder or a file. */
struct source {
	const struct spec_path *at;
	struct inputs *in;
};

/* A file of a model as an input called `role`, and in the list of what the lock names. */
static void model_file(struct plan *p, struct source s, const char *file, const char *role)
{
	const struct spec_path *at = s.at;
	const char *path = file ? arena_printf(p->arena, "%s/%s", at->path, file) : at->path;
	const char *below = file ? arena_printf(p->arena, "%s/%s", at->rel, file) : at->rel;
	const char *name = at->root ? arena_printf(p->arena, "%s:%s", at->root, below) : below;
	add_file(p, s.in, role, path);
	for (size_t i = 0; i < p->ninput; i++)
		if (!strcmp(p->input[i].path, path))
			return;
	*arena_push(p->arena, p->input, p->ninput) = (struct plan_input){name, path};
}

static bool has(char **name, size_t n, const char *want)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(name[i], want))
			return true;
	return false;
}

static void add_if(struct plan *p, struct source s, char **name, size_t n, const char *want)
{
	if (has(name, n, want))
		model_file(p, s, want, want);
}

static void add_weights(struct plan *p, struct source s, char **name, size_t n)
{
	static const char suffix[] = ".safetensors";
	if (has(name, n, "model.safetensors")) {
		model_file(p, s, "model.safetensors", "model.safetensors");
		return;
	}
	add_if(p, s, name, n, "model.safetensors.index.json");
	for (size_t i = 0; i < n; i++) {
		size_t bytes = strlen(name[i]);
		if (bytes > sizeof(suffix) && !strcmp(name[i] + bytes - sizeof(suffix) + 1, suffix)) {
			const char *file = arena_strdup(p->arena, name[i]);
			model_file(p, s, file, file);
		}
	}
}

static void add_tokenizer(struct plan *p, struct source s, char **name, size_t n)
{
	if (has(name, n, "tokenizer.json")) {
		model_file(p, s, "tokenizer.json", "tokenizer.json");
	} else if (has(name, n, "tokenizer.model")) {
		model_file(p, s, "tokenizer.model", "tokenizer.model");
	} else {
		add_if(p, s, name, n, "vocab.json");
		add_if(p, s, name, n, "merges.txt");
	}
	add_if(p, s, name, n, "config.json");
	add_if(p, s, name, n, "generation_config.json");
	add_if(p, s, name, n, "tokenizer_config.json");
}

static bool folder_inputs(struct plan *p, struct inputs *model, struct inputs *tokenizer, struct err *e)
{
	const struct spec_model *m = &p->spec->model;
	struct source s = {m->path, model};
	char **name;
	size_t n;
	if (!os_list(os_posix(), m->path->path, &name, &n, e))
		return false;
	bool ok = has(name, n, "config.json") ||
		spec_err_at(e, m->at, "'%s' holds no config.json; expected a Hugging Face folder or a GGUF file",
			m->path->rel);
	if (ok) {
		model_file(p, s, "config.json", "config.json");
		add_if(p, s, name, n, "generation_config.json");
		add_weights(p, s, name, n);
		add_tokenizer(p, (struct source){m->path, tokenizer}, name, n);
	}
	os_list_free(name, n);
	return ok;
}

static bool is_folder(const struct spec_path *at)
{
	struct stat st;
	return !stat(at->path, &st) && S_ISDIR(st.st_mode);
}

/* The tokenizer of another model: its folder, its GGUF file, or the one file that holds it. */
static struct action *plan_read_tokenizer(struct plan *p, const struct spec_tokenizer *t, struct err *e)
{
	struct inputs in = {0};
	struct source s = {t->path, &in};
	const char *file = strrchr(t->path->path, '/');
	file = file ? file + 1 : t->path->path;
	char **name;
	size_t n;
	if (!is_folder(t->path)) {
		bool known = !strcmp(file, "tokenizer.json") || !strcmp(file, "tokenizer.model");
		model_file(p, s, NULL, known ? file : "model.gguf");
	} else {
		if (!os_list(os_posix(), t->path->path, &name, &n, e))
			return NULL;
		add_tokenizer(p, s, name, n);
		os_list_free(name, n);
		if (!in.n) {
			spec_err_at(e, t->at, "'%s' holds no tokenizer; expected tokenizer.json, tokenizer.model or "
				"vocab.json and merges.txt", t->path->rel);
			return NULL;
		}
	}
	return plan_action(p, "tokenizer", &rule_tokenizer, &in, (struct fields){0});
}

/* A base from nothing: its tokenizer first, which says how many tokens there are. */
static bool stage_random(struct plan *p, struct err *e)
{
	const struct spec_model *m = &p->spec->model;
	const struct {
		const char *name;
		int64_t value;
	} numbers[] = {{"seed", m->seed}, {"layers", m->layers}, {"width", m->width}, {"ffn", m->ffn},
		{"heads", m->heads}, {"kv-heads", m->kv_heads}, {"context", m->context}};
	struct inputs in = {0};
	struct fields param = {0};
	p->tokenizer = m->tokenizer.path ? plan_read_tokenizer(p, &m->tokenizer, e) : plan_bpe(p, e);
	if (!p->tokenizer)
		return false;
	fields_add(p->arena, &param, "arch", m->arch);
	for (size_t i = 0; i < NELEM(numbers); i++)
		fields_add(p->arena, &param, numbers[i].name, plan_number(p, numbers[i].value));
	plan_add_input(p, &in, input_output("tokenizer", p->tokenizer, 0));
	p->import = plan_action(p, "import", &rule_init, &in, param);
	return true;
}

static bool stage_model(struct plan *p, struct err *e)
{
	const struct spec_model *m = &p->spec->model;
	struct inputs model = {0}, tokenizer = {0};
	struct stat st;
	if (m->source == MODEL_RANDOM)
		return stage_random(p, e);
	if (m->source != MODEL_PATH)
		return spec_err_at(e, m->at, "a model from a hub is not supported yet");
	if (stat(m->path->path, &st) < 0)
		return spec_err_at(e, m->at, "unable to read '%s'", m->path->path);
	if (!S_ISDIR(st.st_mode)) {
		model_file(p, (struct source){m->path, &model}, NULL, "model.gguf");
		tokenizer = model;
	} else if (!folder_inputs(p, &model, &tokenizer, e)) {
		return false;
	}
	p->import = plan_action(p, "import", &rule_import, &model, (struct fields){0});
	p->tokenizer = plan_action(p, "tokenizer", &rule_tokenizer, &tokenizer, (struct fields){0});
	return true;
}

/* ---- targets ---- */

bool plan_numerics(const struct spec_target *s, enum numerics *out, struct err *e)
{
	struct numerics_words w = {spec_dtypes[s->weights], spec_dtypes[s->head], spec_dtypes[s->activations],
		spec_dtypes[s->kv]};
	return numerics_choose(&w, out) ||
		spec_err_at(e, s->at,
			"weights=\"%s\" with head=\"%s\", activations=\"%s\" and kv=\"%s\" are not supported yet",
			w.weights, w.head, w.activations, w.kv);
}

/* What `native` was: the one that the spec does not name, or any, where it was one of those that it names. */
static const char *locked_native(struct arena *a, const struct spec_hardware *h, const char *locked)
{
	const char *native = "native";
	char *rest = locked ? arena_strdup(a, locked) : NULL;
	bool only_named = true;
	for (char *name; rest && (name = strsep(&rest, " "));) {
		bool named = false;
		if (!strncmp(name, "sm_", 3))
			continue;
		for (int i = 0; i < h->ncpu; i++)
			named = named || !strcmp(h->cpu[i], name);
		if (!named || only_named)
			native = name;
		only_named = only_named && named;
	}
	return native;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static bool choose_gpus(struct arena *a, const struct spec_hardware *h, struct plan_hardware *out, struct err *e)
{
	int *gpu = arena_array(a, int, h->ngpu);
	for (int i = 0; i < h->ngpu; i++)
		gpu[i] = atoi(h->gpu[i] + strlen("sm_"));
	if (h->ngpu && out->target[0]->arch != ARCH_X86_64)
		return spec_err_at(e, h->at, "hardware=\"%s\" is '%s' here; code for GPUs goes with x86-64", h->name,
			out->target[0]->name);
	qsort(gpu, (size_t)h->ngpu, sizeof(*gpu), by_number);
	for (int i = 0; i < h->ngpu; i++)
		out->names = arena_printf(a, "%s sm_%d", out->names, gpu[i]);
	out->gpu = gpu;
	out->ngpu = (size_t)h->ngpu;
	return true;
}

bool plan_hardware(struct arena *a, const struct spec_target *s, const char *locked, struct plan_hardware *out,
	struct err *e)
{
	const struct spec_hardware *h = &s->hardware;
	bool *chosen = arena_array(a, bool, (size_t)ntargets);
	*out = (struct plan_hardware){.names = ""};
	/* A machine with such a GPU has at least that. */
	if (!h->ncpu)
		chosen[target_find("x86-64-v3") - targets] = true;
	for (int i = 0; i < h->ncpu; i++) {
		bool native = !strcmp(h->cpu[i], "native");
		const struct target *t = target_find(native ? locked_native(a, h, locked) : h->cpu[i]);
		if (!t)
			return spec_err_at(e, h->at, "no code can be made for '%s'", h->cpu[i]);
		chosen[t - targets] = true;
	}
	for (int i = 0; i < ntargets; i++) {
		if (!chosen[i])
			continue;
		if (out->n && out->target[0]->arch != targets[i].arch)
			return spec_err_at(e, h->at, "hardware=\"%s\" is '%s' and '%s' here; a binary is for one architecture",
				h->name, out->target[0]->name, targets[i].name);
		out->names = arena_printf(a, "%s%s%s", out->names, out->n ? " " : "", targets[i].name);
		*arena_push(a, out->target, out->n) = &targets[i];
	}
	return choose_gpus(a, h, out, e);
}

static enum target_arch arch_of(const struct plan_target *t)
{
	return t->hardware.target[0]->arch;
}

/* What targets for GPUs need beside the rest. */
static bool find_gpu_tools(struct plan *p, const struct plan_target *t, struct err *e)
{
	const struct nvrtc *n = nvrtc_open(e);
	if (!n)
		return false;
	for (size_t i = 0; i < t->hardware.ngpu; i++)
		if (!nvrtc_knows(n, t->hardware.gpu[i]))
			return err_set(e, ERR_TOOL, "NVRTC %d.%d, '%s', knows no sm_%d; a later one does", n->major, n->minor, n->path,
				t->hardware.gpu[i]);
	p->nvrtc = n->path;
	if (!p->env->gpu_runtime_folder)
		p->env->gpu_runtime_folder = link_gpu_runtime_folder(p->arena, e);
	return p->env->gpu_runtime_folder;
}

static bool resolve_hardware(struct plan *p, struct plan_target *t, struct err *e)
{
	const char *locked = p->o->hardware ? p->o->hardware(p->o->ctx, t->spec->name) : NULL;
	if (!plan_hardware(p->arena, t->spec, locked, &t->hardware, e))
		return false;
	enum target_arch arch = arch_of(t);
	if (t->hardware.ngpu)
		return find_gpu_tools(p, t, e) || err_context(e, "target '%s'", t->spec->name);
	if (!p->env->runtime_folder[arch])
		p->env->runtime_folder[arch] = link_runtime_folder(p->arena, arch, e);
	return p->env->runtime_folder[arch] || err_context(e, "target '%s'", t->spec->name);
}

const struct spec_keep *plan_keep(const struct plan *p, const struct plan_target *t)
{
	if (!t->spec->nschedule)
		return NULL;
	return t->spec->keep.kind == VALUE_TEXT ? &p->spec->schedule[t->spec->schedule[0]].keep : &t->spec->keep;
}

struct action *plan_shape(struct plan *p, const char *state_name, struct action *state)
{
	struct inputs in = {0};
	plan_add_input(p, &in, input_output("state", state, 0));
	return plan_action(p, arena_printf(p->arena, "%s/shape", state_name), &rule_shape, &in, (struct fields){0});
}

struct action *plan_weights(struct plan *p, const char *state_name, struct action *state,
	enum numerics numerics)
{
	struct inputs in = {0};
	struct fields param = {0};
	const char *class = numerics_classes[numerics].name;
	fields_add(p->arena, &param, "numerics", class);
	plan_add_input(p, &in, input_output("state", state, 0));
	return plan_action(p, arena_printf(p->arena, "%s/quantise-%s", state_name, class), &rule_quantise, &in,
		param);
}

static void stage_weights(struct plan *p, struct plan_target *t)
{
	const char *class = numerics_classes[t->numerics].name;
	struct inputs golden = {0};
	struct fields param = {0};
	fields_add(p->arena, &param, "numerics", class);
	t->shape = plan_shape(p, t->state_name, t->state);
	t->weights = plan_weights(p, t->state_name, t->state, t->numerics);
	plan_add_input(p, &golden, input_output("shape", t->shape, 0));
	plan_add_input(p, &golden, input_output("weights", t->weights, 0));
	plan_add_input(p, &golden, input_output("tokenizer", p->tokenizer, 0));
	t->golden = plan_action(p, arena_printf(p->arena, "%s/golden-%s", t->state_name, class), &rule_golden,
		&golden, param);
}

struct action *plan_compile(struct plan *p, const struct plan_target *t, const struct target *cpu,
	struct action *shape, const char *name)
{
	struct inputs in = {0};
	struct fields param = {0};
	plan_add_input(p, &in, input_output("shape", shape, 0));
	add_file(p, &in, "trim", p->emitter.program);
	add_file(p, &in, "emitter", p->emitter.module);
	if (p->emitter.llvm)
		add_file(p, &in, "llvm", p->emitter.llvm);
	fields_add(p->arena, &param, "numerics", numerics_classes[t->numerics].name);
	fields_add(p->arena, &param, "target", cpu->name);
	fields_add(p->arena, &param, "rows", plan_number(p, STEP_ROWS));
	fields_add(p->arena, &param, "outs", plan_number(p, STEP_OUTS));
	fields_add(p->arena, &param, "context", plan_number(p, t->spec->context));
	return plan_action(p, name, &rule_compile, &in, param);
}

/* Code for each GPU. */
static void stage_gpus(struct plan *p, struct plan_target *t)
{
	t->gpu = arena_array(p->arena, struct action *, t->hardware.ngpu);
	for (size_t i = 0; i < t->hardware.ngpu; i++) {
		struct inputs in = {0};
		struct fields param = {0};
		plan_add_input(p, &in, input_output("shape", t->shape, 0));
		add_file(p, &in, "trim", p->emitter.program);
		add_file(p, &in, "nvrtc", p->nvrtc);
		fields_add(p->arena, &param, "numerics", numerics_classes[t->numerics].name);
		fields_add(p->arena, &param, "arch", plan_number(p, t->hardware.gpu[i]));
		fields_add(p->arena, &param, "context", plan_number(p, t->spec->context));
		t->gpu[i] = plan_action(p, arena_printf(p->arena, "%s/gpu-sm_%d", t->spec->name, t->hardware.gpu[i]), &rule_gpu, &in,
			param);
	}
}

static void stage_compile(struct plan *p, struct plan_target *t)
{
	t->object = arena_array(p->arena, struct action *, t->hardware.n);
	for (size_t i = 0; i < t->hardware.n; i++) {
		const struct target *cpu = t->hardware.target[i];
		const char *each = t->hardware.n > 1 ? arena_printf(p->arena, "-%s", cpu->name) : "";
		t->object[i] = plan_compile(p, t, cpu, t->shape,
			arena_printf(p->arena, "%s/compile%s", t->spec->name, each));
	}
}

static void add_runtime(struct plan *p, struct inputs *in, const char *folder)
{
	static const char *const file[] = {"runtime.a", "crt1.o", "crti.o", "crtn.o", "libc.a", "libgcc.a", "libc_nonshared.a",
		"libc.so.6", "libm.so.6"};
	for (size_t i = 0; i < NELEM(file); i++) {
		const char *path = arena_printf(p->arena, "%s/%s", folder, file[i]);
		/* each folder has some of them; without one that it needs linking says so */
		if (access(path, R_OK) == 0)
			add_file(p, in, file[i], path);
	}
}

/* What the target chose its schedule by. */
static void lock_tried(struct plan *p, const struct plan_target *t, struct inputs *in, struct fields *param)
{
	const char *list = "";
	for (size_t i = 0; i < t->ncandidate; i++) {
		const struct plan_candidate *c = &t->candidate[i];
		const char *schedule = p->spec->schedule[t->spec->schedule[i]].name;
		const char *name = arena_printf(p->arena, LOCK_TRIED "%s", schedule);
		list = arena_printf(p->arena, "%s%s%s", list, *list ? " " : "", schedule);
		for (int k = 0; k < p->spec->ndataset; k++)
			if (c->validate[k])
				plan_add_input(p, in, input_output(plan_set_name(p, name, k), c->validate[k], EVALUATE_METRICS));
	}
	if (*list)
		fields_add(p->arena, param, "tried", list);
}

/* What the binary says of its origin: an action of its own, so that it is linked again when that says
 * something else, and only then. */
static void stage_lock(struct plan *p, struct plan_target *t)
{
	struct inputs in = {0};
	struct fields param = {0};
	const char *schedule = t->schedule < 0 ? NULL : p->spec->schedule[t->schedule].name;
	plan_add_input(p, &in, input_output("state", t->state, 0));
	for (int i = 0; t->on && i < p->spec->ndataset; i++) {
		const struct plan_measures *m = &t->on[i];
		plan_add_input(p, &in, input_output(plan_set_name(p, "metrics", i), m->evaluate, EVALUATE_METRICS));
		plan_add_input(p, &in,
			input_output(plan_set_name(p, "parent", i), m->evaluate_parent, EVALUATE_METRICS));
		if (m->cost)
			plan_add_input(p, &in, input_output(plan_set_name(p, "cost", i), m->cost, 0));
	}
	lock_tried(p, t, &in, &param);
	for (size_t i = 0; i < t->nverdict; i++)
		plan_add_input(p, &in, input_output("verdict", t->verdict[i], 0));
	for (size_t i = 0; schedule && i < p->nround; i++) {
		const struct plan_round *r = &p->round[i];
		if (strcmp(r->schedule, schedule) || r->round > t->nround)
			continue;
		plan_add_input(p, &in, input_output(lock_units(p->arena, r->round), r->choose, 0));
		if (r->scored == r->round)
			plan_add_input(p, &in, input_output(lock_scores(p->arena, r->round), r->score, 0));
	}
	for (size_t i = 0; i < t->ncontinued; i++) {
		const struct plan_continued *pass = &t->continued[i];
		plan_add_input(p, &in, input_output(lock_from(p->arena, i), pass->from, 0));
		for (int k = 0; k < p->spec->ndataset; k++)
			if (pass->fresh[k])
				plan_add_input(p, &in, input_output(plan_set_name(p, lock_fresh(p->arena, i), k), pass->fresh[k],
					FRESH_COUNTS));
	}
	for (size_t i = 0; i < p->ninput; i++)
		add_file(p, &in, arena_printf(p->arena, LOCK_FILE "%s", p->input[i].name), p->input[i].path);
	fields_add(p->arena, &param, "target", t->spec->name);
	fields_add(p->arena, &param, "hardware", t->hardware.names);
	fields_add(p->arena, &param, "numerics", numerics_classes[t->numerics].name);
	fields_add(p->arena, &param, "context", plan_number(p, t->spec->context));
	if (schedule)
		fields_add(p->arena, &param, "schedule", schedule);
	if (t->stop_of) {
		fields_add(p->arena, &param, "stop.keep", plan_keep(p, t)->text);
		fields_add(p->arena, &param, "stop.units", plan_number(p, t->stop_units));
		fields_add(p->arena, &param, "stop.of", t->stop_of);
	}
	t->lock = plan_action(p, arena_printf(p->arena, "%s/lock", t->spec->name), &rule_lock, &in, param);
	build_want(p->build, t->lock);
}

static void stage_link(struct plan *p, struct plan_target *t)
{
	struct inputs in = {0};
	struct fields param = {0};
	for (size_t i = 0; i < t->hardware.n; i++)
		plan_add_input(p, &in, input_output("object", t->object[i], 0));
	plan_add_input(p, &in, input_output("state", t->state, 0));
	plan_add_input(p, &in, input_output("weights", t->weights, 0));
	plan_add_input(p, &in, input_output("tokenizer", p->tokenizer, 0));
	plan_add_input(p, &in, input_output("golden", t->golden, 0));
	plan_add_input(p, &in, input_output("lock", t->lock, 0));
	for (int i = 0; p->task && i < p->spec->ndataset; i++)
		plan_add_input(p, &in, input_output(plan_set_name(p, "task", i), p->task[i], 0));
	add_file(p, &in, "linker", p->linker);
	add_runtime(p, &in, t->hardware.ngpu ? p->env->gpu_runtime_folder : p->env->runtime_folder[arch_of(t)]);
	for (size_t i = 0; i < t->hardware.ngpu; i++) {
		const char *sm = arena_printf(p->arena, "gpu/sm_%d", t->hardware.gpu[i]);
		if (!i) {
			plan_add_input(p, &in, input_output("gpu/table", t->gpu[0], GPU_TABLE));
			plan_add_input(p, &in, input_output(arena_printf(p->arena, "gpu/ptx_%d", t->hardware.gpu[0]), t->gpu[0], GPU_PTX));
		}
		plan_add_input(p, &in, input_output(sm, t->gpu[i], GPU_CUBIN));
	}
	if (t->hardware.ngpu)
		fields_add(p->arena, &param, "libc", "glibc");
	fields_add(p->arena, &param, "name", p->spec->name);
	fields_add(p->arena, &param, "target", t->spec->name);
	fields_add(p->arena, &param, "hardware", t->hardware.names);
	fields_add(p->arena, &param, "arch", link_arch_name(arch_of(t)));
	fields_add(p->arena, &param, "numerics", numerics_classes[t->numerics].name);
	fields_add(p->arena, &param, "context", plan_number(p, t->spec->context));
	fields_add(p->arena, &param, "threads", plan_number(p, t->spec->threads));
	t->binary = plan_action(p, arena_printf(p->arena, "%s/link", t->spec->name), &rule_link, &in, param);
	t->path = arena_printf(p->arena, "%s/%s%s/%s", p->out, t->gate_failed ? "failed/" : "",
		t->spec->name, p->spec->name);
	build_output(p->build, t->binary, 0, t->path, OUTPUT_RECIPE | OUTPUT_EXECUTABLE);
}

static bool stage_target(struct plan *p, struct plan_target *t, struct err *e)
{
	if (spec_target_later(p->spec, (int)(t->spec - p->spec->target)))
		return spec_err_at(e, t->spec->at, "target '%s' needs what is not supported yet (see above)",
			t->spec->name);
	return plan_numerics(t->spec, &t->numerics, e) && resolve_hardware(p, t, e);
}

/* The target's state is known: what turns it into a binary. */
static void found_state(struct plan *p, struct plan_target *t)
{
	stage_weights(p, t);
	stage_compile(p, t);
	stage_gpus(p, t);
	stage_lock(p, t);
	stage_link(p, t);
}

static bool find_tools(struct plan *p, struct err *e)
{
	p->linker = link_program(p->arena, e);
	return p->linker && emit_files(p->arena, &p->emitter, e);
}

/* With what it is judged against. */
static void choose_target(const struct spec *s, int i, bool *chosen)
{
	if (chosen[i])
		return;
	chosen[i] = true;
	for (int k = 0; k < s->target[i].ngate; k++)
		if (s->target[i].gate[k]->target >= 0)
			choose_target(s, s->target[i].gate[k]->target, chosen);
}

static bool choose_targets(struct plan *p, struct err *e)
{
	for (size_t i = 0; i < p->o->ntarget; i++)
		if (!spec_target_need(p->spec, p->o->target[i], e))
			return false;
	bool *chosen = arena_array(p->arena, bool, (size_t)p->spec->ntarget);
	for (int i = 0; i < p->spec->ntarget; i++) {
		bool named = !p->o->ntarget;
		for (size_t k = 0; k < p->o->ntarget; k++)
			named |= !strcmp(p->o->target[k], p->spec->target[i].name);
		if (named)
			choose_target(p->spec, i, chosen);
	}
	for (int i = 0; i < p->spec->ntarget; i++) {
		if (chosen[i])
			*arena_push(p->arena, p->target, p->ntarget) =
				(struct plan_target){.spec = &p->spec->target[i], .stop_units = -1,
					.schedule = p->spec->target[i].nschedule == 1 ? p->spec->target[i].schedule[0] : -1};
	}
	return true;
}

static int64_t at_most(int64_t n, int64_t most)
{
	return n < most ? n : most;
}

static void shrink_tune(struct spec_tune *t)
{
	t->epochs = at_most(t->epochs, 1);
	t->steps = at_most(t->steps, 1);
}

void plan_shrink(struct spec *s)
{
	for (int i = 0; i < s->nschedule; i++) {
		struct spec_schedule *schedule = &s->schedule[i];
		schedule->score.rows = at_most(schedule->score.rows, SMOKE_ROWS);
		shrink_tune(&schedule->tune);
	}
	for (int i = 0; i < s->ntarget; i++)
		if (s->target[i].tune)
			shrink_tune(s->target[i].tune);
}

bool plan_spec(struct plan *p, struct err *e)
{
	const char *slash = strrchr(p->o->path, '/');
	p->outputs = arena_printf(p->arena, "%.*sout", slash ? (int)(slash + 1 - p->o->path) : 0, p->o->path);
	p->out = arena_printf(p->arena, "%s/%s%s", p->outputs, p->o->smoke ? "_smoke/" : "", p->spec->name);
	if (!choose_targets(p, e) || !find_tools(p, e) || !stage_model(p, e))
		return false;
	for (size_t i = 0; i < p->ntarget; i++)
		p->target[i].failed = !stage_target(p, &p->target[i], &p->target[i].err);
	return chain_plan(p, found_state, e);
}
