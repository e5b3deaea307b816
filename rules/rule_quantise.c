/* Weights in the dtype and layout that generated code binds. The layout belongs to the numerics class:
 * every target of a class maps the same objects. */
#include <stdlib.h>
#include <string.h>

#include "foretell.h"
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
	if (!pack_all(c, &s, step_plan(call_arena(c), &s, w.numerics, STEP_ROWS, STEP_OUTS, 0), &w, e))
		return false;
	strbuf_init(&text);
	weights_write(&text, &w);
	return rule_output(c, &text, e);
}

/* A tensor at a time is read and packed. It packs by plain code, one thread: so much effort (effort.h) a weight. */
static bool estimate(const struct estimate_call *c, struct estimate *out)
{
	static const double effort[NDTYPES] = {[DT_F32] = 40, [DT_BF16] = 60, [DT_Q8] = 250, [DT_Q4] = 1200};
	enum numerics numerics;
	struct state s;
	uint64_t most = 0, weights = 0;
	if (!foretell_numerics(c, &numerics) || !foretell_state(c, "state", &s))
		return false;
	const struct graph *plan = step_plan(estimate_arena(c), &s, numerics, STEP_ROWS, STEP_OUTS, 0);
	for (int i = 0; i < plan->nnode; i++) {
		const struct node *n = &plan->node[i];
		const struct state_tensor *t = n->op == OP_PARAM ? state_find(&s, n->name) : NULL;
		uint64_t bytes = t ? t->bytes + (uint64_t)tensor_bytes(plan, n) : 0;
		most = bytes > most ? bytes : most;
		weights += t ? (uint64_t)layout_elements(plan, &n->type, (struct layout){0}) : 0;
	}
	*out = (struct estimate){.memory_bytes = FORETELL_PROCESS_BYTES + most,
		.base_bytes = FORETELL_PROCESS_BYTES, .kind = foretell_kind(numerics),
		.work = (double)weights * effort[numerics_classes[numerics].weight]};
	return true;
}

static const char *const outputs[] = {"weights", NULL};
const struct rule rule_quantise = {"quantise", 1, outputs, NULL, run_quantise, rule_numerics_tools, estimate};
