#include "nvrtc.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"

/* nvrtc.h of CUDA: 0 is success; a program is a handle. */
typedef struct program_handle *nvrtc_program;

static struct {
	int (*version)(int *major, int *minor);
	int (*narch)(int *n);
	int (*arch)(int *arch);
	const char *(*error)(int result);
	int (*create)(nvrtc_program *p, const char *source, const char *name, int nheader, const char *const *header,
		const char *const *include);
	int (*destroy)(nvrtc_program *p);
	int (*compile)(nvrtc_program p, int noption, const char *const *option);
	int (*log_bytes)(nvrtc_program p, size_t *bytes);
	int (*log)(nvrtc_program p, char *log);
	int (*cubin_bytes)(nvrtc_program p, size_t *bytes);
	int (*cubin)(nvrtc_program p, char *cubin);
	int (*ptx_bytes)(nvrtc_program p, size_t *bytes);
	int (*ptx)(nvrtc_program p, char *ptx);
} call;

static const struct library_symbol symbols[] = {
	{"nvrtcVersion", &call.version}, {"nvrtcGetNumSupportedArchs", &call.narch},
	{"nvrtcGetSupportedArchs", &call.arch}, {"nvrtcGetErrorString", &call.error},
	{"nvrtcCreateProgram", &call.create}, {"nvrtcDestroyProgram", &call.destroy},
	{"nvrtcCompileProgram", &call.compile}, {"nvrtcGetProgramLogSize", &call.log_bytes},
	{"nvrtcGetProgramLog", &call.log}, {"nvrtcGetCUBINSize", &call.cubin_bytes}, {"nvrtcGetCUBIN", &call.cubin},
	{"nvrtcGetPTXSize", &call.ptx_bytes}, {"nvrtcGetPTX", &call.ptx},
};

/* From new to old. */
static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so", NULL};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct nvrtc opened;
static int arch_known[64];

/* It looks for its builtins by a name that the loader may not know; one that is open already it finds. */
static void load_builtins(const char *path)
{
	char file[4096];
	const char *slash = strrchr(path, '/');
	DIR *d;
	snprintf(file, sizeof(file), "%.*s", slash ? (int)(slash - path) : 0, path);
	if (!slash || !(d = opendir(file)))
		return;
	for (struct dirent *entry; (entry = readdir(d));)
		if (!strncmp(entry->d_name, "libnvrtc-builtins.so", 20)) {
			snprintf(file, sizeof(file), "%.*s/%s", (int)(slash - path), path, entry->d_name);
			dlopen(file, RTLD_NOW | RTLD_GLOBAL);
		}
	closedir(d);
}

static const struct library library = {"NVRTC", "TRIM_NVRTC", names, symbols, NELEM(symbols), "CUDA 11.2",
	"which compiles code for GPUs; install libnvrtc11.2 of Debian's non-free, 'pip install nvidia-cuda-nvrtc' with TRIM_NVRTC set to "
	"its libnvrtc.so, or NVIDIA's cuda-nvrtc package", load_builtins};

static bool find(struct err *e)
{
	const char *path = library_open(&library, e);
	int n = 0;
	if (!path)
		return false;
	if (call.version(&opened.major, &opened.minor) || call.narch(&n) || n > (int)NELEM(arch_known) || call.arch(arch_known))
		return err_set(e, ERR_TOOL, "'%s' does not say which version it is", path);
	opened.arch = arch_known;
	opened.narch = n;
	opened.path = path;
	return true;
}

const struct nvrtc *nvrtc_open(struct err *e)
{
	pthread_mutex_lock(&lock);
	bool ok = opened.path || find(e);
	pthread_mutex_unlock(&lock);
	return ok ? &opened : NULL;
}

bool nvrtc_knows(const struct nvrtc *n, int arch)
{
	for (int i = 0; i < n->narch; i++)
		if (n->arch[i] == arch)
			return true;
	return false;
}

bool nvrtc_has_wgmma(const struct nvrtc *n)
{
	return n->major >= 12;
}

static bool compile_failed(nvrtc_program p, int result, struct err *e)
{
	size_t bytes = 0;
	char *log = NULL;
	if (!call.log_bytes(p, &bytes) && bytes) {
		log = xmalloc(bytes + 1);
		log[bytes] = '\0';
		if (call.log(p, log))
			log[0] = '\0';
		log[strcspn(log, "\n")] = '\0';
	}
	err_set(e, ERR_TOOL, "NVRTC: %s%s%s", call.error(result), log && *log ? ": " : "", log ? log : "");
	free(log);
	return false;
}

/* What code is made as. */
struct kind {
	const char *arch;
	int (**bytes)(nvrtc_program p, size_t *bytes);
	int (**get)(nvrtc_program p, char *code);
};
static const struct kind cubins = {"sm", &call.cubin_bytes, &call.cubin}, ptxs = {"compute", &call.ptx_bytes, &call.ptx};

/* Contraction is ours to choose, and denormals are 0: docs of numerics in ir.h. */
const char *const nvrtc_options[] = {"--fmad=false", "--ftz=true", "--prec-div=true", "--prec-sqrt=true", "--std=c++17", NULL};

static bool compile_program(nvrtc_program p, const struct kind *k, int arch, struct strbuf *out, struct err *e)
{
	char option[32];
	size_t bytes;
	bool own = k == &cubins && arch == 90 && nvrtc_has_wgmma(&opened);
	snprintf(option, sizeof(option), "--gpu-architecture=%s_%d%s", k->arch, arch, own ? "a" : "");
	const char *options[NELEM(nvrtc_options)] = {option};
	for (size_t i = 1; i < NELEM(options); i++)
		options[i] = nvrtc_options[i - 1];
	int result = call.compile(p, (int)NELEM(options), options);
	if (result)
		return compile_failed(p, result, e);
	result = (*k->bytes)(p, &bytes);
	if (result)
		return err_set(e, ERR_TOOL, "NVRTC: %s", call.error(result));
	char *code = xmalloc(bytes);
	result = (*k->get)(p, code);
	if (!result)
		strbuf_add(out, code, bytes);
	free(code);
	return !result || err_set(e, ERR_TOOL, "NVRTC: %s", call.error(result));
}

static bool compile(const char *source, const struct kind *k, int arch, struct strbuf *out, struct err *e)
{
	const struct nvrtc *n = nvrtc_open(e);
	nvrtc_program p;
	if (!n)
		return false;
	if (!nvrtc_knows(n, arch))
		return err_set(e, ERR_TOOL, "NVRTC %d.%d knows no sm_%d", n->major, n->minor, arch);
	int result = call.create(&p, source, "trim.cu", 0, NULL, NULL);
	if (result)
		return err_set(e, ERR_TOOL, "NVRTC: %s", call.error(result));
	bool ok = compile_program(p, k, arch, out, e);
	call.destroy(&p);
	return ok;
}

bool nvrtc_compile(const char *source, int arch, struct strbuf *cubin, struct err *e)
{
	return compile(source, &cubins, arch, cubin, e);
}

bool nvrtc_compile_ptx(const char *source, int arch, struct strbuf *ptx, struct err *e)
{
	return compile(source, &ptxs, arch, ptx, e);
}
