/*
 * Objects that this process has compiled. Rounds of a chain score, tune and evaluate with the same pieces, and their
 * code is the same bytes; LLVM's passes and instruction selection are nearly all that making them costs.
 */
#ifndef LLVM_MEMO_H
#define LLVM_MEMO_H

#include <llvm-c/TargetMachine.h>

#include "digest.h"
#include "strbuf.h"
#include "target.h"

/* What LLVM is told to do with a module. */
struct llvm_settings {
	const char *passes;
	LLVMCodeGenOptLevel level;
	LLVMRelocMode relocation;
	LLVMCodeModel model;
};

/* Of a module before any pass and all else that decides its object: equal keys, equal objects. */
struct digest memo_key(LLVMModuleRef m, const struct target *t, const struct llvm_settings *s);
/* Appends the object. False: not kept. */
bool memo_get(struct digest key, struct strbuf *out);
void memo_put(struct digest key, struct buf object); /* copies it */

#endif
