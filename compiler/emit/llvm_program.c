/*
 * Programs: a kernel per distinct region, the tables of runtime/program.h as constants, and the object.
 *
 * Regions that differ only in which tensors they touch (the blocks of a model) share one function: a
 * region's key is its structure with external tensors numbered by first appearance.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <llvm/Config/llvm-config.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "code_keep.h"
#include "emit.h"
#include "layout.h"
#include "llvm_jit.h"
#include "llvm_kernel.h"
#include "llvm_memo.h"
#include "region_key.h"

struct compiled {
	const char *key;
	LLVMValueRef run, items, work;
	int narg, *arg; /* arg i is external tensor arg[i] of the key */
	int64_t scratch_bytes;
};

struct unit {
	struct arena *arena;
	const struct target *target;
	LLVMContextRef context;
	LLVMModuleRef module;
	LLVMTypeRef f32, i16, i32, i64, ptr, t_kernel, t_arg, t_external, t_dim, t_program;
	struct compiled *compiled;
	int ncompiled;
	int64_t scratch_bytes; /* of the program being emitted */
};

typedef void region_fn(struct kernel *);
typedef LLVMValueRef items_fn(struct kernel *);

static LLVMValueRef one_item(struct kernel *k)
{
	return const_i64(k, 1);
}

static const struct {
	region_fn *run;
	items_fn *items;
} emitters[NREGION_KINDS] = {
	[REGION_MAP] = {emit_map_region, map_items},
	[REGION_REDUCE] = {emit_reduce_region, reduce_items},
	[REGION_DOT] = {emit_dot_region, dot_items},
	[REGION_ATTENTION] = {emit_attention_region, attention_items},
	[REGION_SCATTER] = {emit_scatter_region, one_item},
	[REGION_QUANTISE] = {emit_quantise_region, quantise_items},
};

/* ---- functions ---- */

static void add_attribute(struct unit *u, LLVMValueRef f, const char *name, const char *value)
{
	LLVMAttributeRef a = LLVMCreateStringAttribute(u->context, name, (unsigned)strlen(name), value,
		(unsigned)strlen(value));
	LLVMAddAttributeAtIndex(f, LLVMAttributeFunctionIndex, a);
}

static LLVMValueRef new_function(struct unit *u, const char *name, LLVMTypeRef type)
{
	LLVMValueRef f = LLVMAddFunction(u->module, name, type);
	LLVMSetLinkage(f, LLVMInternalLinkage);
	add_attribute(u, f, "target-cpu", u->target->cpu);
	if (u->target->features[0])
		add_attribute(u, f, "target-features", u->target->features);
	add_attribute(u, f, "denormal-fp-math", "preserve-sign,preserve-sign");
	if (u->target->lanes == 16) {
		add_attribute(u, f, "prefer-vector-width", "512");
		add_attribute(u, f, "min-legal-vector-width", "512");
	}
	return f;
}

static void begin_function(struct unit *u, struct kernel *k, LLVMValueRef f, LLVMValueRef dims)
{
	const struct graph *g = k->g;
	LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(u->context, f, "entry");
	LLVMBasicBlockRef start = LLVMAppendBasicBlockInContext(u->context, f, "start");
	k->function = f;
	LLVMPositionBuilderAtEnd(k->at, entry);
	for (int i = 0, n = 0; i < g->naxis; i++) {
		k->dim[i] = const_i64(k, g->axis[i].extent);
		if (g->axis[i].dynamic)
			k->dim[i] = LLVMBuildLoad2(k->at, u->i64,
				element_at(k, u->i64, dims, const_i64(k, n++)), g->axis[i].name);
	}
	LLVMBuildBr(k->at, start);
	LLVMPositionBuilderAtEnd(k->at, start);
}

static LLVMValueRef product(struct kernel *k, LLVMValueRef n, const struct type *t)
{
	return LLVMBuildMul(k->at, n, extent_product(k, t, 0, t->naxis), "");
}

/* About how many elements and multiply-adds the region computes, to weigh it against a barrier. */
static LLVMValueRef region_work(struct kernel *k)
{
	enum { MANY = 1 << 30 };
	LLVMValueRef sum = const_i64(k, 0);
	for (int i = 0; i < k->region->nnode; i++) {
		const struct node *n = &k->g->node[k->region->node[i]];
		bool writes = n->op == OP_PUT || n->op == OP_ASSIGN; /* of type the whole state */
		LLVMValueRef work = product(k, const_i64(k, 1), writes ? &k->g->node[n->src[1]].type : &n->type);
		if (op_info[n->op].class == CLASS_ATTENTION || n->op == OP_SCATTER)
			work = const_i64(k, MANY);
		const struct type *from = &k->g->node[n->src[0]].type;
		for (int a = 0; n->op == OP_DOT && a < from->naxis; a++)
			if (!type_has_axis(&n->type, from->axis[a]))
				work = LLVMBuildMul(k->at, work, k->dim[from->axis[a]], "");
		if (op_info[n->op].class == CLASS_REDUCE)
			work = product(k, const_i64(k, 1), from);
		sum = LLVMBuildAdd(k->at, sum, work, "");
	}
	return sum;
}

/* A function of the extents alone. */
static LLVMValueRef emit_of_dims(struct unit *u, struct kernel *k, const char *name, items_fn *fn)
{
	LLVMTypeRef type = LLVMFunctionType(u->i64, &u->ptr, 1, false);
	LLVMValueRef f = new_function(u, name, type);
	begin_function(u, k, f, LLVMGetParam(f, 0));
	LLVMBuildRet(k->at, fn(k));
	return f;
}

static void emit_functions(struct unit *u, const struct graph *g, const struct region *r,
	const struct region_key *key, struct compiled *c)
{
	char name[64];
	struct kernel *k = arena_new(u->arena, struct kernel);
	*k = (struct kernel){.arena = u->arena, .context = u->context, .module = u->module,
		.at = LLVMCreateBuilderInContext(u->context), .f32 = u->f32, .i16 = u->i16,
		.i32 = u->i32, .i64 = u->i64, .ptr = u->ptr, .target = u->target, .g = g, .region = r};

	kernel_touch(k);

	LLVMTypeRef run_params[] = {u->ptr, u->ptr, u->ptr, u->i64, u->i64};
	LLVMTypeRef run = LLVMFunctionType(LLVMVoidTypeInContext(u->context), run_params, 5, false);
	snprintf(name, sizeof(name), "k%d_%s", u->ncompiled, region_kind_name[r->kind]);
	c->run = new_function(u, name, run);
	k->scratch = LLVMGetParam(c->run, 2);
	k->item_lo = LLVMGetParam(c->run, 3);
	k->item_hi = LLVMGetParam(c->run, 4);
	begin_function(u, k, c->run, LLVMGetParam(c->run, 1));
	emitters[r->kind].run(k);
	LLVMBuildRetVoid(k->at);
	c->scratch_bytes = k->scratch_bytes;
	c->narg = k->narg;
	c->arg = arena_array(u->arena, int, k->narg);
	for (int i = 0; i < k->narg; i++)
		c->arg[i] = region_key_tensor(key, k->arg_node[i], name);

	snprintf(name, sizeof(name), "k%d_items", u->ncompiled);
	c->items = emit_of_dims(u, k, name, emitters[r->kind].items);
	snprintf(name, sizeof(name), "k%d_work", u->ncompiled);
	c->work = emit_of_dims(u, k, name, region_work);
	LLVMDisposeBuilder(k->at);
}

static const struct compiled *compile_region(struct unit *u, const struct graph *g, int region,
	struct region_key *key)
{
	*key = region_key(u->arena, g, region);
	const char *text = arena_printf(u->arena, "%s %p", key->text, (const void *)g);
	for (int i = 0; i < u->ncompiled; i++)
		if (!strcmp(u->compiled[i].key, text))
			return &u->compiled[i];
	struct compiled c = {.key = text};
	emit_functions(u, g, &g->region[region], key, &c);
	*arena_push(u->arena, u->compiled, u->ncompiled) = c;
	return &u->compiled[u->ncompiled - 1];
}

/* ---- constants ---- */

static LLVMValueRef c64(struct unit *u, uint64_t v)
{
	return LLVMConstInt(u->i64, v, false);
}

static LLVMValueRef c32(struct unit *u, uint64_t v)
{
	return LLVMConstInt(u->i32, v, false);
}

static LLVMValueRef private_constant(struct unit *u, LLVMValueRef value)
{
	LLVMValueRef g = LLVMAddGlobal(u->module, LLVMTypeOf(value), "");
	LLVMSetInitializer(g, value);
	LLVMSetLinkage(g, LLVMPrivateLinkage);
	LLVMSetGlobalConstant(g, true);
	return g;
}

static LLVMValueRef text_constant(struct unit *u, const char *s)
{
	return private_constant(u,
		LLVMConstStringInContext(u->context, s, (unsigned)strlen(s), false));
}

static LLVMValueRef table(struct unit *u, LLVMTypeRef t, LLVMValueRef *row, int nrow)
{
	return private_constant(u, LLVMConstArray(t, row, (unsigned)nrow));
}

static LLVMTypeRef struct_type(struct unit *u, LLVMTypeRef *field, unsigned nfield)
{
	return LLVMStructTypeInContext(u->context, field, nfield, false);
}

static void make_types(struct unit *u)
{
	u->f32 = LLVMFloatTypeInContext(u->context);
	u->i16 = LLVMInt16TypeInContext(u->context);
	u->i32 = LLVMInt32TypeInContext(u->context);
	u->i64 = LLVMInt64TypeInContext(u->context);
	u->ptr = LLVMPointerTypeInContext(u->context, 0);
	u->t_arg = struct_type(u, (LLVMTypeRef[]){u->i64, u->i64}, 2);
	u->t_kernel = struct_type(u, (LLVMTypeRef[]){u->ptr, u->ptr, u->ptr, u->i64, u->ptr, u->ptr, u->i64}, 7);
	u->t_external = struct_type(u, (LLVMTypeRef[]){u->ptr, u->i32, u->i32, u->i64}, 4);
	u->t_dim = struct_type(u, (LLVMTypeRef[]){u->ptr, u->i64}, 2);
	u->t_program = struct_type(u, (LLVMTypeRef[]){u->i32, u->i32, u->i32, u->i32, u->ptr, u->ptr,
		u->ptr, u->ptr, u->i64, u->i64}, 10);
}

struct slots {
	int *slot; /* per node: 1 + external, or 0 */
	LLVMValueRef *row;
	int nexternal;
};

static void add_external(struct unit *u, struct slots *s, const char *name,
	enum program_external_kind kind, const struct graph *g, int node)
{
	const struct node *n = &g->node[node];
	LLVMValueRef field[] = {text_constant(u, name), c32(u, kind), c32(u, n->type.dtype),
		c64(u, (uint64_t)tensor_bytes(g, n))};
	*arena_push(u->arena, s->row, s->nexternal) =
		LLVMConstStructInContext(u->context, field, 4, false);
	s->slot[node] = s->nexternal;
}

static struct slots make_slots(struct unit *u, const struct graph *g)
{
	struct slots s = {.slot = arena_array(u->arena, int, g->nnode)};
	for (int i = 0; i < g->nnode; i++) {
		enum op op = g->node[i].op;
		if (op == OP_INPUT || op == OP_PARAM || op == OP_STATE)
			add_external(u, &s, g->node[i].name, op == OP_INPUT ? EXTERNAL_INPUT
				: op == OP_PARAM			    ? EXTERNAL_PARAM
									    : EXTERNAL_STATE, g, i);
	}
	for (int i = 0; i < g->noutput; i++) {
		if (s.slot[g->output[i].node])
			BUG("graph '%s': output '%s' is a leaf or another output", g->name,
				g->output[i].name);
		add_external(u, &s, g->output[i].name, EXTERNAL_OUTPUT, g, g->output[i].node);
	}
	return s;
}

static LLVMValueRef kernel_row(struct unit *u, const struct graph *g, const struct slots *s,
	const struct compiled *c, const struct region_key *key, bool waits)
{
	LLVMValueRef *arg = arena_array(u->arena, LLVMValueRef, c->narg);
	for (int i = 0; i < c->narg; i++) {
		int n = key->external[c->arg[i]];
		int slot = s->slot[n];
		if (!slot && g->node[n].offset < 0)
			BUG("graph '%s': %%%d has no memory", g->name, n);
		LLVMValueRef field[] = {c64(u, (uint64_t)slot),
			c64(u, slot ? 0 : (uint64_t)g->node[n].offset)};
		arg[i] = LLVMConstStructInContext(u->context, field, 2, false);
	}
	LLVMValueRef field[] = {text_constant(u, LLVMGetValueName(c->run)), c->run, c->items,
		c64(u, (uint64_t)c->narg), table(u, u->t_arg, arg, c->narg), c->work, c64(u, waits)};
	if (c->scratch_bytes > u->scratch_bytes)
		u->scratch_bytes = c->scratch_bytes;
	return LLVMConstStructInContext(u->context, field, 7, false);
}

static LLVMValueRef emit_program(struct unit *u, const struct graph *g)
{
	struct slots s = make_slots(u, g);
	LLVMValueRef *kernel = arena_array(u->arena, LLVMValueRef, g->nregion);
	LLVMValueRef dim[UINT8_MAX + 1];
	int ndim = 0;
	const bool *waits = graph_waits(u->arena, g, PROGRAM_MAX_GROUP, NULL);
	u->scratch_bytes = 0;
	for (int r = 0; r < g->nregion; r++) {
		struct region_key key;
		const struct compiled *c = compile_region(u, g, r, &key);
		kernel[r] = kernel_row(u, g, &s, c, &key, waits[r]);
	}
	for (int i = 0; i < g->naxis; i++) {
		LLVMValueRef field[] = {text_constant(u, g->axis[i].name),
			c64(u, (uint64_t)g->axis[i].extent)};
		if (g->axis[i].dynamic)
			dim[ndim++] = LLVMConstStructInContext(u->context, field, 2, false);
	}
	LLVMValueRef field[] = {c32(u, PROGRAM_ABI), c32(u, (uint64_t)g->nregion),
		c32(u, (uint64_t)s.nexternal), c32(u, (uint64_t)ndim), text_constant(u, g->name),
		table(u, u->t_kernel, kernel, g->nregion),
		table(u, u->t_external, s.row, s.nexternal), table(u, u->t_dim, dim, ndim),
		c64(u, (uint64_t)g->slab_bytes), c64(u, (uint64_t)u->scratch_bytes)};
	return private_constant(u, LLVMConstStructInContext(u->context, field, 10, false));
}

/* The one name that leaves the object; weak, since a binary links several. "llvm.used" keeps the section. */
static void export_variant(struct unit *u, LLVMValueRef program, uint32_t nprogram)
{
	LLVMValueRef field[] = {text_constant(u, u->target->name), text_constant(u, u->target->needs), program,
		c32(u, nprogram)};
	LLVMValueRef value = LLVMConstStructInContext(u->context, field, 4, false);
	LLVMValueRef g = LLVMAddGlobal(u->module, LLVMTypeOf(value), "trim_variant");
	LLVMSetInitializer(g, value);
	LLVMSetGlobalConstant(g, true);
	LLVMSetLinkage(g, LLVMWeakAnyLinkage);
	LLVMSetSection(g, VARIANT_SECTION);
	LLVMSetAlignment(g, _Alignof(struct variant)); /* no gaps in the table */
	LLVMValueRef list = LLVMConstArray(u->ptr, &g, 1);
	LLVMValueRef used = LLVMAddGlobal(u->module, LLVMTypeOf(list), "llvm.used");
	LLVMSetInitializer(used, list);
	LLVMSetLinkage(used, LLVMAppendingLinkage);
	LLVMSetSection(used, "llvm.metadata");
}

static void emit_module(struct unit *u, const struct emit_request *r)
{
	LLVMValueRef *program = arena_array(u->arena, LLVMValueRef, r->ngraph);
	make_types(u);
	for (int i = 0; i < r->ngraph; i++)
		program[i] = emit_program(u, r->graph[i]);
	export_variant(u, table(u, u->ptr, program, r->ngraph), (uint32_t)r->ngraph);
}

/* ---- object ---- */

static void initialize(void)
{
	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86Target();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86AsmPrinter();
	LLVMInitializeAArch64TargetInfo();
	LLVMInitializeAArch64Target();
	LLVMInitializeAArch64TargetMC();
	LLVMInitializeAArch64AsmPrinter();
}

void llvm_initialize(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, initialize);
}

static bool llvm_failed(struct err *e, const char *what, char *message)
{
	err_set(e, ERR_TOOL, "LLVM %s: %s", what, message);
	LLVMDisposeMessage(message);
	return false;
}

/* Registers for what is built with allocas, and the folding that instruction selection expects; no
 * loop pass: the loops are already as they should be. */
static const struct llvm_settings settings = {
	"function(mem2reg,instcombine<no-verify-fixpoint>,early-cse,simplifycfg)",
	LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault};

static bool run_passes(LLVMModuleRef m, LLVMTargetMachineRef tm, struct err *e)
{
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMErrorRef failed = LLVMRunPasses(m, settings.passes, tm, options);
	LLVMDisposePassBuilderOptions(options);
	if (!failed)
		return true;
	char *message = LLVMGetErrorMessage(failed);
	err_set(e, ERR_TOOL, "LLVM passes: %s", message);
	LLVMDisposeErrorMessage(message);
	return false;
}

static bool write_form(struct unit *u, LLVMTargetMachineRef tm, enum emit_form form,
	struct strbuf *out, struct err *e)
{
	char *message = NULL;
	if (form == EMIT_LLVM_IR) {
		message = LLVMPrintModuleToString(u->module);
		strbuf_adds(out, message);
		LLVMDisposeMessage(message);
		return true;
	}
	LLVMMemoryBufferRef bytes;
	LLVMCodeGenFileType type = form == EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile;
	if (LLVMTargetMachineEmitToMemoryBuffer(tm, u->module, type, &message, &bytes))
		return llvm_failed(e, "code generation", message);
	strbuf_add(out, LLVMGetBufferStart(bytes), LLVMGetBufferSize(bytes));
	LLVMDisposeMemoryBuffer(bytes);
	return true;
}

/* What generation makes of the module, or what it made of an equal one. */
static bool generate(struct unit *u, LLVMTargetMachineRef tm, const struct emit_request *r, struct strbuf *out,
	struct err *e)
{
	bool keep = r->kept && r->form == EMIT_OBJECT;
	struct digest key = {0};
	size_t before = out->n;
	if (keep) {
		key = memo_key(u->module, r->target, &settings);
		if (code_get(r->kept, key, out))
			return true;
	}
	if (!run_passes(u->module, tm, e) || !write_form(u, tm, r->form, out, e))
		return false;
	if (keep)
		code_put(r->kept, key, (struct buf){out->s + before, out->n - before});
	return true;
}

static bool object(const struct emit_request *r, struct strbuf *out, struct err *e)
{
	struct arena arena = {0};
	struct unit u = {.arena = &arena, .target = r->target};
	LLVMTargetRef t;
	char *message = NULL;
	llvm_initialize();
	if (LLVMGetTargetFromTriple(r->target->triple, &t, &message))
		return llvm_failed(e, "target", message);
	LLVMTargetMachineRef tm = LLVMCreateTargetMachine(t, r->target->triple, r->target->cpu,
		r->target->features, settings.level, settings.relocation, settings.model);
	u.context = LLVMContextCreate();
	u.module = LLVMModuleCreateWithNameInContext("trim", u.context);
	LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(tm);
	LLVMSetModuleDataLayout(u.module, layout);
	LLVMSetTarget(u.module, r->target->triple);
	emit_module(&u, r);
	if (LLVMVerifyModule(u.module, LLVMReturnStatusAction, &message))
		BUG("generated code is not valid: %s", message);
	LLVMDisposeMessage(message);
	bool ok = generate(&u, tm, r, out, e);
	LLVMDisposeTargetData(layout);
	LLVMDisposeModule(u.module);
	LLVMContextDispose(u.context);
	LLVMDisposeTargetMachine(tm);
	arena_release(&arena);
	return ok;
}

extern const struct emitter trim_emitter;
const struct emitter trim_emitter = {EMITTER_ABI, "LLVM " LLVM_VERSION_STRING, object, llvm_load,
	llvm_unload};
