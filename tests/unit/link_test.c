/* Linking: what is written is what was planned, and failures leave nothing behind. (The programs
 * themselves are run by tests/binary.) */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"
#include "link.h"

/* The hand-written model as an object of its own, beside this program. */
static struct map object;

static bool open_request(struct arena *a, struct link_request *r)
{
	char self[4096];
	struct err e;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	while (n > 0 && self[n - 1] != '/')
		n--;
	if (!object.p &&
		!map_open(&object, arena_printf(a, "%.*sfake_x86_64.o", (int)n, self), &e)) {
		FAIL("%s", e.msg);
		return false;
	}
	*r = (struct link_request){.arch = ARCH_X86_64, .object = arena_copy(a,
		&(struct buf){object.p, object.n}, sizeof(struct buf)), .nobject = 1};
	r->runtime_folder = link_runtime_folder(a, ARCH_X86_64, &e);
	if (!r->runtime_folder)
		FAIL("%s", e.msg);
	return r->runtime_folder != NULL;
}

static int nfiles(const char *folder)
{
	DIR *d = opendir(folder);
	int n = -2; /* . and .. */
	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

static int temporary_file(const char *folder)
{
	return open(folder, O_TMPFILE | O_RDWR, 0600);
}

TEST(the_file_is_the_pieces_in_order)
{
	struct arena a = {0};
	struct err e;
	struct link_request r;
	struct link_image image;
	struct map m;
	const char *dir = test_tmpdir(), *path = arena_printf(&a, "%s/x", dir);
	REQUIRE(open_request(&a, &r));
	char bytes[5000];
	for (int i = 0; i < 5000; i++)
		bytes[i] = (char)(i * 7);
	int fd = temporary_file(dir);
	REQUIRE(write(fd, bytes, sizeof bytes) == sizeof bytes);
	const struct link_entry entry[] = {{"t:z", ENTRY_TENSOR, NULL, fd, 0, 5000},
		{"t:b", ENTRY_TENSOR, NULL, fd, 4097, 903}, {"t:a", ENTRY_TENSOR, bytes, -1, 0, 1},
		{"info", ENTRY_INFO, "", -1, 0, 0}, {"t:c", ENTRY_TENSOR, NULL, fd, 64, 0}};
	r.entry = entry;
	r.nentry = NELEM(entry);
	REQUIRE(link_plan(&a, &r, &image, &e));
	REQUIRE(link_binary(&r, path, &e));
	REQUIRE(map_open(&m, path, &e));
	CHECK_INT(m.n, image.bytes);
	uint64_t at = 0;
	for (size_t i = 0; i < image.npiece && image.bytes == m.n; i++) {
		const struct link_piece *p = &image.piece[i];
		const void *want = p->p;
		if (p->kind == PIECE_ENTRY)
			want = bytes + entry[p->entry].offset;
		if (p->kind == PIECE_ZERO)
			want = arena_alloc(&a, p->bytes);
		if (memcmp(m.p + at, want, p->bytes))
			FAIL("piece %d differs", (int)i);
		at += p->bytes;
	}
	CHECK_INT(at, image.bytes);
	CHECK_INT(nfiles(dir), 1);
	map_release(&m);
	close(fd);
	arena_release(&a);
}

TEST(three_gigabytes_link_and_run)
{
	struct arena a = {0};
	struct err e;
	struct link_request r;
	const char *dir = test_tmpdir(), *path = arena_printf(&a, "%s/x", dir);
	const uint64_t big = 3221225472 + 4096;
	REQUIRE(open_request(&a, &r));
	int fd = temporary_file(dir);
	if (ftruncate(fd, (off_t)big)) {
		test_skip("no file of 3 GB here");
		close(fd);
		arena_release(&a);
		return;
	}
	CHECK(pwrite(fd, "here", 4, (off_t)big - 4) == 4);
	const struct link_entry entry[] = {{"t:big", ENTRY_TENSOR, NULL, fd, 0, big}};
	r.entry = entry;
	r.nentry = 1;
	REQUIRE(link_binary(&r, path, &e));
	close(fd);
	/* Holes stay holes, the end arrives, and the kernel maps it: the program gets as far as
	 * missing its description. */
	struct stat st;
	CHECK(!stat(path, &st) && st.st_blocks < 20000);
	fd = open(path, O_RDONLY);
	char end[4096];
	CHECK(pread(fd, end, sizeof end, (off_t)(big + (1 << 16))) > 0);
	struct link_image image;
	REQUIRE(link_plan(&a, &r, &image, &e));
	uint64_t at = 0;
	for (size_t i = 0; i < image.npiece && image.piece[i].kind != PIECE_ENTRY; i++)
		at += image.piece[i].bytes;
	CHECK(pread(fd, end, 4, (off_t)(at + big - 4)) == 4 && !memcmp(end, "here", 4));
	close(fd);
	FILE *p = popen(arena_printf(&a, "%s info 2>&1", path), "r");
	CHECK(p && fgets(end, sizeof end, p));
	CHECK_STR(end, "x: the program's description is missing\n");
	pclose(p);
	arena_release(&a);
}

/* Links in a child whose files may have at most `limit` bytes; its message. */
static char *link_limited(struct arena *a, const struct link_request *r, const char *path,
	uint64_t limit)
{
	int fd[2];
	char text[1024] = "";
	if (pipe(fd))
		return NULL;
	pid_t pid = fork();
	if (!pid) {
		struct rlimit most = {limit, limit};
		struct err e;
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &most);
		bool ok = link_binary(r, path, &e);
		_exit(write(fd[1], ok ? "linked" : e.msg, ok ? 6 : strlen(e.msg)) < 0);
	}
	close(fd[1]);
	ssize_t n = read(fd[0], text, sizeof text - 1);
	close(fd[0]);
	waitpid(pid, NULL, 0);
	return arena_strndup(a, text, n > 0 ? (size_t)n : 0);
}

TEST(failures_say_what_is_wrong_and_leave_nothing)
{
	struct arena a = {0};
	struct err e;
	struct link_request r, good;
	const char *dir = test_tmpdir(), *path = arena_printf(&a, "%s/x", dir);
	REQUIRE(open_request(&a, &good));
	CHECK(file_write(path, (struct buf){"old", 3}, 0644, &e));

	r = good;
	r.object = &(struct buf){"no object", 9};
	CHECK(!link_binary(&r, path, &e));
	CHECK(strstr(e.msg, "linking failed: "));
	CHECK_INT(e.kind, ERR_IO);

	r = good;
	r.runtime_folder = "/no/such";
	CHECK(!link_binary(&r, path, &e));
	CHECK_STR(e.msg, "the runtime for x86_64 is missing: no '/no/such/runtime.a'");
	CHECK_INT(e.kind, ERR_TOOL);

	r = good;
	r.arch = ARCH_AARCH64; /* objects of another architecture */
	CHECK(!link_binary(&r, path, &e));
	CHECK(strstr(e.msg, "linking failed: "));

	CHECK(!link_binary(&good, arena_printf(&a, "%s/no/such/x", dir), &e));
	CHECK(strstr(e.msg, "unable to create '"));

	int fd = temporary_file(dir);
	REQUIRE(ftruncate(fd, 1000) == 0);
	const struct link_entry entry[] = {{"t:short", ENTRY_TENSOR, NULL, fd, 0, 1001}};
	r = good;
	r.entry = entry;
	r.nentry = 1;
	CHECK(!link_binary(&r, path, &e));
	CHECK_STR(e.msg, "'t:short': weights end 1 bytes early");

	CHECK_STR(link_limited(&a, &good, path, 1 << 30), "linked");
	CHECK(file_write(path, (struct buf){"old", 3}, 0644, &e));
	CHECK(strncmp(link_limited(&a, &good, path, 100000), "linked", 6) != 0);

	struct strbuf old;
	strbuf_init(&old);
	CHECK(file_read(&old, path, &e));
	CHECK_STR(old.s, "old");
	CHECK_INT(nfiles(dir), 1);
	strbuf_release(&old);
	close(fd);
	arena_release(&a);
}

TEST(the_linker_names_itself)
{
	struct strbuf version;
	struct err e;
	strbuf_init(&version);
	REQUIRE(link_version(&version, &e));
	CHECK(strstr(version.s, "LLD "));
	CHECK(!strpbrk(version.s, "(\n"));
	CHECK(version.s[version.n - 1] != ' ');
	strbuf_release(&version);
}
