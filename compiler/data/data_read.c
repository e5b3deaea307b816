#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flat.h"
#include "rows.h"
#include "utf8.h"

/* A row's values as the task, `by` or `key` name them: subtrees, found by address. */
struct kept {
	struct arena *a;
	const struct json **v;
	size_t n;
};

static bool keep_value(void *ctx, const struct json *v, struct err *e)
{
	struct kept *k = ctx;
	(void)e;
	*arena_push(k->a, k->v, k->n) = v;
	return true;
}

static int compare_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (const struct json *const *)a;
	uintptr_t y = (uintptr_t) * (const struct json *const *)b;
	return x < y ? -1 : x > y;
}

static void keep_sort(struct kept *k)
{
	if (k->n)
		qsort(k->v, k->n, sizeof(*k->v), compare_address);
}

static bool is_kept(const struct kept *k, const struct json *v)
{
	return k->n && bsearch(&v, k->v, k->n, sizeof(*k->v), compare_address);
}

static bool holds_kept(const struct kept *k, const struct json *v)
{
	if (is_kept(k, v))
		return true;
	for (size_t i = 0; i < v->nitem; i++) {
		if (holds_kept(k, &v->item[i]))
			return true;
	}
	return false;
}

/* Canonical text of the kept values in their places: members sorted, items of a list that are not
 * kept as null, so that indices hold. */
static void write_kept(struct strbuf *out, const struct kept *k, const struct json *v, bool inside)
{
	inside = inside || is_kept(k, v);
	struct buf text;
	if (v->kind == JSON_ARRAY) {
		strbuf_addc(out, '[');
		for (size_t i = 0; i < v->nitem; i++) {
			if (i)
				strbuf_addc(out, ',');
			write_kept(out, k, &v->item[i], inside);
		}
		strbuf_addc(out, ']');
	} else if (v->kind == JSON_OBJECT) {
		size_t *index = xmalloc(v->nitem * sizeof(*index));
		size_t n = json_sorted_members(v, index), written = 0;
		strbuf_addc(out, '{');
		for (size_t i = 0; i < n; i++) {
			const struct json *member = &v->item[index[i]];
			if (!inside && !holds_kept(k, member))
				continue;
			if (written++)
				strbuf_addc(out, ',');
			strbuf_add_json(out, v->key[index[i]], strlen(v->key[index[i]]));
			strbuf_addc(out, ':');
			write_kept(out, k, member, inside);
		}
		strbuf_addc(out, '}');
		free(index);
	} else if (!inside || !json_scalar(v, &text)) {
		strbuf_adds(out, "null");
	} else if (v->kind == JSON_STRING) {
		strbuf_add_json(out, text.p, text.n);
	} else {
		strbuf_add(out, text.p, text.n);
	}
}

typedef void fold(struct strbuf *out, struct buf text);

static void fold_space(struct strbuf *out, struct buf text)
{
	const char *s = text.p;
	bool gap = false;
	for (size_t i = 0; i < text.n; i++) {
		if (s[i] == ' ' || (s[i] >= '\t' && s[i] <= '\r')) {
			gap = out->n > 0;
			continue;
		}
		if (gap)
			strbuf_addc(out, ' ');
		gap = false;
		strbuf_addc(out, s[i]);
	}
}

static void fold_words(struct strbuf *out, struct buf text)
{
	const char *s = text.p;
	bool gap = false;
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c >= 'A' && c <= 'Z')
			c = (unsigned char)(c + ('a' - 'A'));
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c < 0x80) {
			gap = out->n > 0;
			continue;
		}
		if (gap)
			strbuf_addc(out, ' ');
		gap = false;
		strbuf_addc(out, (char)c);
	}
}

struct digests {
	struct arena *a;
	struct digest *d;
	size_t n;
};

static void add_folded(struct digests *d, struct buf text, fold *f)
{
	struct strbuf b;
	strbuf_init(&b);
	f(&b, text);
	*arena_push(d->a, d->d, d->n) = digest_of(b.s, b.n);
	strbuf_release(&b);
}

/* Each kept scalar once, however many paths lead to it. */
static void fold_kept(
	struct digests *d, const struct kept *k, const struct json *v, bool inside, fold *f)
{
	struct buf text;
	inside = inside || is_kept(k, v);
	if (inside && json_scalar(v, &text))
		add_folded(d, text, f);
	for (size_t i = 0; i < v->nitem; i++)
		fold_kept(d, k, &v->item[i], inside, f);
}

static int compare_digest(const void *a, const void *b)
{
	return digest_compare(*(const struct digest *)a, *(const struct digest *)b);
}

static struct digest digest_of_set(struct digests *d)
{
	if (d->n)
		qsort(d->d, d->n, sizeof(*d->d), compare_digest);
	return digest_of(d->d, d->n * sizeof(*d->d));
}

static struct digest digest_of_kept(
	struct arena *a, const struct kept *k, const struct json *row, fold *f)
{
	struct digests d = {.a = a};
	fold_kept(&d, k, row, false, f);
	return digest_of_set(&d);
}

static struct digest digest_of_text(struct arena *a, struct buf text)
{
	struct digests d = {.a = a};
	add_folded(&d, text, fold_space);
	return digest_of_set(&d);
}

static bool row_fail(const struct row_writer *w, const struct json *row, struct err *e)
{
	if (e && !e->file[0])
		snprintf(e->file, sizeof(e->file), "%s", w->file->name);
	if (e && !e->line)
		e->line = row->line;
	return false;
}

static bool find_key(struct row_writer *w, const struct json *row, struct buf *key, struct err *e)
{
	struct arena *a = &w->scratch;
	const struct field_path *p = w->key.nstep ? &w->key : &w->by;
	struct kept found = {.a = a};
	if (key->p || !p->nstep)
		return true;
	if (!field_path_walk(p, row, keep_value, &found, e))
		return false;
	if (found.n == 1 && json_scalar(found.v[0], key))
		return true;
	/* `by` may name a list, which is no key; `key` may not. */
	return !w->key.nstep ||
	       err_at(e, ERR_SPEC, NULL, row->line, row->col, "field '%s' is no key", w->key.text);
}

static bool find_place(struct row_writer *w, const struct json *row, struct buf key,
	const struct kept *read, struct digest *out, struct err *e)
{
	struct arena *a = &w->scratch;
	const char *by = w->source->by;
	struct kept found = {.a = a};
	if (!by) {
		*out = digest_of_kept(a, read, row, fold_space);
	} else if (!strcmp(by, "@file")) {
		*out = digest_of_text(a, (struct buf){w->file->name, strlen(w->file->name)});
	} else if (!strcmp(by, "@key")) {
		if (!key.p)
			return err_at(e, ERR_SPEC, NULL, row->line, row->col,
				"the row has no key to be split by; rows of an object have, or "
				"name a field");
		*out = digest_of_text(a, key);
	} else {
		if (!field_path_walk(&w->by, row, keep_value, &found, e))
			return false;
		keep_sort(&found);
		*out = digest_of_kept(a, &found, row, fold_space);
	}
	return true;
}

static uint64_t heap_put(struct row_writer *w, struct buf text)
{
	uint64_t at = w->heap.n;
	strbuf_add(&w->heap, text.p, text.n);
	return at;
}

bool row_add(struct row_writer *w, const struct json *row, struct buf key, struct err *e)
{
	struct arena *a = &w->scratch;
	struct kept read = {.a = a};
	struct row_record r = {.line = (uint32_t)row->line};
	if (row->kind != JSON_OBJECT && row->kind != JSON_ARRAY)
		return err_at(e, ERR_SPEC, w->file->name, row->line, row->col,
			"expected a row, an object or a list");
	if (!w->source->task)
		keep_value(&read, row, e);
	else if (!task_walk(w->source->task, row, keep_value, &read, e))
		return row_fail(w, row, e);
	keep_sort(&read);
	if (!find_key(w, row, &key, e) || !find_place(w, row, key, &read, &r.place, e))
		return row_fail(w, row, e);
	r.norm = digest_of_kept(a, &read, row, fold_words);

	struct strbuf text;
	strbuf_init(&text);
	write_kept(&text, &read, row, false);
	bool fits = text.n < UINT32_MAX && key.n < UINT32_MAX;
	r.digest = digest_of(text.s, text.n);
	r.text_bytes = (uint32_t)text.n;
	r.text_at = heap_put(w, strbuf_buf(&text));
	r.keyed = key.p != NULL;
	r.key_bytes = (uint32_t)key.n;
	r.key_at = heap_put(w, key);
	strbuf_release(&text);
	if (!fits)
		return err_at(
			e, ERR_SPEC, w->file->name, row->line, row->col, "row of 4 GB or more");
	strbuf_add(&w->records, &r, sizeof(r));
	w->nrow++;
	if (w->scratch.total_bytes > 1 << 20)
		arena_release(&w->scratch);
	return true;
}

struct json *row_object(struct arena *a, size_t nmember, int line)
{
	struct json *o = arena_new(a, struct json);
	o->kind = JSON_OBJECT;
	o->line = line;
	o->col = 1;
	o->nitem = nmember;
	o->item = arena_array(a, struct json, nmember);
	o->key = arena_array(a, const char *, nmember);
	return o;
}

void row_member(struct arena *a, struct json *object, size_t i, const char *name, struct buf text)
{
	object->key[i] = name;
	object->item[i] = (struct json){.kind = JSON_STRING,
		.text = arena_strndup(a, text.p, text.n),
		.text_bytes = text.n,
		.line = object->line,
		.col = 1};
}

static bool read_jsonl_rows(struct row_writer *w, struct buf text, struct err *e)
{
	const char *p = text.p, *end = p + text.n;
	for (int line = 1; p < end; line++) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl ? nl : end) - p), blank = 0;
		while (blank < n && (p[blank] == ' ' || p[blank] == '\t' || p[blank] == '\r'))
			blank++;
		struct json *row;
		if (blank < n) {
			if (!json_parse(&w->scratch, (struct buf){p, n}, w->file->name, line, &row,
				    e) ||
				!row_add(w, row, (struct buf){0}, e))
				return false;
		}
		p += n + 1;
	}
	return true;
}

static bool read_json_rows(struct row_writer *w, struct buf text, struct err *e)
{
	struct arena a = {0};
	struct json *all;
	bool ok = json_parse(&a, text, w->file->name, 1, &all, e);
	if (ok && all->kind != JSON_ARRAY && all->kind != JSON_OBJECT)
		ok = err_at(e, ERR_SPEC, w->file->name, all->line, all->col,
			"expected a list of rows or an object of them by key");
	for (size_t i = 0; ok && i < all->nitem; i++) {
		struct buf key = {0};
		if (all->kind == JSON_OBJECT)
			key = (struct buf){all->key[i], strlen(all->key[i])};
		ok = row_add(w, &all->item[i], key, e);
	}
	arena_release(&a);
	return ok;
}

static bool check_utf8(const struct data_file *f, struct buf text, struct err *e)
{
	size_t where;
	int line = 1;
	const char *s = text.p, *start = s;
	if (utf8_valid(s, text.n, &where))
		return true;
	for (const char *p = s; p < s + where; p++) {
		if (*p == '\n') {
			line++;
			start = p + 1;
		}
	}
	return err_at(e, ERR_SPEC, f->name, line, (int)(s + where - start) + 1,
		"byte 0x%02x is not UTF-8", (unsigned char)s[where]);
}

static bool parse_paths(struct row_writer *w, struct err *e)
{
	const struct data_source *s = w->source;
	if (s->by && s->by[0] == '@' && strcmp(s->by, "@file") != 0 && strcmp(s->by, "@key") != 0)
		return err_set(e, ERR_SPEC,
			"rows are split by '@file', '@key' or a field, not by '%s'", s->by);
	if (s->by && s->by[0] != '@' && !field_path_parse(&w->paths, s->by, &w->by, e))
		return err_context(e, "in the field to split by");
	if (s->key && !field_path_parse(&w->paths, s->key, &w->key, e))
		return err_context(e, "in the field of the key");
	return true;
}

static bool (*const readers[])(struct row_writer *, struct buf, struct err *) = {
	[DATA_TEXT] = read_text_rows,
	[DATA_JSONL] = read_jsonl_rows,
	[DATA_JSON] = read_json_rows,
	[DATA_CSV] = read_csv_rows,
	[DATA_CSV_NO_HEADER] = read_csv_rows,
};

bool data_read(
	const struct data_source *s, const struct data_file *f, struct strbuf *table, struct err *e)
{
	struct row_writer w = {.source = s, .file = f};
	struct buf text = f->bytes;
	strbuf_init(&w.records);
	strbuf_init(&w.heap);
	if (text.n >= 3 && !memcmp(text.p, "\xef\xbb\xbf", 3))
		text = (struct buf){(const char *)text.p + 3, text.n - 3};
	bool ok = check_utf8(f, text, e) && parse_paths(&w, e) && readers[s->format](&w, text, e);
	if (ok) {
		flat_begin(table, "TRIMROWS", 1);
		flat_bytes(table, f->name, strlen(f->name));
		flat_u64(table, w.nrow);
		flat_bytes(table, w.records.s, w.records.n);
		flat_bytes(table, w.heap.s, w.heap.n);
	}
	strbuf_release(&w.records);
	strbuf_release(&w.heap);
	arena_release(&w.paths);
	arena_release(&w.scratch);
	return ok;
}
