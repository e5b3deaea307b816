/* states="targets": which states of a chain need not stay when the build has ended. */
#include <string.h>

#include "chain.h"

/* Round 0 stays: every evaluation names it, and gates are against it. */
static bool stays(const struct plan *p, const struct plan_round *r)
{
	for (size_t i = 0; i < p->ntarget; i++) {
		const struct plan_target *t = &p->target[i];
		if (t->schedule >= 0 && !strcmp(p->spec->schedule[t->schedule].name, r->schedule) &&
			t->nround == r->round)
			return true;
	}
	return false;
}

static const struct spec_schedule *schedule_of(const struct plan *p, const struct plan_round *r)
{
	for (int i = 0; i < p->spec->nschedule; i++)
		if (!strcmp(p->spec->schedule[i].name, r->schedule))
			return &p->spec->schedule[i];
	return NULL;
}

static void pass(struct plan *p, const char *name)
{
	struct action *a = build_find(p->build, name);
	if (a)
		build_pass(p->build, a, 0);
}

/* Of passes over new rows the last one's state is the target's; that of the chain stays, where more rounds begin. */
static void pass_continued(struct plan *p)
{
	for (size_t i = 0; i < p->ntarget; i++) {
		const struct plan_target *t = &p->target[i];
		bool some = t->schedule >= 0 && p->spec->schedule[t->schedule].states == STATES_TARGETS;
		for (size_t k = 1; some && k < t->ncontinued; k++)
			build_pass(p->build, t->continued[k].from, 0);
	}
}

/* What was tried on the way (keep="gate") has packed weights too. */
void chain_pass(struct plan *p)
{
	pass_continued(p);
	for (size_t i = 0; i < p->nround; i++) {
		const struct plan_round *r = &p->round[i];
		const char *state = arena_printf(p->arena, "%s/round-%d", r->schedule, r->round);
		if (schedule_of(p, r)->states != STATES_TARGETS || stays(p, r))
			continue;
		pass(p, arena_printf(p->arena, "%s/drop", state));
		pass(p, arena_printf(p->arena, "%s/tune", state));
		for (int k = 0; k < NNUMERICS; k++)
			pass(p, arena_printf(p->arena, "%s/quantise-%s", state, numerics_classes[k].name));
	}
}
