/* export_math.c: contractions, windows, reductions, normalization, attention. */
#include "frontend/export_private.h"

#include <math.h>
#include <string.h>

static bool set_plain(struct exporter *x, struct value *v, const char *name)
{
	value_set(x, v, name);
	return name != NULL;
}

/* Operand i in its compute type, plain. */
static const char *operand(struct exporter *x, const struct node *n, int i)
{
	return to_compute(x, value_plain(x, n->in[i]), n->in[i]->type.dtype);
}

/* The result of a computation whose last node gets this name, and what is to be done with it then. */
static const char *result_name(struct exporter *x, struct value *y)
{
	return is_storage(y->type.dtype) ? NULL : name_of(x, y);
}

static bool set_result(struct exporter *x, struct value *y, const char *made)
{
	if (made && is_storage(y->type.dtype))
		made = from_compute(x, made, y->type.dtype, name_of(x, y));
	return set_plain(x, y, made);
}

bool export_matmul(struct exporter *x, struct node *n)
{
	const char *a = operand(x, n, 0), *b = operand(x, n, 1);

	return set_result(x, n->out[0], OUT(x, "MatMul", result_name(x, n->out[0]), a, b));
}

/* ---- windows ---- */

/* Channels-last [N,D..,C] from and to ONNX's [N,C,D..]. */
static void order_spatial(int *order, int rank)
{
	order[0] = 0;
	order[1] = rank - 1;
	for (int i = 2; i < rank; i++)
		order[i] = i - 1;
}

/* The border of a channels-last value as ONNX's pads, if that is all it is; else none, and the border is written. */
static bool take_border(struct exporter *x, const struct value *v, double fill, int64_t *pads)
{
	const struct view *view = view_of(x, v);
	int rank = v->type.rank, spatial = rank - 2;
	bool takes = view->name && view->padded && view->fill == fill;

	for (int i = 0; takes && i < rank; i++)
		takes = view->lo[i] >= 0 && view->hi[i] >= 0 &&
			((i > 0 && i < rank - 1) || (!view->lo[i] && !view->hi[i]));
	for (int i = 0; i < spatial; i++) {
		pads[i] = takes ? view->lo[i + 1] : 0;
		pads[spatial + i] = takes ? view->hi[i + 1] : 0;
	}
	return takes;
}

static void fill_ones(int64_t *to, struct ints from, int count)
{
	for (int i = 0; i < count; i++)
		to[i] = i < from.count ? from.at[i] : 1;
}

/* The only reader of v, if it adds a constant for each channel: *bias, [C]. */
static struct node *find_bias(struct exporter *x, struct value *v, int channel, struct value **bias)
{
	struct node *reader = x->readers[v->id];
	const struct expr *e;

	if (!reader || reader->op != OP_map || reader->in_count != 2 ||
	    reader->out[0]->type.dtype != DT_F32 || view_of(x, v)->output)
		return NULL;
	e = reader->expr;
	if (e->op != EXPR_ADD || e->arg[0]->op != EXPR_PARAM || e->arg[1]->op != EXPR_PARAM)
		return NULL;
	*bias = reader->in[reader->in[0] == v];
	if (reader->in[0] == reader->in[1] || !value_const(*bias) ||
	    (*bias)->type.rank > v->type.rank)
		return NULL;
	for (int i = 0; i < (*bias)->type.rank; i++) {
		int axis = v->type.rank - (*bias)->type.rank + i;
		dim wanted = axis == channel ? v->type.dims[axis] : dim_const(&x->graph->dims, 1);

		if ((*bias)->type.dims[i] != wanted)
			return NULL;
	}
	return type_count_const(&(*bias)->type) == v->type.dims[channel]->value ? reader : NULL;
}

/* The addition behind a convolution, maybe behind its transpose; *y becomes what has its result, whose axis i is axis
 * axis[i] of the convolution's. */
static const char *join_bias(struct exporter *x, struct value **y, int *axis)
{
	struct value *v = *y, *bias;
	int rank = v->type.rank, channel = rank - 1;
	struct node *reader = x->readers[v->id];
	axis_order moved, one = {0};
	int64_t length;

	if (v->type.dtype != DT_F32)
		return NULL;
	if (reader && reader->op == OP_transpose && !view_of(x, v)->output) {
		const struct ints *perm = &ATTRS_OF_NODE(transpose, reader)->perm;

		for (int i = 0; i < rank; i++) {
			moved[i] = axis[perm->at[i]];
			channel = perm->at[i] == rank - 1 ? i : channel;
		}
		v = reader->out[0];
		reader = find_bias(x, v, channel, &bias);
		if (reader)
			memcpy(axis, moved, sizeof(moved));
	} else {
		reader = find_bias(x, v, channel, &bias);
	}
	if (!reader)
		return NULL;
	*y = reader->out[0];
	length = type_count_const(&bias->type);
	return const_bytes(x, name_of(x, bias), DT_F32, 1, &length,
			   bytes_in_order(x, value_const(bias), DT_F32, 1, &length, one),
			   (size_t)dtype_bytes(DT_F32, length));
}

bool export_conv(struct exporter *x, struct node *n)
{
	const struct attrs_conv *a = ATTRS_OF_NODE(conv, n);
	struct value *v = n->in[0], *w = n->in[1], *y = n->out[0];
	int rank = v->type.rank, spatial = rank - 2;
	int64_t pads[2 * HONE_MAX_RANK], stride[HONE_MAX_RANK], dilation[HONE_MAX_RANK],
		kernel[HONE_MAX_RANK];
	const char *in[3];
	axis_order order, weights, back;

	if (!dtype_is_float(v->type.dtype))
		return out_refuse(x, "a convolution of integers");
	order_spatial(order, rank);
	weights[0] = rank - 1;
	weights[1] = rank - 2;
	for (int i = 0; i < spatial; i++) {
		weights[i + 2] = i;
		if (!dim_is_const(w->type.dims[i]))
			return out_refuse(x, "a convolution by a kernel of unknown size");
		kernel[i] = w->type.dims[i]->value;
	}
	fill_ones(stride, a->stride, spatial);
	fill_ones(dilation, a->dilation, spatial);
	in[0] = take_border(x, v, 0, pads) ? value_unpadded(x, v, order)
					   : value_in_order(x, v, rank, order);
	in[0] = to_compute(x, in[0], v->type.dtype);
	in[1] = to_compute(x, value_in_order(x, w, rank, weights), w->type.dtype);
	order_inverse(back, order, rank);
	in[2] = join_bias(x, &y, back);
	struct out_attr attrs[] = {ATTR_L("kernel_shape", spatial, kernel),
				   ATTR_L("strides", spatial, stride),
				   ATTR_L("dilations", spatial, dilation),
				   ATTR_L("pads", 2 * spatial, pads), ATTR_I("group", a->group)};
	const char *made = out_node(x, "Conv", name_new(x, y->name ? y->name : "conv"),
				    in[2] ? 3 : 2, in, 5, attrs);

	if (made)
		made = from_compute(x, made, y->type.dtype, NULL);
	value_set_view(x, y, made, back);
	return true;
}

/* sum is the average times the number of elements, min the negative of the maximum of negatives. */
bool export_pool(struct exporter *x, struct node *n)
{
	const struct attrs_pool *a = ATTRS_OF_NODE(pool, n);
	struct value *v = n->in[0], *y = n->out[0];
	int rank = v->type.rank, spatial = rank - 2;
	bool sum = a->kind == REDUCE_SUM, max = a->kind == REDUCE_MAX;
	int64_t pads[2 * HONE_MAX_RANK], stride[HONE_MAX_RANK], dilation[HONE_MAX_RANK];
	double count = 1;
	axis_order order, back;
	const char *in, *made;

	if ((!sum && !max) || !dtype_is_float(v->type.dtype))
		return out_refuse(x, "a pool of this kind");
	fill_ones(stride, a->stride, spatial);
	fill_ones(dilation, a->dilation, spatial);
	for (int i = 0; i < spatial; i++) {
		count *= (double)a->size.at[i];
		if (sum && dilation[i] != 1)
			return out_refuse(x, "a sum over a dilated window");
	}
	order_spatial(order, rank);
	order_inverse(back, order, rank);
	in = take_border(x, v, sum ? 0 : -(double)INFINITY, pads)
		     ? value_unpadded(x, v, order)
		     : value_in_order(x, v, rank, order);
	in = to_compute(x, in, v->type.dtype);
	struct out_attr attrs[] = {
		ATTR_L("kernel_shape", spatial, a->size.at), ATTR_L("strides", spatial, stride),
		ATTR_L("pads", 2 * spatial, pads),
		sum ? ATTR_I("count_include_pad", 1) : ATTR_L("dilations", spatial, dilation)};

	made = out_node(x, sum ? "AveragePool" : "MaxPool",
			sum ? NULL : name_new(x, y->name ? y->name : "pool"), 1, &in, 4, attrs);
	if (sum)
		made = OUT(x, "Mul", NULL, made,
			   const_real(x, dtype_compute(y->type.dtype), count));
	if (made)
		made = from_compute(x, made, y->type.dtype, NULL);
	value_set_view(x, y, made, back);
	return true;
}

/* ---- reductions ---- */

/* Axes are an input of ReduceSum, and of the others from opset 18 on. */
static const char *out_reduce(struct exporter *x, const char *op, const char *name, const char *in,
			      int count, const int64_t *axes, bool keep)
{
	bool input = !strcmp(op, "ReduceSum") || x->opset >= 18;

	if (input)
		return OUT_WITH(x, op, name, (in, const_ints(x, count, axes)),
				ATTR_I("keepdims", keep));
	return OUT_WITH(x, op, name, (in), ATTR_L("axes", count, axes), ATTR_I("keepdims", keep));
}

bool export_reduce(struct exporter *x, struct node *n)
{
	static const char *const ops[] = {"ReduceSum", "ReduceProd", "ReduceMin",
					  "ReduceMax", "ReduceMax",  "ReduceMin"};
	const struct attrs_reduce *a = ATTRS_OF_NODE(reduce, n);
	const struct view *from = view_of(x, n->in[0]);
	struct value *y = n->out[0];
	int rank = n->in[0]->type.rank, count = a->axes.count ? a->axes.count : rank, left = 0;
	bool logic = y->type.dtype == DT_BOOL, gone[HONE_MAX_RANK] = {false};
	int64_t axes[HONE_MAX_RANK];
	axis_order axis, order, place, kept;
	const char *in, *made;

	order_identity(axis, rank);
	if (from->name)
		memcpy(axis, from->axis, (size_t)rank * sizeof(*axis));
	order_inverse(order, axis, rank);
	in = to_compute(x, value_in_order(x, n->in[0], rank, order), n->in[0]->type.dtype);
	for (int i = 0; i < count; i++) {
		axes[i] = axis[a->axes.count ? a->axes.at[i] : i];
		gone[axes[i]] = !a->keep;
	}
	for (int i = 0; i < rank; i++)
		place[i] = gone[i] ? -1 : left++;
	left = 0;
	for (int i = 0; i < rank; i++)
		if (place[axis[i]] >= 0)
			kept[left++] = place[axis[i]];
	if (logic)
		in = OUT_WITH(x, "Cast", NULL, (in), ATTR_I("to", DT_I32));
	made = rank ? out_reduce(x, ops[a->kind], NULL, in, count, axes, a->keep) : in;
	if (logic && made)
		made = OUT_WITH(x, "Cast", NULL, (made), ATTR_I("to", DT_BOOL));
	if (made)
		made = from_compute(x, made, y->type.dtype, NULL);
	value_set_view(x, y, made, kept);
	return true;
}

bool export_argreduce(struct exporter *x, struct node *n)
{
	const struct attrs_argreduce *a = ATTRS_OF_NODE(argreduce, n);
	const char *in = operand(x, n, 0);

	return set_plain(x, n->out[0],
			 OUT_WITH(x, a->kind % 2 ? "ArgMax" : "ArgMin", name_of(x, n->out[0]), (in),
				  ATTR_I("axis", a->axis), ATTR_I("keepdims", a->keep),
				  ATTR_I("select_last_index", a->kind >= 2)));
}

bool export_cumulate(struct exporter *x, struct node *n)
{
	const struct attrs_cumulate *a = ATTRS_OF_NODE(cumulate, n);
	const char *axis = const_scalar(x, DT_I64, (union scalar){.i = a->axis});

	if (a->kind)
		return out_refuse(x, "cumulated products and extremes");
	return set_result(x, n->out[0],
			  OUT_WITH(x, "CumSum", result_name(x, n->out[0]), (operand(x, n, 0), axis),
				   ATTR_I("exclusive", a->exclusive),
				   ATTR_I("reverse", a->reverse)));
}

bool export_softmax(struct exporter *x, struct node *n)
{
	const struct attrs_softmax *a = ATTRS_OF_NODE(softmax, n);

	return set_result(x, n->out[0],
			  OUT_WITH(x, a->log ? "LogSoftmax" : "Softmax", result_name(x, n->out[0]),
				   (operand(x, n, 0)), ATTR_I("axis", a->axis)));
}

/* ---- normalization ---- */

static bool is_trailing(const struct ints *axes, int rank)
{
	for (int i = 0; i < axes->count; i++)
		if (axes->at[i] != rank - axes->count + i)
			return false;
	return true;
}

/* Ones, or the scale or bias at operand i if it has just the axes that are normalized; NULL: something else. */
static const char *layer_vector(struct exporter *x, const struct node *n, int i, int count)
{
	const struct type *t = &n->in[0]->type;
	int64_t dims[HONE_MAX_RANK], elements = 1;
	struct tensor ones = {.kind = TENSOR_SPLAT, .splat.f = 1};
	struct value *v = i < n->in_count ? n->in[i] : NULL;

	if (v) {
		if (v->type.rank != count || v->type.dtype != DT_F32)
			return NULL;
		for (int k = 0; k < count; k++)
			if (v->type.dims[k] != t->dims[t->rank - count + k])
				return NULL;
		return value_plain(x, v);
	}
	for (int k = 0; k < count; k++) {
		if (!dim_is_const(t->dims[t->rank - count + k]))
			return NULL;
		dims[k] = t->dims[t->rank - count + k]->value;
		elements *= dims[k];
	}
	for (int k = 0; k < x->ones.count; k++)
		if (x->ones.at[k].rank == count &&
		    !memcmp(x->ones.at[k].dims, dims, (size_t)count * sizeof(*dims)))
			return x->ones.at[k].name;
	struct ones made = {.rank = count, .name = name_new(x, "ones")};

	memcpy(made.dims, dims, sizeof(dims));
	const_bytes(x, made.name, DT_F32, count, dims,
		    tensor_bytes(&ones, DT_F32, elements, x->arena),
		    (size_t)dtype_bytes(DT_F32, elements));
	ARENA_PUSH(x->arena, &x->ones, made);
	return made.name;
}

static const char *layer_norm(struct exporter *x, const struct node *n)
{
	const struct attrs_normalize *a = ATTRS_OF_NODE(normalize, n);
	struct value *y = n->out[0];
	const char *in[3];
	bool bias = n->in_count > 2 && n->in[2];

	if (a->rms || y->type.dtype != DT_F32 || !is_trailing(&a->axes, y->type.rank))
		return NULL;
	in[1] = layer_vector(x, n, 1, a->axes.count);
	in[2] = bias ? layer_vector(x, n, 2, a->axes.count) : "";
	if (!in[1] || !in[2])
		return NULL;
	in[0] = value_plain(x, n->in[0]);
	return out_node(x, "LayerNormalization", name_of(x, y), bias ? 3 : 2, in, 2,
			(struct out_attr[]){ATTR_I("axis", y->type.rank - a->axes.count),
					    ATTR_F("epsilon", a->eps)});
}

/* (x - mean) / sqrt(mean((x - mean)^2) + eps) * scale + bias, as its parts. */
static const char *norm_parts(struct exporter *x, const struct node *n)
{
	const struct attrs_normalize *a = ATTRS_OF_NODE(normalize, n);
	enum dtype t = dtype_compute(n->out[0]->type.dtype);
	const char *v = operand(x, n, 0), *deviation;
	int count = a->axes.count;

	if (!a->rms)
		v = OUT(x, "Sub", NULL, v,
			out_reduce(x, "ReduceMean", NULL, v, count, a->axes.at, true));
	deviation = out_reduce(x, "ReduceMean", NULL, OUT(x, "Mul", NULL, v, v), count, a->axes.at,
			       true);
	deviation = OUT(x, "Sqrt", NULL, OUT(x, "Add", NULL, deviation, const_real(x, t, a->eps)));
	v = OUT(x, "Div", NULL, v, deviation);
	if (n->in_count > 1 && n->in[1])
		v = OUT(x, "Mul", NULL, v, operand(x, n, 1));
	if (n->in_count > 2 && n->in[2])
		v = OUT(x, "Add", NULL, v, operand(x, n, 2));
	return v;
}

bool export_normalize(struct exporter *x, struct node *n)
{
	const char *made = layer_norm(x, n);

	return made ? set_plain(x, n->out[0], made) : set_result(x, n->out[0], norm_parts(x, n));
}

/* ---- attention ---- */

enum { SCORE, QUERY, KEY, FIRST_OPERAND };

/* Positions along an axis of the scores [B,H,T,S], as a tensor that broadcasts to them. */
static const char *positions(struct exporter *x, dim length, bool query)
{
	const char *zero = const_scalar(x, DT_I64, (union scalar){.i = 0}),
		   *one = const_scalar(x, DT_I64, (union scalar){.i = 1});
	const char *range =
		OUT(x, "Range", NULL, zero, OUT(x, "Squeeze", NULL, dim_tensor(x, length)), one);
	int64_t shape[2] = {-1, 1};

	return query ? OUT(x, "Reshape", NULL, range, const_ints(x, 2, shape)) : range;
}

static bool reads_param(const struct expr *e, void *self)
{
	return e->op == EXPR_PARAM && e->index == *(int *)self;
}

static const char *scores(struct exporter *x, const struct node *n, const char *products)
{
	int count = n->in_count > FIRST_OPERAND ? n->in_count : FIRST_OPERAND;
	const char **params = ARENA_ARRAY(x->arena, const char *, count);
	enum dtype *types = ARENA_ARRAY(x->arena, enum dtype, count);

	params[SCORE] = products;
	types[SCORE] = dtype_compute(n->in[0]->type.dtype);
	for (int i = QUERY; i <= KEY; i++) {
		types[i] = DT_I64;
		if (expr_any(n->expr, reads_param, &i))
			params[i] = positions(x, n->in[i - 1]->type.dims[1], i == QUERY);
	}
	for (int i = FIRST_OPERAND; i < n->in_count; i++) {
		params[i] = value_plain(x, n->in[i]);
		types[i] = n->in[i]->type.dtype;
	}
	return out_expr(x, n->expr, count, params, types, NULL);
}

/* [B,G,a,b] for each of the heads that share it: [B,G,1,a,b] */
static const char *share(struct exporter *x, const char *tensor)
{
	int64_t axis = 2;

	return OUT(x, "Unsqueeze", NULL, tensor, const_ints(x, 1, &axis));
}

/* [B,H,T,D] as [B,G,H/G,T,D], and back. */
static const char *regroup(struct exporter *x, const char *tensor, dim heads, dim groups, dim t,
			   dim d)
{
	struct dim_pool *p = &x->graph->dims;
	dim dims[5] = {NULL, groups, dim_floordiv(p, heads, groups), t, d};
	const char *shape;
	int64_t zero = 0;

	shape = OUT_WITH(x, "Concat", NULL, (const_ints(x, 1, &zero), dims_tensor(x, 4, dims + 1)),
			 ATTR_I("axis", 0));
	return OUT(x, "Reshape", NULL, tensor, shape);
}

static const char *ungroup(struct exporter *x, const char *tensor, dim heads, dim t, dim d)
{
	dim dims[3] = {heads, t, d};
	int64_t zero = 0;

	return OUT(x, "Reshape", NULL, tensor,
		   OUT_WITH(x, "Concat", NULL, (const_ints(x, 1, &zero), dims_tensor(x, 3, dims)),
			    ATTR_I("axis", 0)));
}

/* softmax(e(q k')) v over [B,H,T,S]; where heads share keys, over [B,G,H/G,T,S]. */
bool export_attention(struct exporter *x, struct node *n)
{
	static const int head_first[] = {0, 2, 1, 3}, keys[] = {0, 2, 3, 1};
	const struct type *q = &n->in[0]->type, *k = &n->in[1]->type, *v = &n->in[2]->type;
	enum dtype t = q->dtype;
	bool shared = q->dims[2] != k->dims[2];
	const char *in[3], *made;

	in[0] = to_compute(x, value_in_order(x, n->in[0], 4, head_first), t);
	in[1] = to_compute(x, value_in_order(x, n->in[1], 4, keys), t);
	in[2] = to_compute(x, value_in_order(x, n->in[2], 4, head_first), t);
	if (shared) {
		in[0] = regroup(x, in[0], q->dims[2], k->dims[2], q->dims[1], q->dims[3]);
		in[1] = share(x, in[1]);
		in[2] = share(x, in[2]);
	}
	made = OUT(x, "MatMul", NULL, in[0], in[1]);
	if (shared)
		made = ungroup(x, made, q->dims[2], q->dims[1], k->dims[1]);
	made = OUT_WITH(x, "Softmax", NULL, (scores(x, n, made)), ATTR_I("axis", 3));
	if (shared)
		made = regroup(x, made, q->dims[2], k->dims[2], q->dims[1], k->dims[1]);
	made = OUT(x, "MatMul", NULL, made, in[2]);
	if (shared)
		made = ungroup(x, made, q->dims[2], q->dims[1], v->dims[3]);
	if (made)
		made = from_compute(x, made, t, NULL);
	value_set_view(x, n->out[0], made, head_first);
	return true;
}
