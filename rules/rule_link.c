/* Code, weights and what goes with them as one program. The output is a recipe over the objects of the
 * store, so that weights lie there once. */
#include "link.h"

#include <string.h>

#include "arch.h"
#include "model_info.h"
#include "rules.h"
#include "tokenizer.h"
#include "weights.h"

/* An entry of the container and the object that holds its bytes. */
struct part {
	struct link_entry entry;
	struct digest digest;
};
struct parts {
	struct part *part;
	size_t npart;
};

static void add_part(struct rule_call *c, struct parts *p, const char *name, enum entry_kind kind,
	struct digest digest, uint64_t bytes)
{
	*arena_push(call_arena(c), p->part, p->npart) =
		(struct part){{.name = name, .kind = kind, .fd = -1, .bytes = bytes}, digest};
}

/* The input of that name, or those of several datasets ("NAME/DATASET"), as they are; absent ones are left out. */
static bool add_input(struct rule_call *c, struct parts *p, const char *name, enum entry_kind kind,
	struct err *e)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < call_ninput(c); i++) {
		const char *input = call_input_name(c, i);
		struct buf bytes;
		if (strncmp(input, name, n) || (input[n] && input[n] != '/'))
			continue;
		if (!call_input(c, i, &bytes, e))
			return false;
		call_ref(c, call_input_digest(c, i), bytes.n);
		add_part(c, p, input, kind, call_input_digest(c, i), bytes.n);
	}
	return true;
}

static bool add_weights(struct rule_call *c, struct parts *p, struct model_info *info, struct err *e)
{
	struct buf text;
	struct weights w;
	if (!call_input_named(c, "weights", &text, e) || !weights_read(call_arena(c), text, &w, e))
		return false;
	for (size_t i = 0; i < w.nweight; i++) {
		const struct weight *x = &w.weight[i];
		call_ref(c, x->digest, x->bytes);
		info->weight_bytes += (int64_t)x->bytes;
		add_part(c, p, arena_printf(call_arena(c), CONTAINER_TENSOR_PREFIX "%s", x->name),
			ENTRY_TENSOR, x->digest, x->bytes);
	}
	return true;
}

static bool describe(struct rule_call *c, struct model_info *info, struct err *e)
{
	struct state s;
	struct tokenizer t;
	struct buf block, lock;
	char unit[32];
	if (!rule_state(c, "state", &s, e) || !call_input_named(c, "tokenizer", &block, e) ||
		!tokenizer_load(&t, block, e))
		return false;
	info->start_token = t.start_id == TOKENIZER_NONE ? -1 : (int64_t)t.start_id;
	info->end_token = t.end_id == TOKENIZER_NONE ? -1 : (int64_t)t.end_id;
	info->name = call_param(c, "name");
	info->target = call_param(c, "target");
	info->hardware = call_param(c, "hardware");
	info->numerics = call_param(c, "numerics");
	info->architecture = s.config.arch->name;
	info->blocks = s.config.layers;
	for (size_t i = 0; i < s.ntensor; i++)
		info->parameters += (int64_t)(s.tensor[i].bytes / model_dtypes[s.tensor[i].dtype].bytes);
	info->threads = fields_int(call_params(c), "threads");
	info->context = fields_int(call_params(c), "context");
	if (!info->context)
		info->context = s.config.context;
	info->dropped = arena_array(call_arena(c), const char *, s.ndropped);
	info->ndropped = s.ndropped;
	for (size_t i = 0; i < s.ndropped; i++) {
		unit_name(s.dropped[i], unit);
		info->dropped[i] = arena_strdup(call_arena(c), unit);
	}
	if (!call_input_named(c, "lock", &lock, e))
		return false;
	info->lock = arena_strndup(call_arena(c), lock.p, lock.n);
	return true;
}

static bool add_info(struct rule_call *c, struct parts *p, const struct model_info *info, struct err *e)
{
	struct strbuf text;
	struct digest digest;
	strbuf_init(&text);
	model_info_write(&text, info);
	bool ok = call_put(c, strbuf_buf(&text), &digest, e);
	if (ok) {
		add_part(c, p, "info", ENTRY_INFO, digest, text.n);
		p->part[p->npart - 1].entry.p = arena_copy(call_arena(c), text.s, text.n);
	}
	strbuf_release(&text);
	return ok;
}

static void hash_zeros(struct hasher *h, uint64_t n)
{
	static const char zeros[4096];
	for (; n > sizeof(zeros); n -= sizeof(zeros))
		hasher_add(h, zeros, sizeof(zeros));
	hasher_add(h, zeros, n);
}

/* What this call put is in no store yet; its bytes are in the call's arena. */
static bool add_piece(struct rule_call *c, const struct parts *p, const struct link_piece *piece,
	struct recipe *r, struct hasher *h, struct err *e)
{
	struct recipe_part *to = &r->part[r->npart++];
	struct buf bytes = {piece->p, piece->bytes};
	*to = (struct recipe_part){.bytes = piece->bytes, .zero = piece->kind == PIECE_ZERO};
	r->bytes += piece->bytes;
	if (piece->kind == PIECE_ZERO) {
		hash_zeros(h, piece->bytes);
		return true;
	}
	if (piece->kind == PIECE_BYTES && !call_put(c, bytes, &to->object, e))
		return false;
	if (piece->kind == PIECE_ENTRY) {
		const struct part *part = &p->part[piece->entry];
		to->object = part->digest;
		bytes.p = part->entry.p;
		if (!bytes.p && !call_object(c, part->digest, &bytes, e))
			return false;
	}
	hasher_add(h, bytes.p, bytes.n);
	return true;
}

static bool put_recipe(struct rule_call *c, const struct parts *p, const struct link_image *image,
	struct err *e)
{
	struct recipe r = {.part = arena_array(call_arena(c), struct recipe_part, image->npiece)};
	struct hasher *h = hasher_new();
	struct strbuf text;
	bool ok = true;
	for (size_t i = 0; i < image->npiece && ok; i++)
		ok = add_piece(c, p, &image->piece[i], &r, h, e);
	r.whole = hasher_end(h);
	strbuf_init(&text);
	if (ok) {
		recipe_write(&text, &r);
		ok = call_output(c, 0, strbuf_buf(&text), e);
	}
	strbuf_release(&text);
	return ok;
}

static bool find_arch(struct rule_call *c, enum target_arch *out, struct err *e)
{
	for (*out = ARCH_X86_64; *out <= ARCH_AARCH64; (*out)++)
		if (!strcmp(link_arch_name(*out), call_param(c, "arch")))
			return true;
	return err_set(e, ERR_SPEC, "unknown architecture '%s'", call_param(c, "arch"));
}

/* One for each CPU that the binary has code for, in the order of the inputs. */
static bool add_objects(struct rule_call *c, struct link_request *r, struct err *e)
{
	struct buf *object = NULL;
	for (size_t i = 0; i < call_ninput(c); i++)
		if (!strcmp(call_input_name(c, i), "object") &&
			!call_input(c, i, arena_push(call_arena(c), object, r->nobject), e))
			return false;
	r->object = object;
	return true;
}

static bool run_link(struct rule_call *c, struct err *e)
{
	const struct rule_env *env = call_env(c);
	struct model_info info = {0};
	struct parts p = {0};
	struct link_request r = {0};
	struct link_image image;
	if (!find_arch(c, &r.arch, e) || !add_objects(c, &r, e) ||
		!add_weights(c, &p, &info, e) || !add_input(c, &p, "tokenizer", ENTRY_TOKENIZER, e) ||
		!add_input(c, &p, "golden", ENTRY_GOLDEN, e) || !add_input(c, &p, "gpu", ENTRY_GPU, e) || !add_input(c, &p, "task", ENTRY_TASK, e) ||
		!describe(c, &info, e) || !add_info(c, &p, &info, e))
		return false;
	r.dynamic = call_param(c, "libc") != NULL;
	r.runtime_folder = r.dynamic ? env->gpu_runtime_folder : env->runtime_folder[r.arch];
	struct link_entry *entry = arena_array(call_arena(c), struct link_entry, p.npart);
	for (size_t i = 0; i < p.npart; i++)
		entry[i] = p.part[i].entry;
	r.entry = entry;
	r.nentry = p.npart;
	return link_plan(call_arena(c), &r, &image, e) && put_recipe(c, &p, &image, e);
}

static const char *const outputs[] = {"binary", NULL};
const struct rule rule_link = {"link", 2, outputs, NULL, run_link, NULL, NULL};
