#include "work.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "gpu_device.h"
#include "lineage.h"
#include "pace.h"
#include "speed.h"

/* 0 run, 1 save and stop, 2 stop now. A signal handler can reach nothing but a global. */
static atomic_int stop_level;

static void on_signal(int number)
{
	(void)number;
	int level = atomic_load(&stop_level);
	atomic_store(&stop_level, level < 2 ? level + 1 : 2);
}

/* Without SA_RESTART, so that waits end; the terminal's second Ctrl-C comes here too. */
static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static const char *hardware(void *ctx, const char *target)
{
	const struct work *w = ctx;
	return lock_hardware(w->lock, target);
}

static int64_t stop_units(void *ctx, const char *target, const char *identity)
{
	const struct work *w = ctx;
	return lock_stop_units(w->lock, target, identity);
}

static bool speed(void *ctx, const struct speed_job *job, double *tokens_per_second, struct err *e)
{
	struct work *w = ctx;
	if (!speed_measure(w->store, job, tokens_per_second, e))
		return false;
	view_clear(&w->view);
	cli_say(w->cli, "target '%s': %s decodes %.2f tokens/s", job->target->spec->name, job->state, *tokens_per_second);
	return true;
}

/* Of each kind once: it takes a while. */
static double rate(void *ctx, const char *kind, int threads)
{
	struct work *w = ctx;
	for (size_t i = 0; i < w->npace; i++)
		if (!strcmp(w->pace[i].kind, kind))
			return w->pace[i].rate;
	*arena_push(w->cli->arena, w->pace, w->npace) =
		(struct pace){arena_strdup(w->cli->arena, kind), pace_measure(kind, threads)};
	return w->pace[w->npace - 1].rate;
}

/* Of the device that stages would run on. */
static uint64_t device_memory(void *ctx)
{
	struct work *w = ctx;
	struct gpu_device g;
	if (!w->device_asked && gpu_device_open(&g, 0, NULL)) {
		w->device_bytes = g.all_bytes;
		gpu_device_close(&g);
	}
	w->device_asked = true;
	return w->device_bytes;
}

static bool open_store(struct work *w, struct err *e)
{
	struct strbuf path;
	strbuf_init(&path);
	bool ok = store_default_path(&path, e) && store_open(&w->store, NULL, path.s, STORE_WRITE, e);
	if (ok) {
		strbuf_adds(&path, "/stat");
		bool rehash = cli_verb_takes(w->cli->verb, cli_option_find("rehash")) &&
			cli_flag(w->cli, "rehash");
		w->stat = statcache_new(NULL, path.s, rehash ? STATCACHE_REHASH : 0);
	}
	strbuf_release(&path);
	return ok;
}

/* The journal's file name without its ending is unique for a spec on this machine: it names the root. A smoke test
 * has one of its own: what it took says nothing of a build. */
static void open_journal(struct work *w)
{
	struct strbuf path;
	struct err e;
	strbuf_init(&path);
	if (journal_default_path(&path, w->path, &e)) {
		w->journal = arena_printf(w->cli->arena, "%.*s%s.journal", (int)(path.n - strlen(".journal")), path.s,
			w->options.smoke ? "-smoke" : "");
		const char *base = strrchr(w->journal, '/') + 1;
		w->root = arena_strndup(w->cli->arena, base, strlen(base) - strlen(".journal"));
	} else {
		cli_note(w->cli, &e);
	}
	strbuf_release(&path);
}

static bool open_events(struct work *w, struct err *e)
{
	bool takes = cli_verb_takes(w->cli->verb, cli_option_find("events"));
	const char *path = takes ? cli_option(w->cli, "events") : NULL;
	if (!path)
		return true;
	w->view.events = fopen(path, "we");
	return w->view.events || err_errno(e, "unable to write '%s'", path);
}

static bool choose(struct work *w, long *jobs, long *checkpoint, struct err *e)
{
	struct cli *c = w->cli;
	const char *name;
	const char **target = NULL;
	int n = 0;
	while (cli_verb_takes(c->verb, cli_option_find("target")) && (name = cli_option_at(c, "target", n)))
		*arena_push(c->arena, target, n) = name;
	w->options = (struct plan_options){.path = w->path, .target = target, .ntarget = (size_t)n, .units = stop_units,
		.speed = speed, .ctx = w};
	if (cli_verb_takes(c->verb, cli_option_find("locked")) && cli_flag(c, "locked"))
		w->options.hardware = hardware;
	w->options.smoke = cli_verb_takes(c->verb, cli_option_find("smoke")) && cli_flag(c, "smoke");
	if (w->options.smoke && w->options.hardware)
		return err_set(e, ERR_SPEC, "a smoke test has no lock: --smoke or --locked");
	if (w->options.smoke)
		plan_shrink(w->spec);
	if (cli_verb_takes(c->verb, cli_option_find("checkpoint")) &&
		!cli_option_int(c, "checkpoint", 0, 1 << 20, checkpoint, e))
		return false;
	return !cli_verb_takes(c->verb, cli_option_find("jobs")) ||
		cli_option_int(c, "jobs", 1, 1024, jobs, e);
}

/* Whether chains go on where the lock says, and if not, why. */
static bool find_lineage(struct work *w, struct err *e)
{
	struct err note;
	if (w->options.smoke)
		return true;
	const struct lineage **line;
	if (!lineage_find(w->cli->arena, w->spec, w->lock, w->stat, &line, e))
		return false;
	w->options.lineage = line;
	for (int i = 0; i < w->spec->nschedule; i++) {
		const struct spec_schedule *s = &w->spec->schedule[i];
		const struct lineage *l = line[i];
		if (l && l->how == LINEAGE_GROWN)
			cli_say(w->cli, "schedule '%s': new train rows since the lock, %s; its states go on with them", s->name,
				l->why);
		if (!l || l->how != LINEAGE_BROKEN)
			continue;
		spec_err_at(&note, s->tune.at, "schedule '%s' is tuned anew, from round 0: %s", s->name, l->why);
		cli_note(w->cli, &note);
	}
	return true;
}

static bool prepare(struct work *w, enum build_flags flags, struct err *e)
{
	long jobs = 0, checkpoint = 60;
	w->lock_path = lock_path(w->cli->arena, w->path);
	if (!choose(w, &jobs, &checkpoint, e) ||
		(!w->options.smoke && !lock_read(w->cli->arena, w->lock_path, &w->lock, e)) || !open_store(w, e) || !find_lineage(w, e) ||
		!open_events(w, e))
		return false;
	open_journal(w);
	catch_signals();
	struct build_options o = {.store = w->store, .stat = w->stat, .jobs = (int)jobs, .flags = flags,
		.checkpoint_s = checkpoint ? (int)checkpoint : -1,
		.journal = w->journal, .stop = &stop_level, .env = &w->env, .rate = rate, .device_memory = device_memory, .rate_ctx = w,
		.event = view_event, .event_ctx = &w->view};
	if (!build_new(&w->build, &o, e))
		return false;
	w->plan = (struct plan){.arena = w->cli->arena, .build = w->build, .spec = w->spec,
		.o = &w->options, .env = &w->env};
	return plan_spec(&w->plan, e);
}

int work_open(struct work *w, struct cli *c, const char *path, enum build_flags flags)
{
	struct err e = {0};
	*w = (struct work){.cli = c, .path = path, .view.cli = c};
	int code = cli_load_spec(c, path, &w->spec);
	if (code != EXIT_OK)
		return code;
	return prepare(w, flags, &e) ? EXIT_OK : cli_fail(c, &e);
}

bool work_run(struct work *w)
{
	bool ok = build_run(w->build, &w->result, &w->err);
	view_clear(&w->view);
	statcache_save(w->stat, NULL);
	return ok;
}

int work_failed(struct work *w)
{
	return w->view.nfail ? cli_exit_code(w->err.kind) : cli_fail(w->cli, &w->err);
}

bool work_output(struct work *w, struct action *action, size_t output, struct buf *out)
{
	struct digest d;
	return action && action_digest(action, output, &d) &&
		build_read(w->build, action, output, w->cli->arena, out, NULL);
}

void work_close(struct work *w)
{
	build_free(w->build);
	if (w->stat)
		statcache_free(w->stat);
	store_free(w->store);
	if (w->view.events)
		fclose(w->view.events);
}

enum report_form cli_report_form(const struct cli *c)
{
	return c->json ? REPORT_JSON : REPORT_TEXT;
}

void cli_print_report(struct cli *c, const char *spec, const struct strbuf *report)
{
	struct strbuf b;
	if (!c->json) {
		fwrite(report->s, 1, report->n, c->out);
		return;
	}
	strbuf_init(&b);
	strbuf_adds(&b, "{\"spec\":");
	strbuf_add_json(&b, spec, strlen(spec));
	fprintf(c->out, "%s,%s}\n", b.s, report->s);
	strbuf_release(&b);
}
