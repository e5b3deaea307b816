/* JSON: what is read is what RFC 8259 says, each mistake is named with its place. */
#include "json.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/* Input, and what json_write makes of it. */
static const struct {
	const char *in, *out;
} good[] = {
	{"null", "null"},
	{" \t\r\n true ", "true"},
	{"false", "false"},
	{"0", "0"},
	{"-0", "-0"},
	{"9223372036854775807", "9223372036854775807"},
	{"1.50e+03", "1.50e+03"},
	{"\"\"", "\"\""},
	{"\"a\\\"\\\\\\/\\n\"", "\"a\\\"\\\\/\\n\""},
	{"\"\\u00e9\\u20AC\"", "\"\xc3\xa9\xe2\x82\xac\""},
	{"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
	{"[]", "[]"},
	{"{}", "{}"},
	{"[1, [2 , []],{ }]", "[1,[2,[]],{}]"},
	{"{\"b\" : 1,\"a\":[true,null], \"b\":2}", "{\"b\":1,\"a\":[true,null],\"b\":2}"},
	{"\xef\xbb\xbf[1]", "[1]"},
};

TEST(json_reads_what_it_writes)
{
	for (size_t i = 0; i < NELEM(good); i++) {
		struct arena a = {0};
		struct strbuf out;
		struct json *v;
		struct err e;
		const char *text = good[i].in;
		strbuf_init(&out);
		for (int pass = 0; pass < 2; pass++) {
			if (!json_parse(&a, (struct buf){text, strlen(text)}, NULL, 1, &v, &e)) {
				FAIL("%s: %s", text, e.msg);
				break;
			}
			strbuf_clear(&out);
			json_write(&out, v);
			CHECK_STR(out.s, good[i].out);
			text = good[i].out;
		}
		strbuf_release(&out);
		arena_release(&a);
	}
}

static const struct {
	const char *in, *error;
} bad[] = {
	{"", "f:7:1: expected a value, found the end of the text"},
	{"  ", "f:7:3: expected a value, found the end of the text"},
	{"nul", "f:7:1: expected a value, found 'n'"},
	{"NaN", "f:7:1: expected a value, found 'N'"},
	{"1 2", "f:7:3: expected the end of the text, found '2'"},
	{"01", "f:7:2: expected the end of the text, found '1'"},
	{"-", "f:7:2: expected a digit, found the end of the text"},
	{"1.", "f:7:3: expected a digit, found the end of the text"},
	{"1e+", "f:7:4: expected a digit, found the end of the text"},
	{"+1", "f:7:1: expected a value, found '+'"},
	{"1e999", "f:7:1: number out of range"},
	{"[1,]", "f:7:4: expected a value, found ']'"},
	{"[1", "f:7:3: expected ',' or ']', found the end of the text"},
	{"[1\n\n 2]", "f:9:2: expected ',' or ']', found '2'"},
	{"{a:1}", "f:7:2: expected a member's name in quotes, found 'a'"},
	{"{\"a\" 1}", "f:7:6: expected ':', found '1'"},
	{"{\"a\":1 \"b\":2}", "f:7:8: expected ',' or '}', found '\"'"},
	{"{\"a\":1,}", "f:7:8: expected a member's name in quotes, found '}'"},
	{"{\"a\\u0000\":1}", "f:7:2: NUL in a member's name"},
	{"\"abc", "f:7:1: string without its closing quote"},
	{"\"abc\\", "f:7:5: unknown escape in a string"},
	{"\"a\\x\"", "f:7:3: unknown escape in a string"},
	{"\"a\nb\"", "f:7:3: unescaped control character in a string"},
	{"\"\\u12\"", "f:7:6: expected four hex digits behind '\\u', found '\"'"},
	{"\"\\ud83d\"", "f:7:2: lone high surrogate"},
	{"\"\\ud83dx\"", "f:7:2: lone high surrogate"},
	{"\"\\ud83d\\u0041\"", "f:7:2: lone high surrogate"},
	{"\"\\ude00\"", "f:7:2: lone low surrogate"},
	{"\"\xff\"", "f:7:2: invalid UTF-8 in a string"},
	{"\"\xed\xa0\x80\"", "f:7:2: invalid UTF-8 in a string"},
	{"[\x01]", "f:7:2: expected a value, found byte 0x01"},
};

TEST(json_names_what_is_wrong_and_where)
{
	for (size_t i = 0; i < NELEM(bad); i++) {
		struct arena a = {0};
		struct json *v;
		struct err e;
		char line[1024];
		/* An exact copy, so that ASan sees a read behind the end. */
		size_t n = strlen(bad[i].in);
		char *text = memcpy(xmalloc(n), bad[i].in, n);
		if (json_parse(&a, (struct buf){text, n}, "f", 7, &v, &e)) {
			FAIL("accepted: %s", bad[i].in);
		} else {
			err_format(&e, line, sizeof(line));
			CHECK_STR(line, bad[i].error);
		}
		free(text);
		arena_release(&a);
	}
}

TEST(json_depth_is_limited)
{
	struct arena a = {0};
	struct json *v;
	struct err e;
	char text[600];
	memset(text, '[', 300);
	memset(text + 300, ']', 300);
	CHECK(json_parse(&a, (struct buf){text + 44, 512}, NULL, 1, &v, &e));
	CHECK(!json_parse(&a, (struct buf){text + 43, 514}, NULL, 1, &v, &e));
	CHECK_STR(e.msg, "nested more than 256 deep");
	CHECK_INT(e.col, 257);
	arena_release(&a);
}

TEST(json_truncations_never_crash)
{
	static const char text[] =
		"{\"a\\ud83d\\ude00\":[1.5e-3,true,{\"b\":null}],\"c\":\"\xe2\x82\xac\\u00e9\"}";
	for (size_t n = 0; n + 1 < sizeof(text); n++) {
		struct arena a = {0};
		struct json *v;
		char *copy = memcpy(xmalloc(n), text, n);
		CHECK(!json_parse(&a, (struct buf){copy, n}, NULL, 1, &v, NULL));
		free(copy);
		arena_release(&a);
	}
}

TEST(json_get_takes_the_last_of_equal_names)
{
	static const char text[] = "{\"a\":1,\"b\":\"x\\u0000y\",\n\"a\":3}";
	struct arena a = {0};
	struct json *v;
	int64_t n = 0;
	REQUIRE(json_parse(&a, (struct buf){text, sizeof(text) - 1}, NULL, 1, &v, NULL));
	CHECK(json_int(json_get(v, "a"), &n));
	CHECK_INT(n, 3);
	CHECK_INT(json_get(v, "a")->line, 2);
	CHECK_INT(json_get(v, "a")->col, 5);
	CHECK_INT(json_get(v, "b")->text_bytes, 3);
	CHECK(!json_get(v, "c"));
	CHECK(!json_get(json_get(v, "a"), "a"));
	CHECK(!json_get(NULL, "a"));
	arena_release(&a);
}

static const struct {
	const char *in;
	bool ok;
	int64_t value;
} integers[] = {
	{"9223372036854775807", true, INT64_MAX},
	{"-9223372036854775808", true, INT64_MIN},
	{"9223372036854775808", false, 0},
	{"9007199254740993", true, 9007199254740993},
	{"1e3", true, 1000},
	{"2.0", true, 2},
	{"2.5", false, 0},
	{"1e300", false, 0},
	{"-0", true, 0},
	{"\"1\"", false, 0},
};

TEST(json_int_is_exact_or_refused)
{
	for (size_t i = 0; i < NELEM(integers); i++) {
		struct arena a = {0};
		struct json *v;
		int64_t n = 0;
		REQUIRE(json_parse(&a, (struct buf){integers[i].in, strlen(integers[i].in)}, NULL,
			1, &v, NULL));
		CHECK_INT(json_int(v, &n), integers[i].ok);
		CHECK_INT(n, integers[i].value);
		arena_release(&a);
	}
}

/* White space and the writing of strings mean nothing, order and the writing of numbers do. */
TEST(json_is_equal_as_it_is_written)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} pairs[] = {{"{\"x\": [1, \"\\u0061\"]}", "{\"x\":[1,\"a\"]}", true}, {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", false},
		{"1", "1.0", false}, {"[1]", "[1,2]", false}, {"null", "null", true}, {"\"1\"", "1", false}};
	for (size_t i = 0; i < NELEM(pairs); i++) {
		struct arena a = {0};
		struct json *x, *y;
		REQUIRE(json_parse(&a, (struct buf){pairs[i].a, strlen(pairs[i].a)}, NULL, 1, &x, NULL) &&
			json_parse(&a, (struct buf){pairs[i].b, strlen(pairs[i].b)}, NULL, 1, &y, NULL));
		if (json_equal(x, y) != pairs[i].equal)
			FAIL("%s and %s", pairs[i].a, pairs[i].b);
		arena_release(&a);
	}
}
