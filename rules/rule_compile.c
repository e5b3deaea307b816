/* The program "step" of a shape as an object for one target. */
#include "emit.h"
#include "rules.h"

static void tools(struct arena *a, const struct fields *param, const void *env, struct fields *out)
{
	const struct target *t = target_find(fields_get(param, "target"));
	rule_numerics_tools(a, param, env, out);
	if (!t)
		return;
	fields_add(a, out, "hardware", target_text(a, t));
}

static bool run_compile(struct rule_call *c, struct err *e)
{
	struct state s;
	enum numerics numerics;
	struct strbuf object;
	const struct target *target = target_find(call_param(c, "target"));
	if (!target)
		return err_set(e, ERR_SPEC, "unknown target '%s'", call_param(c, "target"));
	if (!rule_numerics(c, &numerics, e) || !rule_state(c, "shape", &s, e))
		return false;
	const struct fields *param = call_params(c);
	const struct graph *plan = step_plan(call_arena(c), &s, numerics, (int)fields_int(param, "rows"),
		(int)fields_int(param, "outs"), fields_int(param, "context"));
	strbuf_init(&object);
	bool ok = emit_object(&(struct emit_request){target, &plan, 1, EMIT_OBJECT, NULL}, &object, e) &&
		call_output(c, 0, strbuf_buf(&object), e);
	strbuf_release(&object);
	return ok;
}

static const char *const outputs[] = {"object", NULL};
const struct rule rule_compile = {"compile", 1, outputs, NULL, run_compile, tools, NULL};
