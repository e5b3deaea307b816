#include "chain_foresee.h"

#include <math.h>

static double units_left(const struct state *s)
{
	double n = 0;
	for (int i = 0; i < s->config.layers; i++)
		n += s->has_attn[i] + s->has_mlp[i];
	return n;
}

/* Bytes of units and of what no drop takes. */
static void bytes_of(const struct state *s, double *units, double *rest)
{
	*units = *rest = 0;
	for (size_t i = 0; i < s->ntensor; i++) {
		struct unit u;
		*(unit_of_tensor(s->tensor[i].name, &u) ? units : rest) += (double)s->tensor[i].bytes;
	}
}

/* What a round drops, units of one size. */
static double units_of_round(const struct chain_ahead *c)
{
	double bytes, rest;
	if (c->spec->per_round)
		return (double)c->spec->per_round;
	bytes_of(c->state, &bytes, &rest);
	return fmax(1, ceil(c->spec->per_round_share * (double)c->import_bytes * units_left(c->state) / bytes));
}

/* Units that a target's keep leaves, units of one size. */
static double units_kept(const struct spec_keep *k, const struct chain_ahead *c)
{
	double bytes, rest, left = units_left(c->state);
	bytes_of(c->state, &bytes, &rest);
	double want = k->kind == VALUE_SHARE ? k->value * (double)c->import_bytes : k->value;
	if (k->kind == VALUE_SHARE || k->kind == VALUE_BYTES)
		return bytes > 0 ? (want - rest) / (bytes / left) : 0;
	return k->kind == VALUE_UNITS ? k->value : 0;
}

/* Until the last target of the schedule has its state. */
static double least_kept(const struct plan *p, const struct chain_ahead *c)
{
	double least = units_left(c->state);
	for (size_t i = 0; i < c->nwaiting; i++) {
		const struct plan_target *t = c->waiting[i];
		const struct spec_keep *k = plan_keep(p, t);
		double kept = !k ? least : k->kind == VALUE_SPEED && t->stop_units >= 0 ? (double)t->stop_units : units_kept(k, c);
		least = kept < least ? kept : least;
	}
	return p->o->smoke ? units_left(c->state) - units_of_round(c) : least < 0 ? 0 : least;
}

void chain_foresee(struct plan *p, const char *generator, const struct chain_ahead *c)
{
	double units = units_left(c->state), least = least_kept(p, c), each = units_of_round(c), tunes = 0, scores = 0;
	/* A tune runs what is left, a score each of what is left without one: less of both as units go. */
	for (double left = units - each, n = 0; left > least - each; left -= each, n++) {
		double share = left > 0 ? left / units : 0;
		tunes += share;
		scores += n > 0 && (int)n % c->spec->score.scan_every == 0 ? share * share : 0;
	}
	const struct foreseen f[] = {{c->tune, tunes}, {c->score, scores}};
	build_foresee(p->build, generator, f, NELEM(f));
}
