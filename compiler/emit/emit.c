#include "emit.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "beside.h"

/* Opened once per process, by whichever worker comes first. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct emitter *opened;

static void find_program(char *path, size_t path_bytes)
{
	ssize_t n = readlink("/proc/self/exe", path, path_bytes - 1);
	path[n > 0 ? n : 0] = '\0';
}

/* Beside the program (a build folder), or in ../lib/trim (an installation). */
static bool find_module(char *path, size_t path_bytes, char *tried, size_t tried_bytes)
{
	static const char *const places[] = {"%s/lib/trim-llvm.so", "%s/../lib/trim-llvm.so",
		"%s/../lib/trim/trim-llvm.so"};
	char exe[4096];
	find_program(exe, sizeof(exe));
	char *slash = strrchr(exe, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < NELEM(places); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(path, path_bytes, places[i], exe);
#pragma GCC diagnostic pop
		if (access(path, R_OK) == 0)
			return true;
	}
	snprintf(tried, tried_bytes, "no trim-llvm.so in lib/ or ../lib/trim of '%.400s'", exe);
	return false;
}

bool emit_files(struct arena *a, struct emit_files *out, struct err *e)
{
	static const char *const libraries[] = {"/usr/lib/llvm-19/lib/libLLVM.so.19.1",
		"/usr/lib/llvm-19/lib/libLLVM-19.so.1"};
	char path[4200], tried[512] = "";
	if (!find_module(path, sizeof(path), tried, sizeof(tried)))
		return err_set(e, ERR_TOOL, "unable to load the LLVM emitter: %s", tried);
	*out = (struct emit_files){.module = arena_strdup(a, path)};
	find_program(path, sizeof(path));
	out->program = arena_strdup(a, path);
	for (size_t i = 0; i < NELEM(libraries) && !out->llvm; i++)
		if (!access(libraries[i], R_OK))
			out->llvm = libraries[i];
	return true;
}

static const struct emitter *emitter(struct err *e)
{
	char path[4200], tried[512] = "";
	pthread_mutex_lock(&lock);
	if (!opened) {
		void *module = find_module(path, sizeof(path), tried, sizeof(tried))
			? dlopen(path, RTLD_NOW | RTLD_LOCAL)
			: NULL;
		const struct emitter *found = module ? dlsym(module, "trim_emitter") : NULL;
		if (!found)
			err_set(e, ERR_TOOL, "unable to load the LLVM emitter: %.600s",
				tried[0] ? tried : dlerror());
		else if (found->abi != EMITTER_ABI)
			err_set(e, ERR_TOOL, "trim-llvm.so is of another version of trim");
		else
			opened = found;
	}
	pthread_mutex_unlock(&lock);
	return opened;
}

bool emit_object(const struct emit_request *r, struct strbuf *out, struct err *e)
{
	const struct emitter *em = emitter(e);
	return em && em->object(r, out, e);
}

bool emit_load(struct buf object, struct loaded *out, struct err *e)
{
	const struct emitter *em = emitter(e);
	return em && em->load(object, out, e);
}

void emit_unload(struct loaded *l)
{
	for (uint32_t i = 0; l->part && i < l->nprogram; i++)
		emit_unload(&l->part[i]);
	if (l->part) {
		free(l->part);
		free((void *)l->program);
		*l = (struct loaded){0};
	}
	if (l->handle)
		opened->unload(l);
}

/* ---- for this machine ---- */

struct native {
	const struct graph *const *graph;
	int ngraph;
	const struct target *target;
	const char *kept; /* emit_request */
	struct loaded *part;
	struct err *error; /* of each graph */
};

/* part[i] has a handle, or error[i] says why not. */
static bool make_one(void *native, int i)
{
	const struct native *n = native;
	struct emit_request r = {n->target, &n->graph[i], 1, EMIT_OBJECT, n->kept};
	struct strbuf object;
	strbuf_init(&object);
	bool ok = emit_object(&r, &object, &n->error[i]) && emit_load(strbuf_buf(&object), &n->part[i], &n->error[i]);
	strbuf_release(&object);
	return ok;
}

bool emit_native(const struct graph *const *graph, int ngraph, int nthreads, struct loaded *out, struct err *e)
{
	const char *folder = getenv("TRIM_KEEP_CODE");
	struct native n = {.graph = graph, .ngraph = ngraph, .target = target_native(), .kept = folder ? folder : ""};
	const struct err *failed = NULL;
	if (!n.target)
		return err_set(e, ERR_TOOL, "no target runs on this CPU; it must be x86-64-v3 at least");
	n.part = xcalloc((size_t)ngraph, sizeof(*n.part));
	n.error = xcalloc((size_t)ngraph, sizeof(*n.error));
	beside(ngraph, nthreads, make_one, &n);
	const struct program **program = xcalloc((size_t)ngraph, sizeof(*program));
	for (int i = 0; i < ngraph; i++) {
		if (n.part[i].handle)
			program[i] = n.part[i].program[0];
		else if (!failed)
			failed = &n.error[i];
	}
	*out = (struct loaded){.program = program, .nprogram = (uint32_t)ngraph, .part = n.part};
	bool ok = !failed;
	if (!ok) {
		emit_unload(out);
		if (e)
			*e = *failed;
	}
	free(n.error);
	return ok;
}

const char *emit_version(struct err *e)
{
	const struct emitter *em = emitter(e);
	return em ? em->version : NULL;
}
