/*
 * Splits: which rows test, validate, calibrate and train.
 *
 * A split's part is a share, files, or a list of keys. Rows in its files or under its keys belong
 * to it; shares divide the rest. A row's slot is the upper half of its place digest (data.h) scaled
 * to a million; test takes the lowest slots, then validation, calibration and train. So a row that
 * is test stays test when rows are appended, when other shares change, and when the test share
 * grows; rows of one place land together. Slots above the shares' sum belong to no split.
 *
 * A rule may have a path of its own and then holds for the files it names; a rule without a path
 * holds for every other file. Order inside a split is by (digest of seed and row, row), so it
 * depends on nothing but the split's own rows.
 *
 * The list (runtime/flat.h): "TRIMLIST", version 1, u64 split, u64 n, array of n row digests. It is
 * one split's alone: an action that was handed the train list cannot name a test row.
 */
#ifndef SPLIT_H
#define SPLIT_H

#include "data.h"

enum split { SPLIT_TEST, SPLIT_VALIDATION, SPLIT_CALIBRATION, SPLIT_TRAIN, NSPLIT };
extern const char *const split_names[NSPLIT + 1]; /* the last one is "none" */

enum { SHARE_ALL = 1000000 }; /* shares are in millionths */

enum split_from { FROM_NOWHERE, FROM_SHARE, FROM_FILES, FROM_IDS };

struct split_part {
	enum split_from from;
	uint32_t share;       /* FROM_SHARE: millionths, above 0 */
	const char *files;    /* FROM_FILES: a path as data_list takes it */
	struct data_file ids; /* FROM_IDS: one key per line, or JSON: a list, an object by key */
};

struct split_rule {
	const char *path; /* NULL: the files that no other rule names */
	struct split_part part[NSPLIT];
};

struct split_result {
	uint8_t **of; /* [table][row]: enum split, or NSPLIT for none */
	size_t nrow[NSPLIT + 1];
};

/* Lives in the arena. ERR_SPEC: shares above 100%, a row claimed twice, keys that no row has, files
 * that two rules or no table match, a split that was asked for and got no row. */
bool data_split(struct arena *a, const struct row_table *t, size_t nt,
	const struct split_rule *rule, size_t nrule, struct split_result *out, struct err *e);

/* Leaves out all rows of table i but the first nrow[i]: who was where when files had no more. A row's place follows from
 * the row alone. */
void split_first(struct split_result *r, const struct row_table *t, size_t nt, const size_t *nrow);

/* A list of those rows, in that order. */
void split_list_put(struct strbuf *out, enum split split, const struct digest *row, size_t n);
void split_list_write(struct strbuf *out, const struct row_table *t, size_t nt,
	const struct split_result *r, enum split split, uint64_t seed);

struct split_list {
	enum split split;
	size_t n;
	const struct digest *row;
};
bool split_list_open(struct split_list *l, struct buf bytes, struct err *e);

/* Rows per split and gold answer, for `trim check`; of other tasks than choice totals alone. A
 * label is the choice's text when that is fixed, else its letter. */
struct split_counts {
	const char **label;
	size_t nlabel;
	size_t (*n)[NSPLIT + 1]; /* [label][split] */
};
bool split_count(struct arena *a, const struct row_table *t, size_t nt,
	const struct split_result *r, const struct task *task, struct split_counts *out,
	struct err *e);

/* Leak lint: rows of equal norm in a train split and a test split, within and across datasets. */
struct leak_set {
	const char *name; /* of the dataset */
	const struct row_table *t;
	size_t nt;
	const struct split_result *r;
};
struct leak_row {
	size_t set, table, row;
};
struct leak {
	struct leak_row train, test; /* the first train row of the test row's norm */
};
/* One entry for each test row that train knows; 0 is clean. */
size_t data_leaks(struct arena *a, const struct leak_set *s, size_t n, struct leak **out);

#endif
