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

/* "3.2 steps/s, 4 min left"; nothing while an action has told but once. */
static void add_rate(struct strbuf *out, const struct view *v, const struct build_event *ev)
{
	double seconds = (double)(ev->time_ns - v->first_ns) / 1e9;
	if (seconds <= 0 || ev->done <= v->first_done)
		return;
	double rate = (ev->done - v->first_done) / seconds, left = (ev->total - ev->done) / rate;
	strbuf_addf(out, ", %.3g %s/s", rate, ev->unit);
	if (ev->total <= 0)
		return;
	if (left < 90)
		strbuf_addf(out, ", %.0f s left", left);
	else if (left < 90 * 60)
		strbuf_addf(out, ", %.0f min left", left / 60);
	else
		strbuf_addf(out, ", %.1f h left", left / 3600);
}

static void add_progress(struct strbuf *out, const struct view *v, const struct build_event *ev)
{
	if (ev->total > 0)
		strbuf_addf(out, "%.0f %%", 100 * ev->done / ev->total);
	else
		strbuf_addf(out, "%.0f %s", ev->done, ev->unit);
	add_rate(out, v, ev);
	if (ev->text)
		strbuf_addf(out, ", %.60s", ev->text);
}

/* One line that is redrawn: what runs, and how far it is. */
static void redraw(struct view *v, const struct build_event *ev, const char *text)
{
	fprintf(v->cli->err, "\r\033[K%s %.100s", ev->action, text);
	fflush(v->cli->err);
	v->line = true;
}

static void progress(struct view *v, const struct build_event *ev)
{
	static const int64_t line_every_ns = 30000000000;
	struct strbuf text;
	if (strcmp(v->action, ev->action)) {
		snprintf(v->action, sizeof(v->action), "%s", ev->action);
		v->first_done = ev->done;
		v->first_ns = v->said_ns = ev->time_ns;
	}
	if (v->cli->quiet || (!v->cli->progress && ev->time_ns - v->said_ns < line_every_ns))
		return;
	strbuf_init(&text);
	add_progress(&text, v, ev);
	if (v->cli->progress)
		redraw(v, ev, text.s);
	else
		say_line(v, ev, text.s, NULL);
	v->said_ns = ev->time_ns;
	strbuf_release(&text);
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
		else if (talk)
			redraw(v, ev, ev->text ? ev->text : "");
		v->action[0] = '\0';
		break;
	case EVENT_EXPECT:
		if (talk)
			say_line(v, ev, ev->text, NULL);
		break;
	case EVENT_PROGRESS:
		progress(v, ev);
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
