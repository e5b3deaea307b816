/* Whether a state may ship: its rows against those of the reference. */
#include <string.h>

#include "eval.h"
#include "gate.h"
#include "rules.h"

static bool table(struct rule_call *c, const char *name, struct measured_table *out, struct err *e)
{
	struct buf bytes;
	return call_input_named(c, name, &bytes, e) && measured_open(out, bytes, e);
}

static bool run_gate(struct rule_call *c, struct err *e)
{
	const struct fields *param = call_params(c);
	struct gate g = {.margin = fields_double(param, "margin"),
		.confidence = fields_double(param, "confidence"), .relative = fields_get(param, "relative") != NULL};
	struct verdict_names names = {fields_get(param, "dataset"), fields_get(param, "target")};
	int metric = spec_word_index(gate_metrics, fields_get(param, "metric"));
	struct measured_table reference, candidate;
	struct verdict v;
	struct strbuf text;
	if (metric < 0)
		BUG("unknown metric '%s'", fields_get(param, "metric"));
	g.metric = (enum gate_metric)metric;
	if (!table(c, "reference", &reference, e) || !table(c, "candidate", &candidate, e) ||
		!gate_judge(&g, &reference, &candidate, &v, e))
		return false;
	strbuf_init(&text);
	verdict_write(&text, &names, &g, &v);
	return rule_output(c, &text, e);
}

struct gate gate_of(const struct spec_gate *s)
{
	static const enum gate_metric metrics[] = {[METRIC_ACCURACY] = GATE_ACCURACY,
		[METRIC_NLL] = GATE_NLL, [METRIC_PERPLEXITY] = GATE_PERPLEXITY};
	return (struct gate){metrics[s->metric], s->margin, s->confidence, s->relative};
}

static void add_number(struct arena *a, struct fields *out, const char *name, double x)
{
	struct strbuf text;
	strbuf_init(&text);
	strbuf_add_double(&text, x);
	fields_add(a, out, name, arena_strdup(a, text.s));
	strbuf_release(&text);
}

void gate_param(struct arena *a, const struct spec_gate *gate, struct fields *out)
{
	struct gate g = gate_of(gate);
	fields_add(a, out, "metric", gate_metrics[g.metric]);
	add_number(a, out, "margin", g.margin);
	add_number(a, out, "confidence", g.confidence);
	if (g.relative)
		fields_add(a, out, "relative", "1");
}

static const char *const outputs[] = {"verdict", NULL};
const struct rule rule_gate = {"gate", 1, outputs, NULL, run_gate, NULL, NULL};
