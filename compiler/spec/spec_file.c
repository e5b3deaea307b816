#include "spec_file.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

bool spec_root_name_ok(const char *name, size_t n)
{
	if (n < 2 || name[0] < 'a' || name[0] > 'z')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') &&
			name[i] != '-')
			return false;
	return true;
}

const struct spec_root *spec_root_find(const struct spec_roots *roots, const char *name)
{
	for (int i = 0; i < roots->nroot; i++)
		if (strcmp(roots->root[i].name, name) == 0)
			return &roots->root[i];
	return NULL;
}

/* Appends the parts of path behind those in rel, resolving "." and ".."; false if it leaves. */
static bool normalise(struct strbuf *rel, const char *path)
{
	while (*path) {
		size_t n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			if (rel->n == 0)
				return false;
			char *slash = strrchr(rel->s, '/');
			rel->n = slash ? (size_t)(slash - rel->s) : 0;
			rel->s[rel->n] = 0;
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			if (rel->n)
				strbuf_addc(rel, '/');
			strbuf_add(rel, path, n);
		}
		path += n;
		if (*path == '/')
			path++;
	}
	return true;
}

static const char *join(struct arena *a, const char *dir, const char *rel)
{
	if (strcmp(rel, ".") == 0 || !*rel)
		return arena_strdup(a, *dir ? dir : ".");
	size_t n = strlen(dir);
	return arena_printf(a, "%s%s%s", dir, n && dir[n - 1] != '/' ? "/" : "", rel);
}

static const char *dirname_of(struct arena *a, const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? arena_strndup(a, path, (size_t)(slash - path)) : "";
}

static bool is_inside(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	return strcmp(dir, "/") == 0 || (strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n]));
}

static bool has_marker(const char *dir)
{
	char path[PATH_MAX];
	for (int i = 0; i < 2; i++) {
		int n = snprintf(path, sizeof(path), "%s/%s", dir, i ? ".git" : ".trim-root");
		if (n > 0 && (size_t)n < sizeof(path) && access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static void find_project(struct spec_files *fs, const char *dir)
{
	char *at = arena_strdup(fs->arena, dir);
	for (;;) {
		if (has_marker(at)) {
			fs->project = at;
			break;
		}
		char *slash = strrchr(at, '/');
		if (!slash || slash == at) {
			fs->project = arena_strdup(fs->arena, dir);
			break;
		}
		*slash = 0;
	}
	size_t n = strlen(fs->project);
	fs->spec_dir = arena_strdup(fs->arena, dir[n] == '/' ? dir + n + 1 : dir + n);
}

static bool read_text(struct spec_files *fs, struct spec_file *f, const struct place *at)
{
	struct stat st;
	if (stat(f->path, &st) != 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? spec_error(fs->log, at, "no such file '%s'", f->name)
			       : spec_error(fs->log, at, "unable to open '%s': %s", f->name,
					 strerror(errno));
	if (!S_ISREG(st.st_mode))
		return spec_error(fs->log, at, "'%s' is not a regular file", f->name);
	if (st.st_size > SPEC_MAX_FILE_BYTES)
		return spec_error(fs->log, at, "'%s' is larger than %d MiB", f->name,
			SPEC_MAX_FILE_BYTES >> 20);
	struct strbuf b;
	struct err e;
	strbuf_init(&b);
	bool ok = file_read(&b, f->path, &e);
	if (!ok)
		spec_error(fs->log, at, "%s", e.msg);
	else if ((fs->total_bytes += b.n) > SPEC_MAX_TOTAL_BYTES)
		ok = spec_error(fs->log, at, "the files of the spec are larger than %d MiB",
			SPEC_MAX_TOTAL_BYTES >> 20);
	if (ok) {
		f->text = (struct buf){arena_strndup(fs->arena, b.s, b.n), b.n};
		f->digest = digest_of(b.s, b.n);
		f->index = fs->nfile;
		*arena_push(fs->arena, fs->file, fs->nfile) = f;
	}
	strbuf_release(&b);
	return ok;
}

struct spec_file *spec_files_open(struct spec_files *fs, const char *path)
{
	struct spec_file *f = arena_new(fs->arena, struct spec_file);
	f->name = arena_strdup(fs->arena, path);
	const char *dir = dirname_of(fs->arena, f->name);
	bool at_root = path[0] == '/' && !*dir;
	char *real = realpath(*dir ? dir : at_root ? "/" : ".", NULL);
	if (!real) {
		spec_error(fs->log, NULL, "no such file '%s'", path);
		return NULL;
	}
	find_project(fs, real);
	const char *base = strrchr(path, '/');
	base = base ? base + 1 : path;
	f->path = arena_printf(fs->arena, "%s/%s", real, base);
	f->rel = join(fs->arena, fs->spec_dir, base);
	if (!*fs->spec_dir)
		f->rel = arena_strdup(fs->arena, base);
	free(real);

	/* Other files of the project are shown as the user would reach them from where he is. */
	struct strbuf up;
	strbuf_init(&up);
	strbuf_adds(&up, dir);
	if (*dir)
		strbuf_addc(&up, '/');
	for (const char *s = fs->spec_dir; *s; s++)
		if (s == fs->spec_dir || s[-1] == '/')
			strbuf_adds(&up, "../");
	size_t nup = strlen(fs->spec_dir), ndir = strlen(dir);
	if (nup && ndir >= nup && strcmp(dir + ndir - nup, fs->spec_dir) == 0 &&
		(ndir == nup || dir[ndir - nup - 1] == '/')) {
		strbuf_clear(&up);
		strbuf_add(&up, dir, ndir - nup);
	}
	fs->display = arena_strdup(fs->arena, up.s);
	strbuf_release(&up);
	return read_text(fs, f, NULL) ? f : NULL;
}

/* Where a path leads, by its text alone. */
static bool resolve_text(struct spec_files *fs, const struct spec_file *from, const char *text,
	struct place at, struct spec_path *out)
{
	*out = (struct spec_path){.root = from->root, .at = at};
	const char *colon = strchr(text, ':');
	struct strbuf rel;
	strbuf_init(&rel);
	if (text[0] == '/') {
		strbuf_release(&rel);
		return spec_error(fs->log, &at,
			"absolute path '%s'; use a path inside the project or a named root (NAME:PATH "
			"with --root NAME=DIR)",
			spec_quote(fs->log, text));
	}
	if (colon && strncmp(colon, "://", 3) == 0) {
		strbuf_release(&rel);
		return spec_error(fs->log, &at, "'%s' is a URL; a spec reads nothing from the network",
			spec_quote(fs->log, text));
	}
	if (colon && spec_root_name_ok(text, (size_t)(colon - text))) {
		out->root = arena_strndup(fs->arena, text, (size_t)(colon - text));
		text = colon + 1;
	} else {
		strbuf_adds(&rel, dirname_of(fs->arena, from->rel));
	}
	bool ok = normalise(&rel, text);
	if (ok)
		out->rel = rel.n ? arena_strdup(fs->arena, rel.s) : ".";
	strbuf_release(&rel);
	if (!ok)
		return out->root ? spec_error(fs->log, &at, "path '%s' leaves root '%s'",
					   spec_quote(fs->log, text), out->root)
				 : spec_error(fs->log, &at,
					   "path '%s' leaves the project; use a named root (NAME:PATH "
					   "with --root NAME=DIR)",
					   spec_quote(fs->log, text));
	out->glob = strpbrk(out->rel, "*?[") != NULL;
	return true;
}

static const char *display_name(struct spec_files *fs, const struct spec_path *p)
{
	if (p->root)
		return arena_printf(fs->arena, "%s:%s", p->root, p->rel);
	return arena_printf(fs->arena, "%s%s", fs->display, p->rel);
}

static bool root_dir(struct spec_files *fs, const struct spec_path *p, const char **dir)
{
	*dir = fs->project;
	if (!p->root)
		return true;
	const struct spec_root *r = spec_root_find(fs->roots, p->root);
	if (!r) {
		char *upper = arena_strdup(fs->arena, p->root);
		for (char *s = upper; *s; s++)
			*s = *s == '-' ? '_' : (char)toupper((unsigned char)*s);
		return spec_lacking(fs->log, &p->at,
			"root '%s' is not set; give --root %s=DIR or set TRIM_ROOT_%s", p->root, p->root,
			upper);
	}
	*dir = r->dir;
	return true;
}

/* The file behind a resolved text: exists, and no link leads out of the root. */
static bool resolve_file(struct spec_files *fs, struct spec_path *p)
{
	const char *dir;
	if (!root_dir(fs, p, &dir))
		return false;
	char *real_dir = realpath(dir, NULL);
	if (!real_dir)
		return spec_lacking(fs->log, &p->at, "root '%s' is no folder: '%s'",
			p->root ? p->root : "the project", dir);
	p->path = join(fs->arena, dir, p->rel);
	bool ok = true;
	if (!p->glob) {
		char *real = realpath(p->path, NULL);
		if (!real && p->root)
			ok = spec_lacking(fs->log, &p->at, "no such file or folder '%s' (root '%s' is %s)",
				display_name(fs, p), p->root, dir);
		else if (!real)
			ok = spec_error(
				fs->log, &p->at, "no such file or folder '%s'", display_name(fs, p));
		else if (!is_inside(real, real_dir))
			ok = spec_error(fs->log, &p->at, "'%s' is a link that leaves %s%s",
				display_name(fs, p), p->root ? "root " : "the project",
				p->root ? p->root : "");
		free(real);
	}
	free(real_dir);
	return ok;
}

bool spec_path_resolve(struct spec_files *fs, const struct spec_file *from, const char *text,
	struct place at, struct spec_path *out)
{
	if (!resolve_text(fs, from, text, at, out))
		return false;
	return fs->any_path || resolve_file(fs, out);
}

struct spec_file *spec_files_include(
	struct spec_files *fs, const struct spec_file *from, const char *href, struct place at)
{
	struct spec_path p;
	if (!resolve_text(fs, from, href, at, &p))
		return NULL;
	/* An include is read even where other paths are not looked at: without it there is no spec. */
	if (!resolve_file(fs, &p))
		return NULL;
	const char *name = display_name(fs, &p);
	for (const struct spec_file *f = from; f; f = f->parent)
		if (strcmp(f->path, p.path) == 0) {
			spec_error(fs->log, &at, "'%s' includes itself%s", name,
				f == from ? "" : " (by way of other files)");
			return NULL;
		}
	if (from->depth + 1 > SPEC_MAX_INCLUDE_DEPTH) {
		spec_error(fs->log, &at, "includes are nested deeper than %d", SPEC_MAX_INCLUDE_DEPTH);
		return NULL;
	}
	if (fs->nfile == SPEC_MAX_FILES) {
		spec_error(fs->log, &at, "more than %d files are included", SPEC_MAX_FILES);
		return NULL;
	}
	struct spec_file *f = arena_new(fs->arena, struct spec_file);
	*f = (struct spec_file){.name = name, .path = p.path, .root = p.root, .rel = p.rel,
		.depth = from->depth + 1, .parent = from};
	return read_text(fs, f, &at) ? f : NULL;
}

const char *spec_path_text(struct spec_files *fs, const struct spec_path *p)
{
	if (p->root)
		return arena_printf(fs->arena, "%s:%s", p->root, p->rel);
	/* Walk up from the spec's folder as far as the two differ. */
	const char *dir = fs->spec_dir, *rel = p->rel;
	for (;;) {
		size_t n = strcspn(dir, "/");
		if (!n || strncmp(dir, rel, n) != 0 || (rel[n] != '/' && rel[n]))
			break;
		dir += n + (dir[n] == '/');
		rel += n + (rel[n] == '/');
	}
	struct strbuf b;
	strbuf_init(&b);
	for (const char *s = dir; *s; s++)
		if (s == dir || s[-1] == '/')
			strbuf_adds(&b, "../");
	if (strcmp(rel, ".") != 0)
		strbuf_adds(&b, rel);
	if (!b.n)
		strbuf_adds(&b, ".");
	const char *text = arena_strdup(fs->arena, b.s);
	strbuf_release(&b);
	return text;
}
