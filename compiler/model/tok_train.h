/*
 * A tokenizer made from text: byte-pair encoding (Sennrich et al. 2016) as sentencepiece does it.
 *
 * Rows are cut into words (pretokenize.h, the pattern qwen-2, so digits stand alone) behind one space;
 * pieces never cross words and have at most 16 characters. Of all neighbours the most frequent
 * becomes the next piece; ties go to the lexicographically first left text, then right text. The
 * result is an SPM block (runtime/tokenizer.h): <unk>, <s>, </s>, 256 bytes, the pieces in the order
 * they were made, the characters by frequency. Characters beyond 99.95 % of the text, or beyond half
 * of the room, are left to the byte tokens. The result depends on the multiset of rows alone, not on
 * their order.
 */
#ifndef TOK_TRAIN_H
#define TOK_TRAIN_H

#include "strbuf.h"

enum { TOK_TRAIN_LEAST = 3 + 256 + 1 }; /* the smallest vocabulary */

/* A text with too few different words gives fewer than `nvocab` tokens. ERR_SPEC if nvocab is below
 * TOK_TRAIN_LEAST or the rows hold no text. */
bool tok_train_bpe(const struct buf *rows, size_t nrows, uint32_t nvocab,
	struct strbuf *serialised, struct err *e);

#endif
