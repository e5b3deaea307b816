#include "emulator.h"

#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"
#include "linker.h"

extern char **environ;

static const char qemu[] = "qemu-aarch64";
static const char *const files[] = {"tests/emulated_aarch64.o", "lib/aarch64/runtime.a",
	"lib/aarch64/libc.a", "lib/aarch64/libgcc.a", "lib/aarch64/crt1.o", "lib/aarch64/crti.o",
	"lib/aarch64/crtn.o"};
enum { EMULATED_O, RUNTIME, LIBC, LIBGCC, CRT1, CRTI, CRTN, NFILES };

/* The build folder: the test itself stands in its tests/. */
static const char *build_file(struct arena *a, const char *name)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(exe, '/');
	if (slash)
		*slash = '\0';
	return arena_printf(a, "%s/../%s", exe, name);
}

const char *emulator_lacks(void)
{
	struct arena a = {0};
	bool built = true;
	for (int i = 0; i < NFILES; i++)
		built = built && !access(build_file(&a, files[i]), R_OK);
	const char *command = arena_printf(&a, "command -v %s >/dev/null", qemu);
	bool emulator = built && !system(command);
	arena_release(&a);
	return !built ? "not built (ninja aarch64)" : !emulator ? "no qemu-aarch64" : NULL;
}

bool emulator_link(struct buf object, const char *path, struct err *e)
{
	struct arena a = {0};
	struct strbuf program;
	char main_object[32];
	const char *f[NFILES];
	snprintf(main_object, sizeof(main_object), "/proc/self/fd/%d", LINKER_OBJECT_FD);
	for (int i = 0; i < NFILES; i++)
		f[i] = build_file(&a, files[i]);
	const char *argv[] = {"ld.lld", "-static", "-nostdlib", "-m", "aarch64linux", "-o", "-",
		f[CRT1], f[CRTI], f[EMULATED_O], main_object, "--start-group", f[RUNTIME], f[LIBC],
		f[LIBGCC], "--end-group", f[CRTN], NULL};
	strbuf_init(&program);
	bool ok = linker_run(argv, (struct linker_objects){&object, 1}, &program, e) &&
		file_write(path, strbuf_buf(&program), 0755, e);
	strbuf_release(&program);
	arena_release(&a);
	return ok;
}

static bool spawn(const char *path, const char *file, struct err *e)
{
	const char *argv[] = {qemu, path, file, NULL};
	pid_t pid;
	int status;
	if (posix_spawnp(&pid, qemu, NULL, NULL, (char *const *)argv, environ) ||
		waitpid(pid, &status, 0) != pid)
		return err_errno(e, "unable to run %s", qemu);
	return !status || err_set(e, ERR_TOOL, "%s: status %#x", qemu, (unsigned)status);
}

bool emulator_run(const char *path, struct emulated *f, void *const *p, struct err *e)
{
	static const char zeros[64];
	struct arena a = {0};
	struct strbuf bytes;
	const char *file = arena_printf(&a, "%s.tensors", path);
	size_t at = (sizeof(*f) + 63) / 64 * 64;
	for (int i = 0; i < f->ntensor; i++) {
		f->tensor[i].offset = (int64_t)at;
		at += ((size_t)f->tensor[i].bytes + 63) / 64 * 64;
	}
	strbuf_init(&bytes);
	strbuf_add(&bytes, f, sizeof(*f));
	for (int i = 0; i < f->ntensor; i++) {
		strbuf_add(&bytes, zeros, (size_t)f->tensor[i].offset - bytes.n);
		strbuf_add(&bytes, p[i], (size_t)f->tensor[i].bytes);
	}
	bool ok = file_write(file, strbuf_buf(&bytes), 0644, e) && spawn(path, file, e);
	strbuf_clear(&bytes);
	ok = ok && file_read(&bytes, file, e);
	for (int i = 0; i < f->ntensor && ok; i++)
		memcpy(p[i], bytes.s + f->tensor[i].offset, (size_t)f->tensor[i].bytes);
	strbuf_release(&bytes);
	arena_release(&a);
	return ok;
}
