/*
 * sentencepiece's tokenizer.model: a protobuf message
 * (https://github.com/google/sentencepiece, src/sentencepiece_model.proto).
 *
 *     ModelProto      1 pieces*  2 trainer_spec  3 normalizer_spec
 *     SentencePiece   1 piece    2 score (float) 3 type (normal 1, unknown 2, control 3, user 4,
 *                                                  unused 5, byte 6)
 *     TrainerSpec     3 model_type (unigram 1, BPE 2)  24 treat_whitespace_as_suffix
 *                     40..42 ids of unk, bos, eos (defaults 0, 1, 2; bos or eos may be -1)
 *     NormalizerSpec  1 name  2 precompiled_charsmap  3 add_dummy_prefix  4 remove_extra_whitespaces
 *                     5 escape_whitespaces
 *
 * remove_extra_whitespaces is not applied, as in GGUF's readers: see tokenizer.h.
 */
#include "tok.h"

#include <inttypes.h>
#include <string.h>

#include "tokenizer.h"
#include "utf8.h"

struct reader {
	const struct tok *t;
	const uint8_t *begin, *p, *end;
	struct err *e;
};

struct field {
	unsigned number, wire;
	uint64_t value;        /* wire 0; 5 and 1: its bits */
	struct reader message; /* wire 2 */
};

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static bool fail(const struct reader *r, const char *what)
{
	return err_at(r->e, ERR_IO, r->t->path, 0, 0, "damaged sentencepiece model: %s at byte %td",
		what, r->p - r->begin);
}

static bool read_varint(struct reader *r, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (r->p == r->end)
			return fail(r, "unexpected end");
		uint8_t c = *r->p++;
		*out |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return true;
	}
	return fail(r, "number longer than 10 bytes");
}

static bool read_fixed(struct reader *r, size_t bytes, uint64_t *out)
{
	*out = 0;
	if ((size_t)(r->end - r->p) < bytes)
		return fail(r, "unexpected end");
	for (size_t i = 0; i < bytes; i++)
		*out |= (uint64_t)r->p[i] << 8 * i;
	r->p += bytes;
	return true;
}

/* False with *more false at the end of the message, with *more true on an error. */
static bool read_field(struct reader *r, struct field *f, bool *more)
{
	uint64_t key, n;
	*more = r->p != r->end;
	if (!*more || !read_varint(r, &key))
		return false;
	f->number = key >> 3 > UINT32_MAX ? UINT32_MAX : (unsigned)(key >> 3);
	f->wire = key & 7;
	if (f->number == 0)
		return fail(r, "field number 0");
	switch (f->wire) {
	case WIRE_VARINT:
		return read_varint(r, &f->value);
	case WIRE_64:
		return read_fixed(r, 8, &f->value);
	case WIRE_32:
		return read_fixed(r, 4, &f->value);
	case WIRE_BYTES:
		if (!read_varint(r, &n))
			return false;
		if (n > (uint64_t)(r->end - r->p))
			return fail(r, "length beyond the end");
		f->message = *r;
		f->message.end = r->p + n;
		r->p += n;
		return true;
	default:
		return fail(r, "unknown wire type");
	}
}

static bool expect(const struct reader *r, const struct field *f, unsigned wire)
{
	return f->wire == wire || fail(r, "field of the wrong type");
}

static struct buf bytes_of(const struct field *f)
{
	return (struct buf){f->message.p, (size_t)(f->message.end - f->message.p)};
}

static bool read_piece(struct tok *t, struct reader r)
{
	static const unsigned types[] = {[1] = TOKEN_NORMAL, [2] = TOKEN_UNKNOWN, [3] = TOKEN_CONTROL,
		[4] = TOKEN_USER, [5] = TOKEN_UNUSED, [6] = TOKEN_BYTE};
	struct buf name = {"", 0};
	float score = 0;
	uint64_t type = 1;
	struct field f;
	bool more;
	while (read_field(&r, &f, &more)) {
		if (f.number == 1) {
			if (!expect(&r, &f, WIRE_BYTES))
				return false;
			struct buf b = bytes_of(&f);
			name = (struct buf){arena_copy(t->a, b.p, b.n), b.n};
		} else if (f.number == 2) {
			uint32_t bits = (uint32_t)f.value;
			if (!expect(&r, &f, WIRE_32))
				return false;
			memcpy(&score, &bits, sizeof(score));
		} else if (f.number == 3) {
			if (!expect(&r, &f, WIRE_VARINT))
				return false;
			type = f.value;
		}
	}
	if (more)
		return false;
	if (type == 0 || type >= NELEM(types))
		return fail(&r, "unknown type of piece");
	if (!name.n)
		return fail(&r, "piece without text");
	if (!utf8_valid(name.p, name.n, NULL))
		return fail(&r, "piece that is not UTF-8");
	if (!tok_put(t, t->ntoken, name, types[type], r.e))
		return false;
	struct tok_token *k = &t->token[t->ntoken - 1];
	unsigned char byte;
	k->score = (double)score;
	if (types[type] == TOKEN_BYTE) {
		if (!tok_parse_byte(name, &byte))
			return fail(&r, "byte piece that is not written <0xXX>");
		k->text = (struct buf){arena_copy(t->a, &byte, 1), 1};
	}
	return true;
}

struct settings {
	uint64_t model_type;
	int64_t unk, start, end;
	bool suffix, prefix, escape;
};

static bool read_trainer(struct settings *s, struct reader r)
{
	struct field f;
	bool more;
	while (read_field(&r, &f, &more)) {
		int64_t *id = f.number == 40 ? &s->unk : f.number == 41 ? &s->start
			: f.number == 42 ? &s->end : NULL;
		if ((id || f.number == 3 || f.number == 24) && !expect(&r, &f, WIRE_VARINT))
			return false;
		if (id)
			*id = (int32_t)f.value;
		else if (f.number == 3)
			s->model_type = f.value;
		else if (f.number == 24)
			s->suffix = f.value != 0;
	}
	return !more;
}

static bool read_normalizer(const struct tok *t, struct settings *s, struct reader r)
{
	struct field f;
	bool more;
	struct buf name = {"", 0}, charsmap = {"", 0};
	while (read_field(&r, &f, &more)) {
		bool bytes = f.number == 1 || f.number == 2, flag = f.number == 3 || f.number == 5;
		if ((bytes && !expect(&r, &f, WIRE_BYTES)) || (flag && !expect(&r, &f, WIRE_VARINT)))
			return false;
		if (f.number == 1)
			name = bytes_of(&f);
		else if (f.number == 2)
			charsmap = bytes_of(&f);
		else if (f.number == 3)
			s->prefix = f.value != 0;
		else if (f.number == 5)
			s->escape = f.value != 0;
	}
	if (more)
		return false;
	if (charsmap.n)
		return err_at(r.e, ERR_SPEC, t->path, 0, 0,
			"unable to use the normalisation '%.*s' of this sentencepiece model: only "
			"'identity' is supported",
			(int)(name.n < 40 ? name.n : 40), (const char *)name.p);
	return true;
}

static bool check_id(struct tok *t, int64_t id, unsigned type, uint32_t *out, struct err *e)
{
	*out = TOKENIZER_NONE;
	if (id < 0)
		return true;
	if ((uint64_t)id >= t->ntoken || (t->token[id].type & TOKEN_TYPE_MASK) != type)
		return err_at(e, ERR_IO, t->path, 0, 0,
			"damaged sentencepiece model: special token %lld is not of that type",
			(long long)id);
	*out = (uint32_t)id;
	return true;
}

bool tok_read_spm(struct tok *t, struct buf file, struct err *e)
{
	struct reader r = {t, file.p, file.p, (const uint8_t *)file.p + file.n, e};
	struct settings s = {.model_type = 1, .unk = 0, .start = 1, .end = 2, .prefix = true,
		.escape = true};
	struct field f;
	bool more, user = false;
	t->kind = TOKENIZER_SPM;
	if (!file.n)
		return err_at(e, ERR_IO, t->path, 0, 0, "no sentencepiece model: the file is empty");
	while (read_field(&r, &f, &more)) {
		if (f.number > 3)
			continue;
		if (!expect(&r, &f, WIRE_BYTES))
			return false;
		if (f.number == 1 && !read_piece(t, f.message))
			return false;
		if (f.number == 2 && !read_trainer(&s, f.message))
			return false;
		if (f.number == 3 && !read_normalizer(t, &s, f.message))
			return false;
	}
	if (more)
		return false;
	if (!t->ntoken)
		return err_at(e, ERR_IO, t->path, 0, 0, "no sentencepiece model: it has no pieces");
	if (s.model_type != 2)
		return err_at(e, ERR_SPEC, t->path, 0, 0,
			"unable to use this sentencepiece model: it is of type %" PRIu64 "%s, only BPE "
			"(2) is supported",
			s.model_type, s.model_type == 1 ? " (unigram)" : "");
	if (s.suffix)
		return err_at(e, ERR_SPEC, t->path, 0, 0,
			"unable to use this sentencepiece model: it treats white space as a suffix");
	for (size_t i = 0; i < t->ntoken; i++) {
		struct tok_token *k = &t->token[i];
		user = user || k->type == TOKEN_USER;
		if (k->type != TOKEN_BYTE && s.escape)
			k->text = tok_unescape(t->a, k->name);
	}
	/* sentencepiece adds one space to a text; after a control token begins a new one, after a
	 * piece that users defined does not. */
	t->traits = TOK_FUSE_UNK | TOK_ADDS_START;
	if (s.prefix)
		t->traits |= user ? TOK_PREFIX : TOK_PREFIX | TOK_PREFIX_EVERY;
	return check_id(t, s.unk, TOKEN_UNKNOWN, &t->unk_id, e) &&
		check_id(t, s.start, TOKEN_CONTROL, &t->start_id, e) &&
		check_id(t, s.end, TOKEN_CONTROL, &t->end_id, e);
}
