#include "lock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "plan_data.h"

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

const char *lock_units(struct arena *a, int round)
{
	return arena_printf(a, "units.%d", round);
}

const char *lock_scores(struct arena *a, int round)
{
	return arena_printf(a, "scores.%d", round);
}

const char *lock_from(struct arena *a, size_t i)
{
	return arena_printf(a, "from.%zu", i);
}

const char *lock_fresh(struct arena *a, size_t i)
{
	return arena_printf(a, "fresh.%zu", i);
}

const char *lock_hardware(const struct json *lock, const char *target)
{
	const struct json *v = json_get(json_get(json_get(lock, "targets"), target), "hardware");
	return v && v->kind == JSON_STRING ? v->text : NULL;
}

int64_t lock_stop_units(const struct json *lock, const char *target, const char *identity)
{
	const struct json *stop = json_get(json_get(json_get(lock, "targets"), target), "stop"), *of = json_get(stop, "of");
	int64_t units;
	bool same = of && of->kind == JSON_STRING && !strcmp(of->text, identity);
	return same && json_int(json_get(stop, "units"), &units) ? units : -1;
}

/* ---- writing ---- */

/* "\n    NAME: ", with a comma before it unless it is the first. */
static void add_name(struct strbuf *out, const char *name)
{
	strbuf_adds(out, out->s[out->n - 1] == '{' ? "\n    " : ",\n    ");
	strbuf_add_json(out, name, strlen(name));
	strbuf_adds(out, ": ");
}

void lock_add_digest(struct strbuf *out, struct digest d)
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
		lock_add_digest(out, d);
	}
	strbuf_adds(out, "\n  },\n");
	return true;
}

/* What goes into a target's binary, read back. */
static bool read_excerpt(struct arena *a, const struct plan *p, const struct plan_target *t,
	struct json **out, struct err *e)
{
	struct buf text;
	if (!t->lock)
		return err_set(e, ERR_IO, "target '%s' has no state", t->spec->name);
	return build_read(p->build, t->lock, 0, a, &text, e) && json_parse(a, text, t->spec->name, 1, out, e);
}

static bool add_section(struct strbuf *out, const struct plan *p, const struct plan_target *t,
	struct err *e)
{
	struct arena a = {0};
	struct json *excerpt;
	bool ok = read_excerpt(&a, p, t, &excerpt, e);
	if (ok)
		json_write(out, json_get(json_get(excerpt, "targets"), t->spec->name));
	arena_release(&a);
	return ok;
}

/* The target that went furthest along a chain: its rounds are all that there are. NULL: none did. */
static const struct plan_target *furthest(const struct plan *p, int schedule)
{
	const struct plan_target *t = NULL;
	for (size_t i = 0; i < p->ntarget; i++)
		if (p->target[i].schedule == schedule && p->target[i].nround > (t ? t->nround : 0))
			t = &p->target[i];
	return t;
}

/* One line a round. */
static void add_rounds(struct strbuf *out, const struct json *chain)
{
	for (size_t i = 0; i < chain->nitem; i++) {
		strbuf_adds(out, out->s[out->n - 1] == '[' ? "\n    " : ",\n    ");
		json_write(out, &chain->item[i]);
	}
}

/* Chains go on side by side: their rounds stand in the plan as they came, here as the spec lists them. A
 * build of some targets may know fewer rounds than are recorded: then those stay. */
static bool add_chain(struct strbuf *out, const struct plan *p, const struct json *old, struct err *e)
{
	struct arena a = {0};
	bool ok = true;
	strbuf_adds(out, "  \"chain\": [");
	size_t nround = 0;
	for (int s = 0; s < p->spec->nschedule; s++)
		nround += furthest(p, s) ? (size_t)furthest(p, s)->nround : 0;
	if (p->o->ntarget && old && old->nitem > nround) {
		add_rounds(out, old);
	} else {
		for (int s = 0; ok && s < p->spec->nschedule; s++) {
			const struct plan_target *t = furthest(p, s);
			struct json *excerpt;
			ok = !t || read_excerpt(&a, p, t, &excerpt, e);
			if (t && ok)
				add_rounds(out, json_get(excerpt, "chain"));
		}
	}
	strbuf_adds(out, out->s[out->n - 1] == '[' ? "],\n" : "\n  ],\n");
	arena_release(&a);
	return ok;
}

/* Whether the lists of a time that is new are what the build read: a file may have changed when it was told. */
static bool check_lineage(const struct plan *p, const struct lineage *l, struct err *e)
{
	for (int i = 0; l->how != LINEAGE_SAME && i < p->spec->ndataset; i++) {
		const struct lineage_set *s = &l->time[l->n - 1][i];
		struct digest list[NSPLIT];
		for (int k = 0; k < NSPLIT; k++)
			if (!action_digest(p->data[i].split, (size_t)k, &list[k]))
				return err_set(e, ERR_IO, "the rows of dataset '%s' were not read", p->spec->dataset[i].name);
		if (!digest_equal(lineage_rows(list), s->rows))
			return err_set(e, ERR_IO, "the rows of dataset '%s' changed while the build ran; build again",
				p->spec->dataset[i].name);
	}
	return true;
}

/* Of several schedules all are run. */
static bool may_take(const struct spec_target *t, int schedule)
{
	for (int i = 0; i < t->nschedule; i++)
		if (t->schedule[i] == schedule)
			return true;
	return false;
}

/* Of each schedule that was built, new; else as recorded. */
static bool add_tuned(struct strbuf *out, const struct plan *p, const struct json *old, struct err *e)
{
	struct strbuf text;
	bool ok = true;
	strbuf_init(&text);
	strbuf_adds(&text, "  \"tuned\": {");
	size_t empty = text.n;
	for (int s = 0; ok && p->o->lineage && s < p->spec->nschedule; s++) {
		const struct lineage *l = p->o->lineage[s];
		const struct json *was = json_get(old, p->spec->schedule[s].name);
		bool now = false;
		for (size_t i = 0; i < p->ntarget; i++)
			now = now || (!p->target[i].failed && may_take(p->target[i].spec, s));
		if (!l || (!now && !was))
			continue;
		ok = !now || check_lineage(p, l, e);
		add_name(&text, p->spec->schedule[s].name);
		if (now)
			lineage_write(&text, p->spec, s, l);
		else
			json_write(&text, was);
	}
	if (text.n > empty)
		strbuf_addf(out, "%s\n  },\n", text.s);
	strbuf_release(&text);
	return ok;
}

static bool add_output(struct strbuf *out, const struct plan *p, const struct plan_target *t,
	struct err *e)
{
	struct arena a = {0};
	struct buf text;
	struct recipe r;
	bool ok = build_read(p->build, t->binary, 0, &a, &text, e) && recipe_parse(&a, text, &r, e);
	if (ok)
		lock_add_digest(out, r.whole);
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
	if (!add_tuned(out, p, json_get(old, "tuned"), e))
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
	if (a->kind != JSON_OBJECT)
		return json_equal(a, b) || differ(place, a, b, e);
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
