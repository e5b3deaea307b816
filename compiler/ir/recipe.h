/*
 * Elementary functions as primitive map ops, so that interpreter and every emitter compute the same
 * bits without a libm. Polynomials and reductions are those of the Cephes library (Moshier 1992,
 * single precision), with fma; interp_test.c holds them to these errors:
 *
 *   exp   n = rint(x log2 e), r = x - n ln 2 in two parts, degree 7, scaled by 2^(n-1) and 2.
 *         0 below -86.6, infinity above 88.72, NaN kept. At most 1 unit of the last place.
 *   log   mantissa in [sqrt 1/2, sqrt 2), degree 11. log 0 = -infinity; negative or NaN: NaN.
 *         At most 1 unit.
 *   sin, cos  n = rint(x 2/pi), r = x - n pi/2 in three parts; |x| up to 2^20. At most 2 units, of what
 *         is below 2^-10 at most 2^-32.
 *   cast  f32 -> bf16: round to nearest even on the bits; denormals become 0, NaN stays NaN.
 */
#ifndef RECIPE_H
#define RECIPE_H

#include "ir.h"

/* Appends the recipe of op applied to node x, in primitive ops; dtype: the result's, for cast. */
int recipe_build(struct graph *g, enum op op, int x, enum dtype dtype);

/* A graph of scalars: leaf input "x", output "y". */
struct graph *recipe_graph(struct arena *a, enum op op);

#endif
