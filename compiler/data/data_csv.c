#include <string.h>

#include "rows.h"

struct csv {
	struct row_writer *w;
	const char *p, *end, *line_start;
	int line;
	struct buf *field; /* of the record at hand, in the scratch arena */
	size_t nfield;
	struct err *e;
};

static bool fail(struct csv *c, int line, const char *where, const char *what)
{
	return err_at(c->e, ERR_SPEC, c->w->file->name, line, (int)(where - c->line_start) + 1,
		"%s", what);
}

static bool at_line_end(const struct csv *c)
{
	return c->p == c->end || *c->p == '\n' ||
	       (*c->p == '\r' && c->end - c->p > 1 && c->p[1] == '\n');
}

static void take_line_end(struct csv *c)
{
	if (c->p < c->end && *c->p == '\r')
		c->p++;
	if (c->p < c->end)
		c->p++;
	c->line++;
	c->line_start = c->p;
}

static bool read_quoted(struct csv *c, struct strbuf *out)
{
	int line = c->line, col = (int)(c->p - c->line_start) + 1;
	for (c->p++; c->p < c->end; c->p++) {
		if (*c->p == '"') {
			if (c->end - c->p < 2 || c->p[1] != '"')
				break;
			c->p++;
		} else if (*c->p == '\n') {
			c->line++;
			c->line_start = c->p + 1;
		}
		strbuf_addc(out, *c->p);
	}
	if (c->p == c->end)
		return err_at(c->e, ERR_SPEC, c->w->file->name, line, col,
			"quoted field without its closing quote");
	c->p++;
	if (!at_line_end(c) && *c->p != ',')
		return fail(c, c->line, c->p, "expected a comma behind a quoted field");
	return true;
}

static bool read_field(struct csv *c, struct strbuf *out)
{
	strbuf_clear(out);
	if (c->p < c->end && *c->p == '"')
		return read_quoted(c, out);
	for (; !at_line_end(c) && *c->p != ','; c->p++) {
		if (*c->p == '"')
			return fail(c, c->line, c->p,
				"quote inside of a field that does not begin with one");
		strbuf_addc(out, *c->p);
	}
	return true;
}

/* Into c->field; a record has at least one field. */
static bool read_record(struct csv *c)
{
	struct arena *a = &c->w->scratch;
	struct strbuf text;
	bool ok;
	strbuf_init(&text);
	c->field = NULL;
	c->nfield = 0;
	while ((ok = read_field(c, &text))) {
		*arena_push(a, c->field, c->nfield) =
			(struct buf){arena_strndup(a, text.s, text.n), text.n};
		if (at_line_end(c))
			break;
		c->p++;
	}
	strbuf_release(&text);
	if (ok)
		take_line_end(c);
	return ok;
}

static bool next_record(struct csv *c, int *line)
{
	while (c->p < c->end && at_line_end(c))
		take_line_end(c);
	*line = c->line;
	return c->p < c->end;
}

static bool take_names(struct csv *c, int line, const char ***names, size_t *n)
{
	struct arena *a = &c->w->paths;
	*n = c->nfield;
	*names = arena_array(a, const char *, *n);
	for (size_t i = 0; i < *n; i++) {
		bool header = c->w->source->format == DATA_CSV;
		(*names)[i] =
			header ? arena_strdup(a, c->field[i].p) : arena_printf(a, "%zu", i + 1);
		for (size_t k = 0; k < i; k++) {
			if (!strcmp((*names)[i], (*names)[k]))
				return err_at(c->e, ERR_SPEC, c->w->file->name, line, 1,
					"column '%s' stands twice in the header", (*names)[i]);
		}
	}
	return true;
}

bool read_csv_rows(struct row_writer *w, struct buf text, struct err *e)
{
	struct csv c = {.w = w, .p = text.p, .line_start = text.p, .line = 1, .e = e};
	const char **name = NULL;
	size_t nname = 0;
	int line;
	c.end = c.p + text.n;
	while (next_record(&c, &line)) {
		if (!read_record(&c))
			return false;
		if (!nname) {
			if (!take_names(&c, line, &name, &nname))
				return false;
			if (w->source->format == DATA_CSV)
				continue;
		}
		if (c.nfield != nname)
			return err_at(e, ERR_SPEC, w->file->name, line, 1,
				"%zu fields, expected %zu as in the %s", c.nfield, nname,
				w->source->format == DATA_CSV ? "header" : "first record");
		struct json *row = row_object(&w->scratch, nname, line);
		for (size_t i = 0; i < nname; i++)
			row_member(&w->scratch, row, i, name[i], c.field[i]);
		if (!row_add(w, row, (struct buf){0}, e))
			return false;
	}
	return true;
}
