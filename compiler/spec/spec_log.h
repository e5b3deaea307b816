/*
 * Messages about a spec: all errors of all its files in one run, each with its place.
 *
 * A message is an error (the spec is wrong, or something it names is missing here) or "later": the
 * spec is right, but says something that this version of trim does not build yet. The log keeps at
 * most SPEC_MAX_MESSAGES and counts the rest.
 */
#ifndef SPEC_LOG_H
#define SPEC_LOG_H

#include "arena.h"

struct spec_file;

struct place {
	const struct spec_file *file;
	int line, col; /* from 1; col counts characters, not bytes */
};

enum { SPEC_MAX_MESSAGES = 100 };

enum spec_level { SPEC_ERROR, SPEC_LATER };

struct spec_message {
	enum spec_level level;
	struct err err;
	int file_index; /* in the order in which the files were opened: messages sort by it */
};

struct spec_log {
	struct arena *arena;
	struct spec_message *msg;
	int nmsg;
	int nerror, nlater, nleft_out;
};

void spec_log_init(struct spec_log *log, struct arena *a);

/* Returns false, so that a failing check ends in `return spec_error(...)`. at may be NULL. */
bool spec_error(struct spec_log *log, const struct place *at, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* As spec_error for what the spec names and this machine lacks (exit 36). */
bool spec_lacking(struct spec_log *log, const struct place *at, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
void spec_later(struct spec_log *log, const struct place *at, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* By file, line and column; equal messages once. */
void spec_log_sort(struct spec_log *log);

/* The kind that decides the exit code: ERR_SPEC if any error is one. nerror must not be 0. */
enum err_kind spec_log_kind(const struct spec_log *log);

/* A user's text made fit for one line of a message: its first line, at most 60 bytes, "..." behind it if
 * there is more; lives in the log's arena. */
const char *spec_quote(struct spec_log *log, const char *text);

#endif
