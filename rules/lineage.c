#include "lineage.h"

#include <stdlib.h>
#include <string.h>

const char *const lineage_hows[] = {"begun", "same", "grown", "broken", NULL};

struct finder {
	struct arena *a;
	const struct spec *spec;
	const struct json *lock;
	struct statcache *stat;
	struct dataset *data;
	struct dataset_rows *rows; /* NULL: not read yet */
	struct lineage_file *file;
	size_t nfile;
	struct lineage_set *now;   /* by dataset, when rows were read */
};

struct digest lineage_rows(const struct digest list[NSPLIT])
{
	struct digest d[] = {list[SPLIT_VALIDATION], list[SPLIT_CALIBRATION], list[SPLIT_TRAIN]};
	return digest_of(d, sizeof(d));
}

static const char *quoted_hex(struct arena *a, struct digest d)
{
	char hex[DIGEST_HEX];
	digest_hex(d, hex);
	return arena_strdup(a, hex);
}

static bool same_digest(const struct json *v, struct digest d)
{
	struct digest was;
	return v && v->kind == JSON_STRING && digest_parse(v->text, &was) && digest_equal(was, d);
}

/* ---- files and rows ---- */

static bool add_file(struct finder *f, const char *name, const char *path, struct err *e)
{
	struct lineage_file *file;
	for (size_t i = 0; i < f->nfile; i++)
		if (!strcmp(f->file[i].name, name))
			return true;
	file = arena_push(f->a, f->file, f->nfile);
	file->name = name;
	return statcache_digest(f->stat, path, &file->digest, NULL, e);
}

static bool open_data(struct finder *f, struct err *e)
{
	f->data = arena_array(f->a, struct dataset, f->spec->ndataset);
	for (int i = 0; i < f->spec->ndataset; i++) {
		struct dataset *d = &f->data[i];
		if (!dataset_open(f->a, &f->spec->dataset[i], d, e))
			return false;
		for (size_t k = 0; k < d->nfile; k++)
			if (!add_file(f, d->file[k].name, d->file[k].path, e))
				return false;
		for (size_t k = 0; k < d->nrule * NSPLIT; k++)
			if (d->ids[k].path && !add_file(f, arena_printf(f->a, "ids:%s", d->ids[k].name), d->ids[k].path, e))
				return false;
	}
	return true;
}

/* The rows of a time, told from all rows; *ntrain of them train. */
static struct digest rows_then(const struct dataset_rows *r, const size_t *nrow, size_t *ntrain)
{
	struct arena a = {0};
	struct split_result then = r->split;
	struct digest list[NSPLIT];
	struct strbuf bytes;
	then.of = arena_array(&a, uint8_t *, r->nt);
	for (size_t i = 0; i < r->nt; i++)
		then.of[i] = arena_copy(&a, r->split.of[i], r->t[i].nrow);
	split_first(&then, r->t, r->nt, nrow);
	strbuf_init(&bytes);
	for (int k = 0; k < NSPLIT; k++) {
		strbuf_clear(&bytes);
		split_list_write(&bytes, r->t, r->nt, &then, (enum split)k, 0);
		list[k] = digest_of(bytes.s, bytes.n);
	}
	*ntrain = then.nrow[SPLIT_TRAIN];
	strbuf_release(&bytes);
	arena_release(&a);
	return lineage_rows(list);
}

static bool read_rows(struct finder *f, struct err *e)
{
	size_t ntrain;
	if (f->rows)
		return true;
	f->rows = arena_array(f->a, struct dataset_rows, f->spec->ndataset);
	f->now = arena_array(f->a, struct lineage_set, f->spec->ndataset);
	for (int i = 0; i < f->spec->ndataset; i++) {
		struct dataset_rows *r = &f->rows[i];
		if (!dataset_read(&f->data[i], r, e))
			return false;
		f->now[i].nrow = arena_array(f->a, size_t, r->nt);
		for (size_t k = 0; k < r->nt; k++)
			f->now[i].nrow[k] = r->t[k].nrow;
		f->now[i].rows = rows_then(r, f->now[i].nrow, &ntrain);
	}
	return true;
}

/* ---- what the lock has ---- */

static bool same_files(const struct finder *f, const struct json *read)
{
	bool same = read && read->kind == JSON_OBJECT && read->nitem == f->nfile;
	for (size_t i = 0; same && i < f->nfile; i++)
		same = same_digest(json_get(read, f->file[i].name), f->file[i].digest);
	return same;
}

static bool read_set(struct finder *f, int set, const struct json *v, struct lineage_set *out)
{
	const struct dataset *d = &f->data[set];
	const struct json *files = json_get(v, "files"), *of = json_get(v, "of");
	size_t found = 0;
	if (!of || of->kind != JSON_STRING || !digest_parse(of->text, &out->rows) || !files)
		return false;
	out->nrow = arena_array(f->a, size_t, d->nfile);
	for (size_t i = 0; i < d->nfile; i++) {
		int64_t n;
		if (!json_int(json_get(files, d->file[i].name), &n))
			continue;
		out->nrow[i] = (size_t)n;
		found++;
	}
	return found == files->nitem; /* else a file is gone */
}

static bool read_times(struct finder *f, const struct json *on, struct lineage *l)
{
	for (size_t i = 0; on && on->kind == JSON_ARRAY && i < on->nitem; i++) {
		struct lineage_set *set = arena_array(f->a, struct lineage_set, f->spec->ndataset);
		for (int k = 0; k < f->spec->ndataset; k++)
			if (!read_set(f, k, json_get(&on->item[i], f->spec->dataset[k].name), &set[k]))
				return false;
		*arena_push(f->a, l->time, l->n) = set;
	}
	return l->n;
}

/* ---- whether it goes on ---- */

static void begin(struct finder *f, struct lineage *l, enum lineage_how how, const char *why)
{
	l->how = how;
	l->why = why;
	l->time = NULL;
	l->n = 0;
	*arena_push(f->a, l->time, l->n) = f->now;
}

/* The rows of each time are what they were, or the first dataset of which they are not. */
static const char *changed_set(struct finder *f, const struct lineage *l, size_t *train)
{
	for (size_t i = 0; i < l->n; i++)
		for (int k = 0; k < f->spec->ndataset; k++) {
			const struct lineage_set *s = &l->time[i][k];
			for (size_t n = 0; n < f->rows[k].nt; n++)
				if (s->nrow[n] > f->rows[k].t[n].nrow)
					return f->spec->dataset[k].name;
			if (!digest_equal(rows_then(&f->rows[k], s->nrow, &train[k]), s->rows))
				return f->spec->dataset[k].name;
		}
	return NULL;
}

static size_t total(const struct lineage_set *s, const struct dataset *d)
{
	size_t n = 0;
	for (size_t i = 0; i < d->nfile; i++)
		n += s->nrow[i];
	return n;
}

/* Behind the newest time: train rows that came with it. */
static const char *news(struct finder *f, const size_t *train)
{
	struct strbuf text;
	size_t all = 0;
	strbuf_init(&text);
	for (int k = 0; k < f->spec->ndataset; k++) {
		size_t n = f->rows[k].split.nrow[SPLIT_TRAIN] - train[k];
		if (n)
			strbuf_addf(&text, "%s%zu of '%s'", all ? ", " : "", n, f->spec->dataset[k].name);
		all += n;
	}
	const char *why = all ? arena_strdup(f->a, text.s) : NULL;
	strbuf_release(&text);
	return why;
}

static void compare_rows(struct finder *f, struct lineage *l)
{
	size_t *train = arena_array(f->a, size_t, f->spec->ndataset);
	const char *changed = changed_set(f, l, train), *more;
	for (int k = 0; changed && k < f->spec->ndataset; k++)
		if (!strcmp(f->spec->dataset[k].name, changed)) {
			size_t was = total(&l->time[l->n - 1][k], &f->data[k]), is = total(&f->now[k], &f->data[k]);
			begin(f, l, LINEAGE_BROKEN, arena_printf(f->a, "the rows of dataset '%s' that its states were tuned on are no "
				"longer its first ones (%zu rows then, %zu now): some were removed, changed or moved", changed, was,
				is));
			return;
		}
	l->how = LINEAGE_SAME;
	if (!(more = news(f, train)))
		return;
	l->how = LINEAGE_GROWN;
	l->why = more;
	*arena_push(f->a, l->time, l->n) = f->now;
}

/* Of the files that the lock names below the model's path. */
static bool same_model(const struct finder *f)
{
	const struct json *inputs = json_get(f->lock, "inputs");
	const struct spec_path *at = f->spec->model.path;
	const char *prefix = !at ? NULL : at->root ? arena_printf(f->a, "%s:%s", at->root, at->rel) : at->rel;
	size_t n = prefix ? strlen(prefix) : 0;
	for (size_t i = 0; prefix && inputs && i < inputs->nitem; i++) {
		const char *name = inputs->key[i];
		struct digest d;
		if (strncmp(name, prefix, n) || (name[n] && name[n] != '/'))
			continue;
		if (!statcache_digest(f->stat, arena_printf(f->a, "%s%s", at->path, name + n), &d, NULL, NULL) ||
			!same_digest(&inputs->item[i], d))
			return false;
	}
	return true;
}

static bool find_one(struct finder *f, int schedule, struct lineage **out, struct err *e)
{
	const struct spec_schedule *s = &f->spec->schedule[schedule];
	const struct json *was = json_get(json_get(f->lock, "tuned"), s->name);
	struct lineage *l = arena_new(f->a, struct lineage);
	*l = (struct lineage){.data = f->data, .file = f->file, .nfile = f->nfile};
	*out = l;
	bool same_spec = was && same_digest(json_get(was, "of"), s->states_of) && same_model(f);
	bool known = same_spec && read_times(f, json_get(was, "on"), l);
	if (known && same_files(f, json_get(was, "read"))) {
		l->how = LINEAGE_SAME;
		return true;
	}
	if (!read_rows(f, e))
		return false;
	if (!was)
		begin(f, l, LINEAGE_BEGUN, NULL);
	else if (!same_spec)
		begin(f, l, LINEAGE_BROKEN, "model, datasets or schedule are others than those of the lock");
	else if (!known)
		begin(f, l, LINEAGE_BROKEN, "the lock names files that its datasets no longer have");
	else
		compare_rows(f, l);
	return true;
}

/* A tokenizer that is trained has one beginning, so all that go on must have the same. */
static void agree(struct finder *f, struct lineage **all)
{
	const struct lineage *first = NULL;
	bool differ = false;
	for (int i = 0; f->spec->model.tokenizer.train && i < f->spec->nschedule; i++)
		for (int k = 0; all[i] && k < f->spec->ndataset; k++) {
			first = first ? first : all[i];
			differ = differ || !digest_equal(first->time[0][k].rows, all[i]->time[0][k].rows);
		}
	for (int i = 0; differ && f->rows && i < f->spec->nschedule; i++)
		if (all[i])
			begin(f, all[i], LINEAGE_BROKEN, "another schedule begins anew, and with it the tokenizer of all");
}

bool lineage_find(struct arena *a, const struct spec *s, const struct json *lock, struct statcache *stat,
	const struct lineage ***out, struct err *e)
{
	struct finder f = {.a = a, .spec = s, .lock = lock, .stat = stat};
	struct lineage **all = arena_array(a, struct lineage *, s->nschedule);
	bool any = false, ok = true;
	*out = (const struct lineage **)all;
	for (int i = 0; i < s->nschedule; i++)
		any = any || s->schedule[i].tune.on_new_rows == NEW_ROWS_CONTINUE;
	if (!any)
		return true;
	ok = open_data(&f, e);
	for (int i = 0; ok && i < s->nschedule; i++)
		if (s->schedule[i].tune.on_new_rows == NEW_ROWS_CONTINUE)
			ok = find_one(&f, i, &all[i], e);
	if (ok)
		agree(&f, all);
	for (int i = 0; f.rows && i < s->ndataset; i++)
		dataset_rows_release(&f.rows[i]);
	return ok;
}

/* ---- writing ---- */

static void write_set(struct strbuf *out, struct arena *a, const struct dataset *d, const struct lineage_set *s)
{
	const char *comma = "";
	strbuf_addf(out, "{\"of\":\"%s\",\"files\":{", quoted_hex(a, s->rows));
	for (size_t i = 0; i < d->nfile; i++) {
		if (!s->nrow[i])
			continue;
		strbuf_adds(out, comma);
		strbuf_add_json(out, d->file[i].name, strlen(d->file[i].name));
		strbuf_addf(out, ":%zu", s->nrow[i]);
		comma = ",";
	}
	strbuf_adds(out, "}}");
}

void lineage_write(struct strbuf *out, const struct spec *s, int schedule, const struct lineage *l)
{
	struct arena a = {0};
	strbuf_addf(out, "{\"of\":\"%s\",\"read\":{", quoted_hex(&a, s->schedule[schedule].states_of));
	for (size_t i = 0; i < l->nfile; i++) {
		strbuf_adds(out, i ? "," : "");
		strbuf_add_json(out, l->file[i].name, strlen(l->file[i].name));
		strbuf_addf(out, ":\"%s\"", quoted_hex(&a, l->file[i].digest));
	}
	strbuf_adds(out, "},\"on\":[");
	for (size_t i = 0; i < l->n; i++) {
		strbuf_adds(out, i ? ",{" : "{");
		for (int k = 0; k < s->ndataset; k++) {
			strbuf_adds(out, k ? "," : "");
			strbuf_add_json(out, s->dataset[k].name, strlen(s->dataset[k].name));
			strbuf_addc(out, ':');
			write_set(out, &a, &l->data[k], &l->time[i][k]);
		}
		strbuf_addc(out, '}');
	}
	strbuf_adds(out, "]}");
	arena_release(&a);
}
