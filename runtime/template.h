/*
 * Prompt templates and the field paths in them; the same code renders in the compiler and in the
 * emitted binary.
 *
 *     template   any text, byte-exact; `{PATH}` is replaced, `{{` is `{` and `}}` is `}`
 *     PATH       NAME followed by any of  .NAME  [3]  [*]  ["any name"]
 *     NAME       bytes other than { } [ ] . " and line ends
 *
 * `[3]` is the fourth item of a list; `[*]` is every item of a list or member of an object (members
 * in byte order of their names), and what it leads to is joined by newlines. A NAME of digits
 * applied to a row that is a list is its column, from 1: `{1}` reads CSV rows without a header,
 * which are objects with the names "1", "2", ..., as well as plain lists.
 *
 * A string is rendered as it is, a number as it was written. A missing field, null, a list or an
 * object is an error, with the line and column of the row's value and the nearest name; the file is
 * the caller's to add.
 */
#ifndef TEMPLATE_H
#define TEMPLATE_H

#include "json.h"

enum path_step_kind { STEP_NAME, STEP_INDEX, STEP_ALL };

struct path_step {
	enum path_step_kind kind;
	const char *name; /* STEP_NAME */
	size_t index;     /* STEP_INDEX */
};

struct field_path {
	const char *text; /* as written */
	struct path_step *step;
	size_t nstep; /* at least 1 */
};

struct template_part {
	struct buf text; /* literal, when path is NULL */
	const struct field_path *path;
};

struct template
{
	struct template_part *part;
	size_t npart;
};

/* ERR_SPEC with line and column inside the text, from 1. What they make lives in the arena. */
bool template_parse(struct arena *a, const char *text, struct template *out, struct err *e);
bool field_path_parse(struct arena *a, const char *text, struct field_path *out, struct err *e);

/* Appends to out; on failure out holds a part. ERR_SPEC: the row lacks what the template names. */
bool template_render(
	const struct template *t, const struct json *row, struct strbuf *out, struct err *e);

/* Calls visit for each value that the path leads to, in order; stops when it returns false. */
typedef bool field_visit(void *ctx, const struct json *v, struct err *e);
bool field_path_walk(const struct field_path *p, const struct json *row, field_visit *visit,
	void *ctx, struct err *e);

/* The text of a string, number, true or false; false for null, lists and objects. */
bool json_scalar(const struct json *v, struct buf *out);

/* Writes the indices of an object's members to index (room for nitem), in byte order of their
 * names, of equal names the last alone; returns how many. */
size_t json_sorted_members(const struct json *object, size_t *index);

#endif
