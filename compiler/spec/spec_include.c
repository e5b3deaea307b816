/* xi:include, done here because libxml2's loses the names of files and reads what it is told. */
#include "spec_pass.h"

#include <string.h>

static bool is_include(const struct xml_node *n)
{
	return n->ns && strcmp(n->ns, XINCLUDE_NS) == 0 && strcmp(n->name, "include") == 0;
}

static struct xml_node *included(struct spec_files *fs, struct xml_node *n)
{
	const struct xml_attr *href = NULL;
	bool ok = true;
	for (int i = 0; i < n->nattr; i++) {
		const struct xml_attr *at = &n->attr[i];
		if (!at->ns && strcmp(at->name, "href") == 0)
			href = at;
		else if (at->ns || strcmp(at->name, "parse") != 0 || strcmp(at->value, "xml") != 0)
			ok = spec_error(fs->log, &at->at,
				"'%s' on <xi:include> is not supported; it has href=\"FILE\" only",
				spec_quote(fs->log, at->name));
	}
	if (n->nchild)
		ok = spec_error(fs->log, &n->child[0]->at, "<xi:include> has no elements inside");
	if (!href)
		ok = spec_error(fs->log, &n->at, "missing attribute 'href' on <xi:include>");
	if (!ok)
		return NULL;
	struct spec_file *f = spec_files_include(fs, n->at.file, href->value, href->value_at);
	return f ? xml_read(fs->arena, f, fs->log) : NULL;
}

void spec_include(struct spec_files *fs, struct xml_node *root)
{
	int kept = 0;
	for (int i = 0; i < root->nchild; i++) {
		struct xml_node *n = root->child[i];
		if (is_include(n)) {
			n = included(fs, n);
			if (n && is_include(n)) {
				spec_error(fs->log, &n->at,
					"an included file begins with an element of a spec");
				n = NULL;
			}
			if (!n)
				continue;
			n->parent = root;
		}
		spec_include(fs, n);
		root->child[kept++] = n;
	}
	root->nchild = kept;
}
