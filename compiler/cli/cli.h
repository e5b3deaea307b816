/*
 * The frame of the command line: `trim [OPTION]... VERB [OPTION]... [ARGUMENT]...`.
 *
 * Two tables (cli_table.c) make everything: cli_options, one row for each option of any verb, and
 * cli_verbs, one row for each verb with the names of the options it takes. Parsing, --help, the man
 * page and the completion walk them. A new verb is one file verb_NAME.c and one row.
 *
 * An option is `--name`, `--name VALUE`, `--name=VALUE`, or its letter (`-v`, `-j 4`, `-j4`, `-qn`);
 * options stand anywhere before `--`. An option with a variable in its row (TRIM_...) takes its value
 * from there if it is not given; the flag wins.
 *
 * A verb's function returns the exit code (DESIGN section 5): data goes to c->out (stdout), talk to
 * stderr through the functions below. Only main ends the process.
 */
#ifndef CLI_H
#define CLI_H

#include <stdio.h>

#include "arena.h"
#include "spec.h"

enum cli_exit {
	EXIT_OK = 0,
	EXIT_FAILED = 1,       /* an action failed */
	EXIT_USAGE = 2,        /* usage or bad spec */
	EXIT_GATE = 3,         /* built, but a gate failed or is undecided */
	EXIT_LOCKED = 9,       /* another process holds the lock */
	EXIT_LACKING = 36,     /* something is missing on this machine */
	EXIT_BUG = 37,
	EXIT_INTERRUPTED = 130,
};

struct cli;

struct cli_option {
	const char *name;  /* without -- */
	char letter;       /* 0: none */
	const char *arg;   /* name of its value in help; NULL: a flag */
	const char *help;
	const char *env;   /* variable that is read where the option is not given; NULL */
	const char *const *values; /* allowed, NULL-terminated; NULL: any */
	bool everywhere;   /* taken by every verb */
	bool repeated;     /* may be given more than once; else the last counts */
};

struct cli_verb {
	const char *name;
	const char *args;    /* as help shows them: "[SPEC]..." */
	const char *help;    /* one line */
	const char *options; /* names in cli_options, separated by spaces; "" for none */
	int min_args, max_args; /* max -1: any number */
	int (*run)(struct cli *c);
};

extern const struct cli_option cli_options[]; /* name NULL ends */
extern const struct cli_verb cli_verbs[];     /* name NULL ends */

struct cli_value {
	const struct cli_option *option;
	const char *value; /* "" for a flag */
};

struct cli {
	struct arena *arena; /* lives until the verb has ended */
	FILE *out, *err;
	const struct cli_verb *verb;
	struct cli_value *value; /* in the order given */
	int nvalue;
	const char **arg; /* positional */
	int narg;
	bool json, quiet, verbose;
	bool color;      /* of stderr */
	bool color_out;  /* of stdout */
	bool progress;   /* stderr is a terminal where lines may be redrawn */
};

/* Parses, runs the verb, flushes; returns the exit code. */
int cli_run(struct cli *c, int argc, char **argv);

/* The last value given to an option (or its variable's), NULL if none; "" for a flag. An option that
 * the verb does not take is a bug. */
const char *cli_option(const struct cli *c, const char *name);
bool cli_flag(const struct cli *c, const char *name);
/* The i-th value of a repeated option, NULL behind the last. */
const char *cli_option_at(const struct cli *c, const char *name, int i);
/* A whole number from min to max; *out stays as it is if the option is not given. */
bool cli_option_int(const struct cli *c, const char *name, long min, long max, long *out,
	struct err *e);

/* `trim: file:line:col: message` to stderr; returns the exit code of the error's kind. */
int cli_fail(struct cli *c, const struct err *e);
/* A line of talk: nothing with --quiet. */
void cli_say(struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* What is worth knowing but no error: "trim: note: ..." in its own colour, also with --quiet. */
void cli_note(struct cli *c, const struct err *e);
int cli_exit_code(enum err_kind kind);

/* The named roots: --root, TRIM_ROOT_NAME, `root NAME DIR` lines in $XDG_CONFIG_HOME/trim/config,
 * and `trim`, the specs/ beside this program. Lives in c->arena. */
bool cli_roots(struct cli *c, struct spec_roots *roots, struct err *e);

/* The i-th SPEC argument, ./trim.xml if there is none at all; NULL behind the last. */
const char *cli_spec_path(const struct cli *c, int i);

/* Loads a spec and prints what its log says. 0, or the exit code. */
int cli_load_spec(struct cli *c, const char *path, struct spec **out);
/* Prints a log's messages; 0 if it has no error, else the exit code. */
int cli_print_log(struct cli *c, const struct spec_log *log);

/* Decides colours and progress: --color, NO_COLOR, CLICOLOR_FORCE, TERM=dumb, CI, terminals. */
void cli_terminal(struct cli *c, const char *when);

/* Help texts, from the tables. */
void cli_write_usage(struct strbuf *out);                            /* all verbs */
void cli_write_verb_help(struct strbuf *out, const struct cli_verb *v);
void cli_write_man(struct strbuf *out);                              /* roff, man(7) */
void cli_write_completion(struct strbuf *out);                       /* bash */

const struct cli_verb *cli_verb_find(const char *name);
const struct cli_option *cli_option_find(const char *name);
/* False, with ERR_SPEC that names the nearest. */
bool cli_unknown_verb(const char *name, struct err *e);
bool cli_verb_takes(const struct cli_verb *v, const struct cli_option *o);

#define TRIM_VERSION "0.1"

int verb_build(struct cli *c);
int verb_cache(struct cli *c);
int verb_check(struct cli *c);
int verb_completion(struct cli *c);
int verb_doctor(struct cli *c);
int verb_expand(struct cli *c);
int verb_export(struct cli *c);
int verb_graph(struct cli *c);
int verb_help(struct cli *c);
int verb_init(struct cli *c);
int verb_inspect(struct cli *c);
int verb_log(struct cli *c);
int verb_plan(struct cli *c);
int verb_report(struct cli *c);
int verb_schema(struct cli *c);
int verb_show(struct cli *c);
int verb_status(struct cli *c);
int verb_version(struct cli *c);
int verb_why(struct cli *c);

#endif
