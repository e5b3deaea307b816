#include "weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct weight *)a)->name, ((const struct weight *)b)->name);
}

void weights_write(struct strbuf *out, struct weights *w)
{
	char hex[DIGEST_HEX];
	if (w->nweight)
		qsort(w->weight, w->nweight, sizeof(*w->weight), by_name);
	strbuf_addf(out, "trim-weights 1\nnumerics %s\n", numerics_classes[w->numerics].name);
	for (size_t i = 0; i < w->nweight; i++) {
		digest_hex(w->weight[i].digest, hex);
		strbuf_addf(out, "weight %s %s %" PRIu64 "\n", w->weight[i].name, hex,
			w->weight[i].bytes);
	}
}

static bool read_line(struct arena *a, const char *line, struct weights *w)
{
	char name[128], hex[DIGEST_HEX];
	struct weight weight;
	int end = 0;
	if (sscanf(line, "weight %127s %32s %" SCNu64 "%n", name, hex, &weight.bytes, &end) != 3 || line[end])
		return false;
	weight.name = arena_strdup(a, name);
	if (!digest_parse(hex, &weight.digest))
		return false;
	*arena_push(a, w->weight, w->nweight) = weight;
	return true;
}

bool weights_read(struct arena *a, struct buf text, struct weights *out, struct err *e)
{
	char *rest = arena_strndup(a, text.p, text.n);
	*out = (struct weights){0};
	for (int n = 1; *rest; n++) {
		char *line = strsep(&rest, "\n");
		bool ok = n == 1 ? !strcmp(line, "trim-weights 1") :
			n == 2 ? !strncmp(line, "numerics ", 9) && numerics_find(line + 9, &out->numerics) :
			read_line(a, line, out);
		if (!ok)
			return err_set(e, ERR_IO, "the list of weights is damaged in line %d", n);
		if (!rest)
			return err_set(e, ERR_IO, "the list of weights ends early");
	}
	return out->nweight || err_set(e, ERR_IO, "the list of weights is empty");
}

bool weight_pack(const struct weight_source *from, const struct graph *plan, int node, const char *name,
	struct strbuf *out, struct err *e)
{
	struct buf data;
	if (pack_made(plan, node, &from->state->config, out))
		return true;
	const struct state_tensor *t = state_find(from->state, name);
	if (!t)
		return err_set(e, ERR_IO, "the state has no tensor '%s'", name);
	if (!from->read(from->ctx, t, &data, e))
		return false;
	if (data.n != t->bytes)
		return err_set(e, ERR_IO, "tensor '%s' has %zu bytes, its state says %llu", name, data.n,
			(unsigned long long)t->bytes);
	pack_weight(plan, node, t->dtype, data.p, out);
	return true;
}

static bool pack_param_of(void *from, const struct graph *plan, int node, struct strbuf *out, struct err *e)
{
	return weight_pack(from, plan, node, plan->node[node].name, out, e);
}

bool weights_pack(const struct weight_source *from, const struct graph *plan, struct packed *out, struct err *e)
{
	return packed_all(out, plan, pack_param_of, (void *)(uintptr_t)from, e);
}
