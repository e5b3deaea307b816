#include "xml_tree.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <libxml/parser.h>
#include <libxml/parserInternals.h>

#include "spec_file.h"
#include "utf8.h"

#if LIBXML_VERSION < 20914
#error "libxml2 2.9.14 or newer is needed"
#endif
/* What 2.14 and 2.15 mark as deprecated is still there and has no successor in 2.9. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
/* The callback's error became const in 2.12. */
#if LIBXML_VERSION >= 21200
typedef const xmlError *error_arg;
#else
typedef xmlErrorPtr error_arg;
#endif

struct reader {
	struct arena *arena;
	struct spec_log *log;
	const struct spec_file *file;
	xmlParserCtxtPtr ctxt;
	const char *text;
	size_t n;
	struct xml_node *root, *open;
	struct strbuf words[XML_MAX_DEPTH]; /* text of each open element */
	int depth, nnode;
	bool failed;
	/* Places are asked for in rising order: counting goes on where it stopped. */
	size_t seen;
	int line, col;
};

static struct place place_of(struct reader *r, size_t offset)
{
	if (offset < r->seen) {
		r->seen = 0;
		r->line = r->col = 1;
	}
	for (; r->seen < offset; r->seen++) {
		unsigned char c = (unsigned char)r->text[r->seen];
		if (c == '\n') {
			r->line++;
			r->col = 1;
		} else if ((c & 0xc0) != 0x80) {
			r->col++;
		}
	}
	return (struct place){r->file, r->line, r->col};
}

static size_t offset_now(struct reader *r)
{
	long at = xmlByteConsumed(r->ctxt);
	return at < 0 ? 0 : (size_t)at > r->n ? r->n : (size_t)at;
}

/* One message ends the reading of a file. */
static void refuse(struct reader *r)
{
	r->failed = true;
	xmlStopParser(r->ctxt);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct tag_attr {
	size_t name, name_end, value; /* offsets */
};

/* Steps to the next attribute of a start tag; at is behind the last one. */
static bool next_attr(const struct reader *r, size_t *at, struct tag_attr *out)
{
	size_t i = *at;
	while (i < r->n && is_space(r->text[i]))
		i++;
	out->name = i;
	while (i < r->n && !is_space(r->text[i]) && !strchr("=/>", r->text[i]))
		i++;
	out->name_end = i;
	while (i < r->n && is_space(r->text[i]))
		i++;
	if (out->name == out->name_end || i >= r->n || r->text[i] != '=')
		return false;
	i++;
	while (i < r->n && is_space(r->text[i]))
		i++;
	if (i >= r->n || (r->text[i] != '"' && r->text[i] != '\''))
		return false;
	const char *end = memchr(r->text + i + 1, r->text[i], r->n - i - 1);
	if (!end)
		return false;
	out->value = i + 1;
	*at = (size_t)(end - r->text) + 1;
	return true;
}

static size_t tag_start(const struct reader *r, size_t end)
{
	while (end > 0 && r->text[end] != '<')
		end--;
	return end;
}

static size_t behind_tag_name(const struct reader *r, size_t at)
{
	for (at++; at < r->n && !is_space(r->text[at]) && !strchr("/>", r->text[at]);)
		at++;
	return at;
}

/* Where the attribute stands that libxml2 calls name and prefix. */
static bool find_attr(const struct reader *r, size_t tag, const char *prefix, const char *name,
	struct tag_attr *out)
{
	size_t at = behind_tag_name(r, tag), np = prefix ? strlen(prefix) : 0, nn = strlen(name);
	while (next_attr(r, &at, out)) {
		const char *s = r->text + out->name;
		size_t n = out->name_end - out->name;
		if (np && n == np + 1 + nn && memcmp(s, prefix, np) == 0 && s[np] == ':' &&
			memcmp(s + np + 1, name, nn) == 0)
			return true;
		if (!np && n == nn && memcmp(s, name, nn) == 0)
			return true;
	}
	return false;
}

/* Without entity substitution (which would open files) libxml2 hands an ampersand inside an
 * attribute over as "&#38;", and only an ampersand. */
static char *attr_text(struct arena *a, const char *s, size_t n)
{
	char *out = arena_alloc(a, n + 1);
	size_t k = 0;
	for (size_t i = 0; i < n; k++) {
		out[k] = s[i];
		i += n - i >= 5 && memcmp(s + i, "&#38;", 5) == 0 ? 5 : 1;
	}
	return out;
}

static void on_start(void *user, const xmlChar *name, const xmlChar *prefix, const xmlChar *ns,
	int nnamespace, const xmlChar **namespaces, int nattr, int ndefault, const xmlChar **attrs)
{
	struct reader *r = user;
	(void)prefix, (void)nnamespace, (void)namespaces, (void)ndefault;
	if (r->failed)
		return;
	size_t tag = tag_start(r, offset_now(r));
	struct xml_node *n = arena_new(r->arena, struct xml_node);
	n->ns = ns ? arena_strdup(r->arena, (const char *)ns) : NULL;
	n->name = arena_strdup(r->arena, (const char *)name);
	n->at = place_of(r, tag);
	n->text = "";
	for (int i = 0; i < nattr; i++, attrs += 5) {
		struct xml_attr *at = arena_push(r->arena, n->attr, n->nattr);
		const char *value = (const char *)attrs[3];
		*at = (struct xml_attr){
			.name = arena_strdup(r->arena, (const char *)attrs[0]),
			.ns = attrs[2] ? arena_strdup(r->arena, (const char *)attrs[2]) : NULL,
			.value = attr_text(r->arena, value, (size_t)((const char *)attrs[4] - value)),
			.at = n->at,
			.value_at = n->at,
		};
		struct tag_attr where;
		if (find_attr(r, tag, (const char *)attrs[1], at->name, &where)) {
			at->at = place_of(r, where.name);
			at->value_at = place_of(r, where.value);
		}
	}
	if (r->depth == XML_MAX_DEPTH || ++r->nnode > XML_MAX_NODES) {
		if (r->depth == XML_MAX_DEPTH)
			spec_error(r->log, &n->at, "elements are nested deeper than %d", XML_MAX_DEPTH);
		else
			spec_error(r->log, &n->at, "more than %d elements", XML_MAX_NODES);
		refuse(r);
		return;
	}
	strbuf_clear(&r->words[r->depth++]);
	if (r->open)
		xml_add_child(r->arena, r->open, n);
	else
		r->root = n;
	r->open = n;
}

static void on_end(void *user, const xmlChar *name, const xmlChar *prefix, const xmlChar *ns)
{
	struct reader *r = user;
	(void)name, (void)prefix, (void)ns;
	if (r->failed || !r->open)
		return;
	struct strbuf *words = &r->words[--r->depth];
	if (words->n) {
		r->open->text = arena_strndup(r->arena, words->s, words->n);
		r->open->text_bytes = words->n;
	}
	r->open = r->open->parent;
}

static void on_text(void *user, const xmlChar *s, int n)
{
	struct reader *r = user;
	if (r->failed || !r->open)
		return;
	if (!r->open->text_at.line) {
		int blank = 0;
		while (blank < n && is_space((char)s[blank]))
			blank++;
		if (blank < n) {
			/* Where the input stands by now depends on libxml2's chunks: find the first
			 * text behind the element's tag or its last child instead. */
			size_t at = offset_now(r);
			while (at > 0 && r->text[at - 1] != '>')
				at--;
			while (at < r->n && is_space(r->text[at]))
				at++;
			r->open->text_at = place_of(r, at);
		}
	}
	strbuf_add(&r->words[r->depth - 1], s, (size_t)n);
}

static void on_doctype(void *user, const xmlChar *name, const xmlChar *id, const xmlChar *system)
{
	struct reader *r = user;
	(void)name, (void)id, (void)system;
	size_t at = offset_now(r);
	while (at > 0 && strncmp(r->text + at, "<!DOCTYPE", 9) != 0)
		at--;
	struct place p = place_of(r, at);
	spec_error(r->log, &p, "a spec has no DOCTYPE (no entities, no external files); use xi:include");
	refuse(r);
}

/* The second attribute of the name that a tag with a repeated attribute repeats. */
static struct place repeated_attr(struct reader *r, size_t end, const char *name)
{
	struct tag_attr where;
	size_t tag = tag_start(r, end < r->n ? end : r->n - 1), at = behind_tag_name(r, tag);
	for (int nth = 0; next_attr(r, &at, &where);)
		if (strlen(name) == where.name_end - where.name &&
			strncmp(r->text + where.name, name, strlen(name)) == 0 && nth++)
			return place_of(r, where.name);
	return place_of(r, end);
}

static void on_error(void *user, error_arg error)
{
	struct reader *r = user;
	if (r->failed || error->level < XML_ERR_ERROR)
		return;
	struct place p = {r->file, error->line, error->int2 > 0 ? error->int2 : 1};
	const char *s1 = spec_quote(r->log, error->str1 ? error->str1 : "?");
	const char *s2 = spec_quote(r->log, error->str2 ? error->str2 : "?");
	switch (error->code) {
	case XML_ERR_ATTRIBUTE_REDEFINED:
		p = repeated_attr(r, offset_now(r), s1);
		spec_error(r->log, &p, "attribute '%s' is given twice", s1);
		break;
	case XML_ERR_TAG_NAME_MISMATCH:
		spec_error(r->log, &p, "expected </%s> for <%s> of line %d, found </%s>", s1, s1,
			error->int1, s2);
		break;
	case XML_ERR_TAG_NOT_FINISHED:
		spec_error(r->log, &p, "the file ends before <%s> of line %d is closed", s1,
			error->int1);
		break;
	case XML_ERR_GT_REQUIRED:
		spec_error(r->log, &p, "a tag is not closed by '>'");
		break;
	case XML_ERR_UNDECLARED_ENTITY:
		spec_error(r->log, &p, "unknown entity '&%s;' (known: &lt; &gt; &amp; &quot; &apos;)", s1);
		break;
	case XML_ERR_LT_IN_ATTRIBUTE:
		spec_error(r->log, &p, "'<' inside an attribute; write &lt; or close the quote");
		break;
	case XML_ERR_ATTRIBUTE_NOT_FINISHED:
		spec_error(r->log, &p, "the value of an attribute has no closing quote");
		break;
	case XML_ERR_ATTRIBUTE_NOT_STARTED:
		spec_error(r->log, &p, "the value of an attribute stands in quotes");
		break;
	case XML_ERR_ATTRIBUTE_WITHOUT_VALUE:
		spec_error(r->log, &p, "attribute '%s' has no value", s1);
		break;
	case XML_ERR_DOCUMENT_END:
		spec_error(r->log, &p, "something stands behind the end of the root element");
		break;
	case XML_ERR_DOCUMENT_EMPTY:
		spec_error(r->log, &p, "no XML: expected '<'");
		break;
	case XML_NS_ERR_UNDEFINED_NAMESPACE:
		spec_error(r->log, &p, "namespace prefix '%s' is not declared", s1);
		break;
	default: {
		char msg[160];
		snprintf(msg, sizeof(msg), "%s", error->message ? error->message : "unknown error");
		msg[strcspn(msg, "\n")] = 0;
		spec_error(r->log, &p, "not well-formed: %s", msg);
	}
	}
	refuse(r);
}

/* Bytes that libxml2 would convert or that no spec needs are refused before it sees them. */
static bool check_encoding(struct reader *r)
{
	size_t where;
	struct place p;
	if (r->n == 0) {
		p = (struct place){r->file, 1, 1};
		return spec_error(r->log, &p, "the file is empty");
	}
	if (!utf8_valid(r->text, r->n, &where) || memchr(r->text, 0, r->n)) {
		const char *nul = memchr(r->text, 0, r->n);
		if (nul && (utf8_valid(r->text, r->n, NULL) || (size_t)(nul - r->text) < where))
			where = (size_t)(nul - r->text);
		p = place_of(r, where);
		return spec_error(r->log, &p, "byte 0x%02x is not UTF-8 text; save the file as UTF-8",
			(unsigned char)r->text[where]);
	}
	const char *end = strstr(r->text, "?>"), *enc = strstr(r->text, "encoding");
	const char *decl = r->text + (strncmp(r->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
	if (strncmp(decl, "<?xml", 5) != 0 || !is_space(decl[5]) || !end || !enc || enc > end)
		return true;
	size_t at = (size_t)(enc - r->text);
	const char *value = enc + strcspn(enc, "\"'");
	if (value < end && strncasecmp(value + 1, "utf-8", 5) != 0 &&
		strncasecmp(value + 1, "us-ascii", 8) != 0) {
		p = place_of(r, at);
		return spec_error(r->log, &p, "encoding %.*s is not supported; save the file as UTF-8",
			(int)(1 + strcspn(value + 1, "\"'?") + 1), value);
	}
	return true;
}

struct xml_node *xml_read(struct arena *a, const struct spec_file *file, struct spec_log *log)
{
	struct reader r = {.arena = a, .log = log, .file = file, .text = file->text.p,
		.n = file->text.n, .line = 1, .col = 1};
	if (!check_encoding(&r))
		return NULL;
	xmlSAXHandler sax = {
		.initialized = XML_SAX2_MAGIC,
		.internalSubset = on_doctype,
		.startElementNs = on_start,
		.endElementNs = on_end,
		.characters = on_text,
		.ignorableWhitespace = on_text,
		.cdataBlock = on_text,
		.serror = on_error,
	};
	r.ctxt = xmlNewParserCtxt();
	if (!r.ctxt)
		oom();
	*r.ctxt->sax = sax;
	r.ctxt->userData = &r;
	for (int i = 0; i < XML_MAX_DEPTH; i++)
		strbuf_init(&r.words[i]);
	/* NOENT, DTDLOAD and HUGE stay off: they open files and lift limits. */
	xmlCtxtReadMemory(r.ctxt, r.text, (int)r.n, NULL, NULL, XML_PARSE_NONET);
	bool ok = !r.failed && r.ctxt->wellFormed && r.root;
	if (!ok && !r.failed) {
		struct place p = place_of(&r, offset_now(&r));
		spec_error(log, &p, "not well-formed XML");
	}
	for (int i = 0; i < XML_MAX_DEPTH; i++)
		strbuf_release(&r.words[i]);
	xmlFreeParserCtxt(r.ctxt);
	return ok ? r.root : NULL;
}
