/* States of one shape share their code, so a tuned model is not compiled again. */
#include "rules.h"

static bool run_shape(struct rule_call *c, struct err *e)
{
	struct state s;
	if (!rule_state(c, "state", &s, e))
		return false;
	s = state_shape(call_arena(c), &s);
	return rule_output_state(c, &s, e);
}

static const char *const outputs[] = {"shape", NULL};
const struct rule rule_shape = {"shape", 1, outputs, NULL, run_shape, NULL, NULL};
