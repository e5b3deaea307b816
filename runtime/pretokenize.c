#include "pretokenize.h"

#include <string.h>

#include "unicode_class.h"
#include "utf8.h"

static const struct rule {
	bool folds_case;           /* 'S is a contraction like 's */
	bool any_before_letters;   /* [^\r\n\p{L}\p{N}]? before letters, not only a space */
	bool space_before_numbers;
	bool newlines;             /* [\r\n]* behind punctuation, \s*[\r\n]+ */
	bool number_ends_space;    /* before a number (?!\S) holds: the text was cut there first */
	size_t nnumber_max;
} rules[PRETOKENIZE_NPATTERN] = {
	[PRETOKENIZE_GPT2] = {.space_before_numbers = true, .nnumber_max = SIZE_MAX},
	[PRETOKENIZE_DIGITS] = {.number_ends_space = true, .nnumber_max = 1},
	[PRETOKENIZE_LLAMA3] = {.folds_case = true, .any_before_letters = true, .newlines = true,
		.nnumber_max = 3},
	[PRETOKENIZE_QWEN2] = {.folds_case = true, .any_before_letters = true, .newlines = true,
		.nnumber_max = 1},
};

/* Class and bytes of the character at s; n may be 0, then *len is. */
static enum unicode_class class_at(const char *s, size_t n, size_t *len)
{
	uint32_t cp;
	*len = n ? utf8_decode(s, n, &cp) : 0;
	if (!*len) {
		*len = n > 0;
		return UNICODE_OTHER;
	}
	return unicode_class(cp);
}

/* Bytes of the run of at most `max` characters of one class at s. */
static size_t run_of(enum unicode_class class, const char *s, size_t n, size_t max)
{
	size_t i = 0, len;
	while (i < n && max-- && class_at(s + i, n - i, &len) == class)
		i += len;
	return i;
}

static size_t contraction(const char *s, size_t n, bool folds_case)
{
	static const char *const ends[] = {"s", "t", "re", "ve", "m", "ll", "d"};
	if (n < 2 || s[0] != '\'')
		return 0;
	for (size_t k = 0; k < NELEM(ends); k++) {
		size_t len = strlen(ends[k]), i = 0;
		while (i < len && 1 + i < n) {
			char c = s[1 + i];
			if (folds_case && c >= 'A' && c <= 'Z')
				c = (char)(c - 'A' + 'a');
			if (c != ends[k][i])
				break;
			i++;
		}
		if (i == len)
			return 1 + len;
	}
	return 0;
}

static bool is_newline(char c)
{
	return c == '\n' || c == '\r';
}

/* The word at a run of white space that belongs to no other word. */
static size_t space_run(const struct rule *r, const char *s, size_t n)
{
	size_t i = 0, last = 0, newline_end = 0, len;
	while (i < n && class_at(s + i, n - i, &len) == UNICODE_SPACE) {
		last = i;
		i += len;
		if (is_newline(s[last]))
			newline_end = i;
	}
	if (r->newlines && newline_end)
		return newline_end;
	if (i == n || last == 0)
		return i;
	if (r->number_ends_space && class_at(s + i, n - i, &len) == UNICODE_NUMBER)
		return i;
	return last;
}

size_t pretokenize_next(enum pretokenize_pattern pattern, const char *s, size_t n)
{
	const struct rule *r = &rules[pattern];
	size_t len, next_len;
	if (pattern == PRETOKENIZE_WHOLE || n == 0)
		return n;
	size_t word = contraction(s, n, r->folds_case);
	if (word)
		return word;
	enum unicode_class class = class_at(s, n, &len);
	enum unicode_class next = class_at(s + len, n - len, &next_len);
	if (len == n)
		next = UNICODE_SPACE;
	size_t lead = 0; /* bytes of the character that is taken along before a run */
	if (class == UNICODE_LETTER || class == UNICODE_NUMBER) {
		next = class;
	} else if (next == UNICODE_LETTER && (r->any_before_letters ? !is_newline(*s) : *s == ' ')) {
		lead = len;
	} else if (*s == ' ' && (next == UNICODE_OTHER || (next == UNICODE_NUMBER &&
			r->space_before_numbers))) {
		lead = len;
	} else if (class == UNICODE_SPACE) {
		return space_run(r, s, n);
	} else {
		next = UNICODE_OTHER;
	}
	word = lead + run_of(next, s + lead, n - lead,
		next == UNICODE_NUMBER ? r->nnumber_max : SIZE_MAX);
	if (next == UNICODE_OTHER && r->newlines)
		while (word < n && is_newline(s[word]))
			word++;
	return word;
}

size_t pretokenize_leading_space(const char *s, size_t n)
{
	return run_of(UNICODE_SPACE, s, n, SIZE_MAX);
}

size_t pretokenize_trailing_space(const char *s, size_t n)
{
	size_t end = n;
	while (end) {
		size_t at = end - 1, len;
		while (at && end - at < 4 && ((unsigned char)s[at] & 0xc0) == 0x80)
			at--;
		if (class_at(s + at, end - at, &len) != UNICODE_SPACE || len != end - at)
			break;
		end = at;
	}
	return n - end;
}
