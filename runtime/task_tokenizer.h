/* A tokenizer as task_layout wants it. */
#ifndef TASK_TOKENIZER_H
#define TASK_TOKENIZER_H

#include "task.h"
#include "tokenizer.h"

/* Borrows t. The start token is the one that the model's texts begin with, if they do. */
struct tokeniser task_tokenizer(const struct tokenizer *t);

#endif
