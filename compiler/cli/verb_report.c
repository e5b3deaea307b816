/* What a build came to, as plain tables or JSON: targets side by side, what every unit is worth, what each
 * round dropped. Runs nothing: a spec must be built. */
#include "work.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "chain.h"
#include "eval.h"
#include "scores.h"

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
		t->spec->schedule < 0 ? "null" : "\"",
		t->spec->schedule < 0 ? "" : w->spec->schedule[t->spec->schedule].name,
		t->spec->schedule < 0 ? "" : "\"", t->hardware.names, numerics_classes[t->numerics].name,
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

/* What each unit of a state costs when it alone is left out, untuned. */
static bool add_scores(struct work *w, struct strbuf *out, struct action *score, struct err *e)
{
	struct buf text;
	struct scores s;
	char name[32];
	if (!work_output(w, score, 0, &text))
		return true;
	if (!scores_read(w->cli->arena, text, &s, e))
		return false;
	strbuf_addf(out, ",\"accuracy\":%.6g,\"nll\":%.6g,\"without\":[", s.base_accuracy, s.base_nll);
	for (size_t i = 0; i < s.nunit; i++) {
		const struct unit_score *u = &s.unit[i];
		unit_name(u->unit, name);
		strbuf_addf(out, "%s\n{\"unit\":\"%s\",\"accuracy\":%.6g,\"nll\":%.6g,\"cost\":%.6g}", i ? "," : "",
			name, u->accuracy, u->nll, u->nll - s.base_nll);
	}
	strbuf_addc(out, ']');
	return true;
}

static bool add_round(struct work *w, struct strbuf *out, const struct plan_round *r, struct err *e)
{
	char name[32];
	strbuf_addf(out, "\n{\"round\":%d,\"dropped\":[", r->round);
	for (size_t i = 0; i < r->nunit; i++) {
		unit_name(r->unit[i], name);
		strbuf_addf(out, "%s\"%s\"", i ? "," : "", name);
	}
	strbuf_addc(out, ']');
	if (!add_scores(w, out, r->score, e))
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
		if (!add_scores(w, out, build_find(w->build, arena_printf(w->cli->arena, "%s/parent/score", name)), e))
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
		strbuf_adds(out, "]}");
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

static void print_costs(struct cli *c, const struct json *parent)
{
	const struct json *list = json_get(parent, "without");
	fprintf(c->out, "  nats per token that each unit alone costs, untuned:\n");
	for (size_t i = 0; i < list->nitem; i++) {
		const struct json *u = &list->item[i], *cost = json_get(u, "cost");
		fprintf(c->out, "%s%-12s %+8.4f%s", i % 4 ? "  " : "    ", text_of(u, "unit"), cost ? cost->number : 0,
			i % 4 == 3 || i + 1 == list->nitem ? "\n" : "");
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
	for (size_t i = 0; i < schedules->nitem; i++) {
		const struct json *s = &schedules->item[i], *parent = json_get(s, "parent");
		fprintf(c->out, "\nschedule %s\n", text_of(s, "schedule"));
		/* Schedules that score the same rows say the same. */
		if (json_get(parent, "without") && !(told && json_equal(told, parent)))
			print_costs(c, told = parent);
		print_rounds(c, json_get(s, "rounds"));
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
