#include "rate.h"

#include <math.h>
#include <string.h>

/* (1 - cos(pi x)) / 2 = sin^2(pi x / 2) for x in 0..1, by Taylor's series: a library's cos differs
 * between machines. Below 1e-11 off. */
static double half_cosine(double x)
{
	static const double half_pi = 1.57079632679489661923;
	double a = half_pi * x, series = 1;
	for (int k = 17; k > 1; k -= 2)
		series = 1 - a * a / (k * (k - 1)) * series;
	return a * series * a * series;
}

double rate_at(const struct rate *r, int64_t step)
{
	double warm = floor(r->warm_up * (double)r->nsteps), at = (double)step;
	if (at < warm)
		return r->peak * (at + 1) / (warm + 1);
	double left = ((double)r->nsteps - at) / ((double)r->nsteps - warm);
	if (r->decay && !strcmp(r->decay, "cosine"))
		return r->peak * half_cosine(left);
	return r->decay && !strcmp(r->decay, "constant") ? r->peak : r->peak * left;
}
