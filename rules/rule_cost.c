/* What a numerics class costs a state (cost.h), on the first windows of a split's list: by the packed weights,
 * in code made for this machine as a binary's is, beside the state's own tensors as f32. Those are packed for
 * the call alone: a store that held them would hold the model once more than DESIGN allows. */
#include <math.h>
#include <string.h>

#include "cost.h"
#include "eval.h"
#include "foretell.h"
#include "measure.h"
#include "rules.h"

struct costing {
	struct rule_call *c;
	struct token_table t;
	struct cost sum;
	uint64_t nrecord, ndone; /* windows, at most the parameter */
};

/* Goes on where a checkpoint left off. */
static bool resume(struct costing *k, struct err *e)
{
	struct buf payload;
	uint64_t step;
	if (!call_checkpoint_get(k->c, &step, &payload, e))
		return false;
	if (payload.p && payload.n == sizeof(k->sum) && step <= k->nrecord) {
		memcpy(&k->sum, payload.p, payload.n);
		k->ndone = step;
	}
	return true;
}

static bool interlude(struct costing *k, struct err *e)
{
	enum call_next next = call_next(k->c);
	struct buf part = {&k->sum, sizeof(k->sum)};
	call_progress(k->c, &(struct progress){(double)k->ndone, (double)k->nrecord, "windows", NULL});
	if ((next == CALL_SAVE || next == CALL_SAVE_AND_STOP) &&
		!call_checkpoint_put(k->c, k->ndone, &part, 1, e))
		return false;
	return next == CALL_GO || next == CALL_SAVE ||
		err_set(e, ERR_CANCELLED, "interrupted at window %llu", (unsigned long long)k->ndone);
}

static bool cost_all(struct costing *k, const struct cost_pair *pair, struct err *e)
{
	while (k->ndone < k->nrecord) {
		struct token_row row = token_table_row(&k->t, k->ndone);
		cost_add_row(&k->sum, pair, &row);
		if (!isfinite(k->sum.nll + k->sum.unquantised_nll + k->sum.kl)) {
			char hex[DIGEST_HEX];
			digest_hex(k->t.record[k->ndone].row, hex);
			return err_set(e, ERR_NUMERIC, "a model gives no number for row %s", hex);
		}
		k->ndone++;
		if (!interlude(k, e))
			return false;
	}
	return true;
}

static bool write_output(const struct costing *k, struct err *e)
{
	struct strbuf text;
	uint64_t rows = 0;
	for (uint64_t i = 0; i < k->nrecord; i++)
		rows += k->t.record[i].part == 0;
	strbuf_init(&text);
	cost_write(&text, &k->sum, rows);
	return rule_output(k->c, &text, e);
}

static bool run_cost(struct rule_call *c, struct err *e)
{
	struct costing k = {.c = c};
	struct state s;
	struct buf bytes;
	struct packed full;
	struct measurer unquantised = {0}, quantised = {0};
	struct measurer_options of_full, o = {.threads = call_threads(c)};
	uint64_t windows = (uint64_t)fields_int(call_params(c), "windows");
	if (!rule_numerics(c, &o.numerics, e) || !rule_state(c, "state", &s, e) || !call_input_named(c, "tokens", &bytes, e) ||
		!token_table_open(&k.t, bytes, e) || !measure_check(&k.t, &s.config, e) ||
		!call_weights(c, "weights", &o.weights, e))
		return false;
	k.nrecord = k.t.nrecord < windows ? k.t.nrecord : windows;
	o.config = &s.config;
	o.has_attn = s.has_attn;
	o.has_mlp = s.has_mlp;
	o.longest_slots = measure_longest(&k.t);
	of_full = o;
	of_full.numerics = NUMERICS_F32;
	of_full.weights = (struct param_source){&full, packed_find};
	const struct weight_source from = {&s, rule_tensor, c};
	const struct cost_pair pair = {&unquantised.session, &quantised.session};
	bool ok = weights_pack(&from, step_plan(call_arena(c), &s, NUMERICS_F32, STEP_ROWS, STEP_OUTS, 0), &full, e) &&
		measurer_open(&unquantised, &of_full, e) && measurer_open(&quantised, &o, e) && resume(&k, e) &&
		cost_all(&k, &pair, e) && write_output(&k, e);
	measurer_release(&quantised);
	measurer_release(&unquantised);
	packed_release(&full);
	return ok;
}

/* Beside what measuring both takes: every logit of both once more, by one thread (sample_kl). */
static double kl_effort(const struct token_table *t, const struct measurer_options *o)
{
	enum { LOGIT_OPS = 60 };
	double tokens = 0;
	for (uint64_t i = 0; i < t->nrecord; i++) {
		struct token_row row = token_table_row(t, i);
		tokens += row.gold < 0 ? 0 : row.answer_tokens[row.gold];
	}
	return tokens * o->config->vocab * LOGIT_OPS * o->threads;
}

/* Two models over the same windows, one of them in f32. */
static bool estimate(const struct estimate_call *c, struct estimate *out)
{
	struct measurer_options of_full, o = {.threads = estimate_threads(c)};
	struct measurer_needs full, quantised;
	struct mix_set *set;
	struct token_table t;
	struct state s;
	size_t n;
	if (!foretell_numerics(c, &o.numerics) || !foretell_state(c, "state", &s))
		return false;
	bool known = foretell_tokens(c, "tokens", &set, &n, &t);
	uint64_t windows = (uint64_t)fields_int(estimate_params(c), "windows");
	if (known && t.nrecord > windows)
		t.nrecord = windows;
	o.config = &s.config;
	o.has_attn = s.has_attn;
	o.has_mlp = s.has_mlp;
	o.longest_slots = known ? measure_longest(&t) : (uint64_t)s.config.context;
	of_full = o;
	of_full.numerics = NUMERICS_F32;
	measurer_foretell(&of_full, known ? &t : NULL, &full);
	measurer_foretell(&o, known ? &t : NULL, &quantised);
	*out = (struct estimate){.memory_bytes = full.memory_bytes + quantised.memory_bytes,
		.work = full.effort + quantised.effort + (known ? kl_effort(&t, &o) : 0), .lower = "a smaller length of the tasks"};
	foretell_code(out, "cost", foretell_kind(o.numerics, DEVICE_CPU), &s.config, full.nfunction + quantised.nfunction);
	return true;
}

void cost_param(struct arena *a, enum numerics numerics, struct fields *out)
{
	fields_add(a, out, "numerics", numerics_classes[numerics].name);
	fields_add(a, out, "windows", arena_printf(a, "%d", COST_WINDOWS));
}

static void tools(struct arena *a, const struct fields *param, const void *env, struct fields *out)
{
	rule_numerics_tools(a, param, env, out);
	fields_add(a, out, "unquantised version", arena_printf(a, "%d", numerics_classes[NUMERICS_F32].version));
}

static const char *const outputs[] = {"cost", NULL};
const struct rule rule_cost = {"cost", 2, outputs, "compute", run_cost, tools, estimate};
