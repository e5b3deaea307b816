/* The classes that costly walks take: every kind of weights with its usual cache, and every cache with weights in
 * int8. A class is one row of each table (forward.h), and neither row knows of the other. In configurations but the first one class without
 * blocks and one with them: what computes them is generated, and the same for all. */
#ifndef CLASSES_H
#define CLASSES_H

#include <string.h>

#include "forward.h"
#include "test.h"

static inline bool class_is_walked(int numerics)
{
	const char *name = numerics_classes[numerics].name;
	if (!test_is_first())
		return numerics == NUMERICS_F32 || numerics == NUMERICS_INT4;
	return !strstr(name, "-kv-") || !strncmp(name, "int8-kv-", 8);
}

#endif
