/* What the command line takes from around it: terminal, variables, the user's configuration, specs. */
#include "cli.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

extern char **environ;

static bool set(const char *name)
{
	const char *s = getenv(name);
	return s && *s;
}

void cli_terminal(struct cli *c, const char *when)
{
	bool dumb = set("TERM") && strcmp(getenv("TERM"), "dumb") == 0;
	bool err = isatty(fileno(c->err)), out = isatty(fileno(c->out));
	bool may = !dumb && !set("NO_COLOR") && !set("CI");
	bool force = set("CLICOLOR_FORCE") && strcmp(getenv("CLICOLOR_FORCE"), "0") != 0;
	c->color = (err && may) || force;
	c->color_out = (out && may) || force;
	if (strcmp(when, "auto") != 0)
		c->color = c->color_out = strcmp(when, "always") == 0;
	c->progress = err && !dumb && !set("CI");
}

int cli_exit_code(enum err_kind kind)
{
	switch (kind) {
	case ERR_SPEC:
		return EXIT_USAGE;
	case ERR_TOOL:
		return EXIT_LACKING;
	case ERR_CANCELLED:
		return EXIT_INTERRUPTED;
	case ERR_LOCKED:
		return EXIT_LOCKED;
	case ERR_IO:
	case ERR_DEVICE:
	case ERR_NUMERIC:
		break;
	}
	return EXIT_FAILED;
}

/* "trim: [note: ]place: message", the place bold and the first word in its colour. */
static void print(struct cli *c, const struct err *e, const char *word, const char *color)
{
	char place[320] = "";
	if (e->file[0] && e->line)
		snprintf(place, sizeof(place), "%s:%d:%d: ", e->file, e->line, e->col);
	else if (e->file[0])
		snprintf(place, sizeof(place), "%s: ", e->file);
	const char *on = c->color ? color : "", *bold = c->color ? "\033[1m" : "",
		   *off = c->color ? "\033[0m" : "";
	fflush(c->out);
	fprintf(c->err, "%strim:%s %s%s%s%s%s\n", on, off, bold, place, off, word, e->msg);
}

int cli_fail(struct cli *c, const struct err *e)
{
	print(c, e, "", "\033[31m");
	return cli_exit_code(e->kind);
}

void cli_note(struct cli *c, const struct err *e)
{
	print(c, e, "note: ", "\033[33m");
}

void cli_say(struct cli *c, const char *fmt, ...)
{
	if (c->quiet)
		return;
	va_list args;
	va_start(args, fmt);
	fflush(c->out);
	fputs("trim: ", c->err);
	vfprintf(c->err, fmt, args);
	fputc('\n', c->err);
	va_end(args);
}

static void add_root(struct cli *c, struct spec_roots *roots, const char *name, const char *dir)
{
	*arena_push(c->arena, roots->root, roots->nroot) = (struct spec_root){name, dir};
}

static bool add_flags(struct cli *c, struct spec_roots *roots, struct err *e)
{
	const char *s;
	for (int i = 0; (s = cli_option_at(c, "root", i)); i++) {
		size_t n = strcspn(s, "=");
		if (!s[n] || !s[n + 1] || !spec_root_name_ok(s, n))
			return err_set(e, ERR_SPEC,
				"bad value '%s' for --root; expected NAME=DIR, NAME in lower-case letters, "
				"digits and '-'",
				s);
		add_root(c, roots, arena_strndup(c->arena, s, n), s + n + 1);
	}
	return true;
}

static void add_variables(struct cli *c, struct spec_roots *roots)
{
	static const char prefix[] = "TRIM_ROOT_";
	for (char **v = environ; *v; v++) {
		const char *equals = strchr(*v, '=');
		if (strncmp(*v, prefix, sizeof(prefix) - 1) != 0 || !equals || !equals[1])
			continue;
		const char *name = *v + sizeof(prefix) - 1;
		char *lower = arena_strndup(c->arena, name, (size_t)(equals - name));
		for (char *s = lower; *s; s++)
			*s = *s == '_' ? '-' : (char)tolower((unsigned char)*s);
		if (spec_root_name_ok(lower, strlen(lower)))
			add_root(c, roots, lower, equals + 1);
	}
}

/* Lines `root NAME DIR`; `#` begins a comment. */
static bool add_configuration(struct cli *c, struct spec_roots *roots, struct err *e)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME"), *path;
	if (base && base[0] == '/')
		path = arena_printf(c->arena, "%s/trim/config", base);
	else if (home && *home)
		path = arena_printf(c->arena, "%s/.config/trim/config", home);
	else
		return true;
	if (access(path, F_OK) != 0)
		return true;
	struct strbuf b;
	strbuf_init(&b);
	bool ok = file_read(&b, path, e);
	char *text = arena_strdup(c->arena, ok ? b.s : "");
	strbuf_release(&b);
	for (int line = 1; ok && text; line++) {
		char *s = strsep(&text, "\n");
		s += strspn(s, " \t");
		size_t n = strcspn(s, " \t"), end = strlen(s);
		while (end && strchr(" \t\r", s[end - 1]))
			s[--end] = 0;
		if (!*s || *s == '#')
			continue;
		char *name = s + n + strspn(s + n, " \t");
		size_t nname = strcspn(name, " \t");
		char *dir = name + nname + strspn(name + nname, " \t");
		if (n != 4 || strncmp(s, "root", 4) != 0 || !spec_root_name_ok(name, nname) || !*dir)
			ok = err_at(e, ERR_SPEC, path, line, 1, "expected 'root NAME DIR'");
		else
			add_root(c, roots, arena_strndup(c->arena, name, nname), dir);
	}
	return ok;
}

/* Installed as PREFIX/bin/trim, or built as .build/trim or .build/NAME/trim. */
static void add_specs(struct cli *c, struct spec_roots *roots)
{
	static const char *const beside[] = {"../share/trim/specs", "../specs", "../../specs"};
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n <= 0)
		return;
	exe[n] = 0;
	*strrchr(exe, '/') = 0;
	for (size_t i = 0; i < NELEM(beside); i++) {
		const char *dir = arena_printf(c->arena, "%s/%s", exe, beside[i]);
		if (access(arena_printf(c->arena, "%s/trim.xsd", dir), F_OK) == 0) {
			add_root(c, roots, "trim", dir);
			return;
		}
	}
}

bool cli_roots(struct cli *c, struct spec_roots *roots, struct err *e)
{
	*roots = (struct spec_roots){0};
	if (!add_flags(c, roots, e))
		return false;
	add_variables(c, roots);
	if (!add_configuration(c, roots, e))
		return false;
	add_specs(c, roots);
	return true;
}

const char *cli_spec_path(const struct cli *c, int i)
{
	if (c->narg == 0)
		return i == 0 ? "trim.xml" : NULL;
	return i < c->narg ? c->arg[i] : NULL;
}

int cli_print_log(struct cli *c, const struct spec_log *log)
{
	for (int i = 0; i < log->nmsg; i++)
		if (log->msg[i].level == SPEC_ERROR)
			cli_fail(c, &log->msg[i].err);
		else
			cli_note(c, &log->msg[i].err);
	if (log->nleft_out)
		fprintf(c->err, "trim: %d more messages\n", log->nleft_out);
	return log->nerror ? cli_exit_code(spec_log_kind(log)) : EXIT_OK;
}

int cli_load_spec(struct cli *c, const char *path, struct spec **out)
{
	struct spec_roots roots;
	struct spec_log log;
	struct err e = {0};
	if (!cli_roots(c, &roots, &e))
		return cli_fail(c, &e);
	spec_log_init(&log, c->arena);
	spec_load(c->arena, path, &(struct spec_options){&roots, false}, out, &log);
	return cli_print_log(c, &log);
}
