#include "measure.h"

#include <math.h>
#include <stdlib.h>

#include "flat.h"
#include "json.h"
#include "region_key.h"
#include "sample.h"
#include "score.h"

/* Shape of a call. More rows make the weights' way through the cache worth more; from some hundred on
 * nothing is gained. Logits are what costs memory. */
enum { MAX_ROWS = 256, MIN_OUT = 16, MAX_LOGITS = 1 << 24, MIN_SLOTS = 2048 };

static int64_t max_out(int vocab)
{
	int64_t n = MAX_LOGITS / vocab;
	return n > MAX_ROWS ? MAX_ROWS : n < MIN_OUT ? MIN_OUT : n;
}

static uint32_t slots_of(const struct measurer_options *o)
{
	return o->longest_slots > MIN_SLOTS ? (uint32_t)o->longest_slots : MIN_SLOTS;
}

static const struct graph *plan_step(struct arena *a, const struct measurer_options *o)
{
	struct forward f = {.config = o->config, .has_attn = o->has_attn, .has_mlp = o->has_mlp,
		.numerics = o->numerics, .max_rows = MAX_ROWS, .max_out = max_out(o->config->vocab),
		.slots = slots_of(o)};
	return device_plan(o->device, a, forward_step(a, &f));
}

/* A session's program on a device: inputs go there with every call, and logits come back. */
static bool run_on_device(void *ctx, const int64_t *dim, uint64_t logits_bytes, struct err *e)
{
	struct measurer *m = ctx;
	const struct program *prog = m->session.prog;
	for (uint32_t i = 0; i < prog->nexternal; i++)
		if (prog->external[i].kind == EXTERNAL_INPUT)
			device_write(m->device, m->t[1 + i], m->session.t[1 + i], prog->external[i].bytes);
	device_run(m->device, 0, m->t, dim);
	device_read(m->device, m->session.logits, m->t[1 + program_external_find(prog, "logits")], logits_bytes);
	return device_ok(m->device, e);
}

static uint64_t externals_bytes(const struct program *prog)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < prog->nexternal; i++)
		sum += prog->external[i].bytes;
	return sum;
}

/* Behind session_open: the device gets memory of its own for what the session has, and the weights. */
static bool move_to_device(struct measurer *m, struct err *e)
{
	const struct program *prog = m->session.prog;
	if (!device_has_room(m->device, externals_bytes(prog), e))
		return false;
	m->t = arena_array(&m->arena, void *, prog->nexternal + 1);
	for (uint32_t i = 0; i < prog->nexternal; i++) {
		m->t[1 + i] = device_alloc(m->device, prog->external[i].bytes);
		if (prog->external[i].kind == EXTERNAL_PARAM)
			device_write(m->device, m->t[1 + i], m->session.t[1 + i], prog->external[i].bytes);
	}
	m->session.device = (struct session_device){m, run_on_device};
	return device_ok(m->device, e);
}

static bool make_code(struct measurer *m, const struct measurer_options *o, const struct program **prog, struct err *e)
{
	const struct graph *plan = plan_step(&m->arena, o);
	bool ok;
	if (o->device != DEVICE_CPU) {
		ok = device_open(&m->device, o->device, o->threads, e) && device_load(m->device, &plan, 1, e);
		*prog = ok ? device_program(m->device, 0) : NULL;
	} else {
		ok = m->has_code = emit_native(&plan, 1, 1, &m->loaded, e);
		*prog = ok ? m->loaded.program[0] : NULL;
	}
	return ok;
}

bool measurer_open(struct measurer *m, const struct measurer_options *o, struct err *e)
{
	const struct program *prog;
	*m = (struct measurer){0};
	if (!make_code(m, o, &prog, e))
		return false;
	m->pool = pool_new(o->threads);
	if (!m->pool)
		return err_set(e, ERR_IO, "unable to start %d threads", o->threads);
	return session_open(&m->session, prog, &o->weights, m->pool, slots_of(o), e) && (!m->device || move_to_device(m, e));
}

void measurer_release(struct measurer *m)
{
	session_release(&m->session);
	if (m->pool)
		pool_free(m->pool);
	if (m->has_code)
		emit_unload(&m->loaded);
	device_free(m->device);
	arena_release(&m->arena);
	*m = (struct measurer){0};
}

/* ---- what it takes ---- */

/* Of a table: tokens that are fed, rows whose logits are read, slots that are filled at most, calls. */
struct load {
	double fed, outs, slots, calls, attended;
};

/* An answer that follows a prompt is rated by the prompt's last logits first. */
static void add_record(struct load *l, const struct token_row *row, double *batch, uint64_t context)
{
	uint32_t prompt = row->prompt_tokens;
	double slots = (double)score_row_slots(row);
	l->fed += prompt;
	l->outs += prompt > 0;
	l->attended += prompt * (prompt + 1.0) / 2;
	for (uint32_t i = 0; i < row->nanswer; i++) {
		double n = row->answer_tokens[i] > 1 ? row->answer_tokens[i] - 1 : 0;
		l->fed += n;
		l->outs += n;
		l->attended += n * (prompt + (n + 1) / 2);
	}
	if (*batch + slots > (double)context) {
		/* A batch of prompts, then of answers by their number, ends with a call that is not full. */
		l->calls += row->nanswer > 1 ? row->nanswer : 0.5;
		*batch = 0;
	}
	*batch += slots;
	l->slots = *batch > l->slots ? *batch : l->slots;
}

static struct load load_of(const struct token_table *t, uint64_t context)
{
	struct load l = {0};
	double batch = 0;
	for (uint64_t i = 0; i < t->nrecord; i++) {
		struct token_row row = token_table_row(t, i);
		add_record(&l, &row, &batch, context);
	}
	l.calls += l.fed / MAX_ROWS + 1;
	l.attended /= l.fed > 0 ? l.fed : 1;
	return l;
}

/* exp of every logit, by one thread (sample.h). */
static double rating_effort(const struct measurer_options *o, double outs)
{
	enum { EXP_OPS = 24 };
	return outs * o->config->vocab * EXP_OPS * o->threads;
}

void measurer_foretell(const struct measurer_options *o, const struct token_table *t, struct measurer_needs *out)
{
	struct arena a = {0};
	const struct graph *plan = plan_step(&a, o);
	struct load l = {.fed = slots_of(o), .slots = slots_of(o), .outs = slots_of(o), .calls = 1};
	double most_out = (double)max_out(o->config->vocab);
	if (t)
		l = load_of(t, slots_of(o));
	double outs = l.fed > 0 ? l.outs / l.fed * MAX_ROWS : 0, rows = l.fed / l.calls;
	*out = (struct measurer_needs){.nfunction = region_functions(plan),
		.memory_bytes = device_shared_bytes(o->device, &plan, 1, o->threads)};
	for (int i = 0; i < plan->nnode; i++) {
		const struct node *n = &plan->node[i];
		double used = n->op == OP_PARAM ? 1 : n->op == OP_STATE ? o->device == DEVICE_CPU ? l.slots / slots_of(o) : 1 : 0;
		out->memory_bytes += (uint64_t)(used * (double)tensor_bytes(plan, n));
		out->weight_bytes += n->op == OP_PARAM ? (uint64_t)tensor_bytes(plan, n) : 0;
	}
	out->memory_bytes += (uint64_t)((o->device == DEVICE_CPU && outs < most_out ? outs : most_out) * o->config->vocab *
		sizeof(float));
	if (t)
		out->effort = rating_effort(o, l.outs) +
			l.calls * graph_effort(plan, &(struct effort_sizes){rows, l.outs / l.calls, l.attended});
	arena_release(&a);
}

uint64_t measure_longest(const struct token_table *t)
{
	uint64_t longest = 0;
	for (uint64_t i = 0; i < t->nrecord; i++) {
		struct token_row r = token_table_row(t, i);
		uint64_t slots = score_row_slots(&r);
		longest = slots > longest ? slots : longest;
	}
	return longest;
}

bool measure_check(const struct token_table *t, const struct model_config *c, struct err *e)
{
	uint64_t longest = measure_longest(t);
	if (longest > (uint64_t)c->context)
		return err_set(e, ERR_SPEC,
			"a row needs a context of %llu tokens, the model has %d; give the task a smaller length",
			(unsigned long long)longest, c->context);
	for (uint64_t i = 0; i < t->ntoken; i++)
		if (t->token[i] >= (uint64_t)c->vocab)
			return err_set(e, ERR_SPEC,
				"token %u is not in the model's vocabulary of %d; is the tokenizer another model's?",
				t->token[i], c->vocab);
	return true;
}

/* What the answers of a row were given. */
static bool measure_row(const struct measure_job *job, uint64_t record, const double *nll, uint32_t n,
	struct err *e)
{
	char hex[DIGEST_HEX];
	for (uint32_t k = 0; k < n; k++) {
		if (isfinite(nll[k]))
			continue;
		digest_hex(job->t->record[record].row, hex);
		return err_set(e, ERR_NUMERIC, "the model gives no number for row %s", hex);
	}
	return job->take(job->ctx, record, nll, e);
}

bool measure_records(struct measurer *m, const struct measure_job *job, struct err *e)
{
	struct token_row *row = xcalloc(job->n, sizeof(*row));
	size_t most = 0;
	bool ok = true;
	for (size_t i = 0; i < job->n; i++) {
		row[i] = token_table_row(job->t, job->record[i]);
		most += row[i].nanswer;
	}
	double *nll = xcalloc(most, sizeof(*nll));
	/* A batch ends where the next row does not fit. */
	for (size_t i = 0, fit; ok && i < job->n; i += fit) {
		const double *at = nll;
		fit = score_rows_fit(&m->session, row + i, job->n - i);
		if (!fit)
			BUG("a row of %llu tokens was not announced",
				(unsigned long long)score_row_slots(&row[i]));
		score_rows(&m->session, row + i, fit, nll);
		ok = !m->session.failed;
		if (!ok && e)
			*e = m->session.error;
		for (size_t k = i; ok && k < i + fit; at += row[k++].nanswer)
			ok = measure_row(job, job->record[k], at, row[k].nanswer, e);
	}
	free(nll);
	free(row);
	return ok;
}

/* ---- tables ---- */

void measured_write(struct strbuf *out, const struct token_table *t, const double *answer)
{
	flat_begin(out, "TRIMNLLS", 2);
	flat_u64(out, t->nskipped);
	flat_u64(out, t->nrecord);
	struct measured *all = xcalloc((size_t)t->nrecord, sizeof(*all));
	for (uint64_t i = 0; i < t->nrecord; i++) {
		const struct token_record *r = &t->record[i];
		struct token_row row = token_table_row(t, i);
		const double *nll = answer + r->answer_at;
		all[i] = (struct measured){.row = r->row, .digest = r->digest, .gold = r->gold,
			.choice = -1, .nanswer = r->nanswer, .answer_at = r->answer_at};
		if (r->gold >= 0) {
			all[i].nll = nll[r->gold];
			all[i].tokens = score_row_tokens(&row, (uint32_t)r->gold);
			all[i].bytes = r->gold_bytes;
		}
		if (r->nanswer > 1)
			all[i].choice = (int32_t)score_choice(nll, r->nanswer);
	}
	flat_bytes(out, all, (size_t)t->nrecord * sizeof(*all));
	flat_u64(out, t->nanswer);
	flat_bytes(out, answer, (size_t)t->nanswer * sizeof(*answer));
	free(all);
}

static const char *check_measured(const struct measured_table *t, uint64_t i, uint64_t at)
{
	const struct measured *r = &t->row[i];
	if (r->answer_at != at || r->nanswer > t->nanswer - at)
		return "the answers of a row are not where they should be";
	if (r->gold < -1 || r->gold >= (int64_t)r->nanswer || r->choice < -1 ||
		r->choice >= (int64_t)r->nanswer)
		return "a row names an answer that it does not have";
	return isfinite(r->nll) ? NULL : "a nll is no number";
}

bool measured_open(struct measured_table *t, struct buf bytes, struct err *e)
{
	struct flat f;
	uint64_t at = 0;
	flat_open(&f, bytes, "table of measured rows", "TRIMNLLS", 2);
	t->nskipped = flat_get_u64(&f);
	t->nrow = flat_get_u64(&f);
	t->row = flat_get_array(&f, t->nrow, sizeof(*t->row));
	t->nanswer = flat_get_u64(&f);
	t->answer = flat_get_array(&f, t->nanswer, sizeof(*t->answer));
	for (uint64_t i = 0; !f.bad && i < t->nrow; at += t->row[i++].nanswer) {
		const char *why = check_measured(t, i, at);
		if (why)
			flat_bad(&f, why);
	}
	if (!f.bad && at != t->nanswer)
		flat_bad(&f, "answers belong to no row");
	return flat_end(&f, e);
}

struct metrics measured_metrics(const struct measured_table *t)
{
	struct metrics m = {.skipped = t->nskipped};
	double sum = 0;
	for (uint64_t i = 0; i < t->nrow; i++) {
		const struct measured *r = &t->row[i];
		/* The windows of a document are neighbours. */
		m.rows += !i || r->choice >= 0 || !digest_equal(r->row, r[-1].row);
		m.tokens += r->tokens;
		m.bytes += r->bytes;
		sum += r->nll;
		m.choices += r->choice >= 0 && r->gold >= 0;
		m.correct += r->choice >= 0 && r->choice == r->gold;
	}
	m.nll = m.tokens ? sum / (double)m.tokens : NAN;
	m.nll_per_byte = m.bytes ? sum / (double)m.bytes : NAN;
	m.perplexity = m.tokens ? sample_exp(m.nll) : NAN;
	m.accuracy = m.choices ? (double)m.correct / (double)m.choices : NAN;
	return m;
}

void metrics_write(struct strbuf *out, const struct metrics *m)
{
	strbuf_addf(out, "{\"rows\":%llu,\"skipped\":%llu,\"tokens\":%llu,\"bytes\":%llu",
		(unsigned long long)m->rows, (unsigned long long)m->skipped,
		(unsigned long long)m->tokens, (unsigned long long)m->bytes);
	if (m->tokens) {
		json_add_number(out, "nll", m->nll);
		if (m->bytes)
			json_add_number(out, "nll_per_byte", m->nll_per_byte);
		json_add_number(out, "perplexity", m->perplexity);
	}
	if (m->choices)
		json_add_number(out, "accuracy", m->accuracy);
	strbuf_addc(out, '}');
}
