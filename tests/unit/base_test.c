#include "test.h"

#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "digest.h"
#include "file.h"
#include "strbuf.h"
#include "utf8.h"

TEST(err_context_goes_before_the_message)
{
	struct err e;
	char text[1024];
	CHECK(!err_at(&e, ERR_SPEC, "a.xml", 3, 7, "unknown attribute '%s'", "kep"));
	err_context(&e, "<schedule>");
	err_format(&e, text, sizeof(text));
	CHECK_STR(text, "a.xml:3:7: <schedule>: unknown attribute 'kep'");
}

TEST(nearest_name_offers_only_what_is_near)
{
	static const char *const names[] = {"keep", "unit", "device"};
	CHECK_STR(nearest_name("kep", names, 3), "keep");
	CHECK_STR(nearest_name("untis", names, 3), "unit");
	CHECK_STR(nearest_name("devcie", names, 3), "device");
	CHECK_STR(nearest_name("hardware", names, 3), NULL);
}

TEST(arena_hands_out_zeroed_disjoint_memory)
{
	struct arena a = {0};
	struct rng r;
	unsigned char *p[300];
	size_t n[300];
	rng_init(&r, 1);
	for (int i = 0; i < 300; i++) {
		n[i] = rng_below(&r, i % 50 ? 3000 : 300000);
		p[i] = arena_alloc(&a, n[i]);
		for (size_t k = 0; k < n[i]; k++)
			CHECK(p[i][k] == 0);
		memset(p[i], i & 255, n[i]);
	}
	for (int i = 0; i < 300; i++)
		for (size_t k = 0; k < n[i]; k++)
			if (p[i][k] != (i & 255)) {
				FAIL("block %d was overwritten", i);
				break;
			}
	arena_release(&a);
}

TEST(arena_push_keeps_elements)
{
	struct arena a = {0};
	int *x = NULL, nx = 0;
	for (int i = 0; i < 1000; i++)
		*arena_push(&a, x, nx) = i;
	CHECK_INT(nx, 1000);
	for (int i = 0; i < 1000; i++)
		CHECK_INT(x[i], i);
	arena_release(&a);
}

TEST(doubles_read_back_exactly)
{
	struct strbuf b;
	struct rng r;
	strbuf_init(&b);
	rng_init(&r, 2);
	for (int i = 0; i < 2000; i++) {
		double x = (rng_uniform(&r) - 0.5) * (double)(1ull << rng_below(&r, 60)), y;
		strbuf_clear(&b);
		strbuf_add_double(&b, x);
		CHECK(sscanf(b.s, "%lf", &y) == 1 && x == y);
	}
	strbuf_clear(&b);
	strbuf_add_double(&b, 0.1);
	CHECK_STR(b.s, "0.1");
	strbuf_release(&b);
}

TEST(utf8_refuses_what_rfc3629_refuses)
{
	static const char *const bad[] = {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82",
		"\xff", "\x80", "\xf0\x80\x80\x80"};
	for (size_t i = 0; i < NELEM(bad); i++)
		CHECK(!utf8_valid(bad[i], strlen(bad[i]), NULL));
	for (uint32_t cp = 1; cp < 0x110000; cp += 37) {
		char s[4];
		uint32_t back = 0;
		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		size_t n = utf8_encode(cp, s);
		CHECK(utf8_decode(s, n, &back) == n && back == cp);
	}
}

TEST(digest_text_form_reads_back)
{
	char hex[DIGEST_HEX];
	struct digest d = digest_of("abc", 3), back;
	digest_hex(d, hex);
	CHECK_STR(hex, "06b05ab6733a618578af5f94892f3950"); /* xxHash's own vector */
	CHECK(digest_parse(hex, &back) && digest_equal(d, back));
	struct hasher *h = hasher_new();
	hasher_add(h, "a", 1);
	hasher_add(h, "bc", 2);
	CHECK(digest_equal(hasher_end(h), d));
}

TEST(file_write_replaces_whole_files)
{
	char path[512];
	struct strbuf b;
	struct err e;
	strbuf_init(&b);
	snprintf(path, sizeof(path), "%s/a/b", test_tmpdir());
	CHECK(!file_write(path, (struct buf){"x", 1}, 0644, &e));
	path[strlen(path) - 2] = '\0';
	CHECK(file_write(path, (struct buf){"old", 3}, 0644, &e));
	CHECK(file_write(path, (struct buf){"new bytes", 9}, 0644, &e));
	CHECK(file_read(&b, path, &e));
	CHECK_STR(b.s, "new bytes");
	strbuf_release(&b);
}
