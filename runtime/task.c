#include "task.h"

#include <stdlib.h>
#include <string.h>

#include "flat.h"

#define TASK_MAGIC "TRIMTASK"
enum { TASK_VERSION = 1, CHOICES_MAX = 1 << 16 };

static bool init_choices(struct arena *a, struct task *t, struct err *e)
{
	bool fixed = t->nchoice > 0, field = t->choices_field[0] != '\0';
	if (t->kind != TASK_CHOICE)
		return fixed || field ? err_set(e, ERR_SPEC, "choices in a task that has none")
				      : true;
	if (fixed == field)
		return err_set(e, ERR_SPEC,
			fixed ? "both fixed choices and a field of choices"
			      : "a choice task without choices");
	if (field && !field_path_parse(a, t->choices_field, &t->choices_path, e))
		return err_context(e, "in the field of the choices");
	if (t->nchoice == 1)
		return err_set(e, ERR_SPEC, "a choice task with one choice only");
	t->choice_template = arena_array(a, struct template, t->nchoice);
	for (size_t i = 0; i < t->nchoice; i++) {
		if (!template_parse(a, t->choice[i], &t->choice_template[i], e))
			return err_context(e, "in choice %zu", i + 1);
		for (size_t k = 0; k < i; k++) {
			if (!strcmp(t->choice[i], t->choice[k]))
				return err_set(
					e, ERR_SPEC, "choice '%.80s' stands twice", t->choice[i]);
		}
	}
	return true;
}

bool task_init(struct arena *a, struct task *t, struct err *e)
{
	if (!t->prompt)
		t->prompt = t->kind == TASK_TEXT ? "{text}" : "";
	if (!t->delimiter)
		t->delimiter = " ";
	if (!t->answer)
		t->answer = "";
	if (!t->choices_field)
		t->choices_field = "";
	if (!t->length_tokens)
		return err_set(e, ERR_SPEC, "length of 0 tokens");
	if (t->kind == TASK_TEXT && t->answer[0])
		return err_set(e, ERR_SPEC, "an answer in a text task");
	if (t->kind != TASK_TEXT && t->on_long == LONG_WINDOWS)
		return err_set(e, ERR_SPEC, "windows are for text tasks");
	if (t->kind == TASK_TEXT && t->on_long == LONG_CUT_PROMPT)
		return err_set(e, ERR_SPEC, "a text task has no prompt to cut");
	if (!template_parse(a, t->prompt, &t->prompt_template, e))
		return err_context(e, "in the prompt");
	if (!template_parse(a, t->answer, &t->answer_template, e))
		return err_context(e, "in the answer");
	return init_choices(a, t, e);
}

void task_write(struct strbuf *out, const struct task *t)
{
	flat_begin(out, TASK_MAGIC, TASK_VERSION);
	flat_u64(out, t->kind);
	flat_u64(out, t->on_long);
	flat_u64(out, t->answer_form);
	flat_u64(out, t->length_tokens);
	flat_bytes(out, t->prompt, strlen(t->prompt));
	flat_bytes(out, t->delimiter, strlen(t->delimiter));
	flat_bytes(out, t->answer, strlen(t->answer));
	flat_bytes(out, t->choices_field, strlen(t->choices_field));
	flat_u64(out, t->nchoice);
	for (size_t i = 0; i < t->nchoice; i++)
		flat_bytes(out, t->choice[i], strlen(t->choice[i]));
}

bool task_read(struct arena *a, struct buf record, struct task *out, struct err *e)
{
	struct flat f;
	flat_open(&f, record, "task record", TASK_MAGIC, TASK_VERSION);
	*out = (struct task){0};
	out->kind = (enum task_kind)flat_get_max(&f, TASK_TEXT);
	out->on_long = (enum on_long)flat_get_max(&f, LONG_WINDOWS);
	out->answer_form = (enum answer_form)flat_get_max(&f, ANSWER_INDEX);
	out->length_tokens = (uint32_t)flat_get_max(&f, UINT32_MAX);
	out->prompt = flat_get_text(&f);
	out->delimiter = flat_get_text(&f);
	out->answer = flat_get_text(&f);
	out->choices_field = flat_get_text(&f);
	out->nchoice = (size_t)flat_get_max(&f, CHOICES_MAX);
	out->choice = arena_array(a, const char *, out->nchoice);
	for (size_t i = 0; i < out->nchoice; i++)
		out->choice[i] = flat_get_text(&f);
	return flat_end(&f, e) && (task_init(a, out, e) || err_context(e, "damaged task record"));
}

static bool template_walk(const struct template *t, const struct json *row, field_visit *visit,
	void *ctx, struct err *e)
{
	for (size_t i = 0; i < t->npart; i++) {
		if (t->part[i].path && !field_path_walk(t->part[i].path, row, visit, ctx, e))
			return false;
	}
	return true;
}

bool task_walk(
	const struct task *t, const struct json *row, field_visit *visit, void *ctx, struct err *e)
{
	if (!template_walk(&t->prompt_template, row, visit, ctx, e) ||
		!template_walk(&t->answer_template, row, visit, ctx, e))
		return false;
	for (size_t i = 0; i < t->nchoice; i++) {
		if (!template_walk(&t->choice_template[i], row, visit, ctx, e))
			return false;
	}
	return !t->choices_path.nstep || field_path_walk(&t->choices_path, row, visit, ctx, e);
}

static bool render(struct arena *a, const struct template *t, const struct json *row,
	struct buf *out, struct err *e)
{
	struct strbuf b;
	strbuf_init(&b);
	bool ok = template_render(t, row, &b, e);
	if (ok)
		*out = (struct buf){arena_strndup(a, b.s, b.n), b.n};
	strbuf_release(&b);
	return ok;
}

static bool find_one(void *ctx, const struct json *v, struct err *e)
{
	const struct json **found = ctx;
	if (*found)
		return err_at(
			e, ERR_SPEC, NULL, v->line, v->col, "several lists of choices in one row");
	*found = v;
	return true;
}

static bool render_field_choices(struct arena *a, const struct task *t, const struct json *row,
	struct task_row *out, struct err *e)
{
	const struct json *list = NULL;
	if (!field_path_walk(&t->choices_path, row, find_one, &list, e))
		return false;
	if (!list || (list->kind != JSON_ARRAY && list->kind != JSON_OBJECT))
		return err_at(e, ERR_SPEC, NULL, list ? list->line : row->line,
			list ? list->col : row->col,
			"field '%s' should be a list or an object of choices", t->choices_field);
	size_t *index = arena_array(a, size_t, list->nitem);
	if (list->kind == JSON_OBJECT) {
		out->nchoice = json_sorted_members(list, index);
		out->key = arena_array(a, const char *, out->nchoice);
	} else {
		for (; out->nchoice < list->nitem; out->nchoice++)
			index[out->nchoice] = out->nchoice;
	}
	if (out->nchoice < 2)
		return err_at(e, ERR_SPEC, NULL, list->line, list->col,
			"field '%s' has %zu choices; at least 2 are needed", t->choices_field,
			out->nchoice);
	out->choice = arena_array(a, struct buf, out->nchoice);
	for (size_t i = 0; i < out->nchoice; i++) {
		const struct json *v = &list->item[index[i]];
		if (out->key)
			out->key[i] = arena_strdup(a, list->key[index[i]]);
		if (!json_scalar(v, &out->choice[i]))
			return err_at(e, ERR_SPEC, NULL, v->line, v->col,
				"a choice in '%s' is no text", t->choices_field);
		out->choice[i].p = arena_strndup(a, out->choice[i].p, out->choice[i].n);
	}
	return true;
}

bool task_render(struct arena *a, const struct task *t, const struct json *row,
	struct task_row *out, struct err *e)
{
	struct buf prompt = {0};
	*out = (struct task_row){.prompt = {"", 0}, .gold = -1};
	if (!render(a, &t->prompt_template, row, &prompt, e))
		return err_context(e, "in the prompt");
	if (t->kind == TASK_TEXT) {
		out->answer = prompt;
		out->gold = 0;
		return true;
	}
	out->prompt = prompt;
	if (t->kind == TASK_CHOICE && !t->nchoice)
		return render_field_choices(a, t, row, out, e);
	out->nchoice = t->nchoice;
	out->choice = arena_array(a, struct buf, t->nchoice);
	for (size_t i = 0; i < t->nchoice; i++) {
		if (!render(a, &t->choice_template[i], row, &out->choice[i], e))
			return err_context(e, "in choice %zu", i + 1);
	}
	return true;
}

enum { NO_MATCH = -1, TWO_MATCH = -2 };

static int match_text(const struct task_row *r, struct buf answer)
{
	int found = NO_MATCH;
	for (size_t i = 0; i < r->nchoice; i++) {
		if (r->choice[i].n == answer.n && !memcmp(r->choice[i].p, answer.p, answer.n))
			found = found == NO_MATCH ? (int)i : TWO_MATCH;
	}
	return found;
}

static int match_key(const struct task_row *r, struct buf answer)
{
	for (size_t i = 0; r->key && i < r->nchoice; i++) {
		if (strlen(r->key[i]) == answer.n && !memcmp(r->key[i], answer.p, answer.n))
			return (int)i;
	}
	return NO_MATCH;
}

static int match_letter(const struct task_row *r, struct buf answer)
{
	if (answer.n != 1)
		return NO_MATCH;
	int letter = (*(const unsigned char *)answer.p | 0x20) - 'a';
	return letter >= 0 && (size_t)letter < r->nchoice && letter < 26 ? letter : NO_MATCH;
}

static int match_index(const struct task_row *r, struct buf answer)
{
	size_t v = 0;
	if (!answer.n || answer.n > 5)
		return NO_MATCH;
	for (size_t i = 0; i < answer.n; i++) {
		char c = ((const char *)answer.p)[i];
		if (c < '0' || c > '9')
			return NO_MATCH;
		v = v * 10 + (size_t)(c - '0');
	}
	return v < r->nchoice ? (int)v : NO_MATCH;
}

static const struct {
	const char *name;
	int (*match)(const struct task_row *, struct buf);
} forms[] = {
	[ANSWER_TEXT] = {"text", match_text},
	[ANSWER_KEY] = {"key", match_key},
	[ANSWER_LETTER] = {"letter", match_letter},
	[ANSWER_INDEX] = {"index", match_index},
};

static bool resolve_gold(const struct task *t, const struct json *row, struct buf answer,
	struct task_row *out, struct err *e)
{
	size_t by = 0;
	for (size_t f = ANSWER_TEXT; f <= ANSWER_INDEX; f++) {
		if (t->answer_form != ANSWER_AUTO && t->answer_form != f)
			continue;
		/* The letters of a keyed object are its keys. */
		if (t->answer_form == ANSWER_AUTO && out->key && f > ANSWER_KEY)
			continue;
		int i = forms[f].match(out, answer);
		if (i == TWO_MATCH)
			return err_at(e, ERR_SPEC, NULL, row->line, row->col,
				"answer '%.80s' is the text of two choices",
				(const char *)answer.p);
		if (i == NO_MATCH)
			continue;
		if (by && out->gold != i)
			return err_at(e, ERR_SPEC, NULL, row->line, row->col,
				"answer '%.80s' is choice %d as %s and choice %d as %s; say which "
				"form it has",
				(const char *)answer.p, out->gold + 1, forms[by].name, i + 1,
				forms[f].name);
		out->gold = i;
		by = f;
	}
	if (by)
		return true;
	return err_at(e, ERR_SPEC, NULL, row->line, row->col,
		"answer '%.80s' is none of the %zu choices ('%.80s', ...)", (const char *)answer.p,
		out->nchoice, (const char *)out->choice[0].p);
}

bool task_answer(struct arena *a, const struct task *t, const struct json *row,
	struct task_row *out, struct err *e)
{
	struct buf answer = {0};
	if (t->kind == TASK_TEXT)
		return true;
	if (!t->answer[0])
		return err_set(e, ERR_SPEC, "the task names no answer");
	if (!render(a, &t->answer_template, row, &answer, e))
		return err_context(e, "in the answer");
	if (t->kind == TASK_CHOICE) {
		if (!resolve_gold(t, row, answer, out, e))
			return false;
		out->answer = out->choice[out->gold];
		return true;
	}
	out->gold = 0;
	out->answer = answer;
	return true;
}

void token_ids_add(struct token_ids *ids, uint32_t id)
{
	*arena_push(ids->a, ids->id, ids->n) = id;
}

/* A document: windows of a start token and what fits behind it. */
static bool layout_windows(struct arena *a, const struct task *t, const struct token_ids *text,
	int64_t start, struct token_row **out, size_t *nout, struct err *e)
{
	size_t nstart = start >= 0, room = t->length_tokens - nstart;
	if (!room)
		return err_set(e, ERR_SPEC,
			"length of %u tokens has no room behind the start token", t->length_tokens);
	if (text->n > room && t->on_long == LONG_SKIP)
		return true;
	if (text->n > room && t->on_long == LONG_ERROR)
		return err_set(e, ERR_SPEC, "document of %zu tokens, length is %u",
			text->n + nstart, t->length_tokens);
	for (size_t at = 0; at < text->n; at += room) {
		size_t n = text->n - at < room ? text->n - at : room;
		uint32_t *token = arena_array(a, uint32_t, n + nstart),
			 *count = arena_new(a, uint32_t);
		if (nstart)
			token[0] = (uint32_t)start;
		memcpy(token + nstart, text->id + at, n * sizeof(*token));
		/* Without a start token the first token of a window is context for the rest. */
		uint32_t prompt = 1;
		*count = (uint32_t)(n + nstart) - prompt;
		*arena_push(a, *out, *nout) = (struct token_row){token, prompt, count, 1, 0};
	}
	return true;
}

static bool layout_answers(struct arena *a, const struct task *t, const struct task_row *row,
	const struct tokeniser *tok, struct token_ids *out, uint32_t **answer_tokens, struct err *e)
{
	size_t n = t->kind == TASK_CHOICE ? row->nchoice : row->answer.p != NULL;
	const struct buf *answer = t->kind == TASK_CHOICE ? row->choice : &row->answer;
	*answer_tokens = arena_array(a, uint32_t, n);
	struct strbuf text;
	strbuf_init(&text);
	bool ok = true;
	for (size_t i = 0; ok && i < n; i++) {
		size_t before = out->n;
		strbuf_clear(&text);
		strbuf_adds(&text, t->delimiter);
		strbuf_add(&text, answer[i].p, answer[i].n);
		ok = tok->encode(tok->ctx, strbuf_buf(&text), TEXT_CONTINUES, out, e);
		if (ok && t->kind == TASK_COMPLETION) {
			if (tok->end < 0)
				ok = err_set(e, ERR_SPEC,
					"the tokenizer has no end token, which a completion needs");
			else
				token_ids_add(out, (uint32_t)tok->end);
		}
		if (ok && out->n == before)
			ok = err_set(e, ERR_SPEC, "an answer without tokens");
		(*answer_tokens)[i] = (uint32_t)(out->n - before);
	}
	strbuf_release(&text);
	return ok;
}

bool task_layout(struct arena *a, const struct task *t, const struct task_row *row,
	const struct tokeniser *tok, struct token_row **out, size_t *nout, struct err *e)
{
	struct token_ids prompt = {.a = a}, answers = {.a = a};
	uint32_t *answer_tokens, longest = 0;
	*out = NULL;
	*nout = 0;
	if (t->kind == TASK_TEXT)
		return tok->encode(tok->ctx, row->answer, TEXT_BEGINS, &prompt, e) &&
		       layout_windows(a, t, &prompt, tok->start, out, nout, e);
	if (tok->start >= 0)
		token_ids_add(&prompt, (uint32_t)tok->start);
	if (!tok->encode(tok->ctx, row->prompt, TEXT_BEGINS, &prompt, e) ||
		!layout_answers(a, t, row, tok, &answers, &answer_tokens, e))
		return false;
	uint32_t nanswer =
		(uint32_t)(t->kind == TASK_CHOICE ? row->nchoice : row->answer.p != NULL);
	if (!prompt.n)
		return err_set(
			e, ERR_SPEC, "an empty prompt, and the tokenizer has no start token");
	for (uint32_t i = 0; i < nanswer; i++)
		longest = answer_tokens[i] > longest ? answer_tokens[i] : longest;
	size_t cut = 0, keep = tok->start >= 0;
	if (prompt.n + longest > t->length_tokens) {
		if (t->on_long == LONG_SKIP)
			return true;
		cut = prompt.n + longest - t->length_tokens;
		if (t->on_long == LONG_ERROR || cut >= prompt.n - keep)
			return err_set(e, ERR_SPEC,
				"row of %zu tokens (%zu of prompt, %u of answer), length is %u",
				prompt.n + longest, prompt.n, longest, t->length_tokens);
	}
	size_t nprompt = prompt.n - cut;
	uint32_t *token = arena_array(a, uint32_t, nprompt + answers.n);
	memcpy(token, prompt.id, keep * sizeof(*token));
	memcpy(token + keep, prompt.id + keep + cut, (nprompt - keep) * sizeof(*token));
	if (answers.n)
		memcpy(token + nprompt, answers.id, answers.n * sizeof(*token));
	*arena_push(a, *out, *nout) =
		(struct token_row){token, (uint32_t)nprompt, answer_tokens, nanswer, row->gold};
	return true;
}
