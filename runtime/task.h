/*
 * A task: how a row of data becomes a prompt, what may follow it, and which tokens are learned. The
 * compiler and the emitted binary both go through here, so that a row means the same everywhere.
 *
 *   kind        prompt                  what follows it, the answers
 *   choice      the rendered template   delimiter + each choice; one of them is gold
 *   completion  the rendered template   delimiter + the answer, then the end token
 *   text        nothing                 the rendered template, a document; no end token
 *
 * Token layout, decided here alone (task_layout):
 *
 *   start token, if the tokenizer has one | prompt tokens | answer tokens
 *
 * The prompt is tokenised by itself, as text that begins a sequence. Delimiter and answer are one
 * string, tokenised by itself, as text that continues one: no start token, and with sentencepiece
 * no dummy prefix (the delimiter, by default one space, is the word boundary). So the tokens of the
 * prompt never depend on the answer, and all choices of a row share their prefix. Loss falls on the
 * answer tokens alone, the end token included; the first token of a sequence has no context and
 * bears none.
 *
 * Length counts every token of the longest sequence: start + prompt + longest answer + end. A
 * longer row is an error, or loses tokens from the front of its prompt (the start token stays; the
 * question stands at the end), or is skipped; a document is cut into windows, each a start token
 * and the next length - 1 tokens, without overlap.
 *
 * Choices are templates of their own (`yes`, or `{2}` for a CSV column), or the strings of a list
 * or object field; those of an object are in byte order of their names, so that the order of
 * members in a file means nothing. The gold answer names its choice by text, by key (of an object),
 * by letter (A or a is the first) or by index (from 0). With ANSWER_AUTO each form that fits is
 * tried, and an answer that could mean two different choices is an error.
 *
 * The record that travels (flat.h): "TRIMTASK", version 1, u64 kind, on_long, answer_form,
 * length_tokens, texts prompt, delimiter, answer, choices_field, u64 nchoice, as many texts.
 */
#ifndef TASK_H
#define TASK_H

#include "template.h"

enum task_kind { TASK_CHOICE, TASK_COMPLETION, TASK_TEXT };
enum on_long { LONG_ERROR, LONG_CUT_PROMPT, LONG_SKIP, LONG_WINDOWS }; /* windows: text alone */
enum answer_form { ANSWER_AUTO, ANSWER_TEXT, ANSWER_KEY, ANSWER_LETTER, ANSWER_INDEX };

struct task {
	/* Filled in by the caller; texts are never NULL once task_init or task_read was through. */
	enum task_kind kind;
	enum on_long on_long;
	enum answer_form answer_form;
	uint32_t length_tokens;
	const char *prompt;        /* template; NULL of a text task is "{text}" */
	const char *delimiter;     /* NULL is one space */
	const char *answer;        /* template: "{final_decision}"; "" or NULL: rows have none */
	const char *choices_field; /* path of a list or object; "" or NULL: the fixed choices */
	const char **choice;       /* templates */
	size_t nchoice;
	/* Filled in by task_init: the compiled forms. */
	struct template prompt_template, answer_template, *choice_template;
	struct field_path choices_path;
};

/* Checks and compiles; everything lives in the arena, as long as the texts given. ERR_SPEC. */
bool task_init(struct arena *a, struct task *t, struct err *e);

void task_write(struct strbuf *out, const struct task *t);
/* Ends in task_init. The record must live as long as the task. */
bool task_read(struct arena *a, struct buf record, struct task *out, struct err *e);

/* Calls visit for each value of the row that the task reads, answer included. */
bool task_walk(
	const struct task *t, const struct json *row, field_visit *visit, void *ctx, struct err *e);

/* A row as text. */
struct task_row {
	struct buf prompt;
	struct buf *choice; /* without delimiter; TASK_CHOICE alone */
	const char **key;   /* of choices from an object, else NULL */
	size_t nchoice;
	int gold;          /* index of the choice, -1 without an answer */
	struct buf answer; /* text of the gold answer; of a document its text; p NULL without */
};

/* Renders prompt and choices (of a document the answer); gold is -1 yet. Lives in the arena. */
bool task_render(struct arena *a, const struct task *t, const struct json *row,
	struct task_row *out, struct err *e);

/* Resolves the row's own answer into out->gold and out->answer. Needs t->answer. */
bool task_answer(struct arena *a, const struct task *t, const struct json *row,
	struct task_row *out, struct err *e);

/* What tokens come from. ids are appended with token_ids_add. */
struct token_ids {
	uint32_t *id; /* in the arena */
	size_t n;
	struct arena *a;
};
void token_ids_add(struct token_ids *ids, uint32_t id);

enum text_place { TEXT_BEGINS, TEXT_CONTINUES }; /* what a sequence; see above */

struct tokeniser {
	void *ctx;
	bool (*encode)(void *ctx, struct buf text, enum text_place place, struct token_ids *out,
		struct err *e); /* adds no special tokens */
	/* The bytes of one token, for showing; may be NULL. */
	struct buf (*piece)(void *ctx, uint32_t id);
	int64_t start, end; /* tokens, -1 where the tokenizer has none */
};

/* One sequence, or one prompt with several answers: the prompt's tokens, then those of each answer,
 * the end token inside. */
struct token_row {
	const uint32_t *token;
	uint32_t prompt_tokens;        /* start token included */
	const uint32_t *answer_tokens; /* how many of each answer */
	uint32_t nanswer;
	int32_t gold; /* index of the answer, -1 unknown */
};

/* The layout of a rendered row: one token_row, several for the windows of a document, none when the
 * row is too long and to be skipped. In the arena. ERR_SPEC. */
bool task_layout(struct arena *a, const struct task *t, const struct task_row *row,
	const struct tokeniser *tok, struct token_row **out, size_t *nout, struct err *e);

#endif
