#include "fake_model.h"

/* t: 0 the slab, then the externals as listed below. */
enum { SLAB, TOK, POS, SLOT, LO, HI, OUT, BIAS, CACHE, LOGITS };

static int64_t items_rows(const int64_t *dim)
{
	return dim[0];
}

static int64_t items_out(const int64_t *dim)
{
	return dim[1];
}

/* arg: tok, slot, cache (S) i32 */
static void run_put(void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi)
{
	(void)dim, (void)scratch;
	for (int64_t i = lo; i < hi; i++)
		((int32_t *)arg[2])[((int32_t *)arg[1])[i]] = ((int32_t *)arg[0])[i];
}

/* arg: pos, lo, hi, cache -> slab (R) u32 */
static void run_mix(void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi)
{
	(void)dim, (void)scratch;
	const int32_t *pos = arg[0], *from = arg[1], *to = arg[2], *cache = arg[3];
	for (int64_t i = lo; i < hi; i++) {
		uint32_t h = 2166136261u + (uint32_t)pos[i];
		for (int32_t s = from[i]; s < to[i]; s++)
			h = (h ^ (uint32_t)cache[s]) * 16777619u;
		((uint32_t *)arg[4])[i] = h;
	}
}

/* arg: out, slab, bias (V) f32, logits (O,V) f32 */
static void run_head(void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi)
{
	(void)dim, (void)scratch;
	const float *bias = arg[2];
	for (int64_t o = lo; o < hi; o++) {
		uint32_t h = ((uint32_t *)arg[1])[((int32_t *)arg[0])[o]];
		float *logits = (float *)arg[3] + o * FAKE_VOCAB;
		for (uint32_t v = 0; v < FAKE_VOCAB; v++) {
			uint32_t x = (h ^ v * 2654435761u) * 2246822519u;
			logits[v] = (float)(x >> 22) / 256.0f + bias[v];
		}
	}
}

static const struct program_arg put_arg[] = {{TOK, 0}, {SLOT, 0}, {CACHE, 0}};
static const struct program_arg mix_arg[] = {{POS, 0}, {LO, 0}, {HI, 0}, {CACHE, 0}, {SLAB, 64}};
static const struct program_arg head_arg[] = {{OUT, 0}, {SLAB, 64}, {BIAS, 0}, {LOGITS, 0}};
static const struct program_kernel kernels[] = {
	{"put", run_put, items_rows, 3, put_arg, NULL, 1},
	{"mix", run_mix, items_rows, 5, mix_arg, NULL, 1},
	{"head", run_head, items_out, 4, head_arg, NULL, 1},
};
static const struct program_external externals[] = {
	{"tok", EXTERNAL_INPUT, 2, FAKE_ROWS * 4},
	{"pos", EXTERNAL_INPUT, 2, FAKE_ROWS * 4},
	{"slot", EXTERNAL_INPUT, 2, FAKE_ROWS * 4},
	{"lo", EXTERNAL_INPUT, 2, FAKE_ROWS * 4},
	{"hi", EXTERNAL_INPUT, 2, FAKE_ROWS * 4},
	{"out", EXTERNAL_INPUT, 2, FAKE_OUT * 4},
	{"bias", EXTERNAL_PARAM, 0, FAKE_VOCAB * 4},
	{"blk.0.k", EXTERNAL_STATE, 2, FAKE_SLOTS * 4},
	{"logits", EXTERNAL_OUTPUT, 0, (uint64_t)FAKE_OUT * FAKE_VOCAB * 4},
};
static const struct program_dim dims[] = {{"R", FAKE_ROWS}, {"O", FAKE_OUT}};
static const struct program step = {PROGRAM_ABI, 3, 9, 2, "step", kernels, externals, dims,
	64 + FAKE_ROWS * 4, 0};
static const struct program *const programs[] = {&step};

#ifndef FAKE_NAME
#define FAKE_NAME "plain"
#define FAKE_NEEDS ""
#endif
__attribute__((weak, used, retain, section(VARIANT_SECTION))) const struct variant trim_variant = {FAKE_NAME,
	FAKE_NEEDS, programs, 1};
