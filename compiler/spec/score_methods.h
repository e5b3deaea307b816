/*
 * The score methods: SCORE(ID, symbol, name, what it reads, what it ranks). A score is a row here and one file of
 * rules/ that defines score_SYMBOL (rules/score_method.h).
 *
 * READS_ROWS   calibration rows
 * READS_COUNT  how many units a round drops
 * READS_SEED   the schedule's seed
 * READS_UNITS  the units that <score> names
 */
/*    ID               symbol           name               reads                      ranks */
SCORE(SCAN,            scan,            "scan",            READS_ROWS,                RANKS_HALF | RANKS_BLOCK)
SCORE(PERPLEXITY,      perplexity,      "perplexity",      READS_ROWS,                RANKS_HALF | RANKS_BLOCK)
SCORE(BLOCK_INFLUENCE, block_influence, "block-influence", READS_ROWS,                RANKS_BLOCK)
SCORE(ANGULAR,         angular,         "angular",         READS_ROWS | READS_COUNT,  RANKS_BLOCK)
SCORE(COSINE,          cosine,          "cosine",          READS_ROWS,                RANKS_HALF)
SCORE(TAYLOR,          taylor,          "taylor",          READS_ROWS,                RANKS_HALF | RANKS_BLOCK)
SCORE(MAGNITUDE,       magnitude,       "magnitude",       0,                         RANKS_HALF | RANKS_BLOCK)
SCORE(RANDOM,          random,          "random",          READS_SEED,                RANKS_HALF | RANKS_BLOCK)
SCORE(LAST,            last,            "last",            0,                         RANKS_HALF | RANKS_BLOCK)
SCORE(GIVEN,           given,           "given",           READS_UNITS,               RANKS_HALF | RANKS_BLOCK)
