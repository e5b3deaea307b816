/* A target's model as files for other programs: a Hugging Face folder. */
#include "work.h"

#include <string.h>

#include "file.h"
#include "tok.h"

static bool read_tensor(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e)
{
	struct work *w = ctx;
	struct map map;
	char hex[DIGEST_HEX];
	enum store_found found = store_get(w->store, t->digest, &map, e);
	if (found == STORE_FAIL)
		return false;
	digest_hex(t->digest, hex);
	if (found == STORE_MISS)
		return err_set(e, ERR_IO, "tensor '%s' (%s) is not in the cache; run: trim build %s", t->name, hex,
			w->path);
	*out = (struct buf){map.p, map.n}; /* stays mapped until the process ends */
	return true;
}

static const struct plan_target *chosen(struct work *w, struct err *e)
{
	const struct plan *p = &w->plan;
	if (p->ntarget > 1) {
		err_set(e, ERR_SPEC, "%s has %zu targets; say which: --target %s", w->path, p->ntarget,
			p->target[0].spec->name);
		return NULL;
	}
	if (p->target[0].failed) {
		*e = p->target[0].err;
		return NULL;
	}
	return &p->target[0];
}

/* Files that a folder of the model brought stay what they are. */
static bool copy_tokenizer(struct work *w, const char *dir, bool *copied, struct err *e)
{
	static const char *const name[] = {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt",
		"tokenizer_config.json", "generation_config.json"};
	bool ok = true;
	*copied = false;
	for (size_t i = 0; i < w->plan.ninput && ok; i++) {
		const char *from = w->plan.input[i].path, *base = strrchr(from, '/');
		struct strbuf b;
		bool wanted = false;
		for (size_t k = 0; k < NELEM(name); k++)
			wanted = wanted || (base && !strcmp(base + 1, name[k]));
		if (!wanted)
			continue;
		strbuf_init(&b);
		ok = file_read(&b, from, e) &&
			file_write(arena_printf(w->cli->arena, "%s%s", dir, base), strbuf_buf(&b), 0644, e);
		strbuf_release(&b);
		*copied = *copied || !strncmp(base + 1, "tokenizer.", 10) || !strcmp(base + 1, "merges.txt");
	}
	return ok;
}

static bool write_tokenizer(struct work *w, const char *dir, struct err *e)
{
	struct arena *a = w->cli->arena;
	struct strbuf b;
	struct buf block;
	bool copied;
	if (!copy_tokenizer(w, dir, &copied, e) || copied)
		return copied;
	strbuf_init(&b);
	bool ok = build_read(w->build, w->plan.tokenizer, 0, a, &block, e) && tok_write_spm(a, block, &b, e) &&
		file_write(arena_printf(a, "%s/tokenizer.model", dir), strbuf_buf(&b), 0644, e);
	strbuf_release(&b);
	return ok;
}

static void print_path(struct cli *c, const char *dir)
{
	struct strbuf b;
	strbuf_init(&b);
	if (c->json)
		strbuf_add_json(&b, dir, strlen(dir));
	fprintf(c->out, c->json ? "{\"path\":%s}\n" : "%s\n", c->json ? b.s : dir);
	strbuf_release(&b);
}

static bool export_hf(struct work *w, const char *dir, struct err *e)
{
	const struct plan_target *t = chosen(w, e);
	struct arena *a = w->cli->arena;
	struct digest digest;
	struct buf text;
	struct state s;
	if (!t)
		return false;
	if (!t->state || !action_digest(t->state, 0, &digest))
		return err_set(e, ERR_SPEC, "target '%s' is not built; run: trim build %s", t->spec->name, w->path);
	if (!build_read(w->build, t->state, 0, a, &text, e) || !state_read(a, text, t->state_name, &s, e) ||
		!state_write_hf(&s, dir, read_tensor, w, e) || !write_tokenizer(w, dir, e))
		return false;
	if (s.ndropped)
		cli_say(w->cli, "%zu halves that are gone are written as zeros: readers of such folders need all",
			s.ndropped);
	print_path(w->cli, dir);
	return true;
}

/* SPEC DIR, or DIR alone. */
int verb_export(struct cli *c)
{
	struct work w;
	struct err e = {0};
	const char *format = cli_option(c, "format"), *path = c->narg == 2 ? c->arg[0] : "trim.xml";
	if (format && strcmp(format, "hf")) {
		err_set(&e, ERR_SPEC, "unable to export as '%s'; only hf is supported", format);
		return cli_fail(c, &e);
	}
	if (c->narg == 1 && strstr(c->arg[0], ".xml")) {
		err_set(&e, ERR_SPEC, "missing argument: trim export %s DIR", c->arg[0]);
		return cli_fail(c, &e);
	}
	int code = work_open(&w, c, path, BUILD_DRY_RUN);
	if (code == EXIT_OK && !work_run(&w))
		code = work_failed(&w);
	else if (code == EXIT_OK && !export_hf(&w, c->arg[c->narg - 1], &e))
		code = cli_fail(c, &e);
	work_close(&w);
	return code;
}
