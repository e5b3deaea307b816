/* Running a program for a rule. */
#include "build_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STOP_POLL_MS = 100 };

static bool collect(struct rule_call *c, int fd, pid_t pid, struct strbuf *out)
{
	char chunk[4096];
	bool killed = false;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int ready = poll(&p, 1, STOP_POLL_MS);
		if (!killed && call_next(c) == CALL_STOP) {
			kill(-pid, SIGKILL);
			killed = true;
		}
		if (ready < 0 && errno != EINTR)
			break;
		if (ready <= 0)
			continue;
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n > 0)
			strbuf_add(out, chunk, (size_t)n);
		else if (n == 0 || errno != EINTR)
			break;
	}
	return killed;
}

/* The last line that is not empty: where tools say what went wrong. */
static void last_line(const char *text, char *out, size_t out_bytes)
{
	size_t end = strlen(text), start;
	while (end && (text[end - 1] == '\n' || text[end - 1] == '\r'))
		end--;
	for (start = end; start && text[start - 1] != '\n';)
		start--;
	size_t n = end - start < out_bytes - 1 ? end - start : out_bytes - 1;
	memcpy(out, text + start, n);
	out[n] = '\0';
}

bool call_tool(struct rule_call *c, const char *const argv[], struct strbuf *out, struct err *e)
{
	const struct os_ops *os = c->build->os;
	char line[512];
	int fd[2], status = 0;
	size_t before = out->n;
	if (pipe2(fd, O_CLOEXEC) < 0)
		return err_errno(e, "unable to create a pipe");
	pid_t pid = os->spawn(os, argv, fd[1]);
	int saved = errno;
	close(fd[1]);
	if (pid < 0) {
		close(fd[0]);
		errno = saved;
		err_errno(e, "unable to run '%s'", argv[0]);
		if (e && (saved == ENOENT || saved == EACCES))
			e->kind = ERR_TOOL;
		return false;
	}
	bool killed = collect(c, fd[0], pid, out);
	close(fd[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (killed)
		return err_set(e, ERR_CANCELLED, "'%s' was stopped", argv[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	last_line(out->s + before, line, sizeof(line));
	if (WIFSIGNALED(status))
		return err_set(e, ERR_IO, "'%s' was killed by signal %d: %s", argv[0],
			WTERMSIG(status), line);
	return err_set(
		e, ERR_IO, "'%s' ended with status %d: %s", argv[0], WEXITSTATUS(status), line);
}
