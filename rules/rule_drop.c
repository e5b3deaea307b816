/* Takes units out of a state: a manifest without their tensors. The choice is an input: names, one per line,
 * as `choose` wrote them. */
#include <string.h>

#include "rules.h"

static bool run_drop(struct rule_call *c, struct err *e)
{
	struct state s, next;
	struct buf text;
	struct unit u;
	if (!rule_state(c, "state", &s, e) || !call_input_named(c, "units", &text, e))
		return false;
	char *names = arena_strndup(call_arena(c), text.p, text.n), *rest = names;
	for (char *name; (name = strsep(&rest, "\n"));) {
		if (!*name)
			continue;
		if (!unit_parse(name, &u))
			return err_set(e, ERR_IO, "'%s' is no unit", name);
		if (!state_drop(call_arena(c), &s, u, &next, e))
			return false;
		s = next;
	}
	for (size_t i = 0; i < s.ntensor; i++)
		call_ref(c, s.tensor[i].digest, s.tensor[i].bytes);
	return rule_output_state(c, &s, e);
}

static const char *const outputs[] = {"state", NULL};
const struct rule rule_drop = {"drop", 1, outputs, NULL, run_drop, NULL};
