/* Readers of foreign tokenizers on files made here: what they say of wrong ones, and that no damage is
 * more than an error. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "gguf.h"
#include "pretokenize.h"
#include "tok.h"
#include "tokenizer.h"

/* Loads and uses a block that a reader let through. */
static void use_block(const struct strbuf *block)
{
	static const char text[] = "ab <s> \xe2\x82\xac zz";
	struct tokenizer t;
	struct err e;
	struct token_list l = {0};
	struct strbuf out;
	strbuf_init(&out);
	if (tokenizer_load(&t, strbuf_buf(block), &e)) {
		tokenizer_encode(&t, text, sizeof(text), TOKENIZER_PARSE_SPECIAL, &l);
		tokenizer_decode(&t, l.id, l.n, 0, &out);
	} else {
		FAIL("the writer's block is refused: %s", e.msg);
	}
	strbuf_release(&out);
	token_list_release(&l);
}

/* Protobuf. */

static void add_varint(struct strbuf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		strbuf_addc(b, (char)(v | 0x80));
	strbuf_addc(b, (char)v);
}

static void add_number(struct strbuf *b, unsigned field, uint64_t v)
{
	add_varint(b, field << 3);
	add_varint(b, v);
}

static void add_bytes(struct strbuf *b, unsigned field, const void *p, size_t n)
{
	add_varint(b, field << 3 | 2);
	add_varint(b, n);
	strbuf_add(b, p, n);
}

static void add_piece(struct strbuf *b, const char *text, float score, unsigned type)
{
	struct strbuf m;
	strbuf_init(&m);
	add_bytes(&m, 1, text, strlen(text));
	strbuf_addc(&m, 2 << 3 | 5);
	strbuf_add(&m, &score, sizeof(score));
	if (type != 1)
		add_number(&m, 3, type);
	add_bytes(b, 1, m.s, m.n);
	strbuf_release(&m);
}

struct spm_change {
	unsigned model_type; /* 0: field left out */
	const char *charsmap;
	bool suffix, no_prefix, with_user;
	uint64_t end;
};

static void make_spm(struct strbuf *b, struct spm_change c)
{
	struct strbuf m;
	strbuf_init(&m);
	add_piece(b, "<unk>", 0, 2);
	add_piece(b, "<s>", 0, 3);
	add_piece(b, "</s>", 0, 3);
	add_piece(b, "<0x0A>", 0, 6);
	add_piece(b, "\u2581a", -1, 1);
	add_piece(b, "ab", 0, 1);
	add_piece(b, "\u2581", -2, 1);
	add_piece(b, "a", -3, 1);
	add_piece(b, "b", -4, 1);
	add_piece(b, "zz", -5, 5);
	if (c.with_user)
		add_piece(b, "<u>", 0, 4);
	if (c.model_type)
		add_number(&m, 3, c.model_type);
	if (c.suffix)
		add_number(&m, 24, 1);
	if (c.end)
		add_number(&m, 42, c.end);
	add_bytes(b, 2, m.s, m.n);
	strbuf_clear(&m);
	add_bytes(&m, 1, "nmt_nfkc", 8);
	if (c.charsmap)
		add_bytes(&m, 2, c.charsmap, strlen(c.charsmap));
	if (c.no_prefix)
		add_number(&m, 3, 0);
	add_bytes(b, 3, m.s, m.n);
	strbuf_release(&m);
}

static bool read_spm(const void *p, size_t n, struct strbuf *block, struct err *e)
{
	struct arena a = {0};
	struct tok t;
	tok_init(&t, &a, "tokenizer.model");
	bool ok = tok_read_spm(&t, (struct buf){p, n}, e) && tok_write(&t, block, e);
	arena_release(&a);
	return ok;
}

TEST(sentencepiece_models)
{
	static const struct {
		struct spm_change change;
		const char *want; /* message, or ids of "ab\nab" */
	} cases[] = {
		{{.model_type = 2}, "6 5 3 5"},
		{{.model_type = 2, .no_prefix = true}, "5 3 5"},
		{{.model_type = 2, .with_user = true}, "6 5 3 5"},
		{{.model_type = 2, .end = UINT64_MAX}, "6 5 3 5"}, /* -1: no end token */
		{{.model_type = 0}, "unable to use this sentencepiece model: it is of type 1 (unigram), "
			"only BPE (2) is supported"},
		{{.model_type = 3}, "unable to use this sentencepiece model: it is of type 3, only BPE "
			"(2) is supported"},
		{{.model_type = 2, .suffix = true}, "unable to use this sentencepiece model: it treats "
			"white space as a suffix"},
		{{.model_type = 2, .charsmap = "x"}, "unable to use the normalisation 'nmt_nfkc' of this "
			"sentencepiece model: only 'identity' is supported"},
		{{.model_type = 2, .end = 5}, "damaged sentencepiece model: special token 5 is not of "
			"that type"},
		{{.model_type = 2, .end = 99}, "damaged sentencepiece model: special token 99 is not of "
			"that type"},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct strbuf file, block, got;
		struct tokenizer t;
		struct err e = {0};
		struct token_list l = {0};
		strbuf_init(&file);
		strbuf_init(&block);
		strbuf_init(&got);
		make_spm(&file, cases[i].change);
		if (read_spm(file.s, file.n, &block, &e)) {
			CHECK(tokenizer_load(&t, strbuf_buf(&block), &e));
			tokenizer_encode(&t, "ab\nab", 5, 0, &l);
			for (size_t k = 0; k < l.n; k++)
				strbuf_addf(&got, k ? " %u" : "%u", l.id[k]);
			CHECK_INT(t.end_id == TOKENIZER_NONE, cases[i].change.end == UINT64_MAX);
			CHECK_INT(t.nspecial, cases[i].change.with_user ? 4 : 3);
		} else {
			strbuf_adds(&got, e.msg);
			CHECK_STR(e.file, "tokenizer.model");
		}
		CHECK_STR(got.s, cases[i].want);
		token_list_release(&l);
		strbuf_release(&file);
		strbuf_release(&block);
		strbuf_release(&got);
	}
}

TEST(damaged_sentencepiece_models)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *want;
	} cases[] = {
		{"", 0, "no sentencepiece model: the file is empty"},
		{"\x0a", 1, "damaged sentencepiece model: unexpected end at byte 1"},
		{"\x0a\x05zz", 4, "damaged sentencepiece model: length beyond the end at byte 2"},
		{"\x03\x00", 2, "damaged sentencepiece model: field number 0 at byte 1"},
		{"\x0c", 1, "damaged sentencepiece model: unknown wire type at byte 1"},
		{"\x08\x01", 2, "damaged sentencepiece model: field of the wrong type at byte 2"},
		{"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12,
			"damaged sentencepiece model: number longer than 10 bytes at byte 11"},
		{"\x0a\x02\x18\x09", 4, "damaged sentencepiece model: unknown type of piece at byte 4"},
		{"\x0a\x02\x18\x01", 4, "damaged sentencepiece model: piece without text at byte 4"},
		{"\x0a\x03\x0a\x01\xff", 5, "damaged sentencepiece model: piece that is not UTF-8 at byte 5"},
		{"\x0a\x05\x0a\x01x\x18\x06", 7,
			"damaged sentencepiece model: byte piece that is not written <0xXX> at byte 7"},
		{"\x12\x00", 2, "no sentencepiece model: it has no pieces"},
	};
	struct strbuf file, block;
	struct err e;
	strbuf_init(&file);
	strbuf_init(&block);
	for (size_t i = 0; i < NELEM(cases); i++) {
		CHECK(!read_spm(cases[i].bytes, cases[i].n, &block, &e));
		CHECK_STR(e.msg, cases[i].want);
	}
	make_spm(&file, (struct spm_change){.model_type = 2, .with_user = true});
	char *copy = xmalloc(file.n);
	for (size_t i = 0; i < file.n; i++)
		for (int c = 0; c < 256; c += c < 16 ? 1 : 15) {
			memcpy(copy, file.s, file.n);
			copy[i] = (char)c;
			strbuf_clear(&block);
			if (read_spm(copy, file.n, &block, &e))
				use_block(&block);
			else
				CHECK(e.msg[0]);
		}
	free(copy);
	for (size_t n = 1; n < file.n; n++) {
		char *part = xmalloc(n);
		memcpy(part, file.s, n);
		strbuf_clear(&block);
		if (read_spm(part, n, &block, &e)) /* cut between fields: a shorter vocabulary */
			use_block(&block);
		free(part);
	}
	strbuf_release(&file);
	strbuf_release(&block);
}

/* tokenizer.json. */

static bool read_json(const char *text, size_t n, struct strbuf *block, struct err *e)
{
	struct arena a = {0};
	struct tok t;
	tok_init(&t, &a, "tokenizer.json");
	bool ok = tok_read_hf_json(&t, (struct buf){text, n}, e) && tok_write(&t, block, e);
	arena_release(&a);
	return ok;
}

static const char good_json[] =
	"{\"added_tokens\": [{\"id\": 6, \"content\": \"<s>\", \"special\": true}],\n"
	"\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [\n"
	"{\"type\": \"Prepend\", \"prepend\": \"\u2581\"},\n"
	"{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u2581\"}]},\n"
	"\"pre_tokenizer\": null,\n"
	"\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [\n"
	"{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}]},\n"
	"\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": \"<unk>\", \"fuse_unk\": true,\n"
	"\"vocab\": {\"<unk>\": 0, \"\u2581\": 1, \"a\": 2, \"b\": 3, \"ab\": 4, \"\u2581ab\": 5},\n"
	"\"merges\": [\"a b\", \"\u2581 ab\"]}}\n";

TEST(tokenizer_json_steps)
{
	/* An edit of good_json, and its message; or the ids of "ab a<s>". */
	static const struct {
		const char *from, *to, *want;
	} cases[] = {
		{"", "", "6 5 1 2 0"},
		{"\"fuse_unk\": true", "\"fuse_unk\": false", "6 5 1 2 0 0 0"},
		{"\"a b\"", "[\"a\", \"b\"]", "6 5 1 2 0"},
		{"\"type\": \"BPE\", ", "", "6 5 1 2 0"},
		{"\"pre_tokenizer\": null",
			"\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\u2581\", "
			"\"prepend_scheme\": \"first\", \"split\": false}", "6 5 1 2 0"},
		{"\"special\": true", "\"special\": false", "6 5 1 2 6"},
		{"\"type\": \"BPE\"", "\"type\": \"Unigram\"", "8:10: unable to use a tokenizer of type "
			"'Unigram': only BPE is supported"},
		{"\"type\": \"Prepend\"", "\"type\": \"Lowercase\"",
			"3:1: unable to use the normalizer 'Lowercase' of this tokenizer"},
		{"\"prepend\": \"\u2581\"", "\"prepend\": \"_\"",
			"3:1: unable to use the normalizer 'Prepend' of this tokenizer"},
		{"\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"Whitespace\"}",
			"5:18: unable to use the pre-tokenizer 'Whitespace' of this tokenizer"},
		{"\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": "
			"{\"Regex\": \"\\\\d+\"}, \"behavior\": \"Isolated\"}",
			"5:18: unable to use the pattern of this pre-tokenizer: '\\d+'"},
		{"\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"ByteLevel\"}",
			"5:18: unable to use a ByteLevel pre-tokenizer with add_prefix_space"},
		{"\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"Metaspace\", "
			"\"replacement\": \"\u2581\", \"prepend_scheme\": \"first\"}",
			"5:18: unable to use a Metaspace pre-tokenizer that splits"},
		{"{\"Sequence\": {\"id\": \"A\"}}]", "{\"SpecialToken\": {\"id\": \"<s>\"}}]",
			"6:19: unable to use this template: expected a start token and the text"},
		{"\"dropout\": null", "\"dropout\": 0.1", "8:37: unable to use a tokenizer with dropout"},
		{"\"unk_token\": \"<unk>\"", "\"unk_token\": null",
			"the tokenizer has no token for byte 0x00, and none for unknown text"},
		{"\"unk_token\": \"<unk>\"", "\"unk_token\": \"?\"",
			"8:56: the unknown token '?' is not in the vocabulary"},
		{"\"a b\"", "\"a x\"", "merge 0 ('a' 'x') is of tokens that are not in the vocabulary"},
		{"\"a b\"", "\"a  b\"", "10:12: expected two tokens with one space between as merge 0"},
		{"\"a b\"", "7", "10:12: expected two tokens with one space between as merge 0"},
		{"\"ab\": 4", "\"ab\": -4", "9:55: expected a token id for 'ab'"},
		{"\"ab\": 4", "\"ab\": 99999999", "token id 99999999 of 'ab' is beyond 16777216"},
		{"\"content\": \"<s>\"", "\"content\": \"\"",
			"1:19: expected 'id' and 'content' of an added token"},
		{"\"special\": true", "\"single_word\": true",
			"1:19: unable to use the added token '<s>' with single_word"},
		{"\"model\"", "\"modle\"", "expected 'model'"},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct strbuf text, block, got;
		struct tokenizer t;
		struct err e = {0};
		struct token_list l = {0};
		const char *at = strstr(good_json, cases[i].from);
		REQUIRE(at != NULL);
		strbuf_init(&text);
		strbuf_init(&block);
		strbuf_init(&got);
		strbuf_add(&text, good_json, (size_t)(at - good_json));
		strbuf_adds(&text, cases[i].to);
		strbuf_adds(&text, at + strlen(cases[i].from));
		if (read_json(text.s, text.n, &block, &e)) {
			CHECK(tokenizer_load(&t, strbuf_buf(&block), &e));
			tokenizer_encode(&t, "ab a<s>", 7, TOKENIZER_ADD_START, &l);
			for (size_t k = 0; k < l.n; k++)
				strbuf_addf(&got, k ? " %u" : "%u", l.id[k]);
		} else {
			char line[1100];
			err_format(&e, line, sizeof(line));
			const char *skip = strncmp(line, "tokenizer.json:", 15) == 0 ? line + 15 : line;
			strbuf_adds(&got, *skip == ' ' ? skip + 1 : skip);
		}
		CHECK_STR(got.s, cases[i].want);
		token_list_release(&l);
		strbuf_release(&text);
		strbuf_release(&block);
		strbuf_release(&got);
	}
}

TEST(damaged_tokenizer_json)
{
	static const char changes[] = "\"{}[],:0 x\xff";
	size_t n = sizeof(good_json) - 1;
	struct strbuf block;
	struct err e;
	char *copy = xmalloc(n);
	strbuf_init(&block);
	for (size_t i = 0; i < n; i++)
		for (const char *c = changes; *c; c++) {
			memcpy(copy, good_json, n);
			copy[i] = *c;
			strbuf_clear(&block);
			if (read_json(copy, n, &block, &e))
				use_block(&block);
			else
				CHECK(e.msg[0]);
		}
	free(copy);
	strbuf_release(&block);
}

/* Directories. */

static void put_file(const char *dir, const char *name, const void *p, size_t n)
{
	char path[600];
	struct err e;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!file_write(path, (struct buf){p, n}, 0644, &e))
		FAIL("%s", e.msg);
}

static void put_text(const char *dir, const char *name, const char *text)
{
	put_file(dir, name, text, strlen(text));
}

TEST(directories_say_start_end_and_stop)
{
	static const struct {
		const char *tokenizer_config, *config, *generation;
		const char *want; /* start, whether it is added, end, all that stop; or the message's end */
	} cases[] = {
		{NULL, NULL, NULL, "1 yes 2 stop 2"},
		{"{\"add_bos_token\": false}", NULL, NULL, "1 no 2 stop 2"},
		{"{\"eos_token\": \"<u>\", \"bos_token\": null}", NULL, NULL, "1 yes 10 stop 10"},
		{"{\"eos_token\": {\"content\": \"<u>\"}}", "{\"eos_token_id\": [2, 5]}", NULL,
			"1 yes 10 stop 2 5 10"},
		{NULL, "{\"eos_token_id\": 4}", "{\"eos_token_id\": [10, 2]}", "1 yes 2 stop 2 4 10"},
		{"{\"added_tokens_decoder\": {\"11\": {\"content\": \"<end>\", \"special\": true}}, "
		 "\"eos_token\": \"<end>\"}", NULL, NULL, "1 yes 11 stop 11"},
		{"{\"eos_token\": \"<nope>\"}", NULL, NULL,
			"tokenizer_config.json:1:15: eos_token is not in the vocabulary"},
		{"{\"added_tokens_decoder\": {\"1x\": {\"content\": \"<end>\"}}}", NULL, NULL,
			"tokenizer_config.json:1:33: expected the id of an added token"},
		{"{\"add_eos_token\": true}", NULL, NULL, "tokenizer_config.json:1:19: unable to use a "
			"tokenizer that adds an end token to every text"},
		{NULL, "{\"eos_token_id\": 11}", NULL,
			"config.json:1:18: eos_token_id is not an id of the tokenizer's 11 tokens"},
		{NULL, NULL, "{\"eos_token_id\": [2, \"x\"]}", "generation_config.json:1:22: eos_token_id "
			"is not an id of the tokenizer's 11 tokens"},
		{"[]", NULL, NULL, "tokenizer_config.json:1:1: expected an object"},
	};
	struct strbuf file;
	strbuf_init(&file);
	make_spm(&file, (struct spm_change){.model_type = 2, .with_user = true});
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct arena a = {0};
		struct strbuf block, got;
		struct tokenizer t;
		struct err e = {0};
		const char *dir = arena_printf(&a, "%s/%zu", test_tmpdir(), i);
		strbuf_init(&block);
		strbuf_init(&got);
		REQUIRE(make_directories(dir, &e));
		put_file(dir, "tokenizer.model", file.s, file.n);
		if (cases[i].tokenizer_config)
			put_text(dir, "tokenizer_config.json", cases[i].tokenizer_config);
		if (cases[i].config)
			put_text(dir, "config.json", cases[i].config);
		if (cases[i].generation)
			put_text(dir, "generation_config.json", cases[i].generation);
		if (tok_read(&a, dir, &block, &e) && tokenizer_load(&t, strbuf_buf(&block), &e)) {
			strbuf_addf(&got, "%d %s %d stop", (int)t.start_id,
				t.traits & TOK_ADDS_START ? "yes" : "no", (int)t.end_id);
			for (uint32_t id = 0; id < t.nvocab; id++)
				if (tokenizer_is_stop(&t, id))
					strbuf_addf(&got, " %u", id);
		} else {
			char line[1100];
			err_format(&e, line, sizeof(line));
			CHECK(strncmp(line, dir, strlen(dir)) == 0);
			strbuf_adds(&got, line + strlen(dir) + 1);
		}
		CHECK_STR(got.s, cases[i].want);
		strbuf_release(&block);
		strbuf_release(&got);
		arena_release(&a);
	}
	strbuf_release(&file);
}

TEST(directories_with_vocab_and_merges)
{
	static const char vocab[] = "{\"a\": 0, \"b\": 1, \"\u0120\": 2, \"ab\": 3, \"\u0120ab\": 4, "
		"\"1\": 5, \"<|x|>\": 6}";
	static const struct {
		const char *config, *model_config, *merges, *want; /* pattern, or message */
	} cases[] = {
		{NULL, NULL, NULL, "1"},
		{"{\"tokenizer_class\": \"Qwen2Tokenizer\"}", NULL, NULL, "4"},
		{NULL, "{\"model_type\": \"qwen2\"}", NULL, "4"},
		{"{\"tokenizer_class\": \"GPT2Tokenizer\"}", "{\"model_type\": \"qwen2\"}", NULL, "1"},
		{"{\"tokenizer_class\": \"BartTokenizer\"}", NULL, NULL, "unable to tell how "
			"'BartTokenizer' splits words: its directory has vocab.json but no tokenizer.json"},
		{NULL, NULL, "a b\nab\n", "merges.txt:2: expected two tokens and a space between"},
		{NULL, NULL, "a b\n\na z", "merges.txt:3: merge 1 ('a' 'z') is of tokens that are not in "
			"the vocabulary"},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct arena a = {0};
		struct strbuf block, full, got;
		struct tokenizer t;
		struct err e = {0};
		const char *dir = arena_printf(&a, "%s/%zu", test_tmpdir(), i);
		strbuf_init(&block);
		strbuf_init(&full);
		strbuf_init(&got);
		REQUIRE(make_directories(dir, &e));
		/* All bytes, as GPT-2 writes them, behind the words. */
		strbuf_add(&full, vocab, sizeof(vocab) - 2);
		for (uint32_t c = 0x21, id = 7; c < 0x144; c++)
			if (c != '"' && c != '\\' && c != 'a' && c != 'b' && c != '1' && c != 0x120 &&
				(c < 0x7f || c > 0xa0) && c != 0xad) {
				strbuf_addf(&full, ", \"%s\": %u", c < 0x80
					? arena_printf(&a, "%c", (int)c)
					: arena_printf(&a, "%c%c", (int)(0xc0 | c >> 6), (int)(0x80 | (c & 63))), id++);
			}
		strbuf_adds(&full, ", \"\\\"\": 300, \"\\\\\": 301}");
		put_text(dir, "vocab.json", full.s);
		put_text(dir, "merges.txt", cases[i].merges ? cases[i].merges
			: "#version: 0.2\r\na b\r\n\u0120 ab\n");
		if (cases[i].config)
			put_text(dir, "tokenizer_config.json", cases[i].config);
		if (cases[i].model_config)
			put_text(dir, "config.json", cases[i].model_config);
		if (tok_read(&a, dir, &block, &e) && tokenizer_load(&t, strbuf_buf(&block), &e)) {
			struct token_list l = {0};
			strbuf_addf(&got, "%u", t.pattern);
			tokenizer_encode(&t, "ab ab\n", 6, 0, &l);
			CHECK(l.n == 3 && l.id[0] == 3 && l.id[1] == 4);
			CHECK(l.n == 3 && l.id[2] == t.byte_id['\n']);
			token_list_release(&l);
		} else {
			strbuf_adds(&got, e.msg);
		}
		CHECK_STR(got.s, cases[i].want);
		strbuf_release(&block);
		strbuf_release(&full);
		strbuf_release(&got);
		arena_release(&a);
	}
}

TEST(what_is_no_model_is_said)
{
	struct arena a = {0};
	struct strbuf block;
	struct err e;
	strbuf_init(&block);
	CHECK(!tok_read(&a, test_tmpdir(), &block, &e));
	CHECK_STR(e.msg, "no tokenizer found: expected tokenizer.json, tokenizer.model or vocab.json");
	CHECK(!tok_read(&a, "/nonexistent", &block, &e));
	CHECK_STR(e.msg, "unable to read the model '/nonexistent': No such file or directory");
	put_text(test_tmpdir(), "vocab.json", "{}");
	CHECK(!tok_read(&a, test_tmpdir(), &block, &e));
	CHECK(strstr(e.msg, "merges.txt") != NULL);
	strbuf_release(&block);
	arena_release(&a);
}

/* GGUF. */

static void add_u64(struct strbuf *b, uint64_t v)
{
	strbuf_add(b, &v, 8);
}

static void add_u32(struct strbuf *b, uint32_t v)
{
	strbuf_add(b, &v, 4);
}

static void add_string(struct strbuf *b, const char *s)
{
	add_u64(b, strlen(s));
	strbuf_adds(b, s);
}

static void add_array(struct strbuf *b, const char *key, unsigned type, size_t n)
{
	add_string(b, key);
	add_u32(b, GGUF_ARRAY);
	add_u32(b, type);
	add_u64(b, n);
}

struct gguf_change {
	const char *model, *pre;
	int nscore, type, bos;
	const char *merge;
	bool add_eos;
};

static void make_gguf(struct strbuf *b, struct gguf_change c)
{
	static const char *const tokens[] = {"<unk>", "<s>", "</s>", "a", "b", "ab", "<0x0A>"};
	bool spm = strcmp(c.model, "llama") == 0;
	strbuf_adds(b, "GGUF");
	add_u32(b, 3);
	add_u64(b, 0);
	add_u64(b, 6 + (c.pre != NULL) + (c.merge != NULL) + c.add_eos);
	add_string(b, "general.architecture");
	add_u32(b, GGUF_STRING);
	add_string(b, "llama");
	add_string(b, "tokenizer.ggml.model");
	add_u32(b, GGUF_STRING);
	add_string(b, c.model);
	add_array(b, "tokenizer.ggml.tokens", GGUF_STRING, NELEM(tokens));
	for (size_t i = 0; i < NELEM(tokens); i++)
		add_string(b, tokens[i]);
	add_array(b, "tokenizer.ggml.scores", GGUF_F32, (size_t)c.nscore);
	for (int i = 0; i < c.nscore; i++) {
		float score = (float)-i;
		strbuf_add(b, &score, 4);
	}
	add_array(b, "tokenizer.ggml.token_type", GGUF_I32, NELEM(tokens));
	for (size_t i = 0; i < NELEM(tokens); i++)
		add_u32(b, i == 0 ? 2 : i < 3 ? 3 : i == 6 && spm ? 6 : i == 3 ? (uint32_t)c.type : 1);
	add_string(b, "tokenizer.ggml.bos_token_id");
	add_u32(b, GGUF_I32);
	add_u32(b, (uint32_t)c.bos);
	if (c.pre) {
		add_string(b, "tokenizer.ggml.pre");
		add_u32(b, GGUF_STRING);
		add_string(b, c.pre);
	}
	if (c.merge) {
		add_array(b, "tokenizer.ggml.merges", GGUF_STRING, 1);
		add_string(b, c.merge);
	}
	if (c.add_eos) {
		add_string(b, "tokenizer.ggml.add_eos_token");
		add_u32(b, GGUF_BOOL);
		strbuf_addc(b, 1);
	}
}

TEST(gguf_vocabularies)
{
	static const struct {
		struct gguf_change change;
		const char *want; /* message, or ids of "ab\n" */
	} cases[] = {
		{{"llama", NULL, 7, 1, 1, NULL, false}, "1 0 5 6"},
		{{"llama", NULL, 7, 1, -1, NULL, false}, "1 0 5 6"},
		{{"llama", NULL, 6, 1, 1, NULL, false}, "7 tokens, but 6 scores and 7 types"},
		{{"llama", NULL, 7, 9, 1, NULL, false}, "unknown type 9 of token 3"},
		{{"llama", NULL, 7, 6, 1, NULL, false}, "byte token 3 is not written <0xXX>"},
		{{"llama", NULL, 7, 1, 7, NULL, false},
			"tokenizer.ggml.bos_token_id is 7, outside the vocabulary of 7"},
		{{"llama", NULL, 7, 1, 1, NULL, true},
			"unable to use a tokenizer that adds an end token to every text"},
		{{"t5", NULL, 7, 1, 1, NULL, false},
			"unable to use a tokenizer of type 't5': only 'llama' and 'gpt2' are supported"},
		{{"gpt2", "odd", 7, 1, 1, "a b", false},
			"unable to tell how the tokenizer 'odd' (tokenizer.ggml.pre) splits words"},
		{{"gpt2", "gpt-2", 7, 1, 1, "ab", false},
			"merge 0: expected two tokens and a space between"},
		{{"gpt2", "gpt-2", 7, 1, 1, "b b", false},
			"merge 0 ('b' 'b') is of tokens that are not in the vocabulary"},
		{{"gpt2", "gpt-2", 7, 1, 1, "a b", false},
			"the tokenizer has no token for byte 0x00, and none for unknown text"},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct arena a = {0};
		struct strbuf file, block, got;
		struct tokenizer t;
		struct err e = {0};
		const char *path = arena_printf(&a, "%s/m.gguf", test_tmpdir());
		strbuf_init(&file);
		strbuf_init(&block);
		strbuf_init(&got);
		make_gguf(&file, cases[i].change);
		put_file(test_tmpdir(), "m.gguf", file.s, file.n);
		if (tok_read(&a, path, &block, &e) && tokenizer_load(&t, strbuf_buf(&block), &e)) {
			struct token_list l = {0};
			tokenizer_encode(&t, "ab\n", 3, TOKENIZER_ADD_START, &l);
			for (size_t k = 0; k < l.n; k++)
				strbuf_addf(&got, k ? " %u" : "%u", l.id[k]);
			token_list_release(&l);
		} else {
			strbuf_adds(&got, e.msg);
			CHECK_STR(e.file, path);
		}
		CHECK_STR(got.s, cases[i].want);
		strbuf_release(&file);
		strbuf_release(&block);
		strbuf_release(&got);
		arena_release(&a);
	}
}
