#include "spec_table.h"

#include <string.h>

const char *const spec_formats[] = {[FORMAT_TEXT] = "text", [FORMAT_JSON] = "json",
	[FORMAT_JSONL] = "jsonl", [FORMAT_CSV] = "csv", [FORMAT_PARQUET] = "parquet", NULL};
const char *const spec_task_kinds[] = {[SPEC_CHOICE] = "choice", [SPEC_COMPLETION] = "completion",
	[SPEC_TEXT] = "text", [SPEC_CHAT] = "chat", NULL};
const char *const spec_on_longs[] = {
	[SPEC_LONG_ERROR] = "error", [SPEC_LONG_CUT_PROMPT] = "cut-prompt", [SPEC_LONG_SKIP] = "skip", NULL};
const char *const spec_row_units[] = {
	[ROW_BLANK_LINE] = "blank-line", [ROW_LINE] = "line", [ROW_FILE] = "file", NULL};
const char *const spec_units[] = {[UNIT_HALF] = "half", [UNIT_BLOCK] = "block", NULL};
const char *const spec_devices[] = {[ON_CPU] = "cpu", [ON_CUDA] = "cuda", NULL};
const char *const spec_maths[] = {[MATH_OWN] = "own", [MATH_CUBLASLT] = "cublaslt", NULL};
const char *const spec_dtypes[] = {[DTYPE_F32] = "f32", [DTYPE_BF16] = "bf16",
	[DTYPE_INT8] = "int8", [DTYPE_INT4] = "int4", [DTYPE_F16] = "f16", NULL};
const char *const spec_states_words[] = {
	[STATES_ALL] = "all", [STATES_TARGETS] = "targets", NULL};
#define SCORE(id, symbol, name, reads, ranks) [SCORE_##id] = name,
const char *const spec_score_methods[] = {
#include "score_methods.h"
	NULL};
#undef SCORE
#define SCORE(id, symbol, name, reads, ranks) [SCORE_##id] = {reads, ranks},
const struct spec_score_traits spec_score_traits[] = {
#include "score_methods.h"
};
#undef SCORE
const char *const spec_tie_breaks[] = {
	[TIE_LIKELIHOOD] = "likelihood", [TIE_ACTIVATION_NORM] = "activation-norm", NULL};
const char *const spec_pers[] = {[PER_UNIT] = "unit", [PER_BYTE] = "byte", NULL};
const char *const spec_counts[] = {[COUNTS_TUNE] = "tune", [COUNTS_CHAIN] = "chain", NULL};
const char *const spec_tune_methods[] = {
	[TUNE_SPARSE] = "sparse", [TUNE_FULL] = "full", [TUNE_LORA] = "lora", NULL};
const char *const spec_decays[] = {[DECAY_CONSTANT] = "constant", [DECAY_LINEAR] = "linear",
	[DECAY_COSINE] = "cosine", NULL};
const char *const spec_new_rows_words[] = {
	[NEW_ROWS_RETUNE] = "retune", [NEW_ROWS_CONTINUE] = "continue", NULL};
const char *const spec_references[] = {
	[AGAINST_TUNED] = "tuned", [AGAINST_PARENT] = "parent", NULL};
const char *const spec_metrics[] = {[METRIC_ACCURACY] = "accuracy", [METRIC_NLL] = "nll",
	[METRIC_PERPLEXITY] = "perplexity", NULL};

/* As the target table (compiler/emit/target.c) has them, which a test compares. */
#define X86 "x86-64"
#define ARM "aarch64"
const char *const spec_cpus[] = {"native", "x86-64-v3", "avx-vnni", "x86-64-v4", "avx512-bf16", "zen4", "zen5",
	"aarch64-neon", "aarch64-dotprod", "aarch64-i8mm", NULL};
const char *const spec_cpu_archs[] = {NULL, X86, X86, X86, X86, X86, X86, ARM, ARM, ARM};
_Static_assert(NELEM(spec_cpus) == NELEM(spec_cpu_archs) + 1, "every CPU has an architecture");

static const char *const inits[] = {"random", NULL}, *const archs[] = {"llama", NULL},
	*const trains[] = {"bpe", NULL}, *const train_or_freeze[] = {"train", "freeze", NULL},
	*const arithmetics[] = {"f32", "bf16", NULL},
	*const weight_dtypes[] = {"f32", "bf16", "int8", "int4", NULL},
	*const activation_dtypes[] = {"f32", "bf16", "int8", NULL},
	*const cache_dtypes[] = {"f32", "bf16", "f16", "int8", NULL},
	*const gpus[] = {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", NULL};

/* One attribute in a table. */
#define A(n, t, ...) {.name = n, .type = &spec_type_##t, __VA_ARGS__}

static const struct spec_attr trim_attrs[] = {
	A("name", name, .required = true, .doc = "names the lock file and the folder of outputs"),
	{0},
};

static const struct spec_attr model_attrs[] = {
	A("path", path, .doc = "HF directory or GGUF file"),
	A("hub", hub, .later = "*", .doc = "model of the local Hugging Face cache"),
	A("revision", text, .when = "hub", .deflt = "main", .doc = "branch, tag or commit"),
	A("init", enum, .values = inits, .doc = "makes a base from nothing"),
	A("seed", count, .when = "init", .deflt = "1", .doc = "of the random weights"),
	A("arch", enum, .values = archs, .when = "init", .required = true, .doc = "architecture"),
	A("layers", count, .when = "init", .required = true, .min = 1, .max = 1000,
		.doc = "blocks"),
	A("width", count, .when = "init", .required = true, .min = 2, .max = 65536,
		.doc = "of the residual stream"),
	A("ffn", count, .when = "init", .required = true, .min = 1, .max = 1 << 20,
		.doc = "width of the feed-forward part"),
	A("heads", count, .when = "init", .required = true, .min = 1, .max = 1024,
		.doc = "attention heads"),
	A("kv-heads", count, .when = "init", .min = 1, .max = 1024,
		.doc = "key and value heads (default: heads)"),
	A("context", count, .when = "init", .required = true, .min = 2, .max = 1 << 24,
		.doc = "longest input in tokens"),
	{0},
};

static const struct spec_attr tokenizer_attrs[] = {
	A("path", path, .doc = "sentencepiece .model, tokenizer.json, or a model that has one"),
	A("train", enum, .values = trains, .doc = "trains one over train rows"),
	A("vocab", count, .when = "train", .required = true, .min = 260, .max = 1 << 20,
		.doc = "number of tokens; all bytes are among them"),
	A("dataset", name, .when = "train", .refers = "dataset", .list = true,
		.doc = "on whose train rows it is trained (default: all)"),
	{0},
};

static const struct spec_attr dataset_attrs[] = {
	A("name", name, .required = true, .doc = "by which others refer to it"),
	A("format", enum, .values = spec_formats, .later = "parquet",
		.doc = "default: by the ending of path"),
	A("path", path, .doc = "file, folder or pattern; may stand in each <split> instead"),
	A("weight", number, .min_open = true,
		.doc = "share of tuned tokens among several sets, all of which have one (default: by size)"),
	{0},
};

static const struct spec_attr split_attrs[] = {
	A("path", path, .doc = "rows that this split divides (default: the dataset's)"),
	A("test", share, .doc = "rows that are read once, for the chosen state"),
	A("train", share, .doc = "rows to tune on"),
	A("calibration", share, .doc = "rows that rank units"),
	A("validation", share, .doc = "rows that choose states and stop early"),
	A("by", field, .doc = "field, @file or @key whose hash places a row (default: the values "
			      "that the task reads)"),
	{0},
};

static const struct spec_attr task_attrs[] = {
	A("kind", enum, .values = spec_task_kinds, .required = true, .later = "chat",
		.doc = "what a row asks for"),
	A("length", count, .min = 2, .max = 1 << 24,
		.doc = "longest row in tokens (default: the model's context)"),
	A("on-long", enum, .values = spec_on_longs, .deflt = "error",
		.doc = "what becomes of a longer row"),
	A("delimiter", text, .when = "kind=choice|completion", .deflt = " ",
		.doc = "stands between prompt and answer"),
	A("row", enum, .values = spec_row_units, .when = "kind=text", .deflt = "blank-line",
		.doc = "what ends a row of a text file"),
	A("messages", field, .when = "kind=chat", .deflt = "messages",
		.doc = "field that holds the turns"),
	{0},
};

static const struct spec_attr field_attrs[] = {
	A("field", field, .required = true, .doc = "holds a list or an object of choices"),
	{0},
};

static const struct spec_attr answer_attrs[] = {
	A("field", field, .doc = "holds the answer: its text, key, letter or index"),
	{0},
};

static const struct spec_attr schedule_attrs[] = {
	A("name", name, .deflt = "main", .doc = "by which targets choose it"),
	A("keep", keep,
		.doc = "where the chain may stop, for targets without keep of their own"),
	A("unit", enum, .values = spec_units, .deflt = "half",
		.doc = "what one drop removes"),
	A("device", enum, .values = spec_devices, .deflt = "cpu",
		.doc = "where score and tune run, and evaluate for targets with a GPU"),
	A("math", enum, .values = spec_maths, .when = "device=cuda", .deflt = "own",
		.doc = "who multiplies in score and tune: trim's kernels, or NVIDIA's cuBLASLt"),
	A("arithmetic", enum, .values = arithmetics, .deflt = "f32",
		.doc = "numerics class of score, tune and evaluate"),
	A("per-round", amount, .deflt = "1", .min = 1, .max = 1000,
		.doc = "units dropped in each round, or as many as have that share of the imported bytes"),
	A("states", enum, .values = spec_states_words, .deflt = "all",
		.doc = "which model states stay in the cache: of every round, or of round 0 and what targets take"),
	{0},
};

static const struct spec_attr score_attrs[] = {
	A("method", enum, .values = spec_score_methods, .deflt = "scan",
		.doc = "how units are ranked"),
	A("rows", count, .deflt = "50", .min = 1, .max = 1 << 24,
		.doc = "calibration rows that are looked at"),
	A("tie-break", enum, .values = spec_tie_breaks, .list = true, .when = "method=scan",
		.deflt = "likelihood activation-norm", .doc = "decides between equal scores, in order"),
	A("per", enum, .values = spec_pers, .when = "method=scan|perplexity|taylor|magnitude", .deflt = "unit",
		.doc = "byte: what a unit's absence costs is divided by its bytes"),
	A("units", text, .when = "method=given",
		.doc = "the units to drop, in order: blk.3.mlp blk.1.attn ..."),
	A("scan-every", count, .deflt = "1", .min = 1, .max = 1000,
		.doc = "rounds that drop by one ranking"),
	A("on", name, .refers = "dataset", .list = true,
		.doc = "datasets that score (default: all with calibration rows)"),
	{0},
};

static const struct spec_attr tune_attrs[] = {
	A("method", enum, .values = spec_tune_methods, .deflt = "sparse",
		.doc = "what is trained: some blocks, all, or low-rank additions"),
	A("epochs", count, .when = "!steps", .deflt = "1", .max = 10000,
		.doc = "passes over the train rows in each round; 0: untuned"),
	A("steps", count, .min = 1, .max = 1 << 30,
		.doc = "of each round, instead of whole passes over the rows"),
	A("counts", enum, .values = spec_counts, .when = "steps", .deflt = "tune",
		.doc = "what the steps count: this tune's own, or in a target those of all rounds of its chain too"),
	A("batch", count, .deflt = "16", .min = 1, .max = 1 << 20, .doc = "rows per step"),
	A("accumulate", count, .deflt = "1", .min = 1, .max = 1 << 20,
		.doc = "batches whose gradients one step adds up"),
	A("learning-rate", number, .deflt = "2e-5", .min_open = true, .max = 10,
		.doc = "peak of the learning rate"),
	A("warm-up", percent, .deflt = "0%", .max = 100,
		.doc = "share of a round's steps in which the rate rises"),
	A("decay", enum, .values = spec_decays, .deflt = "linear",
		.doc = "how the rate falls to 0 within a round"),
	A("weight-decay", number, .deflt = "0", .max = 10, .doc = "AdamW's"),
	A("clip", number, .deflt = "1", .doc = "largest norm of the gradient; 0: any"),
	A("trainable", percent, .when = "method=sparse|lora", .deflt = "25%", .other_when = "method=lora",
		.other_deflt = "100%", .max = 100, .doc = "share of blocks that stay trainable"),
	A("embeddings", enum, .values = train_or_freeze, .deflt = "train", .other_when = "method=lora",
		.other_deflt = "freeze", .doc = "embeddings, final norm and head"),
	A("rank", count, .when = "method=lora", .deflt = "8", .min = 1, .max = 4096,
		.doc = "of the low-rank additions to the matrices of trainable blocks"),
	A("alpha", number, .when = "method=lora", .min_open = true, .max = 1 << 20,
		.doc = "additions count alpha / rank (default: twice the rank)"),
	A("distill", percent, .max = 100,
		.doc = "share of the loss that is distance to the untouched model's distribution (default: none)"),
	A("temperature", number, .when = "distill", .deflt = "1", .min_open = true, .max = 100,
		.doc = "by which the logits of both are divided"),
	A("patience", count, .min = 1, .max = 10000,
		.doc = "ends a round early behind so many looks at validation rows that found no lower loss; the state of the "
		       "lowest is kept (default: no looks)"),
	A("validate-every", count, .when = "patience", .min = 1, .max = 1 << 30,
		.doc = "steps from one look at validation rows to the next (default: a tenth of a round's)"),
	A("on-new-rows", enum, .values = spec_new_rows_words, .deflt = "retune",
		.doc = "what train rows cause that are new since the lock: all rounds anew, or one pass over them and as many old "
		       "ones from each target's state on"),
	A("seed", count, .list = true, .deflt = "42",
		.doc = "of the order of rows; a list makes one chain for each"),
	{0},
};

static const struct spec_attr gate_attrs[] = {
	A("against", enum, .values = spec_references, .when = "!target", .deflt = "tuned",
		.doc = "reference: round 0, or the untouched model"),
	A("target", name, .refers = "target", .doc = "reference: another target, as it ships"),
	A("metric", enum, .values = spec_metrics,
		.doc = "default: accuracy for a choice task, else nll"),
	A("margin", margin, .required = true, .min_open = true,
		.doc = "largest loss that passes: points of accuracy, nats of nll, or a share of the reference's nll or perplexity"),
	A("confidence", percent, .deflt = "95%", .min = 50, .min_open = true, .max = 99.9999,
		.doc = "of the one-sided bound"),
	A("dataset", name, .refers = "dataset", .doc = "default: every one"),
	{0},
};

static const struct spec_attr target_attrs[] = {
	A("name", name, .required = true, .doc = "of the binary and its folder"),
	A("hardware", name, .list = true, .required = true,
		.doc = "a profile of specs/hardware or a <hardware> of the spec; a list puts code for each into the binary"),
	A("weights", enum, .values = weight_dtypes, .deflt = "bf16", .doc = "dtype in which weights are stored"),
	A("head", enum, .values = weight_dtypes,
		.doc = "of the weights that give the logits, and the embedding tied to them (default: as weights)"),
	A("activations", enum, .values = activation_dtypes,
		.doc = "default: the profile's, else as weights, int8 with int4"),
	A("kv", enum, .values = cache_dtypes,
		.doc = "dtype of the KV cache (default: the profile's, else as activations, bf16 for int8)"),
	A("keep", keep, .list = true,
		.doc = "where it stops on the chain; a list makes one target for each"),
	A("schedule", name, .refers = "schedule", .list = true,
		.doc = "default: the only one; a list takes the one whose state has the lowest nll on validation rows"),
	A("context", count, .min = 2, .max = 1 << 24,
		.doc = "longest input (default: the profile's, else the model's)"),
	A("threads", count, .min = 1, .max = 4096,
		.doc = "default: the profile's, else one per core where it runs"),
	A("memory", bytes, .min = 1, .doc = "what the binary may use (default: the profile's)"),
	A("system", text, .later = "*", .doc = "system prompt of chats"),
	{0},
};

static const struct spec_attr hardware_attrs[] = {
	A("name", name, .required = true, .doc = "by which targets choose it"),
	A("cpu", enum, .values = spec_cpus, .doc = "instruction set; native is pinned by the lock"),
	A("gpu", enum, .values = gpus, .doc = "architecture of an NVIDIA GPU"),
	A("threads", count, .min = 1, .max = 4096, .doc = "default: one per core where it runs"),
	A("memory", bytes, .min = 1, .doc = "what a binary may use"),
	A("context", count, .min = 2, .max = 1 << 24, .doc = "longest input in tokens"),
	A("activations", enum, .values = activation_dtypes, .doc = "for targets that do not say"),
	A("kv", enum, .values = cache_dtypes, .doc = "for targets that do not say"),
	{0},
};

static const struct spec_attr no_attrs[] = {{0}};

#define IN(...) .parents = (const char *const[]){__VA_ARGS__, NULL}

const struct spec_element spec_elements[] = {
	{"trim", .content = CONTENT_ELEMENTS, .attr = trim_attrs, .min = 1, .max = 1,
		.parents = (const char *const[]){NULL}, .doc = "a trim spec"},
	{"model", IN("trim"), .content = CONTENT_ELEMENTS, .attr = model_attrs, .min = 1, .max = 1,
		.doc = "where the base model comes from: one of path, hub, init"},
	{"tokenizer", IN("model"), .content = CONTENT_NONE, .attr = tokenizer_attrs, .min = 1,
		.max = 1, .when = "init", .doc = "of a model made from nothing: path or train"},
	{"dataset", IN("trim"), .content = CONTENT_ELEMENTS, .attr = dataset_attrs,
		.doc = "rows of the domain, how they are divided and what they ask"},
	{"split", IN("dataset"), .content = CONTENT_NONE, .attr = split_attrs, .min = 1,
		.doc = "divides rows: each part a share (80%), a file or pattern, or ids:FILE"},
	{"task", IN("dataset"), .content = CONTENT_ELEMENTS, .attr = task_attrs, .min = 1, .max = 1,
		.doc = "how a row becomes a prompt and an answer"},
	{"prompt", IN("task"), .content = CONTENT_TEXT, .attr = no_attrs, .max = 1,
		.doc = "template with {FIELD}, {LIST[*]}, {1} for a column, {{ for a brace"},
	{"choice", IN("task"), .content = CONTENT_TEXT, .attr = no_attrs, .when = "kind=choice",
		.doc = "template of one choice"},
	{"choices", IN("task"), .content = CONTENT_NONE, .attr = field_attrs, .max = 1,
		.when = "kind=choice", .doc = "choices that stand in the row"},
	{"answer", IN("task"), .content = CONTENT_TEXT, .attr = answer_attrs, .min = 1, .max = 1,
		.when = "kind=choice|completion", .doc = "the right answer: a field or a template"},
	{"schedule", IN("trim"), .content = CONTENT_ELEMENTS, .attr = schedule_attrs,
		.doc = "a chain of rounds: score, drop, tune"},
	{"score", IN("schedule"), .content = CONTENT_NONE, .attr = score_attrs, .max = 1,
		.implied = "schedule",
		.doc = "how the next unit to drop is found"},
	{"tune", IN("schedule", "target"), .content = CONTENT_NONE, .attr = tune_attrs, .max = 1,
		.implied = "schedule",
		.doc = "how what is left is trained after each drop; in a target: once more, behind the chain"},
	{"gate", IN("trim", "target"), .content = CONTENT_NONE, .attr = gate_attrs,
		.doc = "a target passes if its loss against a reference is below the margin"},
	{"target", IN("trim"), .content = CONTENT_ELEMENTS, .attr = target_attrs, .min = 1,
		.doc = "one binary; a gate inside replaces those of the spec"},
	{"hardware", IN("trim"), .content = CONTENT_NONE, .attr = hardware_attrs,
		.doc = "a profile of a machine"},
	{0},
};

const struct spec_element *spec_element_find(const char *name)
{
	for (const struct spec_element *e = spec_elements; e->name; e++)
		if (strcmp(e->name, name) == 0)
			return e;
	return NULL;
}

const struct spec_attr *spec_attr_find(const struct spec_element *e, const char *name)
{
	for (const struct spec_attr *a = e->attr; a->name; a++)
		if (strcmp(a->name, name) == 0)
			return a;
	return NULL;
}

bool spec_element_in(const struct spec_element *e, const char *parent)
{
	for (int i = 0; e->parents[i]; i++)
		if (strcmp(e->parents[i], parent) == 0)
			return true;
	return false;
}

int spec_word_index(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return -1;
}

static bool matches(const char *pattern, size_t n, const char *word)
{
	size_t len = strlen(word);
	if (n && pattern[0] == '!')
		return !(len == n - 1 && memcmp(pattern + 1, word, len) == 0);
	if (n && pattern[0] == '*')
		return len >= n - 1 && memcmp(word + len - (n - 1), pattern + 1, n - 1) == 0;
	if (n && pattern[n - 1] == '*')
		return len >= n - 1 && memcmp(word, pattern, n - 1) == 0;
	return len == n && memcmp(pattern, word, n) == 0;
}

bool spec_is_later(const char *later, const char *word)
{
	while (later && *later) {
		size_t n = strcspn(later, " ");
		if (matches(later, n, word))
			return true;
		later += n + strspn(later + n, " ");
	}
	return false;
}
