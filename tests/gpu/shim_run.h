/* Behind the generated source: launches its kernels (shim.h). */

static void (*shim_kernel)(struct call);
static struct call shim_call;
static void (*shim_kernel_all)(struct call_all);
static struct call_all shim_call_all;

static void shim_run_fibre(void)
{
	if (shim_kernel)
		shim_kernel(shim_call);
	else
		shim_kernel_all(shim_call_all);
	shim_yield(SHIM_DONE);
	abort();
}

static int shim_place(enum shim_order order, int i, int n)
{
	return order == SHIM_FORWARD ? i : order == SHIM_REVERSE ? n - 1 - i : (int)((long long)i * 37 % n);
}

static void shim_start(int fibre)
{
	uintptr_t top = (uintptr_t)(shim_stacks + (size_t)(fibre + 1) * SHIM_STACK) & ~(uintptr_t)63;
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
	shim_fibre[fibre] = (struct shim_fibre){.stack_pointer = p};
	shim_copies[fibre].n = shim_copies[fibre].group = 0;
	shim_products[fibre].n = shim_products[fibre].group = 0;
}

static int shim_all(int first, int n, enum shim_state state)
{
	for (int i = first; i < first + n; i++)
		if (shim_fibre[i].state != state)
			return 0;
	return 1;
}

/* Whether there were any to let go. */
static int shim_release(int first, int n, enum shim_state state)
{
	if (!shim_all(first, n, state))
		return 0;
	for (int i = first; i < first + n; i++)
		shim_fibre[i].state = SHIM_READY;
	return 1;
}

/* Blocks first to first + n - 1 side by side, each with its part of `shared`. False: threads wait for some that never
 * come. */
static int shim_run_blocks(enum shim_order order, int first, int n, unsigned char *shared, size_t shared_bytes)
{
	int nfibre = n * SHIM_THREADS, idle = 0; /* turns in which nobody did more than ask again */
	for (int i = 0; i < nfibre; i++)
		shim_start(i);
	while (!shim_all(0, nfibre, SHIM_DONE)) {
		int went = 0;
		for (int i = 0; i < nfibre; i++) {
			int f = shim_place(order, i, nfibre);
			if (shim_fibre[f].state != SHIM_READY)
				continue;
			shim_me = f;
			shim_thread = f % SHIM_THREADS;
			shim_block = first + f / SHIM_THREADS;
			shim_shared = shared + (size_t)(f / SHIM_THREADS) * shared_bytes;
			shim_switch(&shim_main, shim_fibre[f].stack_pointer);
			went |= shim_fibre[f].state != SHIM_POLLS;
			if (order == SHIM_REVERSE && f % SHIM_WARP == 0 && shim_release(f, SHIM_WARP, SHIM_WARP_BARRIER))
				i -= SHIM_WARP;
		}
		for (int b = 0; b < nfibre; b += SHIM_THREADS)
			went |= shim_release(b, SHIM_THREADS, SHIM_BLOCK_BARRIER);
		for (int w = 0; w < nfibre; w += SHIM_WARP)
			went |= shim_release(w, SHIM_WARP, SHIM_WARP_BARRIER);
		for (int i = 0; i < nfibre; i++)
			if (shim_fibre[i].state == SHIM_POLLS)
				shim_fibre[i].state = SHIM_READY;
		idle = went ? 0 : idle + 1;
		if (idle > 1)
			return 0;
	}
	return 1;
}

/* What a test chooses, and what it asks for afterwards (shim_program.h). */
int shim_chosen_order = SHIM_FORWARD, shim_chosen_blocks = 1;
const char *shim_was_wrong;

/* When the library is closed. */
__attribute__((destructor)) static void shim_free(void)
{
	free(shim_stacks);
}

static void shim_run_kernel(int together, size_t shared_bytes)
{
#ifdef __x86_64__
	unsigned state = __builtin_ia32_stmxcsr();
	__builtin_ia32_ldmxcsr(state | 0x8040); /* denormals are 0, as -ftz=true has it */
#endif
	enum shim_order order = (enum shim_order)shim_chosen_order;
	size_t each = (shared_bytes + 127) / 64 * 64;
	shim_copies_wait = order == SHIM_STRIDED;
	shim_wgmma_is_used = order != SHIM_FORWARD;
	unsigned char *shared = aligned_alloc(64, each * (size_t)together);
	shim_stacks = shim_stacks ? shim_stacks : aligned_alloc(64, (size_t)SHIM_THREADS * SHIM_BLOCKS * SHIM_STACK);
	for (int i = 0; i < shim_blocks && !shim_was_wrong; i += together) {
		memset(shared, 0xff, each * (size_t)together);
		int block = shim_place(order == SHIM_STRIDED ? SHIM_REVERSE : order, i, shim_blocks);
		if (!shim_run_blocks(order, together > 1 ? 0 : block, together, shared, each))
			shim_was_wrong = "threads wait for others that have ended or wait elsewhere";
	}
	free(shared);
#ifdef __x86_64__
	__builtin_ia32_ldmxcsr(state);
#endif
}

void shim_run(void (*kernel)(struct call), const struct call *call, size_t shared_bytes);
void shim_run(void (*kernel)(struct call), const struct call *call, size_t shared_bytes)
{
	shim_kernel = kernel;
	shim_call = *call;
	shim_blocks = shim_chosen_blocks;
	shim_run_kernel(1, shared_bytes);
}

void shim_run_all(void (*kernel)(struct call_all), const struct call_all *call, size_t shared_bytes);
void shim_run_all(void (*kernel)(struct call_all), const struct call_all *call, size_t shared_bytes)
{
	shim_kernel = NULL;
	shim_kernel_all = kernel;
	shim_call_all = *call;
	shim_blocks = shim_chosen_blocks < SHIM_BLOCKS ? shim_chosen_blocks : SHIM_BLOCKS;
	shim_run_kernel(shim_blocks, shared_bytes);
}
