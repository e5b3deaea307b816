/*
 * Bytes to a device, by several threads: while pieces in pinned memory are on their way, others are read. One thread reads a
 * mapped file slower than a device takes it.
 */
#ifndef GPU_SEND_H
#define GPU_SEND_H

#include "gpu_device.h"

struct gpu_part {
	uint64_t to; /* device address */
	const void *from;
	uint64_t bytes;
};

/* Begins; the caller may do something else meanwhile. */
struct gpu_sending;
struct gpu_sending *gpu_send_start(const struct gpu_device *g, const struct gpu_part *part, size_t n);
/* Helps, and ends it: all are there when it returns. ERR_DEVICE: what failed first. */
bool gpu_send_finish(struct gpu_sending *s, struct err *e);

#endif
