#include <string.h>
#include <unistd.h>

#include "binary.h"
#include "sample.h"

/* Text on its way out: what might be the beginning of a stop text is held back. */
struct outlet {
	const struct repeated *stop;
	bool direct;         /* printed as it comes */
	struct strbuf text;  /* everything that counts */
	size_t printed;      /* bytes of it */
	bool stopped;
};

/* How many bytes at the end of the text may still become a stop text. */
static size_t undecided(const struct outlet *o)
{
	size_t most = 0;
	for (size_t i = 0; i < o->stop->n; i++) {
		const char *s = o->stop->text[i];
		size_t n = strlen(s);
		for (size_t k = n ? n - 1 : 0; k > most; k--)
			if (k <= o->text.n && !memcmp(o->text.s + o->text.n - k, s, k)) {
				most = k;
				break;
			}
	}
	return most;
}

/* Cuts the text before the first stop text in it. */
static void cut(struct outlet *o)
{
	for (size_t i = 0; i < o->stop->n; i++) {
		const char *s = o->stop->text[i];
		size_t n = strlen(s);
		for (size_t at = o->printed; n && at + n <= o->text.n; at++)
			if (!memcmp(o->text.s + at, s, n)) {
				o->text.n = at;
				o->text.s[at] = '\0';
				o->stopped = true;
			}
	}
}

static bool flush(struct outlet *o, size_t held, struct err *e)
{
	size_t end = o->text.n - held;
	if (!o->direct || end <= o->printed)
		return true;
	struct strbuf piece = {o->text.s + o->printed, end - o->printed, 0};
	o->printed = end;
	return binary_print(&piece, e);
}

static bool check_options(const struct options *o, struct err *e)
{
	if (o->prompt && o->file)
		return err_set(e, ERR_SPEC, "-p and -f both give the text to continue");
	if (!o->prompt && !o->file)
		return err_set(
			e, ERR_SPEC, "what should be done? -p TEXT continues a text; see --help");
	return o->top_p > 0 || err_set(e, ERR_SPEC, "--top-p: 0 leaves no token");
}

static bool read_prompt(struct binary *b, struct token_list *prompt, struct err *e)
{
	const struct options *o = &b->options;
	struct strbuf text;
	strbuf_init(&text);
	bool ok = true;
	if (o->file || !strcmp(o->prompt, "-"))
		ok = binary_read(&text, o->file ? o->file : "-", e);
	else
		strbuf_adds(&text, o->prompt);
	if (ok)
		tokenizer_encode(&b->tokenizer, text.s, text.n, TOKENIZER_ADD_START, prompt);
	strbuf_release(&text);
	if (ok && !prompt->n) {
		if (b->tokenizer.start_id == TOKENIZER_NONE)
			return err_set(e, ERR_SPEC,
				"an empty text cannot be continued: the model has no start token");
		token_list_push(prompt, b->tokenizer.start_id);
	}
	if (ok && prompt->n > b->session.context)
		return err_set(e, ERR_SPEC, "the text has %zu tokens, the context holds %u",
			prompt->n, b->session.context);
	return ok;
}

struct ending {
	size_t tokens;      /* made, the end token not counted */
	const char *reason; /* "end": the model's own; "stop": a stop text; "length"; "context" */
};

static bool generate(struct binary *b, const struct token_list *prompt, struct outlet *out,
	struct ending *ending, struct err *e)
{
	const struct options *o = &b->options;
	struct session *s = &b->session;
	struct sequence q = {0};
	struct sampler sampler;
	struct tokenizer_stream stream;
	sampler_init(&sampler, (size_t)s->nvocab, (uint64_t)o->seed);
	sampler.temperature = o->temperature;
	sampler.top_p = o->top_p;
	sampler.top_k = (uint32_t)o->top_k;
	tokenizer_stream_init(&stream, &b->tokenizer,
		prompt->n == 1 && prompt->id[0] == b->tokenizer.start_id ? TOKENIZER_AT_START : 0);
	bool ok = true;
	ending->reason = "length";
	const float *logits = o->max_tokens ? session_prefill(s, &q, prompt->id, prompt->n) : NULL;
	while (ok && (o->max_tokens < 0 || ending->tokens < (size_t)o->max_tokens)) {
		uint32_t token = sampler_next(&sampler, logits);
		if (tokenizer_is_stop(&b->tokenizer, token)) {
			ending->reason = "end";
			break;
		}
		ending->tokens++;
		tokenizer_stream_put(&stream, token, &out->text);
		cut(out);
		ok = flush(out, out->stopped ? 0 : undecided(out), e);
		if (out->stopped) {
			ending->reason = "stop";
			break;
		}
		if (o->max_tokens >= 0 && ending->tokens == (size_t)o->max_tokens)
			break;
		if (q.n == s->context) {
			ending->reason = "context";
			break;
		}
		logits = session_decode(s, &q, token);
	}
	if (!out->stopped)
		tokenizer_stream_end(&stream, &out->text);
	sampler_release(&sampler);
	return ok && flush(out, 0, e);
}

static void add_json(struct strbuf *json, const struct outlet *out, const struct token_list *prompt,
	const struct ending *ending)
{
	strbuf_adds(json, "{\"text\":");
	strbuf_add_json(json, out->text.s, out->text.n);
	strbuf_addf(json, ",\"prompt_tokens\":%zu,\"tokens\":%zu,\"finish\":\"%s\"}\n", prompt->n,
		ending->tokens, ending->reason);
}

bool run_generate(struct binary *b, struct err *e)
{
	struct token_list prompt = {0};
	struct outlet out = {.stop = &b->options.stop, .direct = !b->options.json};
	struct ending ending = {0};
	struct strbuf end;
	strbuf_init(&out.text);
	strbuf_init(&end);
	bool ok = check_options(&b->options, e) && read_prompt(b, &prompt, e) &&
		generate(b, &prompt, &out, &ending, e);
	if (ok && b->options.json)
		add_json(&end, &out, &prompt, &ending);
	else if (ok && isatty(STDOUT_FILENO))
		strbuf_addc(&end, '\n');
	ok = ok && binary_print(&end, e);
	strbuf_release(&out.text);
	strbuf_release(&end);
	token_list_release(&prompt);
	return ok;
}
