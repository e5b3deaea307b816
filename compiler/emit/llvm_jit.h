/* Loading objects into this process, and the one-time initialisation of LLVM. */
#ifndef LLVM_JIT_H
#define LLVM_JIT_H

#include "emit.h"

void llvm_initialize(void);
bool llvm_load(struct buf object, struct loaded *out, struct err *e);
void llvm_unload(struct loaded *l);

#endif
