/*
 * The build engine: runs the actions of a graph whose results are not known yet, and no others.
 * It knows bytes, digests and callbacks; what the bytes mean is the rules' business.
 *
 * An action is {rule, parameters, inputs}. Its key is the XXH3-128 of rule name, rule version, the
 * rule's tool fields, parameters and input digests, and of nothing else: not its name, no path, no
 * clock. The store maps a key to the digests of the outputs. Equal key: not run. So an input that
 * comes out unchanged stops a rebuild there (early cut-off), and any spec, process or machine
 * profits from what another one has built.
 *
 * Bytes are made on demand: an intermediate object that is missing or damaged is made again only if
 * an action that must run, a generator or a wanted output reads it.
 *
 * The graph is dynamic: a generator is called with finished outputs and adds what follows from
 * them. One thread (that of build_run) owns the graph and calls the generators; rules run on worker
 * threads and see only their call. Results do not depend on the number of threads.
 *
 * Part 1 is for who writes rules, part 2 for who builds graphs, part 3 for who reports.
 */
#ifndef BUILD_H
#define BUILD_H

#include <stdatomic.h>

#include "arena.h"
#include "digest.h"
#include "statcache.h"
#include "store.h"

struct build;
struct action;
struct rule_call;

/* ==== 1. Rules ============================================================================== */

struct field {
	const char *name, *value; /* text; in a key and in what `why` prints */
};
struct fields {
	struct field *field;
	size_t nfield;
};
void fields_add(struct arena *a, struct fields *f, const char *name, const char *value);
const char *fields_get(const struct fields *f, const char *name); /* NULL: absent */
/* BUG on one that is absent or no number: what writes a parameter and what reads it are one program. */
int64_t fields_int(const struct fields *f, const char *name);
double fields_double(const struct fields *f, const char *name);

/* What an action is going to take, as far as its rule knows before it runs. */
struct estimate {
	uint64_t memory_bytes; /* resident in this process at its peak; 0: not known */
	uint64_t device_bytes; /* of a GPU's own memory; 0: it uses none, or nobody knows */
	uint64_t base_bytes;   /* what of that a process has once it did such things; it may have more by now */
	const char *lower;     /* what a user may change to lower these: "<task length=>"; NULL: nothing */
	double work;           /* actions of one rule and kind do as much of it a second on one machine; 0: not known */
	const char *kind;      /* of the work: "bf16"; NULL: one for the rule. It lives as long as the rule */
	double fixed_seconds;  /* beside it, however much work there is: generating code */
	struct digest fixed;   /* of what these make: only the first of a process's actions with an equal one takes them. Zeros: each */
};
struct estimate_call;

/* A row. run is a pure function from parameters and inputs to outputs: no clock, environment,
 * network or path reaches the result. Bytes changed? The version goes up. */
struct rule {
	const char *name;
	int version;
	const char *const *output; /* names, NULL behind the last; NULL: one output, "out" */
	const char *pool; /* NULL: only -j limits it; "compute": owns all threads, one at once */
	bool (*run)(struct rule_call *c, struct err *e);
	/* Appends what else the result depends on and `why` should name: numerics class, tool
	 * versions, resolved hardware. Called on the graph's thread. May be NULL. */
	void (*tools)(struct arena *a, const struct fields *param, const void *env,
		struct fields *out);
	/* Says what a call will take, on the graph's thread, from inputs that may not be there yet. It enters no
	 * key and changes no result. False: nothing can be said yet. NULL: too short to be worth a word. */
	bool (*estimate)(const struct estimate_call *c, struct estimate *out);
};

/* What an estimate may look at; all of it lives until the estimate is made. */
const struct fields *estimate_params(const struct estimate_call *c);
struct arena *estimate_arena(const struct estimate_call *c);
int estimate_threads(const struct estimate_call *c); /* that the call would have */
size_t estimate_ninput(const struct estimate_call *c);
const char *estimate_input_name(const struct estimate_call *c, size_t i);
int estimate_find(const struct estimate_call *c, const char *name); /* the first of that name, or -1 */
/* False: its bytes are not known, or not here. */
bool estimate_input(const struct estimate_call *c, size_t i, struct buf *out);
/* The action that is to make input i, to look at its parameters and inputs instead; NULL: it is of no action. */
const struct estimate_call *estimate_maker(const struct estimate_call *c, size_t i);
const struct rule *estimate_rule(const struct estimate_call *c);

/* Everything a call hands out lives until the rule returns. A call belongs to the rule's thread; of
 * these functions only call_next and call_progress may be used from threads the rule starts. */
const char *call_param(const struct rule_call *c, const char *name); /* NULL: absent */
const struct fields *call_params(const struct rule_call *c);
const void *call_env(const struct rule_call *c); /* struct build_options.env */
int call_threads(const struct rule_call *c);     /* how many it may use; at least 1 */
struct arena *call_arena(struct rule_call *c);

/* Inputs in the order of the action, mapped and hashed at first use. After false return false too:
 * if the input was damaged the engine makes it again and calls the rule once more. */
size_t call_ninput(const struct rule_call *c);
const char *call_input_name(const struct rule_call *c, size_t i);
struct digest call_input_digest(const struct rule_call *c, size_t i);
bool call_input(struct rule_call *c, size_t i, struct buf *out, struct err *e);
/* The first input of that name; BUG if there is none (see call_find). */
bool call_input_named(struct rule_call *c, const char *name, struct buf *out, struct err *e);
int call_find(const struct rule_call *c, const char *name); /* index or -1 */

/* An object that an input (a manifest) names. Same rules as call_input. */
bool call_object(struct rule_call *c, struct digest d, struct buf *out, struct err *e);
/* The same, until the next call_object_once: for objects that are read through and not looked at again, so that no
 * more than one of them takes memory. */
bool call_object_once(struct rule_call *c, struct digest d, struct buf *out, struct err *e);

/* Outputs: every one of the rule's outputs must be given exactly once, whole or streamed. */
bool call_output(struct rule_call *c, size_t output, struct buf bytes, struct err *e);
struct store_writer *call_output_begin(struct rule_call *c, struct err *e);
bool call_output_end(struct rule_call *c, size_t output, struct store_writer *w, struct err *e);

/* Objects beside the outputs, to be named by them. Whatever object an output names, new or taken
 * from an input, must be put or declared by call_ref: the store keeps them alive together. */
bool call_put(struct rule_call *c, struct buf bytes, struct digest *out, struct err *e);
void call_ref(struct rule_call *c, struct digest d, uint64_t bytes);

/* A long rule asks between steps what to do next. CALL_SAVE comes every max(60 s, 20 x the cost of
 * the last checkpoint); after an interrupt a rule that saves is asked to save and stop. A rule told
 * to stop returns err_set(e, ERR_CANCELLED, ...). */
enum call_next {
	CALL_GO,
	CALL_SAVE,          /* call_checkpoint_put, go on */
	CALL_SAVE_AND_STOP, /* call_checkpoint_put, return cancelled */
	CALL_STOP,          /* return cancelled */
};
enum call_next call_next(struct rule_call *c);

/* `step` is for people and the journal ("resumed at step 120"). A call that resumes must end in the
 * same bits as one that was never interrupted. get: true with payload->p NULL if there is none. */
bool call_checkpoint_put(struct rule_call *c, uint64_t step, const struct buf *part, size_t npart,
	struct err *e);
bool call_checkpoint_get(struct rule_call *c, uint64_t *step, struct buf *payload, struct err *e);

/* A result of an earlier call of this rule and version (whatever its key), filed by the rule under
 * a name, that can save work but never changes the result. get: true with out->p NULL if none. */
bool call_seed_get(struct rule_call *c, struct buf name, struct buf *out, struct err *e);
void call_seed_put(struct rule_call *c, struct buf name, size_t output); /* after success */

struct progress {
	double done, total; /* total 0: unknown */
	const char *unit;   /* "rows", "tokens"; borrowed for the call */
	const char *text;   /* one line, e.g. "loss 1.234"; may be NULL */
};
void call_progress(struct rule_call *c, const struct progress *p);
void call_warn(struct rule_call *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* An empty folder for tools that want files; removed after the call. NULL and an err on failure. */
const char *call_tmpdir(struct rule_call *c, struct err *e);

/* Runs a program by path, its output (both streams) appended to out; killed on CALL_STOP. ERR_TOOL
 * if it cannot be started, ERR_IO with its last line if it ends with a status other than 0. */
bool call_tool(struct rule_call *c, const char *const argv[], struct strbuf *out, struct err *e);

/* ==== 2. Graphs ============================================================================= */

enum input_kind {
	INPUT_FILE,   /* a file of the user, named by content; never copied into the store */
	INPUT_BYTES,  /* bytes of the graph's author */
	INPUT_OUTPUT, /* an output of another action */
};
struct input {
	const char *name; /* role: "model", "rows"; for the rule and for `why` */
	enum input_kind kind;
	const char *path;
	struct buf bytes;
	struct action *action;
	size_t output;
};
struct input input_file(const char *name, const char *path);
struct input input_bytes(const char *name, struct buf bytes);
struct input input_output(const char *name, struct action *a, size_t output);

struct action_def {
	const char *name; /* unique in the build, stable between builds: "round-3/tune" */
	const struct rule *rule;
	struct fields param; /* in any order */
	const struct input *input;
	size_t ninput;
};

struct pool_limit {
	const char *name;
	int depth; /* how many of its actions at once */
};

enum build_flags {
	BUILD_KEEP_GOING = 1 << 0, /* after a failure run what does not depend on it */
	BUILD_DRY_RUN = 1 << 1,    /* run nothing; say what would run */
};

struct build_event;
struct build_options {
	struct store *store;    /* borrowed, as all pointers here */
	struct statcache *stat; /* NULL: every file is hashed */
	int jobs;               /* threads in all; 0: one per processor */
	int checkpoint_s;       /* how often long actions save at most; 0: 60, negative: at every step */
	enum build_flags flags;
	const struct pool_limit *pool; /* besides "compute", whose depth is 1 */
	size_t npool;
	const char *journal;    /* path of this spec's journal; NULL: none */
	const atomic_int *stop; /* 0 run, 1 save checkpoints and stop, 2 stop now; NULL: never */
	const void *env;        /* for the rules; in no key unless a rule's tools puts it there */
	/* How much work of a kind (struct estimate) this machine does a second with so many threads, where the journal
	 * has no run of that rule and kind yet; measured when it is asked, on an idle machine. 0: not known. NULL: never. */
	double (*rate)(void *ctx, const char *kind, int threads);
	/* All memory that this machine's GPU has; 0: there is none. NULL: nobody knows. Asked for once an action wants some. */
	uint64_t (*device_memory)(void *ctx);
	void *rate_ctx; /* of both */
	void (*event)(void *ctx, const struct build_event *ev); /* one at a time; may be NULL */
	void *event_ctx;
};

bool build_new(struct build **out, const struct build_options *o, struct err *e);
void build_free(struct build *b);

/* Adds an action; what it refers to is copied. It is run if its key is not answered. BUG on a name
 * that exists, an output that does not, or a parameter given twice. */
struct action *build_action(struct build *b, const struct action_def *def);
struct action *build_find(struct build *b, const char *name); /* NULL: none */

/* Calls fn on the graph's thread when all inputs are finished, with their bytes; fn adds actions,
 * wants and further generators. It is called in every build: keep its inputs small, and its
 * decisions a function of them. In a dry run it is not called if an input would have to run. */
typedef bool (*generate_fn)(struct build *b, void *ctx, const struct buf *input, struct err *e);
void build_generate(struct build *b, const char *name, const struct input *input, size_t ninput,
	generate_fn fn, void *ctx);
/* The same for a decision that takes a clock: nothing else of the build runs meanwhile, and a dry run never calls it.
 * What was measured stays with the graph's author; no rule can see it. */
void build_measure(struct build *b, const char *name, const struct input *input, size_t ninput,
	generate_fn fn, void *ctx);

/* What the generator of that name will add takes as long as these, each so many times: for estimates alone. */
struct foreseen {
	struct action *like;
	double times;
};
void build_foresee(struct build *b, const char *generator, const struct foreseen *f, size_t n);

/* The objects of all outputs (and what they name) shall be in the store when the build ends. */
void build_want(struct build *b, struct action *a);

/* An output shall stand at path when the build ends; one that is missing or was edited is restored.
 * OUTPUT_RECIPE: the object is a recipe (store.h) of the file. */
enum output_flags { OUTPUT_EXECUTABLE = 1 << 0, OUTPUT_RECIPE = 1 << 1 };
void build_output(struct build *b, struct action *a, size_t output, const char *path,
	enum output_flags flags);

struct build_result {
	size_t nrun, ncached, nskipped; /* actions; skipped: an input failed, or stopped */
	size_t nfailed;                 /* actions, generators and files that were to be written */
	size_t nwould_run, nunknown;             /* dry run: unknown depends on what would run */
	size_t nwritten;                         /* output files */
	bool interrupted;
};
/* False if anything failed: err is the first failure (ERR_CANCELLED after an interrupt); the result
 * is filled in either case. May be called again after adding more. */
bool build_run(struct build *b, struct build_result *out, struct err *e);

/* Of a finished action; false for one that is not, and for NULL: one that was never planned. */
bool action_digest(const struct action *a, size_t output, struct digest *out);
bool action_key(const struct action *a, struct digest *out);
/* Of a file that is an input; false if no action needed it yet. */
bool build_file_digest(struct build *b, const char *path, struct digest *out);
bool build_read(struct build *b, struct action *a, size_t output, struct arena *into,
	struct buf *out, struct err *e);

/* An output, and whatever objects the action's outputs name, need not stay when the build has ended: they are made again
 * if someone reads them. The record stays, so nothing runs for their sake. */
void build_pass(struct build *b, struct action *a, size_t output);

/* Keeps the objects of every finished action, but for those that pass, for gc under this root name. Then discards what
 * passes and no root reaches (store.h); *bytes of it. */
bool build_root(struct build *b, const char *name, struct err *e);
bool build_discard(struct build *b, uint64_t *bytes, struct err *e);

/* ==== 3. Reports ============================================================================ */

enum event_kind {
	EVENT_BEGIN,    /* of the build */
	EVENT_ADD,      /* an action is part of the graph now */
	EVENT_HIT,      /* its key is answered */
	EVENT_WOULD,    /* dry run: it would run; text: why */
	EVENT_WAIT,     /* text: which process runs an equal action */
	EVENT_EXPECT,   /* what is ahead is long; text: how long, how much memory */
	EVENT_RUN,      /* begins; text: why */
	EVENT_RESUME,   /* text: at which step */
	EVENT_PROGRESS, /* done, total, text: unit and line */
	EVENT_WARN,     /* text */
	EVENT_DONE,     /* wall_ns */
	EVENT_AGAIN,    /* an input was damaged; it is made again, then this */
	EVENT_FAIL,     /* text: the message */
	EVENT_SKIP,     /* text: why */
	EVENT_OUTPUT,   /* text: path of a file written */
	EVENT_END,      /* of the build */
};
struct build_event {
	enum event_kind kind;
	const char *action, *rule; /* NULL where no action is concerned */
	const char *text, *unit;   /* may be NULL */
	double done, total;
	int64_t time_ns, wall_ns;
	const struct build_result *result; /* EVENT_END */
};
const char *event_name(enum event_kind k);
/* Appends the event as one line of JSON. */
void event_write(struct strbuf *out, const struct build_event *ev);

/* $XDG_STATE_HOME/trim/NAME-HEX.journal, else below ~/.local/state; HEX is of the spec's full path.
 */
bool journal_default_path(struct strbuf *out, const char *spec_path, struct err *e);

/* About a build that was run, dry or not, for people or as the members of a JSON object ("name":value,...
 * without the braces). Each appends to out. action NULL: of every one.
 *
 *   why     "actions":[{"action","rule","state","why"}]; state: ran, not run, would run, failed, skipped,
 *           not known yet
 *   status  what is out of date, after a dry run: "actions":[{"action","rule","state","why"}] of those with
 *           state out of date, perhaps or failed, "outputs":[PATH] missing or edited, and how many actions
 *           are "up_to_date", "out_of_date", "perhaps", "failed"
 *   plan    what would run, after a dry run: "actions":[{"action","rule","state","seconds","memory_bytes",["device_bytes",]
 *           "bytes","why"}], state run or maybe, seconds and memory (resident at its peak) null where nobody knows; "then":
 *           [NAME] what more may follow; "run", "perhaps", "cached", "seconds", "then_seconds", "memory_bytes" and
 *           "device_bytes" (the most of an action; the second where a GPU is used), "available_bytes" (null: not known),
 *           "bytes" of outputs in all; "warnings":[TEXT]
 *   log     past builds, or those of one action: "log":[{"build","time","how","action","rule","why",
 *           "seconds","peak_bytes"} or {"build","time","run","cached","failed","skipped"}], oldest first; time in UTC.
 *           Of an action with estimates "expected_seconds" and "expected_bytes" too; what is not known is left out */
enum report_form { REPORT_TEXT, REPORT_JSON };
bool build_why(struct build *b, const char *action, enum report_form form, struct strbuf *out, struct err *e);
void build_status(struct build *b, enum report_form form, struct strbuf *out);
void build_plan(struct build *b, enum report_form form, struct strbuf *out);
struct log_request {
	const struct os_ops *os; /* NULL: the system's */
	const char *journal;     /* path */
	const char *action;      /* NULL: all */
	enum report_form form;
};
/* ERR_SPEC for an action that the journal has never seen. */
bool journal_log(const struct log_request *r, struct strbuf *out, struct err *e);

/* format: dot, mermaid, json, ninja; another is ERR_SPEC with the nearest name. */
bool build_graph(struct build *b, const char *format, struct strbuf *out, struct err *e);

#endif
