#include "tokens.h"

#include <stdlib.h>
#include <string.h>

#include "flat.h"

/* Where a digest stands: a row of the tables, or the first record of a seed. */
struct found {
	struct digest digest;
	size_t table, at;
};

struct maker {
	const struct tokenise_job *job;
	struct found *row, *seed;
	size_t nrow, nseed;
	struct strbuf records, answers, tokens;
	uint64_t nskipped;
	struct arena scratch;
};

static int compare_found(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	int c = digest_compare(x->digest, y->digest);
	if (c)
		return c;
	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* The first entry of that digest, or NULL. */
static const struct found *find(const struct found *f, size_t n, struct digest d)
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (digest_compare(f[mid].digest, d) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n && digest_equal(f[low].digest, d) ? &f[low] : NULL;
}

static void index_rows(struct maker *m)
{
	const struct tokenise_job *j = m->job;
	for (size_t i = 0; i < j->nt; i++)
		m->nrow += j->t[i].nrow;
	m->row = xmalloc(m->nrow * sizeof(*m->row));
	size_t n = 0;
	for (size_t i = 0; i < j->nt; i++) {
		for (size_t k = 0; k < j->t[i].nrow; k++)
			m->row[n++] = (struct found){j->t[i].row[k].digest, i, k};
	}
	if (n && j->list)
		qsort(m->row, n, sizeof(*m->row), compare_found);
	if (!j->seed || !digest_equal(j->seed->made_by, j->made_by))
		return;
	m->nseed = (size_t)j->seed->nrecord;
	m->seed = xmalloc(m->nseed * sizeof(*m->seed));
	for (size_t i = 0; i < m->nseed; i++)
		m->seed[i] = (struct found){j->seed->record[i].row, 0, i};
	if (m->nseed)
		qsort(m->seed, m->nseed, sizeof(*m->seed), compare_found);
}

static uint32_t total_tokens(const struct token_row *r)
{
	uint32_t n = r->prompt_tokens;
	for (uint32_t i = 0; i < r->nanswer; i++)
		n += r->answer_tokens[i];
	return n;
}

static struct digest digest_of_tokens(const struct token_row *r)
{
	uint64_t head[3] = {r->prompt_tokens, r->nanswer, (uint64_t)(int64_t)r->gold};
	struct hasher *h = hasher_new();
	hasher_add(h, head, sizeof(head));
	hasher_add(h, r->answer_tokens, r->nanswer * sizeof(*r->answer_tokens));
	hasher_add(h, r->token, total_tokens(r) * sizeof(*r->token));
	return hasher_end(h);
}

/* What a row's records have in common. */
struct whole {
	struct digest row;
	uint32_t nparts;
	uint64_t gold_bytes;
};

static void put_record(struct maker *m, const struct whole *w, const struct token_row *r, uint32_t part)
{
	struct token_record record = {
		.row = w->row,
		.digest = digest_of_tokens(r),
		.token_at = m->tokens.n / sizeof(*r->token),
		.answer_at = m->answers.n / sizeof(*r->answer_tokens),
		.prompt_tokens = r->prompt_tokens,
		.nanswer = r->nanswer,
		.gold = r->gold,
		.part = part,
		.nparts = w->nparts,
		.total_tokens = total_tokens(r),
		.gold_bytes = part ? 0 : w->gold_bytes,
	};
	strbuf_add(&m->records, &record, sizeof(record));
	strbuf_add(&m->answers, r->answer_tokens, r->nanswer * sizeof(*r->answer_tokens));
	strbuf_add(&m->tokens, r->token, record.total_tokens * sizeof(*r->token));
}

static void copy_seed(struct maker *m, size_t first)
{
	const struct token_table *s = m->job->seed;
	const struct token_record *r = &s->record[first];
	for (uint32_t i = 0; i < r->nparts; i++) {
		struct token_row row = token_table_row(s, first + i);
		put_record(m, &(struct whole){r->row, r->nparts, r->gold_bytes}, &row, i);
	}
}

static uint64_t gold_bytes(const struct task *t, const struct task_row *r)
{
	return r->answer.p ? r->answer.n + (t->kind == TASK_TEXT ? 0 : strlen(t->delimiter)) : 0;
}

static bool make_row(struct maker *m, size_t table, size_t at, struct err *e)
{
	const struct tokenise_job *j = m->job;
	const struct row_table *t = &j->t[table];
	struct digest digest = t->row[at].digest;
	const struct found *seed = find(m->seed, m->nseed, digest);
	struct task_row row;
	struct token_row *token;
	size_t n;
	if (seed) {
		copy_seed(m, seed->at);
		return true;
	}
	if (!row_table_render(&m->scratch, t, at, j->task, &row, e))
		return false;
	if (!task_layout(&m->scratch, j->task, &row, j->tok, &token, &n, e))
		return row_table_fail(t, at, e);
	for (size_t i = 0; i < n; i++)
		put_record(m, &(struct whole){digest, (uint32_t)n, gold_bytes(j->task, &row)}, &token[i], (uint32_t)i);
	m->nskipped += !n;
	if (m->scratch.total_bytes > 1 << 20)
		arena_release(&m->scratch);
	return true;
}

static bool enough(const struct maker *m)
{
	return m->job->records && m->records.n / sizeof(struct token_record) >= m->job->records;
}

static bool make_all(struct maker *m, struct err *e)
{
	const struct tokenise_job *j = m->job;
	if (!j->list) {
		for (size_t i = 0; i < m->nrow; i++) {
			if (!make_row(m, m->row[i].table, m->row[i].at, e))
				return false;
		}
		return true;
	}
	for (size_t i = 0; i < j->list->n && !enough(m); i++) {
		const struct found *f = find(m->row, m->nrow, j->list->row[i]);
		if (!f) {
			char hex[DIGEST_HEX];
			digest_hex(j->list->row[i], hex);
			return err_set(e, ERR_IO, "row %s of the %s list is in no row table", hex,
				split_names[j->list->split]);
		}
		if (!make_row(m, f->table, f->at, e))
			return false;
	}
	return true;
}

bool data_tokenise(const struct tokenise_job *job, struct strbuf *out, struct err *e)
{
	struct maker m = {.job = job};
	strbuf_init(&m.records);
	strbuf_init(&m.answers);
	strbuf_init(&m.tokens);
	index_rows(&m);
	bool ok = make_all(&m, e);
	if (ok) {
		flat_begin(out, "TRIMTOKS", 2);
		flat_u64(out, job->made_by.hi);
		flat_u64(out, job->made_by.lo);
		flat_u64(out, m.nskipped);
		flat_u64(out, m.records.n / sizeof(struct token_record));
		flat_bytes(out, m.records.s, m.records.n);
		flat_u64(out, m.answers.n / sizeof(uint32_t));
		flat_bytes(out, m.answers.s, m.answers.n);
		flat_u64(out, m.tokens.n / sizeof(uint32_t));
		flat_bytes(out, m.tokens.s, m.tokens.n);
	}
	strbuf_release(&m.records);
	strbuf_release(&m.answers);
	strbuf_release(&m.tokens);
	free(m.row);
	free(m.seed);
	arena_release(&m.scratch);
	return ok;
}

/* Why record i cannot be right, or NULL. at: where its tokens and answers must begin. */
static const char *check_record(const struct token_table *t, uint64_t i, uint64_t at[2])
{
	const struct token_record *r = &t->record[i];
	if (r->token_at != at[0] || r->answer_at != at[1])
		return "a record does not begin where the one before it ends";
	if (r->total_tokens > t->ntoken - at[0] || r->nanswer > t->nanswer - at[1])
		return "a record points outside of it";
	uint64_t sum = r->prompt_tokens;
	for (uint32_t k = 0; k < r->nanswer; k++)
		sum += t->answer_tokens[at[1] + k];
	if (sum != r->total_tokens || !r->prompt_tokens)
		return "the lengths in a record do not add up";
	if (r->gold < -1 || r->gold >= (int64_t)r->nanswer)
		return "a gold answer is none of the answers";
	if (r->part >= r->nparts || r->nparts - r->part > t->nrecord - i ||
		(r->part && (!i || r[-1].part + 1 != r->part || r[-1].nparts != r->nparts ||
				    !digest_equal(r[-1].row, r->row))))
		return "the windows of a row are not complete";
	if (i && r[-1].part + 1 != r[-1].nparts && r->part != r[-1].part + 1)
		return "the windows of a row are not complete";
	at[0] += r->total_tokens;
	at[1] += r->nanswer;
	return NULL;
}

bool token_table_open(struct token_table *t, struct buf bytes, struct err *e)
{
	struct flat f;
	uint64_t at[2] = {0, 0};
	flat_open(&f, bytes, "token table", "TRIMTOKS", 2);
	t->made_by.hi = flat_get_u64(&f);
	t->made_by.lo = flat_get_u64(&f);
	t->nskipped = flat_get_u64(&f);
	t->nrecord = flat_get_u64(&f);
	t->record = flat_get_array(&f, t->nrecord, sizeof(*t->record));
	t->nanswer = flat_get_u64(&f);
	t->answer_tokens = flat_get_array(&f, t->nanswer, sizeof(*t->answer_tokens));
	t->ntoken = flat_get_u64(&f);
	t->token = flat_get_array(&f, t->ntoken, sizeof(*t->token));
	for (uint64_t i = 0; !f.bad && i < t->nrecord; i++) {
		const char *why = check_record(t, i, at);
		if (why)
			flat_bad(&f, why);
	}
	if (at[0] != t->ntoken || at[1] != t->nanswer)
		flat_bad(&f, "tokens or answers belong to no record");
	return flat_end(&f, e);
}

struct token_row token_table_row(const struct token_table *t, uint64_t record)
{
	const struct token_record *r = &t->record[record];
	return (struct token_row){t->token + r->token_at, r->prompt_tokens,
		t->answer_tokens + r->answer_at, r->nanswer, r->gold};
}

/* Moves the records to where their table's answers and tokens lie in the whole. */
static void add_table(struct token_record *record, uint32_t *answer, uint32_t *token,
	const struct token_table *t, const struct token_table *whole)
{
	for (uint64_t i = 0; i < t->nrecord; i++) {
		record[i] = t->record[i];
		record[i].answer_at += whole->nanswer;
		record[i].token_at += whole->ntoken;
	}
	if (t->nanswer)
		memcpy(answer + whole->nanswer, t->answer_tokens, t->nanswer * sizeof(*answer));
	if (t->ntoken)
		memcpy(token + whole->ntoken, t->token, t->ntoken * sizeof(*token));
}

void token_tables_join(struct arena *a, const struct token_table *t, size_t n, struct token_table *out)
{
	uint64_t nrecord = 0, nanswer = 0, ntoken = 0;
	if (n == 1) {
		*out = *t;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		nrecord += t[i].nrecord;
		nanswer += t[i].nanswer;
		ntoken += t[i].ntoken;
	}
	struct token_record *record = arena_array(a, struct token_record, nrecord);
	uint32_t *answer = arena_array(a, uint32_t, nanswer), *token = arena_array(a, uint32_t, ntoken);
	*out = (struct token_table){.record = record, .answer_tokens = answer, .token = token};
	for (size_t i = 0; i < n; i++) {
		add_table(record + out->nrecord, answer, token, &t[i], out);
		out->nskipped += t[i].nskipped;
		out->nrecord += t[i].nrecord;
		out->nanswer += t[i].nanswer;
		out->ntoken += t[i].ntoken;
	}
}

uint32_t token_table_longest(const struct token_table *t)
{
	uint32_t longest = 1;
	for (uint64_t i = 0; i < t->nrecord; i++)
		if (t->record[i].total_tokens > longest)
			longest = t->record[i].total_tokens;
	return longest;
}

uint32_t token_row_length(const struct token_row *r, uint32_t answer)
{
	return r->prompt_tokens + (r->nanswer ? r->answer_tokens[answer] : 0);
}

uint32_t token_row_answer_at(const struct token_row *r, uint32_t answer)
{
	uint32_t at = r->prompt_tokens;
	for (uint32_t i = 0; i < answer; i++)
		at += r->answer_tokens[i];
	return at;
}
