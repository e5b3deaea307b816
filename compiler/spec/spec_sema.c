/* What takes more than one row of the table to judge. Wrong values have had their message: here
 * they are passed over. */
#include "spec_pass.h"

#include <dirent.h>
#include <math.h>
#include <string.h>

#include "template.h"

struct sema {
	struct spec_files *fs;
	struct arena *a;
	struct spec_log *log;
	struct xml_node *root;
};

static const struct place *place_of(const struct xml_node *n, const char *attr)
{
	const struct xml_attr *at = xml_attr(n, attr);
	return at ? &at->value_at : &n->at;
}

static bool is(const struct xml_node *n, const char *attr, const char *value)
{
	const char *v = xml_value(n, attr);
	return v && strcmp(v, value) == 0;
}

/* How many of the attributes in `names` (NULL-terminated) n has. */
static int count_attrs(const struct xml_node *n, const char *const *names)
{
	int count = 0;
	for (int i = 0; names[i]; i++)
		count += xml_attr(n, names[i]) != NULL;
	return count;
}

static bool exactly_one(struct sema *s, const struct xml_node *n, const char *const *names)
{
	int count = count_attrs(n, names);
	if (count == 1)
		return true;
	struct strbuf b;
	strbuf_init(&b);
	for (int i = 0; names[i]; i++)
		strbuf_addf(&b, "%s%s", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
	if (count)
		spec_error(s->log, &n->at, "<%s> has more than one of %s", n->name, b.s);
	else
		spec_error(s->log, &n->at, "<%s> needs one of %s", n->name, b.s);
	strbuf_release(&b);
	return false;
}

static int64_t count_of(struct sema *s, const struct xml_node *n, const char *attr)
{
	struct spec_value *v = spec_values(s->a, n, attr, NULL);
	return v ? v->count : -1;
}

/* Follows every path below n; its text becomes what the main spec would say. */
static void resolve_paths(struct sema *s, struct xml_node *n)
{
	for (int i = 0; i < n->nattr; i++) {
		struct xml_attr *at = &n->attr[i];
		bool share = at->row && at->row->type == &spec_type_share;
		if (!at->row || (at->row->type != &spec_type_path && !share))
			continue;
		struct spec_value *v = spec_values(s->a, n, at->name, NULL);
		if (!v || v->kind == VALUE_SHARE)
			continue;
		struct spec_path *p = arena_new(s->a, struct spec_path);
		if (!spec_path_resolve(s->fs, at->at.file, v->word, at->value_at, p))
			continue;
		at->path = p;
		at->value = arena_printf(s->a, "%s%s", v->kind == VALUE_IDS ? "ids:" : "",
			spec_path_text(s->fs, p));
	}
	for (int i = 0; i < n->nchild; i++)
		resolve_paths(s, n->child[i]);
}

/* Templates and fields below n can be read as such. */
static void check_templates(struct sema *s, const struct xml_node *n)
{
	struct template t;
	struct field_path path;
	struct err e;
	for (int i = 0; i < n->nattr; i++) {
		const struct xml_attr *at = &n->attr[i];
		if (at->row && at->row->type == &spec_type_field && at->value[0] != '@' &&
			!field_path_parse(s->a, at->value, &path, &e))
			spec_error(s->log, &at->value_at, "bad field '%s': %s",
				spec_quote(s->log, at->value), e.msg);
	}
	if (n->row->content == CONTENT_TEXT && !template_parse(s->a, n->text, &t, &e))
		spec_error(s->log, &n->at, "bad template in <%s>, line %d, column %d of its text: %s",
			n->name, e.line, e.col, e.msg);
	for (int i = 0; i < n->nchild; i++)
		check_templates(s, n->child[i]);
}

static void check_model(struct sema *s, const struct xml_node *n)
{
	static const char *const sources[] = {"path", "hub", "init", NULL};
	static const char *const tokenizer_sources[] = {"path", "train", NULL};
	exactly_one(s, n, sources);
	int64_t width = count_of(s, n, "width"), heads = count_of(s, n, "heads"),
		kv = count_of(s, n, "kv-heads");
	if (width > 0 && heads > 0 && (width % heads != 0 || width / heads % 2 != 0))
		spec_error(s->log, place_of(n, "width"),
			"width %lld is not an even multiple of %lld heads", (long long)width,
			(long long)heads);
	if (heads > 0 && kv > 0 && heads % kv != 0)
		spec_error(s->log, place_of(n, "kv-heads"),
			"%lld heads are not a multiple of %lld kv-heads", (long long)heads,
			(long long)kv);
	const struct xml_node *t = xml_child(n, "tokenizer", 0);
	if (t)
		exactly_one(s, t, tokenizer_sources);
}

static void check_task(struct sema *s, const struct xml_node *n, const char *format)
{
	const struct xml_node *prompt = xml_child(n, "prompt", 0), *choices = xml_child(n, "choices", 0),
			      *answer = xml_child(n, "answer", 0);
	bool choice = is(n, "kind", "choice"), text = is(n, "kind", "text");
	int nchoice = 0;
	for (int i = 0; xml_next(n, "choice", &i);)
		nchoice++;
	if ((choice || is(n, "kind", "completion")) && !prompt)
		spec_error(s->log, &n->at, "missing <prompt> in <task>");
	if (choice && nchoice && choices)
		spec_error(s->log, &choices->at, "<choices> beside <choice>; a task has one of them");
	if (choice && !choices && nchoice < 2)
		spec_error(s->log, &n->at, "a choice task needs two <choice> or <choices field=>");
	if (answer && (xml_attr(answer, "field") != NULL) == (answer->text_at.line != 0))
		spec_error(s->log, &answer->at, "<answer> needs either field= or a text");
	if (text && format && strcmp(format, "text") == 0 && prompt)
		spec_error(s->log, &prompt->at, "<prompt> in a task over plain text, which has no fields");
	if (text && format && strcmp(format, "text") != 0 && !prompt)
		spec_error(s->log, &n->at,
			"missing <prompt> in <task>: rows of format \"%s\" have fields, and the "
			"prompt says which are the text",
			format);
	if (format && strcmp(format, "text") == 0 && n->row && (choice || is(n, "kind", "completion")))
		spec_error(s->log, place_of(n, "kind"),
			"a %s task needs rows with fields; format \"text\" has none",
			xml_value(n, "kind"));
}

/* The default of format: by the ending of the first path that the dataset or its splits name. */
static const char *find_format(struct sema *s, struct xml_node *n)
{
	static const struct {
		const char *ending, *format;
	} endings[] = {{".txt", "text"}, {".json", "json"}, {".jsonl", "jsonl"},
		{".ndjson", "jsonl"}, {".csv", "csv"}, {".parquet", "parquet"}};
	const char *path = xml_value(n, "path");
	struct xml_node *split;
	for (int i = 0; !path && (split = xml_next(n, "split", &i));)
		path = xml_value(split, "path");
	if (xml_attr(n, "format") || !path)
		return xml_value(n, "format");
	size_t len = strlen(path);
	for (size_t i = 0; i < NELEM(endings); i++) {
		size_t k = strlen(endings[i].ending);
		if (len > k && strcmp(path + len - k, endings[i].ending) == 0) {
			xml_set(s->a, n, "format", endings[i].format);
			xml_attr(n, "format")->row = spec_attr_find(n->row, "format");
			return endings[i].format;
		}
	}
	spec_error(s->log, place_of(n, "path"),
		"missing attribute 'format' on <dataset>: the ending of '%s' tells nothing",
		spec_quote(s->log, path));
	return NULL;
}

static const char *const parts[] = {"test", "train", "calibration", "validation", NULL};

bool spec_asks_for(const struct xml_node *dataset, const char *part)
{
	const struct xml_node *split;
	for (int i = 0; (split = xml_next(dataset, "split", &i));)
		if (xml_attr(split, part))
			return true;
	return false;
}

static bool any_asks_for(const struct sema *s, const char *part)
{
	const struct xml_node *dataset;
	for (int i = 0; (dataset = xml_next(s->root, "dataset", &i));)
		if (spec_asks_for(dataset, part))
			return true;
	return false;
}

/* Shares of the same whole: all sets that train have one, or none has. */
static void check_weights(struct sema *s)
{
	struct xml_node *n, *first = NULL;
	double sum = 0;
	for (int i = 0; !first && (n = xml_next(s->root, "dataset", &i));)
		first = xml_attr(n, "weight") ? n : NULL;
	for (int i = 0; (n = xml_next(s->root, "dataset", &i));) {
		struct spec_value *v = spec_values(s->a, n, "weight", NULL);
		sum += v ? v->number : 0;
	}
	for (int i = 0; first && (n = xml_next(s->root, "dataset", &i));) {
		bool train = spec_asks_for(n, "train");
		if (xml_attr(n, "weight") && !train)
			spec_error(s->log, &xml_attr(n, "weight")->at, "weight on <dataset> without train rows");
		else if (!xml_attr(n, "weight") && train)
			spec_error(s->log, &n->at,
				"missing attribute 'weight' on <dataset>: the one at %s:%d has one, and weights are shares "
				"of one whole", first->at.file->name, first->at.line);
		struct spec_value *v = spec_values(s->a, n, "weight", NULL);
		if (v && v->number < sum / 1e6)
			spec_error(s->log, place_of(n, "weight"), "a weight below one millionth of all");
	}
}

static void check_dataset(struct sema *s, struct xml_node *n)
{
	const char *format = find_format(s, n);
	bool given[4] = {false}, any = false;
	const struct xml_node *split;
	for (int i = 0; (split = xml_next(n, "split", &i));) {
		double sum = 0;
		for (int p = 0; parts[p]; p++) {
			struct spec_value *v = spec_values(s->a, split, parts[p], NULL);
			given[p] |= xml_attr(split, parts[p]) != NULL;
			any |= given[p];
			if (v && v->kind == VALUE_SHARE)
				sum += v->number;
		}
		if (sum > 1 + 1e-9)
			spec_error(s->log, &split->at, "the shares of <split> sum to %.10g%%",
				sum * 100);
		if (count_attrs(split, parts) == 0)
			spec_error(s->log, &split->at,
				"<split> names no part: test, train, calibration or validation");
		if (!xml_attr(n, "path") && !xml_attr(split, "path"))
			for (int p = 0; parts[p]; p++) {
				struct spec_value *v = spec_values(s->a, split, parts[p], NULL);
				if (v && v->kind != VALUE_FILES) {
					spec_error(s->log, &split->at,
						"missing path on <dataset> or <split>: '%s' needs rows to "
						"divide",
						parts[p]);
					break;
				}
			}
	}
	/* Each set has rows to be measured on; the other parts only have to be in some set. */
	bool tells = n == xml_child(s->root, "dataset", 0) && xml_child(s->root, "schedule", 0);
	for (int p = 0; parts[p] && any; p++)
		if (!given[p] && (p == 0 || (tells && !any_asks_for(s, parts[p]))))
			spec_error(s->log, &xml_child(n, "split", 0)->at,
				"missing attribute '%s': no <split> of the dataset says which rows",
				parts[p]);
	const struct xml_node *task = xml_child(n, "task", 0);
	if (task)
		check_task(s, task, format);
}

static void check_ranks(struct sema *s, const struct xml_node *schedule, const struct xml_node *score)
{
	int method = spec_word_index(spec_score_methods, xml_value(score, "method"));
	int unit = spec_word_index(spec_units, xml_value(schedule, "unit"));
	if (method < 0 || unit < 0 || spec_score_traits[method].ranks & 1u << unit)
		return;
	int other = unit == UNIT_HALF ? UNIT_BLOCK : UNIT_HALF;
	spec_error(s->log, place_of(score, "method"),
		"method=\"%s\" ranks no unit=\"%s\"; it goes with unit=\"%s\" on <schedule>",
		spec_score_methods[method], spec_units[unit], spec_units[other]);
}

static void check_schedule(struct sema *s, struct xml_node *n)
{
	if (!xml_child(s->root, "dataset", 0))
		spec_error(s->log, &n->at, "<schedule> without a <dataset> to score and tune on");
	const struct xml_node *score = xml_child(n, "score", 0);
	if (score && is(score, "method", "given") && !xml_value(score, "units"))
		spec_error(s->log, &score->at, "method=\"given\" without units=\"blk.3.mlp ...\" on <score>");
	if (score)
		check_ranks(s, n, score);
	const struct xml_node *tune = xml_child(n, "tune", 0);
	if (tune && is(tune, "counts", "chain"))
		spec_error(s->log, place_of(tune, "counts"), "counts=\"chain\" stands on the <tune> of a <target>: a round does not "
			"know how many there are");
	if (tune && is(tune, "on-new-rows", "continue") && is(tune, "epochs", "0"))
		spec_error(s->log, place_of(tune, "on-new-rows"),
			"on-new-rows=\"continue\" with epochs=\"0\": what was never tuned does not go on; give epochs, or retune");
}

static void check_gate(struct sema *s, struct xml_node *n)
{
	bool choice = true, any = false;
	struct xml_node *dataset;
	const char *only = xml_value(n, "dataset");
	for (int i = 0; (dataset = xml_next(s->root, "dataset", &i));) {
		const struct xml_node *task = xml_child(dataset, "task", 0);
		if (only && !is(dataset, "name", only))
			continue;
		any = true;
		choice = choice && task && is(task, "kind", "choice");
	}
	if (!xml_child(s->root, "dataset", 0))
		spec_error(s->log, &n->at, "<gate> without a <dataset> to measure on");
	if (!any)
		return;
	if (is(n, "against", "tuned") && !xml_attr(n, "target") && !xml_child(s->root, "schedule", 0))
		spec_error(s->log, place_of(n, "against"),
			"against=\"tuned\" without a <schedule>; use against=\"parent\"");
	if (!xml_attr(n, "metric"))
		xml_set(s->a, n, "metric", choice ? "accuracy" : "nll");
	struct xml_attr *metric = xml_attr(n, "metric");
	metric->row = spec_attr_find(n->row, "metric");
	if (strcmp(metric->value, "accuracy") == 0 && !choice)
		spec_error(s->log, &metric->value_at, "accuracy needs a choice task; use nll");
	struct spec_value *margin = spec_values(s->a, n, "margin", NULL);
	if (margin && (margin->kind == VALUE_POINTS) != (strcmp(metric->value, "accuracy") == 0))
		spec_error(s->log, place_of(n, "margin"),
			margin->kind == VALUE_POINTS
				? "margin of %s in points; it is in the metric's own unit, like 0.05"
				: "margin of %s without its unit; it is in points, like 2pp",
			spec_quote(s->log, metric->value));
}

/* Checks a name against the elements it may refer to. */
static void check_reference(struct sema *s, const struct xml_node *n, const struct xml_attr *at)
{
	const char **item, *names[64];
	size_t nnames = 0;
	int nitem = spec_items(s->a, at->row, at->value, &item);
	for (int k = 0; k < nitem; k++) {
		bool found = false;
		nnames = 0;
		struct xml_node *other;
		for (int i = 0; !found && (other = xml_next(s->root, at->row->refers, &i));) {
			const char *name = xml_value(other, "name");
			found = name && strcmp(name, item[k]) == 0;
			if (name && nnames < NELEM(names))
				names[nnames++] = name;
		}
		const char *near = found ? NULL : nearest_name(item[k], names, nnames);
		if (!found)
			spec_error(s->log, &at->value_at, "no <%s> is named '%s' ('%s' on <%s>)%s%s%s",
				at->row->refers, spec_quote(s->log, item[k]), at->name, n->name,
				near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
}

static void check_references(struct sema *s, const struct xml_node *n)
{
	for (int i = 0; i < n->nattr; i++)
		if (n->attr[i].row && n->attr[i].row->refers)
			check_reference(s, n, &n->attr[i]);
	for (int i = 0; i < n->nchild; i++)
		check_references(s, n->child[i]);
}

static struct xml_node *by_name(const struct xml_node *root, const char *element, const char *name)
{
	struct xml_node *n;
	for (int i = 0; name && (n = xml_next(root, element, &i));)
		if (is(n, "name", name))
			return n;
	return NULL;
}

/* Names of the profiles in the installed specs/hardware. */
static int list_profiles(struct sema *s, const char **names, int max)
{
	const struct spec_root *trim = spec_root_find(s->fs->roots, "trim");
	DIR *d = trim ? opendir(arena_printf(s->a, "%s/hardware", trim->dir)) : NULL;
	int n = 0;
	for (struct dirent *e; d && n < max && (e = readdir(d));) {
		size_t len = strlen(e->d_name);
		if (len > 4 && strcmp(e->d_name + len - 4, ".xml") == 0)
			names[n++] = arena_strndup(s->a, e->d_name, len - 4);
	}
	if (d)
		closedir(d);
	return n;
}

/* The profile that a target names becomes part of the spec, so that the effective one is whole. */
static struct xml_node *find_profile(struct sema *s, const struct xml_attr *at, const char *name)
{
	enum { MAX_PROFILES = 256 };
	struct xml_node *own = by_name(s->root, "hardware", name);
	if (own)
		return own;
	const char *names[MAX_PROFILES * 2];
	int n = list_profiles(s, names, MAX_PROFILES);
	bool found = false;
	for (int i = 0; i < n; i++)
		found = found || strcmp(names[i], name) == 0;
	if (!found) {
		if (n == 0) {
			spec_lacking(s->log, &at->value_at,
				"the folder of hardware profiles is not found; give --root trim=DIR, the "
				"specs/ of trim");
			return NULL;
		}
		struct xml_node *h;
		for (int i = 0; (h = xml_next(s->root, "hardware", &i)) && n < MAX_PROFILES * 2;)
			if (xml_value(h, "name"))
				names[n++] = xml_value(h, "name");
		const char *near = nearest_name(name, names, (size_t)n);
		spec_error(s->log, &at->value_at, "unknown hardware '%s'%s%s%s",
			spec_quote(s->log, name), near ? "; did you mean '" : "",
			near ? near : "", near ? "'?" : "");
		return NULL;
	}
	if (spec_is_later(at->row->later, name))
		return NULL; /* said so already; what it resolves to does not matter yet */
	struct spec_file *f = spec_files_include(s->fs, s->root->at.file,
		arena_printf(s->a, "trim:hardware/%s.xml", name), at->value_at);
	struct xml_node *h = f ? xml_read(s->a, f, s->log) : NULL;
	if (!h || !spec_is_root(h, "hardware", s->log))
		return NULL;
	xml_add_child(s->a, s->root, h);
	spec_check(s->a, h, s->log);
	spec_defaults(s->a, h);
	if (!is(h, "name", name)) {
		spec_error(s->log, &h->at, "a profile is named as its file, '%s'", name);
		return NULL;
	}
	return h;
}

/* What a target's `hardware` names: code for each goes into its binary. */
struct profiles {
	const struct xml_attr *at;
	const char **name;
	struct xml_node **node; /* NULL: it has had its message, or is not supported yet */
	int n;
};

static struct profiles find_profiles(struct sema *s, struct xml_node *target)
{
	struct profiles p = {.at = xml_attr(target, "hardware")};
	if (!p.at || !spec_values(s->a, target, "hardware", NULL))
		return p;
	int n = spec_items(s->a, p.at->row, p.at->value, &p.name);
	p.node = arena_array(s->a, struct xml_node *, n);
	for (; p.n < n; p.n++) {
		p.node[p.n] = find_profile(s, p.at, p.name[p.n]);
		if (p.node[p.n] && p.node[p.n]->later)
			target->later = true;
	}
	return p;
}

/* NULL: any (native), or it is not known. */
static const char *profile_arch(const struct profiles *p, int i)
{
	const char *cpu = p->node[i] ? xml_value(p->node[i], "cpu") : NULL;
	int word = cpu ? spec_word_index(spec_cpus, cpu) : -1;
	if (p->node[i] && xml_value(p->node[i], "gpu"))
		return "x86-64"; /* of the machine that it is in */
	return word < 0 ? NULL : spec_cpu_archs[word];
}

static bool check_pair(struct sema *s, const struct profiles *p, int i, int k)
{
	const char *first = profile_arch(p, i), *second = profile_arch(p, k);
	const char *cpu = p->node[i] ? xml_value(p->node[i], "cpu") : NULL;
	if (strcmp(p->name[i], p->name[k]) == 0)
		return spec_error(s->log, &p->at->value_at, "'%s' stands twice in 'hardware' on <target>",
			p->name[i]);
	const char *gpu = p->node[i] ? xml_value(p->node[i], "gpu") : NULL;
	if (gpu && p->node[k] && is(p->node[k], "gpu", gpu))
		return spec_error(s->log, &p->at->value_at,
			"'%s' and '%s' in 'hardware' on <target> are the same GPU, '%s'", p->name[i], p->name[k], gpu);
	if (cpu && p->node[k] && is(p->node[k], "cpu", cpu))
		return spec_error(s->log, &p->at->value_at,
			"'%s' and '%s' in 'hardware' on <target> are the same CPU, '%s'", p->name[i], p->name[k], cpu);
	if (first && second && strcmp(first, second) != 0)
		return spec_error(s->log, &p->at->value_at,
			"'%s' in 'hardware' on <target> is %s, '%s' is %s; a binary is for one architecture", p->name[i],
			first, p->name[k], second);
	return true;
}

/* A binary is for one architecture and holds code for a CPU once. */
static bool check_profiles(struct sema *s, const struct profiles *p)
{
	for (int i = 0; i < p->n; i++)
		for (int k = i + 1; k < p->n; k++)
			if (!check_pair(s, p, i, k))
				return false;
	return true;
}

/* What the profiles say of an attribute; NULL: nothing. */
static const char *profiles_value(struct sema *s, const struct profiles *p, const char *attr)
{
	const char *value = NULL, *other;
	for (int i = 0, first = 0; i < p->n; i++) {
		if (!p->node[i] || !(other = xml_value(p->node[i], attr)))
			continue;
		if (value && strcmp(value, other) != 0)
			spec_error(s->log, &p->at->value_at,
				"'%s' and '%s' in 'hardware' on <target> differ in '%s'; give <target> its own", p->name[first],
				p->name[i], attr);
		first = value ? first : i;
		value = value ? value : other;
	}
	return value;
}

/* The first that is given: the target's, the profiles', what follows from another. */
static void derive(struct sema *s, struct xml_node *target, const struct profiles *hardware,
	const char *attr, const char *otherwise)
{
	const char *value = xml_value(target, attr);
	if (!value)
		value = profiles_value(s, hardware, attr);
	if (!value)
		value = otherwise;
	if (!value)
		return;
	xml_set(s->a, target, attr, value);
	xml_attr(target, attr)->row = spec_attr_find(target->row, attr);
}

static bool keeps_by(struct sema *s, struct xml_node *target, enum spec_value_kind kind)
{
	int n = 0;
	const struct spec_value *v = spec_values(s->a, target, "keep", &n);
	bool any = false;
	for (int i = 0; v && i < n; i++)
		any = any || v[i].kind == kind;
	return any;
}

/* counts="chain" needs a chain whose rounds have a number of steps that is known. */
static void check_counts(struct sema *s, const struct xml_node *target, const struct xml_node *tune)
{
	const char **name = NULL;
	const struct xml_attr *at = xml_attr(target, "schedule");
	int n = at && at->row ? spec_items(s->a, at->row, at->value, &name) : 0;
	for (int i = 0; i < n && is(tune, "counts", "chain"); i++) {
		const struct xml_node *schedule = by_name(s->root, "schedule", name[i]);
		const struct xml_node *own = schedule ? xml_child(schedule, "tune", 0) : NULL;
		if (own && !xml_attr(own, "steps"))
			spec_error(s->log, place_of(tune, "counts"), "counts=\"chain\" needs steps on the <tune> of schedule '%s', "
				"which has epochs", name[i]);
	}
}

/* The state's own tune, behind the chain. */
static void check_target_tune(struct sema *s, const struct xml_node *n)
{
	const struct xml_node *tune = xml_child(n, "tune", 0);
	const char **seed;
	if (tune && !xml_child(s->root, "schedule", 0))
		spec_error(s->log, &tune->at, "<tune> in a <target> without a <schedule>, behind whose chain it tunes");
	const struct xml_attr *at = tune ? xml_attr(tune, "seed") : NULL;
	if (at && at->row && spec_items(s->a, at->row, at->value, &seed) > 1)
		spec_error(s->log, &at->value_at, "a list of seeds on the <tune> of a <target>; it makes chains, so it stands on "
			"the <tune> of a <schedule>");
}

/* keep="gate" judges each state of a chain by what is known before the first of them. */
static void check_tried_gates(struct sema *s, struct xml_node *n)
{
	struct xml_node *of = xml_child(n, "gate", 0) ? n : s->root, *gate;
	if (!xml_child(of, "gate", 0))
		spec_error(s->log, place_of(n, "keep"), "keep=\"gate\" without a <gate> to pass");
	for (int i = 0; (gate = xml_next(of, "gate", &i));)
		if (xml_attr(gate, "target"))
			spec_error(s->log, &gate->at, "a <gate> against target '%s' cannot stop a chain (keep=\"gate\"); it can "
				"judge a state that keep names otherwise", xml_value(gate, "target"));
}

/* A target that chooses among several schedules. */
static void check_choice(struct sema *s, struct xml_node *n, const char **name, int nname)
{
	const struct place *at = place_of(n, "schedule");
	if (keeps_by(s, n, VALUE_GATE) || keeps_by(s, n, VALUE_SPEED))
		spec_error(s->log, place_of(n, "keep"), "keep=\"%s\" with a list of schedules, whose states it would try each "
			"for itself; keep a share, a size or units", xml_value(n, "keep"));
	for (int i = 0; i < nname; i++) {
		const struct xml_node *tune = xml_child(by_name(s->root, "schedule", name[i]), "tune", 0);
		const struct xml_attr *seed = tune ? xml_attr(tune, "seed") : NULL;
		const char **item;
		if (seed && seed->row && spec_items(s->a, seed->row, seed->value, &item) > 1)
			spec_error(s->log, at, "schedule '%s' in a list has a list of seeds, so it is several; give each target "
				"one seed", name[i]);
		for (int k = 0; k < i; k++)
			if (!strcmp(name[i], name[k]))
				spec_error(s->log, at, "schedule '%s' stands twice in a list", name[i]);
	}
}

static void check_target(struct sema *s, struct xml_node *n)
{
	struct profiles profiles = find_profiles(s, n), *hardware = &profiles;
	check_profiles(s, hardware);
	bool integers = is(n, "weights", "int8") || is(n, "weights", "int4");
	derive(s, n, hardware, "activations", integers ? "int8" : is(n, "weights", "f32") ? "f32" : "bf16");
	derive(s, n, hardware, "kv", is(n, "activations", "int8") ? "bf16" : xml_value(n, "activations"));
	derive(s, n, hardware, "context", NULL);
	derive(s, n, hardware, "threads", NULL);
	derive(s, n, hardware, "memory", NULL);

	struct xml_node *only = xml_child(s->root, "schedule", 0);
	check_target_tune(s, n);
	if (!only) {
		if (xml_attr(n, "keep"))
			spec_error(s->log, place_of(n, "keep"), "keep on <target> without a <schedule>");
		return;
	}
	if (!xml_attr(n, "schedule")) {
		if (xml_child(s->root, "schedule", 1)) {
			spec_error(s->log, &n->at,
				"missing attribute 'schedule' on <target>: there are several");
			return;
		}
		if (!xml_value(only, "name"))
			return;
		xml_set(s->a, n, "schedule", xml_value(only, "name"));
		xml_attr(n, "schedule")->row = spec_attr_find(n->row, "schedule");
	}
	const char **name;
	int nname = spec_items(s->a, xml_attr(n, "schedule")->row, xml_value(n, "schedule"), &name);
	for (int i = 0; i < nname; i++) {
		const struct xml_node *schedule = by_name(s->root, "schedule", name[i]);
		if (!schedule)
			return;
		if (schedule->later)
			n->later = true;
		if (!i)
			derive(s, n, &(struct profiles){0}, "keep", xml_value(schedule, "keep"));
	}
	if (nname > 1)
		check_choice(s, n, name, nname);
	if (xml_child(n, "tune", 0))
		check_counts(s, n, xml_child(n, "tune", 0));
	if (!xml_attr(n, "keep"))
		spec_error(s->log, &n->at, "missing attribute 'keep' on <target> or its <schedule>");
	else if (keeps_by(s, n, VALUE_GATE))
		check_tried_gates(s, n);
}

/* Whether a gate has its say about a dataset when it chooses a target's state. */
static const struct xml_node *judging(struct sema *s, const struct xml_node *target, const struct xml_node *dataset)
{
	const struct xml_node *gate, *of = xml_child(target, "gate", 0) ? target : s->root;
	for (int i = 0; (gate = xml_next(of, "gate", &i));) {
		const char *only = xml_value(gate, "dataset");
		if (!only || is(dataset, "name", only))
			return gate;
	}
	return NULL;
}

/* keep="gate" proves on validation rows: a set that is judged without any would end the chain at once. */
static void check_tries(struct sema *s)
{
	struct xml_node *target, *dataset;
	for (int i = 0; any_asks_for(s, "validation") && (dataset = xml_next(s->root, "dataset", &i));) {
		const struct xml_node *gate = NULL;
		if (spec_asks_for(dataset, "validation") || !xml_child(dataset, "split", 0))
			continue;
		for (int k = 0; !gate && (target = xml_next(s->root, "target", &k));)
			gate = keeps_by(s, target, VALUE_GATE) ? judging(s, target, dataset) : NULL;
		if (gate)
			spec_error(s->log, &xml_child(dataset, "split", 0)->at,
				"missing attribute 'validation': keep=\"gate\" chooses by validation rows, and the <gate> at %s:%d "
				"judges dataset '%s' too; give a <split> some, like validation=\"10%%\", or have the gate judge "
				"others alone: <gate dataset=\"...\">", gate->at.file->name, gate->at.line,
				xml_value(dataset, "name") ? xml_value(dataset, "name") : "");
	}
}

static void check_hardware(struct sema *s, struct xml_node *n)
{
	static const char *const sources[] = {"cpu", "gpu", NULL};
	exactly_one(s, n, sources);
}

void spec_check_duplicates(struct xml_node *root, const char *element, struct spec_log *log)
{
	struct xml_node *n, *first;
	for (int i = 0; (n = xml_next(root, element, &i));) {
		const char *name = xml_value(n, "name");
		first = by_name(root, element, name);
		if (first && first != n)
			spec_error(log, place_of(n, "name"),
				"two <%s> are named '%s'; the first is at %s:%d", element,
				spec_quote(log, name), first->at.file->name, first->at.line);
	}
}

void spec_sema(struct spec_files *fs, struct xml_node *root)
{
	struct sema s = {fs, fs->arena, fs->log, root};
	static const char *const named[] = {"dataset", "schedule", "target", "hardware"};
	struct xml_node *n;
	for (size_t i = 0; i < NELEM(named); i++)
		spec_check_duplicates(root, named[i], fs->log);
	if ((n = xml_child(root, "model", 0)))
		check_model(&s, n);
	for (int i = 0; (n = xml_next(root, "dataset", &i));)
		check_dataset(&s, n);
	check_weights(&s);
	for (int i = 0; (n = xml_next(root, "schedule", &i));)
		check_schedule(&s, n);
	check_references(&s, root);
	for (int i = 0; (n = xml_next(root, "target", &i));) {
		check_target(&s, n);
		struct xml_node *gate;
		for (int k = 0; (gate = xml_next(n, "gate", &k));)
			check_gate(&s, gate);
	}
	for (int i = 0; (n = xml_next(root, "gate", &i));)
		check_gate(&s, n);
	check_tries(&s);
	for (int i = 0; (n = xml_next(root, "hardware", &i));)
		check_hardware(&s, n);
	check_templates(&s, root);
	resolve_paths(&s, root);
}
