/* help, version, completion, schema: what the tables say. */
#include "cli.h"

#include <string.h>

static int put(struct cli *c, struct strbuf *b)
{
	fwrite(b->s, 1, b->n, c->out);
	strbuf_release(b);
	return EXIT_OK;
}

int verb_help(struct cli *c)
{
	struct strbuf b;
	strbuf_init(&b);
	const struct cli_verb *v = c->narg ? cli_verb_find(c->arg[0]) : NULL;
	if (cli_flag(c, "man")) {
		cli_write_man(&b);
	} else if (c->narg && strcmp(c->arg[0], "spec") == 0) {
		spec_write_reference(&b);
	} else if (v) {
		cli_write_verb_help(&b, v);
	} else if (!c->narg) {
		cli_write_usage(&b);
	} else {
		struct err e;
		cli_unknown_verb(c->arg[0], &e);
		strbuf_release(&b);
		return cli_fail(c, &e);
	}
	return put(c, &b);
}

int verb_version(struct cli *c)
{
	if (c->json)
		fprintf(c->out, "{\"version\":\"%s\"}\n", TRIM_VERSION);
	else
		fprintf(c->out, "trim %s\n", TRIM_VERSION);
	return EXIT_OK;
}

int verb_completion(struct cli *c)
{
	struct strbuf b;
	if (strcmp(c->arg[0], "bash") != 0) {
		struct err e;
		err_set(&e, ERR_SPEC, "no completion for '%s'; there is one for bash", c->arg[0]);
		return cli_fail(c, &e);
	}
	strbuf_init(&b);
	cli_write_completion(&b);
	return put(c, &b);
}

int verb_schema(struct cli *c)
{
	struct strbuf b;
	strbuf_init(&b);
	spec_write_xsd(&b);
	return put(c, &b);
}
