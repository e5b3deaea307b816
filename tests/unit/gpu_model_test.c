/*
 * Whole models on a CUDA device, or on one that is none, by the shim: the CPU target's text letter for letter, its logits within
 * what another order of sums costs, and the same bits in prefill and decode.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "gpu_trial.h"
#include "logits.h"
#include "stories.h"

struct gpu {
	struct running cpu; /* the same model's CPU code; its weights serve both */
	struct cuda_source source;
	struct gpu_device device;
	struct gpu_trial_code code;
	struct session session;
	struct gpu_session on_device;
};

static bool gpu_start(struct gpu *g, const char *model, enum numerics numerics)
{
	char path[512];
	struct err e;
	memset(g, 0, sizeof(*g));
	snprintf(path, sizeof(path), "%s/models/%s", test_data(), model);
	struct setting s = {.path = path, .target = gpu_trial_real() ? NULL : target_native(), .numerics = numerics, .nthreads = 1, .rows = 24, .gone = -1};
	if (!stories_start(&g->cpu, &s))
		return false;
	struct arena *a = &g->cpu.arena;
	struct forward f = {.config = &g->cpu.model.config, .numerics = numerics, .max_rows = s.rows, .max_out = s.rows,
		.slots = g->cpu.context};
	struct forward few = f;
	few.max_rows = few.max_out = GPU_FEW_ROWS;
	const struct graph *const plan[] = {graph_plan_gpu(a, forward_step(a, &f)), graph_plan_gpu(a, forward_step(a, &few))};
	struct param_source params = {&g->cpu.packed, packed_find};
	g->source = cuda_emit(a, plan, 2);
	if (!gpu_trial_device(&g->device, NULL, &e)) {
		FAIL("%s", e.msg);
		return false;
	}
	if (!gpu_trial_code_open(&g->code, &g->source, g->device.arch))
		return false;
	if (!session_open(&g->session, &g->source.program[0].head, &params, g->cpu.pool, (uint32_t)g->cpu.context, &e) ||
		!gpu_session_open(&g->on_device, &g->session, &g->device, g->source.program, 2, g->code.cubin, &e)) {
		FAIL("%s", e.msg);
		return false;
	}
	return true;
}

static void gpu_stop(struct gpu *g)
{
	if (g->session.failed)
		FAIL("%s", g->session.error.msg);
	gpu_session_close(&g->on_device);
	session_release(&g->session);
	gpu_trial_code_close(&g->code);
	gpu_device_close(&g->device);
	stories_stop(&g->cpu);
}

TEST(stories260k_prints_the_known_text)
{
	enum { STEPS = 60 };
	struct gpu g;
	char path[512];
	struct strbuf want, got;
	struct tokenizer_stream stream;
	struct err e;
	if (!test_data())
		return;
	strbuf_init(&want);
	strbuf_init(&got);
	snprintf(path, sizeof(path), "%s/models/stories260K/greedy-200-steps.txt", test_data());
	REQUIRE(file_read(&want, path, &e));
	REQUIRE(gpu_start(&g, "stories260K/hf", NUMERICS_F32));
	struct sequence q = {0};
	uint32_t token = g.cpu.tokenizer.start_id;
	tokenizer_stream_init(&stream, &g.cpu.tokenizer, TOKENIZER_AT_START);
	for (int i = 0; i < STEPS; i++) {
		token = (uint32_t)logits_here()->argmax(session_decode(&g.session, &q, token), (size_t)g.session.nvocab);
		tokenizer_stream_put(&stream, token, &got);
	}
	tokenizer_stream_end(&stream, &got);
	want.s[got.n < want.n ? got.n : want.n] = '\0';
	CHECK(got.n > STEPS);
	CHECK_STR(got.s, want.s);
	gpu_stop(&g);
	strbuf_release(&want);
	strbuf_release(&got);
}

enum { NTOKENS = 30 };

/* Logits of the first n of NTOKENS fixed tokens, the first `together` of them in one call. */
static float *logits_of(struct session *s, size_t together, size_t n)
{
	struct sequence q = {0};
	uint32_t token[NTOKENS];
	struct logits l = {calloc((size_t)(NTOKENS * s->nvocab), sizeof(float)), s->nvocab};
	for (int i = 0; i < NTOKENS; i++)
		token[i] = i ? 3 + (uint32_t)(i * 37 % 90) : 1;
	if (together)
		session_prefill_all(s, &q, token, together, logits_keep, &l);
	for (size_t i = together; i < n; i++)
		logits_keep(&l, i, session_decode(s, &q, token[i]));
	return l.all;
}

/* The CPU's logits; on a machine with a device, which has no compiler, those that TRIM_TEST_LOGITS keeps from one that has:
 * a folder, with a file for each class. */
static float *cpu_logits(struct gpu *g, const char *class, int64_t n)
{
	const char *folder = getenv("TRIM_TEST_LOGITS");
	char path[512];
	struct strbuf kept;
	struct err e;
	float *logits = gpu_trial_real() ? NULL : logits_of(&g->cpu.session, 20, NTOKENS);
	snprintf(path, sizeof(path), "%s/%s.logits", folder ? folder : "", class);
	strbuf_init(&kept);
	if (logits && folder)
		CHECK(file_write(path, (struct buf){logits, (size_t)n * sizeof(float)}, 0644, &e));
	if (!logits && folder && file_read(&kept, path, &e) && kept.n == (size_t)n * sizeof(float)) {
		logits = malloc(kept.n);
		memcpy(logits, kept.s, kept.n);
	}
	strbuf_release(&kept);
	return logits;
}

/* The largest difference, of the largest logit. */
static double distance(const float *a, const float *b, int64_t n)
{
	double most = 0, apart = 0;
	for (int64_t i = 0; i < n; i++) {
		most = fmax(most, fabs((double)a[i]));
		apart = fmax(apart, fabs((double)a[i] - (double)b[i]));
	}
	return apart / most;
}

TEST(logits_are_the_cpu_s_and_those_of_decode)
{
	static const struct {
		enum numerics numerics;
		double most;
	} cases[] = {{NUMERICS_F32, 1e-4}, {NUMERICS_BF16, 2e-2}, {NUMERICS_INT8, 2e-2}, {NUMERICS_INT4, 2e-2}};
	if (!test_data())
		return;
	for (size_t i = 0; i < NELEM(cases); i += test_is_first() ? 1 : 3) {
		struct gpu g;
		REQUIRE(gpu_start(&g, "stories260K/hf", cases[i].numerics));
		int64_t n = NTOKENS * g.session.nvocab;
		const char *class = numerics_classes[cases[i].numerics].name;
		float *want = cpu_logits(&g, class, n), *prefill = logits_of(&g.session, 20, NTOKENS);
		double apart = want ? distance(want, prefill, n) : INFINITY;
		printf("%s: %.1e of the largest logit apart\n", class, apart);
		CHECK(apart <= cases[i].most);
		/* One by one; by the program that decodes, two rows with norms of each block's own, and six. */
		static const size_t together[] = {0, 2, 6};
		for (size_t k = 0; k < NELEM(together); k++) {
			size_t some = together[k] ? together[k] : NTOKENS;
			float *decode = logits_of(&g.session, together[k], some);
			if (memcmp(prefill, decode, some * (size_t)g.session.nvocab * sizeof(float)))
				FAIL("class %s: with %zu rows at once decode has other bits than prefill", class, together[k]);
			free(decode);
		}
		free(want);
		free(prefill);
		gpu_stop(&g);
	}
}
