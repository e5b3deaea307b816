/*
 * Scores every unit of a state by a scan over calibration rows: the first `rows` of each input "rows", one for
 * each set. One set ranks by its metric. Several rank by nll of gold answers: with the parameter `weights` the
 * weighted mean over sets of each one's nll per token, else over the tokens of all. The second output remembers each record's
 * numbers: a later call for the same state and class takes them from there and runs new records alone.
 *
 * The memory: "TRIMMEMO", u64 units, u64 records, then per record its digest (hi, lo) and 1 + units cells
 * (struct scan_cell), little-endian.
 */
#include <math.h>
#include <string.h>

#include "eval.h"
#include "rules.h"
#include "scan.h"

enum { SCAN_ROWS = 512, MEMO_HEADER = 24 };

struct score {
	struct rule_call *call;
	struct arena *a;
	struct state state;
	struct token_table tokens; /* of all sets */
	struct mix_set *set;
	size_t nset;
	enum numerics numerics;
	struct unit *unit;
	size_t nunit;
	uint64_t *record; /* that count, in order: set by set */
	size_t nrecord;
	size_t *end;      /* by set: where its records end in that list */
	struct scan_cell **cell; /* per record; NULL until it is known */
};

static size_t row_bytes(const struct score *s)
{
	return sizeof(struct digest) + (1 + s->nunit) * sizeof(struct scan_cell);
}

/* The first `rows` rows of each set: a row may be several records (windows of a document). */
static void choose_records(struct score *s, int64_t rows)
{
	uint64_t base = 0;
	s->end = arena_array(s->a, size_t, s->nset);
	for (size_t k = 0; k < s->nset; k++) {
		const struct token_table *t = s->set[k].t;
		int64_t seen = 0;
		for (uint64_t i = 0; i < t->nrecord; i++) {
			seen += t->record[i].part == 0;
			if (seen > rows)
				break;
			*arena_push(s->a, s->record, s->nrecord) = base + i;
		}
		s->end[k] = s->nrecord;
		base += t->nrecord;
	}
	s->cell = arena_array(s->a, struct scan_cell *, s->nrecord + 1);
}

static void write_memo(const struct score *s, struct strbuf *out)
{
	uint64_t known = 0, units = s->nunit;
	for (size_t i = 0; i < s->nrecord; i++)
		known += s->cell[i] != NULL;
	strbuf_add(out, "TRIMMEMO", 8);
	strbuf_add(out, &units, 8);
	strbuf_add(out, &known, 8);
	for (size_t i = 0; i < s->nrecord; i++) {
		if (!s->cell[i])
			continue;
		strbuf_add(out, &s->tokens.record[s->record[i]].digest, sizeof(struct digest));
		strbuf_add(out, s->cell[i], (1 + s->nunit) * sizeof(struct scan_cell));
	}
}

/* Takes what an earlier table knows; one that does not fit is ignored. */
static void read_memo(struct score *s, struct buf memo)
{
	uint64_t head[2];
	const char *p = memo.p;
	if (!p || memo.n < MEMO_HEADER || memcmp(p, "TRIMMEMO", 8))
		return;
	memcpy(head, p + 8, 16);
	if (head[0] != s->nunit || head[1] > memo.n / row_bytes(s) ||
		memo.n != MEMO_HEADER + head[1] * row_bytes(s))
		return;
	for (uint64_t k = 0; k < head[1]; k++) {
		const char *row = p + MEMO_HEADER + k * row_bytes(s);
		struct digest d;
		memcpy(&d, row, sizeof(d));
		for (size_t i = 0; i < s->nrecord; i++)
			if (!s->cell[i] && digest_equal(d, s->tokens.record[s->record[i]].digest))
				s->cell[i] = arena_copy(s->a, row + sizeof(d), row_bytes(s) - sizeof(d));
	}
}

static bool interlude(struct score *s, struct err *e)
{
	enum call_next next = call_next(s->call);
	bool ok = true;
	if (next == CALL_SAVE || next == CALL_SAVE_AND_STOP) {
		struct strbuf memo;
		strbuf_init(&memo);
		write_memo(s, &memo);
		uint64_t known = (memo.n - MEMO_HEADER) / row_bytes(s);
		struct buf part = strbuf_buf(&memo);
		ok = call_checkpoint_put(s->call, known, &part, 1, e);
		strbuf_release(&memo);
	}
	if (ok && (next == CALL_STOP || next == CALL_SAVE_AND_STOP))
		return err_set(e, ERR_CANCELLED, "interrupted while scoring");
	return ok;
}

static bool run_missing(struct score *s, struct err *e)
{
	struct scan scan;
	struct layered_options o = {.weights = {&s->state, rule_tensor, s->call},
		.numerics = s->numerics, .rows = SCAN_ROWS, .nthreads = call_threads(s->call)};
	uint64_t *todo = NULL;
	size_t *at = NULL, ntodo = 0, nat = 0;
	for (size_t i = 0; i < s->nrecord; i++)
		if (!s->cell[i]) {
			*arena_push(s->a, todo, ntodo) = s->record[i];
			*arena_push(s->a, at, nat) = i;
		}
	if (!ntodo)
		return true;
	bool ok = scan_open(&scan, &o, &s->tokens, s->unit, s->nunit, e);
	for (size_t i = 0, n; ok && i < ntodo; i += n) {
		n = scan_batch(&scan, &s->tokens, todo + i, ntodo - i);
		struct scan_cell **cell = arena_array(s->a, struct scan_cell *, n);
		for (size_t k = 0; k < n; k++)
			cell[k] = arena_array(s->a, struct scan_cell, 1 + s->nunit);
		scan_run(&scan, &s->tokens, todo + i, n, cell);
		for (size_t k = 0; k < n; k++)
			s->cell[at[i + k]] = cell[k];
		call_progress(s->call, &(struct progress){(double)(i + n), (double)ntodo, "records", NULL});
		ok = interlude(s, e);
	}
	scan_release(&scan);
	return ok;
}

struct sums {
	double nll, tokens, correct, norm2;
};

static struct sums sum_cells(const struct score *s, size_t first, size_t end, size_t at)
{
	struct sums sum = {0};
	for (size_t i = first; i < end; i++) {
		const struct scan_cell *c = &s->cell[i][at];
		sum.nll += c->nll;
		sum.tokens += c->tokens;
		sum.correct += c->correct;
		sum.norm2 += c->norm2;
	}
	return sum;
}

/* Of several sets with weights: the weighted mean of each set's nll per token. */
static double weighted_nll(const struct score *s, size_t at)
{
	double nll = 0, weight = 0;
	for (size_t k = 0; k < s->nset; k++) {
		struct sums sum = sum_cells(s, k ? s->end[k - 1] : 0, s->end[k], at);
		if (!(sum.tokens > 0))
			continue;
		nll += (double)s->set[k].weight * sum.nll / sum.tokens;
		weight += (double)s->set[k].weight;
	}
	return weight > 0 ? nll / weight : 0;
}

static bool add_up(const struct score *s, size_t at, double *accuracy, double *nll, double *norm,
	struct err *e)
{
	struct sums all = sum_cells(s, 0, s->nrecord, at);
	double sum = all.nll;
	*accuracy = s->nset == 1 ? all.correct / (double)s->nrecord : 0;
	*nll = all.tokens > 0 ? sum / all.tokens : 0;
	if (s->set[0].weight)
		*nll = weighted_nll(s, at);
	*norm = sqrt(all.norm2);
	if (!isfinite(sum) && at == 0)
		return err_set(e, ERR_NUMERIC, "the state's loss on calibration rows is not finite");
	if (!isfinite(sum))
		*nll = HUGE_VAL; /* a unit without which nothing works goes last */
	return true;
}

static bool write_scores(struct score *s, struct err *e)
{
	struct scores out = {.nunit = s->nunit, .by_accuracy = s->nset == 1};
	struct strbuf text, memo;
	double norm;
	for (size_t i = 0; i < s->nrecord; i++)
		out.by_accuracy = out.by_accuracy && s->tokens.record[s->record[i]].nanswer > 1;
	bool ok = add_up(s, 0, &out.base_accuracy, &out.base_nll, &norm, e);
	out.unit = arena_array(s->a, struct unit_score, s->nunit);
	for (size_t u = 0; u < s->nunit && ok; u++) {
		out.unit[u].unit = s->unit[u];
		ok = add_up(s, 1 + u, &out.unit[u].accuracy, &out.unit[u].nll, &out.unit[u].norm, e);
	}
	strbuf_init(&text);
	strbuf_init(&memo);
	scores_write(&text, &out);
	write_memo(s, &memo);
	ok = ok && call_output(s->call, 0, strbuf_buf(&text), e) &&
		call_output(s->call, 1, strbuf_buf(&memo), e);
	strbuf_release(&text);
	strbuf_release(&memo);
	return ok;
}

static bool run_score(struct rule_call *c, struct err *e)
{
	struct score s = {.call = c, .a = call_arena(c)};
	struct buf memo;
	uint64_t step;
	if (!rule_state(c, "state", &s.state, e) || !rule_numerics(c, &s.numerics, e) ||
		!call_token_sets(c, &s.set, &s.nset, &s.tokens, e))
		return false;
	s.unit = state_units(s.a, &s.state, &s.nunit);
	choose_records(&s, fields_int(call_params(c), "rows"));
	if (!s.nrecord)
		return err_set(e, ERR_SPEC, "there are no calibration rows to score on");
	char hex[DIGEST_HEX];
	digest_hex(call_input_digest(c, (size_t)call_find(c, "state")), hex);
	const char *name = arena_printf(s.a, "%s %s", hex, numerics_classes[s.numerics].name);
	struct buf seed_name = {name, strlen(name)};
	if (!call_seed_get(c, seed_name, &memo, e))
		return false;
	read_memo(&s, memo);
	if (!call_checkpoint_get(c, &step, &memo, e))
		return false;
	read_memo(&s, memo);
	if (!run_missing(&s, e) || !write_scores(&s, e))
		return false;
	call_seed_put(c, seed_name, 1);
	return true;
}

static const char *const outputs[] = {"scores", "memo", NULL};
const struct rule rule_score = {"score", 1, outputs, "compute", run_score, rule_numerics_tools};
