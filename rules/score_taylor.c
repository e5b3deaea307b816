/*
 * The sum of |w * d loss / d w| over a unit's matrices, the loss being the mean over the answers' tokens of all
 * calibration rows; least goes. (Shortened LLaMA, "Taylor": Kim et al. 2024.)
 *
 * |.| is taken of the whole gradient, so this is no sum over rows: another row measures all of them again.
 */
#include <math.h>
#include <string.h>

#include "importance.h"
#include "score_method.h"
#include "trainer.h"

struct taylor {
	struct score *s;
	struct trainer *trainer;
	struct pack_batch *batch;
	size_t nbatch, done;
	double weight, loss; /* the loss of what is done, as a part of the mean of all */
};

static bool pack(struct taylor *t, struct err *e)
{
	struct score *s = t->s;
	uint32_t *record = NULL;
	size_t n = 0;
	for (size_t i = 0; i < s->nrecord; i++)
		if (s->tokens.record[s->record[i]].gold >= 0)
			*arena_push(s->a, record, n) = (uint32_t)s->record[i];
	if (!pack_rows(s->a, &s->tokens, record, n, (uint32_t)s->batch_rows, &t->batch, &t->nbatch, e))
		return false;
	for (size_t i = 0; i < t->nbatch; i++)
		t->weight += t->batch[i].weight_sum;
	return t->weight > 0 || err_set(e, ERR_SPEC, "no calibration row has an answer to take a gradient from");
}

/* ---- checkpoints: the loss, then the gradients ---- */

static bool save(struct taylor *t, struct err *e)
{
	struct arena a = {0};
	struct buf *part, *all;
	size_t npart;
	trainer_parts(t->trainer, &a, &part, &npart);
	all = arena_array(&a, struct buf, npart + 1);
	all[0] = (struct buf){&t->loss, sizeof(t->loss)};
	memcpy(all + 1, part, npart * sizeof(*part));
	bool ok = call_checkpoint_put(t->s->call, t->done, all, npart + 1, e);
	arena_release(&a);
	return ok;
}

static bool resume(struct taylor *t, struct err *e)
{
	uint64_t step;
	struct buf payload;
	if (!call_checkpoint_get(t->s->call, &step, &payload, e))
		return false;
	if (!payload.p || payload.n < sizeof(t->loss) || step > t->nbatch ||
		!trainer_restore(t->trainer,
			(struct buf){(const char *)payload.p + sizeof(t->loss), payload.n - sizeof(t->loss)}))
		return true; /* there is none that fits: begin */
	memcpy(&t->loss, payload.p, sizeof(t->loss));
	t->done = step;
	return true;
}

static bool interlude(struct taylor *t, struct err *e)
{
	call_progress(t->s->call, &(struct progress){(double)t->done, (double)t->nbatch, "batches", NULL});
	enum call_next next = call_next(t->s->call);
	if ((next == CALL_SAVE || next == CALL_SAVE_AND_STOP) && !save(t, e))
		return false;
	if (next == CALL_STOP || next == CALL_SAVE_AND_STOP)
		return err_set(e, ERR_CANCELLED, "interrupted while scoring");
	return true;
}

/* ---- the numbers ---- */

static bool gradients(struct taylor *t, struct err *e)
{
	bool ok = !t->s->call || resume(t, e);
	while (ok && t->done < t->nbatch) {
		trainer_add(t->trainer, &t->batch[t->done++], t->weight, &t->loss);
		ok = trainer_ok(t->trainer, e) && (!t->s->call || interlude(t, e));
	}
	return ok && (isfinite(t->loss) ||
			     err_set(e, ERR_NUMERIC, "the state's loss on calibration rows is not finite"));
}

static void write_values(struct taylor *t, struct scores *out)
{
	char name[32];
	trainer_finish(t->trainer);
	out->base[0] = NAN;
	out->base[1] = t->loss;
	for (size_t i = 0; i < t->s->n; i++) {
		const struct candidate *c = &t->s->candidate[i];
		double sum = 0;
		for (size_t k = 0; k < c->nhalf; k++) {
			unit_name(c->half[k], name);
			sum += (double)trainer_output(t->trainer, name);
		}
		out->unit[i].value[0] = isfinite(sum) ? sum : HUGE_VAL;
	}
}

static struct trainer_options options_of(const struct score *s)
{
	int64_t longest = token_table_longest(&s->tokens);
	return (struct trainer_options){.weights = s->weights, .trains = importance_trains, .numerics = s->numerics,
		.rows = s->batch_rows < longest ? longest : s->batch_rows, .device = s->device, .nthreads = s->nthreads,
		.behind = importance_taylor};
}

/* Records follow each other in micro-batches; what does not fit into one leaves some of it unused. */
static void foretell(const struct score *s, struct score_needs *out)
{
	const struct trainer_options o = options_of(s);
	struct trainer_load load = {0};
	struct trainer_needs needs;
	double left = 0, batches = 0;
	for (size_t i = 0; i < s->nrecord; i++) {
		struct token_row r = token_table_row(&s->tokens, s->record[i]);
		if (r.gold < 0)
			continue;
		double rows = (double)token_row_length(&r, (uint32_t)r.gold) - 1;
		batches += rows > left;
		left = rows > left ? (double)o.rows - rows : left - rows;
		load.rows += rows;
		load.outs += r.answer_tokens[r.gold];
		load.attended += rows * (rows + 1) / 2;
	}
	load.attended /= load.rows > 0 ? load.rows : 1;
	load.rows /= batches > 0 ? batches : 1;
	load.outs /= batches > 0 ? batches : 1;
	trainer_foretell(&o, &load, &needs);
	*out = (struct score_needs){needs.memory_bytes, batches > 0 ? batches * needs.add + needs.update : 0, needs.nfunction};
}

static bool measure(struct score *s, struct scores *out, struct err *e)
{
	struct taylor t = {.s = s};
	struct trainer_options o = options_of(s);
	s->batch_rows = o.rows;
	bool ok = pack(&t, e) && trainer_open(&t.trainer, &o, e) && gradients(&t, e);
	if (ok)
		write_values(&t, out);
	ok = ok && trainer_ok(t.trainer, e);
	trainer_free(t.trainer);
	return ok;
}

const struct score_method score_taylor = {.column = {"taylor", "nll"}, .rank = {"taylor"}, .measure = measure,
	.foretell = foretell};
