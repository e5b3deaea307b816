/* A state without what generated code does not depend on: bytes, dtypes in store, order of dropping, tokens.
 * States of one shape share their code, so a tuned model is not compiled again. */
#include "rules.h"

static bool run_shape(struct rule_call *c, struct err *e)
{
	struct state s;
	if (!rule_state(c, "state", &s, e))
		return false;
	s.ndropped = 0;
	s.config.bos_id = -1;
	s.config.neos = 0;
	for (size_t i = 0; i < s.ntensor; i++) {
		struct state_tensor *t = &s.tensor[i];
		uint64_t elements = t->bytes / model_dtypes[t->dtype].bytes;
		t->dtype = MODEL_F32;
		t->bytes = elements * model_dtypes[MODEL_F32].bytes;
		t->digest = (struct digest){0};
	}
	return rule_output_state(c, &s, e);
}

static const char *const outputs[] = {"shape", NULL};
const struct rule rule_shape = {"shape", 1, outputs, NULL, run_shape, NULL};
