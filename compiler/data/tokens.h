/*
 * Token tables: the rows of one split list (or of row tables whole) as task_layout lays them out.
 *
 * A record is one sequence, or one prompt with several answers (task.h); the windows of one
 * document are neighbours with the same row digest, numbered part of nparts. `digest` is of the
 * tokens themselves, with the lengths of prompt and answers and the gold index: what is computed
 * from a record depends on that alone, so it is what scores are memoised by.
 *
 * An earlier table made by the same task and tokenizer (`made_by`) may be handed in as a seed: rows
 * that it knows are copied. The result is the same bytes with and without.
 *
 * The table (runtime/flat.h): "TRIMTOKS", version 2, u64 hi, u64 lo of made_by, u64 nskipped (rows
 * that were too long), u64 nrecord, array of struct token_record, u64 nanswer, array of u32 (the
 * number of tokens of each answer), u64 ntoken, array of u32. The three arrays are in the same
 * order without gaps.
 */
#ifndef TOKENS_H
#define TOKENS_H

#include "split.h"

struct token_record {
	struct digest row;    /* row_record.digest */
	struct digest digest; /* of the record */
	uint64_t token_at, answer_at;
	uint32_t prompt_tokens, nanswer;
	int32_t gold; /* -1 unknown */
	uint32_t part, nparts;
	uint32_t total_tokens; /* prompt and all answers */
	uint64_t gold_bytes;   /* of the text whose tokens bear a loss: a document, else delimiter and gold answer; of
				  windows in the first */
};

struct token_table {
	struct digest made_by;
	uint64_t nskipped, nrecord, nanswer, ntoken;
	const struct token_record *record;
	const uint32_t *answer_tokens, *token;
};

struct tokenise_job {
	const struct row_table *t;
	size_t nt;
	const struct split_list *list; /* NULL: all rows in order */
	const struct task *task;
	const struct tokeniser *tok;
	struct digest made_by;          /* of task record and tokenizer */
	const struct token_table *seed; /* may be NULL; ignored if its made_by is another */
	uint64_t records;               /* of a list: no more rows once there are that many; 0: all */
};

/* ERR_SPEC with the row's file and line; ERR_IO when a row of the list is in no table. */
bool data_tokenise(const struct tokenise_job *job, struct strbuf *out, struct err *e);

/* Borrows the bytes, which lie at a multiple of 8. Everything is checked; ERR_IO when damaged. */
bool token_table_open(struct token_table *t, struct buf bytes, struct err *e);
struct token_row token_table_row(const struct token_table *t, uint64_t record);
/* Several tables as one: their records in order, the first's first. One is taken as it is; of several the
 * arrays are copied into the arena. */
void token_tables_join(struct arena *a, const struct token_table *t, size_t n, struct token_table *out);
/* The most total_tokens of a record; at least 1. */
uint32_t token_table_longest(const struct token_table *t);

/* Tokens of a record when answer `i` follows its prompt; with nanswer 0 those of the prompt. */
uint32_t token_row_length(const struct token_row *r, uint32_t answer);
/* Where the tokens of an answer begin in r->token. */
uint32_t token_row_answer_at(const struct token_row *r, uint32_t answer);

/* For `trim show`: row N of the tables (from 0, tables in order) as rendered, tokenised and masked,
 * with its place, split and choices. r and tok may be NULL: then without split, or tokens. */
struct show_job {
	const struct row_table *t;
	size_t nt;
	const struct split_result *r;
	const struct task *task;
	const struct tokeniser *tok;
};
bool data_show(const struct show_job *job, size_t row, struct strbuf *out, struct err *e);

#endif
