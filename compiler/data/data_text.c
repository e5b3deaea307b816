#include <string.h>

#include "rows.h"

/* One line without its end. Returns false at the end of the text. */
static bool next_line(const char **p, const char *end, struct buf *line)
{
	if (*p == end)
		return false;
	const char *nl = memchr(*p, '\n', (size_t)(end - *p)), *stop = nl ? nl : end;
	*line = (struct buf){*p, (size_t)(stop - *p)};
	if (nl && line->n && stop[-1] == '\r')
		line->n--;
	*p = nl ? nl + 1 : end;
	return true;
}

static bool is_blank(struct buf text)
{
	for (size_t i = 0; i < text.n; i++) {
		if (!strchr(" \t\r\n\v\f", ((const char *)text.p)[i]) || !((const char *)text.p)[i])
			return false;
	}
	return true;
}

static bool add_document(struct row_writer *w, struct buf text, int line, struct err *e)
{
	struct json *row = row_object(&w->scratch, 1, line);
	row_member(&w->scratch, row, 0, "text", text);
	return row_add(w, row, (struct buf){0}, e);
}

bool read_text_rows(struct row_writer *w, struct buf text, struct err *e)
{
	const char *p = text.p, *end = p + text.n;
	struct buf line;
	struct strbuf document;
	int begins = 1;
	bool ok = true;
	if (w->source->rows == ROWS_FILE)
		return is_blank(text) || add_document(w, text, 1, e);
	strbuf_init(&document);
	for (int n = 1; ok && next_line(&p, end, &line); n++) {
		bool blank = is_blank(line);
		if (!blank) {
			if (document.n)
				strbuf_addc(&document, '\n');
			else
				begins = n;
			strbuf_add(&document, line.p, line.n);
		}
		if (document.n && (blank || p == end || w->source->rows == ROWS_LINE)) {
			ok = add_document(w, strbuf_buf(&document), begins, e);
			strbuf_clear(&document);
		}
	}
	strbuf_release(&document);
	return ok;
}
