/* The parts of `trim report` about tuning: where early stops ended rounds, which new rows states went on with. */
#ifndef REPORT_TUNE_H
#define REPORT_TUNE_H

#include "work.h"

/* ,"looks":[{"round",["continue",]"kept","stopped","of","validation":[[STEP,LOSS],...]},...] of a schedule's tunes that looked at
 * validation rows, round 0 first, passes over new rows (T of "continue") behind their round; nothing where none did. kept: the step whose
 * state was taken. */
void report_add_looks(struct work *w, struct strbuf *out, const char *schedule);

/* The same for people, a line a round. looks: that list, or NULL. */
void report_print_looks(struct cli *c, const struct json *looks);

/* ,"continued":[...] of a target, as the lock has it; for people: a line a pass, of all targets of a report. */
bool report_add_continued(struct work *w, struct strbuf *out, const struct plan_target *t, struct err *e);
void report_print_continued(struct cli *c, const struct json *of);

#endif
