/*
 * From planned graphs to object bytes, and from object bytes to programs that run in this process.
 *
 * There is one path: code is always emitted as an object; a JIT linker loads the same bytes that a
 * binary is linked from. LLVM lives in a module of its own (trim-llvm.so), opened by the first call,
 * because loading it costs 20 ms.
 */
#ifndef EMIT_H
#define EMIT_H

#include "ir.h"
#include "program.h"
#include "strbuf.h"
#include "target.h"

enum emit_form { EMIT_OBJECT, EMIT_LLVM_IR, EMIT_ASM };

struct emit_request {
	const struct target *target;
	const struct graph *const *graph; /* graph_plan() made them; one program each */
	int ngraph;
	enum emit_form form;
	const char *kept; /* where an object made before may come from, and goes: a folder, "": the
	                   * memory of this process (code_keep.h), NULL: nowhere, it is made */
};

/* Programs of a loaded object, or of one for each program. They live until emit_unload. */
struct loaded {
	const struct program *const *program;
	uint32_t nprogram;
	void *handle;        /* of one object */
	struct loaded *part; /* of emit_native: nprogram of them */
};

/* The object exports one name, `const struct variant trim_variant` (program.h), weak and in a section of its
 * own: objects for several targets link into one binary. Deterministic: same request and LLVM version, same
 * bytes. ERR_TOOL: the module cannot be opened. */
bool emit_object(const struct emit_request *r, struct strbuf *out, struct err *e);

bool emit_load(struct buf object, struct loaded *out, struct err *e);
void emit_unload(struct loaded *l);

/* Both for the machine this runs on, for stages; what ships never comes from here. A program for each graph, each an
 * object of its own, since the next round of a chain has the same graphs but for one or two, and threads can make
 * them side by side. Equal graphs are generated once in this process; TRIM_KEEP_CODE names a folder in which their
 * objects are kept instead. ERR_TOOL when this CPU is none of the targets. */
bool emit_native(const struct graph *const *graph, int ngraph, int nthreads, struct loaded *out, struct err *e);

/* The files whose bytes decide what code of a model is: this program, whose passes make the plan; the module; and
 * LLVM's library where it is found without loading it (llvm NULL: it is not; the module then speaks for both).
 * For keys: asking the version would cost the 20 ms that the module is there to save. In the arena. */
struct emit_files {
	const char *program, *module, *llvm;
};
bool emit_files(struct arena *a, struct emit_files *out, struct err *e);

/* "LLVM 19.1.7", for people. NULL when the module cannot be opened. */
const char *emit_version(struct err *e);

/* What the module exports as `trim_emitter`. */
struct emitter {
	int abi;
	const char *version;
	bool (*object)(const struct emit_request *, struct strbuf *, struct err *);
	bool (*load)(struct buf, struct loaded *, struct err *);
	void (*unload)(struct loaded *);
};
enum { EMITTER_ABI = 2 };

#endif
