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
	struct action **tokens[NSPLIT];   /* by dataset */
	struct action *trainable;
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

/* A file of the user, named once, whatever the sets that read it. */
static bool add_file(struct plan *p, const struct plan_data *data, const struct dataset_file *f, struct err *e)
{
	for (size_t i = 0; i < p->ninput; i++) {
		if (!strcmp(p->input[i].path, f->path))
			return true;
		if (!strcmp(p->input[i].name, f->name))
			return spec_err_at(e, data->d.spec->at, "two files are '%s' below their roots", f->name);
	}
	*arena_push(p->arena, p->input, p->ninput) = (struct plan_input){f->name, f->path};
	return true;
}

static bool plan_rows(struct plan *p, struct plan_data *data, struct err *e)
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
		if (!add_file(p, data, &d->file[i], e))
			return false;
	}
	return true;
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

/* Rows and splits of the spec's datasets, planned once. */
static struct plan_data *data_of(struct plan *p, struct err *e)
{
	if (p->data)
		return p->data;
	struct plan_data *data = arena_array(p->arena, struct plan_data, p->spec->ndataset);
	for (int i = 0; i < p->spec->ndataset; i++) {
		if (!dataset_open(p->arena, &p->spec->dataset[i], &data[i].d, e) || !plan_rows(p, &data[i], e))
			return NULL;
		plan_split(p, &data[i]);
	}
	return p->data = data;
}

/* Whether a split of the dataset asks for such rows; then there are some (split.h). */
static bool has_rows(const struct dataset *d, enum split split)
{
	for (size_t i = 0; i < d->nrule; i++)
		if (d->rule[i].part[split].from != FROM_NOWHERE)
			return true;
	return false;
}

struct action *plan_bpe(struct plan *p, struct err *e)
{
	const struct spec_model *m = &p->spec->model;
	const struct spec_tokenizer *t = &m->tokenizer;
	struct plan_data *data = data_of(p, e);
	struct fields param = {0};
	struct inputs in = {0};
	if (!data)
		return NULL;
	if (!t->ndataset) {
		spec_err_at(e, t->at, "no <dataset> has train rows to train a tokenizer on");
		return NULL;
	}
	for (int i = 0; i < t->ndataset; i++) {
		const struct plan_data *set = &data[t->dataset[i]];
		const char *prefix = bpe_prefix(p->arena, (size_t)i, (size_t)t->ndataset);
		struct fields of_set = {0};
		for (size_t k = 0; k < set->rows.n; k++)
			plan_add_input(p, &in, input_output(arena_printf(p->arena, "%srows", prefix),
				set->rows.input[k].action, 0));
		plan_add_input(p, &in, input_output(arena_printf(p->arena, "%slist", prefix), set->split, SPLIT_TRAIN));
		dataset_tokenise_param(p->arena, &set->d, m->context, &of_set);
		for (size_t k = 0; k < of_set.nfield; k++)
			fields_add(p->arena, &param, arena_printf(p->arena, "%s%s", prefix, of_set.field[k].name),
				of_set.field[k].value);
	}
	fields_add(p->arena, &param, "vocab", plan_number(p, t->vocab));
	return plan_action(p, "tokenizer", &rule_bpe, &in, param);
}

static void plan_set_tokens(struct chain *c, int set)
{
	struct plan *p = c->p;
	struct plan_data *data = &p->data[set];
	const char *name = data->d.spec->name;
	struct fields param = {0};
	dataset_tokenise_param(p->arena, &data->d, c->import.config.context, &param);
	for (int k = 0; k < NSPLIT; k++) {
		struct inputs in = with_rows(p, data);
		plan_add_input(p, &in, input_output("list", data->split, (size_t)k));
		plan_add_input(p, &in, input_output("tokenizer", p->tokenizer, 0));
		c->tokens[k][set] = plan_action(p, arena_printf(p->arena, "data/%s/tokens.%s", name, split_names[k]),
			&rule_tokenise, &in, param);
	}
	p->task[set] = plan_action(p, arena_printf(p->arena, "data/%s/task", name), &rule_task, &(struct inputs){0},
		param);
}

static bool plan_tokens(struct chain *c, struct err *e)
{
	struct plan *p = c->p;
	if (!data_of(p, e))
		return false;
	p->task = arena_array(p->arena, struct action *, p->spec->ndataset);
	for (int k = 0; k < NSPLIT; k++)
		c->tokens[k] = arena_array(p->arena, struct action *, p->spec->ndataset);
	for (int i = 0; i < p->spec->ndataset; i++)
		plan_set_tokens(c, i);
	return true;
}

/* Tokens of several sets as inputs "rows", and their shares as the parameter "weights", in millionths, where
 * all of them have one. */
static void add_sets(struct chain *c, enum split split, const int *set, int n, struct inputs *in,
	struct fields *param)
{
	double sum = 0;
	bool weights = n > 1;
	struct strbuf text;
	for (int i = 0; i < n; i++) {
		double weight = c->p->spec->dataset[set[i]].weight;
		plan_add_input(c->p, in, input_output("rows", c->tokens[split][set[i]], 0));
		weights = weights && weight > 0;
		sum += weight;
	}
	if (!weights)
		return;
	strbuf_init(&text);
	for (int i = 0; i < n; i++)
		strbuf_addf(&text, "%s%.0f", i ? " " : "", c->p->spec->dataset[set[i]].weight / sum * SHARE_ALL);
	fields_add(c->p->arena, param, "weights", arena_strdup(c->p->arena, text.s));
	strbuf_release(&text);
}

/* ---- actions of a round ---- */

static const char *named(struct chain *c, const char *what)
{
	return arena_printf(c->p->arena, "%s/round-%d/%s", c->spec->name, c->round, what);
}

static struct action *plan_score(struct chain *c, const char *name, struct action *state)
{
	const struct spec_score *s = &c->spec->score;
	struct fields param = {0};
	struct inputs in = {0};
	plan_add_input(c->p, &in, input_output("state", state, 0));
	add_sets(c, SPLIT_CALIBRATION, s->on, s->non, &in, &param);
	fields_add(c->p->arena, &param, "numerics", numerics_classes[c->numerics].name);
	fields_add(c->p->arena, &param, "rows", plan_number(c->p, s->rows));
	return plan_action(c->p, name, &rule_score, &in, param);
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
	struct inputs in = {0};
	int *set = NULL, nset = 0;
	enum { MICRO_ROWS = 512 };
	for (int i = 0; i < c->p->spec->ndataset; i++)
		if (has_rows(&c->p->data[i].d, SPLIT_TRAIN))
			*arena_push(a, set, nset) = i;
	plan_add_input(c->p, &in, input_output("state", state, 0));
	add_sets(c, SPLIT_TRAIN, set, nset, &in, &param);
	plan_add_input(c->p, &in, input_output("trainable", c->trainable, 0));
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
	return plan_action(c->p, named(c, "tune"), &rule_tune, &in, param);
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

/* What the numerics class of a target makes of a state: its name, and "NAME" of the action below the state. */
struct measured_state {
	const char *name;
	struct action *state;
	enum numerics numerics;
};

static const char *measure_name(const struct chain *c, const struct measured_state *s, const char *what, int set)
{
	return plan_set_name(c->p, arena_printf(c->p->arena, "%s/%s-%s", s->name, what,
		numerics_classes[s->numerics].name), set);
}

static struct action *plan_evaluate(struct chain *c, const struct measured_state *s, int set)
{
	struct fields param = {0};
	struct input in[] = {input_output("shape", plan_shape(c->p, s->name, s->state), 0),
		input_output("weights", plan_weights(c->p, s->name, s->state, s->numerics), 0),
		input_output("tokens", c->tokens[SPLIT_TEST][set], 0)};
	evaluate_param(c->p->arena, s->numerics, &param);
	return plan_action(c->p, measure_name(c, s, "evaluate", set), &rule_evaluate, &(struct inputs){in, 3}, param);
}

/* What the target's class costs its state; NULL: nothing, or there is nothing to measure it on. */
static struct action *plan_cost(struct chain *c, const struct measured_state *s, int set)
{
	struct fields param = {0};
	if (s->numerics == NUMERICS_F32 || !has_rows(&c->p->data[set].d, SPLIT_VALIDATION))
		return NULL;
	struct input in[] = {input_output("state", s->state, 0),
		input_output("weights", plan_weights(c->p, s->name, s->state, s->numerics), 0),
		input_output("tokens", c->tokens[SPLIT_VALIDATION][set], 0)};
	cost_param(c->p->arena, s->numerics, &param);
	struct action *cost = plan_action(c->p, measure_name(c, s, "cost", set), &rule_cost, &(struct inputs){in, 3},
		param);
	build_want(c->p->build, cost);
	return cost;
}

static void plan_measures(struct chain *c, struct plan_target *t, int set)
{
	const struct measured_state parent = {"import", c->p->import, t->numerics},
		own = {t->state_name, t->state, t->numerics};
	struct plan_measures *m = &t->on[set];
	m->evaluate_parent = plan_evaluate(c, &parent, set);
	if (c->spec)
		m->evaluate_tuned = plan_evaluate(c, &(struct measured_state){arena_printf(c->p->arena, "%s/round-0",
			c->spec->name), c->tuned, t->numerics}, set);
	m->evaluate = plan_evaluate(c, &own, set);
	m->cost = plan_cost(c, &own, set);
	build_want(c->p->build, m->evaluate_parent);
	build_want(c->p->build, m->evaluate);
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

/* A gate of a target on a dataset. */
static struct action *plan_verdict(struct chain *c, struct plan_target *t, int gate, int set)
{
	struct arena *a = c->p->arena;
	const struct spec_gate *g = t->spec->gate[gate];
	const struct plan_measures *m = &t->on[set];
	struct action *reference = g->against == AGAINST_PARENT || !m->evaluate_tuned ? m->evaluate_parent
										      : m->evaluate_tuned;
	struct input in[] = {input_output("reference", reference, EVALUATE_ROWS),
		input_output("candidate", m->evaluate, EVALUATE_ROWS)};
	struct fields param = {0};
	gate_param(a, g, &param);
	if (c->p->spec->ndataset > 1)
		fields_add(a, &param, "dataset", c->p->spec->dataset[set].name);
	return plan_action(c->p, plan_set_name(c->p, arena_printf(a, "%s/gate-%d", t->spec->name, gate + 1), set),
		&rule_gate, &(struct inputs){in, 2}, param);
}

/* The binary is planned when the gates have spoken: where it goes depends on them. */
static void plan_gates(struct chain *c, struct plan_target *t)
{
	struct arena *a = c->p->arena;
	struct inputs verdicts = {0};
	for (int i = 0; i < t->spec->ngate; i++)
		for (int k = 0; k < c->p->spec->ndataset; k++) {
			if (t->spec->gate[i]->dataset >= 0 && t->spec->gate[i]->dataset != k)
				continue;
			struct action *verdict = plan_verdict(c, t, i, k);
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
		t->on = arena_array(c->p->arena, struct plan_measures, c->p->spec->ndataset);
		for (int k = 0; k < c->p->spec->ndataset; k++)
			plan_measures(c, t, k);
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
	struct inputs in = {0};
	plan_add_input(p, &in, input_output("state", p->import, 0));
	if (s && !data_of(p, e))
		return false;
	/* Too few rows are to be known before anything takes long. */
	for (int i = 0; s && i < s->score.non; i++)
		plan_add_input(p, &in, input_output("list", p->data[s->score.on[i]].split, SPLIT_CALIBRATION));
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
