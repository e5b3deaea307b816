/*
 * cuBLASLt, NVIDIA's matrix products, opened at run time: nothing of it is needed to build, and no header. It runs in the
 * context that is current in the calling thread. Which of its kernels multiplies is its own choice, by sizes, device and
 * version, and so are the last bits of what comes out.
 *
 * TRIM_CUBLASLT names a library, else the loader looks for one by the names it has had since CUDA 11.
 */
#ifndef CUBLASLT_H
#define CUBLASLT_H

#include "gpu_driver.h"
#include "ir.h"

/* As the library counts: 130100. 0, with ERR_TOOL: there is none, and where one comes from. Needs no device. */
int cublaslt_version(struct err *e);

/* A handle, and device memory that its kernels may use. */
struct cublaslt {
	struct cublaslt_handle *handle;
	uint64_t workspace, workspace_bytes; /* the caller's */
};
/* ERR_TOOL: no library; ERR_DEVICE: it will not start here. */
bool cublaslt_open(struct cublaslt *l, struct err *e);
void cublaslt_close(struct cublaslt *l); /* zeroed is allowed */

/* d[m][n] = sum over k of a[m][k] * b[n][k], a and b of f32 or bf16, d and all sums f32. Strides are in elements; of a and of b
 * one is 1, of d that of n. */
struct cublaslt_product {
	enum dtype dtype;
	int64_t m, n, k;
	int64_t a_m, a_k, b_n, b_k, d_m;
	uint64_t a, b, d; /* device addresses */
};

/* How a product is made: private, and kept from call to call, since choosing costs more than a small product. */
struct cublaslt_way;
void cublaslt_way_free(struct cublaslt_way *w); /* NULL is allowed */

/* Behind all that the stream has. *way: NULL, or what the last call with it left. */
bool cublaslt_multiply(struct cublaslt *l, const struct cublaslt_product *p, struct cublaslt_way **way, gpu_stream stream,
	struct err *e);

#endif
