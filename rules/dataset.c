#include "dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

static const char *const task_kinds[] = {"choice", "completion", "text", NULL};
static const char *const on_longs[] = {"error", "cut-prompt", "skip", "windows", NULL};
static const char *const formats[] = {"text", "jsonl", "json", "csv", "csv-no-header", NULL};
static const char *const row_units[] = {"blank-line", "line", "file", NULL};

/* ---- the task ---- */

static const char *braced(struct arena *a, const char *path)
{
	return path ? arena_printf(a, "{%s}", path) : NULL;
}

static bool make_task(struct arena *a, const struct spec_task *s, struct task *t, struct err *e)
{
	static const enum task_kind kinds[] = {[SPEC_CHOICE] = TASK_CHOICE,
		[SPEC_COMPLETION] = TASK_COMPLETION, [SPEC_TEXT] = TASK_TEXT, [SPEC_CHAT] = TASK_TEXT};
	static const enum on_long longs[] = {[SPEC_LONG_ERROR] = LONG_ERROR,
		[SPEC_LONG_CUT_PROMPT] = LONG_CUT_PROMPT, [SPEC_LONG_SKIP] = LONG_SKIP};
	if (s->kind == SPEC_CHAT)
		return spec_err_at(e, s->at, "chat tasks are not supported yet");
	*t = (struct task){
		.kind = kinds[s->kind],
		.on_long = longs[s->on_long],
		.length_tokens = s->length ? (uint32_t)s->length : UINT32_MAX,
		.prompt = s->prompt.s,
		.delimiter = s->delimiter,
		.answer = s->answer_field ? braced(a, s->answer_field) : s->answer.s,
		.choices_field = s->choices_field,
		.choice = arena_array(a, const char *, s->nchoice),
		.nchoice = (size_t)s->nchoice,
	};
	if (t->kind == TASK_TEXT && t->on_long != LONG_SKIP)
		t->on_long = LONG_WINDOWS;
	for (int i = 0; i < s->nchoice; i++)
		t->choice[i] = s->choice[i].s;
	if (task_init(a, t, e))
		return true;
	struct err inner = e ? *e : (struct err){0};
	return spec_err_at(e, s->at, "%s", inner.msg);
}

struct task dataset_task(const struct dataset *d, int64_t context)
{
	struct task t = d->task;
	if (t.length_tokens == UINT32_MAX)
		t.length_tokens = (uint32_t)context;
	return t;
}

static bool is_column(const struct field_path *p)
{
	const char *name = p->nstep && p->step[0].kind == STEP_NAME ? p->step[0].name : "";
	return name[0] && strspn(name, "0123456789") == strlen(name);
}

static bool reads_column(const struct template *t)
{
	for (size_t i = 0; i < t->npart; i++)
		if (t->part[i].path && is_column(t->part[i].path))
			return true;
	return false;
}

static enum data_format make_format(const struct spec_dataset *d, const struct task *t)
{
	static const enum data_format of[] = {[FORMAT_TEXT] = DATA_TEXT, [FORMAT_JSON] = DATA_JSON,
		[FORMAT_JSONL] = DATA_JSONL, [FORMAT_CSV] = DATA_CSV, [FORMAT_PARQUET] = DATA_CSV};
	bool column = reads_column(&t->prompt_template) || reads_column(&t->answer_template) ||
		is_column(&t->choices_path);
	for (size_t i = 0; i < t->nchoice; i++)
		column = column || reads_column(&t->choice_template[i]);
	return d->format == FORMAT_CSV && column ? DATA_CSV_NO_HEADER : of[d->format];
}

/* ---- files ---- */

/* The folder that rel is below. */
static const char *root_of(struct arena *a, const struct spec_path *p)
{
	size_t n = strlen(p->path), k = strlen(p->rel);
	if (n > k && !strcmp(p->path + n - k, p->rel) && p->path[n - k - 1] == '/')
		return n - k == 1 ? "/" : arena_strndup(a, p->path, n - k - 1);
	return p->path;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct dataset_file *)a)->name, ((const struct dataset_file *)b)->name);
}

static bool add_files(struct arena *a, struct dataset *d, const struct spec_path *p, struct err *e)
{
	const char **name, *root;
	size_t n;
	if (!p)
		return true;
	root = root_of(a, p);
	if (!data_list(a, root, p->rel, d->source.format, &name, &n, e)) {
		struct err inner = e ? *e : (struct err){0};
		return inner.kind == ERR_SPEC ? spec_err_at(e, p->at, "%s", inner.msg) : false;
	}
	for (size_t i = 0; i < n; i++) {
		const char *path = arena_printf(a, "%s/%s", root, name[i]);
		size_t k = 0;
		while (k < d->nfile && strcmp(d->file[k].name, name[i]) != 0)
			k++;
		if (k < d->nfile && strcmp(d->file[k].path, path) != 0)
			return spec_err_at(e, p->at, "two files are '%s' below their roots", name[i]);
		if (k == d->nfile)
			*arena_push(a, d->file, d->nfile) = (struct dataset_file){name[i], path, NULL};
	}
	return true;
}

static const struct spec_share *share_of(const struct spec_split *s, int part)
{
	switch ((enum split)part) {
	case SPLIT_TEST:
		return &s->test;
	case SPLIT_VALIDATION:
		return &s->validation;
	case SPLIT_CALIBRATION:
		return &s->calibration;
	case SPLIT_TRAIN:
	case NSPLIT:
		break;
	}
	return &s->train;
}

static bool add_rule(struct arena *a, struct dataset *d, size_t i, struct err *e)
{
	const struct spec_split *s = &d->spec->split[i];
	struct split_rule *r = &d->rule[i];
	r->path = s->path && s->path != d->spec->path ? s->path->rel : NULL;
	if (!add_files(a, d, s->path, e))
		return false;
	for (int k = 0; k < NSPLIT; k++) {
		const struct spec_share *share = share_of(s, k);
		struct split_part *p = &r->part[k];
		if (share->kind == VALUE_SHARE) {
			p->from = FROM_SHARE;
			p->share = (uint32_t)(share->share * SHARE_ALL + 0.5);
			if (!p->share)
				return spec_err_at(e, s->at, "a share below one millionth");
		} else if (share->kind == VALUE_FILES) {
			p->from = FROM_FILES;
			p->files = share->path->rel;
			if (!add_files(a, d, share->path, e))
				return false;
		} else if (share->kind == VALUE_IDS) {
			p->from = FROM_IDS;
			p->ids.name = share->path->rel;
			d->ids[i * NSPLIT + (size_t)k] =
				(struct dataset_file){share->path->rel, share->path->path, NULL};
		}
	}
	return true;
}

/* As data_split finds it: a rule with a path of its own before the one without. */
static const char *find_by(const struct dataset *d, const char *file)
{
	const char *by = NULL;
	for (size_t i = 0; i < d->nrule; i++) {
		if (!d->rule[i].path)
			by = d->spec->split[i].by;
		else if (data_match(d->rule[i].path, file))
			return d->spec->split[i].by;
	}
	return by;
}

bool dataset_open(struct arena *a, const struct spec_dataset *spec, struct dataset *out,
	struct err *e)
{
	static const enum text_rows units[] = {[ROW_BLANK_LINE] = ROWS_BLANK_LINE,
		[ROW_LINE] = ROWS_LINE, [ROW_FILE] = ROWS_FILE};
	struct dataset *d = out;
	*d = (struct dataset){.spec = spec};
	if (!make_task(a, &spec->task, &d->task, e))
		return false;
	if (spec->format == FORMAT_PARQUET)
		return spec_err_at(e, spec->at, "format \"parquet\" is not supported yet");
	d->source = (struct data_source){
		.format = make_format(spec, &d->task), .rows = units[spec->task.row], .task = &d->task};
	d->nrule = (size_t)spec->nsplit;
	d->rule = arena_array(a, struct split_rule, d->nrule);
	d->ids = arena_array(a, struct dataset_file, d->nrule * NSPLIT);
	if (!add_files(a, d, spec->path, e))
		return false;
	for (size_t i = 0; i < d->nrule; i++)
		if (!add_rule(a, d, i, e))
			return false;
	if (!d->nfile)
		return spec_err_at(e, spec->at, "dataset '%s' has no file", spec->name);
	qsort(d->file, d->nfile, sizeof(*d->file), compare_files);
	for (size_t i = 0; i < d->nfile; i++)
		d->file[i].by = find_by(d, d->file[i].name);
	return true;
}

/* ---- parameters ---- */

static void add_text(struct arena *a, struct fields *f, const char *name, const char *value)
{
	if (value && *value)
		fields_add(a, f, name, value);
}

static void add_int(struct arena *a, struct fields *f, const char *name, int64_t value)
{
	fields_add(a, f, name, arena_printf(a, "%lld", (long long)value));
}

/* What decides which values of a row are read. */
static void add_task(struct arena *a, const struct task *t, struct fields *out)
{
	fields_add(a, out, "task", task_kinds[t->kind]);
	add_text(a, out, "prompt", t->prompt);
	add_text(a, out, "answer", t->answer);
	add_text(a, out, "choices-field", t->choices_field);
	for (size_t i = 0; i < t->nchoice; i++)
		fields_add(a, out, arena_printf(a, "choice.%zu", i), t->choice[i]);
}

void dataset_rows_param(struct arena *a, const struct dataset *d, size_t file, struct fields *out)
{
	add_task(a, &d->task, out);
	fields_add(a, out, "file", d->file[file].name);
	fields_add(a, out, "format", formats[d->source.format]);
	if (d->source.format == DATA_TEXT)
		fields_add(a, out, "row", row_units[d->source.rows]);
	add_text(a, out, "by", d->file[file].by);
}

static const char *part_text(struct arena *a, const struct split_part *p)
{
	switch (p->from) {
	case FROM_SHARE:
		return arena_printf(a, "%u", p->share);
	case FROM_FILES:
		return arena_printf(a, "files:%s", p->files);
	case FROM_IDS:
		return arena_printf(a, "ids:%s", p->ids.name);
	case FROM_NOWHERE:
		break;
	}
	return NULL;
}

void dataset_split_param(struct arena *a, const struct dataset *d, int64_t seed, struct fields *out)
{
	add_int(a, out, "seed", seed);
	add_int(a, out, "splits", (int64_t)d->nrule);
	for (size_t i = 0; i < d->nrule; i++) {
		add_text(a, out, arena_printf(a, "split.%zu.path", i), d->rule[i].path);
		for (int k = 0; k < NSPLIT; k++)
			add_text(a, out, arena_printf(a, "split.%zu.%s", i, split_names[k]),
				part_text(a, &d->rule[i].part[k]));
	}
}

void dataset_tokenise_param(struct arena *a, const struct dataset *d, int64_t context,
	struct fields *out)
{
	struct task t = dataset_task(d, context);
	add_task(a, &t, out);
	if (t.kind != TASK_TEXT)
		fields_add(a, out, "delimiter", t.delimiter);
	fields_add(a, out, "on-long", on_longs[t.on_long]);
	add_int(a, out, "length", t.length_tokens);
}

/* ---- and back ---- */

static int word_index(const struct fields *f, const char *name, const char *const *words)
{
	const char *value = fields_get(f, name);
	for (int i = 0; value && words[i]; i++)
		if (!strcmp(words[i], value))
			return i;
	if (value)
		BUG("parameter '%s' is '%s'", name, value);
	return 0;
}

bool fields_task(struct arena *a, const struct fields *f, struct task *out, struct err *e)
{
	*out = (struct task){
		.kind = (enum task_kind)word_index(f, "task", task_kinds),
		.on_long = (enum on_long)word_index(f, "on-long", on_longs),
		.length_tokens = fields_get(f, "length") ? (uint32_t)fields_int(f, "length") : UINT32_MAX,
		.prompt = fields_get(f, "prompt"),
		.delimiter = fields_get(f, "delimiter"),
		.answer = fields_get(f, "answer"),
		.choices_field = fields_get(f, "choices-field"),
	};
	/* An absent template is an empty one, which task_init would make "{text}". */
	if (!out->prompt)
		out->prompt = "";
	const char *choice;
	while ((choice = fields_get(f, arena_printf(a, "choice.%zu", out->nchoice))))
		*arena_push(a, out->choice, out->nchoice) = choice;
	return task_init(a, out, e);
}

void fields_source(const struct fields *f, const struct task *task, struct data_source *out)
{
	*out = (struct data_source){
		.format = (enum data_format)word_index(f, "format", formats),
		.rows = (enum text_rows)word_index(f, "row", row_units),
		.by = fields_get(f, "by"),
		.task = task,
	};
}

static struct split_part read_part(const char *s)
{
	if (!s)
		return (struct split_part){.from = FROM_NOWHERE};
	if (!strncmp(s, "files:", 6))
		return (struct split_part){.from = FROM_FILES, .files = s + 6};
	if (!strncmp(s, "ids:", 4))
		return (struct split_part){.from = FROM_IDS, .ids = {.name = s + 4}};
	return (struct split_part){.from = FROM_SHARE, .share = (uint32_t)strtoul(s, NULL, 10)};
}

void fields_split(struct arena *a, const struct fields *f, struct split_rule **out, size_t *n)
{
	*n = (size_t)fields_int(f, "splits");
	*out = arena_array(a, struct split_rule, *n);
	for (size_t i = 0; i < *n; i++) {
		(*out)[i].path = fields_get(f, arena_printf(a, "split.%zu.path", i));
		for (int k = 0; k < NSPLIT; k++)
			(*out)[i].part[k] = read_part(
				fields_get(f, arena_printf(a, "split.%zu.%s", i, split_names[k])));
	}
}

/* ---- all rows at once ---- */

static bool read_table(const struct dataset *d, size_t i, struct strbuf *out, struct err *e)
{
	struct map m = {0};
	struct data_source source = d->source;
	source.by = d->file[i].by;
	if (!map_open(&m, d->file[i].path, e))
		return false;
	struct data_file f = {d->file[i].name, {m.p, m.n}};
	bool ok = data_read(&source, &f, out, e);
	map_release(&m);
	return ok;
}

static bool read_ids(struct arena *a, const struct dataset *d, struct split_rule *rule, struct err *e)
{
	struct strbuf text;
	bool ok = true;
	strbuf_init(&text);
	for (size_t i = 0; ok && i < d->nrule * NSPLIT; i++) {
		if (!d->ids[i].path)
			continue;
		strbuf_clear(&text);
		ok = file_read(&text, d->ids[i].path, e);
		if (ok)
			rule[i / NSPLIT].part[i % NSPLIT].ids.bytes =
				(struct buf){arena_copy(a, text.s, text.n + 1), text.n};
	}
	strbuf_release(&text);
	return ok;
}

bool dataset_enough(const struct spec_dataset *d, const struct spec_score *s, size_t calibration_rows,
	struct err *e)
{
	bool looks = spec_score_traits[s->method].reads & READS_ROWS;
	if (!looks || calibration_rows >= (size_t)s->rows)
		return true;
	return spec_err_at(e, s->at, "dataset '%s' has %zu calibration row%s, the score looks at %lld", d->name,
		calibration_rows, calibration_rows == 1 ? "" : "s", (long long)s->rows);
}

bool dataset_read(const struct dataset *d, struct dataset_rows *out, struct err *e)
{
	*out = (struct dataset_rows){.nt = d->nfile};
	struct arena *a = &out->arena;
	out->t = arena_array(a, struct row_table, d->nfile);
	out->bytes = arena_array(a, struct strbuf, d->nfile);
	for (size_t i = 0; i < d->nfile; i++)
		strbuf_init(&out->bytes[i]);
	for (size_t i = 0; i < d->nfile; i++)
		if (!read_table(d, i, &out->bytes[i], e) ||
			!row_table_open(&out->t[i], strbuf_buf(&out->bytes[i]), e))
			return false;
	struct split_rule *rule = d->nrule
		? arena_copy(a, d->rule, d->nrule * sizeof(*rule)) : NULL;
	return read_ids(a, d, rule, e) &&
		data_split(a, out->t, out->nt, rule, d->nrule, &out->split, e);
}

void dataset_rows_release(struct dataset_rows *r)
{
	for (size_t i = 0; r->bytes && i < r->nt; i++)
		strbuf_release(&r->bytes[i]);
	arena_release(&r->arena);
	*r = (struct dataset_rows){0};
}
