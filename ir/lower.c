/* lower.c: a kernel for a node, and the helpers of the operators' lower functions. Groups: join.c. */
#include "ir/join.h"
#include "ir/op.h"

void lower_open(struct lowering *l, const struct type *type, const struct expr **index)
{
	static const char *const names[HONE_MAX_RANK] = {"i", "j", "k", "l", "m", "n", "o", "p"};

	for (int i = 0; i < type->rank; i++) {
		int axis = lower_axis(l, names[i], type->dims[i]);

		k_for(&l->at, axis, true);
		index[i] = expr_axis(exprs_of(l), axis);
	}
}

/* A constant that has one value everywhere is a literal. */
static const struct expr *literal(struct lowering *l, const struct value *v)
{
	const struct tensor *t = value_const(v);
	union scalar x;

	if (!t || (t->kind != TENSOR_SPLAT && type_count_const(&v->type) != 1))
		return NULL;
	x = tensor_element(t, v->type.dtype, 0);
	if (dtype_is_float(v->type.dtype))
		return expr_real(exprs_of(l), value_compute(v), x.f);
	return expr_int(exprs_of(l), value_compute(v), x.i);
}

const struct expr *lower_load(struct lowering *l, struct value *v, const struct expr *const *index)
{
	const struct expr *e = literal(l, v);

	if (!e && l->join)
		e = join_load(l, v, index);
	if (e)
		return e;
	return expr_load(exprs_of(l), value_compute(v), kernel_buffer(l->kernel, BUFFER_IN, v),
			 v->type.rank, index);
}

const struct expr *lower_load_broadcast(struct lowering *l, struct value *v, int rank,
					const dim *dims, const struct expr *const *index)
{
	struct expr_pool *p = exprs_of(l);
	struct dim_pool *d = p->dims;
	const struct expr *from[HONE_MAX_RANK];
	dim one = dim_const(d, 1), zero = dim_const(d, 0);

	for (int k = 0; k < v->type.rank; k++) {
		dim size = v->type.dims[k];
		const struct expr *at = index[rank - v->type.rank + k];

		if (size == one)
			at = expr_index(p, 0);
		else if (size != dims[rank - v->type.rank + k] && dim_lower(size) <= 1)
			at = index_mul(p, at, expr_dim(p, dim_select(d, size, one, zero, one)));
		from[k] = at;
	}
	return lower_load(l, v, from);
}

const struct expr *lower_load_index(struct lowering *l, struct value *v,
				    const struct expr *const *index)
{
	return expr_cast(exprs_of(l), EXPR_CAST, DT_I64, lower_load(l, v, index));
}

int lower_axis(struct lowering *l, const char *name, dim extent)
{
	return axis_add(exprs_of(l), name, extent);
}

static int out_buffer(struct lowering *l, struct value *v)
{
	return l->join ? join_buffer(l, v) : kernel_buffer(l->kernel, BUFFER_OUT, v);
}

void lower_store(struct lowering *l, struct value *v, const struct expr *const *index,
		 const struct expr *value)
{
	k_store(&l->at, out_buffer(l, v), v->type.rank, index, value, -1);
}

void lower_combine(struct lowering *l, struct value *v, const struct expr *const *index,
		   const struct expr *value, int combine)
{
	k_store(&l->at, out_buffer(l, v), v->type.rank, index, value, combine);
}

void lower_call(struct lowering *l, const struct node *n, const char *routine, int attr_count,
		const dim *attrs)
{
	int *in = ARENA_ARRAY(l->kernel->arena, int, n->in_count);
	int *out = ARENA_ARRAY(l->kernel->arena, int, n->out_count);

	for (int i = 0; i < n->in_count; i++)
		in[i] = n->in[i] ? kernel_buffer(l->kernel, BUFFER_IN, n->in[i]) : -1;
	for (int i = 0; i < n->out_count; i++)
		out[i] = kernel_buffer(l->kernel, BUFFER_OUT, n->out[i]);
	k_call(&l->at, routine, n->in_count, in, n->out_count, out, attr_count, attrs);
}

/* ---- nodes ---- */

/* A result whose storage type has fewer values than its arithmetic must be stored to get them, where that
 * is what the operator is for (a cast) or changes more than rounding (4- and 2-bit integers, f8). */
static bool keeps_storage(const struct node *n)
{
	enum dtype t = n->out[0]->type.dtype;

	if (dtype_compute(t) == t || (op_table[n->op].flags & OP_MOVES))
		return false;
	if (dtype_bits(t) < 16)
		return true;
	return n->op == OP_map && (n->expr->op == EXPR_PARAM || n->expr->op == EXPR_CAST);
}

bool lowers_to_pure(const struct node *n)
{
	switch (n->op) {
	case OP_shape:
	case OP_iota:
	case OP_map:
	case OP_reduce:
	case OP_argreduce:
	case OP_softmax:
	case OP_normalize:
	case OP_matmul:
	case OP_conv:
	case OP_pool:
	case OP_reshape:
	case OP_transpose:
	case OP_slice:
	case OP_expand:
	case OP_pad:
	case OP_gather: return !keeps_storage(n);
	default: return false;
	}
}

bool lowers_to_tiles(const struct node *n)
{
	return n->op == OP_winograd_output && !keeps_storage(n);
}

static bool check_type(const struct node *n, const struct value *v, struct diag *d)
{
	if (!v || (v->type.kind == TYPE_TENSOR && v->type.dtype != DT_STRING))
		return true;
	return diag_add(d, DIAG_UNSUPPORTED, n->loc, "%s on %s is not supported",
			op_table[n->op].name,
			v->type.kind != TYPE_TENSOR ? "sequences and optionals" : "strings");
}

bool lower_op(struct lowering *l, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		if (!check_type(n, n->in[i], l->diag))
			return false;
	for (int i = 0; i < n->out_count; i++)
		if (!check_type(n, n->out[i], l->diag))
			return false;
	if (!op_table[n->op].lower)
		return diag_add(l->diag, DIAG_UNSUPPORTED, n->loc, "%s has no kernel",
				op_table[n->op].name);
	return op_table[n->op].lower(l, n);
}

struct kernel *lower_node(struct graph *g, const struct node *n, struct arena *a, struct diag *d)
{
	struct lowering l = {.graph = g, .diag = d};
	const char *name = "k";

	if (n->out_count && n->out[0]->name)
		name = arena_printf(a, "k_%s", n->out[0]->name);
	else if (n->out_count)
		name = arena_printf(a, "k%d", n->out[0]->id);
	l.kernel = kernel_new(a, &g->exprs, name);
	l.kernel->node = n;
	l.at = kernel_at_end(l.kernel);
	return lower_op(&l, n) ? l.kernel : NULL;
}
