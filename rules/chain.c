#include "chain.h"

#include <stdio.h>
#include <string.h>

#include "json.h"

struct chain {
	struct plan *p;
	const struct spec_schedule *spec;
	enum numerics numerics;
	void (*found)(struct plan *p, struct plan_target *t);
	struct state import;              /* with the import's digests */
	struct state shadow;              /* the import without what is dropped so far: for bytes */
	uint64_t import_bytes;
	struct action *tokens[NSPLIT], *trainable;
	struct action *state;             /* tuned, of the newest round */
	const char *state_name;
	int round;
	struct action *tuned;             /* of round 0 */
	struct action *score, *choose;    /* of the round being planned; score NULL: chosen without */
};

/* ---- data ---- */

struct plan_data {
	struct dataset d;
	struct inputs rows; /* outputs of its rows actions */
	struct action *split;
};

static void plan_rows(struct plan *p, struct plan_data *data)
{
	const struct dataset *d = &data->d;
	for (size_t i = 0; i < d->nfile; i++) {
		struct fields param = {0};
		struct inputs in = {0};
		plan_add_input(p, &in, input_file("file", d->file[i].path));
		dataset_rows_param(p->arena, d, i, &param);
		struct action *a = plan_action(p, arena_printf(p->arena, "data/%s/rows.%s", d->spec->name,
			d->file[i].name), &rule_rows, &in, param);
		plan_add_input(p, &data->rows, input_output("rows", a, 0));
		*arena_push(p->arena, p->input, p->ninput) =
			(struct plan_input){d->file[i].name, d->file[i].path};
	}
}

/* The rows, before other inputs. */
static struct inputs with_rows(struct plan *p, const struct plan_data *data)
{
	struct inputs in = {0};
	for (size_t i = 0; i < data->rows.n; i++)
		plan_add_input(p, &in, data->rows.input[i]);
	return in;
}

static void plan_split(struct plan *p, struct plan_data *data)
{
	const struct dataset *d = &data->d;
	struct fields param = {0};
	struct inputs in = with_rows(p, data);
	for (size_t r = 0; r < d->nrule; r++)
		for (int k = 0; k < NSPLIT; k++)
			if (d->rule[r].part[k].from == FROM_IDS)
				plan_add_input(p, &in, input_file(arena_printf(p->arena, "ids.%zu.%s", r,
					split_names[k]), d->ids[r * NSPLIT + (size_t)k].path));
	dataset_split_param(p->arena, d, 0, &param);
	data->split = plan_action(p, arena_printf(p->arena, "data/%s/split", d->spec->name), &rule_split, &in,
		param);
}

/* Rows and splits of the spec's dataset, planned once. */
static struct plan_data *data_of(struct plan *p, struct err *e)
{
	if (p->data)
		return p->data;
	struct plan_data *data = arena_new(p->arena, struct plan_data);
	if (!dataset_open(p->arena, &p->spec->dataset[0], &data->d, e))
		return NULL;
	plan_rows(p, data);
	plan_split(p, data);
	return p->data = data;
}

struct action *plan_bpe(struct plan *p, struct err *e)
{
	const struct spec_model *m = &p->spec->model;
	struct plan_data *data = data_of(p, e);
	struct fields param = {0};
	if (!data)
		return NULL;
	struct inputs in = with_rows(p, data);
	plan_add_input(p, &in, input_output("list", data->split, SPLIT_TRAIN));
	dataset_tokenise_param(p->arena, &data->d, m->context, &param);
	fields_add(p->arena, &param, "vocab", plan_number(p, m->tokenizer.vocab));
	return plan_action(p, "tokenizer", &rule_bpe, &in, param);
}

static bool plan_tokens(struct chain *c, struct err *e)
{
	struct plan *p = c->p;
	struct plan_data *data = data_of(p, e);
	struct fields param = {0};
	if (!data)
		return false;
	const char *name = data->d.spec->name;
	dataset_tokenise_param(p->arena, &data->d, c->import.config.context, &param);
	for (int k = 0; k < NSPLIT; k++) {
		struct inputs in = with_rows(p, data);
		plan_add_input(p, &in, input_output("list", data->split, (size_t)k));
		plan_add_input(p, &in, input_output("tokenizer", p->tokenizer, 0));
		c->tokens[k] = plan_action(p, arena_printf(p->arena, "data/%s/tokens.%s", name, split_names[k]),
			&rule_tokenise, &in, param);
	}
	p->task = plan_action(p, arena_printf(p->arena, "data/%s/task", name), &rule_task, &(struct inputs){0},
		param);
	return true;
}

/* ---- actions of a round ---- */

static const char *named(struct chain *c, const char *what)
{
	return arena_printf(c->p->arena, "%s/round-%d/%s", c->spec->name, c->round, what);
}

static struct action *plan_score(struct chain *c, const char *name, struct action *state)
{
	struct fields param = {0};
	struct input in[] = {input_output("state", state, 0),
		input_output("rows", c->tokens[SPLIT_CALIBRATION], 0)};
	fields_add(c->p->arena, &param, "numerics", numerics_classes[c->numerics].name);
	fields_add(c->p->arena, &param, "rows", plan_number(c->p, c->spec->score.rows));
	return plan_action(c->p, name, &rule_score, &(struct inputs){in, 2}, param);
}

static struct action *plan_trainable(struct chain *c)
{
	struct fields param = {0};
	struct input in[2] = {input_output("state", c->p->import, 0)};
	size_t n = 1;
	const struct spec_tune *tune = &c->spec->tune;
	double share = tune->method == TUNE_FULL ? 1 : tune->trainable;
	if (share < 1)
		in[n++] = input_output("scores", plan_score(c, arena_printf(c->p->arena, "%s/parent/score",
			c->spec->name), c->p->import), 0);
	fields_add(c->p->arena, &param, "share", arena_printf(c->p->arena, "%.9g", share));
	fields_add(c->p->arena, &param, "embeddings", tune->train_embeddings ? "1" : "0");
	return plan_action(c->p, arena_printf(c->p->arena, "%s/trainable", c->spec->name), &rule_trainable,
		&(struct inputs){in, n}, param);
}

static struct action *plan_tune(struct chain *c, struct action *state)
{
	const struct spec_tune *t = &c->spec->tune;
	struct arena *a = c->p->arena;
	struct fields param = {0};
	struct input in[4] = {input_output("state", state, 0),
		input_output("rows", c->tokens[SPLIT_TRAIN], 0), input_output("trainable", c->trainable, 0)};
	size_t n = 3;
	enum { MICRO_ROWS = 512 };
	fields_add(a, &param, "numerics", numerics_classes[c->numerics].name);
	if (t->steps)
		fields_add(a, &param, "steps", plan_number(c->p, t->steps));
	else
		fields_add(a, &param, "epochs", plan_number(c->p, t->epochs));
	fields_add(a, &param, "batch", plan_number(c->p, t->batch * (t->accumulate > 1 ? t->accumulate : 1)));
	fields_add(a, &param, "seed", plan_number(c->p, t->seed));
	fields_add(a, &param, "micro", plan_number(c->p, MICRO_ROWS));
	fields_add(a, &param, "rate", arena_printf(a, "%.9g", t->learning_rate));
	fields_add(a, &param, "warm-up", arena_printf(a, "%.9g", t->warm_up));
	fields_add(a, &param, "weight-decay", arena_printf(a, "%.9g", t->weight_decay));
	fields_add(a, &param, "clip", arena_printf(a, "%.9g", t->clip));
	fields_add(a, &param, "decay", spec_decays[t->decay]);
	if (t->method == TUNE_LORA) {
		fields_add(a, &param, "rank", plan_number(c->p, t->rank));
		fields_add(a, &param, "alpha", arena_printf(a, "%.9g", t->alpha));
	}
	if (t->distill > 0) {
		in[n++] = input_output("parent", c->p->import, 0);
		fields_add(a, &param, "distill", arena_printf(a, "%.9g", t->distill));
		fields_add(a, &param, "temperature", arena_printf(a, "%.9g", t->temperature));
	}
	return plan_action(c->p, named(c, "tune"), &rule_tune, &(struct inputs){in, n}, param);
}

static struct action *plan_choose(struct chain *c)
{
	const struct spec_score *s = &c->spec->score;
	struct arena *a = c->p->arena;
	struct fields param = {0};
	struct strbuf order;
	struct input in[2] = {input_output("state", c->state, 0)};
	size_t n = 1;
	c->score = s->method == SCORE_SCAN ? plan_score(c, named(c, "score"), c->state) : NULL;
	if (c->score)
		in[n++] = input_output("scores", c->score, 0);
	strbuf_init(&order);
	for (int i = 0; i < s->ntie_break; i++)
		strbuf_addf(&order, "%s%s", i ? " " : "", spec_tie_breaks[s->tie_break[i]]);
	fields_add(a, &param, "method", spec_score_methods[s->method]);
	fields_add(a, &param, "count", plan_number(c->p, c->spec->per_round));
	fields_add(a, &param, "unit", c->spec->unit == UNIT_BLOCK ? "block" : "half");
	fields_add(a, &param, "seed", plan_number(c->p, c->spec->tune.seed));
	if (s->units)
		fields_add(a, &param, "units", s->units);
	fields_add(a, &param, "tie-break", arena_strdup(a, order.s));
	strbuf_release(&order);
	return plan_action(c->p, named(c, "choose"), &rule_choose, &(struct inputs){in, n}, param);
}

static struct action *plan_evaluate(struct chain *c, const char *state_name, struct action *state,
	enum numerics numerics)
{
	struct fields param = {0};
	struct input in[] = {input_output("shape", plan_shape(c->p, state_name, state), 0),
		input_output("weights", plan_weights(c->p, state_name, state, numerics), 0),
		input_output("tokens", c->tokens[SPLIT_TEST], 0)};
	evaluate_param(c->p->arena, numerics, &param);
	return plan_action(c->p, arena_printf(c->p->arena, "%s/evaluate-%s", state_name,
		numerics_classes[numerics].name), &rule_evaluate, &(struct inputs){in, 3}, param);
}

/* Whether a split of the dataset asks for such rows; then there are some (split.h). */
static bool has_rows(const struct dataset *d, enum split split)
{
	for (size_t i = 0; i < d->nrule; i++)
		if (d->rule[i].part[split].from != FROM_NOWHERE)
			return true;
	return false;
}

/* What the target's class costs its state; NULL: nothing, or there is nothing to measure it on. */
static struct action *plan_cost(struct chain *c, const struct plan_target *t)
{
	struct fields param = {0};
	if (t->numerics == NUMERICS_F32 || !has_rows(&c->p->data->d, SPLIT_VALIDATION))
		return NULL;
	struct input in[] = {input_output("state", t->state, 0),
		input_output("weights", plan_weights(c->p, t->state_name, t->state, t->numerics), 0),
		input_output("tokens", c->tokens[SPLIT_VALIDATION], 0)};
	cost_param(c->p->arena, t->numerics, &param);
	struct action *cost = plan_action(c->p, arena_printf(c->p->arena, "%s/cost-%s", t->state_name,
		numerics_classes[t->numerics].name), &rule_cost, &(struct inputs){in, 3}, param);
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

/* NULL: compiled as it is. */
static const struct spec_keep *keep_of(const struct chain *c, const struct plan_target *t)
{
	if (!c->spec)
		return NULL;
	return t->spec->keep.kind == VALUE_TEXT ? &c->spec->keep : &t->spec->keep;
}

static bool satisfies(const struct chain *c, const struct spec_keep *k)
{
	if (!k)
		return true;
	switch (k->kind) {
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

static bool check_keep(const struct chain *c, struct plan_target *t)
{
	const struct spec_keep *k = keep_of(c, t);
	double least = (double)least_bytes(&c->import), total = (double)c->import_bytes, want = total;
	if (!k)
		return true;
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

static bool judged(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct judged *j = ctx;
	(void)b;
	for (size_t i = 0; i < j->t->nverdict; i++) {
		struct json *verdict;
		if (!json_parse(j->c->p->arena, input[i], "verdict", 1, &verdict, e))
			return false;
		const struct json *passed = json_get(verdict, "passed");
		j->t->gate_failed |= !passed || passed->kind != JSON_TRUE;
	}
	j->c->found(j->c->p, j->t);
	return true;
}

const char *plan_gate_json(const struct plan_target *t)
{
	if (!t->nverdict)
		return "null";
	return !t->path ? "\"undecided\"" : t->gate_failed ? "\"failed\"" : "\"passed\"";
}

/* The binary is planned when the gates have spoken: where it goes depends on them. */
static void plan_gates(struct chain *c, struct plan_target *t)
{
	struct arena *a = c->p->arena;
	struct inputs verdicts = {0};
	for (int i = 0; i < t->spec->ngate; i++) {
		const struct spec_gate *g = t->spec->gate[i];
		struct action *reference = g->against == AGAINST_PARENT || !t->evaluate_tuned
			? t->evaluate_parent
			: t->evaluate_tuned;
		struct input in[] = {input_output("reference", reference, EVALUATE_ROWS),
			input_output("candidate", t->evaluate, EVALUATE_ROWS)};
		struct fields param = {0};
		gate_param(a, g, &param);
		struct action *verdict = plan_action(c->p, arena_printf(a, "%s/gate-%d", t->spec->name, i + 1),
			&rule_gate, &(struct inputs){in, 2}, param);
		*arena_push(a, t->verdict, t->nverdict) = verdict;
		plan_add_input(c->p, &verdicts, input_output("verdict", verdict, 0));
	}
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

/* Gives the newest state to the targets that want it; false when none is waiting any more. */
static bool give_states(struct chain *c)
{
	bool waiting = false;
	for (size_t i = 0; i < c->p->ntarget; i++) {
		struct plan_target *t = &c->p->target[i];
		if (!on_chain(c, t) || t->state)
			continue;
		if (!satisfies(c, keep_of(c, t))) {
			waiting = true;
			continue;
		}
		t->state = c->state;
		t->state_name = c->state_name;
		t->nround = c->round;
		t->evaluate_parent = plan_evaluate(c, "import", c->p->import, t->numerics);
		if (c->spec)
			t->evaluate_tuned = plan_evaluate(c, arena_printf(c->p->arena, "%s/round-0",
				c->spec->name), c->tuned, t->numerics);
		t->evaluate = plan_evaluate(c, c->state_name, c->state, t->numerics);
		t->cost = plan_cost(c, t);
		build_want(c->p->build, t->evaluate_parent);
		build_want(c->p->build, t->evaluate);
		plan_gates(c, t);
	}
	return waiting;
}

/* ---- rounds ---- */

static bool next_round(struct chain *c, struct err *e);

static bool chosen(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct chain *c = ctx;
	struct arena *a = c->p->arena;
	struct plan_round *r = arena_push(a, c->p->round, c->p->nround);
	(void)b;
	*r = (struct plan_round){.schedule = c->spec->name, .round = c->round, .score = c->score,
		.choose = c->choose};
	if (!units_read(a, input[0], &r->unit, &r->nunit, e))
		return false;
	for (size_t i = 0; i < r->nunit; i++) {
		struct state next;
		if (!state_drop(a, &c->shadow, r->unit[i], &next, e))
			return false;
		c->shadow = next;
	}
	struct input in[] = {input_output("state", c->state, 0), input_output("units", c->choose, 0)};
	struct action *dropped = plan_action(c->p, named(c, "drop"), &rule_drop, &(struct inputs){in, 2}, (struct fields){0});
	c->state = plan_tune(c, dropped);
	c->state_name = arena_printf(a, "%s/round-%d", c->spec->name, c->round);
	return !give_states(c) || next_round(c, e);
}

static bool next_round(struct chain *c, struct err *e)
{
	size_t left = units_of(&c->shadow);
	if (left < (size_t)c->spec->per_round)
		return err_set(e, ERR_SPEC, "schedule '%s': no units are left to drop", c->spec->name);
	c->round++;
	c->choose = plan_choose(c);
	struct input in = input_output("units", c->choose, 0);
	build_generate(c->p->build, named(c, "next"), &in, 1, chosen, c);
	return true;
}

static bool imported(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct chain *c = ctx;
	bool any = false;
	struct split_list calibration;
	(void)b;
	if (c->spec && (!split_list_open(&calibration, input[1], e) ||
			       !dataset_enough(c->p->data->d.spec, &c->spec->score, calibration.n, e)))
		return false;
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
	if (!plan_tokens(c, e))
		return false;
	if (!c->spec) { /* compiled as it is */
		c->state = c->tuned = c->p->import;
		c->state_name = "import";
		give_states(c);
		return true;
	}
	c->trainable = plan_trainable(c);
	c->state = c->tuned = plan_tune(c, c->p->import);
	c->state_name = arena_printf(c->p->arena, "%s/round-0", c->spec->name);
	return !give_states(c) || next_round(c, e);
}

static bool start_chain(struct plan *p, const struct spec_schedule *s,
	void (*found)(struct plan *p, struct plan_target *t), struct err *e)
{
	struct chain *c = arena_new(p->arena, struct chain);
	bool used = false;
	*c = (struct chain){.p = p, .spec = s, .found = found};
	for (size_t k = 0; k < p->ntarget; k++)
		used = used || on_chain(c, &p->target[k]);
	if (!used)
		return true;
	if (s && !numerics_find(spec_dtypes[s->arithmetic], &c->numerics))
		return spec_err_at(e, s->at, "arithmetic=\"%s\" is not supported yet",
			spec_dtypes[s->arithmetic]);
	if (s && !p->spec->ndataset)
		return spec_err_at(e, s->at, "a schedule needs a <dataset>");
	struct input in[2] = {input_output("state", p->import, 0)};
	size_t n = 1;
	if (s) {
		/* Too few rows are to be known before anything takes long. */
		struct plan_data *data = data_of(p, e);
		if (!data)
			return false;
		in[n++] = input_output("list", data->split, SPLIT_CALIBRATION);
	}
	build_generate(p->build, arena_printf(p->arena, "%s/start", s ? s->name : "data"), in, n, imported, c);
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
