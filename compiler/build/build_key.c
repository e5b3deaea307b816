/* Keys, and what the store knows under them. */
#include "build_internal.h"

#include <string.h>

static void add_number(struct strbuf *b, uint64_t n)
{
	strbuf_add(b, &n, sizeof(n));
}

/* With its length before it, so that neighbours cannot run into each other. */
static void add_text(struct strbuf *b, const char *s)
{
	size_t n = strlen(s);
	add_number(b, n);
	strbuf_add(b, s, n);
}

static void add_fields(struct strbuf *b, const struct fields *f)
{
	add_number(b, f->nfield);
	for (size_t i = 0; i < f->nfield; i++) {
		add_text(b, f->field[i].name);
		add_text(b, f->field[i].value);
	}
}

/* XXH3-128 of: "trim-key 1", rule, version, parameters by name, tools in the rule's order, inputs
 * in the action's order (role and digest). Numbers are 8 bytes, little endian. */
static struct digest key_of(struct strbuf *b, const struct action *a)
{
	strbuf_clear(b);
	add_text(b, "trim-key 1");
	add_text(b, a->rule->name);
	add_number(b, (uint64_t)a->rule->version);
	add_fields(b, &a->param);
	add_fields(b, &a->tool);
	add_number(b, a->ninput);
	for (size_t i = 0; i < a->ninput; i++) {
		add_text(b, a->input[i].name);
		add_number(b, a->input[i].digest.hi);
		add_number(b, a->input[i].digest.lo);
	}
	return digest_of(b->s, b->n);
}

static bool source_digest(struct build *b, struct source *s, struct err *e)
{
	if (!s->tried) {
		s->tried = true;
		s->ok = statcache_digest(b->stat, s->path, &s->digest, NULL, &s->err);
	}
	if (!s->ok && e)
		*e = s->err;
	return s->ok;
}

bool action_resolve(struct build *b, struct action *a, struct err *e)
{
	for (size_t i = 0; i < a->ninput; i++) {
		struct edge *edge = &a->input[i];
		switch (edge->kind) {
		case INPUT_FILE:
			if (!source_digest(b, &b->source[edge->source], e))
				return false;
			edge->digest = b->source[edge->source].digest;
			break;
		case INPUT_BYTES:
			edge->digest = digest_of(edge->bytes.p, edge->bytes.n);
			break;
		case INPUT_OUTPUT:
			if (edge->output != OUTPUT_ALL)
				edge->digest = edge->action->output[edge->output].digest;
			break;
		}
	}
	if (a->kind != ACTION_RULE)
		return true;
	if (a->rule->tools)
		a->rule->tools(&b->arena, &a->param, b->o.env, &a->tool);
	a->key = key_of(&b->scratch, a);
	a->has_key = true;
	return true;
}

bool action_take(struct action *a, const struct record *r)
{
	if (a->known) {
		for (size_t i = 0; i < a->noutput; i++)
			if (!digest_equal(a->output[i].digest, r->output[i].digest))
				return false;
	}
	for (size_t i = 0; i < a->noutput; i++) {
		a->output[i].digest = r->output[i].digest;
		a->output[i].bytes = r->output[i].bytes;
	}
	a->nref = r->nref;
	a->ref = r->ref;
	a->wall_ns = r->wall_ns;
	a->known = true;
	return true;
}

static bool record_fits(const struct record *r, const struct action *a)
{
	if (r->noutput != a->noutput)
		return false;
	for (size_t i = 0; i < a->noutput; i++)
		if (strcmp(r->output[i].name, a->output[i].name) != 0)
			return false;
	return true;
}

bool action_lookup(struct build *b, struct action *a, bool *hit, struct err *e)
{
	struct record r;
	enum store_found found = store_record_get(b->o.store, a->key, &b->arena, &r, e);
	*hit = found == STORE_OK && record_fits(&r, a);
	/* a record that now names other bytes comes from a rule that is no pure function; the next
	 * run of it says so */
	if (*hit && !action_take(a, &r))
		*hit = false;
	return found != STORE_FAIL || err_context(e, "%s", a->name);
}

static bool object_present(struct build *b, const struct record_object *o)
{
	return store_has(b->o.store, o->digest, &o->bytes);
}

static bool refs_present(struct build *b, const struct action *a)
{
	for (size_t i = 0; i < a->nref; i++)
		if (!object_present(b, &a->ref[i]))
			return false;
	return true;
}

bool action_present(struct build *b, const struct action *a)
{
	for (size_t i = 0; i < a->noutput; i++)
		if (!object_present(b, &a->output[i]))
			return false;
	return refs_present(b, a);
}

bool edge_present(struct build *b, const struct edge *edge)
{
	if (edge->kind != INPUT_OUTPUT)
		return true;
	if (edge->output == OUTPUT_ALL)
		return action_present(b, edge->action);
	return object_present(b, &edge->action->output[edge->output]) &&
	       refs_present(b, edge->action);
}
