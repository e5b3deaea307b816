#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "work.h"

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

/* What a terminal, or a file, was shown by an action that tells how far it is at these times. */
static void show(struct strbuf *out, bool terminal)
{
	static const struct {
		int64_t s;
		double done, total;
		const char *text;
	} told[] = {{10, 100, 1000, "loss 2.5"}, {20, 130, 1000, "loss 2.25"}, {39, 157, 1000, "loss 2"},
		{40, 160, 1000, "loss 2"}, {130, 700, 1000, NULL}, {140, 1000, 1000, NULL}};
	char *text = NULL;
	size_t n = 0;
	struct cli c = {.err = open_memstream(&text, &n), .progress = terminal};
	struct view v = {.cli = &c};
	view_event(&v, &(struct build_event){.kind = EVENT_RUN, .action = "a/tune", .text = "it is new"});
	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++)
		view_event(&v, &(struct build_event){.kind = EVENT_PROGRESS, .action = "a/tune", .unit = "steps",
			.done = told[i].done, .total = told[i].total, .text = told[i].text,
			.time_ns = told[i].s * 1000000000});
	/* another action's rate is its own; of how much is not known */
	view_event(&v, &(struct build_event){.kind = EVENT_RUN, .action = "b/score", .text = "it is new"});
	for (int i = 0; i < 2; i++)
		view_event(&v, &(struct build_event){.kind = EVENT_PROGRESS, .action = "b/score", .unit = "rows",
			.done = 10 * i, .time_ns = (150 + 40 * (int64_t)i) * 1000000000});
	view_event(&v, &(struct build_event){.kind = EVENT_DONE, .action = "b/score", .wall_ns = 41000000000});
	fclose(c.err);
	strbuf_adds(out, text);
	free(text);
}

TEST(progress_tells_rate_and_time_left)
{
#define LINE "\r\033[K"
	struct strbuf text;
	strbuf_init(&text);
	show(&text, true);
	CHECK_STR(text.s, LINE "a/tune it is new" LINE "a/tune 10 %, loss 2.5"
		LINE "a/tune 13 %, 3 steps/s, 5 min left, loss 2.25" LINE "a/tune 16 %, 1.97 steps/s, 7 min left, loss 2"
		LINE "a/tune 16 %, 2 steps/s, 7 min left, loss 2" LINE "a/tune 70 %, 5 steps/s, 60 s left"
		LINE "a/tune 100 %, 6.92 steps/s, 0 s left" LINE "b/score it is new" LINE "b/score 0 rows"
		LINE "b/score 10 rows, 0.25 rows/s" LINE "trim: b/score: done: 41.00 s\n");
	strbuf_clear(&text);
	show(&text, false);
	CHECK_STR(text.s, "trim: a/tune: runs: it is new\ntrim: a/tune: 16 %, 2 steps/s, 7 min left, loss 2\n"
		"trim: a/tune: 70 %, 5 steps/s, 60 s left\ntrim: b/score: runs: it is new\n"
		"trim: b/score: 10 rows, 0.25 rows/s\ntrim: b/score: done: 41.00 s\n");
	strbuf_release(&text);
}
