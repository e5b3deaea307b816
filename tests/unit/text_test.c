/* The text form: what it says when it is wrong, and that it loses nothing. (Every op's line is read
 * and printed by interp_test and grad_test.) */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph_run.h"

static const char sample[] =
	"# A comment.\n"
	"graph \"a \\\"graph\\\" \\\\ \\x0a\"\n"
	"axis R 5 dynamic\naxis \"D(1)\" 32 # width\n\n"
	"slab 2048\n"
	"%in = input name=model.layers.0.q_proj/weight : bf16 (\"D(1)\",R) layout panel 0 1\n"
	"%1 = const value=-0.1 : f32 ()\n"
	"\t%2 = mul %in %1 : f32 (\"D(1)\",R) layout row 16 region 0 stored at 64\r\n"
	"%sum = sum %2 : f32 (R) region 1 stored\n"
	"region 0 map (R,\"D(1)\") : %2\n"
	"region 1 reduce (R) : %sum\n"
	"output \"the sum\" %sum\noutput two %2\n";

static const char printed[] =
	"graph \"a \\\"graph\\\" \\\\ \\x0a\"\n"
	"axis R 5 dynamic\naxis \"D(1)\" 32\n"
	"slab 2048\n"
	"%0 = input name=model.layers.0.q_proj/weight : bf16 (\"D(1)\",R) layout panel 0 1\n"
	"%1 = const value=-0.1 : f32 ()\n"
	"%2 = mul %0 %1 : f32 (\"D(1)\",R) layout row 16 region 0 stored at 64\n"
	"%3 = sum %2 : f32 (R) region 1 stored\n"
	"region 0 map (R,\"D(1)\") : %2\n"
	"region 1 reduce (R) : %3\n"
	"output \"the sum\" %3\noutput two %2\n";

static bool parse(struct arena *a, const char *text, size_t n, struct graph **g, struct err *e)
{
	/* An exact copy, so that a sanitizer sees a byte too far. */
	char *copy = xmalloc(n);
	memcpy(copy, text, n);
	bool ok = graph_parse(a, (struct buf){copy, n}, "x.ir", g, e);
	memset(copy, '?', n);
	free(copy);
	return ok;
}

TEST(text_reads_and_prints_every_annotation)
{
	struct arena a = {0};
	struct graph *g;
	struct err e = {0};
	struct strbuf out;
	strbuf_init(&out);
	if (parse(&a, sample, strlen(sample), &g, &e)) {
		graph_print(&out, g);
		CHECK_STR(out.s, printed);
		CHECK_STR(g->name, "a \"graph\" \\ \n");
		CHECK(g->axis[0].dynamic && !g->axis[1].dynamic);
		CHECK_INT(g->node[2].offset, 64);
		CHECK_INT(g->node[2].layout.pad, 16);
		CHECK_INT(g->node[3].offset, -1);
		CHECK_INT(g->node[1].region, -1);
	} else {
		FAIL("%d:%d: %s", e.line, e.col, e.msg);
	}
	strbuf_release(&out);
	arena_release(&a);
}

TEST(text_keeps_constants_exactly)
{
	struct rng rng;
	rng_init(&rng, 6);
	for (int i = 0; i < 2000; i++) {
		struct arena a = {0};
		struct graph *g = graph_new(&a, "c"), *back;
		struct strbuf out;
		struct err e = {0};
		static const double special[] = {0, -0.0, HUGE_VAL, -HUGE_VAL, 1e300, 0x1p-149, 0x1p-1074};
		uint64_t bits = rng_next(&rng);
		double x;
		memcpy(&x, &bits, sizeof(x));
		if (i % 2)
			x = (float)x;
		if (i < (int)NELEM(special))
			x = special[i];
		ir_const(g, x);
		ir_const_i32(g, (int32_t)bits);
		strbuf_init(&out);
		graph_print(&out, g);
		if (!parse(&a, out.s, out.n, &back, &e))
			FAIL("%s: %s", e.msg, out.s);
		else if (memcmp(&back->node[0].value, &g->node[0].value, sizeof(x)) && !isnan(x))
			FAIL("%a became %a by\n%s", x, back->node[0].value, out.s);
		else
			CHECK(back->node[1].value == (int32_t)bits);
		strbuf_release(&out);
		arena_release(&a);
	}
}

#define AB "graph g\naxis A 3\naxis B 2 dynamic\n%x = input name=x : f32 (A,B)\n"

#define W "axis F 3\naxis D 4\n%x = input name=x : f32 (D)\n%w = param name=w : q8 (F | D) layout panel 0 1\n"

static const struct {
	const char *text, *err;
} bad[] = {
	{"grph g\n", "x.ir:1:1: unknown line 'grph'; did you mean 'graph'?"},
	{"graph \"g\n", "x.ir:1:7: missing quote behind the graph's name"},
	{"graph \"\\q\"\n", "x.ir:1:7: bad escape in a quoted name; \\\" \\\\ and \\xHH are known"},
	{"axis A 0\n", "x.ir:1:8: the extent is '0', not an integer from 1 to 2147483647"},
	{"axis A 1e3\n", "x.ir:1:8: the extent is '1e3', not an integer from 1 to 2147483647"},
	{"axis A 3 dynamik\n", "x.ir:1:10: unknown axis property 'dynamik'; did you mean 'dynamic'?"},
	{"axis A 3\naxis A 3\n", "x.ir:2:6: axis 'A' is declared twice"},
	{"axis\n", "x.ir:1:5: expected an axis"},
	{AB "%y = nge %x : f32 (A,B)\n", "x.ir:5:6: unknown op 'nge'; did you mean 'neg'?"},
	{AB "%y = neg %z : f32 (A,B)\n", "x.ir:5:11: %z is not defined before this line"},
	{AB "%y = neg %y : f32 (A,B)\n", "x.ir:5:11: %y is not defined before this line"},
	{AB "%x = neg %x : f32 (A,B)\n", "x.ir:5:2: %x is defined twice"},
	{AB "%y = neg : f32 (A,B)\n", "x.ir:5:10: op 'neg' takes 1 sources, not 0"},
	{AB "%y = neg %x %x : f32 (A,B)\n", "x.ir:5:13: op 'neg' takes 1 sources"},
	{AB "%y = neg %x : f23 (A,B)\n", "x.ir:5:15: unknown dtype 'f23'; did you mean 'f32'?"},
	{AB "%y = neg %x : f32 (A,C)\n", "x.ir:5:22: unknown axis 'C'"},
	{AB "%y = neg %x : f32 (A,A)\n", "x.ir:5:22: axis 'A' occurs twice"},
	{AB "%y = neg %x : f32 (A B)\n", "x.ir:5:22: expected ','"},
	{AB "%y = neg %x : f32 (A,B\n", "x.ir:5:23: expected ','"},
	{AB "%y = neg %x : f32 A,B\n", "x.ir:5:19: expected '('"},
	{AB "%y = neg %x f32 (A,B)\n", "x.ir:5:13: expected ':'"},
	{AB "%y neg %x : f32 (A,B)\n", "x.ir:5:4: expected '='"},
	{AB "%y = neg %x : f32 (A)\n",
		"x.ir:5:1: op 'neg': a source has an axis that the result lacks"},
	{AB "%y = neg axis=A %x : f32 (A,B)\n", "x.ir:5:10: op 'neg' takes no 'axis'"},
	{AB "%y = flip %x : f32 (A,B)\n", "x.ir:5:11: op 'flip' needs axis="},
	{AB "%y = flip axis=A axis=A %x : f32 (A,B)\n", "x.ir:5:18: op 'flip' takes only one 'axis'"},
	{AB "%y = flip axes=A %x : f32 (A,B)\n", "x.ir:5:11: unknown option 'axes'; did you mean 'axis'?"},
	{AB "%y = flip axis=B %x : f32 (A,B)\n",
		"x.ir:5:1: op 'flip': its axis is one of the source's, and not the last"},
	{AB "%y = input name=x : f32 (A)\n", "x.ir:5:17: name 'x' is used twice"},
	{AB "%y = input : f32 (A)\n", "x.ir:5:12: op 'input' needs name="},
	{AB "%y = const value=1x : f32 ()\n", "x.ir:5:18: value '1x' is not a number"},
	{AB "%y = const value=0.5 : i32 ()\n",
		"x.ir:5:1: the value of an i32 constant is no 32-bit integer"},
	{AB "%y = const value=4294967296 : i32 ()\n",
		"x.ir:5:1: the value of an i32 constant is no 32-bit integer"},
	{AB "%y = neg %x : f32 (A | B)\n", "x.ir:5:22: only q8, q4 and c8 have a bar, and one"},
	{AB "%y = neg %x : q8 (A | B)\n", "x.ir:5:1: op 'neg': only quantise and params are q8 or q4"},
	{AB "%y = quantise %x : q8 (A | B)\n", "x.ir:5:1: op 'quantise': an inner axis is dynamic"},
	{AB "%y = quantise %x : q4 (B | A)\n", "x.ir:5:1: op 'quantise': takes f32, gives q8 or c8 of the same axes"},
	{"axis A 3\n%y = param name=y : q8 (A)\n", "x.ir:2:1: op 'param': a param of q8 or q4 has panels of its outer axes"},
	{W "%z = neg %w : f32 (F,D)\n", "x.ir:5:1: op 'neg': does not read q8 or q4"},
	{W "%z = dot %x %w : f32 (F)\n", "x.ir:5:1: op 'dot': takes two f32, two bf16 or two with blocks, gives f32"},
	{W "%z = dot %w %w : f32 (F)\n", "x.ir:5:1: op 'dot': each axis of the result comes from one source"},
	{W "%q = quantise %x : q8 (| D)\n%z = dot %w %q : f32 (F)\n",
		"x.ir:6:1: op 'dot': takes what quantise gives, and a q8 or q4 param"},
	{"axis V 3\naxis D 4\naxis R 2\n%i = input name=i : i32 (R)\n%t = param name=t : q4 (V | D) layout panel 0 1\n"
	 "%z = gather axis=D %t %i : f32 (R,V)\n", "x.ir:6:1: op 'gather': the axis is one of the blocks'"},
	{AB "%y = neg %x : f32 (A,B) strode\n", "x.ir:5:25: unknown annotation 'strode'; did you mean 'stored'?"},
	{AB "%y = neg %x : f32 (A,B) layout panel 1 1\n",
		"x.ir:5:1: op 'neg': a panel layout needs panel axes and inner axes"},
	{AB "%y = neg %x : f32 (A,B) layout rows 0 1\n", "x.ir:5:32: unknown layout 'rows'; did you mean 'row'?"},
	{AB "%y = neg %x : f32 (A,B) layout row 0\n",
		"x.ir:5:36: the elements between rows is '0', not an integer from 1 to 32767"},
	{AB "%y = input name=y : f32 (A,B) layout row 16\n",
		"x.ir:5:1: op 'input': only rows of what is computed may be padded"},
	{AB "%y = neg %x : f32 (A,B) at -1\n",
		"x.ir:5:28: the offset is '-1', not an integer from 0 to 4611686018427387903"},
	{AB "%y = neg %x : f32 (A,B) region 1\nregion 0 map (A) : %y\n",
		"x.ir:7:1: %y is in region 1, which is not declared"},
	{AB "region 1 map (A) : %x\n", "x.ir:5:8: the region's number is '1', not an integer from 0 to 0"},
	{AB "region 0 mop (A) : %x\n", "x.ir:5:10: unknown region kind 'mop'; did you mean 'map'?"},
	{AB "region 0 map (A) : %x %x\n", "x.ir:5:24: a region's nodes are listed in graph order"},
	{AB "output y %x\noutput y %x\n", "x.ir:6:8: output 'y' is named twice"},
	{AB "output y %x %x\n", "x.ir:5:13: unexpected text behind the end of the line"},
	{AB "output y x\n", "x.ir:5:10: expected '%'"},
};

TEST(text_errors_name_the_place)
{
	for (size_t i = 0; i < NELEM(bad); i++) {
		struct arena a = {0};
		struct graph *g;
		struct err e = {0};
		char msg[1024];
		if (parse(&a, bad[i].text, strlen(bad[i].text), &g, &e)) {
			FAIL("accepted: %s", bad[i].text);
		} else {
			err_format(&e, msg, sizeof(msg));
			CHECK_STR(msg, bad[i].err);
		}
		arena_release(&a);
	}
}

/* Damaged text is an error with a line, or a graph that prints and reads back as itself. */
static void check_damaged(const char *text, size_t n)
{
	struct arena a = {0};
	struct graph *g, *back;
	struct err e = {0};
	struct strbuf once, twice;
	strbuf_init(&once);
	strbuf_init(&twice);
	if (!parse(&a, text, n, &g, &e)) {
		CHECK(e.line >= 1 && e.col >= 1 && e.msg[0]);
	} else {
		graph_print(&once, g);
		if (parse(&a, once.s, once.n, &back, &e)) {
			graph_print(&twice, back);
			CHECK_STR(twice.s, once.s);
		} else {
			FAIL("%d:%d: %s\n%s", e.line, e.col, e.msg, once.s);
		}
	}
	strbuf_release(&once);
	strbuf_release(&twice);
	arena_release(&a);
}

TEST(text_survives_damage)
{
	struct rng rng;
	char text[sizeof(sample)];
	rng_init(&rng, 7);
	for (size_t n = 0; n < sizeof(sample); n++)
		check_damaged(sample, n);
	for (int i = 0; i < 5000; i++) {
		memcpy(text, sample, sizeof(sample));
		for (int k = 0; k <= i % 3; k++) {
			size_t at = rng_below(&rng, sizeof(sample) - 1);
			static const char spice[] = "%() ,=:\"\\#\n01x-\t";
			text[at] = rng_below(&rng, 2) ? spice[rng_below(&rng, sizeof(spice) - 1)]
						      : sample[rng_below(&rng, sizeof(sample) - 1)];
		}
		check_damaged(text, sizeof(sample) - 1);
	}
}
