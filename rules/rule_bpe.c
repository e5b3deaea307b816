/* A tokenizer from the train rows: prompt and answer of each as the task renders them. Parameters of the
 * task as tokenise has them, and vocab. What belongs to one of several sets has its number before its name:
 * "0.rows", "0.list", "0.task". */
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "tok_train.h"

static int compare(const void *a, const void *b)
{
	return digest_compare(*(const struct digest *)a, *(const struct digest *)b);
}

struct corpus {
	struct arena *arena;
	struct task task;
	struct digest *row; /* sorted: whose texts count */
	size_t nrow;
	struct buf *text;
	size_t ntext;
};

static void add_text(struct corpus *c, struct buf b)
{
	if (b.p && b.n)
		*arena_push(c->arena, c->text, c->ntext) = b;
}

static bool collect(struct corpus *c, const struct row_table *t, struct err *e)
{
	for (size_t i = 0; i < t->nrow; i++) {
		struct task_row r;
		if (!bsearch(&t->row[i].digest, c->row, c->nrow, sizeof(*c->row), compare))
			continue;
		if (!row_table_render(c->arena, t, i, &c->task, &r, e))
			return false;
		add_text(c, r.prompt);
		for (size_t k = 0; k < r.nchoice; k++)
			add_text(c, r.choice[k]);
		if (!r.nchoice)
			add_text(c, r.answer);
	}
	return true;
}

const char *bpe_prefix(struct arena *a, size_t i, size_t n)
{
	return n == 1 ? "" : arena_printf(a, "%zu.", i);
}

/* Names that begin with the prefix, without it. */
static struct fields below(struct arena *a, const struct fields *f, const char *prefix)
{
	struct fields out = {0};
	size_t n = strlen(prefix);
	for (size_t i = 0; i < f->nfield; i++)
		if (!strncmp(f->field[i].name, prefix, n))
			fields_add(a, &out, f->field[i].name + n, f->field[i].value);
	return out;
}

static bool collect_set(struct corpus *corpus, struct rule_call *c, const char *prefix, struct err *e)
{
	struct arena *a = corpus->arena;
	struct fields *param = arena_new(a, struct fields); /* the task borrows from it */
	struct split_list list;
	struct row_table *t;
	struct buf bytes;
	size_t nt;
	*param = below(a, call_params(c), prefix);
	if (!fields_task(a, param, &corpus->task, e) ||
		!call_row_tables(c, arena_printf(a, "%srows", prefix), &t, &nt, e) ||
		!call_input_named(c, arena_printf(a, "%slist", prefix), &bytes, e) || !split_list_open(&list, bytes, e))
		return false;
	corpus->nrow = list.n;
	corpus->row = arena_copy(a, list.row, list.n * sizeof(*list.row));
	qsort(corpus->row, corpus->nrow, sizeof(*corpus->row), compare);
	for (size_t i = 0; i < nt; i++)
		if (!collect(corpus, &t[i], e))
			return false;
	return true;
}

static bool run(struct rule_call *c, struct err *e)
{
	struct corpus corpus = {.arena = call_arena(c)};
	struct strbuf out;
	size_t nset = 0;
	while (call_find(c, arena_printf(corpus.arena, "%zu.list", nset)) >= 0)
		nset++;
	if (!nset)
		nset = 1;
	for (size_t i = 0; i < nset; i++)
		if (!collect_set(&corpus, c, bpe_prefix(corpus.arena, i, nset), e))
			return false;
	strbuf_init(&out);
	bool ok = tok_train_bpe(corpus.text, corpus.ntext, (uint32_t)fields_int(call_params(c), "vocab"), &out, e) &&
		call_output(c, 0, strbuf_buf(&out), e);
	strbuf_release(&out);
	return ok;
}

const struct rule rule_bpe = {.name = "bpe", .version = 1, .run = run};
