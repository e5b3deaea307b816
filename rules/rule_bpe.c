/* A tokenizer from the train rows: prompt and answer of each as the task renders them. Parameters of the
 * task as tokenise has them, and vocab. */
#include <stdlib.h>

#include "chain.h"
#include "tok_train.h"

static int compare(const void *a, const void *b)
{
	return digest_compare(*(const struct digest *)a, *(const struct digest *)b);
}

static void add_text(struct arena *a, struct buf **text, size_t *n, struct buf b)
{
	if (b.p && b.n)
		*arena_push(a, *text, *n) = b;
}

/* The texts of a table's rows that are among row[nrow], which is sorted. */
static bool collect(struct rule_call *c, const struct row_table *t, const struct task *task,
	const struct digest *row, size_t nrow, struct buf **text, size_t *n, struct err *e)
{
	struct arena *a = call_arena(c);
	for (size_t i = 0; i < t->nrow; i++) {
		struct task_row r;
		if (!bsearch(&t->row[i].digest, row, nrow, sizeof(*row), compare))
			continue;
		if (!row_table_render(a, t, i, task, &r, e))
			return false;
		add_text(a, text, n, r.prompt);
		for (size_t k = 0; k < r.nchoice; k++)
			add_text(a, text, n, r.choice[k]);
		if (!r.nchoice)
			add_text(a, text, n, r.answer);
	}
	return true;
}

static bool run(struct rule_call *c, struct err *e)
{
	struct task task;
	struct row_table *t;
	struct split_list list;
	struct buf bytes, *text = NULL;
	struct strbuf out;
	size_t nt, ntext = 0;
	int64_t vocab;
	if (!fields_task(call_arena(c), call_params(c), &task, e) || !call_row_tables(c, &t, &nt, e) ||
		!call_input_named(c, "list", &bytes, e) || !split_list_open(&list, bytes, e) ||
		!rule_int(c, "vocab", &vocab, e))
		return false;
	struct digest *row = arena_copy(call_arena(c), list.row, list.n * sizeof(*row));
	qsort(row, list.n, sizeof(*row), compare);
	for (size_t i = 0; i < nt; i++)
		if (!collect(c, &t[i], &task, row, list.n, &text, &ntext, e))
			return false;
	strbuf_init(&out);
	bool ok = tok_train_bpe(text, ntext, (uint32_t)vocab, &out, e) &&
		call_output(c, 0, strbuf_buf(&out), e);
	strbuf_release(&out);
	return ok;
}

const struct rule rule_bpe = {.name = "bpe", .version = 1, .run = run};
