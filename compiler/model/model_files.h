/*
 * The files of a model: a GGUF file, or what lies in a Hugging Face folder; on disk, or as bytes that
 * someone else holds (the build engine names files by content and hands rules nothing but bytes).
 */
#ifndef MODEL_FILES_H
#define MODEL_FILES_H

#include "arena.h"
#include "file.h"
#include "strbuf.h"

struct model_file {
	const char *name; /* "config.json" */
	struct buf bytes; /* borrowed */
};

struct model_files {
	const char *folder;            /* read when `file` is NULL; else "" */
	const struct model_file *file;
	size_t nfile;
};

bool model_files_have(const struct model_files *f, const char *name);

/* How messages call it. In the arena. */
const char *model_files_path(struct arena *a, const struct model_files *f, const char *name);

/* map: for map_release, once the bytes are no longer needed; also after a failure. */
bool model_files_read(struct arena *a, const struct model_files *f, const char *name, struct map *map,
	struct buf *out, struct err *e);

#endif
