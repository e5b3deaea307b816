#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binary.h"

const struct mode modes[] = {
	{"", NULL, "continue a text", run_generate},
	{"predict", "[ROWS.jsonl|-]", "answer rows of data, one JSON line each", run_predict},
	{"score", "FILE|-", "how well the model predicts a text", run_score},
	{"bench", NULL, "measure speed on this machine", run_bench},
	{"info", NULL, "what this program holds", run_info},
	{"selftest", NULL, "compare with what was recorded at build time", run_selftest},
};
const int nmodes = (int)NELEM(modes);

enum option_type { TYPE_TEXT, TYPE_COUNT, TYPE_REAL, TYPE_REPEATED, TYPE_FLAG };

/* Modes as bits, in the order of modes[]. */
enum { GENERATE = 1, PREDICT = 2, SCORE = 4, BENCH = 8, INFO = 16, SELFTEST = 32, ALL = 63 };

struct option {
	const char *name, *argument; /* argument NULL: a flag */
	enum option_type type;
	size_t at; /* in struct options */
	unsigned modes;
	double least, most; /* of counts and reals */
	const char *help;
};

#define AT(member) offsetof(struct options, member)
static const struct option options[] = {
	{"-p", "TEXT|-", TYPE_TEXT, AT(prompt), GENERATE, 0, 0,
		"the text to continue; - reads it; \"\" begins a new one"},
	{"-f", "FILE", TYPE_TEXT, AT(file), GENERATE, 0, 0, "the text to continue, from a file"},
	{"-n", "N", TYPE_COUNT, AT(max_tokens), GENERATE, 0, 1e9,
		"at most N tokens (default: to the end token or the end of the context)"},
	{"--temp", "T", TYPE_REAL, AT(temperature), GENERATE, 0, 1e6,
		"temperature (default 0: the likeliest token)"},
	{"--top-p", "P", TYPE_REAL, AT(top_p), GENERATE, 0, 1,
		"draw from the likeliest tokens that make up P (default 1)"},
	{"--top-k", "K", TYPE_COUNT, AT(top_k), GENERATE, 0, 1e9,
		"draw from the K likeliest tokens (default 0: all)"},
	{"--seed", "S", TYPE_COUNT, AT(seed), GENERATE, 0, 9e15, "seed of the draws (default 0)"},
	{"--stop", "TEXT", TYPE_REPEATED, AT(stop), GENERATE, 0, 0,
		"end before this text (may be repeated)"},
	{"--field", "NAME=VALUE", TYPE_REPEATED, AT(field), PREDICT, 0, 0,
		"a field of the row, or of every row (may be repeated)"},
	{"--dataset", "NAME", TYPE_TEXT, AT(dataset), PREDICT, 0, 0,
		"whose rows they are, where several datasets have answers"},
	{"--cpu", "NAME", TYPE_TEXT, AT(cpu), ALL, 0, 0,
		"run the code for this CPU (default: the most capable that runs here; see info)"},
	{"--device", "cpu|cuda|cuda:N", TYPE_TEXT, AT(device), ALL & ~INFO, 0, 0,
		"where it runs (default: a GPU, if there is one and code for it)"},
	{"--threads", "N", TYPE_COUNT, AT(threads), ALL & ~INFO, 0, MAX_THREADS,
		"threads to run on (default 0: all, or what the target says)"},
	{"--json", NULL, TYPE_FLAG, AT(json), ALL, 0, 0, "print JSON"},
	{"--help", NULL, TYPE_FLAG, AT(help), ALL, 0, 0, "print this"},
};

static bool unknown(const char *what, const char *word, const char *near, struct err *e)
{
	if (near)
		return err_set(
			e, ERR_SPEC, "unknown %s '%s'; did you mean '%s'?", what, word, near);
	return err_set(e, ERR_SPEC, "unknown %s '%s'; see --help", what, word);
}

static const struct option *find_option(const char *word, size_t n, struct err *e)
{
	const char *names[NELEM(options)];
	char quoted[64];
	for (size_t i = 0; i < NELEM(options); i++) {
		names[i] = options[i].name;
		if (strlen(names[i]) == n && !memcmp(names[i], word, n))
			return &options[i];
	}
	size_t most = n < sizeof quoted - 1 ? n : sizeof quoted - 1;
	memcpy(quoted, word, most);
	quoted[most] = '\0';
	unknown("option", quoted, nearest_name(quoted, names, NELEM(names)), e);
	return NULL;
}

static bool set_number(const struct option *o, const char *text, void *at, struct err *e)
{
	char *end;
	errno = 0;
	double x = strtod(text, &end);
	if (end == text || *end || errno || !(x >= o->least && x <= o->most))
		return err_set(e, ERR_SPEC, "%s: '%s' is no number from %g to %g", o->name, text,
			o->least, o->most);
	if (o->type == TYPE_REAL) {
		*(double *)at = x;
		return true;
	}
	*(int64_t *)at = (int64_t)x;
	return (double)(int64_t)x == x ||
		err_set(e, ERR_SPEC, "%s: '%s' is no whole number", o->name, text);
}

static bool set_option(
	struct options *opts, const struct option *o, const char *text, struct err *e)
{
	void *at = (char *)opts + o->at;
	switch (o->type) {
	case TYPE_TEXT:
		*(const char **)at = text;
		return true;
	case TYPE_COUNT:
	case TYPE_REAL:
		return set_number(o, text, at, e);
	case TYPE_REPEATED: {
		struct repeated *r = at;
		if (r->n == MAX_REPEATS)
			return err_set(e, ERR_SPEC, "%s: given more than %d times", o->name,
				MAX_REPEATS);
		r->text[r->n++] = text;
		return true;
	}
	case TYPE_FLAG:
		++*(int *)at;
		return true;
	}
	BUG("option type %d", o->type);
}

static bool set_word(struct options *o, const char *word, struct err *e)
{
	if (!o->mode)
		o->mode = word;
	else if (!o->argument)
		o->argument = word;
	else
		return err_set(e, ERR_SPEC, "'%s' is one argument too many", word);
	return true;
}

static bool find_mode(struct options *o, unsigned used, const struct mode **out, struct err *e)
{
	const char *names[NELEM(modes)];
	*out = NULL;
	for (int i = 0; i < nmodes; i++) {
		names[i] = modes[i].name;
		if (!strcmp(o->mode ? o->mode : "", modes[i].name))
			*out = &modes[i];
	}
	if (!*out)
		return unknown("mode", o->mode, nearest_name(o->mode, names, NELEM(names)), e);
	if (o->argument && !(*out)->argument)
		return err_set(e, ERR_SPEC, "'%s' takes no argument, '%s' was given", o->mode,
			o->argument);
	unsigned mode = 1u << (*out - modes);
	for (size_t i = 0; i < NELEM(options); i++)
		if ((used >> i & 1) && !(options[i].modes & mode))
			return err_set(e, ERR_SPEC, "option %s does not go with %s",
				options[i].name, o->mode ? o->mode : "-p");
	return true;
}

bool options_parse(
	struct options *o, int argc, char **argv, const struct mode **mode, struct err *e)
{
	unsigned used = 0;
	bool only_words = false;
	*o = (struct options){.max_tokens = -1, .top_p = 1};
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		if (only_words || word[0] != '-' || !word[1]) {
			if (!set_word(o, word, e))
				return false;
			continue;
		}
		if (!strcmp(word, "--")) {
			only_words = true;
			continue;
		}
		/* --temp=0.5 and --temp 0.5 */
		size_t n = word[1] == '-' ? strcspn(word, "=") : strlen(word);
		const struct option *option = find_option(word, n, e);
		if (!option)
			return false;
		const char *text = word[n] ? word + n + 1 : NULL;
		if (option->argument && !text && !(text = argv[++i]))
			return err_set(e, ERR_SPEC, "%s needs %s", option->name, option->argument);
		if (!option->argument && text)
			return err_set(e, ERR_SPEC, "%s takes no value", option->name);
		if (!set_option(o, option, text, e))
			return false;
		used |= 1u << (option - options);
	}
	return o->help || find_mode(o, used, mode, e);
}

void options_help(struct strbuf *out, const char *program, const struct model_info *info)
{
	if (info)
		strbuf_addf(out, "%s: %s, %lld blocks, context of %lld tokens\n\n", info->name,
			info->architecture, (long long)info->blocks, (long long)info->context);
	for (int i = 0; i < nmodes; i++) {
		char left[64];
		const struct mode *m = &modes[i];
		snprintf(left, sizeof left, "%s%s%s", *m->name ? m->name : "-p TEXT",
			m->argument ? " " : "", m->argument ? m->argument : "");
		strbuf_addf(
			out, "%s %s %-24s %s\n", i ? "      " : "usage:", program, left, m->help);
	}
	strbuf_addc(out, '\n');
	for (size_t i = 0; i < NELEM(options); i++) {
		char left[64];
		const struct option *o = &options[i];
		snprintf(left, sizeof left, "%s%s%s", o->name, o->argument ? " " : "",
			o->argument ? o->argument : "");
		strbuf_addf(out, "  %-20s %s", left, o->help);
		const char *before = "  [";
		for (int k = 0; k < nmodes && o->modes != ALL; k++)
			if (o->modes >> k & 1) {
				strbuf_addf(
					out, "%s%s", before, *modes[k].name ? modes[k].name : "-p");
				before = " ";
			}
		strbuf_adds(out, o->modes == ALL ? "\n" : "]\n");
	}
}
