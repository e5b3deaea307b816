/*
 * Code knows its shape: a model of other dimensions gives another object, the same dimensions give the same
 * bytes, and what a kernel is handed at run time (pointers, the rows of this call, a range of items) leaves
 * no room for a dimension of the model. Those stand in the code as constants. A half that was dropped leaves
 * nothing in it.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "digest.h"
#include "emit.h"
#include "file.h"
#include "test.h"

/* Odd primes or twice one, so that rounding to lanes and sums of offsets give none of them by chance. */
static const struct model_config base = {.arch = &arch_llama, .layers = 2, .width = 211, .ffn = 307,
	.heads = 6, .kv_heads = 3, .head_dim = 122, .vocab = 401, .context = 131, .rms_eps = 1e-5f,
	.rope_theta = 10000, .rope = MODEL_ROPE_PLAIN};

/* A dimension that changes alone, and the number that stands for it in the code, before and after. */
static const struct change {
	const char *name;
	size_t offset;
	int value;
	long before, after; /* 0: no number of its own */
} changes[] = {
	{"width", offsetof(struct model_config, width), 223, 211, 223},
	{"ffn", offsetof(struct model_config, ffn), 311, 307, 311},
	{"vocab", offsetof(struct model_config, vocab), 409, 401, 409},
	{"context", offsetof(struct model_config, context), 137, 131, 137},
	{"head_dim", offsetof(struct model_config, head_dim), 134, 61, 67}, /* turned in pairs */
	{"heads", offsetof(struct model_config, heads), 9, 0, 0},
	{"kv_heads", offsetof(struct model_config, kv_heads), 2, 0, 0},
	{"layers", offsetof(struct model_config, layers), 3, 0, 0},
};

static struct model_config changed(const struct change *c)
{
	struct model_config config = base;
	memcpy((char *)&config + c->offset, &c->value, sizeof(c->value));
	return config;
}

/* Which halves of the two blocks are there. */
struct halves {
	bool attn[2], mlp[2];
};

static void emit_halves(const struct model_config *c, const struct halves *h, enum emit_form form, struct strbuf *out)
{
	struct arena a = {0};
	struct err e;
	struct forward f = {.config = c, .numerics = NUMERICS_F32, .max_rows = 64, .max_out = 64,
		.slots = c->context, .has_attn = h ? h->attn : NULL, .has_mlp = h ? h->mlp : NULL};
	const struct graph *plan = graph_plan(&a, forward_step(&a, &f));
	strbuf_init(out);
	if (!emit_object(&(struct emit_request){target_find("x86-64-v3"), &plan, 1, form, NULL}, out, &e))
		FAIL("%s", e.msg);
	arena_release(&a);
}

static void emit(const struct model_config *c, enum emit_form form, struct strbuf *out)
{
	emit_halves(c, NULL, form, out);
}

static bool equal(const struct strbuf *a, const struct strbuf *b)
{
	return a->n == b->n && !memcmp(a->s, b->s, a->n);
}

/* The object, with a folder of kept code. */
static void emit_kept(const struct graph *plan, const char *target, const char *kept, struct strbuf *out)
{
	struct err e;
	strbuf_init(out);
	if (!emit_object(&(struct emit_request){target_find(target), &plan, 1, EMIT_OBJECT, kept}, out, &e))
		FAIL("%s", e.msg);
}

/* The only file of a folder, in the arena; NULL when there are none or more. */
static const char *only_file(struct arena *a, const char *folder)
{
	const char *found = NULL;
	int n = 0;
	struct dirent *d;
	DIR *dir = opendir(folder);
	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.') {
			found = arena_printf(a, "%s/%s", folder, d->d_name);
			n++;
		}
	if (dir)
		closedir(dir);
	return n == 1 ? found : NULL;
}

TEST(kept_code_is_read_again_unless_it_is_damaged_or_of_something_else)
{
	struct arena a = {0};
	struct err e;
	struct strbuf plain, made, again, other, damaged, remembered[2];
	char head[DIGEST_HEX + 1];
	const char *kept = arena_printf(&a, "%s/code", test_tmpdir());
	struct forward f = {.config = &base, .numerics = NUMERICS_F32, .max_rows = 64, .max_out = 64, .slots = base.context};
	const struct graph *plan = graph_plan(&a, forward_piece_half(&a, &f, HALF_MLP));
	emit_kept(plan, "x86-64-v3", NULL, &plain);
	emit_kept(plan, "x86-64-v3", kept, &made);
	const char *path = only_file(&a, kept);
	REQUIRE(path);
	CHECK(equal(&plain, &made));
	/* A whole file is believed: that it is another object shows that it was read. */
	digest_hex(digest_of("other", 5), head);
	head[DIGEST_HEX - 1] = '\n';
	const struct buf part[] = {{head, DIGEST_HEX}, {"other", 5}}, changed[] = {{head, DIGEST_HEX}, {"otter", 5}};
	REQUIRE(file_write_parts(path, part, NELEM(part), 0644, &e));
	emit_kept(plan, "x86-64-v3", kept, &again);
	CHECK(again.n == 5 && !memcmp(again.s, "other", 5));
	emit_kept(plan, "x86-64-v4", kept, &other);
	CHECK(other.n != 5 && !equal(&other, &plain));
	CHECK(!only_file(&a, kept));
	REQUIRE(file_write_parts(path, changed, NELEM(changed), 0644, &e));
	emit_kept(plan, "x86-64-v3", kept, &damaged);
	CHECK(equal(&plain, &damaged));
	/* The memory of this process, of which there is nothing to be seen but that it mixes nothing up. */
	emit_kept(plan, "x86-64-v4", "", &remembered[0]);
	emit_kept(plan, "x86-64-v3", "", &remembered[1]);
	strbuf_release(&damaged);
	emit_kept(plan, "x86-64-v4", "", &damaged);
	CHECK(equal(&remembered[1], &plain) && equal(&remembered[0], &other) && equal(&damaged, &other));
	strbuf_release(&remembered[0]), strbuf_release(&remembered[1]);
	strbuf_release(&plain), strbuf_release(&made), strbuf_release(&again);
	strbuf_release(&other), strbuf_release(&damaged);
	arena_release(&a);
}

TEST(another_shape_is_another_object_and_the_same_shape_the_same_bytes)
{
	struct strbuf first, again, other;
	emit(&base, EMIT_OBJECT, &first);
	emit(&base, EMIT_OBJECT, &again);
	CHECK(equal(&first, &again) && first.n > 1000);
	for (size_t i = 0; i < NELEM(changes); i++) {
		struct model_config c = changed(&changes[i]);
		emit(&c, EMIT_OBJECT, &other);
		if (equal(&first, &other))
			FAIL("the object is the same with another %s", changes[i].name);
		strbuf_release(&other);
	}
	strbuf_release(&first);
	strbuf_release(&again);
}

/* How often a number is an operand of 64 bits inside functions: not in the tables around them, not in names,
 * not as a lane of a shuffle (i32). */
static size_t operands(const char *ir, long number)
{
	size_t n = 0;
	for (const char *f = strstr(ir, "\ndefine "); f; f = strstr(f + 1, "\ndefine ")) {
		const char *end = strstr(f, "\n}");
		for (const char *s = f; s < end; s++) {
			char *after;
			if (*s != ' ' || !isdigit((unsigned char)s[1]) || !strncmp(s - 3, "i32", 3))
				continue;
			long value = strtol(s + 1, &after, 10);
			n += value == number && strchr(", )\n", *after);
		}
	}
	return n;
}

TEST(dimensions_are_constants_of_the_code)
{
	struct strbuf ir, other;
	emit(&base, EMIT_LLVM_IR, &ir);
	for (size_t i = 0; i < NELEM(changes); i++) {
		const struct change *x = &changes[i];
		struct model_config c = changed(x);
		if (!x->before)
			continue;
		emit(&c, EMIT_LLVM_IR, &other);
		if (!operands(ir.s, x->before) || operands(ir.s, x->after))
			FAIL("%s %ld: %zu operands, and %zu of %ld", x->name, x->before,
				operands(ir.s, x->before), operands(ir.s, x->after), x->after);
		if (!operands(other.s, x->after) || operands(other.s, x->before))
			FAIL("%s %ld: %zu operands, and %zu of %ld", x->name, x->after,
				operands(other.s, x->after), operands(other.s, x->before), x->before);
		strbuf_release(&other);
	}
	strbuf_release(&ir);
}

/* program.h: kernel_run and kernel_items; of `dim` the program's table says what it holds. */
TEST(kernels_are_handed_no_dimension_of_the_model)
{
	struct strbuf ir, object;
	struct loaded loaded;
	struct err e;
	size_t nrun = 0, nitems = 0;
	emit(&base, EMIT_LLVM_IR, &ir);
	for (const char *f = strstr(ir.s, "\ndefine "); f; f = strstr(f + 1, "\ndefine ")) {
		const char *args = strchr(f, '(');
		if (!strncmp(args, "(ptr %0, ptr %1, ptr %2, i64 %3, i64 %4)", 40))
			nrun++;
		else if (!strncmp(args, "(ptr %0)", 8))
			nitems++;
		else
			FAIL("a function with other parameters:%.100s", f);
	}
	CHECK(nrun > 10 && nitems == 2 * nrun); /* items and work */
	emit(&base, EMIT_OBJECT, &object);
	REQUIRE(emit_load(strbuf_buf(&object), &loaded, &e));
	CHECK_INT(loaded.program[0]->ndim, 2);
	CHECK_STR(loaded.program[0]->dim[0].name, "R");
	CHECK_STR(loaded.program[0]->dim[1].name, "O");
	emit_unload(&loaded);
	strbuf_release(&object);
	strbuf_release(&ir);
}

/* ---- dropped halves ---- */

static const char *const attn_weights[] = {"attn.norm", "attn.q", "attn.k", "attn.v", "attn.o"},
	*const mlp_weights[] = {"mlp.norm", "mlp.gate", "mlp.up", "mlp.down"}, *const caches[] = {"k", "v"},
	*const always[] = {"tok", "out", "embed", "norm", "head", "logits"},
	*const with_attention[] = {"pos", "slot", "lo", "hi", "rope.freq"};

static const struct program_external *find_external(const struct program *p, const char *name)
{
	int i = program_external_find(p, name);
	return i < 0 ? NULL : &p->external[i];
}

/* The names are there, as large as in the whole model, or none of them is; how many are. */
static uint32_t expect(const struct program *p, const struct program *whole, const char *const *name, size_t n,
	bool there)
{
	for (size_t i = 0; i < n; i++) {
		const struct program_external *x = find_external(p, name[i]), *y = find_external(whole, name[i]);
		if (!y || (x != NULL) != there || (x && (x->bytes != y->bytes || x->kind != y->kind)))
			FAIL("'%s' is %s", name[i], x ? "there" : "missing");
	}
	return there ? (uint32_t)n : 0;
}

static uint32_t expect_block(struct arena *a, const struct program *p, const struct program *whole, int block,
	const struct halves *h)
{
	const char *attn[5], *mlp[4], *cache[2];
	for (size_t i = 0; i < 5; i++)
		attn[i] = arena_printf(a, "blk.%d.%s", block, attn_weights[i]);
	for (size_t i = 0; i < 4; i++)
		mlp[i] = arena_printf(a, "blk.%d.%s", block, mlp_weights[i]);
	for (size_t i = 0; i < 2; i++)
		cache[i] = arena_printf(a, "blk.%d.%s", block, caches[i]);
	return expect(p, whole, attn, 5, h->attn[block]) + expect(p, whole, cache, 2, h->attn[block]) +
		expect(p, whole, mlp, 4, h->mlp[block]);
}

static int kernels_named(const struct program *p, const char *part)
{
	int n = 0;
	for (uint32_t i = 0; i < p->nkernel; i++)
		n += strstr(p->kernel[i].name, part) != NULL;
	return n;
}

static bool holds(const struct strbuf *bytes, const char *text)
{
	return memmem(bytes->s, bytes->n, text, strlen(text)) != NULL;
}

static void check_program(const struct halves *h, const struct program *p, const struct program *whole)
{
	struct arena a = {0};
	int nattn = h->attn[0] + h->attn[1], nmlp = h->mlp[0] + h->mlp[1];
	uint32_t n = expect(p, whole, always, NELEM(always), true) +
		expect(p, whole, with_attention, NELEM(with_attention), nattn > 0);
	for (int block = 0; block < 2; block++)
		n += expect_block(&a, p, whole, block, h);
	CHECK_INT(p->nexternal, n); /* and nothing else */
	CHECK_INT(kernels_named(p, "attention"), nattn);
	CHECK((p->nkernel < whole->nkernel) == (nattn + nmlp < 4));
	arena_release(&a);
}

/* Names in the bytes of the object; of dimensions that only one kind of half has, operands of its functions. */
static void check_object(const struct halves *h, const struct strbuf *object)
{
	struct arena a = {0};
	struct strbuf ir;
	for (int block = 0; block < 2; block++) {
		CHECK(holds(object, arena_printf(&a, "blk.%d.attn", block)) == h->attn[block]);
		CHECK(holds(object, arena_printf(&a, "blk.%d.k", block)) == h->attn[block]);
		CHECK(holds(object, arena_printf(&a, "blk.%d.v", block)) == h->attn[block]);
		CHECK(holds(object, arena_printf(&a, "blk.%d.mlp", block)) == h->mlp[block]);
	}
	CHECK(holds(object, "attention") == (h->attn[0] || h->attn[1]));
	emit_halves(&base, h, EMIT_LLVM_IR, &ir);
	CHECK((operands(ir.s, base.ffn) > 0) == (h->mlp[0] || h->mlp[1]));
	CHECK((operands(ir.s, base.head_dim / 2) > 0) == (h->attn[0] || h->attn[1]));
	CHECK((operands(ir.s, base.context) > 0) == (h->attn[0] || h->attn[1]));
	strbuf_release(&ir);
	arena_release(&a);
}

/* Every choice of halves: no kernel, no symbol, no weight and no cache of one that is not there. */
TEST(a_dropped_half_leaves_nothing_in_the_code)
{
	struct strbuf all, object;
	struct loaded whole, some;
	struct err e;
	emit(&base, EMIT_OBJECT, &all);
	REQUIRE(emit_load(strbuf_buf(&all), &whole, &e));
	for (int mask = 0; mask < 16; mask++) {
		const struct halves h = {{mask & 1, mask & 2}, {mask & 4, mask & 8}};
		emit_halves(&base, &h, EMIT_OBJECT, &object);
		REQUIRE(emit_load(strbuf_buf(&object), &some, &e));
		check_program(&h, some.program[0], whole.program[0]);
		check_object(&h, &object);
		CHECK(mask == 15 ? equal(&object, &all) : object.n < all.n);
		emit_unload(&some);
		strbuf_release(&object);
	}
	emit_unload(&whole);
	strbuf_release(&all);
}
