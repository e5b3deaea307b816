/* A block of kind SPM as sentencepiece's tokenizer.model: the inverse of tok_spm.c, which shows the message. */
#include "tok.h"

#include <string.h>

#include "tokenizer.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_32 = 5 };

static void add_varint(struct strbuf *out, uint64_t x)
{
	for (; x >= 0x80; x >>= 7)
		strbuf_addc(out, (char)(x | 0x80));
	strbuf_addc(out, (char)x);
}

static void add_number(struct strbuf *out, unsigned field, uint64_t x)
{
	add_varint(out, field << 3 | WIRE_VARINT);
	add_varint(out, x);
}

static void add_bytes(struct strbuf *out, unsigned field, const void *p, size_t n)
{
	add_varint(out, field << 3 | WIRE_BYTES);
	add_varint(out, n);
	strbuf_add(out, p, n);
}

static void add_score(struct strbuf *out, unsigned field, float score)
{
	uint32_t bits;
	memcpy(&bits, &score, sizeof(bits));
	add_varint(out, field << 3 | WIRE_32);
	for (int i = 0; i < 4; i++)
		strbuf_addc(out, (char)(bits >> 8 * i));
}

/* As the file writes it: a space is U+2581, a byte <0xXX>. */
static void add_name(struct strbuf *out, unsigned type, struct buf text)
{
	const unsigned char *s = text.p;
	if (type == TOKEN_BYTE && text.n == 1) {
		strbuf_addf(out, "<0x%02X>", s[0]);
		return;
	}
	for (size_t i = 0; i < text.n; i++)
		if (s[i] == ' ')
			strbuf_adds(out, "\xe2\x96\x81");
		else
			strbuf_addc(out, (char)s[i]);
}

static void add_piece(struct strbuf *out, const struct tokenizer *t, uint32_t id)
{
	static const uint64_t types[TOKEN_NTYPE] = {[TOKEN_NORMAL] = 1, [TOKEN_BYTE] = 6,
		[TOKEN_UNKNOWN] = 2, [TOKEN_CONTROL] = 3, [TOKEN_USER] = 4, [TOKEN_UNUSED] = 5};
	unsigned type = t->type[id] & TOKEN_TYPE_MASK;
	struct buf text = {t->text + t->text_at[id], t->text_at[id + 1] - t->text_at[id]};
	struct strbuf name, piece;
	strbuf_init(&name);
	strbuf_init(&piece);
	add_name(&name, type, text);
	add_bytes(&piece, 1, name.s, name.n);
	add_score(&piece, 2, t->rank[id] == TOKENIZER_NONE ? 0 : -(float)t->rank[id]);
	add_number(&piece, 3, types[type]);
	add_bytes(out, 1, piece.s, piece.n);
	strbuf_release(&piece);
	strbuf_release(&name);
}

static uint64_t id_or_none(uint32_t id)
{
	return id == TOKENIZER_NONE ? UINT64_MAX : id; /* -1 */
}

static void write_message(struct strbuf *out, const struct tokenizer *t)
{
	static const char identity[] = "identity";
	struct strbuf part;
	for (uint32_t id = 0; id < t->nvocab; id++)
		add_piece(out, t, id);
	strbuf_init(&part);
	add_number(&part, 3, 2); /* BPE */
	add_number(&part, 4, t->nvocab);
	add_number(&part, 35, 1); /* byte_fallback */
	add_number(&part, 40, id_or_none(t->unk_id));
	add_number(&part, 41, id_or_none(t->start_id));
	add_number(&part, 42, id_or_none(t->end_id));
	add_bytes(out, 2, part.s, part.n);
	strbuf_clear(&part);
	add_bytes(&part, 1, identity, strlen(identity));
	add_number(&part, 3, (t->traits & TOK_PREFIX) != 0);
	add_number(&part, 4, 0);
	add_number(&part, 5, 1);
	add_bytes(out, 3, part.s, part.n);
	strbuf_release(&part);
}

bool tok_write_spm(struct arena *a, struct buf block, struct strbuf *out, struct err *e)
{
	struct tokenizer t;
	struct strbuf again;
	if (!tokenizer_load(&t, block, e))
		return false;
	bool ok = t.kind == TOKENIZER_SPM;
	if (ok)
		write_message(out, &t);
	if (!ok)
		return err_set(e, ERR_SPEC, "unable to write the tokenizer as a sentencepiece model: it is of another kind");
	strbuf_init(&again);
	struct model_file file = {"tokenizer.model", strbuf_buf(out)};
	ok = tok_read_files(a, &file, 1, &again, e);
	if (ok && (again.n != block.n || memcmp(again.s, block.p, block.n)))
		ok = err_set(e, ERR_SPEC, "unable to write the tokenizer as a sentencepiece model: it has tokens or "
			"settings that such a file cannot say");
	strbuf_release(&again);
	return ok;
}
