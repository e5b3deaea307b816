/*
 * Makes an emitted binary: code linked by ld.lld into a static ELF program against musl and our
 * runtime, behind it the container (runtime/container.h) as a segment of its own.
 *
 *     what ld.lld wrote          its PT_NOTE made a read-only PT_LOAD above all others
 *     zeros to 64 KiB
 *     container                  mapped by the kernel with the code, lazily
 *     section names, sections    as before and ".weights", so that strip keeps the segment
 *
 * Data of any size cost a copy in the kernel and no memory (ld.lld itself fails at 2 GiB). Equal
 * requests give equal bytes; no path gets in. The linker's input and output are unnamed files in
 * memory, the result is an unnamed file until it is whole: nothing needs to be cleaned up, whenever
 * the process ends.
 *
 * A runtime folder holds runtime.a, crt1.o, crti.o, crtn.o, libc.a, and libgcc.a where the
 * architecture needs one; it is made by the build (lib/x86_64, lib/aarch64) and installed as it is. A program
 * with code for GPUs opens the driver's library, so it is a dynamic one against glibc: lib/x86_64-glibc has libc.so.6 and
 * libm.so.6, for their symbols, and libc_nonshared.a in place of libc.a.
 */
#ifndef LINK_H
#define LINK_H

#include "arena.h"
#include "container.h"
#include "target.h"

struct link_entry {
	const char *name;
	enum entry_kind kind;
	const void *p;   /* the data, or NULL: they are bytes [offset, offset + bytes) of fd */
	int fd;
	uint64_t offset, bytes;
};

struct link_request {
	enum target_arch arch;
	const struct buf *object;   /* emit_object() made them, one for each target, from plain to capable */
	size_t nobject;
	const char *runtime_folder;
	bool dynamic;               /* against glibc */
	const struct link_entry *entry;
	size_t nentry;
};

/* A binary as pieces in file order, for who wants to keep entries once: the pieces follow each
 * other without gaps. */
enum link_piece_kind { PIECE_BYTES, PIECE_ENTRY, PIECE_ZERO };
struct link_piece {
	enum link_piece_kind kind;
	const void *p; /* PIECE_BYTES, in the arena */
	size_t entry;  /* PIECE_ENTRY: index in the request; the whole of it */
	uint64_t bytes;
};
struct link_image {
	struct link_piece *piece;
	size_t npiece;
	uint64_t bytes;
};

/* ERR_TOOL: no ld.lld. Entries are not read. */
bool link_plan(
	struct arena *a, const struct link_request *r, struct link_image *out, struct err *e);

/* Plans, and writes the program, mode 0755. path holds its old file until the new one is whole. */
bool link_binary(const struct link_request *r, const char *path, struct err *e);

/* The linker's path: its bytes are part of the key of what is linked. In the arena. ERR_TOOL. */
const char *link_program(struct arena *a, struct err *e);

/* Appends the linker's name and version, for people: "Debian LLD 19.1.7". */
bool link_version(struct strbuf *out, struct err *e);

/* Where this program's own build or installation keeps the runtime folder of an architecture:
 * lib/ARCH or ../lib/ARCH beside the program, or ../lib/trim/ARCH. In the arena. ERR_TOOL when there
 * is none. */
const char *link_runtime_folder(struct arena *a, enum target_arch arch, struct err *e);
/* The same of programs with code for GPUs. */
const char *link_gpu_runtime_folder(struct arena *a, struct err *e);

/* The name of an architecture's runtime folder: "x86_64". */
const char *link_arch_name(enum target_arch arch);

#endif
