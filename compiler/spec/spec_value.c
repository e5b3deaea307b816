/* The types of values: one parser and one row each. */
#include "spec_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"

/* The number that s begins with, as the XSD pattern has it (no sign, no NaN, no hex); its length,
 * 0 if there is none. */
static size_t scan_number(const char *s, double *out)
{
	size_t n = strspn(s, DIGITS);
	if (n == 0)
		return 0;
	if (s[n] == '.') {
		size_t fraction = strspn(s + n + 1, DIGITS);
		if (fraction == 0)
			return 0;
		n += 1 + fraction;
	}
	if (s[n] == 'e' || s[n] == 'E') {
		size_t sign = s[n + 1] == '+' || s[n + 1] == '-';
		size_t digits = strspn(s + n + 1 + sign, DIGITS);
		if (digits)
			n += 1 + sign + digits;
	}
	if (n > 40)
		return 0;
	char copy[48];
	memcpy(copy, s, n);
	copy[n] = 0;
	*out = strtod(copy, NULL);
	return isfinite(*out) ? n : 0;
}

/* The same number without zeros that say nothing; its text is kept otherwise, so that 2e-5 stays
 * 2e-5. s holds a number of n bytes. */
static void add_number(struct strbuf *out, const char *s, size_t n)
{
	size_t whole = strcspn(s, ".eE"), zeros = strspn(s, "0");
	if (whole > n)
		whole = n;
	if (zeros >= whole)
		zeros = whole - 1;
	strbuf_add(out, s + zeros, whole - zeros);
	size_t end = whole;
	if (end < n && s[end] == '.') {
		end += 1 + strspn(s + end + 1, DIGITS);
		size_t keep = end;
		while (s[keep - 1] == '0')
			keep--;
		if (keep > whole + 1)
			strbuf_add(out, s + whole, keep - whole);
	}
	if (end < n) {
		size_t digits = end + 1 + (s[end + 1] == '+' || s[end + 1] == '-');
		size_t skip = strspn(s + digits, "0");
		if (skip >= n - digits)
			return; /* e0 */
		strbuf_addf(out, "e%s", s[end + 1] == '-' ? "-" : "");
		strbuf_add(out, s + digits + skip, n - digits - skip);
	}
}

static bool in_range(const struct spec_attr *row, double x)
{
	if (row->min_open ? x <= row->min : x < row->min)
		return false;
	return row->max == 0 || x <= row->max;
}

static bool parse_name(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	(void)row, (void)v;
	static const char first[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" DIGITS;
	size_t n = strlen(s);
	if (n == 0 || n > 64 || !strchr(first, s[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!strchr(first, s[i]) && !strchr("._-", s[i]))
			return false;
	strbuf_adds(out, s);
	return true;
}

static bool parse_text(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	(void)row, (void)v;
	strbuf_adds(out, s);
	return true;
}

static bool parse_some_text(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	return *s && parse_text(row, s, v, out);
}

static bool parse_field(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	if (s[0] == '@' && strcmp(s, "@file") != 0 && strcmp(s, "@key") != 0)
		return false;
	return parse_some_text(row, s, v, out);
}

static bool parse_hub(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	const char *slash = strchr(s, '/');
	if (!slash || (size_t)(slash - s) > 64)
		return false;
	char org[65];
	memcpy(org, s, (size_t)(slash - s));
	org[slash - s] = 0;
	if (!parse_name(row, org, v, out))
		return false;
	strbuf_addc(out, '/');
	return parse_name(row, slash + 1, v, out);
}

static bool parse_percent(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	double x;
	size_t n = scan_number(s, &x);
	if (!n || strcspn(s, "eE") < n || strcmp(s + n, "%") != 0 || !in_range(row, x))
		return false;
	v->kind = VALUE_SHARE;
	v->number = x / 100;
	add_number(out, s, n);
	strbuf_addc(out, '%');
	return true;
}

static bool parse_count(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	size_t n = strspn(s, DIGITS);
	if (n == 0 || n > 18 || s[n])
		return false;
	v->kind = VALUE_COUNT;
	v->count = strtoll(s, NULL, 10);
	v->number = (double)v->count;
	strbuf_addf(out, "%lld", (long long)v->count);
	return in_range(row, v->number);
}

static bool parse_number(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	size_t n = scan_number(s, &v->number);
	v->kind = VALUE_NUMBER;
	if (!n || s[n] || !in_range(row, v->number))
		return false;
	add_number(out, s, n);
	return true;
}

static bool parse_amount(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	static const struct spec_attr share = {.max = 100, .min_open = true};
	return strchr(s, '%') ? parse_percent(&share, s, v, out) : parse_count(row, s, v, out);
}

static bool parse_enum(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	int i = spec_word_index(row->values, s);
	if (i < 0)
		return false;
	v->word = row->values[i];
	v->count = i;
	strbuf_adds(out, s);
	return true;
}

static bool parse_bytes(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	static const struct {
		const char *name;
		double bytes;
	} units[] = {{"B", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"KiB", 0x1p10},
		{"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
	double x;
	size_t n = scan_number(s, &x);
	if (!n || strcspn(s, "eE") < n)
		return false;
	for (size_t i = 0; i < NELEM(units); i++)
		if (strcmp(s + n, units[i].name) == 0) {
			v->kind = VALUE_BYTES;
			v->number = floor(x * units[i].bytes);
			add_number(out, s, n);
			strbuf_adds(out, units[i].name);
			return in_range(row, v->number) && v->number < 0x1p62;
		}
	return false;
}

static bool parse_keep(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	static const struct spec_attr share = {.max = 100, .min_open = true}, bytes = {.min = 1};
	(void)row;
	double x;
	size_t n = scan_number(s, &x);
	if (strcmp(s, "gate") == 0) {
		v->kind = VALUE_GATE;
		strbuf_adds(out, s);
		return true;
	}
	if (!n)
		return false;
	const char *unit = s + n + (s[n] == ' ');
	if (strcmp(unit, "units") == 0 || strcmp(unit, "unit") == 0) {
		v->kind = VALUE_UNITS;
		v->number = x;
		v->count = x < 1e6 ? (int64_t)x : 0;
		strbuf_addf(out, "%lld units", (long long)v->count);
		return strspn(s, DIGITS) == n && x <= 1e5;
	}
	if (strcmp(unit, "tokens/s") == 0) {
		v->kind = VALUE_SPEED;
		v->number = x;
		add_number(out, s, n);
		strbuf_adds(out, " tokens/s");
		return x > 0;
	}
	return strchr(s, '%') ? parse_percent(&share, s, v, out) : parse_bytes(&bytes, s, v, out);
}

static bool parse_share(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	static const struct spec_attr share = {.max = 100, .min_open = true};
	(void)row;
	double x;
	size_t n = scan_number(s, &x);
	if (n && s[n] == '%')
		return parse_percent(&share, s, v, out);
	bool ids = strncmp(s, "ids:", 4) == 0;
	v->kind = ids ? VALUE_IDS : VALUE_FILES;
	v->word = ids ? s + 4 : s;
	strbuf_adds(out, s);
	return *v->word != 0;
}

static bool parse_margin(const struct spec_attr *row, const char *s, struct spec_value *v,
	struct strbuf *out)
{
	double x;
	size_t n = scan_number(s, &x);
	bool points = n && strcmp(s + n, "pp") == 0, share = n && strcmp(s + n, "%") == 0;
	if (!n || (!points && !share && s[n]) || !in_range(row, x) || (points && x > 100))
		return false;
	v->kind = points ? VALUE_POINTS : share ? VALUE_SHARE : VALUE_NUMBER;
	v->number = points || share ? x / 100 : x;
	add_number(out, s, n);
	strbuf_adds(out, s + n);
	return true;
}

#define NAME_PATTERN "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}"
#define DECIMAL "[0-9]+(\\.[0-9]+)?"
#define EXPONENT "([eE][+\\-]?[0-9]+)?"
#define BYTES_PATTERN DECIMAL "(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)"

const struct spec_type spec_type_name = {"name", NAME_PATTERN,
	"a name of letters, digits, '.', '_' and '-' (at most 64)", "pubmedqa", parse_name, false};
const struct spec_type spec_type_text = {"text", NULL, NULL, "any text", parse_text, true};
const struct spec_type spec_type_field = {"field", "[^@].*|@file|@key",
	"the name of a field, @file or @key", "question", parse_field, false};
const struct spec_type spec_type_path = {
	"path", ".+", "a path", "data/rows.jsonl or NAME:PATH", parse_some_text, false};
const struct spec_type spec_type_hub = {"hub", NAME_PATTERN "/" NAME_PATTERN,
	"ORGANISATION/MODEL", "org/name", parse_hub, false};
const struct spec_type spec_type_percent = {
	"percent", DECIMAL "%", "a percentage like 50%", "50%", parse_percent, false};
const struct spec_type spec_type_count = {
	"count", "[0-9]{1,18}", "a whole number", "16", parse_count, false};
const struct spec_type spec_type_amount = {"amount", "[0-9]{1,18}|" DECIMAL "%",
	"a whole number, or a share like 50%", "1, 50%", parse_amount, false};
const struct spec_type spec_type_number = {
	"number", DECIMAL EXPONENT, "a number like 0.5 or 2e-5", "2e-5", parse_number, false};
const struct spec_type spec_type_enum = {"word", NULL, NULL, NULL, parse_enum, false};
const struct spec_type spec_type_bytes = {"bytes", BYTES_PATTERN,
	"a size like 4GB or 512MiB", "4GB", parse_bytes, false};
const struct spec_type spec_type_keep = {"keep",
	DECIMAL "%|[0-9]+ ?units?|" BYTES_PATTERN "|gate|" DECIMAL EXPONENT " ?tokens/s",
	"more than 0% and at most 100%, a number of units like \"32 units\", a size like 4GB, gate, or "
	"a speed like \"40 tokens/s\"",
	"50%, 32 units, 4GB", parse_keep, false};
const struct spec_type spec_type_share = {"share", ".+",
	"a share like 80%, a file or pattern, or ids:FILE", "80%", parse_share, false};
const struct spec_type spec_type_margin = {"margin", DECIMAL "(pp|%|" EXPONENT ")",
	"points of accuracy like 2pp, a number of nats like 0.05 or a share of them like 2%", "2pp", parse_margin, false};

static bool is_unit_word(const char *s, size_t n)
{
	static const char *const words[] = {"unit", "units", "tokens/s"};
	for (size_t i = 0; i < NELEM(words); i++)
		if (strlen(words[i]) == n && memcmp(s, words[i], n) == 0)
			return true;
	return false;
}

int spec_items(struct arena *a, const struct spec_attr *row, const char *text, const char ***items)
{
	static const char space[] = " \t\r\n";
	const char **item = NULL;
	int n = 0;
	*items = NULL;
	if (row->type->exact) {
		*arena_push(a, item, n) = text;
		*items = item;
		return n;
	}
	text += strspn(text, space);
	if (!row->list) {
		size_t len = strlen(text);
		while (len && strchr(space, text[len - 1]))
			len--;
		*arena_push(a, item, n) = arena_strndup(a, text, len);
	}
	while (row->list && *text) {
		size_t len = strcspn(text, space);
		if (n && is_unit_word(text, len))
			item[n - 1] = arena_printf(a, "%s %.*s", item[n - 1], (int)len, text);
		else
			*arena_push(a, item, n) = arena_strndup(a, text, len);
		text += len;
		text += strspn(text, space);
	}
	*items = item;
	return n;
}

bool spec_parse(struct arena *a, const struct spec_attr *row, const char *text,
	struct spec_value **v, int *nv, const char **canonical, const char **bad)
{
	const char **item;
	int n = spec_items(a, row, text, &item);
	*v = NULL;
	*nv = 0;
	*bad = text;
	struct strbuf out;
	strbuf_init(&out);
	bool ok = n > 0;
	for (int i = 0; i < n && ok; i++) {
		struct spec_value *one = arena_push(a, *v, *nv);
		*one = (struct spec_value){.word = item[i]};
		if (i)
			strbuf_addc(&out, ' ');
		ok = row->type->parse(row, item[i], one, &out);
		if (!ok)
			*bad = item[i];
	}
	if (ok && canonical)
		*canonical = arena_strndup(a, out.s, out.n);
	strbuf_release(&out);
	return ok;
}

const char *spec_expected(struct arena *a, const struct spec_attr *row)
{
	struct strbuf b;
	strbuf_init(&b);
	strbuf_adds(&b, "expected ");
	for (int i = 0; row->values && row->values[i]; i++)
		strbuf_addf(&b, "%s%s", i == 0 ? "" : row->values[i + 1] ? ", " : " or ",
			row->values[i]);
	if (!row->values) {
		strbuf_adds(&b, row->type->expected ? row->type->expected : "some text");
		if (row->type == &spec_type_keep || row->type == &spec_type_share) {
			/* their ranges stand in the text */
		} else if (row->min_open || row->min > 0) {
			strbuf_adds(&b, row->min_open ? ", more than " : ", at least ");
			strbuf_addf(&b, "%.10g", row->min);
			if (row->max)
				strbuf_addf(&b, " and at most %.10g", row->max);
		} else if (row->max) {
			strbuf_addf(&b, ", at most %.10g", row->max);
		}
	}
	const char *text = arena_strdup(a, b.s);
	strbuf_release(&b);
	return text;
}
