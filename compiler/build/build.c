#include "build_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fields_add(struct arena *a, struct fields *f, const char *name, const char *value)
{
	struct field *field = arena_push(a, f->field, f->nfield);
	*field = (struct field){arena_strdup(a, name), arena_strdup(a, value)};
}

const char *fields_get(const struct fields *f, const char *name)
{
	for (size_t i = 0; i < f->nfield; i++)
		if (strcmp(f->field[i].name, name) == 0)
			return f->field[i].value;
	return NULL;
}

static const char *number_of(const struct fields *f, const char *name)
{
	const char *text = fields_get(f, name);
	if (!text || !*text)
		BUG("no parameter '%s'", name);
	return text;
}

int64_t fields_int(const struct fields *f, const char *name)
{
	char *end;
	int64_t n = strtoll(number_of(f, name), &end, 10);
	if (*end)
		BUG("parameter '%s' is '%s'", name, fields_get(f, name));
	return n;
}

double fields_double(const struct fields *f, const char *name)
{
	char *end;
	double x = strtod(number_of(f, name), &end);
	if (*end)
		BUG("parameter '%s' is '%s'", name, fields_get(f, name));
	return x;
}

struct input input_file(const char *name, const char *path)
{
	return (struct input){.name = name, .kind = INPUT_FILE, .path = path};
}

struct input input_bytes(const char *name, struct buf bytes)
{
	return (struct input){.name = name, .kind = INPUT_BYTES, .bytes = bytes};
}

struct input input_output(const char *name, struct action *a, size_t output)
{
	return (struct input){.name = name, .kind = INPUT_OUTPUT, .action = a, .output = output};
}

int build_stop_level(const struct build *b)
{
	return b->o.stop ? atomic_load_explicit(b->o.stop, memory_order_relaxed) : 0;
}

bool build_new(struct build **out, const struct build_options *o, struct err *e)
{
	struct journal *journal = NULL;
	const struct os_ops *os = store_os(o->store);
	if (o->journal && !journal_open(os, o->journal, &journal, e))
		return false;
	struct build *b = xcalloc(1, sizeof(*b));
	b->o = *o;
	b->os = os;
	b->journal = journal;
	if (b->o.jobs <= 0) {
		long n = sysconf(_SC_NPROCESSORS_ONLN);
		b->o.jobs = n > 0 ? (int)n : 1;
	}
	b->free_threads = b->o.jobs;
	b->stat = o->stat;
	if (!b->stat) {
		b->stat = statcache_new(os, NULL, STATCACHE_REHASH);
		b->own_stat = true;
	}
	b->npool = 2 + o->npool;
	b->pool = arena_array(&b->arena, struct pool_state, b->npool);
	b->pool[0] = (struct pool_state){.name = "", .depth = b->o.jobs};
	b->pool[1] = (struct pool_state){.name = "compute", .depth = 1, .all_threads = true};
	for (size_t i = 0; i < o->npool; i++)
		b->pool[2 + i] =
			(struct pool_state){.name = arena_strdup(&b->arena, o->pool[i].name),
				.depth = o->pool[i].depth > 0 ? o->pool[i].depth : 1};
	strbuf_init(&b->scratch);
	pthread_mutex_init(&b->mutex, NULL);
	pthread_mutex_init(&b->event_mutex, NULL);
	pthread_cond_init(&b->work, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&b->done, &attr);
	pthread_condattr_destroy(&attr);
	*out = b;
	return true;
}

void build_free(struct build *b)
{
	if (!b)
		return;
	workers_stop(b);
	journal_free(b->journal);
	if (b->own_stat)
		statcache_free(b->stat);
	digest_map_release(&b->by_name);
	digest_map_release(&b->by_path);
	digest_map_release(&b->made);
	digest_map_release(&b->ahead);
	strbuf_release(&b->scratch);
	pthread_mutex_destroy(&b->mutex);
	pthread_mutex_destroy(&b->event_mutex);
	pthread_cond_destroy(&b->work);
	pthread_cond_destroy(&b->done);
	arena_release(&b->arena);
	free(b);
}

void build_push(struct queue *q, struct action *a)
{
	a->next = NULL;
	if (q->last)
		q->last->next = a;
	else
		q->first = a;
	q->last = a;
}

struct action *build_pop(struct queue *q)
{
	struct action *a = q->first;
	if (a) {
		q->first = a->next;
		if (!q->first)
			q->last = NULL;
		a->next = NULL;
	}
	return a;
}

void build_step_later(struct build *b, struct action *a)
{
	if (a->queued)
		return;
	a->queued = true;
	build_push(&b->steps, a);
}

static size_t source_of(struct build *b, const char *path)
{
	struct digest d = digest_of(path, strlen(path));
	size_t before = b->by_path.n;
	uint64_t *place = digest_map_put(&b->by_path, d);
	if (b->by_path.n == before)
		return *place;
	*place = b->nsource;
	struct source *s = arena_push(&b->arena, b->source, b->nsource);
	*s = (struct source){.path = arena_strdup(&b->arena, path)};
	return *place;
}

static size_t rule_noutput(const struct rule *rule)
{
	size_t n = 0;
	if (!rule || !rule->output)
		return 1;
	while (rule->output[n])
		n++;
	return n;
}

static struct action *add(struct build *b, enum action_kind kind, const char *name,
	const struct input *input, size_t ninput)
{
	struct action *a = arena_new(&b->arena, struct action);
	a->name = arena_strdup(&b->arena, name);
	a->index = b->naction;
	a->kind = kind;
	if (kind == ACTION_RULE) {
		size_t before = b->by_name.n;
		uint64_t *place = digest_map_put(&b->by_name, digest_of(name, strlen(name)));
		if (b->by_name.n == before)
			BUG("two actions are named '%s'", name);
		*place = a->index;
	}
	a->ninput = ninput;
	a->input = arena_array(&b->arena, struct edge, ninput);
	for (size_t i = 0; i < ninput; i++) {
		struct edge *edge = &a->input[i];
		*edge = (struct edge){.name = arena_strdup(&b->arena, input[i].name),
			.kind = input[i].kind,
			.action = input[i].action,
			.output = input[i].output};
		if (edge->kind == INPUT_FILE)
			edge->source = source_of(b, input[i].path);
		else if (edge->kind == INPUT_BYTES)
			edge->bytes = (struct buf){
				arena_copy(&b->arena, input[i].bytes.p, input[i].bytes.n),
				input[i].bytes.n};
		if (edge->kind != INPUT_OUTPUT)
			continue;
		struct action *from = edge->action;
		if (from->kind != ACTION_RULE ||
			(edge->output != OUTPUT_ALL && edge->output >= from->noutput))
			BUG("'%s' has no output %zu", from->name, edge->output);
		*arena_push(&b->arena, from->dependent, from->ndependent) = a;
		if (!from->known)
			a->nunknown++;
	}
	*arena_push(&b->arena, b->action, b->naction) = a;
	build_step_later(b, a);
	return a;
}

static int by_field_name(const void *x, const void *y)
{
	return strcmp(((const struct field *)x)->name, ((const struct field *)y)->name);
}

struct action *build_action(struct build *b, const struct action_def *def)
{
	struct action *a = add(b, ACTION_RULE, def->name, def->input, def->ninput);
	a->rule = def->rule;
	for (size_t i = 0; i < def->param.nfield; i++)
		fields_add(
			&b->arena, &a->param, def->param.field[i].name, def->param.field[i].value);
	if (a->param.nfield)
		qsort(a->param.field, a->param.nfield, sizeof(struct field), by_field_name);
	for (size_t i = 1; i < a->param.nfield; i++)
		if (strcmp(a->param.field[i - 1].name, a->param.field[i].name) == 0)
			BUG("'%s' gives parameter '%s' twice", a->name, a->param.field[i].name);
	a->noutput = rule_noutput(a->rule);
	a->output = arena_array(&b->arena, struct record_object, a->noutput);
	for (size_t i = 0; i < a->noutput; i++)
		a->output[i].name = a->rule->output ? a->rule->output[i] : "out";
	build_emit(b, EVENT_ADD, a, NULL);
	return a;
}

struct action *build_find(struct build *b, const char *name)
{
	uint64_t *place = digest_map_get(&b->by_name, digest_of(name, strlen(name)));
	return place ? b->action[*place] : NULL;
}

void build_generate(struct build *b, const char *name, const struct input *input, size_t ninput,
	generate_fn fn, void *ctx)
{
	struct action *a = add(b, ACTION_GENERATE, name, input, ninput);
	a->generate = fn;
	a->generate_ctx = ctx;
}

void build_measure(struct build *b, const char *name, const struct input *input, size_t ninput,
	generate_fn fn, void *ctx)
{
	struct action *a = add(b, ACTION_GENERATE, name, input, ninput);
	a->generate = fn;
	a->generate_ctx = ctx;
	a->alone = true;
}

void build_foresee(struct build *b, const char *generator, const struct foreseen *f, size_t n)
{
	struct action *a = NULL;
	for (size_t i = b->naction; i-- > 0 && !a;)
		if (b->action[i]->kind == ACTION_GENERATE && !strcmp(b->action[i]->name, generator))
			a = b->action[i];
	if (!a)
		BUG("there is no generator '%s'", generator);
	a->foreseen = arena_copy(&b->arena, f, n * sizeof(*f));
	a->nforeseen = n;
}

void build_want(struct build *b, struct action *a)
{
	struct input all = input_output("out", a, OUTPUT_ALL);
	add(b, ACTION_WANT, a->name, &all, 1);
}

void build_output(struct build *b, struct action *a, size_t output, const char *path,
	enum output_flags flags)
{
	struct input in = input_output("out", a, output);
	struct action *file = add(b, ACTION_OUTPUT, path, &in, 1);
	file->path = file->name;
	file->path_flags = flags;
}

bool build_file_digest(struct build *b, const char *path, struct digest *out)
{
	for (size_t i = 0; i < b->nsource; i++)
		if (b->source[i].ok && !strcmp(b->source[i].path, path)) {
			*out = b->source[i].digest;
			return true;
		}
	return false;
}

const char *edge_source_text(const struct build *b, const struct edge *edge, struct strbuf *scratch)
{
	strbuf_clear(scratch);
	switch (edge->kind) {
	case INPUT_FILE:
		strbuf_adds(scratch, b->source[edge->source].path);
		break;
	case INPUT_BYTES:
		strbuf_addf(scratch, "%zu bytes", edge->bytes.n);
		break;
	case INPUT_OUTPUT:
		strbuf_adds(scratch, edge->action->name);
		if (edge->output != OUTPUT_ALL && edge->action->noutput > 1)
			strbuf_addf(scratch, ":%s", edge->action->output[edge->output].name);
		break;
	}
	return scratch->s;
}

bool action_digest(const struct action *a, size_t output, struct digest *out)
{
	if (!a)
		return false;
	if (!a->known || output >= a->noutput)
		return false;
	*out = a->output[output].digest;
	return true;
}

bool action_key(const struct action *a, struct digest *out)
{
	if (a->has_key)
		*out = a->key;
	return a->has_key;
}

bool build_read(struct build *b, struct action *a, size_t output, struct arena *into,
	struct buf *out, struct err *e)
{
	struct map m;
	if (!a->known)
		return err_set(e, ERR_IO, "'%s' is not finished", a->name);
	enum store_found found = store_get(b->o.store, a->output[output].digest, &m, e);
	if (found == STORE_MISS)
		return err_set(e, ERR_IO, "output '%s' of '%s' is missing from the cache",
			a->output[output].name, a->name);
	if (found != STORE_OK)
		return false;
	*out = (struct buf){arena_copy(into, m.p, m.n), m.n};
	store_unmap(b->o.store, &m);
	return true;
}

void build_pass(struct build *b, struct action *a, size_t output)
{
	if (!a->passes)
		a->passes = arena_array(&b->arena, bool, a->noutput);
	a->passes[output] = true;
}

/* Digests of one kind, collected. */
struct digests {
	struct digest *d;
	size_t n;
};

static void add_digest(struct arena *a, struct digests *to, struct digest d)
{
	*arena_push(a, to->d, to->n) = d;
}

bool build_root(struct build *b, const char *name, struct err *e)
{
	struct arena scratch = {0};
	struct digests key = {0}, record = {0}, object = {0};
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->has_key)
			add_digest(&scratch, a->passes ? &record : &key, a->key);
		for (size_t k = 0; a->has_key && a->passes && a->known && k < a->noutput; k++)
			if (!a->passes[k])
				add_digest(&scratch, &object, a->output[k].digest);
	}
	struct store_root root = {key.d, key.n, record.d, record.n, object.d, object.n};
	bool ok = store_root_put(b->o.store, name, &root, e);
	arena_release(&scratch);
	return ok;
}

bool build_discard(struct build *b, uint64_t *bytes, struct err *e)
{
	struct arena scratch = {0};
	struct digests gone = {0};
	struct store_stat stat = {0};
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		for (size_t k = 0; a->passes && a->known && k < a->noutput; k++)
			if (a->passes[k])
				add_digest(&scratch, &gone, a->output[k].digest);
		for (size_t k = 0; a->passes && a->known && k < a->nref; k++)
			add_digest(&scratch, &gone, a->ref[k].digest);
	}
	bool ok = !gone.n || store_discard(b->o.store, gone.d, gone.n, &stat, e);
	*bytes = stat.freed_bytes;
	arena_release(&scratch);
	return ok;
}
