/*
 * on-new-rows="continue": which train rows of one dataset a state is tuned on next. Those that are new in its list, and
 * a share of as many old ones as there are new ones in all sets: of all old rows the first by (digest of seed and row).
 *
 * inputs was.SET and now.SET (train lists of each set, then and now); parameters set, seed -> list of its rows, and
 * their numbers as JSON, {"new":N,"old":M}
 */
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "eval.h"

/* A row of some set. */
struct row {
	struct digest order, row;
	bool own; /* of the set that the call is for */
};

struct fresh {
	struct rule_call *c;
	const char *set;
	uint64_t seed;
	struct row *fresh, *old;
	size_t nfresh, nold;
};

static int compare_digests(const void *a, const void *b)
{
	return digest_compare(*(const struct digest *)a, *(const struct digest *)b);
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int c = digest_compare(x->order, y->order);
	return c ? c : digest_compare(x->row, y->row);
}

static struct row row_of(const struct fresh *f, struct digest d, bool own)
{
	struct {
		uint64_t seed;
		struct digest row;
	} in = {f->seed, d};
	return (struct row){digest_of(&in, sizeof(in)), d, own};
}

static bool sorted_list(struct rule_call *c, const char *name, struct digest **out, size_t *n, struct err *e)
{
	struct buf bytes;
	struct split_list list;
	if (!call_input_named(c, name, &bytes, e) || !split_list_open(&list, bytes, e))
		return false;
	*n = list.n;
	*out = arena_copy(call_arena(c), list.row, list.n * sizeof(**out));
	if (*n)
		qsort(*out, *n, sizeof(**out), compare_digests);
	return true;
}

/* A row that comes twice now and came once is old once. */
static bool add_set(struct fresh *f, const char *set, struct err *e)
{
	struct arena *a = call_arena(f->c);
	struct digest *was, *now;
	size_t nwas, nnow;
	bool own = !strcmp(set, f->set);
	if (!sorted_list(f->c, arena_printf(a, "was.%s", set), &was, &nwas, e) ||
		!sorted_list(f->c, arena_printf(a, "now.%s", set), &now, &nnow, e))
		return false;
	for (size_t i = 0, k = 0; i < nnow; i++) {
		while (k < nwas && digest_compare(was[k], now[i]) < 0)
			k++;
		if (k < nwas && digest_equal(was[k], now[i])) {
			*arena_push(a, f->old, f->nold) = row_of(f, was[k++], own);
			continue;
		}
		*arena_push(a, f->fresh, f->nfresh) = row_of(f, now[i], own);
	}
	return true;
}

static bool write_rows(struct fresh *f, struct err *e)
{
	struct digest *row = NULL;
	size_t n = 0, take = f->nold < f->nfresh ? f->nold : f->nfresh;
	struct strbuf list, text;
	if (f->nold)
		qsort(f->old, f->nold, sizeof(*f->old), compare_rows);
	for (size_t i = 0; i < f->nfresh; i++)
		if (f->fresh[i].own)
			*arena_push(call_arena(f->c), row, n) = f->fresh[i].row;
	size_t own = n;
	for (size_t i = 0; i < take; i++)
		if (f->old[i].own)
			*arena_push(call_arena(f->c), row, n) = f->old[i].row;
	strbuf_init(&list);
	strbuf_init(&text);
	split_list_put(&list, SPLIT_TRAIN, row, n);
	strbuf_addf(&text, "{\"new\":%zu,\"old\":%zu}", own, n - own);
	bool ok = call_output(f->c, FRESH_LIST, strbuf_buf(&list), e) && call_output(f->c, FRESH_COUNTS, strbuf_buf(&text), e);
	strbuf_release(&list);
	strbuf_release(&text);
	return ok;
}

static bool run(struct rule_call *c, struct err *e)
{
	struct fresh f = {.c = c, .set = call_param(c, "set"), .seed = (uint64_t)fields_int(call_params(c), "seed")};
	for (size_t i = 0; i < call_ninput(c); i++) {
		const char *name = call_input_name(c, i);
		if (!strncmp(name, "now.", 4) && !add_set(&f, name + 4, e))
			return false;
	}
	return write_rows(&f, e);
}

static const char *const outputs[] = {"list", "counts", NULL};
const struct rule rule_fresh = {"fresh", 1, outputs, NULL, run, NULL, NULL};
