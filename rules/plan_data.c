#include "plan_data.h"

#include <string.h>

#include "chain.h"

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

/* Counts of the first rows of each file, as split takes them. */
static const char *first_rows(struct plan *p, const struct dataset *d, const struct lineage_set *at)
{
	const char *text = "";
	for (size_t i = 0; i < d->nfile; i++)
		text = arena_printf(p->arena, "%s%s%zu", text, i ? " " : "", at->nrow[i]);
	return text;
}

static struct action *plan_split(struct plan *p, const struct plan_data *data, const struct lineage_set *at,
	const char *name)
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
	if (at)
		fields_add(p->arena, &param, "first", first_rows(p, d, at));
	return plan_action(p, name, &rule_split, &in, param);
}

/* "data/NAME", or "data/NAME/then-N" of the N-th time that was asked for. */
static const char *folder(struct plan *p, int set, const struct lineage_set *at)
{
	struct plan_data *data = &p->data[set];
	const char *name = arena_printf(p->arena, "data/%s", data->d.spec->name);
	size_t i = 0;
	if (!at)
		return name;
	while (i < data->npast && memcmp(data->past[i]->nrow, at->nrow, data->d.nfile * sizeof(*at->nrow)))
		i++;
	if (i == data->npast)
		*arena_push(p->arena, data->past, data->npast) = at;
	return arena_printf(p->arena, "%s/then-%zu", name, i);
}

struct action *plan_data_split(struct plan *p, int set, const struct lineage_set *at)
{
	return !at ? p->data[set].split
		   : plan_split(p, &p->data[set], at, arena_printf(p->arena, "%s/split", folder(p, set, at)));
}

struct plan_data *plan_data(struct plan *p, struct err *e)
{
	if (p->data)
		return p->data;
	struct plan_data *data = arena_array(p->arena, struct plan_data, p->spec->ndataset);
	for (int i = 0; i < p->spec->ndataset; i++) {
		if (!dataset_open(p->arena, &p->spec->dataset[i], &data[i].d, e) || !plan_rows(p, &data[i], e))
			return NULL;
		data[i].split = plan_split(p, &data[i], NULL,
			arena_printf(p->arena, "data/%s/split", data[i].d.spec->name));
	}
	return p->data = data;
}

bool plan_data_asks(const struct dataset *d, enum split split)
{
	for (size_t i = 0; i < d->nrule; i++)
		if (d->rule[i].part[split].from != FROM_NOWHERE)
			return true;
	return false;
}

/* The first schedule's that has one: all that go on have one beginning (lineage.h). */
static const struct lineage *plan_lineage(const struct plan *p)
{
	for (int i = 0; p->o->lineage && i < p->spec->nschedule; i++)
		if (p->o->lineage[i])
			return p->o->lineage[i];
	return NULL;
}

struct action *plan_bpe(struct plan *p, struct err *e)
{
	const struct spec_model *m = &p->spec->model;
	const struct spec_tokenizer *t = &m->tokenizer;
	struct plan_data *data = plan_data(p, e);
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
		const struct lineage *line = plan_lineage(p);
		const char *prefix = bpe_prefix(p->arena, (size_t)i, (size_t)t->ndataset);
		struct fields of_set = {0};
		for (size_t k = 0; k < set->rows.n; k++)
			plan_add_input(p, &in, input_output(arena_printf(p->arena, "%srows", prefix),
				set->rows.input[k].action, 0));
		plan_add_input(p, &in, input_output(arena_printf(p->arena, "%slist", prefix), plan_data_split(p,
			t->dataset[i], line ? &line->time[0][t->dataset[i]] : NULL), SPLIT_TRAIN));
		dataset_tokenise_param(p->arena, &set->d, m->context, &of_set);
		for (size_t k = 0; k < of_set.nfield; k++)
			fields_add(p->arena, &param, arena_printf(p->arena, "%s%s", prefix, of_set.field[k].name),
				of_set.field[k].value);
	}
	fields_add(p->arena, &param, "vocab", plan_number(p, t->vocab));
	return plan_action(p, "tokenizer", &rule_bpe, &in, param);
}

struct action *plan_data_list(struct plan *p, int set, struct input list, const char *name, int64_t context)
{
	const struct plan_data *data = &p->data[set];
	struct inputs in = with_rows(p, data);
	struct fields param = {0};
	dataset_tokenise_param(p->arena, &data->d, context, &param);
	if (p->o->smoke)
		fields_add(p->arena, &param, "records", plan_number(p, SMOKE_ROWS));
	plan_add_input(p, &in, list);
	plan_add_input(p, &in, input_output("tokenizer", p->tokenizer, 0));
	return plan_action(p, name, &rule_tokenise, &in, param);
}

struct action *plan_data_tokens(struct plan *p, int set, enum split split, const struct lineage_set *at, int64_t context)
{
	return plan_data_list(p, set, input_output("list", plan_data_split(p, set, at), (size_t)split),
		arena_printf(p->arena, "%s/tokens.%s", folder(p, set, at), split_names[split]), context);
}

struct action *plan_data_task(struct plan *p, int set, int64_t context)
{
	const struct dataset *d = &p->data[set].d;
	struct fields param = {0};
	dataset_tokenise_param(p->arena, d, context, &param);
	return plan_action(p, arena_printf(p->arena, "data/%s/task", d->spec->name), &rule_task, &(struct inputs){0},
		param);
}
