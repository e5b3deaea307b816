/*
 * What makes two regions one function: their structure, with the tensors of elsewhere numbered by first
 * appearance. So the blocks of a model, which differ only in which tensors they touch, share their kernels.
 */
#ifndef REGION_KEY_H
#define REGION_KEY_H

#include "ir.h"

struct region_key {
	const char *text;
	int *external, nexternal; /* node that tensor i of the key is: a leaf, or of another region, or stored */
};

/* Axis numbers mean the same within one graph only, so do texts. In the arena. */
struct region_key region_key(struct arena *a, const struct graph *g, int region);

/* How many functions the graph's regions come to: blocks that are alike share theirs. */
size_t region_functions(const struct graph *g);

/* The number of node n among the key's tensors; `kernel` is for the message if it is none of them. */
int region_key_tensor(const struct region_key *key, int n, const char *kernel);

#endif
