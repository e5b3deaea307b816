/* Behind the generated source: launches its kernels (shim.h). */

static void (*shim_kernel)(struct call);
static struct call shim_call;

static void shim_run_fibre(void)
{
	shim_kernel(shim_call);
	shim_yield(SHIM_DONE);
	abort();
}

static int shim_place(enum shim_order order, int i, int n)
{
	return order == SHIM_FORWARD ? i : order == SHIM_REVERSE ? n - 1 - i : (int)((long long)i * 37 % n);
}

static void shim_start(int thread)
{
	uintptr_t top = (uintptr_t)(shim_stacks + (size_t)(thread + 1) * SHIM_STACK) & ~(uintptr_t)63;
	void **p = (void **)top;
#if defined(__x86_64__)
	*--p = NULL; /* a return address: the stack is as behind a call */
	*--p = (void *)(uintptr_t)shim_run_fibre;
	p -= SHIM_SAVED - 1;
	memset(p, 0, (SHIM_SAVED - 1) * sizeof(*p));
#else
	p -= 20;
	memset(p, 0, 160);
	p[11] = (void *)(uintptr_t)shim_run_fibre; /* x30 */
#endif
	shim_fibre[thread] = (struct shim_fibre){.stack_pointer = p};
}

static int shim_all(int first, int n, enum shim_state state)
{
	for (int i = first; i < first + n; i++)
		if (shim_fibre[i].state != state)
			return 0;
	return 1;
}

static void shim_release(int first, int n, enum shim_state state)
{
	if (shim_all(first, n, state))
		for (int i = first; i < first + n; i++)
			shim_fibre[i].state = SHIM_READY;
}

/* False: threads wait for some that never come. */
static int shim_run_block(enum shim_order order)
{
	for (int i = 0; i < SHIM_THREADS; i++)
		shim_start(i);
	while (!shim_all(0, SHIM_THREADS, SHIM_DONE)) {
		int ran = 0;
		for (int i = 0; i < SHIM_THREADS; i++) {
			int t = shim_place(order, i, SHIM_THREADS);
			if (shim_fibre[t].state != SHIM_READY)
				continue;
			shim_thread = t;
			shim_switch(&shim_main, shim_fibre[t].stack_pointer);
			ran = 1;
		}
		shim_release(0, SHIM_THREADS, SHIM_BLOCK_BARRIER);
		for (int w = 0; w < SHIM_THREADS; w += SHIM_WARP)
			shim_release(w, SHIM_WARP, SHIM_WARP_BARRIER);
		if (!ran && !shim_all(0, SHIM_THREADS, SHIM_DONE)) {
			int stuck = 1;
			for (int i = 0; i < SHIM_THREADS; i++)
				stuck = stuck && shim_fibre[i].state != SHIM_READY;
			if (stuck)
				return 0;
		}
	}
	return 1;
}

/* What a test chooses, and what it asks for afterwards (shim_program.h). */
int shim_chosen_order = SHIM_FORWARD, shim_chosen_blocks = 1;
const char *shim_was_wrong;

void shim_run(void (*kernel)(struct call), const struct call *call, size_t shared_bytes);
void shim_run(void (*kernel)(struct call), const struct call *call, size_t shared_bytes)
{
#ifdef __x86_64__
	unsigned state = __builtin_ia32_stmxcsr();
	__builtin_ia32_ldmxcsr(state | 0x8040); /* denormals are 0, as -ftz=true has it */
#endif
	enum shim_order order = (enum shim_order)shim_chosen_order;
	unsigned char *shared = aligned_alloc(64, (shared_bytes + 127) / 64 * 64);
	shim_stacks = shim_stacks ? shim_stacks : aligned_alloc(64, (size_t)SHIM_THREADS * SHIM_STACK);
	shim_kernel = kernel;
	shim_call = *call;
	shim_shared = shared;
	shim_blocks = shim_chosen_blocks;
	for (int i = 0; i < shim_blocks && !shim_was_wrong; i++) {
		memset(shared, 0xff, shared_bytes);
		shim_block = shim_place(order == SHIM_STRIDED ? SHIM_REVERSE : order, i, shim_blocks);
		if (!shim_run_block(order))
			shim_was_wrong = "threads wait for others that have ended or wait elsewhere";
	}
	free(shared);
#ifdef __x86_64__
	__builtin_ia32_ldmxcsr(state);
#endif
}
