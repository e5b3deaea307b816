/*
 * fake_binary OUT ARCH OBJECT[,OBJECT...] [WITHOUT|big BYTES]: links the hand-written model
 * (fake_model.c, compiled as OBJECT for one CPU or several) into a program with everything that a real one carries. WITHOUT names an
 * entry to leave out; `big` adds a tensor of that many bytes from a file that is one hole. The
 * tokenizer knows single bytes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_model.h"
#include "file.h"
#include "golden.h"
#include "link.h"
#include "linker.h"
#include "model_info.h"
#include "task.h"
#include "tok.h"
#include "tokenizer.h"

static _Alignas(64) float bias[FAKE_VOCAB];

static struct buf find_bias(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "bias") ? (struct buf){NULL, 0} : (struct buf){bias, sizeof bias};
}

static bool make_tokenizer(struct arena *a, struct strbuf *out, struct err *e)
{
	struct tok t;
	tok_init(&t, a, "fake");
	t.kind = TOKENIZER_SPM;
	t.traits = TOK_ADDS_START;
	for (int i = 0; i < 256; i++) {
		char *name = arena_printf(a, "<0x%02X>", (unsigned)i);
		if (!tok_put(&t, (uint64_t)i, (struct buf){name, 6}, TOKEN_BYTE, e))
			return false;
		unsigned char byte = (unsigned char)i;
		t.token[i].text = (struct buf){arena_copy(a, &byte, 1), 1};
	}
	if (!tok_put(&t, FAKE_UNKNOWN, (struct buf){"<unk>", 5}, TOKEN_UNKNOWN, e) ||
		!tok_put(&t, FAKE_START, (struct buf){"<s>", 3}, TOKEN_CONTROL, e) ||
		!tok_put(&t, FAKE_END, (struct buf){"</s>", 4}, TOKEN_CONTROL | TOKEN_STOP, e))
		return false;
	t.unk_id = FAKE_UNKNOWN;
	t.start_id = FAKE_START;
	t.end_id = FAKE_END;
	return tok_write(&t, out, e);
}

static bool make_task(struct arena *a, struct strbuf *out, struct err *e)
{
	static const char *choices[] = {"yes", "no", "maybe"};
	struct task t = {.kind = TASK_CHOICE, .on_long = LONG_ERROR, .length_tokens = 60,
		.prompt = "Q: {q} A:", .answer = "{a}", .choice = choices, .nchoice = 3};
	if (!task_init(a, &t, e))
		return false;
	task_write(out, &t);
	return true;
}

static void make_info(struct strbuf *out)
{
	static const char *dropped[] = {"3.mlp", "1.attention"};
	model_info_write(out, &(struct model_info){.name = "fake", .target = "test",
		.hardware = "none", .numerics = "f32", .architecture = "hash", .blocks = 1,
		.parameters = FAKE_VOCAB, .weight_bytes = sizeof bias, .context = FAKE_SLOTS,
		.threads = 2, .start_token = FAKE_START, .end_token = FAKE_END, .dropped = dropped,
		.ndropped = 2, .lock = "{\"keep\":\"50%\"}"});
}

static bool make_golden(struct strbuf *out, struct err *e)
{
	struct param_source params = {NULL, find_bias};
	struct pool *pool = pool_new(1);
	struct session s;
	uint32_t token[20];
	for (uint32_t i = 0; i < 20; i++)
		token[i] = i * 53 % FAKE_VOCAB;
	if (!session_open(&s, trim_variant.program[0], &params, pool, FAKE_SLOTS, e))
		return false;
	golden_record(&s, token, 20, 10, out);
	session_release(&s);
	pool_free(pool);
	return true;
}

static bool make(char **argv, struct arena *a, struct strbuf part[4], struct err *e)
{
	struct map object[LINKER_MAX_OBJECTS];
	struct buf code[LINKER_MAX_OBJECTS];
	struct link_entry entry[6];
	const char *without = argv[4] ? argv[4] : "";
	bool aarch64 = !strcmp(argv[2], "aarch64");
	struct link_request r = {.arch = aarch64 ? ARCH_AARCH64 : ARCH_X86_64, .object = code, .entry = entry};
	for (int c = 'a'; c <= 'z'; c++)
		bias[c] = 8;
	bias[' '] = bias[FAKE_END] = 8;
	if (!make_tokenizer(a, &part[0], e) || !make_task(a, &part[1], e) ||
		!make_golden(&part[2], e))
		return false;
	make_info(&part[3]);
	const struct link_entry all[5] = {
		{"t:bias", ENTRY_TENSOR, bias, -1, 0, sizeof bias},
		{"tokenizer", ENTRY_TOKENIZER, part[0].s, -1, 0, part[0].n},
		{"task", ENTRY_TASK, part[1].s, -1, 0, part[1].n},
		{"golden", ENTRY_GOLDEN, part[2].s, -1, 0, part[2].n},
		{"info", ENTRY_INFO, part[3].s, -1, 0, part[3].n}};
	for (int i = 0; i < 5; i++)
		if (strcmp(all[i].name, without))
			entry[r.nentry++] = all[i];
	if (!strcmp(without, "big")) {
		uint64_t bytes = strtoull(argv[5], NULL, 10);
		int fd = open(".", O_TMPFILE | O_RDWR, 0600);
		if (fd < 0 || ftruncate(fd, (off_t)bytes))
			return err_errno(e, "no file of %llu bytes", (unsigned long long)bytes);
		entry[r.nentry++] =
			(struct link_entry){"t:a.big", ENTRY_TENSOR, NULL, fd, 0, bytes};
	}
	for (char *name, *rest = arena_strdup(a, argv[3]); (name = strsep(&rest, ",")); r.nobject++) {
		if (!map_open(&object[r.nobject], name, e))
			return false;
		code[r.nobject] = (struct buf){object[r.nobject].p, object[r.nobject].n};
	}
	r.runtime_folder = link_runtime_folder(a, r.arch, e);
	bool ok = r.runtime_folder && link_binary(&r, argv[1], e);
	while (r.nobject)
		map_release(&object[--r.nobject]);
	return ok;
}

int main(int argc, char **argv)
{
	struct arena a = {0};
	struct strbuf part[4];
	struct err e;
	for (int i = 0; i < 4; i++)
		strbuf_init(&part[i]);
	if (argc < 4 || (argc == 5 && !strcmp(argv[4], "big")))
		return 2;
	bool ok = make(argv, &a, part, &e);
	for (int i = 0; i < 4; i++)
		strbuf_release(&part[i]);
	arena_release(&a);
	if (!ok)
		fprintf(stderr, "fake_binary: %s\n", e.msg);
	return !ok;
}
