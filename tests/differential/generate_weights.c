/* generate_weights.c: a matrix product by weights of few bits, with scales and perhaps zeros for each column, or for
 * blocks of the inner axis too. */
#include "tests/differential/generate.h"

static struct value *random_const(struct generator *g, enum dtype t, int rank, const dim *dims)
{
	struct tensor data = {.kind = TENSOR_RANDOM, .seed = (uint64_t)draw_below(g, 100)};
	struct type type = type_make(t, rank, dims);

	return add_const(&g->b, &type, &data);
}

bool inexact_weights(struct generator *g, struct item x)
{
	static const enum dtype types[] = {DT_I8, DT_U8, DT_I4, DT_U4};
	static const enum dtype scales[] = {DT_F32, DT_BF16, DT_F16};
	bool blocks = draw_one_in(g, 2), zeros = draw_one_in(g, 2);
	enum dtype t = types[draw_below(g, 4)];
	dim count = constant(g, 1 + draw_below(g, 4)),
	    length = constant(g, 8 * (1 + draw_below(g, 4))),
	    columns = constant(g, 8 + draw_size(g)), inner = constant(g, 2 + draw_below(g, 60)),
	    q[3] = {count, length, columns}, s[3] = {count, constant(g, 1), columns}, a[2], w[2];
	struct value *in[3], *weight;
	struct node *n;

	if (blocks)
		inner = constant(g, count->value * length->value);
	a[0] = x.v->type.dims[0];
	a[1] = w[0] = inner;
	w[1] = columns;
	in[0] = blocks ? random_const(g, t, 3, q) : random_const(g, t, 2, w);
	in[1] = random_const(g, scales[draw_below(g, 3)], blocks ? 3 : 1, blocks ? s : &columns);
	in[2] = zeros ? random_const(g, t, blocks ? 3 : 1, blocks ? s : &columns) : NULL;
	weight = add_map_text(
		&g->b, zeros ? "(a, b, c) -> f32(i32(a) - i32(c)) * b" : "(a, b) -> f32(a) * b",
		DT_F32, zeros ? 3 : 2, in, 0, NULL);
	weight = blocks && weight ? add_reshape(&g->b, weight, 2, w) : weight;
	in[0] = add_input(g, DT_F32, 2, a, -1).v;
	in[1] = weight;
	if (!in[0] || !in[1])
		return false;
	n = graph_add(&g->b, &(struct node_spec){.op = OP_matmul, .in_count = 2, .in = in});
	return n && keep(g, n->out[0], 1);
}
