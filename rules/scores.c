#include "scores.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

/* ---- the table ---- */

static void add_values(struct strbuf *out, const struct scores *s, const double *value)
{
	for (int i = 0; i < s->ncolumn; i++) {
		if (isnan(value[i]))
			strbuf_adds(out, " -");
		else
			strbuf_addf(out, " %.17g", value[i]);
	}
	strbuf_addc(out, '\n');
}

void scores_write(struct strbuf *out, const struct scores *s)
{
	strbuf_addf(out, "trim-scores 2\nmethod %s\ncolumns", s->method);
	for (int i = 0; i < s->ncolumn; i++)
		strbuf_addf(out, " %s", s->column[i]);
	strbuf_adds(out, "\nbase");
	add_values(out, s, s->base);
	for (size_t i = 0; i < s->nunit; i++) {
		strbuf_addf(out, "unit %s", s->unit[i].name);
		add_values(out, s, s->unit[i].value);
	}
}

/* One number for each column, nothing else. */
static bool read_values(char **rest, const struct scores *s, double *value)
{
	char *word, *end;
	for (int i = 0; i < s->ncolumn; i++) {
		if (!(word = strsep(rest, " ")))
			return false;
		value[i] = strcmp(word, "-") ? strtod(word, &end) : NAN;
		if (strcmp(word, "-") && (end == word || *end))
			return false;
	}
	return !*rest;
}

static bool read_line(struct arena *a, char *p, int line, struct scores *out)
{
	struct unit_score u;
	char *word = strsep(&p, " ");
	if (line == 1)
		return !strcmp(word, "trim-scores") && p && !strcmp(p, "2");
	if (line == 2)
		return !strcmp(word, "method") && (out->method = p);
	if (line == 3) {
		for (const char *c; p && (c = strsep(&p, " "));)
			if (out->ncolumn < SCORE_COLUMNS)
				out->column[out->ncolumn++] = c;
		return !strcmp(word, "columns") && out->ncolumn;
	}
	if (line == 4)
		return !strcmp(word, "base") && read_values(&p, out, out->base);
	if (strcmp(word, "unit") || !(u.name = strsep(&p, " ")) || !read_values(&p, out, u.value))
		return false;
	*arena_push(a, out->unit, out->nunit) = u;
	return true;
}

bool scores_read(struct arena *a, struct buf text, struct scores *out, struct err *e)
{
	char *rest = arena_strndup(a, text.p, text.n);
	int line = 0;
	*out = (struct scores){0};
	for (char *p; (p = strsep(&rest, "\n")) && *p;) {
		const char *whole = arena_strdup(a, p);
		if (!read_line(a, p, ++line, out))
			return err_at(e, ERR_IO, "scores", line, 0, "unable to read '%.60s'", whole);
	}
	return line >= 4 || err_at(e, ERR_IO, "scores", line, 0, "the table ends early");
}

int scores_column(const struct scores *s, const char *name)
{
	for (int i = 0; i < s->ncolumn; i++)
		if (!strcmp(s->column[i], name))
			return i;
	return -1;
}

const struct unit_score *scores_find(const struct scores *s, const char *unit)
{
	for (size_t i = 0; i < s->nunit; i++)
		if (!strcmp(s->unit[i].name, unit))
			return &s->unit[i];
	return NULL;
}

void scores_write_values(struct strbuf *out, const struct scores *s, const double *value)
{
	for (int i = 0; i < s->ncolumn; i++) {
		if (isnan(value[i]))
			continue;
		strbuf_addf(out, ",\"%s\":", s->column[i]);
		strbuf_addf(out, isfinite(value[i]) ? "%.6g" : "null", value[i]);
	}
}

/* ---- units ---- */

struct unit *state_units(struct arena *a, const struct state *s, size_t *n)
{
	struct unit *unit = NULL;
	*n = 0;
	for (int i = 0; i < s->config.layers; i++) {
		if (s->has_attn[i])
			*arena_push(a, unit, *n) = (struct unit){UNIT_ATTN, i};
		if (s->has_mlp[i])
			*arena_push(a, unit, *n) = (struct unit){UNIT_MLP, i};
	}
	return unit;
}

struct candidate *candidate_halves(struct arena *a, const struct state *s, size_t *n)
{
	struct unit *unit = state_units(a, s, n);
	struct candidate *all = arena_array(a, struct candidate, *n);
	char name[32];
	for (size_t i = 0; i < *n; i++) {
		unit_name(unit[i], name);
		all[i] = (struct candidate){arena_strdup(a, name), &unit[i], 1, 1};
	}
	return all;
}

struct candidate *candidate_blocks(struct arena *a, const struct state *s, size_t run, size_t *n)
{
	size_t nunit, nblock = 0, *first = NULL;
	struct unit *unit = state_units(a, s, &nunit);
	for (size_t i = 0; i < nunit; i++)
		if (!i || unit[i].layer != unit[i - 1].layer)
			*arena_push(a, first, nblock) = i;
	*n = run <= nblock ? nblock - run + 1 : 0;
	struct candidate *all = arena_array(a, struct candidate, *n);
	for (size_t i = 0; i < *n; i++) {
		size_t end = i + run < nblock ? first[i + run] : nunit;
		const char *name = "";
		for (size_t k = i; k < i + run; k++)
			name = arena_printf(a, "%s%sblk.%d", name, k > i ? "+" : "", unit[first[k]].layer);
		all[i] = (struct candidate){name, &unit[first[i]], end - first[i], run};
	}
	return all;
}

/* "blk.3", or what unit_parse takes. */
static bool part_parse(const char *part, int *layer, struct unit *half, bool *block)
{
	int end = 0;
	*block = sscanf(part, "blk.%9d%n", layer, &end) == 1 && !part[end] && *layer >= 0;
	if (*block || !unit_parse(part, half))
		return *block;
	*layer = half->layer;
	return true;
}

bool candidate_find(struct arena *a, const struct state *s, const char *name, struct candidate *out, struct err *e)
{
	char *rest = arena_strdup(a, name);
	struct candidate found = {.name = arena_strdup(a, name)};
	*out = (struct candidate){0};
	for (const char *part; (part = strsep(&rest, "+")); found.nunit++) {
		struct unit half;
		int layer;
		bool block;
		size_t before = found.nhalf;
		if (!part_parse(part, &layer, &half, &block) || layer >= s->config.layers)
			return err_set(e, ERR_IO, "'%s' is no unit of the state", part);
		if (s->has_attn[layer] && (block || half.kind == UNIT_ATTN))
			*arena_push(a, found.half, found.nhalf) = (struct unit){UNIT_ATTN, layer};
		if (s->has_mlp[layer] && (block || half.kind == UNIT_MLP))
			*arena_push(a, found.half, found.nhalf) = (struct unit){UNIT_MLP, layer};
		if (found.nhalf == before) {
			out->name = found.name;
			return false;
		}
	}
	*out = found;
	return true;
}

/* Whether a half is the part of n bytes, "blk.1" or "blk.1.attn", or belongs to it. */
static bool belongs(struct unit half, const char *part, size_t n)
{
	char name[32];
	unit_name(half, name);
	return !strncmp(name, part, n) && (!name[n] || name[n] == '.');
}

bool unit_left_as(const char *unit, const struct unit *half, size_t n, size_t i)
{
	bool own = false;
	for (const char *p = unit; *p; p += strcspn(p, "+"), p += *p == '+') {
		size_t len = strcspn(p, "+");
		bool any = false;
		for (size_t k = 0; k < n; k++)
			any = any || belongs(half[k], p, len);
		if (!any)
			return false;
		own = own || belongs(half[i], p, len);
	}
	return own;
}
