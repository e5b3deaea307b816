/*
 * What estimates of several rules (struct rule.estimate) share: looking through what is not made yet, and what
 * every action has that runs generated code.
 *
 * A state that is not there yet is taken to be the newest one before it that is: tuning leaves its shape, dropping
 * makes it smaller, so what is said is the most that it can be.
 */
#ifndef FORETELL_H
#define FORETELL_H

#include "effort.h"
#include "eval.h"
#include "state.h"

/* The input of that name, or what it will be made from. In the estimate's arena. */
bool foretell_state(const struct estimate_call *c, const char *name, struct state *out);

/* Inputs of that name as token tables, as far as they are there; false: some is not. */
bool foretell_tokens(const struct estimate_call *c, const char *name, struct mix_set **set, size_t *n,
	struct token_table *joined);

/* Parameter "numerics". */
bool foretell_numerics(const struct estimate_call *c, enum numerics *out);

/* The kind of work (struct estimate): the class's dtype of weights, and the device if it is not the CPU: "cuda bf16". */
const char *foretell_kind(enum numerics n, enum device_kind device);

/* Puts what programs allocate where they run: `bytes` are the process's or the device's. In the second case the process has
 * `host_bytes` of it too, on their way or mapped. */
void foretell_memory(struct estimate *out, enum device_kind device, uint64_t bytes, uint64_t host_bytes);
/* Of a state's tensors the largest as f32, in the file's bytes and packed. */
uint64_t foretell_largest(const struct state *s);

/* This process before a rule has done anything. */
enum { FORETELL_PROCESS_BYTES = 14 << 20 };

/* What generating so many functions takes for a call of `rule` on models of that config: seconds, once a process,
 * and for good the bytes of the code generator, its code mapped and what it leaves on the heap, and of the process itself.
 * `kind` is the work's. Rounds of a chain are taken to have the same programs where they have as many functions. */
void foretell_code(struct estimate *out, const char *rule, const char *kind, const struct model_config *config, size_t nfunction);

#endif
