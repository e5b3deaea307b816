/*
 * Speed on this machine. Prefill: a text of up to 512 tokens, read at once. Decode: up to 64 tokens one by one, in turn
 * one near the start of the context and one at its end, where attention reads the whole cache, so that both meet
 * the machine in the same mood. Each is repeated until it took half a second; the median counts. Bytes per token are all weights and the cache up to the middle of the decoded
 * tokens. Start to first token: this program started anew with `-p TEXT -n 1`, TEXT of START_TOKENS tokens, until its
 * first byte or its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "binary.h"

extern char **environ;

enum { PREFILL_TOKENS = 512, DECODE_TOKENS = 64, DECODE_AT = 64, MAX_RUNS = 64, STARTS = 5, START_TOKENS = 8 };
static const int64_t enough_ns = 500000000;

struct bench {
	struct binary *b;
	uint32_t *token;
	size_t nprefill, ndecode, nstart; /* of texts: tokens */
	size_t near, deep; /* tokens of the context before those that are decoded */
};

struct times {
	int64_t prefill, start; /* ns */
	int64_t near, deep;     /* ns of a token */
};

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void prefill(struct bench *x)
{
	struct sequence q = {0};
	session_prefill(&x->b->session, &q, x->token, x->nprefill);
}

static int64_t decode_ns(struct bench *x, size_t at, size_t i)
{
	struct sequence q = {.n = (uint32_t)(at + i)};
	int64_t begin = now_ns();
	session_decode(&x->b->session, &q, x->token[i % x->nprefill]);
	return now_ns() - begin;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static int64_t median_ns(int64_t *took, size_t n)
{
	qsort(took, n, sizeof *took, by_size);
	return took[n / 2] ? took[n / 2] : 1;
}

static int64_t measure_prefill(struct bench *x)
{
	int64_t took[MAX_RUNS], all = 0;
	size_t n = 0;
	prefill(x);
	do {
		int64_t begin = now_ns();
		prefill(x);
		took[n] = now_ns() - begin;
		all += took[n++];
	} while (n < MAX_RUNS && all < enough_ns);
	return median_ns(took, n);
}

static void measure_decode(struct bench *x, struct times *t)
{
	int64_t near[MAX_RUNS * DECODE_TOKENS], deep[MAX_RUNS * DECODE_TOKENS];
	int64_t all = 0;
	size_t n = 0;
	decode_ns(x, x->near, 0);
	decode_ns(x, x->deep, 0);
	for (int run = 0; run < MAX_RUNS && all < enough_ns; run++)
		for (size_t i = 0; i < x->ndecode; i++, n++) {
			near[n] = decode_ns(x, x->near, i);
			deep[n] = decode_ns(x, x->deep, i);
			all += near[n] + deep[n];
		}
	t->near = median_ns(near, n);
	t->deep = median_ns(deep, n);
}

/* Letters and blanks that are START_TOKENS tokens, or the first more than that (or than the context): "a a a ...". */
static size_t start_text(const struct binary *b, struct strbuf *text)
{
	struct token_list tokens = {0};
	size_t most = b->session.context < START_TOKENS ? b->session.context : START_TOKENS;
	do {
		tokens.n = 0;
		strbuf_adds(text, text->n ? " a" : "a");
		tokenizer_encode(&b->tokenizer, text->s, text->n, TOKENIZER_ADD_START, &tokens);
	} while (tokens.n < most && text->n < 4 * START_TOKENS);
	size_t n = tokens.n;
	token_list_release(&tokens);
	return n;
}

static bool start_once(const struct variant *v, const char *text, int64_t *ns, struct err *e)
{
	const char *argv[] = {"bench", "-p", text, "-n", "1", "--cpu", v->name, NULL};
	int fd[2], status;
	pid_t pid;
	char byte;
	posix_spawn_file_actions_t actions;
	if (pipe2(fd, O_CLOEXEC))
		return err_errno(e, "unable to make a pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], STDOUT_FILENO);
	int64_t begin = now_ns();
	int failed = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	if (!failed)
		while (read(fd[0], &byte, 1) < 0 && errno == EINTR)
			;
	*ns = now_ns() - begin;
	close(fd[0]);
	errno = failed;
	if (failed)
		return err_errno(e, "unable to start this program again");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return true;
}

static bool start_ns(struct bench *x, int64_t *median, struct err *e)
{
	int64_t took[STARTS] = {0};
	struct strbuf text;
	bool ok = true;
	strbuf_init(&text);
	x->nstart = start_text(x->b, &text);
	for (int i = 0; i < STARTS && ok; i++)
		ok = start_once(x->b->variant, text.s, &took[i], e);
	strbuf_release(&text);
	*median = median_ns(took, STARTS);
	return ok;
}

static double per_second(double amount, int64_t ns)
{
	return amount * 1e9 / (double)ns;
}

/* What decoding one token reads: weights, and the cache up to the middle of the tokens decoded at `at`. */
static double bytes_per_token(const struct bench *x, size_t at)
{
	const struct session *s = &x->b->session;
	double place = ((double)at + (double)x->ndecode / 2) / s->context;
	return (double)s->param_bytes + (double)s->state_bytes * place;
}

/* What is in memory now beside weights, which are mapped, and the cache, which bench has written whole. */
static long long beside_bytes(const struct bench *x)
{
	unsigned long size, resident, shared;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f)
		return 0;
	int n = fscanf(f, "%lu %lu %lu", &size, &resident, &shared);
	fclose(f);
	long long own = n == 3 ? (long long)(resident - shared) * sysconf(_SC_PAGESIZE) : 0;
	return own - (long long)x->b->session.state_bytes;
}

static void add_result(struct strbuf *out, const struct bench *x, const struct times *t)
{
	double near = per_second(1, t->near);
	double deep = per_second(1, t->deep);
	double bytes = bytes_per_token(x, x->near), deep_bytes = bytes_per_token(x, x->deep);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	const char *format = x->b->options.json
		? "{\"cpu\":\"%s\",\"threads\":%d,\"prefill_tokens\":%zu,\"prefill_tokens_per_second\":%.1f,"
		  "\"decode_tokens\":%zu,\"decode_at\":%zu,\"decode_tokens_per_second\":%.2f,"
		  "\"bytes_per_token\":%.0f,\"bytes_per_second\":%.0f,"
		  "\"deep_at\":%zu,\"deep_tokens_per_second\":%.2f,\"deep_bytes_per_token\":%.0f,"
		  "\"start_tokens\":%zu,\"start_seconds\":%.6f,\"peak_bytes\":%lld,\"beside_bytes\":%lld}\n"
		: "code for           %s\n"
		  "threads            %d\n"
		  "prefill            of %zu tokens: %.1f tokens/s\n"
		  "decode             of %zu tokens behind %zu: %.2f tokens/s\n"
		  "read per token     %.0f bytes\n"
		  "reading rate       %.0f bytes/s\n"
		  "decode             behind %zu: %.2f tokens/s\n"
		  "read per token     %.0f bytes\n"
		  "start              behind %zu tokens, to the first made: %.6f s\n"
		  "peak memory        %lld bytes\n"
		  "beside weights     and cache: %lld bytes\n";
	strbuf_addf(out, format, x->b->variant->name, pool_threads(x->b->pool), x->nprefill,
		per_second((double)x->nprefill, t->prefill), x->ndecode, x->near, near, bytes, bytes * near,
		x->deep, deep, deep_bytes, x->nstart, (double)t->start / 1e9, (long long)usage.ru_maxrss * 1024, beside_bytes(x));
}

/* Memory that was never written is one page of zeros, which no cache misses. */
static void write_states(struct session *s)
{
	for (uint32_t i = 0; i < s->prog->nexternal; i++)
		if (s->prog->external[i].kind == EXTERNAL_STATE)
			memset(s->t[1 + i], 0, s->prog->external[i].bytes);
}

bool run_bench(struct binary *b, struct err *e)
{
	struct bench x = {.b = b, .nprefill = PREFILL_TOKENS, .ndecode = DECODE_TOKENS, .near = DECODE_AT};
	uint32_t context = b->session.context;
	struct times t;
	if (context < 4)
		return err_set(e, ERR_SPEC, "a context of %u tokens is too short to measure",
			context);
	if (x.nprefill > context / 2)
		x.nprefill = context / 2;
	if (x.ndecode > context / 2)
		x.ndecode = context / 2;
	x.deep = context - x.ndecode;
	if (x.near > x.deep)
		x.near = x.deep;
	x.token = xmalloc(PREFILL_TOKENS * sizeof *x.token);
	for (size_t i = 0; i < PREFILL_TOKENS; i++)
		x.token[i] = (uint32_t)(i * 2654435761u % b->tokenizer.nvocab);
	write_states(&b->session);
	t.prefill = measure_prefill(&x);
	measure_decode(&x, &t);
	free(x.token);
	if (!start_ns(&x, &t.start, e))
		return false;
	struct strbuf out;
	strbuf_init(&out);
	add_result(&out, &x, &t);
	bool ok = binary_print(&out, e);
	strbuf_release(&out);
	return ok;
}
