/*
 * What every part of trim stands on: errors as values, bugs as aborts.
 *
 * Conventions of the whole tree: true is success; `struct err *` comes last and is written on
 * failure only, at most once per level by err_context(). Bugs and exhausted host memory abort.
 * Only main prints errors or exits. Text is UTF-8; sizes are size_t bytes; files are POSIX.
 */
#ifndef BASE_H
#define BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

enum err_kind {
	ERR_SPEC,      /* what the user wrote is wrong: exit 2 */
	ERR_IO,        /* a file or the system failed, or data is damaged: exit 1 */
	ERR_TOOL,      /* something is missing on this machine: exit 36 */
	ERR_DEVICE,    /* an accelerator failed or its memory is exhausted: exit 1 */
	ERR_NUMERIC,   /* NaN, divergence: exit 1 */
	ERR_CANCELLED, /* interrupted: exit 130 */
	ERR_LOCKED,    /* another process holds a lock: exit 9 */
};

struct err {
	enum err_kind kind;
	char file[256]; /* "" if no file is concerned */
	int line, col;  /* from 1; 0 is unknown */
	char msg[768];  /* lower case, failure first, subject quoted, no full stop */
};

/* Fills `e` (which may be NULL: the caller does not care) and returns false, so that a failing
 * function ends in `return err_set(e, ERR_IO, "unable to open '%s'", path)`. */
bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set with a place. file may be NULL. */
bool err_at(struct err *e, enum err_kind kind, const char *file, int line, int col,
	const char *fmt, ...) PRINTF_LIKE(6, 7);

/* As err_set(ERR_IO) with ": <strerror(errno)>" behind the message. */
bool err_errno(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts "<context>: " before the message. Returns false. */
bool err_context(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Writes "file:line:col: msg" as far as the places are known into out. */
void err_format(const struct err *e, char *out, size_t out_bytes);

/* A broken invariant of ours: prints file, line and message to stderr, aborts. */
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
noreturn void bug_at(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Host memory is exhausted: one line to stderr, aborts. */
noreturn void oom(void);

/* malloc, calloc, realloc and strdup that never return NULL. Sizes may be 0. */
void *xmalloc(size_t bytes);
void *xcalloc(size_t n, size_t bytes);
void *xrealloc(void *p, size_t bytes);
void *xaligned(size_t bytes); /* of whole cache lines, 64 bytes each, and one more behind them */
char *xstrdup(const char *s);

/* The candidate nearest to `word` by edit distance with transpositions, or NULL when none is near
 * enough to be worth offering (more than a third of the letters differ). */
const char *nearest_name(const char *word, const char *const *names, size_t nnames);

#endif
