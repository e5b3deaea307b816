#include "score_method.h"

#include <math.h>

#include "spec_table.h"

#define SCORE(id, symbol, name, reads, ranks) extern const struct score_method score_##symbol;
#include "score_methods.h"
#undef SCORE
#define SCORE(id, symbol, name, reads, ranks) [SCORE_##id] = &score_##symbol,
static const struct score_method *const methods[NSCORE_METHODS] = {
#include "score_methods.h"
};
#undef SCORE

const struct score_method *score_method_find(const char *name, unsigned *reads)
{
	int i = spec_word_index(spec_score_methods, name);
	if (i < 0)
		return NULL;
	if (reads)
		*reads = spec_score_traits[i].reads;
	return methods[i];
}

const char *score_method_rank(const struct scores *s)
{
	const struct score_method *m = score_method_find(s->method, NULL);
	for (int i = 0; m && s->nunit && m->rank[i]; i++) {
		int column = scores_column(s, m->rank[i] + (m->rank[i][0] == '-'));
		if (column >= 0 && !isnan(s->unit[0].value[column]))
			return m->rank[i];
	}
	return NULL;
}
