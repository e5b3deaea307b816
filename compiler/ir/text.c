/*
 * The text form of a graph: one line each, in this order when printed,
 *
 *     graph NAME
 *     axis NAME EXTENT [dynamic]
 *     slab BYTES
 *     %N = OP [axis=NAME] [value=NUMBER] [name=NAME] %SOURCE... : DTYPE (AXIS,...) [annotation...]
 *     region N KIND (AXIS,...) : %NODE...
 *     output NAME %NODE
 *
 * where q8, q4 and c8 have a bar before their inner axes: (R | K,E),
 * with the annotations `layout panel FIRST LAST` or `layout row PAD`, `region N`, `stored` and `at OFFSET`. # starts a
 * comment. A NAME is a word or "quoted", where \" \\ and \xHH are escapes. What stands behind a %
 * is any word when read and the node's index when printed. Numbers read back as the same double.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ir.h"

const char *const region_kind_name[NREGION_KINDS] = {
	[REGION_MAP] = "map", [REGION_REDUCE] = "reduce", [REGION_DOT] = "dot",
	[REGION_ATTENTION] = "attention", [REGION_SCATTER] = "scatter", [REGION_QUANTISE] = "quantise",
};

/* What an op's line carries besides sources and type. */
static const struct uses {
	bool axis, value, name;
} uses[NOPS] = {
	[OP_INPUT] = {.name = true},
	[OP_PARAM] = {.name = true},
	[OP_STATE] = {.name = true},
	[OP_CONST] = {.value = true},
	[OP_FLIP] = {.axis = true},
	[OP_GATHER] = {.axis = true},
	[OP_SCATTER] = {.axis = true},
	[OP_PUT] = {.axis = true},
	[OP_ATTENTION] = {.axis = true},
	[OP_ATTENTION_DQ] = {.axis = true},
	[OP_ATTENTION_DK] = {.axis = true},
	[OP_ATTENTION_DV] = {.axis = true},
};

static bool word_char(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f && !strchr("#%(),|=:\"\\", c);
}

/* ---- printing ---- */

static void print_name(struct strbuf *out, const char *name)
{
	bool plain = *name != '\0';
	for (const char *p = name; *p; p++)
		plain = plain && word_char(*p);
	if (plain) {
		strbuf_adds(out, name);
		return;
	}
	strbuf_addc(out, '"');
	for (const char *p = name; *p; p++) {
		if (*p == '"' || *p == '\\')
			strbuf_addf(out, "\\%c", *p);
		else if ((unsigned char)*p < ' ' || *p == 0x7f)
			strbuf_addf(out, "\\x%02x", (unsigned char)*p);
		else
			strbuf_addc(out, *p);
	}
	strbuf_addc(out, '"');
}

static void print_axes(struct strbuf *out, const struct graph *g, const struct type *t)
{
	strbuf_addc(out, '(');
	for (int i = 0; i < t->naxis; i++) {
		if (dtype_has_blocks(t->dtype) && i == t->outer)
			strbuf_adds(out, i ? " | " : "| ");
		else if (i)
			strbuf_addc(out, ',');
		print_name(out, g->axis[t->axis[i]].name);
	}
	strbuf_addc(out, ')');
}

static void print_number(struct strbuf *out, double x)
{
	if (isfinite(x) && !(x == 0 && signbit(x)))
		strbuf_add_double(out, x);
	else
		strbuf_addf(out, "%g", x);
}

static void print_node(struct strbuf *out, const struct graph *g, int node)
{
	const struct node *n = &g->node[node];
	strbuf_addf(out, "%%%d = %s", node, op_info[n->op].name);
	if (uses[n->op].axis) {
		strbuf_adds(out, " axis=");
		print_name(out, g->axis[n->axis].name);
	}
	if (uses[n->op].value) {
		strbuf_adds(out, " value=");
		print_number(out, n->value);
	}
	if (uses[n->op].name) {
		strbuf_adds(out, " name=");
		print_name(out, n->name);
	}
	for (int s = 0; s < op_info[n->op].nsrc; s++)
		strbuf_addf(out, " %%%d", n->src[s]);
	strbuf_addf(out, " : %s ", dtype_name[n->type.dtype]);
	print_axes(out, g, &n->type);
	if (n->layout.kind == LAYOUT_PANEL)
		strbuf_addf(out, " layout panel %d %d", n->layout.first, n->layout.last);
	if (n->layout.pad)
		strbuf_addf(out, " layout row %d", n->layout.pad);
	if (g->region && n->region >= 0)
		strbuf_addf(out, " region %d", n->region);
	if (g->region && n->stored)
		strbuf_adds(out, " stored");
	if (g->slab_bytes && n->offset >= 0)
		strbuf_addf(out, " at %" PRId64, n->offset);
	strbuf_addc(out, '\n');
}

void graph_print(struct strbuf *out, const struct graph *g)
{
	strbuf_adds(out, "graph ");
	print_name(out, g->name);
	strbuf_addc(out, '\n');
	for (int i = 0; i < g->naxis; i++) {
		strbuf_adds(out, "axis ");
		print_name(out, g->axis[i].name);
		strbuf_addf(out, " %" PRId64 "%s\n", g->axis[i].extent,
			g->axis[i].dynamic ? " dynamic" : "");
	}
	if (g->slab_bytes)
		strbuf_addf(out, "slab %" PRId64 "\n", g->slab_bytes);
	for (int i = 0; i < g->nnode; i++)
		print_node(out, g, i);
	for (int i = 0; i < g->nregion; i++) {
		const struct region *r = &g->region[i];
		strbuf_addf(out, "region %d %s ", i, region_kind_name[r->kind]);
		print_axes(out, g, &r->space);
		strbuf_adds(out, " :");
		for (int k = 0; k < r->nnode; k++)
			strbuf_addf(out, " %%%d", r->node[k]);
		strbuf_addc(out, '\n');
	}
	for (int i = 0; i < g->noutput; i++) {
		strbuf_adds(out, "output ");
		print_name(out, g->output[i].name);
		strbuf_addf(out, " %%%d\n", g->output[i].node);
	}
}

/* ---- reading ---- */

struct reader {
	struct graph *g;
	const char *file;
	const char *p, *end;   /* what is left */
	const char *line_at;   /* where the line begins */
	const char *token;     /* where the last token begins: the place of an error */
	int line;
	const char **label;    /* what stands behind the % of each node */
	int nlabel;
	struct err *e;
};

static bool fail(struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool fail(struct reader *r, const char *fmt, ...)
{
	char msg[sizeof(r->e->msg)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	int col = (int)(r->token - r->line_at) + 1;
	return err_at(r->e, ERR_SPEC, r->file, r->line, col, "%s", msg);
}

static bool fail_unknown(struct reader *r, const char *what, const char *got,
	const char *const *names, size_t nnames)
{
	const char *near = nearest_name(got, names, nnames);
	return near ? fail(r, "unknown %s '%s'; did you mean '%s'?", what, got, near)
		    : fail(r, "unknown %s '%s'", what, got);
}

/* Moves to the next token of this line; false at its end. */
static bool more(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\r'))
		r->p++;
	r->token = r->p;
	return r->p < r->end && *r->p != '\n' && *r->p != '#';
}

static bool next_is(struct reader *r, char c)
{
	if (!more(r) || *r->p != c)
		return false;
	r->p++;
	return true;
}

static bool expect(struct reader *r, char c)
{
	return next_is(r, c) ? true : fail(r, "expected '%c'", c);
}

static bool read_word(struct reader *r, const char *what, const char **out)
{
	more(r);
	while (r->p < r->end && *r->p && word_char(*r->p))
		r->p++;
	*out = arena_strndup(r->g->arena, r->token, (size_t)(r->p - r->token));
	return **out ? true : fail(r, "expected %s", what);
}

static bool read_escape(struct reader *r, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const char *hi, *lo;
	if (r->end - r->p >= 1 && (*r->p == '"' || *r->p == '\\')) {
		*out = *r->p++;
		return true;
	}
	if (r->end - r->p < 3 || *r->p != 'x' || !r->p[1] || !r->p[2] ||
		!(hi = strchr(digits, r->p[1])) || !(lo = strchr(digits, r->p[2])) ||
		(*out = (char)((hi - digits) << 4 | (lo - digits))) == '\0')
		return fail(r, "bad escape in a quoted name; \\\" \\\\ and \\xHH are known");
	r->p += 3;
	return true;
}

static bool read_name(struct reader *r, const char *what, const char **out)
{
	if (!next_is(r, '"'))
		return read_word(r, what, out);
	char *s = arena_alloc(r->g->arena, (size_t)(r->end - r->p) + 1), *to = s;
	while (r->p < r->end && *r->p != '"' && *r->p != '\n' && *r->p)
		if ((*to++ = *r->p++) == '\\' && !read_escape(r, to - 1))
			return false;
	*out = s;
	return r->p < r->end && *r->p++ == '"' ? true : fail(r, "missing quote behind %s", what);
}

static bool read_int(struct reader *r, const char *what, int64_t min, int64_t max, int64_t *out)
{
	const char *s;
	char *rest;
	if (!read_word(r, what, &s))
		return false;
	errno = 0;
	long long v = strtoll(s, &rest, 10);
	if (*rest || errno || v < min || v > max)
		return fail(r, "%s is '%s', not an integer from %lld to %lld", what, s,
			(long long)min, (long long)max);
	*out = v;
	return true;
}

static bool read_axis(struct reader *r, int *axis)
{
	const char *s, *names[UINT8_MAX];
	if (!read_name(r, "an axis", &s))
		return false;
	*axis = graph_find_axis(r->g, s);
	for (int i = 0; i < r->g->naxis; i++)
		names[i] = r->g->axis[i].name;
	return *axis >= 0 ? true : fail_unknown(r, "axis", s, names, (size_t)r->g->naxis);
}

static bool read_axes(struct reader *r, struct type *t)
{
	int axis;
	if (!expect(r, '('))
		return false;
	for (t->naxis = 0; !next_is(r, ')'); t->axis[t->naxis++] = (uint8_t)axis) {
		bool bar = next_is(r, '|');
		if (bar && (t->outer || !dtype_has_blocks(t->dtype)))
			return fail(r, "only q8, q4 and c8 have a bar, and one");
		if (bar)
			t->outer = (uint8_t)t->naxis;
		else if (t->naxis && !expect(r, ','))
			return false;
		if (!read_axis(r, &axis))
			return false;
		if (t->naxis == IR_MAX_AXES)
			return fail(r, "more than %d axes", IR_MAX_AXES);
		if (type_has_axis(t, axis))
			return fail(r, "axis '%s' occurs twice", r->g->axis[axis].name);
	}
	return true;
}

/* A word of a fixed list. */
static bool read_choice(struct reader *r, const char *what, const char *const *names, size_t n,
	int *out)
{
	const char *s;
	if (!read_word(r, what, &s))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], s)) {
			*out = (int)i;
			return true;
		}
	return fail_unknown(r, what, s, names, n);
}

static int find_label(const struct reader *r, const char *label)
{
	for (int i = r->nlabel - 1; i >= 0; i--)
		if (!strcmp(r->label[i], label))
			return i;
	return -1;
}

static bool read_node(struct reader *r, int *node)
{
	const char *label;
	if (!expect(r, '%') || !read_word(r, "a node", &label))
		return false;
	*node = find_label(r, label);
	return *node >= 0 ? true
			  : fail(r, "%%%s is not defined before this line", label);
}

static bool line_graph(struct reader *r)
{
	return read_name(r, "the graph's name", &r->g->name);
}

static bool line_axis(struct reader *r)
{
	static const char *const words[] = {"dynamic"};
	const char *name;
	int64_t extent;
	int word;
	if (!read_name(r, "an axis", &name))
		return false;
	if (graph_find_axis(r->g, name) >= 0)
		return fail(r, "axis '%s' is declared twice", name);
	if (r->g->naxis == UINT8_MAX)
		return fail(r, "more than %d axes", UINT8_MAX);
	if (!read_int(r, "the extent", 1, INT32_MAX, &extent))
		return false;
	bool dynamic = more(r);
	if (dynamic && !read_choice(r, "axis property", words, NELEM(words), &word))
		return false;
	graph_axis(r->g, name, extent, dynamic);
	return true;
}

static bool line_slab(struct reader *r)
{
	return read_int(r, "the slab's bytes", 1, INT64_MAX / 2, &r->g->slab_bytes);
}

static bool line_output(struct reader *r)
{
	const char *name;
	int node;
	if (!read_name(r, "the output's name", &name))
		return false;
	for (int i = 0; i < r->g->noutput; i++)
		if (!strcmp(r->g->output[i].name, name))
			return fail(r, "output '%s' is named twice", name);
	if (!read_node(r, &node))
		return false;
	graph_add_output(r->g, name, node);
	return true;
}

static bool line_region(struct reader *r)
{
	struct graph *g = r->g;
	struct region region = {0};
	int64_t number;
	int kind, node;
	if (!read_int(r, "the region's number", g->nregion, g->nregion, &number) ||
		!read_choice(r, "region kind", region_kind_name, NREGION_KINDS, &kind) ||
		!read_axes(r, &region.space) || !expect(r, ':'))
		return false;
	region.kind = (enum region_kind)kind;
	while (more(r)) {
		if (!read_node(r, &node))
			return false;
		if (region.nnode && node <= region.node[region.nnode - 1])
			return fail(r, "a region's nodes are listed in graph order");
		*arena_push(g->arena, region.node, region.nnode) = node;
	}
	*arena_push(g->arena, g->region, g->nregion) = region;
	return true;
}

static bool note_layout(struct reader *r, struct node *n)
{
	static const char *const kinds[] = {[LAYOUT_ROW] = "row", [LAYOUT_PANEL] = "panel"};
	int kind;
	int64_t first, last, pad;
	if (!read_choice(r, "layout", kinds, NELEM(kinds), &kind))
		return false;
	if (kind == LAYOUT_ROW) {
		if (!read_int(r, "the elements between rows", 1, INT16_MAX, &pad))
			return false;
		n->layout = (struct layout){.kind = LAYOUT_ROW, .pad = (int)pad};
		return true;
	}
	if (!read_int(r, "the first panel axis", 0, IR_MAX_AXES, &first) ||
		!read_int(r, "the end of the panel axes", 0, IR_MAX_AXES, &last))
		return false;
	n->layout = (struct layout){LAYOUT_PANEL, (uint8_t)first, (uint8_t)last, 0};
	return true;
}

static bool note_region(struct reader *r, struct node *n)
{
	int64_t region;
	if (!read_int(r, "the region", 0, INT32_MAX, &region))
		return false;
	n->region = (int)region;
	return true;
}

static bool note_stored(struct reader *r, struct node *n)
{
	(void)r;
	return n->stored = true;
}

static bool note_at(struct reader *r, struct node *n)
{
	return read_int(r, "the offset", 0, INT64_MAX / 2, &n->offset);
}

static bool read_annotation(struct reader *r, struct node *n)
{
	static const char *const names[] = {"layout", "region", "stored", "at"};
	static bool (*const read[])(struct reader *, struct node *) = {
		note_layout, note_region, note_stored, note_at};
	int i;
	return read_choice(r, "annotation", names, NELEM(names), &i) && read[i](r, n);
}

static bool option_axis(struct reader *r, struct node *n)
{
	return read_axis(r, &n->axis);
}

static bool option_value(struct reader *r, struct node *n)
{
	const char *s;
	char *rest;
	if (!read_word(r, "a number", &s))
		return false;
	n->value = strtod(s, &rest);
	return *rest ? fail(r, "value '%s' is not a number", s) : true;
}

static bool option_name(struct reader *r, struct node *n)
{
	if (!read_name(r, "a name", &n->name))
		return false;
	return graph_find_leaf(r->g, n->name) < 0 ? true
						  : fail(r, "name '%s' is used twice", n->name);
}

/* The options that the op uses, each exactly once, in any order. */
static bool read_options(struct reader *r, struct node *n)
{
	static const char *const names[] = {"axis", "value", "name"};
	static bool (*const read[])(struct reader *, struct node *) = {
		option_axis, option_value, option_name};
	const bool used[] = {uses[n->op].axis, uses[n->op].value, uses[n->op].name};
	bool seen[NELEM(names)] = {0};
	int i;
	while (more(r) && word_char(*r->p)) {
		if (!read_choice(r, "option", names, NELEM(names), &i))
			return false;
		if (!used[i] || seen[i])
			return fail(r, "op '%s' takes %s '%s'", op_info[n->op].name,
				used[i] ? "only one" : "no", names[i]);
		seen[i] = true;
		if (!expect(r, '=') || !read[i](r, n))
			return false;
	}
	for (size_t k = 0; k < NELEM(names); k++)
		if (used[k] && !seen[k])
			return fail(r, "op '%s' needs %s=", op_info[n->op].name, names[k]);
	return true;
}

static bool read_sources(struct reader *r, struct node *n)
{
	int nsrc = op_info[n->op].nsrc, s = 0;
	for (int i = 0; i < IR_MAX_SRCS; i++)
		n->src[i] = -1;
	for (; more(r) && *r->p == '%'; s++) {
		if (s == nsrc)
			return fail(r, "op '%s' takes %d sources", op_info[n->op].name, nsrc);
		if (!read_node(r, &n->src[s]))
			return false;
	}
	if (s < nsrc)
		return fail(r, "op '%s' takes %d sources, not %d", op_info[n->op].name, nsrc, s);
	return true;
}

static bool check_value(struct reader *r, const struct node *n)
{
	bool exact = n->value >= INT32_MIN && n->value <= INT32_MAX && rint(n->value) == n->value;
	return n->op != OP_CONST || n->type.dtype != DT_I32 || exact
		? true
		: fail(r, "the value of an i32 constant is no 32-bit integer");
}

static bool line_node(struct reader *r)
{
	struct node n = {.region = -1, .offset = -1};
	const char *label, *start = r->token, *ops[NOPS];
	int op, dtype;
	if (!read_word(r, "a node", &label))
		return false;
	if (find_label(r, label) >= 0)
		return fail(r, "%%%s is defined twice", label);
	for (int i = 0; i < NOPS; i++)
		ops[i] = op_info[i].name;
	if (!expect(r, '=') || !read_choice(r, "op", ops, NOPS, &op))
		return false;
	n.op = (enum op)op;
	if (!read_options(r, &n) || !read_sources(r, &n) || !expect(r, ':') ||
		!read_choice(r, "dtype", dtype_name, NDTYPES, &dtype))
		return false;
	n.type.dtype = (enum dtype)dtype;
	if (!read_axes(r, &n.type))
		return false;
	while (more(r))
		if (!read_annotation(r, &n))
			return false;
	struct err why;
	r->token = start;
	if (!check_value(r, &n))
		return false;
	if (!node_check(r->g, &n, &why))
		return fail(r, "%s", why.msg);
	*arena_push(r->g->arena, r->g->node, r->g->nnode) = n;
	*arena_push(r->g->arena, r->label, r->nlabel) = label;
	return true;
}

static bool read_line(struct reader *r)
{
	static const char *const names[] = {"graph", "axis", "slab", "region", "output"};
	static bool (*const read[])(struct reader *) = {
		line_graph, line_axis, line_slab, line_region, line_output};
	int i;
	if (!more(r))
		return true;
	bool ok = next_is(r, '%') ? line_node(r)
				  : read_choice(r, "line", names, NELEM(names), &i) && read[i](r);
	return ok && more(r) ? fail(r, "unexpected text behind the end of the line") : ok;
}

bool graph_parse(struct arena *a, struct buf text, const char *file, struct graph **out,
	struct err *e)
{
	struct reader r = {.g = graph_new(a, ""), .file = file, .line = 1, .e = e};
	r.p = text.n ? text.p : "";
	r.end = r.p + text.n;
	for (; r.p < r.end; r.line++) {
		r.line_at = r.p;
		if (!read_line(&r))
			return false;
		while (r.p < r.end && *r.p++ != '\n')
			;
	}
	struct err why;
	r.line_at = r.token = r.p;
	for (int i = 0; i < r.g->nnode; i++)
		if (r.g->node[i].region >= r.g->nregion)
			return fail(&r, "%%%s is in region %d, which is not declared", r.label[i],
				r.g->node[i].region);
	if (!graph_check(r.g, &why))
		return fail(&r, "%s", why.msg);
	*out = r.g;
	return true;
}
