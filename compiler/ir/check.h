/* One node against the shape rule of its op: the rule names are the column of ops.h. */
#ifndef CHECK_H
#define CHECK_H

#include "ir.h"

/* Writes "op 'dot': reduced axis 'D' ..." on failure. Sources must be checked already. */
bool node_check(const struct graph *g, const struct node *n, struct err *e);

#endif
