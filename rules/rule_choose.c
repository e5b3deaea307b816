/*
 * Two choices that follow from scores: which units go next, and which blocks stay trainable.
 *
 * choose     inputs state, scores (of this state, or of one that has lost units since), [import]; parameters count or
 *            bytes, [tie-break], [per] -> names of halves, one a line, the first to go first. bytes: as many go as together
 *            have that many in the import. per: "byte" ranks by what a unit's absence costs over its bytes in the import
 * trainable  inputs state, [scores]; parameters share, embeddings -> "embeddings" and block names
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "score_method.h"

/* What is ranked: less is better, key by key; then the earlier one. */
enum { MAX_KEYS = 4 };
struct ranked {
	struct candidate c;
	size_t index;
	double bytes; /* in the import, where that is an input */
	double key[MAX_KEYS];
};

static int compare(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	for (size_t i = 0; i < NELEM(x->key); i++)
		if (x->key[i] != y->key[i])
			return x->key[i] < y->key[i] ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

/* ---- keys ---- */

struct keys {
	int column[MAX_KEYS];
	double sign[MAX_KEYS];
	bool costs[MAX_KEYS]; /* a metric, of which the state itself has one too */
	int n;
};

static void add_key(struct keys *k, const struct scores *s, const char *column)
{
	bool most = *column == '-';
	int i = scores_column(s, column + most);
	if (i < 0 || k->n == MAX_KEYS)
		return;
	k->column[k->n] = i;
	k->costs[k->n] = strcmp(column + most, "norm") != 0;
	k->sign[k->n++] = most ? -1 : 1;
}

/* The method's, then the ties in the order of the spec. */
static bool find_keys(const struct scores *s, const char *ties, struct keys *out, struct err *e)
{
	const char *rank = score_method_rank(s);
	*out = (struct keys){0};
	if (!rank)
		return !s->nunit || err_set(e, ERR_IO, "nothing in the scores by '%s' ranks", s->method);
	add_key(out, s, rank);
	for (const char *p = ties; p && *p; p += strcspn(p, " "), p += strspn(p, " ")) {
		if (!strncmp(p, "likelihood", 10))
			add_key(out, s, "nll");
		else if (!strncmp(p, "activation-norm", 15))
			add_key(out, s, "-norm");
	}
	return true;
}

static void add_score(struct ranked *r, const struct keys *k, const struct unit_score *u)
{
	for (int i = 0; i < k->n; i++)
		r->key[i] += k->sign[i] * u->value[k->column[i]];
}

/* What its absence costs over its bytes. A score without a number of the state itself is a cost as it is. */
static void add_costs(struct ranked *r, const struct keys *k, const struct scores *s)
{
	const double *value = s->unit[r->index].value;
	for (int i = 0; i < k->n; i++) {
		double base = s->base[k->column[i]], cost = value[k->column[i]] - (isnan(base) ? 0 : base);
		r->key[i] += k->costs[i] ? k->sign[i] * cost / r->bytes : k->sign[i] * value[k->column[i]];
	}
}

/* ---- choose ---- */

/* The scored units that are still whole. */
static bool list_units(struct arena *a, const struct state *s, const struct scores *scores, struct ranked **out,
	size_t *n, struct err *e)
{
	*out = NULL;
	*n = 0;
	for (size_t i = 0; i < scores->nunit; i++) {
		struct ranked r = {.index = i};
		if (candidate_find(a, s, scores->unit[i].name, &r.c, e))
			*arena_push(a, *out, *n) = r;
		else if (!r.c.name)
			return false;
	}
	return true;
}

static double bytes_of(const struct state *s, const struct candidate *c)
{
	uint64_t bytes = 0;
	struct unit u;
	for (size_t i = 0; i < s->ntensor; i++)
		for (size_t k = 0; k < c->nhalf; k++)
			if (unit_of_tensor(s->tensor[i].name, &u) && u.layer == c->half[k].layer && u.kind == c->half[k].kind)
				bytes += s->tensor[i].bytes;
	return (double)bytes;
}

static bool weigh(struct rule_call *c, struct ranked *r, size_t n, struct err *e)
{
	struct state import;
	if (call_find(c, "import") < 0)
		return true;
	if (!rule_state(c, "import", &import, e))
		return false;
	for (size_t i = 0; i < n; i++)
		r[i].bytes = bytes_of(&import, &r[i].c);
	return true;
}

/* How many of the ranked go; more than there are: not enough. */
static size_t how_many(const struct rule_call *c, const struct ranked *r, size_t n)
{
	bool by_bytes = call_param(c, "bytes") != NULL;
	double want = (double)fields_int(call_params(c), by_bytes ? "bytes" : "count"), sum = 0;
	size_t taken = 0;
	for (; taken < n && sum < want; taken++)
		sum += by_bytes ? r[taken].bytes : (double)r[taken].c.nunit;
	return sum < want ? n + 1 : taken;
}

static bool run_choose(struct rule_call *c, struct err *e)
{
	struct state s;
	struct scores scores;
	struct keys keys;
	struct ranked *all;
	struct buf text;
	size_t n, taken;
	if (!rule_state(c, "state", &s, e) || !call_input_named(c, "scores", &text, e) ||
		!scores_read(call_arena(c), text, &scores, e) ||
		!find_keys(&scores, call_param(c, "tie-break"), &keys, e) ||
		!list_units(call_arena(c), &s, &scores, &all, &n, e) || !weigh(c, all, n, e))
		return false;
	for (size_t i = 0; i < n; i++)
		if (call_param(c, "per"))
			add_costs(&all[i], &keys, &scores);
		else
			add_score(&all[i], &keys, &scores.unit[all[i].index]);
	if (n)
		qsort(all, n, sizeof(*all), compare);
	taken = how_many(c, all, n);
	if (taken > n)
		return err_set(e, ERR_SPEC, call_param(c, "bytes")
			? "%s bytes shall go, but all that method '%s' ranked and that are left, %zu, have less"
			: "%s units shall go, but of those that method '%s' ranked %zu are left",
			call_param(c, call_param(c, "bytes") ? "bytes" : "count"), scores.method, n);
	struct strbuf out;
	strbuf_init(&out);
	for (size_t i = 0; i < taken; i++)
		for (size_t k = 0; k < all[i].c.nhalf; k++) {
			char name[32];
			unit_name(all[i].c.half[k], name);
			strbuf_addf(&out, "%s\n", name);
		}
	return rule_output(c, &out, e);
}

/* ---- trainable ---- */

/* t(block) = what is left without its attention + what is left without its MLP. */
static bool add_halves(struct ranked *r, const struct scores *s, struct err *e)
{
	struct keys keys;
	if (!find_keys(s, "likelihood", &keys, e))
		return false;
	for (size_t i = 0; i < r->c.nhalf; i++) {
		char name[32];
		unit_name(r->c.half[i], name);
		const struct unit_score *u = scores_find(s, name);
		if (!u)
			return err_set(e, ERR_IO, "the scores lack a unit of the state");
		add_score(r, &keys, u);
	}
	return true;
}

/* The blocks whose removal hurts most stay trainable. Ties by likelihood, then the earlier block. */
static bool run_trainable(struct rule_call *c, struct err *e)
{
	struct state s;
	struct scores scores;
	struct buf text;
	size_t n;
	bool found = call_find(c, "scores") >= 0;
	double share = fields_double(call_params(c), "share");
	const char *embeddings = call_param(c, "embeddings");
	if (!rule_state(c, "state", &s, e) || (found && (!call_input_named(c, "scores", &text, e) ||
							       !scores_read(call_arena(c), text, &scores, e))))
		return false;
	struct candidate *block = candidate_blocks(call_arena(c), &s, 1, &n);
	struct ranked *all = arena_array(call_arena(c), struct ranked, n);
	size_t count = (size_t)ceil(share * (double)s.config.layers - 1e-9);
	for (size_t i = 0; i < n; i++) {
		all[i] = (struct ranked){.c = block[i], .index = i};
		if (found && !add_halves(&all[i], &scores, e))
			return false;
		for (size_t k = 0; k < NELEM(all[i].key); k++)
			all[i].key[k] = -all[i].key[k];
	}
	if (count < n && !found)
		return err_set(e, ERR_SPEC, "a share of the blocks can only be chosen by scores");
	if (n)
		qsort(all, n, sizeof(*all), compare);
	struct strbuf out;
	strbuf_init(&out);
	if (embeddings && !strcmp(embeddings, "1"))
		strbuf_adds(&out, "embeddings\n");
	for (size_t i = 0; i < n && i < count; i++)
		strbuf_addf(&out, "blk.%d\n", all[i].c.half[0].layer);
	return rule_output(c, &out, e);
}

static const char *const chosen[] = {"units", NULL};
const struct rule rule_choose = {"choose", 2, chosen, NULL, run_choose, NULL, NULL};
static const char *const trainable[] = {"trainable", NULL};
const struct rule rule_trainable = {"trainable", 1, trainable, NULL, run_trainable, NULL, NULL};
