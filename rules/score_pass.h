/*
 * What scores by sums over passes share: one pass (pass.h), its records and its candidates. A method's own work begins
 * with it; work is freed here, what a method adds lies in the arena.
 */
#ifndef SCORE_PASS_H
#define SCORE_PASS_H

#include "pass.h"
#include "score_method.h"

struct score_pass {
	struct pass pass;
	const struct candidate *candidate;
	size_t n;
	struct token_table tokens;
	struct pass_change *change; /* of a batch, by record */
	struct arena arena;
};

enum score_pass_answers { PASS_ALL_ANSWERS, PASS_FIRST_ONLY };
struct pass_options score_pass_options(const struct score *s, enum score_pass_answers answers);
/* sp: zeroed, at the beginning of the work. */
bool score_pass_open(struct score_pass *sp, struct score *s, enum score_pass_answers answers, struct err *e);

/* As struct score_sums has them. */
void score_pass_release(void *work);
size_t score_pass_batch(void *work, const uint64_t *record, size_t n);

#endif
