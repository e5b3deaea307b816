/* The one product of the language: a list of seeds makes a schedule for each, a list of keep makes
 * a target for each; a target follows its schedule. */
#include "spec_pass.h"

#include <string.h>

static const char *suffix_of(struct arena *a, const char *keep)
{
	size_t n = strlen(keep);
	char *text = arena_strdup(a, keep);
	if (n && text[n - 1] == '%')
		text[n - 1] = 0;
	char *to = text;
	for (char *from = text; *from; from++)
		if (*from != ' ')
			*to++ = *from == '/' ? '-' : *from;
	*to = 0;
	return text;
}

static void rename_node(struct arena *a, struct xml_node *n, const char *suffix)
{
	const char *name = xml_value(n, "name");
	if (!n->group)
		n->group = name;
	xml_set(a, n, "name", arena_printf(a, "%s-%s", name, suffix));
}

/* Seeds of a schedule; NULL where it has just one. */
static int seeds(struct arena *a, const struct xml_node *schedule, const char ***out)
{
	const struct xml_node *tune = xml_child(schedule, "tune", 0);
	const struct xml_attr *at = tune ? xml_attr(tune, "seed") : NULL;
	int n = at && at->row ? spec_items(a, at->row, at->value, out) : 0;
	return n > 1 ? n : 0;
}

static void add_target(struct arena *a, struct xml_node *root, const struct xml_node *all,
	struct xml_node *n)
{
	const char **seed = NULL;
	const struct xml_node *schedule = NULL;
	const char *name = xml_value(n, "schedule");
	struct xml_node *other;
	for (int i = 0; name && !schedule && (other = xml_next(all, "schedule", &i));)
		if (xml_value(other, "name") && strcmp(xml_value(other, "name"), name) == 0)
			schedule = other;
	int nseed = schedule ? seeds(a, schedule, &seed) : 0;
	for (int i = 0; i < nseed; i++) {
		struct xml_node *one = xml_clone(a, n);
		const char *suffix = arena_printf(a, "s%s", seed[i]);
		rename_node(a, one, suffix);
		xml_set(a, one, "schedule", arena_printf(a, "%s-%s", name, suffix));
		xml_add_child(a, root, one);
	}
	if (!nseed)
		xml_add_child(a, root, n);
}

static void multiply(struct arena *a, struct xml_node *root, const struct xml_node *all,
	struct xml_node *n)
{
	const char **item = NULL;
	if (strcmp(n->name, "schedule") == 0) {
		int nseed = seeds(a, n, &item);
		for (int i = 0; i < nseed; i++) {
			struct xml_node *one = xml_clone(a, n);
			rename_node(a, one, arena_printf(a, "s%s", item[i]));
			xml_set(a, xml_child(one, "tune", 0), "seed", item[i]);
			xml_add_child(a, root, one);
		}
		if (!nseed)
			xml_add_child(a, root, n);
	} else if (strcmp(n->name, "target") == 0) {
		const struct xml_attr *keep = xml_attr(n, "keep");
		int nkeep = keep && keep->row ? spec_items(a, keep->row, keep->value, &item) : 0;
		for (int i = 0; nkeep > 1 && i < nkeep; i++) {
			struct xml_node *one = xml_clone(a, n);
			rename_node(a, one, suffix_of(a, item[i]));
			xml_set(a, one, "keep", item[i]);
			add_target(a, root, all, one);
		}
		if (nkeep <= 1)
			add_target(a, root, all, n);
	} else {
		xml_add_child(a, root, n);
	}
}

/* A list may have made several of the target that a gate compares with. */
static void check_gates(struct xml_node *root, struct xml_node *in, struct spec_log *log)
{
	struct xml_node *gate, *target;
	for (int i = 0; (gate = xml_next(in, "gate", &i));) {
		const char *name = xml_value(gate, "target");
		bool found = !name;
		for (int k = 0; !found && (target = xml_next(root, "target", &k));)
			found = strcmp(xml_value(target, "name"), name) == 0;
		if (!found)
			spec_error(log, &gate->at, "a <gate> against target '%s', of which a list of keep or seeds makes several; "
				"a target with one value of each can be named", name);
	}
}

void spec_product(struct arena *a, struct xml_node *root, struct spec_log *log)
{
	struct xml_node all = *root;
	root->child = NULL;
	root->nchild = 0;
	for (int i = 0; i < all.nchild; i++)
		multiply(a, root, &all, all.child[i]);
	spec_check_duplicates(root, "schedule", log);
	spec_check_duplicates(root, "target", log);
	check_gates(root, root, log);
	struct xml_node *target;
	for (int i = 0; (target = xml_next(root, "target", &i));)
		check_gates(root, target, log);
}
