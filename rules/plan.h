/*
 * From a spec to the actions of a build: one function per stage (plan.c). Planning reads folder listings
 * and stats files; it runs nothing and hashes nothing.
 *
 * Actions of a spec, and what a second target or state shares:
 *
 *     import, tokenizer                  of the model
 *     STATE/shape                        STATE: "import", or a state of a schedule's chain
 *     STATE/quantise-NUMERICS, STATE/golden-NUMERICS
 *     TARGET/compile, TARGET/lock, TARGET/link      and the file out/SPEC/TARGET/SPEC
 *     TARGET/compile-CPU                 where the target is for several CPUs
 *
 * A target that cannot be built here (no runtime for its architecture, no linker, something of the
 * language that is not built yet) keeps its error and no actions; the others are built.
 */
#ifndef PLAN_H
#define PLAN_H

#include "build.h"
#include "emit.h"
#include "rules.h"
#include "spec.h"
#include "target.h"

/* What a target's binary has code for, resolved: from plain to capable, all of one architecture. */
struct plan_hardware {
	const struct target **target;
	size_t n;
	const int *gpu;    /* 90: sm_90; ascending */
	size_t ngpu;       /* with any, the CPU's code is what runs where no such GPU is */
	const char *names; /* "x86-64-v3 zen5 sm_90" */
};

/* What is measured of a target on one dataset. */
struct plan_measures {
	struct action *evaluate, *evaluate_parent, *evaluate_tuned; /* test rows; tuned NULL: no schedule */
	struct action *cost; /* of its class, validation rows; NULL: none */
};

struct chain;
/* A state of one of the chains of a target. */
struct found {
	struct action *state;             /* NULL: none */
	const char *name;
	int round;
};

/* What a target may take that has several schedules. */
struct plan_candidate {
	struct chain *chain;
	struct found state;
	struct action **validate; /* by dataset: on its validation rows; NULL: it has none */
};

/* A pass over new rows that led to a target's state. */
struct plan_continued {
	struct action *from;   /* output 0: the state before */
	struct action **fresh; /* by dataset: its rows (rule_fresh.c) */
};

struct plan_target {
	const struct spec_target *spec;
	struct plan_hardware hardware;
	enum numerics numerics;
	int schedule;                  /* whose state it takes; -1: none, or of several not known yet */
	struct plan_candidate *candidate; /* of several schedules: whose states are known so far, in the spec's order */
	size_t ncandidate;
	struct chain *waits;           /* its gates, for another target's state; NULL: for nothing */
	struct found *waits_with;      /* its own */
	const char *state_name;        /* of actions */
	struct action *state;          /* output 0: a state */
	int nround;                    /* of its schedule, up to that state */
	struct plan_continued *continued; /* in order; none where rows are those of the first time */
	size_t ncontinued;
	struct plan_measures *on;      /* by dataset; NULL: no data, or no state yet */
	enum device_kind measured_on;  /* where its evaluations ran */
	struct action **verdict;       /* of its gates, of each by dataset; output 0: JSON (gate.h) */
	size_t nverdict;
	bool gate_failed;              /* known when the binary is planned */
	bool gate_unasked;             /* a smoke test: verdicts on its few rows mean nothing */
	const char *stop;              /* what its state was chosen for, for people; NULL: keep says it */
	int64_t stop_units;            /* keep by speed: units that are left at the depth it takes; -1: not known */
	const char *stop_of;           /* identity of that choice (speed.h); NULL: no speed decides */
	bool nothing_passed;           /* keep="gate", and no state passed on validation rows */
	struct action *shape, *weights, *golden, *lock, *binary;
	struct action **gpu;           /* one for each of hardware.gpu */
	struct action **object;        /* for each of the hardware */
	const char *path;              /* of the binary */
	bool failed;
	struct err err;
};

/* A file of the user that went in. */
struct plan_input {
	const char *name; /* below its root: "models:smollm/config.json"; no folder of this machine */
	const char *path;
};

/* What a round of a schedule dropped, for the lock and for people. */
struct plan_round {
	const char *schedule;
	int round;
	struct unit *unit;
	size_t nunit;
	struct action *score; /* output 0: scores (scores.h) */
	int scored;           /* in which round: this one or an earlier */
	struct action *choose; /* output 0: names of units */
};

struct speed_job;
struct lineage;
struct plan_options {
	const char *path; /* of the spec, as given: outputs stand beside it */
	const char *const *target; /* names; ntarget 0: all */
	size_t ntarget;
	/* What the hardware of a target was resolved to (from the lock), which says what its `native` is; may
	 * return NULL: what it is here. */
	const char *(*hardware)(void *ctx, const char *target);
	/* The units left at the depth that a measured speed chose for a target, as the lock has it; -1: it has none
	 * with that identity (speed.h). */
	int64_t (*units)(void *ctx, const char *target, const char *identity);
	/* Measures, and may tell people; NULL: nothing here is to be measured. */
	bool (*speed)(void *ctx, const struct speed_job *job, double *tokens_per_second, struct err *e);
	void *ctx;
	const struct lineage *const *lineage; /* by schedule, NULL where it does not go on (lineage.h); NULL: none does */
	bool smoke; /* every stage, quickly: see plan_shrink */
};

struct plan {
	struct arena *arena;
	struct build *build;
	const struct spec *spec;
	const struct plan_options *o;
	struct rule_env *env;
	const char *outputs;          /* out beside the spec */
	const char *out;              /* out/SPEC, of a smoke test out/_smoke/SPEC, which is no name */
	struct action *import, *tokenizer;
	struct action **task;         /* by dataset: its task's record (task.h); NULL: none */
	struct plan_data *data;       /* plan_data.h: by dataset, rows and splits; NULL: not planned yet */
	struct emit_files emitter;
	const char *linker, *nvrtc; /* nvrtc NULL: no target has needed it yet */
	struct plan_input *input;
	size_t ninput;
	struct plan_target *target;
	size_t ntarget;
	struct plan_round *round;     /* as they were chosen */
	size_t nround;
};

/* Fills p, whose arena, build, spec, options and env the caller has set; env is completed. False if nothing
 * can be built, or a name of options.target is unknown. */
bool plan_spec(struct plan *p, struct err *e);

/* A spec as a smoke test builds it, before plan_spec: short scores and tunes. With options.smoke the rest follows:
 * a split's first SMOKE_ROWS rows (fewer where rows are documents of several windows), one round for every target that
 * drops anything. */
enum { SMOKE_ROWS = 8, SMOKE_ROUNDS = 1 };
void plan_shrink(struct spec *s);

/* The numerics class that a target's attributes name. */
bool plan_numerics(const struct spec_target *s, enum numerics *out, struct err *e);

/* locked: as plan_options.hardware has it, or NULL. In the arena. */
bool plan_hardware(struct arena *a, const struct spec_target *s, const char *locked, struct plan_hardware *out,
	struct err *e);

struct inputs {
	struct input *input;
	size_t n;
};
void plan_add_input(struct plan *p, struct inputs *in, struct input i);

/* An action, or the one of that name that there is. */
struct action *plan_action(struct plan *p, const char *name, const struct rule *rule,
	const struct inputs *in, struct fields param);

/* What belongs to one dataset is called "NAME" where the spec has one, else "NAME/DATASET". In the arena. */
const char *plan_set_name(const struct plan *p, const char *name, int dataset);

/* As a parameter's text. In the arena. */
const char *plan_number(struct plan *p, int64_t n);

/* Code for one CPU of a shape that is a state's; `name` of the action. */
struct action *plan_compile(struct plan *p, const struct plan_target *t, const struct target *cpu,
	struct action *shape, const char *name);

/* What a target keeps: its own or its schedule's. NULL: compiled as it is. */
const struct spec_keep *plan_keep(const struct plan *p, const struct plan_target *t);

/* Of a state, planned once: what code depends on; its weights as code of that class binds them. */
struct action *plan_shape(struct plan *p, const char *state_name, struct action *state);
struct action *plan_weights(struct plan *p, const char *state_name, struct action *state,
	enum numerics numerics);

#endif
