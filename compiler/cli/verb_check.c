#include "cli.h"

#include <string.h>

static void add_message(struct strbuf *out, const struct spec_message *m)
{
	strbuf_addf(out, "%s{\"level\":\"%s\",\"file\":", out->s[out->n - 1] == '[' ? "" : ",",
		m->level == SPEC_ERROR ? "error" : "later");
	strbuf_add_json(out, m->err.file, strlen(m->err.file));
	strbuf_addf(out, ",\"line\":%d,\"col\":%d,\"message\":", m->err.line, m->err.col);
	strbuf_add_json(out, m->err.msg, strlen(m->err.msg));
	strbuf_addc(out, '}');
}

/* One object a line for each spec. */
static void print_json(struct cli *c, const char *path, const struct spec_log *log)
{
	struct strbuf b;
	strbuf_init(&b);
	strbuf_adds(&b, "{\"spec\":");
	strbuf_add_json(&b, path, strlen(path));
	strbuf_addf(&b, ",\"ok\":%s,\"errors\":%d,\"later\":%d,\"messages\":[",
		log->nerror ? "false" : "true", log->nerror, log->nlater);
	for (int i = 0; i < log->nmsg; i++)
		add_message(&b, &log->msg[i]);
	strbuf_adds(&b, "]}");
	fprintf(c->out, "%s\n", b.s);
	strbuf_release(&b);
}

static int check(struct cli *c, const char *path, const struct spec_roots *roots)
{
	struct spec *s = NULL;
	struct spec_log log;
	spec_log_init(&log, c->arena);
	bool ok = spec_load(c->arena, path, &(struct spec_options){roots, false}, &s, &log);
	int code = cli_print_log(c, &log);
	if (c->json)
		print_json(c, path, &log);
	else if (ok && !c->quiet)
		fprintf(c->out, "%s: ok, %d dataset%s, %d schedule%s, %d target%s\n", path, s->ndataset,
			s->ndataset == 1 ? "" : "s", s->nschedule, s->nschedule == 1 ? "" : "s",
			s->ntarget, s->ntarget == 1 ? "" : "s");
	return code;
}

int verb_check(struct cli *c)
{
	struct spec_roots roots;
	struct err e = {0};
	if (!cli_roots(c, &roots, &e))
		return cli_fail(c, &e);
	int worst = EXIT_OK;
	const char *path;
	for (int i = 0; (path = cli_spec_path(c, i)); i++) {
		int code = check(c, path, &roots);
		/* A bad spec is worse news than a missing root. */
		if (code == EXIT_USAGE || worst == EXIT_OK)
			worst = code;
	}
	return worst;
}
