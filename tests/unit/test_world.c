#include "world.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- rules ---- */

static struct world *enter(struct rule_call *c, const char *name, bool heavy, bool slow)
{
	struct world *w = (struct world *)(uintptr_t)call_env(c);
	pthread_mutex_lock(&w->mutex);
	w->ran = xrealloc(w->ran, (w->nran + 1) * sizeof(*w->ran));
	w->ran[w->nran++] = xstrdup(name);
	w->nactive++;
	if (w->nactive > w->most_active)
		w->most_active = w->nactive;
	w->nheavy_beside += heavy && w->nactive > 1;
	w->nslow += slow;
	if (w->nslow > w->most_slow)
		w->most_slow = w->nslow;
	pthread_mutex_unlock(&w->mutex);
	if (w->in_rule)
		w->in_rule(c, w->in_rule_ctx);
	return w;
}

static bool leave(struct world *w, bool slow, bool ok)
{
	pthread_mutex_lock(&w->mutex);
	w->nactive--;
	w->nslow -= slow;
	pthread_mutex_unlock(&w->mutex);
	return ok;
}

/* The rule learns its action's name from a parameter that every world_add gives. */
static const char *name_of(struct rule_call *c)
{
	return call_param(c, "name");
}

void world_mix(char out[DIGEST_HEX], const char *prefix, const struct fields *param,
	const struct buf *input, size_t ninput)
{
	struct hasher *h = hasher_new();
	hasher_adds(h, prefix);
	for (size_t i = 0; i < param->nfield; i++) {
		if (strcmp(param->field[i].name, "name") == 0)
			continue;
		hasher_adds(h, param->field[i].name);
		hasher_adds(h, param->field[i].value);
	}
	for (size_t i = 0; i < ninput; i++)
		hasher_add_field(h, input[i].p, input[i].n);
	digest_hex(hasher_end(h), out);
}

static bool read_inputs(struct rule_call *c, struct buf **out, struct err *e)
{
	*out = arena_array(call_arena(c), struct buf, call_ninput(c));
	for (size_t i = 0; i < call_ninput(c); i++)
		if (!call_input(c, i, &(*out)[i], e))
			return false;
	return true;
}

static bool give_mix(struct rule_call *c, size_t output, const char *prefix, struct err *e)
{
	char hex[DIGEST_HEX];
	struct buf *input;
	if (!read_inputs(c, &input, e))
		return false;
	world_mix(hex, prefix, call_params(c), input, call_ninput(c));
	return call_output(c, output, (struct buf){hex, DIGEST_HEX - 1}, e);
}

static bool run_mix(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, false);
	return leave(w, false, give_mix(c, 0, "mix", e));
}

static bool run_first(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, false);
	struct buf in;
	bool ok = call_input(c, 0, &in, e) &&
		call_output(c, 0, (struct buf){in.p, in.n ? 1 : 0}, e);
	return leave(w, false, ok);
}

static bool run_pair(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, false);
	return leave(w, false, give_mix(c, 0, "a", e) && give_mix(c, 1, "b", e));
}

static void tool_fields(struct arena *a, const struct fields *param, const void *env,
	struct fields *out)
{
	const struct world *w = env;
	(void)param;
	fields_add(a, out, "hammer", w->tool);
}

static bool run_tool(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, false);
	return leave(w, false, give_mix(c, 0, w->tool, e));
}

static bool parts(struct rule_call *c, struct err *e)
{
	struct strbuf list;
	struct buf *input;
	char hex[DIGEST_HEX];
	struct digest d;
	bool ok = read_inputs(c, &input, e);
	strbuf_init(&list);
	for (size_t i = 0; ok && i < call_ninput(c); i++) {
		ok = call_put(c, input[i], &d, e);
		digest_hex(d, hex);
		strbuf_addf(&list, "%s %zu\n", hex, input[i].n);
	}
	struct store_writer *out = ok ? call_output_begin(c, e) : NULL;
	ok = out && store_writer_add(out, list.s, list.n, e) && call_output_end(c, 0, out, e);
	strbuf_release(&list);
	return ok;
}

static bool run_parts(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, false);
	return leave(w, false, parts(c, e));
}

static bool pick(struct rule_call *c, struct err *e)
{
	struct buf in;
	struct strbuf list;
	if (!call_input(c, 0, &in, e))
		return false;
	const char *text = arena_strndup(call_arena(c), in.p, in.n), *next;
	strbuf_init(&list);
	for (; (next = strchr(text, '\n')); text = next + 1) {
		struct digest d;
		char hex[DIGEST_HEX] = "";
		unsigned long long bytes;
		if (!next[1])
			break;
		sscanf(text, "%32s %llu", hex, &bytes);
		digest_parse(hex, &d);
		call_ref(c, d, bytes);
		strbuf_add(&list, text, (size_t)(next + 1 - text));
	}
	bool ok = call_output(c, 0, strbuf_buf(&list), e);
	strbuf_release(&list);
	return ok;
}

static bool run_pick(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, false);
	return leave(w, false, pick(c, e));
}

static bool sum(struct rule_call *c, struct err *e)
{
	struct buf in, *object = NULL;
	size_t nobject = 0;
	char hex[DIGEST_HEX] = "";
	if (!call_input(c, 0, &in, e))
		return false;
	const char *text = arena_strndup(call_arena(c), in.p, in.n), *next;
	for (; (next = strchr(text, '\n')); text = next + 1) {
		struct digest d;
		sscanf(text, "%32s", hex);
		digest_parse(hex, &d);
		if (!call_object(c, d, arena_push(call_arena(c), object, nobject), e))
			return false;
	}
	world_mix(hex, "mix", call_params(c), object, nobject);
	return call_output(c, 0, (struct buf){hex, DIGEST_HEX - 1}, e);
}

static bool run_sum(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, false);
	return leave(w, false, sum(c, e));
}

static bool run_heavy(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), true, false);
	if (call_threads(c) != w->jobs)
		return leave(w, false, err_set(e, ERR_IO, "%d threads", call_threads(c)));
	return leave(w, false, give_mix(c, 0, "mix", e));
}

static bool run_slow(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, true);
	return leave(w, true, give_mix(c, 0, "mix", e));
}

static bool run_fail(struct rule_call *c, struct err *e)
{
	struct world *w = enter(c, name_of(c), false, false);
	return leave(w, false, err_set(e, ERR_NUMERIC, "loss is NaN"));
}

static bool run_shell(struct rule_call *c, struct err *e)
{
	static const char *const argv[] = {"/bin/sh", "-c", "echo hello", NULL};
	struct world *w = enter(c, name_of(c), false, false);
	struct strbuf out;
	char hex[DIGEST_HEX];
	strbuf_init(&out);
	bool ok = call_tmpdir(c, e) && call_tool(c, argv, &out, e);
	struct buf in = strbuf_buf(&out);
	world_mix(hex, "mix", call_params(c), &in, 1);
	strbuf_release(&out);
	return leave(w, false, ok && call_output(c, 0, (struct buf){hex, DIGEST_HEX - 1}, e));
}

static const char *const pair_output[] = {"a", "b", NULL};
const struct rule mix_rule = {.name = "mix", .version = 1, .run = run_mix};
const struct rule first_rule = {.name = "first", .version = 1, .run = run_first};
const struct rule pair_rule = {
	.name = "pair", .version = 1, .output = pair_output, .run = run_pair};
const struct rule tool_rule = {.name = "tool", .version = 1, .run = run_tool, .tools = tool_fields};
const struct rule parts_rule = {.name = "parts", .version = 1, .run = run_parts};
const struct rule pick_rule = {.name = "pick", .version = 1, .run = run_pick};
const struct rule sum_rule = {.name = "sum", .version = 1, .run = run_sum};
const struct rule heavy_rule = {
	.name = "heavy", .version = 1, .pool = "compute", .run = run_heavy};
const struct rule slow_rule = {.name = "slow", .version = 1, .pool = "narrow", .run = run_slow};
const struct rule fail_rule = {.name = "fail", .version = 1, .run = run_fail};
const struct rule shell_rule = {.name = "shell", .version = 1, .run = run_shell};

/* ---- the world ---- */

static int no_fsync(const struct os_ops *os, int fd)
{
	(void)os, (void)fd;
	return 0;
}

const struct os_ops *quiet_os(void)
{
	static struct os_ops ops; /* filled in by the one thread that runs tests */
	ops = *os_posix();
	ops.fsync = no_fsync;
	return &ops;
}

void world_init(struct world *w, const char *name)
{
	*w = (struct world){.os = quiet_os(), .jobs = 4, .tool = "1.0"};
	pthread_mutex_init(&w->mutex, NULL);
	snprintf(w->dir, sizeof(w->dir), "%s/%s", test_tmpdir(), name);
	make_directories(w->dir, NULL);
}

static void forget_runs(struct world *w)
{
	for (size_t i = 0; i < w->nran; i++)
		free(w->ran[i]);
	free(w->ran);
	w->ran = NULL;
	w->nran = 0;
}

void world_release(struct world *w)
{
	forget_runs(w);
	pthread_mutex_destroy(&w->mutex);
}

const char *world_path(struct world *w, const char *file)
{
	static char path[3][1024];
	static int next;
	next = (next + 1) % 3;
	snprintf(path[next], sizeof(path[next]), "%s/%s", w->dir, file);
	return path[next];
}

void world_write(struct world *w, const char *file, const char *text)
{
	struct err e;
	if (!file_write(world_path(w, file), (struct buf){text, strlen(text)}, 0644, &e))
		FAIL("%s", e.msg);
}

static void on_event(void *ctx, const struct build_event *ev)
{
	struct world *w = ctx;
	if (w->on_event)
		w->on_event(w->on_event_ctx, ev);
}

bool world_open(struct world *w)
{
	static const struct pool_limit narrow = {"narrow", 2};
	forget_runs(w);
	w->build = NULL;
	w->stat = NULL;
	w->err = (struct err){0};
	w->most_active = w->nactive = w->nheavy_beside = w->nslow = w->most_slow = 0;
	w->ok = store_open(&w->store, w->os, world_path(w, "store"), STORE_WRITE, &w->err);
	if (!w->ok) {
		w->store = NULL;
		return false;
	}
	w->stat = statcache_new(w->os, world_path(w, "store/stat"), 0);
	char journal[1024];
	snprintf(journal, sizeof(journal), "%s/journal", w->dir);
	struct build_options o = {.store = w->store,
		.stat = w->stat,
		.jobs = w->jobs,
		.flags = w->flags,
		.pool = &narrow,
		.npool = 1,
		.journal = journal,
		.stop = w->stop,
		.env = w,
		.event = on_event,
		.event_ctx = w};
	w->ok = build_new(&w->build, &o, &w->err);
	if (!w->ok)
		world_close(w);
	return w->ok;
}

void world_run(struct world *w)
{
	w->ok = build_run(w->build, &w->result, &w->err);
}

void world_close(struct world *w)
{
	build_free(w->build);
	if (w->stat)
		statcache_save(w->stat, NULL);
	statcache_free(w->stat);
	store_free(w->store);
	w->build = NULL;
	w->stat = NULL;
	w->store = NULL;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *world_ran(struct world *w)
{
	static char text[4096];
	size_t n = 0;
	if (w->nran)
		qsort(w->ran, w->nran, sizeof(*w->ran), by_text);
	text[0] = '\0';
	for (size_t i = 0; i < w->nran && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", w->ran[i]);
	return text;
}

struct action *world_add(struct world *w, const char *name, const struct rule *rule,
	const char *param, const struct input *input, size_t ninput)
{
	struct field field[2] = {{"p", param}, {"name", name}};
	struct action_def def = {.name = name,
		.rule = rule,
		.param = {param ? field : field + 1, param ? 2 : 1},
		.input = input,
		.ninput = ninput};
	return build_action(w->build, &def);
}

struct action *world_action(struct world *w, const char *name, const struct rule *rule,
	const char *param, const char *inputs)
{
	struct input input[16];
	size_t n = 0;
	char copy[512], path[16][1024], *save;
	snprintf(copy, sizeof(copy), "%s", inputs);
	for (char *s = strtok_r(copy, " ", &save); s; s = strtok_r(NULL, " ", &save), n++) {
		if (*s == '@') {
			snprintf(path[n], sizeof(path[n]), "%s/%s", w->dir, s + 1);
			input[n] = input_file("file", path[n]);
			continue;
		}
		char *colon = strchr(s, ':');
		if (colon)
			*colon = '\0';
		struct action *from = build_find(w->build, s);
		if (!from)
			BUG("the test has no action '%s'", s);
		input[n] = input_output("in", from, colon ? (size_t)atoi(colon + 1) : 0);
	}
	return world_add(w, name, rule, param, input, n);
}

const char *world_text(struct world *w, struct action *a, size_t output)
{
	static char text[4096];
	struct arena arena = {0};
	struct buf b;
	struct err e;
	text[0] = '\0';
	if (build_read(w->build, a, output, &arena, &b, &e))
		snprintf(text, sizeof(text), "%.*s", (int)b.n, (const char *)b.p);
	arena_release(&arena);
	return text;
}

bool world_log(struct world *w, const char *action, enum report_form form, struct strbuf *out, struct err *e)
{
	return journal_log(&(struct log_request){NULL, world_path(w, "journal"), action, form}, out, e);
}

static size_t count_below(const char *path, const char *but)
{
	char **name;
	size_t nname, n = 0;
	if (!os_list(os_posix(), path, &name, &nname, NULL))
		return 0;
	for (size_t i = 0; i < nname; i++)
		n += !but || strcmp(name[i], but) != 0;
	os_list_free(name, nname);
	return n;
}

size_t world_leftovers(struct world *w)
{
	return count_below(world_path(w, "store/tmp"), NULL) +
		count_below(world_path(w, "store/locks"), "gc");
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

void remove_tree(const char *path)
{
	nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
}
