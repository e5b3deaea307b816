#include "library.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* False, and it is closed again: e says what it lacks. */
static bool take_symbols(const struct library *l, void *lib, const char *path, struct err *e)
{
	for (size_t i = 0; i < l->nsymbol; i++) {
		void *p = dlsym(lib, l->symbol[i].name);
		if (!p) {
			dlclose(lib);
			return err_set(e, ERR_TOOL, "'%s' has no %s: %s of %s or later is needed", path, l->symbol[i].name, l->title,
				l->since);
		}
		memcpy(l->symbol[i].to, &p, sizeof(p));
	}
	return true;
}

static const char *path_of(const struct library *l, const char *path)
{
	Dl_info info;
	void *function;
	memcpy(&function, l->symbol[0].to, sizeof(function));
	return xstrdup(dladdr(function, &info) ? info.dli_fname : path);
}

static void *try(const struct library *l, const char *path)
{
	if (l->before)
		l->before(path);
	return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

const char *library_open(const struct library *l, struct err *e)
{
	const char *set = getenv(l->variable);
	void *lib;
	if (set && *set) {
		lib = try(l, set);
		if (!lib)
			err_set(e, ERR_TOOL, "unable to open %s: %s", l->title, dlerror());
		return lib && take_symbols(l, lib, set, e) ? path_of(l, set) : NULL;
	}
	bool found = false;
	for (const char *const *name = l->name; *name; name++) {
		lib = try(l, *name);
		found = found || lib;
		if (lib && take_symbols(l, lib, *name, e))
			return path_of(l, *name);
	}
	if (!found)
		err_set(e, ERR_TOOL, "no %s here, %s", l->title, l->remedy);
	return NULL;
}
