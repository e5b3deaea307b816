/*
 * Objects kept between programs: FOLDER/KEY.o holds 32 hex digits, the XXH3-128 of the object behind them, a newline
 * and the object. KEY is memo_key's. Files may be removed at any time; one that is damaged is as good as absent.
 */
#ifndef LLVM_KEEP_H
#define LLVM_KEEP_H

#include "digest.h"
#include "strbuf.h"

/* Appends the object. False: not kept. */
bool keep_get(const char *folder, struct digest key, struct strbuf *out);

/* What cannot be written is not kept. */
void keep_put(const char *folder, struct digest key, struct buf object);

#endif
