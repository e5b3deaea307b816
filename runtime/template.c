#include "template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct arena *a;
	const char *text, *p; /* NUL-terminated */
	struct err *e;
};

static bool fail(struct reader *r, const char *where, const char *what)
{
	int line = 1;
	const char *start = r->text;
	for (const char *p = r->text; p < where; p++) {
		if (*p == '\n') {
			line++;
			start = p + 1;
		}
	}
	return err_at(r->e, ERR_SPEC, NULL, line, (int)(where - start) + 1, "%s", what);
}

static bool read_name(struct reader *r, const char *stop, const char *what, const char **name)
{
	size_t n = strcspn(r->p, stop);
	if (!n)
		return fail(r, r->p, what);
	*name = arena_strndup(r->a, r->p, n);
	r->p += n;
	return true;
}

static bool read_bracket(struct reader *r, struct path_step *s)
{
	static const char expected[] = "expected '[*]', '[NUMBER]' or '[\"NAME\"]'";
	const char *open = r->p++;
	if (*r->p == '*') {
		s->kind = STEP_ALL;
		r->p++;
	} else if (*r->p == '"') {
		r->p++;
		if (!read_name(r, "\"", expected, &s->name))
			return false;
		if (*r->p != '"')
			return fail(r, open, expected);
		r->p++;
	} else {
		char *end;
		if (*r->p < '0' || *r->p > '9')
			return fail(r, open, expected);
		unsigned long long v = strtoull(r->p, &end, 10);
		if (v > INT32_MAX)
			return fail(r, r->p, "index out of range");
		s->kind = STEP_INDEX;
		s->index = (size_t)v;
		r->p = end;
	}
	if (*r->p != ']')
		return fail(r, open, expected);
	r->p++;
	return true;
}

static bool read_path(struct reader *r, struct field_path *out)
{
	const char *from = r->p;
	*out = (struct field_path){0};
	for (;;) {
		struct path_step s = {.kind = STEP_NAME};
		if (*r->p == '[') {
			if (!read_bracket(r, &s))
				return false;
		} else {
			if (out->nstep && *r->p != '.')
				break;
			r->p += out->nstep > 0;
			if (!read_name(r, "{}[].\"\r\n",
				    "expected the name of a field; a brace itself is written '{{'",
				    &s.name))
				return false;
		}
		*arena_push(r->a, out->step, out->nstep) = s;
	}
	out->text = arena_strndup(r->a, from, (size_t)(r->p - from));
	return true;
}

bool field_path_parse(struct arena *a, const char *text, struct field_path *out, struct err *e)
{
	struct reader r = {a, text, text, e};
	if (!read_path(&r, out))
		return false;
	return *r.p ? fail(&r, r.p, "expected the end of the field's path") : true;
}

bool template_parse(struct arena *a, const char *text, struct template *out, struct err *e)
{
	struct reader r = {a, text, text, e};
	*out = (struct template){0};
	while (*r.p) {
		struct template_part part = {0};
		size_t n = strcspn(r.p, "{}");
		if (n) {
			part.text = (struct buf){arena_strndup(a, r.p, n), n};
			r.p += n;
		} else if (r.p[0] == r.p[1]) {
			part.text = (struct buf){*r.p == '{' ? "{" : "}", 1};
			r.p += 2;
		} else if (*r.p == '}') {
			return fail(&r, r.p,
				"'}' without a '{' before it; a brace itself is written '}}'");
		} else {
			const char *open = r.p++;
			struct field_path *path = arena_new(a, struct field_path);
			if (!read_path(&r, path))
				return false;
			if (*r.p != '}')
				return fail(&r, open,
					"'{' without its '}'; a brace itself is written '{{'");
			r.p++;
			part.path = path;
		}
		*arena_push(a, out->part, out->npart) = part;
	}
	return true;
}

bool json_scalar(const struct json *v, struct buf *out)
{
	switch (v->kind) {
	case JSON_STRING:
	case JSON_NUMBER:
		*out = (struct buf){v->text, v->text_bytes};
		return true;
	case JSON_TRUE:
		*out = (struct buf){"true", 4};
		return true;
	case JSON_FALSE:
		*out = (struct buf){"false", 5};
		return true;
	case JSON_NULL:
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	return false;
}

size_t json_sorted_members(const struct json *object, size_t *index)
{
	size_t n = 0;
	/* Insertion, for objects are small and mostly in order already. */
	for (size_t i = 0; i < object->nitem; i++) {
		size_t at = n;
		int c = 1;
		while (at && (c = strcmp(object->key[index[at - 1]], object->key[i])) > 0)
			at--;
		if (at && c == 0) {
			index[at - 1] = i;
			continue;
		}
		memmove(&index[at + 1], &index[at], (n - at) * sizeof(*index));
		index[at] = i;
		n++;
	}
	return n;
}

struct walk {
	const struct field_path *path;
	field_visit *visit;
	void *ctx;
	struct err *e;
};

static bool walk_fail(const struct walk *w, const struct json *v, const char *why, const char *near)
{
	return err_at(w->e, ERR_SPEC, NULL, v->line, v->col, "field '%s': %s%s%s%s", w->path->text,
		why, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool walk_fail_name(const struct walk *w, const struct json *v, const char *name)
{
	char why[160];
	if (v->kind == JSON_ARRAY)
		snprintf(
			why, sizeof(why), "no member '%.80s' in a list; use [NUMBER] or [*]", name);
	else if (v->kind != JSON_OBJECT)
		snprintf(why, sizeof(why), "no member '%.80s' in what is no object", name);
	else
		snprintf(why, sizeof(why), "the row has no '%.80s'", name);
	/* One letter is near to every other. */
	const char *near = v->kind == JSON_OBJECT && name[1]
				   ? nearest_name(name, (const char *const *)v->key, v->nitem)
				   : NULL;
	return walk_fail(w, v, why, near);
}

static bool walk_step(const struct walk *w, size_t i, const struct json *v);

static bool walk_all(const struct walk *w, size_t i, const struct json *v)
{
	bool ok = true;
	if (v->kind == JSON_ARRAY) {
		for (size_t k = 0; ok && k < v->nitem; k++)
			ok = walk_step(w, i + 1, &v->item[k]);
		return ok;
	}
	if (v->kind != JSON_OBJECT)
		return walk_fail(w, v, "[*] needs a list or an object", NULL);
	size_t *index = xmalloc(v->nitem * sizeof(*index));
	size_t n = json_sorted_members(v, index);
	for (size_t k = 0; ok && k < n; k++)
		ok = walk_step(w, i + 1, &v->item[index[k]]);
	free(index);
	return ok;
}

static bool walk_step(const struct walk *w, size_t i, const struct json *v)
{
	if (i == w->path->nstep)
		return w->visit(w->ctx, v, w->e);
	const struct path_step *s = &w->path->step[i];
	if (s->kind == STEP_ALL)
		return walk_all(w, i, v);
	size_t index = s->index;
	if (s->kind == STEP_NAME) {
		const struct json *member = json_get(v, s->name);
		if (member)
			return walk_step(w, i + 1, member);
		char *end;
		unsigned long long column = strtoull(s->name, &end, 10);
		if (i || v->kind != JSON_ARRAY || *end || !column || *s->name > '9' ||
			*s->name < '0')
			return walk_fail_name(w, v, s->name);
		index = (size_t)column - 1;
	}
	if (v->kind != JSON_ARRAY)
		return walk_fail(w, v, "[NUMBER] needs a list", NULL);
	if (index >= v->nitem) {
		char why[80];
		snprintf(why, sizeof(why), "the list has %zu items only", v->nitem);
		return walk_fail(w, v, why, NULL);
	}
	return walk_step(w, i + 1, &v->item[index]);
}

bool field_path_walk(const struct field_path *p, const struct json *row, field_visit *visit,
	void *ctx, struct err *e)
{
	struct walk w = {p, visit, ctx, e};
	return walk_step(&w, 0, row);
}

struct render {
	const struct field_path *path;
	struct strbuf *out;
	size_t n;
};

static bool render_value(void *ctx, const struct json *v, struct err *e)
{
	struct render *r = ctx;
	struct buf text;
	if (!json_scalar(v, &text)) {
		const char *why = v->kind == JSON_NULL ? "is null"
				  : v->kind == JSON_ARRAY
					  ? "is a list; [*] joins its items by newlines"
					  : "is an object; name one of its members";
		return err_at(
			e, ERR_SPEC, NULL, v->line, v->col, "field '%s' %s", r->path->text, why);
	}
	if (r->n++)
		strbuf_addc(r->out, '\n');
	strbuf_add(r->out, text.p, text.n);
	return true;
}

bool template_render(
	const struct template *t, const struct json *row, struct strbuf *out, struct err *e)
{
	for (size_t i = 0; i < t->npart; i++) {
		const struct template_part *part = &t->part[i];
		struct render r = {part->path, out, 0};
		if (!part->path)
			strbuf_add(out, part->text.p, part->text.n);
		else if (!field_path_walk(part->path, row, render_value, &r, e))
			return false;
	}
	return true;
}
