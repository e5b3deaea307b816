/*
 * A small world for tests of the engine: a folder with files, a store, a journal, and rules without
 * meaning that note that they ran. The expected bytes of an action are computed by world_expect
 * without store, keys or scheduler.
 *
 * Rules (each input contributes its bytes, each parameter "name=value"):
 *     mix     one output: hex digest of parameters and inputs
 *     first   one output: the first byte of the first input (so edits behind it are cut off)
 *     pair    outputs "a" and "b": hex digests of "a", resp. "b", and as mix
 *     tool    as mix, with the world's tool field in it
 *     parts   puts an object per input and an output that names them (a manifest)
 *     pick    reads a manifest, writes one that leaves out its last object (a drop)
 *     sum     reads a manifest and the objects it names; as mix over their bytes
 *     heavy   as mix, in pool compute
 *     slow    as mix, in pool "narrow"
 *     fail    fails
 *     shell   as mix of what /bin/sh prints
 */
#ifndef WORLD_H
#define WORLD_H

#include <pthread.h>

#include "build.h"
#include "test.h"

struct world {
	char dir[400];
	const struct os_ops *os; /* of store and engine; the quiet one: posix without fsync */
	enum build_flags flags;
	int jobs;
	const char *tool; /* the version of the tool rule's tool */
	const atomic_int *stop;
	void (*in_rule)(
		struct rule_call *c, void *ctx); /* called at the start of each; may be NULL */
	void *in_rule_ctx;
	void (*on_event)(void *ctx, const struct build_event *ev);
	void *on_event_ctx;

	struct store *store;
	struct statcache *stat;
	struct build *build;
	struct build_result result;
	struct err err;
	bool ok;

	pthread_mutex_t mutex; /* of the rest */
	char **ran;            /* names, in the order of their start */
	size_t nran;
	int nactive, most_active; /* calls at one time */
	int nheavy_beside;        /* times a heavy call had company */
	int nslow, most_slow;
};

extern const struct rule mix_rule, first_rule, pair_rule, tool_rule, parts_rule, pick_rule,
	sum_rule, heavy_rule, slow_rule, fail_rule, shell_rule;

const struct os_ops *quiet_os(void);

/* In a fresh folder below the test's own. */
void world_init(struct world *w, const char *name);
void world_release(struct world *w);
void world_write(struct world *w, const char *file, const char *text); /* below dir */
const char *world_path(struct world *w, const char *file);            /* valid until the next two */

/* open: store, stat table and an empty build. close: all of them freed, and the stat table saved.
 */
bool world_open(struct world *w);
void world_run(struct world *w);
void world_close(struct world *w);

/* The names of what ran since world_open, sorted, with spaces between; lives until the next call.
 */
const char *world_ran(struct world *w);

/* Adds an action with parameter p=PARAM (if not NULL) and the inputs given. */
struct action *world_add(struct world *w, const char *name, const struct rule *rule,
	const char *param, const struct input *input, size_t ninput);
/* Shorter: inputs by text, separated by spaces: a name of an action ("x", "x:1"), or "@file". */
struct action *world_action(struct world *w, const char *name, const struct rule *rule,
	const char *param, const char *inputs);

/* What mix gives for these. */
void world_mix(char out[DIGEST_HEX], const char *prefix, const struct fields *param,
	const struct buf *input, size_t ninput);

/* The bytes of an output as text; "" if it cannot be read. Lives until the next call. */
const char *world_text(struct world *w, struct action *a, size_t output);

/* What the journal says; action NULL: of all. */
bool world_log(struct world *w, const char *action, enum report_form form, struct strbuf *out, struct err *e);

/* Files below tmp/ and locks/ of the store but locks/gc, and output files' temporaries. */
size_t world_leftovers(struct world *w);

void remove_tree(const char *path);

#endif
