/*
 * XML as a tree of our own: elements, attributes and text with the exact places where they stand.
 *
 * xml_read reads one file. It is strict about what a spec never needs: no DOCTYPE (so no entities
 * but the five of XML), no encoding but UTF-8, at most XML_MAX_DEPTH levels. It knows nothing of
 * the spec language. xi:include is an element like any other here (see spec_include).
 *
 * The reader is libxml2's SAX2 (2.9.14 to 2.15, http://www.xmlsoft.org). libxml2 reports where a
 * start tag ends; where it and its attributes begin is found by scanning the tag's text again,
 * which is safe because '<' cannot stand inside a well-formed tag.
 */
#ifndef XML_TREE_H
#define XML_TREE_H

#include "spec_log.h"
#include "strbuf.h"

#define SPEC_NS "urn:trim:spec:1"
#define XINCLUDE_NS "http://www.w3.org/2001/XInclude"
#define XSI_NS "http://www.w3.org/2001/XMLSchema-instance"

enum { XML_MAX_DEPTH = 64, XML_MAX_NODES = 10000 };

struct spec_element;
struct spec_attr;
struct spec_path;

struct xml_attr {
	const char *ns; /* NULL: none */
	const char *name, *value;
	struct place at, value_at;
	const struct spec_attr *row; /* of the table; NULL: unknown or not checked yet */
	const struct spec_path *path; /* where it leads, once that is known */
};

struct xml_node {
	const char *ns; /* NULL: none */
	const char *name;
	struct place at;
	struct xml_node *parent;
	struct xml_attr *attr;
	int nattr;
	struct xml_node **child;
	int nchild;
	const char *text; /* all text directly inside, byte-exact */
	size_t text_bytes;
	struct place text_at;            /* of the first that is not white space */
	const struct spec_element *row;  /* of the table; NULL: unknown or not checked yet */
	const char *group;               /* its name before a list made several of it; NULL */
	bool later;                      /* it or something in it is not supported yet */
};

/* NULL after a message (one for each file: what follows a syntax error means nothing). */
struct xml_node *xml_read(struct arena *a, const struct spec_file *file, struct spec_log *log);

struct xml_attr *xml_attr(const struct xml_node *n, const char *name); /* of no namespace, or NULL */
const char *xml_value(const struct xml_node *n, const char *name);     /* its value, or NULL */
void xml_set(struct arena *a, struct xml_node *n, const char *name, const char *value);
void xml_remove_attr(struct xml_node *n, const char *name);

/* The i-th child of that name (of a known row), or NULL. */
struct xml_node *xml_child(const struct xml_node *n, const char *name, int i);
/* Walks the children of that name: `for (int i = 0; (c = xml_next(n, name, &i));)`. */
struct xml_node *xml_next(const struct xml_node *n, const char *name, int *i);
void xml_add_child(struct arena *a, struct xml_node *parent, struct xml_node *child);

/* A copy of n with everything below it, under the same parent but not in its list. */
struct xml_node *xml_clone(struct arena *a, const struct xml_node *n);

#endif
