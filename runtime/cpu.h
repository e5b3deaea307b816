/*
 * What this CPU can do. Features are named as gcc and clang name them ("avx512vnni"; on ARM as the
 * kernel does in /proc/cpuinfo: "asimddp"); lists are separated by commas. A feature counts when
 * the system saves its registers, too. Uses baseline instructions only.
 */
#ifndef CPU_H
#define CPU_H

#include "strbuf.h"

/* What the CPU answered, asked once: under a hypervisor every question traps, which takes microseconds. */
struct cpu {
	uint64_t word[16]; /* as cpu.c numbers them: registers of CPUID, or what the kernel says */
	uint64_t saved;    /* XCR0: which registers the system saves */
};
void cpu_read(struct cpu *out);

bool cpu_has(const struct cpu *c, const char *feature); /* false for names that are not known */

/* True when none of the list is absent. Appends those that are, separated by ", "; missing may be NULL. */
bool cpu_has_all(const struct cpu *c, const char *features, struct strbuf *missing);

/* Threads that this process may run on, at least 1. */
int cpu_threads(void);

#endif
