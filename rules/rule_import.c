/* The model's own files: weights to a state, the tokenizer to its block. */
#include "model.h"
#include "rules.h"
#include "tok.h"

static bool input_files(struct rule_call *c, struct model_file **out, struct err *e)
{
	size_t n = call_ninput(c);
	*out = arena_array(call_arena(c), struct model_file, n);
	for (size_t i = 0; i < n; i++) {
		(*out)[i].name = call_input_name(c, i);
		if (!call_input(c, i, &(*out)[i].bytes, e))
			return false;
	}
	return true;
}

static bool put_tensors(struct rule_call *c, const struct model *m, struct state *s, struct err *e)
{
	double done = 0, total = 0;
	s->tensor = arena_array(call_arena(c), struct state_tensor, m->ntensor);
	s->ntensor = m->ntensor;
	for (size_t i = 0; i < m->ntensor; i++)
		total += (double)m->tensor[i].bytes;
	for (size_t i = 0; i < m->ntensor; i++) {
		const struct model_tensor *t = &m->tensor[i];
		struct state_tensor *to = &s->tensor[i];
		*to = (struct state_tensor){.name = t->name, .dtype = t->dtype, .ndim = t->ndim,
			.bytes = t->bytes};
		for (int d = 0; d < t->ndim; d++)
			to->dims[d] = t->dims[d];
		if (call_next(c) == CALL_STOP)
			return err_set(e, ERR_CANCELLED, "interrupted");
		if (!call_put(c, (struct buf){t->data, t->bytes}, &to->digest, e))
			return false;
		done += (double)t->bytes;
		call_progress(c, &(struct progress){done, total, "bytes", t->name});
	}
	return true;
}

static bool run_import(struct rule_call *c, struct err *e)
{
	struct model_file *file;
	struct model m;
	if (!input_files(c, &file, e))
		return false;
	bool ok = model_open_files(&m, file, call_ninput(c), e);
	struct state s = {.config = m.config};
	ok = ok && put_tensors(c, &m, &s, e) && rule_output_state(c, &s, e);
	model_release(&m);
	return ok;
}

static bool run_tokenizer(struct rule_call *c, struct err *e)
{
	struct model_file *file;
	struct strbuf block;
	if (!input_files(c, &file, e))
		return false;
	strbuf_init(&block);
	bool ok = tok_read_files(call_arena(c), file, call_ninput(c), &block, e) &&
		call_output(c, 0, strbuf_buf(&block), e);
	strbuf_release(&block);
	return ok;
}

static const char *const state_outputs[] = {"state", NULL};
static const char *const tokenizer_outputs[] = {"tokenizer", NULL};
const struct rule rule_import = {"import", 1, state_outputs, NULL, run_import, NULL, NULL};
const struct rule rule_tokenizer = {"tokenizer", 1, tokenizer_outputs, NULL, run_tokenizer, NULL, NULL};
