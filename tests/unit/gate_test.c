/* The gate's arithmetic: against hand values, brute force and what must be monotone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gate.h"
#include "test.h"

static double choose(int n, int k)
{
	double c = 1;
	for (int i = 0; i < k; i++)
		c = c * (n - i) / (i + 1);
	return c;
}

TEST(trinomial_tail_is_the_sum_over_all_outcomes)
{
	static const double p[][2] = {{0.1, 0.1}, {0.3, 0.05}, {0, 0.4}, {0.4, 0}, {0.6, 0.4}, {0, 0}, {1, 0}};
	for (int n = 1; n <= 12; n++)
		for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
			for (int t = -n; t <= n; t++) {
				double want = 0, b = p[i][0], c = p[i][1];
				for (int x = 0; x <= n; x++)
					for (int y = 0; x + y <= n; y++)
						if (x - y <= t)
							want += choose(n, x) * choose(n - x, y) * pow(b, x) *
								pow(c, y) * pow(1 - b - c, n - x - y);
				double got = gate_trinomial_tail((uint64_t)n, t, b, c);
				if (!(fabs(got - want) < 1e-12))
					FAIL("n %d, t %d, %g %g: %.17g, not %.17g", n, t, b, c, got, want);
			}
	/* A binomial where the other count cannot happen: 1 - 0.7^10; the sign test's 638 / 1024. */
	CHECK(fabs(gate_trinomial_tail(10, 0, 0.3, 0) - 0.0282475249) < 1e-10);
	CHECK(fabs(gate_trinomial_tail(10, 0, 0.5, 0.5) - 638.0 / 1024) < 1e-12);
	CHECK(fabs(gate_trinomial_tail(100000, 0, 0.05, 0.05) - 0.5) < 0.01);
}

TEST(bound_without_a_won_row_is_clopper_and_pearsons)
{
	/* 1 - 0.05^(1/n); of 3 in 100 and of 5 in 20: tables of exact binomial limits. */
	CHECK(fabs(gate_paired_bound(149, 0, 0, 0.95) - 0.019905) < 1e-6);
	CHECK(fabs(gate_paired_bound(148, 0, 0, 0.95) - 0.020038) < 1e-6);
	CHECK(fabs(gate_paired_bound(100, 3, 0, 0.95) - 0.075711) < 1e-5);
	CHECK(fabs(gate_paired_bound(20, 5, 0, 0.95) - 0.455582) < 1e-5);
	CHECK(fabs(gate_paired_bound(10, 10, 0, 0.95) - 1) < 1e-12);
}

TEST(bound_is_close_to_the_normal_one_in_the_middle)
{
	/* (b - c) / n + z sqrt(b + c - (b - c)^2 / n) / n */
	static const int of[][3] = {{500, 10, 8}, {500, 40, 40}, {2000, 100, 60}, {1000, 20, 60}};
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		double n = of[i][0], b = of[i][1], c = of[i][2];
		double want = (b - c) / n + 1.6448536 * sqrt(b + c - (b - c) * (b - c) / n) / n;
		double got = gate_paired_bound((uint64_t)n, (uint64_t)b, (uint64_t)c, 0.95);
		if (!(fabs(got - want) < 0.2 * (want - (b - c) / n)))
			FAIL("%g %g %g: %g, about %g was expected", n, b, c, got, want);
	}
}

TEST(bound_grows_with_losses_and_confidence_and_shrinks_with_wins)
{
	for (uint64_t lost = 0; lost < 7; lost++)
		for (uint64_t won = 0; won < 7; won++) {
			double bound = gate_paired_bound(60, lost, won, 0.95);
			CHECK(bound > ((double)lost - (double)won) / 60);
			CHECK(bound < gate_paired_bound(60, lost + 1, won, 0.95));
			CHECK(bound < gate_paired_bound(60, lost, won, 0.99));
			CHECK(bound > gate_paired_bound(60, lost, won + 1, 0.95));
		}
}

/* The bound covers the truth as often as it says. */
TEST(bound_covers_the_true_loss)
{
	static const double p[][2] = {{0.02, 0}, {0.05, 0.03}, {0.1, 0.1}, {0.02, 0.06}};
	static double bound[41][41];
	enum { N = 100, DRAWS = 4000 };
	struct rng r;
	rng_init(&r, 3);
	for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++) {
		int missed = 0;
		for (int k = 0; k < DRAWS; k++) {
			int lost = 0, won = 0;
			for (int j = 0; j < N; j++) {
				double u = rng_uniform(&r);
				lost += u < p[i][0];
				won += u >= p[i][0] && u < p[i][0] + p[i][1];
			}
			if (lost > 40 || won > 40)
				continue;
			if (!bound[lost][won])
				bound[lost][won] =
					gate_paired_bound(N, (uint64_t)lost, (uint64_t)won, 0.95);
			missed += bound[lost][won] < p[i][0] - p[i][1];
		}
		if (missed > DRAWS * 0.065)
			FAIL("true loss %g: above the bound in %d of %d draws", p[i][0] - p[i][1], missed,
				DRAWS);
	}
}

/* ---- tables ---- */

struct table {
	struct measured_table t;
	struct measured row[400];
};

static void table_init(struct table *t, uint64_t n, double nll)
{
	memset(t, 0, sizeof(*t));
	t->t = (struct measured_table){.nrow = n, .row = t->row};
	for (uint64_t i = 0; i < n; i++)
		t->row[i] = (struct measured){.row = {1, i}, .digest = {2, i},
			.nll = nll + (double)(i % 7), .tokens = 5, .choice = 1, .gold = 1, .nanswer = 2};
}

static struct verdict judge(const struct gate *g, const struct table *reference,
	const struct table *candidate)
{
	struct verdict v = {0};
	struct err e;
	if (!gate_judge(g, &reference->t, &candidate->t, &v, &e))
		FAIL("%s", e.msg);
	return v;
}

TEST(needed_rows_are_the_first_that_can_pass)
{
	static const double margins[] = {0.005, 0.01, 0.02, 0.05, 0.1, 0.5};
	static const double confidences[] = {0.8, 0.9, 0.95, 0.99};
	for (size_t i = 0; i < 6; i++)
		for (size_t k = 0; k < 4; k++) {
			struct gate g = {GATE_ACCURACY, margins[i], confidences[k], false};
			uint64_t n = gate_rows_needed(&g);
			CHECK(gate_paired_bound(n, 0, 0, g.confidence) < g.margin);
			CHECK(n == 1 || gate_paired_bound(n - 1, 0, 0, g.confidence) >= g.margin);
		}
	CHECK_INT(gate_rows_needed(&(struct gate){GATE_ACCURACY, 0.02, 0.95, false}), 149);
}

TEST(accuracy_counts_discordant_rows)
{
	struct table a, b;
	struct gate g = {GATE_ACCURACY, 0.02, 0.95, false};
	struct strbuf text;
	table_init(&a, 300, 1);
	table_init(&b, 300, 1);
	CHECK(judge(&g, &a, &b).passed);
	for (int i = 0; i < 5; i++)
		b.row[i * 3].choice = 0; /* lost */
	for (int i = 0; i < 2; i++)
		a.row[100 + i].choice = 0; /* won */
	a.row[200].choice = b.row[200].choice = 0; /* wrong twice */
	b.row[201].gold = a.row[201].gold = -1;
	struct verdict v = judge(&g, &a, &b);
	CHECK_INT(v.rows, 299);
	CHECK_INT(v.lost, 5);
	CHECK_INT(v.won, 2);
	CHECK(!v.passed && fabs(v.loss - 3.0 / 299) < 1e-15 && fabs(v.reference - 296.0 / 299) < 1e-15);
	CHECK(fabs(v.candidate - 293.0 / 299) < 1e-15);
	strbuf_init(&text);
	v = (struct verdict){300, 5, 2, 0.75, 0.5, 0.25, INFINITY, false};
	verdict_write(&text, &(struct verdict_names){NULL, NULL}, &g, &v);
	CHECK_STR(text.s, "{\"metric\":\"accuracy\",\"margin\":0.02,\"confidence\":0.95,\"rows\":300,"
		"\"reference\":0.75,\"candidate\":0.5,\"loss\":0.25,\"bound\":null,\"lost\":5,\"won\":2,"
		"\"passed\":false}");
	strbuf_release(&text);
}

TEST(bootstrap_is_paired_and_monotone)
{
	struct table a, b;
	struct rng r;
	table_init(&a, 200, 1);
	struct gate g = {GATE_NLL, 0.05, 0.95, false};
	/* Equal losses leave nothing to chance, however much the rows differ. */
	table_init(&b, 200, 1.1);
	struct verdict v = judge(&g, &a, &b);
	CHECK(fabs(v.loss - 0.02) < 1e-12 && fabs(v.bound - 0.02) < 1e-12 && v.passed);
	double before = -1;
	for (int i = 0; i < 4; i++) { /* more noise, more doubt */
		rng_init(&r, 5);
		table_init(&b, 200, 1.1);
		for (int k = 0; k < 200; k++)
			b.row[k].nll += 0.3 * i * (rng_uniform(&r) - 0.5);
		v = judge(&g, &a, &b);
		CHECK(v.bound - v.loss > before);
		before = v.bound - v.loss;
	}
	/* The mean of 200 draws, uniform of width 0.9, over 5 tokens: 1.645 * 0.9 / sqrt(12) / sqrt(200) / 5 */
	CHECK(fabs(before - 0.006043) < 0.0006);
	before = -1;
	for (int i = 1; i < 9; i++) {
		struct verdict w = judge(&(struct gate){GATE_NLL, 0.05, 0.5 + 0.06 * i, false}, &a, &b);
		CHECK(w.bound >= before);
		before = w.bound;
	}
	struct verdict again = judge(&g, &a, &b);
	CHECK(again.bound == v.bound);
	g.metric = GATE_PERPLEXITY;
	CHECK(fabs(judge(&g, &a, &b).reference - exp(v.reference)) < 1e-9);
}

/* Where every row loses a tenth of its nll, a share leaves nothing to chance, however much the rows differ. */
TEST(relative_margins_resample_the_ratio)
{
	struct table a, b;
	struct rng r;
	struct strbuf text;
	struct gate g = {GATE_NLL, 0.11, 0.95, true};
	rng_init(&r, 9);
	table_init(&a, 200, 1);
	table_init(&b, 200, 1);
	for (int k = 0; k < 200; k++) {
		a.row[k].nll = 1 + rng_uniform(&r);
		b.row[k].nll = 1.1 * a.row[k].nll;
	}
	struct verdict v = judge(&g, &a, &b);
	CHECK(fabs(v.loss - 0.1) < 1e-12 && fabs(v.bound - 0.1) < 1e-12 && v.passed);
	g.margin = 0.09;
	CHECK(!judge(&g, &a, &b).passed);
	g.relative = false;
	v = judge(&g, &a, &b);
	CHECK(v.bound > v.loss + 1e-4 && fabs(v.loss - 0.1 * v.reference) < 1e-12);
	g.metric = GATE_PERPLEXITY;
	g.relative = true;
	v = judge(&g, &a, &b);
	CHECK(fabs(v.loss - (v.candidate / v.reference - 1)) < 1e-12);
	strbuf_init(&text);
	v = (struct verdict){300, 0, 0, 2, 2.5, 0.25, 0.5, false};
	verdict_write(&text, &(struct verdict_names){"rows", "full"}, &g, &v);
	CHECK_STR(text.s, "{\"dataset\":\"rows\",\"target\":\"full\",\"metric\":\"perplexity\",\"margin\":0.09,"
		"\"relative\":true,\"confidence\":0.95,\"rows\":300,\"reference\":2,\"candidate\":2.5,\"loss\":0.25,"
		"\"bound\":0.5,\"passed\":false}");
	strbuf_release(&text);
}

TEST(windows_are_one_document_and_few_documents_prove_nothing)
{
	struct table a, b;
	struct gate g = {GATE_NLL, 1, 0.95, false};
	table_init(&a, 190, 1);
	for (int i = 0; i < 190; i++) {
		a.row[i].choice = -1;
		a.row[i].row.lo = (uint64_t)i / 10;
	}
	b = a;
	b.t.row = b.row;
	struct verdict v = judge(&g, &a, &b);
	CHECK_INT(v.rows, GATE_MIN_ROWS - 1);
	CHECK(!v.passed && isinf(v.bound) && v.loss == 0);
	a.row[189].row.lo = b.row[189].row.lo = 77;
	CHECK(judge(&g, &a, &b).passed);
}

TEST(tables_of_other_rows_are_no_pair)
{
	struct table a, b;
	struct gate g = {GATE_NLL, 1, 0.95, false};
	struct verdict v;
	struct err e;
	table_init(&a, 30, 1);
	table_init(&b, 30, 1);
	b.row[7].digest.hi++;
	CHECK(!gate_judge(&g, &a.t, &b.t, &v, &e) && e.kind == ERR_IO);
	b.row[7].digest.hi--;
	b.t.nrow--;
	CHECK(!gate_judge(&g, &a.t, &b.t, &v, &e));
	b.t.nrow++;
	for (int i = 0; i < 30; i++) {
		a.row[i].gold = b.row[i].gold = -1;
		a.row[i].tokens = b.row[i].tokens = 0;
	}
	CHECK(!gate_judge(&g, &a.t, &b.t, &v, &e) && e.kind == ERR_SPEC);
	g.metric = GATE_ACCURACY;
	CHECK(!gate_judge(&g, &a.t, &b.t, &v, &e) && e.kind == ERR_SPEC);
}
