/*
 * Which code of a binary runs. A binary holds code for one CPU or several of one architecture over the
 * same weights; all of it is of one numerics class, so any of it gives the same bits. Each object that was
 * linked in has put one record into a section (program.h), in the order of linking: from plain to capable.
 */
#ifndef VARIANT_H
#define VARIANT_H

#include "cpu.h"
#include "program.h"

struct variants {
	const struct variant *v;
	size_t n;
};

/* The last whose needs the CPU has, or the one of that name if it has them; name NULL: any. NULL on
 * failure, which names all of them and what each lacks: ERR_SPEC where none has that name, else ERR_TOOL. */
const struct variant *variant_choose(struct variants all, const struct cpu *cpu, const char *name,
	struct err *e);

/* For people, what there is and what runs (NULL: none), two lines:
 *
 *     code for      x86-64-v3, zen4, zen5 (lacks avxvnni)
 *     runs here     zen4
 */
void variants_print(struct strbuf *out, struct variants all, const struct cpu *cpu, const struct variant *runs);

/* The program's description (model_info.h) with the same as two members more:
 * "variants":[{"name":"zen5","lacks":["avxvnni"]},...],"runs":"zen4" or null. */
void variants_json(struct strbuf *out, struct buf info, struct variants all, const struct cpu *cpu,
	const struct variant *runs);

#endif
