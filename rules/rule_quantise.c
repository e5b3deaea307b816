/* Weights in the dtype and layout that generated code binds. The layout belongs to the numerics class:
 * every target of a class maps the same objects. */
#include <stdlib.h>
#include <string.h>

#include "rules.h"

static bool pack_all(struct rule_call *c, const struct state *s, const struct graph *plan,
	struct weights *w, struct err *e)
{
	struct weight_source from = {s, rule_tensor, c};
	struct strbuf bytes;
	bool ok = true;
	strbuf_init(&bytes);
	for (int i = 0; i < plan->nnode && ok; i++) {
		if (plan->node[i].op != OP_PARAM)
			continue;
		struct weight *to = arena_push(call_arena(c), w->weight, w->nweight);
		strbuf_clear(&bytes);
		*to = (struct weight){.name = plan->node[i].name};
		if (call_next(c) == CALL_STOP)
			ok = err_set(e, ERR_CANCELLED, "interrupted");
		ok = ok && weight_pack(&from, plan, i, to->name, &bytes, e) &&
			call_put(c, strbuf_buf(&bytes), &to->digest, e);
		to->bytes = bytes.n;
		call_progress(c, &(struct progress){(double)w->nweight, (double)s->ntensor + 1, "tensors",
			to->name});
	}
	strbuf_release(&bytes);
	return ok;
}

static bool run_quantise(struct rule_call *c, struct err *e)
{
	struct state s;
	struct weights w = {0};
	struct strbuf text;
	if (!rule_numerics(c, &w.numerics, e) || !rule_state(c, "state", &s, e))
		return false;
	if (!pack_all(c, &s, step_plan(call_arena(c), &s, w.numerics, STEP_ROWS, 0), &w, e))
		return false;
	strbuf_init(&text);
	weights_write(&text, &w);
	return rule_output(c, &text, e);
}

static const char *const outputs[] = {"weights", NULL};
const struct rule rule_quantise = {"quantise", 1, outputs, NULL, run_quantise, rule_numerics_tools};
