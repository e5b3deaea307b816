#include "task_tokenizer.h"

static bool encode(void *ctx, struct buf text, enum text_place place, struct token_ids *out,
	struct err *e)
{
	(void)e;
	struct token_list list = {0};
	tokenizer_encode(
		ctx, text.p, text.n, place == TEXT_CONTINUES ? TOKENIZER_CONTINUE : 0, &list);
	for (size_t i = 0; i < list.n; i++)
		token_ids_add(out, list.id[i]);
	token_list_release(&list);
	return true;
}

static struct buf piece(void *ctx, uint32_t id)
{
	return tokenizer_decode_token(ctx, id, TOKENIZER_SHOW_SPECIAL);
}

struct tokeniser task_tokenizer(const struct tokenizer *t)
{
	return (struct tokeniser){(void *)(uintptr_t)t, encode, piece,
		tokenizer_start(t),
		t->end_id == TOKENIZER_NONE ? -1 : (int64_t)t->end_id};
}
