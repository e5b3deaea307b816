/*
 * Text to tokens and back, over one flat block of bytes.
 *
 * The readers of foreign formats (compiler/model/tok.h) make the block once; the emitted binary maps
 * it with the weights and uses it where it lies. All of it is checked when it is loaded, so that a
 * damaged block is an error, never a crash, and everything after loading cannot fail. A loaded
 * tokenizer is read-only: any number of threads may use it.
 *
 * What every kind holds to: text is bytes; valid UTF-8 gives the tokens that the model was trained
 * with, and bytes that are no UTF-8 become byte tokens. Where all 256 byte tokens exist,
 * decode(encode(x)) == x for every x. Token texts are the bytes they stand for: the U+2581 that
 * sentencepiece writes for a space is a space here, so a U+2581 of the input stays one (sentencepiece
 * itself turns it into a space). Unicode normalisation (sentencepiece's collapsing of spaces, NFC of
 * Qwen) is not applied: nothing of the input is lost.
 *
 * Kinds:
 *   SPM         sentencepiece BPE (Kudo & Richardson 2018; LLaMA): symbols are characters; of all
 *               neighbours whose concatenation is a token, those with the best score merge first,
 *               the leftmost of equals. What is no token in the end becomes bytes <0xXX>, or the
 *               unknown token.
 *   MERGES      tokenizer.json without a pre-tokenizer: symbols are characters; a list of pairs
 *               says which neighbours merge, in the list's order. Bytes and unknown as above.
 *   BYTE_LEVEL  GPT-2's (Radford et al. 2019): text is first cut into words (pretokenize.h), symbols are
 *               bytes, merged inside a word by a list of pairs.
 * Before the text that SPM and MERGES tokenize stands one space (TOK_PREFIX), which decoding takes
 * away again. A long text costs O(n log n).
 *
 * The block, all little-endian u32 unless said otherwise, no padding but before the end of `type`:
 *
 *     "trimtok\n"  version  bytes of the block
 *     kind  flags  pattern  nvocab  nmerge  nspecial  ntext_slot  nmerge_slot
 *     start_id  end_id  unk_id  max_token_bytes              NONE (~0) where there is none
 *     byte_id[256]              the token of each byte, or NONE
 *     text_at[nvocab + 1]       where each token's text begins in text[]
 *     rank[nvocab]              SPM: merge order by score, equal for equal scores; NONE: never merged
 *                               into. Other kinds: absent
 *     merge[nmerge][3]          left id, right id, merged id; by falling priority
 *     special[nspecial]         ids matched in the text before anything else: longest text first
 *     text_slot[ntext_slot]     hash table (power of two, linear probing, FNV-1a of the text):
 *                               1 + id, 0 is empty
 *     merge_slot[nmerge_slot]   the same over (left, right): 1 + index in merge
 *     type[nvocab] u8           enum token_type + TOKEN_* bits; then zeros to a multiple of 4
 *     text[] u8                 to the end of the block
 */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include "strbuf.h"

enum { TOKENIZER_VERSION = 1, TOKENIZER_HEADER_BYTES = 64 };
#define TOKENIZER_MAGIC "trimtok\n"
#define TOKENIZER_NONE UINT32_MAX

enum tokenizer_kind { TOKENIZER_SPM, TOKENIZER_MERGES, TOKENIZER_BYTE_LEVEL, TOKENIZER_NKIND };

enum tokenizer_trait {
	TOK_PREFIX = 1 << 0,       /* a space before the text ... */
	TOK_PREFIX_EVERY = 1 << 1, /* ... and before what follows a special token */
	TOK_ADDS_START = 1 << 2,   /* texts begin with start_id */
	TOK_FUSE_UNK = 1 << 3,     /* neighbouring unknowns are one token */
	TOK_WORDS = 1 << 4,        /* no token holds a space behind another character: the text may
	                              be cut there, which changes the speed only */
	TOK_WHOLE_WORDS = 1 << 5,  /* a word that is a token is not merged up ("ignore_merges") */
	TOK_TRAITS = (1 << 6) - 1
};

enum token_type {
	TOKEN_NORMAL,
	TOKEN_BYTE,    /* one byte, for what is no other token */
	TOKEN_UNKNOWN,
	TOKEN_CONTROL, /* <s>: not text; matched in a text on request only */
	TOKEN_USER,    /* always matched in a text, before all else */
	TOKEN_UNUSED,  /* never made from text */
	TOKEN_NTYPE,
	TOKEN_TYPE_MASK = 7,
	TOKEN_LSTRIP = 1 << 3, /* matching it swallows the white space before, ... */
	TOKEN_RSTRIP = 1 << 4, /* ... behind it */
	TOKEN_STOP = 1 << 5,   /* generation ends here; end_id is one of them */
	TOKEN_BITS = (1 << 6) - 1
};

struct tokenizer {
	enum tokenizer_kind kind;
	unsigned traits, pattern;
	uint32_t nvocab, nmerge, nspecial, ntext_slot, nmerge_slot;
	uint32_t start_id, end_id, unk_id; /* TOKENIZER_NONE where there is none */
	uint32_t max_token_bytes;
	/* Inside the block. */
	const uint32_t *byte_id, *text_at, *rank, *merge, *special, *text_slot, *merge_slot;
	const uint8_t *type;
	const char *text;
	bool special_first[256]; /* bytes that a special token may begin with */
};

struct token_list {
	uint32_t *id;
	size_t n, cap;
};

enum tokenizer_encode_flag {
	TOKENIZER_ADD_START = 1,     /* the start token, if the model's texts begin with one */
	TOKENIZER_PARSE_SPECIAL = 2, /* "<s>" in the text is the token <s>, not three characters */
	TOKENIZER_CONTINUE = 4       /* the text continues another: no space is put before it */
};

enum tokenizer_decode_flag {
	TOKENIZER_AT_START = 1,    /* the text begins here: drop the space that encoding put there */
	TOKENIZER_SHOW_SPECIAL = 2 /* control tokens give their text, not nothing */
};

/* Borrows the bytes (4-byte aligned), which must outlive t; allocates nothing. */
bool tokenizer_load(struct tokenizer *t, struct buf bytes, struct err *e);

/* The token that the model's texts begin with; -1 where they begin with none. */
int64_t tokenizer_start(const struct tokenizer *t);

/* Appends to out, which may be zeroed. */
void tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
	struct token_list *out);
void token_list_push(struct token_list *l, uint32_t id);
void token_list_release(struct token_list *l);

/* The token with exactly this text (as decoded, so " the"), or TOKENIZER_NONE. Byte tokens have no
 * text of their own: see byte_id. */
uint32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n);

/* Whether generation ends with this token. */
bool tokenizer_is_stop(const struct tokenizer *t, uint32_t id);

/* The bytes of one token, borrowed. U+FFFD for the unknown token; nothing for ids that are no token:
 * models pad their vocabulary. */
struct buf tokenizer_decode_token(const struct tokenizer *t, uint32_t id, unsigned flags);

/* Appends the bytes of all. */
void tokenizer_decode(const struct tokenizer *t, const uint32_t *id, size_t n, unsigned flags,
	struct strbuf *out);

/* Decoding as tokens come: put appends what is complete, and holds back the beginning of a UTF-8
 * character until its last byte, or a byte that cannot belong to it, is there; end appends the rest. */
struct tokenizer_stream {
	const struct tokenizer *t;
	unsigned flags; /* enum tokenizer_decode_flag; AT_START as far as it still holds */
	unsigned nheld;
	char held[4];
};
void tokenizer_stream_init(struct tokenizer_stream *s, const struct tokenizer *t, unsigned flags);
void tokenizer_stream_put(struct tokenizer_stream *s, uint32_t id, struct strbuf *out);
void tokenizer_stream_end(struct tokenizer_stream *s, struct strbuf *out);

/* The hashes of the two tables, for who makes a block. */
uint32_t tokenizer_hash_text(const char *text, size_t n);
uint32_t tokenizer_hash_pair(uint32_t left, uint32_t right);

#endif
