/* UTF-8 as RFC 3629 defines it: no surrogates, no overlong forms, at most U+10FFFF. */
#ifndef UTF8_H
#define UTF8_H

#include "base.h"

/* Bytes of the first character of s (n bytes left), 0 if it is not valid. */
size_t utf8_decode(const char *s, size_t n, uint32_t *codepoint);

/* Writes at most 4 bytes to out, returns how many. cp must be a scalar value. */
size_t utf8_encode(uint32_t codepoint, char *out);

/* Whether all n bytes are valid; where is the first bad byte if not (may be NULL). */
bool utf8_valid(const char *s, size_t n, size_t *where);

#endif
