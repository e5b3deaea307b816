/* A state on the rows of a split: what ships is what is measured, so by its packed weights, in code made
 * for this machine as a binary's is. */
#include <string.h>

#include "eval.h"
#include "foretell.h"
#include "measure.h"
#include "rules.h"
#include "weights.h"

struct bound {
	struct weights weights;
	struct buf *bytes;
};

static struct buf find_weight(void *ctx, const char *name)
{
	const struct bound *b = ctx;
	for (size_t i = 0; i < b->weights.nweight; i++)
		if (!strcmp(b->weights.weight[i].name, name))
			return b->bytes[i];
	return (struct buf){0};
}

bool call_weights(struct rule_call *c, const char *name, struct param_source *out, struct err *e)
{
	struct bound *b = arena_new(call_arena(c), struct bound);
	struct buf text;
	if (!call_input_named(c, name, &text, e) ||
		!weights_read(call_arena(c), text, &b->weights, e))
		return false;
	b->bytes = arena_array(call_arena(c), struct buf, b->weights.nweight);
	for (size_t i = 0; i < b->weights.nweight; i++)
		if (!call_object(c, b->weights.weight[i].digest, &b->bytes[i], e))
			return false;
	*out = (struct param_source){b, find_weight};
	return true;
}

struct evaluation {
	struct rule_call *c;
	const struct token_table *t;
	double *answer;
	uint64_t ndone; /* records */
};

static bool save(struct evaluation *ev, struct err *e)
{
	uint64_t at = ev->ndone < ev->t->nrecord ? ev->t->record[ev->ndone].answer_at : ev->t->nanswer;
	struct buf part = {ev->answer, (size_t)at * sizeof(*ev->answer)};
	return call_checkpoint_put(ev->c, ev->ndone, &part, 1, e);
}

static bool take(void *ctx, uint64_t record, const double *nll, struct err *e)
{
	struct evaluation *ev = ctx;
	const struct token_record *r = &ev->t->record[record];
	memcpy(ev->answer + r->answer_at, nll, r->nanswer * sizeof(*nll));
	ev->ndone = record + 1;
	call_progress(ev->c, &(struct progress){(double)ev->ndone, (double)ev->t->nrecord, "rows", NULL});
	enum call_next next = call_next(ev->c);
	if ((next == CALL_SAVE || next == CALL_SAVE_AND_STOP) && !save(ev, e))
		return false;
	return next == CALL_GO || next == CALL_SAVE ||
		err_set(e, ERR_CANCELLED, "interrupted at row %llu", (unsigned long long)ev->ndone);
}

/* What a checkpoint says was done. */
static bool resume(struct evaluation *ev, struct err *e)
{
	struct buf payload;
	uint64_t step;
	if (!call_checkpoint_get(ev->c, &step, &payload, e))
		return false;
	if (!payload.p || step > ev->t->nrecord)
		return true;
	uint64_t at = step < ev->t->nrecord ? ev->t->record[step].answer_at : ev->t->nanswer;
	if (payload.n != at * sizeof(*ev->answer))
		return true;
	if (payload.n)
		memcpy(ev->answer, payload.p, payload.n);
	ev->ndone = step;
	return true;
}

static bool measure_all(struct evaluation *ev, struct measurer *m, struct err *e)
{
	if (!resume(ev, e))
		return false;
	size_t n = (size_t)(ev->t->nrecord - ev->ndone);
	uint64_t *record = arena_array(call_arena(ev->c), uint64_t, n);
	for (size_t i = 0; i < n; i++)
		record[i] = ev->ndone + i;
	return measure_records(m, &(struct measure_job){ev->t, record, n, take, ev}, e);
}

static bool write_outputs(const struct evaluation *ev, struct err *e)
{
	struct strbuf rows, text;
	struct measured_table table;
	strbuf_init(&rows);
	strbuf_init(&text);
	measured_write(&rows, ev->t, ev->answer);
	bool ok = measured_open(&table, strbuf_buf(&rows), e);
	if (ok) {
		struct metrics m = measured_metrics(&table);
		metrics_write(&text, &m);
		ok = call_output(ev->c, EVALUATE_METRICS, strbuf_buf(&text), e) &&
			call_output(ev->c, EVALUATE_ROWS, strbuf_buf(&rows), e);
	}
	strbuf_release(&rows);
	strbuf_release(&text);
	return ok;
}

static bool run_evaluate(struct rule_call *c, struct err *e)
{
	struct token_table t;
	struct state s;
	struct buf bytes;
	struct measurer m = {0};
	struct measurer_options o = {.device = rule_device(call_params(c)), .threads = call_threads(c)};
	if (!rule_numerics(c, &o.numerics, e) || !rule_state(c, "shape", &s, e) ||
		!call_input_named(c, "tokens", &bytes, e) || !token_table_open(&t, bytes, e) ||
		!measure_check(&t, &s.config, e) || !call_weights(c, "weights", &o.weights, e))
		return false;
	o.config = &s.config;
	o.has_attn = s.has_attn;
	o.has_mlp = s.has_mlp;
	o.longest_slots = measure_longest(&t);
	struct evaluation ev = {.c = c, .t = &t,
		.answer = arena_array(call_arena(c), double, (size_t)t.nanswer)};
	bool ok = measurer_open(&m, &o, e) && measure_all(&ev, &m, e) && write_outputs(&ev, e);
	measurer_release(&m);
	return ok;
}

void evaluate_param(struct arena *a, enum numerics numerics, struct fields *out)
{
	fields_add(a, out, "numerics", numerics_classes[numerics].name);
}

/* Rows that are not there yet say nothing of time; the memory of long ones is what rows can take at most. */
static bool estimate(const struct estimate_call *c, struct estimate *out)
{
	struct measurer_options o = {.device = rule_device(estimate_params(c)), .threads = estimate_threads(c)};
	struct measurer_needs needs;
	struct mix_set *set;
	struct token_table t;
	struct state s;
	size_t n;
	if (!foretell_numerics(c, &o.numerics) || !foretell_state(c, "shape", &s))
		return false;
	bool known = foretell_tokens(c, "tokens", &set, &n, &t);
	o.config = &s.config;
	o.has_attn = s.has_attn;
	o.has_mlp = s.has_mlp;
	o.longest_slots = known ? measure_longest(&t) : (uint64_t)s.config.context;
	measurer_foretell(&o, known ? &t : NULL, &needs);
	*out = (struct estimate){.work = needs.effort, .lower = "another class of weights, or a smaller length of the tasks"};
	foretell_code(out, "evaluate", foretell_kind(o.numerics, o.device), &s.config, needs.nfunction);
	foretell_memory(out, o.device, needs.memory_bytes, needs.weight_bytes);
	return true;
}

static const char *const outputs[] = {"metrics", "rows", NULL};
const struct rule rule_evaluate = {"evaluate", 3, outputs, "compute", run_evaluate, rule_numerics_tools, estimate};
