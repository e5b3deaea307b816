#include "report_tune.h"

#include <stdio.h>
#include <string.h>

#include "chain.h"

/* One tune's looks as its log has them (rule_tune.c); nothing without the line "kept". time: of a pass over new rows. */
static void add_log(struct strbuf *out, const char *text, int round, int time)
{
	long long kept, stopped, of, step;
	double loss;
	const char *last = strstr(text, "kept "), *comma = "";
	if (!last || sscanf(last, "kept %lld of %lld of %lld", &kept, &stopped, &of) != 3)
		return;
	strbuf_addf(out, "%s\n{\"round\":%d,", out->s[out->n - 1] == '[' ? "" : ",", round);
	if (time)
		strbuf_addf(out, "\"continue\":%d,", time);
	strbuf_addf(out, "\"kept\":%lld,\"stopped\":%lld,\"of\":%lld,\"validation\":[", kept, stopped, of);
	for (const char *p = text; (p = strstr(p, "look ")); p++)
		if (sscanf(p, "look %lld %lf", &step, &loss) == 2) {
			strbuf_addf(out, "%s[%lld,%.6g]", comma, step, loss);
			comma = ",";
		}
	strbuf_adds(out, "]}");
}

/* Passes follow one another without a gap, if the state has any. */
static void add_passes(struct work *w, struct strbuf *list, const char *state, int round)
{
	struct arena *a = w->cli->arena;
	struct action *tune;
	struct buf text;
	for (int i = 1; (tune = build_find(w->build, arena_printf(a, "%s/continue-%d/tune", state, i))); i++)
		if (work_output(w, tune, TUNE_LOG, &text))
			add_log(list, arena_strndup(a, text.p, text.n), round, i);
}

void report_add_looks(struct work *w, struct strbuf *out, const char *schedule)
{
	struct arena *a = w->cli->arena;
	struct strbuf list;
	struct buf text;
	struct action *tune;
	strbuf_init(&list);
	strbuf_addc(&list, '[');
	for (int i = 0; (tune = build_find(w->build, arena_printf(a, "%s/round-%d/tune", schedule, i))); i++) {
		if (work_output(w, tune, TUNE_LOG, &text))
			add_log(&list, arena_strndup(a, text.p, text.n), i, 0);
		add_passes(w, &list, arena_printf(a, "%s/round-%d", schedule, i), i);
	}
	if (list.n > 1)
		strbuf_addf(out, ",\"looks\":%s]", list.s);
	strbuf_release(&list);
}

static double number_of(const struct json *o, const char *key)
{
	const struct json *v = json_get(o, key);
	return v && v->kind == JSON_NUMBER ? v->number : 0;
}

/* Of the look at that step; 0: there was none. */
static double loss_at(const struct json *looks, double step)
{
	for (size_t i = 0; looks && i < looks->nitem; i++)
		if (looks->item[i].nitem == 2 && looks->item[i].item[0].number == step)
			return looks->item[i].item[1].number;
	return 0;
}

void report_print_looks(struct cli *c, const struct json *looks)
{
	if (!looks)
		return;
	fprintf(c->out, "  early stop, nats a token on validation rows:\n    %-8s %10s %10s %10s %10s %10s\n", "round", "at first",
		"least", "at step", "stopped at", "of");
	for (size_t i = 0; i < looks->nitem; i++) {
		const struct json *r = &looks->item[i], *v = json_get(r, "validation");
		char name[32];
		snprintf(name, sizeof(name), json_get(r, "continue") ? "%.0f +%.0f" : "%.0f", number_of(r, "round"),
			number_of(r, "continue"));
		fprintf(c->out, "    %-8s %10.4f %10.4f %10.0f %10.0f %10.0f\n", name, loss_at(v, 0), loss_at(v, number_of(r, "kept")), number_of(r, "kept"), number_of(r, "stopped"), number_of(r, "of"));
	}
}

bool report_add_continued(struct work *w, struct strbuf *out, const struct plan_target *t, struct err *e)
{
	struct buf text;
	struct json *excerpt;
	if (!t->ncontinued || !work_output(w, t->lock, 0, &text))
		return true;
	if (!json_parse(w->cli->arena, text, t->spec->name, 1, &excerpt, e))
		return false;
	const struct json *list = json_get(json_get(json_get(excerpt, "targets"), t->spec->name), "continued");
	if (list) {
		strbuf_adds(out, ",\"continued\":");
		json_write(out, list);
	}
	return true;
}

static void print_rows(struct cli *c, const char *set, const struct json *rows)
{
	fprintf(c->out, "%s%.0f new and %.0f old rows", set, number_of(rows, "new"), number_of(rows, "old"));
}

/* The rows of a pass: of one dataset, or by dataset. */
static void print_pass(struct cli *c, const struct json *pass)
{
	const struct json *rows = json_get(pass, "rows"), *from = json_get(pass, "from");
	bool sets = rows && rows->nitem && rows->item[0].kind == JSON_OBJECT;
	if (rows && !sets)
		print_rows(c, "", rows);
	for (size_t i = 0; sets && i < rows->nitem; i++)
		print_rows(c, arena_printf(c->arena, "%s%s: ", i ? "; " : "", rows->key[i]), &rows->item[i]);
	fprintf(c->out, ", from state %s\n", from && from->kind == JSON_STRING ? from->text : "-");
}

void report_print_continued(struct cli *c, const struct json *of)
{
	bool any = false;
	for (size_t i = 0; i < of->nitem; i++) {
		const struct json *t = &of->item[i], *list = json_get(t, "continued"), *name = json_get(t, "target");
		for (size_t k = 0; list && k < list->nitem; k++) {
			fprintf(c->out, "%s%-16s pass %zu: ", any ? "" : "\nwent on with new rows\n",
				name && name->kind == JSON_STRING ? name->text : "-", k + 1);
			any = true;
			print_pass(c, &list->item[k]);
		}
	}
}
