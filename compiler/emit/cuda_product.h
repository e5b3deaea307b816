/* Dots that a library multiplies (cuda.h): which ones, where their results go, and what is left of their regions to do. */
#ifndef CUDA_PRODUCT_H
#define CUDA_PRODUCT_H

#include "cuda_dot.h"

/* Whether a library makes all dots of the region: one kind of operands makes a region. */
bool cuda_is_product(const struct graph *g, const struct region *r);
/* Whether it stores nothing but dots as a library leaves them, so that nothing is left to do. */
bool cuda_is_only_products(const struct graph *g, const struct region *r);

/* Where dot i of a region's scratch begins, in bytes, and for i of ndot where it ends. */
int64_t cuda_product_place(const struct graph *g, const struct region *r, int i);

/* Extents and strides of dot node n; places and `before` are the caller's. */
struct cuda_product cuda_product_of(const struct graph *g, const struct node *n);

/* The rest of the region, from products in scratch. */
void cuda_behind_products(struct cuda_fn *f);

#endif
