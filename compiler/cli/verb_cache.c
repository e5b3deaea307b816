#include "cli.h"

#include <inttypes.h>
#include <string.h>

#include "store.h"

static void print_stat(struct cli *c, const struct store *s, const struct store_stat *t)
{
	if (c->json) {
		struct strbuf b;
		strbuf_init(&b);
		strbuf_adds(&b, "{\"path\":");
		strbuf_add_json(&b, store_path(s), strlen(store_path(s)));
		strbuf_addf(&b, ",\"objects\":%" PRIu64 ",\"object_bytes\":%" PRIu64 ",\"records\":%" PRIu64
			",\"checkpoints\":%" PRIu64 ",\"checkpoint_bytes\":%" PRIu64 ",\"roots\":%" PRIu64
			",\"damaged\":%" PRIu64 ",\"removed\":%" PRIu64 ",\"freed_bytes\":%" PRIu64 "}\n",
			t->nobject, t->object_bytes, t->nrecord, t->ncheckpoint, t->checkpoint_bytes, t->nroot,
			t->ndamaged, t->nremoved, t->freed_bytes);
		fputs(b.s, c->out);
		strbuf_release(&b);
		return;
	}
	fprintf(c->out, "%s\n%" PRIu64 " objects, %.1f MB; %" PRIu64 " records, %" PRIu64
		" checkpoints, %" PRIu64 " roots\n",
		store_path(s), t->nobject, (double)t->object_bytes / 1e6, t->nrecord, t->ncheckpoint,
		t->nroot);
}

static int run_stat(struct cli *c, struct store *s)
{
	struct store_stat t = {0};
	struct err e;
	if (!store_stat(s, &t, &e))
		return cli_fail(c, &e);
	print_stat(c, s, &t);
	return EXIT_OK;
}

static int run_verify(struct cli *c, struct store *s)
{
	struct store_stat t = {0};
	struct strbuf damaged;
	struct err e;
	strbuf_init(&damaged);
	bool ok = store_verify(s, &t, &damaged, &e);
	fputs(damaged.s, c->err);
	strbuf_release(&damaged);
	if (!ok)
		return cli_fail(c, &e);
	print_stat(c, s, &t);
	if (!c->json)
		fprintf(c->out, t.ndamaged ? "%" PRIu64 " damaged; they will be made again\n" : "clean\n",
			t.ndamaged);
	return t.ndamaged ? EXIT_FAILED : EXIT_OK;
}

static int run_gc(struct cli *c, struct store *s)
{
	struct store_stat t = {0};
	struct err e;
	bool yes = cli_flag(c, "yes");
	if (!store_gc(s, yes ? GC_YES : 0, &t, &e))
		return cli_fail(c, &e);
	if (c->json)
		print_stat(c, s, &t);
	else
		fprintf(c->out, "%" PRIu64 " files, %.1f MB %s\n", t.nremoved, (double)t.freed_bytes / 1e6,
			yes ? "removed" : "would be removed; --yes removes them");
	return EXIT_OK;
}

int verb_cache(struct cli *c)
{
	static const struct {
		const char *name;
		int (*run)(struct cli *, struct store *);
		enum store_mode mode;
	} verbs[] = {
		{"stat", run_stat, STORE_READ_ONLY},
		{"verify", run_verify, STORE_WRITE},
		{"gc", run_gc, STORE_WRITE},
	};
	const char *names[NELEM(verbs)];
	struct strbuf path;
	struct store *s = NULL;
	struct err e = {0};
	for (size_t i = 0; i < NELEM(verbs); i++)
		names[i] = verbs[i].name;
	for (size_t i = 0; i < NELEM(verbs); i++) {
		if (strcmp(names[i], c->arg[0]))
			continue;
		strbuf_init(&path);
		bool ok = store_default_path(&path, &e) && store_open(&s, NULL, path.s, verbs[i].mode, &e);
		strbuf_release(&path);
		int code = ok ? verbs[i].run(c, s) : cli_fail(c, &e);
		store_free(s);
		return code;
	}
	const char *near = nearest_name(c->arg[0], names, NELEM(verbs));
	err_set(&e, ERR_SPEC, "unknown 'cache %s'; %s%s%s", c->arg[0],
		near ? "did you mean '" : "expected stat, verify or gc", near ? near : "", near ? "'?" : "");
	return cli_fail(c, &e);
}
