#include "region_key.h"

#include <string.h>

#include "strbuf.h"

struct key {
	struct strbuf text;
	const struct graph *g;
	const struct region *region;
	struct region_key *out;
	struct arena *arena;
};

static void key_type(struct key *key, const struct node *n)
{
	strbuf_addf(&key->text, ":%d", n->type.dtype);
	for (int a = 0; a < n->type.naxis; a++)
		strbuf_addf(&key->text, ",%d", n->type.axis[a]);
	if (n->type.outer)
		strbuf_addf(&key->text, "|%d", n->type.outer);
	if (n->layout.kind == LAYOUT_PANEL)
		strbuf_addf(&key->text, "p%d-%d", n->layout.first, n->layout.last);
	if (n->layout.pad)
		strbuf_addf(&key->text, "+%d", n->layout.pad);
}

static void key_external(struct key *key, int i)
{
	int at = 0;
	i = state_of(key->g, i);
	while (at < key->out->nexternal && key->out->external[at] != i)
		at++;
	if (at == key->out->nexternal)
		*arena_push(key->arena, key->out->external, key->out->nexternal) = i;
	strbuf_addf(&key->text, " t%d", at);
	key_type(key, &key->g->node[i]);
}

static void key_node(struct key *key, int i);

static void key_source(struct key *key, int i)
{
	const struct node *n = &key->g->node[i];
	for (int k = 0; k < key->region->nnode; k++)
		if (key->region->node[k] == i) {
			strbuf_addf(&key->text, " n%d", k);
			return;
		}
	bool leaf = op_info[n->op].class == CLASS_LEAF && n->op != OP_CONST && n->op != OP_IOTA;
	if (leaf || n->region >= 0)
		key_external(key, i);
	else
		key_node(key, i);
}

static void key_node(struct key *key, int i)
{
	const struct node *n = &key->g->node[i];
	strbuf_addf(&key->text, " (%s", op_info[n->op].name);
	if (n->op == OP_CONST)
		strbuf_addf(&key->text, " %a", n->value);
	strbuf_addf(&key->text, " @%d", n->axis);
	for (int s = 0; s < op_info[n->op].nsrc; s++)
		key_source(key, n->src[s]);
	key_type(key, n);
	if (n->stored)
		key_external(key, i);
	strbuf_addc(&key->text, ')');
}

static void key_region(struct key *key)
{
	strbuf_addf(&key->text, "%d", key->region->kind);
	for (int a = 0; a < key->region->space.naxis; a++)
		strbuf_addf(&key->text, ",%d", key->region->space.axis[a]);
	for (int k = 0; k < key->region->nnode; k++)
		key_node(key, key->region->node[k]);
}

struct region_key region_key(struct arena *a, const struct graph *g, int region)
{
	struct region_key out = {0};
	struct key key = {.g = g, .region = &g->region[region], .arena = a, .out = &out};
	strbuf_init(&key.text);
	key_region(&key);
	out.text = arena_strndup(a, key.text.s, key.text.n);
	strbuf_release(&key.text);
	return out;
}

int region_key_tensor(const struct region_key *key, int n, const char *kernel)
{
	int i = 0;
	while (i < key->nexternal && key->external[i] != n)
		i++;
	if (i == key->nexternal)
		BUG("kernel %s touches %%%d, which its key does not name", kernel, n);
	return i;
}

size_t region_functions(const struct graph *g)
{
	struct arena a = {0};
	const char **text = arena_array(&a, const char *, g->nregion + 1);
	size_t n = 0;
	for (int r = 0; r < g->nregion; r++) {
		const char *own = region_key(&a, g, r).text;
		size_t i = 0;
		while (i < n && strcmp(text[i], own))
			i++;
		if (i == n)
			text[n++] = own;
	}
	arena_release(&a);
	return n;
}
