#include "cli.h"

int verb_expand(struct cli *c)
{
	struct spec_roots roots;
	struct spec_log log;
	struct spec *s;
	struct err e = {0};
	if (!cli_roots(c, &roots, &e))
		return cli_fail(c, &e);
	spec_log_init(&log, c->arena);
	if (!spec_load(c->arena, cli_spec_path(c, 0), &(struct spec_options){&roots, true}, &s, &log))
		return cli_print_log(c, &log);
	if (c->json)
		fprintf(c->out, "%s\n", s->json);
	else
		fwrite(s->text, 1, s->text_bytes, c->out);
	return EXIT_OK;
}
