/*
 * The scheduler: one step at a time on the graph's thread. build.h and build_internal.h say what
 * the states mean; here every transition has one function.
 */
#include "build_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* While someone else runs an equal action, its lock is tried again after this. */
enum { LOCK_RETRY_NS = 20 * 1000 * 1000 };

static bool stopped(const struct build *b)
{
	return b->stopping || build_stop_level(b) > 0;
}

/* ---- what an end means for those behind it ---- */

static void skip_dependents(struct build *b, struct action *a)
{
	for (size_t i = 0; i < a->ndependent; i++) {
		struct action *d = a->dependent[i];
		/* with known digests only those that want the bytes are lost */
		if ((d->state == STATE_WAIT && !a->known) || d->state == STATE_NEED)
			build_step_later(b, d);
	}
}

static void skip(struct build *b, struct action *a, const char *because)
{
	strbuf_clear(&b->scratch);
	strbuf_addf(&b->scratch, "'%s' failed", because);
	a->state = STATE_SKIPPED;
	a->failure = arena_strdup(&b->arena, b->scratch.s);
	if (a->kind == ACTION_RULE)
		build_emit(b, EVENT_SKIP, a, a->failure);
	skip_dependents(b, a);
}

static void note_failure(struct build *b, const struct err *e)
{
	if (!b->failed || (b->first_err.kind == ERR_CANCELLED && e->kind != ERR_CANCELLED))
		b->first_err = *e;
	b->failed = true;
	if (!(b->o.flags & BUILD_KEEP_GOING))
		b->stopping = true;
}

static void write_journal(struct build *b, const struct action *a, const char *how)
{
	struct err e;
	if (a->kind == ACTION_RULE && b->journal && !(b->o.flags & BUILD_DRY_RUN) &&
		!journal_action(b->journal, b, a, how, &e))
		build_emit(b, EVENT_WARN, a, e.msg);
}

static void fail(struct build *b, struct action *a, const struct err *e)
{
	char text[1200];
	err_format(e, text, sizeof(text));
	a->state = STATE_FAILED;
	a->failure = arena_strdup(&b->arena, text);
	note_failure(b, e);
	write_journal(b, a, e->kind == ERR_CANCELLED ? "interrupted" : "failed");
	build_emit(b, EVENT_FAIL, a, a->failure);
	skip_dependents(b, a);
}

/* An input whose digests will not be known in this build. */
static const struct action *lost_input(const struct action *a)
{
	for (size_t i = 0; i < a->ninput; i++) {
		const struct action *from = a->input[i].action;
		if (from && !from->known &&
			(from->state == STATE_FAILED || from->state == STATE_SKIPPED))
			return from;
	}
	return NULL;
}

/* a's digests are known, or its bytes are back: those that waited for either go on. */
static void settle(struct build *b, struct action *a, bool was_known)
{
	a->state = STATE_KNOWN;
	a->restoring = false;
	for (size_t i = 0; i < a->ndependent; i++) {
		struct action *d = a->dependent[i];
		if (!was_known && d->nunknown && --d->nunknown == 0)
			build_step_later(b, d);
		else if (d->state == STATE_NEED && d->nabsent && --d->nabsent == 0)
			build_step_later(b, d);
	}
}

/* ---- the steps ---- */

static struct pool_state *pool_of(struct build *b, const struct action *a)
{
	if (a->alone)
		return &b->pool[POOL_COMPUTE];
	if (a->kind != ACTION_RULE || !a->rule->pool)
		return &b->pool[POOL_NONE];
	for (size_t i = 1; i < b->npool; i++)
		if (strcmp(b->pool[i].name, a->rule->pool) == 0)
			return &b->pool[i];
	BUG("rule '%s' wants pool '%s', which nobody declared", a->rule->name, a->rule->pool);
}

static void become_ready(struct build *b, struct action *a)
{
	a->state = STATE_READY;
	build_push(&pool_of(b, a)->ready, a);
}

/* It must run. The bytes of its inputs are made first where they are missing. */
static void need(struct build *b, struct action *a)
{
	bool dry = b->o.flags & BUILD_DRY_RUN;
	a->nabsent = 0;
	a->state = STATE_NEED;
	for (size_t i = 0; i < a->ninput; i++) {
		struct edge *edge = &a->input[i];
		struct action *from = edge->action;
		if (edge_present(b, edge))
			continue;
		if (from->state == STATE_FAILED || from->state == STATE_SKIPPED) {
			skip(b, a, from->name);
			return;
		}
		if (from->state == STATE_KNOWN) {
			from->state = STATE_NEED;
			from->restoring = true;
			from->nabsent = 0;
			strbuf_clear(&b->scratch);
			strbuf_addf(&b->scratch,
				"its output is missing from the cache and '%s' needs it", a->name);
			from->reason = arena_strdup(&b->arena, b->scratch.s);
			build_step_later(b, from);
		}
		a->nabsent++;
	}
	/* what was missing may have come back by making the inputs: a drop names tensors of others
	 */
	if (a->restoring && !a->nabsent && action_present(b, a)) {
		settle(b, a, true);
		return;
	}
	if (dry) {
		if (a->kind == ACTION_RULE) {
			a->state = STATE_WOULD;
			if (!a->reason)
				a->reason = explain_run(b, a);
			build_emit(b, EVENT_WOULD, a, a->reason);
		} else {
			bool called = !a->nabsent && !a->alone;
			a->state = a->kind == ACTION_GENERATE && !called ? STATE_UNKNOWN : STATE_WOULD;
			if (a->kind == ACTION_GENERATE && called)
				become_ready(b, a);
		}
		return;
	}
	if (!a->nabsent)
		become_ready(b, a);
}

static void resolve(struct build *b, struct action *a)
{
	struct err e;
	bool hit;
	if (!action_resolve(b, a, &e)) {
		err_context(&e, "%s", a->name);
		fail(b, a, &e);
		return;
	}
	switch (a->kind) {
	case ACTION_RULE:
		if (!action_lookup(b, a, &hit, &e)) {
			fail(b, a, &e);
		} else if (hit) {
			write_journal(b, a, "hit");
			build_emit(b, EVENT_HIT, a, NULL);
			settle(b, a, false);
		} else {
			need(b, a);
		}
		break;
	case ACTION_OUTPUT:
		if (output_is_current(b, a))
			a->state = STATE_KNOWN;
		else
			need(b, a);
		break;
	case ACTION_WANT:
		if (action_present(b, a->input[0].action))
			a->state = STATE_KNOWN;
		else
			need(b, a);
		break;
	case ACTION_GENERATE:
		need(b, a);
		break;
	}
}

static void generate(struct build *b, struct action *a)
{
	struct buf *input = xcalloc(a->ninput + 1, sizeof(*input));
	struct map *map = xcalloc(a->ninput + 1, sizeof(*map));
	struct err e;
	bool ok = true, again = false;
	size_t n = 0;
	for (; ok && n < a->ninput; n++) {
		struct edge *edge = &a->input[n];
		if (edge->kind == INPUT_BYTES) {
			input[n] = edge->bytes;
		} else if (edge->kind == INPUT_FILE) {
			ok = os_map(b->os, b->source[edge->source].path, &map[n], &e);
			input[n] = (struct buf){map[n].p, map[n].n};
		} else {
			enum store_found found = store_get(b->o.store, edge->digest, &map[n], &e);
			ok = found == STORE_OK;
			again = found == STORE_MISS;
			input[n] = (struct buf){map[n].p, map[n].n};
		}
	}
	if (ok) {
		ok = a->generate(b, a->generate_ctx, input, &e);
		a->state = STATE_KNOWN;
	}
	for (size_t i = 0; i < n; i++)
		if (map[i].p)
			os_unmap(b->os, &map[i]);
	free(input);
	free(map);
	if (again && a->nagain++ < 3) {
		need(b, a);
	} else if (!ok) {
		/* A place in a file says more than the name of what only the graph's author knows. */
		if (!e.file[0])
			err_context(&e, "%s", a->name);
		fail(b, a, &e);
	}
}

static void step(struct build *b, struct action *a)
{
	const struct action *lost;
	if (a->state != STATE_WAIT && a->state != STATE_NEED)
		return;
	if (a->state == STATE_WAIT && a->nunknown) {
		if ((lost = lost_input(a)))
			skip(b, a, lost->name);
		return;
	}
	if (a->state == STATE_WAIT)
		resolve(b, a);
	else
		need(b, a);
}

/* ---- dispatch and completion ---- */

/* True if a went to a worker or is settled; false if it is blocked. */
static bool dispatch(struct build *b, struct action *a, struct pool_state *pool)
{
	struct store_lock lock = {.fd = -1};
	struct err e;
	bool hit = false, was_known = a->known;
	int pid, threads = pool->all_threads ? b->o.jobs : 1;
	if (a->kind == ACTION_WANT) {
		a->state = STATE_KNOWN;
		return true;
	}
	if (a->kind == ACTION_GENERATE) {
		generate(b, a);
		return true;
	}
	if (a->kind == ACTION_RULE) {
		if (!store_lock_try(b->o.store, a->key, &lock, &pid, &e)) {
			err_context(&e, "%s", a->name);
			fail(b, a, &e);
			return true;
		}
		if (lock.fd < 0) {
			if (!a->waited) {
				strbuf_clear(&b->scratch);
				strbuf_addf(&b->scratch, "process %d runs it", pid);
				build_emit(b, EVENT_WAIT, a, b->scratch.s);
			}
			a->waited = true;
			a->state = STATE_BLOCKED;
			build_push(&b->blocked, a);
			return false;
		}
		/* whoever held the lock until now may have answered */
		bool answered = a->restoring ? (hit = action_present(b, a), true) :
					       action_lookup(b, a, &hit, &e);
		if (!answered || hit) {
			store_lock_release(b->o.store, &lock);
			if (!answered) {
				fail(b, a, &e);
			} else {
				if (!a->restoring) {
					write_journal(b, a, "hit");
					build_emit(b, EVENT_HIT, a, NULL);
				}
				settle(b, a, was_known);
			}
			return true;
		}
		if (!a->reason)
			a->reason = explain_run(b, a);
	}
	if (a->kind == ACTION_RULE)
		estimate_before(b, a);
	struct rule_call *c = call_new(b, a, threads);
	c->lock = lock;
	c->measures_peak = !b->nrunning;
	c->number = ++b->ncall;
	a->state = STATE_RUNNING;
	if (a->kind == ACTION_RULE)
		build_emit(b, EVENT_RUN, a, a->reason);
	if (!worker_start(b, c, &e)) {
		call_free(c);
		err_context(&e, "%s", a->name);
		fail(b, a, &e);
		return true;
	}
	b->nrunning++;
	pool->nrunning++;
	b->free_threads -= threads;
	return true;
}

static void dispatch_ready(struct build *b)
{
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < b->npool; i++) {
			struct pool_state *pool = &b->pool[i];
			int threads = pool->all_threads ? b->o.jobs : 1;
			if (!pool->ready.first || pool->nrunning >= pool->depth ||
				b->free_threads < threads)
				continue;
			struct action *a = build_pop(&pool->ready);
			if (stopped(b) && a->kind != ACTION_WANT) {
				a->state = STATE_SKIPPED;
				a->failure = "the build stopped before";
			} else {
				dispatch(b, a, pool);
			}
			again = true;
		}
	}
}

static void retry_blocked(struct build *b)
{
	struct queue q = b->blocked;
	b->blocked = (struct queue){0};
	for (struct action *a; (a = build_pop(&q));)
		become_ready(b, a);
}

static void differs(struct build *b, struct action *a)
{
	struct err e;
	err_set(&e, ERR_IO, "%s: rule '%s' gave other bytes than before from the same inputs",
		a->name, a->rule->name);
	fail(b, a, &e);
}

/* A call met one damaged object; where one is there may be more. Reading all that it could read
 * finds them at once, instead of one by one with a call between. */
static void set_damage_aside(struct build *b, const struct action *a)
{
	struct map m;
	for (size_t i = 0; i < a->ninput; i++) {
		const struct edge *edge = &a->input[i];
		if (edge->kind != INPUT_OUTPUT || edge->output == OUTPUT_ALL)
			continue;
		if (store_get(b->o.store, edge->digest, &m, NULL) == STORE_OK)
			store_unmap(b->o.store, &m);
		for (size_t k = 0; k < edge->action->nref; k++)
			if (store_get(b->o.store, edge->action->ref[k].digest, &m, NULL) ==
				STORE_OK)
				store_unmap(b->o.store, &m);
	}
}

static void finish(struct build *b, struct rule_call *c)
{
	struct action *a = c->action;
	struct call_result *r = &c->result;
	struct pool_state *pool = pool_of(b, a);
	char how[40] = "run";
	bool was_known = a->known;
	b->nrunning--;
	pool->nrunning--;
	b->free_threads += c->threads;
	store_lock_release(b->o.store, &c->lock);
	if (r->damaged && a->nagain++ < 3) {
		build_emit(b, EVENT_AGAIN, a, r->err.msg);
		if (stopped(b)) {
			a->state = STATE_SKIPPED;
			a->failure = "the build stopped before";
		} else {
			set_damage_aside(b, a);
			need(b, a);
		}
	} else if (!r->ok) {
		err_context(&r->err, "%s", a->name);
		fail(b, a, &r->err);
	} else if (a->kind == ACTION_OUTPUT) {
		a->state = STATE_KNOWN;
		a->ran = r->wrote;
		build_emit(b, EVENT_OUTPUT, a, a->path);
	} else {
		a->ran = true;
		a->peak_bytes = c->number == b->ncall ? r->peak_bytes : 0;
		r->record.ref = arena_copy(&b->arena, r->record.ref,
			r->record.nref * sizeof(*r->record.ref));
		if (!action_take(a, &r->record)) {
			differs(b, a);
		} else {
			if (r->resumed)
				snprintf(how, sizeof(how), "resumed:%llu",
					(unsigned long long)r->resumed_step);
			write_journal(b, a, how);
			build_emit_event(b, (struct build_event){.kind = EVENT_DONE,
				.action = a->name, .rule = a->rule->name, .wall_ns = r->wall_ns});
			settle(b, a, was_known);
		}
	}
	call_free(c);
}

static void count(struct build *b, struct build_result *r)
{
	*r = (struct build_result){0};
	for (size_t i = 0; i < b->naction; i++) {
		struct action *a = b->action[i];
		if (a->kind == ACTION_OUTPUT)
			r->nwritten += a->ran;
		r->nfailed += a->state == STATE_FAILED;
		if (a->kind != ACTION_RULE)
			continue;
		r->nrun += a->ran;
		switch (a->state) {
		case STATE_KNOWN:
			r->ncached += !a->ran;
			break;
		case STATE_FAILED:
			break;
		case STATE_WOULD:
			r->nwould_run++;
			break;
		case STATE_UNKNOWN:
			r->nunknown++;
			break;
		default:
			r->nskipped++;
		}
	}
	r->interrupted = build_stop_level(b) > 0;
}

/* Whatever has not come to an end when nothing moves any more. */
static void close_open_states(struct build *b)
{
	bool dry = b->o.flags & BUILD_DRY_RUN, idle = !stopped(b);
	for (size_t i = 0; i < b->naction; i++) {
		struct action *a = b->action[i];
		if (a->state == STATE_FAILED || a->state == STATE_SKIPPED ||
			a->state == STATE_KNOWN || a->state == STATE_WOULD ||
			a->state == STATE_UNKNOWN)
			continue;
		if (dry && a->state == STATE_WAIT) {
			a->state = STATE_UNKNOWN;
			continue;
		}
		if (idle)
			BUG("'%s' waits for nothing (state %d)", a->name, (int)a->state);
		a->state = STATE_SKIPPED;
		a->failure = "the build stopped before";
	}
}

bool build_run(struct build *b, struct build_result *out, struct err *e)
{
	struct err journal_err;
	if (!b->began)
		build_emit(b, EVENT_BEGIN, NULL, NULL);
	b->began = true;
	for (;;) {
		for (struct action *a; (a = build_pop(&b->steps));) {
			a->queued = false;
			step(b, a);
		}
		dispatch_ready(b);
		if (b->steps.first)
			continue;
		if (!b->nrunning && (!b->blocked.first || stopped(b)))
			break;
		struct rule_call *c = worker_wait(b, b->blocked.first ? LOCK_RETRY_NS : -1);
		while (c) {
			struct rule_call *next = c->next;
			finish(b, c);
			c = next;
		}
		retry_blocked(b);
	}
	while (build_pop(&b->blocked))
		;
	close_open_states(b);
	count(b, &b->result);
	if (b->result.interrupted && (b->result.nskipped || b->failed)) {
		if (!b->failed || b->first_err.kind == ERR_CANCELLED)
			err_set(&b->first_err, ERR_CANCELLED,
				"interrupted; the same command goes on where it stopped");
		b->failed = true;
	}
	if (b->journal && !(b->o.flags & BUILD_DRY_RUN) &&
		!journal_end(b->journal, &b->result, &journal_err))
		build_emit(b, EVENT_WARN, NULL, journal_err.msg);
	build_emit_event(b, (struct build_event){.kind = EVENT_END, .result = &b->result});
	if (out)
		*out = b->result;
	if (b->failed && e)
		*e = b->first_err;
	return !b->failed;
}
