#include "report_tune.h"

#include <stdio.h>
#include <string.h>

#include "chain.h"

/* One tune's looks as its log has them (rule_tune.c); nothing without the line "kept". */
static void add_log(struct strbuf *out, const char *text, int round)
{
	long long kept, stopped, of, step;
	double loss;
	const char *last = strstr(text, "kept "), *comma = "";
	if (!last || sscanf(last, "kept %lld of %lld of %lld", &kept, &stopped, &of) != 3)
		return;
	strbuf_addf(out, "%s\n{\"round\":%d,\"kept\":%lld,\"stopped\":%lld,\"of\":%lld,\"validation\":[",
		out->s[out->n - 1] == '[' ? "" : ",", round, kept, stopped, of);
	for (const char *p = text; (p = strstr(p, "look ")); p++)
		if (sscanf(p, "look %lld %lf", &step, &loss) == 2) {
			strbuf_addf(out, "%s[%lld,%.6g]", comma, step, loss);
			comma = ",";
		}
	strbuf_adds(out, "]}");
}

void report_add_looks(struct work *w, struct strbuf *out, const char *schedule)
{
	struct arena *a = w->cli->arena;
	struct strbuf list;
	struct buf text;
	struct action *tune;
	strbuf_init(&list);
	strbuf_addc(&list, '[');
	for (int i = 0; (tune = build_find(w->build, arena_printf(a, "%s/round-%d/tune", schedule, i))); i++)
		if (work_output(w, tune, TUNE_LOG, &text))
			add_log(&list, arena_strndup(a, text.p, text.n), i);
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
		fprintf(c->out, "    %-8.0f %10.4f %10.4f %10.0f %10.0f %10.0f\n", number_of(r, "round"), loss_at(v, 0),
			loss_at(v, number_of(r, "kept")), number_of(r, "kept"), number_of(r, "stopped"), number_of(r, "of"));
	}
}
