/* Why an action ran, runs or does not: its key material against what the journal holds. */
#include "build_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIFFERENCES = 4 }; /* named one by one; the rest is counted */

struct difference {
	struct strbuf *out;
	size_t n;
};

static bool another(struct difference *d)
{
	if (d->n++ >= MAX_DIFFERENCES)
		return false;
	if (d->n > 1)
		strbuf_adds(d->out, "; ");
	return true;
}

static void compare_fields(struct difference *d, const char *what, const struct fields *old,
	const struct fields *new)
{
	for (size_t i = 0; i < new->nfield; i++) {
		const struct field *f = &new->field[i];
		const char *before = fields_get(old, f->name);
		if (!before && another(d))
			strbuf_addf(d->out, "%s '%s' is new: '%s'", what, f->name, f->value);
		else if (before && strcmp(before, f->value) != 0 && another(d))
			strbuf_addf(d->out, "%s '%s' changed from '%s' to '%s'", what, f->name,
				before, f->value);
	}
	for (size_t i = 0; i < old->nfield; i++)
		if (!fields_get(new, old->field[i].name) && another(d))
			strbuf_addf(d->out, "%s '%s' is gone", what, old->field[i].name);
}

/* Inputs in order: the i-th of a role against the i-th of that role before. */
static void compare_inputs(struct build *b, struct difference *d, const struct journal_entry *old,
	const struct action *a)
{
	struct strbuf where;
	bool *used = xcalloc(old->input.nfield + 1, sizeof(*used));
	size_t from = 0;
	strbuf_init(&where);
	for (size_t i = 0; i < a->ninput; i++) {
		char hex[DIGEST_HEX];
		size_t k = from;
		while (k < old->input.nfield &&
			(used[k] || strcmp(old->input.field[k].name, a->input[i].name) != 0))
			k++;
		edge_source_text(b, &a->input[i], &where);
		digest_hex(a->input[i].digest, hex);
		if (k == old->input.nfield) {
			if (another(d))
				strbuf_addf(
					d->out, "input '%s' is new: %s", a->input[i].name, where.s);
			continue;
		}
		used[k] = true;
		/* mostly in step: do not look at the same ones again and again */
		while (from < old->input.nfield && used[from])
			from++;
		if (strcmp(old->input.field[k].value, hex) != 0 && another(d))
			strbuf_addf(d->out, "input '%s' changed: %s", a->input[i].name, where.s);
	}
	for (size_t k = 0; k < old->input.nfield; k++)
		if (!used[k] && another(d))
			strbuf_addf(d->out, "input '%s' is gone: %s", old->input.field[k].name,
				old->where.field[k].value);
	free(used);
	strbuf_release(&where);
}

/* What differs between an earlier time and now; "" if nothing that enters the key. */
static void compare(struct build *b, const struct journal_entry *old, const struct action *a,
	struct strbuf *out)
{
	struct difference d = {.out = out};
	if (strcmp(old->rule, a->rule->name) != 0) {
		if (another(&d))
			strbuf_addf(out, "its rule changed from '%s' to '%s'", old->rule,
				a->rule->name);
	} else if (old->version != a->rule->version && another(&d)) {
		strbuf_addf(out, "rule '%s' changed from version %d to %d", old->rule, old->version,
			a->rule->version);
	}
	compare_fields(&d, "parameter", &old->param, &a->param);
	compare_fields(&d, "tool", &old->tool, &a->tool);
	compare_inputs(b, &d, old, a);
	if (d.n > MAX_DIFFERENCES)
		strbuf_addf(out, "; and %zu more", d.n - MAX_DIFFERENCES);
}

const char *explain_run(struct build *b, struct action *a)
{
	struct arena arena = {0};
	struct strbuf out;
	const struct journal_entry *old =
		b->journal ? journal_find(b->journal, a->name, JOURNAL_NEWEST, &arena) : NULL;
	strbuf_init(&out);
	if (old)
		compare(b, old, a, &out);
	if (!b->journal)
		strbuf_adds(&out, "the cache has no answer");
	else if (!old)
		strbuf_adds(&out, "it is new");
	else if (!out.n && strcmp(old->how, "failed") == 0)
		strbuf_adds(&out, "it failed the last time");
	else if (!out.n && strcmp(old->how, "interrupted") == 0)
		strbuf_adds(&out, "it was interrupted the last time");
	else if (!out.n)
		strbuf_adds(&out, "its record is no longer in the cache");
	const char *reason = arena_strdup(&b->arena, out.s);
	strbuf_release(&out);
	arena_release(&arena);
	return reason;
}

/* ---- JSON ---- */

static void add_text(struct strbuf *out, const char *name, const char *value)
{
	strbuf_addf(out, ",\"%s\":", name);
	strbuf_add_json(out, value, strlen(value));
}

void report_begin_row(struct strbuf *out, const struct action *a, const char *state)
{
	strbuf_adds(out, out->s[out->n - 1] == '[' ? "\n{\"action\":" : ",\n{\"action\":");
	strbuf_add_json(out, a->name, strlen(a->name));
	add_text(out, "rule", a->rule->name);
	add_text(out, "state", state);
}

void report_end_row(struct strbuf *out, const char *why)
{
	if (why)
		add_text(out, "why", why);
	strbuf_addc(out, '}');
}

void report_add_item(struct strbuf *out, const char *text)
{
	if (out->s[out->n - 1] != '[')
		strbuf_addc(out, ',');
	strbuf_add_json(out, text, strlen(text));
}

/* ---- why ---- */

/* Into the build's arena. */
static const char *why_not(struct build *b, struct action *a)
{
	struct arena arena = {0};
	char hex[DIGEST_HEX];
	struct strbuf changes;
	const char *why;
	const struct journal_entry *old =
		b->journal ? journal_find(b->journal, a->name, JOURNAL_BEFORE_THIS_BUILD, &arena)
			   : NULL;
	strbuf_init(&changes);
	digest_hex(a->key, hex);
	if (old)
		compare(b, old, a, &changes);
	if (!old)
		why = "the cache already holds the result, made for another spec or earlier";
	else if (strcmp(old->key, hex) == 0)
		why = arena_printf(&b->arena, "nothing changed since build %ld", old->build);
	else
		why = arena_printf(&b->arena, "%s since build %ld, and the cache already holds the result",
			changes.n ? changes.s : "its key changed", old->build);
	strbuf_release(&changes);
	arena_release(&arena);
	return why;
}

static void explain(struct build *b, struct action *a, enum report_form form, struct strbuf *out)
{
	const char *state = "not known yet", *why = "an action before it would run";
	if (a->state == STATE_KNOWN) {
		state = a->ran ? "ran" : "not run";
		why = a->ran ? a->reason : why_not(b, a);
	} else if (a->state == STATE_WOULD) {
		state = "would run";
		why = a->reason;
	} else if (a->state == STATE_FAILED || a->state == STATE_SKIPPED) {
		state = a->state == STATE_FAILED ? "failed" : "skipped";
		why = a->failure;
	}
	if (form == REPORT_TEXT) {
		strbuf_addf(out, "%s: %s: %s\n", a->name, state, why);
	} else {
		report_begin_row(out, a, state);
		report_end_row(out, why);
	}
}

bool build_why(struct build *b, const char *action, enum report_form form, struct strbuf *out, struct err *e)
{
	if (form == REPORT_JSON)
		strbuf_adds(out, "\"actions\":[");
	for (size_t i = 0; !action && i < b->naction; i++)
		if (b->action[i]->kind == ACTION_RULE)
			explain(b, b->action[i], form, out);
	if (!action) {
		strbuf_adds(out, form == REPORT_JSON ? "]" : "");
		return true;
	}
	struct action *a = build_find(b, action);
	if (!a) {
		const char **name = xcalloc(b->naction + 1, sizeof(*name));
		size_t nname = 0;
		for (size_t i = 0; i < b->naction; i++)
			if (b->action[i]->kind == ACTION_RULE)
				name[nname++] = b->action[i]->name;
		const char *near = nearest_name(action, name, nname);
		free(name);
		return near ? err_set(e, ERR_SPEC, "no action '%s'; did you mean '%s'?", action,
				      near)
			    : err_set(e, ERR_SPEC, "no action '%s'", action);
	}
	explain(b, a, form, out);
	strbuf_adds(out, form == REPORT_JSON ? "]" : "");
	return true;
}

/* ---- status ---- */

static void add_status(const struct action *a, enum report_form form, struct strbuf *out)
{
	const char *state, *why = NULL;
	switch (a->state) {
	case STATE_WOULD:
		state = "out of date";
		why = a->reason;
		break;
	case STATE_UNKNOWN:
		state = "perhaps";
		break;
	case STATE_FAILED:
	case STATE_SKIPPED:
		state = "failed";
		why = a->failure;
		break;
	default:
		return;
	}
	if (form == REPORT_JSON) {
		report_begin_row(out, a, state);
		report_end_row(out, why);
	} else {
		strbuf_addf(out, "%-11s  %s%s%s\n", state, a->name, why ? ": " : "", why ? why : "");
	}
}

void build_status(struct build *b, enum report_form form, struct strbuf *out)
{
	const struct build_result *r = &b->result;
	struct strbuf outputs;
	strbuf_init(&outputs);
	strbuf_addc(&outputs, '[');
	if (form == REPORT_JSON)
		strbuf_adds(out, "\"actions\":[");
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->kind == ACTION_RULE)
			add_status(a, form, out);
		if (a->kind != ACTION_OUTPUT || a->state != STATE_WOULD)
			continue;
		report_add_item(&outputs, a->path);
		if (form == REPORT_TEXT)
			strbuf_addf(out, "missing or edited  %s\n", a->path);
	}
	if (form == REPORT_JSON)
		strbuf_addf(out, "],\"outputs\":%s]", outputs.s);
	strbuf_addf(out, form == REPORT_JSON
			? ",\"up_to_date\":%zu,\"out_of_date\":%zu,\"perhaps\":%zu,\"failed\":%zu"
			: "%zu up to date, %zu out of date, %zu perhaps, %zu failed\n",
		r->ncached + r->nrun, r->nwould_run, r->nunknown, r->nfailed + r->nskipped);
	strbuf_release(&outputs);
}
