#include "llvm_memo.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <llvm/Config/llvm-config.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Core.h>

/* All that is kept; an entry goes when newer ones need its room. */
enum { MOST_BYTES = 64 << 20, MOST_OBJECTS = 64 };

struct memo {
	struct digest key;
	char *bytes;
	size_t n;
};

static struct {
	pthread_mutex_t lock;
	struct memo memo[MOST_OBJECTS]; /* by age, the oldest first */
	int nmemo;
	size_t bytes;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

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

bool memo_get(struct digest key, struct strbuf *out)
{
	bool found = false;
	pthread_mutex_lock(&kept.lock);
	for (int i = 0; i < kept.nmemo && !found; i++) {
		found = digest_equal(kept.memo[i].key, key);
		if (found)
			strbuf_add(out, kept.memo[i].bytes, kept.memo[i].n);
	}
	pthread_mutex_unlock(&kept.lock);

	return found;
}

static void forget_oldest(void)
{
	kept.bytes -= kept.memo[0].n;
	free(kept.memo[0].bytes);
	memmove(kept.memo, kept.memo + 1, (size_t)--kept.nmemo * sizeof(*kept.memo));
}

void memo_put(struct digest key, struct buf object)
{
	if (object.n > MOST_BYTES)
		return;
	pthread_mutex_lock(&kept.lock);
	while (kept.nmemo == MOST_OBJECTS || kept.bytes > MOST_BYTES - object.n)
		forget_oldest();
	struct memo *m = &kept.memo[kept.nmemo++];
	*m = (struct memo){key, xmalloc(object.n), object.n};
	memcpy(m->bytes, object.p, object.n);
	kept.bytes += object.n;
	pthread_mutex_unlock(&kept.lock);
}
