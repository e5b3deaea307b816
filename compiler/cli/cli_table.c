#include "cli.h"

static const char *const colors[] = {"auto", "always", "never", NULL};

/* Options of verbs stand in the order in which help shows them. */
const struct cli_option cli_options[] = {
	{"man", 0, NULL, "write the manual page (roff)", NULL, NULL, false, false},
	{"model", 0, "PATH", "model that the new spec names", NULL, NULL, false, false},
	{"data", 0, "FILE", "rows (JSON, JSONL or text) that the new spec names", NULL, NULL, false,
		false},
	{"root", 0, "NAME=DIR", "where paths NAME:... of a spec lead; also TRIM_ROOT_NAME", NULL, NULL,
		true, true},
	{"directory", 'C', "DIR", "go to DIR first", NULL, NULL, true, false},
	{"json", 0, NULL, "print data as JSON", "TRIM_JSON", NULL, true, false},
	{"quiet", 'q', NULL, "errors only", "TRIM_QUIET", NULL, true, false},
	{"verbose", 'v', NULL, "say more", "TRIM_VERBOSE", NULL, true, false},
	{"color", 0, "WHEN", "auto, always or never", "TRIM_COLOR", colors, true, false},
	{"help", 'h', NULL, "explain the verb", NULL, NULL, true, false},
	{0},
};

const struct cli_verb cli_verbs[] = {
	{"init", "[SPEC]", "write a commented spec to begin with", "model data", 0, 1, verb_init},
	{"check", "[SPEC]...", "validate specs, all errors in one run", "", 0, -1, verb_check},
	{"expand", "[SPEC]", "print the effective spec: includes, defaults, lists", "", 0, 1,
		verb_expand},
	{"schema", "", "print the grammar of specs as XML Schema", "", 0, 0, verb_schema},
	{"completion", "bash", "print a completion script for a shell", "", 1, 1, verb_completion},
	{"version", "", "print the version", "", 0, 0, verb_version},
	{"help", "[VERB|spec]", "explain a verb, or the elements of a spec", "man", 0, 1, verb_help},
	{0},
};
