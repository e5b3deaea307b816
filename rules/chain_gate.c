/* A target's gates: what they compare, and what follows from their verdicts. */
#include <string.h>

#include "chain_parts.h"
#include "json.h"

struct judged {
	struct chain *c;
	struct plan_target *t;
};

bool chain_all_passed(struct chain *c, const struct buf *verdict, size_t n, bool *out, struct err *e)
{
	*out = true;
	for (size_t i = 0; i < n; i++) {
		struct json *v;
		if (!json_parse(c->p->arena, verdict[i], "verdict", 1, &v, e))
			return false;
		const struct json *is = json_get(v, "passed");
		*out = *out && is && is->kind == JSON_TRUE;
	}
	return true;
}

static bool judged(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct judged *j = ctx;
	(void)b;
	bool ok;
	if (!chain_all_passed(j->c, input, j->t->nverdict, &ok, e))
		return false;
	j->t->gate_unasked = j->c->p->o->smoke;
	j->t->gate_failed = !ok && !j->t->gate_unasked;
	j->c->found(j->c->p, j->t);
	return true;
}

const char *plan_gate_json(const struct plan_target *t)
{
	if (!t->nverdict)
		return "null";
	return !t->path || t->gate_unasked ? "\"undecided\"" : t->gate_failed ? "\"failed\"" : "\"passed\"";
}

/* The target that a gate compares with; NULL: with the parent or round 0. */
static struct plan_target *reference_of(const struct plan *p, const struct spec_gate *g)
{
	for (size_t i = 0; g->target >= 0 && i < p->ntarget; i++)
		if (p->target[i].spec == &p->spec->target[g->target])
			return &p->target[i];
	return NULL;
}

static struct action *plan_verdict(struct chain *c, const struct spec_gate *g, const struct plan_target *t, struct found s,
	enum split split, const char *name, int set)
{
	const struct plan_target *other = reference_of(c->p, g);
	struct found against = g->against == AGAINST_PARENT ? chain_untouched(c)
			       : split == SPLIT_TEST	    ? chain_continued(c, chain_round_0(c), NULL)
							    : chain_round_0(c);
	struct input in[] = {
		input_output("reference", other ? other->on[set].evaluate : chain_measure(c, against, t, split, set),
			EVALUATE_ROWS),
		input_output("candidate", chain_measure(c, s, t, split, set), EVALUATE_ROWS)};
	struct fields param = {0};
	gate_param(c->p->arena, g, &param);
	if (other)
		fields_add(c->p->arena, &param, "target", other->spec->name);
	if (c->p->spec->ndataset > 1)
		fields_add(c->p->arena, &param, "dataset", c->p->spec->dataset[set].name);
	return plan_action(c->p, plan_set_name(c->p, name, set), &rule_gate, &(struct inputs){in, 2}, param);
}

void chain_verdicts(struct chain *c, const struct plan_target *t, struct found s, enum split split,
	const char *name, struct inputs *out)
{
	for (int i = 0; i < t->spec->ngate; i++)
		for (int k = 0; k < c->p->spec->ndataset; k++) {
			const struct spec_gate *g = t->spec->gate[i];
			const char *numbered = arena_printf(c->p->arena, "%s-%d", name, i + 1);
			if (g->dataset < 0 || g->dataset == k)
				plan_add_input(c->p, out, input_output("verdict",
					plan_verdict(c, g, t, s, split, numbered, k), 0));
		}
}

/* The binary is planned when the gates have spoken: where it goes depends on them. */
static void plan_gates(struct chain *c, struct plan_target *t, struct found s)
{
	struct arena *a = c->p->arena;
	struct inputs verdicts = {0};
	chain_verdicts(c, t, s, SPLIT_TEST, arena_printf(a, "%s/gate", t->spec->name), &verdicts);
	for (size_t i = 0; i < verdicts.n; i++)
		*arena_push(a, t->verdict, t->nverdict) = verdicts.input[i].action;
	if (!verdicts.n) {
		c->found(c->p, t);
		return;
	}
	struct judged *j = arena_new(a, struct judged);
	*j = (struct judged){c, t};
	build_generate(c->p->build, arena_printf(a, "%s/gates", t->spec->name), verdicts.input, verdicts.n, judged,
		j);
}


/* Whether what the target's gates compare with is known. A reference that failed fails it. */
static bool has_references(struct plan *p, struct plan_target *t)
{
	for (int i = 0; i < t->spec->ngate && !t->failed; i++) {
		const struct plan_target *other = reference_of(p, t->spec->gate[i]);
		if (other && other->failed)
			t->failed = !spec_err_at(&t->err, t->spec->gate[i]->at,
				"target '%s' is judged against '%s', which cannot be built here", t->spec->name,
				other->spec->name);
		else if (other && !other->on)
			return false;
	}
	return !t->failed;
}

void chain_gates(struct chain *c, struct plan_target *t, struct found s)
{
	if (has_references(c->p, t)) {
		plan_gates(c, t, s);
		return;
	}
	t->waits = t->failed ? NULL : c;
	t->waits_with = arena_new(c->p->arena, struct found);
	*t->waits_with = s;
}

void chain_gates_resume(struct plan *p)
{
	for (size_t i = 0; i < p->ntarget; i++) {
		struct plan_target *t = &p->target[i];
		struct chain *c = t->waits;
		t->waits = NULL;
		if (c)
			chain_gates(c, t, *t->waits_with);
	}
}
