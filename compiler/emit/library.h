/* A library of NVIDIA's that is opened at run time, once in a process: nothing of it is needed to build. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include "base.h"

struct library_symbol {
	const char *name;
	void *to; /* a pointer to a function: it gets the address */
};

struct library {
	const char *title, *variable;     /* "NVRTC", and what names another file than the loader would find: "TRIM_NVRTC" */
	const char *const *name;          /* from new to old; NULL ends */
	const struct library_symbol *symbol;
	size_t nsymbol;
	const char *since, *remedy;       /* "CUDA 11.2": the first that has all symbols; where one comes from */
	void (*before)(const char *path); /* is called with a path that is tried; NULL: nothing is to be done */
};

/* Its path, as the loader found it, which lives as long as the process. NULL, with ERR_TOOL: there is none, or one too old. */
const char *library_open(const struct library *l, struct err *e);

#endif
