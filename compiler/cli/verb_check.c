#include "check_data.h"
#include "cli.h"

#include <string.h>

static void add_message(struct strbuf *out, const char *level, const struct err *e)
{
	strbuf_addf(out, "%s{\"level\":\"%s\",\"file\":", out->s[out->n - 1] == '[' ? "" : ",", level);
	strbuf_add_json(out, e->file, strlen(e->file));
	strbuf_addf(out, ",\"line\":%d,\"col\":%d,\"message\":", e->line, e->col);
	strbuf_add_json(out, e->msg, strlen(e->msg));
	strbuf_addc(out, '}');
}

/* One object a line for each spec. */
static void print_json(struct cli *c, const char *path, const struct spec_log *log,
	const struct data_report *data)
{
	size_t nerror = (size_t)log->nerror + data->nerror;
	struct strbuf b;
	strbuf_init(&b);
	strbuf_adds(&b, "{\"spec\":");
	strbuf_add_json(&b, path, strlen(path));
	strbuf_addf(&b, ",\"ok\":%s,\"errors\":%zu,\"later\":%d,\"warnings\":%zu,\"messages\":[",
		nerror ? "false" : "true", nerror, log->nlater, data->nwarning);
	for (int i = 0; i < log->nmsg; i++)
		add_message(&b, log->msg[i].level == SPEC_ERROR ? "error" : "later", &log->msg[i].err);
	for (size_t i = 0; i < data->nerror; i++)
		add_message(&b, "error", &data->error[i]);
	for (size_t i = 0; i < data->nwarning; i++)
		add_message(&b, "warning", &data->warning[i]);
	strbuf_adds(&b, "],\"data\":[");
	strbuf_add(&b, data->json.s, data->json.n);
	strbuf_adds(&b, "],\"leaks\":[");
	strbuf_add(&b, data->leaks.s, data->leaks.n);
	strbuf_adds(&b, "]}");
	fprintf(c->out, "%s\n", b.s);
	strbuf_release(&b);
}

/* Errors print; the worst of their codes. */
static int print_data(struct cli *c, const struct data_report *data)
{
	int worst = EXIT_OK;
	if (!c->json && !c->quiet)
		fwrite(data->text.s, 1, data->text.n, c->out);
	for (size_t i = 0; i < data->nwarning; i++)
		cli_note(c, &data->warning[i]);
	for (size_t i = 0; i < data->nerror; i++) {
		int code = cli_fail(c, &data->error[i]);
		if (code == EXIT_USAGE || worst == EXIT_OK)
			worst = code;
	}
	return worst;
}

static int check(struct cli *c, const char *path, const struct spec_roots *roots)
{
	struct spec *s = NULL;
	struct spec_log log;
	struct data_report data = {0};
	spec_log_init(&log, c->arena);
	bool ok = spec_load(c->arena, path, &(struct spec_options){roots, false}, &s, &log);
	int code = cli_print_log(c, &log);
	strbuf_init(&data.text);
	strbuf_init(&data.json);
	strbuf_init(&data.leaks);
	if (ok && !cli_flag(c, "no-data")) {
		data_report(c->arena, s, &data);
		code = print_data(c, &data);
	}
	if (c->json)
		print_json(c, path, &log, &data);
	else if (code == EXIT_OK && !c->quiet)
		fprintf(c->out, "%s: ok, %d dataset%s, %d schedule%s, %d target%s\n", path, s->ndataset,
			s->ndataset == 1 ? "" : "s", s->nschedule, s->nschedule == 1 ? "" : "s",
			s->ntarget, s->ntarget == 1 ? "" : "s");
	data_report_release(&data);
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
