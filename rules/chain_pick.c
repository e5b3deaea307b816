/*
 * A target of several schedules takes the state of that schedule whose state has the lowest nll on validation rows, per
 * token over all datasets that have some. Each chain goes on until the target's keep; the states are measured in the
 * target's class when the last of them is known, and test rows are read for the chosen one alone.
 */
#include <string.h>

#include "chain_parts.h"
#include "json.h"
#include "plan_data.h"

bool chain_nominated(const struct chain *c, const struct plan_target *t)
{
	for (size_t i = 0; i < t->ncandidate; i++)
		if (t->candidate[i].chain == c)
			return true;
	return false;
}

/* Sums over the datasets of one candidate. */
static bool nll_of(struct arena *a, const struct buf *metrics, size_t n, double *out, struct err *e)
{
	double sum = 0, tokens = 0;
	for (size_t i = 0; i < n; i++) {
		struct json *m;
		if (!json_parse(a, metrics[i], "metrics", 1, &m, e))
			return false;
		const struct json *nll = json_get(m, "nll"), *count = json_get(m, "tokens");
		if (!nll || !count) /* no row of this one bears a loss */
			continue;
		sum += nll->number * count->number;
		tokens += count->number;
	}
	*out = sum / tokens;
	return tokens > 0 || err_set(e, ERR_SPEC, "no validation row bears a loss to choose a schedule by");
}

struct choice {
	struct plan *p;
	struct plan_target *t;
	size_t nset; /* measured of each candidate */
};

static bool picked(struct build *b, void *ctx, const struct buf *input, struct err *e)
{
	struct choice *all = ctx;
	struct plan_target *t = all->t;
	size_t best = 0;
	double least = 0;
	(void)b;
	for (size_t i = 0; i < t->ncandidate; i++) {
		double nll;
		if (!nll_of(all->p->arena, input + i * all->nset, all->nset, &nll, e))
			return false;
		if (!i || nll < least) {
			best = i;
			least = nll;
		}
	}
	const struct plan_candidate *c = &t->candidate[best];
	t->schedule = (int)(c->chain->spec - all->p->spec->schedule);
	t->stop = arena_printf(all->p->arena, "takes %s, of %zu schedules that with the lowest nll on validation rows, %.4f",
		c->state.name, t->ncandidate, least);
	chain_give(c->chain, t, c->state);
	return true;
}

static int place_of(const struct plan_target *t, const struct plan_candidate *c)
{
	int i = 0;
	while (&c->chain->p->spec->schedule[t->spec->schedule[i]] != c->chain->spec)
		i++;
	return i;
}

/* Chains end in any order: of equal states the one of the schedule that the target names first is taken. */
static void insert(struct plan_target *t, struct plan_candidate c)
{
	size_t i = t->ncandidate++;
	for (; i && place_of(t, &t->candidate[i - 1]) > place_of(t, &c); i--)
		t->candidate[i] = t->candidate[i - 1];
	t->candidate[i] = c;
}

void chain_nominate(struct chain *c, struct plan_target *t, struct found s)
{
	struct plan *p = c->p;
	struct inputs in = {0};
	if (!t->candidate)
		t->candidate = arena_array(p->arena, struct plan_candidate, (size_t)t->spec->nschedule);
	insert(t, (struct plan_candidate){c, s, NULL});
	if ((int)t->ncandidate < t->spec->nschedule)
		return;
	for (size_t i = 0; i < t->ncandidate; i++) {
		struct plan_candidate *one = &t->candidate[i];
		one->validate = arena_array(p->arena, struct action *, (size_t)p->spec->ndataset);
		for (int k = 0; k < p->spec->ndataset; k++) {
			if (!plan_data_asks(&p->data[k].d, SPLIT_VALIDATION))
				continue;
			one->validate[k] = chain_measure(one->chain, one->state, t, SPLIT_VALIDATION, k);
			plan_add_input(p, &in, input_output("metrics", one->validate[k], EVALUATE_METRICS));
		}
	}
	struct choice *all = arena_new(p->arena, struct choice);
	*all = (struct choice){p, t, in.n / t->ncandidate};
	build_generate(p->build, arena_printf(p->arena, "%s/pick", t->spec->name), in.input, in.n, picked, all);
}
