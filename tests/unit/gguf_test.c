/* GGUF: a tiny model made here byte by byte reads as it should; each way of breaking it is named
 * with its place. */
#include "digest.h"
#include "gguf.h"
#include "model.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tiny model: one layer, D 8, H 2, K 1, hd 4, F 3, V 5. */
enum { D = 8, H = 2, HD = 4, KV = 4, F = 3, V = 5, ALIGN = 32 };

static void put(struct strbuf *b, uint64_t x, size_t bytes)
{
	strbuf_add(b, &x, bytes);
}

static void put_string(struct strbuf *b, const char *s)
{
	put(b, strlen(s), 8);
	strbuf_adds(b, s);
}

static void put_key(struct strbuf *b, const char *key, enum gguf_type type)
{
	put_string(b, key);
	put(b, type, 4);
}

static void put_f32(struct strbuf *b, float x)
{
	strbuf_add(b, &x, sizeof(x));
}

static void put_keys(struct strbuf *b)
{
	static const struct {
		const char *key;
		uint32_t value;
	} numbers[] = {
		{"general.alignment", ALIGN},
		{"llama.block_count", 1},
		{"llama.embedding_length", D},
		{"llama.feed_forward_length", F},
		{"llama.attention.head_count", H},
		{"llama.attention.head_count_kv", 1},
		{"llama.context_length", 16},
		{"llama.rope.dimension_count", HD},
		{"llama.expert_count", 0},
		{"tokenizer.ggml.bos_token_id", 1},
		{"tokenizer.ggml.eos_token_id", 2},
		{"test.number1", 77},
		{"test.number2", 78},
	};
	put_key(b, "general.architecture", GGUF_STRING);
	put_string(b, "llama");
	for (size_t i = 0; i < NELEM(numbers); i++) {
		put_key(b, numbers[i].key, GGUF_U32);
		put(b, numbers[i].value, 4);
	}
	put_key(b, "llama.attention.layer_norm_rms_epsilon", GGUF_F32);
	put_f32(b, 1e-5F);
	put_key(b, "llama.rope.scaling.type", GGUF_STRING);
	put_string(b, "linear");
	put_key(b, "llama.rope.scaling.factor", GGUF_F32);
	put_f32(b, 2);
	put_key(b, "tokenizer.ggml.tokens", GGUF_ARRAY);
	put(b, GGUF_STRING, 4);
	put(b, V, 8);
	for (int i = 0; i < V; i++)
		put_string(b, i ? "tok" : "");
	put_key(b, "test.flag", GGUF_BOOL);
	put(b, 1, 1);
	put_key(b, "test.bytes", GGUF_ARRAY);
	put(b, GGUF_I8, 4);
	put(b, 3, 8);
	put(b, 0x80ff01, 3);
	put_key(b, "test.u64", GGUF_U64);
	put(b, UINT64_MAX, 8);
}
enum { NKEY = 21, NTENSOR = 12 };

/* In file order; dims as in the file, the fastest first. */
static const struct {
	const char *name;
	uint64_t dims[2];
	uint32_t type;
	size_t element;
} tensors[NTENSOR] = {
	{"token_embd.weight", {D, V}, 0, 4},
	{"blk.0.attn_norm.weight", {D, 0}, 0, 4},
	{"blk.0.attn_q.weight", {D, D}, 0, 4},
	{"blk.0.attn_k.weight", {D, KV}, 30, 2},
	{"blk.0.attn_v.weight", {D, KV}, 1, 2},
	{"blk.0.attn_output.weight", {D, D}, 0, 4},
	{"blk.0.ffn_norm.weight", {D, 0}, 0, 4},
	{"blk.0.ffn_gate.weight", {D, F}, 0, 4},
	{"blk.0.ffn_up.weight", {D, F}, 0, 4},
	{"blk.0.ffn_down.weight", {F, D}, 0, 4},
	{"output_norm.weight", {D, 0}, 0, 4},
	{"output.weight", {D, V}, 0, 4},
};

/* Each byte of a tensor's row r is 16 * (its index, from 1) + r, and of the embedding's last row
 * that of the head's, so that the two differ. */
static void put_file(struct strbuf *b)
{
	size_t offset = 0;
	strbuf_adds(b, "GGUF");
	put(b, 3, 4);
	put(b, NTENSOR, 8);
	put(b, NKEY, 8);
	put_keys(b);
	for (size_t i = 0; i < NTENSOR; i++) {
		size_t ndim = tensors[i].dims[1] ? 2 : 1, bytes = tensors[i].element;
		put_string(b, tensors[i].name);
		put(b, ndim, 4);
		for (size_t k = 0; k < ndim; k++) {
			put(b, tensors[i].dims[k], 8);
			bytes *= tensors[i].dims[k];
		}
		put(b, tensors[i].type, 4);
		put(b, offset, 8);
		offset = (offset + bytes + ALIGN - 1) / ALIGN * ALIGN;
	}
	for (size_t i = 0; i < NTENSOR; i++) {
		size_t rows = tensors[i].dims[1] ? tensors[i].dims[1] : 1;
		while (b->n % ALIGN)
			strbuf_addc(b, 0);
		for (size_t r = 0; r < rows; r++)
			for (size_t k = 0; k < tensors[i].dims[0] * tensors[i].element; k++)
				strbuf_addc(b, (char)(16 * (i + 1) + r));
	}
}

static const char *write_file(const char *bytes, size_t n)
{
	static char path[512];
	struct err e;
	snprintf(path, sizeof(path), "%s/tiny.gguf", test_tmpdir());
	if (!file_write(path, (struct buf){bytes, n}, 0644, &e))
		FAIL("%s", e.msg);
	return path;
}

TEST(gguf_metadata_by_key)
{
	struct strbuf b;
	struct gguf g;
	struct err e;
	struct arena a = {0};
	struct buf s, *strings;
	int64_t x = 0, *ints;
	double f = 0;
	bool flag = false;
	size_t n = 0;
	strbuf_init(&b);
	put_file(&b);
	REQUIRE(gguf_open(&g, write_file(b.s, b.n), &e));
	CHECK_INT(g.nvalue, NKEY);
	CHECK(gguf_int(&g, "test.number2", &x, &e) && x == 78);
	CHECK(gguf_float(&g, "llama.rope.scaling.factor", &f, &e) && f == 2);
	CHECK(gguf_bool(&g, "test.flag", &flag, &e) && flag);
	CHECK(gguf_string(&g, "general.architecture", &s, &e) && s.n == 5 &&
		!memcmp(s.p, "llama", 5));
	CHECK(gguf_strings(&a, &g, "tokenizer.ggml.tokens", &strings, &n, &e) && n == V);
	CHECK(strings[0].n == 0 && strings[4].n == 3 && !memcmp(strings[4].p, "tok", 3));
	CHECK(gguf_ints(&a, &g, "test.bytes", &ints, &n, &e) && n == 3);
	CHECK(ints[0] == 1 && ints[1] == -1 && ints[2] == -128);
	CHECK(!gguf_find(&g, "test.number3"));
	CHECK(!gguf_int(&g, "test.number3", &x, &e));
	CHECK_STR(e.msg, "key 'test.number3' is missing; found 'test.number1'");
	CHECK(!gguf_float(&g, "test.flag", &f, &e));
	CHECK(strstr(e.msg, "key 'test.flag': expected a float, found bool"));
	CHECK(!gguf_int(&g, "test.bytes", &x, &e));
	CHECK(strstr(e.msg, "key 'test.bytes': expected an integer, found an array of i8"));
	CHECK(!gguf_int(&g, "test.u64", &x, &e));
	CHECK(strstr(e.msg, "key 'test.u64': 18446744073709551615 is out of range"));
	gguf_release(&g);
	arena_release(&a);
	strbuf_release(&b);
}

static void check_rows(const struct model *m, const char *name, int index, const char *rows)
{
	const struct model_tensor *t = model_find(m, name);
	REQUIRE(t);
	for (size_t r = 0; r < t->dims[0] && t->ndim == 2; r++)
		if (t->data[r * t->bytes / t->dims[0]] != 16 * (index + 1) + (rows[r] - '0'))
			FAIL("%s: row %zu is not row %c of the file", name, r, rows[r]);
}

TEST(gguf_model_in_canonical_form)
{
	static const char *const order[] = {"embed", "blk.0.attn.norm", "blk.0.attn.q",
		"blk.0.attn.k", "blk.0.attn.v", "blk.0.attn.o", "blk.0.mlp.norm", "blk.0.mlp.gate",
		"blk.0.mlp.up", "blk.0.mlp.down", "norm", "head"};
	struct strbuf b;
	struct model m;
	struct err e;
	strbuf_init(&b);
	put_file(&b);
	if (!model_open(&m, write_file(b.s, b.n), &e))
		FAIL("%s", e.msg);
	REQUIRE(m.ntensor == NTENSOR);
	for (size_t i = 0; i < NTENSOR; i++)
		CHECK_STR(m.tensor[i].name, order[i]);
	CHECK_INT(m.config.layers, 1);
	CHECK_INT(m.config.head_dim, HD);
	CHECK_INT(m.config.vocab, V);
	CHECK_INT(m.config.bos_id, 1);
	CHECK_INT(m.config.neos, 1);
	CHECK_INT(m.config.eos_id[0], 2);
	CHECK(!m.config.tied);
	CHECK(m.config.rope == MODEL_ROPE_LINEAR && m.config.rope_factor == 2);
	CHECK(m.config.rms_eps == 1e-5F && m.config.rope_theta == 10000);
	CHECK_INT(model_find(&m, "blk.0.attn.k")->dtype, MODEL_BF16);
	CHECK_INT(model_find(&m, "blk.0.attn.v")->dtype, MODEL_F16);
	/* ggml keeps a head's rows as 0, 2, 1, 3 of HF's; heads stay where they are. */
	check_rows(&m, "blk.0.attn.q", 2, "02134657");
	check_rows(&m, "blk.0.attn.k", 3, "0213");
	check_rows(&m, "blk.0.attn.v", 4, "0123");
	check_rows(&m, "blk.0.attn.o", 5, "01234567");
	check_rows(&m, "blk.0.mlp.down", 9, "01234567");
	model_release(&m);
	strbuf_release(&b);
}

/* `value` in `bytes` bytes at `delta` from where `anchor` begins; bytes 0 cuts the file there. */
static const struct mutation {
	const char *anchor;
	long delta;
	uint64_t value;
	size_t bytes;
	const char *message;
} mutations[] = {
	{"GGUF", 0, 0, 0, "byte 0: truncated: the magic needs 4 bytes, 0 are left"},
	{"GGUF", 0, 'g', 1, "byte 0: not a GGUF file: it does not begin with 'GGUF'"},
	{"GGUF", 4, 1, 4, "byte 4: GGUF version 1 is not supported; expected 2 or 3"},
	{"GGUF", 4, 4, 4, "byte 4: GGUF version 4 is not supported; expected 2 or 3"},
	{"GGUF", 4, 0x03000000, 4, "byte 4: big-endian GGUF is not supported"},
	{"GGUF", 12, 0, 0, "byte 8: truncated: the number of tensors needs 8 bytes, 4 are left"},
	{"GGUF", 8, 1ULL << 60, 8,
		"byte 8: 1152921504606846976 tensors claimed, 2061 bytes are left"},
	{"GGUF", 16, UINT64_MAX, 8,
		"byte 16: 18446744073709551615 keys claimed, 2920 bytes are left"},
	{"GGUF", 16, NKEY + 1, 8,
		"byte 914: a tensor's name claims 1407374883553280 bytes, 2022 are left"},
	{"GGUF", 16, NKEY - 1, 8, "byte 855: tensor 'test.u64' has 10 dimensions; expected 1 to 4"},
	{"general.arch", -8, 1ULL << 63, 8,
		"byte 24: a key claims 9223372036854775808 bytes, 2912 are left"},
	{"general.arch", -8, 0, 8, "byte 24: a key of 0 bytes; expected 1 to 65535"},
	{"general.arch", 0, 0xff, 1, "byte 24: a key is not UTF-8 text"},
	{"general.arch", 3, 0, 1, "byte 24: a key is not UTF-8 text"},
	{"test.number1", 12, 99, 4,
		"byte 519: key 'test.number1' has unknown type 99; expected 0 to 12"},
	{"test.number1", 11, '2', 1, "byte 551: key 'test.number2' appears twice"},
	{"test.flag", 13, 2, 1, "byte 817: key 'test.flag': a bool is 0 or 1, found 2"},
	{"test.bytes", 14, GGUF_ARRAY, 4,
		"byte 836: key 'test.bytes' is an array of arrays, which is not supported"},
	{"test.bytes", 14, 13, 4,
		"byte 836: key 'test.bytes' has unknown type 13; expected 0 to 12"},
	{"test.bytes", 18, 1ULL << 61, 8,
		"byte 836: key 'test.bytes' claims 2305843009213693952 items, 2092 bytes are left"},
	{"test.bytes", 14, GGUF_U64, 4,
		"byte 876: a key claims 1297036692682702847 bytes, 2060 are left"},
	{"tokenizer.ggml.tokens", 29, 1ULL << 40, 8,
		"byte 728: key 'tokenizer.ggml.tokens' claims 1099511627776 items, 2200 bytes are "
		"left"},
	{"tokenizer.ggml.tokens", 45, UINT64_MAX - 7, 8,
		"key 'tokenizer.ggml.tokens', item 1: byte 752: a string claims "
		"18446744073709551608 "
		"bytes, 2184 are left"},
	{"general.alignment", 21, 0, 4,
		"byte 98: general.alignment is 0; expected a power of two up to 16777216"},
	{"general.alignment", 21, 48, 4,
		"byte 98: general.alignment is 48; expected a power of two up to 16777216"},
	{"general.alignment", 17, GGUF_F32, 4,
		"byte 98: key 'general.alignment': expected an integer, found f32"},
	{"general.alignment", 21, 64, 4,
		"byte 940: offset 160 of tensor 'blk.0.attn_norm.weight' is not aligned to 64"},
	{"blk.0.attn_k.weight", -8, 4000, 8,
		"byte 1053: a tensor's name claims 4000 bytes, 1883 are left"},
	{"blk.0.attn_k.weight", 11, 'q', 1, "byte 883: tensor 'blk.0.attn_q.weight' appears twice"},
	{"blk.0.attn_k.weight", 19, 0, 4,
		"byte 1053: tensor 'blk.0.attn_k.weight' has 0 dimensions; expected 1 to 4"},
	{"blk.0.attn_k.weight", 19, 5, 4,
		"byte 1053: tensor 'blk.0.attn_k.weight' has 5 dimensions; expected 1 to 4"},
	{"blk.0.attn_k.weight", 23, 0, 8,
		"byte 1053: tensor 'blk.0.attn_k.weight' has a dimension of 0"},
	{"blk.0.attn_k.weight", 23, 1ULL << 62, 8,
		"byte 1053: size of tensor 'blk.0.attn_k.weight' overflows"},
	{"blk.0.attn_k.weight", 31, 1ULL << 40, 8,
		"byte 1600: tensor 'blk.0.attn_k.weight' (17592186044416 bytes at 448 of the data) "
		"ends behind the file; 1344 bytes of data are there"},
	{"blk.0.attn_k.weight", 39, 99, 4,
		"byte 1053: tensor 'blk.0.attn_k.weight' has unknown type 99"},
	{"blk.0.attn_k.weight", 39, 2, 4,
		"byte 2048: tensor 'blk.0.attn_k.weight' is Q4_0; only F32, F16 and BF16 are read"},
	{"blk.0.attn_k.weight", 43, 1, 8,
		"byte 1053: offset 1 of tensor 'blk.0.attn_k.weight' is not aligned to 32"},
	{"blk.0.attn_k.weight", 43, 0, 8,
		"byte 1600: tensors 'blk.0.attn_k.weight' and 'token_embd.weight' overlap"},
	{"blk.0.attn_k.weight", 43, 1ULL << 63, 8,
		"byte 1600: tensor 'blk.0.attn_k.weight' (64 bytes at 9223372036854775808 of the "
		"data) ends behind the file; 1344 bytes of data are there"},
	{"output_norm.weight", 8, 'e', 1,
		"tensor 'output_norm.weight' (norm) is missing; found 'output_nerm.weight'"},
	{"blk.0.attn_k.weight", 4, '7', 1,
		"tensor 'blk.0.attn_k.weight' (blk.0.attn.k) is missing; found "
		"'blk.7.attn_k.weight'"},
	{"blk.0.ffn_gate.weight", 25, F, 8,
		"byte 2464: tensor 'blk.0.ffn_gate.weight' has shape [3, 3]; expected [3, 8] by "
		"the "
		"config"},
	{"llama.block_count", 21, 0, 4,
		"byte 131: key 'llama.block_count' is not positive or out of range"},
	{"llama.block_count", 21, 2, 4,
		"tensor 'blk.1.attn_norm.weight' (blk.1.attn.norm) is missing"},
	{"llama.block_count", 21, UINT32_MAX, 4,
		"byte 131: key 'llama.block_count' is not positive or out of range"},
	{"llama.block_count", 17, GGUF_F32, 4,
		"byte 131: key 'llama.block_count': expected an integer, found f32"},
	{"llama.block_count", 5, '_', 1,
		"key 'llama.block_count' is missing; found 'llama_block_count'"},
	{"llama.attention.head_count_kv", 33, 3, 4, "2 heads cannot share 3 KV heads evenly"},
	{"llama.attention.head_count", 30, 3, 4, "width 8 is not a multiple of 3 heads"},
	{"llama.attention.head_count", 30, 8, 4, "head dimension 1 is odd, RoPE turns pairs"},
	{"llama.rope.dimension_count", 30, 2, 4,
		"byte 375: key 'llama.rope.dimension_count' of 2 is not supported; expected 4"},
	{"llama.expert_count", 22, 8, 4,
		"byte 409: key 'llama.expert_count' of 8 is not supported; expected 0"},
	{"linear", 5, 'x', 1,
		"byte 644: RoPE scaling 'lineax' is not supported; expected 'none' or 'linear'"},
	{"tokenizer.ggml.eos_token_id", 31, 5, 4, "end token 5 is outside the vocabulary of 5"},
	{"llama", 4, 'e', 1, "unknown architecture 'llame'; did you mean 'llama'?"},
	{"llama", 0, 'x', 5, "unknown architecture 'x'; known: 'llama'"},
};

static size_t find(const struct strbuf *b, const char *anchor)
{
	char *at = memmem(b->s, b->n, anchor, strlen(anchor));
	if (!at) {
		FAIL("no '%s' in the file", anchor);
		return 0;
	}
	return (size_t)(at - b->s);
}

TEST(gguf_damage_is_named_with_its_place)
{
	for (size_t i = 0; i < NELEM(mutations); i++) {
		const struct mutation *mu = &mutations[i];
		struct strbuf b;
		struct model m;
		struct err e;
		strbuf_init(&b);
		put_file(&b);
		size_t at = (size_t)((long)find(&b, mu->anchor) + mu->delta);
		memcpy(b.s + at, &mu->value, mu->bytes);
		const char *path = write_file(b.s, mu->bytes ? b.n : at);
		if (model_open(&m, path, &e)) {
			FAIL("accepted: %s%+ld = %llu", mu->anchor, mu->delta,
				(unsigned long long)mu->value);
		} else {
			CHECK_STR(e.msg, mu->message);
			CHECK_STR(e.file, path);
		}
		model_release(&m);
		strbuf_release(&b);
	}
}

TEST(gguf_every_prefix_is_refused)
{
	struct strbuf b;
	strbuf_init(&b);
	put_file(&b);
	for (size_t n = 0; n < b.n; n++) {
		struct model m;
		if (model_open(&m, write_file(b.s, n), NULL))
			FAIL("accepted the first %zu bytes", n);
		model_release(&m);
	}
	strbuf_release(&b);
}

/* Under the sanitizers: no flipped bytes lead out of bounds, whatever is accepted is consistent. */
TEST(gguf_random_damage_never_crashes)
{
	struct strbuf b;
	struct rng r;
	strbuf_init(&b);
	put_file(&b);
	size_t header = find(&b, "output.weight") + 60;
	rng_init(&r, 7);
	for (int round = 0; round < 3000; round++) {
		struct model m;
		char old[3];
		size_t at[3];
		for (int k = 0; k < 3; k++) {
			at[k] = rng_below(&r, header);
			old[k] = b.s[at[k]];
			b.s[at[k]] =
				(char)(rng_below(&r, 2) ? (int)rng_below(&r, 256) : old[k] + 1);
		}
		if (model_open(&m, write_file(b.s, b.n), NULL))
			for (size_t i = 0; i < m.ntensor; i++)
				digest_of(m.tensor[i].data, m.tensor[i].bytes);
		model_release(&m);
		for (int k = 3; k-- > 0;)
			b.s[at[k]] = old[k];
	}
	strbuf_release(&b);
}
