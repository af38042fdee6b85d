/* group_rules.c: which operators may stand in one group.
 *
 * A group's kernel is made by substitution (ir/join.c): a load of an inner value becomes its expression at
 * that index. So a value is computed as often as it is loaded, and the rules see to it that only what is
 * cheap is computed more than once:
 *
 *   contraction  matmul, conv, pool, attention: at most one. Before it, only movement that keeps its inner axis
 *                contiguous, maps of constants (weights that are unpacked), and maps of bytes to i32 less a
 *                zero point (the driver multiplies the bytes); another map of data would be computed for
 *                each output channel, and is left to the kernel before. After it, maps of the
 *                same dims (also those of broadcast operands) and movement that leaves the inner axis whole.
 *                No reduction: it would take the sums a row at a time, and read all of the weights for each.
 *   reduction    reduce, argreduce, softmax, normalize: its producers are loaded several times. Cheap ones
 *                are computed again; others are kept in a row buffer, so the axes must be the last ones,
 *                constant, and at most 64 KB.
 *   map          of the same dims takes in anything; a broadcast computes its operand again and takes what
 *                is cheap, or a reduction of rows, which does not depend on the axes that are broadcast.
 *   movement     transpose, reshape, slice, a pad that cuts: every element at most once. expand and gather, which
 *                read some more than once, take in what is cheap. Whatever lowers_to_pure refuses is the last of
 *                a group.
 *   tiles        winograd_output: maps of the same dims after it are computed where it stores.
 *   concat, pad  of more elements: never. The kernels of their operands store where they want them
 *                (backend/placement.c), so on its own such an op copies nothing; in a group with its producer a pad
 *                would be a condition around all of the producer's work, in one with its reader around each load. */
#include "passes/group.h"
#include "ir/lower.h"

enum { CHEAP_WEIGHT = 12 };

static bool is_contraction(const struct node *n)
{
	return n->op == OP_matmul || n->op == OP_conv || n->op == OP_pool || n->op == OP_attention;
}

static bool is_reduction(const struct node *n)
{
	return n->op == OP_reduce || n->op == OP_argreduce || n->op == OP_softmax ||
	       n->op == OP_normalize;
}

static bool is_movement(const struct node *n)
{
	return n->op == OP_transpose || n->op == OP_reshape || n->op == OP_slice || n->op == OP_pad;
}

static bool is_tensor(const struct value *v)
{
	return v->type.kind == TYPE_TENSOR && v->type.dtype != DT_STRING;
}

bool node_groups(const struct node *n)
{
	if (!(op_table[n->op].flags & OP_LOWERS) || n->region_count || n->symbol_count ||
	    !is_tensor(n->out[0]))
		return false;
	for (int i = 0; i < n->in_count; i++)
		if (!n->in[i] || !is_tensor(n->in[i]))
			return false;
	switch (n->op) {
	case OP_pad: return !pad_is_box(n);
	case OP_cumulate:
	case OP_map:
	case OP_expand:
	case OP_gather:
	case OP_iota:
	case OP_winograd_output:
	case OP_shape: return true;
	default: return is_contraction(n) || is_reduction(n) || is_movement(n);
	}
}

/* i32(a), i32(a) - b */
static bool widens_bytes(const struct node *n)
{
	enum { WEIGHT = 3 };

	if (n->op != OP_map || n->out[0]->type.dtype != DT_I32 || expr_weight(n->expr) > WEIGHT)
		return false;
	for (int i = 0; i < n->in_count; i++) {
		enum dtype t = n->in[i]->type.dtype;

		if ((t == DT_I8 || t == DT_U8) && same_dims(&n->in[i]->type, &n->out[0]->type))
			return true;
	}
	return false;
}

bool node_is_byte_factor(const struct node *n)
{
	enum { SCAN = 96 };
	int scanned = 0;

	if (!widens_bytes(n))
		return false;
	for (const struct node *m = n->next; m && scanned < SCAN; m = m->next, scanned++)
		for (int i = 0; i < m->in_count; i++)
			if (m->in[i] == n->out[0])
				return m->op == OP_matmul || m->op == OP_conv;
	return false;
}

static void add_node(struct cluster *k, const struct node *n)
{
	k->contracts |= is_contraction(n);
	k->reduces |= is_contraction(n) || is_reduction(n);
	k->costly |= n->op == OP_softmax || (n->op == OP_map && expr_is_costly(n->expr));
	k->computes |= n->op == OP_map;
	if (lowers_to_tiles(n)) /* like a contraction, the sums of which it adds */
		k->tiled = k->contracts = k->reduces = true;
	else
		k->closed = !lowers_to_pure(n);
	k->sealed |= k->reduces && (is_movement(n) || n->op == OP_argreduce);
	if (n->op == OP_reduce && !ATTRS_OF(reduce, n)->keep)
		k->sealed = true;
}

void cluster_start(struct cluster *k, struct node *n)
{
	k->result = n->out[0];
	add_node(k, n);
}

void cluster_join(struct cluster *k, const struct cluster *from)
{
	bool moved = is_movement(k->result->def) && from->reduces;

	k->sealed |= from->sealed || moved;
	k->contracts |= from->contracts;
	k->tiled |= from->tiled;
	k->reduces |= from->reduces;
	k->costly |= from->costly;
	k->computes |= from->computes;
}

bool cluster_is_cheap(const struct cluster *k)
{
	int weight = 0;

	for (int i = 0; i < k->nodes.count; i++)
		if (k->nodes.at[i]->op == OP_map)
			weight += expr_weight(k->nodes.at[i]->expr);
	return !k->reduces && !k->costly && !k->closed && weight <= CHEAP_WEIGHT;
}

/* ---- movement around a contraction ---- */

/* Each axis of x is one or several axes of y: the last axis stays whole, or is split. */
static bool splits_last(const struct node *n)
{
	const struct type *x = &n->in[0]->type, *y = &n->out[0]->type;
	int64_t last, product = 1;

	if (!x->rank || !y->rank)
		return false;
	if (x->dims[x->rank - 1] == y->dims[y->rank - 1])
		return true;
	if (!dim_is_const(x->dims[x->rank - 1]))
		return false;
	last = x->dims[x->rank - 1]->value;
	for (int i = y->rank - 1; i >= 0 && product < last; i--) {
		if (!dim_is_const(y->dims[i]))
			return false;
		product *= y->dims[i]->value;
	}
	return product == last;
}

static bool keeps_inner_axis(const struct node *n)
{
	int last = n->out[0]->type.rank - 1;

	switch (n->op) {
	case OP_transpose: return last >= 0 && ATTRS_OF(transpose, n)->perm.at[last] == last;
	case OP_reshape: return splits_last(n);
	case OP_slice: return last >= 0 && slice_step(n, last) == 1;
	case OP_pad:
		return last >= 0 && dim_is(ATTRS_OF(pad, n)->lo.at[last], 0) &&
		       dim_is(ATTRS_OF(pad, n)->hi.at[last], 0);
	case OP_expand:
		return last >= 0 && n->in[0]->type.rank &&
		       n->in[0]->type.dims[n->in[0]->type.rank - 1] == n->out[0]->type.dims[last];
	default: return false;
	}
}

static bool is_made_in(const struct cluster *k, const struct value *v)
{
	for (int i = 0; i < k->nodes.count; i++)
		if (k->nodes.at[i]->out[0] == v)
			return true;
	return false;
}

/* Whether it reads something that is no constant. */
static bool reads_data(const struct cluster *k)
{
	for (int i = 0; i < k->nodes.count; i++)
		for (int j = 0; j < k->nodes.at[i]->in_count; j++) {
			const struct value *v = k->nodes.at[i]->in[j];

			if (!value_const(v) && !is_made_in(k, v))
				return true;
		}
	return false;
}

bool contraction_takes(const struct cluster *from)
{
	bool varies;

	if (!cluster_is_cheap(from))
		return false;
	varies = reads_data(from); /* else a weight, made of constants */
	for (int i = 0; i < from->nodes.count; i++) {
		const struct node *n = from->nodes.at[i];

		if (n->op == OP_map ? varies && !widens_bytes(n) : !keeps_inner_axis(n))
			return false;
	}
	return true;
}

/* Attention reads rows at any distance, but only plain ones: no pads, and nothing computed. */
static bool attention_takes(const struct cluster *from)
{
	for (int i = 0; i < from->nodes.count; i++)
		if (from->nodes.at[i]->op == OP_pad || from->nodes.at[i]->op == OP_map)
			return false;
	return contraction_takes(from);
}

/* ---- reductions ---- */

/* The axes that n reduces are the last ones of its operand; their number, or 0. */
static int last_axes(const struct node *n)
{
	int axes[HONE_MAX_RANK], count, rank = n->in[0]->type.rank;

	if (n->op == OP_reduce) {
		count = reduce_axes_of(n, axes);
	} else if (n->op == OP_normalize) {
		const struct ints *list = &ATTRS_OF(normalize, n)->axes;

		for (count = 0; count < list->count; count++)
			axes[count] = (int)list->at[count];
	} else {
		axes[0] = n->op == OP_softmax ? (int)ATTRS_OF(softmax, n)->axis
					      : (int)ATTRS_OF(argreduce, n)->axis;
		count = 1;
	}
	for (int i = 0; i < count; i++)
		if (axes[i] != rank - count + i)
			return 0;
	return count;
}

static bool reduces_rows(const struct node *n)
{
	const struct type *x = &n->in[0]->type;
	int count = last_axes(n);
	struct type row = type_make(dtype_compute(x->dtype), count, x->dims + x->rank - count);
	int64_t bytes = count ? type_bytes_const(&row) : -1;

	if (bytes < 0 || bytes > ROW_BYTES)
		return false;
	return count < x->rank || type_bytes_const(x) >= 0;
}

static bool reduction_takes(const struct cluster *from, const struct node *n, int i)
{
	if (i != 0 || from->sealed || from->contracts)
		return false;
	return cluster_is_cheap(from) || reduces_rows(n);
}

/* ---- maps ---- */

/* v is n's dims with 1s at the end: rows that were reduced, no longer than a row buffer. */
static bool is_row_value(const struct value *v, const struct node *n)
{
	const struct type *x = &v->type, *y = &n->out[0]->type;
	int64_t row = 4;
	int i = 0;

	if (x->rank != y->rank)
		return false;
	while (i < x->rank && x->dims[i] == y->dims[i])
		i++;
	if (i == 0)
		return false;
	for (; i < x->rank; i++) {
		if (!dim_is(x->dims[i], 1))
			return false;
		if (dim_is_const(y->dims[i]) && (row *= y->dims[i]->value) > ROW_BYTES)
			return false;
	}
	return true;
}

static bool map_takes(const struct cluster *from, const struct node *n, const struct value *v)
{
	if (same_dims(&v->type, &n->out[0]->type) || cluster_is_cheap(from))
		return true;
	return from->reduces && !from->contracts && is_row_value(v, n);
}

/* ---- all together ---- */

bool cluster_takes(const struct cluster *k, const struct cluster *from, const struct node *n, int i)
{
	if (from->closed || (k->reduces && from->reduces && (k->contracts || from->contracts)))
		return false;
	if (from->tiled && (n->op != OP_map || !same_dims(&n->in[i]->type, &n->out[0]->type)))
		return false;
	if (n->op == OP_attention)
		return attention_takes(from);
	if (is_contraction(n))
		return contraction_takes(from);
	if (is_reduction(n))
		return reduction_takes(from, n, i);
	switch (n->op) {
	case OP_map: return map_takes(from, n, n->in[i]);
	case OP_transpose:
	case OP_reshape:
	case OP_slice:
	case OP_pad: return i == 0 && (!from->contracts || keeps_inner_axis(n));
	case OP_expand:
	case OP_gather: return cluster_is_cheap(from);
	case OP_cumulate: return cluster_is_cheap(from);
	default: return false;
	}
}

/* Inside of a diamond stand maps of the dims of v, reductions of rows that keep their axes, and maps of what
 * those gave. */
bool cluster_takes_inner(struct cluster *k, const struct value *v, struct node *n, bool last)
{
	bool whole = same_dims(&n->out[0]->type, &v->type);

	if (!node_groups(n) || k->closed || (n->op != OP_map && !is_reduction(n)))
		return false;
	if (n->op == OP_map && !whole && !is_row_value(n->out[0], v->def))
		return false;
	if (n->op == OP_map && k->contracts && !whole)
		return false;
	if (is_reduction(n)) {
		bool keeps = n->op == OP_softmax || n->op == OP_normalize ||
			     (n->op == OP_reduce && ATTRS_OF(reduce, n)->keep);

		if (k->sealed || k->contracts || !keeps || !same_dims(&n->in[0]->type, &v->type) ||
		    !reduces_rows(n))
			return false;
		for (int i = 1; i < n->in_count; i++)
			if (!value_const(n->in[i]))
				return false;
	}
	if (!last && !lowers_to_pure(n))
		return false;
	add_node(k, n);
	k->result = n->out[0];
	return true;
}
