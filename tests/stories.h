/*
 * Real models in this process: code of a class and target for a model file or folder, packed weights, a
 * session; and their loss on stories.
 */
#ifndef STORIES_H
#define STORIES_H

#include "emit.h"
#include "model_run.h"
#include "packed.h"
#include "test.h"
#include "tokenizer.h"

struct running {
	struct arena arena;
	struct model model;
	struct packed packed;
	struct strbuf object, tokens;
	struct loaded loaded;
	struct pool *pool;
	struct session session;
	struct tokenizer tokenizer;
	int context;
};

struct setting {
	const char *path;
	const struct target *target; /* NULL: the model and its weights alone, no code and no session */
	enum numerics numerics;
	int nthreads, rows, gone; /* gone: a whole layer that is left out, -1 none */
	/* NULL, or changes the weights that `plan` binds, before anything runs. */
	void (*repack)(void *ctx, const struct graph *plan, const struct model *m, struct packed *p);
	void *ctx;
};

/* False after FAIL; stories_stop either way. */
bool stories_start(struct running *r, const struct setting *s);
void stories_stop(struct running *r);

/* Logits by row, for session_prefill_all. */
struct logits {
	float *all;
	int64_t nvocab;
};
void logits_keep(void *ctx, size_t index, const float *logits);

/* The cased stories of the test data, to be released; false where there is no data or after FAIL. */
bool stories_text(struct strbuf *out);

/* Nats per token over stories, each from the start token and cut at the context, until `most` tokens. */
double stories_nll(const struct setting *s, const struct strbuf *text, size_t most);

#endif
