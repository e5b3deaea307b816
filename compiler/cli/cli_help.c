#include "cli.h"

#include <string.h>

static const char about[] =
	"trim compiles a spec (a model, a domain's data, how much of the model to keep, the hardware) "
	"into one standalone inference binary for each target, and builds nothing twice.";

static void add_wrapped(struct strbuf *out, const char *text, size_t width)
{
	size_t line = 0;
	while (*text) {
		size_t n = strcspn(text, " ");
		if (line && line + 1 + n > width) {
			strbuf_addc(out, '\n');
			line = 0;
		}
		if (line)
			strbuf_addc(out, ' ');
		strbuf_add(out, text, n);
		line += n + (line != 0);
		text += n + strspn(text + n, " ");
	}
	strbuf_addc(out, '\n');
}

static void verb_left(char left[64], const struct cli_verb *v)
{
	snprintf(left, 64, "%s %s", v->name, v->args);
}

static void option_left(char left[64], const struct cli_option *o)
{
	char letter[8] = "    ";
	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(left, 64, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

/* "  LEFT  " in a column as wide as the widest of any verb and option. */
static void add_left(struct strbuf *out, const char *left)
{
	char other[64];
	size_t width = 0;
	for (const struct cli_verb *v = cli_verbs; v->name; v++) {
		verb_left(other, v);
		width = strlen(other) > width ? strlen(other) : width;
	}
	for (const struct cli_option *o = cli_options; o->name; o++) {
		option_left(other, o);
		width = strlen(other) > width ? strlen(other) : width;
	}
	strbuf_addf(out, "  %-*s  ", (int)width, left);
}

static void add_option(struct strbuf *out, const struct cli_option *o)
{
	char left[64];
	option_left(left, o);
	add_left(out, left);
	strbuf_adds(out, o->help);
	if (o->env)
		strbuf_addf(out, " [%s]", o->env);
	strbuf_addc(out, '\n');
}

static void add_options(struct strbuf *out, const struct cli_verb *v, const char *title)
{
	bool any = false;
	for (const struct cli_option *o = cli_options; o->name; o++) {
		if (v ? o->everywhere || !cli_verb_takes(v, o) : !o->everywhere)
			continue;
		if (!any)
			strbuf_adds(out, title);
		any = true;
		add_option(out, o);
	}
}

void cli_write_usage(struct strbuf *out)
{
	strbuf_adds(out, "usage: trim [OPTION]... VERB [OPTION]... [ARGUMENT]...\n\n");
	add_wrapped(out, about, 80);
	strbuf_addc(out, '\n');
	for (const struct cli_verb *v = cli_verbs; v->name; v++) {
		char left[64];
		verb_left(left, v);
		add_left(out, left);
		strbuf_addf(out, "%s\n", v->help);
	}
	add_options(out, NULL, "\nOptions of every verb:\n");
	strbuf_adds(out, "\n`trim help VERB` explains a verb, `trim help spec` what may stand in a spec.\n");
}

void cli_write_verb_help(struct strbuf *out, const struct cli_verb *v)
{
	strbuf_addf(out, "usage: trim %s [OPTION]...%s%s\n%s.\n", v->name, *v->args ? " " : "", v->args,
		v->help);
	add_options(out, v, "\nOptions:\n");
	add_options(out, NULL, "\nOptions of every verb:\n");
}

/* roff takes a dash for a hyphen, a leading dot for a request. */
static void add_roff(struct strbuf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '-' || *s == '\\')
			strbuf_addc(out, '\\');
		strbuf_addc(out, *s);
	}
}

static void add_man_option(struct strbuf *out, const struct cli_option *o)
{
	strbuf_adds(out, ".TP\n\\fB");
	if (o->letter)
		strbuf_addf(out, "\\-%c\\fR, \\fB", o->letter);
	strbuf_adds(out, "\\-\\-");
	add_roff(out, o->name);
	strbuf_adds(out, "\\fR");
	if (o->arg)
		strbuf_addf(out, " \\fI%s\\fR", o->arg);
	strbuf_addc(out, '\n');
	add_roff(out, o->help);
	if (o->env)
		strbuf_addf(out, " (variable \\fB%s\\fR)", o->env);
	strbuf_addc(out, '\n');
}

void cli_write_man(struct strbuf *out)
{
	static const struct {
		int code;
		const char *meaning;
	} codes[] = {{EXIT_OK, "done"}, {EXIT_FAILED, "an action failed"},
		{EXIT_USAGE, "wrong usage or a bad spec"},
		{EXIT_GATE, "built, but a gate failed or is undecided"},
		{EXIT_LOCKED, "another process holds the lock"},
		{EXIT_LACKING, "something is missing on this machine"}, {EXIT_BUG, "a bug of trim"},
		{EXIT_INTERRUPTED, "interrupted"}};
	strbuf_adds(out, ".TH TRIM 1 \"\" \"trim " TRIM_VERSION "\"\n.SH NAME\ntrim \\- a model "
			 "compiler that works like a build system\n.SH SYNOPSIS\n\\fBtrim\\fR "
			 "[\\fIOPTION\\fR]... \\fIVERB\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n"
			 ".SH DESCRIPTION\n");
	add_roff(out, about);
	strbuf_adds(out, "\n.SH VERBS\n");
	for (const struct cli_verb *v = cli_verbs; v->name; v++) {
		strbuf_addf(out, ".SS \"trim %s %s\"\n", v->name, v->args);
		add_roff(out, v->help);
		strbuf_adds(out, ".\n");
		for (const struct cli_option *o = cli_options; o->name; o++)
			if (!o->everywhere && cli_verb_takes(v, o))
				add_man_option(out, o);
	}
	strbuf_adds(out, ".SH OPTIONS OF EVERY VERB\n");
	for (const struct cli_option *o = cli_options; o->name; o++)
		if (o->everywhere)
			add_man_option(out, o);
	strbuf_adds(out, ".SH EXIT STATUS\n");
	for (size_t i = 0; i < NELEM(codes); i++)
		strbuf_addf(out, ".TP\n%d\n%s\n", codes[i].code, codes[i].meaning);
	strbuf_adds(out, ".SH SPEC\nThe elements and attributes of a spec:\n.PP\n.nf\n");
	struct strbuf text;
	strbuf_init(&text);
	spec_write_reference(&text);
	add_roff(out, text.s);
	strbuf_release(&text);
	strbuf_adds(out, ".fi\n");
}

void cli_write_completion(struct strbuf *out)
{
	strbuf_adds(out, "# bash completion of trim, written by `trim completion bash`\n"
			 "_trim() {\n"
			 "\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb= "
			 "w options\n"
			 "\tfor w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\t\tcase $w in\n\t\t");
	for (const struct cli_verb *v = cli_verbs; v->name; v++)
		strbuf_addf(out, "%s%s", v == cli_verbs ? "" : "|", v->name);
	strbuf_adds(out, ") verb=$w; break ;;\n\t\tesac\n\tdone\n\tcase $before in\n");
	for (const struct cli_option *o = cli_options; o->name; o++) {
		if (!o->values)
			continue;
		strbuf_addf(out, "\t--%s) COMPREPLY=($(compgen -W '", o->name);
		for (int i = 0; o->values[i]; i++)
			strbuf_addf(out, "%s%s", i ? " " : "", o->values[i]);
		strbuf_adds(out, "' -- \"$word\")); return ;;\n");
	}
	strbuf_adds(out, "\tesac\n\tcase $verb in\n");
	for (const struct cli_verb *v = cli_verbs; v->name; v++) {
		strbuf_addf(out, "\t%s) options='", v->name);
		for (const struct cli_option *o = cli_options; o->name; o++)
			if (cli_verb_takes(v, o))
				strbuf_addf(out, "--%s ", o->name);
		strbuf_adds(out, "' ;;\n");
	}
	strbuf_adds(out, "\t*) options='");
	for (const struct cli_option *o = cli_options; o->name; o++)
		if (o->everywhere)
			strbuf_addf(out, "--%s ", o->name);
	strbuf_adds(out, "' ;;\n\tesac\n"
			 "\tif [[ $word == -* ]]; then\n"
			 "\t\tCOMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
			 "\telif [[ -z $verb || $verb == help ]]; then\n\t\tCOMPREPLY=($(compgen -W '");
	for (const struct cli_verb *v = cli_verbs; v->name; v++)
		strbuf_addf(out, "%s%s", v == cli_verbs ? "" : " ", v->name);
	strbuf_adds(out, "' -- \"$word\"))\n\telse\n"
			 "\t\tCOMPREPLY=($(compgen -f -X '!*.xml' -- \"$word\") $(compgen -d -- \"$word\"))\n"
			 "\tfi\n}\ncomplete -o filenames -F _trim trim\n");
}
