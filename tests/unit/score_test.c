/*
 * Scores of a random model of three blocks, one half of which is gone, against a forward pass written out in doubles:
 * losses without each unit, angles of the residual stream, gradients by finite differences, sums of weights.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "digest.h"
#include "score_method.h"
#include "test.h"

enum { LAYERS = 3, D = 12, F = 20, H = 2, K = 1, HD = 8, V = 37, CONTEXT = 32, NRECORD = 6 };

struct tiny {
	struct arena a;
	struct state state;
	float **data; /* of each tensor of the state */
	struct token_table tokens;
};

static void add_tensor(struct tiny *t, struct rng *r, const char *name, size_t rows, size_t cols)
{
	size_t n = rows * (cols ? cols : 1), at = t->state.ntensor, had = at;
	struct state_tensor s = {.name = arena_strdup(&t->a, name), .dtype = MODEL_F32, .ndim = cols ? 2 : 1,
		.dims = {rows, cols}, .bytes = n * sizeof(float)};
	*arena_push(&t->a, t->state.tensor, t->state.ntensor) = s;
	float **data = arena_push(&t->a, t->data, had);
	*data = arena_array(&t->a, float, n);
	for (size_t i = 0; i < n; i++)
		(*data)[i] = cols ? (float)((rng_uniform(r) - 0.5) * 1.2) : (float)(0.5 + rng_uniform(r));
}

static float *data_of(const struct tiny *t, const char *name)
{
	for (size_t i = 0; i < t->state.ntensor; i++)
		if (!strcmp(t->state.tensor[i].name, name))
			return t->data[i];
	return NULL;
}

static float *block_data(const struct tiny *t, int layer, const char *part)
{
	char name[64];
	snprintf(name, sizeof(name), "blk.%d.%s", layer, part);
	return data_of(t, name);
}

static bool read_tensor(void *ctx, const struct state_tensor *s, struct buf *out, struct err *e)
{
	(void)e;
	*out = (struct buf){data_of(ctx, s->name), s->bytes};
	return true;
}

static void add_block(struct tiny *t, struct rng *r, int layer)
{
	static const struct {
		const char *name;
		size_t rows, cols;
	} part[] = {{"attn.norm", D, 0}, {"attn.q", H * HD, D}, {"attn.k", K * HD, D}, {"attn.v", K * HD, D},
		{"attn.o", D, H * HD}, {"mlp.norm", D, 0}, {"mlp.gate", F, D}, {"mlp.up", F, D}, {"mlp.down", D, F}};
	char name[64];
	for (size_t i = 0; i < NELEM(part); i++) {
		snprintf(name, sizeof(name), "blk.%d.%s", layer, part[i].name);
		add_tensor(t, r, name, part[i].rows, part[i].cols);
	}
}

/* Rows of text, or prompts with three answers; lengths differ. */
static void add_tokens(struct tiny *t, struct rng *r, bool choices)
{
	struct token_record *record = arena_array(&t->a, struct token_record, NRECORD);
	uint32_t *answer = arena_array(&t->a, uint32_t, 3 * NRECORD), *token = arena_array(&t->a, uint32_t, 32 * NRECORD);
	struct token_table *table = &t->tokens;
	*table = (struct token_table){.nrecord = NRECORD, .record = record, .answer_tokens = answer, .token = token};
	for (uint32_t i = 0; i < NRECORD; i++) {
		record[i] = (struct token_record){.token_at = table->ntoken, .answer_at = table->nanswer,
			.prompt_tokens = 3 + i % 2, .nanswer = choices ? 3 : 1, .gold = choices ? (int32_t)(i % 3) : 0,
			.nparts = 1};
		record[i].total_tokens = record[i].prompt_tokens;
		for (uint32_t k = 0; k < record[i].nanswer; k++, table->nanswer++) {
			answer[table->nanswer] = 1 + (i + k) % 4;
			record[i].total_tokens += answer[table->nanswer];
		}
		for (uint32_t k = 0; k < record[i].total_tokens; k++)
			token[table->ntoken++] = (uint32_t)rng_below(r, V);
		record[i].digest = digest_of(token + record[i].token_at, record[i].total_tokens * sizeof(*token));
	}
}

static bool has_attn[] = {true, true, true}, has_mlp[] = {true, false, true};

static void tiny_init(struct tiny *t, bool choices)
{
	struct rng r;
	rng_init(&r, 11);
	*t = (struct tiny){.state = {.config = {.arch = &arch_llama, .layers = LAYERS, .width = D, .ffn = F, .heads = H,
		.kv_heads = K, .head_dim = HD, .vocab = V, .context = CONTEXT, .rms_eps = 1e-5f, .rope_theta = 10000,
		.tied = true}, .has_attn = has_attn, .has_mlp = has_mlp}};
	add_tensor(t, &r, "embed", V, D);
	for (int i = 0; i < LAYERS; i++)
		add_block(t, &r, i);
	add_tensor(t, &r, "norm", D, 0);
	add_tokens(t, &r, choices);
}

/* ---- the model in doubles, one sequence ---- */

enum { MOST = 16 };
struct stream {
	double x[2 * LAYERS + 1][MOST][D]; /* before each half, and behind the last */
};

static void product(const float *w, const double *x, double *y, int rows, int cols)
{
	for (int i = 0; i < rows; i++) {
		y[i] = 0;
		for (int k = 0; k < cols; k++)
			y[i] += (double)w[i * cols + k] * x[k];
	}
}

static void rms_norm(const float *w, const double *x, double *y)
{
	double sum = 0;
	for (int i = 0; i < D; i++)
		sum += x[i] * x[i];
	for (int i = 0; i < D; i++)
		y[i] = x[i] / sqrt(sum / D + 1e-5) * (double)w[i];
}

static void rotate(double *x, int heads, int position)
{
	for (int h = 0; h < heads; h++)
		for (int i = 0; i < HD / 2; i++) {
			double angle = position * pow(10000, -2.0 * i / HD), *p = x + h * HD;
			double a = p[i] * cos(angle) - p[i + HD / 2] * sin(angle);
			p[i + HD / 2] = p[i + HD / 2] * cos(angle) + p[i] * sin(angle);
			p[i] = a;
		}
}

static void plain_attention(const struct tiny *t, int layer, double (*x)[D], double (*y)[D], int n)
{
	double q[MOST][H * HD], k[MOST][K * HD], v[MOST][K * HD];
	for (int i = 0; i < n; i++) {
		double h[D], o[H * HD] = {0};
		rms_norm(block_data(t, layer, "attn.norm"), x[i], h);
		product(block_data(t, layer, "attn.q"), h, q[i], H * HD, D);
		product(block_data(t, layer, "attn.k"), h, k[i], K * HD, D);
		product(block_data(t, layer, "attn.v"), h, v[i], K * HD, D);
		rotate(q[i], H, i);
		rotate(k[i], K, i);
		for (int head = 0; head < H; head++) {
			int kv = head / (H / K);
			double p[MOST], sum = 0;
			for (int s = 0; s <= i; s++) {
				double dot = 0;
				for (int c = 0; c < HD; c++)
					dot += q[i][head * HD + c] * k[s][kv * HD + c];
				sum += p[s] = exp(dot / sqrt(HD));
			}
			for (int s = 0; s <= i; s++)
				for (int c = 0; c < HD; c++)
					o[head * HD + c] += p[s] / sum * v[s][kv * HD + c];
		}
		product(block_data(t, layer, "attn.o"), o, y[i], D, H * HD);
		for (int c = 0; c < D; c++)
			y[i][c] += x[i][c];
	}
}

static void plain_mlp(const struct tiny *t, int layer, double (*x)[D], double (*y)[D], int n)
{
	for (int i = 0; i < n; i++) {
		double h[D], gate[F], up[F];
		rms_norm(block_data(t, layer, "mlp.norm"), x[i], h);
		product(block_data(t, layer, "mlp.gate"), h, gate, F, D);
		product(block_data(t, layer, "mlp.up"), h, up, F, D);
		for (int k = 0; k < F; k++)
			gate[k] *= up[k] / (1 + exp(-gate[k]));
		product(block_data(t, layer, "mlp.down"), gate, y[i], D, F);
		for (int c = 0; c < D; c++)
			y[i][c] += x[i][c];
	}
}

/* gone: a unit that is left out as well, or NULL. */
static void plain_run(const struct tiny *t, const struct candidate *gone, const uint32_t *token, int n, struct stream *s)
{
	for (int i = 0; i < n; i++)
		for (int c = 0; c < D; c++)
			s->x[0][i][c] = (double)data_of(t, "embed")[token[i] * D + (uint32_t)c];
	for (int h = 0; h < 2 * LAYERS; h++) {
		bool there = (h % 2 ? has_mlp : has_attn)[h / 2];
		for (size_t k = 0; gone && k < gone->nhalf; k++)
			there = there && !(gone->half[k].layer == h / 2 && (gone->half[k].kind == UNIT_MLP) == h % 2);
		if (!there)
			memcpy(s->x[h + 1], s->x[h], sizeof(s->x[h]));
		else if (h % 2)
			plain_mlp(t, h / 2, s->x[h], s->x[h + 1], n);
		else
			plain_attention(t, h / 2, s->x[h], s->x[h + 1], n);
	}
}

/* Prompt and answer a of a record as one sequence; returns how many tokens. */
static int sequence(const struct tiny *t, uint64_t record, uint32_t a, uint32_t *token)
{
	struct token_row r = token_table_row(&t->tokens, record);
	memcpy(token, r.token, r.prompt_tokens * sizeof(*token));
	memcpy(token + r.prompt_tokens, r.token + token_row_answer_at(&r, a), r.answer_tokens[a] * sizeof(*token));
	return (int)(r.prompt_tokens + r.answer_tokens[a]);
}

static double plain_nll(const struct tiny *t, const struct candidate *gone, uint64_t record, uint32_t a)
{
	struct token_row r = token_table_row(&t->tokens, record);
	struct stream s;
	uint32_t token[MOST];
	int n = sequence(t, record, a, token);
	double nll = 0;
	plain_run(t, gone, token, n, &s);
	for (int i = (int)r.prompt_tokens; i < n; i++) {
		double h[D], logit[V], sum = 0;
		rms_norm(data_of(t, "norm"), s.x[2 * LAYERS][i - 1], h);
		product(data_of(t, "embed"), h, logit, V, D);
		for (int k = 0; k < V; k++)
			sum += exp(logit[k]);
		nll += log(sum) - logit[token[i]];
	}
	return nll;
}

/* ---- the methods ---- */

static struct score scoring(struct tiny *t, struct arena *a, int nthreads, int64_t batch_rows)
{
	struct score s = {.a = a, .state = t->state, .weights = {&t->state, read_tensor, t}, .tokens = t->tokens,
		.nrecord = NRECORD, .record = arena_array(a, uint64_t, NRECORD), .nthreads = nthreads,
		.batch_rows = batch_rows};
	for (size_t i = 0; i < NRECORD; i++)
		s.record[i] = i;
	return s;
}

static void list(struct tiny *t, struct score *s, size_t run)
{
	s->candidate = run ? candidate_blocks(s->a, &t->state, run, &s->n) : candidate_halves(s->a, &t->state, &s->n);
}

/* (1 + n) x SCORE_COLUMNS values: the state's own, then each candidate's. */
static double *measure(struct score *s, const char *method)
{
	const struct score_method *m = score_method_find(method, NULL);
	double *value = arena_array(s->a, double, (1 + s->n) * SCORE_COLUMNS);
	struct err e = {0};
	if (m->measure) {
		struct scores out = {.unit = arena_array(s->a, struct unit_score, s->n), .nunit = s->n};
		if (!m->measure(s, &out, &e))
			FAIL("%s: %s", method, e.msg);
		memcpy(value, out.base, sizeof(out.base));
		for (size_t i = 0; i < s->n; i++)
			memcpy(value + (1 + i) * SCORE_COLUMNS, out.unit[i].value, sizeof(out.unit[i].value));
		return value;
	}
	double *sum = arena_array(s->a, double, (1 + s->n) * (size_t)m->sums->ncell);
	void *work;
	if (!m->sums->open(s, &work, &e))
		FAIL("%s: %s", method, e.msg);
	for (size_t i = 0, n; i < s->nrecord; i += n) {
		double *line[NRECORD];
		n = m->sums->batch(work, s->record + i, s->nrecord - i);
		for (size_t k = 0; k < n; k++)
			line[k] = arena_array(s->a, double, (1 + s->n) * (size_t)m->sums->ncell);
		CHECK(m->sums->run(work, s->record + i, n, line, &e));
		for (size_t k = 0; k < n; k++)
			for (size_t c = 0; c < (1 + s->n) * (size_t)m->sums->ncell; c++)
				sum[c] += line[k][c];
	}
	m->sums->release(work);
	for (size_t i = 0; i <= s->n; i++)
		m->sums->values(sum + i * (size_t)m->sums->ncell, s->nrecord, value + i * SCORE_COLUMNS);
	return value;
}

static void check_near(const char *what, const char *unit, double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
		FAIL("%s of %s: %.12g, want %.12g", what, unit, got, want);
}

/* Loss and accuracy without each unit; a block's are those of the model without both halves, and not a sum. */
TEST(scan_measures_the_loss_without_a_unit)
{
	for (size_t run = 0; run < 4; run++) {
		struct tiny t;
		struct arena a = {0};
		tiny_init(&t, run % 2);
		struct score s = scoring(&t, &a, 2, 20);
		list(&t, &s, run / 2);
		CHECK_INT(s.n, run / 2 ? LAYERS : 2 * LAYERS - 1);
		double *value = measure(&s, "scan");
		for (size_t i = 0; i <= s.n; i++) {
			const struct candidate *gone = i ? &s.candidate[i - 1] : NULL;
			double sum = 0, tokens = 0, correct = 0;
			for (uint64_t r = 0; r < NRECORD; r++) {
				struct token_row row = token_table_row(&t.tokens, r);
				double gold = plain_nll(&t, gone, r, (uint32_t)row.gold);
				bool best = true;
				for (uint32_t k = 0; k < row.nanswer; k++)
					best = best && plain_nll(&t, gone, r, k) >= gold;
				sum += gold;
				tokens += row.answer_tokens[row.gold];
				correct += best;
			}
			const char *name = gone ? gone->name : "nothing";
			check_near("nll", name, value[i * SCORE_COLUMNS], sum / tokens, 1e-5);
			if (run % 2)
				check_near("accuracy", name, value[i * SCORE_COLUMNS + 1], correct / NRECORD, 1e-12);
			else
				CHECK(isnan(value[i * SCORE_COLUMNS + 1]));
		}
		arena_release(&a);
		arena_release(&t.a);
	}
}

/* Means over tokens of 1 - cos, and over records of the last token's angle, from the residual streams. */
static void plain_change(const struct tiny *t, const struct candidate *c, double *influence, double *angle, double *norm)
{
	double distance = 0, angles = 0, norm2 = 0, rows = 0;
	size_t first = 2 * (size_t)c->half[0].layer + (c->half[0].kind == UNIT_MLP);
	size_t last = 2 * (size_t)c->half[c->nhalf - 1].layer + (c->half[c->nhalf - 1].kind == UNIT_MLP);
	for (uint64_t r = 0; r < NRECORD; r++) {
		struct token_row row = token_table_row(&t->tokens, r);
		struct stream s;
		uint32_t token[MOST];
		int n = sequence(t, r, 0, token) - 1; /* the last token predicts nothing */
		double cosine = 0;
		if (row.nanswer > 1)
			n = (int)row.prompt_tokens;
		plain_run(t, NULL, token, n, &s);
		for (int i = 0; i < n; i++) {
			double xy = 0, xx = 0, yy = 0, *x = s.x[first][i], *y = s.x[last + 1][i];
			for (int k = 0; k < D; k++) {
				xy += x[k] * y[k];
				xx += x[k] * x[k];
				yy += y[k] * y[k];
				norm2 += (y[k] - x[k]) * (y[k] - x[k]);
			}
			cosine = xy / sqrt(xx * yy);
			distance += 1 - cosine;
			rows++;
		}
		angles += acos(cosine) / 3.14159265358979323846;
	}
	*influence = distance / rows;
	*angle = angles / NRECORD;
	*norm = sqrt(norm2);
}

TEST(influence_cosine_and_angle_are_those_of_the_streams)
{
	static const char *const methods[] = {"cosine", "block-influence", "angular", "angular"};
	for (size_t m = 0; m < 2 * NELEM(methods); m++) {
		struct tiny t;
		struct arena a = {0};
		double influence, angle, norm;
		const char *method = methods[m / 2];
		tiny_init(&t, m % 2);
		struct score s = scoring(&t, &a, 1, 20);
		list(&t, &s, m / 2 == 3 ? 2 : m / 2 ? 1 : 0);
		double *value = measure(&s, method);
		for (size_t i = 0; i < s.n; i++) {
			plain_change(&t, &s.candidate[i], &influence, &angle, &norm);
			double want = !strcmp(method, "cosine") ? 1 - influence : !strcmp(method, "angular") ? angle : influence;
			check_near(method, s.candidate[i].name, value[(1 + i) * SCORE_COLUMNS], want, 2e-6);
			check_near("norm", s.candidate[i].name, value[(1 + i) * SCORE_COLUMNS + 1], norm, 1e-5);
		}
		arena_release(&a);
		arena_release(&t.a);
	}
}

/* Exactly: not 1 less a rounding. */
TEST(a_half_that_adds_nothing_has_cosine_1)
{
	struct tiny t;
	struct arena a = {0};
	tiny_init(&t, false);
	memset(block_data(&t, 1, "attn.o"), 0, D * H * HD * sizeof(float));
	memset(block_data(&t, 2, "mlp.down"), 0, D * F * sizeof(float));
	struct score s = scoring(&t, &a, 1, 20);
	list(&t, &s, 0);
	double *value = measure(&s, "cosine");
	for (size_t i = 0; i < s.n; i++) {
		bool idle = !strcmp(s.candidate[i].name, "blk.1.attn") || !strcmp(s.candidate[i].name, "blk.2.mlp");
		CHECK((value[(1 + i) * SCORE_COLUMNS] == 1) == idle);
	}
	list(&t, &s, 1); /* block 1 has but that half */
	value = measure(&s, "angular");
	CHECK(value[SCORE_COLUMNS] > 0 && value[2 * SCORE_COLUMNS] == 0 && value[3 * SCORE_COLUMNS] > 0);
	arena_release(&a);
	arena_release(&t.a);
}

static double mean_loss(const struct tiny *t)
{
	double sum = 0, tokens = 0;
	for (uint64_t r = 0; r < NRECORD; r++) {
		struct token_row row = token_table_row(&t->tokens, r);
		sum += plain_nll(t, NULL, r, (uint32_t)row.gold);
		tokens += row.answer_tokens[row.gold];
	}
	return sum / tokens;
}

static bool is_of(const struct candidate *c, const char *tensor)
{
	struct unit u;
	for (size_t i = 0; unit_of_tensor(tensor, &u) && i < c->nhalf; i++)
		if (u.kind == c->half[i].kind && u.layer == c->half[i].layer)
			return true;
	return false;
}

/* The sum over the matrices of a unit of |w| times: 1, or the loss' central difference. */
static double plain_sum(struct tiny *t, const struct candidate *c, bool gradient)
{
	double sum = 0;
	for (size_t i = 0; i < t->state.ntensor; i++) {
		const struct state_tensor *s = &t->state.tensor[i];
		for (size_t k = 0; s->ndim == 2 && is_of(c, s->name) && k < s->bytes / sizeof(float); k++) {
			float *w = &t->data[i][k], old = *w;
			double slope = 1;
			if (gradient) {
				*w = old + 1e-3f;
				double up = mean_loss(t), above = (double)*w;
				*w = old - 1e-3f;
				slope = (up - mean_loss(t)) / (above - (double)*w);
				*w = old;
			}
			sum += fabs((double)old * slope);
		}
	}
	return sum;
}

TEST(taylor_and_magnitude_are_sums_over_the_weights)
{
	for (size_t run = 0; run < 2; run++) {
		struct tiny t;
		struct arena a = {0};
		tiny_init(&t, run);
		struct score s = scoring(&t, &a, 2, 20);
		list(&t, &s, run);
		double *taylor = measure(&s, "taylor"), *magnitude = measure(&s, "magnitude");
		check_near("loss", "nothing", taylor[1], mean_loss(&t), 1e-5);
		for (size_t i = 0; i < s.n; i += run ? 1 : 2) {
			const char *name = s.candidate[i].name;
			check_near("taylor", name, taylor[(1 + i) * SCORE_COLUMNS], plain_sum(&t, &s.candidate[i], true), 1e-4);
			check_near("magnitude", name, magnitude[(1 + i) * SCORE_COLUMNS],
				plain_sum(&t, &s.candidate[i], false), 1e-6);
		}
		arena_release(&a);
		arena_release(&t.a);
	}
}

/* Of every method, in both classes: whatever the threads, and for sums whatever the batch. */
TEST(scores_have_the_same_bits_for_any_threads)
{
	static const struct {
		const char *method;
		size_t run;
	} row[] = {{"scan", 0}, {"scan", 1}, {"cosine", 0}, {"block-influence", 1}, {"angular", 2}, {"taylor", 0},
		{"magnitude", 0}};
	for (size_t k = 0; k < 2 * NELEM(row); k++) {
		struct tiny t;
		struct arena a = {0};
		tiny_init(&t, true);
		double *first = NULL;
		for (int threads = 1; threads <= 3; threads++) {
			const struct score_method *m = score_method_find(row[k / 2].method, NULL);
			struct score s = scoring(&t, &a, threads, m->sums && threads > 1 ? 80 : 16);
			s.numerics = k % 2 ? NUMERICS_BF16 : NUMERICS_F32;
			list(&t, &s, row[k / 2].run);
			double *value = measure(&s, row[k / 2].method);
			if (!first)
				first = value;
			if (memcmp(first, value, (1 + s.n) * SCORE_COLUMNS * sizeof(*value)))
				FAIL("%s, class %s: %d threads give other bits", row[k / 2].method,
					numerics_classes[s.numerics].name, threads);
		}
		arena_release(&a);
		arena_release(&t.a);
	}
}

/* ---- units and tables ---- */

/* Neighbours among the blocks that are left, each with the halves that it has. */
TEST(runs_are_neighbours_among_the_blocks_that_are_left)
{
	struct arena a = {0};
	bool attn[] = {true, false, false, true, true}, mlp[] = {true, true, false, false, true};
	struct state s = {.config = {.layers = 5}, .has_attn = attn, .has_mlp = mlp};
	static const char *const want[] = {"blk.0 blk.1 blk.3 blk.4 ", "blk.0+blk.1 blk.1+blk.3 blk.3+blk.4 ",
		"blk.0+blk.1+blk.3 blk.1+blk.3+blk.4 ", "blk.0+blk.1+blk.3+blk.4 ", ""};
	for (size_t run = 1; run <= 5; run++) {
		size_t n, halves = 0;
		struct candidate *c = candidate_blocks(&a, &s, run, &n), found;
		const char *names = "";
		struct err e;
		for (size_t i = 0; i < n; i++) {
			names = arena_printf(&a, "%s%s ", names, c[i].name);
			CHECK_INT(c[i].nunit, run);
			REQUIRE(candidate_find(&a, &s, c[i].name, &found, &e));
			CHECK(found.nhalf == c[i].nhalf && found.nunit == run &&
				!memcmp(found.half, c[i].half, found.nhalf * sizeof(*found.half)));
			halves += c[i].nhalf;
		}
		CHECK_STR(names, want[run - 1]);
		CHECK(run != 1 || halves == 6);
	}
	arena_release(&a);
}

TEST(units_that_are_gone_are_no_candidates)
{
	struct arena a = {0};
	bool attn[] = {true, false, false}, mlp[] = {true, true, false};
	struct state s = {.config = {.layers = 3}, .has_attn = attn, .has_mlp = mlp};
	static const struct {
		const char *name;
		int halves; /* 0: gone, -1: no name */
	} row[] = {{"blk.0", 2}, {"blk.1", 1}, {"blk.2", 0}, {"blk.1.mlp", 1}, {"blk.1.attn", 0}, {"blk.0+blk.1", 3},
		{"blk.1+blk.2", 0}, {"blk.3", -1}, {"blk.0.ffn", -1}, {"blk", -1}, {"", -1}, {"blk.0+", -1}, {"blk.-1", -1},
		{"blk.0x", -1}};
	for (size_t i = 0; i < NELEM(row); i++) {
		struct candidate c;
		struct err e = {0};
		bool found = candidate_find(&a, &s, row[i].name, &c, &e);
		CHECK_INT(found, row[i].halves > 0);
		CHECK_INT(c.name != NULL, row[i].halves >= 0);
		CHECK(c.name ? !e.msg[0] : e.kind == ERR_IO);
		CHECK(!found || (int)c.nhalf == row[i].halves);
	}
	arena_release(&a);
}

TEST(halves_leave_as_the_unit_that_was_chosen)
{
	struct unit half[] = {{UNIT_ATTN, 1}, {UNIT_MLP, 1}, {UNIT_MLP, 12}};
	static const struct {
		const char *unit;
		int n, as[3]; /* of the first n halves, which left as that unit */
	} row[] = {{"blk.1", 2, {1, 1, 0}}, {"blk.1.attn", 2, {1, 0, 0}}, {"blk.12", 3, {0, 0, 1}}, {"blk.2", 3, {0, 0, 0}},
		{"blk.1+blk.12", 3, {1, 1, 1}}, {"blk.1+blk.12", 2, {0, 0, 0}}, {"blk.0+blk.1", 3, {0, 0, 0}}};
	for (size_t i = 0; i < NELEM(row); i++)
		for (int k = 0; k < row[i].n; k++)
			CHECK_INT(unit_left_as(row[i].unit, half, (size_t)row[i].n, (size_t)k), row[i].as[k]);
}

TEST(tables_read_back_what_was_written)
{
	struct arena a = {0};
	struct strbuf text, again;
	struct err e;
	struct unit_score unit[] = {{"blk.0.attn", {1.0 / 3, NAN, HUGE_VAL}}, {"blk.0+blk.1", {-0.0, 5e-324, 1e300}}};
	struct scores s = {.method = "scan", .column = {"nll", "accuracy", "norm"}, .ncolumn = 3,
		.base = {2.5, NAN, NAN}, .unit = unit, .nunit = NELEM(unit)}, back;
	strbuf_init(&text);
	strbuf_init(&again);
	scores_write(&text, &s);
	CHECK_STR(text.s, "trim-scores 2\nmethod scan\ncolumns nll accuracy norm\nbase 2.5 - -\n"
		"unit blk.0.attn 0.33333333333333331 - inf\nunit blk.0+blk.1 -0 4.9406564584124654e-324 1.0000000000000001e+300\n");
	REQUIRE(scores_read(&a, strbuf_buf(&text), &back, &e));
	scores_write(&again, &back);
	CHECK_STR(again.s, text.s);
	CHECK(scores_find(&back, "blk.0+blk.1") == &back.unit[1] && !scores_find(&back, "blk.0"));
	CHECK_STR(score_method_rank(&back), "nll"); /* accuracy is not known */
	back.unit[0].value[1] = 0.5;
	CHECK_STR(score_method_rank(&back), "-accuracy");
	/* A line that lacks something, at every byte. */
	for (size_t n = 0; n < text.n; n++) {
		bool whole = text.s[n] == '\n' || (n && text.s[n - 1] == '\n');
		bool ok = scores_read(&a, (struct buf){text.s, n}, &back, &e);
		CHECK(ok || e.kind == ERR_IO);
		CHECK(!whole || ok == (n > strlen("trim-scores 2\nmethod scan\ncolumns nll accuracy norm\n")));
	}
	strbuf_release(&text);
	strbuf_release(&again);
	arena_release(&a);
}

/* What can be written in a spec has code, and columns that fit. */
TEST(every_method_measures_what_ranks)
{
	static const char *const name[] = {"scan", "perplexity", "block-influence", "angular", "cosine", "taylor",
		"magnitude", "random", "last", "given"};
	for (size_t i = 0; i < NELEM(name); i++) {
		const struct score_method *m = score_method_find(name[i], NULL);
		REQUIRE(m);
		CHECK(!m->sums != !m->measure);
		for (int k = 0; m->rank[k]; k++) {
			struct scores s = {0};
			while (s.ncolumn < SCORE_COLUMNS && m->column[s.ncolumn]) {
				s.column[s.ncolumn] = m->column[s.ncolumn];
				s.ncolumn++;
			}
			CHECK(scores_column(&s, m->rank[k] + (m->rank[k][0] == '-')) >= 0);
		}
		CHECK(m->rank[0]);
	}
	CHECK(!score_method_find("norm", NULL));
}
