/*
 * A program like those the compiler emits, written by hand: a "language model" over bytes whose
 * next token is a hash of all tokens so far. Tests run it in process, and link it into a binary.
 */
#ifndef FAKE_MODEL_H
#define FAKE_MODEL_H

#include "program.h"

enum {
	FAKE_VOCAB = 259, /* the 256 bytes, then these */
	FAKE_UNKNOWN = 256,
	FAKE_START = 257,
	FAKE_END = 258,
	FAKE_SLOTS = 96,
	FAKE_ROWS = 8,
	FAKE_OUT = 4,
};

extern const struct variant trim_variant;

#endif
