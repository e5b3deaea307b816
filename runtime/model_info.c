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
