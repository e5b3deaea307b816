/*
 * Objects that this process has compiled. Rounds of a chain score, tune and evaluate with the same pieces, and their
 * code is the same bytes; LLVM's passes and instruction selection are nearly all that making them costs.
 */
#ifndef LLVM_MEMO_H
#define LLVM_MEMO_H

#include <llvm-c/Core.h>

#include "digest.h"
#include "strbuf.h"
#include "target.h"

/* Of a module before any pass, for a target: equal keys, equal objects. */
struct digest memo_key(LLVMModuleRef m, const struct target *t);
/* Appends the object. False: not kept. */
bool memo_get(struct digest key, struct strbuf *out);
void memo_put(struct digest key, struct buf object); /* copies it */

#endif
