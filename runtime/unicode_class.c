#include "unicode_class.h"

enum unicode_class unicode_class(uint32_t cp)
{
	if (cp > 0x10ffff)
		return UNICODE_OTHER;
	unsigned lo = 0, hi = unicode_table_n;
	while (hi - lo > 1) {
		unsigned mid = lo + (hi - lo) / 2;
		if (unicode_table[mid] >> 2 <= cp)
			lo = mid;
		else
			hi = mid;
	}
	return (enum unicode_class)(unicode_table[lo] & 3);
}
