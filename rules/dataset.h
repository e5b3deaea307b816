/*
 * A <dataset> of a spec as compiler/data takes it: its task, its files, its splits; and the same as
 * parameters of rules, and back. `trim check`, `trim show` and the rules rows, split and tokenise go
 * through here, so that they mean the same rows.
 *
 * A file is known by its path below its root (the project or a named one): no folder of this machine
 * and no name of a root gets into a parameter. A document of a text task that is longer than `length`
 * is cut into windows, unless the spec says on-long="skip". A CSV file has a header unless the task
 * reads a column by number.
 *
 * Parameters (text, those that are at their default are absent):
 *
 *     task      choice | completion | text
 *     prompt, answer, choices-field, choice.0 ...    templates, byte-exact
 *     delimiter, on-long, length                     of tokenise alone
 *     format, row, by                                of rows alone; file: the name in messages
 *     seed, split.0.path, split.0.test ...           of split alone; a part is "500000" (millionths),
 *                                                    "files:PATTERN" or "ids:FILE"
 */
#ifndef DATASET_H
#define DATASET_H

#include "build.h"
#include "spec.h"
#include "tokens.h"

struct dataset_file {
	const char *name; /* below its root */
	const char *path; /* to be opened */
	const char *by;   /* of the <split> that holds for it; NULL: the values that the task reads */
};

struct dataset {
	const struct spec_dataset *spec;
	struct data_source source; /* without `by`, which is each file's own */
	struct task task;          /* length_tokens UINT32_MAX where the spec leaves it to the model */
	struct dataset_file *file; /* by name */
	size_t nfile;
	struct split_rule *rule;   /* lists of ids without their bytes: see ids */
	size_t nrule;
	struct dataset_file *ids;  /* of part p of rule r where that is a list: [r * NSPLIT + p] */
};

/* Lists folders and patterns; reads no file. ERR_SPEC at the place in the spec. */
bool dataset_open(struct arena *a, const struct spec_dataset *spec, struct dataset *out,
	struct err *e);

/* Parameters. context: tokens that the model takes, the length of a row where the spec says none. */
void dataset_rows_param(struct arena *a, const struct dataset *d, size_t file, struct fields *out);
void dataset_split_param(struct arena *a, const struct dataset *d, int64_t seed, struct fields *out);
void dataset_tokenise_param(struct arena *a, const struct dataset *d, int64_t context,
	struct fields *out);

/* Back. In the arena; the texts are borrowed from the parameters. BUG on what no spec can say. */
bool fields_task(struct arena *a, const struct fields *f, struct task *out, struct err *e);
void fields_source(const struct fields *f, const struct task *task, struct data_source *out);
/* The parts that are lists get their file's name, not its bytes. */
void fields_split(struct arena *a, const struct fields *f, struct split_rule **out, size_t *n);

/* Whether there are as many calibration rows as a score looks at (if its method looks at any); ERR_SPEC. */
bool dataset_enough(const struct spec_dataset *d, const struct spec_score *s, size_t calibration_rows,
	struct err *e);

/* The task as tokenise and the emitted binary have it. */
struct task dataset_task(const struct dataset *d, int64_t context);

/* All rows in this process: tables, and who is in which split. Maps and tables live until release. */
struct dataset_rows {
	struct strbuf *bytes; /* of each table */
	struct row_table *t;
	size_t nt;
	struct split_result split;
	struct arena arena;
};
bool dataset_read(const struct dataset *d, struct dataset_rows *out, struct err *e);
void dataset_rows_release(struct dataset_rows *r); /* after a failed read too */

#endif
