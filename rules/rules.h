/*
 * The stages of a build as rules of the engine (build.h). A rule is a row; rules_table lists them all. What
 * each makes of a fixed input is recorded (tests/rules): bytes changed? The rule's version goes up.
 *
 * Those of data and measuring are described in eval.h, those of schedules where they are written; of models
 * and binaries:
 *
 * rule        inputs                                        parameters           outputs
 * import      the model's files, named as in its folder,    -                    state (state.h)
 *             or model.gguf
 * tokenizer   the tokenizer's files, or model.gguf          -                    block (tokenizer.h)
 * shape       state                                         -                    state without what code
 *                                                                                does not depend on
 * quantise    state                                         numerics             weights (weights.h)
 * golden      shape, weights, tokenizer                     numerics             record (golden.h)
 * compile     shape, trim, emitter, llvm                    numerics, target,    object (emit.h)
 *                                                           rows, context
 * lock        state, metrics, parent, cost, verdict...,     target, hardware,    excerpt of the lock
 *             units.N, scores.N, from.N, fresh.N, the user's files           numerics, context,   (lock.h), JSON
 *                                                           schedule, stop.*
 * link        object..., state, weights, tokenizer, golden, name, target, arch,  recipe (store.h)
 *             lock, linker, the runtime's files, [task]     hardware, numerics,
 *                                                           context, threads
 *
 * Of several datasets metrics, parent, cost and task are inputs for each, "metrics/DATASET".
 *
 * The numerics class with its version is part of the keys of quantise, golden and compile; the target's
 * CPU, the emitter and LLVM (as files, by content) of compile alone; the linker and the runtime archive of
 * link alone. So another LLVM compiles and links again, never more.
 *
 * `golden` runs the weights by code made for the machine it runs on: bits are equal within a numerics class,
 * so its key names no target and one record serves all of them.
 */
#ifndef RULES_H
#define RULES_H

#include "build.h"
#include "device.h"
#include "forward.h"
#include "weights.h"

extern const struct rule rule_import, rule_tokenizer, rule_shape, rule_quantise, rule_golden, rule_compile, rule_gpu,
	rule_lock, rule_link;
enum { GPU_TABLE, GPU_CUBIN, GPU_PTX }; /* outputs of rule_gpu */

extern const struct rule *const rules_table[]; /* NULL ends */

/* What rules may know of this machine, in no key: struct build_options.env. */
struct rule_env {
	const char *runtime_folder[2];  /* by enum target_arch; NULL: none here */
	const char *gpu_runtime_folder; /* of binaries with code for GPUs */
};

/* ---- what several rules share ---- */

/* Rows of one call of the program "step", longer prompts go in chunks; and how many of them have logits, which are what
 * costs memory. A GPU's multiprocessors want tiles of 128 rows each. */
enum { STEP_ROWS = 256, STEP_OUTS = 64, GPU_ROWS = 2048, GPU_OUTS = 512 };

/* The planned graph of the program "step" of a state. context 0: the model's. In the arena. */
const struct graph *step_plan(struct arena *a, const struct state *s, enum numerics numerics, int rows, int outs,
	int64_t context);

/* The same for a GPU, of f's model, numerics and slots: for many rows and for few. */
enum { GPU_PLANS = 2 };
void gpu_step_plans(struct arena *a, const struct forward *f, const struct graph *plan[GPU_PLANS]);

/* Parameter "device", absent: the CPU. */
enum device_kind rule_device(const struct fields *param);
/* Adds it, unless it is the CPU. */
void rule_device_param(struct arena *a, enum device_kind device, struct fields *out);

/* Parameter "numerics". */
bool rule_numerics(const struct rule_call *c, enum numerics *out, struct err *e);

/* struct rule.tools: the numerics class with its version. */
void rule_numerics_tools(struct arena *a, const struct fields *param, const void *env, struct fields *out);

/* The input of that name as a state. */
bool rule_state(struct rule_call *c, const char *name, struct state *out, struct err *e);

/* A tensor_read (weights.h) whose context is the call: an object that its inputs name, until the next is read. */
bool rule_tensor(void *call, const struct state_tensor *t, struct buf *out, struct err *e);

/* The call's output 0; the bytes are released. */
bool rule_output(struct rule_call *c, struct strbuf *bytes, struct err *e);
/* The same: a state. */
bool rule_output_state(struct rule_call *c, const struct state *s, struct err *e);

#endif
