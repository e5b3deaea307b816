#include "spec_pass.h"

#include <string.h>

static bool value_in(const char *words, const char *value)
{
	size_t n = strlen(value);
	while (*words) {
		size_t len = strcspn(words, "|");
		if (len == n && memcmp(words, value, n) == 0)
			return true;
		words += len + (words[len] == '|');
	}
	return false;
}

/* The attribute that a condition is about, and its words (NULL: presence is enough). */
static const char *condition(const struct xml_node *n, const char *when, const char **words)
{
	size_t len = strcspn(when, "=");
	*words = when[len] ? when + len + 1 : NULL;
	for (const struct spec_attr *a = n->row->attr; a->name; a++)
		if (strlen(a->name) == len && memcmp(a->name, when, len) == 0) {
			const char *value = xml_value(n, a->name);
			return value ? value : a->deflt;
		}
	return NULL;
}

bool spec_when(const char *when, const struct xml_node *n)
{
	const char *words;
	if (!when)
		return true;
	if (*when == '!')
		return !condition(n, when + 1, &words);
	const char *value = condition(n, when, &words);
	return value && (!words || value_in(words, value));
}

/* Whether the condition can be judged: a wrong or missing value has its own message. */
static bool when_is_known(const char *when, const struct xml_node *n)
{
	const char *words;
	const char *value = condition(n, when, &words);
	if (!words || *when == '!')
		return true;
	size_t len = strcspn(when, "=");
	for (const struct spec_attr *a = n->row->attr; a->name; a++)
		if (strlen(a->name) == len && memcmp(a->name, when, len) == 0)
			return value && (!a->values || spec_word_index(a->values, value) >= 0);
	return false;
}

static const char *when_text(struct arena *a, const char *when)
{
	size_t len = strcspn(when, "=");
	if (*when == '!')
		return arena_printf(a, "cannot stand beside %s", when + 1);
	if (!when[len])
		return arena_printf(a, "needs %s", when);
	char *words = arena_strdup(a, when + len + 1);
	struct strbuf b;
	strbuf_init(&b);
	for (char *save, *w = strtok_r(words, "|", &save); w; w = strtok_r(NULL, "|", &save))
		strbuf_addf(&b, "%s\"%s\"", b.n ? " or " : "", w);
	const char *text = arena_printf(a, "needs %.*s=%s", (int)len, when, b.s);
	strbuf_release(&b);
	return text;
}

static void mark_later(struct xml_node *n)
{
	for (; n && n->parent; n = n->parent)
		n->later = true;
}

static const char *nearest_attr(const struct spec_element *e, const char *name)
{
	const char *names[64];
	size_t n = 0;
	for (const struct spec_attr *a = e->attr; a->name && n < NELEM(names); a++)
		names[n++] = a->name;
	return nearest_name(name, names, n);
}

static const char *nearest_element(const char *parent, const char *name)
{
	const char *names[64];
	size_t n = 0;
	for (const struct spec_element *e = spec_elements; e->name && n < NELEM(names); e++)
		if (spec_element_in(e, parent))
			names[n++] = e->name;
	return nearest_name(name, names, n);
}

static void check_value(struct arena *a, struct xml_node *n, struct xml_attr *at,
	struct spec_log *log)
{
	struct spec_value *v;
	int nv;
	const char *bad;
	const struct spec_attr *row = at->row;
	if (!spec_parse(a, row, at->value, &v, &nv, NULL, &bad)) {
		size_t nvalues = 0;
		while (row->values && row->values[nvalues])
			nvalues++;
		const char *near = nvalues ? nearest_name(bad, row->values, nvalues) : NULL;
		spec_error(log, &at->value_at, "bad value '%s' for '%s' on <%s>; %s%s%s%s",
			spec_quote(log, bad), row->name, n->name, spec_expected(a, row),
			near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
		return;
	}
	if (!row->later)
		return;
	if (strcmp(row->later, "*") == 0) {
		spec_later(log, &at->at, "attribute '%s' on <%s> is not supported yet", row->name,
			n->name);
		mark_later(n);
		return;
	}
	const char **item;
	int nitem = spec_items(a, row, at->value, &item);
	for (int i = 0; i < nitem; i++)
		if (spec_is_later(row->later, item[i])) {
			spec_later(log, &at->value_at, "%s=\"%s\" on <%s> is not supported yet",
				row->name, spec_quote(log, item[i]), n->name);
			mark_later(n);
		}
}

static void check_attrs(struct arena *a, struct xml_node *n, struct spec_log *log)
{
	for (int i = 0; i < n->nattr; i++) {
		struct xml_attr *at = &n->attr[i];
		if (at->ns && strcmp(at->ns, XSI_NS) == 0)
			continue; /* editors put the place of the grammar here */
		at->row = at->ns ? NULL : spec_attr_find(n->row, at->name);
		if (!at->row) {
			const char *near = nearest_attr(n->row, at->name);
			spec_error(log, &at->at, "unknown attribute '%s' on <%s>%s%s%s",
				spec_quote(log, at->name), n->name, near ? "; did you mean '" : "",
				near ? near : "", near ? "'?" : "");
		}
	}
	for (const struct spec_attr *row = n->row->attr; row->name; row++) {
		struct xml_attr *at = xml_attr(n, row->name);
		bool holds = spec_when(row->when, n);
		if (at && row->when && !holds) {
			if (when_is_known(row->when, n))
				spec_error(log, &at->at, "attribute '%s' on <%s> %s", row->name,
					n->name, when_text(a, row->when));
		} else if (at) {
			check_value(a, n, at, log);
		} else if (row->required && holds) {
			bool misspelt = false;
			for (int i = 0; i < n->nattr && !misspelt; i++) {
				const char *near = n->attr[i].row || n->attr[i].ns
							   ? NULL
							   : nearest_attr(n->row, n->attr[i].name);
				misspelt = near && strcmp(near, row->name) == 0;
			}
			if (!misspelt)
				spec_error(log, &n->at, "missing attribute '%s' on <%s>", row->name,
					n->name);
		}
	}
}

static void check_child(struct arena *a, struct xml_node *n, struct xml_node *child,
	struct spec_log *log)
{
	const char *name = spec_quote(log, child->name);
	if (!child->ns || strcmp(child->ns, SPEC_NS) != 0) {
		if (child->ns)
			spec_error(log, &child->at, "element <%s> of namespace '%s' in <%s>", name,
				spec_quote(log, child->ns), n->name);
		else
			spec_error(log, &child->at, "missing xmlns=\"%s\" on <%s>", SPEC_NS, name);
		return;
	}
	const struct spec_element *row = spec_element_find(child->name);
	if (!row && n->row->content == CONTENT_ELEMENTS) {
		const char *near = nearest_element(n->name, child->name);
		spec_error(log, &child->at, "unknown element <%s> in <%s>%s%s%s", name, n->name,
			near ? "; did you mean <" : "", near ? near : "", near ? ">?" : "");
	} else if (n->row->content != CONTENT_ELEMENTS) {
		spec_error(log, &child->at, "<%s> in <%s>, which has no elements inside", name, n->name);
	} else if (!spec_element_in(row, n->name)) {
		if (row->parents[0])
			spec_error(log, &child->at, "<%s> in <%s>; it belongs in <%s>", name, n->name,
				row->parents[0]);
		else
			spec_error(log, &child->at, "<%s> in <%s>; it is the root of a spec", name,
				n->name);
	} else {
		spec_check(a, child, log);
	}
}

static void check_counts(struct arena *a, struct xml_node *n, struct spec_log *log)
{
	for (const struct spec_element *row = spec_elements; row->name; row++) {
		if (!spec_element_in(row, n->name))
			continue;
		struct xml_node *first = xml_child(n, row->name, 0);
		if (row->when && !spec_when(row->when, n)) {
			if (first && when_is_known(row->when, n))
				spec_error(log, &first->at, "<%s> in <%s> %s", row->name, n->name,
					when_text(a, row->when));
			continue;
		}
		if (!first && row->min) {
			bool misspelt = false;
			for (int i = 0; i < n->nchild && !misspelt; i++) {
				const struct xml_node *c = n->child[i];
				const char *near = c->row ? NULL : nearest_element(n->name, c->name);
				misspelt = near && strcmp(near, row->name) == 0;
			}
			if (!misspelt)
				spec_error(log, &n->at, "missing <%s> in <%s>", row->name, n->name);
		}
		struct xml_node *second = xml_child(n, row->name, 1);
		if (second && row->max == 1)
			spec_error(log, &second->at, "more than one <%s> in <%s>; the first is at %s:%d",
				row->name, n->name, first->at.file->name, first->at.line);
		if (first && row->later && strcmp(row->later, "*") == 0) {
			spec_later(log, &first->at, "<%s> is not supported yet", row->name);
			mark_later(first);
		}
	}
}

bool spec_is_root(struct xml_node *n, const char *name, struct spec_log *log)
{
	if (strcmp(n->name, name) != 0)
		return spec_error(log, &n->at, "expected <%s> as root element, found <%s>", name,
			spec_quote(log, n->name));
	if (!n->ns)
		return spec_error(log, &n->at, "missing xmlns=\"%s\" on <%s>", SPEC_NS, name);
	if (strcmp(n->ns, SPEC_NS) != 0)
		return spec_error(log, &n->at, "unknown namespace '%s' on <%s>; expected '%s'",
			spec_quote(log, n->ns), name, SPEC_NS);
	return true;
}

void spec_check(struct arena *a, struct xml_node *n, struct spec_log *log)
{
	n->row = spec_element_find(n->name);
	check_attrs(a, n, log);
	for (int i = 0; i < n->nchild; i++)
		check_child(a, n, n->child[i], log);
	if (n->row->content != CONTENT_TEXT && n->text_at.line)
		spec_error(log, &n->text_at, "unexpected text '%s' in <%s>",
			spec_quote(log, n->text + strspn(n->text, " \t\r\n")), n->name);
	check_counts(a, n, log);
}

static struct xml_node *implied(struct arena *a, struct xml_node *parent,
	const struct spec_element *row)
{
	struct xml_node *n = arena_new(a, struct xml_node);
	*n = (struct xml_node){.ns = SPEC_NS, .name = row->name, .row = row, .at = parent->at,
		.text = ""};
	xml_add_child(a, parent, n);
	return n;
}

/* Elements may stand in any order: the canonical one is the table's, those of one name keep theirs.
 * What is unknown has had its message and goes. */
static void sort_children(struct arena *a, struct xml_node *n)
{
	struct xml_node **sorted = NULL;
	int nsorted = 0;
	for (const struct spec_element *e = spec_elements; e->name && n->nchild; e++)
		for (int i = 0; i < n->nchild; i++)
			if (n->child[i]->row == e)
				*arena_push(a, sorted, nsorted) = n->child[i];
	n->child = sorted;
	n->nchild = nsorted;
}

void spec_defaults(struct arena *a, struct xml_node *n)
{
	for (const struct spec_element *e = spec_elements; e->name; e++)
		if (e->implied && strcmp(e->implied, n->name) == 0 && !xml_child(n, e->name, 0))
			implied(a, n, e);
	for (const struct spec_attr *row = n->row->attr; row->name; row++) {
		struct xml_attr *at = xml_attr(n, row->name);
		struct spec_value *v;
		int nv;
		const char *canonical, *bad;
		bool other = row->other_when && spec_when(row->other_when, n);
		const char *absent = other ? row->other_deflt : row->deflt;
		if (!at && absent && spec_when(row->when, n))
			xml_set(a, n, row->name, absent);
		else if (at && spec_parse(a, row, at->value, &v, &nv, &canonical, &bad))
			at->value = canonical;
		if ((at = xml_attr(n, row->name)))
			at->row = row;
	}
	sort_children(a, n);
	for (int i = 0; i < n->nchild; i++)
		spec_defaults(a, n->child[i]);
}

struct spec_value *spec_values(
	struct arena *a, const struct xml_node *n, const char *name, int *nvalue)
{
	const struct xml_attr *at = xml_attr(n, name);
	struct spec_value *v;
	const char *bad;
	int nv;
	if (!at || !at->row || !spec_parse(a, at->row, at->value, &v, &nv, NULL, &bad))
		return NULL;
	if (nvalue)
		*nvalue = nv;
	return v;
}
