#include "model.h"

#include "arch.h"
#include "gguf.h"

#include <string.h>
#include <sys/stat.h>

bool model_open(struct model *m, const char *path, struct err *e)
{
	struct stat st;
	*m = (struct model){.config.bos_id = -1};
	m->path = arena_strdup(&m->arena, path);
	if (stat(path, &st) < 0)
		return err_errno(e, "unable to open model '%s'", path);
	m->files.folder = m->path;
	if (S_ISDIR(st.st_mode))
		return hf_open(m, e);
	size_t n = strlen(path);
	if (n > 12 && !strcmp(path + n - 12, ".safetensors"))
		return err_set(e, ERR_IO,
			"'%s' has no config; give the directory that holds it and config.json",
			path);
	return model_gguf_open(m, e);
}

bool model_open_files(struct model *m, const struct model_file *file, size_t nfile, struct err *e)
{
	*m = (struct model){.config.bos_id = -1, .path = "", .files = {"", file, nfile}};
	if (nfile != 1 || !strcmp(file[0].name, "config.json"))
		return hf_open(m, e);
	m->path = arena_strdup(&m->arena, file[0].name);
	return model_gguf_open(m, e);
}

void model_release(struct model *m)
{
	for (size_t i = 0; i < m->nmap; i++)
		map_release(&m->map[i]);
	if (m->gguf)
		gguf_release(m->gguf);
	arena_release(&m->arena);
	*m = (struct model){0};
}

const struct model_tensor *model_find(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->ntensor; i++)
		if (!strcmp(m->tensor[i].name, name))
			return &m->tensor[i];
	return NULL;
}
