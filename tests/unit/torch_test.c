/*
 * Training against PyTorch (tests/vectors/make.py): tiny models of several shapes, their logits and
 * gradients, and for ten steps loss, norm of the gradient and what AdamW makes of it, by generated
 * code in f32. Each number is within 1e-5 of the largest magnitude in its tensor. PyTorch's records
 * are computed one by one; here they are packed.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "digest.h"
#include "emit.h"
#include "file.h"
#include "program.h"
#include "rate.h"
#include "safetensors.h"
#include "test.h"
#include "trainer.h"

static const char *const cases[] = {"mha-tied", "gqa-untied", "dropped", "frozen", "no-attention",
	"no-mlp", "lora", "lora-embeddings", "distill", "distill-all", "lora-distill"};

struct vectors {
	struct arena a;
	struct strbuf file;
	struct stored *s;
	size_t n;
	struct state state, parent;
	struct token_table table;
	struct train_lora lora;
	struct train_distill distill;
	struct rate rate;
	int64_t batch;
};

static const struct stored *find(const struct vectors *v, const char *prefix, const char *name)
{
	char full[128];
	snprintf(full, sizeof(full), "%s%s", prefix, name);
	for (size_t i = 0; i < v->n; i++)
		if (!strcmp(v->s[i].name, full))
			return &v->s[i];
	return NULL;
}

static double number_at(const struct vectors *v, const char *name, size_t i)
{
	const struct stored *s = find(v, "", name);
	double x = NAN;
	if (!s || 8 * i >= s->bytes || strcmp(s->type_name, "F64"))
		BUG("the vectors have no number %zu of '%s'", i, name);
	memcpy(&x, s->data + 8 * i, 8);
	return x;
}

static double number(const struct vectors *v, const char *name)
{
	return number_at(v, name, 0);
}

static size_t count(const struct vectors *v, const char *name)
{
	return find(v, "", name)->bytes / 8;
}

static bool trains(void *ctx, const char *name)
{
	const struct vectors *v = ctx;
	struct unit u;
	if (!strcmp(name, "rope.freq"))
		return false;
	return unit_of_tensor(name, &u) ? number_at(v, "trains", (size_t)u.layer) != 0
					: number(v, "embeddings") != 0;
}

/* By content, as of a store: the parent's and the model's own tensors have equal names. */
static bool read_tensor(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e)
{
	const struct vectors *v = ctx;
	for (size_t i = 0; i < v->n; i++) {
		*out = (struct buf){v->s[i].data, v->s[i].bytes};
		if (digest_equal(digest_of(out->p, out->n), t->digest))
			return true;
	}
	return err_set(e, ERR_IO, "no tensor '%s'", t->name);
}

static void add_tensor(
	struct vectors *v, struct state *s, const char *name, const struct stored *from)
{
	struct state_tensor t = {.name = name,
		.dtype = from->dtype,
		.ndim = from->ndim,
		.digest = digest_of(from->data, from->bytes),
		.bytes = from->bytes};
	memcpy(t.dims, from->dims, sizeof(t.dims));
	*arena_push(&v->a, s->tensor, s->ntensor) = t;
}

static void make_states(struct vectors *v)
{
	struct model_config c = {.arch = &arch_llama,
		.layers = (int)number(v, "layers"),
		.width = (int)number(v, "width"),
		.ffn = (int)number(v, "ffn"),
		.heads = (int)number(v, "heads"),
		.kv_heads = (int)number(v, "kv-heads"),
		.head_dim = (int)number(v, "head-dim"),
		.vocab = (int)number(v, "vocab"),
		.context = 64,
		.rms_eps = 1e-5f,
		.rope_theta = number(v, "theta"),
		.rope = (enum model_rope)number(v, "rope"),
		.rope_factor = number(v, "rope") == 1 ? 4 : 8,
		.rope_low = 1,
		.rope_high = 4,
		.rope_original_context = 32,
		.tied = number(v, "tied") != 0};
	bool *has[4];
	for (int k = 0; k < 4; k++)
		has[k] = arena_array(&v->a, bool, c.layers);
	for (int i = 0; i < c.layers; i++) {
		has[0][i] = number_at(v, "has.attn", (size_t)i) != 0;
		has[1][i] = number_at(v, "has.mlp", (size_t)i) != 0;
		has[2][i] = has[3][i] = true;
	}
	v->state = (struct state){.config = c, .has_attn = has[0], .has_mlp = has[1]};
	v->parent = (struct state){.config = c, .has_attn = has[2], .has_mlp = has[3]};
	for (size_t i = 0; i < v->n; i++) {
		const struct stored *s = &v->s[i];
		if (!strncmp(s->name, "w.", 2)) {
			const struct stored *theirs = find(v, "parent.", s->name + 2);
			add_tensor(v, &v->state, s->name + 2, s);
			add_tensor(v, &v->parent, s->name + 2, theirs ? theirs : s);
		} else if (!strncmp(s->name, "parent.", 7) && !find(v, "w.", s->name + 7)) {
			add_tensor(v, &v->parent, s->name + 7, s);
		}
	}
}

static void make_table(struct vectors *v)
{
	struct token_table *t = &v->table;
	t->nrecord = count(v, "length") / 2;
	struct token_record *record = arena_array(&v->a, struct token_record, t->nrecord);
	uint32_t *answer = arena_array(&v->a, uint32_t, t->nrecord);
	uint32_t *token = arena_array(&v->a, uint32_t, count(v, "token"));
	for (size_t i = 0; i < t->nrecord; i++) {
		uint32_t prompt = (uint32_t)number_at(v, "length", 2 * i);
		answer[i] = (uint32_t)number_at(v, "length", 2 * i + 1);
		record[i] = (struct token_record){.token_at = t->ntoken,
			.answer_at = i,
			.prompt_tokens = prompt,
			.nanswer = 1,
			.nparts = 1,
			.total_tokens = prompt + answer[i]};
		t->ntoken += prompt + answer[i];
	}
	for (size_t i = 0; i < t->ntoken; i++)
		token[i] = (uint32_t)number_at(v, "token", i);
	t->nanswer = t->nrecord;
	t->record = record;
	t->answer_tokens = answer;
	t->token = token;
}

static bool vectors_open(struct vectors *v, const char *name)
{
	static const char *const decays[] = {"constant", "linear", "cosine"};
	char path[128];
	struct err e;
	memset(v, 0, sizeof(*v));
	strbuf_init(&v->file);
	snprintf(path, sizeof(path), "tests/vectors/%s.safetensors", name);
	if (!file_read(&v->file, path, &e) ||
		!safetensors_open(&v->a, strbuf_buf(&v->file), path, &v->s, &v->n, &e)) {
		FAIL("%s: %s", path, e.msg);
		return false;
	}
	make_states(v);
	make_table(v);
	v->lora = (struct train_lora){
		(int64_t)number(v, "rank"), number(v, "alpha"), (uint64_t)number(v, "seed")};
	v->distill =
		(struct train_distill){&v->parent, number(v, "distill"), number(v, "temperature")};
	v->rate = (struct rate){number(v, "rate"), number(v, "warm-up"),
		(int64_t)number(v, "steps"), decays[(int)number(v, "decay")]};
	v->batch = (int64_t)number(v, "batch");
	return true;
}

static void vectors_release(struct vectors *v)
{
	strbuf_release(&v->file);
	arena_release(&v->a);
}

static struct trainer_options options_of(struct vectors *v)
{
	return (struct trainer_options){.weights = {&v->state, read_tensor, v},
		.trains = trains,
		.ctx = v,
		.numerics = NUMERICS_F32,
		.rows = (int64_t)number(v, "rows"),
		.nthreads = 2,
		.beta1 = 0.9,
		.beta2 = 0.999,
		.eps = 1e-8,
		.decay = number(v, "weight-decay"),
		.lora = v->lora.rank ? &v->lora : NULL,
		.distill = v->distill.share > 0 ? &v->distill : NULL};
}

static struct trainer *trainer_of(const struct trainer_options *o)
{
	struct trainer *t;
	struct err e;
	if (trainer_open(&t, o, &e))
		return t;
	FAIL("%s", e.msg);
	trainer_free(t);
	return NULL;
}

/* All micro-batches of a step, by trainer_add or trainer_look; the loss. */
static double go_over(struct trainer *t, const struct vectors *v, int64_t step,
	void (*go)(struct trainer *, const struct pack_batch *, double, double *))
{
	struct arena a = {0};
	struct pack_batch *batch;
	struct err e;
	size_t nbatch;
	double weight = 0, loss = 0;
	uint32_t *record = arena_array(&a, uint32_t, v->batch);
	for (int64_t i = 0; i < v->batch; i++)
		record[i] = (uint32_t)((uint64_t)(step * v->batch + i) % v->table.nrecord);
	if (!pack_rows(&a, &v->table, record, (size_t)v->batch, (uint32_t)number(v, "rows"), &batch,
		    &nbatch, &e))
		FAIL("%s", e.msg);
	for (size_t i = 0; i < nbatch; i++)
		weight += batch[i].weight_sum;
	for (size_t i = 0; i < nbatch; i++)
		go(t, &batch[i], weight, &loss);
	arena_release(&a);
	return loss;
}

static double add_step(struct trainer *t, const struct vectors *v, int64_t step)
{
	return go_over(t, v, step, trainer_add);
}

static double update_step(struct trainer *t, const struct vectors *v, int64_t step)
{
	return trainer_update(t, step + 1, rate_at(&v->rate, step), number(v, "clip"));
}

static void compare(
	const char *which, const char *what, const float *got, const float *want, size_t n)
{
	double scale = 0;
	for (size_t i = 0; i < n; i++)
		scale = fmax(scale, fabs((double)want[i]));
	for (size_t i = 0; i < n; i++)
		if (!(fabs((double)got[i] - (double)want[i]) <= 1e-5 * scale)) {
			FAIL("%s: %s[%zu] is %.9g, PyTorch has %.9g; the largest is %.9g", which,
				what, i, (double)got[i], (double)want[i], scale);
			return;
		}
}

static void compare_number(
	const char *which, const char *what, int64_t step, double got, double want)
{
	if (!(fabs(got - want) <= 1e-5 * fabs(want)))
		FAIL("%s: %s of step %lld is %.9g, PyTorch has %.9g", which, what, (long long)step,
			got, want);
}

/* Each of PyTorch's tensors PREFIXname against the trainer's leaf LEAFname. How many there are. */
static int compare_all(const char *which, const struct vectors *v, const struct trainer *t,
	const char *prefix, const char *leaf)
{
	struct strbuf bytes;
	char name[128];
	int n = 0;
	strbuf_init(&bytes);
	for (size_t i = 0; i < v->n; i++) {
		const struct stored *s = &v->s[i];
		if (strncmp(s->name, prefix, strlen(prefix)))
			continue;
		strbuf_clear(&bytes);
		snprintf(name, sizeof(name), "%s%s", leaf, s->name + strlen(prefix));
		trainer_weight(t, name, &bytes);
		CHECK_INT(bytes.n, s->bytes);
		if (bytes.n == s->bytes)
			compare(which, s->name, (const float *)(const void *)bytes.s,
				(const float *)(const void *)s->data, bytes.n / sizeof(float));
		n++;
	}
	strbuf_release(&bytes);
	return n;
}

/* What changes is what PyTorch trained; everything else keeps its bits. */
static void check_frozen(const char *which, const struct vectors *v, const struct trainer *t)
{
	struct strbuf bytes;
	strbuf_init(&bytes);
	for (size_t i = 0; i < v->state.ntensor; i++) {
		const char *name = v->state.tensor[i].name;
		const struct stored *before = find(v, "w.", name);
		bool changes = trainer_changes(t, name);
		if (changes != (find(v, "after.", name) != NULL))
			FAIL("%s: '%s' %s", which, name, changes ? "changes" : "stays");
		strbuf_clear(&bytes);
		trainer_weight(t, name, &bytes);
		if (!changes && memcmp(bytes.s, before->data, before->bytes))
			FAIL("%s: '%s' has other bits", which, name);
	}
	strbuf_release(&bytes);
}

static void compare_steps(const char *which)
{
	struct vectors v;
	if (!vectors_open(&v, which))
		return;
	struct trainer_options o = options_of(&v);
	struct trainer *t = trainer_of(&o);
	for (int64_t step = 0; t && step < v.rate.nsteps; step++) {
		compare_number(which, "loss", step, add_step(t, &v, step),
			number_at(&v, "loss", (size_t)step));
		if (step == 0)
			CHECK(compare_all(which, &v, t, "first.", "g.") > 0);
		if (step == 1)
			CHECK(compare_all(which, &v, t, "second.", "g.") > 0);
		compare_number(which, "norm", step, update_step(t, &v, step),
			number_at(&v, "norm", (size_t)step));
	}
	if (t) {
		trainer_end(t);
		CHECK(compare_all(which, &v, t, "after.", "") > 0);
		check_frozen(which, &v, t);
	}
	trainer_free(t);
	vectors_release(&v);
}

TEST(gradients_and_steps_are_pytorchs)
{
	for (size_t i = 0; i < NELEM(cases); i += test_is_first() ? 1 : 4)
		compare_steps(cases[i]);
}

/* ---- logits, by the forward graph alone ---- */

struct forward_run {
	struct arena a;
	struct loaded loaded;
	struct packed packed;
	const struct graph *plan;
	void **t;
};

static void *external(struct forward_run *r, const char *name)
{
	const struct program *p = r->loaded.program[0];
	for (uint32_t i = 0; i < p->nexternal; i++)
		if (!strcmp(p->external[i].name, name))
			return r->t[1 + i];
	return arena_alloc(&r->a, 1 << 12); /* a model without attention reads no positions */
}

static bool forward_open(struct forward_run *r, struct vectors *v, int64_t rows, struct err *e)
{
	struct forward f = {.config = &v->state.config,
		.has_attn = v->state.has_attn,
		.has_mlp = v->state.has_mlp,
		.numerics = NUMERICS_F32,
		.max_rows = rows,
		.max_out = rows};
	struct graph *g = graph_new(&r->a, "forward");
	struct weight_source from = {&v->state, read_tensor, v};
	graph_add_output(g, "logits", forward_build(g, &f));
	r->plan = graph_plan(&r->a, g);
	if (!weights_pack(&from, r->plan, &r->packed, e) ||
		!emit_native(&r->plan, 1, 1, &r->loaded, e))
		return false;
	const struct program *p = r->loaded.program[0];
	r->t = arena_array(&r->a, void *, p->nexternal + 1);
	r->t[0] = xaligned(p->slab_bytes);
	for (uint32_t i = 0; i < p->nexternal; i++) {
		struct buf w = packed_find(&r->packed, p->external[i].name);
		r->t[1 + i] = xaligned(p->external[i].bytes);
		memset(r->t[1 + i], 0, p->external[i].bytes);
		if (w.p)
			memcpy(r->t[1 + i], w.p, w.n);
	}
	return true;
}

static void forward_release(struct forward_run *r)
{
	for (uint32_t i = 0; r->t && i <= r->loaded.program[0]->nexternal; i++)
		free(r->t[i]);
	packed_release(&r->packed);
	emit_unload(&r->loaded);
	arena_release(&r->a);
}

static int64_t fill_inputs(struct forward_run *r, const struct pack_batch *b)
{
	int32_t *tok = external(r, "tok"), *pos = external(r, "pos"), *lo = external(r, "lo");
	int32_t *hi = external(r, "hi"), *out = external(r, "out");
	int64_t nout = 0;
	for (uint32_t i = 0; i < b->nused; i++) {
		tok[i] = (int32_t)b->token[i];
		pos[i] = (int32_t)b->position[i];
		lo[i] = (int32_t)b->lo[i];
		hi[i] = (int32_t)i + 1;
		if (b->weight[i] > 0)
			out[nout++] = (int32_t)i;
	}
	return nout;
}

static void compare_logits(const char *which)
{
	struct vectors v;
	struct forward_run r = {0};
	struct err e;
	struct pack_batch *batch;
	size_t nbatch;
	if (!vectors_open(&v, which))
		return;
	int64_t rows = (int64_t)v.table.ntoken;
	uint32_t *record = arena_array(&v.a, uint32_t, v.table.nrecord);
	for (uint32_t i = 0; i < v.table.nrecord; i++)
		record[i] = i;
	if (!pack_rows(
		    &v.a, &v.table, record, v.table.nrecord, (uint32_t)rows, &batch, &nbatch, &e) ||
		!forward_open(&r, &v, rows, &e)) {
		FAIL("%s: %s", which, e.msg);
	} else {
		struct pool *pool = pool_new(1);
		const struct stored *want = find(&v, "", "logits");
		int64_t dim[] = {batch->nused, fill_inputs(&r, batch)};
		void *scratch = xaligned(program_scratch_bytes(r.loaded.program[0]));
		program_run(r.loaded.program[0], pool, r.t, dim, scratch);
		CHECK_INT(dim[1] * v.state.config.vocab, want->bytes / sizeof(float));
		compare(which, "logits", external(&r, "logits"),
			(const float *)(const void *)want->data, want->bytes / sizeof(float));
		free(scratch);
		pool_free(pool);
	}
	forward_release(&r);
	vectors_release(&v);
}

TEST(logits_are_pytorchs)
{
	for (size_t i = 0; i < NELEM(cases); i++)
		compare_logits(cases[i]);
}

/* ---- what PyTorch cannot say ---- */

static double *leaf_of(struct arena *a, const struct trainer *t, const char *name, const char *tail)
{
	struct strbuf bytes;
	char full[128];
	strbuf_init(&bytes);
	snprintf(full, sizeof(full), "%s%s", name, tail);
	trainer_weight(t, full, &bytes);
	double *x = arena_array(a, double, bytes.n / sizeof(float));
	for (size_t i = 0; i < bytes.n / sizeof(float); i++) {
		float f;
		memcpy(&f, bytes.s + i * sizeof(f), sizeof(f));
		x[i] = (double)f;
	}
	strbuf_release(&bytes);
	return x;
}

/* Solves x a' = b for x (rows, n), in place of b; a (n, n) is spoilt. False: a is singular. */
static bool solve(double *a, double *b, size_t rows, size_t n)
{
	for (size_t c = 0; c < n; c++) {
		size_t best = c;
		for (size_t r = c + 1; r < n; r++)
			if (fabs(a[r * n + c]) > fabs(a[best * n + c]))
				best = r;
		if (fabs(a[best * n + c]) < 1e-6)
			return false;
		for (size_t k = 0; k < n; k++) {
			double swap = a[c * n + k];
			a[c * n + k] = a[best * n + k];
			a[best * n + k] = swap;
		}
		for (size_t i = 0; i < rows; i++) {
			double swap = b[i * n + c];
			b[i * n + c] = b[i * n + best];
			b[i * n + best] = swap;
		}
		for (size_t r = 0; r < n; r++) {
			double by = a[r * n + c] / a[c * n + c];
			if (r == c)
				continue;
			for (size_t k = 0; k < n; k++)
				a[r * n + k] -= by * a[c * n + k];
			for (size_t i = 0; i < rows; i++)
				b[i * n + r] -= by * b[i * n + c];
		}
	}
	for (size_t c = 0; c < n; c++)
		for (size_t i = 0; i < rows; i++)
			b[i * n + c] /= a[c * n + c];
	return true;
}

/* With B = 0 the gradient of B is alpha / rank * G A', G that of the matrix. With as many ranks as
 * inputs, A can be inverted, so the additions reach whatever direction the matrix itself would
 * take. */
TEST(additions_of_full_rank_reach_every_direction)
{
	struct vectors v;
	struct arena a = {0};
	int checked = 0;
	REQUIRE(vectors_open(&v, "lora-embeddings"));
	struct trainer_options o = options_of(&v);
	v.lora = (struct train_lora){v.state.config.width, 3.0 * v.state.config.width, 5};
	struct trainer *low = trainer_of(&o);
	o.lora = NULL;
	struct trainer *full = trainer_of(&o);
	REQUIRE(low && full);
	add_step(low, &v, 0);
	add_step(full, &v, 0);
	for (size_t i = 0; i < v.state.ntensor; i++) {
		const struct state_tensor *s = &v.state.tensor[i];
		char grad[128];
		struct unit u;
		if (!unit_of_tensor(s->name, &u) || !trainer_changes(low, s->name) ||
			s->dims[1] != (size_t)v.state.config.width)
			continue;
		snprintf(grad, sizeof(grad), "g.%s", s->name);
		double *down = leaf_of(&a, low, s->name, ".lora-a"),
		       *got = leaf_of(&a, low, grad, ".lora-b");
		double *want = leaf_of(&a, full, grad, ""), scale = 0;
		size_t n = s->dims[0] * s->dims[1];
		CHECK(solve(down, got, s->dims[0], s->dims[1]));
		for (size_t k = 0; k < n; k++)
			scale = fmax(scale, fabs(want[k]));
		for (size_t k = 0; k < n; k++, checked++)
			if (fabs(got[k] / 3 - want[k]) > 1e-4 * scale)
				FAIL("%s[%zu]: %g, the matrix has %g", s->name, k, got[k] / 3,
					want[k]);
	}
	CHECK(checked > 300);
	trainer_free(low);
	trainer_free(full);
	arena_release(&a);
	vectors_release(&v);
}

/* What a store would hold behind a round. */
struct merged {
	struct vectors *v;
	struct state state;
	struct buf *bytes;
};

static bool read_merged(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e)
{
	const struct merged *m = ctx;
	for (size_t i = 0; i < m->state.ntensor; i++)
		if (t->name == m->state.tensor[i].name) {
			*out = m->bytes[i];
			return true;
		}
	return err_set(e, ERR_IO, "no tensor '%s'", t->name);
}

TEST(merged_additions_evaluate_as_they_did_apart)
{
	struct vectors v;
	REQUIRE(vectors_open(&v, "lora-embeddings"));
	struct trainer_options o = options_of(&v);
	struct trainer *t = trainer_of(&o);
	REQUIRE(t);
	double before = add_step(t, &v, 0);
	for (int64_t step = 0; step < v.rate.nsteps; step++) {
		if (step)
			add_step(t, &v, step);
		update_step(t, &v, step);
	}
	double apart = add_step(t, &v, 0);
	trainer_end(t);
	struct merged m = {
		.v = &v, .state = v.state, .bytes = arena_array(&v.a, struct buf, v.state.ntensor)};
	for (size_t i = 0; i < v.state.ntensor; i++) {
		struct strbuf bytes;
		strbuf_init(&bytes);
		trainer_weight(t, v.state.tensor[i].name, &bytes);
		m.bytes[i] = (struct buf){arena_copy(&v.a, bytes.s, bytes.n), bytes.n};
		strbuf_release(&bytes);
	}
	o.weights = (struct weight_source){&m.state, read_merged, &m};
	o.lora = NULL;
	struct trainer *whole = trainer_of(&o);
	REQUIRE(whole);
	double together = add_step(whole, &v, 0);
	CHECK(before - apart > 0.01); /* they had learnt something */
	if (fabs(apart - together) > 2e-6 * apart)
		FAIL("loss %.9g with additions apart, %.9g merged", apart, together);
	trainer_free(t);
	trainer_free(whole);
	vectors_release(&v);
}

static struct digest digest_of_weights(const struct trainer *t, const struct vectors *v)
{
	struct strbuf all;
	strbuf_init(&all);
	for (size_t i = 0; i < v->state.ntensor; i++)
		if (trainer_changes(t, v->state.tensor[i].name))
			trainer_weight(t, v->state.tensor[i].name, &all);
	struct digest d = digest_of(all.s, all.n);
	strbuf_release(&all);
	return d;
}

/* The weights behind all steps, digested; `stop`: a new trainer goes on from a checkpoint there; `look`: between every
 * step's gradients and its update. */
static struct digest bits_of(struct vectors *v, int nthreads, int64_t stop, bool look)
{
	struct arena a = {0};
	struct strbuf all;
	struct buf *part;
	size_t npart;
	struct trainer_options o = options_of(v);
	o.nthreads = nthreads;
	o.looks = look;
	struct trainer *t = trainer_of(&o);
	strbuf_init(&all);
	for (int64_t step = 0; t && step < v->rate.nsteps; step++) {
		if (step == stop) {
			trainer_parts(t, &a, &part, &npart);
			for (size_t i = 0; i < npart; i++)
				strbuf_add(&all, part[i].p, part[i].n);
			trainer_free(t);
			t = trainer_of(&o);
			CHECK(t && trainer_restore(t, strbuf_buf(&all)));
			strbuf_clear(&all);
		}
		add_step(t, v, step);
		if (look)
			go_over(t, v, step + 1, trainer_look);
		update_step(t, v, step);
	}
	trainer_end(t);
	struct digest d = digest_of_weights(t, v);
	trainer_free(t);
	strbuf_release(&all);
	arena_release(&a);
	return d;
}

TEST(the_same_bits_with_any_threads_and_after_a_checkpoint)
{
	struct vectors v;
	REQUIRE(vectors_open(&v, "lora-distill"));
	CHECK(digest_equal(bits_of(&v, 1, -1, false), bits_of(&v, 2, 4, false)));
	vectors_release(&v);
}

TEST(a_look_changes_nothing)
{
	static const char *const name[] = {"lora-distill", "lora-embeddings"};
	for (size_t i = 0; i < NELEM(name); i++) {
		struct vectors v;
		REQUIRE(vectors_open(&v, name[i]));
		CHECK(digest_equal(bits_of(&v, 1, -1, false), bits_of(&v, 2, 4, true)));
		vectors_release(&v);
	}
}

/* What is kept is the weights' own, through a checkpoint too; a look sees the loss that a step sees, of a parent
 * nothing. */
TEST(what_is_kept_comes_back)
{
	struct arena a = {0};
	struct vectors v;
	struct buf *part;
	struct strbuf all;
	size_t npart;
	REQUIRE(vectors_open(&v, "lora-embeddings"));
	struct trainer_options o = options_of(&v);
	o.looks = true;
	struct trainer *t = trainer_of(&o), *other = trainer_of(&o);
	REQUIRE(t && other);
	for (int64_t step = 0; step < 6; step++) {
		if (step == 3)
			trainer_keep(t);
		double seen = go_over(t, &v, step, trainer_look), loss = add_step(t, &v, step);
		CHECK(fabs(seen - loss) <= 1e-6 * loss);
		update_step(t, &v, step);
	}
	strbuf_init(&all);
	trainer_parts(t, &a, &part, &npart);
	for (size_t i = 0; i < npart; i++)
		strbuf_add(&all, part[i].p, part[i].n);
	CHECK(trainer_restore(other, strbuf_buf(&all)));
	strbuf_release(&all);
	double later = go_over(other, &v, 3, trainer_look);
	trainer_return(other);
	double kept = go_over(other, &v, 3, trainer_look);
	trainer_return(t);
	CHECK(kept == go_over(t, &v, 3, trainer_look) && later != kept);
	struct trainer *fresh = trainer_of(&o);
	REQUIRE(fresh);
	for (int64_t step = 0; step < 3; step++) {
		add_step(fresh, &v, step);
		update_step(fresh, &v, step);
	}
	CHECK(kept == go_over(fresh, &v, 3, trainer_look));
	trainer_end(t);
	trainer_end(fresh);
	CHECK(digest_equal(digest_of_weights(t, &v), digest_of_weights(fresh, &v)));
	trainer_free(t);
	trainer_free(other);
	trainer_free(fresh);
	vectors_release(&v);
	arena_release(&a);
}
