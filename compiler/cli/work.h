/*
 * What the verbs that build share: a spec with its plan, the store, the journal, the engine, and the lines
 * that tell what happens.
 */
#ifndef WORK_H
#define WORK_H

#include "cli.h"
#include "lock.h"

/* Events as lines on stderr (redrawn on a terminal) and as JSON lines in a file. An action that takes long says how far
 * it is, its rate and the time left: on a terminal whenever it tells, elsewhere a line every half minute. */
struct view {
	struct cli *cli;
	FILE *events;      /* NULL: none */
	size_t nrun, nfail;
	bool line;         /* a redrawn line stands there */
	char action[128];  /* that told last how far it is; its rate is from its first word on, what it resumed behind it */
	double first_done;
	int64_t first_ns, said_ns;
};
void view_event(void *ctx, const struct build_event *ev);
void view_clear(struct view *v);

/* What pace_measure (pace.h) said of a kind. */
struct pace {
	const char *kind;
	double rate;
};

struct work {
	struct cli *cli;
	struct spec *spec;
	const char *path;     /* of the spec */
	const char *journal;  /* NULL: none */
	const char *root;     /* name of this spec's root in the store */
	struct store *store;
	struct statcache *stat;
	struct build *build;
	struct rule_env env;
	struct plan plan;
	struct plan_options options;
	struct json *lock;    /* as recorded; NULL: none */
	const char *lock_path;
	struct view view;
	struct pace *pace;
	size_t npace;
	bool device_asked;
	uint64_t device_bytes; /* that a GPU has; 0: there is none */
	struct build_result result;
	struct err err;       /* the engine's first failure, if it failed */
};

/* Loads spec and lock, opens store and engine, plans. Returns EXIT_OK or what the process ends with, the
 * message printed. work_close in either case. */
int work_open(struct work *w, struct cli *c, const char *path, enum build_flags flags);

/* Runs the build, dry or not; false: w->err. */
bool work_run(struct work *w);
/* What the process ends with when that failed; prints the message unless an event did. */
int work_failed(struct work *w);

/* An output as it is; false where there is no such action or it has not ended. */
bool work_output(struct work *w, struct action *action, size_t output, struct buf *out);

void work_close(struct work *w);

/* The form of reports that --json asks for. */
enum report_form cli_report_form(const struct cli *c);

/* Prints a report about a spec: text as it is, members of JSON in an object on a line of its own that names
 * the spec. */
void cli_print_report(struct cli *c, const char *spec, const struct strbuf *report);

#endif
