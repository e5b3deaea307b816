/*
 * Two choices that follow from scores: which units go next, and which blocks stay trainable.
 *
 * choose     inputs state, [scores]; parameters method (scan, random, last, given), count, unit (half,
 *            block), seed, tie-break, units -> unit names, one a line, the first to go first
 * trainable  inputs state, [scores]; parameters share, embeddings -> "embeddings" and block names
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rules.h"
#include "scores.h"

/* A candidate: one unit, or both halves of a block. Less is better, key by key. */
struct candidate {
	struct unit unit[2];
	size_t nunit, index;
	double key[4];
};

static int compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	for (size_t i = 0; i < NELEM(x->key); i++)
		if (x->key[i] != y->key[i])
			return x->key[i] < y->key[i] ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static const struct unit_score *score_of(const struct scores *s, struct unit u)
{
	for (size_t i = 0; i < s->nunit; i++)
		if (s->unit[i].unit.kind == u.kind && s->unit[i].unit.layer == u.layer)
			return &s->unit[i];
	return NULL;
}

/* The metric first, then the ties in the order of the spec. A block's keys are the sums of its halves'. */
static bool scan_keys(struct candidate *c, const struct scores *s, const char *ties, struct err *e)
{
	for (size_t i = 0; i < c->nunit; i++) {
		const struct unit_score *u = score_of(s, c->unit[i]);
		size_t key = 1;
		if (!u)
			return err_set(e, ERR_IO, "the scores lack a unit of the state");
		c->key[0] += s->by_accuracy ? -u->accuracy : u->nll;
		for (const char *p = ties; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
			if (!strncmp(p, "likelihood", 10))
				c->key[key++] += u->nll;
			else if (!strncmp(p, "activation-norm", 15))
				c->key[key++] -= u->norm;
		}
	}
	return true;
}

/* Where a list of units names the candidate (any half of a block); infinity: nowhere. */
static double given_place(const char *units, const struct candidate *c)
{
	double place = 0;
	for (const char *p = units + strspn(units, " "); *p; place++) {
		char name[32];
		size_t n = strcspn(p, " ");
		for (size_t k = 0; k < c->nunit; k++) {
			unit_name(c->unit[k], name);
			if (strlen(name) == n && !strncmp(p, name, n))
				return place;
		}
		p += n + strspn(p + n, " ");
	}
	return HUGE_VAL;
}

static double hashed(int64_t seed, const struct candidate *c)
{
	struct {
		int64_t seed, kind, layer;
	} in = {seed, c->nunit == 2 ? 2 : (int64_t)c->unit[0].kind, c->unit[0].layer};
	return (double)(digest_of(&in, sizeof(in)).hi >> 11);
}

static struct candidate *candidates(struct arena *a, const struct state *s, bool blocks, size_t *n)
{
	size_t nunit;
	struct unit *unit = state_units(a, s, &nunit);
	struct candidate *c = NULL;
	*n = 0;
	for (size_t i = 0; i < nunit; i++) {
		if (blocks && i && unit[i].layer == unit[i - 1].layer) {
			c[*n - 1].unit[c[*n - 1].nunit++] = unit[i];
			continue;
		}
		struct candidate one = {.unit = {unit[i]}, .nunit = 1, .index = i};
		*arena_push(a, c, *n) = one;
	}
	return c;
}

static bool optional_scores(struct rule_call *c, struct scores *out, bool *found, struct err *e)
{
	struct buf text;
	*found = call_find(c, "scores") >= 0;
	return !*found || (call_input_named(c, "scores", &text, e) &&
				  scores_read(call_arena(c), text, out, e));
}

static bool run_choose(struct rule_call *c, struct err *e)
{
	struct state s;
	struct scores scores;
	bool found;
	int64_t count = fields_int(call_params(c), "count"), seed = fields_int(call_params(c), "seed");
	size_t n;
	const char *method = call_param(c, "method"), *ties = call_param(c, "tie-break");
	if (!rule_state(c, "state", &s, e) || !optional_scores(c, &scores, &found, e))
		return false;
	struct candidate *all = candidates(call_arena(c), &s, !strcmp(call_param(c, "unit"), "block"), &n);
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(method, "random"))
			all[i].key[0] = hashed(seed, &all[i]);
		else if (!strcmp(method, "last"))
			all[i].key[0] = -(double)all[i].index;
		else if (!strcmp(method, "given"))
			all[i].key[0] = given_place(call_param(c, "units"), &all[i]);
		else if (!found)
			return err_set(e, ERR_SPEC, "method '%s' needs scores", method);
		else if (!scan_keys(&all[i], &scores, ties ? ties : "", e))
			return false;
	}
	if (n < (size_t)count)
		return err_set(e, ERR_SPEC, "%lld units shall go, but %zu are left", (long long)count, n);
	qsort(all, n, sizeof(*all), compare);
	if (!strcmp(method, "given") && count && all[count - 1].key[0] == HUGE_VAL)
		return err_set(e, ERR_SPEC, "units=\"%s\" names too few that are left: %lld shall go",
			call_param(c, "units"), (long long)count);
	struct strbuf out;
	strbuf_init(&out);
	for (int64_t i = 0; i < count; i++)
		for (size_t k = 0; k < all[i].nunit; k++) {
			char name[32];
			unit_name(all[i].unit[k], name);
			strbuf_addf(&out, "%s\n", name);
		}
	return rule_output(c, &out, e);
}

/* t(block) = what is left without its attention + what is left without its MLP: the blocks with the least
 * stay trainable, since their removal hurts most. Ties by likelihood, then the earlier block. */
static bool run_trainable(struct rule_call *c, struct err *e)
{
	struct state s;
	struct scores scores;
	bool found;
	size_t n;
	double share = fields_double(call_params(c), "share");
	const char *embeddings = call_param(c, "embeddings");
	if (!rule_state(c, "state", &s, e) || !optional_scores(c, &scores, &found, e))
		return false;
	struct candidate *all = candidates(call_arena(c), &s, true, &n);
	size_t count = (size_t)ceil(share * (double)s.config.layers - 1e-9);
	for (size_t i = 0; i < n; i++) {
		if (!found)
			continue;
		if (!scan_keys(&all[i], &scores, "likelihood", e))
			return false;
		for (size_t k = 0; k < NELEM(all[i].key); k++)
			all[i].key[k] = -all[i].key[k];
	}
	if (count < n && !found)
		return err_set(e, ERR_SPEC, "a share of the blocks can only be chosen by scores");
	qsort(all, n, sizeof(*all), compare);
	struct strbuf out;
	strbuf_init(&out);
	if (embeddings && !strcmp(embeddings, "1"))
		strbuf_adds(&out, "embeddings\n");
	for (size_t i = 0; i < n && i < count; i++)
		strbuf_addf(&out, "blk.%d\n", all[i].unit[0].layer);
	return rule_output(c, &out, e);
}

static const char *const chosen[] = {"units", NULL};
const struct rule rule_choose = {"choose", 1, chosen, NULL, run_choose, NULL};
static const char *const trainable[] = {"trainable", NULL};
const struct rule rule_trainable = {"trainable", 1, trainable, NULL, run_trainable, NULL};
