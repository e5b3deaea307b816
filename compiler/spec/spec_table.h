/*
 * The spec language, described once: the elements, their attributes, the types of values.
 *
 * Checking, messages, defaults, the effective spec, its normal form, trim.xsd and the reference that
 * `trim help spec` prints all walk these rows. What needs more than one row to be known (references,
 * sums, "one of") is checked in spec_sema.c.
 *
 * Whether a part of the language is built yet is said here too and nowhere else: `later`.
 */
#ifndef SPEC_TABLE_H
#define SPEC_TABLE_H

#include "spec_log.h"
#include "strbuf.h"

struct spec_attr;

/* One parsed item of a value. */
struct spec_value {
	double number;   /* shares as fractions of 1, bytes as bytes, points as fractions of 1 */
	int64_t count;
	const char *word; /* an enum's value, a text, a path; canonical text of anything else is in out */
	enum spec_value_kind {
		VALUE_TEXT, VALUE_SHARE, VALUE_COUNT, VALUE_NUMBER, VALUE_BYTES, VALUE_UNITS,
		VALUE_GATE, VALUE_SPEED, VALUE_FILES, VALUE_IDS, VALUE_POINTS,
	} kind;
};

struct spec_type {
	const char *name;     /* of the XSD type */
	const char *pattern;  /* XSD 1.0 regular expression; NULL: any text */
	const char *expected; /* for "expected ...", NULL if parse always succeeds */
	const char *example;  /* for the reference */
	/* Reads one item (white space around it is gone unless exact) and appends its canonical text
	 * to out. False: not of this type, or outside row->min .. row->max. */
	bool (*parse)(const struct spec_attr *row, const char *text, struct spec_value *v,
		struct strbuf *out);
	bool exact; /* white space at the ends counts */
};

extern const struct spec_type spec_type_name, spec_type_text, spec_type_field, spec_type_path,
	spec_type_hub, spec_type_percent, spec_type_count, spec_type_number, spec_type_enum,
	spec_type_bytes, spec_type_keep, spec_type_share, spec_type_margin, spec_type_amount;

struct spec_attr {
	const char *name;
	const struct spec_type *type;
	const char *const *values; /* spec_type_enum: allowed, NULL-terminated */
	const char *deflt;         /* what its absence means; NULL: see doc */
	/* Where other_when holds (as `when`), absence means other_deflt instead. NULL: nowhere. */
	const char *other_when, *other_deflt;
	const char *doc;
	/* "kind=text|chat": only where the element's attribute `kind` has one of these values;
	 * "init": only where it has that attribute, "!init": only where not. NULL: everywhere. */
	const char *when;
	const char *refers; /* a name of one of these elements, directly below <trim> */
	/* Values that are not built yet, "*" for the attribute itself: words separated by spaces, a
	 * `*` at either end of a word matches anything, "!x" is every value but x. NULL: all are. */
	const char *later;
	double min, max; /* of counts, numbers, percents; max 0: no limit. min_open: more than min */
	bool min_open;
	bool required; /* where `when` holds */
	bool list;     /* items separated by white space */
};

enum spec_content { CONTENT_NONE, CONTENT_ELEMENTS, CONTENT_TEXT };

struct spec_element {
	const char *name;
	const char *const *parents; /* NULL-terminated; none for the root */
	enum spec_content content;
	int min, max; /* how many in its parent; max 0: any number */
	const char *when; /* as of attributes, about the parent's attributes */
	const struct spec_attr *attr; /* name NULL ends */
	const char *doc;
	/* "*": not built yet; NULL: built. */
	const char *later;
	const char *implied; /* the parent in which its absence means one with all defaults; NULL: none */
};

extern const struct spec_element spec_elements[]; /* name NULL ends; the order is canonical */

const struct spec_element *spec_element_find(const char *name);
const struct spec_attr *spec_attr_find(const struct spec_element *e, const char *name);
bool spec_element_in(const struct spec_element *e, const char *parent);

/* Whether word is among the words of a `later` column. */
bool spec_is_later(const char *later, const char *word);

/* Splits a list attribute (or takes a scalar as one item) into items in the arena: a unit that
 * stands behind its number with a space ("32 units") belongs to it. */
int spec_items(struct arena *a, const struct spec_attr *row, const char *text, const char ***items);

/* Parses all items. False after the first that is wrong, whose text is then in *bad. canonical may
 * be NULL. */
bool spec_parse(struct arena *a, const struct spec_attr *row, const char *text,
	struct spec_value **v, int *nv, const char **canonical, const char **bad);

/* "expected cpu or cuda", "expected a count from 1". Lives in the arena. */
const char *spec_expected(struct arena *a, const struct spec_attr *row);

/* Values of the enums, so that structs and table name them alike. */
enum spec_source { MODEL_PATH, MODEL_HUB, MODEL_RANDOM };
enum spec_format { FORMAT_TEXT, FORMAT_JSON, FORMAT_JSONL, FORMAT_CSV, FORMAT_PARQUET };
enum spec_task_kind { SPEC_CHOICE, SPEC_COMPLETION, SPEC_TEXT, SPEC_CHAT };
enum spec_on_long { SPEC_LONG_ERROR, SPEC_LONG_CUT_PROMPT, SPEC_LONG_SKIP };
enum spec_row_unit { ROW_BLANK_LINE, ROW_LINE, ROW_FILE };
enum spec_unit { UNIT_HALF, UNIT_BLOCK };
enum spec_device { ON_CPU, ON_CUDA };
enum spec_math { MATH_OWN, MATH_CUBLASLT };
enum spec_dtype { DTYPE_F32, DTYPE_BF16, DTYPE_INT8, DTYPE_INT4, DTYPE_F16 };
enum spec_states { STATES_ALL, STATES_TARGETS };
enum spec_score_method {
#define SCORE(id, symbol, name, reads, ranks) SCORE_##id,
#include "score_methods.h"
#undef SCORE
	NSCORE_METHODS
};
enum spec_tie_break { TIE_LIKELIHOOD, TIE_ACTIVATION_NORM };
enum spec_tune_method { TUNE_SPARSE, TUNE_FULL, TUNE_LORA };
enum spec_per { PER_UNIT, PER_BYTE };
enum spec_counts { COUNTS_TUNE, COUNTS_CHAIN };
enum spec_decay { DECAY_CONSTANT, DECAY_LINEAR, DECAY_COSINE };
enum spec_new_rows { NEW_ROWS_RETUNE, NEW_ROWS_CONTINUE };
enum spec_reference { AGAINST_TUNED, AGAINST_PARENT };
enum spec_metric { METRIC_ACCURACY, METRIC_NLL, METRIC_PERPLEXITY };

/* Their words, indexed by the enums above, NULL-terminated. */
extern const char *const spec_formats[], *const spec_task_kinds[], *const spec_on_longs[],
	*const spec_row_units[], *const spec_units[], *const spec_devices[], *const spec_maths[], *const spec_dtypes[],
	*const spec_states_words[], *const spec_score_methods[], *const spec_tie_breaks[],
	*const spec_tune_methods[], *const spec_pers[], *const spec_counts[], *const spec_decays[], *const spec_new_rows_words[],
	*const spec_references[], *const spec_metrics[];

/* What a score method reads beside the state, and which units it ranks (score_methods.h). */
enum { READS_ROWS = 1 << 0, READS_COUNT = 1 << 1, READS_SEED = 1 << 2, READS_UNITS = 1 << 3 };
enum { RANKS_HALF = 1 << UNIT_HALF, RANKS_BLOCK = 1 << UNIT_BLOCK };
extern const struct spec_score_traits {
	unsigned reads, ranks;
} spec_score_traits[NSCORE_METHODS];

/* What `cpu` may be, and the architecture of each; NULL: the one that builds (native). */
extern const char *const spec_cpus[], *const spec_cpu_archs[];

/* Index of word, -1: absent. */
int spec_word_index(const char *const *words, const char *word);

#endif
