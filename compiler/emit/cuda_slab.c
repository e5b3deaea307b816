#include "cuda_slab.h"

enum {
	SLAB = 64,           /* words at a time */
	AHEAD = SLAB / 2,    /* the same where the next ones are on their way */
	LINE = 4,            /* words that are copied at once */
	LINE_ELEMENTS = LINE * 2,
};
/* Words from token to token: double words of 4 tokens and 4 lanes lie in 32 different banks; or words of 32 tokens do, where those are
 * written as neighbours. */
enum { ALONG = SLAB + 8, ALONG_AHEAD = AHEAD + 8, BY_COLUMNS = SLAB + 9 };

static void set_across(struct cuda_slab *s)
{
	s->way = SLAB_ACROSS;
	s->words = AHEAD;
	s->pitch = s->n / 2 + LINE;
	s->half_words = s->words * 2 * s->pitch;
}

struct cuda_slab cuda_token_slab(struct cuda_fn *f, const struct operand *o, int tokens)
{
	const struct dot *d = o->d;
	struct cuda_slab s = {.o = o, .name = "slab", .memory = cuda_memory(f, d->broadcast), .first = "m0", .total = "nm",
		.k_stride = (long long)d->k_stride, .n = tokens, .words = SLAB, .pitch = ALONG};
	bool across = cuda_tokens_across(o);
	if (cuda_tokens_in_lines(f, o)) {
		s.way = SLAB_ALONG;
		s.words = AHEAD;
		s.pitch = ALONG_AHEAD;
	} else if (cuda_tokens_in_lines_across(f, o)) {
		set_across(&s);
		return s;
	} else if (across) {
		s.by_columns = true;
		s.pitch = BY_COLUMNS;
	}
	s.half_words = s.n * s.pitch;
	return s;
}

bool cuda_lane_slab(struct cuda_fn *f, const struct operand *o, int lanes, struct cuda_slab *out)
{
	const struct dot *d = o->d;
	*out = (struct cuda_slab){.o = o, .name = "lane_slab", .memory = cuda_memory(f, d->lane), .first = "n0",
		.total = cuda_text(f, "%lld", (long long)d->nlanes), .k_stride = (long long)d->row_stride, .n = lanes};
	if (!cuda_lanes_in_lines_across(o))
		return false;
	set_across(out);
	return true;
}

int64_t cuda_slab_bytes(const struct cuda_slab *s)
{
	return (int64_t)s->half_words * (s->way == SLAB_LOADED ? 1 : 2) * 4;
}

/* ---- to shared memory ---- */

void cuda_slab_load(struct cuda_fn *f, const struct cuda_slab *s)
{
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", s->n * s->words);
	if (s->by_columns)
		cuda_line(f, "const int row = i %% %d, word = i / %d;", s->n, s->n);
	else
		cuda_line(f, "const int row = i / %d, word = i %% %d;", s->words, s->words);
	cuda_line(f, "const i64 m = %s + row;", s->first);
	cuda_line(f, "const int w = w0 + word;");
	cuda_line(f, "%s[row * %d + word] = m < %s && w < to ? %s : 0;", s->name, s->pitch, s->total, cuda_token_word(f, s->o, "m", "w"));
	cuda_close(f);
}

/*
 * A thread copies the same place of some rows, so all that it has to know of where is said once: NAME_from and NAME_to, of the first row in
 * the block's first slab; NAME_k, how far that is along k, in words or elements; NAME_left, how many rows there are from its
 * first one on, or whether there is its line.
 */
struct places {
	const char *name;
	int each;    /* places of a row: powers of 2 */
	int bytes;   /* of each */
	int k;       /* words from one to the next */
	long long row_bytes; /* in memory */
};

static void declare_along(struct cuda_fn *f, const struct cuda_slab *s, const struct places *p, const char *memory, int to)
{
	cuda_line(f, "const int %s_row = THREAD / %d, %s_k = THREAD %% %d * %d;", p->name, p->each, p->name, p->each, p->k);
	cuda_line(f, "const int %s_left = %s - %s < %d ? (int)(%s - %s) - %s_row : %d - %s_row;", p->name, s->total, s->first, s->n, s->total,
		s->first, p->name, s->n, p->name);
	cuda_line(f, "const u8 *const %s_from = %s + (%s + %s_row) * %lld + THREAD %% %d * %d;", p->name, memory, s->first, p->name, p->row_bytes,
		p->each, p->bytes);
	cuda_line(f, "u32 *const %s_to = %s + %s_row * %d + %d + THREAD %% %d * %d;", p->name, s->name, p->name, s->pitch, to, p->each,
		p->bytes / 4);
}

static void copy_along(struct cuda_fn *f, const struct cuda_slab *s, const struct places *p, const char *half, const char *from,
	const char *end)
{
	int rows = GPU_THREADS / p->each;
	cuda_open(f, "UNROLL for (int u = 0; u < %d; u++)", (s->n + rows - 1) / rows);
	if (rows > s->n)
		cuda_line(f, "if (%s_row >= %d) break;", p->name, s->n);
	cuda_line(f, "const int known = u * %d < %s_left && %s + %s_k < %s;", rows, p->name, from, p->name, end);
	cuda_line(f, "%s(%s_to + %s * %d + u * %d, %s_from + (i64)(%s) * %d + u * %lldLL, known);", p->bytes == 16 ? "copy_line" : "copy_pair",
		p->name, half, s->half_words, rows * s->pitch, p->name, from, p->bytes / p->k, rows * p->row_bytes);
	cuda_close(f);
}

static struct places lines_of(const struct cuda_slab *s)
{
	return (struct places){s->name, AHEAD / LINE, LINE * 4, LINE, cuda_token_bytes(s->o)};
}

static struct places records_of(struct cuda_fn *f, const struct cuda_slab *s)
{
	return (struct places){cuda_text(f, "%s_record", s->name), AHEAD / STEP, 8, STEP, cuda_token_bytes(s->o)};
}

/* Of 16 k a warp wants 0, 1, 4, 5, 8, 9, 12, 13, then the others: words 2t of four threads, then words 2t + 1. */
static void declare_across(struct cuda_fn *f, const struct cuda_slab *s)
{
	int lines = s->n / LINE_ELEMENTS;
	cuda_line(f, "const int %s_k = THREAD / %d, %s_left = %s + THREAD %% %d * %d < %s;", s->name, lines, s->name, s->first, lines,
		LINE_ELEMENTS, s->total);
	cuda_line(f, "const u8 *const %s_from = %s + (%s_k * %lldLL + %s + THREAD %% %d * %d) * 2;", s->name, s->memory, s->name, s->k_stride,
		s->first, lines, LINE_ELEMENTS);
	cuda_line(f, "u32 *const %s_to = %s + (%s_k / 16 * 16 + %s_k %% 4 / 2 * 8 + %s_k %% 16 / 4 * 2 + %s_k %% 2) * %d + THREAD %% %d * %d;",
		s->name, s->name, s->name, s->name, s->name, s->name, s->pitch, lines, LINE);
}

static void copy_across(struct cuda_fn *f, const struct cuda_slab *s, const char *half, const char *from, const char *end)
{
	int rows = GPU_THREADS / (s->n / LINE_ELEMENTS);
	cuda_open(f, "UNROLL for (int u = 0; u < %d; u++)", (s->words * 2 + rows - 1) / rows);
	cuda_line(f, "const int k = (%s) * 2 + u * %d, known = %s_left && k + %s_k < (%s) * 2 && k + %s_k < (int)nk;", from, rows, s->name, s->name,
		end, s->name);
	cuda_line(f, "copy_line(%s_to + %s * %d + u * %d, %s_from + k * %lldLL, known);", s->name, half, s->half_words, rows * s->pitch, s->name,
		s->k_stride * 2);
	cuda_close(f);
}

void cuda_slab_begin(struct cuda_fn *f, const struct cuda_slab *s)
{
	if (s->way == SLAB_ACROSS)
		declare_across(f, s);
	if (s->way != SLAB_ALONG)
		return;
	struct places lines = lines_of(s), records = records_of(f, s);
	declare_along(f, s, &lines, s->memory, 0);
	if (s->o->q)
		declare_along(f, s, &records, cuda_text(f, "%s + %lld", s->memory, (long long)s->o->d->rows_shape.scales), AHEAD);
}

void cuda_slab_copy(struct cuda_fn *f, const struct cuda_slab *s, const char *half, const char *from, const char *end)
{
	if (s->way == SLAB_ACROSS) {
		copy_across(f, s, half, from, end);
		return;
	}
	struct places lines = lines_of(s), records = records_of(f, s);
	copy_along(f, s, &lines, half, from, end);
	if (s->o->q)
		copy_along(f, s, &records, half, from, end);
}

/* ---- from there ---- */

static const char *half_of(struct cuda_fn *f, const struct cuda_slab *s)
{
	return s->way == SLAB_LOADED ? s->name : cuda_text(f, "%s + half * %d", s->name, s->half_words);
}

void cuda_slab_tile(struct cuda_fn *f, const struct cuda_slab *s)
{
	const char *slab = half_of(f, s);
	cuda_line(f, "const u32 *const b = %s + (m4 + j * %d + g) * %d + w + 2 * t;", slab, TOKENS, s->pitch);
	cuda_line(f, "const u32 b0 = b[0], b1 = b[1];");
	if (!s->o->q)
		return;
	cuda_line(f, "const u32 *const of = %s + (m4 + j * %d + 2 * t) * %d + %d + w / 8 * 2;", slab, TOKENS, s->pitch, AHEAD);
	cuda_line(f, "const float by[2] = {from_bits(of[0]), from_bits(of[%d])};", s->pitch);
	cuda_line(f, "const int sum[2] = {(int)of[1], (int)of[%d]};", s->pitch + 1);
}

/* Four matrices of 8 k by 8, whose rows the lanes of a warp name, 8 lanes a matrix: both k's words of tile j, then of the next one; or
 * lanes 0 to 7 and 8 to 15 with the first words, then with the second ones, as mma has its operands. */
void cuda_slab_tiles(struct cuda_fn *f, const struct cuda_slab *s)
{
	cuda_line(f, "const int matrix = THREAD %% 32 / 8, row = w * 2 + matrix %% 2 * 8 + THREAD %% 8;");
	cuda_line(f, "u32 b[4];");
	cuda_line(f, "load_across(b, %s + row * %d + (m4 + (j + matrix / 2) * %d) / 2);", half_of(f, s), s->pitch, TOKENS);
}

void cuda_slab_lanes(struct cuda_fn *f, const struct cuda_slab *s)
{
	cuda_line(f, "const int matrix = THREAD %% 32 / 8, row = w * 2 + matrix / 2 * 8 + THREAD %% 8;");
	for (int i = 0; i < 2; i++) {
		cuda_line(f, "u32 a%d[4];", i);
		cuda_line(f, "load_across(a%d, %s + row * %d + (n4 + %d + matrix %% 2 * 8) / 2);", i, half_of(f, s), s->pitch, i * PANEL);
		cuda_line(f, "const struct words2 p%d = {a%d[0], a%d[1]}, q%d = {a%d[2], a%d[3]};", i, i, i, i, i, i);
	}
}
