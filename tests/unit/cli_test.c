#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

TEST(cli_tables_are_sound)
{
	for (const struct cli_verb *v = cli_verbs; v->name; v++) {
		CHECK(cli_verb_find(v->name) == v);
		CHECK(v->run && v->help && v->args && v->options);
		CHECK(v->max_args < 0 || v->min_args <= v->max_args);
		int nnamed = 0, ntaken = 0;
		for (const char *s = v->options; *s; s += strcspn(s, " "), s += strspn(s, " "))
			nnamed++;
		bool letters[128] = {false};
		for (const struct cli_option *o = cli_options; o->name; o++) {
			if (!cli_verb_takes(v, o))
				continue;
			ntaken += !o->everywhere;
			if (o->letter && letters[(int)o->letter])
				FAIL("trim %s has two options -%c", v->name, o->letter);
			letters[(int)o->letter] = true;
		}
		/* A name that is no option, or one of every verb, would make these differ. */
		if (nnamed != ntaken)
			FAIL("trim %s names %d options, %d of them are known", v->name, nnamed, ntaken);
	}
	for (const struct cli_option *o = cli_options; o->name; o++) {
		CHECK(cli_option_find(o->name) == o);
		CHECK(o->help != NULL);
		CHECK(!(o->values && !o->arg));
	}
}

/* Column at which `help` begins, behind two spaces or more; 0: it does not. */
static size_t help_column(const char *text, const char *left, const char *help)
{
	char line[64];
	snprintf(line, sizeof(line), "%s  ", left);
	const char *begin = strstr(text, line), *found = begin ? strstr(begin, help) : NULL;
	if (!found)
		return 0;
	while (begin > text && begin[-1] != '\n')
		begin--;
	return memchr(begin, '\n', (size_t)(found - begin)) ? 0 : (size_t)(found - begin);
}

TEST(cli_help_has_one_column)
{
	struct strbuf text;
	char left[64];
	size_t column = 0;
	strbuf_init(&text);
	cli_write_usage(&text);
	for (const struct cli_verb *v = cli_verbs; v->name; v++) {
		snprintf(left, sizeof(left), "  %s %s", v->name, v->args);
		size_t at = help_column(text.s, left, v->help);
		column = column ? column : at;
		if (!at || at != column)
			FAIL("trim --help: %s at column %zu, others at %zu", v->name, at, column);
	}
	for (const struct cli_verb *v = cli_verbs; v->name; v++) {
		strbuf_clear(&text);
		cli_write_verb_help(&text, v);
		for (const struct cli_option *o = cli_options; o->name; o++) {
			if (!o->everywhere && !cli_verb_takes(v, o))
				continue;
			snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
			if (help_column(text.s, left, o->help) != column)
				FAIL("trim help %s: --%s at column %zu, verbs at %zu", v->name, o->name,
					help_column(text.s, left, o->help), column);
		}
	}
	strbuf_release(&text);
}

static char *run(int argc, const char **argv, int *code)
{
	char *out = NULL;
	size_t n = 0;
	struct arena a = {0};
	FILE *f = open_memstream(&out, &n);
	struct cli c = {.arena = &a, .out = f, .err = f};
	*code = cli_run(&c, argc, (char **)argv);
	fclose(f);
	arena_release(&a);
	return out;
}

TEST(cli_says_what_is_wrong)
{
	static const struct {
		const char *argv[6];
		int code;
		const char *text; /* that the output holds */
	} cases[] = {
		{{"trim"}, EXIT_USAGE, "usage: trim"},
		{{"trim", "--help"}, EXIT_OK, "usage: trim [OPTION]"},
		{{"trim", "-h", "check"}, EXIT_OK, "usage: trim check"},
		{{"trim", "check", "-qh"}, EXIT_OK, "usage: trim check"},
		{{"trim", "help", "init"}, EXIT_OK, "--model PATH"},
		{{"trim", "version"}, EXIT_OK, "trim " TRIM_VERSION},
		{{"trim", "--version"}, EXIT_OK, "trim " TRIM_VERSION},
		{{"trim", "--json", "version"}, EXIT_OK, "{\"version\""},
		{{"trim", "chekc"}, EXIT_USAGE, "unknown verb 'chekc'; did you mean 'check'?"},
		{{"trim", "check", "--quit"}, EXIT_USAGE, "'--quit' of check; did you mean '--quiet'?"},
		{{"trim", "check", "--model", "x"}, EXIT_USAGE, "unknown option '--model' of check"},
		{{"trim", "--model=x", "init"}, EXIT_USAGE, "options of a verb stand behind it"},
		{{"trim", "check", "-Q"}, EXIT_USAGE, "unknown option '-Q' of check"},
		{{"trim", "check", "--root"}, EXIT_USAGE, "'--root' needs a value: --root NAME=DIR"},
		{{"trim", "check", "-C"}, EXIT_USAGE, "'-C' needs a value: -C DIR"},
		{{"trim", "check", "--root=A=b"}, EXIT_USAGE, "bad value 'A=b' for --root"},
		{{"trim", "check", "--quiet=1"}, EXIT_USAGE, "'--quiet' takes no value"},
		{{"trim", "--color=sometimes", "check"}, EXIT_USAGE, "bad value 'sometimes' for --color"},
		{{"trim", "-C/nonexistent", "check"}, EXIT_USAGE, "unable to go to '/nonexistent'"},
		{{"trim", "schema", "x"}, EXIT_USAGE, "too many arguments at 'x': trim schema"},
		{{"trim", "completion"}, EXIT_USAGE, "missing argument: trim completion bash"},
		{{"trim", "completion", "fish"}, EXIT_USAGE, "no completion for 'fish'"},
		{{"trim", "check", "--", "--x.xml"}, EXIT_USAGE, "no such file '--x.xml'"},
		{{"trim", "check", "--color=always", "--", "n"}, EXIT_USAGE, "\033[31mtrim:\033[0m "},
		{{"trim", "check", "--color=never", "--", "n"}, EXIT_USAGE, "trim: no such file 'n'"},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		int argc = 0, code;
		const char *argv[7];
		while (argc < 6 && cases[i].argv[argc])
			argv[argc] = cases[i].argv[argc], argc++;
		char *out = run(argc, argv, &code);
		if (code != cases[i].code || !strstr(out, cases[i].text))
			FAIL("case %zu ended with %d: %s", i, code, out);
		free(out);
	}
}
