/*
 * Memory of this process and of the machine, as Linux tells it in /proc and, for the limits of groups, in
 * /sys/fs/cgroup (both versions). Where a file is missing nothing is known, and nobody fails for it.
 */
#include "build_internal.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 16384 }; /* longer files are cut */

static bool read_file(char text[FILE_BYTES], const char *folder, const char *path)
{
	char whole[1024];
	size_t n = 0;
	if (snprintf(whole, sizeof(whole), "%s%s", folder, path) >= (int)sizeof(whole))
		return false;
	int fd = open(whole, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	for (ssize_t got; n < FILE_BYTES - 1 && (got = read(fd, text + n, FILE_BYTES - 1 - n)) > 0; n += (size_t)got)
		;
	close(fd);
	text[n] = '\0';
	return n > 0;
}

/* The number behind a name at the start of a line; false: there is none. */
static bool number_of(const char *text, const char *name, uint64_t *out)
{
	size_t n = strlen(name);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, n))
			continue;
		*out = strtoull(line + n, NULL, 10);
		return true;
	}
	return false;
}

static uint64_t status_bytes(const char *name)
{
	char text[FILE_BYTES];
	uint64_t kib;
	return read_file(text, "", "/proc/self/status") && number_of(text, name, &kib) ? kib * 1024 : 0;
}

bool memory_peak_reset(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, "5", 1) == 1;
	if (fd >= 0)
		close(fd);
	return ok;
}

uint64_t memory_peak(void)
{
	return status_bytes("VmHWM:");
}

void memory_give_back(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

uint64_t memory_resident(void)
{
	return status_bytes("VmRSS:");
}

/* Where a version of groups has what: the line of /proc/self/cgroup, the mount, and files of a group. */
struct group_files {
	const char *line, *mount, *limit, *used, *cache[2];
};
static const struct group_files group_files[] = {
	{"0::", "/sys/fs/cgroup", "memory.max", "memory.current", {"active_file ", "inactive_file "}},
	{":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
		{"total_active_file ", "total_inactive_file "}},
};

/* Lowers *most to what one group leaves; what it holds of files it may give back. */
static void apply_group(const char *root, const struct group_files *f, const char *group, uint64_t *most)
{
	char text[FILE_BYTES], path[600];
	uint64_t limit, used, cache = 0, n;
	snprintf(path, sizeof(path), "%s%s/%s", f->mount, group, f->limit);
	if (!read_file(text, root, path) || !number_of(text, "", &limit) || !strncmp(text, "max", 3))
		return;
	snprintf(path, sizeof(path), "%s%s/%s", f->mount, group, f->used);
	if (!read_file(text, root, path) || !number_of(text, "", &used))
		return;
	snprintf(path, sizeof(path), "%s%s/memory.stat", f->mount, group);
	if (read_file(text, root, path))
		for (size_t i = 0; i < NELEM(f->cache); i++)
			cache += number_of(text, f->cache[i], &n) ? n : 0;
	used -= cache < used ? cache : used;
	uint64_t left = limit > used ? limit - used : 0;
	*most = left < *most ? left : *most;
}

/* A group and all that it is in. */
static void apply_groups(const char *root, const struct group_files *f, const char *own, uint64_t *most)
{
	char group[512];
	const char *at = strstr(own, f->line);
	if (!at)
		return;
	at += strlen(f->line);
	snprintf(group, sizeof(group), "%.*s", (int)strcspn(at, "\n"), at);
	for (char *slash = group + strlen(group); slash; slash = strrchr(group, '/')) {
		*slash = '\0';
		apply_group(root, f, group, most);
	}
}

uint64_t memory_available_below(const char *root)
{
	char text[FILE_BYTES];
	uint64_t kib, most;
	if (!read_file(text, root, "/proc/meminfo") || !number_of(text, "MemAvailable:", &kib))
		return 0;
	most = kib * 1024;
	if (read_file(text, root, "/proc/self/cgroup"))
		for (size_t i = 0; i < NELEM(group_files); i++)
			apply_groups(root, &group_files[i], text, &most);
	return most ? most : 1;
}

uint64_t memory_available(void)
{
	return memory_available_below("");
}
