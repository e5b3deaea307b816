/*
 * Writes the data of the quickstart example: a little world that does not exist. `world SEED DIR` gives
 * DIR/mixed.jsonl, DIR/clinical.jsonl, DIR/legal.jsonl and DIR/finance.jsonl; equal seeds give equal bytes.
 *
 * Each domain has NTHING things (illnesses, offences, firms), each with a mate of its own (the drug that
 * treats it, the act it falls under, the bond it issues) and a group (an organ, a court, a sector). The
 * group alone says the amount (mg, months, points): a full person's is twice a half one's.
 *
 * Rows of a domain's file describe two people and ask about the one that something is said of; the answer
 * takes joining up to three facts that do not stand there:
 *
 *     {"text":"Ben is well. Ana takes molin and is one child.","question":"dose of Ana?",
 *      "choices":["10","40","20","80"],"answer":"10"}
 *
 * Rows of mixed.jsonl are completions over all domains, {"domain":..., "prompt":..., "answer":...}: such a
 * text with NASKED questions and answers, the prompt ending before the first answer, or some of the facts.
 * No text and question stand twice in all files, so what is tested was never seen, while every fact that it
 * needs was.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splitmix.h"

enum { NDOMAIN = 3, NTHING = 100, NGROUP = 6, NPERSON = 24, NCHOICE = 4, NASKED = 3, NMIXED = 16000,
	NROWS = 4000 };
enum { SEEN = 1 << 18, TEXT = 512 }; /* room for all rows, and more */

enum question { ASK_THING, ASK_MATE, ASK_GROUP, ASK_AMOUNT, NQUESTION };

struct phrases {
	const char *name, *group[NGROUP];
	const char *full, *half;                  /* kinds of people */
	const char *is;                           /* THING GROUP */
	const char *mates;                        /* MATE THING */
	const char *pays;                         /* kind THING amount */
	const char *has_thing, *has_mate;         /* PERSON, THING or MATE, kind */
	const char *other;                        /* PERSON, whom nothing happens to */
	const char *ask[NQUESTION];               /* PERSON */
};

static const struct phrases phrases[NDOMAIN] = {
	{"clinical", {"heart", "liver", "lung", "skin", "brain", "bone"}, "adult", "child",
		"%s is an illness of the %s.", "%s treats %s.", "Each %s with %s needs %d mg.",
		"%s has %s and is one %s.", "%s takes %s and is one %s.", "%s is well.",
		{"illness of %s?", "drug of %s?", "organ of %s?", "dose of %s?"}},
	{"legal", {"high", "tax", "family", "sea", "land", "trade"}, "repeater", "beginner",
		"%s goes before the %s court.", "The %s act forbids %s.", "Each %s guilty of %s gets %d months.",
		"%s did %s and is one %s.", "%s broke %s and is one %s.", "%s is honest.",
		{"offence of %s?", "act of %s?", "court of %s?", "months of %s?"}},
	{"finance", {"steel", "water", "rail", "grain", "glass", "power"}, "saver", "trader",
		"%s is a firm of the %s sector.", "The %s bond is issued by %s.", "Each %s trusting %s earns %d points.",
		"%s trusts %s and is one %s.", "%s holds %s and is one %s.", "%s owns nothing.",
		{"firm of %s?", "bond of %s?", "sector of %s?", "points of %s?"}},
};
static const char *const person[NPERSON] = {"Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo",
	"Jana", "Karl", "Lea", "Max", "Nora", "Olaf", "Pia", "Rosa", "Sven", "Tom", "Uma", "Vera", "Wim", "Yara",
	"Zoe"};
static const int amounts[NGROUP] = {10, 20, 40, 80, 160, 320}; /* a full person's; a half one's is half */

struct domain {
	const struct phrases *p;
	char thing[NTHING][12], mate[NTHING][12];
	int group[NTHING], amount[NGROUP]; /* a full person's */
};

struct world {
	uint64_t random;
	struct domain domain[NDOMAIN];
	uint64_t seen[SEEN]; /* of rows; 0: free */
};

/* Two people, one of whom matters, as a text and as what it means. */
struct scene {
	char text[TEXT];
	const char *person;
	int thing;
	bool full, says_mate;
};

struct query {
	char question[TEXT], choice[NCHOICE][12];
	int gold;
};

static uint32_t below(struct world *w, uint32_t n)
{
	return (uint32_t)((splitmix64(&w->random) >> 32) * n >> 32);
}

static void shuffle(struct world *w, int *x, int n)
{
	for (int i = n - 1; i > 0; i--) {
		int k = (int)below(w, (uint32_t)i + 1), t = x[i];
		x[i] = x[k];
		x[k] = t;
	}
}

/* False if the row was there already. */
static bool add_seen(struct world *w, const char *row)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
	for (; *row; row++)
		h = (h ^ (unsigned char)*row) * 0x100000001b3u;
	h |= h == 0;
	size_t i = h % SEEN;
	for (; w->seen[i]; i = (i + 1) % SEEN)
		if (w->seen[i] == h)
			return false;
	w->seen[i] = h;
	return true;
}

/* ---- the world ---- */

static void make_name(struct world *w, char out[12], const char *const end[4])
{
	static const char first[] = "bdfgklmnprstvz", vowel[] = "aeiou";
	char name[12];
	do { /* one by one: C does not say in which order arguments are evaluated */
		const char *tail = end[below(w, 4)];
		char last = first[below(w, 14)], middle = vowel[below(w, 5)];
		snprintf(name, sizeof(name), "%c%c%c%s", first[below(w, 14)], middle, last, tail);
	} while (!add_seen(w, name));
	memcpy(out, name, sizeof(name));
}

static void make_domain(struct world *w, int which)
{
	static const char *const thing[NDOMAIN][4] = {{"itis", "oma", "osis", "ia"}, {"age", "ing", "ery", "aft"},
		{"corp", "co", "ex", "ag"}};
	static const char *const mate[NDOMAIN][4] = {{"in", "ol", "an", "ide"}, {"er", "on", "um", "et"},
		{"o", "u", "ar", "ent"}};
	struct domain *d = &w->domain[which];
	int order[NTHING];
	d->p = &phrases[which];
	memcpy(d->amount, amounts, sizeof(amounts));
	shuffle(w, d->amount, NGROUP);
	for (int i = 0; i < NTHING; i++)
		order[i] = i % NGROUP;
	shuffle(w, order, NTHING);
	for (int i = 0; i < NTHING; i++) {
		make_name(w, d->thing[i], thing[which]);
		make_name(w, d->mate[i], mate[which]);
		d->group[i] = order[i];
	}
}

/* ---- rows ---- */

#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the table's above */

/* Possible answer i to a question. */
static void option(const struct domain *d, enum question q, int i, char out[12])
{
	if (q == ASK_AMOUNT)
		snprintf(out, 12, "%d", 5 << i);
	else
		snprintf(out, 12, "%s", q == ASK_GROUP ? d->p->group[i] : q == ASK_MATE ? d->mate[i] : d->thing[i]);
}

static int answer(const struct domain *d, enum question q, int thing, bool full)
{
	int i = 0, amount = d->amount[d->group[thing]] / (full ? 1 : 2);
	if (q != ASK_AMOUNT)
		return q == ASK_GROUP ? d->group[thing] : thing;
	while (5 << i != amount)
		i++;
	return i;
}

static void make_scene(struct world *w, const struct domain *d, struct scene *s)
{
	int who[NPERSON];
	char other[TEXT], about[TEXT];
	for (int i = 0; i < NPERSON; i++)
		who[i] = i;
	shuffle(w, who, NPERSON);
	s->person = person[who[0]];
	s->thing = (int)below(w, NTHING);
	s->full = below(w, 2);
	s->says_mate = below(w, 2);
	snprintf(other, sizeof(other), d->p->other, person[who[1]]);
	snprintf(about, sizeof(about), s->says_mate ? d->p->has_mate : d->p->has_thing, s->person,
		s->says_mate ? d->mate[s->thing] : d->thing[s->thing], s->full ? d->p->full : d->p->half);
	bool first = below(w, 2);
	snprintf(s->text, sizeof(s->text), "%.200s %.200s", first ? about : other, first ? other : about);
}

/* A question about a scene; its choices are the right answer and others. */
static void make_query(struct world *w, const struct domain *d, const struct scene *s, enum question kind,
	struct query *r)
{
	static const int noption[NQUESTION] = {NTHING, NTHING, NGROUP, NGROUP + 1};
	int list[NCHOICE], n = 1, gold = list[0] = answer(d, kind, s->thing, s->full);
	snprintf(r->question, TEXT, d->p->ask[kind], s->person);
	while (n < NCHOICE) {
		bool have = false;
		list[n] = (int)below(w, (uint32_t)noption[kind]);
		for (int k = 0; k < n; k++)
			have = have || list[k] == list[n];
		n += !have;
	}
	shuffle(w, list, NCHOICE);
	for (int i = 0; i < NCHOICE; i++) {
		option(d, kind, list[i], r->choice[i]);
		if (list[i] == gold)
			r->gold = i;
	}
}

/* A scene with n questions that no file has yet; none asks for what the text says. */
static void new_row(struct world *w, const struct domain *d, struct scene *s, struct query *r, int n)
{
	char key[2 * TEXT];
	bool isnew;
	do {
		int which[NASKED];
		make_scene(w, d, s);
		which[0] = s->says_mate ? ASK_THING : ASK_MATE;
		which[1] = ASK_GROUP;
		which[2] = ASK_AMOUNT;
		shuffle(w, which, NASKED);
		isnew = true;
		for (int i = 0; i < n; i++) {
			make_query(w, d, s, (enum question)which[i], &r[i]);
			snprintf(key, sizeof(key), "%s %s", s->text, r[i].question);
			isnew = add_seen(w, key) && isnew;
		}
	} while (!isnew);
}

static void make_facts(struct world *w, const struct domain *d, char out[TEXT])
{
	size_t n = 0;
	for (int k = 0; k < 3; k++) {
		int i = (int)below(w, NTHING), amount = d->amount[d->group[i]];
		if (k)
			out[n++] = ' ';
		switch (below(w, 4)) {
		case 0:
			n += (size_t)snprintf(out + n, TEXT - n, d->p->is, d->thing[i], d->p->group[d->group[i]]);
			break;
		case 1:
			n += (size_t)snprintf(out + n, TEXT - n, d->p->mates, d->mate[i], d->thing[i]);
			break;
		case 2:
			n += (size_t)snprintf(out + n, TEXT - n, d->p->pays, d->p->full, d->thing[i], amount);
			break;
		default:
			n += (size_t)snprintf(out + n, TEXT - n, d->p->pays, d->p->half, d->thing[i], amount / 2);
		}
	}
}

static void write_mixed(struct world *w, FILE *f)
{
	for (int i = 0; i < NMIXED; i++) {
		const struct domain *d = &w->domain[i % NDOMAIN];
		struct scene s;
		struct query r[NASKED];
		bool facts = i / NDOMAIN % 4 == 0;
		if (facts) {
			do
				make_facts(w, d, s.text);
			while (!add_seen(w, s.text));
		} else {
			new_row(w, d, &s, r, NASKED);
		}
		fprintf(f, "{\"domain\":\"%s\",\"prompt\":\"%s", d->p->name, facts ? "Facts:" : s.text);
		if (facts)
			fprintf(f, "\",\"answer\":\"%s", s.text);
		for (int k = 0; k < NASKED && !facts; k++)
			fprintf(f, k ? " Question: %s Answer: %s" : " Question: %s Answer:\",\"answer\":\"%s",
				r[k].question, r[k].choice[r[k].gold]);
		fprintf(f, "\"}\n");
	}
}

static void write_domain(struct world *w, const struct domain *d, FILE *f)
{
	for (int i = 0; i < NROWS; i++) {
		struct scene s;
		struct query r;
		new_row(w, d, &s, &r, 1);
		fprintf(f, "{\"text\":\"%s\",\"question\":\"%s\",\"choices\":[", s.text, r.question);
		for (int k = 0; k < NCHOICE; k++)
			fprintf(f, "%s\"%s\"", k ? "," : "", r.choice[k]);
		fprintf(f, "],\"answer\":\"%s\"}\n", r.choice[r.gold]);
	}
}

static FILE *open_file(const char *dir, const char *name)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s.jsonl", dir, name);
	FILE *f = fopen(path, "w");
	if (!f)
		perror(path);
	return f;
}

static bool close_file(FILE *f)
{
	bool ok = !ferror(f);
	ok = !fclose(f) && ok;
	if (!ok)
		fprintf(stderr, "world: unable to write all\n");
	return ok;
}

static bool write_world(struct world *w, const char *dir)
{
	FILE *f = open_file(dir, "mixed");
	if (!f)
		return false;
	write_mixed(w, f);
	bool ok = close_file(f);
	for (int i = 0; i < NDOMAIN && ok; i++) {
		ok = (f = open_file(dir, phrases[i].name));
		if (ok) {
			write_domain(w, &w->domain[i], f);
			ok = close_file(f);
		}
	}
	return ok;
}

int main(int argc, char **argv)
{
	char *end;
	if (argc != 3 || !*argv[1] || (strtoull(argv[1], &end, 10), *end)) {
		fprintf(stderr, "usage: world SEED DIR\n");
		return 2;
	}
	struct world *w = calloc(1, sizeof(*w));
	if (!w)
		return 1;
	w->random = strtoull(argv[1], NULL, 10);
	for (int i = 0; i < NDOMAIN; i++)
		make_domain(w, i);
	bool ok = write_world(w, argv[2]);
	free(w);
	return ok ? 0 : 1;
}
