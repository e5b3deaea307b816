#include <stdio.h>
#include <string.h>

#include "chain_internal.h"
#include "json.h"
#include "speed.h"

/* What is measured of a state in a class, on a dataset: "NAME" of the action below the state. */
static const char *measure_name(const struct chain *c, struct found s, enum numerics numerics, const char *what, int set)
{
	return plan_set_name(c->p, arena_printf(c->p->arena, "%s/%s-%s", s.name, what, numerics_classes[numerics].name),
		set);
}

static struct action *plan_measure(struct chain *c, struct found s, enum numerics numerics, enum split split, int set)
{
	static const char *const name[NSPLIT] = {[SPLIT_TEST] = "evaluate", [SPLIT_VALIDATION] = "validate"};
	struct fields param = {0};
	const struct lineage_set *at = split == SPLIT_TEST ? NULL : chain_rows(c, 0, set);
	struct input in[] = {input_output("shape", plan_shape(c->p, s.name, s.state), 0),
		input_output("weights", plan_weights(c->p, s.name, s.state, numerics), 0),
		input_output("tokens", chain_tokens(c, split, set, at), 0)};
	evaluate_param(c->p->arena, numerics, &param);
	return plan_action(c->p, measure_name(c, s, numerics, name[split], set), &rule_evaluate, &(struct inputs){in, 3},
		param);
}

/* What the target's class costs its state; NULL: nothing, or there is nothing to measure it on. */
static struct action *plan_cost(struct chain *c, struct found s, enum numerics numerics, int set)
{
	struct fields param = {0};
	if (numerics == NUMERICS_F32 || !plan_data_asks(&c->p->data[set].d, SPLIT_VALIDATION))
		return NULL;
	struct input in[] = {input_output("state", s.state, 0),
		input_output("weights", plan_weights(c->p, s.name, s.state, numerics), 0),
		input_output("tokens", chain_tokens(c, SPLIT_VALIDATION, set, NULL), 0)};
	cost_param(c->p->arena, numerics, &param);
	struct action *cost = plan_action(c->p, measure_name(c, s, numerics, "cost", set), &rule_cost,
		&(struct inputs){in, 3}, param);
	build_want(c->p->build, cost);
	return cost;
}

/* ---- which state a target takes ---- */

static uint64_t bytes_of(const struct state *s)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < s->ntensor; i++)
		bytes += s->tensor[i].bytes;
	return bytes;
}

static size_t units_of(const struct state *s)
{
	size_t n = 0;
	for (int i = 0; i < s->config.layers; i++)
		n += (size_t)s->has_attn[i] + (size_t)s->has_mlp[i];
	return n;
}

static struct found newest(const struct chain *c)
{
	return (struct found){c->state, c->state_name, c->round};
}

static struct found round_0(const struct chain *c)
{
	return (struct found){c->tuned, c->spec ? arena_printf(c->p->arena, "%s/round-0", c->spec->name) : "import", 0};
}

static struct found untouched(const struct chain *c)
{
	return (struct found){c->p->import, "import", 0};
}

static bool satisfies(const struct chain *c, const struct plan_target *t)
{
	const struct spec_keep *k = plan_keep(c->p, t);
	if (!k || (c->p->o->smoke && c->round >= SMOKE_ROUNDS))
		return true;
	switch (k->kind) {
	case VALUE_GATE:
		return false; /* found by trying */
	case VALUE_SPEED:
		return t->stop_units >= 0 && units_of(&c->shadow) <= (size_t)t->stop_units;
	case VALUE_SHARE:
		return (double)bytes_of(&c->shadow) <= k->value * (double)c->import_bytes + 0.5;
	case VALUE_UNITS:
		return units_of(&c->shadow) <= (size_t)k->count;
	case VALUE_BYTES:
		return (double)bytes_of(&c->shadow) <= k->value;
	default:
		return true; /* no wish: round 0 */
	}
}

/* What no drop can take away. */
static uint64_t least_bytes(const struct state *s)
{
	uint64_t bytes = 0;
	struct unit u;
	for (size_t i = 0; i < s->ntensor; i++)
		if (!unit_of_tensor(s->tensor[i].name, &u))
			bytes += s->tensor[i].bytes;
	return bytes;
}

/* A depth that the lock knows is taken; another has to be measured here. */
static bool check_speed(const struct chain *c, struct plan_target *t, const struct spec_keep *k)
{
	const struct plan_options *o = c->p->o;
	t->stop_of = speed_identity(c->p, t, &c->import);
	t->stop_units = o->units ? o->units(o->ctx, t->spec->name, t->stop_of) : -1;
	if (t->stop_units >= 0 || speed_cpu(t))
		return true;
	spec_err_at(&t->err, k->at, "keep=\"%s\" of target '%s' is to be measured on a machine that runs code for '%s'; "
		"this one does not, and the lock has no depth that was", k->text, t->spec->name, t->hardware.names);
	t->err.kind = ERR_TOOL;
	return false;
}

static bool check_keep(const struct chain *c, struct plan_target *t)
{
	const struct spec_keep *k = plan_keep(c->p, t);
	double least = (double)least_bytes(&c->import), total = (double)c->import_bytes, want = total;
	if (!k)
		return true;
	if (k->kind == VALUE_SPEED)
		return check_speed(c, t, k);
	if (k->kind == VALUE_SHARE)
		want = k->value * total;
	else if (k->kind == VALUE_BYTES)
		want = k->value;
	if (want >= least)
		return true;
	return spec_err_at(&t->err, k->at,
		"keep=\"%s\" is below what no drop can take: embeddings, final norm and head are %.0f bytes, %.1f%% of "
		"the model", k->text, least, 100 * least / total);
}

/* ---- gates ---- */

struct judged {
	struct chain *c;
	struct plan_target *t;
};

static bool all_passed(struct chain *c, const struct buf *verdict, size_t n, bool *out, struct err *e)
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
	if (!all_passed(j->c, input, j->t->nverdict, &ok, e))
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

static struct action *plan_verdict(struct chain *c, const struct spec_gate *g, enum numerics numerics, struct found s,
	enum split split, const char *name, int set)
{
	struct found against = g->against == AGAINST_PARENT ? untouched(c)
			       : split == SPLIT_TEST	    ? chain_continued(c, round_0(c), NULL)
							    : round_0(c);
	struct input in[] = {
		input_output("reference", plan_measure(c, against, numerics, split, set), EVALUATE_ROWS),
		input_output("candidate", plan_measure(c, s, numerics, split, set), EVALUATE_ROWS)};
	struct fields param = {0};
	gate_param(c->p->arena, g, &param);
	if (c->p->spec->ndataset > 1)
		fields_add(c->p->arena, &param, "dataset", c->p->spec->dataset[set].name);
	return plan_action(c->p, plan_set_name(c->p, name, set), &rule_gate, &(struct inputs){in, 2}, param);
}

/* Verdicts of the target's gates on a state by rows of a split, dataset by dataset; `name` of their actions, without
 * a number. */
static void plan_verdicts(struct chain *c, const struct plan_target *t, struct found s, enum split split,
	const char *name, struct inputs *out)
{
	for (int i = 0; i < t->spec->ngate; i++)
		for (int k = 0; k < c->p->spec->ndataset; k++) {
			const struct spec_gate *g = t->spec->gate[i];
			const char *numbered = arena_printf(c->p->arena, "%s-%d", name, i + 1);
			if (g->dataset < 0 || g->dataset == k)
				plan_add_input(c->p, out, input_output("verdict",
					plan_verdict(c, g, t->numerics, s, split, numbered, k), 0));
		}
}

/* The binary is planned when the gates have spoken: where it goes depends on them. */
static void plan_gates(struct chain *c, struct plan_target *t, struct found s)
{
	struct arena *a = c->p->arena;
	struct inputs verdicts = {0};
	plan_verdicts(c, t, s, SPLIT_TEST, arena_printf(a, "%s/gate", t->spec->name), &verdicts);
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

static bool on_chain(const struct chain *c, const struct plan_target *t)
{
	const struct spec_schedule *s =
		t->spec->schedule < 0 ? NULL : &c->p->spec->schedule[t->spec->schedule];
	return !t->failed && s == c->spec;
}

/* The target has its state: test rows are read now, and for no other. */
static void give(struct chain *c, struct plan_target *t, struct found s)
{
	s = chain_continued(c, s, t);
	t->state = s.state;
	t->state_name = s.name;
	t->nround = s.round;
	t->on = arena_array(c->p->arena, struct plan_measures, c->p->spec->ndataset);
	for (int k = 0; k < c->p->spec->ndataset; k++) {
		struct plan_measures *m = &t->on[k];
		m->evaluate_parent = plan_measure(c, untouched(c), t->numerics, SPLIT_TEST, k);
		if (c->spec)
			m->evaluate_tuned = plan_measure(c, chain_continued(c, round_0(c), NULL), t->numerics, SPLIT_TEST, k);
		m->evaluate = plan_measure(c, s, t->numerics, SPLIT_TEST, k);
		m->cost = plan_cost(c, s, t->numerics, k);
		build_want(c->p->build, m->evaluate_parent);
		build_want(c->p->build, m->evaluate);
	}
	plan_gates(c, t, s);
}

static bool is_waiting(const struct chain *c, const struct plan_target *t)
{
	return on_chain(c, t) && !t->state;
}

static bool any_waiting(const struct chain *c)
{
	bool any = false;
	for (size_t i = 0; i < c->p->ntarget; i++)
		any = any || is_waiting(c, &c->p->target[i]);
	return any;
}

/* Gives the newest state to the targets that want it. */
static void give_states(struct chain *c)
{
	for (size_t i = 0; i < c->p->ntarget; i++) {
		struct plan_target *t = &c->p->target[i];
		if (is_waiting(c, t) && satisfies(c, t))
			give(c, t, newest(c));
	}
}

/* ---- states that are found by trying: by a gate, the last before the first that does not pass on validation rows;
 * by speed, the first that is as fast ---- */

/* Targets that try the newest state; trial i has the inputs first[i] to first[i + 1]: verdicts, or code and weights. */
struct trials {
	struct chain *c;
	struct plan_target **t;
	size_t *first, n;
	struct inputs in;
	bool measures;
};

static void give_passed(struct chain *c, struct plan_target *t, const char *why)
{
	struct found s = c->passed[t - c->p->target];
	if (s.state) {
		t->stop = arena_printf(c->p->arena, "takes %s, %s", s.name, why);
	} else {
		s = round_0(c);
		t->nothing_passed = true;
		t->stop = arena_printf(c->p->arena, "takes %s, nothing dropped: %s", s.name, why);
	}
	give(c, t, s);
}

static bool try_gates(struct chain *c, struct plan_target *t, const struct buf *verdict, size_t n, struct err *e)
{
	bool ok;
	if (!all_passed(c, verdict, n, &ok, e))
		return false;
	if (ok || c->p->o->smoke)
		c->passed[t - c->p->target] = newest(c);
	else
		give_passed(c, t, arena_printf(c->p->arena, "%s did not pass on validation rows", c->state_name));
	return true;
}

static void plan_speed(struct chain *c, const struct plan_target *t, struct inputs *out)
{
	struct found s = newest(c);
	plan_add_input(c->p, out, input_output("object", plan_compile(c->p, t, speed_cpu(t), plan_shape(c->p, s.name,
		s.state), arena_printf(c->p->arena, "%s/round-%d/compile", t->spec->name, c->round)), 0));
	plan_add_input(c->p, out, input_output("weights", plan_weights(c->p, s.name, s.state, t->numerics), 0));
}

static bool try_speed(struct chain *c, struct plan_target *t, const struct buf *input, struct err *e)
{
	const struct plan_options *o = c->p->o;
	struct speed_job job = {t, c->state_name, input[0], input[1],
		(uint32_t)(t->spec->context ? t->spec->context : c->import.config.context)};
	if (!o->speed(o->ctx, &job, &c->speed[t - c->p->target], e))
		return false;
	if (c->speed[t - c->p->target] < plan_keep(c->p, t)->value || o->smoke)
		return true;
	t->stop_units = (int64_t)units_of(&c->shadow);
	t->stop = arena_printf(c->p->arena, "takes %s, the first at %s or more", c->state_name, plan_keep(c->p, t)->text);
	give(c, t, newest(c));
	return true;
}

static bool go_on(struct chain *c, struct err *e);

static bool tried(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct trials *all = ctx;
	struct chain *c = all->c;
	(void)b;
	for (size_t i = 0; i < all->n; i++) {
		struct plan_target *t = all->t[i];
		const struct buf *own = input + all->first[i];
		if (plan_keep(c->p, t)->kind == VALUE_SPEED
				? !try_speed(c, t, own, e)
				: !try_gates(c, t, own, all->first[i + 1] - all->first[i], e))
			return false;
	}
	return go_on(c, e);
}

/* False: no target tries the newest state. */
static bool plan_trials(struct chain *c)
{
	struct arena *a = c->p->arena;
	struct trials *all = arena_new(a, struct trials);
	*all = (struct trials){.c = c, .first = arena_array(a, size_t, c->p->ntarget + 1)};
	for (size_t i = 0; i < c->p->ntarget; i++) {
		struct plan_target *t = &c->p->target[i];
		enum spec_value_kind kind = is_waiting(c, t) ? plan_keep(c->p, t)->kind : VALUE_TEXT;
		bool measures = kind == VALUE_SPEED && t->stop_units < 0;
		if (measures)
			plan_speed(c, t, &all->in);
		else if (kind == VALUE_GATE)
			plan_verdicts(c, t, newest(c), SPLIT_VALIDATION,
				arena_printf(a, "%s/round-%d/gate", t->spec->name, c->round), &all->in);
		else
			continue;
		all->measures = all->measures || measures;
		*arena_push(a, all->t, all->n) = t;
		all->first[all->n] = all->in.n;
	}
	if (all->n)
		(all->measures ? build_measure : build_generate)(c->p->build, chain_named(c, "tried"), all->in.input, all->in.n,
			tried, all);
	return all->n;
}

/* ---- rounds ---- */

/* What there is to do with the newest state, then the next round if a target still waits. */
static bool take_state(struct chain *c, struct err *e)
{
	give_states(c);
	return plan_trials(c) || go_on(c, e);
}

static bool chosen(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct chain *c = ctx;
	struct arena *a = c->p->arena;
	struct plan_round *r = arena_push(a, c->p->round, c->p->nround);
	(void)b;
	*r = (struct plan_round){.schedule = c->spec->name, .round = c->round, .score = c->score,
		.scored = c->scored, .choose = c->choose};
	if (!units_read(a, input[0], &r->unit, &r->nunit, e))
		return false;
	for (size_t i = 0; i < r->nunit; i++) {
		struct state next;
		if (!state_drop(a, &c->shadow, r->unit[i], &next, e))
			return false;
		c->shadow = next;
	}
	struct input in[] = {input_output("state", c->state, 0), input_output("units", c->choose, 0)};
	struct action *dropped = plan_action(c->p, chain_named(c, "drop"), &rule_drop, &(struct inputs){in, 2}, (struct fields){0});
	c->state = chain_tune(c, dropped);
	c->state_name = arena_printf(a, "%s/round-%d", c->spec->name, c->round);
	return take_state(c, e);
}

static void next_round(struct chain *c)
{
	c->round++;
	c->choose = chain_choose(c);
	struct input in = input_output("units", c->choose, 0);
	build_generate(c->p->build, chain_named(c, "next"), &in, 1, chosen, c);
}

static void too_slow(const struct chain *c, struct plan_target *t)
{
	const struct spec_keep *k = plan_keep(c->p, t);
	t->failed = true;
	spec_err_at(&t->err, k->at, "no state of the chain gives target '%s' keep=\"%s\"; the last one, with %zu units, decodes "
		"%.2f tokens/s here", t->spec->name, k->text, units_of(&c->shadow), c->speed[t - c->p->target]);
}

/* The chain is at its end: what was found by trying is taken. */
static bool no_units_left(struct chain *c, struct err *e)
{
	for (size_t i = 0; i < c->p->ntarget; i++) {
		struct plan_target *t = &c->p->target[i];
		enum spec_value_kind kind = is_waiting(c, t) ? plan_keep(c->p, t)->kind : VALUE_TEXT;
		if (kind == VALUE_GATE)
			give_passed(c, t, "the last of the chain");
		else if (kind == VALUE_SPEED)
			too_slow(c, t);
	}
	return !any_waiting(c) ||
		err_set(e, ERR_SPEC, "schedule '%s': no units are left to drop", c->spec->name);
}

static bool go_on(struct chain *c, struct err *e)
{
	if (!any_waiting(c))
		return true;
	if (units_of(&c->shadow) < (size_t)c->spec->per_round)
		return no_units_left(c, e);
	next_round(c);
	return true;
}

static bool imported(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct chain *c = ctx;
	bool any = false;
	(void)b;
	for (int i = 0; c->spec && i < c->spec->score.non; i++) {
		const struct spec_score *s = &c->spec->score;
		struct split_list calibration;
		if (!split_list_open(&calibration, input[1 + i], e) ||
			!dataset_enough(&c->p->spec->dataset[s->on[i]], s, calibration.n, e))
			return false;
	}
	if (!state_read(c->p->arena, input[0], "import", &c->import, e))
		return false;
	c->shadow = c->import;
	c->import_bytes = bytes_of(&c->import);
	for (size_t i = 0; i < c->p->ntarget; i++) {
		struct plan_target *t = &c->p->target[i];
		if (on_chain(c, t) && !check_keep(c, t))
			t->failed = true;
		any = any || on_chain(c, t);
	}
	if (!any)
		return true;
	if (!chain_data(c, e))
		return false;
	if (!c->spec) { /* compiled as it is */
		c->state = c->tuned = c->p->import;
		c->state_name = "import";
		give_states(c);
		return true;
	}
	c->trainable = chain_trainable(c);
	c->state = c->tuned = chain_tune(c, c->p->import);
	c->state_name = arena_printf(c->p->arena, "%s/round-0", c->spec->name);
	return take_state(c, e);
}

static bool start_chain(struct plan *p, const struct spec_schedule *s,
	void (*found)(struct plan *p, struct plan_target *t), struct err *e)
{
	struct chain *c = arena_new(p->arena, struct chain);
	bool used = false;
	*c = (struct chain){.p = p, .spec = s, .found = found,
		.passed = arena_array(p->arena, struct found, p->ntarget),
		.speed = arena_array(p->arena, double, p->ntarget)};
	if (s && p->o->lineage)
		c->line = p->o->lineage[s - p->spec->schedule];
	for (size_t k = 0; k < p->ntarget; k++)
		used = used || on_chain(c, &p->target[k]);
	if (!used)
		return true;
	if (s && !numerics_find(spec_dtypes[s->arithmetic], &c->numerics))
		return spec_err_at(e, s->at, "arithmetic=\"%s\" is not supported yet",
			spec_dtypes[s->arithmetic]);
	if (s && !p->spec->ndataset)
		return spec_err_at(e, s->at, "a schedule needs a <dataset>");
	struct inputs in = {0};
	plan_add_input(p, &in, input_output("state", p->import, 0));
	if (s && !plan_data(p, e))
		return false;
	/* Too few rows are to be known before anything takes long. */
	for (int i = 0; s && i < s->score.non; i++)
		plan_add_input(p, &in, input_output("list", plan_data_split(p, s->score.on[i], chain_rows(c, 0, s->score.on[i])),
			SPLIT_CALIBRATION));
	build_generate(p->build, arena_printf(p->arena, "%s/start", s ? s->name : "data"), in.input, in.n, imported,
		c);
	return true;
}

bool chain_plan(struct plan *p, void (*found)(struct plan *p, struct plan_target *t), struct err *e)
{
	for (int i = 0; i < p->spec->nschedule; i++)
		if (!start_chain(p, &p->spec->schedule[i], found, e))
			return false;
	if (p->spec->ndataset)
		return start_chain(p, NULL, found, e);
	for (size_t i = 0; i < p->ntarget; i++) {
		struct plan_target *t = &p->target[i];
		if (t->failed || t->spec->schedule >= 0)
			continue;
		t->state = p->import;
		t->state_name = "import";
		found(p, t);
	}
	return true;
}
