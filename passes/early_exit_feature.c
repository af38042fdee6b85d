/* early_exit_feature.c: what a fitted head reads at a cut: the model's own norm and pooling, or means over positions. */
#include "passes/early_exit.h"

#include <string.h>

static int position_of(const struct exits *x, const struct node *n)
{
	for (int i = 0; i < x->node_count; i++)
		if (x->nodes[i] == n)
			return i;
	return -1;
}

/* What the contraction that makes the logits reads. */
static struct value *model_feature(const struct exits *x)
{
	for (int i = x->node_count - 1; i >= 0; i--)
		if (x->nodes[i]->op == OP_matmul)
			return x->nodes[i]->in[0];
	return NULL;
}

/* The model's own norm and pooling, applied to h instead of the value after the last block. NULL: not possible. */
static struct value *own_feature(const struct exits *x, struct builder *b, const struct cut *cut,
				 struct value *h, dim symbol, struct value **map)
{
	struct value **mine = ARENA_ARRAY(x->c->scratch, struct value *, x->value_count + 1);
	int start = position_of(x, cut->last->def), end;
	struct value *feature = model_feature(x);

	end = feature && feature->def ? position_of(x, feature->def) : -1;
	if (start < 0 || end <= start || feature->type.rank != 2)
		return NULL;
	memcpy(mine, map, (size_t)x->value_count * sizeof(*mine));
	mine[cut->last->id] = h;
	for (int i = start + 1; i <= end; i++) {
		const struct node *n = x->nodes[i];

		if ((exits_is_batched(x, n->out[0]) || x->batch->kind != DIM_SYMBOL) &&
		    n->op != OP_const && !exits_copy(x, b, n, symbol, mine))
			return NULL;
	}
	return mine[feature->id];
}

/* The axis of channels of [N,..]: the last; of an image that is turned to channels-last when it is read, 1. */
static int channel_axis(const struct exits *x, const struct value *h)
{
	for (int i = 0; h->type.rank == 4 && i < x->node_count; i++) {
		const struct node *n = x->nodes[i];

		if (n->in_count && n->in[0] == h && n->op == OP_transpose &&
		    ATTRS_OF(transpose, n)->perm.at[3] == 1)
			return 1;
	}
	return h->type.rank - 1;
}

/* Means over positions, and for tokens [N,T,D] also the first one's values: [N,D] or [N,2D]. */
static struct value *mean_feature(const struct exits *x, struct builder *b, const struct cut *cut,
				  struct value *h)
{
	struct dim_pool *p = &x->c->graph->dims;
	int channels = channel_axis(x, cut->value), rank = h->type.rank, count = 0;
	int64_t axes[HONE_MAX_RANK];
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK],
		flat[2] = {h->type.dims[0], h->type.dims[channels]};
	dim length = dim_const(p, 1);
	struct value *in[2], *parts[2];

	if (rank == 2)
		return h;
	for (int i = 0; i < rank; i++) {
		at[i] = dim_const(p, 0);
		size[i] = i == 0 || i == channels ? h->type.dims[i] : dim_const(p, 1);
		if (i == 0 || i == channels)
			continue;
		axes[count++] = i;
		length = dim_mul(p, length, h->type.dims[i]);
	}
	in[0] = add_reduce(b, REDUCE_SUM, h, count, axes, false);
	in[1] = add_cast(b, add_shape(b, 1, &length), DT_F32);
	parts[0] = add_map_text(b, "(a, n) -> a / n", DT_NONE, 2, in, 0, NULL);
	if (rank != 3)
		return parts[0];
	parts[1] = add_reshape(b, add_slice(b, h, at, size, NULL), 2, flat);
	return add_concat(b, 1, 2, parts);
}

/* Heads are fitted to f32, also where the model rounds what it multiplies. */
static struct value *as_f32(struct builder *b, struct value *v)
{
	return v->type.dtype == DT_F32 ? v : add_cast(b, v, DT_F32);
}

struct value *exits_feature(const struct exits *x, struct builder *b, const struct cut *cut,
			    struct value *h, dim symbol, struct value **map)
{
	struct value *v = cut->last ? own_feature(x, b, cut, h, symbol, map)
				    : mean_feature(x, b, cut, as_f32(b, h));

	return v ? as_f32(b, v) : NULL;
}
