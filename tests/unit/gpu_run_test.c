/*
 * The GPU runtime on a driver that has no device (tests/gpu/fake_cuda.c): a program's table survives being written and read,
 * what a run gives is what the interpreter gives, and what fails is said.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "emit_cases.h"
#include "emit_memory.h"
#include "gpu_trial.h"
#include "test.h"

static void bind(const struct gpu_program *p, const struct memory *m, void **host)
{
	for (int i = 0; i < m->ntensor; i++)
		host[1 + program_external_find(&p->head, m->tensor[i].name)] = m->tensor[i].p;
}

/* Outputs and states come back to where they would be. */
static bool get_all(struct gpu_run *r, void **host, struct err *e)
{
	const struct program *h = &r->p->head;
	bool ok = true;
	for (uint32_t i = 0; i < h->nexternal && ok; i++)
		if (h->external[i].kind == EXTERNAL_OUTPUT || h->external[i].kind == EXTERNAL_STATE)
			ok = gpu_run_get(r, (int)i, host[1 + i], h->external[i].bytes, e);
	return ok;
}

static bool run(struct gpu_device *g, const struct gpu_program *p, const void *cubin, struct memory *m, struct err *e)
{
	void *host[128] = {NULL};
	int64_t dim[GPU_MAX_DIMS];
	struct gpu_run r;
	bind(p, m, host);
	memory_dims(m, dim);
	bool ok = gpu_run_open(&r, &(struct gpu_run_request){g, p, cubin, host, NULL}, e);
	if (!ok)
		return false;
	ok = gpu_run_start(&r, dim, e) && get_all(&r, host, e);
	gpu_run_close(&r);
	return ok;
}

/* States begin as 0 on a device. */
static void clear_states(struct memory *m)
{
	for (int i = 0; i < m->ntensor; i++)
		if (m->g->node[m->node[i]].op == OP_STATE)
			memset(m->tensor[i].p, 0, (size_t)tensor_bytes(m->g, &m->g->node[m->node[i]]));
}

static bool try(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	const struct graph *plan = graph_plan_gpu(a, g);
	struct cuda_source source = cuda_emit(a, &plan, 1);
	struct strbuf table, again;
	struct gpu_program *read;
	struct memory want, got;
	struct gpu_device device;
	struct gpu_trial_code code;
	struct err e = {0};
	size_t n;
	strbuf_init(&table);
	strbuf_init(&again);
	gpu_code_write(&table, source.program, 1);
	bool ok = gpu_code_read(a, strbuf_buf(&table), &read, &n, &e) && n == 1;
	if (ok)
		gpu_code_write(&again, read, 1);
	ok = ok && again.n == table.n && !memcmp(again.s, table.s, table.n);
	if (!ok)
		FAIL("a table of GPU code is read as something else");
	memory_init_plain(&want, g, rows, seed);
	memory_init_plain(&got, plan, rows, seed);
	clear_states(&want);
	char name[128];
	snprintf(name, sizeof(name), "%s, seed %llu", g->name, (unsigned long long)seed);
	if (!gpu_trial_device(&device, NULL, &e)) {
		FAIL("%s", e.msg);
		ok = false;
	} else if (gpu_trial_code_open(&code, &source, device.arch)) {
		ok = ok && memory_interpret(&want) && run(&device, read, code.cubin, &got, &e);
		if (e.msg[0])
			FAIL("%s: %s", name, e.msg);
		ok = ok && memory_close(&want, &got, tolerance_of(g), name);
		gpu_trial_code_close(&code);
	}
	gpu_device_close(&device);
	memory_release(&want);
	memory_release(&got);
	strbuf_release(&table);
	strbuf_release(&again);
	return ok;
}

/* Everything on a device, where compiling it is what takes time; here what the runtime itself could do wrong. */
TEST(runs_are_the_interpreter_s)
{
	static const char *const cases[] = {"rope", "norm", "dot_bf16", "memory", "attention", "attention_long", "attention_grad", "maps", "recipes", "halves",
		"sums", "loss", "dot_f32", "quantised", "quantised_long", "quantised_long_few", "several_dots", "backward", "attention_rows", "attention_grad_bf16"};
	size_t n = gpu_trial_real() ? NELEM(cases) : 7;
	for (size_t i = 0; i < n; i++)
		emit_case(cases[i], i ? gpu_trial_real() ? 3 : 2 : 6, try);
	if (gpu_trial_real()) {
		emit_case_training(2, try);
		emit_case_importance(2, try);
	}
}

/* On all multiprocessors rows like these go as few do, on one as many, on Hopper by wgmma: the same bits. */
static bool few_as_many(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	const struct graph *plan = graph_plan_gpu(a, g);
	struct cuda_source source = cuda_emit(a, &plan, 1);
	struct gpu_device device = {0};
	struct gpu_trial_code code = {0};
	struct memory want, got[2];
	struct err e = {0};
	char name[128];
	snprintf(name, sizeof(name), "%s, seed %llu", g->name, (unsigned long long)seed);
	memory_init_plain(&want, g, rows, seed);
	bool ok = gpu_trial_device(&device, NULL, &e) && gpu_trial_code_open(&code, &source, device.arch) && memory_interpret(&want);
	for (int i = 0; i < 2; i++) {
		memory_init_plain(&got[i], plan, rows, seed);
		device.nmulti = i ? 1 : gpu_trial_real() ? device.nmulti : 100;
		ok = ok && run(&device, &source.program[0], code.cubin, &got[i], &e) && memory_close(&want, &got[i], tolerance_of(g), name);
	}
	if (e.msg[0])
		FAIL("%s: %s", name, e.msg);
	ok = ok && memory_same(&got[0], &got[1], name);
	for (int i = 0; i < 2; i++)
		memory_release(&got[i]);
	memory_release(&want);
	gpu_trial_code_close(&code);
	gpu_device_close(&device);
	return ok;
}

TEST(few_rows_have_the_bits_of_many)
{
	emit_case("dot_many", gpu_trial_real() ? 7 : 2, few_as_many);
}

/* Rows of few slots, which skip a barrier, before those of many. */
static bool short_then_long(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	const struct graph *plan = graph_plan_gpu(a, g);
	struct cuda_source source = cuda_emit(a, &plan, 1);
	const struct gpu_program *p = &source.program[0];
	struct memory want, got;
	struct gpu_device device = {0};
	struct gpu_trial_code code = {0};
	struct gpu_run r = {0};
	struct err e = {0};
	void *host[128] = {NULL};
	int64_t dim[GPU_MAX_DIMS];
	int32_t hi[8];
	int at = 0;
	memory_init_plain(&want, g, rows, seed);
	memory_init_plain(&got, plan, rows, seed);
	clear_states(&want);
	bind(p, &got, host);
	memory_dims(&got, dim);
	while (p->head.external[at].name[0] != 'n' || !strchr(p->head.external[at].name, 'y'))
		at++; /* hi */
	bool ok = gpu_trial_device(&device, NULL, &e) && gpu_trial_code_open(&code, &source, device.arch) &&
		gpu_run_open(&r, &(struct gpu_run_request){&device, p, code.cubin, host, NULL}, &e);
	memcpy(hi, host[1 + at], sizeof(hi));
	for (int i = 0; i < 2 && ok; i++) {
		for (int k = 0; k < 8; k++)
			((int32_t *)host[1 + at])[k] = i ? hi[k] : 4 + k;
		ok = gpu_run_start(&r, dim, &e);
	}
	ok = ok && get_all(&r, host, &e) && memory_interpret(&want) && memory_close(&want, &got, tolerance_of(g), "short, then long");
	if (e.msg[0])
		FAIL("%s", e.msg);
	gpu_run_close(&r);
	gpu_trial_code_close(&code);
	gpu_device_close(&device);
	memory_release(&want);
	memory_release(&got);
	return ok;
}

TEST(barriers_that_are_skipped_count)
{
	emit_case("attention_long", 2, short_then_long);
}

static const char *wanted, *set;

/* What is said when the device is as `set`. */
static bool fails(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	const struct graph *plan = graph_plan_gpu(a, g);
	struct cuda_source source = cuda_emit(a, &plan, 1);
	struct gpu_device device;
	struct gpu_trial_code code;
	struct memory m;
	struct err e = {0};
	if (!gpu_trial_code_open(&code, &source, 90))
		return false;
	memory_init_plain(&m, plan, rows, seed);
	bool ok = gpu_trial_device(&device, set, &e) && run(&device, &source.program[0], code.cubin, &m, &e);
	CHECK(!ok);
	if (!strstr(e.msg, wanted))
		FAIL("'%s' has no '%s'", e.msg, wanted);
	gpu_device_close(&device);
	gpu_trial_code_close(&code);
	memory_release(&m);
	return true;
}

TEST(failures_are_said)
{
	if (gpu_trial_real())
		return;
	set = "90 1024 0";
	wanted = "fake 0 has 0.0 MB of memory free of 0.0 MB, ";
	emit_case("norm", 1, fails);
	set = "90 268435456 1";
	wanted = " failed: unspecified launch failure (CUDA error 719)";
	emit_case("norm", 1, fails);
}

TEST(devices_that_are_not_there)
{
	struct gpu_device device;
	struct err e;
	if (gpu_trial_real())
		return;
	REQUIRE(gpu_trial_device(&device, NULL, &e));
	gpu_device_close(&device);
	CHECK(!gpu_device_open(&device, 3, &e));
	CHECK_STR(e.msg, "no CUDA device 3; there are 1, from 0 on");
}

TEST(images_by_architecture)
{
	static const struct gpu_image images[] = {{80, "a"}, {86, "b"}, {90, "c"}, {120, "d"}};
	static const struct {
		int arch;
		const char *cubin;
	} cases[] = {{80, "a"}, {86, "b"}, {87, "b"}, {89, "b"}, {90, "c"}, {75, NULL}, {100, NULL}, {120, "d"}, {121, "d"}};
	for (size_t i = 0; i < NELEM(cases); i++) {
		const struct gpu_image *found = gpu_image_choose(images, NELEM(images), cases[i].arch);
		CHECK(found ? cases[i].cubin && !strcmp(found->cubin, cases[i].cubin) : !cases[i].cubin);
	}
}

TEST(damaged_tables_are_refused)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"{}", "the table of GPU code is damaged at byte 1: a list of programs was expected"},
		{"[{}]", "the table of GPU code is damaged at byte 2: a program with names was expected"},
		{"[{\"name\":\"x\",\"all\":\"\",\"slab_bytes\":-1}]", "the table of GPU code is damaged at byte 2: slab_bytes"},
		{"[{\"name\":\"x\",\"slab_bytes\":1,\"scratch_bytes\":0,\"waits\":0,\"waits_of_one\":0,\"all\":\"\",\"dims\":[],\"externals\":[],\"kernels\":[[\"k\",0,0,[2,0]]]}]",
			"the table of GPU code is damaged at byte 129: an argument was expected"},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct arena a = {0};
		struct gpu_program *p;
		size_t n;
		struct err e;
		CHECK(!gpu_code_read(&a, (struct buf){cases[i].text, strlen(cases[i].text)}, &p, &n, &e));
		CHECK_STR(e.msg, cases[i].why);
		arena_release(&a);
	}
}
