#include "rules.h"

#include <string.h>

#include "chain.h"

const struct rule *const rules_table[] = {&rule_import, &rule_tokenizer, &rule_init, &rule_bpe, &rule_rows,
	&rule_split, &rule_tokenise, &rule_task, &rule_score, &rule_choose, &rule_trainable, &rule_drop, &rule_tune, &rule_fresh,
	&rule_shape, &rule_quantise, &rule_evaluate, &rule_cost, &rule_gate, &rule_golden, &rule_compile, &rule_gpu, &rule_lock,
	&rule_link, NULL};

const struct graph *step_plan(struct arena *a, const struct state *s, enum numerics numerics, int rows, int outs,
	int64_t context)
{
	struct forward f = {.config = &s->config, .has_attn = s->has_attn, .has_mlp = s->has_mlp,
		.numerics = numerics, .max_rows = rows, .max_out = outs,
		.slots = context ? context : s->config.context};
	return graph_plan(a, forward_step(a, &f));
}

enum device_kind rule_device(const struct fields *param)
{
	const char *name = fields_get(param, "device");
	return name ? device_find(name) : DEVICE_CPU;
}

void rule_device_param(struct arena *a, enum device_kind device, struct fields *out)
{
	if (device != DEVICE_CPU)
		fields_add(a, out, "device", device_name(device));
}

bool rule_numerics(const struct rule_call *c, enum numerics *out, struct err *e)
{
	const char *name = call_param(c, "numerics");
	return (name && numerics_find(name, out)) ||
		err_set(e, ERR_SPEC, "unknown numerics class '%s'", name ? name : "");
}

void rule_numerics_tools(struct arena *a, const struct fields *param, const void *env, struct fields *out)
{
	enum numerics n;
	(void)env;
	int device = device_version(rule_device(param)), library = device_library(rule_device(param));
	if (numerics_find(fields_get(param, "numerics"), &n))
		fields_add(a, out, "numerics version",
			arena_printf(a, "%d", numerics_classes[n].version));
	if (device)
		fields_add(a, out, "device version", arena_printf(a, "%d", device));
	if (library)
		fields_add(a, out, "library version", arena_printf(a, "%d", library));
}

bool rule_state(struct rule_call *c, const char *name, struct state *out, struct err *e)
{
	struct buf text;
	return call_input_named(c, name, &text, e) && state_read(call_arena(c), text, name, out, e);
}

bool rule_tensor(void *call, const struct state_tensor *t, struct buf *out, struct err *e)
{
	return call_object_once(call, t->digest, out, e);
}

bool rule_output(struct rule_call *c, struct strbuf *bytes, struct err *e)
{
	bool ok = call_output(c, 0, strbuf_buf(bytes), e);
	strbuf_release(bytes);
	return ok;
}

bool rule_output_state(struct rule_call *c, const struct state *s, struct err *e)
{
	struct strbuf text;
	strbuf_init(&text);
	state_write(&text, s);
	return rule_output(c, &text, e);
}
