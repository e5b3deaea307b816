#include "score_pass.h"

#include <stdlib.h>

struct pass_options score_pass_options(const struct score *s, enum score_pass_answers answers)
{
	return (struct pass_options){.layered = {.weights = s->weights, .numerics = s->numerics,
		.rows = s->batch_rows, .device = s->device, .nthreads = s->nthreads}, .first_only = answers == PASS_FIRST_ONLY};
}

bool score_pass_open(struct score_pass *sp, struct score *s, enum score_pass_answers answers, struct err *e)
{
	struct pass_options o = score_pass_options(s, answers);
	sp->candidate = s->candidate;
	sp->n = s->n;
	sp->tokens = s->tokens;
	sp->change = arena_array(&sp->arena, struct pass_change, s->nrecord);
	return pass_open(&sp->pass, &o, &s->tokens, e);
}

void score_pass_release(void *work)
{
	struct score_pass *sp = work;
	pass_release(&sp->pass);
	arena_release(&sp->arena);
	free(sp);
}

size_t score_pass_batch(void *work, const uint64_t *record, size_t n)
{
	struct score_pass *sp = work;
	return pass_batch(&sp->pass, &sp->tokens, record, n);
}
