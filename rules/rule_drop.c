/* Takes units out of a state: a manifest without their tensors. The choice is an input: names, one per line,
 * as `choose` wrote them. */
#include "rules.h"

static bool run_drop(struct rule_call *c, struct err *e)
{
	struct state s, next;
	struct buf text;
	struct unit *unit;
	size_t nunit;
	if (!rule_state(c, "state", &s, e) || !call_input_named(c, "units", &text, e) ||
		!units_read(call_arena(c), text, &unit, &nunit, e))
		return false;
	for (size_t i = 0; i < nunit; i++) {
		if (!state_drop(call_arena(c), &s, unit[i], &next, e))
			return false;
		s = next;
	}
	for (size_t i = 0; i < s.ntensor; i++)
		call_ref(c, s.tensor[i].digest, s.tensor[i].bytes);
	return rule_output_state(c, &s, e);
}

static const char *const outputs[] = {"state", NULL};
const struct rule rule_drop = {"drop", 1, outputs, NULL, run_drop, NULL, NULL};
