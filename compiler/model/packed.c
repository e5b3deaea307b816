#include "packed.h"

#include <stdlib.h>
#include <string.h>

enum { PACK_ALIGN = 64 };

static float from_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023, u;
	if (e == 31) {
		u = sign | 0x7f800000 | m << 13;
	} else if (e) {
		u = sign | (e + 112) << 23 | m << 13;
	} else if (m) { /* a denormal half is a normal float */
		int shift = __builtin_clz(m) - 21;
		u = sign | (uint32_t)(113 - shift) << 23 | (m << shift & 1023) << 13;
	} else {
		u = sign;
	}
	float f;
	memcpy(&f, &u, 4);
	return f;
}

static uint32_t load_bits(enum model_dtype from, const uint8_t *p, int64_t i)
{
	uint32_t u = 0;
	if (from == MODEL_F32) {
		memcpy(&u, p + 4 * i, 4);
		return u;
	}
	uint16_t h;
	memcpy(&h, p + 2 * i, 2);
	if (from == MODEL_BF16)
		return (uint32_t)h << 16;
	float f = from_f16(h);
	memcpy(&u, &f, 4);
	return u;
}

/* recipe.c's cast, on bits. */
static uint16_t round_bf16(uint32_t u)
{
	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)((u | 0x00400000) >> 16);
	if (!(u & 0x7f800000))
		return (uint16_t)((u & 0x80000000u) >> 16);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void pack_weight(const struct graph *g, int node, enum model_dtype from, const void *data,
	struct strbuf *out)
{
	const struct node *n = &g->node[node];
	size_t bytes = (size_t)tensor_bytes(g, n), at = out->n;
	void *zero = xcalloc(1, bytes);
	strbuf_add(out, zero, bytes);
	free(zero);
	uint8_t *to = (uint8_t *)out->s + at;
	int64_t index[IR_MAX_AXES] = {0};
	for (int64_t i = 0;; i++) {
		uint32_t u = load_bits(from, data, i);
		int64_t where = layout_offset(g, &n->type, n->layout, index);
		if (n->type.dtype == DT_BF16) {
			uint16_t h = round_bf16(u);
			memcpy(to + 2 * where, &h, 2);
		} else {
			memcpy(to + 4 * where, &u, 4);
		}
		int a = n->type.naxis - 1;
		while (a >= 0 && ++index[a] == g->axis[n->type.axis[a]].extent)
			index[a--] = 0;
		if (a < 0)
			return;
	}
}

static bool pack_one(const struct graph *plan, int node, const struct model *m, struct strbuf *out,
	struct err *e)
{
	const char *name = plan->node[node].name;
	if (!strcmp(name, "rope.freq")) {
		float *freq = xcalloc((size_t)m->config.head_dim, sizeof(*freq));
		forward_rope_freq(&m->config, freq);
		pack_weight(plan, node, MODEL_F32, freq, out);
		free(freq);
		return true;
	}
	const struct model_tensor *t = model_find(m, name);
	if (!t)
		return err_set(e, ERR_IO, "'%s' has no tensor '%s'", m->path, name);
	pack_weight(plan, node, t->dtype, t->data, out);
	return true;
}

bool packed_new(struct packed *p, const struct graph *plan, const struct model *m, struct err *e)
{
	struct strbuf all;
	bool ok = true;
	*p = (struct packed){.name = xcalloc((size_t)plan->nnode, sizeof(*p->name)),
		.bytes = xcalloc((size_t)plan->nnode, sizeof(*p->bytes))};
	size_t *offset = xcalloc((size_t)plan->nnode, sizeof(*offset));
	strbuf_init(&all);
	for (int i = 0; i < plan->nnode && ok; i++) {
		if (plan->node[i].op != OP_PARAM)
			continue;
		while (all.n % PACK_ALIGN)
			strbuf_addc(&all, 0);
		p->name[p->nweight] = plan->node[i].name;
		offset[p->nweight] = all.n;
		ok = pack_one(plan, i, m, &all, e);
		p->bytes[p->nweight].n = all.n - offset[p->nweight];
		p->nweight++;
	}
	p->memory = aligned_alloc(PACK_ALIGN, (all.n / PACK_ALIGN + 2) * PACK_ALIGN);
	if (!p->memory)
		oom();
	memcpy(p->memory, all.s, all.n);
	for (int i = 0; i < p->nweight; i++)
		p->bytes[i].p = (char *)p->memory + offset[i];
	free(offset);
	strbuf_release(&all);
	return ok;
}

void packed_release(struct packed *p)
{
	free(p->name);
	free(p->bytes);
	free(p->memory);
	*p = (struct packed){0};
}

struct buf packed_find(void *packed, const char *name)
{
	const struct packed *p = packed;
	for (int i = 0; i < p->nweight; i++)
		if (!strcmp(p->name[i], name))
			return p->bytes[i];
	return (struct buf){0};
}
