#include "binary.h"
#include "sample.h"
#include "score.h"

static void add_result(struct strbuf *out, const struct score_text *sum, int json)
{
	double nll = sum->nll / (double)sum->tokens;
	strbuf_addf(out, json ? "{\"tokens\":%llu,\"nll\":" : "tokens      %llu\nnll         ",
		(unsigned long long)sum->tokens);
	strbuf_add_double(out, nll);
	strbuf_adds(out, json ? ",\"perplexity\":" : "\nperplexity  ");
	strbuf_add_double(out, sample_exp(nll));
	strbuf_adds(out, json ? "}\n" : "\n");
}

/* See score_windows for what is counted. */
bool run_score(struct binary *b, struct err *e)
{
	if (!b->options.argument)
		return err_set(e, ERR_SPEC, "score needs a FILE, or - for standard input");
	struct strbuf text, out;
	struct token_list tokens = {0};
	struct score_text sum = {0};
	strbuf_init(&text);
	strbuf_init(&out);
	bool ok = binary_read(&text, b->options.argument, e);
	if (ok) {
		tokenizer_encode(&b->tokenizer, text.s, text.n, 0, &tokens);
		score_windows(&b->session, tokens.id, tokens.n, tokenizer_start(&b->tokenizer), b->session.context,
			&sum);
		if (sum.tokens)
			add_result(&out, &sum, b->options.json);
		else
			ok = err_set(
				e, ERR_SPEC, "'%s' holds no text to score", b->options.argument);
	}
	ok = ok && binary_print(&out, e);
	strbuf_release(&text);
	strbuf_release(&out);
	token_list_release(&tokens);
	return ok;
}
