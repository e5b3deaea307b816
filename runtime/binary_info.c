#include <string.h>

#include "binary.h"
#include "golden.h"

/* What predict can be asked for: of several datasets their names. */
static void print_tasks(struct strbuf *out, const struct container *c)
{
	size_t prefix = sizeof(CONTAINER_TASK_PREFIX) - 1, n = 0;
	strbuf_addf(out, "tasks         %s", container_find(c, "task").p ? "predict" : "");
	for (uint64_t i = 0; i < c->nentry; i++) {
		struct container_entry entry = container_get(c, i);
		if (entry.kind == ENTRY_TASK && !strncmp(entry.name, CONTAINER_TASK_PREFIX, prefix))
			strbuf_addf(out, "%s%s", n++ ? ", " : "predict --dataset ", entry.name + prefix);
	}
	strbuf_adds(out, n || container_find(c, "task").p ? "\n" : "none\n");
}

bool run_info(struct binary *b, struct err *e)
{
	struct strbuf out;
	bool ok = true;
	strbuf_init(&out);
	if (b->options.json) {
		variants_json(&out, b->info_text, b->variants, &b->cpu, b->variant);
		strbuf_addc(&out, '\n');
	} else {
		ok = model_info_print(&out, &b->info, e);
		variants_print(&out, b->variants, &b->cpu, b->variant);
		if (binary_gpu_info)
			binary_gpu_info(&out, b);
		print_tasks(&out, &b->container);
	}
	ok = ok && binary_print(&out, e);
	strbuf_release(&out);
	return ok;
}

bool run_selftest(struct binary *b, struct err *e)
{
	struct buf record = container_find(&b->container, "golden");
	struct golden golden;
	if (!record.p)
		return err_set(e, ERR_IO, "the program holds no recorded logits");
	if (!golden_read(record, &golden, e) || !golden_replay(&b->session, &golden, e))
		return false;
	struct strbuf out;
	strbuf_init(&out);
	if (b->where)
		strbuf_addf(&out, b->options.json ? "{\"tokens\":%llu,\"rows\":%llu,\"within\":%g,\"device\":\"%s\"}\n"
			: "%llu tokens, %llu rows of logits: as recorded on a CPU but for %g of the largest, on %s\n",
			(unsigned long long)golden.ntoken, (unsigned long long)golden.nrow, GOLDEN_APART, b->where);
	else
		strbuf_addf(&out, b->options.json ? "{\"tokens\":%llu,\"rows\":%llu,\"equal\":true,\"cpu\":\"%s\"}\n"
			: "%llu tokens, %llu rows of logits: every bit as recorded, by the code for %s\n",
			(unsigned long long)golden.ntoken, (unsigned long long)golden.nrow, b->variant->name);
	bool ok = binary_print(&out, e);
	strbuf_release(&out);
	return ok;
}
