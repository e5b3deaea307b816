/*
 * A cuBLASLt without a device, for tests of what asks for products (compiler/emit/cublaslt.c): matrices lie in the process's
 * memory, columns one behind the other as the real one has them, sums are f32 in order of k. It refuses what the real one
 * refuses: sizes that do not fit, strides below a column, addresses that are not aligned as was promised.
 * TRIM_FAKE_CUBLASLT: its version.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK, INVALID_VALUE = 7 };
enum { REAL_F32 = 0, REAL_BF16 = 14, COMPUTE_F32 = 68, DESC_TRANSPOSES_A = 3, DESC_TRANSPOSES_B = 4, WORKSPACE = 1, ALIGNMENT_A = 5 };

struct desc {
	int32_t turned[2];
};
struct layout {
	int type;
	uint64_t rows, columns;
	int64_t stride;
};
struct preference {
	uint64_t workspace;
	uint32_t alignment[4];
};
struct algorithm {
	uint64_t data[8];
};
struct heuristic {
	struct algorithm algorithm;
	size_t workspace_bytes;
	int state;
	float waves;
	int reserved[4];
};

size_t cublasLtGetVersion(void)
{
	const char *s = getenv("TRIM_FAKE_CUBLASLT");
	return s ? (size_t)atoi(s) : 990000;
}
int cublasLtCreate(void **h) { *h = malloc(1); return OK; }
int cublasLtDestroy(void *h) { free(h); return OK; }

int cublasLtMatmulDescCreate(struct desc **d, int compute, int scale)
{
	*d = calloc(1, sizeof(**d));
	return compute == COMPUTE_F32 && scale == REAL_F32 ? OK : INVALID_VALUE;
}
int cublasLtMatmulDescSetAttribute(struct desc *d, int attribute, const void *value, size_t bytes)
{
	if (bytes != sizeof(int32_t) || (attribute != DESC_TRANSPOSES_A && attribute != DESC_TRANSPOSES_B))
		return INVALID_VALUE;
	memcpy(&d->turned[attribute - DESC_TRANSPOSES_A], value, bytes);
	return OK;
}
int cublasLtMatmulDescDestroy(struct desc *d) { free(d); return OK; }

int cublasLtMatrixLayoutCreate(struct layout **l, int type, uint64_t rows, uint64_t columns, int64_t stride)
{
	*l = malloc(sizeof(**l));
	**l = (struct layout){type, rows, columns, stride};
	return (type == REAL_F32 || type == REAL_BF16) && stride >= (int64_t)rows ? OK : INVALID_VALUE;
}
int cublasLtMatrixLayoutDestroy(struct layout *l) { free(l); return OK; }

int cublasLtMatmulPreferenceCreate(struct preference **p)
{
	*p = malloc(sizeof(**p));
	**p = (struct preference){0, {256, 256, 256, 256}};
	return OK;
}
int cublasLtMatmulPreferenceSetAttribute(struct preference *p, int attribute, const void *value, size_t bytes)
{
	if (attribute == WORKSPACE && bytes == sizeof(p->workspace))
		memcpy(&p->workspace, value, bytes);
	else if (attribute >= ALIGNMENT_A && attribute < ALIGNMENT_A + 4 && bytes == sizeof(uint32_t))
		memcpy(&p->alignment[attribute - ALIGNMENT_A], value, bytes);
	else
		return INVALID_VALUE;
	return OK;
}
int cublasLtMatmulPreferenceDestroy(struct preference *p) { free(p); return OK; }

static uint64_t size_of(const struct layout *l, int turned, int which)
{
	return (which ^ turned) ? l->columns : l->rows;
}

int cublasLtMatmulAlgoGetHeuristic(void *h, struct desc *d, struct layout *a, struct layout *b, struct layout *c, struct layout *to,
	struct preference *p, int most, struct heuristic *out, int *n)
{
	(void)h;
	*n = 0;
	if (most < 1 || a->type != b->type || to->type != REAL_F32 || c != to || size_of(a, d->turned[0], 0) != to->rows ||
		size_of(b, d->turned[1], 1) != to->columns || size_of(a, d->turned[0], 1) != size_of(b, d->turned[1], 0))
		return INVALID_VALUE;
	*n = 1;
	*out = (struct heuristic){.workspace_bytes = p->workspace};
	for (int i = 0; i < 4; i++)
		out->algorithm.data[i] = p->alignment[i];
	out->algorithm.data[4] = p->workspace;
	return OK;
}

static float element(const struct layout *l, const void *p, int turned, uint64_t row, uint64_t column)
{
	uint64_t at = turned ? row * (uint64_t)l->stride + column : column * (uint64_t)l->stride + row;
	if (l->type == REAL_F32)
		return ((const float *)p)[at];
	uint32_t bits = (uint32_t)((const uint16_t *)p)[at] << 16;
	float x;
	memcpy(&x, &bits, sizeof(x));
	return x;
}

static int misaligned(const void *p, uint64_t bytes)
{
	return (uintptr_t)p % bytes != 0;
}

int cublasLtMatmul(void *h, struct desc *d, const float *alpha, const void *a, struct layout *la, const void *b, struct layout *lb,
	const float *beta, const void *c, struct layout *lc, float *to, struct layout *lto, const struct algorithm *algorithm,
	void *workspace, size_t workspace_bytes, void *stream)
{
	(void)h, (void)stream, (void)c;
	const uint64_t *align = algorithm->data;
	if (*alpha != 1 || *beta != 0 || lc != lto || workspace_bytes < align[4] || !workspace || misaligned(a, align[0]) ||
		misaligned(b, align[1]) || misaligned(to, align[3]))
		return INVALID_VALUE;
	memset(workspace, 0x5a, workspace_bytes);
	for (uint64_t j = 0; j < lto->columns; j++)
		for (uint64_t i = 0; i < lto->rows; i++) {
			float sum = 0;
			for (uint64_t k = 0; k < size_of(la, d->turned[0], 1); k++)
				sum += element(la, a, d->turned[0], i, k) * element(lb, b, d->turned[1], k, j);
			to[j * (uint64_t)lto->stride + i] = sum;
		}
	return OK;
}
