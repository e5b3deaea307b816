#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data.h"

static const char *const endings[] = {
	[DATA_TEXT] = ".txt",
	[DATA_JSONL] = ".jsonl",
	[DATA_JSON] = ".json",
	[DATA_CSV] = ".csv",
	[DATA_CSV_NO_HEADER] = ".csv",
};

struct listing {
	struct arena *a;
	const char *root, *pattern, *ending; /* one of the latter two is NULL */
	size_t depth;                        /* folders to go down */
	const char **name;
	size_t n;
	struct err *e;
};

static bool wanted(const struct listing *l, const char *name)
{
	if (l->pattern)
		return fnmatch(l->pattern, name, FNM_PATHNAME | FNM_PERIOD) == 0;
	size_t n = strlen(name), k = strlen(l->ending);
	return n > k && !strcmp(name + n - k, l->ending);
}

/* A folder below the root, "" for itself. */
static bool list_folder(struct listing *l, const char *folder, size_t depth)
{
	char *path = arena_printf(l->a, "%s/%s", l->root, folder);
	DIR *dir = opendir(path);
	if (!dir)
		return err_errno(l->e, "unable to list '%s'", path);
	bool ok = true;
	for (struct dirent *d; ok && (d = readdir(dir));) {
		struct stat st;
		if (d->d_name[0] == '.')
			continue;
		const char *name =
			arena_printf(l->a, "%s%s%s", folder, folder[0] ? "/" : "", d->d_name);
		unsigned char type = d->d_type;
		if (type == DT_UNKNOWN || type == DT_LNK) {
			const char *full = arena_printf(l->a, "%s/%s", l->root, name);
			if ((type == DT_LNK ? stat : lstat)(full, &st) != 0)
				continue;
			type = S_ISREG(st.st_mode)                     ? DT_REG
			       : S_ISDIR(st.st_mode) && type != DT_LNK ? DT_DIR
								       : DT_UNKNOWN;
		}
		if (type == DT_DIR && depth < l->depth)
			ok = list_folder(l, name, depth + 1);
		else if (type == DT_REG && wanted(l, name))
			*arena_push(l->a, l->name, l->n) = name;
	}
	closedir(dir);
	return ok;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool list_glob(struct listing *l, const char *path)
{
	size_t fixed = 0, depth = 0;
	for (size_t i = 0; path[i] && !strchr("*?[", path[i]); i++)
		fixed = path[i] == '/' ? i : fixed;
	for (const char *p = path + fixed + (path[fixed] == '/'); *p; p++)
		depth += *p == '/';
	l->pattern = path;
	l->depth = depth;
	return list_folder(l, arena_strndup(l->a, path, fixed), 0);
}

bool data_list(struct arena *a, const char *root, const char *path, enum data_format format,
	const char ***names, size_t *n, struct err *e)
{
	struct listing l = {.a = a, .root = root, .e = e};
	struct stat st;
	char *trimmed = arena_strdup(a, path);
	for (size_t k = strlen(trimmed); k > 1 && trimmed[k - 1] == '/'; k--)
		trimmed[k - 1] = '\0';
	const char *full = arena_printf(a, "%s/%s", root, trimmed);
	if (stat(full, &st) == 0 && !S_ISDIR(st.st_mode)) {
		*arena_push(a, l.name, l.n) = trimmed;
	} else if (stat(full, &st) == 0) {
		l.ending = endings[format];
		l.depth = 64;
		if (!list_folder(&l, strcmp(trimmed, ".") ? trimmed : "", 0))
			return false;
		if (!l.n)
			return err_set(
				e, ERR_SPEC, "no '*%s' file in the folder '%s'", l.ending, path);
	} else if (strpbrk(trimmed, "*?[")) {
		if (!list_glob(&l, trimmed))
			return false;
		if (!l.n)
			return err_set(e, ERR_SPEC, "no file matches '%s'", path);
	} else {
		return err_set(e, ERR_SPEC, "no data at '%s': %s", path, strerror(errno));
	}
	qsort(l.name, l.n, sizeof(*l.name), compare_names);
	*names = l.name;
	*n = l.n;
	return true;
}

bool data_match(const char *path, const char *name)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	if (!strcmp(path, name) || !strcmp(path, ".") || !strcmp(path, "./"))
		return true;
	if (!strncmp(path, name, n) && name[n] == '/')
		return true;
	return fnmatch(path, name, FNM_PATHNAME | FNM_PERIOD) == 0;
}
