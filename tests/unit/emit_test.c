/*
 * Generated code against the interpreter: the same bits for every op, on random shapes (1, primes,
 * ragged against 16 lanes), by node, by region through the slab, and compiled for every target, with
 * 1 and 2 threads: code for this CPU is loaded by the JIT linker, code for aarch64 runs under qemu.
 * The interpreter itself is held by interp_test.c.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit_cases.h"
#include "emit_trial.h"
#include "test.h"

TEST(emit_training)
{
	emit_case_training(5, trial_run);
}

TEST(emit_importance)
{
	emit_case_importance(6, trial_run);
}

#define WALK(name, nseed)                                                                          \
	TEST(emit_##name)                                                                          \
	{                                                                                          \
		emit_case(#name, test_seeds(nseed), trial_run);                                                \
	}
WALK(maps, 12)
WALK(recipes, 6)
WALK(halves, 6)
WALK(norm, 10)
WALK(sums, 8)
WALK(loss, 6)
WALK(dot_f32, 10)
WALK(dot_bf16, 10)
WALK(quantised, 12)
WALK(backward, 14)
WALK(memory, 6)
WALK(attention, 14)
WALK(attention_rows, 6)
WALK(attention_grad, 9)

/* Which rows lie further apart than they are long, and by how much: those of 1024 bf16 numbers, not those of 1000,
 * nor what a caller reads. */
TEST(rows_that_share_lines_of_a_cache_are_padded)
{
	static const struct {
		int64_t extent;
		enum dtype dtype;
		const char *output;
		int pad;
	} cases[] = {{1024, DT_BF16, NULL, 32}, {1000, DT_BF16, NULL, 0}, {512, DT_F32, NULL, 16}, {512, DT_BF16, NULL, 0},
		{1024, DT_BF16, "x", 0}};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct arena a = {0};
		struct graph *g = graph_new(&a, "padded");
		graph_axis(g, "R", 8, true);
		graph_axis(g, "D", cases[i].extent, false);
		graph_axis(g, "E", 48, false);
		int x = ir_cast(g, ir_mul(g, ir_leaf(g, OP_INPUT, "x", graph_type(g, DT_F32, "R D")), ir_const(g, 3)), cases[i].dtype);
		graph_add_output(g, "y", ir_dot(g, x, ir_leaf(g, OP_PARAM, "w", graph_type(g, cases[i].dtype, "E D")), graph_type(g, DT_F32, "R E")));
		if (cases[i].output)
			graph_add_output(g, cases[i].output, x);
		const struct graph *plan = graph_plan(&a, g);
		int pad = 0;
		for (int n = 0; n < plan->nnode; n++) {
			const struct node *node = &plan->node[n];
			if (node->stored && type_has_axis(&node->type, 1) && node->layout.pad > pad)
				pad = node->layout.pad;
		}
		CHECK_INT(pad, cases[i].pad);
		arena_release(&a);
	}
}

TEST(zz_every_op_was_emitted)
{
	for (int i = 0; i < NOPS; i++)
		if (!trial_had_op((enum op)i) && op_info[i].class != CLASS_RECIPE)
			FAIL("no graph above has an op '%s'", op_info[i].name);
}

TEST(zz_every_target_ran)
{
	struct strbuf skipped;
	strbuf_init(&skipped);
	for (int i = 0; i < ntargets; i++) {
		const char *why = trial_lacks(&targets[i]);
		if (why)
			strbuf_addf(&skipped, "%s%s: %s", skipped.n ? "; " : "", targets[i].name, why);
		else if (!trial_count(&targets[i]))
			FAIL("no code ran for %s", targets[i].name);
	}
	if (skipped.n)
		test_skip("%s", skipped.s);
	strbuf_release(&skipped);
}
