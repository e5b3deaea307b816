/* One row of a dataset, the way score, tune and predict see it. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#include "dataset.h"
#include "model.h"
#include "task_tokenizer.h"
#include "tok.h"

/* How the model cuts text, as far as it is known before a build. */
struct model_tokens {
	struct strbuf block;
	struct tokenizer tokenizer;
	struct tokeniser tok;
	int64_t context;
	bool known;
};

static bool open_tokens(struct cli *c, const struct spec_model *s, struct model_tokens *out,
	struct err *e)
{
	const struct spec_path *path = s->source == MODEL_PATH ? s->path : s->tokenizer.path;
	struct model m;
	out->context = s->context;
	if (!path)
		return true; /* it is trained in the build, or fetched by it */
	if (s->source == MODEL_PATH) {
		bool ok = model_open(&m, path->path, e);
		out->context = m.config.context;
		model_release(&m);
		if (!ok)
			return false;
	}
	if (!tok_read(c->arena, path->path, &out->block, e) ||
		!tokenizer_load(&out->tokenizer, strbuf_buf(&out->block), e))
		return false;
	out->tok = task_tokenizer(&out->tokenizer);
	out->known = true;
	return true;
}

static bool find_dataset(struct cli *c, const struct spec *s, const struct spec_dataset **out,
	struct err *e)
{
	const char *want = cli_option(c, "dataset");
	const char **names = arena_array(c->arena, const char *, s->ndataset);
	if (!s->ndataset)
		return err_at(e, ERR_SPEC, s->file->name, 0, 0, "the spec has no <dataset>");
	*out = &s->dataset[0];
	if (!want)
		return true;
	for (int i = 0; i < s->ndataset; i++) {
		names[i] = s->dataset[i].name;
		*out = &s->dataset[i];
		if (!strcmp(names[i], want))
			return true;
	}
	const char *near = nearest_name(want, names, (size_t)s->ndataset);
	return err_set(e, ERR_SPEC, "no <dataset> is named '%s'%s%s%s", want, near ? "; did you mean '" : "",
		near ? near : "", near ? "'?" : "");
}

/* The number (from 0) among all rows of the n-th (from 1) of a split, or of all. */
static bool find_row(const struct dataset_rows *r, const char *split, long n, size_t *out, struct err *e)
{
	size_t at = 0;
	long left = n;
	for (size_t i = 0; i < r->nt; i++)
		for (size_t k = 0; k < r->t[i].nrow; k++, at++)
			if ((!split || !strcmp(split, split_names[r->split.of[i][k]])) && --left == 0) {
				*out = at;
				return true;
			}
	return err_set(e, ERR_SPEC, "no row %ld; %s has %ld", n, split ? split : "the dataset", n - left);
}

static void add_ids(struct strbuf *out, const char *name, const uint32_t *id, uint32_t n)
{
	strbuf_addf(out, "\"%s\":[", name);
	for (uint32_t i = 0; i < n; i++)
		strbuf_addf(out, "%s%u", i ? "," : "", id[i]);
	strbuf_addc(out, ']');
}

static void add_text(struct strbuf *out, const char *name, struct buf text)
{
	strbuf_addf(out, ",\"%s\":", name);
	strbuf_add_json(out, text.p, text.n);
}

static void add_sequence(struct strbuf *out, const struct token_row *r)
{
	const uint32_t *at = r->token + r->prompt_tokens;
	strbuf_addc(out, '{');
	add_ids(out, "prompt", r->token, r->prompt_tokens);
	strbuf_addf(out, ",\"gold\":%d,\"answers\":[", r->gold);
	for (uint32_t i = 0; i < r->nanswer; at += r->answer_tokens[i++]) {
		strbuf_adds(out, i ? ",{" : "{");
		add_ids(out, "tokens", at, r->answer_tokens[i]);
		strbuf_addc(out, '}');
	}
	strbuf_adds(out, "]}");
}

static bool show_json(struct cli *c, const struct show_job *job, size_t row, struct strbuf *out,
	struct err *e)
{
	struct task_row text;
	struct token_row *token;
	size_t table = 0, at = row, n;
	char hex[DIGEST_HEX];
	while (at >= job->t[table].nrow)
		at -= job->t[table++].nrow;
	const struct row_table *t = &job->t[table];
	if (!row_table_render(c->arena, t, at, job->task, &text, e))
		return false;
	digest_hex(t->row[at].digest, hex);
	strbuf_addf(out, "{\"row\":%zu,\"digest\":\"%s\",\"line\":%u,\"split\":\"%s\"", row + 1, hex,
		t->row[at].line, split_names[job->r->of[table][at]]);
	add_text(out, "file", (struct buf){t->file, strlen(t->file)});
	if (row_table_key(t, at).p)
		add_text(out, "key", row_table_key(t, at));
	if (job->task->kind != TASK_TEXT)
		add_text(out, "prompt", text.prompt);
	for (size_t i = 0; i < text.nchoice; i++) {
		strbuf_adds(out, i ? "," : ",\"choices\":[");
		strbuf_add_json(out, text.choice[i].p, text.choice[i].n);
	}
	strbuf_adds(out, text.nchoice ? "]" : "");
	if (text.answer.p)
		add_text(out, "answer", text.answer);
	if (job->tok && !task_layout(c->arena, job->task, &text, job->tok, &token, &n, e))
		return row_table_fail(t, at, e);
	for (size_t i = 0; job->tok && i < n; i++) {
		strbuf_adds(out, i ? "," : ",\"sequences\":[");
		add_sequence(out, &token[i]);
	}
	strbuf_adds(out, job->tok && n ? "]}\n" : "}\n");
	return true;
}

static bool show(struct cli *c, const struct spec *s, struct model_tokens *tokens,
	struct dataset_rows *rows, struct strbuf *out, struct err *e)
{
	const struct spec_dataset *spec = NULL;
	struct dataset d;
	long n = 1;
	size_t row = 0;
	if (!cli_option_int(c, "row", 1, 1L << 40, &n, e) || !find_dataset(c, s, &spec, e) ||
		!dataset_open(c->arena, spec, &d, e) || !dataset_read(&d, rows, e) ||
		!find_row(rows, cli_option(c, "split"), n, &row, e) ||
		!open_tokens(c, &s->model, tokens, e))
		return false;
	struct task task = dataset_task(&d, tokens->context ? tokens->context : UINT32_MAX);
	struct show_job job = {rows->t, rows->nt, &rows->split, &task, tokens->known ? &tokens->tok : NULL};
	if (!tokens->known)
		cli_say(c, "the tokenizer is made by the build: no tokens to show");
	return c->json ? show_json(c, &job, row, out, e) : data_show(&job, row, out, e);
}

int verb_show(struct cli *c)
{
	struct spec *s;
	struct err e = {0};
	struct model_tokens tokens = {0};
	struct dataset_rows rows = {0};
	struct strbuf out;
	int code = cli_load_spec(c, cli_spec_path(c, 0), &s);
	if (code != EXIT_OK)
		return code;
	strbuf_init(&out);
	strbuf_init(&tokens.block);
	if (show(c, s, &tokens, &rows, &out, &e))
		fwrite(out.s, 1, out.n, c->out);
	else
		code = cli_fail(c, &e);
	dataset_rows_release(&rows);
	strbuf_release(&tokens.block);
	strbuf_release(&out);
	return code;
}
