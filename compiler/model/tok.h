/*
 * Foreign tokenizers, read into the block of runtime/tokenizer.h.
 *
 * tok_read takes what a model brings: the vocabulary inside a GGUF file, or in a Hugging Face directory the
 * first of
 *     tokenizer.json              BPE, what transformers itself loads; added tokens are in it
 *     tokenizer.model             sentencepiece BPE
 *     vocab.json and merges.txt   byte-level BPE as GPT-2 published it
 * Where a model has several of them they give the same ids. tokenizer_config.json adds tokens, names
 * start and end; config.json and generation_config.json name them where it does not, and further
 * tokens at which generation stops. Equal tokenizers from different files give equal blocks.
 *
 * A reader fills a `struct tok`; tok_write sorts, hashes and checks it. What a reader does not know (an
 * unknown normaliser, a pattern, a kind of model) is an error that quotes it: approximate ids
 * would be worse.
 */
#ifndef TOK_H
#define TOK_H

#include "model_files.h"
#include "strbuf.h"

struct gguf;

struct tok_token {
	struct buf name;  /* as the file writes it */
	struct buf text;  /* the bytes it stands for */
	double score;     /* SPM: higher merges first */
	unsigned type;    /* enum token_type + TOKEN_* bits */
};

struct tok_merge {
	uint32_t left, right, id;
};

struct tok {
	struct arena *a;
	const char *path;   /* for messages */
	unsigned kind, traits, pattern;
	struct tok_token *token;
	size_t ntoken, token_cap;
	struct tok_merge *merge; /* by falling priority */
	size_t nmerge;
	uint32_t start_id, end_id, unk_id;
	uint32_t *name_slot;     /* of tok_find, made by tok_index */
	size_t nname_slot;
};

bool tok_read(struct arena *a, const char *model_path, struct strbuf *serialised, struct err *e);

/* The same from bytes: one file that is neither tokenizer.json nor tokenizer.model is a GGUF. */
bool tok_read_files(struct arena *a, const struct model_file *file, size_t nfile,
	struct strbuf *serialised, struct err *e);

/* A block of kind SPM as a tokenizer.model, which reads back as exactly this block; ERR_SPEC if no such file
 * does. The arena is for scratch. */
bool tok_write_spm(struct arena *a, struct buf block, struct strbuf *out, struct err *e);

/* For readers. */
void tok_init(struct tok *t, struct arena *a, const char *path);

/* Enters token `id`; ids between the last and this are holes: unused, without text. The text is the
 * name until the reader says otherwise. An id beyond any real vocabulary is an error. */
bool tok_put(struct tok *t, uint64_t id, struct buf name, unsigned type, struct err *e);

/* Names to ids, of all tokens entered before tok_index; the last of equal names. */
void tok_index(struct tok *t);
uint32_t tok_find(const struct tok *t, struct buf name);

struct buf tok_unescape(struct arena *a, struct buf name); /* U+2581 -> space */
bool tok_parse_byte(struct buf name, unsigned char *byte);  /* "<0x0A>" */

/* The text behind a byte-level name, where a byte is written as GPT-2's character for it; false if
 * the name holds another character. */
bool tok_byte_text(struct arena *a, struct buf name, struct buf *text);

/* "left right" as merge number t->nmerge; t->merge must have room. */
bool tok_put_merge(struct tok *t, struct buf left, struct buf right, struct err *e);

/* Gives TOKEN_BYTE, TOKEN_NORMAL, TOKEN_UNUSED and its text to a token that the file lists as an
 * ordinary entry of a vocabulary of t->kind. */
void tok_set_ordinary(struct tok *t, uint32_t id);

bool tok_write(struct tok *t, struct strbuf *out, struct err *e);

/* One file each: tok_spm.c, tok_hf.c, tok_gguf.c. `t` is initialised; tok_write is the caller's. */
bool tok_read_spm(struct tok *t, struct buf file, struct err *e);
bool tok_read_hf_json(struct tok *t, struct buf file, struct err *e);
bool tok_read_vocab_merges(struct tok *t, struct buf vocab, struct buf merges, struct err *e);
bool tok_read_gguf(struct tok *t, const struct gguf *g, struct err *e);

/* What the JSON files say about a tokenizer that is already read: the pattern of
 * vocab.json and merges.txt, added tokens, start, end and stop. */
bool tok_read_hf_config(struct tok *t, const struct model_files *f, struct err *e);

#endif
