/* What would run, and what it would take. */
#include "build_internal.h"

#include <inttypes.h>
#include <string.h>

struct row {
	const struct action *action;
	double seconds;        /* 0: not known */
	uint64_t memory_bytes; /* 0: not known */
	uint64_t device_bytes; /* 0: none, or not known */
	uint64_t bytes;        /* of its outputs, the last time */
	const char *warning;   /* NULL: none */
};

struct planned {
	double seconds, then_seconds;
	uint64_t memory_bytes, device_bytes, bytes;
	size_t nrun, nunknown, nguess;
	const char **warning;
	size_t nwarning;
};

/* Seconds by the rule's estimate, else what it took before, else what its rule takes on average. */
static struct row row_of(struct build *b, struct arena *a, struct action *of, struct digest_map *made)
{
	struct estimate e = estimate_of(b, of);
	estimate_make(made, &e);
	struct row r = {.action = of, .memory_bytes = e.memory_bytes, .device_bytes = e.device_bytes,
		.seconds = estimate_seconds(b, of, &e)};
	const struct journal_entry *old = b->journal ? journal_find(b->journal, of->name, JOURNAL_NEWEST, a) : NULL;
	int64_t ns = old ? old->wall_ns : 0;
	r.bytes = old ? old->bytes : 0;
	if (!ns && b->journal)
		ns = journal_rule_ns(b->journal, of->rule->name);
	if (!r.seconds)
		r.seconds = (double)ns / 1e9;
	strbuf_clear(&b->scratch);
	strbuf_addf(&b->scratch, "%s ", of->name);
	if (estimate_too_large(b, &e, &b->scratch))
		r.warning = arena_strdup(&b->arena, b->scratch.s);
	return r;
}

static void add_up(struct build *b, struct planned *sum, const struct row *r)
{
	bool would = r->action->state == STATE_WOULD;
	sum->seconds += r->seconds;
	sum->bytes += r->bytes;
	if (r->memory_bytes > sum->memory_bytes)
		sum->memory_bytes = r->memory_bytes;
	if (r->device_bytes > sum->device_bytes)
		sum->device_bytes = r->device_bytes;
	sum->nrun += would;
	sum->nunknown += !would;
	sum->nguess += r->seconds == 0;
	if (r->warning)
		*arena_push(&b->arena, sum->warning, sum->nwarning) = r->warning;
}

/* A number, or null where it is 0. */
static void add_member(struct strbuf *out, const char *name, const char *format, double value)
{
	strbuf_addf(out, ",\"%s\":", name);
	if (value > 0)
		strbuf_addf(out, format, value);
	else
		strbuf_adds(out, "null");
}

/* Where a GPU is used. */
static void add_device_member(struct strbuf *out, uint64_t bytes)
{
	if (bytes)
		strbuf_addf(out, ",\"device_bytes\":%" PRIu64, bytes);
}

static void add_row(const struct row *r, enum report_form form, struct strbuf *out)
{
	bool would = r->action->state == STATE_WOULD;
	const char *why = would ? r->action->reason
				: "an input would be made anew; unchanged bytes would stop here";
	if (form == REPORT_JSON) {
		report_begin_row(out, r->action, would ? "run" : "maybe");
		add_member(out, "seconds", "%.3f", r->seconds);
		add_member(out, "memory_bytes", "%.0f", (double)r->memory_bytes);
		add_device_member(out, r->device_bytes);
		strbuf_addf(out, ",\"bytes\":%" PRIu64, r->bytes);
		report_end_row(out, why);
		return;
	}
	strbuf_addf(out, "%-5s  ", would ? "run" : "maybe");
	if (r->seconds > 0)
		strbuf_addf(out, "%9.3f s  ", r->seconds);
	else
		strbuf_adds(out, "        ? s  ");
	if (r->memory_bytes)
		strbuf_addf(out, "%6.0f MB  ", (double)r->memory_bytes / 1e6);
	else
		strbuf_adds(out, "           ");
	if (r->device_bytes)
		strbuf_addf(out, "+ %.0f MB of the GPU's  ", (double)r->device_bytes / 1e6);
	strbuf_addf(out, "%s  [%s]  %s\n", r->action->name, r->action->rule->name, why);
}

/* What no one can name before something else has run. */
static void add_rest(struct build *b, struct planned *sum, enum report_form form, struct strbuf *out)
{
	if (form == REPORT_JSON)
		strbuf_adds(out, "],\"then\":[");
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->kind != ACTION_GENERATE || a->state != STATE_UNKNOWN)
			continue;
		double seconds = estimate_foreseen(b, a);
		sum->then_seconds += seconds;
		if (form == REPORT_JSON) {
			report_add_item(out, a->name);
			continue;
		}
		strbuf_addf(out, "then   what follows from %s", a->name);
		if (seconds > 0) {
			strbuf_adds(out, ", about ");
			add_duration(out, seconds);
		}
		strbuf_addc(out, '\n');
	}
}

static void add_sum_json(struct build *b, const struct planned *sum, struct strbuf *out)
{
	strbuf_addf(out, "],\"run\":%zu,\"perhaps\":%zu,\"cached\":%zu,\"seconds\":%.1f,\"bytes\":%" PRIu64, sum->nrun,
		sum->nunknown, b->result.ncached, sum->seconds, sum->bytes);
	add_member(out, "then_seconds", "%.1f", sum->then_seconds);
	add_member(out, "memory_bytes", "%.0f", (double)sum->memory_bytes);
	add_device_member(out, sum->device_bytes);
	add_member(out, "available_bytes", "%.0f", (double)memory_available());
	strbuf_adds(out, ",\"warnings\":[");
	for (size_t i = 0; i < sum->nwarning; i++)
		report_add_item(out, sum->warning[i]);
	strbuf_addc(out, ']');
}

static void add_sum(struct build *b, const struct planned *sum, struct strbuf *out)
{
	strbuf_addf(out, "%zu to run, %zu perhaps, %zu cached; about %.1f s in all", sum->nrun, sum->nunknown,
		b->result.ncached, sum->seconds);
	if (sum->then_seconds > 0) {
		strbuf_adds(out, " and ");
		add_duration(out, sum->then_seconds);
		strbuf_adds(out, " of what follows");
	}
	if (sum->nguess)
		strbuf_addf(out, " without %zu never run before", sum->nguess);
	strbuf_addf(out, ", %.1f MB of outputs", (double)sum->bytes / 1e6);
	if (sum->memory_bytes) {
		strbuf_adds(out, ", up to ");
		add_bytes(out, sum->memory_bytes);
		strbuf_adds(out, " of memory");
	}
	add_device_bytes(out, sum->device_bytes);
	strbuf_addc(out, '\n');
	for (size_t i = 0; i < sum->nwarning; i++)
		strbuf_addf(out, "warning: %s\n", sum->warning[i]);
}

void build_plan(struct build *b, enum report_form form, struct strbuf *out)
{
	struct planned sum = {0};
	struct arena arena = {0};
	struct digest_map made = {0};
	if (form == REPORT_JSON)
		strbuf_adds(out, "\"actions\":[");
	for (size_t i = 0; i < b->naction; i++) {
		struct action *a = b->action[i];
		if (a->kind != ACTION_RULE || (a->state != STATE_WOULD && a->state != STATE_UNKNOWN))
			continue;
		struct row r = row_of(b, &arena, a, &made);
		add_up(b, &sum, &r);
		add_row(&r, form, out);
	}
	arena_release(&arena);
	digest_map_release(&made);
	add_rest(b, &sum, form, out);
	(form == REPORT_JSON ? add_sum_json : add_sum)(b, &sum, out);
}
