#include "build_internal.h"

#include <string.h>

const char *event_name(enum event_kind k)
{
	static const char *const name[] = {
		[EVENT_BEGIN] = "begin",
		[EVENT_ADD] = "add",
		[EVENT_HIT] = "hit",
		[EVENT_WOULD] = "would-run",
		[EVENT_WAIT] = "wait",
		[EVENT_EXPECT] = "expect",
		[EVENT_RUN] = "run",
		[EVENT_RESUME] = "resume",
		[EVENT_PROGRESS] = "progress",
		[EVENT_WARN] = "warn",
		[EVENT_DONE] = "done",
		[EVENT_AGAIN] = "again",
		[EVENT_FAIL] = "fail",
		[EVENT_SKIP] = "skip",
		[EVENT_OUTPUT] = "output",
		[EVENT_END] = "end",
	};
	return name[k];
}

static void add_member(struct strbuf *out, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_addf(out, ",\"%s\":", name);
	strbuf_add_json(out, value, strlen(value));
}

void event_write(struct strbuf *out, const struct build_event *ev)
{
	const struct build_result *r = ev->result;
	strbuf_addf(out, "{\"event\":\"%s\",\"time_ns\":%lld", event_name(ev->kind),
		(long long)ev->time_ns);
	add_member(out, "action", ev->action);
	add_member(out, "rule", ev->rule);
	if (ev->kind == EVENT_PROGRESS) {
		strbuf_adds(out, ",\"done\":");
		strbuf_add_double(out, ev->done);
		strbuf_adds(out, ",\"total\":");
		strbuf_add_double(out, ev->total);
		add_member(out, "unit", ev->unit);
	}
	add_member(out, "text", ev->text);
	if (ev->kind == EVENT_DONE)
		strbuf_addf(out, ",\"wall_ns\":%lld", (long long)ev->wall_ns);
	if (r)
		strbuf_addf(out,
			",\"run\":%zu,\"cached\":%zu,\"failed\":%zu,\"skipped\":%zu,\"would_run\":%"
			"zu,"
			"\"unknown\":%zu,\"written\":%zu,\"interrupted\":%s",
			r->nrun, r->ncached, r->nfailed, r->nskipped, r->nwould_run, r->nunknown,
			r->nwritten, r->interrupted ? "true" : "false");
	strbuf_adds(out, "}\n");
}

void build_emit_event(struct build *b, struct build_event ev)
{
	if (!b->o.event)
		return;
	ev.time_ns = b->os->now_ns(b->os);
	pthread_mutex_lock(&b->event_mutex);
	b->o.event(b->o.event_ctx, &ev);
	pthread_mutex_unlock(&b->event_mutex);
}

void build_emit(struct build *b, enum event_kind kind, const struct action *a, const char *text)
{
	build_emit_event(b, (struct build_event){.kind = kind, .action = a ? a->name : NULL,
		.rule = a && a->rule ? a->rule->name : NULL, .text = text});
}
