/* prune_ties.c: what each operator ties, and what it needs as it is; reshape is in prune_axes.c. */
#include "passes/prune_axes.h"

static void tie_map(struct prune *p, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		prune_tie_broadcast(p, n->in[i], n->out[0], 0);
}

static void tie_matmul(struct prune *p, const struct node *n)
{
	const struct value *a = n->in[0], *w = n->in[1], *y = n->out[0];
	int ra = a->type.rank, rw = w->type.rank, ry = y->type.rank;
	bool weights = value_const(w) != NULL;

	for (int i = 0; i < ry - 2; i++) {
		int ia = i - (ry - ra), iw = i - (ry - rw);

		if (ia >= 0 && !dim_is(a->type.dims[ia], 1))
			prune_tie_axes(p, a, ia, y, i);
		if (iw >= 0 && !dim_is(w->type.dims[iw], 1))
			prune_tie_axes(p, w, iw, y, i);
		if (!weights && ia >= 0 && iw >= 0)
			prune_flag_axis(p, y, i, AXIS_HEAD);
	}
	prune_tie_axes(p, a, ra - 2, y, ry - 2);
	prune_tie_axes(p, w, rw - 1, y, ry - 1);
	prune_tie_axes(p, a, ra - 1, w, rw - 2);
	if (weights)
		prune_flag_axis(p, a, ra - 1, AXIS_SUMMED);
}

/* Groups of a grouped convolution go as a whole: all their inputs and outputs. */
static void tie_conv_groups(struct prune *p, const struct node *n, int groups)
{
	const struct value *x = n->in[0], *y = n->out[0];
	int r = x->type.rank, cx = prune_first(p, x, r - 1), cy = prune_first(p, y, r - 1);
	int i = prune_axis_number(p, x, r - 1), j = prune_axis_number(p, y, r - 1);

	if (i < 0 || j < 0) {
		prune_fix_axis(p, x, r - 1);
		prune_fix_axis(p, y, r - 1);
		return;
	}
	for (int g = 0; g < groups; g++) {
		int in = p->axes[i].size / groups, out = p->axes[j].size / groups;

		for (int k = 0; k < in; k++)
			prune_tie(p, cx + g * in + k, cx + g * in);
		for (int k = 0; k < out; k++)
			prune_tie(p, cy + g * out + k, cx + g * in);
	}
}

static void tie_conv(struct prune *p, const struct node *n)
{
	const struct value *x = n->in[0], *w = n->in[1], *y = n->out[0];
	int r = x->type.rank, groups = (int)ATTRS_OF(conv, n)->group;

	prune_tie_axes(p, x, 0, y, 0);
	for (int i = 1; i < r - 1; i++) {
		prune_fix_axis(p, x, i);
		prune_fix_axis(p, w, i - 1);
		prune_fix_axis(p, y, i);
	}
	prune_tie_axes(p, w, r - 1, y, r - 1);
	prune_flag_axis(p, y, r - 1, AXIS_CONV);
	prune_flag_axis(p, x, r - 1, AXIS_CONV);
	if (groups > 1) {
		prune_fix_axis(p, w, r - 2);
		tie_conv_groups(p, n, groups);
		return;
	}
	prune_tie_axes(p, x, r - 1, w, r - 2);
	if (value_const(w))
		prune_flag_axis(p, x, r - 1, AXIS_SUMMED);
}

/* Heads of q by those of k: each k head goes with all q heads that read it. */
static void tie_attention_heads(struct prune *p, const struct node *n)
{
	const struct value *q = n->in[0], *k = n->in[1], *v = n->in[2], *y = n->out[0];
	int i = prune_axis_number(p, q, 2), j = prune_axis_number(p, k, 2), share;

	prune_tie_axes(p, q, 2, y, 2);
	prune_tie_axes(p, k, 2, v, 2);
	prune_flag_axis(p, q, 2, AXIS_HEAD);
	if (dim_is(k->type.dims[2], 1))
		return; /* all q heads read the only one */
	if (i < 0 || j < 0) {
		prune_fix_axis(p, q, 2);
		prune_fix_axis(p, k, 2);
		return;
	}
	share = p->axes[i].size / p->axes[j].size;
	for (int h = 0; h < p->axes[i].size; h++)
		prune_tie(p, p->axes[i].first + h, p->axes[j].first + h / share);
}

static void tie_attention(struct prune *p, const struct node *n)
{
	static const int score[4] = {0, 2, 1, -1}; /* axes of y under [B,H,T,S] */
	const struct value *q = n->in[0], *k = n->in[1], *v = n->in[2], *y = n->out[0];

	prune_tie_axes(p, q, 0, y, 0);
	prune_tie_axes(p, k, 0, y, 0);
	prune_tie_axes(p, v, 0, y, 0);
	prune_tie_axes(p, q, 1, y, 1);
	prune_tie_axes(p, q, 3, k, 3);
	prune_tie_axes(p, v, 3, y, 3);
	prune_flag_axis(p, q, 3, AXIS_HEAD);
	prune_flag_axis(p, v, 3, AXIS_HEAD);
	for (int i = 0; i < 3; i++)
		prune_fix_axis(p, n->in[i], 1);
	tie_attention_heads(p, n);
	for (int i = 3; i < n->in_count; i++)
		for (int a = 0, r = n->in[i]->type.rank; a < r; a++) {
			int to = score[4 - r + a];

			if (dim_is(n->in[i]->type.dims[a], 1))
				continue;
			if (to < 0)
				prune_fix_axis(p, n->in[i], a);
			else
				prune_tie_axes(p, n->in[i], a, y, to);
		}
}

static void tie_pool(struct prune *p, const struct node *n)
{
	int r = n->out[0]->type.rank;

	prune_tie_axes(p, n->in[0], 0, n->out[0], 0);
	prune_tie_axes(p, n->in[0], r - 1, n->out[0], r - 1);
	for (int i = 1; i < r - 1; i++) {
		prune_fix_axis(p, n->in[0], i);
		prune_fix_axis(p, n->out[0], i);
	}
}

static void tie_normalize(struct prune *p, const struct node *n)
{
	const struct ints *axes = &ATTRS_OF(normalize, n)->axes;

	for (int i = 0; i < n->in_count; i++)
		if (n->in[i])
			prune_tie_broadcast(p, n->in[i], n->out[0], 0);
	for (int i = 0; i < axes->count; i++)
		prune_fix_axis(p, n->out[0], (int)axes->at[i]);
}

/* What is along `axis` of the operand stays; the other axes pass through. */
static void tie_except(struct prune *p, const struct node *n, int axis)
{
	for (int i = 0; i < n->in[0]->type.rank; i++)
		prune_tie_axes(p, n->in[0], i, n->out[0], i);
	prune_fix_axis(p, n->in[0], axis);
}

static void tie_reduce(struct prune *p, const struct node *n, const int *axes, int count, bool keep)
{
	for (int i = 0, to = 0; i < n->in[0]->type.rank; i++) {
		bool reduced = false;

		for (int k = 0; k < count; k++)
			reduced = reduced || axes[k] == i;
		if (reduced)
			prune_fix_axis(p, n->in[0], i);
		else
			prune_tie_axes(p, n->in[0], i, n->out[0], to);
		to += !reduced || keep;
	}
}

static void tie_transpose(struct prune *p, const struct node *n)
{
	for (int i = 0; i < n->out[0]->type.rank; i++)
		prune_tie_axes(p, n->in[0], (int)ATTRS_OF(transpose, n)->perm.at[i], n->out[0], i);
}

static void tie_slice(struct prune *p, const struct node *n)
{
	const struct attrs_slice *a = ATTRS_OF(slice, n);
	const struct value *x = n->in[0], *y = n->out[0];

	for (int i = 0; i < x->type.rank; i++) {
		if (x->type.dims[i] == y->type.dims[i] && slice_step(n, i) == 1) {
			prune_tie_axes(p, x, i, y, i);
		} else if (dim_is_const(a->at.at[i]) && dim_is_const(y->type.dims[i]) &&
			   y->type.dims[i]->value > 1 && slice_step(n, i) == 1) {
			prune_tie_range(p, x, i, (int)a->at.at[i]->value, y, i, 0,
					(int)y->type.dims[i]->value);
		} else {
			prune_fix_axis(p, x, i);
			prune_fix_axis(p, y, i);
		}
	}
}

static void tie_pad(struct prune *p, const struct node *n)
{
	const struct attrs_pad *a = ATTRS_OF(pad, n);
	const struct value *x = n->in[0], *y = n->out[0];

	if (n->in_count > 1)
		prune_fix(p, n->in[1]);
	for (int i = 0; i < x->type.rank; i++) {
		if (dim_is(a->lo.at[i], 0) && dim_is(a->hi.at[i], 0)) {
			prune_tie_axes(p, x, i, y, i);
		} else if (!a->kind && dim_is_const(a->lo.at[i]) && dim_is_const(a->hi.at[i]) &&
			   a->lo.at[i]->value >= 0 && a->hi.at[i]->value >= 0 &&
			   prune_axis_number(p, x, i) >= 0) {
			prune_tie_range(p, x, i, 0, y, i, (int)a->lo.at[i]->value,
					(int)x->type.dims[i]->value);
		} else {
			prune_fix_axis(p, x, i);
			prune_fix_axis(p, y, i);
		}
	}
}

static void tie_concat(struct prune *p, const struct node *n)
{
	const struct value *y = n->out[0];
	int axis = (int)ATTRS_OF(concat, n)->axis, first = prune_first(p, y, axis), at = 0;

	for (int i = 0; i < n->in_count; i++) {
		const struct value *x = n->in[i];

		for (int k = 0; k < y->type.rank; k++)
			if (k != axis)
				prune_tie_axes(p, x, k, y, k);
		if (first < 0) {
			prune_fix_axis(p, x, axis);
			continue;
		}
		if (x->type.dims[axis]->value > 1)
			prune_tie_range(p, x, axis, 0, y, axis, at, (int)x->type.dims[axis]->value);
		else if (x->type.dims[axis]->value ==
			 1) /* such an axis has no elements: it stays */
			prune_fix_element(p, first + at);
		at += (int)x->type.dims[axis]->value;
	}
}

static void tie_gather(struct prune *p, const struct node *n)
{
	const struct attrs_gather *a = ATTRS_OF(gather, n);
	const struct value *x = n->in[0], *y = n->out[0];
	int axis = (int)a->axis, wider = y->type.rank - x->type.rank;

	prune_fix(p, n->in[1]);
	if (a->kind || a->batch) {
		prune_fix(p, x);
		prune_fix(p, y);
		return;
	}
	for (int i = 0; i < axis; i++)
		prune_tie_axes(p, x, i, y, i);
	for (int i = axis + 1; i < x->type.rank; i++)
		prune_tie_axes(p, x, i, y, i + wider);
	prune_fix_axis(p, x, axis);
	for (int i = axis; i < axis + wider + 1; i++)
		prune_fix_axis(p, y, i);
}

/* ---- all of them ---- */

void prune_tie_node(struct prune *p, const struct node *n)
{
	int axes[HONE_MAX_RANK], count;

	switch (n->op) {
	case OP_const: return;
	case OP_map: tie_map(p, n); return;
	case OP_matmul: tie_matmul(p, n); return;
	case OP_conv: tie_conv(p, n); return;
	case OP_attention: tie_attention(p, n); return;
	case OP_pool: tie_pool(p, n); return;
	case OP_normalize: tie_normalize(p, n); return;
	case OP_softmax: tie_except(p, n, (int)ATTRS_OF(softmax, n)->axis); return;
	case OP_cumulate: tie_except(p, n, (int)ATTRS_OF(cumulate, n)->axis); return;
	case OP_reduce:
		count = reduce_axes_of(n, axes);
		tie_reduce(p, n, axes, count, ATTRS_OF(reduce, n)->keep);
		return;
	case OP_argreduce:
		axes[0] = (int)ATTRS_OF(argreduce, n)->axis;
		tie_reduce(p, n, axes, 1, ATTRS_OF(argreduce, n)->keep);
		return;
	case OP_transpose: tie_transpose(p, n); return;
	case OP_slice: tie_slice(p, n); return;
	case OP_expand: prune_tie_broadcast(p, n->in[0], n->out[0], 0); return;
	case OP_pad: tie_pad(p, n); return;
	case OP_concat: tie_concat(p, n); return;
	case OP_gather: tie_gather(p, n); return;
	default: prune_fix_node(p, n); return;
	}
}
