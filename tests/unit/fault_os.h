/*
 * A system that fails: the n-th call of one kind (or of any) gives an error, stays in error, or
 * kills the process in the middle of it. Otherwise the quiet system of world.h.
 */
#ifndef FAULT_OS_H
#define FAULT_OS_H

#include "os.h"

#define FAULT_KINDS(X)                                                                             \
	X(OPEN) X(READ) X(WRITE) X(FSYNC) X(TRUNCATE) X(RENAME) X(UNLINK) X(MKDIR) X(FSTAT)        \
	X(STAT) X(MMAP) X(LOCK) X(SPAWN) X(ALLOC) X(ANY)
enum fault_kind {
#define X(name) FAULT_##name,
	FAULT_KINDS(X)
#undef X
};
extern const char *const fault_name[];

enum fault_effect { FAULT_ONCE, FAULT_FROM_THEN_ON, FAULT_KILL };

struct fault_os {
	struct os_ops ops;
	enum fault_kind kind;
	enum fault_effect effect;
	int error;
	int n;                  /* which call, from 1; 0: none */
	_Atomic int ncalls;     /* of that kind so far */
	_Atomic int nfaults;
};

void fault_os_init(struct fault_os *f, enum fault_kind kind, int n, enum fault_effect effect,
	int error);

#endif
