/* What the files of the store share; nobody else includes this. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <pthread.h>

#include "digest_map.h"
#include "store.h"

enum { STORE_PATH_MAX = 4096 };

struct store {
	const struct os_ops *os;
	char *path;
	bool read_only;
	int gc_fd; /* holds locks/gc shared; -1 on a read-only file system without that file */

	pthread_mutex_t mutex; /* of all below */
	struct digest_map seen; /* objects known to be there, or not */
	char tmp_name[64];      /* "" until the first temporary file */
	int tmp_fd;             /* holds tmp/NAME.alive */
	uint64_t tmp_seq;
};

enum { SEEN_UNKNOWN, SEEN_THERE, SEEN_BAD };

/* "objects/ab/cd..." and the like below the store; BUG if it does not fit. */
void store_name(const struct store *s, char out[STORE_PATH_MAX], const char *fmt, ...)
	PRINTF_LIKE(3, 4);
void store_digest_name(const struct store *s, char out[STORE_PATH_MAX], const char *folder,
	struct digest d);

/* A new file in tmp/, open for writing; path receives its name. */
int store_tmp_open(struct store *s, char path[STORE_PATH_MAX], unsigned mode, struct err *e);
bool store_tmp_name(struct store *s, char path[STORE_PATH_MAX], struct err *e);

/* fsync by name, then rename; makes the two-digit folder of `to` if it is missing. On failure the
 * temporary file is gone. */
enum store_sync { STORE_NO_SYNC, STORE_SYNC };
bool store_tmp_place(struct store *s, const char *tmp, const char *to, enum store_sync sync,
	struct err *e);

/* The parts one behind the other as the file `to`, by way of tmp/: nobody sees a part of it. */
bool store_tmp_put(struct store *s, const char *to, const struct buf *part, size_t npart,
	enum store_sync sync, struct err *e);

/* fsync by name. */
bool store_sync_file(struct store *s, const char *path, struct err *e);

void store_mark(struct store *s, struct digest d, uint64_t seen);

/* Why nothing can be written. Returns false. */
bool store_refuse(const struct store *s, struct err *e);

/* Removes a folder and what is in it, one level deep or more. */
void store_remove_tree(const struct store *s, const char *path);

#endif
