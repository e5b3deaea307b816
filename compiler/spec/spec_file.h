/*
 * The files of a spec and where paths in them may lead.
 *
 * A path in a spec is relative to the file that it stands in and stays inside the project (the
 * nearest ancestor of the spec that holds .trim-root or .git, else the spec's folder), or it is
 * NAME:PATH, PATH inside the named root. "Inside" holds for the text (no .. beyond the root) and for
 * what it leads to (no symbolic link out of it). Absolute paths are errors. A path's identity is
 * (root name, path below it): no folder of this machine enters a key.
 */
#ifndef SPEC_FILE_H
#define SPEC_FILE_H

#include "digest.h"
#include "spec_log.h"
#include "strbuf.h"

enum {
	SPEC_MAX_FILE_BYTES = 4 << 20,
	SPEC_MAX_TOTAL_BYTES = 16 << 20,
	SPEC_MAX_FILES = 256,
	SPEC_MAX_INCLUDE_DEPTH = 16,
};

/* Named roots: --root, TRIM_ROOT_*, the user's configuration, and `trim`, the installed specs/. Of
 * equal names the first counts. */
struct spec_root {
	const char *name, *dir;
};

struct spec_roots {
	struct spec_root *root;
	int nroot;
};

const struct spec_root *spec_root_find(const struct spec_roots *roots, const char *name);
/* Letters, digits and '-', beginning with a lower-case letter, at least two of them. */
bool spec_root_name_ok(const char *name, size_t n);

/* One file that was read. */
struct spec_file {
	const char *name;    /* as messages show it */
	const char *path;    /* as it can be opened */
	const char *root;    /* named root; NULL: the project */
	const char *rel;     /* below that root */
	struct digest digest;
	struct buf text;
	int index;
	int depth;                      /* of inclusion */
	const struct spec_file *parent; /* what included it */
};

struct spec_path {
	const char *root; /* named root; NULL: the project */
	const char *rel;  /* below that root, normalised; "." is the root itself */
	const char *path; /* as it can be opened; NULL if roots are not resolved */
	bool glob;        /* rel holds * ? or [ */
	struct place at;
};

struct spec_files {
	struct arena *arena;
	struct spec_log *log;
	const struct spec_roots *roots;
	bool any_path;                  /* paths need not exist, their roots need not be set */
	const char *project;            /* the project root, resolved */
	const char *display;            /* put before a project path to show it to the user */
	const char *spec_dir;           /* folder of the main spec below the project, "" or "a/b" */
	struct spec_file **file;
	int nfile;
	size_t total_bytes;
};

/* Opens the main spec and finds its project. NULL after a message. */
struct spec_file *spec_files_open(struct spec_files *fs, const char *path);

/* Reads an included file. at: where the href stands. NULL after a message (limits, a cycle, a path
 * that leads outside, an unset root, no such file). */
struct spec_file *spec_files_include(
	struct spec_files *fs, const struct spec_file *from, const char *href, struct place at);

/* Resolves a path that stands in `from`, checks that it exists unless it is a pattern. */
bool spec_path_resolve(struct spec_files *fs, const struct spec_file *from, const char *text,
	struct place at, struct spec_path *out);

/* The path as it would be written in the main spec. */
const char *spec_path_text(struct spec_files *fs, const struct spec_path *path);

#endif
