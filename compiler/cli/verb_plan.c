/* Verbs that ask without building: plan, why, status, log, graph. */
#include "work.h"

#include <string.h>
#include <unistd.h>

/* Plans a spec and runs it dry, then lets `tell` write about it. */
static int ask(struct cli *c, const char *path, bool (*tell)(struct work *, struct strbuf *, struct err *))
{
	struct work w;
	struct err e;
	struct strbuf b;
	int code = work_open(&w, c, path, BUILD_DRY_RUN);
	strbuf_init(&b);
	if (code == EXIT_OK) {
		bool ok = work_run(&w);
		if (!ok)
			code = cli_fail(c, &w.err);
		else if (!tell(&w, &b, &e))
			code = cli_fail(c, &e);
		fputs(b.s, c->out);
		for (size_t i = 0; i < w.plan.ntarget; i++)
			if (w.plan.target[i].failed)
				cli_note(c, &w.plan.target[i].err);
	}
	strbuf_release(&b);
	work_close(&w);
	return code;
}

static int ask_all(struct cli *c, bool (*tell)(struct work *, struct strbuf *, struct err *))
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

static bool tell_plan(struct work *w, struct strbuf *out, struct err *e)
{
	(void)e;
	build_plan(w->build, out);
	return true;
}

static bool tell_status(struct work *w, struct strbuf *out, struct err *e)
{
	(void)e;
	build_status(w->build, out);
	return true;
}

static bool tell_why(struct work *w, struct strbuf *out, struct err *e)
{
	const char *action;
	spec_and_action(w->cli, &action);
	return build_why(w->build, action, out, e);
}

static bool tell_graph(struct work *w, struct strbuf *out, struct err *e)
{
	const char *format = cli_option(w->cli, "format");
	return build_graph(w->build, w->cli->json ? "json" : format ? format : "dot", out, e);
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
	strbuf_init(&journal);
	strbuf_init(&b);
	bool ok = journal_default_path(&journal, path, &e) &&
		journal_log(os_posix(), journal.s, action, &b, &e);
	fputs(b.s, c->out);
	strbuf_release(&b);
	strbuf_release(&journal);
	return ok ? EXIT_OK : cli_fail(c, &e);
}
