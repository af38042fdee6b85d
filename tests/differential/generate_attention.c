/* generate_attention.c: attention over fresh inputs: heads that share keys, masks of all kinds of broadcast,
 * causal and windowed scores, lengths that are symbols. */
#include "tests/differential/generate.h"

#include <math.h>

/* A length: a symbol of the case, if there is one, or a number. */
static dim draw_length(struct generator *g)
{
	int count = g->graph->dims.symbol_count;

	if (count && draw_one_in(g, 2)) {
		int s = draw_below(g, count);

		if (g->graph->dims.symbols[s].binding == SYMBOL_INPUT)
			return dim_symbol(&g->graph->dims, s);
	}
	return constant(g, draw_one_in(g, 4) ? 1 : draw_size(g) * (1 + draw_below(g, 3)));
}

/* j <= i + a, perhaps also j > i + a - w; a is enough that no query is left without a key. */
static const struct expr *draw_condition(struct generator *g)
{
	struct expr_pool *p = &g->graph->exprs;
	const struct expr *i = expr_param(p, DT_I64, 1), *j = expr_param(p, DT_I64, 2);
	int ahead = draw_below(g, 20);
	const struct expr *most = expr_binary(p, EXPR_ADD, i, expr_index(p, ahead));
	const struct expr *c = draw_one_in(g, 2) ? expr_binary(p, EXPR_LE, j, most)
						 : expr_binary(p, EXPR_GE, most, j);

	if (draw_one_in(g, 2))
		return c;
	most = expr_binary(p, EXPR_SUB, i, expr_index(p, draw_below(g, 20)));
	return expr_binary(p, EXPR_AND, c, expr_binary(p, EXPR_LT, most, j));
}

/* Adds a mask that is broadcast along some axes, to the scores or as a choice. */
static const struct expr *draw_mask(struct generator *g, const struct expr *s, const dim *dims,
				    struct value **in)
{
	struct expr_pool *p = &g->graph->exprs;
	int rank = draw_below(g, 5);
	bool choice = draw_one_in(g, 3);
	dim own[4];
	const struct expr *m;

	for (int i = 0; i < rank; i++)
		own[i] = draw_one_in(g, 2) ? dims[4 - rank + i] : constant(g, 1);
	*in = add_input(g, choice ? DT_BOOL : DT_F32, rank, own, -1).v;
	if (!*in)
		return NULL;
	m = expr_param(p, choice ? DT_BOOL : DT_F32, 3);
	return choice ? expr_select(p, m, s, expr_real(p, DT_F32, -1000))
		      : expr_binary(p, EXPR_ADD, s, m);
}

bool inexact_attention(struct generator *g, struct item x)
{
	struct expr_pool *p = &g->graph->exprs;
	int group = 1 + draw_below(g, 3);
	dim batch = constant(g, 1 + draw_below(g, 2)), t = draw_length(g), s = draw_length(g),
	    keys = constant(g, 1 + draw_below(g, 2)),
	    heads = dim_mul(&g->graph->dims, keys, constant(g, group)),
	    depth = constant(g, 1 + draw_below(g, 40)), width = constant(g, 1 + draw_below(g, 40));
	dim q[4] = {batch, t, heads, depth}, k[4] = {batch, s, keys, depth},
	    v[4] = {batch, s, keys, width}, scores[4] = {batch, heads, t, s};
	struct value *in[4] = {add_input(g, DT_F32, 4, q, -1).v, add_input(g, DT_F32, 4, k, -1).v,
			       add_input(g, DT_F32, 4, v, -1).v, NULL};
	const struct expr *e =
		expr_binary(p, EXPR_MUL, expr_real(p, DT_F32, 0.25), expr_param(p, DT_F32, 0));
	struct node *n;

	(void)x;
	if (draw_one_in(g, 2))
		e = draw_mask(g, e, scores, &in[3]);
	if (draw_one_in(g, 2) && e)
		e = expr_select(p, draw_condition(g), e, expr_real(p, DT_F32, -INFINITY));
	if (!in[0] || !in[1] || !in[2] || !e ||
	    (double)size_of(g, t) * (double)size_of(g, s) > 4000)
		return false;
	/* a score is off by (depth + 8) eps of its terms, at most depth * 0.25 * 4: a weight by twice that, relative;
	 * values are up to 2 */
	g->judge = JUDGE_ABS;
	g->tolerance = 0x1p-23 * 2 *
		       (2 * ((double)depth->value + 8) * (double)depth->value +
			(double)size_of(g, s) + 16);
	n = graph_add(&g->b,
		      &(struct node_spec){
			      .op = OP_attention, .in_count = in[3] ? 4 : 3, .in = in, .expr = e});
	return n && keep(g, n->out[0], 1);
}
