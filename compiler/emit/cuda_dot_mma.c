/* Dots on tensor cores: which of the two ways a call goes. Bits are the same either way. */
#include "cuda_dot_wgmma.h"
#include "cuda_operand.h"

/*
 * Blocks go through their items in rounds. A round of few tokens multiplies 32 by 32, from memory or its cache all the way, and one of
 * many 128 by 128, with operands that 8 warps share: of the latter a multiprocessor does some 3.5 times as many products in a
 * time, so a round of many takes as long as 4.5 of few; by wgmma 3.5.
 */
enum { FEW_ROUNDS = 2, MANY_ROUNDS = 9, WGMMA_ROUNDS = 7 };

void cuda_dot_mma(struct cuda_fn *f, const struct cuda_dots *d)
{
	bool few = true, many = !d->few_rows, wide = many && cuda_wgmma_fits(f, d);
	for (int i = 0; i < d->ndot; i++)
		few = few && dot_static_inner(f->g, &d->dot[i]);
	many = many || !few;
	int64_t of_few = few ? cuda_few_shared(d) : 0, of_many = many ? cuda_many_shared(f, d) : 0;
	f->shared_bytes = of_few > of_many ? of_few : of_many;
	cuda_line(f, "const i64 nm = %s;", cuda_extents(f, &d->dot[0].m, 0, d->dot[0].m.naxis));
	cuda_line(f, "const int warp = THREAD / 32, g = THREAD %% 32 / 4, t = THREAD %% 4;");
	if (few && many) {
		cuda_line(f, "const i64 one = (%s + blocks - 1) / blocks * %d, other = (%s + blocks - 1) / blocks * %s;", cuda_few_items(f, d),
			FEW_ROUNDS, cuda_many_items(f, d), wide ? cuda_text(f, "(WGMMA ? %d : %d)", WGMMA_ROUNDS, MANY_ROUNDS)
			: cuda_text(f, "%d", MANY_ROUNDS));
		cuda_open(f, "if (one <= other)");
		cuda_dot_few(f, d);
		cuda_line(f, "return;");
		cuda_close(f);
	} else if (few) {
		cuda_dot_few(f, d);
	}
	if (wide) {
		int64_t bytes = cuda_wgmma_shared(f, d);
		f->shared_bytes_90 = bytes > f->shared_bytes ? bytes : 0;
		cuda_open(f, "if (WGMMA)");
		cuda_dot_wgmma(f, d);
		cuda_line(f, "return;");
		cuda_close(f);
	}
	if (many)
		cuda_dot_many(f, d);
}
