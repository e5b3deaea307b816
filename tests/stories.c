#include "stories.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "tok.h"

bool stories_start(struct running *r, const struct setting *s)
{
	struct err e;
	bool half[64];
	memset(r, 0, sizeof(*r));
	strbuf_init(&r->object);
	strbuf_init(&r->tokens);
	if (!model_open(&r->model, s->path, &e) || !tok_read(&r->arena, s->path, &r->tokens, &e) ||
		!tokenizer_load(&r->tokenizer, strbuf_buf(&r->tokens), &e)) {
		FAIL("%s: %s", s->path, e.msg);
		return false;
	}
	for (int i = 0; i < r->model.config.layers; i++)
		half[i] = i != s->gone;
	r->context = r->model.config.context < 512 ? r->model.config.context : 512;
	struct forward f = {.config = &r->model.config, .has_attn = half, .has_mlp = half,
		.numerics = s->numerics, .max_rows = s->rows, .max_out = s->rows, .slots = r->context};
	const struct graph *plan = graph_plan(&r->arena, forward_step(&r->arena, &f));
	struct emit_request request = {s->target, &plan, 1, EMIT_OBJECT, getenv("TRIM_KEEP_CODE")};
	struct param_source params = {&r->packed, packed_find};
	r->pool = pool_new(s->nthreads);
	if (!packed_new(&r->packed, plan, &r->model, &e)) {
		FAIL("%s: %s", s->path, e.msg);
		return false;
	}
	if (s->repack)
		s->repack(s->ctx, plan, &r->model, &r->packed);
	if (!s->target)
		return true;
	if (!emit_object(&request, &r->object, &e) || !emit_load(strbuf_buf(&r->object), &r->loaded, &e) ||
		!session_open(&r->session, r->loaded.program[0], &params, r->pool, (uint32_t)r->context, &e)) {
		FAIL("%s: %s", s->path, e.msg);
		return false;
	}
	return true;
}

void stories_stop(struct running *r)
{
	session_release(&r->session);
	pool_free(r->pool);
	emit_unload(&r->loaded);
	packed_release(&r->packed);
	strbuf_release(&r->object);
	strbuf_release(&r->tokens);
	model_release(&r->model);
	arena_release(&r->arena);
}

void logits_keep(void *ctx, size_t index, const float *logits)
{
	struct logits *l = ctx;
	memcpy(l->all + (int64_t)index * l->nvocab, logits, (size_t)l->nvocab * sizeof(float));
}

static bool begins_story(const char *p)
{
	return !strncmp(p, "Once upon", 9) || !strncmp(p, "One day", 7);
}

/* The next story's first bytes with white space folded to one space, as the model was trained; p moves
 * behind the story. Paragraphs in the middle of a story would cost 0.2 nats more. */
static void next_story(const char **p, struct strbuf *out)
{
	strbuf_clear(out);
	do {
		size_t n = strcspn(*p, "\n");
		if (out->n)
			strbuf_addc(out, ' ');
		strbuf_add(out, *p, n);
		*p += n + strspn(*p + n, "\n");
	} while (**p && !begins_story(*p));
}

bool stories_text(struct strbuf *out)
{
	const char *data = test_data();
	char path[512];
	struct err e;
	if (!data)
		return false;
	strbuf_init(out);
	snprintf(path, sizeof(path), "%s/datasets/tinystories/tinystories_cased_197k.txt", data);
	if (file_read(out, path, &e))
		return true;
	strbuf_release(out);
	FAIL("%s", e.msg);
	return false;
}

double stories_nll(const struct setting *s, const struct strbuf *text, size_t most)
{
	struct running r;
	struct strbuf story;
	double nll = 0;
	size_t count = 0;
	if (!stories_start(&r, s))
		return NAN;
	strbuf_init(&story);
	struct logits l = {calloc((size_t)(r.context * r.session.nvocab), sizeof(float)), r.session.nvocab};
	for (const char *p = text->s; *p && count < most;) {
		struct token_list tokens = {0};
		struct sequence q = {0};
		next_story(&p, &story);
		tokenizer_encode(&r.tokenizer, story.s, story.n, TOKENIZER_ADD_START, &tokens);
		size_t used = tokens.n < (size_t)r.context ? tokens.n : (size_t)r.context;
		session_prefill_all(&r.session, &q, tokens.id, used - 1, logits_keep, &l);
		for (size_t i = 0; i + 1 < used; i++) {
			const float *z = l.all + (int64_t)i * l.nvocab;
			double max = z[0], sum = 0;
			for (int64_t v = 0; v < l.nvocab; v++)
				max = z[v] > max ? z[v] : max;
			for (int64_t v = 0; v < l.nvocab; v++)
				sum += exp(z[v] - max);
			nll += log(sum) + max - z[tokens.id[i + 1]];
			count++;
		}
		token_list_release(&tokens);
	}
	free(l.all);
	strbuf_release(&story);
	stories_stop(&r);
	return nll / (double)count;
}

