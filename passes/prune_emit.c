/* prune_emit.c: the graph without what was removed, in place. Constants lose their elements, operators that name
 * sizes get new ones, and every type that changes is inferred again. Values keep their names. */
#include "passes/prune_axes.h"

#include <string.h>

/* ---- constants ---- */

static void separate(struct prune *p, struct node *user, int *uses)
{
	for (int i = 0; i < user->in_count; i++) {
		struct value *v = user->in[i];
		struct builder b = build_before(p->c, user);
		struct node *copy;

		if (!v || !value_const(v) || v->id >= p->value_count ||
		    v->def->parent != user->parent || uses[v->id]-- <= 1)
			continue;
		copy = graph_add(&b, &(struct node_spec){.op = OP_const,
							 .attrs = v->def->attrs,
							 .type = &v->type});
		copy->loc = v->def->loc;
		user->in[i] = copy->out[0];
		ARENA_PUSH(p->c->scratch, &p->copies, ((struct prune_copy){copy->out[0], v}));
	}
}

void prune_separate_constants(struct prune *p)
{
	int *uses = graph_count_uses(p->c->graph, p->c->scratch);

	p->value_count = p->c->graph->value_count + 1;
	for (struct node *n = p->c->graph->body->first; n; n = n->next)
		separate(p, n, uses);
}

/* Copies that were left as they are become the original again, where that is left as it is. */
static void join_constants(struct prune *p)
{
	for (int i = 0; i < p->copies.count; i++) {
		struct value *copy = p->copies.at[i].copy, *v = p->copies.at[i].original;

		if (!type_equal(&copy->type, &v->type) ||
		    value_const(copy)->data != value_const(v)->data)
			continue;
		value_replace(copy, v);
		node_remove(copy->def);
	}
	graph_resolve(p->c->graph);
}

/* ---- sizes ---- */

/* The size of an axis now. */
static dim size_now(const struct prune *p, const struct value *v, int axis)
{
	int i = prune_axis_number(p, v, axis);

	return i < 0 || p->kept[i] == p->axes[i].size ? v->type.dims[axis]
						      : dim_const(&p->c->graph->dims, p->kept[i]);
}

static bool shrinks(const struct prune *p, const struct value *v)
{
	for (int i = 0; v && v->type.kind == TYPE_TENSOR && i < v->type.rank; i++)
		if (size_now(p, v, i) != v->type.dims[i])
			return true;
	return false;
}

/* Elements from..to of an axis that stay. */
static int count_staying(const struct prune *p, const struct value *v, int axis, int64_t from,
			 int64_t to)
{
	int first = prune_first(p, v, axis), count = 0;

	for (int64_t i = from; i < to; i++)
		count += prune_stays(p, first + (int)i);
	return count;
}

static struct dims sizes_now(const struct prune *p, const struct value *v)
{
	dim *at = ARENA_ARRAY(p->c->graph->arena, dim, v->type.rank);

	for (int i = 0; i < v->type.rank; i++)
		at[i] = size_now(p, v, i);
	return (struct dims){v->type.rank, at};
}

/* The indices of an axis that stay. */
static const int *list_staying(const struct prune *p, const struct value *v, int axis, int *count)
{
	int size = (int)v->type.dims[axis]->value, first = prune_first(p, v, axis);
	int *list = ARENA_ARRAY(p->c->scratch, int, size);

	*count = 0;
	for (int i = 0; i < size; i++)
		if (first < 0 || prune_stays(p, first + i))
			list[(*count)++] = i;
	return list;
}

/* What stays of a constant, in C order, axis by axis from the last. */
static void take(const struct prune *p, const struct value *v, const char *from, char *to)
{
	const int *index[HONE_MAX_RANK];
	int count[HONE_MAX_RANK], at[HONE_MAX_RANK] = {0}, rank = v->type.rank, last = rank - 1,
				  axis;
	int64_t stride[HONE_MAX_RANK], unit = dtype_bits(v->type.dtype) / 8;

	for (int i = last; i >= 0; i--) {
		stride[i] = i == last ? unit : stride[i + 1] * v->type.dims[i + 1]->value;
		index[i] = list_staying(p, v, i, &count[i]);
	}
	do {
		int64_t offset = 0;

		for (int i = 0; i < last; i++)
			offset += stride[i] * index[i][at[i]];
		for (int i = 0; i < count[last]; i++, to += unit)
			memcpy(to, from + offset + index[last][i] * unit, (size_t)unit);
		for (axis = last - 1; axis >= 0 && ++at[axis] == count[axis]; axis--)
			at[axis] = 0;
	} while (axis >= 0);
}

static void shrink_const(struct prune *p, struct node *n)
{
	struct value *v = n->out[0];
	const struct tensor *t = value_const(v);
	struct attrs_const *attrs = n->attrs;
	struct tensor *now = arena_copy(p->c->graph->arena, t, sizeof(*t));
	struct type type = v->type;
	int64_t count = type_count_const(&type);

	for (int i = 0; i < type.rank; i++)
		type.dims[i] = size_now(p, v, i);
	if (t->kind != TENSOR_SPLAT) {
		char *data;

		now->kind = TENSOR_BYTES;
		now->size = type_bytes_const(&type);
		data = arena_alloc(p->c->graph->arena, (size_t)now->size);
		take(p, v, tensor_bytes(t, type.dtype, count, p->c->scratch), data);
		now->data = data;
	}
	attrs = arena_copy(p->c->graph->arena, attrs, sizeof(*attrs));
	attrs->data = now;
	n->attrs = attrs;
	v->type = type;
}

/* ---- attributes ---- */

static void shrink_slice(struct prune *p, const struct node *n, struct attrs_slice *a)
{
	struct dim_pool *d = &p->c->graph->dims;
	dim *at = arena_copy(p->c->graph->arena, a->at.at, (size_t)a->at.count * sizeof(dim));

	for (int i = 0; i < a->at.count; i++)
		if (prune_axis_number(p, n->in[0], i) >= 0 && dim_is_const(at[i]))
			at[i] = dim_const(d, count_staying(p, n->in[0], i, 0, at[i]->value));
	a->at.at = at;
	a->size = sizes_now(p, n->out[0]);
}

static void shrink_pad(struct prune *p, const struct node *n, struct attrs_pad *a)
{
	struct dim_pool *d = &p->c->graph->dims;
	dim *lo = arena_copy(p->c->graph->arena, a->lo.at, (size_t)a->lo.count * sizeof(dim));
	dim *hi = arena_copy(p->c->graph->arena, a->hi.at, (size_t)a->hi.count * sizeof(dim));

	for (int i = 0; i < a->lo.count; i++) {
		const struct value *y = n->out[0];
		int64_t size;

		if (size_now(p, y, i) == y->type.dims[i])
			continue;
		size = y->type.dims[i]->value;
		hi[i] = dim_const(d, count_staying(p, y, i, size - hi[i]->value, size));
		lo[i] = dim_const(d, count_staying(p, y, i, 0, lo[i]->value));
	}
	a->lo.at = lo;
	a->hi.at = hi;
}

static void shrink_conv(struct prune *p, const struct node *n, struct attrs_conv *a)
{
	int axis = prune_axis_number(p, n->in[0], n->in[0]->type.rank - 1);

	if (a->group > 1 && axis >= 0)
		a->group = a->group * p->kept[axis] / p->axes[axis].size;
}

static void shrink_attrs(struct prune *p, struct node *n)
{
	n->attrs = arena_copy(p->c->graph->arena, n->attrs, op_table[n->op].attrs_size);
	if (n->op == OP_reshape)
		((struct attrs_reshape *)n->attrs)->dims = sizes_now(p, n->out[0]);
	else if (n->op == OP_expand)
		((struct attrs_expand *)n->attrs)->dims = sizes_now(p, n->out[0]);
	else if (n->op == OP_slice)
		shrink_slice(p, n, n->attrs);
	else if (n->op == OP_pad)
		shrink_pad(p, n, n->attrs);
	else if (n->op == OP_conv)
		shrink_conv(p, n, n->attrs);
}

/* ---- all together ---- */

/* Attributes first, while all types are as they were; then types, in order. What inference requires at run time was
 * required before. */
bool prune_emit(struct prune *p)
{
	struct graph *g = p->c->graph;
	int required = g->requires.count;
	struct {
		struct node **at;
		int count, room;
	} nodes = {0};

	for (struct node *n = g->body->first; n; n = n->next) {
		bool changes = false;

		for (int i = 0; i < n->in_count; i++)
			changes = changes || shrinks(p, n->in[i]);
		for (int i = 0; i < n->out_count; i++)
			changes = changes || shrinks(p, n->out[i]);
		if (changes)
			ARENA_PUSH(p->c->scratch, &nodes, n);
	}
	for (int i = 0; i < nodes.count; i++)
		if (nodes.at[i]->op != OP_const)
			shrink_attrs(p, nodes.at[i]);
	for (int i = 0; i < nodes.count; i++) {
		if (nodes.at[i]->op == OP_const)
			shrink_const(p, nodes.at[i]);
		if (!op_table[nodes.at[i]->op].infer(g, nodes.at[i], p->c->diag))
			return false;
		g->requires.count = required;
		p->c->changes++;
	}
	join_constants(p);
	return true;
}
