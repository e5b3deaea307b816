#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

struct memory {
	const char *name; /* of the leaf or output */
	void *p;
	size_t bytes;
	int node;         /* in grad's plan, -1: only in update's */
};

struct code {
	const struct graph *plan;
	const struct program *prog;
	void **t;
	void *slab;
};

struct trainer {
	struct arena arena;
	struct trainer_options o;
	struct train train;
	struct loaded loaded;
	struct pool *pool;
	struct code grad, update, merge; /* merge: with low-rank additions */
	struct memory *memory;
	size_t nmemory;
	void *scratch, *unread;
};

static void *zeroed(size_t bytes)
{
	return memset(xaligned(bytes), 0, bytes);
}

static struct memory *find(const struct trainer *t, const char *name)
{
	for (size_t i = 0; i < t->nmemory; i++)
		if (!strcmp(t->memory[i].name, name))
			return &t->memory[i];
	return NULL;
}

/* Memory of every external of a program; what two programs name alike is one memory. */
static void bind(struct trainer *t, struct code *c)
{
	c->slab = zeroed(c->prog->slab_bytes);
	c->t = arena_array(&t->arena, void *, c->prog->nexternal + 1);
	c->t[0] = c->slab;
	for (uint32_t i = 0; i < c->prog->nexternal; i++) {
		const struct program_external *x = &c->prog->external[i];
		struct memory *m = find(t, x->name);
		if (!m) {
			m = arena_push(&t->arena, t->memory, t->nmemory);
			*m = (struct memory){x->name, zeroed(x->bytes), x->bytes,
				graph_find_leaf(t->grad.plan, x->name)};
		}
		if (m->bytes != x->bytes)
			BUG("'%s' has %zu bytes in one program, %llu in the other", x->name, m->bytes,
				(unsigned long long)x->bytes);
		c->t[1 + i] = m->p;
	}
}

/* A master has one memory, so the update takes the layout that the gradient's products want. */
static struct graph *same_layouts(struct graph *update, const struct graph *grad)
{
	for (int i = 0; i < update->nnode; i++) {
		int leaf = update->node[i].name ? graph_find_leaf(grad, update->node[i].name) : -1;
		if (leaf >= 0)
			update->node[i].layout = grad->node[leaf].layout;
	}
	return update;
}

static bool load_code(struct trainer *t, struct err *e)
{
	t->train = (struct train){.state = t->o.weights.state, .numerics = t->o.numerics, .max_rows = t->o.rows,
		.max_out = t->o.rows, .trains = t->o.trains, .ctx = t->o.ctx, .beta1 = t->o.beta1,
		.beta2 = t->o.beta2, .eps = t->o.eps, .decay = t->o.decay,
		.lora = t->o.lora, .distill = t->o.distill};
	t->grad.plan = graph_plan(&t->arena, train_grad(&t->arena, &t->train));
	t->update.plan = graph_plan(&t->arena,
		same_layouts((t->o.behind ? t->o.behind : train_update)(&t->arena, &t->train), t->grad.plan));
	struct graph *merge = train_merge(&t->arena, &t->train);
	if (merge)
		t->merge.plan = graph_plan(&t->arena, same_layouts(merge, t->grad.plan));
	const struct graph *plans[] = {t->grad.plan, t->update.plan, t->merge.plan};
	if (!emit_native(plans, t->merge.plan ? 3 : 2, &t->loaded, e))
		return false;
	t->grad.prog = t->loaded.program[0];
	t->update.prog = t->loaded.program[1];
	t->merge.prog = t->merge.plan ? t->loaded.program[2] : NULL;
	return true;
}

static void draw(const struct trainer *t, int node, struct strbuf *out)
{
	const struct graph *g = t->grad.plan;
	const struct node *n = &g->node[node];
	int64_t elements = layout_elements(g, &n->type, (struct layout){0});
	float *w = xcalloc((size_t)elements, sizeof(*w));
	if (train_lora_draw(&t->train, n->name, w, (size_t)elements))
		pack_weight(g, node, MODEL_F32, w, out);
	free(w);
}

static bool load_weight(struct trainer *t, int node, struct err *e)
{
	const struct graph *g = t->grad.plan;
	const char *name = g->node[node].name, *theirs = train_parent_name(name);
	struct weight_source from = t->o.weights;
	struct memory *m = find(t, name);
	struct strbuf bytes;
	bool ok = true;
	strbuf_init(&bytes);
	if (theirs)
		from.state = t->o.distill->parent;
	if (train_lora_part(name))
		draw(t, node, &bytes);
	else
		ok = weight_pack(&from, g, node, theirs ? theirs : name, &bytes, e);
	if (ok)
		memcpy(m->p, bytes.s, bytes.n);
	strbuf_release(&bytes);
	return ok;
}

bool trainer_open(struct trainer **out, const struct trainer_options *o, struct err *e)
{
	struct trainer *t = xcalloc(1, sizeof(*t));
	*out = t;
	t->o = *o;
	t->pool = pool_new(o->nthreads);
	if (!t->pool)
		return err_set(e, ERR_IO, "unable to start %d threads", o->nthreads);
	if (!load_code(t, e))
		return false;
	bind(t, &t->grad);
	bind(t, &t->update);
	if (t->merge.prog)
		bind(t, &t->merge);
	for (int i = 0; i < t->grad.plan->nnode; i++)
		if (t->grad.plan->node[i].op == OP_PARAM && !load_weight(t, i, e))
			return false;
	t->unread = zeroed((size_t)o->rows * sizeof(int32_t));
	const struct program *prog[] = {t->grad.prog, t->update.prog, t->merge.prog};
	size_t most = 0;
	for (size_t i = 0; i < NELEM(prog) && prog[i]; i++)
		if (program_scratch_bytes(prog[i]) > most)
			most = program_scratch_bytes(prog[i]);
	t->scratch = zeroed(most * (size_t)o->nthreads);
	return true;
}

void trainer_free(struct trainer *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->nmemory; i++)
		free(t->memory[i].p);
	free(t->grad.slab);
	free(t->update.slab);
	free(t->merge.slab);
	free(t->scratch);
	free(t->unread);
	emit_unload(&t->loaded);
	pool_free(t->pool);
	arena_release(&t->arena);
	free(t);
}

/* A model without attention has no use for positions: what nobody reads goes to memory for nobody. */
static void *input(struct trainer *t, const char *name)
{
	struct memory *m = find(t, name);
	return m ? m->p : t->unread;
}

void trainer_add(struct trainer *t, const struct pack_batch *b, double total_weight, double *loss)
{
	int32_t *tok = input(t, "tok"), *pos = input(t, "pos"), *lo = input(t, "lo"), *hi = input(t, "hi");
	int32_t *out = input(t, "out"), *target = input(t, "target");
	float *share = input(t, "share");
	int64_t dim[2] = {b->nused, 0}; /* R, O */
	for (uint32_t i = 0; i < b->nused; i++) {
		tok[i] = (int32_t)b->token[i];
		pos[i] = (int32_t)b->position[i];
		lo[i] = (int32_t)b->lo[i];
		hi[i] = (int32_t)i + 1;
		if (b->target[i] < 0 || b->weight[i] == 0)
			continue;
		out[dim[1]] = (int32_t)i;
		target[dim[1]] = b->target[i];
		share[dim[1]++] = (float)((double)b->weight[i] / total_weight);
	}
	if (!dim[1])
		return;
	program_run(t->grad.prog, t->pool, t->grad.t, dim, t->scratch);
	*loss += (double)*(float *)input(t, "loss");
}

double trainer_update(struct trainer *t, int64_t step, double rate, double clip)
{
	*(float *)input(t, "rate") = (float)rate;
	*(float *)input(t, "c1") = (float)(1 / (1 - pow(t->o.beta1, (double)step)));
	*(float *)input(t, "c2") = (float)(1 / (1 - pow(t->o.beta2, (double)step)));
	*(float *)input(t, "clip") = clip > 0 ? (float)clip : HUGE_VALF;
	program_run(t->update.prog, t->pool, t->update.t, NULL, t->scratch);
	return (double)*(float *)input(t, "grad_norm");
}

void trainer_finish(struct trainer *t)
{
	program_run(t->update.prog, t->pool, t->update.t, NULL, t->scratch);
}

float trainer_output(const struct trainer *t, const char *name)
{
	return *(const float *)find(t, name)->p;
}

void trainer_merge(struct trainer *t)
{
	if (t->merge.prog)
		program_run(t->merge.prog, t->pool, t->merge.t, NULL, t->scratch);
}

bool trainer_changes(const struct trainer *t, const char *name)
{
	return train_changes(&t->train, name);
}

void trainer_weight(const struct trainer *t, const char *name, struct strbuf *out)
{
	const struct memory *m = find(t, name);
	const struct graph *g = t->grad.plan;
	if (!m || m->node < 0)
		BUG("no leaf '%s' in training", name);
	const struct node *n = &g->node[m->node];
	int64_t index[IR_MAX_AXES] = {0};
	for (;;) {
		const float *p = m->p;
		strbuf_add(out, p + layout_offset(g, &n->type, n->layout, index), sizeof(*p));
		int a = n->type.naxis - 1;
		while (a >= 0 && ++index[a] == g->axis[n->type.axis[a]].extent)
			index[a--] = 0;
		if (a < 0)
			return;
	}
}

void trainer_parts(struct trainer *t, struct arena *a, struct buf **part, size_t *npart)
{
	*part = NULL;
	*npart = 0;
	for (uint32_t i = 0; i < t->update.prog->nexternal; i++) {
		const struct program_external *x = &t->update.prog->external[i];
		/* Gradients are 0 between steps; where nothing is updated they are all there is. */
		bool gradient = !strncmp(x->name, "g.", 2);
		if (x->kind == EXTERNAL_STATE && gradient == (t->o.behind != NULL))
			*arena_push(a, *part, *npart) = (struct buf){t->update.t[1 + i], x->bytes};
	}
}

bool trainer_restore(struct trainer *t, struct buf payload)
{
	struct arena a = {0};
	struct buf *part;
	size_t npart, at = 0, total = 0;
	trainer_parts(t, &a, &part, &npart);
	for (size_t i = 0; i < npart; i++)
		total += part[i].n;
	for (size_t i = 0; i < npart && total == payload.n; i++) {
		memcpy((void *)(uintptr_t)part[i].p, (const char *)payload.p + at, part[i].n);
		at += part[i].n;
	}
	arena_release(&a);
	return total == payload.n;
}
