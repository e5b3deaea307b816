/* The actions of a chain: data, scores, rounds, and what follows them when rows are new. */
#include <math.h>

#include "chain_parts.h"
#include "plan_data.h"

/* ---- data ---- */

/* Of a set at a time of the lineage; the first is the one of all rounds. */
const struct lineage_set *chain_rows(const struct chain *c, size_t time, int set)
{
	return c->line ? &c->line->time[time][set] : NULL;
}

/* Tokens as they were at a time, or of the rows that there are. */
struct action *chain_tokens(struct chain *c, enum split split, int set, const struct lineage_set *at)
{
	return plan_data_tokens(c->p, set, split, at, c->import.config.context);
}

/* All but those of test rows, which no one names before there is a state to evaluate. */
bool chain_data(struct chain *c, struct err *e)
{
	struct plan *p = c->p;
	if (!plan_data(p, e))
		return false;
	p->task = arena_array(p->arena, struct action *, p->spec->ndataset);
	for (int i = 0; i < p->spec->ndataset; i++) {
		for (enum split k = 0; k < NSPLIT; k++)
			if (k != SPLIT_TEST)
				chain_tokens(c, k, i, chain_rows(c, 0, i));
		p->task[i] = plan_data_task(p, i, c->import.config.context);
	}
	return true;
}

/* Datasets whose rows of a split an action reads. */
struct sets {
	enum split split;
	const char *rows, *weights; /* names of the inputs, and of the parameter */
	int *set, n;
	size_t time; /* of the lineage */
};

/* Those of the spec that ask for such rows. */
static struct sets sets_with(struct chain *c, enum split split, const char *rows, const char *weights)
{
	struct sets s = {.split = split, .rows = rows, .weights = weights};
	for (int i = 0; i < c->p->spec->ndataset; i++)
		if (plan_data_asks(&c->p->data[i].d, split))
			*arena_push(c->p->arena, s.set, s.n) = i;
	return s;
}

/* Their tokens as inputs, and their shares as the parameter, in millionths, where all of them have one. */
static void add_sets(struct chain *c, const struct sets *s, struct inputs *in, struct fields *param)
{
	double sum = 0;
	bool weights = s->n > 1;
	struct strbuf text;
	for (int i = 0; i < s->n; i++) {
		double weight = c->p->spec->dataset[s->set[i]].weight;
		plan_add_input(c->p, in, input_output(s->rows, chain_tokens(c, s->split, s->set[i],
			chain_rows(c, s->time, s->set[i])), 0));
		weights = weights && weight > 0;
		sum += weight;
	}
	if (!weights)
		return;
	strbuf_init(&text);
	for (int i = 0; i < s->n; i++)
		strbuf_addf(&text, "%s%.0f", i ? " " : "", c->p->spec->dataset[s->set[i]].weight / sum * SHARE_ALL);
	fields_add(c->p->arena, param, s->weights, arena_strdup(c->p->arena, text.s));
	strbuf_release(&text);
}

/* What no drop can take away. */
uint64_t chain_least_bytes(const struct state *s)
{
	uint64_t bytes = 0;
	struct unit u;
	for (size_t i = 0; i < s->ntensor; i++)
		if (!unit_of_tensor(s->tensor[i].name, &u))
			bytes += s->tensor[i].bytes;
	return bytes;
}

/* ---- actions of a round ---- */

const char *chain_named(struct chain *c, const char *what)
{
	return arena_printf(c->p->arena, "%s/round-%d/%s", c->spec->name, c->round, what);
}

/* What a round drops at least, where the spec says a share. */
static int64_t bytes_of_round(const struct chain *c)
{
	return (int64_t)ceil(c->spec->per_round_share * (double)c->import_bytes);
}

/* How many neighbouring blocks a round drops; all blocks of an import are alike. */
static int64_t run_of_blocks(const struct chain *c)
{
	double all = (double)(c->import_bytes - chain_least_bytes(&c->import));
	int64_t run = c->spec->per_round;
	return run ? run : (int64_t)ceil((double)bytes_of_round(c) * c->import.config.layers / all);
}

static struct action *plan_score(struct chain *c, const char *name, struct action *state,
	enum spec_score_method method, enum spec_unit unit)
{
	const struct spec_score *s = &c->spec->score;
	unsigned reads = spec_score_traits[method].reads;
	struct arena *a = c->p->arena;
	struct fields param = {0};
	struct inputs in = {0};
	plan_add_input(c->p, &in, input_output("state", state, 0));
	fields_add(a, &param, "method", spec_score_methods[method]);
	fields_add(a, &param, "unit", spec_units[unit]);
	fields_add(a, &param, "numerics", numerics_classes[c->numerics].name);
	rule_device_param(a, c->device, &param);
	if (reads & READS_ROWS) {
		add_sets(c, &(struct sets){SPLIT_CALIBRATION, "rows", "weights", s->on, s->non, 0}, &in, &param);
		fields_add(a, &param, "rows", plan_number(c->p, s->rows));
	}
	if (reads & READS_COUNT)
		fields_add(a, &param, "count", plan_number(c->p, run_of_blocks(c)));
	if (reads & READS_SEED)
		fields_add(a, &param, "seed", plan_number(c->p, c->spec->tune.seed));
	if (reads & READS_UNITS)
		fields_add(a, &param, "units", s->units);
	return plan_action(c->p, name, &rule_score, &in, param);
}

struct action *chain_trainable(struct chain *c, const struct spec_tune *tune, const char *name)
{
	struct fields param = {0};
	struct input in[2] = {input_output("state", c->p->import, 0)};
	size_t n = 1;
	double share = tune->method == TUNE_FULL ? 1 : tune->trainable;
	if (share < 1)
		in[n++] = input_output("scores", plan_score(c, arena_printf(c->p->arena, "%s/parent/score",
			c->spec->name), c->p->import, SCORE_SCAN, UNIT_HALF), 0);
	fields_add(c->p->arena, &param, "share", arena_printf(c->p->arena, "%.9g", share));
	fields_add(c->p->arena, &param, "embeddings", tune->train_embeddings ? "1" : "0");
	return plan_action(c->p, arena_printf(c->p->arena, "%s/trainable", name), &rule_trainable,
		&(struct inputs){in, n}, param);
}

/* What a tune is given beside its state, its rows and how often it sees them. time: of the lineage, for looks. */
static void add_tuning(struct chain *c, const struct spec_tune *t, struct action *trainable, size_t time, struct inputs *in,
	struct fields *param)
{
	struct arena *a = c->p->arena;
	enum { MICRO_ROWS = 512 };
	plan_add_input(c->p, in, input_output("trainable", trainable, 0));
	fields_add(a, param, "numerics", numerics_classes[c->numerics].name);
	rule_device_param(a, c->device, param);
	fields_add(a, param, "batch", plan_number(c->p, t->batch * (t->accumulate > 1 ? t->accumulate : 1)));
	fields_add(a, param, "seed", plan_number(c->p, t->seed));
	fields_add(a, param, "micro", plan_number(c->p, MICRO_ROWS));
	fields_add(a, param, "rate", arena_printf(a, "%.9g", t->learning_rate));
	fields_add(a, param, "warm-up", arena_printf(a, "%.9g", t->warm_up));
	fields_add(a, param, "weight-decay", arena_printf(a, "%.9g", t->weight_decay));
	fields_add(a, param, "clip", arena_printf(a, "%.9g", t->clip));
	fields_add(a, param, "decay", spec_decays[t->decay]);
	if (t->method == TUNE_LORA) {
		fields_add(a, param, "rank", plan_number(c->p, t->rank));
		fields_add(a, param, "alpha", arena_printf(a, "%.9g", t->alpha));
	}
	if (t->distill > 0) {
		plan_add_input(c->p, in, input_output("parent", c->p->import, 0));
		fields_add(a, param, "distill", arena_printf(a, "%.9g", t->distill));
		fields_add(a, param, "temperature", arena_printf(a, "%.9g", t->temperature));
	}
	if (t->patience) {
		struct sets looks = sets_with(c, SPLIT_VALIDATION, "validation", "validation.weights");
		looks.time = time;
		add_sets(c, &looks, in, param);
		fields_add(a, param, "patience", plan_number(c->p, t->patience));
		if (t->validate_every)
			fields_add(a, param, "validate-every", plan_number(c->p, t->validate_every));
	}
}

struct action *chain_tune(struct chain *c, const struct spec_tune *t, struct action *state, struct action *trainable,
	const char *name)
{
	struct fields param = {0};
	struct inputs in = {0};
	struct sets train = sets_with(c, SPLIT_TRAIN, "rows", "weights");
	plan_add_input(c->p, &in, input_output("state", state, 0));
	add_sets(c, &train, &in, &param);
	if (t->steps)
		fields_add(c->p->arena, &param, "steps", plan_number(c->p, t->steps));
	else
		fields_add(c->p->arena, &param, "epochs", plan_number(c->p, t->epochs));
	add_tuning(c, t, trainable, 0, &in, &param);
	return plan_action(c->p, name, &rule_tune, &in, param);
}

/* ---- going on with new rows ---- */

/* Rows of a set that came with a time, and its share of old ones; NULL: it trains nothing. */
static struct action *plan_fresh(struct chain *c, const struct sets *train, size_t time, int set)
{
	struct arena *a = c->p->arena;
	struct fields param = {0};
	struct inputs in = {0};
	for (int i = 0; i < train->n; i++)
		for (size_t k = 0; k < 2; k++)
			plan_add_input(c->p, &in, input_output(arena_printf(a, "%s.%s", k ? "now" : "was",
				c->p->spec->dataset[train->set[i]].name), plan_data_split(c->p, train->set[i],
				chain_rows(c, time - 1 + k, train->set[i])), SPLIT_TRAIN));
	fields_add(a, &param, "set", c->p->spec->dataset[set].name);
	fields_add(a, &param, "seed", plan_number(c->p, c->spec->tune.seed));
	return plan_action(c->p, plan_set_name(c->p, arena_printf(a, "%s/continue-%zu/fresh", c->spec->name, time), set),
		&rule_fresh, &in, param);
}

/* One pass from a state on, by size: a weight would repeat a set's new rows. */
static struct found plan_pass(struct chain *c, struct found s, size_t time, const char *name, struct plan_continued *out)
{
	struct arena *a = c->p->arena;
	struct fields param = {0};
	struct inputs in = {0};
	struct sets train = sets_with(c, SPLIT_TRAIN, "rows", NULL);
	*out = (struct plan_continued){s.state, arena_array(a, struct action *, c->p->spec->ndataset)};
	plan_add_input(c->p, &in, input_output("state", s.state, 0));
	for (int i = 0; i < train.n; i++) {
		int set = train.set[i];
		out->fresh[set] = plan_fresh(c, &train, time, set);
		plan_add_input(c->p, &in, input_output("rows", plan_data_list(c->p, set, input_output("list", out->fresh[set],
			FRESH_LIST), plan_set_name(c->p, arena_printf(a, "%s/continue-%zu/tokens", c->spec->name, time), set),
			c->import.config.context), 0));
	}
	fields_add(a, &param, "epochs", "1");
	add_tuning(c, &c->spec->tune, c->trainable, time, &in, &param);
	return (struct found){plan_action(c->p, arena_printf(a, "%s/tune", name), &rule_tune, &in, param), name, s.round};
}

/* A state with all passes that followed behind it: what is measured on test rows, and ships. passes may be NULL. */
struct found chain_continued(struct chain *c, struct found s, struct plan_target *t)
{
	const char *name = s.name;
	for (size_t i = 1; c->line && i < c->line->n; i++) {
		struct plan_continued pass;
		s = plan_pass(c, s, i, arena_printf(c->p->arena, "%s/continue-%zu", name, i), &pass);
		if (t)
			*arena_push(c->p->arena, t->continued, t->ncontinued) = pass;
	}
	return s;
}

/* By scores of this round, or of the newest one that scored. */
struct action *chain_choose(struct chain *c)
{
	const struct spec_score *s = &c->spec->score;
	struct arena *a = c->p->arena;
	struct fields param = {0};
	struct strbuf order;
	if ((c->round - 1) % s->scan_every == 0) {
		c->score = plan_score(c, chain_named(c, "score"), c->state, s->method, c->spec->unit);
		c->scored = c->round;
	}
	struct input in[] = {input_output("state", c->state, 0), input_output("scores", c->score, 0),
		input_output("import", c->p->import, 0)};
	bool weighs = s->per_byte || !c->spec->per_round;
	strbuf_init(&order);
	for (int i = 0; i < s->ntie_break; i++)
		strbuf_addf(&order, "%s%s", i ? " " : "", spec_tie_breaks[s->tie_break[i]]);
	if (c->spec->per_round)
		fields_add(a, &param, "count", plan_number(c->p, c->spec->per_round));
	else
		fields_add(a, &param, "bytes", plan_number(c->p, bytes_of_round(c)));
	if (s->per_byte)
		fields_add(a, &param, "per", "byte");
	if (s->ntie_break)
		fields_add(a, &param, "tie-break", arena_strdup(a, order.s));
	strbuf_release(&order);
	return plan_action(c->p, chain_named(c, "choose"), &rule_choose,
		&(struct inputs){in, weighs ? NELEM(in) : NELEM(in) - 1}, param);
}
