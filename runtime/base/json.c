#include "json.h"

#include "utf8.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 256 };

struct parser {
	struct arena *a;
	const char *p, *end;
	const char *line_start;
	int line, depth;
	const char *file;
	struct err *e;
};

static bool fail_at(struct parser *s, const char *where, const char *what)
{
	return err_at(
		s->e, ERR_SPEC, s->file, s->line, (int)(where - s->line_start) + 1, "%s", what);
}

/* "expected X, found Y" at the next byte. */
static bool fail_expected(struct parser *s, const char *expected)
{
	int col = (int)(s->p - s->line_start) + 1;
	if (s->p == s->end)
		return err_at(s->e, ERR_SPEC, s->file, s->line, col,
			"expected %s, found the end of the text", expected);
	unsigned char c = (unsigned char)*s->p;
	if (c > 0x20 && c < 0x7f)
		return err_at(s->e, ERR_SPEC, s->file, s->line, col, "expected %s, found '%c'",
			expected, c);
	return err_at(s->e, ERR_SPEC, s->file, s->line, col, "expected %s, found byte 0x%02x",
		expected, c);
}

static void skip_space(struct parser *s)
{
	for (; s->p < s->end; s->p++) {
		if (*s->p == '\n') {
			s->line++;
			s->line_start = s->p + 1;
		} else if (*s->p != ' ' && *s->p != '\t' && *s->p != '\r') {
			break;
		}
	}
}

static bool eat(struct parser *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool eat_digits(struct parser *s)
{
	const char *from = s->p;
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static bool parse_number(struct parser *s, struct json *v)
{
	const char *from = s->p;
	eat(s, '-');
	if (!eat(s, '0') && !eat_digits(s))
		return fail_expected(s, "a digit");
	if (eat(s, '.') && !eat_digits(s))
		return fail_expected(s, "a digit");
	if (eat(s, 'e') || eat(s, 'E')) {
		if (!eat(s, '+'))
			eat(s, '-');
		if (!eat_digits(s))
			return fail_expected(s, "a digit");
	}
	v->kind = JSON_NUMBER;
	v->text_bytes = (size_t)(s->p - from);
	v->text = arena_strndup(s->a, from, v->text_bytes);
	v->number = strtod(v->text, NULL);
	if (isinf(v->number))
		return fail_at(s, from, "number out of range");
	return true;
}

static bool parse_hex4(struct parser *s, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++, s->p++) {
		char c = s->p < s->end ? *s->p : '\0';
		if (c >= '0' && c <= '9')
			*out = *out << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out << 4 | (uint32_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			*out = *out << 4 | (uint32_t)(c - 'A' + 10);
		else
			return fail_expected(s, "four hex digits behind '\\u'");
	}
	return true;
}

/* Behind "\u"; appends the character to *to. */
static bool parse_unicode_escape(struct parser *s, char **to)
{
	const char *where = s->p - 2;
	uint32_t cp, low;
	if (!parse_hex4(s, &cp))
		return false;
	if (cp >= 0xdc00 && cp <= 0xdfff)
		return fail_at(s, where, "lone low surrogate");
	if (cp >= 0xd800 && cp <= 0xdbff) {
		if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
			return fail_at(s, where, "lone high surrogate");
		s->p += 2;
		if (!parse_hex4(s, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return fail_at(s, where, "lone high surrogate");
		cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
	}
	*to += utf8_encode(cp, *to);
	return true;
}

/* The raw length bounds the decoded one: no escape is shorter than what it stands for. */
static size_t raw_string_bytes(const struct parser *s)
{
	const char *p = s->p;
	while (p < s->end && *p != '"')
		p += *p == '\\' && s->end - p > 1 ? 2 : 1;
	return (size_t)(p - s->p);
}

static bool parse_string(struct parser *s, const char **text, size_t *bytes)
{
	static const char escape[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
	const char *open = s->p++;
	char *out = arena_alloc(s->a, raw_string_bytes(s) + 1), *to = out;
	for (;;) {
		if (s->p == s->end)
			return fail_at(s, open, "string without its closing quote");
		unsigned char c = (unsigned char)*s->p;
		if (c == '"') {
			s->p++;
			break;
		} else if (c < 0x20) {
			return fail_at(s, s->p, "unescaped control character in a string");
		} else if (c == '\\') {
			char name = s->end - s->p > 1 ? s->p[1] : '\0';
			const char *which = name ? strchr(escape, name) : NULL;
			if (!which && name != 'u')
				return fail_at(s, s->p, "unknown escape in a string");
			s->p += 2;
			if (which)
				*to++ = meaning[which - escape];
			else if (!parse_unicode_escape(s, &to))
				return false;
		} else if (c < 0x80) {
			*to++ = (char)c;
			s->p++;
		} else {
			uint32_t cp;
			size_t n = utf8_decode(s->p, (size_t)(s->end - s->p), &cp);
			if (!n)
				return fail_at(s, s->p, "invalid UTF-8 in a string");
			memcpy(to, s->p, n);
			to += n;
			s->p += n;
		}
	}
	*to = '\0';
	*text = out;
	*bytes = (size_t)(to - out);
	return true;
}

static bool parse_value(struct parser *s, struct json *v);

static bool parse_array(struct parser *s, struct json *v)
{
	s->p++;
	v->kind = JSON_ARRAY;
	skip_space(s);
	if (eat(s, ']'))
		return true;
	for (;;) {
		struct json item;
		if (!parse_value(s, &item))
			return false;
		*arena_push(s->a, v->item, v->nitem) = item;
		skip_space(s);
		if (eat(s, ']'))
			return true;
		if (!eat(s, ','))
			return fail_expected(s, "',' or ']'");
	}
}

static bool parse_object(struct parser *s, struct json *v)
{
	size_t nkey = 0;
	s->p++;
	v->kind = JSON_OBJECT;
	skip_space(s);
	if (eat(s, '}'))
		return true;
	for (;;) {
		struct json item;
		const char *key;
		size_t key_bytes;
		skip_space(s);
		if (s->p == s->end || *s->p != '"')
			return fail_expected(s, "a member's name in quotes");
		const char *where = s->p;
		if (!parse_string(s, &key, &key_bytes))
			return false;
		if (strlen(key) != key_bytes)
			return fail_at(s, where, "NUL in a member's name");
		skip_space(s);
		if (!eat(s, ':'))
			return fail_expected(s, "':'");
		if (!parse_value(s, &item))
			return false;
		*arena_push(s->a, v->key, nkey) = key;
		*arena_push(s->a, v->item, v->nitem) = item;
		skip_space(s);
		if (eat(s, '}'))
			return true;
		if (!eat(s, ','))
			return fail_expected(s, "',' or '}'");
	}
}

static bool parse_word(struct parser *s, struct json *v)
{
	static const struct {
		const char *word;
		enum json_kind kind;
	} words[] = {{"null", JSON_NULL}, {"false", JSON_FALSE}, {"true", JSON_TRUE}};
	for (size_t i = 0; i < NELEM(words); i++) {
		size_t n = strlen(words[i].word);
		if ((size_t)(s->end - s->p) >= n && !memcmp(s->p, words[i].word, n)) {
			s->p += n;
			v->kind = words[i].kind;
			return true;
		}
	}
	return fail_expected(s, "a value");
}

static bool parse_value(struct parser *s, struct json *v)
{
	skip_space(s);
	*v = (struct json){.line = s->line, .col = (int)(s->p - s->line_start) + 1};
	char c = s->p < s->end ? *s->p : '\0';
	if (c == '"') {
		v->kind = JSON_STRING;
		return parse_string(s, &v->text, &v->text_bytes);
	}
	if (c == '-' || (c >= '0' && c <= '9'))
		return parse_number(s, v);
	if (c != '[' && c != '{')
		return parse_word(s, v);
	if (++s->depth > DEPTH_MAX)
		return fail_at(s, s->p, "nested more than 256 deep");
	bool ok = c == '[' ? parse_array(s, v) : parse_object(s, v);
	s->depth--;
	return ok;
}

bool json_parse(struct arena *a, struct buf text, const char *file, int first_line,
	struct json **out, struct err *e)
{
	const char *begin = text.n ? text.p : "";
	if (text.n >= 3 && !memcmp(begin, "\xef\xbb\xbf", 3))
		begin += 3, text.n -= 3;
	struct parser s = {a, begin, begin + text.n, begin, first_line, 0, file, e};
	struct json *v = arena_new(a, struct json);
	if (!parse_value(&s, v))
		return false;
	skip_space(&s);
	if (s.p < s.end)
		return fail_expected(&s, "the end of the text");
	*out = v;
	return true;
}

const struct json *json_get(const struct json *object, const char *key)
{
	if (!object || object->kind != JSON_OBJECT)
		return NULL;
	for (size_t i = object->nitem; i-- > 0;)
		if (!strcmp(object->key[i], key))
			return &object->item[i];
	return NULL;
}

bool json_int(const struct json *v, int64_t *out)
{
	if (!v || v->kind != JSON_NUMBER)
		return false;
	if (!strpbrk(v->text, ".eE")) {
		errno = 0;
		long long x = strtoll(v->text, NULL, 10);
		if (errno)
			return false;
		*out = x;
		return true;
	}
	/* Only up to 2^53 is a double that looks integral certainly what was written. */
	if (v->number != floor(v->number) || fabs(v->number) > 0x1p53)
		return false;
	*out = (int64_t)v->number;
	return true;
}

void json_write(struct strbuf *out, const struct json *v)
{
	switch (v->kind) {
	case JSON_NULL:
		strbuf_adds(out, "null");
		return;
	case JSON_FALSE:
		strbuf_adds(out, "false");
		return;
	case JSON_TRUE:
		strbuf_adds(out, "true");
		return;
	case JSON_NUMBER:
		strbuf_add(out, v->text, v->text_bytes);
		return;
	case JSON_STRING:
		strbuf_add_json(out, v->text, v->text_bytes);
		return;
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	strbuf_addc(out, v->kind == JSON_ARRAY ? '[' : '{');
	for (size_t i = 0; i < v->nitem; i++) {
		if (i)
			strbuf_addc(out, ',');
		if (v->kind == JSON_OBJECT) {
			strbuf_add_json(out, v->key[i], strlen(v->key[i]));
			strbuf_addc(out, ':');
		}
		json_write(out, &v->item[i]);
	}
	strbuf_addc(out, v->kind == JSON_ARRAY ? ']' : '}');
}

bool json_equal(const struct json *a, const struct json *b)
{
	struct strbuf x, y;
	strbuf_init(&x);
	strbuf_init(&y);
	json_write(&x, a);
	json_write(&y, b);
	bool equal = x.n == y.n && !memcmp(x.s, y.s, x.n);
	strbuf_release(&x);
	strbuf_release(&y);
	return equal;
}

void json_add_number(struct strbuf *out, const char *name, double x)
{
	strbuf_addf(out, ",\"%s\":", name);
	strbuf_add_double(out, x);
}
