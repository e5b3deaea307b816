#include "cli.h"

#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "cublaslt.h"
#include "emit.h"
#include "gpu_run.h"
#include "link.h"
#include "nvrtc.h"
#include "store.h"

struct report {
	struct cli *cli;
	struct strbuf json;
	bool lacking;
};

/* found NULL: missing, and how to get it. */
static void tell(struct report *r, const char *what, const char *found, const char *remedy)
{
	strbuf_adds(&r->json, r->json.n ? "," : "{");
	strbuf_add_json(&r->json, what, strlen(what));
	strbuf_addc(&r->json, ':');
	if (found)
		strbuf_add_json(&r->json, found, strlen(found));
	else
		strbuf_adds(&r->json, "null");
	if (!r->cli->json)
		fprintf(r->cli->out, "%-18s %s%s%s\n", what, found ? found : "missing", found ? "" : ": ",
			found ? "" : remedy);
}

static void tell_err(struct report *r, const char *what, const char *found, const struct err *e)
{
	tell(r, what, found, e->msg);
	r->lacking |= !found;
}

/* Those that run here are what `hardware` can name together; of the others of this architecture, what is
 * missing for them. */
static void tell_cpu(struct report *r)
{
	const struct target *best = target_native();
	struct strbuf runs, others, lacks;
	struct cpu cpu;
	strbuf_init(&runs);
	strbuf_init(&others);
	strbuf_init(&lacks);
	cpu_read(&cpu);
	for (int i = 0; i < ntargets; i++) {
		strbuf_clear(&lacks);
		if (target_runs_here(&targets[i]))
			strbuf_addf(&runs, "%s%s", runs.n ? " " : "", targets[i].name);
		else if (!best || best->arch == targets[i].arch)
			cpu_has_all(&cpu, targets[i].needs, &lacks);
		if (lacks.n)
			strbuf_addf(&others, "%s%s (lacks %s)", others.n ? ", " : "", targets[i].name, lacks.s);
	}
	tell(r, "native", best ? best->name : NULL, "this CPU is below x86-64-v3");
	tell(r, "runs here", runs.s, "");
	tell(r, "does not run here", others.n ? others.s : "none of this architecture", "");
	r->lacking |= !best;
	strbuf_release(&lacks);
	strbuf_release(&others);
	strbuf_release(&runs);
}

/* What only GPU targets need. */
static void tell_nvrtc(struct report *r)
{
	struct strbuf text;
	struct err e = {0};
	const struct nvrtc *n = nvrtc_open(&e);
	strbuf_init(&text);
	if (n)
		strbuf_addf(&text, "NVRTC %d.%d, %s:", n->major, n->minor, n->path);
	for (int i = 0; n && i < n->narch; i++)
		strbuf_addf(&text, " sm_%d%s", n->arch[i], n->arch[i] == 90 && !nvrtc_has_wgmma(n) ? " (without wgmma, which CUDA 12 has)" : "");
	tell(r, "GPU code", n ? text.s : NULL, e.msg);
	strbuf_release(&text);
}

/* What only schedules with math="cublaslt" need. */
static void tell_cublaslt(struct report *r)
{
	struct err e = {0};
	int version = cublaslt_version(&e);
	tell(r, "GPU products", version ? arena_printf(r->cli->arena, "cuBLASLt %d", version) : NULL, e.msg);
}

static void tell_devices(struct report *r)
{
	struct err e = {0};
	const struct gpu_driver *d = gpu_driver_open(&e);
	int version = 0, n = 0;
	char text[64];
	snprintf(text, sizeof(text), "CUDA %d.%d", d && !d->version(&version) ? version / 1000 : 0, version % 1000 / 10);
	tell(r, "GPU driver", d ? text : NULL, e.msg);
	if (!d || d->device_count(&n))
		return;
	for (int i = 0; i < n; i++) {
		struct gpu_device g;
		const char *what = arena_printf(r->cli->arena, "cuda:%d", i), *found = NULL;
		if (gpu_device_open(&g, i, &e))
			found = arena_printf(r->cli->arena, "%s, sm_%d, %.1f GB", g.name, g.arch, (double)g.all_bytes / 1e9);
		tell(r, what, found, e.msg);
		gpu_device_close(&g);
	}
}

static void tell_store(struct report *r)
{
	struct strbuf path;
	struct store *s = NULL;
	struct err e;
	strbuf_init(&path);
	bool ok = store_default_path(&path, &e) && store_open(&s, NULL, path.s, STORE_WRITE, &e);
	tell_err(r, "cache", ok ? path.s : NULL, &e);
	store_free(s);
	strbuf_release(&path);
}

int verb_doctor(struct cli *c)
{
	struct report r = {.cli = c};
	struct strbuf linker;
	struct err e = {0};
	strbuf_init(&r.json);
	strbuf_init(&linker);
	tell_cpu(&r);
	tell_err(&r, "code generator", emit_version(&e), &e);
	tell_err(&r, "linker", link_version(&linker, &e) ? linker.s : NULL, &e);
	for (int arch = ARCH_X86_64; arch <= ARCH_AARCH64; arch++) {
		const char *what = arena_printf(c->arena, "runtime %s", link_arch_name((enum target_arch)arch));
		/* only targets of that architecture need it */
		tell(&r, what, link_runtime_folder(c->arena, (enum target_arch)arch, &e), e.msg);
	}
	tell(&r, "runtime for GPUs", link_gpu_runtime_folder(c->arena, &e), e.msg);
	tell_nvrtc(&r);
	tell_cublaslt(&r);
	tell_devices(&r);
	tell_store(&r);
	if (c->json)
		fprintf(c->out, "%s}\n", r.json.s);
	strbuf_release(&linker);
	strbuf_release(&r.json);
	return r.lacking ? EXIT_LACKING : EXIT_OK;
}
