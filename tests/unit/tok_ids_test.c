/* Real vocabularies: the ids that others give, and files of one tokenizer against each other. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "pretokenize.h"
#include "tok.h"
#include "tokenizer.h"

struct loaded {
	struct arena a;
	struct strbuf block;
	struct tokenizer t;
};

static bool load(struct loaded *l, const char *path)
{
	struct err e;
	char text[1100];
	*l = (struct loaded){0};
	strbuf_init(&l->block);
	if (tok_read(&l->a, path, &l->block, &e) && tokenizer_load(&l->t, strbuf_buf(&l->block), &e))
		return true;
	err_format(&e, text, sizeof(text));
	FAIL("%s: %s", path, text);
	return false;
}

static void release(struct loaded *l)
{
	strbuf_release(&l->block);
	arena_release(&l->a);
}

/* "12 7 330" */
static void ids_text(const struct tokenizer *t, const char *s, size_t n, unsigned flags,
	struct strbuf *out)
{
	struct token_list l = {0};
	strbuf_clear(out);
	tokenizer_encode(t, s, n, flags, &l);
	for (size_t i = 0; i < l.n; i++)
		strbuf_addf(out, i ? " %u" : "%u", l.id[i]);
	token_list_release(&l);
}

static bool put_file(const char *dir, const char *name, const char *content)
{
	char path[600];
	struct err e;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return file_write(path, (struct buf){content, strlen(content)}, 0644, &e);
}

/* A directory of links to vocab.json and merges.txt of `from`, and a configuration. */
static const char *vocab_dir(struct arena *a, const char *from, const char *name, const char *class)
{
	struct err e;
	const char *dir = arena_printf(a, "%s/%s", test_tmpdir(), name);
	char cwd[4096];
	CHECK(make_directories(dir, &e));
	CHECK(getcwd(cwd, sizeof(cwd)) != NULL);
	for (const char *const *f = (const char *const[]){"vocab.json", "merges.txt", NULL}; *f; f++)
		CHECK(symlink(arena_printf(a, "%s%s%s/%s", *from == '/' ? "" : cwd,
			*from == '/' ? "" : "/", from, *f), arena_printf(a, "%s/%s", dir, *f)) == 0);
	CHECK(put_file(dir, "tokenizer_config.json",
		arena_printf(a, "{\"tokenizer_class\": \"%s\"}", class)));
	return dir;
}

/* Texts between marks, and the ids of each on a line. */
static void check_vocab_file(const struct loaded *l, const char *base, const char *model)
{
	struct err e;
	struct strbuf in, want, got;
	static const char mark[] = "\n__ggml_vocab_test__\n";
	char path[600];
	strbuf_init(&in);
	strbuf_init(&want);
	strbuf_init(&got);
	snprintf(path, sizeof(path), "%s.inp", base);
	CHECK(file_read(&in, path, &e));
	snprintf(path, sizeof(path), "%s.out", base);
	CHECK(file_read(&want, path, &e));
	const char *s = in.s, *line = want.s;
	int ntexts = 0;
	while (s) {
		const char *end = strstr(s, mark);
		char *eol = strchr(line, '\n');
		if (eol)
			*eol = '\0';
		ids_text(&l->t, s, end ? (size_t)(end - s) : strlen(s), 0, &got);
		line += *line == ' ';
		if (strcmp(got.s, line) != 0)
			FAIL("%s: text %d\n  got  %s\n  want %s", model, ntexts, got.s, line);
		s = end ? end + strlen(mark) : NULL;
		line = eol ? eol + 1 : "";
		ntexts++;
	}
	CHECK_INT(ntexts, 47);
	strbuf_release(&in);
	strbuf_release(&want);
	strbuf_release(&got);
}

TEST(ids_are_those_of_llama_cpp)
{
	const char *data = test_data();
	struct arena a = {0};
	if (!data)
		return;
	const char *qwen = vocab_dir(&a, arena_printf(&a, "%s/tokenizers/qwen2", data), "qwen2",
		"Qwen2Tokenizer");
	const char *gpt = vocab_dir(&a, arena_printf(&a, "%s/tokenizers/gpt2", data), "gpt2",
		"GPT2Tokenizer");
	const struct {
		const char *texts, *model;
	} cases[] = {
		{"llama-spm", arena_printf(&a, "%s/tokenizers/ggml-vocab/ggml-vocab-llama-spm.gguf", data)},
		{"gpt-2", arena_printf(&a, "%s/tokenizers/ggml-vocab/ggml-vocab-gpt-2.gguf", data)},
		{"gpt-2", gpt},
		{"phi-3", arena_printf(&a, "%s/tokenizers/ggml-vocab/ggml-vocab-phi-3.gguf", data)},
		{"phi-3", arena_printf(&a, "%s/tokenizers/phi-3-mini", data)},
		{"qwen2", qwen},
	};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct loaded l;
		if (load(&l, cases[i].model))
			check_vocab_file(&l, arena_printf(&a, "%s/tokenizers/ggml-vocab/ggml-vocab-%s.gguf",
				data, cases[i].texts), cases[i].model);
		release(&l);
	}
	arena_release(&a);
}

/* Ids by Hugging Face's tokenizers 0.23. */
TEST(ids_are_those_of_tokenizers)
{
	enum { SPECIAL = TOKENIZER_PARSE_SPECIAL };
	static const struct {
		const char *model;
		unsigned flags;
		const char *text, *want;
	} cases[] = {
		{"models/tinystories656k", 0, "Once upon a time, there was a little girl named Lily.",
			"80 147 201 282 215 286 598 629 10"},
		{"models/tinystories656k", TOKENIZER_ADD_START, "Once", "1 80 147 682"},
		{"models/tinystories656k", 0, " two  spaces ", "80 80 1209 80 415 53 55 368"},
		{"models/tinystories656k", 0, "", ""},
		{"models/tinystories656k", 0, "Tim's dog\nran.\n\n\"Stop!\" he said",
			"80 1337 604 3 494 122 3 5 44 1974 300 97 174"},
		{"models/tinystories656k", 0, "na\u00efve caf\u00e9", "80 557 0 218 295 58 0"},
		{"models/tinystories656k", 0, "<|start_story|>Once upon a time, there", "296 249 57"},
		{"models/tinystories656k", 0, "\u00e9migr\u00e9 \U0001f600 ok",
			"80 0 1292 1428 0 80 0 80 171"},
		{"tokenizers/phi-3-mini", SPECIAL,
			"<|user|>\nHow are you?<|end|>\n<|assistant|>\n",
			"32010 1128 526 366 29973 32007 32001"},
		{"tokenizers/phi-3-mini", SPECIAL, "a</s> \n b</s>", "263 2 289 2"},
		{"tokenizers/phi-3-mini", 0, "a</s> \n b</s>", "263 2 289 2"},
		{"tokenizers/phi-3-mini", SPECIAL, "<s> <s>x<unk>", "1 259 1 921 0"},
		{"tokenizers/phi-3-mini", SPECIAL, "<|end|> <|endoftext|> x", "32007 32000 29871 921"},
		{"tokenizers/phi-3-mini", 0, "<s>", "529 29879 29958"},
	};
	const char *data = test_data();
	struct arena a = {0};
	struct strbuf got;
	struct loaded l = {0};
	if (!data)
		return;
	strbuf_init(&got);
	for (size_t i = 0; i < NELEM(cases); i++) {
		if (i == 0 || strcmp(cases[i].model, cases[i - 1].model) != 0) {
			if (i)
				release(&l);
			REQUIRE(load(&l, arena_printf(&a, "%s/%s", data, cases[i].model)));
		}
		ids_text(&l.t, cases[i].text, strlen(cases[i].text), cases[i].flags, &got);
		CHECK_STR(got.s, cases[i].want);
	}
	release(&l);
	strbuf_release(&got);
	arena_release(&a);
}

TEST(start_end_and_unknown_are_found)
{
	static const struct {
		const char *model;
		int nvocab, start, end, unk;
		bool adds_start;
	} cases[] = {
		{"models/stories260K/hf", 512, 1, 2, 0, true},
		{"models/stories260K/stories260K.gguf", 512, 1, 2, 0, true},
		{"models/babyllama105", 105, 1, 2, 0, true},
		{"models/tinystories656k", 2048, 1, 2, 0, true},
		{"tokenizers/phi-3-mini", 32011, 1, 32000, 0, false},
		{"tokenizers/ggml-vocab/ggml-vocab-llama-spm.gguf", 32000, 1, 2, 0, true},
		{"tokenizers/ggml-vocab/ggml-vocab-gpt-2.gguf", 50257, 50256, 50256, -1, false},
	};
	const char *data = test_data();
	struct arena a = {0};
	if (!data)
		return;
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct loaded l;
		if (load(&l, arena_printf(&a, "%s/%s", data, cases[i].model))) {
			CHECK_INT(l.t.nvocab, cases[i].nvocab);
			CHECK_INT((int)l.t.start_id, cases[i].start);
			CHECK_INT((int)l.t.end_id, cases[i].end);
			CHECK_INT((int)l.t.unk_id, cases[i].unk);
			CHECK_INT(!!(l.t.traits & TOK_ADDS_START), cases[i].adds_start);
			CHECK(tokenizer_is_stop(&l.t, l.t.end_id));
		}
		release(&l);
	}
	arena_release(&a);
}

TEST(gguf_and_sentencepiece_give_equal_blocks)
{
	const char *data = test_data();
	struct arena a = {0};
	struct loaded hf, gguf;
	if (!data)
		return;
	REQUIRE(load(&hf, arena_printf(&a, "%s/models/stories260K/hf", data)));
	REQUIRE(load(&gguf, arena_printf(&a, "%s/models/stories260K/stories260K.gguf", data)));
	CHECK_INT(hf.block.n, gguf.block.n);
	CHECK(hf.block.n == gguf.block.n && memcmp(hf.block.s, gguf.block.s, hf.block.n) == 0);
	release(&hf);
	release(&gguf);
	arena_release(&a);
}

/* Replaces the only `from` in b. */
static void replace(struct strbuf *b, const char *from, const char *to)
{
	struct strbuf out;
	char *at = strstr(b->s, from);
	strbuf_init(&out);
	CHECK(at && !strstr(at + 1, from));
	strbuf_add(&out, b->s, (size_t)(at - b->s));
	strbuf_adds(&out, to);
	strbuf_adds(&out, at + strlen(from));
	strbuf_release(b);
	*b = out;
}

/* The published file with its no-break spaces turned into spaces is what the data holds; it is
 * refused, and turned back here. */
TEST(tokenizer_json_and_model_give_equal_ids)
{
	static const char *const spoilt[][2] = {
		{"\"  \": 8655", "\"\u00a0\u00a0\": 8655"},
		{"\"    \": 17891", "\"\u00a0\u00a0\u00a0\u00a0\": 17891"},
		{"\"\u2581 \": 20246", "\"\u2581\u00a0\": 20246"},
		{"\" \": 30081", "\"\u00a0\": 30081"},
		{"\"   \",", "\"\u00a0 \u00a0\","},
		{"\"     \",", "\"\u00a0\u00a0 \u00a0\u00a0\","},
		{"\"\u2581  \"", "\"\u2581 \u00a0\""},
	};
	static const char *const texts[] = {
		"datasets/tinystories/tinystories_cased_197k.txt",
		"datasets/tinyshakespeare/input.txt",
		"datasets/gsm8k/test.jsonl",
		"datasets/pubmedqa/ori_pqal.json",
		"datasets/tatqa/tatqa_dataset_dev.json",
		"datasets/mmlu/professional_law_test.csv",
		"tokenizers/ggml-vocab/ggml-vocab-gpt-2.gguf.inp",
		"tokenizers/qwen2/merges.txt",
	};
	const char *data = test_data();
	struct arena a = {0};
	struct err e;
	struct strbuf json, block;
	struct loaded model, fixed;
	int nread = 0;
	if (!data)
		return;
	strbuf_init(&json);
	strbuf_init(&block);
	const char *llama = arena_printf(&a, "%s/tokenizers/llama2", data);
	CHECK(!tok_read(&a, llama, &block, &e));
	CHECK(strstr(e.msg, "one space between as merge 18917") != NULL);
	REQUIRE(file_read(&json, arena_printf(&a, "%s/tokenizer.json", llama), &e));
	for (size_t i = 0; i < NELEM(spoilt); i++)
		replace(&json, spoilt[i][0], spoilt[i][1]);
	const char *dir = arena_printf(&a, "%s/json", test_tmpdir());
	REQUIRE(make_directories(dir, &e) && put_file(dir, "tokenizer.json", json.s));
	REQUIRE(load(&fixed, dir));
	dir = arena_printf(&a, "%s/model", test_tmpdir());
	strbuf_clear(&json);
	REQUIRE(make_directories(dir, &e) &&
		file_read(&json, arena_printf(&a, "%s/tokenizer.model", llama), &e) &&
		file_write(arena_printf(&a, "%s/tokenizer.model", dir), strbuf_buf(&json), 0644, &e));
	REQUIRE(load(&model, dir));
	for (size_t i = 0; i < NELEM(texts); i++) {
		struct map m;
		struct token_list x = {0}, y = {0};
		if (!map_open(&m, arena_printf(&a, "%s/%s", data, texts[i]), &e))
			break;
		size_t n = m.n < 300000 ? m.n : 300000;
		nread++;
		tokenizer_encode(&model.t, (const char *)m.p, n, TOKENIZER_ADD_START, &x);
		tokenizer_encode(&fixed.t, (const char *)m.p, n, TOKENIZER_ADD_START, &y);
		CHECK_INT(x.n, y.n);
		if (x.n != y.n || memcmp(x.id, y.id, x.n * sizeof(*x.id)) != 0)
			FAIL("'%s' gives other ids", texts[i]);
		map_release(&m);
		token_list_release(&x);
		token_list_release(&y);
	}
	CHECK_INT(nread, NELEM(texts));
	release(&model);
	release(&fixed);
	strbuf_release(&json);
	strbuf_release(&block);
	arena_release(&a);
}

TEST(real_vocabularies_give_bytes_back)
{
	static const char *const models[] = {"models/stories260K/hf",
		"tokenizers/ggml-vocab/ggml-vocab-phi-3.gguf",
		"tokenizers/ggml-vocab/ggml-vocab-gpt-2.gguf",
		"tokenizers/ggml-vocab/ggml-vocab-llama-spm.gguf"};
	const char *data = test_data();
	struct arena a = {0};
	struct rng r;
	if (!data)
		return;
	rng_init(&r, 5);
	for (size_t i = 0; i < NELEM(models); i++) {
		struct loaded l;
		struct strbuf out;
		struct token_list ids = {0};
		REQUIRE(load(&l, arena_printf(&a, "%s/%s", data, models[i])));
		strbuf_init(&out);
		for (int round = 0; round < 500; round++) {
			char s[256];
			size_t n = rng_below(&r, sizeof(s));
			/* Bytes, or the texts of random tokens behind one another. */
			for (size_t k = 0; k < n; k++)
				s[k] = (char)rng_next(&r);
			for (size_t k = 0; round & 1 && k < n;) {
				struct buf b = tokenizer_decode_token(&l.t,
					(uint32_t)rng_below(&r, l.t.nvocab), TOKENIZER_SHOW_SPECIAL);
				size_t take = b.n < n - k ? b.n : n - k;
				memcpy(s + k, b.p, take);
				k += take;
				if (!b.n)
					n = k;
			}
			ids.n = 0;
			strbuf_clear(&out);
			tokenizer_encode(&l.t, s, n, TOKENIZER_ADD_START, &ids);
			tokenizer_decode(&l.t, ids.id, ids.n, TOKENIZER_AT_START, &out);
			if (out.n != n || memcmp(out.s, s, n) != 0)
				FAIL("%s: round %d: %zu bytes became %zu", models[i], round, n, out.n);
		}
		token_list_release(&ids);
		strbuf_release(&out);
		release(&l);
	}
	arena_release(&a);
}

TEST(published_text_of_stories260k_survives)
{
	const char *data = test_data();
	struct arena a = {0};
	struct loaded l;
	struct strbuf text, out;
	struct token_list ids = {0};
	struct err e;
	if (!data)
		return;
	strbuf_init(&text);
	strbuf_init(&out);
	REQUIRE(load(&l, arena_printf(&a, "%s/models/stories260K/stories260K.gguf", data)));
	REQUIRE(file_read(&text, arena_printf(&a, "%s/models/stories260K/greedy-200-steps.txt", data),
		&e));
	while (text.n && text.s[text.n - 1] == '\n')
		text.s[--text.n] = '\0';
	tokenizer_encode(&l.t, text.s, text.n, TOKENIZER_ADD_START, &ids);
	CHECK_INT(ids.id[0], 1);
	CHECK(ids.n > 180 && ids.n < 220); /* 200 steps */
	tokenizer_decode(&l.t, ids.id, ids.n, TOKENIZER_AT_START, &out);
	CHECK_STR(out.s, text.s);
	token_list_release(&ids);
	strbuf_release(&text);
	strbuf_release(&out);
	release(&l);
	arena_release(&a);
}
