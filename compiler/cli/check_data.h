/*
 * What `trim check` says about the data of a spec: rows of each split and answer; too few of them; rows that
 * are in train and in test; gates that could not pass whatever was measured.
 */
#ifndef CHECK_DATA_H
#define CHECK_DATA_H

#include "spec.h"
#include "strbuf.h"

struct data_report {
	struct strbuf text;    /* a table of each dataset */
	struct strbuf json;    /* the same: items of a list */
	struct strbuf leaks;   /* test rows that are as good as equal to a train row: items of a JSON list */
	struct err *error;     /* in the arena */
	size_t nerror;
	struct err *warning;
	size_t nwarning;
};

/* Reads all rows. Errors go into the report. */
void data_report(struct arena *a, const struct spec *s, struct data_report *out);
void data_report_release(struct data_report *r);

#endif
