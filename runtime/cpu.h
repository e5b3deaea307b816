/*
 * What this CPU can do. Features are named as gcc and clang name them ("avx512vnni"; on ARM as the
 * kernel does in /proc/cpuinfo: "asimddp"); lists are separated by commas. A feature counts when
 * the system saves its registers, too. Uses baseline instructions only.
 */
#ifndef CPU_H
#define CPU_H

#include "strbuf.h"

bool cpu_has(const char *feature); /* false for names that are not known */

/* Appends the features of the list that are absent, separated by ", "; true when there are none. */
bool cpu_has_all(const char *features, struct strbuf *missing);

/* Threads that this process may run on, at least 1. */
int cpu_threads(void);

#endif
