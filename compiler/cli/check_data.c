#include "check_data.h"

#include <string.h>

#include "eval.h"

struct checked {
	const struct spec_dataset *spec;
	struct dataset d;
	struct dataset_rows rows;
	struct split_counts counts;
	bool read; /* else it is not supported yet, or an error was reported */
};

struct checker {
	struct arena *a;
	const struct spec *s;
	struct checked *set;
	struct data_report *out;
};

static void add_error(struct checker *c, const struct err *e)
{
	*arena_push(c->a, c->out->error, c->out->nerror) = *e;
}

static void add_warning(struct checker *c, const struct err *e)
{
	*arena_push(c->a, c->out->warning, c->out->nwarning) = *e;
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static size_t rows_of(const struct checked *k)
{
	size_t n = 0;
	for (size_t i = 0; i < k->rows.nt; i++)
		n += k->rows.t[i].nrow;
	return n;
}

/* ---- tables ---- */

static void text_row(struct strbuf *out, const char *label, const size_t n[NSPLIT + 1])
{
	strbuf_addf(out, "  %-12.40s", label);
	for (int k = 0; k <= NSPLIT; k++)
		strbuf_addf(out, " %11zu", n[k]);
	strbuf_addc(out, '\n');
}

/* weights: of all sets. */
static void write_text(struct strbuf *out, const struct checked *k, double weights)
{
	size_t rows = rows_of(k);
	strbuf_addf(out, "%s: %zu row%s in %zu file%s", k->spec->name, rows, plural(rows), k->rows.nt,
		plural(k->rows.nt));
	if (k->spec->weight > 0)
		strbuf_addf(out, ", %.1f%% of the tuned tokens", 100 * k->spec->weight / weights);
	strbuf_addf(out, "\n  %-12s", "");
	for (int i = 0; i <= NSPLIT; i++)
		strbuf_addf(out, " %11s", split_names[i]);
	strbuf_addc(out, '\n');
	for (size_t i = 0; i < k->counts.nlabel; i++)
		text_row(out, k->counts.label[i], k->counts.n[i]);
	text_row(out, "all", k->rows.split.nrow);
}

static void write_json(struct strbuf *out, const struct checked *k, double weights)
{
	strbuf_adds(out, out->n ? ",{\"dataset\":" : "{\"dataset\":");
	strbuf_add_json(out, k->spec->name, strlen(k->spec->name));
	strbuf_addf(out, ",\"rows\":%zu,\"files\":%zu", rows_of(k), k->rows.nt);
	if (k->spec->weight > 0)
		strbuf_addf(out, ",\"share\":%.6g", k->spec->weight / weights);
	strbuf_adds(out, ",\"splits\":{");
	for (int i = 0; i <= NSPLIT; i++) {
		strbuf_addf(out, "%s\"%s\":{\"rows\":%zu", i ? "," : "", split_names[i],
			k->rows.split.nrow[i]);
		for (size_t n = 0; n < k->counts.nlabel; n++) {
			strbuf_adds(out, n ? "," : ",\"answers\":{");
			strbuf_add_json(out, k->counts.label[n], strlen(k->counts.label[n]));
			strbuf_addf(out, ":%zu", k->counts.n[n][i]);
		}
		strbuf_adds(out, k->counts.nlabel ? "}}" : "}");
	}
	strbuf_adds(out, "}}");
}

/* ---- checks ---- */

static void read_dataset(struct checker *c, struct checked *k)
{
	struct err e = {0};
	double weights = 0;
	for (int i = 0; i < c->s->ndataset; i++)
		weights += c->s->dataset[i].weight;
	if (k->spec->task.kind == SPEC_CHAT || k->spec->format == FORMAT_PARQUET)
		return; /* the log says so already */
	k->read = dataset_open(c->a, k->spec, &k->d, &e) && dataset_read(&k->d, &k->rows, &e) &&
		split_count(c->a, k->rows.t, k->rows.nt, &k->rows.split, &k->d.task, &k->counts, &e);
	if (k->read) {
		write_text(&c->out->text, k, weights);
		write_json(&c->out->json, k, weights);
		return;
	}
	if (e.file[0] || e.kind != ERR_SPEC) {
		add_error(c, &e);
	} else {
		struct err at;
		spec_err_at(&at, k->spec->at, "dataset '%s': %s", k->spec->name, e.msg);
		add_error(c, &at);
	}
}

static void check_score(struct checker *c, const struct spec_score *s)
{
	for (int i = 0; i < s->non; i++) {
		const struct checked *k = &c->set[s->on[i]];
		struct err e;
		if (k->read && !dataset_enough(k->spec, s, k->rows.split.nrow[SPLIT_CALIBRATION], &e))
			add_error(c, &e);
	}
}

static void check_gate(struct checker *c, const struct spec_gate *s, enum split split)
{
	struct gate g = gate_of(s);
	uint64_t needed = gate_rows_needed(&g);
	for (int i = 0; i < c->s->ndataset; i++) {
		const struct checked *k = &c->set[i];
		struct err e;
		size_t n = k->read ? k->rows.split.nrow[split] : 0;
		if (!k->read || (s->dataset >= 0 && s->dataset != i) || n >= needed)
			continue;
		spec_err_at(&e, s->at, "the gate cannot pass: dataset '%s' has %zu %s row%s, and without "
			"any loss it takes %llu to prove one below %g%s at %g%% confidence", k->spec->name,
			n, split_names[split], plural(n), (unsigned long long)needed,
			g.metric == GATE_ACCURACY ? g.margin * 100 : g.margin,
			g.metric == GATE_ACCURACY ? "pp" : "", g.confidence * 100);
		add_warning(c, &e);
	}
}

/* A gate that chooses a state asks the same of validation rows; once for each, however many targets it chooses for. */
static void check_tries(struct checker *c)
{
	const struct spec_gate **seen = NULL;
	size_t nseen = 0;
	for (int i = 0; i < c->s->ntarget; i++) {
		const struct spec_target *t = &c->s->target[i];
		for (int k = 0; k < t->ngate && t->keep.kind == VALUE_GATE; k++) {
			bool again = false;
			for (size_t n = 0; n < nseen; n++)
				again = again || seen[n] == t->gate[k];
			if (again)
				continue;
			*arena_push(c->a, seen, nseen) = t->gate[k];
			check_gate(c, t->gate[k], SPLIT_VALIDATION);
		}
	}
}

struct leak_check {
	struct checker *c;
	struct leak_set *set;
	const struct checked **of; /* each set */
	size_t nset;
	struct leak *leak;
	size_t nleak;
};

static void write_leak_row(struct strbuf *out, const char *name, const struct leak_check *l, struct leak_row r)
{
	const struct row_table *t = &l->set[r.set].t[r.table];
	strbuf_addf(out, "\"%s\":{\"dataset\":", name);
	strbuf_add_json(out, l->set[r.set].name, strlen(l->set[r.set].name));
	strbuf_adds(out, ",\"file\":");
	strbuf_add_json(out, t->file, strlen(t->file));
	strbuf_addf(out, ",\"line\":%u}", t->row[r.row].line);
}

/* Test rows of one set that are train rows of one, as a warning with an example. */
static void warn_leaks(const struct leak_check *l, size_t test_set, size_t train_set)
{
	const struct leak *first = NULL;
	struct arena *a = l->c->a;
	size_t n = 0;
	for (size_t i = 0; i < l->nleak; i++) {
		if (l->leak[i].test.set != test_set || l->leak[i].train.set != train_set)
			continue;
		first = first ? first : &l->leak[i];
		n++;
	}
	if (!first)
		return;
	const struct row_table *train = &l->set[train_set].t[first->train.table];
	const struct row_table *test = &l->set[test_set].t[first->test.table];
	bool several = l->c->s->ndataset > 1;
	struct err e;
	spec_err_at(&e, l->of[test_set]->spec->at,
		"%zu test row%s%s as good as equal to a train row%s, %s:%u to %s:%u for one%s", n, plural(n),
		several ? arena_printf(a, " of '%s' %s", l->set[test_set].name, n == 1 ? "is" : "are")
			: n == 1 ? " is" : " are",
		several ? arena_printf(a, " of '%s'", l->set[train_set].name) : "", test->file,
		test->row[first->test.row].line, train->file, train->row[first->train.row].line,
		n == 1 ? "" : " (--json lists them)");
	add_warning(l->c, &e);
}

static void check_leaks(struct checker *c)
{
	struct leak_check l = {.c = c, .set = arena_array(c->a, struct leak_set, c->s->ndataset),
		.of = arena_array(c->a, const struct checked *, c->s->ndataset)};
	struct strbuf *out = &c->out->leaks;
	for (int i = 0; i < c->s->ndataset; i++) {
		const struct checked *k = &c->set[i];
		if (!k->read)
			continue;
		l.of[l.nset] = k;
		l.set[l.nset++] = (struct leak_set){k->spec->name, k->rows.t, k->rows.nt, &k->rows.split};
	}
	l.nleak = data_leaks(c->a, l.set, l.nset, &l.leak);
	for (size_t i = 0; i < l.nset; i++)
		for (size_t k = 0; k < l.nset; k++)
			warn_leaks(&l, i, k);
	for (size_t i = 0; i < l.nleak; i++) {
		strbuf_adds(out, i ? ",{" : "{");
		write_leak_row(out, "test", &l, l.leak[i].test);
		strbuf_addc(out, ',');
		write_leak_row(out, "train", &l, l.leak[i].train);
		strbuf_addc(out, '}');
	}
}

void data_report(struct arena *a, const struct spec *s, struct data_report *out)
{
	struct checker c = {a, s, arena_array(a, struct checked, s->ndataset), out};
	*out = (struct data_report){0};
	strbuf_init(&out->text);
	strbuf_init(&out->json);
	strbuf_init(&out->leaks);
	for (int i = 0; i < s->ndataset; i++) {
		c.set[i].spec = &s->dataset[i];
		read_dataset(&c, &c.set[i]);
	}
	/* A list of seeds has made several schedules of one. */
	for (int i = 0; i < s->nschedule; i++)
		if (!i || strcmp(s->schedule[i].group, s->schedule[i - 1].group) != 0)
			check_score(&c, &s->schedule[i].score);
	for (int i = 0; i < s->ngate; i++)
		check_gate(&c, &s->gate[i], SPLIT_TEST);
	for (int i = 0; i < s->ntarget; i++)
		for (int k = 0; k < s->target[i].ngate; k++) {
			const struct spec_gate *g = s->target[i].gate[k];
			if (g < s->gate || g >= s->gate + s->ngate)
				check_gate(&c, g, SPLIT_TEST);
		}
	check_tries(&c);
	check_leaks(&c);
	for (int i = 0; i < s->ndataset; i++)
		dataset_rows_release(&c.set[i].rows);
}

void data_report_release(struct data_report *r)
{
	strbuf_release(&r->text);
	strbuf_release(&r->json);
	strbuf_release(&r->leaks);
}
