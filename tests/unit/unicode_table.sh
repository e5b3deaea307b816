#!/usr/bin/env bash
# runtime/unicode_table.c is what its script writes.
# Once: a file of the tree.
set -u
cd "$(dirname "$0")/../.." || exit 1
name=unicode_table_is_as_written
want=$(sed -n '1s/.*Unicode \([0-9.]*\);.*/\1/p' runtime/unicode_table.c)
have=$(python3 -c 'import unicodedata; print(unicodedata.unidata_version)' 2>/dev/null)
if [ "$have" != "$want" ]; then
	echo "skip $name: needs python3 with Unicode $want, found ${have:-none}"
elif python3 runtime/unicode_table.py | cmp - runtime/unicode_table.c; then
	echo "ok $name"
else
	echo "FAIL $name"
fi
