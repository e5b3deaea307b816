#include "build_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NFIXED = 11, CHECK_BYTES = 8 }; /* fields of an action line before its key material */

struct line {
	const char *p; /* behind the check, not terminated */
	size_t n;
};

struct rule_cost {
	const char *rule;
	size_t rule_bytes;
	int64_t sum_ns, nrun;
};

/* Of one kind of work: what its runs did, a run counting half of what the next one does. */
struct rule_rate {
	struct digest of; /* rule and kind */
	double work, seconds;
};

struct journal {
	const struct os_ops *os;
	char *path;
	struct map map;
	struct arena arena;
	struct line *line;
	size_t nline;
	struct digest_map loaded, newest; /* name -> place in line[] */
	struct rule_cost *cost;
	size_t ncost;
	struct rule_rate *rate;
	size_t nrate;
	long build;
	int fd;
	bool torn_tail, began, broken;
};

static uint32_t check_of(const char *p, size_t n)
{
	return (uint32_t)digest_of(p, n).lo;
}

/* The fields of a line, still escaped; returns how many (at most max). */
static size_t split(struct line l, struct line *out, size_t max)
{
	size_t n = 0;
	const char *p = l.p, *end = l.p + l.n;
	while (n < max) {
		const char *tab = memchr(p, '\t', (size_t)(end - p));
		out[n++] = (struct line){p, (size_t)((tab ? tab : end) - p)};
		if (!tab)
			break;
		p = tab + 1;
	}
	return n;
}

static char *unescape(struct arena *a, struct line l)
{
	char *s = arena_alloc(a, l.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < l.n; i++) {
		char c = l.p[i];
		if (c == '\\' && i + 1 < l.n) {
			c = l.p[++i];
			c = c == 't' ? '\t' : c == 'n' ? '\n' : c;
		}
		s[n++] = c;
	}
	s[n] = '\0';
	return s;
}

static bool is(struct line l, const char *word)
{
	return l.n == strlen(word) && memcmp(l.p, word, l.n) == 0;
}

/* Fields are never the last bytes of the map: a newline follows. */
static int64_t number(struct line l)
{
	return strtoll(l.p, NULL, 10);
}

static void add_cost(struct journal *j, struct line rule, int64_t wall_ns)
{
	struct rule_cost *c = NULL;
	for (size_t i = 0; i < j->ncost && !c; i++)
		if (j->cost[i].rule_bytes == rule.n && memcmp(j->cost[i].rule, rule.p, rule.n) == 0)
			c = &j->cost[i];
	if (!c) {
		c = arena_push(&j->arena, j->cost, j->ncost);
		*c = (struct rule_cost){rule.p, rule.n, 0, 0};
	}
	c->sum_ns += wall_ns;
	c->nrun++;
}

static struct digest rate_of(struct line rule, struct line kind)
{
	struct hasher *h = hasher_new();
	hasher_add_field(h, rule.p, rule.n);
	hasher_add_field(h, kind.p, kind.n);
	return hasher_end(h);
}

static struct rule_rate *find_rate(const struct journal *j, struct digest of)
{
	for (size_t i = 0; i < j->nrate; i++)
		if (digest_equal(j->rate[i].of, of))
			return &j->rate[i];
	return NULL;
}

/* The value of "m=NAME=VALUE" among the fields behind the fixed ones; of nothing else. */
static struct line measured(struct line rest, const char *name)
{
	struct line f[2];
	size_t n = strlen(name), more = 2;
	for (; more == 2 && rest.n > 2 && !memcmp(rest.p, "m=", 2); rest = f[1]) {
		more = split(rest, f, 2);
		f[1].n = more == 2 ? (size_t)(rest.p + rest.n - f[1].p) : 0;
		if (f[0].n > n + 3 && !memcmp(f[0].p + 2, name, n) && f[0].p[2 + n] == '=')
			return (struct line){f[0].p + n + 3, f[0].n - n - 3};
	}
	return (struct line){"", 0};
}

static double real(struct line l)
{
	return l.n ? strtod(l.p, NULL) : 0;
}

/* What is not work is taken off, but never more than nearly all. */
static void add_rate(struct journal *j, struct line rule, double wall_s, struct line rest)
{
	double work = real(measured(rest, "work")), seconds = estimate_rest(wall_s, real(measured(rest, "fixed")));
	struct digest of = rate_of(rule, measured(rest, "kind"));
	struct rule_rate *r = find_rate(j, of);
	if (work <= 0 || wall_s <= 0)
		return;
	if (!r) {
		r = arena_push(&j->arena, j->rate, j->nrate);
		*r = (struct rule_rate){.of = of};
	}
	r->work = r->work / 2 + work;
	r->seconds = r->seconds / 2 + seconds;
}

/* Names are compared in their escaped form. */
static void take_line(struct journal *j, struct line l, struct digest_map *map)
{
	struct line f[NFIXED + 1];
	size_t n = split(l, f, NFIXED + 1);
	if (n >= 2 && number(f[1]) > j->build && map == &j->loaded)
		j->build = (long)number(f[1]);
	*arena_push(&j->arena, j->line, j->nline) = l;
	if (n < NFIXED || !is(f[0], "action"))
		return;
	*digest_map_put(map, digest_of(f[4].p, f[4].n)) = j->nline - 1;
	if (!is(f[3], "run"))
		return;
	add_cost(j, f[5], number(f[8]));
	if (n > NFIXED) {
		f[NFIXED].n = (size_t)(l.p + l.n - f[NFIXED].p);
		add_rate(j, f[5], (double)number(f[8]) / 1e9, f[NFIXED]);
	}
}

static void load(struct journal *j)
{
	const char *p = (const char *)j->map.p, *end = p + j->map.n, *newline;
	for (; p < end && (newline = memchr(p, '\n', (size_t)(end - p))); p = newline + 1) {
		char hex[CHECK_BYTES + 1] = "";
		struct line l = {p + CHECK_BYTES + 1, (size_t)(newline - p) - CHECK_BYTES - 1};
		if (newline - p <= CHECK_BYTES + 1 || p[CHECK_BYTES] != '\t')
			continue;
		memcpy(hex, p, CHECK_BYTES);
		if (strtoul(hex, NULL, 16) == check_of(l.p, l.n))
			take_line(j, l, &j->loaded);
	}
	j->torn_tail = p < end;
}

bool journal_open(const struct os_ops *os, const char *path, struct journal **out, struct err *e)
{
	struct journal *j = xcalloc(1, sizeof(*j));
	j->os = os ? os : os_posix();
	j->path = xstrdup(path);
	j->fd = -1;
	if (!os_map(j->os, path, &j->map, e) && errno != ENOENT) {
		journal_free(j);
		return false;
	}
	if (j->map.p)
		load(j);
	j->build++;
	*out = j;
	return true;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		j->os->close(j->os, j->fd);
	os_unmap(j->os, &j->map);
	digest_map_release(&j->loaded);
	digest_map_release(&j->newest);
	arena_release(&j->arena);
	free(j->path);
	free(j);
}

int64_t journal_rule_ns(const struct journal *j, const char *rule)
{
	for (size_t i = 0; i < j->ncost; i++)
		if (strlen(rule) == j->cost[i].rule_bytes &&
			memcmp(rule, j->cost[i].rule, j->cost[i].rule_bytes) == 0)
			return j->cost[i].sum_ns / j->cost[i].nrun;
	return 0;
}

double journal_rate(const struct journal *j, const char *rule, const char *kind)
{
	const struct rule_rate *r = find_rate(j,
		rate_of((struct line){rule, strlen(rule)}, (struct line){kind, strlen(kind)}));
	return r ? r->work / r->seconds : 0;
}

static void add_escaped(struct strbuf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\t' || *s == '\n' || *s == '\\') {
			strbuf_addc(b, '\\');
			strbuf_addc(b, *s == '\t' ? 't' : *s == '\n' ? 'n' : '\\');
		} else {
			strbuf_addc(b, *s);
		}
	}
}

static void parse_material(struct arena *a, struct line l, struct journal_entry *out)
{
	struct line f[2];
	for (size_t more = 2; more == 2; l = f[1]) {
		more = split(l, f, 2);
		if (more == 2) /* the rest is one field to split */
			f[1].n = (size_t)(l.p + l.n - f[1].p);
		char *text = unescape(a, f[0]), *name = text + 2, *value;
		if (f[0].n < 3 || text[1] != '=' || !(value = strchr(name, '=')))
			continue;
		*value++ = '\0';
		if (text[0] == 'm') {
			fields_add(a, &out->measured, name, value);
		} else if (text[0] == 'p') {
			fields_add(a, &out->param, name, value);
		} else if (text[0] == 't') {
			fields_add(a, &out->tool, name, value);
		} else if (text[0] == 'i') {
			char *where = strchr(value, '=');
			if (where)
				*where++ = '\0';
			fields_add(a, &out->input, name, value);
			fields_add(a, &out->where, name, where ? where : "");
		}
	}
}

static const struct journal_entry *parse(struct arena *a, struct line l)
{
	struct line f[NFIXED + 1];
	size_t n = split(l, f, NFIXED + 1);
	if (n < NFIXED)
		return NULL;
	struct journal_entry *out = arena_new(a, struct journal_entry);
	out->build = (long)number(f[1]);
	out->time_ns = number(f[2]);
	out->how = unescape(a, f[3]);
	out->name = unescape(a, f[4]);
	out->rule = unescape(a, f[5]);
	out->version = (int)number(f[6]);
	out->key = unescape(a, f[7]);
	out->wall_ns = number(f[8]);
	out->bytes = (uint64_t)number(f[9]);
	out->reason = unescape(a, f[10]);
	if (n > NFIXED) {
		f[NFIXED].n = (size_t)(l.p + l.n - f[NFIXED].p);
		parse_material(a, f[NFIXED], out);
	}
	return out;
}

static const struct line *find_line(const struct journal *j, const char *action,
	enum journal_when when)
{
	struct strbuf name;
	strbuf_init(&name);
	add_escaped(&name, action);
	struct digest d = digest_of(name.s, name.n);
	strbuf_release(&name);
	uint64_t *place = when == JOURNAL_NEWEST ? digest_map_get(&j->newest, d) : NULL;
	if (!place)
		place = digest_map_get(&j->loaded, d);
	return place ? &j->line[*place] : NULL;
}

const struct journal_entry *journal_find(struct journal *j, const char *action,
	enum journal_when when, struct arena *a)
{
	const struct line *l = find_line(j, action, when);
	return l ? parse(a, *l) : NULL;
}

/* ---- writing ---- */

static bool open_for_writing(struct journal *j, struct err *e)
{
	char *folder = xstrdup(j->path), *slash = strrchr(folder, '/');
	bool ok = true;
	if (slash && slash != folder) {
		*slash = '\0';
		ok = os_mkdirs(j->os, folder, e);
	}
	free(folder);
	if (ok)
		j->fd = j->os->open(j->os, j->path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (ok && j->fd < 0)
		ok = err_errno(e, "unable to open '%s'", j->path);
	return ok;
}

/* One write per line, so that lines of two processes do not mix. The line is remembered. */
static bool append(struct journal *j, const struct strbuf *body, struct err *e)
{
	struct strbuf b;
	if (j->broken)
		return true; /* said once */
	strbuf_init(&b);
	if (j->torn_tail)
		strbuf_addc(&b, '\n');
	strbuf_addf(&b, "%08" PRIx32 "\t", check_of(body->s, body->n));
	size_t at = b.n;
	strbuf_add(&b, body->s, body->n);
	strbuf_addc(&b, '\n');
	char *copy = arena_copy(&j->arena, b.s, b.n);
	take_line(j, (struct line){copy + at, body->n}, &j->newest);
	bool ok = (j->fd >= 0 || open_for_writing(j, e)) &&
		os_write_all(j->os, j->fd, b.s, b.n, j->path, e);
	j->torn_tail = false;
	j->broken = !ok;
	strbuf_release(&b);
	return ok;
}

bool journal_begin(struct journal *j, struct err *e)
{
	struct strbuf b;
	if (j->began)
		return true;
	j->began = true;
	strbuf_init(&b);
	strbuf_addf(&b, "begin\t%ld\t%" PRId64, j->build, j->os->now_ns(j->os));
	bool ok = append(j, &b, e);
	strbuf_release(&b);
	return ok;
}

static void add_field(struct strbuf *b, const char *s)
{
	strbuf_addc(b, '\t');
	add_escaped(b, s);
}

static void add_fields(struct strbuf *b, const char *as, const struct fields *f)
{
	for (size_t i = 0; i < f->nfield; i++) {
		add_field(b, as);
		add_escaped(b, f->field[i].name);
		strbuf_addc(b, '=');
		add_escaped(b, f->field[i].value);
	}
}

static void add_number(struct strbuf *b, const char *name, double value)
{
	if (value > 0)
		strbuf_addf(b, "\tm=%s=%.9g", name, value);
}

/* What was measured of a run, and what was expected. */
static void add_measured(struct strbuf *b, const struct action *a)
{
	const struct estimate *e = &a->estimate;
	add_number(b, "peak", (double)a->peak_bytes);
	add_number(b, "memory", (double)e->memory_bytes);
	add_number(b, "seconds", a->expected_s);
	add_number(b, "work", e->work);
	add_number(b, "fixed", e->fixed_seconds);
	if (e->work > 0 && e->kind) {
		strbuf_adds(b, "\tm=kind=");
		add_escaped(b, e->kind);
	}
}

static void add_material(struct strbuf *b, struct build *build, const struct action *a)
{
	struct strbuf where;
	char hex[DIGEST_HEX];
	strbuf_init(&where);
	add_fields(b, "p=", &a->param);
	add_fields(b, "t=", &a->tool);
	for (size_t i = 0; i < a->ninput; i++) {
		digest_hex(a->input[i].digest, hex);
		add_field(b, "i=");
		add_escaped(b, a->input[i].name);
		strbuf_addf(b, "=%s=", hex);
		add_escaped(b, edge_source_text(build, &a->input[i], &where));
	}
	strbuf_release(&where);
}

bool journal_action(struct journal *j, struct build *b, const struct action *a, const char *how,
	struct err *e)
{
	char hex[DIGEST_HEX] = "-";
	struct strbuf body;
	uint64_t bytes = 0;
	if (a->has_key)
		digest_hex(a->key, hex);
	if (strcmp(how, "hit") == 0) {
		struct line f[NFIXED];
		const struct line *l = find_line(j, a->name, JOURNAL_NEWEST);
		if (l && split(*l, f, NFIXED) == NFIXED && is(f[7], hex) && !is(f[3], "failed") &&
			!is(f[3], "interrupted"))
			return true;
	}
	if (!journal_begin(j, e))
		return false;
	for (size_t i = 0; i < a->noutput; i++)
		bytes += a->output[i].bytes;
	strbuf_init(&body);
	strbuf_addf(&body, "action\t%ld\t%" PRId64 "\t%s", j->build, j->os->now_ns(j->os), how);
	add_field(&body, a->name);
	add_field(&body, a->rule->name);
	strbuf_addf(
		&body, "\t%d\t%s\t%" PRId64 "\t%" PRIu64, a->rule->version, hex, a->wall_ns, bytes);
	add_field(&body, a->failure ? a->failure : a->reason ? a->reason : "");
	if (strcmp(how, "run") == 0 || strncmp(how, "resumed", 7) == 0)
		add_measured(&body, a);
	if (a->has_key)
		add_material(&body, b, a);
	bool ok = append(j, &body, e);
	strbuf_release(&body);
	return ok;
}

bool journal_end(struct journal *j, const struct build_result *r, struct err *e)
{
	struct strbuf b;
	if (!journal_begin(j, e))
		return false;
	strbuf_init(&b);
	strbuf_addf(&b, "end\t%ld\t%" PRId64 "\t%zu\t%zu\t%zu\t%zu", j->build, j->os->now_ns(j->os),
		r->nrun, r->ncached, r->nfailed, r->nskipped);
	bool ok = append(j, &b, e);
	strbuf_release(&b);
	return ok;
}

/* ---- for people ---- */

static void add_time(struct strbuf *out, int64_t ns)
{
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm;
	char text[32];
	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%SZ", &tm);
	strbuf_adds(out, text);
}

/* Others are answered at once, or their time is not known. */
static bool took_time(const struct journal_entry *en)
{
	return strcmp(en->how, "run") == 0 || strncmp(en->how, "resumed", 7) == 0;
}

static double measured_of(const struct journal_entry *en, const char *name)
{
	const char *value = fields_get(&en->measured, name);
	return value ? strtod(value, NULL) : 0;
}

/* "(11.2 s expected)  512 MB at its peak (498 MB expected)" */
static void log_measured(struct strbuf *out, const struct journal_entry *en)
{
	double seconds = measured_of(en, "seconds"), peak = measured_of(en, "peak"), memory = measured_of(en, "memory");
	if (seconds > 0)
		strbuf_addf(out, " (%.3f s expected)", seconds);
	if (peak <= 0)
		return;
	strbuf_adds(out, "  ");
	add_bytes(out, (uint64_t)peak);
	strbuf_adds(out, " at its peak");
	if (memory <= 0)
		return;
	strbuf_adds(out, " (");
	add_bytes(out, (uint64_t)memory);
	strbuf_adds(out, " expected)");
}

static void log_entry(struct strbuf *out, const struct journal_entry *en)
{
	strbuf_addf(out, "build %ld  ", en->build);
	add_time(out, en->time_ns);
	strbuf_addf(out, "  %s  %s", en->how, en->name);
	if (took_time(en))
		strbuf_addf(out, "  %.3f s", (double)en->wall_ns / 1e9);
	log_measured(out, en);
	if (*en->reason)
		strbuf_addf(out, "  %s", en->reason);
	strbuf_addc(out, '\n');
}

static void log_end(struct strbuf *out, const struct line *f)
{
	strbuf_addf(out, "build %lld  ", (long long)number(f[1]));
	add_time(out, number(f[2]));
	strbuf_addf(out, "  %lld run, %lld cached, %lld failed, %lld skipped\n",
		(long long)number(f[3]), (long long)number(f[4]), (long long)number(f[5]),
		(long long)number(f[6]));
}

static void begin_json(struct strbuf *out, long long build, int64_t time_ns)
{
	strbuf_addf(out, "%s\n{\"build\":%lld,\"time\":\"", out->s[out->n - 1] == '[' ? "" : ",", build);
	size_t at = out->n;
	add_time(out, time_ns);
	*strchr(out->s + at, ' ') = 'T'; /* ISO 8601 */
	strbuf_addc(out, '"');
}

static void log_entry_json(struct strbuf *out, const struct journal_entry *en)
{
	const char *const member[][2] = {{"how", en->how}, {"action", en->name}, {"rule", en->rule},
		{"why", en->reason}};
	begin_json(out, en->build, en->time_ns);
	for (size_t i = 0; i < NELEM(member); i++) {
		strbuf_addf(out, ",\"%s\":", member[i][0]);
		strbuf_add_json(out, member[i][1], strlen(member[i][1]));
	}
	static const char *const number_name[][2] = {{"seconds", "expected_seconds"}, {"peak", "peak_bytes"},
		{"memory", "expected_bytes"}};
	if (took_time(en))
		strbuf_addf(out, ",\"seconds\":%.3f", (double)en->wall_ns / 1e9);
	for (size_t i = 0; i < NELEM(number_name); i++)
		if (measured_of(en, number_name[i][0]) > 0)
			strbuf_addf(out, ",\"%s\":%.10g", number_name[i][1], measured_of(en, number_name[i][0]));
	strbuf_addc(out, '}');
}

static void log_end_json(struct strbuf *out, const struct line *f)
{
	static const char *const name[] = {"run", "cached", "failed", "skipped"};
	begin_json(out, (long long)number(f[1]), number(f[2]));
	for (size_t i = 0; i < NELEM(name); i++)
		strbuf_addf(out, ",\"%s\":%lld", name[i], (long long)number(f[3 + i]));
	strbuf_addc(out, '}');
}

/* What is written of one line of the journal, if anything. */
static void log_line(const struct log_request *r, struct arena *a, struct line l, struct strbuf *out)
{
	struct line f[7];
	size_t n = split(l, f, 7);
	if (is(f[0], "end") && n == 7 && !r->action) {
		(r->form == REPORT_JSON ? log_end_json : log_end)(out, f);
	} else if (is(f[0], "action") && (!r->action || !is(f[3], "hit"))) {
		const struct journal_entry *en = parse(a, l);
		if (en && (!r->action || strcmp(en->name, r->action) == 0))
			(r->form == REPORT_JSON ? log_entry_json : log_entry)(out, en);
	}
}

static bool known_action(struct journal *j, struct arena *a, const char *action, struct err *e)
{
	const char **name = NULL;
	size_t nname = 0;
	if (!action || find_line(j, action, JOURNAL_NEWEST))
		return true;
	for (size_t i = 0; i < j->nline; i++) {
		struct line f[6];
		if (split(j->line[i], f, 6) == 6 && is(f[0], "action"))
			*arena_push(a, name, nname) = unescape(a, f[4]);
	}
	const char *near = nearest_name(action, name, nname);
	return err_set(e, ERR_SPEC, "no past build has an action '%s'%s%s%s", action,
		near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

bool journal_log(const struct log_request *r, struct strbuf *out, struct err *e)
{
	struct journal *j;
	struct arena a = {0};
	if (!journal_open(r->os, r->journal, &j, e))
		return false;
	bool ok = known_action(j, &a, r->action, e);
	if (r->form == REPORT_JSON)
		strbuf_adds(out, "\"log\":[");
	for (size_t i = 0; ok && i < j->nline; i++)
		log_line(r, &a, j->line[i], out);
	if (r->form == REPORT_JSON)
		strbuf_addc(out, ']');
	arena_release(&a);
	journal_free(j);
	return ok;
}

bool journal_default_path(struct strbuf *out, const char *spec_path, struct err *e)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char full[PATH_MAX], hex[DIGEST_HEX];
	const char *slash = strrchr(spec_path, '/'), *base = slash ? slash + 1 : spec_path;
	if (!(state && *state) && !(home && *home))
		return err_set(e, ERR_TOOL, "no place for the journal: set XDG_STATE_HOME or HOME");
	if (!realpath(spec_path, full))
		return err_errno(e, "unable to open '%s'", spec_path);
	digest_hex(digest_of(full, strlen(full)), hex);
	if (state && *state)
		strbuf_addf(out, "%s/trim/", state);
	else
		strbuf_addf(out, "%s/.local/state/trim/", home);
	strbuf_addf(out, "%s-%.16s.journal", base, hex);
	return true;
}
