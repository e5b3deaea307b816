/*
 * The entry of an emitted binary. This file, like all of runtime/, is compiled for the plainest CPU
 * of its architecture, so it can say that this CPU is too old before any generated code runs.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "binary.h"
#include "file.h"

/* The section of all generated objects: the linker gives it these names. */
extern const struct variant __start_trim_variants[], __stop_trim_variants[];

bool binary_print(const struct strbuf *text, struct err *e)
{
	return fd_write(STDOUT_FILENO, text->s, text->n, "standard output", e);
}

bool binary_read(struct strbuf *out, const char *path, struct err *e)
{
	return file_read(out, strcmp(path, "-") ? path : "/dev/stdin", e);
}

/* `info` says what is there also where none of it runs. */
static bool choose_code(struct binary *b, struct err *e)
{
	bool needed = b->mode->run != run_info || b->options.cpu;
	b->variants = (struct variants){__start_trim_variants,
		(size_t)(__stop_trim_variants - __start_trim_variants)};
	cpu_read(&b->cpu);
	b->variant = variant_choose(b->variants, &b->cpu, b->options.cpu, e);
	return b->variant || !needed;
}

static bool open_data(struct binary *b, struct err *e)
{
	struct buf bytes;
	if (!container_of_program(&bytes, e) || !container_open(&b->container, bytes, e))
		return false;
	b->info_text = container_find(&b->container, "info");
	if (!b->info_text.p)
		return err_set(e, ERR_IO, "the program's description is missing");
	return model_info_read(&b->arena, b->info_text, &b->info, e);
}

static const struct program *find_step(const struct variant *v)
{
	for (uint32_t i = 0; i < v->nprogram; i++)
		if (!strcmp(v->program[i]->name, "step"))
			return v->program[i];
	BUG("no program 'step' was compiled in");
}

/* On a GPU where that is wanted and can be; else false, and *e is written only if it has to be one. */
static bool open_on_gpu(struct binary *b, bool *failed, struct err *e)
{
	const char *device = b->options.device;
	struct err why = {0};
	if (device && !strcmp(device, "cpu"))
		return false;
	*failed = device != NULL;
	if (!binary_gpu_open) {
		err_set(*failed ? e : NULL, ERR_TOOL, "--device %s: this program has code for CPUs alone", device ? device : "");
		return false;
	}
	if (binary_gpu_open(b, *failed ? e : &why))
		return true;
	if (*failed && e->kind == ERR_DEVICE)
		e->kind = ERR_TOOL;
	if (!*failed)
		fprintf(stderr, "%s: %s; running on the CPU\n", b->program, why.msg);
	return false;
}

static bool open_session(struct binary *b, struct err *e)
{
	struct param_source params = {&b->container, container_param};
	bool failed = false;
	if (open_on_gpu(b, &failed, e))
		return true;
	return !failed && session_open(&b->session, find_step(b->variant), &params, b->pool, (uint32_t)b->info.context, e);
}

static bool open_model(struct binary *b, struct err *e)
{
	struct buf tok = container_find(&b->container, "tokenizer");
	int threads = (int)(b->options.threads ? b->options.threads : b->info.threads);
	if (!tok.p)
		return err_set(e, ERR_IO, "the program's tokenizer is missing");
	if (!tokenizer_load(&b->tokenizer, tok, e))
		return false;
	threads = threads ? threads : cpu_threads();
	b->pool = pool_new(threads);
	if (!b->pool)
		return err_set(e, ERR_IO, "unable to start %d threads", threads);
	if (!open_session(b, e))
		return false;
	/* Tokens go into the model's tables unchecked. */
	if (b->tokenizer.nvocab > b->session.nvocab)
		return err_set(e, ERR_IO, "the tokenizer has %u tokens, the model knows %lld",
			b->tokenizer.nvocab, (long long)b->session.nvocab);
	return true;
}

static bool run(struct binary *b, int argc, char **argv, struct err *e)
{
	if (!options_parse(&b->options, argc, argv, &b->mode, e))
		return false;
	if (b->options.help) {
		struct strbuf text;
		strbuf_init(&text);
		options_help(&text, b->program, open_data(b, NULL) ? &b->info : NULL);
		bool ok = binary_print(&text, e);
		strbuf_release(&text);
		return ok;
	}
	if (!open_data(b, e) || !choose_code(b, e))
		return false;
	if (b->mode->run != run_info && !open_model(b, e))
		return false;
	if (!b->mode->run(b, e))
		return false;
	if (b->session.failed)
		*e = b->session.error;
	return !b->session.failed;
}

int main(int argc, char **argv)
{
	struct binary b = {.program = argc ? argv[0] : "trim"};
	struct err e = {0};
	const char *slash = strrchr(b.program, '/');
	if (slash)
		b.program = slash + 1;
	if (run(&b, argc, argv, &e))
		return 0; /* the system takes back what is open */
	char text[sizeof e];
	err_format(&e, text, sizeof text);
	fprintf(stderr, "%s: %s\n", b.program, text);
	return e.kind == ERR_SPEC ? 2 : e.kind == ERR_TOOL ? 36 : e.kind == ERR_CANCELLED ? 130 : 1;
}
