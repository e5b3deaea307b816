#include "chain.h"
#include "chain_foresee.h"

#include <stdio.h>
#include <string.h>

#include "chain_parts.h"
#include "plan_data.h"
#include "speed.h"

/* What is measured of a state in a class, on a dataset: "NAME" of the action below the state. */
static const char *measure_name(const struct chain *c, struct found s, enum numerics numerics, enum device_kind device,
	const char *what, int set)
{
	return plan_set_name(c->p, arena_printf(c->p->arena, "%s/%s-%s%s%s", s.name, what, numerics_classes[numerics].name,
		device == DEVICE_CPU ? "" : "-", device == DEVICE_CPU ? "" : device_name(device)), set);
}

enum device_kind chain_device(const struct chain *c, const struct plan_target *t)
{
	return t->hardware.ngpu && c->device != DEVICE_CPU ? DEVICE_CUDA : DEVICE_CPU;
}

struct action *chain_measure(struct chain *c, struct found s, const struct plan_target *t, enum split split, int set)
{
	static const char *const name[NSPLIT] = {[SPLIT_TEST] = "evaluate", [SPLIT_VALIDATION] = "validate"};
	struct fields param = {0};
	enum device_kind device = chain_device(c, t);
	const struct lineage_set *at = split == SPLIT_TEST ? NULL : chain_rows(c, 0, set);
	struct input in[] = {input_output("shape", plan_shape(c->p, s.name, s.state), 0),
		input_output("weights", plan_weights(c->p, s.name, s.state, t->numerics), 0),
		input_output("tokens", chain_tokens(c, split, set, at), 0)};
	evaluate_param(c->p->arena, t->numerics, &param);
	rule_device_param(c->p->arena, device, &param);
	return plan_action(c->p, measure_name(c, s, t->numerics, device, name[split], set), &rule_evaluate,
		&(struct inputs){in, 3}, param);
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
	struct action *cost = plan_action(c->p, measure_name(c, s, numerics, DEVICE_CPU, "cost", set), &rule_cost,
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

struct found chain_round_0(const struct chain *c)
{
	return (struct found){c->tuned, c->spec ? arena_printf(c->p->arena, "%s/round-0", c->spec->name) : "import", 0};
}

struct found chain_untouched(const struct chain *c)
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
	double least = (double)chain_least_bytes(&c->import), total = (double)c->import_bytes, want = total;
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

static bool on_chain(const struct chain *c, const struct plan_target *t)
{
	bool any = !t->spec->nschedule && !c->spec;
	for (int i = 0; i < t->spec->nschedule; i++)
		any = any || c->spec == &c->p->spec->schedule[t->spec->schedule[i]];
	return !t->failed && any;
}

/* The state that the chain has for a target, tuned once more where the target says so. */
static bool settle(struct chain *c, struct plan_target *t, struct found *s)
{
	const char *name = t->spec->name;
	if (!t->spec->tune)
		return true;
	struct spec_tune tune = *t->spec->tune;
	int64_t before = (s->round + 1) * c->spec->tune.steps;
	if (tune.counts_chain && !c->p->o->smoke)
		tune.steps -= before;
	if (tune.steps <= 0 && tune.counts_chain)
		return spec_err_at(&t->err, t->spec->tune->at, "steps=\"%lld\" are those of all rounds too, and the chain of target "
			"'%s' had %lld until %s", (long long)t->spec->tune->steps, name, (long long)before, s->name);
	s->state = chain_tune(c, &tune, s->state, chain_trainable(c, &tune, name), arena_printf(c->p->arena, "%s/tune", name));
	s->name = arena_printf(c->p->arena, "%s/tuned", name);
	return true;
}

void chain_give(struct chain *c, struct plan_target *t, struct found s)
{
	if (!settle(c, t, &s)) {
		t->failed = true;
		chain_gates_resume(c->p);
		return;
	}
	s = chain_continued(c, s, t);
	t->state = s.state;
	t->state_name = s.name;
	t->nround = s.round;
	t->measured_on = chain_device(c, t);
	t->on = arena_array(c->p->arena, struct plan_measures, c->p->spec->ndataset);
	for (int k = 0; k < c->p->spec->ndataset; k++) {
		struct plan_measures *m = &t->on[k];
		m->evaluate_parent = chain_measure(c, chain_untouched(c), t, SPLIT_TEST, k);
		if (c->spec)
			m->evaluate_tuned = chain_measure(c, chain_continued(c, chain_round_0(c), NULL), t, SPLIT_TEST, k);
		m->evaluate = chain_measure(c, s, t, SPLIT_TEST, k);
		m->cost = plan_cost(c, s, t->numerics, k);
		build_want(c->p->build, m->evaluate_parent);
		build_want(c->p->build, m->evaluate);
	}
	chain_gates(c, t, s);
	chain_gates_resume(c->p);
}

static bool is_waiting(const struct chain *c, const struct plan_target *t)
{
	return on_chain(c, t) && !t->state && !chain_nominated(c, t);
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
		if (!is_waiting(c, t) || !satisfies(c, t))
			continue;
		if (t->spec->nschedule > 1)
			chain_nominate(c, t, newest(c));
		else
			chain_give(c, t, newest(c));
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
		s = chain_round_0(c);
		t->nothing_passed = true;
		t->stop = arena_printf(c->p->arena, "takes %s, nothing dropped: %s", s.name, why);
	}
	chain_give(c, t, s);
}

static bool try_gates(struct chain *c, struct plan_target *t, const struct buf *verdict, size_t n, struct err *e)
{
	bool ok;
	if (!chain_all_passed(c, verdict, n, &ok, e))
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
	chain_give(c, t, newest(c));
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
			chain_verdicts(c, t, newest(c), SPLIT_VALIDATION,
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
	c->state = chain_tune(c, &c->spec->tune, dropped, c->trainable, chain_named(c, "tune"));
	c->state_name = arena_printf(a, "%s/round-%d", c->spec->name, c->round);
	return take_state(c, e);
}

static void foresee(struct chain *c, const char *generator, struct action *tune)
{
	struct chain_ahead ahead = {c->spec, &c->shadow, c->import_bytes, tune, c->score, NULL, 0};
	for (size_t i = 0; i < c->p->ntarget; i++)
		if (is_waiting(c, &c->p->target[i]))
			*arena_push(c->p->arena, ahead.waiting, ahead.nwaiting) = &c->p->target[i];
	chain_foresee(c->p, generator, &ahead);
}

static void next_round(struct chain *c)
{
	struct action *tune = c->state;
	c->round++;
	c->choose = chain_choose(c);
	struct input in = input_output("units", c->choose, 0);
	build_generate(c->p->build, chain_named(c, "next"), &in, 1, chosen, c);
	foresee(c, chain_named(c, "next"), tune);
}

static void too_slow(const struct chain *c, struct plan_target *t)
{
	const struct spec_keep *k = plan_keep(c->p, t);
	t->failed = true;
	chain_gates_resume(c->p);
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
	if (units_of(&c->shadow) < (c->spec->per_round ? (size_t)c->spec->per_round : 1))
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
		if (on_chain(c, t) && !check_keep(c, t)) {
			t->failed = true;
			chain_gates_resume(c->p);
		}
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
	c->trainable = chain_trainable(c, &c->spec->tune, c->spec->name);
	c->state = c->tuned = chain_tune(c, &c->spec->tune, c->p->import, c->trainable, chain_named(c, "tune"));
	c->state_name = arena_printf(c->p->arena, "%s/round-0", c->spec->name);
	return take_state(c, e);
}

static enum device_kind training_device(const struct spec_schedule *s)
{
	return s->math == MATH_CUBLASLT ? DEVICE_CUBLASLT : device_find(spec_devices[s->device]);
}

static bool start_chain(struct plan *p, const struct spec_schedule *s,
	void (*found)(struct plan *p, struct plan_target *t), struct err *e)
{
	struct chain *c = arena_new(p->arena, struct chain);
	bool used = false;
	*c = (struct chain){.p = p, .spec = s, .found = found,
		.device = s ? training_device(s) : DEVICE_CPU,
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
		if (t->failed || t->spec->nschedule)
			continue;
		t->state = p->import;
		t->state_name = "import";
		found(p, t);
	}
	return true;
}
