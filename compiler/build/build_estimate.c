/*
 * What actions will take, before they run: rules say how much memory and work (struct estimate), the journal or
 * the machine how long that is. An input that does not exist yet is asked for at the action that will make it.
 */
#include "build_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Less work than this is not worth a measurement of the machine, and shorter builds no word before they begin. */
static const double LEAST_WORK = 2e10, LONG_S = 60;

struct estimate_call {
	struct build *build;
	const struct action *action;
	struct arena *arena;
	struct mapped {
		struct map map;
		struct mapped *next;
	} **mapped; /* by all calls of one estimate */
};

const struct fields *estimate_params(const struct estimate_call *c)
{
	return &c->action->param;
}

struct arena *estimate_arena(const struct estimate_call *c)
{
	return c->arena;
}

int estimate_threads(const struct estimate_call *c)
{
	return c->action->rule->pool && !strcmp(c->action->rule->pool, "compute") ? c->build->o.jobs : 1;
}

size_t estimate_ninput(const struct estimate_call *c)
{
	return c->action->ninput;
}

const char *estimate_input_name(const struct estimate_call *c, size_t i)
{
	return c->action->input[i].name;
}

int estimate_find(const struct estimate_call *c, const char *name)
{
	for (size_t i = 0; i < c->action->ninput; i++)
		if (!strcmp(c->action->input[i].name, name))
			return (int)i;
	return -1;
}

const struct rule *estimate_rule(const struct estimate_call *c)
{
	return c->action->rule;
}

bool estimate_input(const struct estimate_call *c, size_t i, struct buf *out)
{
	const struct edge *edge = &c->action->input[i];
	if (edge->kind == INPUT_BYTES) {
		*out = edge->bytes;
		return true;
	}
	if (edge->kind != INPUT_OUTPUT || !edge->action->known)
		return false;
	struct map map;
	if (store_get(c->build->o.store, edge->action->output[edge->output].digest, &map, NULL) != STORE_OK)
		return false;
	struct mapped *m = arena_new(c->arena, struct mapped);
	*m = (struct mapped){map, *c->mapped};
	*c->mapped = m;
	*out = (struct buf){map.p, map.n};
	return true;
}

const struct estimate_call *estimate_maker(const struct estimate_call *c, size_t i)
{
	const struct edge *edge = &c->action->input[i];
	if (edge->kind != INPUT_OUTPUT || edge->action->kind != ACTION_RULE)
		return NULL;
	struct estimate_call *of = arena_new(c->arena, struct estimate_call);
	*of = *c;
	of->action = edge->action;
	return of;
}

void estimate_make(struct digest_map *made, struct estimate *e)
{
	if (e->fixed_seconds <= 0 || digest_equal(e->fixed, (struct digest){0}))
		return;
	uint64_t *seen = digest_map_put(made, e->fixed);
	if (*seen)
		e->fixed_seconds = 0;
	*seen = 1;
}

double estimate_rest(double seconds, double fixed)
{
	static const double least_share = 0.1;
	return seconds - fixed > least_share * seconds ? seconds - fixed : least_share * seconds;
}

struct estimate estimate_of(struct build *b, struct action *a)
{
	struct arena arena = {0};
	struct mapped *mapped = NULL;
	struct estimate e = {0};
	const struct estimate_call c = {b, a, &arena, &mapped};
	if (a->kind != ACTION_RULE || !a->rule->estimate || !a->rule->estimate(&c, &e))
		e = (struct estimate){0};
	uint64_t has = e.base_bytes ? memory_resident() : 0;
	if (has > e.base_bytes)
		e.memory_bytes += has - e.base_bytes;
	for (; mapped; mapped = mapped->next)
		store_unmap(b->o.store, &mapped->map);
	arena_release(&arena);
	return e;
}

double estimate_seconds(struct build *b, const struct action *a, const struct estimate *e)
{
	if (e->work <= 0)
		return 0;
	double rate = b->journal ? journal_rate(b->journal, a->rule->name, e->kind ? e->kind : "") : 0;
	if (rate <= 0 && b->o.rate && e->work >= LEAST_WORK)
		rate = b->o.rate(b->o.rate_ctx, e->kind ? e->kind : "", b->o.jobs);
	return rate > 0 ? e->fixed_seconds + e->work / rate : 0;
}

/* ---- for people ---- */

void add_bytes(struct strbuf *out, uint64_t bytes)
{
	if (bytes >= 1000000000)
		strbuf_addf(out, "%.1f GB", (double)bytes / 1e9);
	else
		strbuf_addf(out, "%.0f MB", (double)bytes / 1e6);
}

void add_device_bytes(struct strbuf *out, uint64_t bytes)
{
	if (!bytes)
		return;
	strbuf_adds(out, " and ");
	add_bytes(out, bytes);
	strbuf_adds(out, " of the GPU's");
}

void add_duration(struct strbuf *out, double seconds)
{
	if (seconds < 90)
		strbuf_addf(out, "%.0f s", seconds);
	else if (seconds < 90 * 60)
		strbuf_addf(out, "%.0f min", seconds / 60);
	else
		strbuf_addf(out, "%.1f h", seconds / 3600);
}

static void add_need(struct strbuf *out, uint64_t need, const char *of, uint64_t there)
{
	strbuf_adds(out, "needs about ");
	add_bytes(out, need);
	strbuf_addf(out, " of %s, ", of);
	add_bytes(out, there);
	strbuf_adds(out, " are there");
}

bool estimate_too_large(const struct build *b, const struct estimate *e, struct strbuf *out)
{
	uint64_t there = memory_available(), has = memory_resident();
	uint64_t device = e->device_bytes && b->o.device_memory ? b->o.device_memory(b->o.rate_ctx) : 0;
	bool host_is_small = there && e->memory_bytes > there + has, device_is_small = device && e->device_bytes > device;
	if (!host_is_small && !device_is_small)
		return false;
	if (host_is_small)
		add_need(out, e->memory_bytes, "memory", there + has);
	else
		add_need(out, e->device_bytes, "the GPU's memory", device);
	if (e->lower)
		strbuf_addf(out, "; %s lowers it", e->lower);
	return true;
}

/* ---- before long work begins ---- */

static bool is_ahead(const struct action *a)
{
	return a->kind == ACTION_RULE && a->rule->estimate && !a->known &&
		(a->state == STATE_WAIT || a->state == STATE_NEED || a->state == STATE_READY);
}

/* False: it was looked at before. */
static bool look_ahead(struct build *b, struct action *a)
{
	if (a->looked_at)
		return false;
	a->looked_at = true;
	a->estimate = estimate_of(b, a);
	estimate_make(&b->ahead, &a->estimate);
	a->expected_s = estimate_seconds(b, a, &a->estimate);
	strbuf_clear(&b->scratch);
	if (estimate_too_large(b, &a->estimate, &b->scratch))
		build_emit(b, EVENT_WARN, a, b->scratch.s);
	return true;
}

double estimate_foreseen(struct build *b, const struct action *a)
{
	double sum = 0;
	for (size_t i = 0; i < a->nforeseen; i++) {
		struct action *like = a->foreseen[i].like;
		struct estimate e = like->estimate;
		double seconds = (double)like->wall_ns / 1e9;
		if (!a->foreseen[i].times)
			continue;
		if (!seconds) {
			e = estimate_of(b, like);
			seconds = estimate_seconds(b, like, &e);
		}
		if (!seconds)
			return 0;
		/* What it made once is there for those that are like it. */
		sum += a->foreseen[i].times * estimate_rest(seconds, e.fixed_seconds);
	}
	return sum;
}

/* Once: what is planned so far, and what is foreseen of the rest. */
static void say_ahead(struct build *b)
{
	double seconds = 0;
	uint64_t most = 0, device = 0;
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (is_ahead(a)) {
			seconds += a->expected_s;
			most = a->estimate.memory_bytes > most ? a->estimate.memory_bytes : most;
			device = a->estimate.device_bytes > device ? a->estimate.device_bytes : device;
		} else if (a->kind == ACTION_GENERATE && a->state == STATE_WAIT) {
			seconds += estimate_foreseen(b, a);
		}
	}
	if (seconds < LONG_S)
		return;
	b->expected = true;
	strbuf_clear(&b->scratch);
	strbuf_adds(&b->scratch, "about ");
	add_duration(&b->scratch, seconds);
	strbuf_adds(&b->scratch, " ahead, with up to ");
	add_bytes(&b->scratch, most);
	strbuf_adds(&b->scratch, " of memory");
	add_device_bytes(&b->scratch, device);
	build_emit(b, EVENT_EXPECT, NULL, b->scratch.s);
}

void estimate_before(struct build *b, struct action *a)
{
	bool more = false;
	if (!a->rule->estimate)
		return;
	/* The machine may have to be measured for it. */
	for (size_t i = 0; i < b->naction && !b->nrunning; i++)
		if (is_ahead(b->action[i]))
			more = look_ahead(b, b->action[i]) || more;
	if (more && !b->expected)
		say_ahead(b);
	/* Its inputs are all here by now. */
	a->estimate = estimate_of(b, a);
	estimate_make(&b->made, &a->estimate);
	a->expected_s = estimate_seconds(b, a, &a->estimate);
}
