/* Programs of the CUDA emitter: a function for each distinct region (region_key.h), and tables of what calls them. */
#include "cuda_dot.h"
#include "cuda_dot_wgmma.h"
#include "cuda_own.h"
#include "cuda_product.h"
#include "heads.h"

#include <stdio.h>
#include <string.h>

#include "layout.h"
#include "region_key.h"

static cuda_region *const emitters[NREGION_KINDS] = {
	[REGION_MAP] = cuda_map,
	[REGION_REDUCE] = cuda_reduce,
	[REGION_DOT] = cuda_dot,
	[REGION_ATTENTION] = cuda_attention,
	[REGION_SCATTER] = cuda_scatter,
	[REGION_QUANTISE] = cuda_quantise,
};

/* A function that is there already. */
struct compiled {
	const char *key, *name;
	int narg, *arg; /* of the key's tensors */
	int64_t shared_bytes, shared_bytes_90, scratch_bytes;
	bool asks;      /* NAME_ask: for what it will read first, before it may begin */
	int64_t items;  /* blocks that have work, where it asks */
	bool splits;    /* attention: its next part has work where NAME_long */
};

struct unit {
	struct arena *arena;
	struct strbuf text;
	struct compiled *compiled;
	int ncompiled;
	bool of_library; /* products are a library's */
	struct cuda_wgmmas wgmma;
};

static void touch(struct cuda_fn *f, int n)
{
	int at = 0;
	while (at < f->ntouched && f->touched[at] < n)
		at++;
	if (at < f->ntouched && f->touched[at] == n)
		return;
	arena_push(f->arena, f->touched, f->ntouched);
	memmove(f->touched + at + 1, f->touched + at, (size_t)(f->ntouched - 1 - at) * sizeof(int));
	f->touched[at] = n;
	/* Inline nodes are evaluated here with all that they need; others end at memory. */
	const struct node *node = &f->g->node[n];
	bool here = node->region < 0 || &f->g->region[node->region] == f->region;
	for (int s = 0; here && s < op_info[node->op].nsrc; s++)
		touch(f, node->src[s]);
}

/* The function NAME, whose arguments have the names that f gave them. */
static void emit_function(struct unit *u, struct cuda_fn *f, const char *head, const struct strbuf *body)
{
	strbuf_addf(&u->text, "\n%s\n{\n", head);
	for (int i = 0; i < f->narg; i++)
		strbuf_addf(&u->text, "\tu8 *const t%d = global(arg[%d]);\n\t(void)t%d;\n", i, i, i);
	strbuf_add(&u->text, body->s, body->n);
	strbuf_adds(&u->text, "}\n");
}

static void add_dims(struct strbuf *out, const struct cuda_fn *f)
{
	for (int i = 0, n = 0; i < f->g->naxis; i++)
		if (f->g->axis[i].dynamic) {
			strbuf_addf(out, "\tconst i64 d%d = dim[%d]; /* %s */\n\t(void)d%d;\n", n, n, f->g->axis[i].name, n);
			n++;
		}
}

static void emit_body(struct unit *u, struct cuda_fn *f, const char *name, int part)
{
	struct strbuf body, head;
	bool one_of_all = graph_has_few_rows(f->g) && !u->of_library;
	strbuf_init(&body);
	strbuf_init(&head);
	f->out = &body;
	for (int i = 0; i < f->region->nnode; i++)
		touch(f, f->region->node[i]);
	if (u->of_library && cuda_is_product(f->g, f->region))
		cuda_behind_products(f);
	else
		emitters[f->region->kind](f, part);
	if (f->scratch_bytes)
		strbuf_addf(&head, "\tu8 *const scratch = global(arg[%d]);\n", f->narg);
	add_dims(&head, f);
	strbuf_adds(&head, "\t(void)arg;\n\t(void)dim;\n\t(void)shared;\n\t(void)block;\n\t(void)blocks;\n\t(void)is_long;\n");
	strbuf_add(&head, body.s, body.n);
	emit_function(u, f, arena_printf(u->arena, "%s void %s_body(u8 *const *arg, const i64 *dim, u8 *shared, int block, int blocks, int is_long)",
		one_of_all ? "STEP" : "DEVICE", name), &head);
	strbuf_addf(&u->text, "KERNEL %s(struct call c)\n{\n\tSHARED;\n\t%s_body(c.t, c.dim, shared, BLOCK, BLOCKS, 1);\n}\n", name, name);
	strbuf_release(&head);
	strbuf_release(&body);
}

static void emit_ask(struct unit *u, struct cuda_fn *f, const char *name)
{
	struct strbuf body;
	strbuf_init(&body);
	f->out = &body;
	cuda_dot_ask(f);
	emit_function(u, f, arena_printf(u->arena, "DEVICE void %s_ask(u8 *const *arg, int block)", name), &body);
	strbuf_release(&body);
}

static void emit_long(struct unit *u, struct cuda_fn *f, const char *name)
{
	struct strbuf body;
	strbuf_init(&body);
	add_dims(&body, f);
	f->out = &body;
	cuda_attention_long(f);
	emit_function(u, f, arena_printf(u->arena, "DEVICE int %s_long(u8 *const *arg, const i64 *dim)", name), &body);
	strbuf_release(&body);
}

static const struct compiled *compile(struct unit *u, const struct graph *g, int region, int part,
	const struct region_key *key)
{
	const char *text = arena_printf(u->arena, "%d %s %p", part, key->text, (const void *)g);
	for (int i = 0; i < u->ncompiled; i++)
		if (!strcmp(u->compiled[i].key, text))
			return &u->compiled[i];
	struct cuda_fn f = {.arena = u->arena, .g = g, .region = &g->region[region], .wgmma = &u->wgmma};
	struct compiled c = {.key = text,
		.name = arena_printf(u->arena, "k%d_%s", u->ncompiled, region_kind_name[f.region->kind])};
	emit_body(u, &f, c.name, part);
	c.asks = graph_has_few_rows(g) && !u->of_library && cuda_dot_asks(g, f.region);
	if (c.asks) {
		c.items = cuda_dot_items(&f);
		emit_ask(u, &f, c.name);
	}
	c.splits = !part && cuda_attention_splits(g, f.region);
	if (c.splits)
		emit_long(u, &f, c.name);
	if (f.narg + (f.scratch_bytes > 0) > PROGRAM_MAX_ARGS)
		BUG("kernel %s needs more than %d tensors", c.name, PROGRAM_MAX_ARGS);
	c.narg = f.narg;
	c.arg = arena_array(u->arena, int, f.narg);
	for (int i = 0; i < f.narg; i++)
		c.arg[i] = region_key_tensor(key, f.arg_node[i], c.name);
	c.shared_bytes = f.shared_bytes;
	c.shared_bytes_90 = f.shared_bytes_90 ? f.shared_bytes_90 : f.shared_bytes;
	c.scratch_bytes = f.scratch_bytes;
	*arena_push(u->arena, u->compiled, u->ncompiled) = c;
	return &u->compiled[u->ncompiled - 1];
}

/* ---- tables ---- */

/* A kernel's turn where one does what all do. */
struct turn {
	/* It must not run beside those since the last that waited; or has no turn unless some row has many slots. Where blocks have no norms of
	 * their own (cuda_own.h), and where they have. */
	enum waits { BESIDE, WAITS, WAITS_IF_LONG } waits[2];
	bool alone; /* each block does all of it, where they have */
	int own;    /* which of its arguments is in a block's own memory there; -1: none */
	bool asks, splits;
	int64_t items; /* struct compiled */
	uint32_t arg;  /* its first argument */
	int hi;        /* input that NAME_long reads */
};

struct tables {
	struct arena *a;
	const struct graph *g;
	struct program_external *external;
	int nexternal;
	int *slot; /* of each node: 1 + external, or 0 */
	struct gpu_kernel *kernel;
	struct turn *turn; /* of each kernel */
	int nkernel;
	int64_t scratch_bytes;
	struct cuda_products products;
	bool *own;         /* of each node */
	int64_t own_bytes; /* of a block */
};

static void add_external(struct tables *t, const char *name, enum program_external_kind kind, int node)
{
	const struct node *n = &t->g->node[node];
	*arena_push(t->a, t->external, t->nexternal) =
		(struct program_external){arena_strdup(t->a, name), kind, n->type.dtype, (uint64_t)tensor_bytes(t->g, n)};
	t->slot[node] = t->nexternal;
}

static void list_externals(struct tables *t)
{
	const struct graph *g = t->g;
	t->slot = arena_array(t->a, int, g->nnode);
	for (int i = 0; i < g->nnode; i++) {
		enum op op = g->node[i].op;
		if (op == OP_INPUT || op == OP_PARAM || op == OP_STATE)
			add_external(t, g->node[i].name, op == OP_INPUT ? EXTERNAL_INPUT
				: op == OP_PARAM ? EXTERNAL_PARAM : EXTERNAL_STATE, i);
	}
	for (int i = 0; i < g->noutput; i++)
		add_external(t, g->output[i].name, EXTERNAL_OUTPUT, g->output[i].node);
}

static struct program_arg place_in_scratch(const struct tables *t, int64_t offset)
{
	return (struct program_arg){(uint64_t)t->nexternal + 1, (uint64_t)(offset + t->own_bytes * GPU_MOST_BLOCKS)};
}

static struct program_arg place_of(const struct tables *t, int n)
{
	int slot = t->slot[n];
	if (!slot && t->g->node[n].offset < 0)
		BUG("graph '%s': %%%d has no memory", t->g->name, n);
	return (struct program_arg){(uint64_t)slot, slot ? 0 : (uint64_t)t->g->node[n].offset};
}

static void add_kernel(struct tables *t, const struct compiled *c, const struct region_key *key, struct turn turn)
{
	int nturn = t->nkernel;
	const struct gpu_kernel *before = nturn ? &t->kernel[nturn - 1] : NULL;
	struct program_arg *arg = arena_array(t->a, struct program_arg, c->narg + 1);
	uint32_t narg = (uint32_t)c->narg;
	for (int i = 0; i < c->narg; i++)
		arg[i] = place_of(t, key->external[c->arg[i]]);
	if (c->scratch_bytes)
		arg[narg++] = place_in_scratch(t, 0);
	if (c->scratch_bytes > t->scratch_bytes)
		t->scratch_bytes = c->scratch_bytes;
	uint32_t first = before ? t->turn[nturn - 1].arg + before->narg : 0;
	turn.own = -1;
	for (int i = 0; i < c->narg; i++)
		turn.own = t->own[key->external[c->arg[i]]] ? i : turn.own;
	turn.asks = c->asks;
	turn.splits = c->splits;
	turn.items = c->items;
	turn.arg = first;
	*arena_push(t->a, t->turn, nturn) = turn;
	*arena_push(t->a, t->kernel, t->nkernel) = (struct gpu_kernel){c->name, narg, arg, (uint64_t)c->shared_bytes,
		(uint64_t)c->shared_bytes_90};
}

static void add_products(struct tables *t, const struct region *r)
{
	const struct graph *g = t->g;
	bool in_scratch = !cuda_is_only_products(g, r);
	int ndot = 0;
	for (int i = 0; i < r->nnode; i++) {
		const struct node *n = &g->node[r->node[i]];
		if (n->op != OP_DOT)
			continue;
		int lane = dot_lane_source(g, n);
		struct cuda_product p = cuda_product_of(g, n);
		p.before = (uint32_t)t->nkernel;
		p.rows = place_of(t, state_of(g, n->src[1 - lane]));
		p.lanes = place_of(t, state_of(g, n->src[lane]));
		p.result = in_scratch ? place_in_scratch(t, cuda_product_place(g, r, ndot++)) : place_of(t, r->node[i]);
		*arena_push(t->a, t->products.product, t->products.n) = p;
	}
}

/* ---- one kernel for all ---- */

/* The number of kernel k's function among those of the program. */
static int function_number(const struct tables *t, int k)
{
	int n = 0;
	for (int i = 0; i < t->nkernel; i++) {
		bool known = false;
		for (int j = 0; j < i && !known; j++)
			known = !strcmp(t->kernel[j].name, t->kernel[i].name);
		if (!strcmp(t->kernel[i].name, t->kernel[k].name))
			return n;
		n += !known;
	}
	return n;
}

/*
 * Kernels that run beside each other deal their items to different blocks: `skip` is how many have work already. And what a dot
 * will read first is asked for as soon as the dots before have ended, while blocks wait for each other: all from `asked` on that run
 * beside the next one. So do a turn's arguments come to shared memory, to the half that the turn before does not use. Warp 0
 * waits for the barrier and does nothing of it.
 */
enum { MOST_CONSTANT = 1300 }; /* rows of both tables in constant memory, of which there are 64 KB */

/* Both ways' rows, of which the second way's stand behind the first's: without norms of blocks' own, and with them. */
struct rows {
	struct strbuf steps, asks;
	int nask;
};

/* What is asked for at turn k, and what turn is the next that asks. */
static int add_asks(struct rows *rows, const struct tables *t, int way, int k, int64_t skip)
{
	int next = k;
	while (next < t->nkernel && !t->turn[next].asks)
		next++;
	for (int first = next; next < t->nkernel && (next == first || !t->turn[next].waits[way]); next++) {
		skip = t->turn[next].waits[way] ? 0 : skip;
		if (t->turn[next].asks)
			strbuf_addf(&rows->asks, "%s{%d, %u, %d}", rows->nask++ ? ", " : "", function_number(t, next), t->turn[next].arg, (int)skip);
		skip += t->turn[next].items;
	}
	return next;
}

/* nwait: how many wait, of them those that do only where a row has many slots. */
static void add_turns(struct rows *rows, const struct tables *t, int way, uint32_t nwait[2])
{
	int asked = 0;
	int64_t skip = 0;
	nwait[0] = nwait[1] = 0;
	for (int k = 0; k < t->nkernel; k++) {
		const struct turn *turn = &t->turn[k];
		skip = turn->waits[way] ? 0 : skip;
		nwait[0] += turn->waits[way] != BESIDE;
		nwait[1] += turn->waits[way] == WAITS_IF_LONG;
		if (k >= asked)
			asked = add_asks(rows, t, way, k, skip);
		strbuf_addf(&rows->steps, "%s{%d, %u, %u, %d, %d, %d, %d, %d}", k || way ? ", " : "", function_number(t, k), turn->arg,
			t->kernel[k].narg, turn->waits[way], (int)skip, rows->nask, way ? turn->own : -1, way && turn->alone);
		skip += turn->items;
	}
}

/* "case N:", where kernel k is the first that runs function N. */
static void emit_case(struct unit *u, const struct tables *t, int k, const char *call)
{
	for (int i = 0; i < k; i++)
		if (!strcmp(t->kernel[i].name, t->kernel[k].name))
			return;
	strbuf_addf(&u->text, "\t\tcase %d:\n\t\t\t%s_%s;\n\t\t\tbreak;\n", function_number(t, k), t->kernel[k].name, call);
}

/* Asked of each input once, before anything runs. */
static void emit_is_long(struct unit *u, const struct tables *t)
{
	for (int k = 0; k < t->nkernel; k++) {
		bool known = !t->turn[k].splits;
		for (int i = 0; i < k && !known; i++)
			known = t->turn[i].splits && t->turn[i].hi == t->turn[k].hi;
		if (!known)
			strbuf_addf(&u->text, "\tis_long |= %s_long(c.arg + %u, c.dim);\n", t->kernel[k].name, t->turn[k].arg);
	}
}

/* nwait: barriers in all, and those that one row of few slots waits at. */
static const char *emit_all(struct unit *u, const struct tables *t, int number, uint32_t nwait[2])
{
	const char *name = arena_printf(u->arena, "p%d_all", number);
	int nway = t->own_bytes ? 2 : 1, ndim = 0, nask[2] = {0};
	const char *table = t->nkernel * nway > MOST_CONSTANT ? "TABLE" : "SMALL_TABLE";
	struct rows rows = {.nask = 0};
	uint32_t wait[2][2];
	strbuf_init(&rows.steps);
	strbuf_init(&rows.asks);
	for (int way = 0; way < nway; way++) {
		nask[way] = rows.nask;
		add_turns(&rows, t, way, wait[way]);
	}
	if (wait[nway - 1][0] > wait[0][0])
		BUG("graph '%s': norms of blocks' own make barriers more", t->g->name);
	nwait[0] = wait[0][0];
	nwait[1] = wait[nway - 1][0] - wait[nway - 1][1];
	for (int i = 0; i < t->g->naxis; i++)
		ndim += t->g->axis[i].dynamic;
	strbuf_addf(&u->text, "\n/* %s: kernel, first argument and how many, whether it waits, blocks that have work, what was asked for,\n * which "
		"argument is in a block's own memory, whether each block does all of it */\n%s struct step p%d_steps[] = {%.*s};\n%s struct ask p%d_asks[] = {%.*s};\n",
		t->g->name, table, number, (int)rows.steps.n, rows.steps.s, table, number, rows.nask ? (int)rows.asks.n : 9,
		rows.nask ? rows.asks.s : "{0, 0, 0}");
	strbuf_addf(&u->text, "KERNEL_ALL %s(struct call_all c)\n{\n\tSHARED;\n\tSHARED_ARGS;\n\tu32 nwait = 0, nskip = 0;\n"
		"\tint turn = 0, is_long = 0, alone = %d;\n\tfor (int i = 0; i < %d; i++)\n\t\talone = alone && c.dim[i] <= %d;\n"
		"\tint asked = alone ? %d : 0;\n\tconst int first = alone ? %d : 0;\n", name, nway == 2, ndim, OWN_ROWS, nask[1], t->nkernel);
	emit_is_long(u, t);
	strbuf_addf(&u->text, "\tfor (int i = first; i < first + %d; i++) {\n\t\tconst struct step s = p%d_steps[i];\n"
		"\t\tif (s.waits == %d && !is_long) {\n\t\t\tnskip++;\n\t\t\tcontinue;\n\t\t}\n\t\tturn ^= 1;\n"
		"\t\tif (s.waits)\n\t\t\tarrive_blocks(&c);\n"
		"\t\tif (THREAD >= 32 && THREAD - 32 < s.narg)\n\t\t\tall_arg[turn][THREAD - 32] = THREAD - 32 == s.own ? "
		"c.own + (i64)BLOCK * %lld : c.arg[s.arg + THREAD - 32];\n"
		"\t\tfor (; asked < s.asked; asked++) {\n\t\t\tconst struct ask a = p%d_asks[asked];\n\t\t\tswitch (a.kernel) {\n",
		t->nkernel, number, WAITS_IF_LONG, (long long)t->own_bytes, number);
	for (int k = 0; k < t->nkernel; k++)
		if (t->turn[k].asks)
			emit_case(u, t, k, "ask(c.arg + a.arg, block_behind(a.skip))");
	strbuf_adds(&u->text, "\t\t\t}\n\t\t}\n\t\tif (s.waits)\n\t\t\twait_blocks(&c, &nwait);\n\t\telse\n\t\t\tsync_block();\n"
		"\t\tconst int block = s.alone ? 0 : block_behind(s.skip), blocks = s.alone ? 1 : BLOCKS;\n\t\tswitch (s.kernel) {\n");
	for (int k = 0; k < t->nkernel; k++)
		emit_case(u, t, k, "body(all_arg[turn], c.dim, shared, block, blocks, is_long)");
	strbuf_addf(&u->text, "\t\t}\n\t}\n\tskip_waits(&c, nskip + (alone ? %u : 0));\n}\n", wait[0][0] - wait[nway - 1][0]);
	strbuf_release(&rows.steps);
	strbuf_release(&rows.asks);
	return name;
}

static enum waits waits_of(int part, bool splits, bool waits)
{
	return part ? splits ? WAITS_IF_LONG : WAITS : waits || splits ? WAITS : BESIDE;
}

static struct gpu_program emit_program(struct unit *u, const struct graph *g, int number, struct cuda_products *products)
{
	struct tables t = {.a = u->arena, .g = g};
	struct program_dim *dim = NULL;
	uint32_t ndim = 0;
	bool one_of_all = graph_has_few_rows(g) && !u->of_library;
	t.own = one_of_all ? cuda_own(u->arena, g, &t.own_bytes) : arena_array(u->arena, bool, g->nnode + 1);
	const bool *waits = graph_waits(u->arena, g, g->nregion, NULL), *waits_own = graph_waits(u->arena, g, g->nregion, t.own);
	const char *all = "";
	uint32_t nwait[2] = {0};
	list_externals(&t);
	for (int r = 0; r < g->nregion; r++) {
		struct region_key key = region_key(u->arena, g, r);
		bool of_library = u->of_library && cuda_is_product(g, &g->region[r]);
		if (of_library)
			add_products(&t, &g->region[r]);
		if (of_library && cuda_is_only_products(g, &g->region[r]))
			continue;
		bool splits = cuda_attention_splits(g, &g->region[r]), alone = false;
		for (int i = 0; i < g->region[r].nnode; i++)
			alone = alone || t.own[g->region[r].node[i]];
		for (int part = 0; part < cuda_parts(g, &g->region[r]); part++)
			add_kernel(&t, compile(u, g, r, part, &key), &key,
				(struct turn){.waits = {waits_of(part, splits, waits[r]), waits_of(part, splits, waits_own[r])}, .alone = alone,
					.hi = splits ? attention_heads(g, &g->node[g->region[r].node[0]]).hi : -1});
	}
	for (int i = 0; i < g->naxis; i++)
		if (g->axis[i].dynamic)
			*arena_push(u->arena, dim, ndim) = (struct program_dim){g->axis[i].name, g->axis[i].extent};
	if (ndim > GPU_MAX_DIMS)
		BUG("graph '%s' has more than %d dynamic axes", g->name, GPU_MAX_DIMS);
	*products = t.products;
	if (one_of_all)
		all = emit_all(u, &t, number, nwait);
	uint64_t scratch = (uint64_t)(t.own_bytes * GPU_MOST_BLOCKS + t.scratch_bytes);
	return (struct gpu_program){.head = {.abi = PROGRAM_ABI, .nexternal = (uint32_t)t.nexternal, .ndim = ndim, .name = g->name,
		.external = t.external, .dim = dim, .slab_bytes = (uint64_t)g->slab_bytes, .scratch_bytes = scratch},
		.kernel = t.kernel, .nkernel = (uint32_t)t.nkernel, .all = all, .nwait = nwait[0], .nwait_of_one = nwait[1]};
}

static struct cuda_source emit(struct unit *u, const struct graph *const *graph, int ngraph)
{
	struct arena *a = u->arena;
	struct cuda_source out = {.program = arena_array(a, struct gpu_program, ngraph), .nprogram = ngraph,
		.products = arena_array(a, struct cuda_products, ngraph)};
	struct strbuf all;
	strbuf_init(&u->text);
	strbuf_init(&all);
	for (int i = 0; i < ngraph; i++)
		out.program[i] = emit_program(u, graph[i], i, &out.products[i]);
	strbuf_adds(&all, cuda_prelude);
	cuda_recipe(&all, a, OP_EXP);
	for (int i = 0; i < u->wgmma.n; i++)
		cuda_wgmma_function(&all, u->wgmma.use[i]);
	strbuf_add(&all, u->text.s, u->text.n);
	out.text = arena_strndup(a, all.s, all.n);
	out.text_bytes = all.n;
	strbuf_release(&u->text);
	strbuf_release(&all);
	return out;
}

struct cuda_source cuda_emit(struct arena *a, const struct graph *const *graph, int ngraph)
{
	struct unit u = {.arena = a};
	return emit(&u, graph, ngraph);
}

struct cuda_source cuda_emit_products(struct arena *a, const struct graph *const *graph, int ngraph)
{
	struct unit u = {.arena = a, .of_library = true};
	return emit(&u, graph, ngraph);
}
