#include "lock.h"
#include "eval.h"
#include "scores.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

const char *lock_path(struct arena *a, const char *spec_path)
{
	size_t n = strlen(spec_path);
	if (n > 4 && !strcmp(spec_path + n - 4, ".xml"))
		n -= 4;
	return arena_printf(a, "%.*s.lock", (int)n, spec_path);
}

bool lock_read(struct arena *a, const char *path, struct json **out, struct err *e)
{
	struct strbuf b;
	int64_t version;
	*out = NULL;
	if (access(path, F_OK) && errno == ENOENT)
		return true;
	strbuf_init(&b);
	bool ok = file_read(&b, path, e) && json_parse(a, strbuf_buf(&b), path, 1, out, e);
	strbuf_release(&b);
	if (!ok)
		return err_context(e, "unable to use the lock (without it a build writes a new one)");
	if (!json_int(json_get(*out, "trim-lock"), &version) || version != 1)
		return err_at(e, ERR_SPEC, path, 1, 1,
			"not a lock of this version of trim; without it a build writes a new one");
	return true;
}

const char *lock_hardware(const struct json *lock, const char *target)
{
	const struct json *v = json_get(json_get(json_get(lock, "targets"), target), "hardware");
	return v && v->kind == JSON_STRING ? v->text : NULL;
}

/* ---- writing ---- */

/* "\n    NAME: ", with a comma before it unless it is the first. */
static void add_name(struct strbuf *out, const char *name)
{
	strbuf_adds(out, out->s[out->n - 1] == '{' ? "\n    " : ",\n    ");
	strbuf_add_json(out, name, strlen(name));
	strbuf_adds(out, ": ");
}

static void add_digest(struct strbuf *out, struct digest d)
{
	char hex[DIGEST_HEX];
	digest_hex(d, hex);
	strbuf_addf(out, "\"%s\"", hex);
}

static const struct plan_target *built(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->ntarget; i++)
		if (!p->target[i].failed && !strcmp(p->target[i].spec->name, name))
			return &p->target[i];
	return NULL;
}

static bool add_inputs(struct strbuf *out, const struct plan *p, struct err *e)
{
	struct digest d;
	strbuf_adds(out, "  \"inputs\": {");
	for (size_t i = 0; i < p->ninput; i++) {
		if (!build_file_digest(p->build, p->input[i].path, &d))
			return err_set(e, ERR_IO, "'%s' was not read", p->input[i].path);
		add_name(out, p->input[i].name);
		add_digest(out, d);
	}
	strbuf_adds(out, "\n  },\n");
	return true;
}

/* An output that is JSON, as it is. */
static bool add_json_output(struct strbuf *out, const struct plan *p, struct action *action, size_t output,
	struct err *e)
{
	struct arena a = {0};
	struct buf text;
	bool ok = build_read(p->build, action, output, &a, &text, e);
	for (size_t i = 0; ok && i < text.n; i++)
		if (((const char *)text.p)[i] != '\n')
			strbuf_addc(out, ((const char *)text.p)[i]);
	arena_release(&a);
	return ok;
}

static bool add_section(struct strbuf *out, const struct plan *p, const struct plan_target *t,
	struct err *e)
{
	struct digest state;
	if (!action_digest(t->state, 0, &state))
		return err_set(e, ERR_IO, "target '%s' has no state", t->spec->name);
	strbuf_addf(out, "{\"hardware\":\"%s\",\"numerics\":\"%s\",\"context\":%lld,\"state\":",
		t->hardware->name, numerics_classes[t->numerics].name, (long long)t->spec->context);
	add_digest(out, state);
	if (t->evaluate) {
		strbuf_adds(out, ",\"metrics\":");
		if (!add_json_output(out, p, t->evaluate, EVALUATE_METRICS, e))
			return false;
		strbuf_adds(out, ",\"parent\":");
		if (!add_json_output(out, p, t->evaluate_parent, EVALUATE_METRICS, e))
			return false;
	}
	for (size_t i = 0; i < t->nverdict; i++) {
		strbuf_adds(out, i ? "," : ",\"gates\":[");
		if (!add_json_output(out, p, t->verdict[i], 0, e))
			return false;
	}
	strbuf_adds(out, t->nverdict ? "]}" : "}");
	return true;
}

/* One line a round: what left, and how the state would have been without it before it was tuned. */
static bool add_round(struct strbuf *out, const struct plan *p, const struct plan_round *r, struct err *e)
{
	struct arena a = {0};
	struct scores scores = {0};
	struct buf text;
	bool ok = !r->score || (build_read(p->build, r->score, 0, &a, &text, e) &&
				       scores_read(&a, text, &scores, e));
	strbuf_addf(out, "{\"schedule\":\"%s\",\"round\":%d,\"dropped\":[", r->schedule, r->round);
	for (size_t i = 0; ok && i < r->nunit; i++) {
		struct unit u;
		strbuf_addf(out, "%s{\"unit\":\"%s\"", i ? "," : "", r->unit[i]);
		for (size_t k = 0; k < scores.nunit && unit_parse(r->unit[i], &u); k++) {
			const struct unit_score *s = &scores.unit[k];
			if (s->unit.kind != u.kind || s->unit.layer != u.layer)
				continue;
			strbuf_addf(out, ",\"nll\":%.6g", s->nll);
			if (scores.by_accuracy)
				strbuf_addf(out, ",\"accuracy\":%.6g", s->accuracy);
		}
		strbuf_addc(out, '}');
	}
	strbuf_adds(out, "]}");
	arena_release(&a);
	return ok;
}

/* A build of some targets may know fewer rounds than are recorded: then those stay. */
static bool add_chain(struct strbuf *out, const struct plan *p, const struct json *old, struct err *e)
{
	strbuf_adds(out, "  \"chain\": [");
	if (p->o->ntarget && old && old->nitem > p->nround) {
		for (size_t i = 0; i < old->nitem; i++) {
			strbuf_adds(out, i ? ",\n    " : "\n    ");
			json_write(out, &old->item[i]);
		}
	} else {
		/* Chains go on side by side: their rounds stand in the plan as they came. */
		const char *comma = "\n    ";
		for (int s = 0; s < p->spec->nschedule; s++)
			for (size_t i = 0; i < p->nround; i++) {
				if (strcmp(p->round[i].schedule, p->spec->schedule[s].name))
					continue;
				strbuf_adds(out, comma);
				comma = ",\n    ";
				if (!add_round(out, p, &p->round[i], e))
					return false;
			}
	}
	strbuf_adds(out, out->s[out->n - 1] == '[' ? "],\n" : "\n  ],\n");
	return true;
}

static bool add_output(struct strbuf *out, const struct plan *p, const struct plan_target *t,
	struct err *e)
{
	struct arena a = {0};
	struct buf text;
	struct recipe r;
	bool ok = build_read(p->build, t->binary, 0, &a, &text, e) && recipe_parse(&a, text, &r, e);
	if (ok)
		add_digest(out, r.whole);
	arena_release(&a);
	return ok;
}

/* One member for each target of the spec, new or as recorded. */
static bool add_targets(struct strbuf *out, const struct plan *p, const struct json *old,
	bool (*add)(struct strbuf *, const struct plan *, const struct plan_target *, struct err *),
	struct err *e)
{
	for (int i = 0; i < p->spec->ntarget; i++) {
		const char *name = p->spec->target[i].name;
		const struct plan_target *t = built(p, name);
		const struct json *was = json_get(old, name);
		if (!t && !was)
			continue;
		add_name(out, name);
		if (t && !add(out, p, t, e))
			return false;
		if (!t)
			json_write(out, was);
	}
	strbuf_adds(out, "\n  }");
	return true;
}

bool lock_write(struct strbuf *out, const struct plan *p, const struct json *old, struct err *e)
{
	strbuf_adds(out, "{\n  \"trim-lock\": 1,\n");
	if (!add_inputs(out, p, e))
		return false;
	if (!add_chain(out, p, json_get(old, "chain"), e))
		return false;
	strbuf_adds(out, "  \"targets\": {");
	if (!add_targets(out, p, json_get(old, "targets"), add_section, e))
		return false;
	strbuf_adds(out, ",\n  \"outputs\": {");
	if (!add_targets(out, p, json_get(old, "outputs"), add_output, e))
		return false;
	strbuf_adds(out, "\n}\n");
	return true;
}

/* ---- comparing ---- */

static bool differ(const char *place, const struct json *a, const struct json *b, struct err *e)
{
	struct strbuf was, is;
	strbuf_init(&was);
	strbuf_init(&is);
	if (a)
		json_write(&was, a);
	if (b)
		json_write(&is, b);
	err_set(e, ERR_IO, "the lock differs at %s: recorded %.200s, now %.200s", place,
		a ? was.s : "nothing", b ? is.s : "nothing");
	strbuf_release(&was);
	strbuf_release(&is);
	return false;
}

static bool compare(const char *place, const struct json *a, const struct json *b, struct err *e)
{
	char below[512];
	if (a->kind != b->kind)
		return differ(place, a, b, e);
	if (a->kind != JSON_OBJECT) {
		struct strbuf was, is;
		strbuf_init(&was);
		strbuf_init(&is);
		json_write(&was, a);
		json_write(&is, b);
		bool same = !strcmp(was.s, is.s);
		strbuf_release(&was);
		strbuf_release(&is);
		return same || differ(place, a, b, e);
	}
	for (size_t i = 0; i < a->nitem; i++) {
		const struct json *other = json_get(b, a->key[i]);
		snprintf(below, sizeof(below), "%s%s%s", place, *place ? " / " : "", a->key[i]);
		if (!other)
			return differ(below, &a->item[i], NULL, e);
		if (!compare(below, &a->item[i], other, e))
			return false;
	}
	for (size_t i = 0; i < b->nitem; i++) {
		snprintf(below, sizeof(below), "%s%s%s", place, *place ? " / " : "", b->key[i]);
		if (!json_get(a, b->key[i]))
			return differ(below, NULL, &b->item[i], e);
	}
	return true;
}

bool lock_compare(const struct json *recorded, const struct json *now, struct err *e)
{
	return compare("", recorded, now, e);
}
