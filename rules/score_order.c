/*
 * Orders that measure nothing.
 *
 *     random  by a digest of the schedule's seed and the unit, the same in every round
 *     last    the last unit goes
 *     given   as <score units> lists them; a block goes where any half of it is named
 */
#include <string.h>

#include "digest.h"
#include "score_method.h"

static bool measure_random(struct score *s, struct scores *out, struct err *e)
{
	int64_t seed = fields_int(call_params(s->call), "seed");
	(void)e;
	for (size_t i = 0; i < s->n; i++) {
		const struct candidate *c = &s->candidate[i];
		struct {
			int64_t seed, kind, layer;
		} in = {seed, c->nhalf == 2 ? 2 : (int64_t)c->half[0].kind, c->half[0].layer};
		out->unit[i].value[0] = (double)(digest_of(&in, sizeof(in)).hi >> 11) * 0x1p-53;
	}
	return true;
}

static bool measure_last(struct score *s, struct scores *out, struct err *e)
{
	(void)e;
	for (size_t i = 0; i < s->n; i++)
		out->unit[i].value[0] = (double)i;
	return true;
}

/* Where the list names the candidate; -1: nowhere. */
static int given_place(const char *units, const struct candidate *c)
{
	int place = 0;
	for (const char *p = units + strspn(units, " "); *p; place++) {
		char name[32];
		size_t n = strcspn(p, " ");
		for (size_t k = 0; k < c->nhalf; k++) {
			unit_name(c->half[k], name);
			if (strlen(name) == n && !strncmp(p, name, n))
				return place;
		}
		if (strlen(c->name) == n && !strncmp(p, c->name, n))
			return place;
		p += n + strspn(p + n, " ");
	}
	return -1;
}

static bool measure_given(struct score *s, struct scores *out, struct err *e)
{
	const char *units = call_param(s->call, "units");
	(void)e;
	out->nunit = 0;
	for (size_t i = 0; i < s->n; i++) {
		int place = given_place(units, &s->candidate[i]);
		if (place < 0)
			continue;
		out->unit[out->nunit] = out->unit[i];
		out->unit[out->nunit++].value[0] = place;
	}
	return true;
}

const struct score_method score_random = {.column = {"draw"}, .rank = {"draw"}, .measure = measure_random};
const struct score_method score_last = {.column = {"place"}, .rank = {"-place"}, .measure = measure_last};
const struct score_method score_given = {.column = {"place"}, .rank = {"place"}, .measure = measure_given};
