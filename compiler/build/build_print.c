/* The graph as text. A format is a row: what stands around, and how a node and an edge look. */
#include "build_internal.h"

#include <string.h>

static const char *state_text(const struct action *a)
{
	switch (a->state) {
	case STATE_KNOWN:
		return a->ran ? "run" : "cached";
	case STATE_FAILED:
		return "failed";
	case STATE_SKIPPED:
		return "skipped";
	case STATE_WOULD:
		return "would-run";
	default:
		return "unknown";
	}
}

static void add_quoted(struct strbuf *out, const char *s)
{
	strbuf_add_json(out, s, strlen(s));
}

static void print_dot(struct build *b, struct strbuf *out)
{
	strbuf_adds(out, "digraph trim {\n\trankdir=LR;\n\tnode [shape=box];\n");
	for (size_t i = 0; i < b->nsource; i++) {
		strbuf_addf(out, "\tf%zu [shape=note,label=", i);
		add_quoted(out, b->source[i].path);
		strbuf_adds(out, "];\n");
	}
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->kind == ACTION_WANT)
			continue;
		strbuf_addf(out, "\ta%zu [label=", i);
		add_quoted(out, a->name);
		strbuf_addf(out, "%s];\n",
			a->kind == ACTION_GENERATE ? ",shape=diamond" :
			a->kind == ACTION_OUTPUT   ? ",shape=note" :
			a->state == STATE_FAILED   ? ",color=red" :
			a->ran                     ? ",style=bold" :
						     "");
		for (size_t k = 0; k < a->ninput; k++) {
			const struct edge *edge = &a->input[k];
			if (edge->kind == INPUT_FILE)
				strbuf_addf(out, "\tf%zu -> a%zu [label=", edge->source, i);
			else if (edge->kind == INPUT_OUTPUT)
				strbuf_addf(out, "\ta%zu -> a%zu [label=", edge->action->index, i);
			else
				continue;
			add_quoted(out, edge->name);
			strbuf_adds(out, "];\n");
		}
	}
	strbuf_adds(out, "}\n");
}

/* Mermaid has no escape but HTML entities. */
static void add_mermaid(struct strbuf *out, const char *s)
{
	strbuf_addc(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '#' || *s == '<' || *s == '>' || *s == '&')
			strbuf_addf(out, "#%d;", *s);
		else
			strbuf_addc(out, *s == '\n' ? ' ' : *s);
	}
	strbuf_addc(out, '"');
}

static void print_mermaid(struct build *b, struct strbuf *out)
{
	strbuf_adds(out, "flowchart LR\n");
	for (size_t i = 0; i < b->nsource; i++) {
		strbuf_addf(out, "\tf%zu>", i);
		add_mermaid(out, b->source[i].path);
		strbuf_adds(out, "]\n");
	}
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->kind == ACTION_WANT)
			continue;
		strbuf_addf(out, "\ta%zu%s", i, a->kind == ACTION_GENERATE ? "{" : "[");
		add_mermaid(out, a->name);
		strbuf_addf(out, "%s\n", a->kind == ACTION_GENERATE ? "}" : "]");
		for (size_t k = 0; k < a->ninput; k++) {
			const struct edge *edge = &a->input[k];
			if (edge->kind == INPUT_FILE)
				strbuf_addf(out, "\tf%zu --> a%zu\n", edge->source, i);
			else if (edge->kind == INPUT_OUTPUT)
				strbuf_addf(out, "\ta%zu --> a%zu\n", edge->action->index, i);
		}
	}
}

static void add_fields(struct strbuf *out, const char *name, const struct fields *f)
{
	strbuf_addf(out, ",\"%s\":{", name);
	for (size_t i = 0; i < f->nfield; i++) {
		if (i)
			strbuf_addc(out, ',');
		add_quoted(out, f->field[i].name);
		strbuf_addc(out, ':');
		add_quoted(out, f->field[i].value);
	}
	strbuf_addc(out, '}');
}

static void add_inputs(struct build *b, struct strbuf *out, const struct action *a)
{
	static const char *const kind[] = {"file", "bytes", "action"};
	char hex[DIGEST_HEX];
	strbuf_adds(out, ",\"inputs\":[");
	for (size_t k = 0; k < a->ninput; k++) {
		strbuf_adds(out, k ? ",{\"name\":" : "{\"name\":");
		add_quoted(out, a->input[k].name);
		strbuf_addf(out, ",\"%s\":", kind[a->input[k].kind]);
		add_quoted(out, edge_source_text(b, &a->input[k], &b->scratch));
		if (a->has_key) {
			digest_hex(a->input[k].digest, hex);
			strbuf_addf(out, ",\"digest\":\"%s\"", hex);
		}
		strbuf_addc(out, '}');
	}
	strbuf_addc(out, ']');
}

static void print_json(struct build *b, struct strbuf *out)
{
	char hex[DIGEST_HEX];
	bool first = true;
	strbuf_adds(out, "{\"actions\":[");
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->kind != ACTION_RULE)
			continue;
		strbuf_adds(out, first ? "\n{\"name\":" : ",\n{\"name\":");
		first = false;
		add_quoted(out, a->name);
		strbuf_adds(out, ",\"rule\":");
		add_quoted(out, a->rule->name);
		strbuf_addf(
			out, ",\"version\":%d,\"state\":\"%s\"", a->rule->version, state_text(a));
		if (a->has_key) {
			digest_hex(a->key, hex);
			strbuf_addf(out, ",\"key\":\"%s\"", hex);
		}
		add_fields(out, "parameters", &a->param);
		add_fields(out, "tools", &a->tool);
		add_inputs(b, out, a);
		strbuf_adds(out, ",\"outputs\":{");
		for (size_t k = 0; k < a->noutput; k++) {
			if (k)
				strbuf_addc(out, ',');
			add_quoted(out, a->output[k].name);
			digest_hex(a->output[k].digest, hex);
			strbuf_addf(out, a->known ? ":\"%s\"" : ":null", hex);
		}
		strbuf_adds(out, "}}");
	}
	strbuf_adds(out, "\n]}\n");
}

static void add_ninja(struct strbuf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '$' || *s == ' ' || *s == ':')
			strbuf_addc(out, '$');
		strbuf_addc(out, *s == '\n' ? '_' : *s);
	}
}

static void print_ninja(struct build *b, struct strbuf *out)
{
	struct digest_map seen = {0};
	for (size_t i = 0; i < b->naction; i++) {
		const struct rule *rule = b->action[i]->rule;
		uint64_t *place;
		if (!rule ||
			*(place = digest_map_put(&seen, digest_of(rule->name, strlen(rule->name)))))
			continue;
		*place = 1;
		strbuf_addf(out, "rule %s\n  command = : $out\n", rule->name);
	}
	digest_map_release(&seen);
	strbuf_adds(out, "rule file\n  command = : $out\n");
	for (size_t i = 0; i < b->naction; i++) {
		const struct action *a = b->action[i];
		if (a->kind != ACTION_RULE && a->kind != ACTION_OUTPUT)
			continue;
		strbuf_adds(out, "build ");
		add_ninja(out, a->name);
		strbuf_addf(out, ": %s", a->rule ? a->rule->name : "file");
		for (size_t k = 0; k < a->ninput; k++) {
			if (a->input[k].kind == INPUT_BYTES)
				continue;
			strbuf_addc(out, ' ');
			add_ninja(out, a->input[k].action ? a->input[k].action->name :
							    b->source[a->input[k].source].path);
		}
		strbuf_addc(out, '\n');
	}
}

bool build_graph(struct build *b, const char *format, struct strbuf *out, struct err *e)
{
	static const char *const name[] = {"dot", "mermaid", "json", "ninja"};
	static void (*const print[])(struct build *, struct strbuf *) = {print_dot, print_mermaid,
		print_json, print_ninja};
	for (size_t i = 0; i < NELEM(name); i++)
		if (strcmp(format, name[i]) == 0) {
			print[i](b, out);
			return true;
		}
	const char *near = nearest_name(format, name, NELEM(name));
	return near ? err_set(e, ERR_SPEC, "unknown graph format '%s'; did you mean '%s'?", format,
			      near)
		    : err_set(e, ERR_SPEC,
			      "unknown graph format '%s'; there are dot, mermaid, json, ninja",
			      format);
}
