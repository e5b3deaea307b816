/* The language for others: XML Schema 1.0 for editors, a reference for readers. */
#include "spec.h"

#include <string.h>

static const struct spec_type *const types[] = {&spec_type_name, &spec_type_text, &spec_type_field,
	&spec_type_path, &spec_type_hub, &spec_type_percent, &spec_type_count, &spec_type_amount, &spec_type_number,
	&spec_type_bytes, &spec_type_keep, &spec_type_share, &spec_type_margin};

static void add_escaped(struct strbuf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '&')
			strbuf_adds(out, "&amp;");
		else if (*s == '<')
			strbuf_adds(out, "&lt;");
		else if (*s == '"')
			strbuf_adds(out, "&quot;");
		else
			strbuf_addc(out, *s);
	}
}

static void add_doc(struct strbuf *out, int indent, const char *doc)
{
	strbuf_addf(out, "%*s<xs:annotation><xs:documentation>", indent, "");
	add_escaped(out, doc);
	strbuf_adds(out, "</xs:documentation></xs:annotation>\n");
}

static void add_type(struct strbuf *out, const struct spec_type *t)
{
	strbuf_addf(out, "  <xs:simpleType name=\"%s\">\n    <xs:restriction base=\"xs:%s\">\n", t->name,
		t->exact ? "string" : "token");
	if (t->pattern) {
		strbuf_adds(out, "      <xs:pattern value=\"");
		add_escaped(out, t->pattern);
		strbuf_adds(out, "\"/>\n");
	}
	strbuf_adds(out, "    </xs:restriction>\n  </xs:simpleType>\n");
}

static void add_values(struct strbuf *out, int indent, const struct spec_attr *row)
{
	strbuf_addf(out, "%*s<xs:simpleType>\n%*s<xs:restriction base=\"xs:token\">\n", indent, "",
		indent + 2, "");
	for (int i = 0; row->values[i]; i++)
		strbuf_addf(out, "%*s<xs:enumeration value=\"%s\"/>\n", indent + 4, "",
			row->values[i]);
	strbuf_addf(out, "%*s</xs:restriction>\n%*s</xs:simpleType>\n", indent + 2, "", indent, "");
}

static void add_attr(struct strbuf *out, const struct spec_attr *row)
{
	strbuf_addf(out, "      <xs:attribute name=\"%s\"", row->name);
	/* A list whose items may hold a space (32 units) is any text to XSD. */
	bool spaced = row->list && row->type == &spec_type_keep;
	bool inline_type = row->values || (row->list && !spaced);
	if (!inline_type)
		strbuf_addf(out, " type=\"t:%s\"", spaced ? "text" : row->type->name);
	if (row->required && !row->when)
		strbuf_adds(out, " use=\"required\"");
	else if (row->deflt && !row->when && !row->other_when) {
		strbuf_adds(out, " default=\"");
		add_escaped(out, row->deflt);
		strbuf_adds(out, "\"");
	}
	strbuf_adds(out, ">\n");
	add_doc(out, 8, row->doc);
	if (inline_type && row->list) {
		strbuf_adds(out, "        <xs:simpleType>\n          <xs:restriction>\n"
				 "            <xs:simpleType>\n");
		if (row->values) {
			strbuf_adds(out, "              <xs:list>\n");
			add_values(out, 16, row);
			strbuf_adds(out, "              </xs:list>\n");
		} else {
			strbuf_addf(out, "              <xs:list itemType=\"t:%s\"/>\n",
				row->type->name);
		}
		strbuf_adds(out, "            </xs:simpleType>\n            <xs:minLength value=\"1\"/>\n"
				 "          </xs:restriction>\n        </xs:simpleType>\n");
	} else if (inline_type) {
		add_values(out, 8, row);
	}
	strbuf_adds(out, "      </xs:attribute>\n");
}

static void add_children(struct strbuf *out, const struct spec_element *e)
{
	strbuf_adds(out, "      <xs:choice minOccurs=\"0\" maxOccurs=\"unbounded\">\n");
	for (const struct spec_element *c = spec_elements; c->name; c++)
		if (spec_element_in(c, e->name))
			strbuf_addf(out, "        <xs:element ref=\"t:%s\"/>\n", c->name);
	strbuf_adds(out, "        <xs:any namespace=\"http://www.w3.org/2001/XInclude\" "
			 "processContents=\"skip\"/>\n      </xs:choice>\n");
}

static void add_element(struct strbuf *out, const struct spec_element *e)
{
	strbuf_addf(out, "  <xs:element name=\"%s\">\n", e->name);
	add_doc(out, 4, e->doc);
	strbuf_adds(out, "    <xs:complexType");
	if (e->content == CONTENT_TEXT)
		strbuf_adds(out, ">\n      <xs:simpleContent>\n      <xs:extension base=\"xs:string\">\n");
	else
		strbuf_adds(out, ">\n");
	if (e->content == CONTENT_ELEMENTS)
		add_children(out, e);
	for (const struct spec_attr *row = e->attr; row->name; row++)
		add_attr(out, row);
	if (e->content == CONTENT_TEXT)
		strbuf_adds(out, "      </xs:extension>\n      </xs:simpleContent>\n");
	strbuf_adds(out, "    </xs:complexType>\n  </xs:element>\n");
}

void spec_write_xsd(struct strbuf *out)
{
	strbuf_adds(out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<!-- The grammar of trim specs, written by `trim schema`; do not edit. What a schema\n"
		"     cannot say (references, sums, what belongs to which kind) `trim check` says. -->\n"
		"<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" xmlns:t=\"urn:trim:spec:1\"\n"
		"    targetNamespace=\"urn:trim:spec:1\" elementFormDefault=\"qualified\">\n");
	for (size_t i = 0; i < NELEM(types); i++)
		add_type(out, types[i]);
	for (const struct spec_element *e = spec_elements; e->name; e++)
		add_element(out, e);
	strbuf_adds(out, "</xs:schema>\n");
}

void spec_write_reference(struct strbuf *out)
{
	for (const struct spec_element *e = spec_elements; e->name; e++) {
		strbuf_addf(out, "<%s>", e->name);
		for (int i = 0; e->parents[i]; i++)
			strbuf_addf(out, "%s <%s>", i ? " or" : " in", e->parents[i]);
		strbuf_addf(out, "%s: %s%s\n",
			e->max == 1 ? e->min ? ", one" : ", at most one"
				    : e->min ? ", one or more" : ", any number",
			e->doc, e->later && *e->later == '*' ? " (not supported yet)" : "");
		if (e->when)
			strbuf_addf(out, "    only with %s\n", e->when);
		for (const struct spec_attr *a = e->attr; a->name; a++) {
			strbuf_addf(out, "    %-14s %s", a->name, a->doc);
			if (a->values) {
				strbuf_adds(out, ":");
				for (int i = 0; a->values[i]; i++)
					strbuf_addf(out, "%s%s%s", i ? ", " : " ", a->values[i],
						spec_is_later(a->later, a->values[i]) ? "*" : "");
			} else if (a->type->example) {
				strbuf_addf(out, ": %s", a->type->example);
			}
			if (a->list)
				strbuf_adds(out, "; a list");
			if (a->deflt)
				strbuf_addf(out, a->deflt[0] == ' ' ? "; default '%s'" : "; default %s",
					a->deflt);
			if (a->other_when)
				strbuf_addf(out, ", %s with %s", a->other_deflt, a->other_when);
			strbuf_adds(out, a->required ? "; required" : "");
			if (a->when)
				strbuf_addf(out, *a->when == '!' ? " (without %s)" : " (with %s)",
					a->when + (*a->when == '!'));
			if (a->later && strcmp(a->later, "*") == 0)
				strbuf_adds(out, " (not supported yet)");
			strbuf_addc(out, '\n');
		}
	}
	strbuf_adds(out, "A value with * is not supported yet.\n");
}
