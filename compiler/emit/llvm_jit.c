#include "llvm_jit.h"

#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>

#include "program.h"

static bool jit_failed(struct err *e, LLVMErrorRef error)
{
	char *message = LLVMGetErrorMessage(error);
	err_set(e, ERR_TOOL, "unable to load generated code: %s", message);
	LLVMDisposeErrorMessage(message);
	return false;
}

static bool lookup(LLVMOrcLLJITRef jit, const char *name, const void **out, struct err *e)
{
	LLVMOrcExecutorAddress address;
	LLVMErrorRef error = LLVMOrcLLJITLookup(jit, &address, name);
	if (error)
		return jit_failed(e, error);
	*out = (const void *)(uintptr_t)address;
	return true;
}

bool llvm_load(struct buf object, struct loaded *out, struct err *e)
{
	LLVMOrcLLJITRef jit;
	llvm_initialize();
	LLVMErrorRef error = LLVMOrcCreateLLJIT(&jit, NULL);
	if (error)
		return jit_failed(e, error);
	LLVMMemoryBufferRef bytes = LLVMCreateMemoryBufferWithMemoryRangeCopy(object.p, object.n, "trim");
	error = LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), bytes);
	const void *found;
	bool ok = error ? jit_failed(e, error) : lookup(jit, "trim_variant", &found, e);
	if (!ok) {
		LLVMConsumeError(LLVMOrcDisposeLLJIT(jit));
		return false;
	}
	const struct variant *v = found;
	*out = (struct loaded){.program = v->program, .nprogram = v->nprogram, .handle = jit};
	return true;
}

void llvm_unload(struct loaded *l)
{
	LLVMConsumeError(LLVMOrcDisposeLLJIT(l->handle));
	*l = (struct loaded){0};
}
