/* Dots of many tokens by wgmma, which sm_90a alone has (WGMMA of the prelude). */
#ifndef CUDA_DOT_WGMMA_H
#define CUDA_DOT_WGMMA_H

#include "cuda_dot.h"

/* Whether all the region's dots can go that way, what shared memory it takes, and code that does what cuda_dot_many's does. */
bool cuda_wgmma_fits(struct cuda_fn *f, const struct cuda_dots *d);
int64_t cuda_wgmma_shared(struct cuda_fn *f, const struct cuda_dots *d);
void cuda_dot_wgmma(struct cuda_fn *f, const struct cuda_dots *d);

/* A form of the instruction: 64 outputs by 16 k, of registers or in rows of one k in shared memory, times 16 k by tokens, along k or in rows of one k
 * there. Returns its function's name, which the source then has. */
const char *cuda_wgmma_call(struct cuda_fn *f, struct cuda_wgmma w);
void cuda_wgmma_function(struct strbuf *out, struct cuda_wgmma w);

#endif
