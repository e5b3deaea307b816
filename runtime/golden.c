#include "golden.h"

#include <string.h>

#include "flat.h"
#include "logits.h"

static const char magic[] = "TRIMGOLD";
enum { VERSION = 1 };

struct recording {
	size_t skip; /* rows */
	size_t row_bytes;
	struct strbuf logits;
};

static void record_row(void *ctx, size_t index, const float *logits)
{
	struct recording *r = ctx;
	if (index >= r->skip)
		strbuf_add(&r->logits, logits, r->row_bytes);
}

void golden_record(
	struct session *s, const uint32_t *token, size_t n, size_t nrow, struct strbuf *out)
{
	struct recording r = {n - nrow, (size_t)s->nvocab * sizeof(float), {0}};
	struct sequence q = {0};
	strbuf_init(&r.logits);
	session_prefill_all(s, &q, token, n, record_row, &r);
	flat_begin(out, magic, VERSION);
	flat_u64(out, n);
	flat_u64(out, (uint64_t)s->nvocab);
	flat_u64(out, nrow);
	flat_bytes(out, token, n * sizeof *token);
	flat_bytes(out, r.logits.s, r.logits.n);
	strbuf_release(&r.logits);
}

bool golden_read(struct buf record, struct golden *g, struct err *e)
{
	struct flat f;
	flat_open(&f, record, "self-test", magic, VERSION);
	g->ntoken = flat_get_max(&f, UINT32_MAX);
	g->nvocab = flat_get_max(&f, UINT32_MAX);
	g->nrow = flat_get_max(&f, g->ntoken);
	struct buf token = flat_get_bytes(&f), logits = flat_get_bytes(&f);
	if (token.n != g->ntoken * sizeof *g->token || logits.n % sizeof *g->logits ||
		logits.n / sizeof *g->logits != g->nrow * g->nvocab || !g->nrow)
		flat_bad(&f, "its sizes do not agree");
	g->token = token.p;
	g->logits = logits.p;
	for (uint64_t i = 0; !f.bad && i < g->ntoken; i++)
		if (g->token[i] >= g->nvocab)
			flat_bad(&f, "a token outside the vocabulary");
	return flat_end(&f, e);
}

struct replay {
	const struct golden *g;
	size_t differs; /* the first row that does; ntoken: none */
	bool close;     /* is equal enough */
};

static bool equal(const struct replay *r, const float *a, const float *b)
{
	return r->close ? logits_close(a, b, r->g->nvocab, GOLDEN_APART) : !memcmp(a, b, r->g->nvocab * sizeof *a);
}

static void compare_row(void *ctx, size_t index, const float *logits)
{
	struct replay *r = ctx;
	const struct golden *g = r->g;
	uint64_t skip = g->ntoken - g->nrow;
	if (index >= skip && r->differs == g->ntoken && !equal(r, logits, g->logits + (index - skip) * g->nvocab))
		r->differs = index;
}

static bool same(const struct replay *r, const char *how, struct err *e)
{
	return r->differs == r->g->ntoken || err_set(e, ERR_IO,
		"self-test failed: read %s, the logits behind token %zu of %llu are not those "
		"recorded when the program was built", how, r->differs + 1,
		(unsigned long long)r->g->ntoken);
}

bool golden_replay(struct session *s, const struct golden *g, struct err *e)
{
	bool close = s->device.run != NULL;
	struct replay at_once = {g, g->ntoken, close}, one_by_one = {g, g->ntoken, close};
	struct sequence q = {0};
	if (g->nvocab != (uint64_t)s->nvocab || g->ntoken > s->context)
		return err_set(e, ERR_IO, "self-test failed: it is another model's");
	session_prefill_all(s, &q, g->token, g->ntoken, compare_row, &at_once);
	q.n = 0;
	for (size_t i = 0; i < g->ntoken; i++)
		compare_row(&one_by_one, i, session_decode(s, &q, g->token[i]));
	return same(&at_once, "at once", e) && same(&one_by_one, "token by token", e);
}
