#include "graph_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_tensor(struct graph_run *r, const char *name, int node)
{
	if (r->ntensor == GRAPH_RUN_TENSORS)
		BUG("too many tensors");
	size_t bytes = 64 + 8 * (size_t)layout_elements(r->g, &r->g->node[node].type,
				    r->g->node[node].layout);
	r->node[r->ntensor] = node;
	r->tensor[r->ntensor++] = (struct interp_tensor){name, arena_alloc(&r->arena, bytes)};
}

bool graph_run_init(struct graph_run *r, struct graph *g)
{
	r->g = g;
	r->dim = arena_array(&r->arena, int64_t, (size_t)g->naxis + 1);
	for (int i = 0; i < g->naxis; i++)
		r->dim[i] = g->axis[i].extent;
	for (int i = 0; i < g->nnode; i++)
		if (op_info[g->node[i].op].class == CLASS_LEAF && g->node[i].name)
			add_tensor(r, g->node[i].name, i);
	for (int i = 0; i < g->noutput; i++)
		add_tensor(r, g->output[i].name, g->output[i].node);
	return true;
}

bool graph_run_text(struct graph_run *r, const char *text)
{
	struct err e;
	struct graph *g;
	char msg[1024];
	if (graph_parse(&r->arena, (struct buf){text, strlen(text)}, NULL, &g, &e))
		return graph_run_init(r, g);
	err_format(&e, msg, sizeof(msg));
	FAIL("%s\n%s", msg, text);
	return false;
}

void graph_run_release(struct graph_run *r)
{
	arena_release(&r->arena);
}

int graph_run_tensor(const struct graph_run *r, const char *name)
{
	for (int i = 0; i < r->ntensor; i++)
		if (!strcmp(r->tensor[i].name, name))
			return i;
	BUG("no tensor '%s'", name);
}

int64_t graph_run_elements(const struct graph_run *r, int tensor)
{
	const struct node *n = &r->g->node[r->node[tensor]];
	struct layout layout = r->mode == INTERP_F64 ? (struct layout){0} : n->layout;
	return layout_elements(r->g, &n->type, layout);
}

double graph_run_get(const struct graph_run *r, int tensor, int64_t k)
{
	enum dtype dtype = r->g->node[r->node[tensor]].type.dtype;
	void *p = r->tensor[tensor].p;
	if (dtype_has_blocks(dtype))
		return ((uint8_t *)p)[k];
	if (dtype == DT_I32)
		return ((int32_t *)p)[k];
	if (r->mode == INTERP_F64)
		return ((double *)p)[k];
	if (dtype == DT_F32)
		return ((float *)p)[k];
	uint32_t bits = (uint32_t)((uint16_t *)p)[k] << 16;
	float f;
	memcpy(&f, &bits, 4);
	return f;
}

void graph_run_set(struct graph_run *r, int tensor, int64_t k, double value)
{
	enum dtype dtype = r->g->node[r->node[tensor]].type.dtype;
	void *p = r->tensor[tensor].p;
	float f = (float)value;
	uint32_t bits;
	memcpy(&bits, &f, 4);
	if (dtype_has_blocks(dtype))
		((uint8_t *)p)[k] = (uint8_t)value;
	else if (dtype == DT_I32)
		((int32_t *)p)[k] = (int32_t)(int64_t)value;
	else if (r->mode == INTERP_F64)
		((double *)p)[k] = value;
	else if (dtype == DT_F32)
		((float *)p)[k] = f;
	else
		((uint16_t *)p)[k] = (uint16_t)(bits >> 16);
}

void graph_run_dim(struct graph_run *r, const char *axis, int64_t extent)
{
	int i = graph_find_axis(r->g, axis);
	if (i < 0 || extent > r->g->axis[i].extent)
		BUG("axis '%s'", axis);
	r->dim[i] = extent;
}

void graph_run_fill(struct graph_run *r, const char *text)
{
	int tensor = -1;
	int64_t k = 0;
	char word[64];
	for (int n; sscanf(text, "%63s%n", word, &n) == 1; text += n) {
		size_t last = strlen(word) - 1;
		if (word[last] == '=') {
			word[last] = '\0';
			tensor = graph_run_tensor(r, word);
			k = 0;
		} else if (tensor < 0 || k >= graph_run_elements(r, tensor)) {
			BUG("no element for '%s'", word);
		} else {
			char *number = word, *star = strchr(word, '*');
			int64_t times = star ? strtoll(word, NULL, 10) : 1;
			if (star)
				number = star + 1;
			while (times--)
				graph_run_set(r, tensor, k++, strtod(number, NULL));
		}
	}
}

/* Where element k of the actual extents lies in the memory of a tensor. */
static int64_t element_at(const struct graph_run *r, int tensor, int64_t k)
{
	const struct node *n = &r->g->node[r->node[tensor]];
	int64_t index[IR_MAX_AXES] = {0};
	if (dtype_has_blocks(n->type.dtype))
		return k;
	for (int i = n->type.naxis - 1; i >= 0; i--) {
		index[i] = k % r->dim[n->type.axis[i]];
		k /= r->dim[n->type.axis[i]];
	}
	struct layout layout = r->mode == INTERP_F64 ? (struct layout){0} : n->layout;
	return layout_offset(r->g, &n->type, layout, index);
}

static int64_t actual_elements(const struct graph_run *r, int tensor)
{
	const struct node *n = &r->g->node[r->node[tensor]];
	int64_t total = 1;
	if (dtype_has_blocks(n->type.dtype))
		return graph_run_elements(r, tensor);
	for (int i = 0; i < n->type.naxis; i++)
		total *= r->dim[n->type.axis[i]];
	return total;
}

bool graph_run_planned(struct graph_run *r, const struct graph_run *from)
{
	r->mode = from->mode;
	graph_run_init(r, graph_plan(&r->arena, from->g));
	for (int i = 0; i < r->g->naxis; i++)
		r->dim[i] = from->dim[graph_find_axis(from->g, r->g->axis[i].name)];
	for (int i = 0; i < r->ntensor; i++) {
		int other = graph_run_tensor(from, r->tensor[i].name);
		for (int64_t k = 0; k < actual_elements(r, i); k++)
			graph_run_set(r, i, element_at(r, i, k),
				graph_run_get(from, other, element_at(from, other, k)));
	}
	return true;
}

static bool same_bits(double a, double b)
{
	return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

void graph_run_check_same(const struct graph_run *r, const struct graph_run *want)
{
	for (int i = 0; i < r->ntensor; i++) {
		int other = graph_run_tensor(want, r->tensor[i].name), wrong = 0;
		for (int64_t k = 0; k < actual_elements(r, i); k++)
			wrong += !same_bits(graph_run_get(r, i, element_at(r, i, k)),
				graph_run_get(want, other, element_at(want, other, k)));
		if (wrong) {
			struct strbuf text;
			strbuf_init(&text);
			graph_print(&text, r->g);
			FAIL("%d of %lld values of '%s' differ in\n%s", wrong,
				(long long)actual_elements(r, i), r->tensor[i].name, text.s);
			strbuf_release(&text);
		}
	}
}

bool graph_run_go(struct graph_run *r)
{
	struct err e;
	struct interp_call call = {r->mode, r->dim, r->tensor, r->ntensor};
	if (interp_run(r->g, &call, &e))
		return true;
	FAIL("graph '%s': %s", r->g->name, e.msg);
	return false;
}

void graph_run_check_text(struct graph_run *r)
{
	struct strbuf once, twice;
	struct graph *g;
	struct err e;
	strbuf_init(&once);
	strbuf_init(&twice);
	graph_print(&once, r->g);
	if (!graph_parse(&r->arena, strbuf_buf(&once), "printed", &g, &e)) {
		FAIL("%d:%d: %s\n%s", e.line, e.col, e.msg, once.s);
	} else {
		graph_print(&twice, g);
		CHECK_STR(twice.s, once.s);
	}
	strbuf_release(&once);
	strbuf_release(&twice);
}
