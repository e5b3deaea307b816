/* The tree of a checked spec as structs; nothing can fail here. */
#include "spec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "spec_build.h"

struct build {
	struct arena *a;
	struct xml_node *root;
};

static int64_t get_count(struct build *b, const struct xml_node *n, const char *attr)
{
	struct spec_value *v = spec_values(b->a, n, attr, NULL);
	return v ? v->count : 0;
}

static double get_number(struct build *b, const struct xml_node *n, const char *attr)
{
	struct spec_value *v = spec_values(b->a, n, attr, NULL);
	return v ? v->number : 0;
}

/* Enums count from 0 in the order of the words, which the words of spec_table.h are indexed by. */
static int get_word(const struct xml_node *n, const char *attr, const char *const *words)
{
	const char *value = xml_value(n, attr);
	int i = value ? spec_word_index(words, value) : 0;
	if (i < 0)
		BUG("'%s' of <%s> passed the check as '%s'", attr, n->name, value);
	return i;
}

static int get_index(struct build *b, const char *element, const char *name)
{
	struct xml_node *n;
	int index = 0;
	for (int i = 0; name && (n = xml_next(b->root, element, &i)); index++)
		if (strcmp(xml_value(n, "name"), name) == 0)
			return index;
	return -1;
}

/* The datasets that a list names, as they stand in the spec; without the list those with rows of that part. */
static int *get_datasets(struct build *b, const struct xml_node *n, const char *attr, const char *part, int *count)
{
	const struct xml_node *dataset;
	int *list = NULL, nv = 0;
	struct spec_value *v = spec_values(b->a, n, attr, &nv);
	*count = 0;
	for (int i = 0, index = 0; (dataset = xml_next(b->root, "dataset", &i)); index++) {
		bool named = !v && spec_asks_for(dataset, part);
		for (int k = 0; v && k < nv; k++)
			named = named || !strcmp(xml_value(dataset, "name"), v[k].word);
		if (named)
			*arena_push(b->a, list, *count) = index;
	}
	return list;
}

static const struct spec_path *get_path(const struct xml_node *n, const char *attr)
{
	const struct xml_attr *at = xml_attr(n, attr);
	return at ? at->path : NULL;
}

static struct spec_keep get_keep(struct build *b, const struct xml_node *n)
{
	const struct xml_attr *at = xml_attr(n, "keep");
	struct spec_value *v = spec_values(b->a, n, "keep", NULL);
	if (!v)
		return (struct spec_keep){.kind = VALUE_TEXT, .text = "", .at = n->at};
	return (struct spec_keep){v->kind, v->number, v->count, at->value, at->value_at};
}

static struct spec_share get_share(struct build *b, const struct xml_node *n, const char *attr)
{
	struct spec_value *v = spec_values(b->a, n, attr, NULL);
	if (!v)
		return (struct spec_share){.kind = VALUE_TEXT};
	return (struct spec_share){v->kind, v->kind == VALUE_SHARE ? v->number : 0, get_path(n, attr)};
}

static struct spec_text get_text(const struct xml_node *n)
{
	return n ? (struct spec_text){n->text, n->text_bytes, n->at} : (struct spec_text){0};
}

static void build_model(struct build *b, const struct xml_node *n, struct spec_model *m)
{
	*m = (struct spec_model){
		.source = xml_attr(n, "path")	? MODEL_PATH
			  : xml_attr(n, "hub") ? MODEL_HUB
					       : MODEL_RANDOM,
		.path = get_path(n, "path"),
		.hub = xml_value(n, "hub"),
		.revision = xml_value(n, "revision"),
		.arch = xml_value(n, "arch"),
		.seed = get_count(b, n, "seed"),
		.layers = get_count(b, n, "layers"),
		.width = get_count(b, n, "width"),
		.ffn = get_count(b, n, "ffn"),
		.heads = get_count(b, n, "heads"),
		.kv_heads = get_count(b, n, xml_attr(n, "kv-heads") ? "kv-heads" : "heads"),
		.context = get_count(b, n, "context"),
		.tokenizer = {.at = n->at},
		.at = n->at,
	};
	const struct xml_node *t = xml_child(n, "tokenizer", 0);
	if (!t)
		return;
	m->tokenizer = (struct spec_tokenizer){
		.path = get_path(t, "path"),
		.train = xml_value(t, "train"),
		.vocab = get_count(b, t, "vocab"),
		.at = t->at,
	};
	m->tokenizer.dataset = get_datasets(b, t, "dataset", "train", &m->tokenizer.ndataset);
}

static void build_task(struct build *b, const struct xml_node *n, struct spec_task *t)
{
	const struct xml_node *choices = xml_child(n, "choices", 0), *answer = xml_child(n, "answer", 0);
	*t = (struct spec_task){
		.kind = (enum spec_task_kind)get_word(n, "kind", spec_task_kinds),
		.length = get_count(b, n, "length"),
		.on_long = (enum spec_on_long)get_word(n, "on-long", spec_on_longs),
		.delimiter = xml_value(n, "delimiter"),
		.row = (enum spec_row_unit)get_word(n, "row", spec_row_units),
		.messages = xml_value(n, "messages"),
		.prompt = get_text(xml_child(n, "prompt", 0)),
		.choices_field = choices ? xml_value(choices, "field") : NULL,
		.answer_field = answer ? xml_value(answer, "field") : NULL,
		.at = n->at,
	};
	if (answer && !t->answer_field)
		t->answer = get_text(answer);
	struct xml_node *c;
	for (int i = 0; (c = xml_next(n, "choice", &i));)
		*arena_push(b->a, t->choice, t->nchoice) = get_text(c);
}

static void build_dataset(struct build *b, const struct xml_node *n, struct spec_dataset *d)
{
	*d = (struct spec_dataset){
		.name = xml_value(n, "name"),
		.format = (enum spec_format)get_word(n, "format", spec_formats),
		.path = get_path(n, "path"),
		.weight = get_number(b, n, "weight"),
		.at = n->at,
	};
	struct xml_node *c;
	for (int i = 0; (c = xml_next(n, "split", &i));)
		*arena_push(b->a, d->split, d->nsplit) = (struct spec_split){
			.path = xml_attr(c, "path") ? get_path(c, "path") : d->path,
			.by = xml_value(c, "by"),
			.test = get_share(b, c, "test"),
			.train = get_share(b, c, "train"),
			.calibration = get_share(b, c, "calibration"),
			.validation = get_share(b, c, "validation"),
			.at = c->at,
		};
	build_task(b, xml_child(n, "task", 0), &d->task);
}

static void build_score(struct build *b, const struct xml_node *n, struct spec_score *s)
{
	*s = (struct spec_score){
		.method = (enum spec_score_method)get_word(n, "method", spec_score_methods),
		.rows = get_count(b, n, "rows"),
		.units = xml_value(n, "units"),
		.scan_every = get_count(b, n, "scan-every"),
		.per_byte = get_word(n, "per", spec_pers) == PER_BYTE,
		.at = n->at,
	};
	int nv = 0;
	struct spec_value *v = spec_values(b->a, n, "tie-break", &nv);
	for (int i = 0; v && i < nv; i++) {
		bool twice = false;
		for (int k = 0; k < s->ntie_break; k++)
			twice = twice || (int64_t)s->tie_break[k] == v[i].count;
		if (!twice)
			s->tie_break[s->ntie_break++] = (enum spec_tie_break)v[i].count;
	}
	s->on = get_datasets(b, n, "on", "calibration", &s->non);
}

static void build_tune(struct build *b, const struct xml_node *n, struct spec_tune *t)
{
	*t = (struct spec_tune){
		.method = (enum spec_tune_method)get_word(n, "method", spec_tune_methods),
		.epochs = get_count(b, n, "epochs"),
		.steps = get_count(b, n, "steps"),
		.counts_chain = get_word(n, "counts", spec_counts) == COUNTS_CHAIN,
		.batch = get_count(b, n, "batch"),
		.accumulate = get_count(b, n, "accumulate"),
		.seed = get_count(b, n, "seed"),
		.rank = get_count(b, n, "rank"),
		.learning_rate = get_number(b, n, "learning-rate"),
		.warm_up = get_number(b, n, "warm-up"),
		.weight_decay = get_number(b, n, "weight-decay"),
		.clip = get_number(b, n, "clip"),
		.trainable = xml_attr(n, "trainable") ? get_number(b, n, "trainable") : 1,
		.alpha = xml_attr(n, "alpha") ? get_number(b, n, "alpha") : 2 * (double)get_count(b, n, "rank"),
		.distill = get_number(b, n, "distill"),
		.temperature = get_number(b, n, "temperature"),
		.patience = get_count(b, n, "patience"),
		.validate_every = get_count(b, n, "validate-every"),
		.decay = (enum spec_decay)get_word(n, "decay", spec_decays),
		.train_embeddings = strcmp(xml_value(n, "embeddings"), "train") == 0,
		.on_new_rows = (enum spec_new_rows)get_word(n, "on-new-rows", spec_new_rows_words),
		.at = n->at,
	};
}

static void build_schedule(struct build *b, const struct xml_node *n, struct spec_schedule *s)
{
	const struct spec_value *per_round = spec_values(b->a, n, "per-round", NULL);
	*s = (struct spec_schedule){
		.name = xml_value(n, "name"),
		.group = n->group ? n->group : xml_value(n, "name"),
		.keep = get_keep(b, n),
		.unit = (enum spec_unit)get_word(n, "unit", spec_units),
		.device = (enum spec_device)get_word(n, "device", spec_devices),
		.math = (enum spec_math)get_word(n, "math", spec_maths),
		.arithmetic = (enum spec_dtype)get_word(n, "arithmetic", spec_dtypes),
		.per_round = per_round->kind == VALUE_COUNT ? per_round->count : 0,
		.per_round_share = per_round->kind == VALUE_SHARE ? per_round->number : 0,
		.states = (enum spec_states)get_word(n, "states", spec_states_words),
		.later = n->later,
		.at = n->at,
	};
	build_score(b, xml_child(n, "score", 0), &s->score);
	build_tune(b, xml_child(n, "tune", 0), &s->tune);
}

static struct spec_gate build_gate(struct build *b, const struct xml_node *n)
{
	const struct spec_value *margin = spec_values(b->a, n, "margin", NULL);
	return (struct spec_gate){
		.against = (enum spec_reference)get_word(n, "against", spec_references),
		.metric = (enum spec_metric)get_word(n, "metric", spec_metrics),
		.target = get_index(b, "target", xml_value(n, "target")),
		.margin = margin->number,
		.relative = margin->kind == VALUE_SHARE,
		.confidence = get_number(b, n, "confidence"),
		.dataset = get_index(b, "dataset", xml_value(n, "dataset")),
		.at = n->at,
	};
}

static void build_hardware(struct build *b, const struct xml_node *target, struct spec_hardware *h)
{
	const struct xml_attr *at = xml_attr(target, "hardware");
	const char **name;
	int n = spec_items(b->a, at->row, at->value, &name);
	for (int k = 0; k < n; k++) {
		struct xml_node *c;
		for (int i = 0; (c = xml_next(b->root, "hardware", &i));) {
			if (strcmp(xml_value(c, "name"), name[k]) != 0)
				continue;
			if (xml_value(c, "cpu"))
				*arena_push(b->a, h->cpu, h->ncpu) = xml_value(c, "cpu");
			if (xml_value(c, "gpu"))
				*arena_push(b->a, h->gpu, h->ngpu) = xml_value(c, "gpu");
		}
	}
}

static void build_target(struct build *b, const struct xml_node *n, const struct spec *s,
	struct spec_target *t)
{
	*t = (struct spec_target){
		.name = xml_value(n, "name"),
		.group = n->group ? n->group : xml_value(n, "name"),
		.hardware = {.name = xml_value(n, "hardware"), .at = xml_attr(n, "hardware")->value_at},
		.weights = (enum spec_dtype)get_word(n, "weights", spec_dtypes),
		.head = (enum spec_dtype)get_word(n, xml_attr(n, "head") ? "head" : "weights", spec_dtypes),
		.activations = (enum spec_dtype)get_word(n, "activations", spec_dtypes),
		.kv = (enum spec_dtype)get_word(n, "kv", spec_dtypes),
		.keep = get_keep(b, n),
		.context = get_count(b, n, "context"),
		.threads = get_count(b, n, "threads"),
		.memory_bytes = get_number(b, n, "memory"),
		.system = xml_value(n, "system"),
		.later = n->later,
		.at = n->at,
	};
	struct xml_node *c = xml_child(n, "tune", 0);
	int nv = 0;
	struct spec_value *schedule = spec_values(b->a, n, "schedule", &nv);
	for (int i = 0; i < nv; i++)
		*arena_push(b->a, t->schedule, t->nschedule) = get_index(b, "schedule", schedule[i].word);
	build_hardware(b, n, &t->hardware);
	if (c) {
		t->tune = arena_new(b->a, struct spec_tune);
		build_tune(b, c, t->tune);
	}
	for (int i = 0; (c = xml_next(n, "gate", &i));) {
		struct spec_gate *g = arena_new(b->a, struct spec_gate);
		*g = build_gate(b, c);
		*arena_push(b->a, t->gate, t->ngate) = g;
	}
	for (int i = 0; i < s->ngate && !xml_child(n, "gate", 0); i++)
		*arena_push(b->a, t->gate, t->ngate) = &s->gate[i];
}

void spec_build(struct spec_files *fs, struct xml_node *root, struct spec *s)
{
	struct build b = {fs->arena, root};
	struct xml_node *n;
	s->name = xml_value(root, "name");
	s->file = root->at.file;
	s->project = fs->project;
	s->files = fs->file;
	s->nfiles = fs->nfile;
	build_model(&b, xml_child(root, "model", 0), &s->model);
	for (int i = 0; i < root->nchild; i++) {
		static const char *const own[] = {"schedule", "target", "hardware", NULL};
		if (root->child[i]->later && spec_word_index(own, root->child[i]->name) < 0)
			s->later = true;
	}
	for (int i = 0; (n = xml_next(root, "dataset", &i));)
		build_dataset(&b, n, arena_push(b.a, s->dataset, s->ndataset));
	for (int i = 0; (n = xml_next(root, "schedule", &i));)
		build_schedule(&b, n, arena_push(b.a, s->schedule, s->nschedule));
	for (int i = 0; (n = xml_next(root, "gate", &i));)
		*arena_push(b.a, s->gate, s->ngate) = build_gate(&b, n);
	for (int i = 0; (n = xml_next(root, "target", &i));)
		build_target(&b, n, s, arena_push(b.a, s->target, s->ntarget));
}
