/*
 * The list that the rule `trainable` writes and `tune` trains by: "embeddings" and names of blocks, one a line.
 */
#ifndef TRAINABLE_H
#define TRAINABLE_H

#include "build.h"

bool trainable_has(const char *list, const char *tensor);

/* struct rule.estimate of tune (tune_estimate.c). */
bool tune_estimate(const struct estimate_call *c, struct estimate *out);

#endif
