/*
 * predict: rows in, one JSON object per row out, in order.
 *
 *     choice      {"choice":"yes","probability":{"yes":0.71,"no":0.29}}
 *     completion  {"text":"...","finish":"end"}           the likeliest tokens to the end token
 *
 * and, where the row has its own answer, ,"answer":"yes","correct":true. A row that the task skips
 * for its length is {"skipped":"length"}. Probabilities are of the choices against each other.
 */
#include <stdio.h>
#include <string.h>

#include "binary.h"
#include "sample.h"
#include "score.h"
#include "task_tokenizer.h"

struct prediction {
	struct binary *b;
	struct task task;
	struct tokeniser tokeniser;
	struct arena row; /* emptied for each */
	struct strbuf out;
};

static void add_string(struct strbuf *out, struct buf s)
{
	strbuf_add_json(out, s.p, s.n);
}

static void add_choice(
	struct prediction *p, const struct task_row *row, const struct token_row *tokens)
{
	double *nll = arena_array(&p->row, double, tokens->nanswer);
	double *probability = arena_array(&p->row, double, tokens->nanswer);
	score_answers(&p->b->session, tokens, nll);
	size_t best = score_choice(nll, tokens->nanswer);
	for (uint32_t i = 0; i < tokens->nanswer; i++)
		nll[i] = -nll[i];
	sample_normalise(nll, tokens->nanswer, probability);
	strbuf_adds(&p->out, "{\"choice\":");
	add_string(&p->out, row->choice[best]);
	strbuf_adds(&p->out, ",\"probability\":{");
	for (uint32_t i = 0; i < tokens->nanswer; i++) {
		strbuf_adds(&p->out, i ? "," : "");
		add_string(&p->out, row->choice[i]);
		strbuf_addc(&p->out, ':');
		strbuf_add_double(&p->out, probability[i]);
	}
	strbuf_addc(&p->out, '}');
	if (row->gold < 0)
		return;
	strbuf_adds(&p->out, ",\"answer\":");
	add_string(&p->out, row->choice[row->gold]);
	strbuf_addf(&p->out, ",\"correct\":%s", (size_t)row->gold == best ? "true" : "false");
}

static void add_completion(struct prediction *p, const struct task_row *row,
	const struct token_row *tokens)
{
	struct session *s = &p->b->session;
	struct sequence q = {0};
	struct tokenizer_stream stream;
	struct strbuf text;
	size_t room = p->task.length_tokens < s->context ? p->task.length_tokens : s->context;
	const char *finish = "length";
	strbuf_init(&text);
	tokenizer_stream_init(&stream, &p->b->tokenizer, 0);
	const float *logits = session_prefill(s, &q, tokens->token, tokens->prompt_tokens);
	for (;;) {
		uint32_t token = sample_argmax(logits, (size_t)s->nvocab);
		if (tokenizer_is_stop(&p->b->tokenizer, token)) {
			finish = "end";
			break;
		}
		tokenizer_stream_put(&stream, token, &text);
		if (q.n >= room)
			break;
		logits = session_decode(s, &q, token);
	}
	tokenizer_stream_end(&stream, &text);
	/* The delimiter belongs to the layout, not to the answer. */
	size_t skip = strlen(p->task.delimiter);
	if (skip > text.n || memcmp(text.s, p->task.delimiter, skip) != 0)
		skip = 0;
	struct buf answer = {text.s + skip, text.n - skip};
	strbuf_adds(&p->out, "{\"text\":");
	add_string(&p->out, answer);
	strbuf_addf(&p->out, ",\"finish\":\"%s\"", finish);
	if (row->answer.p) {
		bool equal =
			row->answer.n == answer.n && !memcmp(row->answer.p, answer.p, answer.n);
		strbuf_adds(&p->out, ",\"answer\":");
		add_string(&p->out, row->answer);
		strbuf_addf(&p->out, ",\"correct\":%s", equal ? "true" : "false");
	}
	strbuf_release(&text);
}

static bool check_length(const struct prediction *p, const struct token_row *t, struct err *e)
{
	uint64_t n = score_row_slots(t);
	if (n > p->b->session.context)
		return err_set(e, ERR_SPEC, "a row of %llu tokens, the context holds %u",
			(unsigned long long)n, p->b->session.context);
	return t->prompt_tokens ||
	       err_set(e, ERR_SPEC, "a row without a single token before its answer");
}

static bool predict_row(struct prediction *p, const struct json *json, struct err *e)
{
	struct task_row row;
	struct token_row *tokens;
	size_t ntokens;
	if (!task_render(&p->row, &p->task, json, &row, e))
		return false;
	/* Rows to be answered mostly bring no answer of their own. */
	if (*p->task.answer && !task_answer(&p->row, &p->task, json, &row, NULL)) {
		row.gold = -1;
		row.answer = (struct buf){NULL, 0};
	}
	struct task_row laid = row;
	if (p->task.kind == TASK_COMPLETION)
		laid.answer = (struct buf){"", 0}; /* room is for the model's */
	if (!task_layout(&p->row, &p->task, &laid, &p->tokeniser, &tokens, &ntokens, e))
		return false;
	strbuf_clear(&p->out);
	if (!ntokens)
		strbuf_adds(&p->out, "{\"skipped\":\"length\"");
	else if (!check_length(p, tokens, e))
		return false;
	else if (p->task.kind == TASK_CHOICE)
		add_choice(p, &row, tokens);
	else
		add_completion(p, &row, tokens);
	strbuf_adds(&p->out, "}\n");
	return binary_print(&p->out, e);
}

/* The row with the fields of the command line behind its own: of equal names the last counts. */
static bool add_fields(struct prediction *p, struct json *row, struct err *e)
{
	const struct repeated *field = &p->b->options.field;
	if (!field->n)
		return true;
	if (row->kind != JSON_OBJECT)
		return err_set(e, ERR_SPEC, "--field needs rows that are objects");
	struct json *item = arena_array(&p->row, struct json, row->nitem + field->n);
	const char **key = arena_array(&p->row, const char *, row->nitem + field->n);
	if (row->nitem) {
		memcpy(item, row->item, row->nitem * sizeof *item);
		memcpy(key, row->key, row->nitem * sizeof *key);
	}
	for (size_t i = 0; i < field->n; i++) {
		const char *text = field->text[i];
		size_t n = strcspn(text, "=");
		if (!text[n])
			return err_set(e, ERR_SPEC, "--field: '%s' is no NAME=VALUE", text);
		const char *value = text + n + 1;
		struct json *v = &item[row->nitem + i], *parsed;
		key[row->nitem + i] = arena_strndup(&p->row, text, n);
		*v = (struct json){.kind = JSON_STRING, .text = value, .text_bytes = strlen(value)};
		/* A list or an object is written as JSON. */
		if (*value == '[' || *value == '{') {
			if (!json_parse(&p->row, (struct buf){value, strlen(value)}, "--field", 1,
				&parsed, e))
				return false;
			*v = *parsed;
		}
	}
	row->item = item;
	row->key = key;
	row->nitem += field->n;
	return true;
}

static bool predict_line(struct prediction *p, struct buf text, const char *file, int line,
	struct err *e)
{
	struct json *row;
	if (!json_parse(&p->row, text, file, line, &row, e))
		return false;
	if (add_fields(p, row, e) && predict_row(p, row, e))
		return true;
	if (e->kind == ERR_SPEC && !e->file[0]) {
		snprintf(e->file, sizeof e->file, "%s", file);
		e->line = e->line ? e->line : line;
	}
	return false;
}

static bool is_blank(struct buf text)
{
	const char *s = text.p;
	for (size_t i = 0; i < text.n; i++)
		if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
			return false;
	return true;
}

static bool predict_lines(struct prediction *p, const char *file, struct err *e)
{
	struct strbuf text;
	strbuf_init(&text);
	bool ok = binary_read(&text, file, e);
	int line = 1;
	for (size_t at = 0; ok && at < text.n; line++) {
		const char *end = memchr(text.s + at, '\n', text.n - at);
		struct buf row = {text.s + at, end ? (size_t)(end - text.s) - at : text.n - at};
		at += row.n + 1;
		if (!is_blank(row))
			ok = predict_line(p, row, strcmp(file, "-") ? file : "<stdin>", line, e);
		arena_release(&p->row);
	}
	strbuf_release(&text);
	return ok;
}

/* The task of each dataset of a program that was built for several; task_read borrows from the container. */
struct tasks {
	const char **name;
	struct task *task;
	size_t n;
};

static bool read_tasks(struct binary *b, struct tasks *t, struct err *e)
{
	size_t prefix = strlen(CONTAINER_TASK_PREFIX), nname = 0;
	for (uint64_t i = 0; i < b->container.nentry; i++) {
		struct container_entry entry = container_get(&b->container, i);
		if (entry.kind != ENTRY_TASK || strncmp(entry.name, CONTAINER_TASK_PREFIX, prefix))
			continue;
		*arena_push(&b->arena, t->name, nname) = entry.name + prefix;
		if (!task_read(&b->arena, entry.data, arena_push(&b->arena, t->task, t->n), e))
			return false;
	}
	return true;
}

/* The task that --dataset names; without it the only one that has answers. */
static bool choose_task(struct binary *b, const struct tasks *t, struct task *out, struct err *e)
{
	const char *want = b->options.dataset, *names = "", *near;
	size_t nanswer = 0;
	for (size_t i = 0; i < t->n; i++) {
		if (want ? !strcmp(t->name[i], want) : t->task[i].kind != TASK_TEXT)
			*out = t->task[i];
		else
			continue;
		names = arena_printf(&b->arena, "%s%s%s", names, nanswer++ ? ", " : "", t->name[i]);
	}
	if (nanswer == 1)
		return true;
	if (nanswer)
		return err_set(e, ERR_SPEC, "the rows of which dataset? --dataset is one of %s", names);
	if (!want) {
		*out = t->task[0]; /* a text, of which predict says so */
		return true;
	}
	near = nearest_name(want, t->name, t->n);
	return err_set(e, ERR_SPEC, "the program has no dataset '%s'%s%s%s", want, near ? "; did you mean '" : "",
		near ? near : "", near ? "'?" : "");
}

static bool find_task(struct binary *b, struct task *out, struct err *e)
{
	struct buf record = container_find(&b->container, "task");
	struct tasks tasks = {0};
	if (record.p)
		return b->options.dataset ? err_set(e, ERR_SPEC, "the program was built for one dataset: no --dataset")
					  : task_read(&b->arena, record, out, e);
	if (!read_tasks(b, &tasks, e))
		return false;
	if (!tasks.n)
		return err_set(
			e, ERR_SPEC, "the program was built without a task; -p continues texts");
	return choose_task(b, &tasks, out, e);
}

bool run_predict(struct binary *b, struct err *e)
{
	struct prediction p = {.b = b, .tokeniser = task_tokenizer(&b->tokenizer)};
	if (!find_task(b, &p.task, e))
		return false;
	if (p.task.kind == TASK_TEXT)
		return err_set(e, ERR_SPEC, "the program's task is text, which has no answers; "
			"score rates texts, -p continues them");
	if (!b->options.argument && !b->options.field.n)
		return err_set(e, ERR_SPEC, "predict needs ROWS.jsonl, - or --field NAME=VALUE");
	strbuf_init(&p.out);
	bool ok = b->options.argument ? predict_lines(&p, b->options.argument, e)
		: predict_line(&p, (struct buf){"{}", 2}, "--field", 1, e);
	arena_release(&p.row);
	strbuf_release(&p.out);
	return ok;
}
