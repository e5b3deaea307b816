#include "link.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "linker.h"

enum { SEGMENT_ALIGN = 1 << 16 }; /* the largest page of any target */

struct arch {
	const char *name, *emulation;
	unsigned machine;
};

static const struct arch archs[] = {
	[ARCH_X86_64] = {"x86_64", "elf_x86_64", EM_X86_64},
	[ARCH_AARCH64] = {"aarch64", "aarch64linux", EM_AARCH64},
};

const char *link_arch_name(enum target_arch arch)
{
	return archs[arch].name;
}

static const char *find_folder(struct arena *a, const char *name, struct err *e)
{
	static const char *const places[] = {"lib", "../lib", "../lib/trim"};
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self);
	while (n > 0 && self[n - 1] != '/')
		n--;
	for (size_t i = 0; n > 0 && i < NELEM(places); i++) {
		const char *folder = arena_printf(a, "%.*s%s/%s", (int)n, self, places[i], name);
		if (!access(arena_printf(a, "%s/runtime.a", folder), R_OK))
			return folder;
	}
	err_set(e, ERR_TOOL,
		"the runtime for %s is missing beside the program; run ./bootstrap build", name);
	return NULL;
}

const char *link_runtime_folder(struct arena *a, enum target_arch arch, struct err *e)
{
	return find_folder(a, archs[arch].name, e);
}

const char *link_gpu_runtime_folder(struct arena *a, struct err *e)
{
	return find_folder(a, "x86_64-glibc", e);
}

static uint64_t align_up(uint64_t n, uint64_t align)
{
	return (n + align - 1) & ~(align - 1);
}

const char *link_program(struct arena *a, struct err *e)
{
	return linker_path(a, e);
}

bool link_version(struct strbuf *out, struct err *e)
{
	static const char *const argv[] = {"ld.lld", "--version", NULL};
	struct strbuf text;
	strbuf_init(&text);
	bool ok = linker_run(argv, (struct linker_objects){0}, &text, e);
	/* "Debian LLD 19.1.7 (compatible with GNU linkers)" */
	if (ok)
		strbuf_add(out, text.s, strcspn(text.s, "(\n"));
	while (ok && out->n && out->s[out->n - 1] == ' ')
		out->s[--out->n] = '\0';
	strbuf_release(&text);
	return ok;
}

/* ---- code: ld.lld ---- */

static bool find_needed(struct arena *a, const struct link_request *r, const char *const *needed, size_t n, const char **path,
	struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		path[i] = arena_printf(a, "%s/%s", r->runtime_folder, needed[i]);
		if (access(path[i], R_OK))
			return err_set(e, ERR_TOOL, "the runtime for %s is missing: no '%s'",
				archs[r->arch].name, path[i]);
	}
	return true;
}

static bool link_code(
	struct arena *a, const struct link_request *r, struct strbuf *out, struct err *e)
{
	static const char *const needed[] = {"runtime.a", "crt1.o", "crti.o", "crtn.o", "libc.a"};
	static const char *const dynamic[] = {"runtime.a", "crt1.o", "crti.o", "crtn.o", "libc_nonshared.a", "libc.so.6",
		"libm.so.6"};
	enum { RUNTIME, CRT1, CRTI, CRTN, LIBC, LIBC_SO, LIBM_SO, MOST };
	const char *path[MOST] = {NULL}, **argv = NULL;
	size_t n = 0;
	if (r->dynamic ? !find_needed(a, r, dynamic, NELEM(dynamic), path, e) : !find_needed(a, r, needed, NELEM(needed), path, e))
		return false;
	const char *libgcc = arena_printf(a, "%s/libgcc.a", r->runtime_folder);
	libgcc = access(libgcc, R_OK) ? NULL : libgcc;
	const char *const first[] = {"ld.lld", r->dynamic ? "--dynamic-linker=/lib64/ld-linux-x86-64.so.2" : "-static",
		"-nostdlib", "-m", archs[r->arch].emulation, "--build-id", "--strip-debug", "--gc-sections", "-z", "noexecstack",
		"-o", "-", path[CRT1], path[CRTI]};
	const char *const last[] = {"--start-group", path[RUNTIME], path[LIBC], libgcc, "--end-group", path[LIBC_SO],
		path[LIBM_SO], path[CRTN]};
	for (size_t i = 0; i < NELEM(first); i++)
		*arena_push(a, argv, n) = first[i];
	if (r->dynamic) /* the runtime refers to it weakly, which takes nothing from an archive */
		*arena_push(a, argv, n) = "--undefined=binary_gpu_open";
	for (size_t i = 0; i < r->nobject; i++)
		*arena_push(a, argv, n) = arena_printf(a, "/proc/self/fd/%d", LINKER_OBJECT_FD + (int)i);
	for (size_t i = 0; i < NELEM(last); i++)
		if (last[i])
			*arena_push(a, argv, n) = last[i];
	*arena_push(a, argv, n) = NULL;
	return linker_run(argv, (struct linker_objects){r->object, r->nobject}, out, e);
}

/* ---- the ELF file: one more segment and section ---- */

struct image {
	uint64_t at, bytes;       /* the container's place in the file */
	struct strbuf tail;       /* section names and section table */
};

static bool bad_elf(struct err *e, const char *why)
{
	return err_set(e, ERR_IO, "ld.lld wrote an unexpected file: %s", why);
}

static bool inside(const struct strbuf *code, uint64_t at, uint64_t n, uint64_t each)
{
	return at % 8 == 0 && at <= code->n && n <= (code->n - at) / each;
}

/* Turns the note into a segment for bytes [at, at + bytes) of the file; returns its address. */
static bool add_segment(struct strbuf *code, struct image *image, uint64_t *address, struct err *e)
{
	Elf64_Ehdr *eh = (Elf64_Ehdr *)code->s;
	if (!inside(code, eh->e_phoff, eh->e_phnum, sizeof(Elf64_Phdr)))
		return bad_elf(e, "program headers");
	Elf64_Phdr *ph = (Elf64_Phdr *)(code->s + eh->e_phoff), *note = NULL;
	uint64_t top = 0;
	for (int i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD && ph[i].p_vaddr + ph[i].p_memsz > top)
			top = ph[i].p_vaddr + ph[i].p_memsz;
		/* Segments must ascend: a load behind the note would come too late. */
		if (ph[i].p_type == PT_LOAD && note)
			return bad_elf(e, "its note stands before its code");
		if (ph[i].p_type == PT_NOTE)
			note = &ph[i];
	}
	if (!note)
		return bad_elf(e, "no note");
	*address = align_up(top, SEGMENT_ALIGN);
	*note = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R, .p_offset = image->at,
		.p_vaddr = *address, .p_paddr = *address, .p_filesz = image->bytes,
		.p_memsz = image->bytes, .p_align = SEGMENT_ALIGN};
	return true;
}

static bool add_section(struct strbuf *code, struct image *image, uint64_t address, struct err *e)
{
	static const char name[] = ".weights";
	Elf64_Ehdr *eh = (Elf64_Ehdr *)code->s;
	if (!eh->e_shnum || eh->e_shstrndx >= eh->e_shnum ||
		!inside(code, eh->e_shoff, eh->e_shnum, sizeof(Elf64_Shdr)))
		return bad_elf(e, "section headers");
	Elf64_Shdr *names = (Elf64_Shdr *)(code->s + eh->e_shoff) + eh->e_shstrndx;
	if (names->sh_offset > code->n || names->sh_size > code->n - names->sh_offset)
		return bad_elf(e, "section names");
	Elf64_Shdr weights = {.sh_name = (Elf64_Word)names->sh_size, .sh_type = SHT_PROGBITS,
		.sh_flags = SHF_ALLOC, .sh_addr = address, .sh_offset = image->at,
		.sh_size = image->bytes, .sh_addralign = CONTAINER_ALIGN};
	uint64_t at = image->at + image->bytes;
	strbuf_add(&image->tail, code->s + names->sh_offset, names->sh_size);
	strbuf_add(&image->tail, name, sizeof name);
	names->sh_offset = at;
	names->sh_size = image->tail.n;
	while (image->tail.n % 8)
		strbuf_addc(&image->tail, '\0');
	uint64_t table = at + image->tail.n;
	strbuf_add(&image->tail, code->s + eh->e_shoff, eh->e_shnum * sizeof(Elf64_Shdr));
	strbuf_add(&image->tail, &weights, sizeof weights);
	eh->e_shoff = table;
	eh->e_shnum++;
	return true;
}

static bool add_container(struct strbuf *code, const struct arch *arch, struct image *image,
	struct err *e)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)code->s;
	if (code->n < sizeof *eh || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
		eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_type != ET_EXEC)
		return bad_elf(e, "no ELF program");
	if (eh->e_machine != arch->machine)
		return bad_elf(e, "another architecture");
	uint64_t address = 0;
	return add_segment(code, image, &address, e) && add_section(code, image, address, e);
}

/* ---- pieces ---- */

static void add_piece(struct link_image *image, struct link_piece piece)
{
	if (!piece.bytes)
		return;
	image->piece[image->npiece++] = piece;
	image->bytes += piece.bytes;
}

static void add_zeros_to(struct link_image *image, uint64_t at)
{
	add_piece(image, (struct link_piece){.kind = PIECE_ZERO, .bytes = at - image->bytes});
}

static void add_bytes(struct arena *a, struct link_image *image, const struct strbuf *b)
{
	add_piece(image, (struct link_piece){.kind = PIECE_BYTES, .p = arena_copy(a, b->s, b->n),
		.bytes = b->n});
}

struct placed {
	uint64_t at; /* in the container */
	size_t entry;
};

static int by_place(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	return x->at < y->at ? -1 : x->at > y->at;
}

static bool plan(struct arena *a, const struct link_request *r, struct strbuf *code,
	struct strbuf *directory, struct image *image, struct link_image *out, struct err *e)
{
	struct container_item *item = arena_array(a, struct container_item, r->nentry);
	struct placed *placed = arena_array(a, struct placed, r->nentry);
	uint64_t *offset = arena_array(a, uint64_t, r->nentry);
	for (size_t i = 0; i < r->nentry; i++)
		item[i] = (struct container_item){r->entry[i].name, r->entry[i].kind,
			r->entry[i].bytes};
	image->bytes = container_plan(item, r->nentry, offset, directory);
	if (!link_code(a, r, code, e))
		return false;
	image->at = align_up(code->n, SEGMENT_ALIGN);
	if (!add_container(code, &archs[r->arch], image, e))
		return false;
	for (size_t i = 0; i < r->nentry; i++)
		placed[i] = (struct placed){offset[i], i};
	if (r->nentry)
		qsort(placed, r->nentry, sizeof *placed, by_place);
	out->piece = arena_array(a, struct link_piece, 2 * r->nentry + 6);
	add_bytes(a, out, code);
	add_zeros_to(out, image->at);
	add_bytes(a, out, directory);
	for (size_t i = 0; i < r->nentry; i++) {
		size_t entry = placed[i].entry;
		/* Entries without bytes share their place with the next one. */
		if (!r->entry[entry].bytes)
			continue;
		add_zeros_to(out, image->at + placed[i].at);
		add_piece(out, (struct link_piece){.kind = PIECE_ENTRY, .entry = entry,
			.bytes = r->entry[entry].bytes});
	}
	add_zeros_to(out, image->at + image->bytes);
	add_bytes(a, out, &image->tail);
	return true;
}

bool link_plan(struct arena *a, const struct link_request *r, struct link_image *out, struct err *e)
{
	struct strbuf code, directory;
	struct image image = {0};
	strbuf_init(&code);
	strbuf_init(&directory);
	strbuf_init(&image.tail);
	*out = (struct link_image){0};
	bool ok = plan(a, r, &code, &directory, &image, out, e);
	strbuf_release(&code);
	strbuf_release(&directory);
	strbuf_release(&image.tail);
	return ok;
}

/* ---- writing ---- */

static bool copy_by_hand(int in, off_t from, int out, off_t to, uint64_t bytes, struct err *e)
{
	char buffer[1 << 16];
	while (bytes) {
		size_t most = bytes < sizeof buffer ? (size_t)bytes : sizeof buffer;
		ssize_t n = pread(in, buffer, most, from);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "unable to read weights");
		if (!n)
			return err_set(e, ERR_IO, "weights end %llu bytes early",
				(unsigned long long)bytes);
		for (ssize_t done = 0, m; done < n; done += m) {
			m = pwrite(out, buffer + done, (size_t)(n - done), to + done);
			if (m < 0 && errno == EINTR)
				m = 0;
			else if (m < 0)
				return err_errno(e, "unable to write the binary");
		}
		from += n;
		to += n;
		bytes -= (uint64_t)n;
	}
	return true;
}

static bool copy_range(int in, off_t from, int out, off_t to, uint64_t bytes, struct err *e)
{
	while (bytes) {
		ssize_t n = copy_file_range(in, &from, out, &to, (size_t)bytes, 0);
		if (n < 0 && errno == EINTR)
			continue;
		/* Old kernels, and file systems without it or across two of them; the other
		 * way has the better message for what is wrong with the file, too. */
		if (n <= 0)
			return copy_by_hand(in, from, out, to, bytes, e);
		bytes -= (uint64_t)n;
	}
	return true;
}

/* Holes stay holes. */
static bool copy_entry(const struct link_entry *entry, int out, uint64_t at, struct err *e)
{
	uint64_t done = 0;
	while (done < entry->bytes) {
		off_t from = (off_t)(entry->offset + done);
		off_t data = lseek(entry->fd, from, SEEK_DATA);
		if (data < 0 && errno == ENXIO) {
			struct stat st;
			if (!fstat(entry->fd, &st) &&
				(uint64_t)st.st_size >= entry->offset + entry->bytes)
				return true;
			data = from; /* the copy says what is missing */
		}
		if (data < 0)
			data = from;
		off_t hole = lseek(entry->fd, data, SEEK_HOLE);
		done += (uint64_t)(data - from);
		if (done >= entry->bytes)
			return true;
		uint64_t n = entry->bytes - done;
		if (hole > data && (uint64_t)(hole - data) < n)
			n = (uint64_t)(hole - data);
		if (!copy_range(entry->fd, data, out, (off_t)(at + done), n, e))
			return false;
		done += n;
	}
	return true;
}

static bool write_at(int fd, const void *p, uint64_t bytes, uint64_t at, struct err *e)
{
	for (uint64_t done = 0; done < bytes;) {
		ssize_t n = pwrite(fd, (const char *)p + done, bytes - done, (off_t)(at + done));
		if (n < 0 && errno != EINTR)
			return err_errno(e, "unable to write the binary");
		done += n > 0 ? (uint64_t)n : 0;
	}
	return true;
}

static bool write_image(int fd, const struct link_request *r, const struct link_image *image,
	struct err *e)
{
	if (ftruncate(fd, (off_t)image->bytes))
		return err_errno(e, "unable to make a file of %llu bytes",
			(unsigned long long)image->bytes);
	uint64_t at = 0;
	for (size_t i = 0; i < image->npiece; i++) {
		const struct link_piece *piece = &image->piece[i];
		const struct link_entry *entry =
			piece->kind == PIECE_ENTRY ? &r->entry[piece->entry] : NULL;
		bool ok = true;
		if (piece->kind == PIECE_BYTES || (entry && entry->p))
			ok = write_at(fd, entry ? entry->p : piece->p, piece->bytes, at, e);
		else if (entry)
			ok = copy_entry(entry, fd, at, e) || err_context(e, "'%s'", entry->name);
		if (!ok)
			return false;
		at += piece->bytes;
	}
	if (fchmod(fd, 0755))
		return err_errno(e, "unable to make the binary executable");
	return true;
}

/* An unnamed file beside path where the file system has such; else a named one, *name. */
static int open_beside(struct arena *a, const char *path, char **name)
{
	const char *slash = strrchr(path, '/');
	const char *folder = slash == path ? "/" :
		slash ? arena_strndup(a, path, (size_t)(slash - path)) : ".";
	*name = NULL;
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0700);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	*name = arena_printf(a, "%s.XXXXXX", path);
	return mkostemp(*name, O_CLOEXEC);
}

static bool give_name(struct arena *a, int fd, const char *path, char **name, struct err *e)
{
	if (!*name) {
		char *temp = arena_printf(a, "%s.%ld.tmp", path, (long)getpid());
		char *self = arena_printf(a, "/proc/self/fd/%d", fd);
		unlink(temp);
		if (linkat(AT_FDCWD, self, AT_FDCWD, temp, AT_SYMLINK_FOLLOW))
			return err_errno(e, "unable to create '%s'", path);
		*name = temp;
	}
	if (rename(*name, path))
		return err_errno(e, "unable to create '%s'", path);
	*name = NULL;
	return true;
}

bool link_binary(const struct link_request *r, const char *path, struct err *e)
{
	struct arena a = {0};
	struct link_image image;
	char *name = NULL;
	bool ok = link_plan(&a, r, &image, e);
	if (ok) {
		int fd = open_beside(&a, path, &name);
		if (fd < 0)
			ok = err_errno(e, "unable to create '%s'", path);
		else
			ok = write_image(fd, r, &image, e) && give_name(&a, fd, path, &name, e);
		if (name)
			unlink(name);
		if (fd >= 0)
			close(fd);
	}
	arena_release(&a);
	return ok;
}
