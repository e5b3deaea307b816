#include "base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool err_fill(struct err *e, enum err_kind kind, const char *fmt, va_list ap)
{
	if (!e)
		return false;
	e->kind = kind;
	e->file[0] = '\0';
	e->line = e->col = 0;
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	return false;
}

bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_fill(e, kind, fmt, ap);
	va_end(ap);
	return false;
}

bool err_at(struct err *e, enum err_kind kind, const char *file, int line, int col,
	const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_fill(e, kind, fmt, ap);
	va_end(ap);
	if (!e)
		return false;
	snprintf(e->file, sizeof(e->file), "%s", file ? file : "");
	e->line = line;
	e->col = col;
	return false;
}

bool err_errno(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	va_start(ap, fmt);
	err_fill(e, ERR_IO, fmt, ap);
	va_end(ap);
	if (e) {
		size_t n = strlen(e->msg);
		snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", strerror(saved));
	}
	return false;
}

bool err_context(struct err *e, const char *fmt, ...)
{
	char head[sizeof(e->msg)], tail[sizeof(e->msg)];
	va_list ap;
	if (!e)
		return false;
	va_start(ap, fmt);
	vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	memcpy(tail, e->msg, sizeof(tail));
	size_t n = strlen(head);
	memcpy(e->msg, head, n + 1);
	if (n + 3 < sizeof(e->msg))
		snprintf(e->msg + n, sizeof(e->msg) - n, ": %.*s", (int)(sizeof(e->msg) - n - 3), tail);
	return false;
}

void err_format(const struct err *e, char *out, size_t out_bytes)
{
	if (!e->file[0])
		snprintf(out, out_bytes, "%s", e->msg);
	else if (!e->line)
		snprintf(out, out_bytes, "%s: %s", e->file, e->msg);
	else if (!e->col)
		snprintf(out, out_bytes, "%s:%d: %s", e->file, e->line, e->msg);
	else
		snprintf(out, out_bytes, "%s:%d:%d: %s", e->file, e->line, e->col, e->msg);
}

noreturn void bug_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "trim: bug at %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

noreturn void oom(void)
{
	fputs("trim: out of memory\n", stderr);
	abort();
}

void *xmalloc(size_t bytes)
{
	void *p = malloc(bytes ? bytes : 1);
	if (!p)
		oom();
	return p;
}

void *xcalloc(size_t n, size_t bytes)
{
	void *p = calloc(n ? n : 1, bytes ? bytes : 1);
	if (!p)
		oom();
	return p;
}

void *xrealloc(void *p, size_t bytes)
{
	p = realloc(p, bytes ? bytes : 1);
	if (!p)
		oom();
	return p;
}

void *xaligned(size_t bytes)
{
	enum { LINE = 64 };
	void *p = aligned_alloc(LINE, (bytes + 2 * LINE - 1) / LINE * LINE);
	if (!p)
		oom();
	return p;
}

char *xstrdup(const char *s)
{
	size_t n = strlen(s) + 1;
	return memcpy(xmalloc(n), s, n);
}

/* Damerau-Levenshtein, restricted, with words cut at 63 letters. */
static int edit_distance(const char *a, const char *b)
{
	int d[64][64];
	int na = (int)strnlen(a, 63), nb = (int)strnlen(b, 63);
	for (int i = 0; i <= na; i++)
		d[i][0] = i;
	for (int j = 0; j <= nb; j++)
		d[0][j] = j;
	for (int i = 1; i <= na; i++) {
		for (int j = 1; j <= nb; j++) {
			int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[na][nb];
}

const char *nearest_name(const char *word, const char *const *names, size_t nnames)
{
	const char *best = NULL;
	int best_distance = (int)(strlen(word) + 1) / 3 + 1;
	for (size_t i = 0; i < nnames; i++) {
		int distance = edit_distance(word, names[i]);
		if (distance < best_distance) {
			best_distance = distance;
			best = names[i];
		}
	}
	return best;
}
