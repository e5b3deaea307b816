#include "model_run.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>

/* Bytes in front of everything that is handed out, so that pieces start on cache lines. */
enum { PIECE = 64 };

static uint64_t pad(uint64_t bytes)
{
	return (bytes + PIECE - 1) & ~(uint64_t)(PIECE - 1);
}

struct input {
	const char *name;
	int32_t **at; /* in the session */
};

enum { NINPUTS = 6 };

static void list_inputs(struct session *s, struct input in[NINPUTS])
{
	const struct input all[NINPUTS] = {{"tok", &s->tok}, {"pos", &s->pos}, {"slot", &s->slot},
		{"lo", &s->lo}, {"hi", &s->hi}, {"out", &s->out}};
	memcpy(in, all, sizeof all);
}

static int find_dim(const struct program *prog, const char *name)
{
	for (uint32_t i = 0; i < prog->ndim; i++)
		if (!strcmp(prog->dim[i].name, name))
			return (int)i;
	return -1;
}

static bool bad_program(const struct program *prog, struct err *e, const char *why)
{
	return err_set(e, ERR_IO, "program '%s' is no model: %s", prog->name, why);
}

static bool check_inputs(struct session *s, struct err *e)
{
	struct input in[NINPUTS];
	list_inputs(s, in);
	for (int i = 0; i < NINPUTS; i++) {
		int at = program_external_find(s->prog, in[i].name);
		if (at < 0 && in[i].at != &s->tok && in[i].at != &s->out)
			continue; /* a model without attention has no use for it */
		int64_t rows = s->prog->dim[in[i].at == &s->out ? s->out_dim : s->rows_dim].max;
		if (at < 0 || s->prog->external[at].kind != EXTERNAL_INPUT ||
			s->prog->external[at].bytes < (uint64_t)rows * sizeof(int32_t))
			return err_set(e, ERR_IO, "program '%s' is no model: no input '%s'",
				s->prog->name, in[i].name);
	}
	for (uint32_t i = 0; i < s->prog->nexternal; i++) {
		const struct program_external *x = &s->prog->external[i];
		bool known = x->kind != EXTERNAL_INPUT;
		for (int k = 0; k < NINPUTS; k++)
			known |= !strcmp(x->name, in[k].name);
		if (!known)
			return err_set(e, ERR_IO, "program '%s' is no model: unknown input '%s'",
				s->prog->name, x->name);
	}
	return true;
}

static bool check_program(struct session *s, struct err *e)
{
	const struct program *prog = s->prog;
	if (prog->abi != PROGRAM_ABI)
		return bad_program(prog, e, "made for another version of the runtime");
	s->rows_dim = find_dim(prog, "R");
	s->out_dim = find_dim(prog, "O");
	if (s->rows_dim < 0 || s->out_dim < 0)
		return bad_program(prog, e, "its dynamic dimensions are not R and O");
	for (uint32_t i = 0; i < prog->ndim; i++)
		if (prog->dim[i].max < 1)
			return bad_program(prog, e, "a dimension has no extent");
	s->max_rows = prog->dim[s->rows_dim].max;
	s->max_out = prog->dim[s->out_dim].max;
	int logits = program_external_find(prog, "logits");
	if (logits < 0 || prog->external[logits].kind != EXTERNAL_OUTPUT)
		return bad_program(prog, e, "no output 'logits'");
	uint64_t row_bytes = prog->external[logits].bytes / (uint64_t)s->max_out;
	if (!row_bytes || row_bytes % sizeof(float) ||
		row_bytes * (uint64_t)s->max_out != prog->external[logits].bytes)
		return bad_program(prog, e, "'logits' has a size that is no multiple of O");
	s->nvocab = (int64_t)(row_bytes / sizeof(float));
	return check_inputs(s, e);
}

static bool bind_params(struct session *s, const struct param_source *params, struct err *e)
{
	for (uint32_t i = 0; i < s->prog->nexternal; i++) {
		const struct program_external *x = &s->prog->external[i];
		if (x->kind != EXTERNAL_PARAM)
			continue;
		struct buf b = params->find(params->ctx, x->name);
		if (!b.p)
			return err_set(e, ERR_IO, "weights of '%s' are missing", x->name);
		if (b.n != x->bytes)
			return err_set(e, ERR_IO,
				"weights of '%s' have %zu bytes, %llu were expected", x->name, b.n,
				(unsigned long long)x->bytes);
		s->t[1 + i] = (void *)(uintptr_t)b.p;
		s->param_bytes += x->bytes;
	}
	return true;
}

/* One mapping holds the pointer table, the slab, all that is not a weight, and the scratch. */
static uint64_t place(struct session *s, uint8_t *memory)
{
	const struct program *prog = s->prog;
	uint64_t at = 0;
	if (memory)
		s->t = (void **)memory;
	at += pad((1 + prog->nexternal) * sizeof(void *));
	if (memory)
		s->dim = (int64_t *)(memory + at);
	at += pad(prog->ndim * sizeof(int64_t));
	if (memory)
		s->t[0] = memory + at;
	at += pad(prog->slab_bytes);
	for (uint32_t i = 0; i < prog->nexternal; i++) {
		const struct program_external *x = &prog->external[i];
		if (x->kind == EXTERNAL_PARAM)
			continue;
		if (memory)
			s->t[1 + i] = memory + at;
		else if (x->kind == EXTERNAL_STATE)
			s->state_bytes += x->bytes;
		at += pad(x->bytes);
	}
	if (memory)
		s->unread = (int32_t *)(memory + at);
	at += pad((uint64_t)s->max_rows * sizeof(int32_t));
	if (memory)
		s->scratch = memory + at;
	return at + program_scratch_bytes(prog) * (uint64_t)pool_threads(s->pool);
}

bool session_open(struct session *s, const struct program *prog, const struct param_source *params,
	struct pool *pool, uint32_t context, struct err *e)
{
	*s = (struct session){.prog = prog, .pool = pool, .context = context};
	if (!check_program(s, e))
		return false;
	s->memory_bytes = place(s, NULL);
	s->memory = mmap(NULL, s->memory_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->memory == MAP_FAILED) {
		s->memory = NULL;
		return err_errno(e, "unable to allocate %llu bytes for the model's state",
			(unsigned long long)s->memory_bytes);
	}
	place(s, s->memory);
	for (uint32_t i = 0; i < prog->ndim; i++)
		s->dim[i] = prog->dim[i].max;
	struct input in[NINPUTS];
	list_inputs(s, in);
	for (int i = 0; i < NINPUTS; i++) {
		int at = program_external_find(prog, in[i].name);
		*in[i].at = at < 0 ? s->unread : s->t[1 + at];
	}
	s->logits = s->t[1 + program_external_find(prog, "logits")];
	if (bind_params(s, params, e))
		return true;
	session_release(s);
	return false;
}

void session_release(struct session *s)
{
	if (s->memory)
		munmap(s->memory, s->memory_bytes);
	*s = (struct session){0};
}

static void set_row(struct session *s, size_t i, struct sequence *q, uint32_t token)
{
	if ((uint64_t)q->base + q->n >= s->context)
		BUG("a token at slot %u passes the context of %u", q->base + q->n, s->context);
	if (token >= s->nvocab)
		BUG("token %u of a vocabulary of %lld", token, (long long)s->nvocab);
	s->tok[i] = (int32_t)token;
	s->pos[i] = (int32_t)q->n;
	s->slot[i] = (int32_t)(q->base + q->n);
	s->lo[i] = (int32_t)q->base;
	s->hi[i] = (int32_t)(q->base + ++q->n);
}

/* A token of a list of feeds. */
struct place {
	size_t feed, index;
};

static void step(struct place *at, const struct feed *f)
{
	if (++at->index == f[at->feed].n)
		*at = (struct place){at->feed + 1, 0};
}

static void run(struct session *s)
{
	if (!s->device.run) {
		program_run(s->prog, s->pool, s->t, s->dim, s->scratch);
		return;
	}
	size_t n = (size_t)(s->dim[s->out_dim] * s->nvocab);
	if (!s->failed)
		s->failed = !s->device.run(s->device.ctx, s->dim, n * sizeof(float), &s->error);
	for (size_t i = 0; i < n && s->failed; i++)
		s->logits[i] = NAN;
}

/* One call: as many rows as fit. */
static void feed_once(struct session *s, const struct feed *f, size_t nfeed, struct place *at)
{
	int64_t rows = 0, out = 0;
	for (; at->feed < nfeed && rows < s->max_rows; step(at, f), rows++) {
		const struct feed *x = &f[at->feed];
		if (at->index >= x->from) {
			if (out == s->max_out)
				break;
			s->out[out++] = (int32_t)rows;
		}
		set_row(s, (size_t)rows, x->q, x->token[at->index]);
	}
	s->dim[s->rows_dim] = rows;
	s->dim[s->out_dim] = out;
	run(s);
}

void session_feed(struct session *s, const struct feed *f, size_t nfeed, feed_visit *visit, void *ctx)
{
	for (struct place at = {0, 0}; at.feed < nfeed;) {
		struct place shown = at;
		size_t out = 0;
		feed_once(s, f, nfeed, &at);
		for (; visit && (shown.feed != at.feed || shown.index != at.index); step(&shown, f))
			if (shown.index >= f[shown.feed].from)
				visit(ctx, shown.feed, shown.index,
					s->logits + out++ * (size_t)s->nvocab);
	}
}

const float *session_prefill(struct session *s, struct sequence *q, const uint32_t *token, size_t n)
{
	struct feed f = {q, token, n, n - 1};
	session_feed(s, &f, 1, NULL, NULL);
	return s->logits;
}

struct one_visit {
	logits_visit *visit;
	void *ctx;
};

static void visit_one(void *ctx, size_t feed, size_t index, const float *logits)
{
	struct one_visit *v = ctx;
	(void)feed;
	v->visit(v->ctx, index, logits);
}

void session_prefill_all(struct session *s, struct sequence *q, const uint32_t *token, size_t n,
	logits_visit *visit, void *ctx)
{
	struct feed f = {q, token, n, 0};
	struct one_visit v = {visit, ctx};
	session_feed(s, &f, 1, visit_one, &v);
}

const float *session_decode(struct session *s, struct sequence *q, uint32_t token)
{
	return session_prefill(s, q, &token, 1);
}
