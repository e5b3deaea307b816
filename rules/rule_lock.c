/* What the lock says of one target (lock.h), as the target's binary carries it: nothing of other targets and
 * other schedules is an input. */
#include <string.h>

#include "lock.h"
#include "rules.h"
#include "scores.h"

static void add_text(struct strbuf *out, const char *s)
{
	strbuf_add_json(out, s, strlen(s));
}

static void add_inputs(struct strbuf *out, const struct rule_call *c)
{
	const char *comma = "";
	strbuf_adds(out, "\"inputs\":{");
	for (size_t i = 0; i < call_ninput(c); i++) {
		const char *name = call_input_name(c, i);
		if (strncmp(name, LOCK_FILE, strlen(LOCK_FILE)))
			continue;
		strbuf_adds(out, comma);
		add_text(out, name + strlen(LOCK_FILE));
		strbuf_addc(out, ':');
		lock_add_digest(out, call_input_digest(c, i));
		comma = ",";
	}
	strbuf_addc(out, '}');
}

/* The scores that a round went by: its own, or those of the newest round before that scored. */
static bool round_scores(struct rule_call *c, int round, int *scored, struct scores *out, struct err *e)
{
	struct buf text;
	for (*scored = round; call_find(c, lock_scores(call_arena(c), *scored)) < 0; --*scored)
		if (*scored == 1)
			BUG("round %d has no scores", round);
	return call_input_named(c, lock_scores(call_arena(c), *scored), &text, e) &&
		scores_read(call_arena(c), text, out, e);
}

/* What left, and what it had been given for it by the scores. */
static bool add_round(struct strbuf *out, struct rule_call *c, int round, struct err *e)
{
	struct scores scores;
	struct unit *unit;
	struct buf text;
	char name[32];
	size_t n;
	int scored;
	if (!round_scores(c, round, &scored, &scores, e) ||
		!call_input_named(c, lock_units(call_arena(c), round), &text, e) ||
		!units_read(call_arena(c), text, &unit, &n, e))
		return false;
	strbuf_addf(out, "%s{\"schedule\":\"%s\",\"round\":%d,\"method\":\"%s\"", round > 1 ? "," : "",
		call_param(c, "schedule"), round, scores.method);
	if (scored != round)
		strbuf_addf(out, ",\"scored\":%d", scored);
	strbuf_adds(out, ",\"dropped\":[");
	for (size_t i = 0; i < n; i++) {
		unit_name(unit[i], name);
		strbuf_addf(out, "%s{\"unit\":\"%s\"", i ? "," : "", name);
		for (size_t k = 0; k < scores.nunit; k++)
			if (unit_left_as(scores.unit[k].name, unit, n, i)) {
				scores_write_values(out, &scores, scores.unit[k].value);
				break;
			}
		strbuf_addc(out, '}');
	}
	strbuf_adds(out, "]}");
	return true;
}

/* An input that is JSON, as it is. */
static bool add_json_input(struct strbuf *out, struct rule_call *c, size_t input, struct err *e)
{
	struct buf text;
	if (!call_input(c, input, &text, e))
		return false;
	strbuf_add(out, text.p, text.n);
	return true;
}

/* An input of JSON, and the member that it becomes. */
struct told {
	const char *input, *member;
};

/* "MEMBER": what the input of that name says; of inputs "INPUT/DATASET" an object of them. A comma goes before it,
 * unless it is an object's first. */
static bool add_metrics(struct strbuf *out, struct rule_call *c, struct told t, struct err *e)
{
	int input = call_find(c, t.input);
	size_t n = strlen(t.input);
	bool any = false;
	const char *first = out->s[out->n - 1] == '{' ? "" : ",";
	if (input >= 0) {
		strbuf_addf(out, "%s\"%s\":", first, t.member);
		return add_json_input(out, c, (size_t)input, e);
	}
	for (size_t i = 0; i < call_ninput(c); i++) {
		const char *set = call_input_name(c, i);
		if (strncmp(set, t.input, n) || set[n] != '/')
			continue;
		if (any)
			strbuf_addc(out, ',');
		else
			strbuf_addf(out, "%s\"%s\":{", first, t.member);
		any = true;
		add_text(out, set + n + 1);
		strbuf_addc(out, ':');
		if (!add_json_input(out, c, i, e))
			return false;
	}
	strbuf_adds(out, any ? "}" : "");
	return true;
}

/* What a target chose among. */
static bool add_tried(struct strbuf *out, struct rule_call *c, struct err *e)
{
	const char *list = call_param(c, "tried");
	if (!list)
		return true;
	strbuf_addf(out, ",\"schedule\":\"%s\",\"tried\":{", call_param(c, "schedule"));
	for (const char *p = list; *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");
		const char *name = arena_strndup(call_arena(c), p, n);
		if (!add_metrics(out, c, (struct told){arena_printf(call_arena(c), LOCK_TRIED "%s", name), name}, e))
			return false;
		p += n;
	}
	strbuf_addc(out, '}');
	return true;
}

/* ,"continued":[{"from":HEX,"rows":{...}},...]: passes over new rows, the first first. */
static bool add_continued(struct strbuf *out, struct rule_call *c, struct err *e)
{
	struct arena *a = call_arena(c);
	int from;
	size_t i = 0;
	for (; (from = call_find(c, lock_from(a, i))) >= 0; i++) {
		strbuf_adds(out, i ? ",{\"from\":" : ",\"continued\":[{\"from\":");
		lock_add_digest(out, call_input_digest(c, (size_t)from));
		if (!add_metrics(out, c, (struct told){lock_fresh(a, i), "rows"}, e))
			return false;
		strbuf_addc(out, '}');
	}
	strbuf_adds(out, i ? "]" : "");
	return true;
}

static bool add_section(struct strbuf *out, struct rule_call *c, struct err *e)
{
	int nverdict = 0;
	strbuf_addf(out, "{\"hardware\":\"%s\",\"numerics\":\"%s\",\"context\":%s,\"state\":",
		call_param(c, "hardware"), call_param(c, "numerics"), call_param(c, "context"));
	lock_add_digest(out, call_input_digest(c, (size_t)call_find(c, "state")));
	if (call_param(c, "stop.of"))
		strbuf_addf(out, ",\"stop\":{\"keep\":\"%s\",\"units\":%s,\"of\":\"%s\"}", call_param(c, "stop.keep"),
			call_param(c, "stop.units"), call_param(c, "stop.of"));
	static const char *const measured[] = {"metrics", "parent", "cost"};
	if (!add_continued(out, c, e) || !add_tried(out, c, e))
		return false;
	for (size_t i = 0; i < NELEM(measured); i++)
		if (!add_metrics(out, c, (struct told){measured[i], measured[i]}, e))
			return false;
	for (size_t i = 0; i < call_ninput(c); i++) {
		if (strcmp(call_input_name(c, i), "verdict"))
			continue;
		strbuf_adds(out, nverdict++ ? "," : ",\"gates\":[");
		if (!add_json_input(out, c, i, e))
			return false;
	}
	strbuf_adds(out, nverdict ? "]}" : "}");
	return true;
}

static bool run_lock(struct rule_call *c, struct err *e)
{
	struct strbuf out;
	bool ok = true;
	strbuf_init(&out);
	strbuf_addc(&out, '{');
	add_inputs(&out, c);
	strbuf_adds(&out, ",\"chain\":[");
	for (int i = 1; ok && call_find(c, lock_units(call_arena(c), i)) >= 0; i++)
		ok = add_round(&out, c, i, e);
	strbuf_adds(&out, "],\"targets\":{");
	add_text(&out, call_param(c, "target"));
	strbuf_addc(&out, ':');
	ok = ok && add_section(&out, c, e);
	strbuf_adds(&out, "}}");
	ok = ok && call_output(c, 0, strbuf_buf(&out), e);
	strbuf_release(&out);
	return ok;
}

static const char *const outputs[] = {"lock", NULL};
const struct rule rule_lock = {"lock", 2, outputs, NULL, run_lock, NULL, NULL};
