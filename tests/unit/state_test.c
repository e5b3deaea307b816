#include <stdio.h>
#include <string.h>

#include "state.h"
#include "test.h"

static const char text[] =
	"trim-state 1\narch llama\n"
	"layers 2 width 4 ffn 8 heads 2 kv-heads 1 head-dim 2 vocab 16 context 32\n"
	"rms-eps 1e-05 rope llama3 500000 8 1 4 8192\ntied 1 bos 1 eos 2 3\n"
	"dropped blk.1.attn\n"
	"tensor embed bf16 16 4 00000000000000010000000000000002 128\n"
	"tensor blk.0.attn.norm f32 4 00000000000000030000000000000004 16\n"
	"tensor blk.0.mlp.norm f32 4 00000000000000050000000000000006 16\n"
	"tensor blk.1.mlp.norm f32 4 00000000000000070000000000000008 16\n";

TEST(state_text_reads_back)
{
	struct arena a = {0};
	struct state s;
	struct err e;
	struct strbuf out;
	strbuf_init(&out);
	REQUIRE(state_read(&a, (struct buf){text, strlen(text)}, "s", &s, &e));
	state_write(&out, &s);
	CHECK_STR(out.s, text);
	CHECK(s.has_attn[0] && !s.has_attn[1] && s.has_mlp[0] && s.has_mlp[1]);
	CHECK_INT(s.config.neos, 2);
	CHECK_INT(state_import_bytes(&s, MODEL_BF16), 128 + 3 * 8);
	strbuf_release(&out);
	arena_release(&a);
}

TEST(units_are_read_a_line_each)
{
	static const char good[] = "blk.3.mlp\n\nblk.0.attn", bad[] = "blk.3.mlp\nblk.3.up\n";
	struct arena a = {0};
	struct unit *unit;
	struct err e;
	size_t n;
	REQUIRE(units_read(&a, (struct buf){good, strlen(good)}, &unit, &n, &e) && n == 2);
	CHECK(unit[0].kind == UNIT_MLP && unit[0].layer == 3 && unit[1].kind == UNIT_ATTN && unit[1].layer == 0);
	CHECK(units_read(&a, (struct buf){"", 0}, &unit, &n, &e) && n == 0);
	CHECK(!units_read(&a, (struct buf){bad, strlen(bad)}, &unit, &n, &e) && e.kind == ERR_IO);
	CHECK_STR(e.msg, "'blk.3.up' is no unit");
	arena_release(&a);
}

TEST(state_drop_takes_the_unit_and_nothing_else)
{
	struct arena a = {0};
	struct state s, t;
	struct err e;
	REQUIRE(state_read(&a, (struct buf){text, strlen(text)}, "s", &s, &e));
	struct unit u = {UNIT_MLP, 1};
	REQUIRE(state_drop(&a, &s, u, &t, &e));
	CHECK_INT(t.ntensor, 3);
	CHECK(!state_find(&t, "blk.1.mlp.norm") && state_find(&t, "blk.0.mlp.norm"));
	CHECK_INT(t.ndropped, 2);
	CHECK(s.has_mlp[1] && !t.has_mlp[1]);
	CHECK(!state_drop(&a, &t, u, &s, &e));
	CHECK_STR(e.msg, "unit 'blk.1.mlp' is not there to be dropped");
	arena_release(&a);
}

TEST(state_damage_has_a_place)
{
	static const struct {
		const char *from, *to, *want;
	} cases[] = {
		{"trim-state 1", "trim-state 9", "s:1: not a model state of this version"},
		{"arch llama", "arch lamma", "s:2: unknown architecture 'lamma'; did you mean 'llama'?"},
		{"blk.1.attn\n", "blk.x\n", "s:6: 'blk.x' is no unit"},
		{" 128\n", " 130\n", "s:7: unable to read 'tensor' of a model state"},
		{"blk.1.mlp.norm", "blk.7.mlp.norm", "s: tensor 'blk.7.mlp.norm' lies outside the model"},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct arena a = {0};
		struct state s;
		struct err e;
		char got[1100];
		const char *at = strstr(text, cases[i].from);
		REQUIRE(at);
		const char *bad = arena_printf(&a, "%.*s%s%s", (int)(at - text), text, cases[i].to,
			at + strlen(cases[i].from));
		CHECK(!state_read(&a, (struct buf){bad, strlen(bad)}, "s", &s, &e));
		err_format(&e, got, sizeof(got));
		CHECK_STR(got, cases[i].want);
		arena_release(&a);
	}
}
