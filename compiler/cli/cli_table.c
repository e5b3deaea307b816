#include "cli.h"

static const char *const emits[] = {"ir", "lowered", "plan", "llvm", "asm", NULL};
static const char *const splits[] = {"test", "validation", "calibration", "train", "none", NULL};
static const char *const colors[] = {"auto", "always", "never", NULL};

/* Options of verbs stand in the order in which help shows them. */
const struct cli_option cli_options[] = {
	{"man", 0, NULL, "write the manual page (roff)", NULL, NULL, false, false},
	{"model", 0, "PATH", "model that the new spec names", NULL, NULL, false, false},
	{"data", 0, "FILE", "rows (JSON, JSONL or text) that the new spec names", NULL, NULL, false,
		false},
	{"no-data", 0, NULL, "look at the spec alone, read no rows", NULL, NULL, false, false},
	{"row", 0, "N", "which row, from 1 in the order of the files", NULL, NULL, false, false},
	{"split", 0, "SPLIT", "count rows of this split alone", NULL, splits, false, false},
	{"dataset", 0, "NAME", "of this dataset (default: the first)", NULL, NULL, false, false},
	{"target", 0, "NAME", "only this target of the spec", NULL, NULL, false, true},
	{"jobs", 'j', "N", "use N threads (default: one per processor)", "TRIM_JOBS", NULL, false, false},
	{"keep-going", 'k', NULL, "after a failure build what does not depend on it", NULL, NULL, false, false},
	{"dry-run", 'n', NULL, "say what would run, run nothing", NULL, NULL, false, false},
	{"locked", 0, NULL, "use what NAME.lock records, fail at the first difference", NULL, NULL, false, false},
	{"offline", 0, NULL, "use no network", "TRIM_OFFLINE", NULL, false, false},
	{"rehash", 0, NULL, "read every input again, whatever its times say", NULL, NULL, false, false},
	{"events", 0, "FILE", "write what happens as JSON lines", NULL, NULL, false, false},
	{"format", 0, "FORMAT", "dot, mermaid, json or ninja", NULL, NULL, false, false},
	{"yes", 'y', NULL, "really remove", NULL, NULL, false, false},
	{"emit", 0, "FORM", "ir, lowered, plan, llvm or asm: the inference program at that stage", NULL, emits,
		false, false},
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
	{"check", "[SPEC]...", "validate specs and their data, all errors in one run", "no-data", 0, -1, verb_check},
	{"expand", "[SPEC]", "print the effective spec: includes, defaults, lists", "", 0, 1,
		verb_expand},
	{"show", "[SPEC]", "a row as rendered, tokenised and masked, its split and choices",
		"row split dataset", 0, 1, verb_show},
	{"plan", "[SPEC]...", "what would run and why, with estimates", "target jobs locked rehash", 0, -1,
		verb_plan},
	{"build", "[SPEC]...", "build what is out of date",
		"target jobs keep-going dry-run locked offline rehash events", 0, -1, verb_build},
	{"why", "[SPEC] [ACTION]", "why actions ran, would run, or not", "target rehash", 0, 2, verb_why},
	{"status", "[SPEC]...", "what is out of date", "target rehash", 0, -1, verb_status},
	{"log", "[SPEC] [ACTION]", "past builds", "", 0, 2, verb_log},
	{"graph", "[SPEC]", "the graph of actions", "target format", 0, 1, verb_graph},
	{"inspect", "MODEL|BINARY|SPEC", "what a model, a binary or a spec's program consists of",
		"emit target", 1, 1, verb_inspect},
	{"cache", "stat|verify|gc", "the artifact store", "yes", 1, 1, verb_cache},
	{"doctor", "", "what is here, and how to get the rest", "", 0, 0, verb_doctor},
	{"schema", "", "print the grammar of specs as XML Schema", "", 0, 0, verb_schema},
	{"completion", "bash", "print a completion script for a shell", "", 1, 1, verb_completion},
	{"version", "", "print the version", "", 0, 0, verb_version},
	{"help", "[VERB|spec]", "explain a verb, or the elements of a spec", "man", 0, 1, verb_help},
	{0},
};
