/*
 * A model check in miniature. Random graphs are built, edited, damaged, killed and built by two
 * processes at once; after every build each output must be what the model below computes without
 * store, keys or scheduler, and no call may have begun whose key was already answered in whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build_internal.h"
#include "fault_os.h"
#include "world.h"

enum { NFILES = 4, MAX_NODES = 28, MAX_INPUTS = 4, MAX_OBJECTS = 8 };

enum node_kind { MIX, FIRST, PAIR, TOOL, PARTS, PICK, SUM, HEAVY, NKINDS };

struct node {
	enum node_kind kind;
	int param, ninput;
	int from[MAX_INPUTS];   /* a node, or -1 - file */
	int output[MAX_INPUTS]; /* of that node */
	bool leaf;
};

struct value {
	char text[2][1024]; /* of its outputs */
	char object[MAX_OBJECTS][64];
	int nobject; /* manifests */
};

struct graph {
	struct rng rng;
	uint64_t seed;
	struct node node[MAX_NODES];
	int nnode;
	char file[NFILES][40];
	int tool;
	char tool_text[16];
	struct value value[MAX_NODES];
};

static bool is_manifest(const struct graph *g, int n)
{
	return n >= 0 && (g->node[n].kind == PARTS || g->node[n].kind == PICK);
}

static int random_manifest(struct graph *g, int below)
{
	int found = -1, nfound = 0;
	for (int i = 0; i < below; i++)
		if (is_manifest(g, i) && rng_below(&g->rng, (uint64_t)++nfound) == 0)
			found = i;
	return found;
}

static void random_node(struct graph *g, int i)
{
	struct node *n = &g->node[i];
	*n = (struct node){.kind = (enum node_kind)rng_below(&g->rng, NKINDS),
		.param = (int)rng_below(&g->rng, 3),
		.leaf = true};
	int manifest = random_manifest(g, i);
	if ((n->kind == PICK || n->kind == SUM) && manifest < 0)
		n->kind = PARTS;
	n->ninput = n->kind == PICK || n->kind == SUM || n->kind == FIRST ?
			    1 :
			    1 + (int)rng_below(&g->rng, MAX_INPUTS);
	for (int k = 0; k < n->ninput; k++) {
		int from = i && rng_below(&g->rng, 4) ? (int)rng_below(&g->rng, (uint64_t)i) :
							-1 - (int)rng_below(&g->rng, NFILES);
		if (n->kind == PICK || n->kind == SUM)
			from = manifest;
		/* what a manifest names stays small */
		if (n->kind == PARTS && is_manifest(g, from))
			from = -1;
		n->from[k] = from;
		n->output[k] = from >= 0 && g->node[from].kind == PAIR && rng_below(&g->rng, 2);
		if (from >= 0)
			g->node[from].leaf = false;
	}
}

static void random_file(struct graph *g, int i)
{
	snprintf(g->file[i], sizeof(g->file[i]), "%c text %d", 'a' + (char)rng_below(&g->rng, 3),
		(int)rng_below(&g->rng, 6));
}

static void graph_init(struct graph *g, uint64_t seed)
{
	*g = (struct graph){.seed = seed};
	rng_init(&g->rng, seed);
	g->nnode = 3 + (int)rng_below(&g->rng, MAX_NODES - 8);
	for (int i = 0; i < NFILES; i++)
		random_file(g, i);
	for (int i = 0; i < g->nnode; i++)
		random_node(g, i);
}

/* ---- the model ---- */

static void model(struct graph *g)
{
	snprintf(g->tool_text, sizeof(g->tool_text), "%d.0", g->tool);
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		struct value *v = &g->value[i];
		char param[16];
		struct buf input[MAX_OBJECTS];
		struct field field = {"p", param};
		struct fields fields = {&field, 1};
		*v = (struct value){0};
		snprintf(param, sizeof(param), "%d", n->param);
		for (int k = 0; k < n->ninput; k++) {
			const char *text = n->from[k] < 0 ?
						   g->file[-1 - n->from[k]] :
						   g->value[n->from[k]].text[n->output[k]];
			input[k] = (struct buf){text, strlen(text)};
		}
		const struct value *from = n->from[0] >= 0 ? &g->value[n->from[0]] : NULL;
		switch (n->kind) {
		case MIX:
		case HEAVY:
			world_mix(v->text[0], "mix", &fields, input, (size_t)n->ninput);
			break;
		case FIRST:
			snprintf(v->text[0], 2, "%s", (const char *)input[0].p);
			break;
		case PAIR:
			world_mix(v->text[0], "a", &fields, input, (size_t)n->ninput);
			world_mix(v->text[1], "b", &fields, input, (size_t)n->ninput);
			break;
		case TOOL:
			world_mix(v->text[0], g->tool_text, &fields, input, (size_t)n->ninput);
			break;
		case PARTS:
			for (int k = 0; k < n->ninput; k++)
				snprintf(v->object[v->nobject++], 64, "%s",
					(const char *)input[k].p);
			break;
		case PICK:
			for (int k = 0; k + 1 < from->nobject; k++)
				memcpy(v->object[v->nobject++], from->object[k], 64);
			break;
		case SUM:
			for (int k = 0; k < from->nobject; k++)
				input[k] = (struct buf){from->object[k], strlen(from->object[k])};
			world_mix(v->text[0], "mix", &fields, input, (size_t)from->nobject);
			break;
		default:
			break;
		}
		if (is_manifest(g, i))
			for (int k = 0; k < v->nobject; k++) {
				char hex[DIGEST_HEX];
				size_t n_bytes = strlen(v->object[k]), at = strlen(v->text[0]);
				digest_hex(digest_of(v->object[k], n_bytes), hex);
				snprintf(v->text[0] + at, sizeof(v->text[0]) - at, "%s %zu\n", hex,
					n_bytes);
			}
	}
}

/* ---- a build of it, checked ---- */

static void check_not_answered(struct rule_call *c, void *ctx)
{
	struct store *s = c->build->o.store;
	struct record r;
	struct arena a = {0};
	struct graph *g = ctx;
	bool whole = false;
	if (store_record_get(s, c->action->key, &a, &r, NULL) == STORE_OK) {
		whole = true;
		for (size_t i = 0; whole && i < r.noutput + r.nref; i++) {
			struct record_object *o =
				i < r.noutput ? &r.output[i] : &r.ref[i - r.noutput];
			char hex[DIGEST_HEX], path[1200];
			struct map m = {0};
			digest_hex(o->digest, hex);
			snprintf(path, sizeof(path), "%s/objects/%.2s/%s", store_path(s), hex,
				hex + 2);
			whole = os_map(os_posix(), path, &m, NULL) &&
				digest_equal(digest_of(m.p, m.n), o->digest);
			os_unmap(os_posix(), &m);
		}
	}
	arena_release(&a);
	/* a lost object can come back by an equal one of a call that runs beside this one */
	if (c->action->restoring && c->build->o.jobs > 1)
		return;
	if (whole)
		FAIL("seed %llu: '%s' runs, but its key is answered", (unsigned long long)g->seed,
			c->action->name);
}

static void add_nodes(struct world *w, const struct graph *g)
{
	static const struct rule *const rule[] = {&mix_rule, &first_rule, &pair_rule, &tool_rule,
		&parts_rule, &pick_rule, &sum_rule, &heavy_rule};
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		char name[16], param[16], inputs[200] = "", path[1100];
		snprintf(name, sizeof(name), "n%d", i);
		snprintf(param, sizeof(param), "%d", n->param);
		for (int k = 0; k < n->ninput; k++) {
			size_t at = strlen(inputs);
			if (n->from[k] < 0)
				snprintf(
					inputs + at, sizeof(inputs) - at, " @f%d", -1 - n->from[k]);
			else
				snprintf(inputs + at, sizeof(inputs) - at, " n%d:%d", n->from[k],
					n->output[k]);
		}
		struct action *a = world_action(w, name, rule[n->kind], param, inputs);
		snprintf(path, sizeof(path), "%s/out/n%d", w->dir, i);
		if (n->leaf)
			build_output(w->build, a, 0, path, 0);
	}
}

static void write_files(struct world *w, const struct graph *g)
{
	for (int i = 0; i < NFILES; i++) {
		char name[8];
		struct strbuf old;
		struct err e;
		strbuf_init(&old);
		snprintf(name, sizeof(name), "f%d", i);
		if (!file_read(&old, world_path(w, name), &e) || strcmp(old.s, g->file[i]) != 0)
			world_write(w, name, g->file[i]);
		strbuf_release(&old);
	}
}

/* Builds, and compares everything with the model. */
static void build_and_check(struct world *w, struct graph *g, const char *when)
{
	w->tool = g->tool_text;
	w->in_rule = check_not_answered;
	w->in_rule_ctx = g;
	if (!world_open(w)) {
		FAIL("seed %llu, %s: %s", (unsigned long long)g->seed, when, w->err.msg);
		return;
	}
	add_nodes(w, g);
	world_run(w);
	if (!w->ok)
		FAIL("seed %llu, %s: %s", (unsigned long long)g->seed, when, w->err.msg);
	for (int i = 0; w->ok && i < g->nnode; i++) {
		char name[16], path[32];
		struct digest d;
		struct strbuf b;
		struct err e;
		snprintf(name, sizeof(name), "n%d", i);
		for (size_t k = 0; k < 1 + (g->node[i].kind == PAIR); k++)
			if (!action_digest(build_find(w->build, name), k, &d) ||
				!digest_equal(d, digest_of(g->value[i].text[k],
							strlen(g->value[i].text[k]))))
				FAIL("seed %llu, %s: %s:%zu is not what the model says",
					(unsigned long long)g->seed, when, name, k);
		if (!g->node[i].leaf)
			continue;
		strbuf_init(&b);
		snprintf(path, sizeof(path), "out/n%d", i);
		if (!file_read(&b, world_path(w, path), &e))
			FAIL("%s", e.msg);
		if (strcmp(b.s, g->value[i].text[0]) != 0)
			FAIL("seed %llu, %s: %s is \"%s\", want \"%s\"",
				(unsigned long long)g->seed, when, path, b.s, g->value[i].text[0]);
		strbuf_release(&b);
	}
	world_close(w);
}

/* ---- what happens to it ---- */

static void edit(struct graph *g)
{
	switch (rng_below(&g->rng, 5)) {
	case 0:
		random_file(g, (int)rng_below(&g->rng, NFILES));
		break;
	case 1:
		g->node[rng_below(&g->rng, (uint64_t)g->nnode)].param = (int)rng_below(&g->rng, 3);
		break;
	case 2:
		g->tool = (int)rng_below(&g->rng, 3);
		break;
	case 3:
		if (g->nnode < MAX_NODES)
			random_node(g, g->nnode++);
		break;
	case 4:
		break;
	}
}

/* A random file below a folder of the store, "" if there is none. */
static void random_below(struct graph *g, const char *folder, char out[2048], int depth)
{
	char **name;
	size_t nname;
	out[0] = '\0';
	if (!os_list(os_posix(), folder, &name, &nname, NULL))
		return;
	if (nname) {
		char path[1400];
		snprintf(path, sizeof(path), "%s/%s", folder, name[rng_below(&g->rng, nname)]);
		if (depth)
			random_below(g, path, out, depth - 1);
		else
			snprintf(out, 2048, "%s", path);
	}
	os_list_free(name, nname);
}

static void hurt(struct world *w, struct graph *g)
{
	static const struct {
		const char *where;
		int depth;
	} place[] = {{"store/objects", 1}, {"store/objects", 1}, {"store/objects", 1},
		{"store/actions", 1}, {"out", 0}};
	int times = 1 + (int)rng_below(&g->rng, 6);
	for (int i = 0; i < times; i++) {
		char path[2048];
		struct strbuf b;
		size_t p = (size_t)rng_below(&g->rng, NELEM(place));
		random_below(g, world_path(w, place[p].where), path, place[p].depth);
		if (!path[0])
			continue;
		strbuf_init(&b);
		switch (rng_below(&g->rng, 3)) {
		case 0:
			unlink(path);
			break;
		case 1:
			truncate(path, (off_t)rng_below(&g->rng, 20));
			break;
		case 2:
			if (file_read(&b, path, NULL) && b.n) {
				b.s[rng_below(&g->rng, b.n)] ^= 1;
				file_write(path, strbuf_buf(&b), 0444, NULL);
			}
			break;
		}
		strbuf_release(&b);
	}
	if (rng_below(&g->rng, 4) == 0)
		truncate(world_path(w, "journal"), (off_t)rng_below(&g->rng, 2000));
	if (rng_below(&g->rng, 4) == 0)
		truncate(world_path(w, "store/stat"), (off_t)rng_below(&g->rng, 700));
}

/* A child that builds and dies at its n-th call to the system, or not at all if it makes fewer. */
static bool build_and_die(struct world *w, struct graph *g, int n)
{
	pid_t child = fork();
	if (child == 0) {
		struct fault_os os;
		fault_os_init(&os, FAULT_ANY, n, FAULT_KILL, EIO);
		w->os = &os.ops;
		w->tool = g->tool_text;
		if (world_open(w)) {
			add_nodes(w, g);
			world_run(w);
			world_close(w);
		}
		_exit(0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	return WIFSIGNALED(status);
}

static int leftovers_beside_outputs(struct world *w)
{
	char **name;
	size_t nname;
	int n = 0;
	if (!os_list(os_posix(), world_path(w, "out"), &name, &nname, NULL))
		return 0;
	for (size_t i = 0; i < nname; i++)
		n += strstr(name[i], ".tmp-") != NULL;
	os_list_free(name, nname);
	return n;
}

TEST(model_check_edits_and_damage)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct world w;
		struct graph g;
		char name[16];
		snprintf(name, sizeof(name), "w%d", (int)seed);
		world_init(&w, name);
		graph_init(&g, seed);
		w.jobs = 1 + (int)(seed % 4);
		for (int round = 0; round < 6; round++) {
			if (round)
				edit(&g);
			if (round > 1 && rng_below(&g.rng, 2))
				hurt(&w, &g);
			model(&g);
			write_files(&w, &g);
			build_and_check(&w, &g, "edited");
			CHECK_INT(world_leftovers(&w), 0);
			/* a second build does nothing, unless damage that nobody read is lying
			 * about */
			if (round < 2) {
				build_and_check(&w, &g, "again");
				CHECK_STR(world_ran(&w), "");
			}
		}
		remove_tree(w.dir);
		world_release(&w);
	}
}

TEST(model_check_kills)
{
	int nkilled = 0;
	uint64_t seed = 1000;
	/* points that come after the end of a build do not count */
	for (; nkilled < 200 && seed < 1400; seed++) {
		struct world w;
		struct graph g;
		char name[16];
		snprintf(name, sizeof(name), "k%d", (int)seed);
		world_init(&w, name);
		graph_init(&g, seed);
		for (int round = 0; round < 4; round++) {
			edit(&g);
			model(&g);
			write_files(&w, &g);
			int at = 1 + (int)rng_below(&g.rng, (uint64_t)(60 + 12 * g.nnode));
			nkilled += build_and_die(&w, &g, at);
			if (rng_below(&g.rng, 3) == 0)
				nkilled += build_and_die(&w, &g, 1 + (int)rng_below(&g.rng, 100));
			build_and_check(&w, &g, "after a kill");
			/* the next process with something to write removes what the dead one left
			 */
			struct digest d;
			REQUIRE(world_open(&w));
			CHECK(store_put(w.store, (struct buf){&at, sizeof(at)}, &d, &w.err));
			world_close(&w);
			char **left;
			size_t nleft;
			CHECK(os_list(
				os_posix(), world_path(&w, "store/tmp"), &left, &nleft, NULL));
			CHECK_INT(nleft, 0);
			os_list_free(left, nleft);
		}
		for (int i = 0; i < g.nnode; i++) {
			char out[32];
			snprintf(out, sizeof(out), "out/n%d", i);
			unlink(world_path(&w, out));
		}
		build_and_check(&w, &g, "outputs removed");
		CHECK_INT(leftovers_beside_outputs(&w), 0);
		remove_tree(w.dir);
		world_release(&w);
	}
	printf("killed at %d points, seeds 1000 to %d\n", nkilled, (int)seed - 1);
	CHECK(nkilled >= 200);
}

/* ---- two processes ---- */

static void note_run(struct rule_call *c, void *ctx)
{
	struct graph *g = ctx;
	const struct world *w = call_env(c);
	char path[600], line[64], hex[DIGEST_HEX];
	check_not_answered(c, g);
	digest_hex(c->action->key, hex);
	snprintf(path, sizeof(path), "%s/runs", w->dir);
	int n = snprintf(line, sizeof(line), "%s\n", hex);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		FAIL("unable to note a run");
	close(fd);
}

static int count_lines_twice(struct world *w)
{
	struct strbuf b;
	struct digest_map seen = {0};
	char *save;
	int twice = 0;
	strbuf_init(&b);
	if (file_read(&b, world_path(w, "runs"), NULL))
		for (char *line = strtok_r(b.s, "\n", &save); line;
			line = strtok_r(NULL, "\n", &save)) {
			uint64_t *n = digest_map_put(&seen, digest_of(line, strlen(line)));
			twice += (*n)++ > 0;
		}
	digest_map_release(&seen);
	strbuf_release(&b);
	return twice;
}

TEST(two_processes_run_an_equal_action_once)
{
	for (uint64_t seed = 5000; seed < 5030; seed++) {
		struct world w;
		struct graph g;
		char name[16];
		snprintf(name, sizeof(name), "t%d", (int)seed);
		world_init(&w, name);
		graph_init(&g, seed);
		for (int round = 0; round < 3; round++) {
			pid_t child[3];
			edit(&g);
			model(&g);
			write_files(&w, &g);
			unlink(world_path(&w, "runs"));
			for (size_t i = 0; i < NELEM(child); i++) {
				child[i] = fork();
				if (child[i])
					continue;
				w.tool = g.tool_text;
				w.in_rule = note_run;
				w.in_rule_ctx = &g;
				int bad = !world_open(&w);
				if (!bad) {
					add_nodes(&w, &g);
					world_run(&w);
					bad = !w.ok;
				}
				if (bad)
					fprintf(stderr, "seed %d: %s\n", (int)seed, w.err.msg);
				fflush(NULL);
				_exit(bad);
			}
			for (size_t i = 0; i < NELEM(child); i++) {
				int status = 1;
				waitpid(child[i], &status, 0);
				if (status)
					FAIL("seed %d: a process of three ended with %d", (int)seed,
						status);
			}
			if (count_lines_twice(&w))
				FAIL("seed %d: %d calls ran twice", (int)seed,
					count_lines_twice(&w));
			build_and_check(&w, &g, "after three processes");
			CHECK_STR(world_ran(&w), "");
		}
		remove_tree(w.dir);
		world_release(&w);
	}
}
