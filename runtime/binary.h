/*
 * The emitted binary's own program: one table of modes, one of options (binary_options.c), one file
 * per mode. main opens what the mode needs and ends the process; everything else returns errors.
 *
 * stdout is data, stderr is talk. Exit codes: 0 ok, 1 failed, 2 usage, 36 something that this
 * machine lacks.
 */
#ifndef BINARY_H
#define BINARY_H

#include "container.h"
#include "model_info.h"
#include "model_run.h"
#include "tokenizer.h"
#include "variant.h"

enum { MAX_REPEATS = 16, MAX_THREADS = 1024 };

/* Texts of an option that may be given several times. */
struct repeated {
	const char *text[MAX_REPEATS];
	size_t n;
};

struct options {
	const char *mode;     /* NULL: none named */
	const char *argument; /* what stands behind the mode; NULL: nothing */
	const char *prompt, *file;
	const char *dataset; /* whose task predict uses; NULL: the one that has answers */
	const char *cpu;    /* whose code runs; NULL: the most capable that does */
	const char *device; /* "cpu", "cuda", "cuda:1"; NULL: a GPU where there is one and code for it */
	int64_t max_tokens; /* -1: until the end token or the context is full */
	double temperature, top_p;
	int64_t top_k, seed, threads; /* threads 0: as the binary was built for */
	struct repeated stop, field;
	int json, help; /* counts */
};

struct binary;
struct mode {
	const char *name;     /* "" for -p */
	const char *argument; /* in the help; NULL: takes none */
	const char *help;
	bool (*run)(struct binary *b, struct err *e);
};
extern const struct mode modes[];
extern const int nmodes;

/* Everything that a mode may use. Open from start to end of the process. */
struct binary {
	struct arena arena;
	const char *program; /* how it was called, for messages and help */
	struct options options;
	const struct mode *mode;
	struct container container;
	struct cpu cpu;
	struct variants variants;
	const struct variant *variant; /* that runs; NULL (info alone): none does */
	struct model_info info;
	struct buf info_text;
	struct tokenizer tokenizer;
	struct pool *pool;
	struct session session;
	const char *where; /* what the session runs on: a GPU's name; NULL: the CPU */
};

/* ERR_SPEC: usage. */
bool options_parse(
	struct options *o, int argc, char **argv, const struct mode **mode, struct err *e);
void options_help(struct strbuf *out, const char *program, const struct model_info *info);

/* Writes to standard output at once; ERR_IO. */
bool binary_print(const struct strbuf *text, struct err *e);

/* A file, or standard input for "-". */
bool binary_read(struct strbuf *out, const char *path, struct err *e);

/* Opens b->session on a GPU; b->where says which. Only programs with code for GPUs have this function (binary_gpu.c): in
 * others its address is NULL. ERR_TOOL: no driver, device or code for it; ERR_DEVICE. */
bool binary_gpu_open(struct binary *b, struct err *e) __attribute__((weak));
/* Appends "GPU code      sm_90; PTX of sm_90 for later ones" and a line end. */
void binary_gpu_info(struct strbuf *out, struct binary *b) __attribute__((weak));

bool run_generate(struct binary *b, struct err *e);
bool run_predict(struct binary *b, struct err *e);
bool run_score(struct binary *b, struct err *e);
bool run_bench(struct binary *b, struct err *e);
bool run_info(struct binary *b, struct err *e);
bool run_selftest(struct binary *b, struct err *e);

#endif
