/* The learning rate over the steps of one tune. */
#ifndef RATE_H
#define RATE_H

#include <stdint.h>

struct rate {
	double peak, warm_up; /* warm_up: share of the steps */
	int64_t nsteps;
	const char *decay; /* "linear", "cosine", "constant"; NULL: linear */
};

/* Of a step from 0: linear warm-up from 0, then down to 0 (linear, cosine) or flat. */
double rate_at(const struct rate *r, int64_t step);

#endif
