/*
 * The artifact store: objects named by their content, records of actions named by their key.
 *
 * Invariants. An object is never changed after its name exists. A record is written only after the
 * objects it names are durable. What is missing or damaged is a miss, never an error: it costs time
 * only. Several processes share a store without a server; what a process killed at any point leaves
 * behind is a temporary file that the next one removes.
 *
 * Layout of the folder ($TRIM_CACHE, else $XDG_CACHE_HOME/trim, else ~/.cache/trim):
 *
 *     CACHEDIR.TAG        so that backups skip it
 *     format              "trim cache 1\n"; another number is refused
 *     objects/ab/cdef..   mode 0444; the name is the XXH3-128 of the bytes, 2 + 30 hex digits
 *     actions/ab/cdef..   a record each, see below; the name is the action's key
 *     checkpoints/KEY     unfinished work of an action: 40-byte header, payload
 *     roots/NAME          what gc keeps: lines "key HEX", "record HEX", "object HEX", first "trim-root 1"
 *     locks/KEY           flock(2)ed while an action runs; holds the pid for messages
 *     locks/gc            shared by every open store, exclusive for gc
 *     tmp/NAME.alive      flock(2)ed by the process that owns tmp/NAME.*; free means dead
 *     stat                the stat table (statcache.h)
 *
 * A record is text, and its last line checks the rest:
 *
 *     trim-action 1
 *     wall NANOSECONDS
 *     output NAME HEX BYTES          in the order of the rule's outputs
 *     ref HEX BYTES                  an object that an output names; sorted, no duplicates
 *     sum HEX                        XXH3-128 of all bytes before this line
 *
 * A checkpoint file: "trimckpt", step (u64 little endian), payload bytes (u64), XXH3-128 of step,
 * size and payload (hi, lo), then the payload.
 *
 * Locks are flock(2) locks: the kernel drops them with the process, so there is no stale lock and
 * no guess about pids (which differ between containers that share a cache).
 *
 * All functions but open, gc and free may be called from several threads.
 */
#ifndef STORE_H
#define STORE_H

#include "arena.h"
#include "digest.h"
#include "os.h"

struct store;

enum store_mode {
	STORE_WRITE,     /* created if absent; falls back to reading where it cannot be written */
	STORE_READ_ONLY, /* what is not there is a miss */
};

/* Appends the default folder; ERR_TOOL if neither variable nor HOME is set. */
bool store_default_path(struct strbuf *out, struct err *e);

/* `os` is borrowed, NULL is the real system. ERR_LOCKED while gc runs. */
bool store_open(struct store **out, const struct os_ops *os, const char *path, enum store_mode mode,
	struct err *e);
void store_free(struct store *s); /* NULL is allowed; removes this process's temporary files */
const char *store_path(const struct store *s);
const struct os_ops *store_os(const struct store *s);

/* ---- objects ---- */

enum store_found {
	STORE_OK,
	STORE_MISS, /* missing, or damaged and now set aside: make it again */
	STORE_FAIL, /* the system failed: err says how */
};

/* Whether the object is there with this size (its bytes are not read). bytes may be NULL (any).
 * A true answer is remembered until store_get finds otherwise. */
bool store_has(struct store *s, struct digest d, const uint64_t *bytes);

/* Maps an object after hashing it. The map lives until store_unmap, also if gc removes the name. */
enum store_found store_get(struct store *s, struct digest d, struct map *out, struct err *e);
void store_unmap(struct store *s, struct map *m);

/* Puts of one action. Nothing is visible before the commit, which makes all of them durable with
 * one batch of fsyncs and then renames them. An object that is already there is compared, and
 * replaced if it is damaged. A batch belongs to one thread. */
struct store_batch;
struct store_batch *store_batch_new(struct store *s);
bool store_batch_put(struct store_batch *b, struct buf bytes, struct digest *out, struct err *e);
bool store_batch_commit(struct store_batch *b, struct err *e);
void store_batch_free(struct store_batch *b); /* what was not committed is gone */

/* A streamed object of a batch: begin, any number of writes, then end or, on failure, drop. */
struct store_writer;
struct store_writer *store_writer_begin(struct store_batch *b, struct err *e);
bool store_writer_add(struct store_writer *w, const void *p, size_t n, struct err *e);
bool store_writer_end(struct store_writer *w, struct digest *out, uint64_t *bytes, struct err *e);
void store_writer_drop(struct store_writer *w);

/* A batch of one. */
bool store_put(struct store *s, struct buf bytes, struct digest *out, struct err *e);

/* Writes an object to path by temporary file and rename: reflink, else copy, never a hard link, so
 * that editing the copy cannot reach the store. The bytes are hashed first. */
enum store_found store_materialise(struct store *s, struct digest d, const char *path,
	unsigned mode, struct err *e);

/* ---- recipes: files put together from objects, so that the store need not hold them twice ----
 *
 * A recipe is an object of text lines: "trim-recipe 1", "whole HEX BYTES" (the file it makes), then
 * in file order "part HEX OFFSET BYTES" (of an object) or "zero BYTES". */
struct recipe_part {
	struct digest object; /* not read if zero */
	uint64_t offset, bytes;
	bool zero;
};
struct recipe {
	struct digest whole;
	uint64_t bytes;
	struct recipe_part *part;
	size_t npart;
};
void recipe_write(struct strbuf *out, const struct recipe *r);
bool recipe_parse(struct arena *a, struct buf text, struct recipe *out, struct err *e);
/* Fills r->whole and r->bytes by reading the parts. */
enum store_found recipe_digest(struct store *s, struct recipe *r, struct err *e);
enum store_found store_assemble(struct store *s, const struct recipe *r, const char *path,
	unsigned mode, struct err *e);

/* ---- records ---- */

struct record_object {
	const char *name; /* NULL for a ref */
	struct digest digest;
	uint64_t bytes;
};
struct record {
	struct record_object *output, *ref;
	size_t noutput, nref;
	int64_t wall_ns; /* what making it cost */
};

/* Of the record's objects nothing is checked. Into the arena. */
enum store_found store_record_get(struct store *s, struct digest key, struct arena *a,
	struct record *out, struct err *e);
/* The objects must have been committed. */
bool store_record_put(struct store *s, struct digest key, const struct record *r, struct err *e);

/* ---- locks of keys ---- */

struct store_lock {
	int fd; /* -1: none */
	struct digest key;
};
/* True with fd -1: someone (this process included) holds it; pid then says who, 0 unknown. */
bool store_lock_try(struct store *s, struct digest key, struct store_lock *out, int *pid,
	struct err *e);
void store_lock_release(struct store *s, struct store_lock *l);

/* ---- checkpoints: the newest one of a key, replaced as a whole ---- */

bool store_checkpoint_put(struct store *s, struct digest key, uint64_t step,
	const struct buf *part, size_t npart, struct err *e);
/* m holds the payload behind a header: read it through *payload; unmap m. */
enum store_found store_checkpoint_get(struct store *s, struct digest key, uint64_t *step,
	struct map *m, struct buf *payload, struct err *e);
void store_checkpoint_drop(struct store *s, struct digest key);

/* ---- temporary folders, gone when the process is ---- */

bool store_tmpdir(struct store *s, struct strbuf *out, struct err *e);
void store_tmpdir_remove(struct store *s, const char *path);

/* ---- upkeep ---- */

/* What gc keeps for NAME (letters, digits, '-', '.', '_'); replaces what it kept before. */
struct store_root {
	const struct digest *key;    /* record, checkpoint and all objects of it */
	size_t nkey;
	const struct digest *record; /* the record alone: its objects may be made again */
	size_t nrecord;
	const struct digest *object;
	size_t nobject;
};
bool store_root_put(struct store *s, const char *name, const struct store_root *r, struct err *e);
bool store_root_drop(struct store *s, const char *name, struct err *e); /* true if there is none */

struct store_stat {
	uint64_t nobject, object_bytes, nrecord, ncheckpoint, checkpoint_bytes, nroot, ntmp;
	uint64_t ndamaged;              /* verify */
	uint64_t nremoved, freed_bytes; /* gc: removed, or what would be */
};
bool store_stat(struct store *s, struct store_stat *out, struct err *e);

/* Hashes every object and reads every record; appends a line for each damaged one. */
bool store_verify(struct store *s, struct store_stat *out, struct strbuf *damaged, struct err *e);

/* Removes objects, records and checkpoints that no root reaches. Without GC_YES it only counts.
 * A root reaches its objects, keys and records; a key its record's outputs and refs, and its checkpoint.
 * ERR_LOCKED while another process has the store open, so a running build loses nothing. */
enum gc_flags { GC_YES = 1 << 0 };
bool store_gc(struct store *s, enum gc_flags flags, struct store_stat *out, struct err *e);
/* The same for these objects alone, now: those that no root reaches go, unless another process has the store open; then
 * all stay and nremoved is 0. */
bool store_discard(struct store *s, const struct digest *object, size_t n, struct store_stat *out, struct err *e);

#endif
