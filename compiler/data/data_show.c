#include "tokens.h"

static void show_text(struct strbuf *out, const char *name, struct buf text)
{
	strbuf_addf(out, "%s: ", name);
	strbuf_add_json(out, text.p, text.n);
	strbuf_addc(out, '\n');
}

static void show_token(struct strbuf *out, const struct tokeniser *tok, uint32_t id, char mask)
{
	strbuf_addf(out, "  %c %u", mask, id);
	if (tok->piece) {
		struct buf piece = tok->piece(tok->ctx, id);
		strbuf_addc(out, ' ');
		strbuf_add_json(out, piece.p, piece.n);
	}
	strbuf_addc(out, '\n');
}

/* `+` marks the tokens that are learned, `-` those that are context, `.` other choices. */
static void show_tokens(struct strbuf *out, const struct tokeniser *tok, const struct token_row *r)
{
	uint32_t at = r->prompt_tokens;
	strbuf_addf(out, "prompt, %u tokens\n", r->prompt_tokens);
	for (uint32_t i = 0; i < r->prompt_tokens; i++)
		show_token(out, tok, r->token[i], '-');
	for (uint32_t k = 0; k < r->nanswer; k++) {
		bool gold = r->gold == (int32_t)k;
		strbuf_addf(out, "answer %u, %u tokens%s\n", k + 1, r->answer_tokens[k],
			gold ? ", gold" : "");
		for (uint32_t i = 0; i < r->answer_tokens[k]; i++)
			show_token(out, tok, r->token[at++], gold ? '+' : '.');
	}
}

bool data_show(const struct show_job *job, size_t row, struct strbuf *out, struct err *e)
{
	struct arena a = {0};
	struct task_row text;
	struct token_row *token;
	size_t table = 0, at = row, total = 0, n;
	char hex[DIGEST_HEX];
	for (size_t i = 0; i < job->nt; i++)
		total += job->t[i].nrow;
	if (row >= total)
		return err_set(e, ERR_SPEC, "no row %zu; the dataset has %zu rows", row + 1, total);
	while (at >= job->t[table].nrow)
		at -= job->t[table++].nrow;
	const struct row_table *t = &job->t[table];
	bool ok = row_table_render(&a, t, at, job->task, &text, e);
	if (!ok) {
		arena_release(&a);
		return false;
	}

	digest_hex(t->row[at].digest, hex);
	strbuf_addf(
		out, "row: %zu of %zu, %s:%u, %s\n", row + 1, total, t->file, t->row[at].line, hex);
	if (row_table_key(t, at).p)
		show_text(out, "key", row_table_key(t, at));
	if (job->r)
		strbuf_addf(out, "split: %s\n", split_names[job->r->of[table][at]]);
	if (job->task->kind != TASK_TEXT)
		show_text(out, "prompt", text.prompt);
	for (size_t i = 0; i < text.nchoice; i++) {
		strbuf_addf(out, "choice %zu%s", i + 1, text.gold == (int)i ? ", gold" : "");
		show_text(out, "", text.choice[i]);
	}
	if (job->task->kind != TASK_CHOICE && text.answer.p)
		show_text(out, job->task->kind == TASK_TEXT ? "text" : "answer", text.answer);

	ok = !job->tok || task_layout(&a, job->task, &text, job->tok, &token, &n, e);
	if (!ok)
		row_table_fail(t, at, e);
	for (size_t i = 0; ok && job->tok && i < n; i++) {
		if (n > 1)
			strbuf_addf(out, "window %zu of %zu\n", i + 1, n);
		show_tokens(out, job->tok, &token[i]);
	}
	if (ok && job->tok && !n)
		strbuf_addf(out, "skipped: longer than %u tokens\n", job->task->length_tokens);
	arena_release(&a);
	return ok;
}
