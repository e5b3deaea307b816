/* HF directories: a tiny model written here as text reads as it should; each way of breaking
 * header, config or index is named with its place. */
#include "digest.h"
#include "json.h"
#include "model.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tiny model: one layer, D 4, H 2, K 1, hd 2, F 3, V 5. All tensors are F16; every byte of a
 * tensor is its index here. */
#define CONFIG                                                                                     \
	"{\n\"model_type\": \"llama\",\n\"hidden_size\": 4,\n\"intermediate_size\": 3,\n"          \
	"\"num_hidden_layers\": 1,\n\"num_attention_heads\": 2,\n\"num_key_value_heads\": 1,\n"    \
	"\"vocab_size\": 5,\n\"max_position_embeddings\": 16,\n\"rms_norm_eps\": 1e-06,\n"         \
	"\"rope_theta\": 500000.0,\n\"hidden_act\": \"silu\",\n\"tie_word_embeddings\": false,\n"  \
	"\"bos_token_id\": 1,\n\"eos_token_id\": [2, 3],\n\"rope_scaling\": null\n}\n"

static const struct {
	const char *name;
	size_t dims[2];
} tensors[] = {
	{"lm_head.weight", {5, 4}},
	{"model.embed_tokens.weight", {5, 4}},
	{"model.layers.0.input_layernorm.weight", {4}},
	{"model.layers.0.mlp.down_proj.weight", {4, 3}},
	{"model.layers.0.mlp.gate_proj.weight", {3, 4}},
	{"model.layers.0.mlp.up_proj.weight", {3, 4}},
	{"model.layers.0.post_attention_layernorm.weight", {4}},
	{"model.layers.0.self_attn.k_proj.weight", {2, 4}},
	{"model.layers.0.self_attn.o_proj.weight", {4, 4}},
	{"model.layers.0.self_attn.q_proj.weight", {4, 4}},
	{"model.layers.0.self_attn.v_proj.weight", {2, 4}},
	{"model.norm.weight", {4}},
};

enum { HEAD = 1, EMBED = 2, ALL = (1 << 12) - 1 }; /* sets of tensors, by index */

/* The parts of a directory, to be changed before they are written. */
struct tiny {
	struct strbuf config, json, data;
};

static void tiny_init(struct tiny *t, unsigned set)
{
	strbuf_init(&t->config);
	strbuf_init(&t->json);
	strbuf_init(&t->data);
	strbuf_adds(&t->config, CONFIG);
	strbuf_adds(&t->json, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (size_t i = 0; i < NELEM(tensors); i++) {
		size_t begin = t->data.n, n = 2 * tensors[i].dims[0];
		if (!(set >> i & 1))
			continue;
		strbuf_addf(&t->json, ",\"%s\":{\"dtype\":\"F16\",\"shape\":[%zu", tensors[i].name,
			tensors[i].dims[0]);
		if (tensors[i].dims[1]) {
			strbuf_addf(&t->json, ",%zu", tensors[i].dims[1]);
			n *= tensors[i].dims[1];
		}
		while (n--)
			strbuf_addc(&t->data, (char)i);
		strbuf_addf(&t->json, "],\"data_offsets\":[%zu,%zu]}", begin, t->data.n);
	}
	strbuf_adds(&t->json, "}");
}

static void tiny_release(struct tiny *t)
{
	strbuf_release(&t->config);
	strbuf_release(&t->json);
	strbuf_release(&t->data);
}

static void write_file(const char *dir, const char *name, const void *p, size_t n)
{
	char path[512];
	struct err e;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!file_write(path, (struct buf){p, n}, 0644, &e))
		FAIL("%s", e.msg);
}

static void tiny_write_tensors(const struct tiny *t, const char *dir, const char *name)
{
	struct strbuf b;
	uint64_t n = t->json.n;
	strbuf_init(&b);
	strbuf_add(&b, &n, sizeof(n));
	strbuf_add(&b, t->json.s, t->json.n);
	strbuf_add(&b, t->data.s, t->data.n);
	write_file(dir, name, b.s, b.n);
	strbuf_release(&b);
}

static void tiny_write_config(const struct tiny *t, const char *dir)
{
	write_file(dir, "config.json", t->config.s, t->config.n);
}

/* The first `from` in b becomes `to`; nothing happens when `from` is NULL. */
static void replace(struct strbuf *b, const char *from, const char *to)
{
	struct strbuf out;
	char *at = from ? strstr(b->s, from) : NULL;
	if (from && !at)
		FAIL("no '%s' to replace", from);
	if (!at)
		return;
	strbuf_init(&out);
	strbuf_add(&out, b->s, (size_t)(at - b->s));
	strbuf_adds(&out, to);
	strbuf_adds(&out, at + strlen(from));
	strbuf_release(b);
	*b = out;
}

/* The message begins with the directory's name, which differs from run to run. */
static void check_refused(const char *dir, const char *message)
{
	struct model m;
	struct err e;
	char line[1200];
	if (model_open(&m, dir, &e)) {
		FAIL("accepted; expected: %s", message);
	} else {
		err_format(&e, line, sizeof(line));
		CHECK(!strncmp(line, dir, strlen(dir)));
		CHECK_STR(line + strlen(dir), message);
		CHECK_INT(e.kind, ERR_IO);
	}
	model_release(&m);
}

static void check_model(const char *dir)
{
	static const char *const order[] = {"embed", "blk.0.attn.norm", "blk.0.attn.q",
		"blk.0.attn.k", "blk.0.attn.v", "blk.0.attn.o", "blk.0.mlp.norm", "blk.0.mlp.gate",
		"blk.0.mlp.up", "blk.0.mlp.down", "norm", "head"};
	static const int index[] = {1, 2, 9, 7, 10, 8, 6, 4, 5, 3, 11, 0};
	struct model m;
	struct err e;
	if (!model_open(&m, dir, &e))
		FAIL("%s", e.msg);
	CHECK_INT(m.ntensor, NELEM(order));
	for (size_t i = 0; i < m.ntensor; i++) {
		const struct model_tensor *t = &m.tensor[i];
		CHECK_STR(t->name, order[i]);
		CHECK(model_find(&m, order[i]) == t);
		CHECK_INT(t->dims[0], tensors[index[i]].dims[0]);
		CHECK_INT(t->dims[1], tensors[index[i]].dims[1]);
		CHECK_INT(t->dtype, MODEL_F16);
		CHECK_INT(t->data[0], index[i]);
		CHECK_INT(t->data[t->bytes - 1], index[i]);
	}
	CHECK(!model_find(&m, "blk.1.attn.q"));
	CHECK(!m.config.tied);
	CHECK_INT(m.config.head_dim, 2);
	CHECK(m.config.rms_eps == 1e-6F && m.config.rope_theta == 500000);
	CHECK(m.config.bos_id == 1 && m.config.neos == 2 && m.config.eos_id[1] == 3);
	model_release(&m);
}

TEST(hf_directory_in_canonical_form)
{
	struct tiny t;
	const char *dir = test_tmpdir();
	tiny_init(&t, ALL);
	tiny_write_config(&t, dir);
	tiny_write_tensors(&t, dir, "model.safetensors");
	check_model(dir);
	tiny_release(&t);
}

/* What config.json may say differently, and what comes of it. */
TEST(hf_config_variants)
{
	static const struct {
		const char *from, *to;
		struct model_config want;
	} cases[] = {
		{"null", "{\"type\": \"linear\", \"factor\": 4}",
			{.rope = MODEL_ROPE_LINEAR, .rope_factor = 4, .rope_theta = 500000}},
		{"null", "{\"rope_type\": \"default\"}", {.rope_theta = 500000}},
		{"null",
			"{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
			"\"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}",
			{.rope = MODEL_ROPE_LLAMA3,
				.rope_factor = 8,
				.rope_low = 1,
				.rope_high = 4,
				.rope_original_context = 8192,
				.rope_theta = 500000}},
		{"\"rope_theta\": 500000.0", "\"rope_parameters\": {\"rope_theta\": 7.5}",
			{.rope_theta = 7.5}},
		{"\"rope_theta\": 500000.0,", "", {.rope_theta = 10000}},
		{"\"hidden_act\"", "\"attention_bias\": false, \"mlp_bias\": null, \"hidden_act\"",
			{.rope_theta = 500000}},
	};
	const char *dir = test_tmpdir();
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct tiny t;
		struct model m;
		struct err e;
		const struct model_config *want = &cases[i].want, *got = &m.config;
		tiny_init(&t, ALL);
		replace(&t.config, cases[i].from, cases[i].to);
		tiny_write_config(&t, dir);
		tiny_write_tensors(&t, dir, "model.safetensors");
		if (!model_open(&m, dir, &e))
			FAIL("%s: %s", cases[i].to, e.msg);
		else if (got->rope != want->rope || got->rope_factor != want->rope_factor ||
			 got->rope_low != want->rope_low || got->rope_high != want->rope_high ||
			 got->rope_original_context != want->rope_original_context ||
			 got->rope_theta != want->rope_theta)
			FAIL("%s: another config came out", cases[i].to);
		model_release(&m);
		tiny_release(&t);
	}
}

TEST(hf_generation_config_adds_end_tokens)
{
	struct tiny t;
	struct model m;
	struct err e;
	const char *dir = test_tmpdir(), generation[] = "{\"eos_token_id\": [3, 4]}";
	tiny_init(&t, ALL);
	tiny_write_config(&t, dir);
	tiny_write_tensors(&t, dir, "model.safetensors");
	write_file(dir, "generation_config.json", generation, strlen(generation));
	if (!model_open(&m, dir, &e))
		FAIL("%s", e.msg);
	CHECK_INT(m.config.neos, 3);
	CHECK_INT(m.config.eos_id[2], 4);
	model_release(&m);
	tiny_release(&t);
}

/* Which of embedding and head are stored, whether they are equal, what the config says. */
TEST(hf_tied_heads)
{
	static const char no[] = "\"tie_word_embeddings\": false,";
	static const char yes[] = "\"tie_word_embeddings\": true,";
	static const struct {
		const char *said;
		unsigned missing;
		bool equal;
		const char *error; /* NULL: one embedding, tied */
	} cases[] = {
		{yes, HEAD, false, NULL},
		{"", HEAD, false, NULL},
		{no, HEAD, false, ": tensor 'lm_head.weight' (head) is missing"},
		{yes, EMBED, false, NULL},
		{no, EMBED, false, ": tensor 'model.embed_tokens.weight' (embed) is missing"},
		{"", EMBED, false, ": tensor 'model.embed_tokens.weight' (embed) is missing"},
		{no, 0, true, NULL},
		{yes, 0, false,
			"/model.safetensors: byte 1116: the config ties head and embedding, but "
			"'lm_head.weight' differs from 'model.embed_tokens.weight'"},
	};
	const char *dir = test_tmpdir();
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct tiny t;
		struct model m;
		struct err e;
		tiny_init(&t, ALL & ~cases[i].missing);
		replace(&t.config, no, cases[i].said);
		if (cases[i].equal)
			memset(t.data.s, 9, 80);
		tiny_write_config(&t, dir);
		tiny_write_tensors(&t, dir, "model.safetensors");
		if (cases[i].error) {
			check_refused(dir, cases[i].error);
		} else {
			if (!model_open(&m, dir, &e))
				FAIL("case %zu: %s", i, e.msg);
			CHECK(m.config.tied && !model_find(&m, "head") && model_find(&m, "embed"));
			model_release(&m);
		}
		tiny_release(&t);
	}
}

/* One replacement in the JSON of the header or of the config; the message follows the path. */
static const struct {
	enum { HEADER, CONFIGURATION } where;
	const char *from, *to, *message;
} bad[] = {
	{HEADER, "{\"dtype\"", "{dtype",
		"/model.safetensors: byte 58: header: expected a member's name in quotes, found "
		"'d'"},
	{HEADER, "}}", "}",
		"/model.safetensors: byte 1115: header: expected ',' or '}', found the end of the "
		"text"},
	{HEADER, "\"__metadata__\":{\"format\":\"pt\"}", "\"x\":1",
		"/model.safetensors: byte 13: tensor 'x': expected dtype, shape and data_offsets, "
		"each once"},
	{HEADER, "\"dtype\":\"F16\",", "",
		"/model.safetensors: byte 57: tensor 'lm_head.weight': expected dtype, shape and "
		"data_offsets, each once"},
	{HEADER, "\"dtype\":\"F16\"", "\"dtype\":\"F16\",\"dtype\":\"F16\"",
		"/model.safetensors: byte 57: tensor 'lm_head.weight': expected dtype, shape and "
		"data_offsets, each once"},
	{HEADER, "\"F16\"", "16",
		"/model.safetensors: byte 66: dtype of tensor 'lm_head.weight' is no string"},
	{HEADER, "\"F16\"", "\"BF61\"",
		"/model.safetensors: byte 66: tensor 'lm_head.weight' has unknown dtype 'BF61'; "
		"did "
		"you mean 'BF16'?"},
	{HEADER, "\"F16\"", "\"F32\"",
		"/model.safetensors: byte 101: tensor 'lm_head.weight' takes 80 bytes by its "
		"shape, "
		"40 by its offsets"},
	{HEADER, "\"F16\"", "\"I16\"",
		"/model.safetensors: byte 1116: tensor 'lm_head.weight' is I16; only F32, F16 and "
		"BF16 are read"},
	{HEADER, "[5,4]", "{}",
		"/model.safetensors: byte 80: shape of tensor 'lm_head.weight' is no array"},
	{HEADER, "[5,4]", "[5,-4]",
		"/model.safetensors: byte 83: a dimension is not a non-negative integer"},
	{HEADER, "[5,4]", "[5,4.5]",
		"/model.safetensors: byte 83: a dimension is not a non-negative integer"},
	{HEADER, "[5,4]", "[5,2,2]",
		"/model.safetensors: byte 1118: tensor 'lm_head.weight' has shape [5, 2, 2]; "
		"expected [5, 4] by the config"},
	{HEADER, "[5,4]", "[5,4,1,1,1]",
		"/model.safetensors: byte 80: tensor 'lm_head.weight' has 5 dimensions; expected "
		"at "
		"most 4"},
	{HEADER, "[5,4]", "[4294967296,4294967296]",
		"/model.safetensors: byte 80: size of tensor 'lm_head.weight' overflows"},
	{HEADER, "[5,4]", "[4,5]",
		"/model.safetensors: byte 1116: tensor 'lm_head.weight' has shape [4, 5]; expected "
		"[5, 4] by the config"},
	{HEADER, "[5,4]", "[5,3]",
		"/model.safetensors: byte 101: tensor 'lm_head.weight' takes 30 bytes by its "
		"shape, "
		"40 by its offsets"},
	{HEADER, "[0,40]", "[0]",
		"/model.safetensors: byte 101: data_offsets of tensor 'lm_head.weight': expected "
		"two "
		"integers"},
	{HEADER, "[0,40]", "[0,\"40\"]",
		"/model.safetensors: byte 104: an offset is not a non-negative integer"},
	{HEADER, "[0,40]", "[40,0]",
		"/model.safetensors: byte 101: tensor 'lm_head.weight' lies at 40 to 0 of 272 "
		"bytes "
		"of data"},
	{HEADER, "[0,40]", "[-40,0]",
		"/model.safetensors: byte 102: an offset is not a non-negative integer"},
	{HEADER, "[0,40]", "[1000,1040]",
		"/model.safetensors: byte 101: tensor 'lm_head.weight' lies at 1000 to 1040 of 272 "
		"bytes of data"},
	{HEADER, "[0,40]", "[0,18446744073709551615]",
		"/model.safetensors: byte 104: an offset is not a non-negative integer"},
	{HEADER, "[0,40]", "[2,42]",
		"/model.safetensors: byte 1116: 2 bytes before tensor 'lm_head.weight' belong to "
		"no "
		"tensor"},
	{HEADER, "[40,80]", "[41,81]",
		"/model.safetensors: byte 1156: 1 bytes before tensor 'model.embed_tokens.weight' "
		"belong to no tensor"},
	{HEADER, "[5,4],\"data_offsets\":[0,40]", "[5,2],\"data_offsets\":[0,20]",
		"/model.safetensors: byte 1136: 20 bytes before tensor 'model.embed_tokens.weight' "
		"belong to no tensor"},
	{HEADER, "[4],\"data_offsets\":[264,272]", "[3],\"data_offsets\":[264,270]",
		"/model.safetensors: byte 1386: 2 bytes at the end belong to no tensor"},
	{HEADER, "lm_head.weight", "model.norm.weight",
		"/model.safetensors: byte 1066: tensor 'model.norm.weight' appears twice"},
	{HEADER, "q_proj", "p_proj",
		": tensor 'model.layers.0.self_attn.q_proj.weight' (blk.0.attn.q) is missing; "
		"found "
		"'model.layers.0.self_attn.p_proj.weight'"},
	{HEADER, "layers.0.self_attn.q_proj.weight", "layers.0.self_attn.q_proj.bias",
		": tensor 'model.layers.0.self_attn.q_proj.weight' (blk.0.attn.q) is missing; "
		"found "
		"'model.layers.0.self_attn.q_proj.bias'"},
	{HEADER, "lm_head.weight", "lm_head.bias",
		": tensor 'lm_head.weight' (head) is missing; found 'lm_head.bias'"},
	{CONFIGURATION, "{", "[", "/config.json:2:13: expected ',' or ']', found ':'"},
	{CONFIGURATION, "\"llama\"", "\"lama\"",
		"/config.json:2:15: unknown architecture 'lama'; did you mean 'llama'?"},
	{CONFIGURATION, "\"llama\"", "\"mamba2\"",
		"/config.json:2:15: unknown architecture 'mamba2'; known: 'llama'"},
	{CONFIGURATION, "\"llama\"", "7",
		"/config.json:2:15: 'model_type' is missing or no string"},
	{CONFIGURATION, "\"hidden_size\": 4,", "", "/config.json:1:1: 'hidden_size' is missing"},
	{CONFIGURATION, "\"vocab_size\": 5,", "", "/config.json:1:1: 'vocab_size' is missing"},
	{CONFIGURATION, "\"hidden_size\": 4", "\"hidden_size\": \"4\"",
		"/config.json:3:16: 'hidden_size' is not a positive integer in range"},
	{CONFIGURATION, "\"hidden_size\": 4", "\"hidden_size\": 4.5",
		"/config.json:3:16: 'hidden_size' is not a positive integer in range"},
	{CONFIGURATION, "\"hidden_size\": 4", "\"hidden_size\": 8",
		"/model.safetensors: byte 1156: tensor 'model.embed_tokens.weight' has shape [5, "
		"4]; "
		"expected [5, 8] by the config"},
	{CONFIGURATION, "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 0",
		"/config.json:5:22: 'num_hidden_layers' is not a positive integer in range"},
	{CONFIGURATION, "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2",
		": tensor 'model.layers.1.input_layernorm.weight' (blk.1.attn.norm) is missing"},
	{CONFIGURATION, "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 1e9",
		"/config.json:5:22: 'num_hidden_layers' is not a positive integer in range"},
	{CONFIGURATION, "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": -1",
		"/config.json:10:17: 'rms_norm_eps' is not a positive number in range"},
	{CONFIGURATION, "silu", "gelu",
		"/config.json:12:15: 'hidden_act' of \"gelu\" is not supported; expected \"silu\""},
	{CONFIGURATION, "\"hidden_act\"", "\"attention_bias\": true, \"hidden_act\"",
		"/config.json:12:19: 'attention_bias' of true is not supported; expected false"},
	{CONFIGURATION, "\"hidden_act\"", "\"partial_rotary_factor\": 0.5, \"hidden_act\"",
		"/config.json:12:26: 'partial_rotary_factor' of 0.5 is not supported; expected "
		"1.0"},
	{CONFIGURATION, "\"hidden_act\"", "\"quantization_config\": {\"bits\": 4}, \"hidden_act\"",
		"/config.json:12:24: 'quantization_config' of {\"bits\":4} is not supported; "
		"expected null"},
	{CONFIGURATION, "null", "{\"rope_type\": \"yarn\", \"factor\": 4}",
		"/config.json:16:31: RoPE scaling 'yarn' is not supported; expected 'default', "
		"'linear' or 'llama3'"},
	{CONFIGURATION, "null", "{\"rope_type\": \"linear\"}",
		"/config.json:16:17: 'factor' of the RoPE scaling is missing or not positive"},
	{CONFIGURATION, "null", "7", "/config.json:16:17: the RoPE scaling is no object"},
	{CONFIGURATION, "null",
		"{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4, "
		"\"original_max_position_embeddings\": 8192}",
		"/config.json:16:17: 'low_freq_factor' of the RoPE scaling is not below 'high_freq_factor'"},
	{CONFIGURATION, "null",
		"{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
		"\"original_max_position_embeddings\": 1e9}",
		"/config.json:16:17: 'original_max_position_embeddings' of the RoPE scaling is out of range"},
	{CONFIGURATION, "[2, 3]", "[2, 5]",
		"/config.json: end token 5 is outside the vocabulary of 5"},
	{CONFIGURATION, "[2, 3]", "\"</s>\"",
		"/config.json:15:17: 'eos_token_id' is not a token or a list of tokens"},
	{CONFIGURATION, "[2, 3]", "[0, 1, 2, 3, 4, 5, 6, 7, 8]",
		"/config.json:15:42: more than 8 end tokens"},
	{CONFIGURATION, "\"bos_token_id\": 1", "\"bos_token_id\": 5",
		"/config.json: start token 5 is outside the vocabulary of 5"},
	{CONFIGURATION, "false", "0",
		"/config.json:13:24: 'tie_word_embeddings' is neither true nor false"},
};

TEST(hf_damage_is_named_with_its_place)
{
	const char *dir = test_tmpdir();
	for (size_t i = 0; i < NELEM(bad); i++) {
		struct tiny t;
		tiny_init(&t, ALL);
		replace(bad[i].where == HEADER ? &t.json : &t.config, bad[i].from, bad[i].to);
		tiny_write_config(&t, dir);
		tiny_write_tensors(&t, dir, "model.safetensors");
		check_refused(dir, bad[i].message);
		tiny_release(&t);
	}
}

TEST(safetensors_header_length_lies)
{
	static const struct {
		uint64_t header_bytes;
		const char *message;
	} cases[] = {
		{0, "/model.safetensors: byte 8: header: expected a value, found the end of the "
		    "text"},
		{10, "/model.safetensors: byte 9: header: string without its closing quote"},
		{1300, "/model.safetensors: byte 1116: header: expected the end of the text, found "
		       "byte 0x00"},
		{2000, "/model.safetensors: byte 0: truncated: a header of 2000 bytes is claimed, "
		       "1380 are "
		       "left"},
		{100000001, "/model.safetensors: byte 0: a header of 100000001 bytes is claimed; "
			    "expected at "
			    "most 100000000"},
		{UINT64_MAX - 7, "/model.safetensors: byte 0: a header of 18446744073709551608 "
				 "bytes is claimed; "
				 "expected at most 100000000"},
	};
	const char *dir = test_tmpdir();
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct tiny t;
		struct strbuf b;
		tiny_init(&t, ALL);
		strbuf_init(&b);
		strbuf_add(&b, &cases[i].header_bytes, 8);
		strbuf_adds(&b, t.json.s);
		strbuf_add(&b, t.data.s, t.data.n);
		tiny_write_config(&t, dir);
		write_file(dir, "model.safetensors", b.s, b.n);
		check_refused(dir, cases[i].message);
		strbuf_release(&b);
		tiny_release(&t);
	}
}

TEST(safetensors_every_prefix_is_refused)
{
	const char *dir = test_tmpdir();
	struct tiny t;
	struct strbuf b;
	tiny_init(&t, ALL);
	strbuf_init(&b);
	uint64_t n = t.json.n;
	strbuf_add(&b, &n, 8);
	strbuf_adds(&b, t.json.s);
	strbuf_add(&b, t.data.s, t.data.n);
	tiny_write_config(&t, dir);
	for (size_t k = 0; k < b.n; k++) {
		struct model m;
		write_file(dir, "model.safetensors", b.s, k);
		if (model_open(&m, dir, NULL))
			FAIL("accepted the first %zu bytes", k);
		model_release(&m);
	}
	strbuf_release(&b);
	tiny_release(&t);
}

/* Under the sanitizers: no damage leads out of bounds, whatever is accepted is consistent. */
TEST(safetensors_random_damage_never_crashes)
{
	const char *dir = test_tmpdir();
	struct rng r;
	rng_init(&r, 11);
	for (int round = 0; round < 3000; round++) {
		struct tiny t;
		struct model m;
		tiny_init(&t, ALL);
		for (int k = 0; k < 3; k++) {
			size_t at = rng_below(&r, t.json.n);
			t.json.s[at] =
				rng_below(&r, 2) ? (char)('0' + rng_below(&r, 10)) : t.json.s[at];
		}
		if (rng_below(&r, 2))
			replace(&t.config, "\"vocab_size\": 5", "\"vocab_size\": 9");
		tiny_write_config(&t, dir);
		tiny_write_tensors(&t, dir, "model.safetensors");
		if (model_open(&m, dir, NULL))
			for (size_t i = 0; i < m.ntensor; i++)
				digest_of(m.tensor[i].data, m.tensor[i].bytes);
		model_release(&m);
		tiny_release(&t);
	}
}

/* Two shards, the second with the tensors of that set; `last` is the last entry of the index,
 * behind those of every tensor but the norm. */
static const char *two_shards(const char *last, unsigned second)
{
	const char *dir = test_tmpdir();
	struct tiny a, b;
	struct strbuf index;
	tiny_init(&a, 0x3f);
	tiny_init(&b, second);
	strbuf_init(&index);
	strbuf_adds(&index, "{\"metadata\":{\"total_size\":392},\n\"weight_map\":{\n");
	for (size_t i = 0; i + 1 < NELEM(tensors); i++)
		strbuf_addf(&index, "\"%s\":\"%s\",\n", tensors[i].name,
			i < 6 ? "model-00001-of-00002.safetensors"
			      : "model-00002-of-00002.safetensors");
	strbuf_addf(&index, "%s}}", last);
	tiny_write_config(&a, dir);
	tiny_write_tensors(&a, dir, "model-00001-of-00002.safetensors");
	tiny_write_tensors(&b, dir, "model-00002-of-00002.safetensors");
	write_file(dir, "model.safetensors.index.json", index.s, index.n);
	strbuf_release(&index);
	tiny_release(&a);
	tiny_release(&b);
	return dir;
}

static const char norm_entry[] = "\"model.norm.weight\":\"model-00002-of-00002.safetensors\"";

TEST(hf_shards)
{
	check_model(two_shards(norm_entry, 0xfc0));
}

TEST(hf_bad_shards)
{
	static const struct {
		const char *last;
		unsigned second;
		const char *message;
	} cases[] = {
		{norm_entry, 0xfe0,
			"/model-00002-of-00002.safetensors: byte 680: tensor "
			"'model.layers.0.mlp.up_proj.weight' stands in another file too"},
		{norm_entry, 0x7c0,
			"/model.safetensors.index.json:14:21: tensor 'model.norm.weight' is not in "
			"'model-00002-of-00002.safetensors'"},
		{"\"model.norm.weight\":\"model-00001-of-00002.safetensors\"", 0xfc0,
			"/model.safetensors.index.json:14:21: tensor 'model.norm.weight' is not in "
			"'model-00001-of-00002.safetensors'"},
		{"\"model.norm.weight\":\"../model.safetensors\"", 0xfc0,
			"/model.safetensors.index.json:14:21: tensor 'model.norm.weight': expected "
			"the name "
			"of a file beside the index"},
		{"\"model.norm.weight\":7", 0xfc0,
			"/model.safetensors.index.json:14:21: tensor 'model.norm.weight': expected "
			"the name "
			"of a file beside the index"},
		{"\"lm_head.weight\":\"model-00001-of-00002.safetensors\"", 0xfc0,
			"/model.safetensors.index.json:14:18: tensor 'lm_head.weight' appears "
			"twice"},
	};
	for (size_t i = 0; i < NELEM(cases); i++)
		check_refused(two_shards(cases[i].last, cases[i].second), cases[i].message);

	struct model m;
	struct err e;
	const char *gone = "\"model.norm.weight\":\"model-00003-of-00003.safetensors\"";
	CHECK(!model_open(&m, two_shards(gone, 0xfc0), &e));
	CHECK(strstr(e.msg, "/model-00003-of-00003.safetensors': No such file or directory"));
	model_release(&m);
}

TEST(hf_directory_without_tensors)
{
	const char *dir = test_tmpdir();
	write_file(dir, "config.json", CONFIG, strlen(CONFIG));
	check_refused(dir, ": no 'model.safetensors' and no 'model.safetensors.index.json' beside "
			   "config.json");
	write_file(dir, "pytorch_model.bin", "", 0);
	check_refused(dir, ": no 'model.safetensors' and no 'model.safetensors.index.json' beside "
			   "config.json; 'pytorch_model.bin' is not read");
	write_file(dir, "model.safetensors", "", 0);
	check_refused(dir, "/model.safetensors: byte 0: truncated: 0 bytes cannot hold a header");
}
