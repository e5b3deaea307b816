/* The parts of `trim report` about tuning: where early stops ended rounds. */
#ifndef REPORT_TUNE_H
#define REPORT_TUNE_H

#include "work.h"

/* ,"looks":[{"round","kept","stopped","of","validation":[[STEP,LOSS],...]},...] of a schedule's tunes that looked at
 * validation rows, round 0 first; nothing where none did. kept: the step whose state was taken. */
void report_add_looks(struct work *w, struct strbuf *out, const char *schedule);

/* The same for people, a line a round. looks: that list, or NULL. */
void report_print_looks(struct cli *c, const struct json *looks);

#endif
