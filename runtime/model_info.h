/*
 * "info": what a binary says about itself, JSON in the container.
 *
 *     {"name":"medqa","target":"laptop","hardware":"x86-64-v3","numerics":"f32",
 *      "architecture":"llama","blocks":12,"dropped":["blk.7.attn","blk.3.mlp"],
 *      "parameters":134515008,"weight_bytes":269030016,"context":1024,"threads":0,
 *      "start_token":1,"end_token":2,"lock":{...}}
 *
 * `hardware`: what there is code for, from plain to capable, separated by spaces; `dropped` in the order of
 * dropping; `threads` 0: all that there are; tokens null where there is none; `lock`: what the lock file beside
 * the spec says of this binary (rules/lock.h), or null:
 *
 *     {"inputs":{"models:smollm/config.json":"HEX"},
 *      "chain":[{"schedule":"main","round":1,"method":"scan","dropped":[{"unit":"blk.3.mlp","nll":1.25}]}],
 *      "targets":{"laptop":{"hardware":"zen5",...,"metrics":{...},"parent":{...},"cost":{...},"gates":[...]}}}
 *
 * With several datasets metrics, parent and cost have one level more, by dataset.
 */
#ifndef MODEL_INFO_H
#define MODEL_INFO_H

#include "json.h"

struct model_info {
	const char *name, *target, *hardware, *numerics, *architecture;
	int64_t blocks, parameters, weight_bytes, context, threads;
	int64_t start_token, end_token; /* -1: none */
	const char **dropped;
	size_t ndropped;
	const char *lock; /* JSON text; NULL: none */
};

void model_info_write(struct strbuf *out, const struct model_info *info);

/* In the arena. Unknown members are left alone; missing or wrong ones are an ERR_IO. */
bool model_info_read(struct arena *a, struct buf text, struct model_info *out, struct err *e);

/* Lines for people. Of the lock what is known is printed, the rest left alone. */
bool model_info_print(struct strbuf *out, const struct model_info *info, struct err *e);

#endif
