/* What a layout pass decides and an emitter relies on. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "ir.h"

/* Which source of a dot has the result's last axis: its lanes. The other one is broadcast. */
int dot_lane_source(const struct graph *g, const struct node *n);

/* Whether source s is read element by element, in whatever layout it has. */
bool reads_elementwise(const struct node *n, int s);

#endif
