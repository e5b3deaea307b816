#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct cli_verb *cli_verb_find(const char *name)
{
	for (const struct cli_verb *v = cli_verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

const struct cli_option *cli_option_find(const char *name)
{
	for (const struct cli_option *o = cli_options; o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

bool cli_verb_takes(const struct cli_verb *v, const struct cli_option *o)
{
	if (o->everywhere)
		return true;
	size_t n = strlen(o->name);
	for (const char *s = v ? v->options : ""; *s;) {
		size_t len = strcspn(s, " ");
		if (len == n && memcmp(s, o->name, n) == 0)
			return true;
		s += len + strspn(s + len, " ");
	}
	return false;
}

static const char *nearest_option(const struct cli_verb *verb, const char *name)
{
	const char *names[128];
	size_t n = 0;
	for (const struct cli_option *o = cli_options; o->name && n < NELEM(names); o++)
		if (cli_verb_takes(verb, o))
			names[n++] = o->name;
	return nearest_name(name, names, n);
}

static bool put_value(struct cli *c, const struct cli_option *o, const char *value, struct err *e)
{
	if (o->values && spec_word_index(o->values, value) < 0) {
		size_t n = 0;
		while (o->values[n])
			n++;
		const char *near = nearest_name(value, o->values, n);
		return err_set(e, ERR_SPEC, "bad value '%s' for --%s (%s)%s%s%s", value, o->name,
			o->help, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
	*arena_push(c->arena, c->value, c->nvalue) = (struct cli_value){o, value};
	return true;
}

/* argv[*i] begins with "--". */
static bool parse_long(struct cli *c, int argc, char **argv, int *i, struct err *e)
{
	const char *name = argv[*i] + 2, *equals = strchr(name, '=');
	if (equals)
		name = arena_strndup(c->arena, name, (size_t)(equals - name));
	const struct cli_option *o = cli_option_find(name);
	if (!o || !cli_verb_takes(c->verb, o)) {
		const char *near = nearest_option(c->verb, name);
		return err_set(e, ERR_SPEC, "unknown option '--%s'%s%s%s%s%s%s", name,
			c->verb ? " of " : "", c->verb ? c->verb->name : "",
			near ? "; did you mean '--" : "", near ? near : "", near ? "'?" : "",
			o && !c->verb ? "; options of a verb stand behind it" : "");
	}
	if (!o->arg)
		return equals ? err_set(e, ERR_SPEC, "option '--%s' takes no value", name)
			      : put_value(c, o, "", e);
	if (equals)
		return put_value(c, o, equals + 1, e);
	if (*i + 1 >= argc)
		return err_set(e, ERR_SPEC, "option '--%s' needs a value: --%s %s", name, name, o->arg);
	return put_value(c, o, argv[++*i], e);
}

/* argv[*i] is "-" and letters. */
static bool parse_letters(struct cli *c, int argc, char **argv, int *i, struct err *e)
{
	for (const char *s = argv[*i] + 1; *s; s++) {
		const struct cli_option *o = cli_options;
		while (o->name && !(o->letter == *s && cli_verb_takes(c->verb, o)))
			o++;
		if (!o->name)
			return err_set(e, ERR_SPEC, "unknown option '-%c'%s%s", *s,
				c->verb ? " of " : "", c->verb ? c->verb->name : "");
		if (!o->arg) {
			if (!put_value(c, o, "", e))
				return false;
			continue;
		}
		if (s[1])
			return put_value(c, o, s + 1, e);
		if (*i + 1 >= argc)
			return err_set(e, ERR_SPEC, "option '-%c' needs a value: -%c %s", *s, *s, o->arg);
		return put_value(c, o, argv[++*i], e);
	}
	return true;
}

bool cli_unknown_verb(const char *name, struct err *e)
{
	const char *names[128];
	size_t n = 0;
	for (const struct cli_verb *v = cli_verbs; v->name && n < NELEM(names); v++)
		names[n++] = v->name;
	const char *near = nearest_name(name, names, n);
	return err_set(e, ERR_SPEC, "unknown verb '%s'%s%s%s", name, near ? "; did you mean '" : "",
		near ? near : "", near ? "'?" : "; `trim help` lists them");
}

static bool parse_verb(struct cli *c, const char *name, struct err *e)
{
	c->verb = cli_verb_find(name);
	if (c->verb)
		return true;
	return cli_unknown_verb(name, e);
}

static bool parse(struct cli *c, int argc, char **argv, struct err *e)
{
	bool options = true;
	for (int i = 1; i < argc; i++) {
		const char *s = argv[i];
		bool ok = true;
		if (options && strcmp(s, "--") == 0)
			options = false;
		else if (options && strcmp(s, "--version") == 0 && !c->verb)
			c->verb = cli_verb_find("version");
		else if (options && s[0] == '-' && s[1] == '-')
			ok = parse_long(c, argc, argv, &i, e);
		else if (options && s[0] == '-' && s[1])
			ok = parse_letters(c, argc, argv, &i, e);
		else if (!c->verb)
			ok = parse_verb(c, s, e);
		else
			*arena_push(c->arena, c->arg, c->narg) = s;
		if (!ok)
			return false;
	}
	return true;
}

static bool check_args(const struct cli *c, struct err *e)
{
	const struct cli_verb *v = c->verb;
	if (c->narg < v->min_args)
		return err_set(e, ERR_SPEC, "missing argument: trim %s %s", v->name, v->args);
	if (v->max_args >= 0 && c->narg > v->max_args)
		return err_set(e, ERR_SPEC, "too many arguments at '%s': trim %s%s%s", c->arg[v->max_args],
			v->name, *v->args ? " " : "", v->args);
	return true;
}

static const struct cli_option *taken(const struct cli *c, const char *name)
{
	const struct cli_option *o = cli_option_find(name);
	if (!o || !cli_verb_takes(c->verb, o))
		BUG("verb '%s' does not take option '%s'", c->verb ? c->verb->name : "-", name);
	return o;
}

const char *cli_option(const struct cli *c, const char *name)
{
	const struct cli_option *o = taken(c, name);
	for (int i = c->nvalue; i-- > 0;)
		if (c->value[i].option == o)
			return c->value[i].value;
	const char *env = o->env ? getenv(o->env) : NULL;
	if (!env || !*env || (!o->arg && strcmp(env, "0") == 0))
		return NULL;
	return env;
}

bool cli_flag(const struct cli *c, const char *name)
{
	return cli_option(c, name) != NULL;
}

const char *cli_option_at(const struct cli *c, const char *name, int i)
{
	const struct cli_option *o = taken(c, name);
	for (int k = 0; k < c->nvalue; k++)
		if (c->value[k].option == o && i-- == 0)
			return c->value[k].value;
	return NULL;
}

bool cli_option_int(const struct cli *c, const char *name, long min, long max, long *out,
	struct err *e)
{
	const char *s = cli_option(c, name);
	if (!s)
		return true;
	char *end;
	errno = 0;
	long x = strtol(s, &end, 10);
	if (errno || end == s || *end || x < min || x > max)
		return err_set(e, ERR_SPEC, "bad value '%s' for --%s; expected a whole number from %ld to %ld",
			s, name, min, max);
	*out = x;
	return true;
}

static bool set_up(struct cli *c, struct err *e)
{
	const char *color = cli_option(c, "color"), *dir = cli_option(c, "directory");
	const struct cli_option *o = cli_option_find("color");
	if (color && spec_word_index(o->values, color) < 0)
		return err_set(e, ERR_SPEC, "bad value '%s' of %s; expected auto, always or never", color,
			o->env);
	c->json = cli_flag(c, "json");
	c->quiet = cli_flag(c, "quiet");
	c->verbose = cli_flag(c, "verbose");
	cli_terminal(c, color ? color : "auto");
	if (dir && chdir(dir) != 0)
		return err_set(e, ERR_SPEC, "unable to go to '%s': %s", dir, strerror(errno));
	return true;
}

static int run(struct cli *c, int argc, char **argv)
{
	struct err e = {0};
	cli_terminal(c, "auto");
	if (!parse(c, argc, argv, &e))
		return cli_fail(c, &e);
	bool help = false;
	for (int i = 0; i < c->nvalue; i++)
		help = help || strcmp(c->value[i].option->name, "help") == 0;
	if (help || !c->verb) {
		struct strbuf b;
		strbuf_init(&b);
		if (c->verb)
			cli_write_verb_help(&b, c->verb);
		else
			cli_write_usage(&b);
		fputs(b.s, help ? c->out : c->err);
		strbuf_release(&b);
		return help ? EXIT_OK : EXIT_USAGE;
	}
	if (!check_args(c, &e) || !set_up(c, &e))
		return cli_fail(c, &e);
	return c->verb->run(c);
}

int cli_run(struct cli *c, int argc, char **argv)
{
	int code = run(c, argc, argv);
	/* Data that did not reach a full disk must not look like success. */
	if ((fflush(c->out) != 0 || ferror(c->out)) && code == EXIT_OK) {
		struct err e;
		err_errno(&e, "unable to write the output");
		code = cli_fail(c, &e);
	}
	return code;
}
