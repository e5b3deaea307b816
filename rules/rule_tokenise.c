/* The rows of one split -> tokens. */
#include <stdlib.h>
#include <string.h>

#include "eval.h"
#include "task_tokenizer.h"

/* What gives a row its tokens: the task, and the tokenizer. */
static struct digest made_by(struct rule_call *c, const struct task *task)
{
	struct strbuf record;
	char hex[DIGEST_HEX];
	strbuf_init(&record);
	task_write(&record, task);
	struct digest tokenizer = call_input_digest(c, (size_t)call_find(c, "tokenizer"));
	digest_hex(tokenizer, hex);
	strbuf_adds(&record, hex);
	struct digest d = digest_of(record.s, record.n);
	strbuf_release(&record);
	return d;
}

static bool tokenise(struct rule_call *c, struct tokenise_job *job, struct err *e)
{
	struct strbuf table, name;
	struct token_table seed;
	struct buf earlier;
	char hex[DIGEST_HEX];
	strbuf_init(&name);
	strbuf_init(&table);
	digest_hex(job->made_by, hex);
	strbuf_addf(&name, "%s %s", hex, split_names[job->list->split]);
	bool ok = call_seed_get(c, strbuf_buf(&name), &earlier, e);
	/* A seed that cannot be read saves nothing, that is all. */
	if (ok && earlier.p && token_table_open(&seed, earlier, NULL))
		job->seed = &seed;
	ok = ok && data_tokenise(job, &table, e) && call_output(c, 0, strbuf_buf(&table), e);
	if (ok && !job->records)
		call_seed_put(c, strbuf_buf(&name), 0);
	strbuf_release(&table);
	strbuf_release(&name);
	return ok;
}

static bool run(struct rule_call *c, struct err *e)
{
	struct task task;
	struct row_table *t;
	struct split_list list;
	struct tokenizer tokenizer;
	struct buf list_bytes, tokenizer_bytes;
	size_t nt;
	if (!fields_task(call_arena(c), call_params(c), &task, e) || !call_row_tables(c, "rows", &t, &nt, e) ||
		!call_input_named(c, "list", &list_bytes, e) || !split_list_open(&list, list_bytes, e) ||
		!call_input_named(c, "tokenizer", &tokenizer_bytes, e) ||
		!tokenizer_load(&tokenizer, tokenizer_bytes, e))
		return false;
	struct tokeniser tok = task_tokenizer(&tokenizer);
	struct tokenise_job job = {.t = t, .nt = nt, .list = &list, .task = &task, .tok = &tok,
		.made_by = made_by(c, &task),
		.records = call_param(c, "records") ? (uint64_t)fields_int(call_params(c), "records") : 0};
	bool ok = tokenise(c, &job, e);
	return ok;
}

bool call_token_sets(struct rule_call *c, const char *name, struct mix_set **set, size_t *n,
	struct token_table *joined, struct err *e)
{
	struct arena *a = call_arena(c);
	const char *weight = call_param(c, strcmp(name, "rows") ? arena_printf(a, "%s.weights", name) : "weights");
	struct token_table *t = arena_array(a, struct token_table, call_ninput(c));
	*set = arena_array(a, struct mix_set, call_ninput(c));
	*n = 0;
	for (size_t i = 0; i < call_ninput(c); i++) {
		struct buf bytes;
		char *end;
		if (strcmp(call_input_name(c, i), name) != 0)
			continue;
		if (!call_input(c, i, &bytes, e) || !token_table_open(&t[*n], bytes, e))
			return false;
		(*set)[*n] = (struct mix_set){&t[*n], weight ? strtoull(weight, &end, 10) : 0};
		weight = weight ? end : NULL;
		++*n;
	}
	token_tables_join(a, t, *n, joined);
	return true;
}

const struct rule rule_tokenise = {.name = "tokenise", .version = 2, .run = run};
