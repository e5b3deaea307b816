#include "binary.h"
#include "golden.h"

static void add_text(struct strbuf *out, const struct binary *b)
{
	const struct model_info *i = &b->info;
	strbuf_addf(out, "name          %s\n", i->name);
	strbuf_addf(out, "architecture  %s, %lld blocks\n", i->architecture, (long long)i->blocks);
	strbuf_addf(out, "parameters    %lld\n", (long long)i->parameters);
	strbuf_addf(out, "weights       %lld bytes, %s\n", (long long)i->weight_bytes, i->numerics);
	strbuf_addf(out, "context       %lld tokens\n", (long long)i->context);
	strbuf_addf(out, "target        %s, %s\n", i->target, i->hardware);
	strbuf_addf(out, "tasks         %s\n",
		container_find(&b->container, "task").p ? "predict" : "none");
	strbuf_addf(out, "dropped       %zu units", i->ndropped);
	for (size_t k = 0; k < i->ndropped; k++)
		strbuf_addf(out, "%s %s", k ? "," : ":", i->dropped[k]);
	strbuf_addc(out, '\n');
}

bool run_info(struct binary *b, struct err *e)
{
	struct strbuf out;
	strbuf_init(&out);
	if (b->options.json) {
		strbuf_add(&out, b->info_text.p, b->info_text.n);
		strbuf_addc(&out, '\n');
	} else {
		add_text(&out, b);
	}
	bool ok = binary_print(&out, e);
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
	strbuf_addf(&out, b->options.json ? "{\"tokens\":%llu,\"rows\":%llu,\"equal\":true}\n"
		: "%llu tokens, %llu rows of logits: every bit as recorded\n",
		(unsigned long long)golden.ntoken, (unsigned long long)golden.nrow);
	bool ok = binary_print(&out, e);
	strbuf_release(&out);
	return ok;
}
