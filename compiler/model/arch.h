/*
 * Architectures as tables: which keys fill the config, which tensors there are under which names,
 * and how their shapes follow from the config. A new one is one file with one `struct arch` and one
 * row in arch.c; readers, shape checks and the writer walk these tables and know no architecture.
 */
#ifndef ARCH_H
#define ARCH_H

#include "forward.h"
#include "model.h"

/* The two ways of naming things; indexes `in` and `key` below. */
enum arch_format { ARCH_HF, ARCH_GGUF, ARCH_NFORMAT };

enum arch_dim { DIM_NONE, DIM_D, DIM_F, DIM_V, DIM_Q, DIM_KV }; /* DIM_Q: H*hd, DIM_KV: K*hd */

/* Whose heads the rows belong to, when RoPE turns them: GGUF rows are reordered. */
enum arch_turned { TURNED_NOT, TURNED_Q, TURNED_K };

/* "{N}" in a name stands for the layer. The rows with it form one run in the table. */
struct arch_tensor {
	const char *name; /* canonical */
	const char *in[ARCH_NFORMAT];
	enum arch_dim dims[2]; /* (out, in); DIM_NONE ends */
	enum arch_turned turned;
};

enum arch_key_kind { KEY_INT, KEY_FLOAT, KEY_DOUBLE };

/* One number of the config. A required one must be in the file; otherwise 0 is "derive it" for
 * integers (arch_finish_config) and `fallback` is taken for the others. */
struct arch_key {
	const char *key[ARCH_NFORMAT]; /* NULL: this format has no such key */
	enum arch_key_kind kind;
	size_t offset; /* in struct model_config */
	bool required;
	double fallback;
};

/* A key that trim reads one value of only. Absent and null are fine. */
struct arch_fixed_hf {
	const char *key, *json;
};
struct arch_fixed_gguf {
	const char *key;
	int64_t value;
};

/* The forward pass in pieces; forward.h says what each appends. */
struct arch_forward {
	int (*embed)(struct forward_frame *m);
	int (*half[NHALVES])(struct forward_frame *m, int layer, int x);
	int (*logits)(struct forward_frame *m, int x);
};
extern const struct arch_forward forward_llama;

struct arch {
	const char *name;     /* in a spec and in GGUF's general.architecture */
	const char *hf_type;  /* config.json's model_type */
	const char *hf_class; /* config.json's architectures */
	const struct arch_key *key;
	size_t nkey;
	const struct arch_fixed_hf *fixed_hf;
	size_t nfixed_hf;
	const struct arch_fixed_gguf *fixed_gguf;
	size_t nfixed_gguf;
	const char *gguf_head_dim[3]; /* keys that must equal head_dim when they are there */
	const char *const *ignored;   /* tensor names, of either format, that nobody needs */
	size_t nignored;
	const struct arch_tensor *tensor;
	size_t ntensor;
	const struct arch_forward *forward;
};

extern const struct arch arch_llama;

/* The architecture whose `name` (ARCH_GGUF) or `hf_type` (ARCH_HF) is given; NULL with an error
 * that offers the nearest or lists the known ones. `file` may be NULL. */
const struct arch *arch_find(
	enum arch_format format, const char *name, const char *file, struct err *e);

/* Fills what is derived (kv_heads, head_dim) and checks that the numbers fit each other. */
bool arch_finish_config(struct model_config *c, const char *file, struct err *e);

size_t arch_dim_size(const struct model_config *c, enum arch_dim dim);

/* The number behind a key of the table. */
double arch_get(const struct model_config *c, const struct arch_key *key);
bool arch_set(struct model_config *c, const struct arch_key *key, double value);

/* Calls visit for each tensor that a model of this config has, in canonical order, until it returns false;
 * layer is -1 where there is none. */
bool arch_each_tensor(const struct model_config *c,
	bool (*visit)(void *ctx, const struct arch_tensor *row, int layer), void *ctx);

/* `pattern` with the layer for "{N}". */
void arch_name(const char *pattern, int layer, char *out, size_t out_bytes);

/* Whether the file says that head and embedding are one. */
enum arch_tied { TIED_UNSAID, TIED_NO, TIED_YES };

/* Gives the model its tensors: finds those of the table among s[0..n), checks types and shapes,
 * brings q and k to HF's order, ties the head. What is missing or not known is an error. */
bool arch_bind(struct model *m, enum arch_format format, const struct stored *s, size_t n,
	enum arch_tied tied, struct err *e);

extern const char *const hf_rope_types[]; /* by enum model_rope, as config.json spells them */

/* Readers of the two formats; model_open calls them with a zeroed model and its path. */
bool hf_open(struct model *m, struct err *e);
bool model_gguf_open(struct model *m, struct err *e);

#endif
