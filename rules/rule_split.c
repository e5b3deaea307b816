/* Row tables -> who tests, validates, calibrates and trains. */
#include <stdlib.h>
#include <string.h>

#include "eval.h"

bool call_row_tables(struct rule_call *c, const char *name, struct row_table **out, size_t *n, struct err *e)
{
	*out = arena_array(call_arena(c), struct row_table, call_ninput(c));
	*n = 0;
	for (size_t i = 0; i < call_ninput(c); i++) {
		struct buf bytes;
		if (strcmp(call_input_name(c, i), name) != 0)
			continue;
		if (!call_input(c, i, &bytes, e) || !row_table_open(&(*out)[(*n)++], bytes, e))
			return false;
	}
	return true;
}

static bool read_ids(struct rule_call *c, struct split_rule *rule, size_t nrule, struct err *e)
{
	for (size_t i = 0; i < nrule; i++)
		for (int k = 0; k < NSPLIT; k++)
			if (rule[i].part[k].from == FROM_IDS &&
				!call_input_named(c, arena_printf(call_arena(c), "ids.%zu.%s", i,
					split_names[k]), &rule[i].part[k].ids.bytes, e))
				return false;
	return true;
}

/* Parameter first: of each table in order, how many of its rows are looked at. */
static void first_rows(struct rule_call *c, struct split_result *r, const struct row_table *t, size_t nt)
{
	const char *text = call_param(c, "first");
	size_t *n = arena_array(call_arena(c), size_t, nt);
	char *end;
	for (size_t i = 0; text && i < nt; i++, text = end)
		n[i] = strtoull(text, &end, 10);
	if (text)
		split_first(r, t, nt, n);
}

static bool run(struct rule_call *c, struct err *e)
{
	struct arena *a = call_arena(c);
	struct row_table *t;
	struct split_rule *rule;
	struct split_result result;
	struct strbuf list;
	size_t nt, nrule;
	fields_split(a, call_params(c), &rule, &nrule);
	if (!call_row_tables(c, "rows", &t, &nt, e) || !read_ids(c, rule, nrule, e) ||
		!data_split(a, t, nt, rule, nrule, &result, e))
		return false;
	first_rows(c, &result, t, nt);
	uint64_t seed = (uint64_t)fields_int(call_params(c), "seed");
	bool ok = true;
	strbuf_init(&list);
	for (int k = 0; ok && k < NSPLIT; k++) {
		strbuf_clear(&list);
		split_list_write(&list, t, nt, &result, (enum split)k, seed);
		ok = call_output(c, (size_t)k, strbuf_buf(&list), e);
	}
	strbuf_release(&list);
	return ok;
}

/* In the order of enum split. */
static const char *const outputs[] = {"test", "validation", "calibration", "train", NULL};

const struct rule rule_split = {.name = "split", .version = 1, .output = outputs, .run = run};
