#include <stdlib.h>

#include "data_pack.h"

struct place {
	struct digest order;
	uint32_t record;
};

static int compare_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int c = digest_compare(x->order, y->order);
	return c ? c : (x->record > y->record) - (x->record < y->record);
}

uint32_t *pack_order(
	struct arena *a, const struct token_table *t, uint64_t seed, uint64_t epoch, size_t *n)
{
	struct place *place = xmalloc((size_t)t->nrecord * sizeof(*place));
	*n = 0;
	for (uint64_t i = 0; i < t->nrecord; i++) {
		struct {
			uint64_t seed, epoch;
			struct digest record;
		} in = {seed, epoch, t->record[i].digest};
		if (t->record[i].gold >= 0)
			place[(*n)++] = (struct place){digest_of(&in, sizeof(in)), (uint32_t)i};
	}
	if (*n)
		qsort(place, *n, sizeof(*place), compare_place);
	uint32_t *order = arena_array(a, uint32_t, *n);
	for (size_t i = 0; i < *n; i++)
		order[i] = place[i].record;
	free(place);
	return order;
}

static void batch_init(struct arena *a, struct pack_batch *b, uint32_t nrow)
{
	*b = (struct pack_batch){.nrow = nrow};
	b->token = arena_array(a, uint32_t, nrow);
	b->position = arena_array(a, uint32_t, nrow);
	b->lo = arena_array(a, uint32_t, nrow);
	b->target = arena_array(a, int32_t, nrow);
	b->weight = arena_array(a, float, nrow);
	for (uint32_t i = 0; i < nrow; i++) {
		b->lo[i] = i;
		b->target[i] = -1;
	}
}

static void batch_add(
	struct arena *a, struct pack_batch *b, const struct token_row *r, uint32_t record)
{
	uint32_t gold = (uint32_t)r->gold, n = token_row_length(r, gold);
	const uint32_t *answer = r->token + token_row_answer_at(r, gold);
	uint32_t first = b->nused, ndoc = b->ndoc;
	for (uint32_t i = 0; i + 1 < n; i++) {
		uint32_t k = first + i, next = i + 1;
		b->token[k] = i < r->prompt_tokens ? r->token[i] : answer[i - r->prompt_tokens];
		b->position[k] = i;
		b->lo[k] = first;
		b->target[k] = (int32_t)(next < r->prompt_tokens ? r->token[next]
								 : answer[next - r->prompt_tokens]);
		b->weight[k] = next >= r->prompt_tokens ? 1.0f : 0.0f;
		b->weight_sum += (double)b->weight[k];
	}
	b->nused += n - 1;
	*arena_push(a, b->record, ndoc) = record;
	*arena_push(a, b->first, b->ndoc) = first;
}

bool pack_rows(struct arena *a, const struct token_table *t, const uint32_t *record, size_t n,
	uint32_t nrow, struct pack_batch **out, size_t *nout, struct err *e)
{
	struct pack_batch *batch = NULL;
	size_t nbatch = 0;
	for (size_t i = 0; i < n; i++) {
		struct token_row r = token_table_row(t, record[i]);
		if (r.gold < 0)
			BUG("record %u has no gold answer", record[i]);
		uint32_t need = token_row_length(&r, (uint32_t)r.gold) - 1;
		if (need > nrow)
			return err_set(e, ERR_SPEC,
				"row of %u tokens does not fit a micro-batch of %u", need + 1,
				nrow);
		size_t k = 0;
		while (k < nbatch && nrow - batch[k].nused < need)
			k++;
		if (k == nbatch)
			batch_init(a, arena_push(a, batch, nbatch), nrow);
		batch_add(a, &batch[k], &r, record[i]);
	}
	*out = batch;
	*nout = nbatch;
	return true;
}
