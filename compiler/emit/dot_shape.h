/*
 * A dot as emitters see it: the broadcast source gives element (m, k), the lane source gives neighbouring lanes n
 * at k, from panels (weights) or from rows whose last axis is the lanes (gradients).
 */
#ifndef DOT_SHAPE_H
#define DOT_SHAPE_H

#include "ir.h"

struct dot {
	struct type m, n, r;     /* rows, lanes, reduced axes: in storage order of their source */
	int broadcast, lane;     /* nodes */
	int64_t m_stride, k_stride; /* broadcast source, elements */
	int64_t row_stride;      /* lane source in rows: elements from k to k + 1 */
	int64_t lane_stride;     /* and from lane to lane: 1 unless it was planned LANES_IN_ROWS */
	bool panels;
	enum dtype dtype;        /* of the lane source; the broadcast source of q4 is q8 */
	struct block_shape rows_shape, panels_shape; /* of both sources, when they have blocks */
	int64_t nlanes, npanels; /* N and ceil(N / 16) */
};

struct dot dot_shape(const struct graph *g, const struct node *n);
int64_t dot_static_inner(const struct graph *g, const struct dot *d); /* K where it is static, else 0 */

#endif
