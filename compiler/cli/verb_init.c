/* A spec to begin with, which `trim check` accepts as it is: every line that a newcomer may want to
 * change has its comment. Without a model and data of the user's own it makes both from nothing. */
#include "cli.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

static void add_attr_text(struct strbuf *b, const char *s)
{
	for (; *s; s++) {
		if (strchr("&<\"", *s))
			strbuf_addf(b, "&#%d;", *s);
		else
			strbuf_addc(b, *s);
	}
}

static void add_model(struct strbuf *b, const char *model)
{
	if (model) {
		strbuf_adds(b, "  <!-- A Hugging Face directory or a GGUF file. Outside the project: path=\""
			       "models:NAME\"\n       and the variable TRIM_ROOT_MODELS=DIR. -->\n  <model path=\"");
		add_attr_text(b, model);
		strbuf_adds(b, "\"/>\n\n");
		return;
	}
	strbuf_adds(b,
		"  <!-- A small base made from nothing. For a model of yours: <model path=\"DIR or FILE.gguf\"/>"
		" -->\n"
		"  <model init=\"random\" arch=\"llama\" layers=\"6\" width=\"96\" ffn=\"256\" heads=\"4\" "
		"kv-heads=\"2\" context=\"128\">\n"
		"    <tokenizer train=\"bpe\" vocab=\"384\" dataset=\"rows\"/>\n"
		"  </model>\n\n");
}

static void add_dataset(struct strbuf *b, const char *data, bool text)
{
	strbuf_adds(b, "  <!-- The rows of your domain. test rows are read once, at the end; calibration "
		       "rows rank what to\n       drop, validation rows choose where to stop. -->\n"
		       "  <dataset name=\"rows\" path=\"");
	add_attr_text(b, data);
	strbuf_adds(b, "\">\n"
		       "    <split test=\"20%\" train=\"60%\" calibration=\"10%\" validation=\"10%\"/>\n");
	if (text)
		strbuf_adds(b, "    <!-- A row is a paragraph; row=\"line\" or row=\"file\" change that. -->\n"
			       "    <task kind=\"text\" length=\"128\" on-long=\"skip\"/>\n");
	else
		strbuf_adds(b,
			"    <!-- {NAME} is a field of the row. kind=\"completion\" has no choices. -->\n"
			"    <task kind=\"choice\" length=\"128\">\n"
			"      <prompt>Question: {question}&#10;Answer:</prompt>\n"
			"      <choice>yes</choice> <choice>no</choice>\n"
			"      <answer field=\"answer\"/>\n"
			"    </task>\n");
	strbuf_adds(b, "  </dataset>\n\n");
}

static void add_rest(struct strbuf *b)
{
	strbuf_adds(b,
		"  <!-- Drop the attention or MLP half that matters least, tune, repeat, until this share of "
		"the\n       bytes is left. Also: keep=\"8 units\", keep=\"4GB\"; a list on a target makes one "
		"of each. -->\n"
		"  <schedule keep=\"50%\">\n"
		"    <score method=\"scan\" rows=\"8\"/>\n"
		"    <tune epochs=\"1\" batch=\"8\" learning-rate=\"3e-4\" trainable=\"25%\" seed=\"42\"/>\n"
		"  </schedule>\n\n"
		"  <!-- One standalone binary each. Hardware: native, x86-64-v3, avx-vnni, x86-64-v4,\n"
		"       avx512-bf16, zen4, zen5, aarch64-neon, aarch64-dotprod, aarch64-i8mm;\n"
		"       several of one architecture give a binary that takes the best at start. -->\n"
		"  <target name=\"half\" hardware=\"native\" weights=\"bf16\"/>\n"
		"  <target name=\"most\" hardware=\"native\" weights=\"bf16\" keep=\"75%\"/>\n");
}

/* Sums below 20 with a right or a wrong result, so that there is something to learn. */
static void add_rows(struct strbuf *b)
{
	for (int x = 0; x < 20; x++)
		for (int y = 0; y < 10; y++) {
			bool right = (x * 7 + y * 3) % 2 == 0;
			strbuf_addf(b, "{\"question\":\"Is %d plus %d equal to %d?\",\"answer\":\"%s\"}\n",
				x, y, right ? x + y : x + y + 1 + (x + y) % 3, right ? "yes" : "no");
		}
}

/* Letters, digits, '.', '_' and '-' of the folder that the spec stands in. */
static const char *project_name(struct cli *c, const char *path)
{
	char cwd[4096];
	const char *slash = strrchr(path, '/');
	const char *dir = slash ? arena_strndup(c->arena, path, (size_t)(slash - path)) : NULL;
	if (!dir && getcwd(cwd, sizeof(cwd)))
		dir = cwd;
	const char *base = dir && strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir;
	char *name = arena_strndup(c->arena, base ? base : "", 64);
	char *to = name;
	for (char *s = name; *s; s++)
		if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
			(to != name && strchr("._-", *s)))
			*to++ = *s;
	*to = 0;
	return *name ? name : "example";
}

/* Writes a file that is not there yet. */
static bool write_new(const char *path, const struct strbuf *b, struct err *e)
{
	if (access(path, F_OK) == 0)
		return err_set(e, ERR_SPEC, "'%s' is there already; it is left as it is", path);
	return file_write(path, strbuf_buf(b), 0644, e);
}

static bool write_files(struct cli *c, const char *path, struct err *e)
{
	const char *model = cli_option(c, "model"), *data = cli_option(c, "data");
	const char *slash = strrchr(path, '/');
	const char *dir = slash ? arena_strndup(c->arena, path, (size_t)(slash - path) + 1) : "";
	size_t len = data ? strlen(data) : 0;
	bool text = len > 4 && strcmp(data + len - 4, ".txt") == 0, ok = true;
	struct strbuf b;
	strbuf_init(&b);
	if (access(path, F_OK) == 0) {
		ok = err_set(e, ERR_SPEC, "'%s' is there already; it is left as it is", path);
	} else if (!data) {
		const char *rows = arena_printf(c->arena, "%sdata/rows.jsonl", dir);
		add_rows(&b);
		ok = make_directories(arena_printf(c->arena, "%sdata", dir), e) && write_new(rows, &b, e);
		if (ok)
			cli_say(c, "wrote %s, 200 made-up rows", rows);
		strbuf_clear(&b);
	}
	strbuf_adds(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
			"<!-- `trim help spec` lists all that may stand here, `trim expand` what is meant. -->\n"
			"<trim xmlns=\"" "urn:trim:spec:1" "\" name=\"");
	strbuf_adds(&b, project_name(c, path));
	strbuf_adds(&b, "\">\n");
	add_model(&b, model);
	add_dataset(&b, data ? data : "data/rows.jsonl", text);
	add_rest(&b);
	strbuf_adds(&b, "</trim>\n");
	ok = ok && write_new(path, &b, e);
	strbuf_release(&b);
	if (ok)
		cli_say(c, "wrote %s; next: trim check%s%s", path,
			strcmp(path, "trim.xml") ? " " : "", strcmp(path, "trim.xml") ? path : "");
	return ok;
}

int verb_init(struct cli *c)
{
	struct err e = {0};
	return write_files(c, c->narg ? c->arg[0] : "trim.xml", &e) ? EXIT_OK : cli_fail(c, &e);
}
