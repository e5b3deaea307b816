/* The store and the stat table by themselves. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

static struct store *open_store(const char *name, enum store_mode mode)
{
	struct store *s = NULL;
	struct err e;
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", test_tmpdir(), name);
	if (!store_open(&s, quiet_os(), path, mode, &e))
		FAIL("%s", e.msg);
	return s;
}

static struct digest put(struct store *s, const char *text)
{
	struct digest d = {0};
	struct err e;
	if (!store_put(s, (struct buf){text, strlen(text)}, &d, &e))
		FAIL("%s", e.msg);
	return d;
}

static bool holds(struct store *s, struct digest d, const char *text)
{
	struct map m;
	struct err e;
	if (store_get(s, d, &m, &e) != STORE_OK)
		return false;
	bool same = m.n == strlen(text) && (!m.n || memcmp(m.p, text, m.n) == 0);
	store_unmap(s, &m);
	return same;
}

static void object_path(struct store *s, struct digest d, char *out, size_t n)
{
	char hex[DIGEST_HEX];
	digest_hex(d, hex);
	snprintf(out, n, "%s/objects/%.2s/%s", store_path(s), hex, hex + 2);
}

static void overwrite(const char *path, const char *text)
{
	chmod(path, 0644);
	FILE *f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f))
		FAIL("unable to write '%s'", path);
}

TEST(store_objects_are_named_by_content_and_read_only)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct digest d = put(s, "hello"), empty = put(s, "");
	struct stat st;
	char path[1024];
	object_path(s, d, path, sizeof(path));
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0444);
	CHECK(digest_equal(d, digest_of("hello", 5)));
	CHECK(holds(s, d, "hello") && holds(s, empty, ""));
	CHECK(store_has(s, d, &(uint64_t){5}));
	store_free(s);
	s = open_store("s", STORE_READ_ONLY);
	CHECK(holds(s, d, "hello"));
	CHECK(!store_has(s, d, &(uint64_t){6}));
	CHECK(!store_put(s, (struct buf){"x", 1}, &d, NULL));
	store_free(s);
}

TEST(store_damage_is_a_miss_and_heals)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct digest d = put(s, "hello");
	char path[1024];
	object_path(s, d, path, sizeof(path));
	overwrite(path, "hellO");
	CHECK(store_has(s, d, NULL)); /* its bytes have not been read yet */
	CHECK(!holds(s, d, "hello"));
	CHECK(!store_has(s, d, NULL));
	put(s, "hello");
	CHECK(holds(s, d, "hello"));
	overwrite(path, "damaged and nobody looked");
	put(s, "hello"); /* the put compares */
	CHECK(holds(s, d, "hello"));
	unlink(path);
	CHECK(!holds(s, d, "hello"));
	store_free(s);
}

TEST(store_shows_nothing_of_a_batch_before_its_commit)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct store_batch *b = store_batch_new(s);
	struct digest d[2], big;
	uint64_t bytes;
	struct err e;
	CHECK(store_batch_put(b, (struct buf){"a", 1}, &d[0], &e));
	CHECK(store_batch_put(b, (struct buf){"b", 1}, &d[1], &e));
	struct store_writer *w = store_writer_begin(b, &e);
	REQUIRE(w);
	char *chunk = xcalloc(1, 300000);
	struct hasher *h = hasher_new();
	for (int i = 0; i < 7; i++) {
		memset(chunk, i, 300000);
		hasher_add(h, chunk, (size_t)(i * 50000));
		CHECK(store_writer_add(w, chunk, (size_t)(i * 50000), &e));
	}
	free(chunk);
	CHECK(store_writer_end(w, &big, &bytes, &e));
	CHECK_INT(bytes, 21 * 50000);
	CHECK(digest_equal(big, hasher_end(h)));
	CHECK(!store_has(s, d[0], NULL) && !store_has(s, d[1], NULL) && !store_has(s, big, NULL));
	CHECK(store_batch_commit(b, &e));
	CHECK(store_has(s, d[0], NULL) && store_has(s, d[1], NULL) && store_has(s, big, &bytes));
	store_batch_free(b);
	b = store_batch_new(s);
	CHECK(store_batch_put(b, (struct buf){"c", 1}, &d[0], &e));
	store_batch_free(b);
	CHECK(!store_has(s, d[0], NULL));
	store_free(s);
}

TEST(store_records_read_back_and_tolerate_damage)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct arena a = {0};
	struct digest key = digest_of("key", 3);
	struct record_object output[2] = {{"x", digest_of("1", 1), 7}, {"y", digest_of("2", 1), 0}};
	struct record_object ref = {NULL, digest_of("3", 1), UINT64_MAX};
	struct record r = {output, &ref, 2, 1, 12345}, back;
	struct err e;
	char hex[DIGEST_HEX], path[1024];
	CHECK_INT(store_record_get(s, key, &a, &back, &e), STORE_MISS);
	CHECK(store_record_put(s, key, &r, &e));
	REQUIRE(store_record_get(s, key, &a, &back, &e) == STORE_OK);
	CHECK_INT(back.noutput, 2);
	CHECK_STR(back.output[1].name, "y");
	CHECK(digest_equal(back.output[1].digest, output[1].digest) && back.output[0].bytes == 7);
	CHECK(back.nref == 1 && back.ref[0].bytes == UINT64_MAX && back.wall_ns == 12345);
	digest_hex(key, hex);
	snprintf(path, sizeof(path), "%s/actions/%.2s/%s", store_path(s), hex, hex + 2);
	struct strbuf text;
	strbuf_init(&text);
	CHECK(file_read(&text, path, &e));
	/* every shorter file and every flipped byte is a miss */
	for (size_t i = 0; i < text.n; i++) {
		CHECK(file_write(path, (struct buf){text.s, i}, 0644, &e));
		CHECK_INT(store_record_get(s, key, &a, &back, &e), STORE_MISS);
		text.s[i] ^= 1;
		CHECK(file_write(path, strbuf_buf(&text), 0644, &e));
		text.s[i] ^= 1;
		CHECK_INT(store_record_get(s, key, &a, &back, &e), STORE_MISS);
	}
	strbuf_release(&text);
	arena_release(&a);
	store_free(s);
}

TEST(store_checkpoints_are_whole_or_absent)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct digest key = digest_of("key", 3);
	struct buf part[2] = {{"abc", 3}, {"defg", 4}}, payload;
	struct map m;
	uint64_t step;
	struct err e;
	char hex[DIGEST_HEX], path[1024];
	CHECK_INT(store_checkpoint_get(s, key, &step, &m, &payload, &e), STORE_MISS);
	CHECK(store_checkpoint_put(s, key, 9, part, 2, &e));
	CHECK(store_checkpoint_put(s, key, 10, part, 2, &e));
	REQUIRE(store_checkpoint_get(s, key, &step, &m, &payload, &e) == STORE_OK);
	CHECK(step == 10 && payload.n == 7 && memcmp(payload.p, "abcdefg", 7) == 0);
	store_unmap(s, &m);
	digest_hex(key, hex);
	snprintf(path, sizeof(path), "%s/checkpoints/%s", store_path(s), hex);
	CHECK(truncate(path, 45) == 0);
	CHECK_INT(store_checkpoint_get(s, key, &step, &m, &payload, &e), STORE_MISS);
	CHECK(access(path, F_OK) != 0);
	store_free(s);
}

TEST(store_materialise_copies_and_never_links)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct digest d = put(s, "some bytes");
	struct strbuf b;
	struct stat st;
	struct err e;
	char path[1024], object[1024];
	snprintf(path, sizeof(path), "%s/out", test_tmpdir());
	CHECK_INT(store_materialise(s, d, path, 0755, &e), STORE_OK);
	object_path(s, d, object, sizeof(object));
	CHECK(stat(object, &st) == 0 && st.st_nlink == 1);
	overwrite(path, "edited out");
	CHECK(holds(s, d, "some bytes"));
	CHECK_INT(store_materialise(s, d, path, 0755, &e), STORE_OK);
	strbuf_init(&b);
	CHECK(file_read(&b, path, &e));
	CHECK_STR(b.s, "some bytes");
	overwrite(object, "some byteS");
	CHECK_INT(store_materialise(s, d, path, 0755, &e), STORE_MISS);
	strbuf_clear(&b);
	CHECK(file_read(&b, path, &e));
	CHECK_STR(b.s, "some bytes");
	strbuf_release(&b);
	store_free(s);
}

TEST(recipes_assemble_parts_of_objects)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct arena a = {0};
	struct recipe_part part[] = {{.object = put(s, "0123456789"), .offset = 2, .bytes = 3},
		{.zero = true, .bytes = 70000},
		{.object = put(s, "abc"), .offset = 0, .bytes = 3}};
	struct recipe r = {.part = part, .npart = 3}, back;
	struct strbuf text, file;
	struct err e;
	char path[1024];
	strbuf_init(&text);
	strbuf_init(&file);
	snprintf(path, sizeof(path), "%s/out", test_tmpdir());
	CHECK_INT(recipe_digest(s, &r, &e), STORE_OK);
	recipe_write(&text, &r);
	REQUIRE(recipe_parse(&a, strbuf_buf(&text), &back, &e));
	CHECK_INT(store_assemble(s, &back, path, 0644, &e), STORE_OK);
	CHECK(file_read(&file, path, &e));
	CHECK_INT(file.n, 70006);
	CHECK(memcmp(file.s, "234", 3) == 0 && memcmp(file.s + 70003, "abc", 3) == 0);
	CHECK(digest_equal(digest_of(file.s, file.n), back.whole));
	part[2].bytes = 4;
	CHECK_INT(recipe_digest(s, &r, &e), STORE_FAIL);
	CHECK_STR(e.msg, "a recipe wants bytes behind the end of an object");
	static const char *const bad[] = {"", "trim-recipe 2\n", "trim-recipe 1\nwhole 12 3\n",
		"trim-recipe 1\nwhole 00000000000000000000000000000000 5\nzero 4\n",
		"trim-recipe 1\nwhole 00000000000000000000000000000000 5\nzeros\n"};
	for (size_t i = 0; i < NELEM(bad); i++)
		CHECK(!recipe_parse(&a, (struct buf){bad[i], strlen(bad[i])}, &back, &e));
	strbuf_release(&text);
	strbuf_release(&file);
	arena_release(&a);
	store_free(s);
}

TEST(store_locks_exclude_and_die_with_their_process)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct digest key = digest_of("key", 3);
	struct store_lock first, second;
	struct err e;
	int pid, ready[2];
	char c;
	CHECK(store_lock_try(s, key, &first, &pid, &e) && first.fd >= 0);
	CHECK(store_lock_try(s, key, &second, &pid, &e) && second.fd < 0);
	CHECK_INT(pid, getpid());
	store_lock_release(s, &first);
	CHECK(store_lock_try(s, key, &second, &pid, &e) && second.fd >= 0);
	store_lock_release(s, &second);
	REQUIRE(pipe(ready) == 0);
	pid_t child = fork();
	if (child == 0) {
		struct store *own = open_store("s", STORE_WRITE);
		struct store_batch *b = store_batch_new(own);
		struct digest d;
		bool ok = store_lock_try(own, key, &first, &pid, &e) &&
			store_batch_put(b, (struct buf){"lost", 4}, &d, &e);
		if (write(ready[1], ok ? "y" : "n", 1) == 1)
			pause();
		_exit(1);
	}
	REQUIRE(read(ready[0], &c, 1) == 1);
	CHECK(c == 'y');
	CHECK(store_lock_try(s, key, &second, &pid, &e) && second.fd < 0);
	CHECK_INT(pid, child);
	struct store_stat st;
	CHECK(store_stat(s, &st, &e) && st.ntmp == 3); /* two marks of life, one file */
	CHECK(!store_gc(s, GC_YES, &st, &e));
	CHECK_INT(e.kind, ERR_LOCKED);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	CHECK(store_lock_try(s, key, &second, &pid, &e) && second.fd >= 0);
	store_lock_release(s, &second);
	store_free(s);
	s = open_store("s", STORE_WRITE);
	put(s, "x"); /* the first temporary file cleans up after the dead */
	CHECK(store_stat(s, &st, &e) && st.ntmp == 1);
	close(ready[0]);
	close(ready[1]);
	store_free(s);
}

TEST(gc_keeps_what_roots_reach_and_asks_first)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct digest kept = put(s, "kept"), ref = put(s, "ref"), loose = put(s, "loose"),
		      rooted = put(s, "rooted"), key = digest_of("k1", 2),
		      other = digest_of("k2", 2);
	struct record_object output = {"out", kept, 4}, refs = {NULL, ref, 3},
			     gone = {"out", loose, 5};
	struct buf part = {"p", 1};
	struct store_stat st;
	struct arena a = {0};
	struct record r;
	struct err e;
	CHECK(store_record_put(s, key, &(struct record){&output, &refs, 1, 1, 0}, &e));
	CHECK(store_record_put(s, other, &(struct record){&gone, NULL, 1, 0, 0}, &e));
	CHECK(store_checkpoint_put(s, key, 1, &part, 1, &e));
	CHECK(store_checkpoint_put(s, other, 1, &part, 1, &e));
	CHECK(!store_root_put(s, "../evil", &(struct store_root){.key = &key, .nkey = 1}, &e));
	CHECK(store_root_put(s, "spec", &(struct store_root){.key = &key, .nkey = 1, .object = &rooted, .nobject = 1}, &e));
	CHECK(store_gc(s, 0, &st, &e));
	CHECK_INT(st.nremoved, 3);
	CHECK(store_has(s, loose, NULL));
	CHECK(store_gc(s, GC_YES, &st, &e));
	CHECK_INT(st.nremoved, 3);
	CHECK(!store_has(s, loose, NULL) && store_has(s, kept, NULL) && store_has(s, ref, NULL) &&
		store_has(s, rooted, NULL));
	CHECK_INT(store_record_get(s, key, &a, &r, &e), STORE_OK);
	CHECK_INT(store_record_get(s, other, &a, &r, &e), STORE_MISS);
	CHECK(store_stat(s, &st, &e));
	CHECK(st.nobject == 3 && st.nrecord == 1 && st.ncheckpoint == 1 && st.nroot == 1);
	CHECK(store_root_drop(s, "spec", &e));
	CHECK(store_gc(s, GC_YES, &st, &e));
	CHECK_INT(st.nremoved, 5);
	arena_release(&a);
	store_free(s);
}

TEST(discard_takes_what_no_root_reaches_and_nobody_else_may_read)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct digest passing = put(s, "passing"), loose = put(s, "loose"), shared = put(s, "shared"),
		      key = digest_of("k1", 2), other = digest_of("k2", 2), all[] = {passing, shared, digest_of("none", 4)};
	struct record_object output = {"out", passing, 7}, refs = {NULL, shared, 6}, theirs = {"out", shared, 6};
	struct store_stat st;
	struct arena a = {0};
	struct record r;
	struct err e;
	CHECK(store_record_put(s, key, &(struct record){&output, &refs, 1, 1, 0}, &e));
	CHECK(store_record_put(s, other, &(struct record){&theirs, NULL, 1, 0, 0}, &e));
	CHECK(store_root_put(s, "spec", &(struct store_root){.record = &key, .nrecord = 1}, &e));
	CHECK(store_root_put(s, "other", &(struct store_root){.key = &other, .nkey = 1}, &e));
	struct store *second = open_store("s", STORE_WRITE);
	CHECK(store_discard(s, all, NELEM(all), &st, &e));
	CHECK_INT(st.nremoved, 0);
	store_free(second);
	CHECK(store_discard(s, all, NELEM(all), &st, &e));
	CHECK_INT(st.nremoved, 1);
	CHECK(!store_has(s, passing, NULL) && store_has(s, shared, NULL) && store_has(s, loose, NULL));
	/* gc keeps the record of what is gone, and would have kept no more of it. */
	CHECK(store_gc(s, GC_YES, &st, &e));
	CHECK_INT(st.nremoved, 1);
	CHECK_INT(store_record_get(s, key, &a, &r, &e), STORE_OK);
	/* The same key in a root that wants its objects. */
	CHECK(store_root_put(s, "third", &(struct store_root){.key = &key, .nkey = 1}, &e));
	put(s, "passing");
	CHECK(store_discard(s, all, NELEM(all), &st, &e));
	CHECK_INT(st.nremoved, 0);
	arena_release(&a);
	store_free(s);
}

TEST(verify_names_each_damaged_file)
{
	struct store *s = open_store("s", STORE_WRITE);
	struct digest d = put(s, "hello"), key = digest_of("k", 1);
	struct record_object output = {"out", d, 5};
	struct store_stat st;
	struct strbuf text;
	struct err e;
	char path[1024];
	strbuf_init(&text);
	put(s, "fine");
	CHECK(store_record_put(s, key, &(struct record){&output, NULL, 1, 0, 0}, &e));
	CHECK(store_verify(s, &st, &text, &e));
	CHECK(st.ndamaged == 0 && text.n == 0 && st.nobject == 2 && st.nrecord == 1);
	object_path(s, d, path, sizeof(path));
	overwrite(path, "hellO");
	CHECK(store_verify(s, &st, &text, &e));
	CHECK_INT(st.ndamaged, 1);
	CHECK(strstr(text.s, path) != NULL);
	strbuf_release(&text);
	store_free(s);
}

TEST(a_cache_of_another_version_is_refused)
{
	char path[1024];
	struct store *s = open_store("s", STORE_WRITE);
	struct err e;
	snprintf(path, sizeof(path), "%s/format", store_path(s));
	store_free(s);
	overwrite(path, "trim cache 2\n");
	snprintf(path, sizeof(path), "%s/s", test_tmpdir());
	CHECK(!store_open(&s, quiet_os(), path, STORE_WRITE, &e));
	CHECK(strstr(e.msg, "is not a cache of this version of trim: want 'trim cache 1'") != NULL);
}

/* ---- the stat table ---- */

/* A clock the test turns; file times stay the real ones. */
struct clock_os {
	struct os_ops ops;
	int64_t ahead_ns;
};

static int64_t turned_clock(const struct os_ops *os)
{
	return os_posix()->now_ns(os) + ((const struct clock_os *)(const void *)os)->ahead_ns;
}

static struct clock_os clock_os(int64_t ahead_ns)
{
	struct clock_os c = {*os_posix(), ahead_ns};
	c.ops.now_ns = turned_clock;
	return c;
}

TEST(stat_table_obeys_the_racy_rule)
{
	struct clock_os os = clock_os(0);
	char file[512], table[512];
	struct digest d;
	uint64_t bytes;
	struct err e;
	snprintf(file, sizeof(file), "%s/f", test_tmpdir());
	snprintf(table, sizeof(table), "%s/stat", test_tmpdir());
	overwrite(file, "one");
	struct statcache *c = statcache_new(&os.ops, table, 0);
	/* just written: another write of equal size could have the same times */
	for (int i = 1; i <= 2; i++) {
		CHECK(statcache_digest(c, file, &d, &bytes, &e));
		CHECK_INT(statcache_nhashed(c), i);
	}
	os.ahead_ns = 3000000000;
	CHECK(statcache_digest(c, file, &d, &bytes, &e));
	CHECK(statcache_digest(c, file, &d, &bytes, &e));
	CHECK_INT(statcache_nhashed(c), 3);
	CHECK(digest_equal(d, digest_of("one", 3)) && bytes == 3);
	CHECK(statcache_save(c, &e));
	statcache_free(c);
	c = statcache_new(&os.ops, table, 0);
	CHECK(statcache_digest(c, file, &d, &bytes, &e));
	CHECK_INT(statcache_nhashed(c), 0);
	CHECK(digest_equal(d, digest_of("one", 3)));
	statcache_free(c);
	c = statcache_new(&os.ops, table, STATCACHE_REHASH);
	CHECK(statcache_digest(c, file, &d, &bytes, &e));
	CHECK_INT(statcache_nhashed(c), 1);
	statcache_free(c);
	/* edited with equal size: the times tell */
	c = statcache_new(&os.ops, table, 0);
	struct stat before, after;
	CHECK(stat(file, &before) == 0);
	do { /* until the clock of file times has moved on */
		overwrite(file, "two");
		CHECK(stat(file, &after) == 0);
	} while (before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
	CHECK(statcache_digest(c, file, &d, &bytes, &e));
	CHECK(digest_equal(d, digest_of("two", 3)));
	statcache_free(c);
}

TEST(stat_table_survives_torn_tails_and_damage)
{
	struct clock_os os = clock_os(3000000000);
	char file[512], table[512];
	struct digest d;
	struct strbuf b;
	struct err e;
	strbuf_init(&b);
	snprintf(table, sizeof(table), "%s/stat", test_tmpdir());
	struct statcache *c = statcache_new(&os.ops, table, 0);
	for (int i = 0; i < 8; i++) {
		snprintf(file, sizeof(file), "%s/f%d", test_tmpdir(), i);
		overwrite(file, file);
		CHECK(statcache_digest(c, file, &d, NULL, &e));
	}
	CHECK(statcache_save(c, &e));
	statcache_free(c);
	CHECK(file_read(&b, table, &e));
	CHECK_INT(b.n, 64 * 9);
	struct rng r;
	rng_init(&r, 7);
	for (int round = 0; round < 200; round++) {
		size_t keep = (size_t)rng_below(&r, b.n + 1), flip = (size_t)rng_below(&r, b.n);
		b.s[flip] ^= 16;
		CHECK(file_write(table, (struct buf){b.s, keep}, 0644, &e));
		b.s[flip] ^= 16;
		c = statcache_new(&os.ops, table, 0);
		for (int i = 0; i < 8; i++) {
			snprintf(file, sizeof(file), "%s/f%d", test_tmpdir(), i);
			CHECK(statcache_digest(c, file, &d, NULL, &e));
			CHECK(digest_equal(d, digest_of(file, strlen(file))));
		}
		CHECK(statcache_save(c, &e));
		statcache_free(c);
		c = statcache_new(&os.ops, table, 0);
		CHECK(statcache_digest(c, file, &d, NULL, &e));
		if (statcache_nhashed(c))
			FAIL("round %d: keep %zu, flip %zu: the table did not heal", round, keep,
				flip);
		statcache_free(c);
	}
	strbuf_release(&b);
}

TEST(stat_table_does_not_grow_without_end)
{
	struct clock_os os = clock_os(3000000000);
	char file[512], table[512];
	struct digest d;
	struct stat st;
	struct err e;
	snprintf(table, sizeof(table), "%s/stat", test_tmpdir());
	for (int round = 0; round < 60; round++) {
		struct statcache *c = statcache_new(&os.ops, table, STATCACHE_REHASH);
		for (int i = 0; i < 40; i++) {
			snprintf(file, sizeof(file), "%s/f%d", test_tmpdir(), i);
			if (!round)
				overwrite(file, file);
			CHECK(statcache_digest(c, file, &d, NULL, &e));
		}
		CHECK(statcache_save(c, &e));
		statcache_free(c);
	}
	CHECK(stat(table, &st) == 0 && st.st_size <= 64 * (1024 + 4 * 40));
}

TEST(listing_is_sorted_and_follows_folders)
{
	static const char *const name[] = {"b/x", "b/a/z", "a", "c.txt", ".hidden", "b/.git"};
	static const char *const want[] = {"a", "b/a/z", "b/x", "c.txt"};
	struct arena a = {0};
	struct listed_file *f;
	size_t nf;
	struct err e;
	char dir[400], path[512];
	snprintf(dir, sizeof(dir), "%s/d/b/a", test_tmpdir());
	CHECK(make_directories(dir, &e));
	snprintf(dir, sizeof(dir), "%s/d", test_tmpdir());
	for (size_t i = 0; i < NELEM(name); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, name[i]);
		overwrite(path, name[i]);
	}
	struct statcache *c = statcache_new(NULL, NULL, 0);
	REQUIRE(statcache_list(c, &a, dir, &f, &nf, &e));
	CHECK_INT(nf, NELEM(want));
	for (size_t i = 0; i < nf && i < NELEM(want); i++) {
		CHECK_STR(f[i].name, want[i]);
		CHECK(digest_equal(f[i].digest, digest_of(want[i], strlen(want[i]))));
		CHECK_INT(f[i].bytes, strlen(want[i]));
	}
	snprintf(path, sizeof(path), "%s/b/a/loop", dir);
	CHECK(symlink("..", path) == 0);
	CHECK(!statcache_list(c, &a, dir, &f, &nf, &e));
	CHECK(!statcache_list(c, &a, "/nonexistent", &f, &nf, &e));
	CHECK_STR(e.msg, "unable to list '/nonexistent': No such file or directory");
	statcache_free(c);
	arena_release(&a);
}
