#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "tok.h"
#include "tok_train.h"
#include "tokenizer.h"

/* Written, read again and written again: all ids and settings are in the file, or it is refused. */
static void check_round_trip(struct arena *a, struct buf block, const char *text, size_t n)
{
	struct strbuf file, again, twice;
	struct tokenizer t, u;
	struct token_list x = {0}, y = {0};
	struct err e;
	strbuf_init(&file);
	strbuf_init(&again);
	strbuf_init(&twice);
	if (!tok_write_spm(a, block, &file, &e)) {
		FAIL("%s", e.msg);
		return;
	}
	struct model_file f = {"tokenizer.model", strbuf_buf(&file)};
	REQUIRE(tok_read_files(a, &f, 1, &again, &e));
	REQUIRE(tok_write_spm(a, strbuf_buf(&again), &twice, &e));
	CHECK(twice.n == file.n && !memcmp(twice.s, file.s, file.n));
	REQUIRE(tokenizer_load(&t, block, &e) && tokenizer_load(&u, strbuf_buf(&again), &e));
	tokenizer_encode(&t, text, n, TOKENIZER_ADD_START, &x);
	tokenizer_encode(&u, text, n, TOKENIZER_ADD_START, &y);
	CHECK_INT(x.n, y.n);
	CHECK(x.n && !memcmp(x.id, y.id, x.n * sizeof(*x.id)));
	token_list_release(&x);
	token_list_release(&y);
	strbuf_release(&file);
	strbuf_release(&again);
	strbuf_release(&twice);
}

static const char text[] = "low lower  newest\nwide \xc3\xa9t\xc3\xa9 12 <s> \xe2\x96\x81 \xff unseen";

TEST(trained_tokenizers_become_sentencepiece_models)
{
	const struct buf row = {"low low low lower newest newest wide wide \xc3\xa9t\xc3\xa9 \xc3\xa9t\xc3\xa9 12", 54};
	for (uint32_t nvocab = 260; nvocab < 330; nvocab += 13) {
		struct arena a = {0};
		struct strbuf block;
		struct err e;
		strbuf_init(&block);
		REQUIRE(tok_train_bpe(&row, 1, nvocab, &block, &e));
		check_round_trip(&a, strbuf_buf(&block), text, strlen(text));
		strbuf_release(&block);
		arena_release(&a);
	}
}

TEST(sentencepiece_models_survive)
{
	static const char *const model[] = {"models/stories260K/stories260K.gguf", "models/stories260K/hf",
		"tokenizers/llama2"};
	const char *data = test_data();
	if (!data)
		return;
	for (size_t i = 0; i < NELEM(model); i++) {
		struct arena a = {0};
		struct strbuf block;
		struct err e;
		strbuf_init(&block);
		const char *path = arena_printf(&a, "%s/%s", data, model[i]);
		bool ok = i < 2 ? tok_read(&a, path, &block, &e) : true;
		if (i == 2) {
			struct map m;
			REQUIRE(map_open(&m, arena_printf(&a, "%s/tokenizer.model", path), &e));
			struct model_file f = {"tokenizer.model", {m.p, m.n}};
			ok = tok_read_files(&a, &f, 1, &block, &e);
			map_release(&m);
		}
		if (!ok)
			FAIL("%s: %s", model[i], e.msg);
		else
			check_round_trip(&a, strbuf_buf(&block), text, strlen(text));
		strbuf_release(&block);
		arena_release(&a);
	}
}

TEST(other_kinds_are_refused)
{
	static const char json[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3},"
		"\"unk_token\":\"<unk>\",\"merges\":[\"a b\"]}}";
	struct arena a = {0};
	struct strbuf block, file;
	struct err e;

	strbuf_init(&block);
	strbuf_init(&file);
	struct model_file f = {"tokenizer.json", {json, strlen(json)}};
	if (!tok_read_files(&a, &f, 1, &block, &e))
		FAIL("%s", e.msg);
	else
		CHECK(!tok_write_spm(&a, strbuf_buf(&block), &file, &e) && strstr(e.msg, "another kind"));
	strbuf_release(&block);
	strbuf_release(&file);
	arena_release(&a);
}
