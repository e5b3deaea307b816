/*
 * Runs a language model's program: token ids in, rows of logits out. The emitted binary and the
 * compiler's evaluate rule both go through here.
 *
 * The program's contract (compiler/emit): dynamic dims R (rows of a call) and O (rows whose logits
 * are wanted); i32 inputs tok, pos, slot, lo, hi (R) and out (O, indices of rows), where a model without attention
 * lacks pos, slot, lo and hi; params by name;
 * states (the KV cache; zeroed once); output logits (O,V) f32, row-major, V exact. It may have
 * further inputs and outputs for nobody here: unknown inputs are an error, other outputs get memory
 * that is not read.
 *
 * A sequence owns the slots base .. base + context - 1: its token at position p lies in slot base +
 * p and sees the slots base .. base + p. Going back (sequence.n made smaller) is free. A row's bits
 * do not depend on which rows share its call, so chunks are a matter of speed alone.
 *
 * All memory is allocated when the session is opened. A session belongs to one thread.
 */
#ifndef MODEL_RUN_H
#define MODEL_RUN_H

#include "program.h"
#include "strbuf.h"

/* Where params come from: the bytes of one by its canonical name, p NULL when there is none. They
 * stay where they are while the session lives, 64-byte aligned. */
struct param_source {
	void *ctx;
	struct buf (*find)(void *ctx, const char *name);
};

/* Who runs a session's program when it is not the pool: inputs are in the session's memory, logits go there, of which so
 * many bytes are wanted. */
struct session_device {
	void *ctx;
	bool (*run)(void *ctx, const int64_t *dim, uint64_t logits_bytes, struct err *e);
};

struct session {
	const struct program *prog;
	struct pool *pool;
	uint32_t context; /* slots of the KV cache */
	int64_t nvocab;
	int64_t max_rows, max_out; /* of one call */
	uint64_t param_bytes, state_bytes; /* of weights; of the cache */
	uint64_t memory_bytes;             /* allocated in all */
	float *logits;             /* (max_out, nvocab) */

	struct session_device device; /* run NULL: the pool */
	bool failed;               /* a device did; logits are not a number from then on */
	struct err error;          /* why */

	void *memory, *scratch;    /* private from here on */
	void **t;
	int64_t *dim;
	int32_t *tok, *pos, *slot, *lo, *hi, *out;
	int32_t *unread;           /* (max_rows): inputs that the program lacks */
	int rows_dim, out_dim;
};

struct sequence {
	uint32_t base; /* first slot */
	uint32_t n;    /* tokens in the cache */
};

/* context: slots of the states. nvocab comes from the logits' size. ERR_IO when a param is missing
 * or has another size; a program that breaks the contract above is an ERR_IO too, as it may come
 * from a file. */
bool session_open(struct session *s, const struct program *prog, const struct param_source *params,
	struct pool *pool, uint32_t context, struct err *e);
void session_release(struct session *s);

/* Appends n > 0 tokens to the sequence, in chunks. Returns the logits (nvocab) behind the last one;
 * they live until the next call. The caller's bug: q->base + q->n + n passes the context. */
const float *session_prefill(
	struct session *s, struct sequence *q, const uint32_t *token, size_t n);

/* The same, and every row's logits are shown in turn: index counts the tokens given. */
typedef void logits_visit(void *ctx, size_t index, const float *logits);
void session_prefill_all(struct session *s, struct sequence *q, const uint32_t *token, size_t n,
	logits_visit *visit, void *ctx);

/* Tokens for one of several sequences. The logits behind token[from .. n) are wanted. */
struct feed {
	struct sequence *q;
	const uint32_t *token;
	size_t n; /* > 0 */
	size_t from;
};

/* Appends to several sequences, whose slots do not overlap, in as few calls as they fit into. Shows the
 * wanted logits in order: index counts the tokens of a feed. visit may be NULL. */
typedef void feed_visit(void *ctx, size_t feed, size_t index, const float *logits);
void session_feed(struct session *s, const struct feed *f, size_t nfeed, feed_visit *visit, void *ctx);

/* One token. */
const float *session_decode(struct session *s, struct sequence *q, uint32_t token);

#endif
