#include "strbuf.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static char empty[1];

void strbuf_init(struct strbuf *b)
{
	*b = (struct strbuf){.s = empty};
}

void strbuf_release(struct strbuf *b)
{
	if (b->cap)
		free(b->s);
	strbuf_init(b);
}

void strbuf_clear(struct strbuf *b)
{
	b->n = 0;
	if (b->cap)
		b->s[0] = '\0';
}

static void strbuf_room(struct strbuf *b, size_t more)
{
	if (more > SIZE_MAX / 4)
		oom();
	if (b->cap - b->n > more)
		return;
	size_t cap = b->cap ? b->cap * 2 : 64;
	while (cap <= b->n + more)
		cap *= 2;
	b->s = xrealloc(b->cap ? b->s : NULL, cap);
	b->cap = cap;
}

void strbuf_add(struct strbuf *b, const void *p, size_t n)
{
	strbuf_room(b, n + 1);
	if (n)
		memcpy(b->s + b->n, p, n);
	b->n += n;
	b->s[b->n] = '\0';
}

void strbuf_adds(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_addc(struct strbuf *b, char c)
{
	strbuf_add(b, &c, 1);
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		BUG("bad format '%s'", fmt);
	strbuf_room(b, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(b->s + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
}

void strbuf_add_json(struct strbuf *b, const char *s, size_t n)
{
	strbuf_addc(b, '"');
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];
		if (c == '"' || c == '\\') {
			strbuf_addc(b, '\\');
			strbuf_addc(b, (char)c);
			i++;
		} else if (c == '\n') {
			strbuf_adds(b, "\\n");
			i++;
		} else if (c < 0x20 || c == 0x7f) {
			strbuf_addf(b, "\\u%04x", c);
			i++;
		} else {
			uint32_t cp;
			size_t len = utf8_decode(s + i, n - i, &cp);
			if (len)
				strbuf_add(b, s + i, len);
			else
				strbuf_adds(b, "\xef\xbf\xbd");
			i += len ? len : 1;
		}
	}
	strbuf_addc(b, '"');
}

void strbuf_add_double(struct strbuf *b, double x)
{
	char text[40];
	if (!isfinite(x)) {
		strbuf_adds(b, "null");
		return;
	}
	if (x == rint(x) && fabs(x) < 1e15) {
		strbuf_addf(b, "%.0f", x);
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, x);
		if (strtod(text, NULL) == x)
			break;
	}
	strbuf_adds(b, text);
}

void strbuf_add_float(struct strbuf *b, float x)
{
	char text[40];
	for (int digits = 1; digits <= 9; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, (double)x);
		if (strtof(text, NULL) == x)
			break;
	}
	strbuf_adds(b, text);
}
