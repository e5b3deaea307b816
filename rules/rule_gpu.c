/*
 * The programs "step" of a shape, for many rows and for few, as code for one GPU architecture. The table of what is
 * launched is the same for every architecture.
 */
#include "cuda.h"
#include "nvrtc.h"
#include "rules.h"

void gpu_step_plans(struct arena *a, const struct forward *f, const struct graph *plan[GPU_PLANS])
{
	struct forward many = *f, few = *f;
	many.max_rows = f->slots < GPU_ROWS ? (int)f->slots : GPU_ROWS;
	many.max_out = many.max_rows < GPU_OUTS ? many.max_rows : GPU_OUTS;
	few.max_rows = few.max_out = GPU_FEW_ROWS;
	plan[0] = graph_plan_gpu(a, forward_step(a, &many));
	plan[1] = graph_plan_gpu(a, forward_step(a, &few));
}

static bool run_gpu(struct rule_call *c, struct err *e)
{
	struct state s;
	enum numerics numerics;
	struct strbuf table, cubin, ptx;
	const struct fields *param = call_params(c);
	if (!rule_numerics(c, &numerics, e) || !rule_state(c, "shape", &s, e))
		return false;
	int64_t context = fields_int(param, "context");
	int arch = (int)fields_int(param, "arch");
	struct forward f = {.config = &s.config, .has_attn = s.has_attn, .has_mlp = s.has_mlp, .numerics = numerics,
		.slots = context ? context : s.config.context};
	const struct graph *plan[GPU_PLANS];
	gpu_step_plans(call_arena(c), &f, plan);
	struct cuda_source source = cuda_emit(call_arena(c), plan, GPU_PLANS);
	strbuf_init(&table);
	strbuf_init(&cubin);
	strbuf_init(&ptx);
	gpu_code_write(&table, source.program, (size_t)source.nprogram);
	bool ok = nvrtc_compile(source.text, arch, &cubin, e) && nvrtc_compile_ptx(source.text, arch, &ptx, e) &&
		call_output(c, GPU_TABLE, strbuf_buf(&table), e) && call_output(c, GPU_CUBIN, strbuf_buf(&cubin), e) &&
		call_output(c, GPU_PTX, strbuf_buf(&ptx), e);
	strbuf_release(&table);
	strbuf_release(&cubin);
	strbuf_release(&ptx);
	return ok;
}

static const char *const outputs[] = {[GPU_TABLE] = "table", [GPU_CUBIN] = "cubin", [GPU_PTX] = "ptx", NULL};
const struct rule rule_gpu = {"gpu", 2, outputs, NULL, run_gpu, rule_numerics_tools, NULL};
