/* The task's record as the binary carries it; parameters as tokenise has them (dataset.h). */
#include "chain.h"

static bool run(struct rule_call *c, struct err *e)
{
	struct task task;
	struct strbuf out;
	if (!fields_task(call_arena(c), call_params(c), &task, e))
		return false;
	strbuf_init(&out);
	task_write(&out, &task);
	return rule_output(c, &out, e);
}

const struct rule rule_task = {.name = "task", .version = 1, .run = run};
