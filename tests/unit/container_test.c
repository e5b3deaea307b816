/* The container: what is written is found again, and no damage to the directory gets through. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "container.h"

enum { NITEMS = 5 };

static const struct container_item items[NITEMS] = {
	{"tokenizer", ENTRY_TOKENIZER, 100},
	{"t:blk.10.k", ENTRY_TENSOR, 64},
	{"t:blk.1.k", ENTRY_TENSOR, 1},
	{"info", ENTRY_INFO, 0},
	{"t:", ENTRY_TENSOR, 65},
};

/* A container of the items, each filled with its index; malloc'd so that reading past it is
 * noticed. */
static uint8_t *make(const struct container_item *item, size_t n, uint64_t *bytes)
{
	uint64_t offset[NITEMS];
	struct strbuf directory;
	strbuf_init(&directory);
	*bytes = container_plan(item, n, offset, &directory);
	uint8_t *p = aligned_alloc(64, *bytes);
	memset(p, 0, *bytes);
	memcpy(p, directory.s, directory.n);
	for (size_t i = 0; i < n; i++)
		memset(p + offset[i], (int)i + 1, item[i].bytes);
	strbuf_release(&directory);
	return p;
}

TEST(every_entry_is_found_with_its_data)
{
	uint64_t bytes;
	uint8_t *p = make(items, NITEMS, &bytes);
	struct container c;
	struct err e;
	REQUIRE(container_open(&c, (struct buf){p, bytes}, &e));
	CHECK_INT(c.nentry, NITEMS);
	for (int i = 0; i < NITEMS; i++) {
		struct buf b = container_find(&c, items[i].name);
		REQUIRE(b.p);
		CHECK_INT(b.n, items[i].bytes);
		CHECK_INT((uintptr_t)b.p % 64, 0);
		for (size_t k = 0; k < b.n; k++)
			if (((const uint8_t *)b.p)[k] != i + 1)
				FAIL("%s has other bytes", items[i].name);
	}
	for (uint64_t i = 1; i < c.nentry; i++)
		CHECK(strcmp(container_get(&c, i - 1).name, container_get(&c, i).name) < 0);
	CHECK_INT(container_get(&c, 0).kind, ENTRY_INFO);
	CHECK(container_param(&c, "blk.1.k").p == container_find(&c, "t:blk.1.k").p);
	CHECK(container_param(&c, "").p == container_find(&c, "t:").p);
	CHECK(!container_param(&c, "blk.1").p);
	CHECK(!container_param(&c, "blk.1.k2").p);
	CHECK(!container_find(&c, "task").p);
	free(p);
	p = make(items, 0, &bytes);
	CHECK(container_open(&c, (struct buf){p, bytes}, &e));
	CHECK(!container_find(&c, "info").p);
	free(p);
}

TEST(any_changed_bit_of_the_directory_is_noticed)
{
	uint64_t bytes;
	uint8_t *p = make(items, NITEMS, &bytes);
	struct container c;
	struct err e;
	uint64_t directory = p[16] | (uint64_t)p[17] << 8;
	CHECK(directory > 64 && directory < bytes);
	for (uint64_t i = 0; i < directory * 8; i++) {
		p[i / 8] ^= (uint8_t)(1 << i % 8);
		if (container_open(&c, (struct buf){p, bytes}, &e))
			FAIL("bit %d may be changed", (int)i);
		p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	free(p);
}

TEST(a_cut_container_is_an_error)
{
	uint64_t bytes;
	uint8_t *p = make(items, NITEMS, &bytes);
	struct container c;
	struct err e;
	for (uint64_t n = 0; n < bytes; n++) {
		uint8_t *cut = malloc(n + !n);
		memcpy(cut, p, n);
		CHECK(!container_open(&c, (struct buf){cut, n}, &e));
		free(cut);
	}
	free(p);
}

static void put_u64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* Lies with a right checksum: whatever is accepted must lie inside. */
TEST(lies_in_any_field_are_noticed_or_harmless)
{
	static const uint64_t lies[] = {0, 1, 7, 63, 64, 65, 128, 1 << 20, UINT32_MAX, INT64_MAX,
		UINT64_MAX - 63, UINT64_MAX};
	uint64_t bytes, accepted = 0;
	struct container c;
	struct err e;
	for (uint64_t field = 8; field < 64 + 32 * NITEMS; field += 8)
		for (size_t l = 0; l < sizeof lies / sizeof *lies; l++) {
			uint8_t *p = make(items, NITEMS, &bytes);
			put_u64(p + field, lies[l]);
			uint64_t directory = 0, h = 0xcbf29ce484222325;
			memcpy(&directory, p + 16, 8);
			for (uint64_t i = 0; i < directory && i < bytes; i++)
				h = (h ^ (i >= 32 && i < 40 ? 0 : p[i])) * 0x100000001b3;
			if (field != 32)
				put_u64(p + 32, h);
			if (container_open(&c, (struct buf){p, bytes}, &e)) {
				accepted++;
				for (uint64_t i = 0; i < c.nentry; i++) {
					struct container_entry x = container_get(&c, i);
					CHECK((const uint8_t *)x.data.p >= p);
					CHECK((const uint8_t *)x.data.p + x.data.n <= p + bytes);
				}
			}
			free(p);
		}
	/* A few values are true (offset 64 multiples), or a size that needs the same room. */
	CHECK(accepted < 40);
}
