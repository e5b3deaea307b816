/*
 * The stat table: from (device, inode, size, mtime, ctime) of a file to the digest of its bytes, so
 * that a file that did not change is not read again.
 *
 * Invariant: an answer from the table is what hashing the file now would give, unless someone sets
 * the clock back and then writes within one tick, or writes through a map held open for longer than
 * the file system defers its times.
 *
 * Git's racy rule (Documentation/technical/racy-git.txt): a file whose mtime or ctime is not older
 * than the moment of hashing, by more than what the file system's clock can tell apart, may be
 * changed once more without showing it. Such an entry is not kept; the file is hashed again next
 * time. The margin is 20 ms, or 2 s where times come in whole seconds.
 *
 * File `stat` in the store: 64-byte header ("trim stat 1\n", zeros), then entries of 64 bytes, all
 * u64 little endian: device, inode, size, mtime_ns, ctime_ns, digest hi, lo, and XXH3-64 of those
 * 56 bytes. Appended under flock; the last entry of a (device, inode) counts; what does not check
 * is skipped; a torn tail is cut by the next writer; rewritten when most entries are dead.
 */
#ifndef STATCACHE_H
#define STATCACHE_H

#include "store.h"

struct statcache;

enum statcache_flags {
	STATCACHE_REHASH = 1 << 0, /* believe nothing that is not hashed now */
};

/* A missing, damaged or foreign file is an empty table. os may be NULL. path NULL: in memory only.
 */
struct statcache *statcache_new(const struct os_ops *os, const char *path,
	enum statcache_flags flags);

/* Writes what was learnt; failing to costs time only, so a caller may ignore it. */
bool statcache_save(struct statcache *c, struct err *e);
void statcache_free(struct statcache *c); /* does not save */

/* Digest and size of a regular file. ERR_IO with the path if it cannot be read. bytes may be NULL.
 */
bool statcache_digest(struct statcache *c, const char *path, struct digest *out, uint64_t *bytes,
	struct err *e);

/* Every regular file below a folder, symbolic links followed, names starting with '.' left out;
 * sorted by the bytes of the path relative to it. Into the arena. */
struct listed_file {
	const char *name; /* relative, '/' between */
	struct digest digest;
	uint64_t bytes;
};
bool statcache_list(struct statcache *c, struct arena *a, const char *path,
	struct listed_file **out, size_t *nout, struct err *e);

size_t statcache_nhashed(const struct statcache *c); /* files read since new */

#endif
