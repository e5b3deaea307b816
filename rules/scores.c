#include "scores.h"

#include <stdio.h>
#include <string.h>

static void add_number(struct strbuf *out, double x)
{
	strbuf_addf(out, " %.17g", x);
}

void scores_write(struct strbuf *out, const struct scores *s)
{
	char name[32];
	strbuf_addf(out, "trim-scores 1\nmetric %s\nbase", s->by_accuracy ? "accuracy" : "nll");
	add_number(out, s->base_accuracy);
	add_number(out, s->base_nll);
	strbuf_addc(out, '\n');
	for (size_t i = 0; i < s->nunit; i++) {
		unit_name(s->unit[i].unit, name);
		strbuf_addf(out, "unit %s", name);
		add_number(out, s->unit[i].accuracy);
		add_number(out, s->unit[i].nll);
		add_number(out, s->unit[i].norm);
		strbuf_addc(out, '\n');
	}
}

bool scores_read(struct arena *a, struct buf text, struct scores *out, struct err *e)
{
	char *rest = arena_strndup(a, text.p, text.n), metric[16] = "", name[32];
	int line = 0;
	*out = (struct scores){0};
	for (char *p; (p = strsep(&rest, "\n")) && *p;) {
		struct unit_score u;
		line++;
		if (line == 1 && !strcmp(p, "trim-scores 1"))
			continue;
		if (line == 2 && sscanf(p, "metric %15s", metric) == 1) {
			out->by_accuracy = !strcmp(metric, "accuracy");
			continue;
		}
		if (line == 3 && sscanf(p, "base %lf %lf", &out->base_accuracy, &out->base_nll) == 2)
			continue;
		if (line < 4 || sscanf(p, "unit %31s %lf %lf %lf", name, &u.accuracy, &u.nll, &u.norm) != 4 ||
			!unit_parse(name, &u.unit))
			return err_at(e, ERR_IO, "scores", line, 0, "unable to read '%.60s'", p);
		*arena_push(a, out->unit, out->nunit) = u;
	}
	return line >= 3 || err_at(e, ERR_IO, "scores", line, 0, "the table ends early");
}

struct unit *state_units(struct arena *a, const struct state *s, size_t *n)
{
	struct unit *unit = NULL;
	*n = 0;
	for (int i = 0; i < s->config.layers; i++) {
		if (s->has_attn[i])
			*arena_push(a, unit, *n) = (struct unit){UNIT_ATTN, i};
		if (s->has_mlp[i])
			*arena_push(a, unit, *n) = (struct unit){UNIT_MLP, i};
	}
	return unit;
}
