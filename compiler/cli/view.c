#include "work.h"

#include <string.h>

void view_clear(struct view *v)
{
	if (v->line)
		fputs("\r\033[K", v->cli->err);
	v->line = false;
}

static void say_line(struct view *v, const struct build_event *ev, const char *what, const char *text)
{
	view_clear(v);
	fprintf(v->cli->err, "trim: %s%s%s%s%s\n", ev->action ? ev->action : "", ev->action ? ": " : "", what,
		text ? ": " : "", text ? text : "");
}

static void say_done(struct view *v, const struct build_event *ev)
{
	char took[48];
	snprintf(took, sizeof(took), "%.2f s", (double)ev->wall_ns / 1e9);
	say_line(v, ev, "done", took);
}

/* One line that is redrawn: what runs, how far it is, how long it takes yet is the rule's own text. */
static void redraw(struct view *v, const struct build_event *ev)
{
	if (!v->cli->progress || v->cli->quiet)
		return;
	fprintf(v->cli->err, "\r\033[K%s", ev->action);
	if (ev->total > 0)
		fprintf(v->cli->err, " %3.0f %%", 100 * ev->done / ev->total);
	if (ev->text)
		fprintf(v->cli->err, " %.60s", ev->text);
	fflush(v->cli->err);
	v->line = true;
}

void view_event(void *ctx, const struct build_event *ev)
{
	struct view *v = ctx;
	if (v->events) {
		struct strbuf b;
		strbuf_init(&b);
		event_write(&b, ev);
		fputs(b.s, v->events);
		fflush(v->events);
		strbuf_release(&b);
	}
	bool talk = !v->cli->quiet;
	switch (ev->kind) {
	case EVENT_RUN:
		v->nrun++;
		if (talk && !v->cli->progress)
			say_line(v, ev, "runs", ev->text);
		redraw(v, ev);
		break;
	case EVENT_PROGRESS:
		redraw(v, ev);
		break;
	case EVENT_DONE:
		if (talk)
			say_done(v, ev);
		break;
	case EVENT_WAIT:
	case EVENT_RESUME:
	case EVENT_AGAIN:
		if (talk)
			say_line(v, ev, event_name(ev->kind), ev->text);
		break;
	case EVENT_WARN:
		say_line(v, ev, "warning", ev->text);
		break;
	case EVENT_FAIL:
		v->nfail++;
		view_clear(v);
		fprintf(v->cli->err, "trim: %s\n", ev->text); /* names the action */
		break;
	case EVENT_SKIP:
		if (v->cli->verbose)
			say_line(v, ev, "skipped", ev->text);
		break;
	case EVENT_OUTPUT:
		if (talk) {
			view_clear(v);
			fprintf(v->cli->err, "trim: wrote %s\n", ev->text);
		}
		break;
	case EVENT_BEGIN:
	case EVENT_ADD:
	case EVENT_HIT:
	case EVENT_WOULD:
		break;
	case EVENT_END:
		view_clear(v);
		break;
	}
}
