#include <stdlib.h>
#include <string.h>

#include "flat.h"
#include "split.h"

const char *const split_names[NSPLIT + 1] = {"test", "validation", "calibration", "train", "none"};

struct key_list {
	const char **key; /* sorted, each once */
	size_t n;
	bool *seen;
};

struct splitter {
	struct arena *a;
	const struct row_table *t;
	size_t nt;
	const struct split_rule *rule;
	size_t nrule;
	struct key_list (*keys)[NSPLIT]; /* [rule] */
	struct split_result *out;
	struct err *e;
};

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool read_json_keys(
	struct arena *a, const struct data_file *f, struct key_list *k, struct err *e)
{
	struct json *v;
	if (!json_parse(a, f->bytes, f->name, 1, &v, e))
		return false;
	for (size_t i = 0; i < v->nitem; i++) {
		struct buf text;
		const char *key;
		if (v->kind == JSON_OBJECT)
			key = v->key[i];
		else if (json_scalar(&v->item[i], &text))
			key = arena_strndup(a, text.p, text.n);
		else
			return err_at(e, ERR_SPEC, f->name, v->item[i].line, v->item[i].col,
				"expected the key of a row");
		*arena_push(a, k->key, k->n) = key;
	}
	return true;
}

static bool read_keys(struct arena *a, const struct data_file *f, struct key_list *k, struct err *e)
{
	const char *p = f->bytes.p, *end = p + f->bytes.n;
	if (f->bytes.n >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	while (p < end && strchr(" \t\r\n", *p))
		p++;
	if (p < end && (*p == '[' || *p == '{')) {
		if (!read_json_keys(a, f, k, e))
			return false;
	} else {
		while (p < end) {
			const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;
			const char *next = nl ? nl + 1 : end;
			while (p < stop && (*p == ' ' || *p == '\t'))
				p++;
			while (stop > p && strchr(" \t\r", stop[-1]))
				stop--;
			if (stop > p)
				*arena_push(a, k->key, k->n) =
					arena_strndup(a, p, (size_t)(stop - p));
			p = next;
		}
	}
	if (!k->n)
		return err_at(e, ERR_SPEC, f->name, 0, 0, "a list of keys without a key");
	qsort(k->key, k->n, sizeof(*k->key), compare_text);
	size_t n = 0;
	for (size_t i = 0; i < k->n; i++) {
		if (!n || strcmp(k->key[n - 1], k->key[i]) != 0)
			k->key[n++] = k->key[i];
	}
	k->n = n;
	k->seen = arena_array(a, bool, n);
	return true;
}

static bool has_key(struct arena *a, struct key_list *k, struct buf key)
{
	if (!k->n || !key.p)
		return false;
	const char *text = arena_strndup(a, key.p, key.n);
	const char **found = bsearch(&text, k->key, k->n, sizeof(*k->key), compare_text);
	if (found)
		k->seen[found - k->key] = true;
	return found != NULL;
}

static bool check_rule(struct splitter *s, size_t i)
{
	uint64_t sum = 0;
	for (int k = 0; k < NSPLIT; k++) {
		const struct split_part *p = &s->rule[i].part[k];
		if (p->from == FROM_IDS && !read_keys(s->a, &p->ids, &s->keys[i][k], s->e))
			return false;
		if (p->from == FROM_SHARE)
			sum += p->share;
	}
	if (sum > SHARE_ALL)
		return err_set(
			s->e, ERR_SPEC, "shares of %.10g%% in one <split>", (double)sum / 1e4);
	for (size_t k = 0; !s->rule[i].path && k < i; k++) {
		if (!s->rule[k].path)
			return err_set(s->e, ERR_SPEC, "two <split> without a path");
	}
	return true;
}

/* The one rule for a file, NULL for none. */
static bool find_rule(struct splitter *s, const char *file, size_t *out)
{
	size_t general = s->nrule, own = s->nrule;
	for (size_t i = 0; i < s->nrule; i++) {
		if (!s->rule[i].path)
			general = i;
		else if (!data_match(s->rule[i].path, file))
			continue;
		else if (own < s->nrule)
			return err_set(s->e, ERR_SPEC,
				"file '%s' is named by two <split>: '%s' and '%s'", file,
				s->rule[own].path, s->rule[i].path);
		else
			own = i;
	}
	*out = own < s->nrule ? own : general;
	return true;
}

static enum split share_of(const struct split_rule *r, struct digest place)
{
	uint64_t slot = (place.hi >> 32) * SHARE_ALL >> 32, below = 0;
	for (int k = 0; k < NSPLIT; k++) {
		if (r->part[k].from != FROM_SHARE)
			continue;
		below += r->part[k].share;
		if (slot < below)
			return (enum split)k;
	}
	return NSPLIT;
}

static bool claim(struct splitter *s, size_t table, size_t row, int k, enum split *claimed)
{
	if (*claimed != NSPLIT)
		return err_at(s->e, ERR_SPEC, s->t[table].file, (int)s->t[table].row[row].line, 0,
			"the row is claimed by both %s and %s", split_names[*claimed],
			split_names[k]);
	*claimed = (enum split)k;
	return true;
}

static bool split_row(struct splitter *s, size_t i, size_t table, size_t row, enum split *out)
{
	const struct row_table *t = &s->t[table];
	const struct split_rule *r = &s->rule[i];
	*out = NSPLIT;
	for (int k = 0; k < NSPLIT; k++) {
		const struct split_part *p = &r->part[k];
		bool mine = p->from == FROM_FILES && data_match(p->files, t->file);
		if (p->from == FROM_IDS) {
			struct buf key = row_table_key(t, row);
			if (!key.p)
				return err_at(s->e, ERR_SPEC, t->file, (int)t->row[row].line, 0,
					"a list of keys needs rows with keys; name the field that "
					"holds them");
			mine = has_key(s->a, &s->keys[i][k], key);
		}
		if (mine && !claim(s, table, row, k, out))
			return false;
	}
	if (*out == NSPLIT)
		*out = share_of(r, t->row[row].place);
	return true;
}

static bool check_keys(const struct splitter *s, size_t i, int k)
{
	const struct key_list *l = &s->keys[i][k];
	size_t missing = 0, first = 0;
	for (size_t n = l->n; n-- > 0;) {
		if (!l->seen[n]) {
			missing++;
			first = n;
		}
	}
	if (!missing)
		return true;
	return err_at(s->e, ERR_SPEC, s->rule[i].part[k].ids.name, 0, 0,
		"%zu of %zu keys are in no row, '%.100s' among them", missing, l->n, l->key[first]);
}

/* What was asked for must have met something. */
static bool check_parts(const struct splitter *s)
{
	for (size_t i = 0; i < s->nrule; i++) {
		for (int k = 0; k < NSPLIT; k++) {
			const struct split_part *p = &s->rule[i].part[k];
			bool met = p->from != FROM_FILES;
			for (size_t n = 0; !met && n < s->nt; n++)
				met = data_match(p->files, s->t[n].file);
			if (!met)
				return err_set(s->e, ERR_SPEC,
					"no file of the dataset is '%s' (%s)", p->files,
					split_names[k]);
			if (!check_keys(s, i, k))
				return false;
			if (p->from != FROM_NOWHERE && !s->out->nrow[k])
				return err_set(
					s->e, ERR_SPEC, "the %s split has no rows", split_names[k]);
		}
	}
	return true;
}

bool data_split(struct arena *a, const struct row_table *t, size_t nt,
	const struct split_rule *rule, size_t nrule, struct split_result *out, struct err *e)
{
	struct splitter s = {a, t, nt, rule, nrule, NULL, out, e};
	*out = (struct split_result){.of = arena_array(a, uint8_t *, nt)};
	s.keys = arena_alloc_array(a, nrule, sizeof(*s.keys));
	for (size_t i = 0; i < nrule; i++) {
		if (!check_rule(&s, i))
			return false;
	}
	for (size_t i = 0; i < nt; i++) {
		size_t rule_of = nrule;
		if (!find_rule(&s, t[i].file, &rule_of))
			return false;
		out->of[i] = arena_array(a, uint8_t, t[i].nrow);
		for (size_t k = 0; k < t[i].nrow; k++) {
			enum split split = NSPLIT;
			if (rule_of < nrule && !split_row(&s, rule_of, i, k, &split))
				return false;
			out->of[i][k] = (uint8_t)split;
			out->nrow[split]++;
		}
	}
	return check_parts(&s);
}

void split_first(struct split_result *r, const struct row_table *t, size_t nt, const size_t *nrow)
{
	for (size_t i = 0; i < nt; i++)
		for (size_t k = nrow[i]; k < t[i].nrow; k++) {
			r->nrow[r->of[i][k]]--;
			r->nrow[NSPLIT]++;
			r->of[i][k] = NSPLIT;
		}
}

void split_list_put(struct strbuf *out, enum split split, const struct digest *row, size_t n)
{
	flat_begin(out, "TRIMLIST", 1);
	flat_u64(out, split);
	flat_u64(out, n);
	flat_bytes(out, row, n * sizeof(*row));
}

struct ordered {
	struct digest order, row;
};

static int compare_ordered(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	int c = digest_compare(x->order, y->order);
	return c ? c : digest_compare(x->row, y->row);
}

void split_list_write(struct strbuf *out, const struct row_table *t, size_t nt,
	const struct split_result *r, enum split split, uint64_t seed)
{
	size_t n = 0;
	struct ordered *row = xmalloc(r->nrow[split] * sizeof(*row));
	for (size_t i = 0; i < nt; i++) {
		for (size_t k = 0; k < t[i].nrow; k++) {
			if (r->of[i][k] != split)
				continue;
			struct {
				uint64_t seed;
				struct digest row;
			} in = {seed, t[i].row[k].digest};
			row[n++] = (struct ordered){digest_of(&in, sizeof(in)), in.row};
		}
	}
	if (n)
		qsort(row, n, sizeof(*row), compare_ordered);
	struct digest *list = xmalloc(n * sizeof(*list));
	for (size_t i = 0; i < n; i++)
		list[i] = row[i].row;
	split_list_put(out, split, list, n);
	free(list);
	free(row);
}

bool split_list_open(struct split_list *l, struct buf bytes, struct err *e)
{
	struct flat f;
	flat_open(&f, bytes, "list of rows", "TRIMLIST", 1);
	l->split = (enum split)flat_get_max(&f, NSPLIT - 1);
	uint64_t n = flat_get_u64(&f);
	l->row = flat_get_array(&f, n, sizeof(*l->row));
	l->n = f.bad ? 0 : (size_t)n;
	return flat_end(&f, e);
}

static bool is_literal(const struct task *t)
{
	for (size_t i = 0; i < t->nchoice; i++) {
		for (size_t k = 0; k < t->choice_template[i].npart; k++) {
			if (t->choice_template[i].part[k].path)
				return false;
		}
	}
	return t->nchoice > 0;
}

bool split_count(struct arena *a, const struct row_table *t, size_t nt,
	const struct split_result *r, const struct task *task, struct split_counts *out,
	struct err *e)
{
	bool ok = true, choice = task->kind == TASK_CHOICE && task->answer[0];
	struct arena scratch = {0};
	*out = (struct split_counts){0};
	for (size_t i = 0; choice && i < nt; i++) {
		for (size_t k = 0; ok && k < t[i].nrow; k++) {
			struct task_row row;
			ok = row_table_render(&scratch, &t[i], k, task, &row, e);
			if (!ok)
				break;
			size_t want = is_literal(task) ? row.nchoice : (size_t)row.gold + 1;
			while (out->nlabel < want) {
				size_t at = out->nlabel, nn = at;
				*arena_push(a, out->label, nn) =
					is_literal(task)
						? arena_strndup(
							  a, row.choice[at].p, row.choice[at].n)
						: arena_printf(a, at < 26 ? "%c" : "%d",
							  at < 26 ? 'A' + (int)at : (int)at);
				memset(arena_push(a, out->n, out->nlabel), 0, sizeof(*out->n));
			}
			out->n[row.gold][r->of[i][k]]++;
			if (scratch.total_bytes > 1 << 20)
				arena_release(&scratch);
		}
	}
	arena_release(&scratch);
	return ok;
}

struct normed {
	struct digest norm;
	struct leak_row at;
};

static int compare_normed(const void *a, const void *b)
{
	const struct normed *x = a, *y = b;
	int c = digest_compare(x->norm, y->norm);
	if (c)
		return c;
	if (x->at.set != y->at.set)
		return x->at.set < y->at.set ? -1 : 1;
	if (x->at.table != y->at.table)
		return x->at.table < y->at.table ? -1 : 1;
	return x->at.row < y->at.row ? -1 : x->at.row > y->at.row;
}

static struct normed *list_normed(
	const struct leak_set *s, size_t n, enum split split, size_t *count)
{
	size_t total = 0;
	for (size_t i = 0; i < n; i++)
		total += s[i].r->nrow[split];
	struct normed *list = xmalloc(total * sizeof(*list));
	*count = 0;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < s[i].nt; k++) {
			for (size_t row = 0; row < s[i].t[k].nrow; row++) {
				if (s[i].r->of[k][row] == split)
					list[(*count)++] = (struct normed){
						s[i].t[k].row[row].norm, {i, k, row}};
			}
		}
	}
	if (*count)
		qsort(list, *count, sizeof(*list), compare_normed);
	return list;
}

size_t data_leaks(struct arena *a, const struct leak_set *s, size_t n, struct leak **out)
{
	size_t ntrain, ntest, nleak = 0;
	struct normed *train = list_normed(s, n, SPLIT_TRAIN, &ntrain);
	struct normed *test = list_normed(s, n, SPLIT_TEST, &ntest);
	*out = NULL;
	for (size_t i = 0, k = 0; i < ntest; i++) {
		while (k < ntrain && digest_compare(train[k].norm, test[i].norm) < 0)
			k++;
		if (k < ntrain && digest_equal(train[k].norm, test[i].norm))
			*arena_push(a, *out, nleak) = (struct leak){train[k].at, test[i].at};
	}
	free(train);
	free(test);
	return nleak;
}
