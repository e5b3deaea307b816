#include "model_info.h"

#include <string.h>

struct member {
	const char *name;
	size_t at; /* in struct model_info */
};

#define MEMBER(name) {#name, offsetof(struct model_info, name)}
static const struct member texts[] = {MEMBER(name), MEMBER(target), MEMBER(hardware),
	MEMBER(numerics), MEMBER(architecture)};
static const struct member counts[] = {MEMBER(blocks), MEMBER(parameters), MEMBER(weight_bytes),
	MEMBER(context), MEMBER(threads)};
static const struct member tokens[] = {MEMBER(start_token), MEMBER(end_token)};

static void *member_at(const struct model_info *info, const struct member *m)
{
	return (char *)(uintptr_t)info + m->at;
}

void model_info_write(struct strbuf *out, const struct model_info *info)
{
	strbuf_addc(out, '{');
	for (size_t i = 0; i < NELEM(texts); i++) {
		const char *s = *(const char **)member_at(info, &texts[i]);
		strbuf_addf(out, "\"%s\":", texts[i].name);
		strbuf_add_json(out, s, strlen(s));
		strbuf_addc(out, ',');
	}
	for (size_t i = 0; i < NELEM(counts); i++)
		strbuf_addf(out, "\"%s\":%lld,", counts[i].name,
			(long long)*(int64_t *)member_at(info, &counts[i]));
	for (size_t i = 0; i < NELEM(tokens); i++) {
		int64_t id = *(int64_t *)member_at(info, &tokens[i]);
		strbuf_addf(out, id < 0 ? "\"%s\":null," : "\"%s\":%lld,", tokens[i].name,
			(long long)id);
	}
	strbuf_adds(out, "\"dropped\":[");
	for (size_t i = 0; i < info->ndropped; i++) {
		strbuf_adds(out, i ? "," : "");
		strbuf_add_json(out, info->dropped[i], strlen(info->dropped[i]));
	}
	strbuf_addf(out, "],\"lock\":%s}", info->lock ? info->lock : "null");
}

static bool missing(const char *what, const char *name, struct err *e)
{
	return err_set(e, ERR_IO, "the program's description has no %s '%s'", what, name);
}

bool model_info_read(struct arena *a, struct buf text, struct model_info *out, struct err *e)
{
	struct json *root;
	if (!json_parse(a, text, NULL, 1, &root, e))
		return err_context(e, "the program's description");
	*out = (struct model_info){0};
	for (size_t i = 0; i < NELEM(texts); i++) {
		const struct json *v = json_get(root, texts[i].name);
		if (!v || v->kind != JSON_STRING)
			return missing("text", texts[i].name, e);
		*(const char **)member_at(out, &texts[i]) = v->text;
	}
	for (size_t i = 0; i < NELEM(counts); i++) {
		int64_t *n = member_at(out, &counts[i]);
		if (!json_int(json_get(root, counts[i].name), n) || *n < 0)
			return missing("count", counts[i].name, e);
	}
	for (size_t i = 0; i < NELEM(tokens); i++) {
		int64_t *id = member_at(out, &tokens[i]);
		if (!json_int(json_get(root, tokens[i].name), id))
			*id = -1;
	}
	if (out->context < 1 || out->context > INT32_MAX)
		return missing("possible", "context", e);
	const struct json *dropped = json_get(root, "dropped"), *lock = json_get(root, "lock");
	size_t n = dropped && dropped->kind == JSON_ARRAY ? dropped->nitem : 0;
	out->dropped = arena_array(a, const char *, n);
	for (size_t i = 0; i < n; i++)
		if (dropped->item[i].kind == JSON_STRING)
			out->dropped[out->ndropped++] = dropped->item[i].text;
	if (lock && lock->kind != JSON_NULL) {
		struct strbuf b;
		strbuf_init(&b);
		json_write(&b, lock);
		out->lock = arena_strndup(a, b.s, b.n);
		strbuf_release(&b);
	}
	return true;
}

/* ---- for people ---- */

static void add_label(struct strbuf *out, const char *label)
{
	strbuf_addf(out, "%-12s  ", label);
}

static void add_value(struct strbuf *out, const struct json *v)
{
	if (v->kind == JSON_STRING)
		strbuf_adds(out, v->text);
	else
		json_write(out, v);
}

/* "NAME VALUE, NAME VALUE". */
static void add_pairs(struct strbuf *out, const struct json *object)
{
	for (size_t i = 0; i < object->nitem; i++) {
		strbuf_addf(out, "%s%s ", i ? ", " : "", object->key[i]);
		add_value(out, &object->item[i]);
	}
	strbuf_addc(out, '\n');
}

static void add_members(struct strbuf *out, const char *label, const struct json *object)
{
	add_label(out, label);
	add_pairs(out, object);
}

/* "UNIT (NAME VALUE), UNIT": what left in a round. */
static void add_round(struct strbuf *out, const struct json *round)
{
	const struct json *dropped = json_get(round, "dropped");
	add_label(out, "round");
	if (json_get(round, "round"))
		add_value(out, json_get(round, "round"));
	for (size_t i = 0; dropped && dropped->kind == JSON_ARRAY && i < dropped->nitem; i++) {
		const struct json *unit = &dropped->item[i];
		size_t n = unit->kind == JSON_OBJECT ? unit->nitem : 0;
		strbuf_adds(out, i ? ", " : ": ");
		for (size_t k = 0; k < n; k++) {
			if (k)
				strbuf_addf(out, "%s%s ", k > 1 ? ", " : " (", unit->key[k]);
			add_value(out, &unit->item[k]);
		}
		strbuf_adds(out, n > 1 ? ")" : "");
	}
	strbuf_addc(out, '\n');
}

static void add_target(struct strbuf *out, const struct json *target)
{
	static const char *const measured[] = {"metrics", "parent", "cost"};
	const struct json *gates = json_get(target, "gates"), *passes = json_get(target, "continued");
	for (size_t i = 0; i < NELEM(measured); i++) {
		const struct json *v = json_get(target, measured[i]);
		bool object = v && v->kind == JSON_OBJECT;
		/* Of several datasets there is one line for each. */
		bool sets = object && v->nitem && v->item[0].kind == JSON_OBJECT;
		if (object && !sets)
			add_members(out, measured[i], v);
		for (size_t k = 0; sets && k < v->nitem; k++) {
			add_label(out, measured[i]);
			strbuf_addf(out, "%s: ", v->key[k]);
			if (v->item[k].kind == JSON_OBJECT)
				add_pairs(out, &v->item[k]);
		}
	}
	for (size_t i = 0; passes && passes->kind == JSON_ARRAY && i < passes->nitem; i++)
		if (passes->item[i].kind == JSON_OBJECT)
			add_members(out, "new rows", &passes->item[i]);
	for (size_t i = 0; gates && gates->kind == JSON_ARRAY && i < gates->nitem; i++)
		if (gates->item[i].kind == JSON_OBJECT)
			add_members(out, "gate", &gates->item[i]);
}

static void add_lock(struct strbuf *out, const struct model_info *info, const struct json *lock)
{
	const struct json *chain = json_get(lock, "chain"), *inputs = json_get(lock, "inputs");
	const struct json *target = json_get(json_get(lock, "targets"), info->target);
	for (size_t i = 0; chain && chain->kind == JSON_ARRAY && i < chain->nitem; i++)
		add_round(out, &chain->item[i]);
	if (target)
		add_target(out, target);
	for (size_t i = 0; inputs && inputs->kind == JSON_OBJECT && i < inputs->nitem; i++) {
		add_label(out, "input");
		add_value(out, &inputs->item[i]);
		strbuf_addf(out, "  %s\n", inputs->key[i]);
	}
}

bool model_info_print(struct strbuf *out, const struct model_info *i, struct err *e)
{
	struct arena a = {0};
	struct json *lock = NULL;
	bool ok = !i->lock || json_parse(&a, (struct buf){i->lock, strlen(i->lock)}, NULL, 1, &lock, e);
	strbuf_addf(out, "name          %s\n", i->name);
	strbuf_addf(out, "architecture  %s, %lld blocks\n", i->architecture, (long long)i->blocks);
	strbuf_addf(out, "parameters    %lld\n", (long long)i->parameters);
	strbuf_addf(out, "weights       %lld bytes, %s\n", (long long)i->weight_bytes, i->numerics);
	strbuf_addf(out, "context       %lld tokens\n", (long long)i->context);
	strbuf_addf(out, "target        %s, %s\n", i->target, i->hardware);
	strbuf_addf(out, "dropped       %zu units", i->ndropped);
	for (size_t k = 0; k < i->ndropped; k++)
		strbuf_addf(out, "%s %s", k ? "," : ":", i->dropped[k]);
	strbuf_addc(out, '\n');
	if (ok && lock)
		add_lock(out, i, lock);
	arena_release(&a);
	return ok;
}
