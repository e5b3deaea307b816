#include "work.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chain.h"
#include "file.h"

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* out/ with a .gitignore of its own, and the targets' folders. */
static bool make_folders(struct work *w, struct err *e)
{
	const char *ignore = arena_printf(w->cli->arena, "%s/.gitignore", w->plan.outputs);
	for (size_t i = 0; i < w->plan.ntarget; i++) {
		const char *path = w->plan.target[i].path;
		const char *folder = path ? arena_strndup(w->cli->arena, path,
						   (size_t)(strrchr(path, '/') - path))
					  : NULL;
		if (folder && access(folder, F_OK) != 0 && !make_directories(folder, e))
			return false;
	}
	if (access(ignore, F_OK) == 0 || access(w->plan.outputs, F_OK))
		return true;
	return file_write(ignore, (struct buf){"*\n", 2}, 0644, e);
}

/* Writes the lock, or with --locked compares it. */
static bool finish_lock(struct work *w, struct err *e)
{
	struct strbuf b, recorded;
	struct json *now;
	bool locked = cli_flag(w->cli, "locked");
	if (locked && !w->lock)
		return err_set(e, ERR_IO, "--locked: there is no '%s'", w->lock_path);
	strbuf_init(&b);
	strbuf_init(&recorded);
	bool ok = lock_write(&b, &w->plan, w->lock, e);
	if (ok && locked)
		ok = json_parse(w->cli->arena, strbuf_buf(&b), w->lock_path, 1, &now, e) &&
			(lock_compare(w->lock, now, e) || err_context(e, "%s", w->lock_path));
	else if (ok && !(w->lock && file_read(&recorded, w->lock_path, NULL) && recorded.n == b.n &&
				!memcmp(recorded.s, b.s, b.n)))
		ok = file_write(w->lock_path, strbuf_buf(&b), 0644, e);
	strbuf_release(&recorded);
	strbuf_release(&b);
	return ok;
}

static void add_outputs(struct strbuf *out, const struct work *w)
{
	bool first = true;
	for (size_t i = 0; i < w->plan.ntarget; i++) {
		const struct plan_target *t = &w->plan.target[i];
		struct digest d;
		if (t->failed || !action_digest(t->binary, 0, &d))
			continue;
		strbuf_adds(out, first ? "{\"target\":" : ",{\"target\":");
		strbuf_add_json(out, t->spec->name, strlen(t->spec->name));
		strbuf_adds(out, ",\"path\":");
		strbuf_add_json(out, t->path, strlen(t->path));
		strbuf_addf(out, ",\"gate\":%s}", plan_gate_json(t));
		first = false;
	}
}

/* "NAME":, with a comma before it unless it is an object's first. */
static void add_name(struct strbuf *out, const char *name)
{
	strbuf_adds(out, out->s[out->n - 1] == '{' ? "" : ",");
	strbuf_add_json(out, name, strlen(name));
	strbuf_addc(out, ':');
}

/* What is written of a target's measures. */
struct told {
	const char *name;
	const struct plan_measures *on;
	bool parent; /* of the untouched model */
	const char *measured;
};

/* The metrics of an evaluation, where they were measured, and what the numerics class costs. */
static bool add_measures(struct strbuf *out, struct work *w, const char *name, const struct told *t, int set)
{
	const struct plan_measures *m = &t->on[set];
	struct buf text;
	if (!work_output(w, t->parent ? m->evaluate_parent : m->evaluate, EVALUATE_METRICS, &text))
		return false;
	add_name(out, name);
	strbuf_add(out, text.p, text.n - 1); /* an object: what follows goes into it */
	strbuf_addf(out, ",\"measured\":\"%s\"", t->measured);
	if (!t->parent && work_output(w, m->cost, 0, &text)) {
		strbuf_adds(out, ",\"cost\":");
		strbuf_add(out, text.p, text.n);
	}
	strbuf_addc(out, '}');
	return true;
}

/* Of several datasets an object by their names. */
static bool add_metrics(struct strbuf *out, struct work *w, const struct told *t)
{
	struct strbuf sets;
	bool any = false;
	if (!t->on)
		return false;
	if (w->spec->ndataset == 1)
		return add_measures(out, w, t->name, t, 0);
	strbuf_init(&sets);
	strbuf_addc(&sets, '{');
	for (int i = 0; i < w->spec->ndataset; i++)
		any |= add_measures(&sets, w, w->spec->dataset[i].name, t, i);
	if (any) {
		add_name(out, t->name);
		strbuf_addf(out, "%s}", sets.s);
	}
	strbuf_release(&sets);
	return any;
}

/* A GPU's class is measured by its twin, the CPU's, unless its schedule runs on a GPU. */
static bool measured_here(const struct plan_target *t)
{
	const struct plan_hardware *h = &t->hardware;
	bool any = t->measured_on != DEVICE_CPU;
	for (size_t i = 0; i < h->n && !h->ngpu; i++)
		any = any || target_runs_here(h->target[i]);
	return any;
}

static void add_all_metrics(struct strbuf *out, struct work *w)
{
	bool parent = false;
	for (size_t i = 0; i < w->plan.ntarget && !parent; i++)
		parent = add_metrics(out, w, &(struct told){"parent", w->plan.target[i].on, true, "here"});
	for (size_t i = 0; i < w->plan.ntarget; i++) {
		const struct plan_target *t = &w->plan.target[i];
		if (!t->failed)
			add_metrics(out, w, &(struct told){t->spec->name, t->on, false,
				measured_here(t) ? "here" : "twin"});
	}
}

static bool gates_passed(const struct work *w)
{
	bool passed = true;
	for (size_t i = 0; i < w->plan.ntarget; i++) {
		const struct plan_target *t = &w->plan.target[i];
		struct buf text;
		if (!t->gate_failed)
			continue;
		passed = false;
		for (size_t k = 0; k < t->nverdict; k++)
			if (build_read(w->build, t->verdict[k], 0, w->cli->arena, &text, NULL))
				cli_say(w->cli, "target '%s': gate not passed: %.*s", t->spec->name,
					(int)text.n, (const char *)text.p);
	}
	return passed;
}

static void say_stops(const struct work *w)
{
	for (size_t i = 0; i < w->plan.ntarget; i++) {
		const struct plan_target *t = &w->plan.target[i];
		struct err e;
		if (t->nothing_passed) {
			spec_err_at(&e, t->spec->keep.at, "target '%s' %s", t->spec->name, t->stop);
			cli_note(w->cli, &e);
		} else if (t->stop) {
			cli_say(w->cli, "target '%s' %s", t->spec->name, t->stop);
		}
	}
}

static void say_smoke(const struct work *w)
{
	if (w->options.smoke)
		cli_say(w->cli, "a smoke test: every stage on %d rows and %d round; gates say nothing on so few", SMOKE_ROWS,
			SMOKE_ROUNDS);
}

static void print_result(struct work *w, double took)
{
	const struct build_result *r = &w->result;
	struct strbuf b;
	strbuf_init(&b);
	if (w->cli->json) {
		strbuf_addf(&b, "{\"actions\":{\"run\":%zu,\"cached\":%zu,\"failed\":%zu},\"outputs\":[",
			r->nrun, r->ncached, r->nfailed);
		add_outputs(&b, w);
		strbuf_adds(&b, "],\"metrics\":{");
		add_all_metrics(&b, w);
		strbuf_adds(&b, "}}");
		fprintf(w->cli->out, "%s\n", b.s);
	} else {
		for (size_t i = 0; i < w->plan.ntarget; i++) {
			struct digest d;
			const struct plan_target *t = &w->plan.target[i];
			if (!t->failed && action_digest(t->binary, 0, &d) && !access(t->path, X_OK))
				fprintf(w->cli->out, "%s\n", t->path);
		}
	}
	strbuf_release(&b);
	cli_say(w->cli, "%zu run, %zu cached, %zu failed, %zu skipped; %zu file%s written, %.3f s", r->nrun,
		r->ncached, r->nfailed, r->nskipped, r->nwritten, r->nwritten == 1 ? "" : "s", took);
}

/* What gc keeps: a root for the spec; while only some targets are built, one for each of those beside it,
 * so that the others' objects stay. Then what passes goes. */
static bool put_roots(struct work *w, struct err *e)
{
	const char *root = w->root ? w->root : w->spec->name;
	uint64_t bytes;
	chain_pass(&w->plan);
	if (!w->options.ntarget && !build_root(w->build, root, e))
		return false;
	for (int i = 0; i < w->spec->ntarget; i++) {
		const char *name = w->spec->target[i].name;
		const char *part = arena_printf(w->cli->arena, "%s-%s", root, name);
		bool chosen = false;
		for (size_t k = 0; k < w->options.ntarget; k++)
			chosen |= !strcmp(w->options.target[k], name);
		if (w->options.ntarget ? chosen && !build_root(w->build, part, e)
				       : !store_root_drop(w->store, part, e))
			return false;
	}
	if (!build_discard(w->build, &bytes, e))
		return false;
	if (bytes)
		cli_say(w->cli, "%.1f MB of states that no target takes are gone from the cache", (double)bytes / 1e6);
	return true;
}

static int worse(int a, int b)
{
	return a == EXIT_OK ? b : a;
}

/* What the build itself, then each target that could not be planned, ends with. */
static int finish(struct work *w, bool ok)
{
	struct err e;
	int code = EXIT_OK;
	if (!ok) {
		code = work_failed(w);
		if (w->result.interrupted)
			cli_say(w->cli, "interrupted; the same command goes on from here");
	}
	for (size_t i = 0; i < w->plan.ntarget; i++)
		if (w->plan.target[i].failed)
			code = worse(code, cli_fail(w->cli, &w->plan.target[i].err));
	if (w->options.smoke) /* nothing of it is to stay */
		return code;
	if (ok && !(put_roots(w, &e) && finish_lock(w, &e)))
		code = worse(code, cli_fail(w->cli, &e));
	if (ok && !gates_passed(w))
		code = worse(code, EXIT_GATE);
	return code;
}

static int build_one(struct cli *c, const char *path)
{
	struct work w;
	struct err e;
	double began = seconds();
	enum build_flags flags = (cli_flag(c, "keep-going") ? BUILD_KEEP_GOING : 0) |
		(cli_flag(c, "dry-run") ? BUILD_DRY_RUN : 0);
	int code = work_open(&w, c, path, flags);
	if (code == EXIT_OK && !(flags & BUILD_DRY_RUN) && !make_folders(&w, &e))
		code = cli_fail(c, &e);
	if (code == EXIT_OK) {
		bool ok = work_run(&w);
		if (flags & BUILD_DRY_RUN) {
			struct strbuf b;
			strbuf_init(&b);
			build_plan(w.build, cli_report_form(c), &b);
			if (ok)
				cli_print_report(c, path, &b);
			strbuf_release(&b);
			code = ok ? EXIT_OK : work_failed(&w);
		} else {
			/* Targets of a schedule have their folders only now. */
			code = make_folders(&w, &e) ? finish(&w, ok) : cli_fail(c, &e);
			say_stops(&w);
			say_smoke(&w);
			print_result(&w, seconds() - began);
		}
	}
	work_close(&w);
	return code;
}

int verb_build(struct cli *c)
{
	int worst = EXIT_OK;
	const char *path;
	for (int i = 0; (path = cli_spec_path(c, i)); i++) {
		int code = build_one(c, path);
		worst = worse(worst, code);
		if (code == EXIT_INTERRUPTED)
			return code;
	}
	return worst;
}
