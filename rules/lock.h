/*
 * NAME.lock, committed beside the spec: what a build was made from and what came out, so that another
 * machine can tell whether it gets the same. Never times, speeds, host names or paths of a machine.
 *
 * JSON, one fact a line, in this order; equal builds give equal bytes:
 *
 *     {
 *       "trim-lock": 1,
 *       "inputs": {
 *         "models:smollm/config.json": "HEX"        files by their place below the project or a root
 *       },
 *       "chain": [                                  a round a line: what left, and its scores (scores.h), those
 *                                                   of round "scored" where this one made none
 *         {"schedule":"main","round":1,"method":"scan","dropped":[{"unit":"blk.3.mlp","nll":1.25,"norm":3}]}
 *       ],
 *       "tuned": {                                  schedules with on-new-rows="continue": on which rows, time by time
 *         "main": {"of":"HEX","read":{"rows.jsonl":"HEX"},"on":[{"rows":{"of":"HEX","files":{"rows.jsonl":75}}}]}
 *       },                                          (lineage.h); of: of what its states follow from beside rows, of a
 *                                                   dataset's lists of rows; absent where no schedule goes on
 *       "targets": {
 *         "laptop": {"hardware":"zen5","numerics":"f32","context":0,"state":"HEX",
 *           "metrics":{...},"parent":{...},"cost":{...},"gates":[...]}
 *                                                   also "continued", passes over new rows, each with the state that it
 *                                                   began with and how many rows it read; "stop", where a speed chose
 *                                                   the state (speed.h);
 *                                                   test rows (eval.h, gate.h), but of cost validation rows
 *                                                   (cost.h); absent without data, cost also for f32
 *       },
 *       "outputs": {
 *         "laptop": "HEX"                           the binary
 *       }
 *     }
 *
 * A target that chose among several schedules has "schedule", the one chosen, and "tried", metrics on validation rows by
 * schedule.
 *
 * Where the spec has several datasets, metrics, tried, parent and cost have one level more, by dataset.
 *
 * HEX is the XXH3-128 of the bytes. "hardware" is resolved: it pins what `native` was; CPUs of one binary stand
 * beside each other, "x86-64-v3 zen5". Building some targets leaves the sections of the others as they were; those
 * of targets that left the spec go.
 *
 * The rule `lock` writes the excerpt that a binary carries (model_info.h): "inputs", of "chain" the rounds that
 * led to the target's state, and of "targets" its own. The lock is put together from those excerpts.
 */
#ifndef LOCK_H
#define LOCK_H

#include "json.h"
#include "plan.h"

/* The lock's path: the spec's without .xml, with .lock. In the arena. */
const char *lock_path(struct arena *a, const char *spec_path);

/* *out is NULL when there is no such file. */
bool lock_read(struct arena *a, const char *path, struct json **out, struct err *e);

/* What was recorded as the hardware of a target; NULL when nothing was. */
const char *lock_hardware(const struct json *lock, const char *target);

/* As plan_options.units. */
int64_t lock_stop_units(const struct json *lock, const char *target, const char *identity);

/* Inputs of the rule: LOCK_FILE and a file's name; the units a round chose, and its scores if it made any. */
#define LOCK_FILE "file "
#define LOCK_TRIED "tried/" /* and a schedule's name: on validation rows, where a target chooses among several */
const char *lock_units(struct arena *a, int round);
const char *lock_scores(struct arena *a, int round);
/* The state that pass i over new rows began with; what it read of a set, as JSON. */
const char *lock_from(struct arena *a, size_t i);
const char *lock_fresh(struct arena *a, size_t i);

void lock_add_digest(struct strbuf *out, struct digest d);

/* Appends the lock of a plan that was built; old (may be NULL) gives the sections of targets that were not. */
bool lock_write(struct strbuf *out, const struct plan *p, const struct json *old, struct err *e);

/* False at the first difference, in the order of the file; ERR_IO names its place and both values. */
bool lock_compare(const struct json *recorded, const struct json *now, struct err *e);

#endif
