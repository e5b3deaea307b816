#include "foretell.h"

#include <stdlib.h>
#include <string.h>

#include "arch.h"

/* The generator's own memory, and for each function that it makes bytes and seconds. */
enum { EMITTER_BYTES = 76 << 20, FUNCTION_BYTES = 40 << 10 };
static const double EMITTER_S = 0.05, FUNCTION_S = 0.012;

bool foretell_state(const struct estimate_call *c, const char *name, struct state *out)
{
	struct buf text;
	int i = estimate_find(c, name);
	if (i < 0)
		return false;
	if (estimate_input(c, (size_t)i, &text))
		return state_read(estimate_arena(c), text, name, out, NULL);
	c = estimate_maker(c, (size_t)i);
	return c && (foretell_state(c, "state", out) || foretell_state(c, "shape", out));
}

bool foretell_tokens(const struct estimate_call *c, const char *name, struct mix_set **set, size_t *n,
	struct token_table *joined)
{
	struct arena *a = estimate_arena(c);
	size_t ninput = estimate_ninput(c);
	const char *weight = fields_get(estimate_params(c), "weights");
	struct token_table *t = arena_array(a, struct token_table, ninput);
	*set = arena_array(a, struct mix_set, ninput);
	*n = 0;
	for (size_t i = 0; i < ninput; i++) {
		struct buf bytes;
		char *end;
		if (strcmp(estimate_input_name(c, i), name))
			continue;
		if (!estimate_input(c, i, &bytes) || !token_table_open(&t[*n], bytes, NULL))
			return false;
		(*set)[*n] = (struct mix_set){&t[*n], weight ? strtoull(weight, &end, 10) : 0};
		weight = weight ? end : NULL;
		++*n;
	}
	if (*n)
		token_tables_join(a, t, *n, joined);
	return *n;
}

bool foretell_numerics(const struct estimate_call *c, enum numerics *out)
{
	const char *name = fields_get(estimate_params(c), "numerics");
	return name && numerics_find(name, out);
}

const char *foretell_kind(enum numerics n, enum device_kind device)
{
	return device_work(device, numerics_classes[n].weight);
}

void foretell_memory(struct estimate *out, enum device_kind device, uint64_t bytes, uint64_t host_bytes)
{
	out->memory_bytes += device == DEVICE_CPU ? bytes : host_bytes;
	out->device_bytes += device == DEVICE_CPU ? 0 : bytes;
}

uint64_t foretell_largest(const struct state *s)
{
	uint64_t most = 0;
	for (size_t i = 0; i < s->ntensor; i++)
		most = s->tensor[i].bytes > most ? s->tensor[i].bytes : most;
	return 3 * most;
}

void foretell_code(struct estimate *out, const char *rule, const char *kind, const struct model_config *config, size_t nfunction)
{
	struct strbuf text;
	uint64_t bytes = FORETELL_PROCESS_BYTES + EMITTER_BYTES + nfunction * FUNCTION_BYTES;
	strbuf_init(&text);
	strbuf_addf(&text, "%s %s %s %zu", rule, kind, config->arch->name, nfunction);
	for (const struct arch_key *k = config->arch->key; k < config->arch->key + config->arch->nkey; k++)
		strbuf_addf(&text, " %.17g", arch_get(config, k));
	out->memory_bytes += bytes;
	out->base_bytes += bytes;
	out->fixed_seconds = EMITTER_S + (double)nfunction * FUNCTION_S;
	out->fixed = digest_of(text.s, text.n);
	out->kind = kind;
	strbuf_release(&text);
}
