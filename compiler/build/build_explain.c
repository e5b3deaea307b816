/* Why an action ran, runs or does not: its key material against what the journal holds. */
#include "build_internal.h"

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

static void why_not(struct build *b, struct action *a, struct strbuf *out)
{
	struct arena arena = {0};
	char hex[DIGEST_HEX];
	struct strbuf changes;
	const struct journal_entry *old =
		b->journal ? journal_find(b->journal, a->name, JOURNAL_BEFORE_THIS_BUILD, &arena)
			   : NULL;
	strbuf_init(&changes);
	digest_hex(a->key, hex);
	if (old)
		compare(b, old, a, &changes);
	strbuf_adds(out, "not run: ");
	if (!old)
		strbuf_adds(out,
			"the cache already holds the result, made for another spec or earlier");
	else if (strcmp(old->key, hex) == 0)
		strbuf_addf(out, "nothing changed since build %ld", old->build);
	else
		strbuf_addf(out, "%s since build %ld, and the cache already holds the result",
			changes.n ? changes.s : "its key changed", old->build);
	strbuf_release(&changes);
	arena_release(&arena);
}

bool build_why(struct build *b, const char *action, struct strbuf *out, struct err *e)
{
	for (size_t i = 0; !action && i < b->naction; i++)
		if (b->action[i]->kind == ACTION_RULE && !build_why(b, b->action[i]->name, out, e))
			return false;
	if (!action)
		return true;
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
	strbuf_addf(out, "%s: ", a->name);
	if (a->ran && a->state == STATE_KNOWN)
		strbuf_addf(out, "ran: %s", a->reason);
	else if (a->state == STATE_KNOWN)
		why_not(b, a, out);
	else if (a->state == STATE_WOULD)
		strbuf_addf(out, "would run: %s", a->reason);
	else if (a->state == STATE_FAILED)
		strbuf_addf(out, "failed: %s", a->failure);
	else if (a->state == STATE_SKIPPED)
		strbuf_addf(out, "skipped: %s", a->failure);
	else
		strbuf_adds(out, "not known yet: an action before it would run");
	strbuf_addc(out, '\n');
	return true;
}

void build_status(struct build *b, struct strbuf *out)
{
	const struct build_result *r = &b->result;
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->kind == ACTION_OUTPUT && a->state == STATE_WOULD)
			strbuf_addf(out, "missing or edited  %s\n", a->path);
		if (a->kind != ACTION_RULE)
			continue;
		if (a->state == STATE_WOULD)
			strbuf_addf(out, "out of date  %s: %s\n", a->name, a->reason);
		else if (a->state == STATE_UNKNOWN)
			strbuf_addf(out, "perhaps      %s\n", a->name);
		else if (a->state == STATE_FAILED || a->state == STATE_SKIPPED)
			strbuf_addf(out, "failed       %s: %s\n", a->name, a->failure);
	}
	strbuf_addf(out, "%zu up to date, %zu out of date, %zu perhaps, %zu failed\n",
		r->ncached + r->nrun, r->nwould_run, r->nunknown, r->nfailed + r->nskipped);
}

/* What it took before, else what its rule takes on average; bytes of its outputs before. */
static int64_t estimate(struct build *b, const struct action *a, uint64_t *bytes)
{
	struct arena arena = {0};
	int64_t ns = 0;
	*bytes = 0;
	if (!b->journal)
		return 0;
	const struct journal_entry *old =
		journal_find(b->journal, a->name, JOURNAL_NEWEST, &arena);
	if (old) {
		ns = old->wall_ns;
		*bytes = old->bytes;
	}
	arena_release(&arena);
	return ns ? ns : journal_rule_ns(b->journal, a->rule->name);
}

void build_plan(struct build *b, struct strbuf *out)
{
	int64_t total_ns = 0;
	uint64_t total_bytes = 0, bytes;
	size_t nrun = 0, nunknown = 0, nguess = 0;
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->kind != ACTION_RULE ||
			(a->state != STATE_WOULD && a->state != STATE_UNKNOWN))
			continue;
		bool would = a->state == STATE_WOULD;
		int64_t ns = estimate(b, a, &bytes);
		total_ns += ns;
		total_bytes += bytes;
		nrun += would;
		nunknown += !would;
		nguess += ns == 0;
		strbuf_addf(out, "%-5s  ", would ? "run" : "maybe");
		if (ns)
			strbuf_addf(out, "%9.3f s  ", (double)ns / 1e9);
		else
			strbuf_adds(out, "        ? s  ");
		strbuf_addf(out, "%s  [%s]  %s\n", a->name, a->rule->name,
			would ? a->reason
			      : "an input would be made anew; unchanged bytes would stop here");
	}
	for (size_t i = 0; i < b->naction; i++)
		if (b->action[i]->kind == ACTION_GENERATE && b->action[i]->state == STATE_UNKNOWN)
			strbuf_addf(out, "then   what follows from %s\n", b->action[i]->name);
	strbuf_addf(out, "%zu to run, %zu perhaps, %zu cached; about %.1f s in all", nrun, nunknown,
		b->result.ncached, (double)total_ns / 1e9);
	if (nguess)
		strbuf_addf(out, " without %zu never run before", nguess);
	strbuf_addf(out, ", %.1f MB of outputs\n", (double)total_bytes / 1e6);
}
