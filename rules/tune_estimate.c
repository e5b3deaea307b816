/* What a tune will take. Before the blocks that train are known, as many from the first on stand for them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "foretell.h"
#include "rules.h"
#include "trainable.h"
#include "trainer.h"

/* So many steps of the first epoch are packed to see how full micro-batches are. */
enum { SAMPLE_STEPS = 64 };

static bool listed(const char *list, const char *word, size_t n)
{
	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ' ' || p[-1] == '\n') &&
			(p[n] == ' ' || p[n] == '\n' || !p[n]))
			return true;
	return false;
}

bool trainable_has(const char *list, const char *tensor)
{
	struct unit u;
	char block[32];
	if (!strcmp(tensor, "rope.freq"))
		return false;
	if (!unit_of_tensor(tensor, &u))
		return listed(list, "embeddings", strlen("embeddings"));
	snprintf(block, sizeof(block), "blk.%d", u.layer);
	return listed(list, block, strlen(block));
}

struct tuning {
	const struct estimate_call *c;
	const struct fields *param;
	struct arena *a;
	struct state state, parent;
	const char *trainable;
	struct train_lora lora;
	struct train_distill distill;
	struct trainer_options o;
	int64_t batch, steps;
	double adds; /* micro-batches of a step */
	struct trainer_load load;
	bool loaded;
};

static bool trains(void *ctx, const char *name)
{
	const struct tuning *t = ctx;
	return trainable_has(t->trainable, name);
}

/* As the rule `trainable` will write it, but for which blocks. */
static const char *likely_trainable(struct tuning *t, const struct estimate_call *maker)
{
	const struct fields *param = estimate_params(maker);
	int count = (int)ceil(fields_double(param, "share") * t->state.config.layers - 1e-9);
	struct strbuf list;
	strbuf_init(&list);
	if (fields_int(param, "embeddings"))
		strbuf_adds(&list, "embeddings\n");
	for (int i = 0; i < count; i++)
		strbuf_addf(&list, "blk.%d\n", i);
	const char *text = arena_strdup(t->a, list.s);
	strbuf_release(&list);
	return text;
}

static bool find_trainable(struct tuning *t)
{
	struct buf list;
	int i = estimate_find(t->c, "trainable");
	if (i < 0)
		return false;
	if (estimate_input(t->c, (size_t)i, &list)) {
		t->trainable = arena_strndup(t->a, list.p, list.n);
		return true;
	}
	const struct estimate_call *maker = estimate_maker(t->c, (size_t)i);
	if (!maker || !fields_get(estimate_params(maker), "share"))
		return false;
	t->trainable = likely_trainable(t, maker);
	return true;
}

static void add_batch(struct trainer_load *sum, const struct pack_batch *b)
{
	sum->rows += b->nused;
	for (uint32_t i = 0; i < b->nused; i++) {
		sum->outs += b->target[i] >= 0 && b->weight[i] != 0;
		sum->attended += i + 1 - b->lo[i];
	}
}

/* Packs the steps that come first; false: no row trains, or there are no rows yet. */
static bool sample(struct tuning *t, const struct token_table *rows, const uint32_t *order, size_t n)
{
	size_t nstep = 0, nbatch, all = 0;
	struct pack_batch *b;
	for (size_t i = 0; i < n && nstep < SAMPLE_STEPS; i += (size_t)t->batch, nstep++) {
		size_t left = n - i, take = left < (size_t)t->batch ? left : (size_t)t->batch;
		if (!pack_rows(t->a, rows, order + i, take, (uint32_t)t->o.rows, &b, &nbatch, NULL))
			return false;
		for (size_t k = 0; k < nbatch; k++)
			add_batch(&t->load, &b[k]);
		all += nbatch;
	}
	if (!all || !t->load.outs)
		return false;
	t->adds = (double)all / (double)nstep;
	t->load.attended /= t->load.rows;
	t->load.rows /= (double)all;
	t->load.outs /= (double)all;
	return true;
}

static void load_rows(struct tuning *t)
{
	struct mix_set *set;
	struct token_table rows;
	struct mix mix;
	size_t nset, n;
	if (!foretell_tokens(t->c, "rows", &set, &nset, &rows))
		return;
	int64_t longest = token_table_longest(&rows);
	t->o.rows = t->o.rows < longest ? longest : t->o.rows;
	mix_init(t->a, &mix, set, nset, (uint64_t)fields_int(t->param, "seed"));
	uint32_t *order = mix.epoch_tokens ? mix_epoch(t->a, &mix, &n) : NULL;
	if (order && (t->loaded = sample(t, &rows, order, n)))
		t->steps = fields_get(t->param, "steps") ? fields_int(t->param, "steps")
							 : fields_int(t->param, "epochs") * (((int64_t)n + t->batch - 1) / t->batch);
	mix_release(&mix);
}

static bool anything_trains(struct tuning *t)
{
	for (size_t i = 0; i < t->state.ntensor; i++)
		if (trains(t, t->state.tensor[i].name))
			return true;
	return false;
}

static bool read_options(struct tuning *t)
{
	t->o = (struct trainer_options){.weights = {.state = &t->state}, .trains = trains, .ctx = t,
		.rows = fields_int(t->param, "micro"), .device = rule_device(t->param), .nthreads = estimate_threads(t->c), .beta1 = 0.9, .beta2 = 0.999,
		.eps = 1e-8, .decay = fields_double(t->param, "weight-decay"), .looks = fields_get(t->param, "patience")};
	t->batch = fields_int(t->param, "batch");
	if (!foretell_numerics(t->c, &t->o.numerics))
		return false;
	if (fields_get(t->param, "rank")) {
		t->lora = (struct train_lora){fields_int(t->param, "rank"), fields_double(t->param, "alpha"), 0};
		t->o.lora = &t->lora;
	}
	if (fields_get(t->param, "distill")) {
		t->distill = (struct train_distill){&t->parent, fields_double(t->param, "distill"),
			fields_double(t->param, "temperature")};
		t->o.distill = &t->distill;
		return foretell_state(t->c, "parent", &t->parent);
	}
	return true;
}

bool tune_estimate(const struct estimate_call *c, struct estimate *out)
{
	struct tuning t = {.c = c, .param = estimate_params(c), .a = estimate_arena(c)};
	struct trainer_needs needs;
	if (!foretell_state(c, "state", &t.state) || !find_trainable(&t) || !read_options(&t))
		return false;
	load_rows(&t);
	if (!anything_trains(&t) || (t.loaded && !t.steps))
		return false;
	trainer_foretell(&t.o, &t.load, &needs);
	*out = (struct estimate){
		.lower = t.o.rows > fields_int(t.param, "micro") ? "a smaller length of the tasks, or a smaller share trainable"
								: "a smaller share trainable, or method=\"lora\""};
	foretell_code(out, "tune", foretell_kind(t.o.numerics, t.o.device), &t.state.config, needs.nfunction);
	foretell_memory(out, t.o.device, needs.memory_bytes, foretell_largest(&t.state));
	if (t.loaded)
		out->work = (double)t.steps * (t.adds * needs.add + needs.update);
	return true;
}
