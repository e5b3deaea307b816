/* One file of a dataset -> its row table. */
#include "eval.h"

static bool run(struct rule_call *c, struct err *e)
{
	struct data_file file = {.name = call_param(c, "file")};
	struct data_source source;
	struct task task;
	struct strbuf table;
	if (!fields_task(call_arena(c), call_params(c), &task, e) ||
		!call_input_named(c, "file", &file.bytes, e))
		return false;
	fields_source(call_params(c), &task, &source);
	strbuf_init(&table);
	bool ok = data_read(&source, &file, &table, e) && call_output(c, 0, strbuf_buf(&table), e);
	strbuf_release(&table);
	return ok;
}

const struct rule rule_rows = {.name = "rows", .version = 1, .run = run};
