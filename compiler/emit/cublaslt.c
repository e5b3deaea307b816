#include "cublaslt.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"

/* Of cublasLt.h, cublas_api.h and library_types.h: handles, and the numbers of what is set. 0 is success. */
enum { REAL_F32 = 0, REAL_BF16 = 14, COMPUTE_F32 = 68, TRANSPOSED = 1 };
enum { DESC_TRANSPOSES_A = 3, DESC_TRANSPOSES_B = 4 };
enum { PREFER_WORKSPACE_BYTES = 1, PREFER_ALIGNMENT_A = 5, PREFER_ALIGNMENT_B, PREFER_ALIGNMENT_C, PREFER_ALIGNMENT_D };

typedef struct desc_handle *desc_handle;
typedef struct layout_handle *layout_handle;
typedef struct preference_handle *preference_handle;

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

static struct {
	size_t (*version)(void);
	int (*create)(struct cublaslt_handle **h);
	int (*destroy)(struct cublaslt_handle *h);
	int (*desc_create)(desc_handle *d, int compute, int scale);
	int (*desc_set)(desc_handle d, int attribute, const void *value, size_t bytes);
	int (*desc_destroy)(desc_handle d);
	int (*layout_create)(layout_handle *l, int type, uint64_t rows, uint64_t columns, int64_t stride);
	int (*layout_destroy)(layout_handle l);
	int (*preference_create)(preference_handle *p);
	int (*preference_set)(preference_handle p, int attribute, const void *value, size_t bytes);
	int (*preference_destroy)(preference_handle p);
	int (*choose)(struct cublaslt_handle *h, desc_handle d, layout_handle a, layout_handle b, layout_handle c, layout_handle to,
		preference_handle p, int most, struct heuristic *out, int *n);
	int (*multiply)(struct cublaslt_handle *h, desc_handle d, const void *alpha, const void *a, layout_handle la, const void *b,
		layout_handle lb, const void *beta, const void *c, layout_handle lc, void *to, layout_handle lto,
		const struct algorithm *algorithm, void *workspace, size_t workspace_bytes, gpu_stream stream);
} call;

static const struct library_symbol symbols[] = {
	{"cublasLtGetVersion", &call.version}, {"cublasLtCreate", &call.create},
	{"cublasLtDestroy", &call.destroy}, {"cublasLtMatmulDescCreate", &call.desc_create},
	{"cublasLtMatmulDescSetAttribute", &call.desc_set}, {"cublasLtMatmulDescDestroy", &call.desc_destroy},
	{"cublasLtMatrixLayoutCreate", &call.layout_create}, {"cublasLtMatrixLayoutDestroy", &call.layout_destroy},
	{"cublasLtMatmulPreferenceCreate", &call.preference_create},
	{"cublasLtMatmulPreferenceSetAttribute", &call.preference_set},
	{"cublasLtMatmulPreferenceDestroy", &call.preference_destroy}, {"cublasLtMatmulAlgoGetHeuristic", &call.choose},
	{"cublasLtMatmul", &call.multiply},
};

/* From new to old. */
static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so", NULL};

static const struct library library = {"cuBLASLt", "TRIM_CUBLASLT", names, symbols, NELEM(symbols), "CUDA 11",
	"which math=\"cublaslt\" asks for; install libcublaslt11 of Debian's non-free, 'pip install nvidia-cublas' with TRIM_CUBLASLT set to "
	"its libcublasLt.so, or NVIDIA's libcublas package", NULL};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool tried;
static const char *opened;  /* NULL: it is not there, and `missing` says why */
static struct err missing;

static bool open_library(struct err *e)
{
	pthread_mutex_lock(&lock);
	if (!tried)
		opened = library_open(&library, &missing);
	tried = true;
	pthread_mutex_unlock(&lock);
	if (!opened && e)
		*e = missing;
	return opened;
}

int cublaslt_version(struct err *e)
{
	return open_library(e) ? (int)call.version() : 0;
}

static bool worked(int result, const char *what, struct err *e)
{
	return !result || err_set(e, ERR_DEVICE, "cuBLASLt: %s failed (status %d)", what, result);
}

bool cublaslt_open(struct cublaslt *l, struct err *e)
{
	*l = (struct cublaslt){0};
	return open_library(e) && worked(call.create(&l->handle), "starting", e);
}

void cublaslt_close(struct cublaslt *l)
{
	if (l->handle)
		call.destroy(l->handle);
	*l = (struct cublaslt){0};
}

/* ---- how to make a product ---- */

/* It has columns one behind the other, so what it is asked for is d's transpose: from b, n x k, and a's transpose, k x m. */
struct cublaslt_way {
	struct cublaslt_product of; /* addresses: only the powers of two that they are multiples of */
	desc_handle desc;
	layout_handle a, b, d;
	struct algorithm algorithm;
};

void cublaslt_way_free(struct cublaslt_way *w)
{
	if (!w)
		return;
	if (w->desc)
		call.desc_destroy(w->desc);
	for (layout_handle *l = (layout_handle[]){w->b, w->a, w->d, NULL}; *l; l++)
		call.layout_destroy(*l);
	free(w);
}

static uint64_t alignment(uint64_t address)
{
	enum { MOST = 256 };
	uint64_t lowest = address & (~address + 1);
	return lowest && lowest < MOST ? lowest : MOST;
}

static struct cublaslt_product without_addresses(const struct cublaslt_product *p)
{
	struct cublaslt_product of = *p;
	of.a = alignment(p->a);
	of.b = alignment(p->b);
	of.d = alignment(p->d);
	return of;
}

static bool same(const struct cublaslt_product *p, const struct cublaslt_product *q)
{
	return p->dtype == q->dtype && p->m == q->m && p->n == q->n && p->k == q->k && p->a_m == q->a_m && p->a_k == q->a_k &&
		p->b_n == q->b_n && p->b_k == q->b_k && p->d_m == q->d_m && p->a == q->a && p->b == q->b && p->d == q->d;
}

struct matrix {
	int64_t rows, columns, row_stride, column_stride;
};

/* As it lies, or its transpose; `turns`: which attribute says so, 0: none can. */
static bool describe(struct cublaslt_way *w, const struct matrix *m, int type, int turns, layout_handle *out, struct err *e)
{
	const int32_t turned = m->row_stride == 1 ? 0 : TRANSPOSED;
	int64_t stride = turned ? m->row_stride : m->column_stride, lines = turned ? m->columns : m->rows;
	if (turned && m->column_stride != 1)
		BUG("a product's operand has strides %lld and %lld", (long long)m->row_stride, (long long)m->column_stride);
	/* Of one column alone the stride says nothing, but it is looked at. */
	return worked(call.layout_create(out, type, (uint64_t)lines, (uint64_t)(turned ? m->rows : m->columns), stride < lines ? lines
			: stride), "describing a matrix", e) &&
		(!turns || worked(call.desc_set(w->desc, turns, &turned, sizeof(turned)), "describing a product", e));
}

static bool choose(struct cublaslt *l, struct cublaslt_way *w, struct err *e)
{
	const uint32_t align[] = {(uint32_t)w->of.b, (uint32_t)w->of.a, (uint32_t)w->of.d, (uint32_t)w->of.d};
	struct heuristic best = {0};
	preference_handle p;
	int n = 0;
	if (!worked(call.preference_create(&p), "choosing", e))
		return false;
	int result = call.preference_set(p, PREFER_WORKSPACE_BYTES, &l->workspace_bytes, sizeof(l->workspace_bytes));
	for (int i = 0; i < (int)NELEM(align) && !result; i++)
		result = call.preference_set(p, PREFER_ALIGNMENT_A + i, &align[i], sizeof(align[i]));
	if (!result)
		result = call.choose(l->handle, w->desc, w->b, w->a, w->d, w->d, p, 1, &best, &n);
	call.preference_destroy(p);
	w->algorithm = best.algorithm;
	if (!worked(result, "choosing how to multiply", e))
		return false;
	return n > 0 || err_set(e, ERR_DEVICE, "cuBLASLt: it cannot multiply %lld x %lld x %lld here", (long long)w->of.m,
		(long long)w->of.n, (long long)w->of.k);
}

static bool find_way(struct cublaslt *l, const struct cublaslt_product *p, struct cublaslt_way **way, struct err *e)
{
	struct cublaslt_product of = without_addresses(p);
	if (*way && same(&(*way)->of, &of))
		return true;
	cublaslt_way_free(*way);
	struct cublaslt_way *w = *way = xcalloc(1, sizeof(*w));
	const struct matrix a = {p->k, p->m, p->a_k, p->a_m}, b = {p->n, p->k, p->b_n, p->b_k}, d = {p->n, p->m, 1, p->d_m};
	int type = p->dtype == DT_BF16 ? REAL_BF16 : REAL_F32;
	w->of = of;
	bool ok = worked(call.desc_create(&w->desc, COMPUTE_F32, REAL_F32), "describing a product", e) &&
		describe(w, &b, type, DESC_TRANSPOSES_A, &w->b, e) && describe(w, &a, type, DESC_TRANSPOSES_B, &w->a, e) &&
		describe(w, &d, REAL_F32, 0, &w->d, e) && choose(l, w, e);
	if (!ok) {
		cublaslt_way_free(w);
		*way = NULL;
	}
	return ok;
}

static void *pointer(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

bool cublaslt_multiply(struct cublaslt *l, const struct cublaslt_product *p, struct cublaslt_way **way, gpu_stream stream,
	struct err *e)
{
	const float one = 1, zero = 0;
	if (!p->m || !p->n)
		return true;
	if (!p->k)
		BUG("a product of nothing");
	if (!find_way(l, p, way, e))
		return false;
	const struct cublaslt_way *w = *way;
	return worked(call.multiply(l->handle, w->desc, &one, pointer(p->b), w->b, pointer(p->a), w->a, &zero, pointer(p->d), w->d,
		pointer(p->d), w->d, &w->algorithm, pointer(l->workspace), l->workspace_bytes, stream), "a product", e);
}
