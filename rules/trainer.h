/*
 * A model in training, in this process: weights, masters, moments and gradients of one state, and the
 * generated programs of train.h over them.
 *
 * A step is any number of trainer_add calls (micro-batches) and one trainer_update. All arithmetic is
 * generated code, on the CPU or a GPU (device.h); the same inputs give the same bits for any number of threads.
 */
#ifndef TRAINER_H
#define TRAINER_H

#include "data_pack.h"
#include "device.h"
#include "train.h"
#include "weights.h"

struct trainer_options {
	struct weight_source weights;
	bool (*trains)(void *ctx, const char *name);
	void *ctx;
	enum numerics numerics;
	int64_t rows; /* token rows of one micro-batch */
	enum device_kind device;
	int nthreads;
	double beta1, beta2, eps, decay;
	/* The program that takes the gradients; NULL: "update". Another only reads them (trainer_finish). */
	struct graph *(*behind)(struct arena *a, const struct train *t);
	const struct train_lora *lora;       /* NULL: none */
	const struct train_distill *distill; /* NULL: none; the parent's tensors are read as the state's are */
	bool looks; /* trainer_look, trainer_keep and trainer_return will be called; costs memory: what trains once more */
};

/* What training takes, known from the graphs alone; o->weights.read is not called. */
struct trainer_load {
	double rows, outs, attended; /* of a micro-batch, on average: token rows, those with a target, rows that a row sees */
};
struct trainer_needs {
	uint64_t memory_bytes;  /* all that a trainer allocates of the device's memory */
	double add, update;     /* effort (effort.h) of one micro-batch, and of what ends a step */
	size_t nfunction;       /* of all programs: what code is generated for */
};
void trainer_foretell(const struct trainer_options *o, const struct trainer_load *l, struct trainer_needs *out);

struct trainer;
bool trainer_open(struct trainer **out, const struct trainer_options *o, struct err *e);
void trainer_free(struct trainer *t); /* NULL is allowed */

/* Whether the device did all that it was given so far; numbers mean nothing after it did not. */
bool trainer_ok(const struct trainer *t, struct err *e);

/* Adds the gradients of a packed batch; total_weight: of all batches of this step. *loss is increased by the
 * batch's part of the step's mean loss. */
void trainer_add(struct trainer *t, const struct pack_batch *b, double total_weight, double *loss);

/* Adds to *loss the batch's part of the mean nll, as trainer_add does, and changes nothing. */
void trainer_look(struct trainer *t, const struct pack_batch *b, double total_weight, double *loss);

/* Remembers what trains as it is now, instead of what was remembered; goes back to it. Moments stay. */
void trainer_keep(struct trainer *t);
void trainer_return(struct trainer *t);

/* One step of AdamW, number `step` from 1, with this rate; returns the gradient's norm before clipping. */
double trainer_update(struct trainer *t, int64_t step, double rate, double clip);

/* Runs a program `behind` that is not "update"; then its scalar outputs can be read. */
void trainer_finish(struct trainer *t);
float trainer_output(const struct trainer *t, const char *name);

/* Adds what low-rank additions came to to their matrices. Nothing trains behind that: all memory but that of leaves is
 * freed, so that there is room for what is written. */
void trainer_end(struct trainer *t);

/* Whether a tensor of the state is another one by now; low-rank additions count as merged. */
bool trainer_changes(const struct trainer *t, const char *name);
/* A leaf that is bound f32, so all that trains, as f32, row-major, appended to out. */
void trainer_weight(const struct trainer *t, const char *name, struct strbuf *out);

/* Masters and moments as they are in memory, and what is remembered, for checkpoints: equal parts in the same order for
 * the same options. Of a program `behind` that only reads gradients: those. restore is false when sizes differ. */
void trainer_parts(struct trainer *t, struct arena *a, struct buf **part, size_t *npart);
bool trainer_restore(struct trainer *t, struct buf payload);

#endif
