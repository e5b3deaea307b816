#include "digest_map.h"

#include <stdlib.h>

void digest_map_release(struct digest_map *m)
{
	free(m->slot);
	*m = (struct digest_map){0};
}

static struct digest_slot *find(const struct digest_map *m, struct digest key)
{
	size_t i = (size_t)key.lo & (m->cap - 1);
	while (m->slot[i].used && !digest_equal(m->slot[i].key, key))
		i = (i + 1) & (m->cap - 1);
	return &m->slot[i];
}

uint64_t *digest_map_get(const struct digest_map *m, struct digest key)
{
	if (!m->cap)
		return NULL;
	struct digest_slot *s = find(m, key);
	return s->used ? &s->value : NULL;
}

uint64_t *digest_map_put(struct digest_map *m, struct digest key)
{
	if (m->n * 4 >= m->cap * 3) {
		struct digest_map larger = {.cap = m->cap ? m->cap * 2 : 64, .n = m->n};
		larger.slot = xcalloc(larger.cap, sizeof(*larger.slot));
		for (size_t i = 0; i < m->cap; i++)
			if (m->slot[i].used)
				*find(&larger, m->slot[i].key) = m->slot[i];
		free(m->slot);
		*m = larger;
	}
	struct digest_slot *s = find(m, key);
	if (!s->used) {
		*s = (struct digest_slot){.key = key, .used = true};
		m->n++;
	}
	return &s->value;
}
