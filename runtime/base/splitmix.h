/*
 * splitmix64 (Steele, Lea & Flood 2014): 64 random bits from a counter that any seed may start. What needs no
 * more than that draws from it, and generators with more state are seeded by it. The sequence never changes:
 * weights of a base, resamples of a gate and drawn tokens are made of it.
 */
#ifndef SPLITMIX_H
#define SPLITMIX_H

#include <stdint.h>

static inline uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

#endif
