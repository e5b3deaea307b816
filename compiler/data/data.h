/*
 * Datasets: files -> row tables.
 *
 * One file gives one row table (so that an appended file reads only itself). A table keeps of a row
 * what its task reads and no more, in a canonical form (object members sorted by name), so that a
 * changed other column, member order or white space of JSON gives the same bytes.
 *
 * Every row carries three digests, all unsalted:
 *
 *   digest  of the canonical text of the values the task reads: names the row everywhere else
 *   place   decides its split. The multiset of the values that `by` names, each as text with runs
 *           of white space folded; by default those that the task reads. Names, order and format of
 *           the columns, template, file and position do not enter. "@file" and "@key" take the
 *           file's name and the row's key instead
 *   norm    for the leak lint: as the default place, of letters and digits alone, ASCII lower-cased
 *
 * A row is what JSON calls an object or a list: a text row is {"text": "..."}, a CSV row an object
 * by header names, or by "1", "2", ... without a header. A row's key is its name in a JSON object
 * of rows, else the text of the `key` field, else of the `by` field.
 *
 * The table (runtime/flat.h): "TRIMROWS", version 1, text file name, u64 nrow, array of struct
 * row_record, bytes heap.
 *
 * All errors about data are ERR_SPEC with file, line and column (in bytes, from 1).
 */
#ifndef DATA_H
#define DATA_H

#include "digest.h"
#include "task.h"

enum data_format { DATA_TEXT, DATA_JSONL, DATA_JSON, DATA_CSV, DATA_CSV_NO_HEADER };
enum text_rows { ROWS_BLANK_LINE, ROWS_LINE, ROWS_FILE };

struct data_source {
	enum data_format format;
	enum text_rows rows;     /* DATA_TEXT */
	const char *by;          /* NULL, "@file", "@key" or a field path */
	const char *key;         /* NULL or a field path */
	const struct task *task; /* NULL: every value is kept and read */
};

struct data_file {
	const char *name; /* relative to the project root, as in the spec */
	struct buf bytes;
};

/*
 * text   blank-line: documents between lines of nothing but white space; line: each line that is
 *        not blank; file: the file unless it is blank, byte for byte. CR LF is a line end, and LF
 *        inside of a document. The line end behind a document belongs to none
 * jsonl  an object or list on each line that is not blank
 * json   a list of objects or lists, or an object of them by key
 * csv    RFC 4180: comma, double quotes, doubled quotes, line ends inside of quotes; CR LF or LF;
 *        every record as wide as the first; blank lines are no records
 *
 * Text must be UTF-8; a byte order mark at the start is skipped.
 */
bool data_read(const struct data_source *s, const struct data_file *f, struct strbuf *table,
	struct err *e);

struct row_record {
	struct digest digest, place, norm;
	uint64_t text_at, key_at; /* in the heap */
	uint32_t text_bytes, key_bytes;
	uint32_t line;  /* where the row begins in its file */
	uint32_t keyed; /* 0 or 1 */
};

struct row_table {
	const char *file;
	size_t nrow;
	const struct row_record *row;
	struct buf heap;
};

/* Borrows the bytes, which lie at a multiple of 8. Everything is checked; ERR_IO when damaged. */
bool row_table_open(struct row_table *t, struct buf bytes, struct err *e);
struct buf row_table_text(const struct row_table *t, size_t row); /* compact JSON */
struct buf row_table_key(const struct row_table *t, size_t row);  /* p NULL: none */
bool row_table_json(
	struct arena *a, const struct row_table *t, size_t row, struct json **out, struct err *e);
/* Gives an error that came from inside of a row the row's file and line. Returns false. */
bool row_table_fail(const struct row_table *t, size_t row, struct err *e);

/* Rendered, with its answer when the task names one. */
bool row_table_render(struct arena *a, const struct row_table *t, size_t row,
	const struct task *task, struct task_row *out, struct err *e);

/*
 * The files that a path of a spec names, relative to root, sorted by bytes: itself, all files of a
 * folder that have the format's ending (.txt, .jsonl, .json, .csv; folders below it too, hidden
 * ones not), or those a glob matches (*, ?, [...], none of them matching a slash). ERR_SPEC when
 * there is none. Links to files are followed, links to folders are not.
 */
bool data_list(struct arena *a, const char *root, const char *path, enum data_format format,
	const char ***names, size_t *n, struct err *e);
/* Whether such a path names this file; looks at no disk. */
bool data_match(const char *path, const char *name);

#endif
