#include "model_files.h"

#include <string.h>
#include <sys/stat.h>

static const struct model_file *find(const struct model_files *f, const char *name)
{
	for (size_t i = 0; i < f->nfile; i++)
		if (!strcmp(f->file[i].name, name))
			return &f->file[i];
	return NULL;
}

const char *model_files_path(struct arena *a, const struct model_files *f, const char *name)
{
	return f->file ? arena_strdup(a, name) : arena_printf(a, "%s/%s", f->folder, name);
}

bool model_files_have(const struct model_files *f, const char *name)
{
	if (f->file)
		return find(f, name);
	struct arena a = {0};
	struct stat st;
	bool there = !stat(model_files_path(&a, f, name), &st);
	arena_release(&a);
	return there;
}

bool model_files_read(struct arena *a, const struct model_files *f, const char *name, struct map *map,
	struct buf *out, struct err *e)
{
	*map = (struct map){0};
	if (f->file) {
		const struct model_file *file = find(f, name);
		if (!file)
			return err_set(e, ERR_IO, "the model has no file '%s'", name);
		*out = file->bytes;
		return true;
	}
	if (!map_open(map, model_files_path(a, f, name), e))
		return false;
	*out = (struct buf){map->p, map->n};
	return true;
}
