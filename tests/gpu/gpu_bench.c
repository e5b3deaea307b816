/*
 * Speed on a CUDA device: models of random weights, whole, by the code that binaries run (gpu_run.h).
 *
 *     TRIM_GPU_BENCH="1.1b-bf16 1.1b-int8 7b-bf16 7b-int8" TRIM_TEST_GPU=1 gpu_bench
 *
 * 1.1b-bf16-mma is 1.1b-bf16 without wgmma. tiny-CLASS shows that it works, on a device that is none without TRIM_TEST_GPU. tests/gpu/run runs it.
 *
 * One JSON line each: decode at position 64 and prefill of 2048 rows, with the rate at which this device copies memory
 * in the same run, counting bytes read and written. Weights are one random buffer seen as many tensors; what is read does
 * not depend on what they are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "cuda.h"
#include "forward.h"
#include "gpu_clock.h"
#include "gpu_trial.h"
#include "test.h"

static const struct shape {
	const char *name;
	int layers, width, ffn, heads, kv_heads, vocab, rows;
} shapes[] = {
	{"tiny", 2, 64, 96, 4, 2, 300, 40},
	{"1.1b", 22, 2048, 5632, 32, 4, 32000, 2048},
	{"7b", 32, 4096, 11008, 32, 32, 32000, 2048},
};
static const struct {
	const char *name;
	enum numerics numerics;
	const char *before; /* the source */
} classes[] = {{"bf16", NUMERICS_BF16, ""}, {"bf16-mma", NUMERICS_BF16, "#define WGMMA 0\n"}, {"int8", NUMERICS_INT8, ""},
	{"int4", NUMERICS_INT4, ""}, {"f32", NUMERICS_F32, ""}};

enum { CONTEXT = 2048, POSITION = 64, DECODED = 50, PREFILLS = 5, TRIES = 5 };

/* ---- a program with its memory ---- */

struct subject {
	struct arena arena;
	const struct shape *shape;
	struct cuda_source source;
	struct gpu_trial_code code;
	struct gpu_run run[2]; /* of many rows; of one */
	void *host[2][2048];
	uint8_t *weights;
	uint64_t weight_bytes; /* read by a token: all but the table of embeddings */
	int64_t dim[GPU_MAX_DIMS];
};

static int dim_of(const struct program *p, const char *name)
{
	for (uint32_t i = 0; i < p->ndim; i++)
		if (!strcmp(p->dim[i].name, name))
			return (int)i;
	BUG("program '%s' has no dimension %s", p->name, name);
}

static void make_host(struct subject *m)
{
	const struct program *p = &m->source.program[0].head, *few = &m->source.program[1].head;
	uint64_t most = 0;
	for (uint32_t i = 0; i < p->nexternal; i++)
		if (p->external[i].kind == EXTERNAL_PARAM) {
			most = p->external[i].bytes > most ? p->external[i].bytes : most;
			m->weight_bytes += strcmp(p->external[i].name, "embed") ? p->external[i].bytes : 0;
		}
	m->weights = xmalloc(most + 64);
	for (uint64_t i = 0, x = 88172645463325252u; i + 8 <= most + 64; i += 8) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		uint64_t small = x & 0x3dff3dff3dff3dffu; /* bf16, f16 and scales: numbers */
		memcpy(m->weights + i, &small, 8);
	}
	for (uint32_t i = 0; i < p->nexternal; i++)
		m->host[0][1 + i] = p->external[i].kind == EXTERNAL_PARAM ? m->weights : xcalloc(1, p->external[i].bytes);
	for (uint32_t i = 0; i < few->nexternal; i++)
		m->host[1][1 + i] = m->host[0][1 + program_external_find(p, few->external[i].name)];
}

static bool subject_open(struct subject *m, struct gpu_device *g, const struct shape *s, size_t class)
{
	struct err e;
	memset(m, 0, sizeof(*m));
	m->shape = s;
	struct model_config c = {.arch = &arch_llama, .layers = s->layers, .width = s->width, .ffn = s->ffn, .heads = s->heads,
		.kv_heads = s->kv_heads, .head_dim = s->width / s->heads, .vocab = s->vocab, .context = CONTEXT, .rms_eps = 1e-5f,
		.rope_theta = 10000, .rope_factor = 1};
	struct forward f = {.config = &c, .numerics = classes[class].numerics, .max_rows = s->rows, .max_out = 1, .slots = CONTEXT};
	struct forward one = f;
	one.max_rows = 1;
	const struct graph *const plan[] = {graph_plan_gpu(&m->arena, forward_step(&m->arena, &f)),
		graph_plan_gpu(&m->arena, forward_step(&m->arena, &one))};
	m->source = cuda_emit(&m->arena, plan, 2);
	m->source.text = arena_printf(&m->arena, "%s%s", classes[class].before, m->source.text);
	m->source.text_bytes = strlen(m->source.text);
	make_host(m);
	if (!gpu_trial_code_open(&m->code, &m->source, g->arch))
		return false;
	const struct gpu_program *p = m->source.program;
	if (gpu_run_open(&m->run[0], &(struct gpu_run_request){g, &p[0], m->code.cubin, m->host[0], NULL}, &e) &&
		gpu_run_open(&m->run[1], &(struct gpu_run_request){g, &p[1], m->code.cubin, m->host[1], &m->run[0]}, &e))
		return true;
	fprintf(stderr, "%s: %s\n", s->name, e.msg);
	return false;
}

static void subject_close(struct subject *m)
{
	const struct program *p = &m->source.program[0].head;
	gpu_run_close(&m->run[1]);
	gpu_run_close(&m->run[0]);
	gpu_trial_code_close(&m->code);
	for (uint32_t i = 0; i < p->nexternal; i++)
		if (p->external[i].kind != EXTERNAL_PARAM)
			free(m->host[0][1 + i]);
	free(m->weights);
	arena_release(&m->arena);
}

static int32_t *input(struct subject *m, const char *name)
{
	return m->host[0][1 + program_external_find(&m->source.program[0].head, name)];
}

/* Seconds of `times` calls of n rows from a position on. */
static double seconds(struct subject *m, int n, int position, int times)
{
	struct gpu_run *r = &m->run[n == 1];
	const struct program *p = &r->p->head;
	struct err e;
	float logit;
	int logits = program_external_find(p, "logits");
	for (int i = 0; i < n; i++) {
		input(m, "tok")[i] = (i * 37 + 5) % m->shape->vocab;
		input(m, "pos")[i] = input(m, "slot")[i] = position + i;
		input(m, "lo")[i] = 0;
		input(m, "hi")[i] = position + i + 1;
	}
	input(m, "out")[0] = n - 1;
	m->dim[dim_of(p, "R")] = n;
	m->dim[dim_of(p, "O")] = 1;
	double start = now();
	for (int i = 0; i < times; i++)
		if (!gpu_run_start(r, m->dim, &e) || !gpu_run_get(r, logits, &logit, sizeof(logit), &e)) {
			fprintf(stderr, "%s\n", e.msg);
			exit(1);
		}
	return (now() - start) / times;
}

/* ---- the limit ---- */

static const char copy_text[] =
	"#ifdef __CUDACC__\n"
	"struct __align__(16) line { unsigned x, y, z, w; };\n"
	"struct call { unsigned char *t[64]; long long dim[8]; };\n"
	"extern \"C\" __global__ void __launch_bounds__(256) copy(struct call c)\n"
	"{\n"
	"\tconst struct line *from = (const struct line *)c.t[0];\n"
	"\tstruct line *to = (struct line *)c.t[1];\n"
	"\tfor (long long i = blockIdx.x * 256LL + threadIdx.x; i < c.dim[0]; i += gridDim.x * 256LL)\n"
	"\t\tto[i] = from[i];\n"
	"}\n"
	"#else\n"
	"struct call { unsigned char *t[64]; long long dim[8]; };\n"
	"struct call_all { int unused; };\n"
	"KERNEL copy(struct call c)\n"
	"{\n"
	"\tif (!THREAD && !BLOCK) memcpy(c.t[1], c.t[0], (size_t)c.dim[0] * 16);\n"
	"}\n"
	"#endif\n";

/* Bytes read and written per second, of 1 GB there and back. */
static double copy_rate(struct gpu_device *g)
{
	enum { SLAB, FROM, TO };
	int64_t bytes = gpu_trial_real() ? INT64_C(1) << 30 : 1 << 16;
	const struct program_external external[] = {{"from", EXTERNAL_OUTPUT, 0, (uint64_t)bytes}, {"to", EXTERNAL_OUTPUT, 0, (uint64_t)bytes}};
	const struct program_arg arg[] = {{FROM, 0}, {TO, 0}};
	const struct program_dim dim[] = {{"N", bytes / 16}};
	struct gpu_kernel kernel = {"copy", 2, arg, 0, 0};
	struct gpu_program p = {.head = {PROGRAM_ABI, 0, 2, 1, "copy", NULL, external, dim, 0, 0}, .kernel = &kernel, .nkernel = 1, .all = ""};
	struct cuda_source source = {.text = copy_text, .text_bytes = sizeof(copy_text) - 1, .program = &p, .nprogram = 1};
	struct gpu_trial_code code;
	struct gpu_run run;
	struct err e;
	double rate[TRIES];
	char byte;
	void *host[3] = {NULL};
	int64_t n[] = {bytes / 16};
	if (!gpu_trial_code_open(&code, &source, g->arch) || !gpu_run_open(&run, &(struct gpu_run_request){g, &p, code.cubin, host, NULL}, &e))
		exit(1);
	for (int i = 0; i < TRIES; i++) {
		double start = now();
		for (int k = 0; k < 10; k++)
			if (!gpu_run_start(&run, n, &e))
				exit(1);
		if (!gpu_run_get(&run, 0, &byte, 1, &e))
			exit(1);
		rate[i] = 10 * 2.0 * (double)bytes / (now() - start);
	}
	gpu_run_close(&run);
	gpu_trial_code_close(&code);
	return median(rate, TRIES);
}

static void measure(struct gpu_device *g, const struct shape *s, size_t class)
{
	struct subject m;
	double decode[TRIES], prefill[TRIES];
	int rows = s->rows;
	if (!subject_open(&m, g, s, class)) {
		subject_close(&m);
		return;
	}
	seconds(&m, rows, 0, 1);
	for (int i = 0; i < TRIES; i++) {
		decode[i] = seconds(&m, 1, POSITION, gpu_trial_real() ? DECODED : 1);
		prefill[i] = seconds(&m, rows, 0, gpu_trial_real() ? PREFILLS : 1);
	}
	double token = median(decode, TRIES), all = median(prefill, TRIES), copy = copy_rate(g);
	double block = 2.0 * s->width * s->width + 2.0 * s->width * (s->width / s->heads) * s->kv_heads + 3.0 * s->width * s->ffn;
	printf("{\"model\":\"%s-%s\",\"device\":\"%s\",\"sm\":%d,\"decode_tokens_per_second\":%.1f,\"bytes_per_token\":%llu,"
		"\"copy_bytes_per_second\":%.3e,\"of_copy\":%.3f,\"phases\":%u,\"prefill_rows\":%d,\"prefill_tokens_per_second\":%.0f,"
		"\"prefill_flops\":%.3e}\n", s->name, classes[class].name, g->name, g->arch, 1 / token,
		(unsigned long long)m.weight_bytes, copy, (double)m.weight_bytes / token / copy, m.source.program[1].nwait_of_one, rows,
		rows / all, 2 * block * s->layers * rows / all);
	fflush(stdout);
	subject_close(&m);
}

TEST(bench)
{
	struct gpu_device g;
	struct err e;
	const char *names = getenv("TRIM_GPU_BENCH");
	char name[32];
	if (!gpu_trial_device(&g, NULL, &e)) {
		FAIL("%s", e.msg);
		return;
	}
	for (size_t s = 0; s < NELEM(shapes); s++)
		for (size_t c = 0; c < NELEM(classes); c++) {
			snprintf(name, sizeof(name), "%s-%s", shapes[s].name, classes[c].name);
			if (names && strstr(names, name))
				measure(&g, &shapes[s], c);
		}
	gpu_device_close(&g);
}
