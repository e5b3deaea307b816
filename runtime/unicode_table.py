#!/usr/bin/env python3
"""Writes unicode_table.c (see unicode_class.h) to stdout: python3 runtime/unicode_table.py"""
import unicodedata

SPACES = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
          0x202F, 0x205F, 0x3000}  # the property White_Space, which unicodedata does not have


def char_class(cp):
    if cp in SPACES:
        return 3
    return {"L": 1, "N": 2}.get(unicodedata.category(chr(cp))[0], 0)


runs = []
for cp in range(0x110000):
    c = char_class(cp)
    if not runs or runs[-1][1] != c:
        runs.append((cp, c))
print(f"/* Unicode {unicodedata.unidata_version}; written by unicode_table.py. */")
print('#include "unicode_class.h"\n')
print("const uint32_t unicode_table[] = {")
words = [f"0x{cp << 2 | c:x}," for cp, c in runs]
for i in range(0, len(words), 9):
    print("\t" + " ".join(words[i:i + 9]))
print(f"}};\nconst unsigned unicode_table_n = {len(runs)};")
