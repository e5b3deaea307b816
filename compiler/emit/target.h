/*
 * Targets: one row each (target.c). A target chooses lanes, tiles and instructions inside a region; the
 * bits it computes are those of its numerics class, like any other target's.
 */
#ifndef TARGET_H
#define TARGET_H

#include "arena.h"

enum target_arch { ARCH_X86_64, ARCH_AARCH64 };

/* How products of 8-bit integers are summed (llvm_dot_blocks.c). */
enum int8_dot {
	INT8_PAIRS,    /* no instruction for it: products of two are added in 16 bits */
	INT8_UNSIGNED, /* groups of 4, unsigned times signed: vpdpbusd, usdot */
	INT8_SIGNED,   /* groups of 4, signed: sdot */
};

struct target {
	const char *name;        /* as in `hardware="..."` */
	enum target_arch arch;
	const char *triple, *cpu, *features; /* LLVM's names, known to be right for LLVM 19 and 22 */
	const char *needs;       /* what the binary asks of the CPU at start: names of cpu_has, commas */
	int lanes;               /* f32 elements of a vector register */
	int tile_rows, tile_panels; /* a dot's register tile, in rows and 16-lane panels */
	bool dpbf16;             /* vdpbf16ps */
	enum int8_dot int8;
};

extern const struct target targets[];
extern const int ntargets;

const struct target *target_find(const char *name); /* NULL: none of that name */

/* Everything of a row but its name, as one text: code for two rows of one text is the same. For keys. */
const char *target_text(struct arena *a, const struct target *t);

/* The most capable target that runs on this machine. */
const struct target *target_native(void);

/* Whether this machine runs code for t. */
bool target_runs_here(const struct target *t);

#endif
