#include "spec_pass.h"

#include <string.h>

static void escaped(struct strbuf *out, const char *s, size_t n, const char *special)
{
	for (size_t i = 0; i < n; i++)
		switch (strchr(special, s[i]) ? s[i] : 0) {
		case '&':
			strbuf_adds(out, "&amp;");
			break;
		case '<':
			strbuf_adds(out, "&lt;");
			break;
		case '>':
			strbuf_adds(out, "&gt;");
			break;
		case '"':
			strbuf_adds(out, "&quot;");
			break;
		case '\n':
		case '\r':
		case '\t':
			strbuf_addf(out, "&#%d;", s[i]);
			break;
		default:
			strbuf_addc(out, s[i]);
		}
}

static bool left_out(const char *const *without, const char *name)
{
	return without && spec_word_index(without, name) >= 0;
}

/* without: attributes of n that are left out; NULL: none. */
static void print(struct strbuf *out, const struct xml_node *n, int depth, const char *const *without)
{
	strbuf_addf(out, "%*s<%s", 2 * depth, "", n->name);
	if (depth == 0)
		strbuf_adds(out, " xmlns=\"" SPEC_NS "\"");
	for (const struct spec_attr *row = n->row->attr; row->name; row++) {
		const char *value = xml_value(n, row->name);
		if (!value || left_out(without, row->name))
			continue;
		strbuf_addf(out, " %s=\"", row->name);
		escaped(out, value, strlen(value), "&<\"\n\r\t");
		strbuf_addc(out, '"');
	}
	if (n->row->content == CONTENT_TEXT && n->text_bytes) {
		strbuf_addc(out, '>');
		escaped(out, n->text, n->text_bytes, "&<>\r");
		strbuf_addf(out, "</%s>\n", n->name);
	} else if (n->nchild) {
		strbuf_adds(out, ">\n");
		for (int i = 0; i < n->nchild; i++)
			print(out, n->child[i], depth + 1, NULL);
		strbuf_addf(out, "%*s</%s>\n", 2 * depth, "", n->name);
	} else {
		strbuf_adds(out, "/>\n");
	}
}

void spec_print(struct strbuf *out, const struct xml_node *root)
{
	print(out, root, 0, NULL);
}

void spec_print_states(struct strbuf *out, const struct xml_node *root, const struct xml_node *schedule)
{
	static const char *const no_matter[] = {"name", "keep", "states", NULL};
	const struct xml_node *dataset;
	print(out, xml_child(root, "model", 0), 1, NULL);
	for (int i = 0; (dataset = xml_next(root, "dataset", &i));)
		print(out, dataset, 1, NULL);
	print(out, schedule, 1, no_matter);
}

void spec_print_json(struct strbuf *out, const struct xml_node *n)
{
	strbuf_addf(out, "{\"element\":\"%s\",\"attributes\":{", n->name);
	bool any = false;
	for (const struct spec_attr *row = n->row->attr; row->name; row++) {
		const char *value = xml_value(n, row->name);
		if (!value)
			continue;
		strbuf_addf(out, "%s\"%s\":", any ? "," : "", row->name);
		strbuf_add_json(out, value, strlen(value));
		any = true;
	}
	strbuf_addc(out, '}');
	if (n->row->content == CONTENT_TEXT) {
		strbuf_adds(out, ",\"text\":");
		strbuf_add_json(out, n->text, n->text_bytes);
	}
	for (int i = 0; i < n->nchild; i++) {
		strbuf_adds(out, i ? "," : ",\"children\":[");
		spec_print_json(out, n->child[i]);
	}
	strbuf_adds(out, n->nchild ? "]}" : "}");
}
