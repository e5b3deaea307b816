#include "cuda_stage.h"

enum {
	ROW = 32,           /* words */
	LINES = 8,          /* of a row */
	LINE = 16,          /* bytes */
	LINE_ELEMENTS = 8,
	ATOM = 64,          /* elements of a row, and rows of one k */
	ROWS = GPU_THREADS / LINES, /* that all threads copy at a time */
	UNIT = 16,          /* bytes that wgmma's descriptors count in */
};

bool cuda_token_stage(struct cuda_fn *f, const struct operand *o, int tokens, struct cuda_stage *out)
{
	const struct dot *d = o->d;
	*out = (struct cuda_stage){.o = o, .name = "stage_m", .memory = cuda_memory(f, d->broadcast), .first = "m0", .total = "nm", .n = tokens,
		.across = cuda_tokens_across(o)};
	out->row_bytes = (out->across ? (long long)d->k_stride : (long long)d->m_stride) * 2;
	return out->across ? tokens % ATOM == 0 && cuda_tokens_in_lines_across(f, o) : cuda_tokens_in_lines(f, o);
}

bool cuda_lane_stage(struct cuda_fn *f, const struct operand *o, int lanes, struct cuda_stage *out)
{
	const struct dot *d = o->d;
	*out = (struct cuda_stage){.o = o, .name = "stage_n", .memory = cuda_memory(f, d->lane), .first = "n0",
		.total = cuda_text(f, "%lld", (long long)d->nlanes), .n = lanes, .across = true, .row_bytes = (long long)d->row_stride * 2};
	return cuda_lanes_in_lines_across(o);
}

static int atoms(const struct cuda_stage *s)
{
	return s->n / ATOM;
}

static int words(const struct cuda_stage *s)
{
	return s->n * ROW;
}

int64_t cuda_stage_bytes(const struct cuda_stage *s)
{
	return words(s) * 4;
}

/* A thread copies the same line of some rows: NAME_row, its first one in a stage; NAME_left, how many tokens there are from it on, or elements
 * from its line on. Its place in each row is the same one, since those are 32 rows apart. */
void cuda_stage_begin(struct cuda_fn *f, const struct cuda_stage *s)
{
	const char *n = s->name;
	cuda_line(f, "const int %s_row = THREAD / %d, %s_line = THREAD %% %d;", n, LINES, n, LINES);
	cuda_line(f, "const int %s_left = (%s - %s < %d ? (int)(%s - %s) : %d) - %s;", n, s->total, s->first, s->n, s->total, s->first, s->n,
		s->across ? cuda_text(f, "%s_line * %d", n, LINE_ELEMENTS) : cuda_text(f, "%s_row", n));
	if (s->across)
		cuda_line(f, "const u8 *const %s_from = %s + %s_row * %lldLL + (%s + %s_line * %d) * 2;", n, s->memory, n, s->row_bytes, s->first, n,
			LINE_ELEMENTS);
	else
		cuda_line(f, "const u8 *const %s_from = %s + (%s + %s_row) * %lldLL + %s_line * %d;", n, s->memory, s->first, n, s->row_bytes, n,
			LINE);
	cuda_line(f, "u32 *const %s_to = %s + %s_row * %d + (%s_line ^ %s_row %% 8) * %d;", n, n, n, ROW, n, n, LINE / 4);
	cuda_line(f, "const u64 %s_tile = matrix_%s(%s);", n, s->across ? "across" : "along", n);
}

static void copy_along(struct cuda_fn *f, const struct cuda_stage *s, const char *stage, const char *from, const char *end)
{
	const char *n = s->name;
	cuda_open(f, "UNROLL for (int u = 0; u < %d; u++)", s->n / ROWS);
	cuda_line(f, "copy_line(%s_to + %s * %d + u * %d, %s_from + (i64)(%s) * 4 + u * %lldLL, u * %d < %s_left && %s + %s_line * %d < %s);", n,
		stage, words(s), ROWS * ROW, n, from, ROWS * s->row_bytes, ROWS, n, from, n, LINE / 4, end);
	cuda_close(f);
}

static void copy_across(struct cuda_fn *f, const struct cuda_stage *s, const char *stage, const char *from, const char *end)
{
	const char *n = s->name;
	cuda_open(f, "UNROLL for (int u = 0; u < %d; u++)", ATOM / ROWS);
	cuda_line(f, "const int k = (%s) * 2 + u * %d, known = k + %s_row < (%s) * 2 && k + %s_row < (int)nk;", from, ROWS, n, end, n);
	cuda_line(f, "UNROLL for (int a = 0; a < %d; a++) copy_line(%s_to + %s * %d + a * %d + u * %d, %s_from + k * %lldLL + a * %d, "
		"known && a * %d < %s_left);", atoms(s), n, stage, words(s), ATOM * ROW, ROWS * ROW, n, s->row_bytes, ATOM * 2, ATOM, n);
	cuda_close(f);
}

void cuda_stage_copy(struct cuda_fn *f, const struct cuda_stage *s, const char *stage, const char *from, const char *end)
{
	(s->across ? copy_across : copy_along)(f, s, stage, from, end);
}

const char *cuda_stage_tile(struct cuda_fn *f, const struct cuda_stage *s, const char *stage, int step, const char *atom)
{
	int step_bytes = s->across ? 2 * STEP * ROW * 4 : STEP * 4; /* 16 rows, or 32 bytes of a row */
	const char *tile = cuda_text(f, "%s_tile + (u32)(%s * %d + %d", s->name, stage, words(s) * 4 / UNIT, step * step_bytes / UNIT);
	return atom ? cuda_text(f, "%s + %s * %d)", tile, atom, ATOM * ROW * 4 / UNIT) : cuda_text(f, "%s)", tile);
}
