/* Verbs that ask without building: plan, why, status, log, graph. */
#include "work.h"

#include <string.h>
#include <unistd.h>

#include "lineage.h"

/* Prints something about a spec that was run dry; the buffer is empty. */
typedef bool tell_fn(struct work *w, struct strbuf *b, struct err *e);

static int ask(struct cli *c, const char *path, tell_fn *tell)
{
	struct work w;
	struct err e;
	struct strbuf b;
	int code = work_open(&w, c, path, BUILD_DRY_RUN);
	strbuf_init(&b);
	if (code == EXIT_OK) {
		if (!work_run(&w))
			code = work_failed(&w);
		else if (!tell(&w, &b, &e))
			code = cli_fail(c, &e);
		for (size_t i = 0; i < w.plan.ntarget; i++)
			if (w.plan.target[i].failed)
				cli_note(c, &w.plan.target[i].err);
	}
	strbuf_release(&b);
	work_close(&w);
	return code;
}

static int ask_all(struct cli *c, tell_fn *tell)
{
	int worst = EXIT_OK;
	const char *path;
	for (int i = 0; (path = cli_spec_path(c, i)); i++) {
		int code = ask(c, path, tell);
		worst = worst == EXIT_OK ? code : worst;
	}
	return worst;
}

/* "[SPEC] [ACTION]": a single argument is a spec if such a file exists. */
static const char *spec_and_action(struct cli *c, const char **action)
{
	*action = c->narg == 2 ? c->arg[1] : NULL;
	if (c->narg == 1 && access(c->arg[0], F_OK) != 0 && !strstr(c->arg[0], ".xml")) {
		*action = c->arg[0];
		return "trim.xml";
	}
	return cli_spec_path(c, 0);
}

/* ,"rows":[{"schedule","how","why"},...] of schedules with on-new-rows="continue" (lineage.h); others as talk. */
static void add_lineage(const struct work *w, struct strbuf *b)
{
	const char *comma = "";
	strbuf_adds(b, ",\"rows\":[");
	for (int i = 0; w->options.lineage && i < w->spec->nschedule; i++) {
		const struct lineage *l = w->options.lineage[i];
		if (!l)
			continue;
		strbuf_addf(b, "%s{\"schedule\":\"%s\",\"how\":\"%s\",\"times\":%zu,\"why\":", comma, w->spec->schedule[i].name,
			lineage_hows[l->how], l->n);
		if (l->why)
			strbuf_add_json(b, l->why, strlen(l->why));
		else
			strbuf_adds(b, "null");
		strbuf_addc(b, '}');
		comma = ",";
	}
	strbuf_addc(b, ']');
}

static bool tell_plan(struct work *w, struct strbuf *b, struct err *e)
{
	(void)e;
	build_plan(w->build, cli_report_form(w->cli), b);
	if (w->cli->json)
		add_lineage(w, b);
	cli_print_report(w->cli, w->path, b);
	return true;
}

static bool tell_status(struct work *w, struct strbuf *b, struct err *e)
{
	(void)e;
	build_status(w->build, cli_report_form(w->cli), b);
	cli_print_report(w->cli, w->path, b);
	return true;
}

static bool tell_why(struct work *w, struct strbuf *b, struct err *e)
{
	const char *action;
	spec_and_action(w->cli, &action);
	if (!build_why(w->build, action, cli_report_form(w->cli), b, e))
		return false;
	cli_print_report(w->cli, w->path, b);
	return true;
}

static bool tell_graph(struct work *w, struct strbuf *b, struct err *e)
{
	const char *format = cli_option(w->cli, "format");
	if (!build_graph(w->build, w->cli->json ? "json" : format ? format : "dot", b, e))
		return false;
	fwrite(b->s, 1, b->n, w->cli->out);
	return true;
}

int verb_plan(struct cli *c)
{
	return ask_all(c, tell_plan);
}

int verb_status(struct cli *c)
{
	return ask_all(c, tell_status);
}

int verb_why(struct cli *c)
{
	const char *action;
	return ask(c, spec_and_action(c, &action), tell_why);
}

int verb_graph(struct cli *c)
{
	return ask(c, cli_spec_path(c, 0), tell_graph);
}

int verb_log(struct cli *c)
{
	const char *action, *path = spec_and_action(c, &action);
	struct strbuf journal, b;
	struct err e;
	if (access(path, F_OK) != 0) {
		err_set(&e, ERR_SPEC, "no such file '%s'", path);
		return cli_fail(c, &e);
	}
	strbuf_init(&journal);
	strbuf_init(&b);
	bool ok = journal_default_path(&journal, path, &e) &&
		journal_log(&(struct log_request){NULL, journal.s, action, cli_report_form(c)}, &b, &e);
	if (ok)
		cli_print_report(c, path, &b);
	strbuf_release(&b);
	strbuf_release(&journal);
	return ok ? EXIT_OK : cli_fail(c, &e);
}
