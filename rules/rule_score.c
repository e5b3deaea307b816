/*
 * Scores every unit of a state by one of the methods (score_method.h), on the first `rows` of each input "rows", one for
 * each dataset. Several rank by the weighted mean of each one's numbers where the parameter `weights` is there, else by
 * those of all rows, and never by accuracy. The second output remembers each record's
 * sums: a later call for the same state, class and units takes them from there and runs new records alone. It is
 * empty where a method has none.
 *
 * inputs state, [rows...]; parameters method, unit (half, block), numerics, and what the method reads: rows, weights, count,
 * seed, units -> scores (scores.h), memo
 *
 * The memo: "TRIMMEMO", u64 doubles of a line, u64 records, then per record its digest (hi, lo) and its line,
 * little-endian.
 */
#include <math.h>
#include <string.h>

#include "eval.h"
#include "foretell.h"
#include "rules.h"
#include "score_method.h"
#include "spec_table.h"

enum { BATCH_ROWS = 512, MEMO_HEADER = 24 };

struct scoring {
	struct score s;
	const char *name; /* of the method */
	const struct score_method *method;
	unsigned reads;
	double **line;    /* per record; NULL until it is known */
	struct mix_set *set;
	size_t nset;
	size_t *end;      /* by set: where its records end in s.record */
};

static size_t line_cells(const struct scoring *c)
{
	return (1 + c->s.n) * (size_t)c->method->sums->ncell;
}

static size_t line_bytes(const struct scoring *c)
{
	return line_cells(c) * sizeof(double);
}

static struct digest record_digest(const struct scoring *c, size_t i)
{
	return c->s.tokens.record[c->s.record[i]].digest;
}

/* ---- what is remembered ---- */

static void write_memo(const struct scoring *c, struct strbuf *out)
{
	uint64_t known = 0, cells = line_cells(c);
	for (size_t i = 0; i < c->s.nrecord; i++)
		known += c->line[i] != NULL;
	strbuf_add(out, "TRIMMEMO", 8);
	strbuf_add(out, &cells, 8);
	strbuf_add(out, &known, 8);
	for (size_t i = 0; i < c->s.nrecord; i++) {
		struct digest d = record_digest(c, i);
		if (!c->line[i])
			continue;
		strbuf_add(out, &d, sizeof(d));
		strbuf_add(out, c->line[i], line_bytes(c));
	}
}

/* Takes what an earlier table knows; one that does not fit is ignored. */
static void read_memo(struct scoring *c, struct buf memo)
{
	uint64_t head[2];
	size_t row_bytes = sizeof(struct digest) + line_bytes(c);
	const char *p = memo.p;
	if (!p || memo.n < MEMO_HEADER || memcmp(p, "TRIMMEMO", 8))
		return;
	memcpy(head, p + 8, 16);
	if (head[0] != line_cells(c) || head[1] > memo.n / row_bytes || memo.n != MEMO_HEADER + head[1] * row_bytes)
		return;
	for (uint64_t k = 0; k < head[1]; k++) {
		const char *row = p + MEMO_HEADER + k * row_bytes;
		struct digest d;
		memcpy(&d, row, sizeof(d));
		for (size_t i = 0; i < c->s.nrecord; i++)
			if (!c->line[i] && digest_equal(d, record_digest(c, i)))
				c->line[i] = arena_copy(c->s.a, row + sizeof(d), line_bytes(c));
	}
}

/* By state, class and units. */
static struct buf memo_name(struct scoring *c)
{
	char hex[DIGEST_HEX];
	const struct fields *param = call_params(c->s.call);
	digest_hex(call_input_digest(c->s.call, (size_t)call_find(c->s.call, "state")), hex);
	const char *name = arena_printf(c->s.a, "%s %s %s %s %s", hex, numerics_classes[c->s.numerics].name,
		c->method->sums->name, fields_get(param, "unit"), c->reads & READS_COUNT ? fields_get(param, "count") : "1");
	return (struct buf){name, strlen(name)};
}

/* ---- sums over records ---- */

static bool interlude(struct scoring *c, struct err *e)
{
	enum call_next next = call_next(c->s.call);
	bool ok = true;
	if (next == CALL_SAVE || next == CALL_SAVE_AND_STOP) {
		struct strbuf memo;
		strbuf_init(&memo);
		write_memo(c, &memo);
		uint64_t known;
		memcpy(&known, memo.s + 16, 8);
		struct buf part = strbuf_buf(&memo);
		ok = call_checkpoint_put(c->s.call, known, &part, 1, e);
		strbuf_release(&memo);
	}
	if (ok && (next == CALL_STOP || next == CALL_SAVE_AND_STOP))
		return err_set(e, ERR_CANCELLED, "interrupted while scoring");
	return ok;
}

static bool run_missing(struct scoring *c, struct err *e)
{
	const struct score_sums *sums = c->method->sums;
	struct score *s = &c->s;
	uint64_t *todo = NULL;
	size_t *at = NULL, ntodo = 0, nat = 0;
	void *work = NULL;
	for (size_t i = 0; i < s->nrecord; i++)
		if (!c->line[i]) {
			*arena_push(s->a, todo, ntodo) = s->record[i];
			*arena_push(s->a, at, nat) = i;
		}
	if (!ntodo)
		return true;
	bool ok = sums->open(s, &work, e);
	for (size_t i = 0, n; ok && i < ntodo; i += n) {
		n = sums->batch(work, todo + i, ntodo - i);
		double **line = arena_array(s->a, double *, n);
		for (size_t k = 0; k < n; k++)
			line[k] = arena_array(s->a, double, line_cells(c));
		ok = sums->run(work, todo + i, n, line, e);
		for (size_t k = 0; ok && k < n; k++)
			c->line[at[i + k]] = line[k];
		call_progress(s->call, &(struct progress){(double)(i + n), (double)ntodo, "records", NULL});
		ok = ok && interlude(c, e);
	}
	sums->release(work);
	return ok;
}

/* Of unit `at`, 0 the state itself, over records [first, end). */
static void add_records(const struct scoring *c, size_t first, size_t end, size_t at, double *value)
{
	const struct score_sums *sums = c->method->sums;
	double *sum = arena_array(c->s.a, double, sums->ncell);
	for (size_t i = first; i < end; i++)
		for (int k = 0; k < sums->ncell; k++)
			sum[k] += c->line[i][at * (size_t)sums->ncell + (size_t)k];
	sums->values(sum, end - first, value);
}

static void add_weighted(const struct scoring *c, size_t at, int ncolumn, double *value)
{
	double part[SCORE_COLUMNS], weight = 0;
	for (int k = 0; k < ncolumn; k++)
		value[k] = 0;
	for (size_t i = 0; i < c->nset; i++) {
		size_t first = i ? c->end[i - 1] : 0;
		if (first == c->end[i])
			continue;
		add_records(c, first, c->end[i], at, part);
		for (int k = 0; k < ncolumn; k++)
			value[k] += (double)c->set[i].weight * part[k];
		weight += (double)c->set[i].weight;
	}
	for (int k = 0; k < ncolumn; k++)
		value[k] /= weight;
}

static void add_up(const struct scoring *c, size_t at, const struct scores *table, double *value)
{
	if (c->nset > 1 && c->set[0].weight)
		add_weighted(c, at, table->ncolumn, value);
	else
		add_records(c, 0, c->s.nrecord, at, value);
	for (int k = 0; k < table->ncolumn && c->nset > 1; k++)
		if (!strcmp(table->column[k], "accuracy"))
			value[k] = NAN;
}

static bool measure_sums(struct scoring *c, struct scores *out, struct strbuf *memo, struct err *e)
{
	const struct score_sums *sums = c->method->sums;
	struct buf known;
	uint64_t step;
	c->line = arena_array(c->s.a, double *, c->s.nrecord);
	if (!call_seed_get(c->s.call, memo_name(c), &known, e))
		return false;
	read_memo(c, known);
	if (!call_checkpoint_get(c->s.call, &step, &known, e))
		return false;
	read_memo(c, known);
	if (!run_missing(c, e))
		return false;
	add_up(c, 0, out, out->base);
	for (size_t i = 0; i < c->s.n; i++)
		add_up(c, 1 + i, out, out->unit[i].value);
	write_memo(c, memo);
	return !sums->finite || isfinite(out->base[scores_column(out, sums->finite)]) ||
		err_set(e, ERR_NUMERIC, "the state's %s on calibration rows is not finite", sums->finite);
}

/* ---- the rule ---- */

/* The first `rows` rows of each set: a row may be several records (windows of a document). */
static void list_records(struct scoring *c, int64_t rows)
{
	struct score *s = &c->s;
	uint64_t base = 0;
	c->end = arena_array(s->a, size_t, c->nset);
	for (size_t k = 0; k < c->nset; base += c->set[k++].t->nrecord) {
		const struct token_table *t = c->set[k].t;
		int64_t seen = 0;
		for (uint64_t i = 0; i < t->nrecord; i++) {
			seen += t->record[i].part == 0;
			if (seen > rows)
				break;
			*arena_push(s->a, s->record, s->nrecord) = base + i;
		}
		c->end[k] = s->nrecord;
	}
}

static bool choose_records(struct scoring *c, struct err *e)
{
	if (!call_token_sets(c->s.call, "rows", &c->set, &c->nset, &c->s.tokens, e))
		return false;
	list_records(c, fields_int(call_params(c->s.call), "rows"));
	return c->s.nrecord || err_set(e, ERR_SPEC, "there are no calibration rows to score on");
}

static void list_candidates(struct scoring *c, const struct fields *param)
{
	struct score *s = &c->s;
	size_t run = c->reads & READS_COUNT ? (size_t)fields_int(param, "count") : 1;
	if (!strcmp(fields_get(param, "unit"), "block"))
		s->candidate = candidate_blocks(s->a, &s->state, run, &s->n);
	else
		s->candidate = candidate_halves(s->a, &s->state, &s->n);
}

static struct scores empty_table(struct scoring *c)
{
	struct scores out = {.method = c->name, .nunit = c->s.n};
	while (c->method->column[out.ncolumn]) {
		out.column[out.ncolumn] = c->method->column[out.ncolumn];
		out.base[out.ncolumn++] = NAN;
	}
	out.unit = arena_array(c->s.a, struct unit_score, c->s.n);
	for (size_t i = 0; i < c->s.n; i++) {
		out.unit[i].name = c->s.candidate[i].name;
		for (int k = 0; k < SCORE_COLUMNS; k++)
			out.unit[i].value[k] = NAN;
	}
	return out;
}

static bool write_outputs(struct scoring *c, const struct scores *table, struct strbuf *memo, struct err *e)
{
	struct strbuf text;
	strbuf_init(&text);
	scores_write(&text, table);
	bool ok = call_output(c->s.call, 0, strbuf_buf(&text), e) && call_output(c->s.call, 1, strbuf_buf(memo), e);
	strbuf_release(&text);
	if (ok && c->method->sums)
		call_seed_put(c->s.call, memo_name(c), 1);
	return ok;
}

static bool run_score(struct rule_call *call, struct err *e)
{
	struct scoring c = {.s = {.call = call, .a = call_arena(call), .nthreads = call_threads(call),
		.batch_rows = BATCH_ROWS}, .name = call_param(call, "method")};
	c.method = score_method_find(c.name, &c.reads);
	if (!c.method)
		BUG("there is no score method '%s'", c.name);
	if (!rule_state(call, "state", &c.s.state, e) || !rule_numerics(call, &c.s.numerics, e))
		return false;
	c.s.device = rule_device(call_params(call));
	c.s.weights = (struct weight_source){&c.s.state, rule_tensor, call};
	if (c.reads & READS_ROWS && !choose_records(&c, e))
		return false;
	list_candidates(&c, call_params(call));
	struct scores table = empty_table(&c);
	struct strbuf memo;
	strbuf_init(&memo);
	bool ok = c.method->sums ? measure_sums(&c, &table, &memo, e) : c.method->measure(&c.s, &table, e);
	ok = ok && write_outputs(&c, &table, &memo, e);
	strbuf_release(&memo);
	return ok;
}

/* Records that an earlier call remembers are not left out: it is the most that a score can take. */
static bool estimate(const struct estimate_call *call, struct estimate *out)
{
	struct scoring c = {.s = {.a = estimate_arena(call), .nthreads = estimate_threads(call), .batch_rows = BATCH_ROWS}};
	const struct fields *param = estimate_params(call);
	struct score_needs needs;
	c.method = score_method_find(fields_get(param, "method"), &c.reads);
	score_foretell *of = c.method->sums ? c.method->sums->foretell : c.method->foretell;
	if (!of || !foretell_state(call, "state", &c.s.state) || !foretell_numerics(call, &c.s.numerics))
		return false;
	c.s.weights.state = &c.s.state;
	c.s.device = rule_device(param);
	if (c.reads & READS_ROWS && foretell_tokens(call, "rows", &c.set, &c.nset, &c.s.tokens))
		list_records(&c, fields_int(param, "rows"));
	list_candidates(&c, param);
	of(&c.s, &needs);
	*out = (struct estimate){.work = needs.effort, .lower = "a smaller length of the tasks"};
	foretell_code(out, fields_get(param, "method"), foretell_kind(c.s.numerics, c.s.device), &c.s.state.config, needs.nfunction);
	foretell_memory(out, c.s.device, needs.memory_bytes, foretell_largest(&c.s.state));
	return true;
}

static const char *const outputs[] = {"scores", "memo", NULL};
const struct rule rule_score = {"score", 3, outputs, "compute", run_score, rule_numerics_tools, estimate};
