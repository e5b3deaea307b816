/* The classes that costly walks take: every kind of weights with its usual cache, and every cache with weights in
 * int8. A class is one row of each table (forward.h), and neither row knows of the other. */
#ifndef CLASSES_H
#define CLASSES_H

#include <string.h>

#include "forward.h"

static inline bool class_is_walked(int numerics)
{
	const char *name = numerics_classes[numerics].name;
	return !strstr(name, "-kv-") || !strncmp(name, "int8-kv-", 8);
}

#endif
