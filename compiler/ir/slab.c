/*
 * The slab: every stored value that is neither a state nor an output gets an offset at compile time.
 * A place is free again behind the last region that reads it, of few rows on a GPU some regions later: so that those may run beside the
 * one that reads it. First fit, in order of regions, larger values first among those of one region.
 */
#include <string.h>

#include "ir.h"
#include "layout.h"

enum { SLAB_ALIGN = 64, LATER = 3 /* queries, keys and values */ };

struct slab_place {
	int64_t offset, bytes;
	int last; /* region */
};

static int last_reader(const struct graph *g, int i)
{
	int last = g->node[i].region;
	for (int k = i + 1; k < g->nnode; k++)
		for (int s = 0; s < op_info[g->node[k].op].nsrc; s++)
			if (g->node[k].src[s] == i && g->node[k].region > last)
				last = g->node[k].region;
	return last;
}

static bool is_output(const struct graph *g, int i)
{
	for (int k = 0; k < g->noutput; k++)
		if (g->output[k].node == i)
			return true;
	return false;
}

/* used is sorted by offset; returns the first gap of `bytes`. */
static int64_t first_fit(const struct slab_place *used, int nused, int64_t bytes, int *at)
{
	int64_t offset = 0;
	for (*at = 0; *at < nused; (*at)++) {
		if (used[*at].offset - offset >= bytes)
			return offset;
		offset = used[*at].offset + used[*at].bytes;
	}
	return offset;
}

void graph_slab(struct graph *g, enum regions_for target)
{
	int later = target == REGIONS_FOR_GPU && graph_has_few_rows(g) ? LATER : 0;
	struct arena scratch = {0};
	struct slab_place *used = arena_array(&scratch, struct slab_place, g->nnode + 1);
	int nused = 0;
	g->slab_bytes = 0;
	for (int r = 0; r < g->nregion; r++) {
		int kept = 0;
		for (int i = 0; i < nused; i++)
			if (used[i].last >= r)
				used[kept++] = used[i];
		nused = kept;
		for (;;) {
			int next = -1;
			int64_t bytes = 0;
			for (int k = 0; k < g->region[r].nnode; k++) {
				int i = g->region[r].node[k];
				struct node *n = &g->node[i];
				if (!n->stored || n->offset >= 0 || state_of(g, i) != i || is_output(g, i))
					continue;
				if (tensor_bytes(g, n) > bytes) {
					bytes = tensor_bytes(g, n);
					next = i;
				}
			}
			if (next < 0)
				break;
			int at;
			bytes = (bytes + SLAB_ALIGN - 1) / SLAB_ALIGN * SLAB_ALIGN;
			int64_t offset = first_fit(used, nused, bytes, &at);
			memmove(used + at + 1, used + at, (size_t)(nused - at) * sizeof(*used));
			used[at] = (struct slab_place){offset, bytes, last_reader(g, next) + later};
			nused++;
			g->node[next].offset = offset;
			if (offset + bytes > g->slab_bytes)
				g->slab_bytes = offset + bytes;
		}
	}
	arena_release(&scratch);
}
