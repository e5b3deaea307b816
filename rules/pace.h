/*
 * How much effort (effort.h) of a kind this machine does a second: for the first estimates on it, before the journal
 * knows better. It runs half a block's MLP, whose dots are large enough for any tile, for a tenth of a second.
 */
#ifndef PACE_H
#define PACE_H

/* kind: of struct estimate. 0: no code can be generated or run here. */
double pace_measure(const char *kind, int threads);

#endif
