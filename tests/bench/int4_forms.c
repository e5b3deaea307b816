/*
 * What int4's ways to choose a block's scale cost, for docs/decisions.md: `.build/int4_forms` prints a table
 * over two real models. Every form has codes -8 to 7 (the first -7 to 7), one f16 scale for 32 weights, so 4.5
 * bits a weight, and runs in the same code; only the packed bytes differ.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "file.h"
#include "stories.h"

/* f16 of x, by trying: the table below is small. */
static uint16_t nearest_half(double x)
{
	uint16_t lo = 0, hi = 0x7bff;
	double size = fabs(x);
	while (hi - lo > 1) {
		uint16_t mid = (uint16_t)((lo + hi) / 2);
		if ((double)f16_value(mid) <= size)
			lo = mid;
		else
			hi = mid;
	}
	uint16_t half = size - (double)f16_value(lo) <= (double)f16_value(hi) - size ? lo : hi;
	return half | (x < 0 ? 0x8000 : 0);
}

static double code_of(double w, double scale)
{
	double q = scale != 0 ? rint(w / scale) : 0;
	return q > 7 ? 7 : q < -8 ? -8 : q;
}

/* Least squares for the codes that `scale` gives. */
static double fitted(const double *w, int n, double scale, bool weighted)
{
	double wq = 0, qq = 0;
	for (int i = 0; i < n; i++) {
		double q = code_of(w[i], scale), g = weighted ? w[i] * w[i] : 1;
		wq += g * w[i] * q;
		qq += g * q * q;
	}
	return qq > 0 ? wq / qq : 0;
}

static double largest(const double *w, int n)
{
	double most = 0;
	for (int i = 0; i < n; i++)
		most = fabs(w[i]) > fabs(most) ? w[i] : most;
	return most;
}

static double search(const double *w, int n, bool weighted)
{
	double best = 0, least = INFINITY, most = largest(w, n);
	for (int i = -32; i <= 32; i++) {
		double end = (i < 0 ? -5.5 : 5.5) + i * 0.125, error = 0, scale = fitted(w, n, most / end, weighted);
		for (int k = 0; k < n; k++)
			error += pow(w[k] - code_of(w[k], scale) * scale, 2) * (weighted ? w[k] * w[k] : 1);
		if (error < least) {
			least = error;
			best = scale;
		}
	}
	return best;
}

static double form_absmax(const double *w, int n)
{
	return fabs(largest(w, n)) / 7;
}

static double form_signed(const double *w, int n)
{
	return largest(w, n) / -8;
}

static double form_fitted(const double *w, int n)
{
	return fitted(w, n, largest(w, n) / -8, false);
}

static double form_search(const double *w, int n)
{
	return search(w, n, false);
}

static double form_weighted(const double *w, int n)
{
	return search(w, n, true);
}

typedef double form_fn(const double *w, int n);

/* Packs every q4 weight of the plan anew, by its layout. */
static void repack(void *ctx, const struct graph *g, const struct model *m, struct packed *p)
{
	form_fn *form = *(form_fn **)ctx;
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		const struct model_tensor *t = n->op == OP_PARAM && n->type.dtype == DT_Q4 ? model_find(m, n->name) : NULL;
		if (!t || t->dtype != MODEL_F32)
			continue;
		uint8_t *to = (uint8_t *)(uintptr_t)packed_find(p, n->name).p;
		int64_t index[IR_MAX_AXES] = {0}, inner = 1, total = 1;
		for (int a = 0; a < n->type.naxis; a++) {
			total *= g->axis[n->type.axis[a]].extent;
			inner *= a < n->type.outer ? 1 : g->axis[n->type.axis[a]].extent;
		}
		double w[Q_BLOCK], scale = 0;
		uint16_t half = 0;
		for (int64_t k = 0; k < total; k++) {
			int64_t left = inner - k % inner;
			int size = (int)(left < Q_BLOCK ? left : Q_BLOCK);
			if (k % inner % Q_BLOCK == 0) {
				for (int j = 0; j < size; j++) {
					float f;
					memcpy(&f, t->data + 4 * (k + j), 4);
					w[j] = f;
				}
				half = nearest_half(form(w, size) / 16);
				scale = (double)f16_value(half) * 16;
			}
			struct block_place at = block_place(g, &n->type, n->layout, index);
			int code = (int)code_of(w[k % inner % Q_BLOCK], scale) + 8;
			to[at.value] = (uint8_t)((to[at.value] & (0xf0 >> at.shift)) | code << at.shift);
			memcpy(to + at.scale, &half, 2);
			for (int a = n->type.naxis - 1; a >= 0 && ++index[a] == g->axis[n->type.axis[a]].extent; a--)
				index[a] = 0;
		}
	}
}

TEST(int4_forms)
{
	static const char *const models[] = {"babyllama105", "stories260K/hf"};
	static const struct {
		const char *name;
		form_fn *form; /* NULL: as trim packs it */
		enum numerics numerics;
		double bits;
	} rows[] = {
		{"f32", NULL, NUMERICS_F32, 32},
		{"int8", NULL, NUMERICS_INT8, 8.5},
		{"int4, largest size is 7", form_absmax, NUMERICS_INT4, 4.5},
		{"int4, largest weight is -8", form_signed, NUMERICS_INT4, 4.5},
		{"int4, the same, scale fitted to the codes", form_fitted, NUMERICS_INT4, 4.5},
		{"int4, best of 65 such", form_search, NUMERICS_INT4, 4.5},
		{"int4, the same, errors weighted by the weight's square", form_weighted, NUMERICS_INT4, 4.5},
		{"int4, best of 8 (trim)", NULL, NUMERICS_INT4, 4.5},
		{"int4, the same, head int8", NULL, NUMERICS_INT4_HEAD_INT8, 4.5},
	};
	const char *data = test_data();
	char path[512];
	struct strbuf text;
	if (!stories_text(&text))
		return;
	printf("| | bits a weight | nats a token, %s | %s |\n|---|---|---|---|\n", models[0], models[1]);
	for (size_t i = 0; i < NELEM(rows); i++) {
		form_fn *form = rows[i].form;
		printf("| %s | %g |", rows[i].name, rows[i].bits);
		for (size_t k = 0; k < NELEM(models); k++) {
			snprintf(path, sizeof(path), "%s/models/%s", data, models[k]);
			struct setting s = {.path = path, .target = target_native(), .numerics = rows[i].numerics,
				.nthreads = 2, .rows = 256, .gone = -1, .repack = form ? repack : NULL, .ctx = &form};
			printf(" %.4f |", stories_nll(&s, &text, 1000000));
		}
		printf("\n");
	}
	strbuf_release(&text);
}
