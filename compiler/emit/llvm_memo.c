#include "llvm_memo.h"

#include <llvm/Config/llvm-config.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Core.h>

struct digest memo_key(LLVMModuleRef m, const struct target *t, const struct llvm_settings *s)
{
	struct hasher *h = hasher_new();
	LLVMMemoryBufferRef code = LLVMWriteBitcodeToMemoryBuffer(m);
	hasher_adds(h, LLVM_VERSION_STRING);
	hasher_adds(h, s->passes);
	hasher_add_field(h, (const int[]){(int)s->level, (int)s->relocation, (int)s->model}, 3 * sizeof(int));
	hasher_adds(h, t->triple);
	hasher_adds(h, t->cpu);
	hasher_adds(h, t->features);
	hasher_add_field(h, LLVMGetBufferStart(code), LLVMGetBufferSize(code));
	LLVMDisposeMemoryBuffer(code);
	return hasher_end(h);
}
