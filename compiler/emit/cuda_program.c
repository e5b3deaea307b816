/* Programs of the CUDA emitter: a function for each distinct region (region_key.h), and tables of what calls them. */
#include "cuda_kernel.h"
#include "cuda_product.h"

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
	int64_t shared_bytes, scratch_bytes;
};

struct unit {
	struct arena *arena;
	struct strbuf text;
	struct compiled *compiled;
	int ncompiled;
	bool of_library; /* products are a library's */
};

static bool has_few_rows(const struct graph *g)
{
	int64_t most = 0;
	for (int i = 0; i < g->naxis; i++)
		if (g->axis[i].dynamic && g->axis[i].extent > most)
			most = g->axis[i].extent;
	return most && most <= GPU_FEW_ROWS;
}

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

static void emit_function(struct unit *u, struct cuda_fn *f, const char *name, int part)
{
	struct strbuf body;
	strbuf_init(&body);
	f->out = &body;
	for (int i = 0; i < f->region->nnode; i++)
		touch(f, f->region->node[i]);
	if (u->of_library && cuda_is_product(f->g, f->region))
		cuda_behind_products(f);
	else
		emitters[f->region->kind](f, part);
	strbuf_addf(&u->text, "\n%s void %s_body(u8 *const *arg, const i64 *dim, u8 *shared)\n{\n",
		has_few_rows(f->g) && !u->of_library ? "STEP" : "DEVICE", name);
	for (int i = 0; i < f->narg; i++)
		strbuf_addf(&u->text, "\tu8 *const t%d = arg[%d];\n", i, i);
	if (f->scratch_bytes)
		strbuf_addf(&u->text, "\tu8 *const scratch = arg[%d];\n", f->narg);
	for (int i = 0, n = 0; i < f->g->naxis; i++)
		if (f->g->axis[i].dynamic) {
			strbuf_addf(&u->text, "\tconst i64 d%d = dim[%d]; /* %s */\n\t(void)d%d;\n", n, n, f->g->axis[i].name, n);
			n++;
		}
	strbuf_adds(&u->text, "\t(void)arg;\n\t(void)dim;\n\t(void)shared;\n");
	strbuf_add(&u->text, body.s, body.n);
	strbuf_adds(&u->text, "}\n");
	strbuf_addf(&u->text, "KERNEL %s(struct call c)\n{\n\tSHARED;\n\t%s_body(c.t, c.dim, shared);\n}\n", name, name);
	strbuf_release(&body);
}

static const struct compiled *compile(struct unit *u, const struct graph *g, int region, int part,
	const struct region_key *key)
{
	const char *text = arena_printf(u->arena, "%d %s %p", part, key->text, (const void *)g);
	for (int i = 0; i < u->ncompiled; i++)
		if (!strcmp(u->compiled[i].key, text))
			return &u->compiled[i];
	struct cuda_fn f = {.arena = u->arena, .g = g, .region = &g->region[region]};
	struct compiled c = {.key = text,
		.name = arena_printf(u->arena, "k%d_%s", u->ncompiled, region_kind_name[f.region->kind])};
	emit_function(u, &f, c.name, part);
	if (f.narg + (f.scratch_bytes > 0) > PROGRAM_MAX_ARGS)
		BUG("kernel %s needs more than %d tensors", c.name, PROGRAM_MAX_ARGS);
	c.narg = f.narg;
	c.arg = arena_array(u->arena, int, f.narg);
	for (int i = 0; i < f.narg; i++)
		c.arg[i] = region_key_tensor(key, f.arg_node[i], c.name);
	c.shared_bytes = f.shared_bytes;
	c.scratch_bytes = f.scratch_bytes;
	*arena_push(u->arena, u->compiled, u->ncompiled) = c;
	return &u->compiled[u->ncompiled - 1];
}

/* ---- tables ---- */

struct tables {
	struct arena *a;
	const struct graph *g;
	struct program_external *external;
	int nexternal;
	int *slot; /* of each node: 1 + external, or 0 */
	struct gpu_kernel *kernel;
	bool *waits; /* of each kernel: it must not run beside those since the last that waited */
	int nkernel;
	int64_t scratch_bytes;
	struct cuda_products products;
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
	return (struct program_arg){(uint64_t)t->nexternal + 1, (uint64_t)offset};
}

static struct program_arg place_of(const struct tables *t, int n)
{
	int slot = t->slot[n];
	if (!slot && t->g->node[n].offset < 0)
		BUG("graph '%s': %%%d has no memory", t->g->name, n);
	return (struct program_arg){(uint64_t)slot, slot ? 0 : (uint64_t)t->g->node[n].offset};
}

static void add_kernel(struct tables *t, const struct compiled *c, const struct region_key *key, bool waits)
{
	int nwaits = t->nkernel;
	struct program_arg *arg = arena_array(t->a, struct program_arg, c->narg + 1);
	uint32_t narg = (uint32_t)c->narg;
	for (int i = 0; i < c->narg; i++)
		arg[i] = place_of(t, key->external[c->arg[i]]);
	if (c->scratch_bytes)
		arg[narg++] = place_in_scratch(t, 0);
	if (c->scratch_bytes > t->scratch_bytes)
		t->scratch_bytes = c->scratch_bytes;
	*arena_push(t->a, t->waits, nwaits) = waits;
	*arena_push(t->a, t->kernel, t->nkernel) = (struct gpu_kernel){c->name, narg, arg, (uint64_t)c->shared_bytes};
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

static const char *emit_all(struct unit *u, const struct tables *t, int number, uint32_t *nwait)
{
	const char *name = arena_printf(u->arena, "p%d_all", number);
	unsigned at = 0;
	int nfunction = 0;
	strbuf_addf(&u->text, "\n/* %s: kernel, first argument, whether it waits */\nTABLE struct step p%d_steps[] = {", t->g->name, number);
	for (int k = 0; k < t->nkernel; k++) {
		strbuf_addf(&u->text, "%s{%d, %u, %d}", k ? ", " : "", function_number(t, k), at, t->waits[k]);
		at += t->kernel[k].narg;
		*nwait += t->waits[k];
	}
	strbuf_addf(&u->text, "};\nKERNEL_ALL %s(struct call_all c)\n{\n\tSHARED;\n\tu32 nwait = 0;\n"
		"\tfor (int i = 0; i < %d; i++) {\n\t\tconst struct step s = p%d_steps[i];\n"
		"\t\tif (s.waits)\n\t\t\tsync_blocks(&c, &nwait);\n\t\telse\n\t\t\tsync_block();\n\t\tswitch (s.kernel) {\n",
		name, t->nkernel, number);
	for (int k = 0; k < t->nkernel; k++)
		if (function_number(t, k) == nfunction)
			strbuf_addf(&u->text, "\t\tcase %d:\n\t\t\t%s_body(c.arg + s.arg, c.dim, shared);\n\t\t\tbreak;\n", nfunction++,
				t->kernel[k].name);
	strbuf_adds(&u->text, "\t\t}\n\t}\n}\n");
	return name;
}

static struct gpu_program emit_program(struct unit *u, const struct graph *g, int number, struct cuda_products *products)
{
	struct tables t = {.a = u->arena, .g = g};
	struct program_dim *dim = NULL;
	uint32_t ndim = 0;
	const bool *waits = graph_waits(u->arena, g, g->nregion);
	const char *all = "";
	uint32_t nwait = 0;
	list_externals(&t);
	for (int r = 0; r < g->nregion; r++) {
		struct region_key key = region_key(u->arena, g, r);
		bool of_library = u->of_library && cuda_is_product(g, &g->region[r]);
		if (of_library)
			add_products(&t, &g->region[r]);
		if (of_library && cuda_is_only_products(g, &g->region[r]))
			continue;
		for (int part = 0; part < cuda_parts(g, &g->region[r]); part++)
			add_kernel(&t, compile(u, g, r, part, &key), &key, part || waits[r]);
	}
	for (int i = 0; i < g->naxis; i++)
		if (g->axis[i].dynamic)
			*arena_push(u->arena, dim, ndim) = (struct program_dim){g->axis[i].name, g->axis[i].extent};
	if (ndim > GPU_MAX_DIMS)
		BUG("graph '%s' has more than %d dynamic axes", g->name, GPU_MAX_DIMS);
	*products = t.products;
	if (has_few_rows(g) && !u->of_library)
		all = emit_all(u, &t, number, &nwait);
	return (struct gpu_program){.head = {.abi = PROGRAM_ABI, .nexternal = (uint32_t)t.nexternal, .ndim = ndim, .name = g->name,
		.external = t.external, .dim = dim, .slab_bytes = (uint64_t)g->slab_bytes, .scratch_bytes = (uint64_t)t.scratch_bytes},
		.kernel = t.kernel, .nkernel = (uint32_t)t.nkernel, .all = all, .nwait = nwait};
}

static struct cuda_source emit(struct unit *u, const struct graph *const *graph, int ngraph)
{
	struct arena *a = u->arena;
	struct cuda_source out = {.program = arena_array(a, struct gpu_program, ngraph), .nprogram = ngraph,
		.products = arena_array(a, struct cuda_products, ngraph)};
	strbuf_init(&u->text);
	strbuf_adds(&u->text, cuda_prelude);
	cuda_recipe(&u->text, a, OP_EXP);
	strbuf_adds(&u->text, cuda_behind_exp);
	for (int i = 0; i < ngraph; i++)
		out.program[i] = emit_program(u, graph[i], i, &out.products[i]);
	out.text = arena_strndup(a, u->text.s, u->text.n);
	out.text_bytes = u->text.n;
	strbuf_release(&u->text);
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
