/* Logits that the binary's self-test must give again, bit for bit, on whatever target of the class. */
#include "emit.h"
#include "eval.h"
#include "golden.h"
#include "rules.h"
#include "tokenizer.h"

/* Long enough to fill a chunk of rows in part and to pass between lanes of every reduction. */
enum { GOLDEN_TOKENS = 40, GOLDEN_ROWS = 4 };

/* The start token and then what a fixed generator draws from the vocabulary. */
static size_t choose_tokens(const struct tokenizer *t, uint32_t vocab, size_t context, uint32_t *token)
{
	size_t n = context < GOLDEN_TOKENS ? context : GOLDEN_TOKENS;
	uint64_t x = 88172645463325252u; /* xorshift64: Marsaglia 2003 */
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		token[i] = (uint32_t)(x % vocab);
	}
	if (t->start_id < vocab)
		token[0] = t->start_id;
	return n;
}

static bool record(struct rule_call *c, const struct program *prog, const struct param_source *params,
	size_t n, const uint32_t *token, struct err *e)
{
	struct session s;
	struct strbuf out;
	struct pool *pool = pool_new(call_threads(c));
	if (!pool)
		return err_set(e, ERR_IO, "unable to start %d threads", call_threads(c));
	strbuf_init(&out);
	bool ok = session_open(&s, prog, params, pool, GOLDEN_TOKENS, e);
	if (ok) {
		golden_record(&s, token, n, n < GOLDEN_ROWS ? n : GOLDEN_ROWS, &out);
		session_release(&s);
		ok = call_output(c, 0, strbuf_buf(&out), e);
	}
	strbuf_release(&out);
	pool_free(pool);
	return ok;
}

static bool run_golden(struct rule_call *c, struct err *e)
{
	struct state s;
	struct param_source params;
	struct buf block;
	struct tokenizer t;
	struct loaded loaded;
	enum numerics numerics;
	uint32_t token[GOLDEN_TOKENS];
	if (!rule_numerics(c, &numerics, e) || !rule_state(c, "shape", &s, e) ||
		!call_weights(c, "weights", &params, e) || !call_input_named(c, "tokenizer", &block, e) ||
		!tokenizer_load(&t, block, e))
		return false;
	size_t n = choose_tokens(&t, (uint32_t)s.config.vocab, (size_t)s.config.context, token);
	const struct graph *plan = step_plan(call_arena(c), &s, numerics, GOLDEN_TOKENS, GOLDEN_TOKENS, GOLDEN_TOKENS);
	if (!emit_native(&plan, 1, 1, &loaded, e))
		return false;
	bool ok = record(c, loaded.program[0], &params, n, token, e);
	emit_unload(&loaded);
	return ok;
}

static const char *const outputs[] = {"golden", NULL};
const struct rule rule_golden = {"golden", 1, outputs, "compute", run_golden, rule_numerics_tools, NULL};
