#include "variant.h"

#include <string.h>

enum { MAX_NAMES = 32 }; /* among which a misspelt name is looked for */

/* "x86-64-v3, zen4, zen5 (lacks avxvnni)" */
static void add_list(struct strbuf *out, struct variants all, const struct cpu *cpu)
{
	struct strbuf lacks;
	strbuf_init(&lacks);
	for (size_t i = 0; i < all.n; i++) {
		strbuf_clear(&lacks);
		strbuf_addf(out, "%s%s", i ? ", " : "", all.v[i].name);
		if (!cpu_has_all(cpu, all.v[i].needs, &lacks))
			strbuf_addf(out, " (lacks %s)", lacks.s);
	}
	strbuf_release(&lacks);
}

void variants_print(struct strbuf *out, struct variants all, const struct cpu *cpu, const struct variant *runs)
{
	strbuf_adds(out, "code for      ");
	add_list(out, all, cpu);
	strbuf_addf(out, "\nruns here     %s\n", runs ? runs->name : "none");
}

static void add_variant(struct strbuf *out, const struct variant *v, const struct cpu *cpu)
{
	struct strbuf lacks;
	strbuf_init(&lacks);
	cpu_has_all(cpu, v->needs, &lacks);
	strbuf_addf(out, "{\"name\":\"%s\",\"lacks\":[", v->name);
	for (const char *p = lacks.s; *p; p += strspn(p, ", ")) {
		size_t n = strcspn(p, ",");
		strbuf_addf(out, "%s\"%.*s\"", p > lacks.s ? "," : "", (int)n, p);
		p += n;
	}
	strbuf_adds(out, "]}");
	strbuf_release(&lacks);
}

void variants_json(struct strbuf *out, struct buf info, struct variants all, const struct cpu *cpu,
	const struct variant *runs)
{
	size_t n = info.n;
	while (n && ((const char *)info.p)[n - 1] != '}')
		n--;
	strbuf_add(out, info.p, n ? n - 1 : 0);
	strbuf_adds(out, ",\"variants\":[");
	for (size_t i = 0; i < all.n; i++) {
		strbuf_adds(out, i ? "," : "");
		add_variant(out, &all.v[i], cpu);
	}
	strbuf_addf(out, runs ? "],\"runs\":\"%s\"}" : "],\"runs\":null}", runs ? runs->name : "");
}

static const struct variant *find(struct variants all, const char *name)
{
	for (size_t i = 0; i < all.n; i++)
		if (!strcmp(all.v[i].name, name))
			return &all.v[i];
	return NULL;
}

static const char *nearest(struct variants all, const char *name)
{
	const char *names[MAX_NAMES];
	size_t n = all.n < MAX_NAMES ? all.n : MAX_NAMES;
	for (size_t i = 0; i < n; i++)
		names[i] = all.v[i].name;
	return nearest_name(name, names, n);
}

static void refuse(struct variants all, const struct cpu *cpu, const char *name, struct err *e)
{
	struct strbuf list;
	strbuf_init(&list);
	add_list(&list, all, cpu);
	if (!name) {
		err_set(e, ERR_TOOL, "no code of this program runs on this CPU: %s", list.s);
	} else if (find(all, name)) {
		err_set(e, ERR_TOOL, "the code for '%s' does not run on this CPU; the program holds %s", name, list.s);
	} else {
		const char *near = nearest(all, name);
		err_set(e, ERR_SPEC, "no code for '%s' in this program; it holds %s%s%s%s", name, list.s,
			near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
	strbuf_release(&list);
}

const struct variant *variant_choose(struct variants all, const struct cpu *cpu, const char *name, struct err *e)
{
	const struct variant *best = NULL;
	for (size_t i = 0; i < all.n; i++)
		if ((!name || !strcmp(all.v[i].name, name)) && cpu_has_all(cpu, all.v[i].needs, NULL))
			best = &all.v[i];
	if (!best)
		refuse(all, cpu, name, e);
	return best;
}
