#include "early.h"

#include <math.h>

bool early_read(struct early *s, struct rule_call *c, struct err *e)
{
	struct mix_set *set;
	struct token_table joined;
	*s = (struct early){.looked = -1};
	if (!call_param(c, "patience"))
		return true;
	s->patience = fields_int(call_params(c), "patience");
	if (call_param(c, "validate-every"))
		s->every = fields_int(call_params(c), "validate-every");
	if (!call_token_sets(c, "validation", &set, &s->nset, &joined, e))
		return false;
	s->set = arena_array(call_arena(c), struct early_set, s->nset);
	for (size_t i = 0; i < s->nset; i++)
		s->set[i] = (struct early_set){.t = set[i].t, .share = (double)set[i].weight};
	s->longest = token_table_longest(&joined);
	return true;
}

static bool pack_set(struct early_set *set, struct arena *a, int64_t rows, struct err *e)
{
	uint32_t *record = NULL;
	size_t n = 0;
	for (uint64_t i = 0; i < set->t->nrecord; i++)
		if (set->t->record[i].gold >= 0)
			*arena_push(a, record, n) = (uint32_t)i;
	if (!pack_rows(a, set->t, record, n, (uint32_t)rows, &set->batch, &set->nbatch, e))
		return false;
	for (size_t i = 0; i < set->nbatch; i++)
		set->tokens += set->batch[i].weight_sum;
	return true;
}

bool early_pack(struct early *s, struct rule_call *c, int64_t rows, int64_t nsteps, struct err *e)
{
	double all = 0;
	s->nsteps = nsteps;
	if (!s->every)
		s->every = (nsteps + 9) / 10;
	for (size_t i = 0; i < s->nset; i++) {
		struct early_set *set = &s->set[i];
		if (!pack_set(set, call_arena(c), rows, e))
			return false;
		set->share = !set->tokens ? 0 : set->share > 0 ? set->share : set->tokens;
		all += set->share;
	}
	for (size_t i = 0; i < s->nset; i++)
		s->set[i].share /= all;
	return !s->patience || all > 0 || err_set(e, ERR_SPEC, "patience: no validation row has an answer to look at");
}

bool early_due(const struct early *s, int64_t step)
{
	return s->patience && s->looked != step && (step % s->every == 0 || step == s->nsteps);
}

bool early_stops(const struct early *s)
{
	return s->patience && s->bad >= s->patience;
}

bool early_look(struct early *s, const struct early_look *l, double *loss, struct err *e)
{
	*loss = 0;
	for (size_t i = 0; i < s->nset; i++) {
		const struct early_set *set = &s->set[i];
		double own = 0;
		for (size_t k = 0; k < set->nbatch; k++) {
			if (!l->between(l->ctx, e))
				return false;
			trainer_look(l->trainer, &set->batch[k], set->tokens, &own);
		}
		*loss += set->tokens > 0 ? set->share * own : 0;
	}
	if (!trainer_ok(l->trainer, e))
		return false;
	if (!isfinite(*loss))
		return err_set(e, ERR_NUMERIC,
			"loss %g on validation rows behind step %lld of %lld: the state before stays; a smaller learning rate may "
			"help", *loss, (long long)l->step, (long long)s->nsteps);
	bool first = s->looked < 0;
	s->looked = l->step;
	s->bad++;
	if (!first && !(*loss < s->lowest))
		return true;
	s->lowest = *loss;
	s->best = l->step;
	s->bad = 0;
	trainer_keep(l->trainer);
	return true;
}
