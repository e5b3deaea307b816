#include "spec_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_file.h"
#include "utf8.h"

void spec_log_init(struct spec_log *log, struct arena *a)
{
	*log = (struct spec_log){.arena = a};
}

static void add(struct spec_log *log, enum spec_level level, enum err_kind kind,
	const struct place *at, const char *fmt, va_list args)
{
	char msg[sizeof(((struct err *)0)->msg)];
	vsnprintf(msg, sizeof(msg), fmt, args);
	if (level == SPEC_ERROR)
		log->nerror++;
	else
		log->nlater++;
	if (log->nmsg == SPEC_MAX_MESSAGES) {
		log->nleft_out++;
		return;
	}
	struct spec_message *m = arena_push(log->arena, log->msg, log->nmsg);
	*m = (struct spec_message){.level = level};
	if (at && at->file) {
		err_at(&m->err, kind, at->file->name, at->line, at->col, "%s", msg);
		m->file_index = at->file->index;
	} else {
		err_set(&m->err, kind, "%s", msg);
	}
}

bool spec_error(struct spec_log *log, const struct place *at, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(log, SPEC_ERROR, ERR_SPEC, at, fmt, args);
	va_end(args);
	return false;
}

bool spec_lacking(struct spec_log *log, const struct place *at, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(log, SPEC_ERROR, ERR_TOOL, at, fmt, args);
	va_end(args);
	return false;
}

void spec_later(struct spec_log *log, const struct place *at, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(log, SPEC_LATER, ERR_SPEC, at, fmt, args);
	va_end(args);
}

static int compare(const void *pa, const void *pb)
{
	const struct spec_message *a = pa, *b = pb;
	if (a->file_index != b->file_index)
		return a->file_index < b->file_index ? -1 : 1;
	if (a->err.line != b->err.line)
		return a->err.line < b->err.line ? -1 : 1;
	if (a->err.col != b->err.col)
		return a->err.col < b->err.col ? -1 : 1;
	return strcmp(a->err.msg, b->err.msg);
}

void spec_log_sort(struct spec_log *log)
{
	if (log->nmsg == 0)
		return;
	qsort(log->msg, (size_t)log->nmsg, sizeof(log->msg[0]), compare);
	int n = 1;
	for (int i = 1; i < log->nmsg; i++) {
		if (compare(&log->msg[i], &log->msg[n - 1]) != 0) {
			if (n != i)
				log->msg[n] = log->msg[i];
			n++;
		} else if (log->msg[i].level == SPEC_ERROR) {
			log->nerror--;
		} else {
			log->nlater--;
		}
	}
	log->nmsg = n;
}

enum err_kind spec_log_kind(const struct spec_log *log)
{
	enum err_kind kind = ERR_TOOL;
	for (int i = 0; i < log->nmsg; i++)
		if (log->msg[i].level == SPEC_ERROR && log->msg[i].err.kind != ERR_TOOL)
			kind = log->msg[i].err.kind;
	return kind;
}

const char *spec_quote(struct spec_log *log, const char *text)
{
	enum { MAX = 60 };
	char out[MAX + 4];
	size_t n = 0, left = strlen(text);
	const char *s = text;
	while (left > 0) {
		uint32_t cp;
		size_t len = utf8_decode(s, left, &cp);
		if (len == 0 || n + len > MAX || cp == '\n')
			break;
		if (cp < 0x20 || cp == 0x7f)
			out[n++] = ' ';
		else
			memcpy(out + n, s, len), n += len;
		s += len;
		left -= len;
	}
	if (strspn(s, " \t\r\n") == left)
		left = 0;
	memcpy(out + n, left ? "..." : "", left ? 4 : 1);
	return arena_strdup(log->arena, out);
}
