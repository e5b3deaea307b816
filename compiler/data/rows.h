/* Inside of compiler/data: what the readers hand their rows to. */
#ifndef DATA_ROWS_H
#define DATA_ROWS_H

#include "data.h"

struct row_writer {
	const struct data_source *source;
	const struct data_file *file;
	struct field_path by, key; /* nstep 0: none */
	struct arena paths;
	struct arena scratch; /* of the row at hand; emptied by row_add now and then */
	struct strbuf records, heap;
	size_t nrow;
};

/* Takes a row that may live in w->scratch. key.p NULL: it has no key of its own. */
bool row_add(struct row_writer *w, const struct json *row, struct buf key, struct err *e);

bool read_text_rows(struct row_writer *w, struct buf text, struct err *e);
bool read_csv_rows(struct row_writer *w, struct buf text, struct err *e);

struct json *row_object(struct arena *a, size_t nmember, int line);
void row_member(struct arena *a, struct json *object, size_t i, const char *name, struct buf text);

#endif
