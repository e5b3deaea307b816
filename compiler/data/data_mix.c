#include "data_mix.h"

typedef unsigned __int128 wide; /* products of tokens and weights */

static uint64_t tokens_of(const struct mix_part *p, size_t at)
{
	struct token_row r = token_table_row(p->t, p->order[at]);
	uint32_t answer = token_row_length(&r, (uint32_t)r.gold) - r.prompt_tokens;
	return answer ? answer : 1;
}

static void begin_pass(struct mix *m, struct mix_part *p)
{
	arena_release(&p->arena);
	p->order = pack_order(&p->arena, p->t, m->seed, p->pass, &p->norder);
	p->at = 0;
}

void mix_init(struct arena *a, struct mix *m, const struct mix_set *set, size_t n, uint64_t seed)
{
	uint64_t base = 0;
	*m = (struct mix){.part = arena_array(a, struct mix_part, n), .npart = n, .seed = seed};
	for (size_t i = 0; i < n; i++) {
		struct mix_part *p = &m->part[i];
		*p = (struct mix_part){.t = set[i].t, .base = base};
		base += set[i].t->nrecord;
		begin_pass(m, p);
		for (size_t k = 0; k < p->norder; k++)
			p->tokens += tokens_of(p, k);
		p->weight = !p->norder ? 0 : set[i].weight ? set[i].weight : p->tokens;
		m->weight += p->weight;
		m->epoch_tokens += p->tokens;
	}
}

void mix_release(struct mix *m)
{
	for (size_t i = 0; i < m->npart; i++)
		arena_release(&m->part[i].arena);
	*m = (struct mix){0};
}

double mix_passes(const struct mix *m, size_t set)
{
	const struct mix_part *p = &m->part[set];
	return p->tokens ? (double)m->epoch_tokens * (double)p->weight / (double)m->weight / (double)p->tokens : 0;
}

/* Where the part's next record ends, times the part's weight. */
static wide ends(const struct mix_part *p)
{
	return (wide)p->taken + tokens_of(p, p->at);
}

static struct mix_part *next_part(const struct mix *m)
{
	struct mix_part *best = NULL;
	for (size_t i = 0; i < m->npart; i++) {
		struct mix_part *p = &m->part[i];
		if (!p->norder || (wide)p->taken * m->weight > (wide)p->weight * m->taken)
			continue;
		if (!best || ends(p) * best->weight < ends(best) * p->weight)
			best = p;
	}
	if (!best)
		BUG("all sets are ahead of their shares");
	return best;
}

uint32_t *mix_epoch(struct arena *a, struct mix *m, size_t *n)
{
	uint32_t *order = NULL;
	uint64_t end = ++m->epoch * m->epoch_tokens;
	*n = 0;
	while (m->taken < end) {
		struct mix_part *p = next_part(m);
		uint64_t tokens = tokens_of(p, p->at);
		*arena_push(a, order, *n) = (uint32_t)(p->base + p->order[p->at++]);
		p->taken += tokens;
		m->taken += tokens;
		if (p->at < p->norder)
			continue;
		p->pass++;
		begin_pass(m, p);
	}
	return order;
}
