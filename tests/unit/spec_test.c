#include "test.h"

#include <stdio.h>
#include <string.h>

#include "file.h"
#include "spec.h"

static const struct spec_root specs = {"trim", "specs"};

/* Writes text as spec.xml into a fresh folder that is a project of its own, and loads it. */
static bool load(struct arena *a, const char *text, size_t n, struct spec **s, struct spec_log *log)
{
	struct spec_root root = specs;
	struct spec_roots roots = {&root, 1};
	const char *dir = test_tmpdir();
	const char *path = arena_printf(a, "%s/spec.xml", dir);
	struct err e;
	if (!file_write(arena_printf(a, "%s/.trim-root", dir), (struct buf){"", 0}, 0644, &e) ||
		!file_write(arena_printf(a, "%s/rows.jsonl", dir), (struct buf){"{}", 2}, 0644, &e) ||
		!file_write(path, (struct buf){text, n}, 0644, &e))
		FAIL("%s", e.msg);
	spec_log_init(log, a);
	return spec_load(a, path, &(struct spec_options){&roots, false}, s, log);
}

#define HEAD "<trim xmlns='urn:trim:spec:1' name='x'><model path='rows.jsonl'/>"
#define DATASET                                                                                    \
	"<dataset name='d' path='rows.jsonl'>"                                                    \
	"<split test='20%' train='60%' calibration='12.5%' validation='7.5%' by='@key'/>"         \
	"<task kind='choice'><prompt>{q}</prompt><choice>a</choice><choice>b</choice>"            \
	"<answer field='f'/></task></dataset>"

static const char whole[] = HEAD DATASET
	"<schedule name='ours' keep='50%' arithmetic='bf16'><tune seed='7 8' epochs='2' "
	"learning-rate='3e-4'/><score rows='9' tie-break='activation-norm'/></schedule>"
	"<schedule name='base'><score method='random'/><tune epochs='0'/></schedule>"
	"<gate margin='2pp'/>"
	"<hardware name='box' cpu='zen4' threads='3' memory='2GiB' context='99'/>"
	"<target name='big' hardware='box' schedule='ours' keep='80% 6 units' threads='5'/>"
	"<target name='one' hardware='zen5 box' schedule='base' keep='1.5MB' weights='f32'>"
	"<gate against='parent' metric='nll' margin='0.25' confidence='90%'/></target>"
	"<target name='q' hardware='zen5' schedule='base' keep='100%' weights='int8' kv='int8' system='Be brief.'/></trim>";

TEST(spec_structs_hold_what_the_spec_says)
{
	struct arena a = {0};
	struct spec_log log;
	struct spec *s;
	if (!load(&a, whole, strlen(whole), &s, &log)) {
		FAIL("%s", log.msg[0].err.msg);
		arena_release(&a);
		return;
	}
	REQUIRE(s->nschedule == 3);
	CHECK_STR(s->schedule[0].name, "ours-s7");
	CHECK_STR(s->schedule[1].name, "ours-s8");
	CHECK_STR(s->schedule[1].group, "ours");
	CHECK_INT(s->schedule[1].tune.seed, 8);
	CHECK_INT(s->schedule[1].tune.epochs, 2);
	CHECK(s->schedule[1].tune.learning_rate == 3e-4);
	CHECK(s->schedule[1].tune.trainable == 0.25);
	CHECK(s->schedule[1].tune.train_embeddings);
	CHECK_INT(s->schedule[1].arithmetic, DTYPE_BF16);
	CHECK_INT(s->schedule[1].score.method, SCORE_SCAN);
	CHECK_INT(s->schedule[1].score.rows, 9);
	CHECK_INT(s->schedule[1].score.ntie_break, 1);
	CHECK_INT(s->schedule[1].score.tie_break[0], TIE_ACTIVATION_NORM);
	CHECK_INT(s->schedule[1].score.non, 1);
	CHECK_INT(s->schedule[2].score.method, SCORE_RANDOM);
	CHECK_INT(s->schedule[2].tune.epochs, 0);
	CHECK_INT(s->schedule[2].keep.kind, VALUE_TEXT);

	static const struct {
		const char *name, *group, *cpu;
		enum spec_value_kind kind;
		double value;
		int schedule;
		int64_t threads, context;
		bool later;
	} targets[] = {
		{"big-80-s7", "big", "zen4", VALUE_SHARE, 0.8, 0, 5, 99, false},
		{"big-80-s8", "big", "zen4", VALUE_SHARE, 0.8, 1, 5, 99, false},
		{"big-6units-s7", "big", "zen4", VALUE_UNITS, 6, 0, 5, 99, false},
		{"big-6units-s8", "big", "zen4", VALUE_UNITS, 6, 1, 5, 99, false},
		{"one", "one", "zen5 zen4", VALUE_BYTES, 1.5e6, 2, 3, 99, false},
		{"q", "q", "zen5", VALUE_SHARE, 1, 2, 0, 0, true},
	};
	REQUIRE(s->ntarget == NELEM(targets));
	for (size_t i = 0; i < NELEM(targets); i++) {
		const struct spec_target *t = &s->target[i];
		CHECK_STR(t->name, targets[i].name);
		CHECK_STR(t->group, targets[i].group);
		const char *cpus = "";
		for (int k = 0; k < t->hardware.ncpu; k++)
			cpus = arena_printf(&a, "%s%s%s", cpus, k ? " " : "", t->hardware.cpu[k]);
		CHECK_STR(cpus, targets[i].cpu);
		CHECK_INT(t->keep.kind, targets[i].kind);
		CHECK(t->keep.value == targets[i].value);
		CHECK_INT(t->nschedule, 1);
		CHECK_INT(t->schedule[0], targets[i].schedule);
		CHECK_INT(t->threads, targets[i].threads);
		CHECK_INT(t->context, targets[i].context);
		CHECK_INT(spec_target_later(s, (int)i), targets[i].later);
		CHECK_INT(t->ngate, 1);
	}
	CHECK(s->target[0].memory_bytes == 2.0 * (1 << 30));
	CHECK_INT(s->target[4].activations, DTYPE_F32);
	CHECK_INT(s->target[4].kv, DTYPE_F32);
	CHECK_INT(s->target[0].activations, DTYPE_BF16);
	CHECK_INT(spec_target_find(s, "q")->kv, DTYPE_INT8);
	CHECK_INT(s->target[0].gate[0]->metric, METRIC_ACCURACY);
	CHECK(s->target[0].gate[0]->margin == 0.02);
	CHECK_INT(s->target[4].gate[0]->against, AGAINST_PARENT);
	CHECK(s->target[4].gate[0]->margin == 0.25 && s->target[4].gate[0]->confidence == 0.9);
	CHECK(spec_target_find(s, "one") == &s->target[4]);
	CHECK_INT(s->dataset[0].format, FORMAT_JSONL);
	CHECK_STR(s->dataset[0].split[0].by, "@key");
	CHECK(s->dataset[0].split[0].calibration.share == 0.125);
	CHECK_STR(s->dataset[0].split[0].path->rel, "rows.jsonl");
	CHECK_INT(s->dataset[0].task.nchoice, 2);
	CHECK_STR(s->dataset[0].task.choice[1].s, "b");
	CHECK_STR(s->dataset[0].task.delimiter, " ");
	CHECK_INT(log.nlater, 1);
	CHECK_INT(s->nfiles, 2); /* spec.xml and the profile of zen5 */
	arena_release(&a);
}

static struct digest digest_of_spec(const char *text)
{
	struct arena a = {0};
	struct spec_log log;
	struct spec *s;
	struct digest d = {0};
	if (load(&a, text, strlen(text), &s, &log))
		d = s->digest;
	else
		FAIL("%s", log.msg[0].err.msg);
	arena_release(&a);
	return d;
}

TEST(spec_digest_sees_meaning_only)
{
	static const char tail[] = "<target name='t' hardware='native'/></trim>";
	char text[4096];
#define SPEC(middle) (snprintf(text, sizeof(text), "%s%s%s", HEAD, middle, tail), text)
	struct digest d = digest_of_spec(SPEC(""));
	CHECK(digest_equal(d, digest_of_spec(SPEC("\n\n <!-- x --> \t"))));
	CHECK(!digest_equal(d, digest_of_spec(SPEC("<target name='u' hardware='zen5'/>"))));
	static const char task[] = "<dataset name='d' path='rows.jsonl'><split test='100%%'/><task "
				   "kind='completion'><prompt>%s</prompt><answer field='f'/></task></dataset>";
	char middle[512];
	snprintf(middle, sizeof(middle), task, "{q}");
	d = digest_of_spec(SPEC(middle));
	snprintf(middle, sizeof(middle), task, "{q} ");
	CHECK(!digest_equal(d, digest_of_spec(SPEC(middle))));
	snprintf(middle, sizeof(middle), task, "<!-- x -->{<![CDATA[q]]>&#125;");
	CHECK(digest_equal(d, digest_of_spec(SPEC(middle))));
#undef SPEC
}

static bool names_attr(const struct spec_element *e, const char *when)
{
	when += *when == '!';
	for (const struct spec_attr *a = e->attr; a->name; a++)
		if (strncmp(when, a->name, strcspn(when, "=")) == 0 &&
			strlen(a->name) == strcspn(when, "="))
			return true;
	return false;
}

TEST(spec_table_is_sound)
{
	struct arena a = {0};
	for (const struct spec_element *e = spec_elements; e->name; e++) {
		CHECK(e->doc && *e->doc);
		CHECK(spec_element_find(e->name) == e);
		for (int i = 0; e->parents[i]; i++) {
			const struct spec_element *parent = spec_element_find(e->parents[i]);
			REQUIRE(parent);
			CHECK_INT(parent->content, CONTENT_ELEMENTS);
			CHECK(!e->when || names_attr(parent, e->when));
		}
		for (const struct spec_attr *at = e->attr; at->name; at++) {
			struct spec_value *v;
			int nv;
			const char *canonical = NULL, *bad;
			CHECK(spec_attr_find(e, at->name) == at);
			CHECK(at->doc && at->type);
			CHECK((at->type == &spec_type_enum) == (at->values != NULL));
			CHECK(!at->when || names_attr(e, at->when));
			CHECK(!at->refers || spec_element_find(at->refers));
			CHECK(!(at->required && at->deflt));
			if (!at->deflt)
				continue;
			if (!spec_parse(&a, at, at->deflt, &v, &nv, &canonical, &bad))
				FAIL("default of '%s' on <%s> is bad", at->name, e->name);
			else
				CHECK_STR(canonical, at->deflt);
			CHECK(!spec_is_later(at->later, at->deflt));
		}
	}
	arena_release(&a);
}

TEST(spec_values_have_one_form)
{
	static const char *const words[] = {"a", "bb", NULL};
	static const struct spec_attr count = {.type = &spec_type_count, .min = 1, .max = 20},
		counts = {.type = &spec_type_count, .list = true},
		number = {.type = &spec_type_number, .min_open = true},
		percent = {.type = &spec_type_percent, .max = 100},
		keep = {.type = &spec_type_keep}, keeps = {.type = &spec_type_keep, .list = true},
		bytes = {.type = &spec_type_bytes, .min = 1}, name = {.type = &spec_type_name},
		word = {.type = &spec_type_enum, .values = words}, hub = {.type = &spec_type_hub},
		text = {.type = &spec_type_text}, share = {.type = &spec_type_share};
	static const struct {
		const struct spec_attr *row;
		const char *text, *canonical; /* NULL: refused */
		double number;
	} cases[] = {
		{&count, "007", "7", 7}, {&count, " 20\n", "20", 20}, {&count, "0", NULL, 0},
		{&count, "21", NULL, 0}, {&count, "+1", NULL, 0}, {&count, "1.0", NULL, 0},
		{&count, "99999999999999999999", NULL, 0}, {&count, "", NULL, 0}, {&count, "1 2", NULL, 0},
		{&counts, "1\t02  3", "1 2 3", 1}, {&counts, " ", NULL, 0}, {&counts, "1 x", NULL, 0},
		{&number, "2e-5", "2e-5", 2e-5}, {&number, "0.50", "0.5", 0.5},
		{&number, "002.00", "2", 2}, {&number, "1E+05", "1e5", 1e5}, {&number, "3e00", "3", 3},
		{&number, "0", NULL, 0}, {&number, "0.0", NULL, 0}, {&number, ".5", NULL, 0},
		{&number, "5.", NULL, 0}, {&number, "-1", NULL, 0}, {&number, "nan", NULL, 0},
		{&number, "1e999", NULL, 0}, {&number, "0x10", NULL, 0}, {&number, "1e", NULL, 0},
		{&percent, "50%", "50%", 0.5}, {&percent, "012.50%", "12.5%", 0.125},
		{&percent, "100.0%", "100%", 1}, {&percent, "100.1%", NULL, 0}, {&percent, "5", NULL, 0},
		{&percent, "1e1%", NULL, 0}, {&percent, "0%", "0%", 0},
		{&keep, "50%", "50%", 0.5}, {&keep, "0%", NULL, 0}, {&keep, "0.000%", NULL, 0},
		{&keep, "32 units", "32 units", 32}, {&keep, "1unit", "1 units", 1},
		{&keep, "1.5 units", NULL, 0}, {&keep, "4GB", "4GB", 4e9}, {&keep, "gate", "gate", 0},
		{&keep, "40 tokens/s", "40 tokens/s", 40}, {&keep, "0B", NULL, 0}, {&keep, "4", NULL, 0},
		{&keep, "100000000000 units", NULL, 0},
		{&keeps, "80% 3 units 1GiB gate", "80% 3 units 1GiB gate", 0.8},
		{&keeps, "units", NULL, 0}, {&keeps, "80% gat", NULL, 0},
		{&bytes, "1.50GiB", "1.5GiB", 1.5 * (1 << 30)}, {&bytes, "1gb", NULL, 0},
		{&bytes, "9999999999999TB", NULL, 0}, {&name, "a.b_C-1", "a.b_C-1", 0},
		{&name, "..", NULL, 0}, {&name, "-a", NULL, 0}, {&name, "a/b", NULL, 0},
		{&name, "", NULL, 0}, {&word, "bb", "bb", 0}, {&word, "b", NULL, 0},
		{&word, "a bb", NULL, 0}, {&hub, "org/name-1", "org/name-1", 0}, {&hub, "org", NULL, 0},
		{&hub, "a/b/c", NULL, 0}, {&text, " x ", " x ", 0}, {&text, "", "", 0},
		{&share, "20%", "20%", 0.2}, {&share, "ids:a b", "ids:a b", 0}, {&share, "ids:", NULL, 0},
		{&share, "101%", NULL, 0}, {&share, "a/*.txt", "a/*.txt", 0},
	};
	struct arena a = {0};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct spec_value *v;
		int nv;
		const char *canonical = NULL, *bad;
		bool ok = spec_parse(&a, cases[i].row, cases[i].text, &v, &nv, &canonical, &bad);
		if (ok != (cases[i].canonical != NULL))
			FAIL("'%s' as %s: %s", cases[i].text, cases[i].row->type->name,
				ok ? "taken" : "refused");
		else if (ok && strcmp(canonical, cases[i].canonical) != 0)
			FAIL("'%s' became '%s'", cases[i].text, canonical);
		else if (ok && v[0].number != cases[i].number)
			FAIL("'%s' is %.17g", cases[i].text, v[0].number);
	}
	arena_release(&a);
}

TEST(spec_later_matches_words)
{
	CHECK(spec_is_later("int8 int4", "int4"));
	CHECK(!spec_is_later("int8 int4", "int"));
	CHECK(spec_is_later("cuda-*", "cuda-sm_90"));
	CHECK(!spec_is_later("cuda-*", "cud"));
	CHECK(spec_is_later("gate *tokens/s", "4 tokens/s"));
	CHECK(spec_is_later("!1", "2") && !spec_is_later("!1", "1"));
	CHECK(!spec_is_later(NULL, "x"));
}

/* Random damage: every outcome is a spec or an error with a place in a file that was read. */
TEST(spec_survives_damage)
{
	static const char pieces[][12] = {"<", ">", "/>", "\"", "'", "=", "&#0;", "&amp;", "<!--", "]]>",
		"<trim", "\xff", "\n", "{", "%", "ids:", "../", "xmlns='u'", "<task>", "0"};
	struct rng r;
	rng_init(&r, 11);
	int ngood = 0;
	for (int round = 0; round < 400; round++) {
		struct arena a = {0};
		struct spec_log log;
		struct spec *s;
		struct strbuf b;
		strbuf_init(&b);
		size_t at = rng_below(&r, sizeof(whole)), cut = rng_below(&r, 4);
		if (at + cut >= sizeof(whole))
			cut = sizeof(whole) - 1 - at;
		strbuf_add(&b, whole, at);
		strbuf_adds(&b, pieces[rng_below(&r, NELEM(pieces))]);
		strbuf_add(&b, whole + at + cut, sizeof(whole) - 1 - at - cut);
		bool ok = load(&a, b.s, b.n, &s, &log);
		ngood += ok;
		if (ok != (log.nerror == 0))
			FAIL("round %d: %d errors, %s", round, log.nerror, ok ? "taken" : "refused");
		for (int i = 0; i < log.nmsg; i++)
			if (!log.msg[i].err.file[0] || log.msg[i].err.line < 1 || log.msg[i].err.col < 1)
				FAIL("round %d: no place: %s", round, log.msg[i].err.msg);
		strbuf_release(&b);
		arena_release(&a);
	}
	CHECK(ngood > 0);
}
