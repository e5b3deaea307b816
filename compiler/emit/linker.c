#include "linker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"

extern char **environ;

/* The version that the emitter is tested with, then whatever is there. */
static const char *const linkers[] = {"/usr/lib/llvm-19/bin/ld.lld", "ld.lld"};

static bool missing(struct err *e)
{
	return err_set(e, ERR_TOOL, "ld.lld is missing; install the package lld-19");
}

const char *linker_path(struct arena *a, struct err *e)
{
	const char *path = getenv("PATH");
	if (!access(linkers[0], X_OK))
		return linkers[0];
	while (path && *path) {
		size_t n = strcspn(path, ":");
		const char *program = arena_printf(a, "%.*s/%s", (int)n, path, linkers[1]);
		if (n && !access(program, X_OK))
			return program;
		path += n + (path[n] == ':');
	}
	missing(e);
	return NULL;
}

static bool read_all(int fd, struct strbuf *out, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st))
		return err_errno(e, "unable to read the linker's output");
	char buffer[1 << 16];
	for (off_t at = 0; at < st.st_size;) {
		ssize_t n = pread(fd, buffer, sizeof buffer, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_errno(e, "unable to read the linker's output");
		strbuf_add(out, buffer, (size_t)n);
		at += n;
	}
	return true;
}

/* Files in memory: what the linker's descriptors will be, its input being the first n from
 * LINKER_OBJECT_FD on. */
struct files {
	int out, messages, object[LINKER_MAX_OBJECTS];
	size_t n;
};

/* Above every descriptor that the linker's own will have, so that giving it one takes none away. */
static int open_file(void)
{
	int low = memfd_create("trim-link", MFD_CLOEXEC);
	int fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, LINKER_OBJECT_FD + LINKER_MAX_OBJECTS);
	if (low >= 0)
		close(low);
	return fd;
}

static bool spawn(const char *const *argv, const struct files *f, pid_t *pid, struct err *e)
{
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0);
	posix_spawn_file_actions_adddup2(&actions, f->out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, f->messages, STDERR_FILENO);
	for (size_t i = 0; i < f->n; i++)
		posix_spawn_file_actions_adddup2(&actions, f->object[i], LINKER_OBJECT_FD + (int)i);
	int failed = ENOENT;
	for (size_t i = 0; i < NELEM(linkers) && failed; i++)
		failed =
			posix_spawnp(pid, linkers[i], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (!failed)
		return true;
	if (failed == ENOENT || failed == EACCES || failed == ENOTDIR)
		return missing(e);
	errno = failed;
	return err_errno(e, "unable to run ld.lld");
}

static bool wait_for(pid_t pid, int messages, struct err *e)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, "unable to wait for ld.lld");
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return true;
	if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
		return err_set(e, ERR_CANCELLED, "interrupted while linking");
	struct strbuf text;
	strbuf_init(&text);
	if (!read_all(messages, &text, e)) {
		strbuf_release(&text);
		return false;
	}
	text.s[strcspn(text.s, "\n")] = '\0';
	const char *line = strstr(text.s, "error: ");
	if (WIFSIGNALED(status))
		err_set(e, ERR_IO, "ld.lld was ended by signal %d", WTERMSIG(status));
	else
		err_set(e, ERR_IO, "linking failed: %s", line ? line + strlen("error: ") : text.s);
	strbuf_release(&text);
	return false;
}

static bool run(const char *const *argv, struct linker_objects in, const struct files *f, struct strbuf *out,
	struct err *e)
{
	pid_t pid;
	bool opened = f->out >= 0 && f->messages >= 0;
	for (size_t i = 0; i < in.n; i++)
		opened = opened && f->object[i] >= 0;
	if (!opened)
		return err_errno(e, "unable to make a file in memory");
	for (size_t i = 0; i < in.n; i++)
		if (!fd_write(f->object[i], in.object[i].p, in.object[i].n, "the object in memory", e))
			return false;
	return spawn(argv, f, &pid, e) && wait_for(pid, f->messages, e) && read_all(f->out, out, e);
}

static void close_file(int fd)
{
	if (fd >= 0)
		close(fd);
}

bool linker_run(const char *const *argv, struct linker_objects in, struct strbuf *out, struct err *e)
{
	if (in.n > LINKER_MAX_OBJECTS)
		BUG("%zu objects to link", in.n);
	struct files f = {.out = open_file(), .messages = open_file(), .n = in.n};
	for (size_t i = 0; i < in.n; i++)
		f.object[i] = open_file();
	bool ok = run(argv, in, &f, out, e);
	close_file(f.out);
	close_file(f.messages);
	for (size_t i = 0; i < in.n; i++)
		close_file(f.object[i]);
	return ok;
}
