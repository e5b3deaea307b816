#include "speed.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu.h"
#include "emit.h"
#include "model_run.h"
#include "weights.h"

enum { MAX_TOKENS = 4096, MIN_TOKENS = 16 };
static const int64_t enough_ns = 500000000;

/* Weights as they lie in the store, mapped. */
struct mapped {
	struct store *store;
	struct weights list;
	struct map *map; /* of each that is open */
	size_t nmap;
};

static struct buf find_weight(void *ctx, const char *name)
{
	const struct mapped *m = ctx;
	for (size_t i = 0; i < m->nmap; i++)
		if (!strcmp(m->list.weight[i].name, name))
			return (struct buf){m->map[i].p, m->map[i].n};
	return (struct buf){0};
}

static bool map_weights(struct mapped *m, struct err *e)
{
	for (; m->nmap < m->list.nweight; m->nmap++) {
		enum store_found found = store_get(m->store, m->list.weight[m->nmap].digest, &m->map[m->nmap], e);
		if (found == STORE_MISS)
			return err_set(e, ERR_IO, "weight '%s' was lost from the cache; the same command makes it again",
				m->list.weight[m->nmap].name);
		if (found != STORE_OK)
			return false;
	}
	return true;
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static int64_t token_ns(struct session *s, uint32_t at, int i)
{
	struct sequence q = {.n = at};
	int64_t begin = now_ns();
	session_decode(s, &q, (uint32_t)((uint64_t)i * 2654435761u % (uint64_t)s->nvocab));
	return now_ns() - begin;
}

static double decode(struct session *s)
{
	int64_t *took = xcalloc(MAX_TOKENS, sizeof(*took)), all = 0;
	uint32_t at = s->context > SPEED_AT ? SPEED_AT : s->context - 1;
	int n = 0;
	token_ns(s, at, 0);
	for (; n < MAX_TOKENS && (all < enough_ns || n < MIN_TOKENS); n++)
		all += took[n] = token_ns(s, at, n);
	qsort(took, (size_t)n, sizeof(*took), by_size);
	int64_t median = took[n / 2] ? took[n / 2] : 1;
	free(took);
	return 1e9 / (double)median;
}

static bool run(const struct speed_job *job, struct mapped *m, struct pool *pool, double *out, struct err *e)
{
	struct loaded loaded;
	struct session s;
	if (!map_weights(m, e) || !emit_load(job->object, &loaded, e))
		return false;
	bool ok = session_open(&s, loaded.program[0], &(struct param_source){m, find_weight}, pool, job->context, e);
	if (ok)
		*out = decode(&s);
	session_release(&s);
	emit_unload(&loaded);
	return ok;
}

bool speed_measure(struct store *store, const struct speed_job *job, double *tokens_per_second, struct err *e)
{
	struct arena a = {0};
	struct mapped m = {.store = store};
	int threads = job->target->spec->threads ? (int)job->target->spec->threads : cpu_threads();
	struct pool *pool = pool_new(threads);
	if (!pool)
		return err_set(e, ERR_IO, "unable to start %d threads", threads);
	bool ok = weights_read(&a, job->weights, &m.list, e);
	if (ok) {
		m.map = arena_array(&a, struct map, m.list.nweight);
		ok = run(job, &m, pool, tokens_per_second, e);
	}
	while (m.nmap)
		store_unmap(store, &m.map[--m.nmap]);
	pool_free(pool);
	arena_release(&a);
	return ok;
}

const char *speed_identity(const struct plan *p, const struct plan_target *t, const struct state *import)
{
	struct strbuf b;
	struct state shape = state_shape(p->arena, import);
	char hex[DIGEST_HEX];
	strbuf_init(&b);
	const struct spec_schedule *schedule = &p->spec->schedule[t->schedule];
	strbuf_addf(&b, "%s\n%s\n%s\n%lld %lld %lld\n", plan_keep(p, t)->text, t->hardware.names,
		numerics_classes[t->numerics].name, (long long)t->spec->context, (long long)t->spec->threads,
		(long long)schedule->per_round);
	if (!schedule->per_round)
		strbuf_addf(&b, "%.9g\n", schedule->per_round_share);
	state_write(&b, &shape);
	digest_hex(digest_of(b.s, b.n), hex);
	strbuf_release(&b);
	return arena_strdup(p->arena, hex);
}

/* What is asked of a GPU's speed no CPU can tell. */
const struct target *speed_cpu(const struct plan_target *t)
{
	if (t->hardware.ngpu)
		return NULL;
	for (size_t i = t->hardware.n; i-- > 0;)
		if (target_runs_here(t->hardware.target[i]))
			return t->hardware.target[i];
	return NULL;
}
