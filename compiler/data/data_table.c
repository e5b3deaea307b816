#include <stdio.h>

#include "data.h"
#include "flat.h"

bool row_table_open(struct row_table *t, struct buf bytes, struct err *e)
{
	struct flat f;
	flat_open(&f, bytes, "row table", "TRIMROWS", 1);
	t->file = flat_get_text(&f);
	uint64_t n = flat_get_u64(&f);
	t->row = flat_get_array(&f, n, sizeof(*t->row));
	t->heap = flat_get_bytes(&f);
	t->nrow = f.bad ? 0 : (size_t)n;
	for (size_t i = 0; i < t->nrow; i++) {
		const struct row_record *r = &t->row[i];
		if (r->text_at > t->heap.n || t->heap.n - r->text_at < r->text_bytes ||
			r->key_at > t->heap.n || t->heap.n - r->key_at < r->key_bytes ||
			r->keyed > 1)
			flat_bad(&f, "a row points outside of it");
	}
	return flat_end(&f, e);
}

struct buf row_table_text(const struct row_table *t, size_t row)
{
	const struct row_record *r = &t->row[row];
	return (struct buf){(const char *)t->heap.p + r->text_at, r->text_bytes};
}

struct buf row_table_key(const struct row_table *t, size_t row)
{
	const struct row_record *r = &t->row[row];
	if (!r->keyed)
		return (struct buf){0};
	return (struct buf){(const char *)t->heap.p + r->key_at, r->key_bytes};
}

bool row_table_fail(const struct row_table *t, size_t row, struct err *e)
{
	if (!e)
		return false;
	snprintf(e->file, sizeof(e->file), "%s", t->file);
	e->line = (int)t->row[row].line;
	e->col = 0; /* one inside of the canonical text would mislead */
	return false;
}

bool row_table_json(
	struct arena *a, const struct row_table *t, size_t row, struct json **out, struct err *e)
{
	return json_parse(a, row_table_text(t, row), t->file, (int)t->row[row].line, out, e) ||
	       row_table_fail(t, row, e);
}

bool row_table_render(struct arena *a, const struct row_table *t, size_t row,
	const struct task *task, struct task_row *out, struct err *e)
{
	struct json *v;
	if (!row_table_json(a, t, row, &v, e))
		return false;
	return (task_render(a, task, v, out, e) &&
		       (!task->answer[0] || task_answer(a, task, v, out, e))) ||
	       row_table_fail(t, row, e);
}
