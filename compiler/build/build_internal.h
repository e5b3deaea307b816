/*
 * What the files of the engine share; nobody else includes this.
 *
 *   build.c          the graph: actions, inputs, generators, wants
 *   build_key.c      digests of inputs, tools, keys, records
 *   build_sched.c    the states of actions, and who runs next
 *   build_worker.c   threads that run calls
 *   build_call.c     what a rule sees
 *   build_tool.c     running a program for a rule
 *   build_journal.c  the file of past builds
 *   build_estimate.c what actions will take, before they run
 *   build_memory.c   memory of this process and of the machine
 *   build_explain.c  why something ran: reasons, why, status
 *   build_plan.c     what would run, and what it would take
 *   build_event.c    events and their JSON
 *   build_print.c    the graph as dot, mermaid, JSON, ninja
 *
 * The states of an action. "Known": the digests of its outputs are known, from a record or a run.
 *
 *     WAIT      some input is not known
 *     KNOWN     done, or not needed; its bytes may be missing from the store
 *     NEED      it must run, but bytes of an input are missing and are being made
 *     READY     it can run; in its pool's queue
 *     BLOCKED   someone runs an equal action; tried again
 *     RUNNING   a worker has it
 *     FAILED    as it says
 *     SKIPPED   an input failed, or the build stopped before
 *     WOULD     dry run: it would run
 *     UNKNOWN   dry run: an input would run
 *
 * An action that is KNOWN goes back to NEED when its bytes are wanted and missing ("restoring").
 * A generator, a wanted action and an output file are actions too, without rule, key and record.
 */
#ifndef BUILD_INTERNAL_H
#define BUILD_INTERNAL_H

#include <pthread.h>

#include "build.h"
#include "digest_map.h"

enum action_kind { ACTION_RULE, ACTION_GENERATE, ACTION_WANT, ACTION_OUTPUT };
enum action_state {
	STATE_WAIT,
	STATE_KNOWN,
	STATE_NEED,
	STATE_READY,
	STATE_BLOCKED,
	STATE_RUNNING,
	STATE_FAILED,
	STATE_SKIPPED,
	STATE_WOULD,
	STATE_UNKNOWN,
};

enum pool_place { POOL_NONE, POOL_COMPUTE };
enum { OUTPUT_ALL = SIZE_MAX }; /* as struct edge.output: whatever the action made */

/* An input of an action: of a file (source), of bytes, or of an action. */
struct edge {
	const char *name;
	enum input_kind kind;
	size_t source;
	struct buf bytes;
	struct action *action;
	size_t output;
	struct digest digest; /* valid once known */
};

struct action {
	const char *name;
	size_t index;
	enum action_kind kind;
	enum action_state state;
	bool known;     /* outputs hold */
	bool restoring; /* known, and being made again for its bytes */
	bool ran;       /* in this build */
	bool queued;    /* in the list of steps */
	bool waited;    /* EVENT_WAIT was sent */
	int nagain;     /* how often a damaged input was met */
	const char *reason, *failure;

	const struct rule *rule;
	struct fields param, tool; /* param sorted by name */
	bool has_key;
	struct digest key;

	struct edge *input;
	size_t ninput;
	size_t nunknown, nabsent; /* edges waited for: digests, bytes */

	struct action **dependent; /* one for each edge from here */
	size_t ndependent;

	size_t noutput;
	struct record_object *output, *ref;
	size_t nref;
	int64_t wall_ns;
	uint64_t peak_bytes;      /* of the process while it ran; 0: not known, others ran beside it */
	struct estimate estimate; /* made just before it ran; zeros: none */
	double expected_s;        /* by that estimate; 0: not known */
	bool looked_at;           /* by estimate_before, for another or itself */

	bool *passes; /* by output; NULL: none does, and what outputs name stays */

	bool alone; /* runs while nothing else does, and never in a dry run */
	generate_fn generate;
	void *generate_ctx;
	struct foreseen *foreseen; /* of what a generator adds */
	size_t nforeseen;

	const char *path; /* ACTION_OUTPUT */
	enum output_flags path_flags;

	struct action *next; /* of its queue */
};

struct source {
	const char *path;
	bool tried, ok;
	struct digest digest;
	struct err err;
};

struct queue {
	struct action *first, *last;
};

struct pool_state {
	const char *name;
	int depth, nrunning;
	bool all_threads;
	struct queue ready;
};

struct call_result {
	bool ok, damaged;
	struct err err;
	int64_t wall_ns;
	uint64_t peak_bytes; /* see measures_peak; 0: the system does not say */
	struct record record; /* in the call's arena */
	bool resumed;
	uint64_t resumed_step;
	bool wrote; /* ACTION_OUTPUT: the file */
};

struct rule_call {
	struct build *build;
	struct action *action; /* the worker reads what does not change: rule, param, key, edges */
	int threads;
	struct store_lock lock;
	struct arena arena;

	struct map *input; /* by index; opened on demand */
	bool *input_open;
	struct map *object; /* whatever else is mapped */
	size_t nobject;
	struct map once;    /* call_object_once */

	bool measures_peak; /* nothing ran when it began */
	size_t number;      /* of this call in the build */

	struct store_batch *batch;
	struct record_object *output, *ref;
	bool *output_given;
	size_t nref;
	struct seed {
		struct digest key;
		size_t output;
	} *seed;
	size_t nseed;
	const char *tmpdir;

	atomic_bool saves; /* it has asked for or put a checkpoint */
	int64_t started_ns, saved_ns, save_cost_ns;
	_Atomic int64_t progress_ns;

	struct call_result result;
	struct rule_call *next;
};

struct journal; /* build_journal.c */

struct build {
	struct build_options o;
	const struct os_ops *os;
	struct statcache *stat; /* o.stat, or our own that believes nothing */
	bool own_stat;
	struct arena arena;

	struct action **action;
	size_t naction;
	struct digest_map by_name;
	struct source *source;
	size_t nsource;
	struct digest_map by_path;

	struct pool_state *pool; /* by enum pool_place, then the others */
	size_t npool;
	struct queue steps;   /* actions to look at */
	struct queue blocked; /* by the lock of their key */
	size_t nrunning;
	size_t ncall; /* so far */
	int free_threads;
	bool expected; /* EVENT_EXPECT was sent */
	bool stopping; /* after a failure */
	bool began;
	struct err first_err;
	bool failed;
	struct build_result result;
	struct strbuf scratch;

	struct journal *journal;
	struct digest_map made, ahead; /* struct estimate.fixed of actions that began; of those that were looked at ahead */

	pthread_mutex_t event_mutex;

	pthread_mutex_t mutex; /* of all below */
	pthread_cond_t work, done;
	struct rule_call *job_first, *job_last, *done_first;
	size_t nthread, thread_cap;
	pthread_t *thread;
	bool quit;
};

int build_stop_level(const struct build *b);

/* build.c */
void build_push(struct queue *q, struct action *a);
struct action *build_pop(struct queue *q);
void build_step_later(struct build *b, struct action *a);
const char *edge_source_text(
	const struct build *b, const struct edge *edge, struct strbuf *scratch);

/* build_key.c */
/* Fills in the digests of all inputs, which are known, and the key. False: an input file fails. */
bool action_resolve(struct build *b, struct action *a, struct err *e);
/* The record of a's key into a; *hit says whether there is one that fits the rule. */
bool action_lookup(struct build *b, struct action *a, bool *hit, struct err *e);
/* Takes the outputs of r, whose refs live in the build's arena. False: they differ from what was
 * known before. */
bool action_take(struct action *a, const struct record *r);
bool edge_present(struct build *b, const struct edge *edge);
bool action_present(struct build *b, const struct action *a);

/* build_worker.c */
bool worker_start(struct build *b, struct rule_call *c, struct err *e);
struct rule_call *worker_wait(struct build *b, int64_t timeout_ns); /* NULL: timeout */
void workers_stop(struct build *b);

/* build_call.c */
struct rule_call *call_new(struct build *b, struct action *a, int threads);
void call_run(struct rule_call *c);
void call_free(struct rule_call *c); /* releases its lock */
void output_run(struct rule_call *c);
/* Whether the file of an ACTION_OUTPUT is what it shall be; false too if a recipe is missing. */
bool output_is_current(struct build *b, struct action *a);

/* build_event.c */
void build_emit(struct build *b, enum event_kind kind, const struct action *a, const char *text);
void build_emit_event(struct build *b, struct build_event ev);

/* build_memory.c */
/* Makes memory_peak() begin anew. False: this system cannot. */
bool memory_peak_reset(void);
uint64_t memory_peak(void);      /* resident in this process at most since then; 0: not known */
void memory_give_back(void);     /* what is free on the heap */
/* What this process may still take beside what it has, by the system and by the limits of its group; 0: not known. */
uint64_t memory_available(void);
uint64_t memory_available_below(const char *root); /* the same by the files below a folder, "" the system's */
uint64_t memory_resident(void); /* that it has; 0: not known */

/* build_estimate.c */
/* Of an action that has not run; zeros where nothing is known. In the build's arena. */
struct estimate estimate_of(struct build *b, struct action *a);
/* It is to run behind those that made what is in `made`: that is not made again, and what e makes is put there. */
void estimate_make(struct digest_map *made, struct estimate *e);
/* What is left of an action's seconds without the fixed ones, which may have been estimated as too many. */
double estimate_rest(double seconds, double fixed);
/* Seconds by earlier runs of the rule, else by the machine's rate; 0: not known. */
double estimate_seconds(struct build *b, const struct action *a, const struct estimate *e);
/* Seconds of what a generator will add; 0: not known. */
double estimate_foreseen(struct build *b, const struct action *generator);
/* Fills in a's estimate, says what is ahead if it is long, and warns of what will not fit. Before a runs. */
void estimate_before(struct build *b, struct action *a);
/* "needs about 12.0 GB of memory, 8.0 GB are there" if so; false: it fits, or nobody knows. */
bool estimate_too_large(const struct build *b, const struct estimate *e, struct strbuf *out);
void add_bytes(struct strbuf *out, uint64_t bytes);
void add_device_bytes(struct strbuf *out, uint64_t bytes); /* " and 8.0 GB of the GPU's"; 0: nothing */
void add_duration(struct strbuf *out, double seconds);

/* build_explain.c */
const char *explain_run(struct build *b, struct action *a);
/* `{"action":...` without its end; a comma before it unless it is the first of a list. */
void report_begin_row(struct strbuf *out, const struct action *a, const char *state);
void report_end_row(struct strbuf *out, const char *why);
/* A text in a list of texts. */
void report_add_item(struct strbuf *out, const char *text);

/* ---- the journal ----
 *
 * A text file per spec, appended to; whole lines only count, and a line whose check fails does not.
 * A line is CHECK TAB KIND TAB fields with TABs between; TAB, newline and '\' in a field are \t, \n
 * and \\. CHECK is 8 hex digits: the low half of the XXH3-128 low word of what follows its TAB.
 *
 *     begin  BUILD TIME_NS
 *     action BUILD TIME_NS HOW NAME RULE VERSION KEY WALL_NS BYTES REASON  then any of
 *            m=NAME=VALUE, before the others, then p=NAME=VALUE  t=NAME=VALUE  i=NAME=HEX=WHERE
 *     end    BUILD TIME_NS RUN CACHED FAILED SKIPPED
 *
 * HOW is run, resumed:STEP, hit, failed or interrupted. An action that is answered by the cache
 * with the key of its newest line is not written again, so a build in which nothing happens adds
 * two short lines. BUILD counts from 1. m= is what was measured of a run and what was expected of it: peak and memory
 * in bytes, seconds expected; work, kind and fixed as struct estimate has them.
 */
struct journal_entry {
	const char *how, *name, *rule, *key, *reason;
	long build;
	int version;
	int64_t time_ns, wall_ns;
	uint64_t bytes;
	struct fields param, tool;
	struct fields input, where; /* role -> hex; role -> where it came from */
	struct fields measured;
};

/* A missing file is an empty journal. */
bool journal_open(const struct os_ops *os, const char *path, struct journal **out, struct err *e);
void journal_free(struct journal *j); /* NULL is allowed */
/* The newest entry of an action, NULL if none; of this build or only of those before it. */
enum journal_when { JOURNAL_NEWEST, JOURNAL_BEFORE_THIS_BUILD };
const struct journal_entry *journal_find(struct journal *j, const char *action,
	enum journal_when when, struct arena *a);
/* What runs of the rule cost on average, 0 if it never ran. */
int64_t journal_rule_ns(const struct journal *j, const char *rule);
/* Work per second that runs of the rule did of that kind, the newest most; 0: none ran. */
double journal_rate(const struct journal *j, const char *rule, const char *kind);
bool journal_begin(struct journal *j, struct err *e);
bool journal_action(struct journal *j, struct build *b, const struct action *a, const char *how,
	struct err *e);
bool journal_end(struct journal *j, const struct build_result *r, struct err *e);

#endif
