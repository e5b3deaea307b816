/*
 * Tunes a state on token rows: AdamW over generated gradients, warm-up and decay over this call alone, so
 * nothing depends on how long the chain will be. What the steps see is fixed by the seed and the sets' rows
 * (data_mix.h); a step does not reach into the next epoch. With `patience` it may end before its last step, and gives
 * the state of its best look at validation rows (early.h).
 *
 * inputs state, rows..., trainable, [parent], [validation...]; parameters numerics, steps or epochs, batch, seed, micro,
 * rate, warm-up, weight-decay, clip, decay, [weights], [rank, alpha], [distill, temperature], [patience,
 * validate-every, validation.weights] -> state, log
 *
 * The log has a line "STEP LOSS NORM" for each step; with patience also "look STEP LOSS" for each look, the last line
 * being "kept STEP of STEP of STEPS": the best look's, of those that were made, of those that might have been.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "early.h"
#include "eval.h"
#include "rate.h"
#include "rules.h"
#include "trainable.h"
#include "trainer.h"

/* A step whose loss is this much above the mean of the first steps, in nats, is a divergence. */
#define SPIKE_NATS 4.0
enum { SPIKE_STEPS = 8, MANY_PASSES = 4 };

struct tune {
	struct rule_call *call;
	struct arena *a;
	struct state state;
	struct token_table rows; /* of all sets */
	struct mix_set *set;
	size_t nset;
	enum numerics numerics;
	int64_t epochs, batch, seed, micro; /* epochs: of rows; unused where the spec counts steps */
	double weight_decay, clip;
	struct rate rate;
	struct train_lora lora;       /* rank 0: none */
	struct train_distill distill; /* parent NULL: none */
	struct state parent;
	struct early early;
	const char *trainable;  /* text: names of blocks ("blk.3") and "embeddings" */
	struct trainer *trainer;
	int64_t step;           /* done; of rate.nsteps */
	double first_sum;       /* of the first SPIKE_STEPS losses */
	struct strbuf log;
};

static bool trains(void *ctx, const char *name)
{
	const struct tune *t = ctx;
	return trainable_has(t->trainable, name);
}

static bool read_params(struct tune *t, struct err *e)
{
	const struct rule_call *c = t->call;
	const struct fields *param = call_params(c);
	struct buf list;
	t->rate.decay = call_param(c, "decay");
	if (!call_input_named(t->call, "trainable", &list, e))
		return false;
	t->trainable = arena_strndup(t->a, list.p, list.n);
	if (call_param(c, "steps"))
		t->rate.nsteps = fields_int(param, "steps");
	else
		t->epochs = fields_int(param, "epochs");
	t->batch = fields_int(param, "batch");
	t->seed = fields_int(param, "seed");
	t->micro = fields_int(param, "micro");
	t->rate.peak = fields_double(param, "rate");
	t->rate.warm_up = fields_double(param, "warm-up");
	t->weight_decay = fields_double(param, "weight-decay");
	t->clip = fields_double(param, "clip");
	if (call_param(c, "rank"))
		t->lora = (struct train_lora){fields_int(param, "rank"), fields_double(param, "alpha"),
			(uint64_t)t->seed};
	if (call_param(c, "distill")) {
		t->distill = (struct train_distill){&t->parent, fields_double(param, "distill"),
			fields_double(param, "temperature")};
		if (!rule_state(t->call, "parent", &t->parent, e))
			return false;
	}
	return rule_numerics(c, &t->numerics, e);
}

static void name_row(const struct tune *t, uint32_t record, char out[64])
{
	char hex[DIGEST_HEX];
	digest_hex(t->rows.record[record].row, hex);
	snprintf(out, 64, "row %.12s", hex);
}

/* The last good state is the one this call began with: it stays where it is. */
static bool check_numbers(const struct tune *t, double loss, double norm, const uint32_t *record,
	struct err *e)
{
	char row[64];
	name_row(t, record[0], row);
	if (!isfinite(loss) || !isfinite(norm))
		return err_set(e, ERR_NUMERIC,
			"loss %g and gradient norm %g at step %lld of %lld, which begins with %s: the state before "
			"stays; a smaller learning rate may help", loss, norm, (long long)t->step + 1,
			(long long)t->rate.nsteps, row);
	double usual = t->first_sum / SPIKE_STEPS;
	if (t->step >= SPIKE_STEPS && loss > usual + SPIKE_NATS)
		return err_set(e, ERR_NUMERIC,
			"loss %g at step %lld of %lld, which begins with %s, after %g at the start: it diverges; "
			"the state before stays; a smaller learning rate may help", loss,
			(long long)t->step + 1, (long long)t->rate.nsteps, row, usual);
	return true;
}

static bool run_step(struct tune *t, const uint32_t *record, size_t n, struct err *e)
{
	struct arena scratch = {0};
	struct pack_batch *batch;
	size_t nbatch;
	double weight = 0, loss = 0;
	bool ok = pack_rows(&scratch, &t->rows, record, n, (uint32_t)t->micro, &batch, &nbatch, e);
	for (size_t i = 0; ok && i < nbatch; i++)
		weight += batch[i].weight_sum;
	for (size_t i = 0; ok && weight > 0 && i < nbatch; i++)
		trainer_add(t->trainer, &batch[i], weight, &loss);
	arena_release(&scratch);
	if (!ok)
		return false;
	double norm = trainer_update(t->trainer, t->step + 1, rate_at(&t->rate, t->step), t->clip);
	if (!trainer_ok(t->trainer, e) || !check_numbers(t, loss, norm, record, e))
		return false;
	if (t->step < SPIKE_STEPS)
		t->first_sum += loss;
	t->step++;
	strbuf_addf(&t->log, "%lld %.6g %.6g\n", (long long)t->step, loss, norm);
	char text[64];
	snprintf(text, sizeof(text), "loss %.4f", loss);
	call_progress(t->call, &(struct progress){(double)t->step, (double)t->rate.nsteps, "steps", text});
	return true;
}

/* ---- checkpoints: a head, the log, then the trainer's parts ---- */

struct head {
	uint64_t log_bytes;
	double first_sum, lowest;
	int64_t looked, best, bad;
};

static bool save(struct tune *t, struct err *e)
{
	struct arena scratch = {0};
	struct buf *part, *all;
	size_t npart;
	struct head head = {t->log.n, t->first_sum, t->early.lowest, t->early.looked, t->early.best, t->early.bad};
	trainer_parts(t->trainer, &scratch, &part, &npart);
	all = arena_array(&scratch, struct buf, npart + 2);
	all[0] = (struct buf){&head, sizeof(head)};
	all[1] = strbuf_buf(&t->log);
	memcpy(all + 2, part, npart * sizeof(*part));
	bool ok = call_checkpoint_put(t->call, (uint64_t)t->step, all, npart + 2, e);
	arena_release(&scratch);
	return ok;
}

static bool resume(struct tune *t, struct err *e)
{
	uint64_t step;
	struct buf payload;
	struct head head;
	if (!call_checkpoint_get(t->call, &step, &payload, e))
		return false;
	if (!payload.p || payload.n < sizeof(head))
		return true;
	memcpy(&head, payload.p, sizeof(head));
	const char *log = (const char *)payload.p + sizeof(head);
	size_t left = payload.n - sizeof(head);
	if (head.log_bytes > left ||
		!trainer_restore(t->trainer, (struct buf){log + head.log_bytes, left - head.log_bytes}))
		return true; /* of another version: begin again */
	t->first_sum = head.first_sum;
	t->early.lowest = head.lowest;
	t->early.looked = head.looked;
	t->early.best = head.best;
	t->early.bad = head.bad;
	strbuf_add(&t->log, log, head.log_bytes);
	t->step = (int64_t)step;
	return true;
}

static bool interlude(void *ctx, struct err *e)
{
	struct tune *t = ctx;
	enum call_next next = call_next(t->call);
	if ((next == CALL_SAVE || next == CALL_SAVE_AND_STOP) && !save(t, e))
		return false;
	if (next == CALL_STOP || next == CALL_SAVE_AND_STOP)
		return err_set(e, ERR_CANCELLED, "interrupted at step %lld of %lld", (long long)t->step,
			(long long)t->rate.nsteps);
	return true;
}

static bool look(struct tune *t, struct err *e)
{
	double loss;
	char text[96];
	if (!early_due(&t->early, t->step))
		return true;
	if (!early_look(&t->early, &(struct early_look){t->trainer, t->step, interlude, t}, &loss, e))
		return false;
	strbuf_addf(&t->log, "look %lld %.6g\n", (long long)t->step, loss);
	snprintf(text, sizeof(text), "validation %.4f, least %.4f at step %lld", loss, t->early.lowest,
		(long long)t->early.best);
	call_progress(t->call, &(struct progress){(double)t->step, (double)t->rate.nsteps, "steps", text});
	return true;
}

static bool run_steps(struct tune *t, struct err *e)
{
	int64_t at = 0;
	bool ok = look(t, e);
	struct mix mix;
	mix_init(t->a, &mix, t->set, t->nset, (uint64_t)t->seed);
	while (ok && at < t->rate.nsteps && !early_stops(&t->early)) {
		struct arena scratch = {0};
		size_t n;
		uint32_t *order = mix_epoch(&scratch, &mix, &n);
		for (size_t i = 0; ok && i < n && at < t->rate.nsteps; i += (size_t)t->batch, at++) {
			size_t left = n - i, take = left < (size_t)t->batch ? left : (size_t)t->batch;
			if (at < t->step)
				continue; /* done before the interrupt */
			if (early_stops(&t->early))
				break;
			ok = run_step(t, order + i, take, e) && look(t, e) && interlude(t, e);
		}
		arena_release(&scratch);
	}
	mix_release(&mix);
	return ok;
}

/* Sets whose rows bear few tokens, like answers of a word, may need to come again and again for their weight. */
static void warn_repeats(const struct tune *t, const struct mix *mix)
{
	for (size_t i = 0; i < t->nset; i++) {
		double passes = mix_passes(mix, i);
		if (passes >= MANY_PASSES)
			call_warn(t->call, "each row of train set %zu of %zu comes %.0f times an epoch: its weight is %.1f%% of "
				"the tokens that bear a loss, its rows have %.2g%% of them", i + 1, t->nset, passes,
				100 * (double)mix->part[i].weight / (double)mix->weight,
				100 * (double)mix->part[i].tokens / (double)mix->epoch_tokens);
	}
}

/* Steps of the epochs, or those that the spec counts; 0: no row trains. */
static int64_t count_steps(const struct tune *t)
{
	int64_t steps = t->rate.nsteps;
	struct mix mix;
	mix_init(t->a, &mix, t->set, t->nset, (uint64_t)t->seed);
	warn_repeats(t, &mix);
	for (int64_t i = 0; i < t->epochs && mix.epoch_tokens; i++) {
		struct arena scratch = {0};
		size_t n;
		mix_epoch(&scratch, &mix, &n);
		steps += ((int64_t)n + t->batch - 1) / t->batch;
		arena_release(&scratch);
	}
	steps = mix.epoch_tokens ? steps : 0;
	mix_release(&mix);
	return steps;
}

/* Behind the last step: the best look's state. Returns the steps that it has behind it. */
static int64_t take_best(struct tune *t)
{
	if (!t->early.patience || !t->trainer)
		return t->step;
	trainer_return(t->trainer);
	strbuf_addf(&t->log, "kept %lld of %lld of %lld\n", (long long)t->early.best, (long long)t->step,
		(long long)t->rate.nsteps);
	return t->early.best;
}

static bool write_state(struct tune *t, struct err *e)
{
	struct strbuf bytes;
	bool ok = true;
	int64_t steps = take_best(t);
	strbuf_init(&bytes);
	if (steps)
		trainer_end(t->trainer);
	struct state out = t->state;
	out.tensor = arena_copy(t->a, t->state.tensor, t->state.ntensor * sizeof(*out.tensor));
	for (size_t i = 0; i < out.ntensor && ok; i++) {
		struct state_tensor *s = &out.tensor[i];
		if (!steps || !trainer_changes(t->trainer, s->name)) {
			call_ref(t->call, s->digest, s->bytes);
			continue;
		}
		strbuf_clear(&bytes);
		trainer_weight(t->trainer, s->name, &bytes);
		s->dtype = MODEL_F32;
		s->bytes = bytes.n;
		ok = trainer_ok(t->trainer, e) && call_put(t->call, strbuf_buf(&bytes), &s->digest, e);
	}
	ok = ok && rule_output_state(t->call, &out, e) &&
		call_output(t->call, TUNE_LOG, strbuf_buf(&t->log), e);
	strbuf_release(&bytes);
	return ok;
}

/* Every block that trains may be gone by now. */
static bool anything_trains(struct tune *t)
{
	for (size_t i = 0; i < t->state.ntensor; i++)
		if (trains(t, t->state.tensor[i].name))
			return true;
	return false;
}

static bool open_trainer(struct tune *t, struct err *e)
{
	uint32_t longest = token_table_longest(&t->rows);
	if (longest < t->early.longest)
		longest = t->early.longest;
	if (t->micro < longest)
		t->micro = longest;
	if (!early_pack(&t->early, t->call, t->micro, t->rate.nsteps, e))
		return false;
	struct trainer_options o = {.weights = {&t->state, rule_tensor, t->call}, .trains = trains, .ctx = t,
		.numerics = t->numerics, .rows = t->micro, .device = rule_device(call_params(t->call)), .nthreads = call_threads(t->call), .beta1 = 0.9,
		.beta2 = 0.999, .eps = 1e-8, .decay = t->weight_decay, .lora = t->lora.rank ? &t->lora : NULL,
		.distill = t->distill.parent ? &t->distill : NULL, .looks = t->early.patience > 0};
	return trainer_open(&t->trainer, &o, e);
}

static bool run_tune(struct rule_call *c, struct err *e)
{
	struct tune t = {.call = c, .a = call_arena(c)};
	strbuf_init(&t.log);
	bool ok = read_params(&t, e) && rule_state(c, "state", &t.state, e) &&
		call_token_sets(c, "rows", &t.set, &t.nset, &t.rows, e) && early_read(&t.early, c, e);
	if (ok) {
		t.rate.nsteps = anything_trains(&t) ? count_steps(&t) : 0;
		if (t.rate.nsteps)
			ok = open_trainer(&t, e) && resume(&t, e) && run_steps(&t, e);
	}
	ok = ok && write_state(&t, e);
	trainer_free(t.trainer);
	strbuf_release(&t.log);
	return ok;
}

static const char *const outputs[] = {"state", "log", NULL};
const struct rule rule_tune = {"tune", 4, outputs, "compute", run_tune, rule_numerics_tools, tune_estimate};
