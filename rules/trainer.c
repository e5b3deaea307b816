#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "effort.h"
#include "region_key.h"

/* What a leaf or an output of some program is bound to; one of a name, whichever programs have it. */
struct memory {
	const char *name;
	const struct graph *plan; /* that had it first */
	int node;
	size_t bytes;
	void *p;
};

/* A program for any number of places that differ in nothing but the layer's number. */
struct piece {
	struct buf text; /* of the graph, the number left out */
	const struct graph *plan;
	int number;      /* of the device's program */
	int layer;       /* that it was made for; -1: of no layer */
};

/* One such place; t[] without what changes from run to run. */
struct use {
	const struct piece *piece;
	int layer;
	void **t;
};

struct step_half {
	enum half half;
	int layer;
	struct use forward, back;
};

/* A micro-batch as the programs take it. */
struct rows {
	int32_t *tok, *pos, *lo, *hi; /* of each row */
	int32_t *out, *target;        /* of each that has a target */
	float *share;
};

/* Memory of the trainer is the device's. */
struct trainer {
	struct arena arena;
	struct trainer_options o;
	struct train train;
	struct device *device;
	struct piece **piece;
	size_t npiece;
	struct memory *memory;
	size_t nmemory;
	struct use embed, embed_back, head, look, update, merge, parent_embed;
	struct step_half *half, *parent_half;
	size_t nhalf, nparent;
	size_t first_back;  /* the lowest half that a gradient passes */
	bool embed_trains;
	float **residual;   /* before each half and behind the last: [nhalf + 1] */
	float **attended;   /* [nhalf]: what attention gave, NULL: the half has none; one below first_back */
	float *gradient[2], *parent_residual[2]; /* of the row that is being walked, and the next */
	int32_t *out, *target;
	float *share;
	struct rows host;   /* of the micro-batch, before they go to the device */
	void **kept;        /* by external of "update": a copy of what trains; else NULL */
};

/* Bound anew in every run. */
static const char *const flow[] = {"x", "y", TRAIN_ATTENDED, "dx", "dy", "parent.x", "out", "target", "share"};

static bool flows(const char *name)
{
	for (size_t i = 0; i < NELEM(flow); i++)
		if (!strcmp(flow[i], name))
			return true;
	return false;
}

static struct memory *find(const struct trainer *t, const char *name)
{
	for (size_t i = 0; i < t->nmemory; i++)
		if (!strcmp(t->memory[i].name, name))
			return &t->memory[i];
	return NULL;
}

/* "g.blk.FROM.attn.q" -> "g.blk.TO.attn.q"; TO -1: a star. */
static void renumber(struct strbuf *out, const char *text, int from, int to)
{
	char was[32];
	size_t n = (size_t)snprintf(was, sizeof(was), "blk.%d.", from);
	for (const char *at; from >= 0 && (at = strstr(text, was)); text = at + n) {
		strbuf_add(out, text, (size_t)(at - text));
		if (to < 0)
			strbuf_adds(out, "blk.*.");
		else
			strbuf_addf(out, "blk.%d.", to);
	}
	strbuf_adds(out, text);
}

static const char *name_here(struct trainer *t, const struct use *u, const char *name)
{
	struct strbuf s;
	strbuf_init(&s);
	renumber(&s, name, u->piece->layer, u->layer);
	const char *here = arena_strdup(&t->arena, s.s);
	strbuf_release(&s);
	return here;
}

/* ---- planning: pieces, and what memory they want ---- */

/* What other programs read as well has the layout in which the first wants it. */
static void take_layouts(const struct trainer *t, struct graph *g)
{
	for (int i = 0; i < g->nnode; i++) {
		const struct memory *m = g->node[i].name ? find(t, g->node[i].name) : NULL;
		if (m)
			g->node[i].layout = m->plan->node[m->node].layout;
	}
}

static void want_memory(struct trainer *t, const struct use *u, const char *name, int node)
{
	const struct graph *g = u->piece->plan;
	struct layout l = g->node[node].layout;
	if (flows(name))
		return;
	name = name_here(t, u, name);
	struct memory *m = find(t, name);
	size_t bytes = (size_t)tensor_bytes(g, &g->node[node]);
	if (!m) {
		m = arena_push(&t->arena, t->memory, t->nmemory);
		*m = (struct memory){name, g, node, bytes, NULL};
	}
	struct layout was = m->plan->node[m->node].layout;
	if (m->bytes != bytes || was.kind != l.kind || was.first != l.first || was.last != l.last)
		BUG("'%s' lies in two ways", name);
}

static struct piece *piece_of(struct trainer *t, struct graph *g, int layer)
{
	struct strbuf printed, text;
	strbuf_init(&printed);
	strbuf_init(&text);
	graph_print(&printed, g);
	renumber(&text, printed.s, layer, -1);
	strbuf_release(&printed);
	struct piece *p = NULL;
	for (size_t i = 0; i < t->npiece && !p; i++)
		if (t->piece[i]->text.n == text.n && !memcmp(t->piece[i]->text.p, text.s, text.n))
			p = t->piece[i];
	if (!p) {
		p = arena_new(&t->arena, struct piece);
		*p = (struct piece){.text = {arena_copy(&t->arena, text.s, text.n + 1), text.n},
			.plan = device_plan(t->o.device, &t->arena, g), .number = (int)t->npiece, .layer = layer};
		*arena_push(&t->arena, t->piece, t->npiece) = p;
	}
	strbuf_release(&text);
	return p;
}

static struct use use_of(struct trainer *t, struct graph *g, int layer)
{
	take_layouts(t, g);
	struct use u = {.piece = piece_of(t, g, layer), .layer = layer};
	const struct graph *plan = u.piece->plan;
	for (int i = 0; i < plan->nnode; i++)
		if (plan->node[i].name)
			want_memory(t, &u, plan->node[i].name, i);
	for (int i = 0; i < plan->noutput; i++)
		want_memory(t, &u, plan->output[i].name, plan->output[i].node);
	return u;
}

static struct step_half *halves_of(struct arena *a, const struct state *s, size_t *n)
{
	struct step_half *h = NULL;
	*n = 0;
	for (int i = 0; i < s->config.layers; i++) {
		if (s->has_attn[i])
			*arena_push(a, h, *n) = (struct step_half){.half = HALF_ATTN, .layer = i};
		if (s->has_mlp[i])
			*arena_push(a, h, *n) = (struct step_half){.half = HALF_MLP, .layer = i};
	}
	return h;
}

/* Whether a gradient of its own is wanted of a half. */
static bool half_trains(const struct graph *forward, const struct train *t)
{
	for (int i = 0; i < forward->nnode; i++)
		if (forward->node[i].op == OP_PARAM && train_moves(t, forward->node[i].name))
			return true;
	return false;
}

static void plan_parent(struct trainer *t)
{
	struct arena *a = &t->arena;
	t->parent_half = halves_of(a, t->o.distill->parent, &t->nparent);
	t->parent_embed = use_of(t, train_parent_embed(a, &t->train), -1);
	for (size_t i = 0; i < t->nparent; i++) {
		struct step_half *h = &t->parent_half[i];
		h->forward = use_of(t, train_parent_half(a, &t->train, h->half, h->layer), h->layer);
	}
}

static void plan(struct trainer *t)
{
	struct arena *a = &t->arena;
	const struct trainer_options *o = &t->o;
	t->train = (struct train){.state = o->weights.state, .numerics = o->numerics, .max_rows = o->rows,
		.trains = o->trains, .ctx = o->ctx, .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps,
		.decay = o->decay, .lora = o->lora, .distill = o->distill};
	t->half = halves_of(a, o->weights.state, &t->nhalf);
	t->embed_trains = train_moves(&t->train, "embed");
	t->first_back = t->embed_trains ? 0 : t->nhalf;
	/* A tied embedding lies as the logits want it, weights as the walk forward does. A look reads it in panels alone; the
	 * head wants rows too, for gradients, and copies. */
	if (o->looks)
		t->look = use_of(t, train_look(a, &t->train), -1);
	t->head = use_of(t, train_head(a, &t->train), -1);
	t->embed = use_of(t, train_embed(a, &t->train), -1);
	if (t->embed_trains)
		t->embed_back = use_of(t, train_embed_back(a, &t->train), -1);
	for (size_t i = 0; i < t->nhalf; i++) {
		struct step_half *h = &t->half[i];
		struct graph *g = train_half(a, &t->train, h->half, h->layer);
		if (i < t->first_back && half_trains(g, &t->train))
			t->first_back = i;
		h->forward = use_of(t, g, h->layer);
		if (i >= t->first_back)
			h->back = use_of(t, train_half_back(a, &t->train, h->half, h->layer), h->layer);
	}
	if (o->distill)
		plan_parent(t);
	struct graph *update = (o->behind ? o->behind : train_update)(a, &t->train), *merge = o->lora ? train_merge(a, &t->train) : NULL;
	t->update = use_of(t, update, -1);
	if (merge)
		t->merge = use_of(t, merge, -1);
}

static const struct graph **plans_of(struct trainer *t)
{
	const struct graph **plan = arena_array(&t->arena, const struct graph *, t->npiece);
	for (size_t i = 0; i < t->npiece; i++)
		plan[i] = t->piece[i]->plan;
	return plan;
}

/* Below the first half that a gradient passes, two take turns. */
static bool residual_is_own(const struct trainer *t, size_t i)
{
	return i < 2 || i >= t->first_back;
}

static size_t residual_bytes(const struct trainer *t)
{
	return (size_t)(t->o.rows * t->o.weights.state->config.width) * sizeof(float);
}

/* How often the loss is taken of a micro-batch, and of how many rows. */
static double chunks(double outs)
{
	return ceil(outs / TRAIN_CHUNK);
}

static double effort_of(const struct use *u, const struct effort_sizes *s)
{
	return u->piece ? graph_effort(u->piece->plan, s) : 0;
}

static void sum_effort(const struct trainer *t, const struct trainer_load *l, struct trainer_needs *out)
{
	double n = l->outs > 0 ? chunks(l->outs) : 0;
	struct effort_sizes s = {l->rows, n > 0 ? l->outs / n : 0, l->attended};
	out->add = effort_of(&t->embed, &s) + n * effort_of(&t->head, &s) + effort_of(&t->embed_back, &s) +
		effort_of(&t->parent_embed, &s);
	for (size_t i = 0; i < t->nhalf; i++)
		out->add += effort_of(&t->half[i].forward, &s) + effort_of(&t->half[i].back, &s);
	for (size_t i = 0; i < t->nparent; i++)
		out->add += effort_of(&t->parent_half[i].forward, &s);
	out->update = effort_of(&t->update, &s);
}

/* Of what attention gives in a half; 0: it has none. */
static size_t attended_bytes(const struct trainer *t, size_t i)
{
	const struct graph *g = t->half[i].forward.piece->plan;
	for (int k = 0; k < g->noutput; k++)
		if (!strcmp(g->output[k].name, TRAIN_ATTENDED))
			return (size_t)tensor_bytes(g, &g->node[g->output[k].node]);
	return 0;
}

/* Whether nobody else has its memory. */
static bool attended_is_own(const struct trainer *t, size_t i)
{
	if (i >= t->first_back)
		return true;
	for (size_t k = 0; k < i; k++)
		if (attended_bytes(t, k))
			return false;
	return true;
}

static uint64_t buffer_bytes(const struct trainer *t)
{
	size_t streams = 2 + (t->o.distill ? 2 : 0);
	uint64_t attended = 0;
	for (size_t i = 0; i <= t->nhalf; i++)
		streams += residual_is_own(t, i);
	for (size_t i = 0; i < t->nhalf; i++)
		attended += attended_is_own(t, i) ? attended_bytes(t, i) : 0;
	return attended + streams * residual_bytes(t) + (uint64_t)t->o.rows * (2 * sizeof(int32_t) + sizeof(float));
}

/* A master among the states of "update": not its gradient, not its moments. */
static bool is_master(const char *name)
{
	return strncmp(name, "g.", 2) && strncmp(name, "m.", 2) && strncmp(name, "v.", 2);
}

/* What reserve_kept takes. */
static uint64_t kept_bytes(const struct trainer *t)
{
	const struct graph *g = t->update.piece->plan;
	uint64_t sum = 0;
	for (int i = 0; t->o.looks && i < g->nnode; i++)
		if (g->node[i].op == OP_STATE && is_master(g->node[i].name))
			sum += (uint64_t)tensor_bytes(g, &g->node[i]);
	return sum;
}

/* All but the weights on their way to a device. */
static uint64_t memory_bytes(struct trainer *t)
{
	uint64_t sum = buffer_bytes(t) + kept_bytes(t) +
		device_shared_bytes(t->o.device, plans_of(t), (int)t->npiece, t->o.nthreads);
	for (size_t i = 0; i < t->nmemory; i++)
		sum += t->memory[i].bytes;
	return sum;
}

void trainer_foretell(const struct trainer_options *o, const struct trainer_load *l, struct trainer_needs *out)
{
	struct trainer t = {.o = *o};
	plan(&t);
	*out = (struct trainer_needs){.memory_bytes = memory_bytes(&t)};
	for (size_t i = 0; i < t.npiece; i++)
		out->nfunction += region_functions(t.piece[i]->plan);
	sum_effort(&t, l, out);
	arena_release(&t.arena);
}

/* ---- loading ---- */

static void draw(const struct trainer *t, const struct memory *m, struct strbuf *out)
{
	int64_t n = layout_elements(m->plan, &m->plan->node[m->node].type, (struct layout){0});
	float *w = xcalloc((size_t)n, sizeof(*w));
	if (train_lora_draw(&t->train, m->name, w, (size_t)n))
		pack_weight(m->plan, m->node, MODEL_F32, w, out);
	free(w);
}

static bool load_weight(struct trainer *t, const struct memory *m, struct err *e)
{
	const char *theirs = train_parent_name(m->name);
	struct weight_source from = t->o.weights;
	struct strbuf bytes;
	bool ok = true;
	strbuf_init(&bytes);
	if (theirs)
		from.state = t->o.distill->parent;
	if (train_lora_part(m->name))
		draw(t, m, &bytes);
	else
		ok = weight_pack(&from, m->plan, m->node, theirs ? theirs : m->name, &bytes, e);
	if (ok)
		device_write(t->device, m->p, bytes.s, bytes.n);
	strbuf_release(&bytes);
	return ok;
}

static const struct program *program_of(const struct trainer *t, const struct use *u)
{
	return device_program(t->device, u->piece->number);
}

static void bind(struct trainer *t, struct use *u)
{
	if (!u->piece)
		return;
	const struct program *prog = program_of(t, u);
	u->t = arena_array(&t->arena, void *, prog->nexternal + 1);
	for (uint32_t i = 0; i < prog->nexternal; i++)
		if (!flows(prog->external[i].name))
			u->t[1 + i] = find(t, name_here(t, u, prog->external[i].name))->p;
}

static void reserve_rows(struct trainer *t)
{
	struct rows *h = &t->host;
	int32_t **const number[] = {&h->tok, &h->pos, &h->lo, &h->hi, &h->out, &h->target};
	size_t rows = (size_t)t->o.rows;
	for (size_t i = 0; i < NELEM(number); i++)
		*number[i] = arena_array(&t->arena, int32_t, rows);
	h->share = arena_array(&t->arena, float, rows);
	t->out = device_alloc(t->device, rows * sizeof(int32_t));
	t->target = device_alloc(t->device, rows * sizeof(int32_t));
	t->share = device_alloc(t->device, rows * sizeof(float));
}

static void load_attended(struct trainer *t)
{
	float *first = NULL;
	t->attended = arena_array(&t->arena, float *, t->nhalf);
	for (size_t i = 0; i < t->nhalf; i++) {
		size_t bytes = attended_bytes(t, i);
		if (bytes)
			t->attended[i] = attended_is_own(t, i) ? device_alloc(t->device, bytes) : first;
		first = first ? first : t->attended[i];
	}
}

static bool load_memory(struct trainer *t, struct err *e)
{
	for (size_t i = 0; i < t->nmemory; i++) {
		struct memory *m = &t->memory[i];
		m->p = device_alloc(t->device, m->bytes);
		if (m->plan->node[m->node].op == OP_PARAM && !load_weight(t, m, e))
			return false;
	}
	reserve_rows(t);
	t->residual = arena_array(&t->arena, float *, t->nhalf + 1);
	for (size_t i = 0; i <= t->nhalf; i++)
		t->residual[i] = residual_is_own(t, i) ? device_alloc(t->device, residual_bytes(t)) : t->residual[i - 2];
	load_attended(t);
	for (int i = 0; i < 2; i++) {
		t->gradient[i] = device_alloc(t->device, residual_bytes(t));
		t->parent_residual[i] = t->o.distill ? device_alloc(t->device, residual_bytes(t)) : NULL;
	}
	return true;
}

static void reserve_kept(struct trainer *t)
{
	const struct program *prog = program_of(t, &t->update);
	t->kept = arena_array(&t->arena, void *, prog->nexternal);
	for (uint32_t i = 0; t->o.looks && i < prog->nexternal; i++)
		if (prog->external[i].kind == EXTERNAL_STATE && is_master(prog->external[i].name))
			t->kept[i] = device_alloc(t->device, prog->external[i].bytes);
}

bool trainer_open(struct trainer **out, const struct trainer_options *o, struct err *e)
{
	struct trainer *t = xcalloc(1, sizeof(*t));
	*out = t;
	t->o = *o;
	if (!device_open(&t->device, o->device, o->nthreads, e))
		return false;
	plan(t);
	if (!device_has_room(t->device, memory_bytes(t), e) ||
		!device_load(t->device, plans_of(t), (int)t->npiece, e) || !load_memory(t, e))
		return false;
	struct use *single[] = {&t->embed, &t->embed_back, &t->head, &t->look, &t->update, &t->merge, &t->parent_embed};
	for (size_t i = 0; i < NELEM(single); i++)
		bind(t, single[i]);
	for (size_t i = 0; i < t->nhalf; i++) {
		bind(t, &t->half[i].forward);
		bind(t, &t->half[i].back);
	}
	for (size_t i = 0; i < t->nparent; i++)
		bind(t, &t->parent_half[i].forward);
	reserve_kept(t);
	return device_ok(t->device, e);
}

void trainer_free(struct trainer *t)
{
	if (!t)
		return;
	device_free(t->device);
	arena_release(&t->arena);
	free(t);
}

bool trainer_ok(const struct trainer *t, struct err *e)
{
	return device_ok(t->device, e);
}

/* ---- a step ---- */

struct named {
	const char *name;
	const void *p;
};

static void run(struct trainer *t, const struct use *u, int64_t rows, int64_t outs, const struct named *named, size_t n)
{
	const struct program *prog = program_of(t, u);
	int64_t dim[8] = {0};
	for (size_t i = 0; i < n; i++) {
		int at = program_external_find(prog, named[i].name);
		if (at >= 0)
			u->t[1 + at] = (void *)(uintptr_t)named[i].p;
	}
	for (uint32_t i = 0; i < prog->ndim; i++)
		dim[i] = !strcmp(prog->dim[i].name, "R") ? rows : outs;
	device_run(t->device, u->piece->number, u->t, dim);
}

/* A model without attention has no use for positions. */
static void send(struct trainer *t, const char *name, const void *from, size_t bytes)
{
	const struct memory *m = find(t, name);
	if (m)
		device_write(t->device, m->p, from, bytes);
}

/* Returns how many rows have a target. */
static int64_t set_rows(struct trainer *t, const struct pack_batch *b, double total_weight)
{
	struct rows *h = &t->host;
	size_t rows = b->nused * sizeof(int32_t), n = 0;
	for (uint32_t i = 0; i < b->nused; i++) {
		h->tok[i] = (int32_t)b->token[i];
		h->pos[i] = (int32_t)b->position[i];
		h->lo[i] = (int32_t)b->lo[i];
		h->hi[i] = (int32_t)i + 1;
		if (b->target[i] < 0 || b->weight[i] == 0)
			continue;
		h->out[n] = (int32_t)i;
		h->target[n] = b->target[i];
		h->share[n++] = (float)((double)b->weight[i] / total_weight);
	}
	send(t, "tok", h->tok, rows);
	send(t, "pos", h->pos, rows);
	send(t, "lo", h->lo, rows);
	send(t, "hi", h->hi, rows);
	device_write(t->device, t->out, h->out, n * sizeof(*h->out));
	device_write(t->device, t->target, h->target, n * sizeof(*h->target));
	device_write(t->device, t->share, h->share, n * sizeof(*h->share));
	return (int64_t)n;
}

/* The parent's residual stream behind its last half. */
static const float *run_parent(struct trainer *t, int64_t rows)
{
	float *x = t->parent_residual[0], *y = t->parent_residual[1];
	run(t, &t->parent_embed, rows, 0, &(struct named){"y", x}, 1);
	for (size_t i = 0; i < t->nparent; i++) {
		const struct named io[] = {{"x", x}, {"y", y}};
		run(t, &t->parent_half[i].forward, rows, 0, io, NELEM(io));
		float *last = x;
		x = y;
		y = last;
	}
	return x;
}

static void swap_gradients(struct trainer *t)
{
	float *last = t->gradient[0];
	t->gradient[0] = t->gradient[1];
	t->gradient[1] = last;
}

static void walk_forward(struct trainer *t, int64_t rows)
{
	run(t, &t->embed, rows, 0, &(struct named){"y", t->residual[0]}, 1);
	for (size_t i = 0; i < t->nhalf; i++) {
		const struct named io[] = {{"x", t->residual[i]}, {"y", t->residual[i + 1]},
			{TRAIN_ATTENDED, t->attended[i]}};
		run(t, &t->half[i].forward, rows, 0, io, NELEM(io));
	}
}

static int64_t chunk_of(int64_t outs, int64_t at)
{
	return outs - at < TRAIN_CHUNK ? outs - at : TRAIN_CHUNK;
}

void trainer_look(struct trainer *t, const struct pack_batch *b, double total_weight, double *loss)
{
	int64_t outs = set_rows(t, b, total_weight);
	if (!outs)
		return;
	walk_forward(t, b->nused);
	for (int64_t at = 0; at < outs; at += TRAIN_CHUNK) {
		const struct named io[] = {{"x", t->residual[t->nhalf]}, {"out", t->out + at},
			{"target", t->target + at}, {"share", t->share + at}};
		run(t, &t->look, b->nused, chunk_of(outs, at), io, NELEM(io));
		*loss += (double)trainer_output(t, "loss");
	}
}

void trainer_keep(struct trainer *t)
{
	const struct program *prog = program_of(t, &t->update);
	for (uint32_t i = 0; i < prog->nexternal; i++)
		if (t->kept[i])
			device_copy(t->device, t->kept[i], t->update.t[1 + i], prog->external[i].bytes);
}

void trainer_return(struct trainer *t)
{
	const struct program *prog = program_of(t, &t->update);
	for (uint32_t i = 0; i < prog->nexternal; i++)
		if (t->kept[i])
			device_copy(t->device, t->update.t[1 + i], t->kept[i], prog->external[i].bytes);
}

void trainer_add(struct trainer *t, const struct pack_batch *b, double total_weight, double *loss)
{
	int64_t rows = b->nused, outs = set_rows(t, b, total_weight);
	if (!outs)
		return;
	walk_forward(t, rows);
	const float *parent = t->o.distill ? run_parent(t, rows) : NULL;
	device_clear(t->device, t->gradient[0], residual_bytes(t));
	for (int64_t at = 0; at < outs; at += TRAIN_CHUNK) {
		const struct named io[] = {{"x", t->residual[t->nhalf]}, {"dy", t->gradient[0]},
			{"dx", t->gradient[1]}, {"parent.x", parent}, {"out", t->out + at},
			{"target", t->target + at}, {"share", t->share + at}};
		run(t, &t->head, rows, chunk_of(outs, at), io, NELEM(io));
		*loss += (double)trainer_output(t, "loss");
		swap_gradients(t);
	}
	for (size_t i = t->nhalf; i-- > t->first_back;) {
		const struct named io[] = {{"x", t->residual[i]}, {"dy", t->gradient[0]}, {"dx", t->gradient[1]},
			{TRAIN_ATTENDED, t->attended[i]}};
		run(t, &t->half[i].back, rows, 0, io, NELEM(io));
		swap_gradients(t);
	}
	if (t->embed_trains)
		run(t, &t->embed_back, rows, 0, &(struct named){"dy", t->gradient[0]}, 1);
}

static void set_number(struct trainer *t, const char *name, double value)
{
	float number = (float)value;
	device_write(t->device, find(t, name)->p, &number, sizeof(number));
}

double trainer_update(struct trainer *t, int64_t step, double rate, double clip)
{
	set_number(t, "rate", rate);
	set_number(t, "c1", 1 / (1 - pow(t->o.beta1, (double)step)));
	set_number(t, "c2", 1 / (1 - pow(t->o.beta2, (double)step)));
	set_number(t, "clip", clip > 0 ? clip : HUGE_VAL);
	run(t, &t->update, 0, 0, NULL, 0);
	return (double)trainer_output(t, "grad_norm");
}

void trainer_finish(struct trainer *t)
{
	run(t, &t->update, 0, 0, NULL, 0);
}

float trainer_output(const struct trainer *t, const char *name)
{
	float number;
	device_read(t->device, &number, find(t, name)->p, sizeof(number));
	return number;
}

void trainer_end(struct trainer *t)
{
	if (t->merge.piece)
		run(t, &t->merge, 0, 0, NULL, 0);
	for (size_t i = 0; i < t->nmemory; i++)
		if (t->memory[i].plan->node[t->memory[i].node].op != OP_PARAM) {
			device_release(t->device, t->memory[i].p);
			t->memory[i].p = NULL;
		}
	for (size_t i = 0; i <= t->nhalf; i++)
		if (residual_is_own(t, i))
			device_release(t->device, t->residual[i]);
	for (size_t i = 0; i < t->nhalf; i++)
		if (attended_is_own(t, i))
			device_release(t->device, t->attended[i]);
	for (int i = 0; i < 2; i++) {
		device_release(t->device, t->gradient[i]);
		device_release(t->device, t->parent_residual[i]);
	}
	for (uint32_t i = 0; i < program_of(t, &t->update)->nexternal; i++)
		device_release(t->device, t->kept[i]);
}

bool trainer_changes(const struct trainer *t, const char *name)
{
	return train_changes(&t->train, name);
}

void trainer_weight(const struct trainer *t, const char *name, struct strbuf *out)
{
	const struct memory *m = find(t, name);
	if (!m)
		BUG("no leaf '%s' in training", name);
	const struct graph *g = m->plan;
	const struct node *n = &g->node[m->node];
	int64_t index[IR_MAX_AXES] = {0};
	struct arena a = {0};
	const float *p = device_bytes(t->device, &a, m->p, m->bytes);
	for (;;) {
		strbuf_add(out, p + layout_offset(g, &n->type, n->layout, index), sizeof(*p));
		int at = n->type.naxis - 1;
		while (at >= 0 && ++index[at] == g->axis[n->type.axis[at]].extent)
			index[at--] = 0;
		if (at < 0)
			break;
	}
	arena_release(&a);
}

/* What a checkpoint holds, in the device's memory. */
static struct buf *list_parts(const struct trainer *t, struct arena *a, size_t *n)
{
	const struct program *prog = program_of(t, &t->update);
	struct buf *part = NULL;
	*n = 0;
	for (uint32_t i = 0; i < prog->nexternal; i++) {
		const struct program_external *x = &prog->external[i];
		/* Gradients are 0 between steps; where nothing is updated they are all there is. */
		bool gradient = !strncmp(x->name, "g.", 2);
		if (x->kind == EXTERNAL_STATE && gradient == (t->o.behind != NULL))
			*arena_push(a, part, *n) = (struct buf){t->update.t[1 + i], x->bytes};
		if (t->kept[i])
			*arena_push(a, part, *n) = (struct buf){t->kept[i], x->bytes};
	}
	return part;
}

void trainer_parts(struct trainer *t, struct arena *a, struct buf **part, size_t *npart)
{
	*part = list_parts(t, a, npart);
	for (size_t i = 0; i < *npart; i++)
		(*part)[i].p = device_bytes(t->device, a, (*part)[i].p, (*part)[i].n);
}

bool trainer_restore(struct trainer *t, struct buf payload)
{
	struct arena a = {0};
	size_t npart, at = 0, total = 0;
	const struct buf *part = list_parts(t, &a, &npart);
	for (size_t i = 0; i < npart; i++)
		total += part[i].n;
	for (size_t i = 0; i < npart && total == payload.n; i++) {
		device_write(t->device, (void *)(uintptr_t)part[i].p, (const char *)payload.p + at, part[i].n);
		at += part[i].n;
	}
	arena_release(&a);
	return total == payload.n;
}
