/* What a rule sees. Runs on a worker thread, but call_new and call_free. */
#include "build_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKPOINT_EVERY_S = 60, CHECKPOINT_COST_FACTOR = 20, PROGRESS_EVERY_MS = 50 };

struct rule_call *call_new(struct build *b, struct action *a, int threads)
{
	struct rule_call *c = xcalloc(1, sizeof(*c));
	c->build = b;
	c->action = a;
	c->threads = threads;
	c->lock.fd = -1;
	c->input = xcalloc(a->ninput + 1, sizeof(*c->input));
	c->input_open = xcalloc(a->ninput + 1, sizeof(*c->input_open));
	c->output = xcalloc(a->noutput + 1, sizeof(*c->output));
	c->output_given = xcalloc(a->noutput + 1, sizeof(*c->output_given));
	for (size_t i = 0; i < a->noutput; i++)
		c->output[i].name = a->output[i].name;
	c->batch = store_batch_new(b->o.store);
	return c;
}

void call_free(struct rule_call *c)
{
	struct build *b = c->build;
	for (size_t i = 0; i < c->action->ninput; i++)
		if (c->input_open[i])
			os_unmap(b->os, &c->input[i]);
	for (size_t i = 0; i < c->nobject; i++)
		os_unmap(b->os, &c->object[i]);
	os_unmap(b->os, &c->once);
	store_lock_release(b->o.store, &c->lock);
	store_batch_free(c->batch);
	free(c->input);
	free(c->input_open);
	free(c->output);
	free(c->output_given);
	arena_release(&c->arena);
	free(c);
}

/* ---- what it is given ---- */

const char *call_param(const struct rule_call *c, const char *name)
{
	return fields_get(&c->action->param, name);
}

const struct fields *call_params(const struct rule_call *c)
{
	return &c->action->param;
}

const void *call_env(const struct rule_call *c)
{
	return c->build->o.env;
}

int call_threads(const struct rule_call *c)
{
	return c->threads;
}

struct arena *call_arena(struct rule_call *c)
{
	return &c->arena;
}

size_t call_ninput(const struct rule_call *c)
{
	return c->action->ninput;
}

const char *call_input_name(const struct rule_call *c, size_t i)
{
	return c->action->input[i].name;
}

struct digest call_input_digest(const struct rule_call *c, size_t i)
{
	return c->action->input[i].digest;
}

int call_find(const struct rule_call *c, const char *name)
{
	for (size_t i = 0; i < c->action->ninput; i++)
		if (strcmp(c->action->input[i].name, name) == 0)
			return (int)i;
	return -1;
}

static bool open_object(struct rule_call *c, struct digest d, struct map *m, struct err *e)
{
	enum store_found found = store_get(c->build->o.store, d, m, e);
	c->result.damaged |= found == STORE_MISS;
	return found == STORE_OK;
}

static bool open_file(struct rule_call *c, const struct edge *edge, struct map *m, struct err *e)
{
	const char *path = c->build->source[edge->source].path;
	if (!os_map(c->build->os, path, m, e))
		return false;
	if (digest_equal(digest_of(m->p, m->n), edge->digest))
		return true;
	os_unmap(c->build->os, m);
	return err_set(e, ERR_IO, "'%s' changed during the build", path);
}

bool call_input(struct rule_call *c, size_t i, struct buf *out, struct err *e)
{
	const struct edge *edge = &c->action->input[i];
	if (i >= c->action->ninput)
		BUG("'%s' has no input %zu", c->action->name, i);
	if (edge->kind == INPUT_BYTES) {
		*out = edge->bytes;
		return true;
	}
	if (!c->input_open[i]) {
		bool ok = edge->kind == INPUT_FILE ? open_file(c, edge, &c->input[i], e) :
						     open_object(c, edge->digest, &c->input[i], e);
		if (!ok)
			return false;
		c->input_open[i] = true;
	}
	*out = (struct buf){c->input[i].p, c->input[i].n};
	return true;
}

bool call_input_named(struct rule_call *c, const char *name, struct buf *out, struct err *e)
{
	int i = call_find(c, name);
	if (i < 0)
		BUG("'%s' has no input named '%s'", c->action->name, name);
	return call_input(c, (size_t)i, out, e);
}

static void keep_map(struct rule_call *c, struct map m)
{
	*arena_push(&c->arena, c->object, c->nobject) = m;
}

bool call_object(struct rule_call *c, struct digest d, struct buf *out, struct err *e)
{
	struct map m;
	if (!open_object(c, d, &m, e))
		return false;
	keep_map(c, m);
	*out = (struct buf){m.p, m.n};
	return true;
}

bool call_object_once(struct rule_call *c, struct digest d, struct buf *out, struct err *e)
{
	os_unmap(c->build->os, &c->once);
	if (!open_object(c, d, &c->once, e))
		return false;
	*out = (struct buf){c->once.p, c->once.n};
	return true;
}

/* ---- what it gives ---- */

static void set_output(struct rule_call *c, size_t output, struct digest d, uint64_t bytes)
{
	if (output >= c->action->noutput || c->output_given[output])
		BUG("rule '%s' gives output %zu twice, or has no such output",
			c->action->rule->name, output);
	c->output_given[output] = true;
	c->output[output].digest = d;
	c->output[output].bytes = bytes;
}

bool call_output(struct rule_call *c, size_t output, struct buf bytes, struct err *e)
{
	struct digest d;
	if (!store_batch_put(c->batch, bytes, &d, e))
		return false;
	set_output(c, output, d, bytes.n);
	return true;
}

struct store_writer *call_output_begin(struct rule_call *c, struct err *e)
{
	return store_writer_begin(c->batch, e);
}

bool call_output_end(struct rule_call *c, size_t output, struct store_writer *w, struct err *e)
{
	struct digest d;
	uint64_t bytes;
	if (!store_writer_end(w, &d, &bytes, e))
		return false;
	set_output(c, output, d, bytes);
	return true;
}

void call_ref(struct rule_call *c, struct digest d, uint64_t bytes)
{
	*arena_push(&c->arena, c->ref, c->nref) = (struct record_object){NULL, d, bytes};
}

bool call_put(struct rule_call *c, struct buf bytes, struct digest *out, struct err *e)
{
	if (!store_batch_put(c->batch, bytes, out, e))
		return false;
	call_ref(c, *out, bytes.n);
	return true;
}

/* ---- long calls ---- */

enum call_next call_next(struct rule_call *c)
{
	int level = build_stop_level(c->build);
	if (level >= 2)
		return CALL_STOP;
	if (level == 1)
		return c->saves ? CALL_SAVE_AND_STOP : CALL_GO;
	int seconds = c->build->o.checkpoint_s;
	if (seconds < 0)
		return c->saves ? CALL_SAVE : CALL_GO;
	int64_t every = (int64_t)(seconds ? seconds : CHECKPOINT_EVERY_S) * 1000000000;
	if (every < CHECKPOINT_COST_FACTOR * c->save_cost_ns)
		every = CHECKPOINT_COST_FACTOR * c->save_cost_ns;
	int64_t now = c->build->os->tick_ns(c->build->os);
	return c->saves && now - c->saved_ns >= every ? CALL_SAVE : CALL_GO;
}

bool call_checkpoint_put(struct rule_call *c, uint64_t step, const struct buf *part, size_t npart,
	struct err *e)
{
	const struct os_ops *os = c->build->os;
	int64_t start = os->tick_ns(os);
	if (!store_checkpoint_put(c->build->o.store, c->action->key, step, part, npart, e))
		return false;
	c->saves = true;
	c->saved_ns = os->tick_ns(os);
	c->save_cost_ns = c->saved_ns - start;
	return true;
}

bool call_checkpoint_get(struct rule_call *c, uint64_t *step, struct buf *payload, struct err *e)
{
	struct map m;
	char text[40];
	c->saves = true;
	*payload = (struct buf){0};
	switch (store_checkpoint_get(c->build->o.store, c->action->key, step, &m, payload, e)) {
	case STORE_OK:
		keep_map(c, m);
		c->result.resumed = true;
		c->result.resumed_step = *step;
		snprintf(text, sizeof(text), "step %llu", (unsigned long long)*step);
		build_emit(c->build, EVENT_RESUME, c->action, text);
		return true;
	case STORE_MISS:
		*payload = (struct buf){0};
		return true;
	default:
		return false;
	}
}

/* Seeds are records whose key is of the rule and the name, so that gc and verify know them. */
static struct digest seed_key(const struct rule_call *c, struct buf name)
{
	struct hasher *h = hasher_new();
	int64_t version = c->action->rule->version;
	hasher_adds(h, "trim-seed 1");
	hasher_adds(h, c->action->rule->name);
	hasher_add(h, &version, sizeof(version));
	hasher_add_field(h, name.p, name.n);
	return hasher_end(h);
}

bool call_seed_get(struct rule_call *c, struct buf name, struct buf *out, struct err *e)
{
	struct record r;
	struct map m;
	*out = (struct buf){0};
	enum store_found found =
		store_record_get(c->build->o.store, seed_key(c, name), &c->arena, &r, e);
	if (found == STORE_OK && r.noutput == 1)
		found = store_get(c->build->o.store, r.output[0].digest, &m, e);
	else if (found == STORE_OK)
		found = STORE_MISS;
	if (found == STORE_OK) {
		keep_map(c, m);
		*out = (struct buf){m.p, m.n};
	}
	return found != STORE_FAIL;
}

void call_seed_put(struct rule_call *c, struct buf name, size_t output)
{
	*arena_push(&c->arena, c->seed, c->nseed) = (struct seed){seed_key(c, name), output};
}

void call_progress(struct rule_call *c, const struct progress *p)
{
	int64_t now = c->build->os->tick_ns(c->build->os);
	int64_t last = atomic_load(&c->progress_ns);
	if (last && now - last < (int64_t)PROGRESS_EVERY_MS * 1000000)
		return;
	atomic_store(&c->progress_ns, now);
	build_emit_event(c->build, (struct build_event){.kind = EVENT_PROGRESS,
		.action = c->action->name, .rule = c->action->rule->name, .text = p->text,
		.unit = p->unit, .done = p->done, .total = p->total});
}

void call_warn(struct rule_call *c, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	build_emit(c->build, EVENT_WARN, c->action, text);
}

const char *call_tmpdir(struct rule_call *c, struct err *e)
{
	struct strbuf path;
	if (c->tmpdir)
		return c->tmpdir;
	strbuf_init(&path);
	if (store_tmpdir(c->build->o.store, &path, e))
		c->tmpdir = arena_strdup(&c->arena, path.s);
	strbuf_release(&path);
	return c->tmpdir;
}

/* ---- running it ---- */

static int by_digest(const void *x, const void *y)
{
	return digest_compare(((const struct record_object *)x)->digest,
		((const struct record_object *)y)->digest);
}

static void sort_refs(struct rule_call *c)
{
	size_t n = 0;
	if (c->nref)
		qsort(c->ref, c->nref, sizeof(*c->ref), by_digest);
	for (size_t i = 0; i < c->nref; i++)
		if (!n || !digest_equal(c->ref[n - 1].digest, c->ref[i].digest))
			c->ref[n++] = c->ref[i];
	c->nref = n;
}

/* Makes the results durable, then answers the key. */
static bool commit(struct rule_call *c, struct err *e)
{
	struct store *s = c->build->o.store;
	struct record *r = &c->result.record;
	for (size_t i = 0; i < c->action->noutput; i++)
		if (!c->output_given[i])
			return err_set(e, ERR_IO, "rule '%s' gave no output '%s'",
				c->action->rule->name, c->output[i].name);
	sort_refs(c);
	*r = (struct record){c->output, c->ref, c->action->noutput, c->nref, c->result.wall_ns};
	if (!store_batch_commit(c->batch, e) || !store_record_put(s, c->action->key, r, e))
		return false;
	store_checkpoint_drop(s, c->action->key);
	for (size_t i = 0; i < c->nseed; i++) {
		struct record seed = {.output = &c->output[c->seed[i].output], .noutput = 1};
		/* it only saves work */
		store_record_put(s, c->seed[i].key, &seed, NULL);
	}
	return true;
}

void call_run(struct rule_call *c)
{
	const struct os_ops *os = c->build->os;
	struct call_result *r = &c->result;
	c->started_ns = c->saved_ns = os->tick_ns(os);
	r->err = (struct err){.kind = ERR_IO};
	bool peak = c->measures_peak && memory_peak_reset();
	r->ok = c->action->rule->run(c, &r->err);
	r->wall_ns = os->tick_ns(os) - c->started_ns;
	r->peak_bytes = peak ? memory_peak() : 0;
	if (c->action->rule->estimate)
		memory_give_back();
	if (r->ok)
		r->ok = commit(c, &r->err);
	if (c->tmpdir)
		store_tmpdir_remove(c->build->o.store, c->tmpdir);
	/* a rule may carry on without what it could not read; then nothing is to be made again */
	r->damaged &= !r->ok;
}

static bool read_recipe(struct build *b, struct arena *a, struct digest d, struct recipe *out,
	enum store_found *found, struct err *e)
{
	struct map m;
	*found = store_get(b->o.store, d, &m, e);
	if (*found != STORE_OK)
		return false;
	bool ok = recipe_parse(a, (struct buf){m.p, m.n}, out, e);
	if (!ok)
		*found = STORE_FAIL;
	store_unmap(b->o.store, &m);
	return ok;
}

bool output_is_current(struct build *b, struct action *a)
{
	struct digest want = a->input[0].digest, is;
	struct stat st;
	if (a->path_flags & OUTPUT_RECIPE) {
		struct arena arena = {0};
		struct recipe r;
		enum store_found found;
		bool ok = read_recipe(b, &arena, want, &r, &found, NULL);
		want = r.whole;
		arena_release(&arena);
		if (!ok)
			return false;
	}
	/* a missing file would be counted as an error by the stat table */
	return b->os->stat(b->os, AT_FDCWD, a->path, &st) == 0 && S_ISREG(st.st_mode) &&
		(!(a->path_flags & OUTPUT_EXECUTABLE) || (st.st_mode & 0111)) &&
		statcache_digest(b->stat, a->path, &is, NULL, NULL) && digest_equal(is, want);
}

void output_run(struct rule_call *c)
{
	struct build *b = c->build;
	struct action *a = c->action;
	struct call_result *r = &c->result;
	struct digest d = a->input[0].digest;
	unsigned mode = a->path_flags & OUTPUT_EXECUTABLE ? 0777 : 0666;
	enum store_found found = STORE_FAIL;
	const char *slash = strrchr(a->path, '/');
	char *folder = arena_strndup(&c->arena, a->path, slash ? (size_t)(slash - a->path) : 0);
	r->err = (struct err){.kind = ERR_IO};
	if (!*folder || os_mkdirs(b->os, folder, &r->err)) {
		if (a->path_flags & OUTPUT_RECIPE) {
			struct recipe recipe;
			if (read_recipe(b, &c->arena, d, &recipe, &found, &r->err))
				found = store_assemble(b->o.store, &recipe, a->path, mode, &r->err);
		} else {
			found = store_materialise(b->o.store, d, a->path, mode, &r->err);
		}
	}
	r->ok = r->wrote = found == STORE_OK;
	r->damaged = found == STORE_MISS;
}
