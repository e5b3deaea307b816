/* For tests of the IR: graphs from text, tensors in memory as graphs see it, a call of the
 * interpreter. Everything lives in the run's arena. */
#ifndef GRAPH_RUN_H
#define GRAPH_RUN_H

#include "interp.h"
#include "test.h"

enum { GRAPH_RUN_TENSORS = 64 };

struct graph_run {
	struct arena arena;
	struct graph *g;
	int64_t *dim; /* per axis; the extents, until a test changes it */
	struct interp_tensor tensor[GRAPH_RUN_TENSORS];
	int node[GRAPH_RUN_TENSORS]; /* the node whose type and layout tensor[i] has */
	int ntensor;
	enum interp_mode mode;
};

/* g, or the graph that text describes; false after FAIL. Allocates dim, and zeroed tensors for all
 * leaves and outputs. A zeroed struct with a mode before. */
bool graph_run_init(struct graph_run *r, struct graph *g);
bool graph_run_text(struct graph_run *r, const char *text);
void graph_run_release(struct graph_run *r);

/* Index into tensor[] by name; BUG if there is none. */
int graph_run_tensor(const struct graph_run *r, const char *name);

/* Element k of the memory, padding counted; byte k of q8 and q4. */
double graph_run_get(const struct graph_run *r, int tensor, int64_t k);
void graph_run_set(struct graph_run *r, int tensor, int64_t k, double value);
int64_t graph_run_elements(const struct graph_run *r, int tensor);

void graph_run_dim(struct graph_run *r, const char *axis, int64_t extent);

/* Reads "x= 1 2 3 idx= 0 1": fills tensors in memory order. Hex, inf and nan are numbers; 4*0 is 0 0 0 0. */
void graph_run_fill(struct graph_run *r, const char *text);

/* The run of `from` with its graph planned, equal dims and equal numbers in the leaves. */
bool graph_run_planned(struct graph_run *r, const struct graph_run *from);

/* FAILs where an output or state of r has other bits than that of `want`, over the actual extents
 * (NaN equals NaN). */
void graph_run_check_same(const struct graph_run *r, const struct graph_run *want);

/* interp_run; false after FAIL. */
bool graph_run_go(struct graph_run *r);

/* The printed graph, read and printed again, is the same text. */
void graph_run_check_text(struct graph_run *r);

#endif
