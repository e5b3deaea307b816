/*
 * The cutting of a text into words before byte-level BPE.
 *
 * Tokenizers publish it as a regular expression whose matches are the words. The known ones differ in
 * few points and cover every text, so each is a row of traits over one hand-written scanner:
 *
 *   gpt-2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   digits   the same after each \p{N} was made a word of its own (SmolLM, StarCoder)
 *   llama-3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
 *            | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   qwen-2   the same with \p{N} for \p{N}{1,3}
 *   whole    no cutting
 *
 * A byte that is no UTF-8 counts as a character that is neither letter, number nor space.
 */
#ifndef PRETOKENIZE_H
#define PRETOKENIZE_H

#include "base.h"

enum pretokenize_pattern {
	PRETOKENIZE_WHOLE,
	PRETOKENIZE_GPT2,
	PRETOKENIZE_DIGITS,
	PRETOKENIZE_LLAMA3,
	PRETOKENIZE_QWEN2,
	PRETOKENIZE_NPATTERN
};

/* Bytes of the first word of s; at least 1 where n is. */
size_t pretokenize_next(enum pretokenize_pattern pattern, const char *s, size_t n);

/* Bytes of the white space that s begins with, or ends with. */
size_t pretokenize_leading_space(const char *s, size_t n);
size_t pretokenize_trailing_space(const char *s, size_t n);

#endif
