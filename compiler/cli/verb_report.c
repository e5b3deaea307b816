/* What a build came to, as plain tables or JSON: targets side by side, what every unit is worth, what each
 * round dropped. Runs nothing: a spec must be built. */
#include "report_tune.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "chain.h"
#include "eval.h"
#include "score_method.h"

/* ,"NAME":{...}: an output that is JSON. */
static void add_output(struct work *w, struct strbuf *out, const char *name, struct action *action)
{
	struct buf text;
	if (!work_output(w, action, 0, &text))
		return;
	strbuf_addf(out, ",\"%s\":", name);
	strbuf_add(out, text.p, text.n);
}

/* The same for an action of struct plan_measures: of several datasets an object by their names. */
static void add_measured(struct work *w, struct strbuf *out, const char *name, const struct plan_measures *on,
	size_t member)
{
	struct buf text;
	bool any = false;
	for (int i = 0; on && i < w->spec->ndataset; i++) {
		struct action *action = *(struct action *const *)((const char *)&on[i] + member);
		if (w->spec->ndataset == 1)
			add_output(w, out, name, action);
		if (w->spec->ndataset == 1 || !work_output(w, action, 0, &text))
			continue;
		strbuf_addf(out, any ? "," : ",\"%s\":{", name);
		any = true;
		strbuf_addf(out, "\"%s\":", w->spec->dataset[i].name);
		strbuf_add(out, text.p, text.n);
	}
	strbuf_adds(out, any ? "}" : "");
}

/* Halves that a state has, and the bytes of its tensors. */
static bool add_state(struct work *w, struct strbuf *out, struct action *action, struct err *e)
{
	struct arena *a = w->cli->arena;
	struct buf text;
	struct state s;
	uint64_t bytes = 0;
	size_t n;
	if (!work_output(w, action, 0, &text))
		return true;
	if (!state_read(a, text, "state", &s, e))
		return false;
	for (size_t i = 0; i < s.ntensor; i++)
		bytes += s.tensor[i].bytes;
	state_units(a, &s, &n);
	strbuf_addf(out, ",\"units\":%zu,\"bytes\":%" PRIu64, n, bytes);
	return true;
}

static bool add_target(struct work *w, struct strbuf *out, const struct plan_target *t, struct err *e)
{
	struct buf text;
	struct recipe r;
	struct digest d;
	bool built = work_output(w, t->binary, 0, &text);
	strbuf_adds(out, ",\n{\"target\":");
	strbuf_add_json(out, t->spec->name, strlen(t->spec->name));
	strbuf_addf(out, ",\"schedule\":%s%s%s,\"hardware\":\"%s\",\"numerics\":\"%s\",\"built\":%s,\"gate\":%s",
		t->schedule < 0 ? "null" : "\"",
		t->schedule < 0 ? "" : w->spec->schedule[t->schedule].name,
		t->schedule < 0 ? "" : "\"", t->hardware.names, numerics_classes[t->numerics].name,
		built && action_digest(t->binary, 0, &d) ? "true" : "false",
		plan_gate_json(t));
	if (built) {
		if (!recipe_parse(w->cli->arena, text, &r, e))
			return false;
		strbuf_addf(out, ",\"binary_bytes\":%" PRIu64 ",\"path\":", r.bytes);
		strbuf_add_json(out, t->path, strlen(t->path));
	}
	if (!add_state(w, out, t->state, e))
		return false;
	if (!report_add_continued(w, out, t, e))
		return false;
	add_measured(w, out, "metrics", t->on, offsetof(struct plan_measures, evaluate));
	add_measured(w, out, "cost", t->on, offsetof(struct plan_measures, cost));
	strbuf_addc(out, '}');
	return true;
}

static bool add_targets(struct work *w, struct strbuf *out, struct err *e)
{
	const struct plan_measures *on = NULL;
	for (size_t i = 0; i < w->plan.ntarget && !on; i++)
		on = w->plan.target[i].on;
	strbuf_adds(out, "\"targets\":[\n{\"target\":\"untouched\"");
	if (!add_state(w, out, w->plan.import, e))
		return false;
	add_measured(w, out, "metrics", on, offsetof(struct plan_measures, evaluate_parent));
	strbuf_addc(out, '}');
	for (size_t i = 0; i < w->plan.ntarget; i++)
		if (!w->plan.target[i].failed && !add_target(w, out, &w->plan.target[i], e))
			return false;
	strbuf_addc(out, ']');
	return true;
}

/* The round that dropped a unit by the scores of round `scored`; 0: none did. */
static int dropped_by(const struct plan *p, const char *schedule, int scored, const char *unit)
{
	for (size_t k = 0; k < p->nround; k++) {
		const struct plan_round *r = &p->round[k];
		if (r->scored != scored || strcmp(r->schedule, schedule))
			continue;
		for (size_t i = 0; i < r->nunit; i++)
			if (unit_left_as(unit, r->unit, r->nunit, i))
				return r->round;
	}
	return 0;
}

/* What every unit of a state was given: ,"scores":{...}. rank: the column that decides; more goes first where it
 * begins with "-". */
static bool add_scores(struct work *w, struct strbuf *out, struct action *score, const char *schedule, int round,
	struct err *e)
{
	struct buf text;
	struct scores s;
	if (!work_output(w, score, 0, &text))
		return true;
	if (!scores_read(w->cli->arena, text, &s, e))
		return false;
	const char *rank = score_method_rank(&s);
	strbuf_addf(out, ",\"scores\":{\"method\":\"%s\",\"rank\":\"%s\",\"base\":{\"units\":%zu", s.method,
		rank ? rank : "", s.nunit);
	scores_write_values(out, &s, s.base);
	strbuf_adds(out, "},\"units\":[");
	for (size_t i = 0; i < s.nunit; i++) {
		int gone = dropped_by(&w->plan, schedule, round, s.unit[i].name);
		strbuf_addf(out, "%s\n{\"unit\":\"%s\"", i ? "," : "", s.unit[i].name);
		scores_write_values(out, &s, s.unit[i].value);
		if (gone)
			strbuf_addf(out, ",\"dropped\":%d", gone);
		strbuf_addc(out, '}');
	}
	strbuf_adds(out, "]}");
	return true;
}

static bool add_round(struct work *w, struct strbuf *out, const struct plan_round *r, struct err *e)
{
	char name[32];
	strbuf_addf(out, "\n{\"round\":%d,\"scored\":%d,\"dropped\":[", r->round, r->scored);
	for (size_t i = 0; i < r->nunit; i++) {
		unit_name(r->unit[i], name);
		strbuf_addf(out, "%s\"%s\"", i ? "," : "", name);
	}
	strbuf_addc(out, ']');
	if (r->scored == r->round && !add_scores(w, out, r->score, r->schedule, r->round, e))
		return false;
	strbuf_addc(out, '}');
	return true;
}

static bool add_schedules(struct work *w, struct strbuf *out, struct err *e)
{
	const struct plan *p = &w->plan;
	strbuf_adds(out, ",\n\"schedules\":[");
	for (int i = 0; i < w->spec->nschedule; i++) {
		const char *name = w->spec->schedule[i].name;
		bool first = true;
		strbuf_addf(out, "%s\n{\"schedule\":\"%s\",\"parent\":{\"dropped\":[]", i ? "," : "", name);
		if (!add_scores(w, out, build_find(w->build, arena_printf(w->cli->arena, "%s/parent/score", name)), name,
			    0, e))
			return false;
		strbuf_adds(out, "},\"rounds\":[");
		for (size_t k = 0; k < p->nround; k++) {
			if (strcmp(p->round[k].schedule, name))
				continue;
			strbuf_adds(out, first ? "" : ",");
			first = false;
			if (!add_round(w, out, &p->round[k], e))
				return false;
		}
		strbuf_addc(out, ']');
		report_add_looks(w, out, name);
		strbuf_addc(out, '}');
	}
	strbuf_addc(out, ']');
	return true;
}

/* ---- people ---- */

/* A number of an object right-aligned, "-" where it is absent. */
static void print_number(FILE *out, const struct json *v, const char *format, double scale)
{
	char text[32] = "-";
	if (v && v->kind == JSON_NUMBER)
		snprintf(text, sizeof(text), format, v->number * scale);
	fprintf(out, " %10s", text);
}

static const char *text_of(const struct json *o, const char *key)
{
	const struct json *v = json_get(o, key);
	return v && v->kind == JSON_STRING ? v->text : "-";
}

/* Whether what was measured is by dataset: then its members are objects. */
static bool by_dataset(const struct json *o)
{
	return o && o->nitem && o->item[0].kind == JSON_OBJECT;
}

static void print_metrics(FILE *out, const struct json *m)
{
	print_number(out, m ? json_get(m, "accuracy") : NULL, "%.1f %%", 100);
	print_number(out, m ? json_get(m, "nll") : NULL, "%.4f", 1);
}

/* Datasets follow their target, indented. */
static void print_targets(struct cli *c, const struct json *list)
{
	fprintf(c->out, "%-16s %10s %10s %10s %10s %10s  %-12s %s\n", "target", "units", "bytes", "accuracy", "nll",
		"binary", "hardware", "gate");
	for (size_t i = 0; i < list->nitem; i++) {
		const struct json *t = &list->item[i], *m = json_get(t, "metrics");
		fprintf(c->out, "%-16s", text_of(t, "target"));
		print_number(c->out, json_get(t, "units"), "%.0f", 1);
		print_number(c->out, json_get(t, "bytes"), "%.0f", 1);
		print_metrics(c->out, by_dataset(m) ? NULL : m);
		print_number(c->out, json_get(t, "binary_bytes"), "%.0f", 1);
		fprintf(c->out, "  %-12s %s\n", text_of(t, "hardware"), text_of(t, "gate"));
		for (size_t k = 0; by_dataset(m) && k < m->nitem; k++) {
			fprintf(c->out, "  %-36.36s", m->key[k]);
			print_metrics(c->out, &m->item[k]);
			fputc('\n', c->out);
		}
	}
}

static double number_of(const struct json *o, const char *key)
{
	const struct json *v = json_get(o, key);
	return v && v->kind == JSON_NUMBER ? v->number : 0;
}

static void print_class(struct cli *c, const struct json *t, const char *name, const struct json *o)
{
	fprintf(c->out, "%-16.16s %-14s %10.4f %11.4f %10.6f %10.2f %% %8.0f\n", name, text_of(t, "numerics"),
		number_of(o, "perplexity"), number_of(o, "unquantised_perplexity"), number_of(o, "kl"),
		100 * number_of(o, "same_argmax"), number_of(o, "tokens"));
}

/* What its class costs each target that is not f32. */
static void print_classes(struct cli *c, const struct json *list)
{
	bool any = false;
	for (size_t i = 0; i < list->nitem; i++) {
		const struct json *t = &list->item[i], *o = json_get(t, "cost");
		if (!o || !o->nitem)
			continue;
		if (!any)
			fprintf(c->out, "\n%-16s %-14s %10s %11s %10s %12s %8s\n", "quantised", "class",
				"perplexity", "unquantised", "nats (KL)", "same argmax", "tokens");
		any = true;
		if (!by_dataset(o)) {
			print_class(c, t, text_of(t, "target"), o);
			continue;
		}
		fprintf(c->out, "%s\n", text_of(t, "target"));
		for (size_t k = 0; k < o->nitem; k++)
			print_class(c, t, arena_printf(c->arena, "  %s", o->key[k]), &o->item[k]);
	}
}

/* Of a unit's entry, in the column that ranks, above the state's own where that has one. */
static double above(const struct json *scores, const struct json *unit, const char *column)
{
	return number_of(unit, column) - number_of(json_get(scores, "base"), column);
}

static void print_costs(struct cli *c, const struct json *scores)
{
	const struct json *list = json_get(scores, "units");
	fprintf(c->out, "  nats per token that each unit alone costs, untuned:\n");
	for (size_t i = 0; i < list->nitem; i++)
		fprintf(c->out, "%s%-12s %+8.4f%s", i % 4 ? "  " : "    ", text_of(&list->item[i], "unit"),
			above(scores, &list->item[i], "nll"), i % 4 == 3 || i + 1 == list->nitem ? "\n" : "");
}

static const struct json *unit_of(const struct json *scores, const char *unit)
{
	const struct json *list = json_get(scores, "units");
	for (size_t i = 0; list && i < list->nitem; i++)
		if (!strcmp(text_of(&list->item[i], "unit"), unit))
			return &list->item[i];
	return NULL;
}

/* Units of all rounds that scored, in the order in which they came up. */
static const char **scored_units(struct cli *c, const struct json *rounds, size_t *n)
{
	const char **unit = NULL;
	*n = 0;
	for (size_t r = 0; r < rounds->nitem; r++) {
		const struct json *list = json_get(json_get(&rounds->item[r], "scores"), "units");
		for (size_t i = 0; list && i < list->nitem; i++) {
			size_t k = 0;
			while (k < *n && strcmp(unit[k], text_of(&list->item[i], "unit")))
				k++;
			if (k == *n)
				*arena_push(c->arena, unit, *n) = text_of(&list->item[i], "unit");
		}
	}
	return unit;
}

static void print_unit(struct cli *c, const char *unit, const struct json *const *round, size_t n, const char *rank)
{
	int width = fprintf(c->out, "    %-12s", unit);
	fprintf(c->out, "%*s", width < 20 ? 20 - width : 0, "");
	for (size_t i = 0; i < n; i++) {
		const struct json *scores = json_get(round[i], "scores"), *u = unit_of(scores, unit);
		const struct json *v = u ? json_get(u, rank) : NULL;
		char text[32] = "-";
		if (v && v->kind == JSON_NUMBER)
			snprintf(text, sizeof(text), "%.4g", above(scores, u, rank));
		fprintf(c->out, " %9s%s", text, u && json_get(u, "dropped") ? "*" : " ");
	}
	fputs("\n", c->out);
}

/* A line a unit, a column a round that scored. */
static void print_scores(struct cli *c, const struct json *rounds)
{
	enum { ACROSS = 7 };
	const struct json **round = NULL, *base;
	size_t n = 0, nunit;
	const char **unit = scored_units(c, rounds, &nunit);
	for (size_t i = 0; i < rounds->nitem; i++)
		if (json_get(&rounds->item[i], "scores"))
			*arena_push(c->arena, round, n) = &rounds->item[i];
	for (size_t i = 0; i < n; i += ACROSS) {
		const struct json *scores = json_get(round[i], "scores");
		const char *rank = text_of(scores, "rank");
		bool most = *rank == '-';
		size_t across = n - i < ACROSS ? n - i : ACROSS;
		base = json_get(json_get(scores, "base"), rank + most);
		fprintf(c->out, "  %s: %s%s, %s goes first (* dropped)\n    round           ", text_of(scores, "method"),
			rank + most, base ? " above the state's own" : "", most ? "most" : "least");
		for (size_t k = 0; k < across; k++)
			fprintf(c->out, " %9.0f ", number_of(round[i + k], "round"));
		fputs("\n", c->out);
		for (size_t u = 0; u < nunit; u++)
			print_unit(c, unit[u], round + i, across, rank + most);
	}
}

static void print_rounds(struct cli *c, const struct json *rounds)
{
	fprintf(c->out, "  dropped, in order:");
	for (size_t i = 0; i < rounds->nitem; i++) {
		const struct json *list = json_get(&rounds->item[i], "dropped");
		for (size_t k = 0; k < list->nitem; k++)
			fprintf(c->out, " %s", list->item[k].text);
	}
	fputs(rounds->nitem ? "\n" : " nothing\n", c->out);
}

static void print_report(struct cli *c, const struct json *o)
{
	const struct json *schedules = json_get(o, "schedules"), *told = NULL;
	print_targets(c, json_get(o, "targets"));
	print_classes(c, json_get(o, "targets"));
	report_print_continued(c, json_get(o, "targets"));
	for (size_t i = 0; i < schedules->nitem; i++) {
		const struct json *s = &schedules->item[i], *parent = json_get(s, "parent");
		fprintf(c->out, "\nschedule %s\n", text_of(s, "schedule"));
		/* Schedules that score the same rows say the same. */
		if (json_get(parent, "scores") && !(told && json_equal(told, parent)))
			print_costs(c, json_get(told = parent, "scores"));
		print_scores(c, json_get(s, "rounds"));
		print_rounds(c, json_get(s, "rounds"));
		report_print_looks(c, json_get(s, "looks"));
	}
}

static bool report(struct work *w, struct err *e)
{
	struct strbuf b;
	struct json *o;
	strbuf_init(&b);
	strbuf_adds(&b, "{\"spec\":");
	strbuf_add_json(&b, w->spec->name, strlen(w->spec->name));
	strbuf_adds(&b, ",\n");
	bool ok = add_targets(w, &b, e) && add_schedules(w, &b, e);
	strbuf_adds(&b, "}\n");
	if (ok && w->cli->json)
		fputs(b.s, w->cli->out);
	else if (ok && (ok = json_parse(w->cli->arena, strbuf_buf(&b), NULL, 1, &o, e)))
		print_report(w->cli, o);
	strbuf_release(&b);
	return ok;
}

int verb_report(struct cli *c)
{
	struct work w;
	struct err e = {0};
	const char *path = cli_spec_path(c, 0);
	int code = work_open(&w, c, path, BUILD_DRY_RUN);
	if (code == EXIT_OK && !work_run(&w))
		code = work_failed(&w);
	else if (code == EXIT_OK && !report(&w, &e))
		code = cli_fail(c, &e);
	else if (code == EXIT_OK && w.result.nwould_run + w.result.nunknown)
		cli_say(c, "%zu actions are out of date: trim build %s", w.result.nwould_run + w.result.nunknown, path);
	work_close(&w);
	return code;
}
