/*
 * on-new-rows="continue": on which rows the states of a schedule were tuned, time by time. The lock has it (lock.h,
 * "tuned"), so that the same chain follows from the same lock everywhere: round 0 and all rounds from the rows of the
 * first time, then one pass for each later time over the rows that came with it.
 *
 * Rows of a time are the first so many of each file, since who trains, ranks and validates follows from a row alone
 * (split.h); a digest of these lists says whether they are still the rows that they were. When they are not, or model,
 * datasets or schedule are others, there is no going on: the lineage begins anew with the rows that there are.
 *
 * Rows are read here, in this process, only when a file is another than when the lock was written.
 */
#ifndef LINEAGE_H
#define LINEAGE_H

#include "dataset.h"
#include "json.h"

struct lineage_set {
	size_t *nrow;       /* rows of each file, in the order of dataset_open */
	struct digest rows; /* of the lists of train, calibration and validation rows */
};

struct lineage_file {
	const char *name;
	struct digest digest;
};

enum lineage_how {
	LINEAGE_BEGUN,  /* the lock knows of none */
	LINEAGE_SAME,   /* as the lock has it: no train row is new */
	LINEAGE_GROWN,  /* a time more, whose train rows are new */
	LINEAGE_BROKEN, /* begun anew: see why */
};
extern const char *const lineage_hows[];

struct lineage {
	enum lineage_how how;
	const char *why;             /* for people, where it is grown or broken */
	const struct dataset *data;  /* opened */
	struct lineage_set **time;   /* [n][dataset] */
	size_t n;
	struct lineage_file *file;   /* what was read: those of the datasets, and lists of ids */
	size_t nfile;
};

/* By schedule; NULL where on-new-rows is "retune". lock: NULL where there is none. In the arena. */
bool lineage_find(struct arena *a, const struct spec *s, const struct json *lock, struct statcache *stat,
	const struct lineage ***out, struct err *e);

/* Appends the schedule's member of "tuned": an object. */
void lineage_write(struct strbuf *out, const struct spec *s, int schedule, const struct lineage *l);

/* Of the lists that split writes. */
struct digest lineage_rows(const struct digest list[NSPLIT]);

#endif
