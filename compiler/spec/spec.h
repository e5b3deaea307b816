/*
 * A trim spec, read, checked and made whole: what `trim` is asked to build.
 *
 * spec_load reads the XML of a spec and of what it includes, checks all of it against the table of
 * the language (spec_table.h) and hands out structs: defaults are filled in, references are indices
 * into the arrays here, a target holds its resolved hardware, and lists of keep and seed have become
 * one target and one schedule for each value. Everything lives in the arena given to spec_load. Every
 * part keeps the place where it stands, so that later errors (a model that lacks a layer, a row
 * without the field) can point at it: spec_err_at.
 *
 * What is in the language but not built yet is no error: it is listed in the log as SPEC_LATER, and
 * the spec, schedule or target that it belongs to is marked `later`. A build refuses those
 * (spec_target_later) and builds the others.
 */
#ifndef SPEC_H
#define SPEC_H

#include "spec_file.h"
#include "spec_table.h"

struct spec_keep {
	/* VALUE_SHARE (value: fraction of the imported bytes), VALUE_UNITS (count), VALUE_BYTES
	 * (value), VALUE_GATE, VALUE_SPEED (value: tokens/s); VALUE_TEXT: none is said */
	enum spec_value_kind kind;
	double value;
	int64_t count;
	const char *text; /* canonical, as in the spec; "" if none */
	struct place at;
};

struct spec_tokenizer {
	const struct spec_path *path; /* NULL: trained */
	const char *train;            /* "bpe", or NULL */
	int64_t vocab;
	int *dataset; /* trained on; all of them if the spec does not say */
	int ndataset;
	struct place at;
};

struct spec_model {
	enum spec_source source;
	const struct spec_path *path;     /* MODEL_PATH */
	const char *hub, *revision;       /* MODEL_HUB */
	const char *arch;                 /* MODEL_RANDOM, with all below */
	int64_t seed, layers, width, ffn, heads, kv_heads, context;
	struct spec_tokenizer tokenizer;
	struct place at;
};

/* One part of a split. */
struct spec_share {
	enum spec_value_kind kind;    /* VALUE_SHARE, VALUE_FILES, VALUE_IDS; VALUE_TEXT: none */
	double share;                 /* of the rows that no file or list claims, 0..1 */
	const struct spec_path *path; /* of files or of the list of ids */
};

struct spec_split {
	const struct spec_path *path; /* NULL: only parts that are files */
	const char *by;               /* field, @file or @key; NULL: the values that the task reads */
	struct spec_share test, train, calibration, validation;
	struct place at;
};

struct spec_text {
	const char *s; /* byte-exact template */
	size_t n;
	struct place at; /* of its element */
};

struct spec_task {
	enum spec_task_kind kind;
	int64_t length; /* tokens; 0: the model's context */
	enum spec_on_long on_long;
	const char *delimiter;
	enum spec_row_unit row;     /* SPEC_TEXT over FORMAT_TEXT */
	const char *messages;       /* SPEC_CHAT: field */
	struct spec_text prompt;    /* s NULL: none */
	struct spec_text *choice;
	int nchoice;
	const char *choices_field;  /* instead of choice; NULL */
	const char *answer_field;   /* NULL: answer is a template */
	struct spec_text answer;
	struct place at;
};

struct spec_dataset {
	const char *name;
	enum spec_format format;
	const struct spec_path *path; /* NULL: in each split */
	double weight;                /* 0: by size; of all datasets with train rows or of none */
	struct spec_split *split;
	int nsplit;
	struct spec_task task;
	struct place at;
};

struct spec_score {
	enum spec_score_method method;
	int64_t rows, scan_every;
	bool per_byte; /* costs over bytes */
	const char *units; /* SCORE_GIVEN: names, by spaces; else NULL */
	enum spec_tie_break tie_break[2];
	int ntie_break;
	int *on; /* datasets that score; all with calibration rows if the spec does not say */
	int non;
	struct place at;
};

struct spec_tune {
	enum spec_tune_method method;
	bool counts_chain; /* steps are those of the chain's rounds and of this tune together */
	int64_t epochs, steps; /* of a round; steps 0: as many as the epochs have, epochs 0: none */
	int64_t batch, accumulate, seed, rank;
	double learning_rate, warm_up, weight_decay, clip, trainable; /* shares: 0..1 */
	double alpha, distill, temperature; /* distill: share of the loss */
	int64_t patience, validate_every;   /* looks; 0: none. Steps; 0: a tenth of the round's */
	enum spec_decay decay;
	bool train_embeddings; /* and final norm and head */
	enum spec_new_rows on_new_rows;
	struct place at;
};

struct spec_schedule {
	const char *name;
	const char *group; /* the name before a list of seeds made several; else the name */
	struct spec_keep keep;
	enum spec_unit unit;
	enum spec_device device;
	enum spec_math math; /* of score and tune; evaluate has the kernels that ship */
	enum spec_dtype arithmetic; /* DTYPE_F32 or DTYPE_BF16 */
	int64_t per_round;      /* units; 0: */
	double per_round_share; /* of the imported bytes */
	enum spec_states states;
	struct spec_score score;
	struct spec_tune tune;
	struct digest states_of; /* of model, datasets and what of the schedule its states follow from, as text */
	bool later;
	struct place at;
};

struct spec_gate {
	enum spec_reference against;
	int target;    /* index of the target to compare with; -1: `against` says with what */
	enum spec_metric metric;
	double margin; /* accuracy: fraction of 1; relative: of the reference's metric; else in the metric's unit */
	bool relative;
	double confidence; /* 0..1 */
	int dataset;   /* index; -1: every one */
	struct place at;
};

struct spec_hardware {
	const char *name;  /* as the target has it: profiles, separated by spaces */
	const char **cpu;  /* instruction sets of one architecture, "native" not yet resolved */
	int ncpu;
	const char **gpu;  /* "sm_90" */
	int ngpu;
	struct place at;   /* of the name */
};

struct spec_target {
	const char *name;
	const char *group; /* the name before lists made several of it; else the name */
	struct spec_hardware hardware;
	enum spec_dtype weights, head, activations, kv;
	struct spec_keep keep;
	struct spec_tune *tune; /* of its state once more, behind the chain; NULL: none */
	int *schedule;        /* indices; of several the one that does best on validation rows */
	int nschedule;        /* 0: compiled as it is */
	int64_t context;      /* tokens; 0: the model's */
	int64_t threads;      /* 0: one per core where it runs */
	double memory_bytes;  /* 0: no limit */
	const char *system;   /* NULL */
	const struct spec_gate **gate; /* its own, else the spec's */
	int ngate;
	bool later;
	struct place at;
};

struct spec {
	const char *name;
	const struct spec_file *file; /* the main one */
	const char *project;          /* project root, resolved */
	struct spec_model model;
	struct spec_dataset *dataset;
	int ndataset;
	struct spec_schedule *schedule;
	int nschedule;
	struct spec_gate *gate; /* of the spec itself */
	int ngate;
	struct spec_target *target;
	int ntarget;
	struct spec_file **files; /* everything that was read: a change of one is a change of the spec */
	int nfiles;
	bool later; /* the model, a dataset or a gate of the spec is not supported yet */
	const char *text;     /* the effective spec as canonical XML: the normal form */
	size_t text_bytes;
	const char *json;     /* the same as JSON */
	struct digest digest; /* of text: comments, order and white space do not count */
};

struct spec_options {
	const struct spec_roots *roots;
	bool any_path; /* paths need not exist, their roots need not be set (`trim expand`) */
};

/* False if there are errors; the log has them, and what is not supported yet. The log may hold
 * SPEC_LATER messages on success. */
bool spec_load(struct arena *a, const char *path, const struct spec_options *options,
	struct spec **out, struct spec_log *log);

/* Whether what target i needs is in the language but not built yet. */
bool spec_target_later(const struct spec *s, int i);

const struct spec_target *spec_target_find(const struct spec *s, const char *name);
/* ERR_SPEC that names the nearest. */
const struct spec_target *spec_target_need(const struct spec *s, const char *name, struct err *e);

/* As err_at(ERR_SPEC) with a place of the spec. Returns false. */
bool spec_err_at(struct err *e, struct place at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The published grammar (specs/trim.xsd) and the reference of the language as text, from the table. */
void spec_write_xsd(struct strbuf *out);
void spec_write_reference(struct strbuf *out);

#endif
