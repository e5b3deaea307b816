/*
 * A model run half by half in this process, so that a scan restarts in the middle: the programs of
 * forward_piece_* and "compare", weights and KV cache of every block. Halves that the state lacks are not there.
 *
 * All arithmetic is generated code of the numerics class; a row's bits are those of the program "step". Residual streams
 * lie in the memory of the device (device.h).
 */
#ifndef LAYERED_H
#define LAYERED_H

#include "device.h"
#include "state.h"
#include "weights.h"

struct layered_options {
	struct weight_source weights;
	enum numerics numerics;
	int64_t rows, outs, slots; /* most of one call; of the cache */
	enum device_kind device;
	int nthreads;
};

/* Token rows of one call: slots and ranges as model_run.h has them. */
enum { LAYERED_INPUTS = 7 };
struct layered_rows {
	int64_t nrow, nout;
	int32_t *tok, *pos, *slot, *lo, *hi; /* (nrow) */
	int32_t *out, *target;               /* (nout): row, and the token whose nll is wanted */
	int32_t *there[LAYERED_INPUTS];     /* the device's copies, in this order; NULL before layered_send */
};

/* What it takes, known from the graphs alone; weights.read is not called. Effort (effort.h) is that of one call of so
 * many rows. */
struct layered_load {
	double rows, outs, attended; /* slots that a row sees */
};
struct layered_needs {
	uint64_t memory_bytes; /* without residual streams */
	double embed, half[NHALVES], head, compare;
	size_t nfunction;      /* what code is generated for */
};
void layered_foretell(const struct layered_options *o, const struct layered_load *load, struct layered_needs *out);

struct layered;
bool layered_open(struct layered **out, const struct layered_options *o, struct err *e);
void layered_free(struct layered *l); /* NULL is allowed */

/* Whether the device did all that it was given so far; numbers mean nothing after it did not. */
bool layered_ok(const struct layered *l, struct err *e);

/* The device gets the rows as they are now; before the functions below, and whenever rows have changed. */
void layered_send(struct layered *l, struct layered_rows *r);

/* x, y: of layered_residual, (nrow, D) f32. */
void layered_embed(struct layered *l, const struct layered_rows *r, float *y);
/* y = x + half(x); y may not be x. */
struct layered_half {
	enum half half;
	int layer;
	const float *x;
	float *y;
};
void layered_half(struct layered *l, const struct layered_rows *r, const struct layered_half *h);
/* Per row, (nrow), for the host: what the program "compare" gives (importance.h). */
struct layered_compare {
	const float *x, *y;
	float *distance, *angle, *norm2;
};
void layered_compare(struct layered *l, const struct layered_rows *r, const struct layered_compare *c);
void layered_nll(struct layered *l, const struct layered_rows *r, const float *x, float *nll);

/* Zeroed memory of the device for (rows, D), freed with l. */
float *layered_residual(struct layered *l);
void layered_copy(struct layered *l, float *to, const float *from, int64_t rows);

#endif
