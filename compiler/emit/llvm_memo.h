/* What decides the object that LLVM makes of a module: the key by which it is kept (code_keep.h). */
#ifndef LLVM_MEMO_H
#define LLVM_MEMO_H

#include <llvm-c/TargetMachine.h>

#include "digest.h"
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

#endif
