/*
 * What a regular expression of a pre-tokenizer asks of a character: \p{L}, \p{N} or \s, by the Unicode
 * version that unicode_table.c names.
 *
 * unicode_table.c is written by unicode_table.py; a test holds the two equal.
 */
#ifndef UNICODE_CLASS_H
#define UNICODE_CLASS_H

#include <stdint.h>

enum unicode_class { UNICODE_OTHER, UNICODE_LETTER, UNICODE_NUMBER, UNICODE_SPACE };

enum unicode_class unicode_class(uint32_t codepoint); /* beyond U+10FFFF: UNICODE_OTHER */

/* Runs of one class, rising: first code point << 2 | class. */
extern const uint32_t unicode_table[];
extern const unsigned unicode_table_n;

#endif
