/*
 * The passes between the XML of a spec and its structs, in their order; all on one tree.
 *
 *     xml_read       file -> tree                          (xml_tree.h)
 *     spec_include   xi:include -> the files' trees
 *     spec_check     every row of the table holds; nodes and attributes get their rows
 *     spec_defaults  what is absent and has a default is put in; values in canonical text
 *     spec_sema      references, paths, sums, "one of": what takes more than one row
 *     spec_product   lists of keep and seed -> one target, one schedule for each value
 *     spec_build     tree -> struct spec                   (spec.h)
 *
 * Each goes on after an error as far as it can, so that all errors come in one run. After product
 * the tree is the effective spec, and spec_print writes it.
 */
#ifndef SPEC_PASS_H
#define SPEC_PASS_H

#include "spec_file.h"
#include "spec_table.h"
#include "xml_tree.h"

void spec_include(struct spec_files *fs, struct xml_node *root);

/* Whether n is an element of that name and of our namespace, with a message if not. */
bool spec_is_root(struct xml_node *n, const char *name, struct spec_log *log);

/* n and all below it; n's own name must be that of an element that fits where it stands. */
void spec_check(struct arena *a, struct xml_node *n, struct spec_log *log);

/* Whether the condition of a `when` column holds for n. */
bool spec_when(const char *when, const struct xml_node *n);

void spec_defaults(struct arena *a, struct xml_node *n);
void spec_sema(struct spec_files *fs, struct xml_node *root);
void spec_product(struct arena *a, struct xml_node *root, struct spec_log *log);

/* Two elements of one name directly below root. */
void spec_check_duplicates(struct xml_node *root, const char *element, struct spec_log *log);

/* Whether a <split> of the dataset says which rows are that part. */
bool spec_asks_for(const struct xml_node *dataset, const char *part);

/* Parsed items of a checked attribute, NULL if it is absent or wrong. */
struct spec_value *spec_values(
	struct arena *a, const struct xml_node *n, const char *name, int *nvalue);

/* Canonical XML; and the same as {"element","attributes","text","children"} objects. */
void spec_print(struct strbuf *out, const struct xml_node *root);
/* What the states of a schedule follow from: model, datasets and the schedule without where it stops. */
void spec_print_states(struct strbuf *out, const struct xml_node *root, const struct xml_node *schedule);
void spec_print_json(struct strbuf *out, const struct xml_node *root);

#endif
