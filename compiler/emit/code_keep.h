/*
 * Generated code that was made before, by a digest of all that decides it: equal keys, equal code. Rounds of a chain score,
 * tune and evaluate with the same pieces, and making them again is much of what a small model's stages cost.
 *
 * It is kept in this process's memory, or between programs in a folder: FOLDER/KEY.o holds 32 hex digits, the XXH3-128 of
 * the code behind them, a newline and the code. Files may be removed at any time; one that is damaged is as good as absent.
 */
#ifndef CODE_KEEP_H
#define CODE_KEEP_H

#include "digest.h"
#include "strbuf.h"

/* folder "": memory. Appends the code. False: not kept. */
bool code_get(const char *folder, struct digest key, struct strbuf *out);

/* Copies it. What cannot be written is not kept. */
void code_put(const char *folder, struct digest key, struct buf code);

#endif
