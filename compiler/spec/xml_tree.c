#include "xml_tree.h"

#include <string.h>

struct xml_attr *xml_attr(const struct xml_node *n, const char *name)
{
	for (int i = 0; i < n->nattr; i++)
		if (!n->attr[i].ns && strcmp(n->attr[i].name, name) == 0)
			return &n->attr[i];
	return NULL;
}

const char *xml_value(const struct xml_node *n, const char *name)
{
	const struct xml_attr *at = xml_attr(n, name);
	return at ? at->value : NULL;
}

void xml_set(struct arena *a, struct xml_node *n, const char *name, const char *value)
{
	struct xml_attr *at = xml_attr(n, name);
	if (!at) {
		at = arena_push(a, n->attr, n->nattr);
		*at = (struct xml_attr){.name = name, .at = n->at, .value_at = n->at};
	}
	at->value = value;
}

void xml_remove_attr(struct xml_node *n, const char *name)
{
	struct xml_attr *at = xml_attr(n, name);
	if (!at)
		return;
	struct xml_attr *end = n->attr + n->nattr;
	memmove(at, at + 1, (size_t)(end - at - 1) * sizeof(*at));
	n->nattr--;
}

struct xml_node *xml_next(const struct xml_node *n, const char *name, int *i)
{
	while (*i < n->nchild) {
		struct xml_node *c = n->child[(*i)++];
		if (c->row && strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

struct xml_node *xml_child(const struct xml_node *n, const char *name, int i)
{
	struct xml_node *c;
	for (int k = 0; (c = xml_next(n, name, &k));)
		if (i-- == 0)
			return c;
	return NULL;
}

void xml_add_child(struct arena *a, struct xml_node *parent, struct xml_node *child)
{
	*arena_push(a, parent->child, parent->nchild) = child;
	child->parent = parent;
}

struct xml_node *xml_clone(struct arena *a, const struct xml_node *n)
{
	struct xml_node *copy = arena_copy(a, n, sizeof(*n));
	copy->attr = NULL;
	copy->nattr = 0;
	for (int i = 0; i < n->nattr; i++)
		*arena_push(a, copy->attr, copy->nattr) = n->attr[i];
	copy->child = NULL;
	copy->nchild = 0;
	for (int i = 0; i < n->nchild; i++)
		xml_add_child(a, copy, xml_clone(a, n->child[i]));
	return copy;
}
