/* export_value.c: tensors that stand for values; constants; sizes as tensors. */
#include "frontend/export_private.h"

#include <string.h>

/* Field numbers of TensorProto in onnx.proto. */
enum { TENSOR_DIMS = 1, TENSOR_DTYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9 };

/* ---- names and views ---- */

const char *name_new(struct exporter *x, const char *hint) { return names_claim(&x->names, hint); }

const char *name_of(struct exporter *x, const struct value *v)
{
	struct view *view = view_of(x, v);
	const char *name = view->output;

	if (name && !view->output_made) {
		view->output_made = true;
		return name;
	}
	if (!v->name)
		return name_new(x, arena_printf(x->arena, "v%d", v->id));
	return name_new(x, v->name);
}

struct view *view_of(struct exporter *x, const struct value *v) { return &x->views[v->id]; }

void order_identity(int *order, int rank)
{
	for (int i = 0; i < rank; i++)
		order[i] = i;
}

void order_inverse(int *to, const int *order, int rank)
{
	for (int i = 0; i < rank; i++)
		to[order[i]] = i;
}

static bool is_identity(const int *order, int rank)
{
	for (int i = 0; i < rank; i++)
		if (order[i] != i)
			return false;
	return true;
}

void value_set_view(struct exporter *x, struct value *v, const char *name, const int *axis)
{
	struct view *view = view_of(x, v);

	view->name = name;
	memcpy(view->axis, axis, (size_t)v->type.rank * sizeof(*axis));
}

void value_set(struct exporter *x, struct value *v, const char *name)
{
	axis_order axis;

	order_identity(axis, v->type.rank);
	value_set_view(x, v, name, axis);
}

/* Remembers a name until the region ends in which it is made. */
static const char *keep(struct exporter *x, const char **slot, const char *name)
{
	*slot = name;
	if (name)
		ARENA_PUSH(x->arena, &x->slots, slot);
	return name;
}

static struct form *find_form(struct exporter *x, struct view *view, int rank, const int *order)
{
	struct form *f = view->forms;

	while (f && (f->rank != rank || memcmp(f->order, order, (size_t)rank * sizeof(*order))))
		f = f->next;
	if (f)
		return f;
	f = ARENA_NEW(x->arena, struct form);
	f->rank = rank;
	memcpy(f->order, order, (size_t)rank * sizeof(*order));
	f->next = view->forms;
	view->forms = f;
	return f;
}

static const char *transpose(struct exporter *x, const char *tensor, int rank, const int *order,
			     const char *name)
{
	int64_t perm[HONE_MAX_RANK];

	for (int i = 0; i < rank; i++)
		perm[i] = order[i];
	return OUT_WITH(x, "Transpose", name, (tensor), ATTR_L("perm", rank, perm));
}

/* ---- constants ---- */

const void *bytes_in_order(struct exporter *x, const struct tensor *t, enum dtype type, int rank,
			   const int64_t *dims, const int *order)
{
	int64_t stride[HONE_MAX_RANK], at[HONE_MAX_RANK] = {0}, count = 1;
	const unsigned char *from;
	unsigned char *to;
	int bits = dtype_bits(type);

	for (int i = rank - 1; i >= 0; i--) {
		stride[i] = count;
		count *= dims[i];
	}
	from = tensor_bytes(t, type, count, x->arena);
	if (is_identity(order, rank) || !count)
		return from;
	to = arena_alloc(x->arena, (size_t)dtype_bytes(type, count));
	for (int64_t i = 0; i < count; i++) {
		int64_t source = 0;
		size_t size = (size_t)bits / 8;

		for (int j = 0; j < rank; j++)
			source += at[j] * stride[order[j]];
		if (bits < 8)
			to[i * bits / 8] |=
				(unsigned char)((from[source * bits / 8] >> source * bits % 8 &
						 ((1 << bits) - 1))
						<< i * bits % 8);
		else
			memcpy(to + (size_t)i * size, from + (size_t)source * size, size);
		for (int j = rank - 1; j >= 0 && ++at[j] == dims[order[j]]; j--)
			at[j] = 0;
	}
	return to;
}

const char *const_bytes(struct exporter *x, const char *name, enum dtype t, int rank,
			const int64_t *dims, const void *data, size_t size)
{
	struct initializer c = {.head = {.arena = x->arena}, .data = data, .size = size};

	for (int i = 0; i < rank; i++)
		proto_int(&c.head, TENSOR_DIMS, dims[i]);
	proto_int(&c.head, TENSOR_DTYPE, t);
	proto_text(&c.head, TENSOR_NAME, name);
	proto_head(&c.head, TENSOR_RAW, size);
	ARENA_PUSH(x->arena, &x->constants, c);
	return name;
}

const char *const_scalar(struct exporter *x, enum dtype t, union scalar value)
{
	struct tensor splat = {.kind = TENSOR_SPLAT, .splat = value};
	size_t size = (size_t)dtype_bytes(t, 1);
	const void *data = tensor_bytes(&splat, t, 1, x->arena);
	struct literal new = {.type = t, .value = value};

	for (int i = 0; i < x->literals.count; i++)
		if (x->literals.at[i].type == t &&
		    !memcmp(&x->literals.at[i].value, &value, sizeof(value)))
			return x->literals.at[i].name;
	new.name = const_bytes(x, name_new(x, "scalar"), t, 0, NULL, data, size);
	ARENA_PUSH(x->arena, &x->literals, new);
	return new.name;
}

const char *const_real(struct exporter *x, enum dtype t, double value)
{
	return const_scalar(x, t, (union scalar){.f = value});
}

const char *const_ints(struct exporter *x, int count, const int64_t *at)
{
	int64_t dims[1] = {count};
	size_t size = (size_t)count * sizeof(*at);
	struct int_vector new = {.count = count, .at = arena_copy(x->arena, at, size + !size)};

	for (int i = 0; i < x->vectors.count; i++)
		if (x->vectors.at[i].count == count && !memcmp(x->vectors.at[i].at, at, size))
			return x->vectors.at[i].name;
	new.name = const_bytes(x, name_new(x, "ints"), DT_I64, 1, dims, new.at, size);
	ARENA_PUSH(x->arena, &x->vectors, new);
	return new.name;
}

/* A constant with leading axes of size 1 up to `rank`, its axes in an order. */
static const char *const_in_order(struct exporter *x, struct value *v, int rank, const int *order)
{
	int64_t dims[HONE_MAX_RANK], moved[HONE_MAX_RANK], count = 1;
	int lead = rank - v->type.rank;

	for (int i = 0; i < rank; i++) {
		dims[i] = i < lead ? 1 : v->type.dims[i - lead]->value;
		count *= dims[i];
	}
	for (int i = 0; i < rank; i++)
		moved[i] = dims[order[i]];
	return const_bytes(x, name_of(x, v), v->type.dtype, rank, moved,
			   bytes_in_order(x, value_const(v), v->type.dtype, rank, dims, order),
			   (size_t)dtype_bytes(v->type.dtype, count));
}

bool export_const(struct exporter *x, struct node *n)
{
	return n->out[0]->type.dtype != DT_STRING || out_refuse(x, "constants of strings");
}

/* ---- values as tensors ---- */

static const char *add_border(struct exporter *x, struct view *view, enum dtype type, int rank)
{
	int64_t pads[2 * HONE_MAX_RANK];
	union scalar fill = {.f = view->fill};

	if (view->whole)
		return view->whole;
	for (int i = 0; i < rank; i++) {
		pads[view->axis[i]] = view->lo[i];
		pads[rank + view->axis[i]] = view->hi[i];
	}
	if (!dtype_is_float(type))
		fill.i = (int64_t)view->fill;
	return keep(x, &view->whole,
		    OUT(x, "Pad", NULL, view->name, const_ints(x, 2 * rank, pads),
			const_scalar(x, type, fill)));
}

/* With leading axes of size 1, which a tensor of another order cannot get by broadcasting. */
static const char *widen(struct exporter *x, struct value *v, int rank, const int *order)
{
	int64_t axes[HONE_MAX_RANK];
	int lead = rank - v->type.rank;
	const char *wide;

	for (int i = 0; i < lead; i++)
		axes[i] = i;
	wide = OUT(x, "Unsqueeze", NULL, value_plain(x, v), const_ints(x, lead, axes));
	return transpose(x, wide, rank, order, NULL);
}

/* The value's form of all its axes in that order, not kept yet; its name where `plain` is said. */
static const char *make_form(struct exporter *x, struct value *v, int rank, const int *order)
{
	struct view *view = view_of(x, v);
	bool plain = is_identity(order, rank);
	axis_order from;

	if (value_const(v))
		return const_in_order(x, v, rank, order);
	if (rank > v->type.rank)
		return widen(x, v, rank, order);
	if (view->later)
		return map_in_order(x, view->later, order,
				    plain ? name_of(x, v) : name_new(x, "moved"));
	if (!view->name)
		return NULL;
	for (int j = 0; j < rank; j++)
		from[j] = view->axis[order[j]];
	return transpose(x, view->padded ? add_border(x, view, v->type.dtype, rank) : view->name,
			 rank, from, plain ? name_of(x, v) : NULL);
}

const char *value_in_order(struct exporter *x, struct value *v, int rank, const int *order)
{
	struct view *view = view_of(x, v);
	bool fits = true;
	struct form *f;
	axis_order same;

	if (v->type.rank == 0 || is_identity(order, rank)) { /* broadcasting adds leading axes */
		rank = v->type.rank;
		order_identity(same, rank);
		order = same;
	}
	for (int j = 0; view->name && rank == v->type.rank && j < rank; j++)
		fits = fits && view->axis[order[j]] == j;
	if (view->name && fits && rank == v->type.rank)
		return view->padded ? add_border(x, view, v->type.dtype, rank) : view->name;
	f = find_form(x, view, rank, order);
	if (f->name)
		return f->name;
	if (value_const(v)) /* not of this region only */
		return f->name = make_form(x, v, rank, order);
	return keep(x, &f->name, make_form(x, v, rank, order));
}

const char *value_plain(struct exporter *x, struct value *v)
{
	axis_order same;

	order_identity(same, v->type.rank);
	return value_in_order(x, v, v->type.rank, same);
}

const char *value_unpadded(struct exporter *x, struct value *v, const int *order)
{
	struct view *view = view_of(x, v);
	int rank = v->type.rank;
	axis_order from;

	if (!view->padded || !view->name)
		return value_in_order(x, v, rank, order);
	for (int j = 0; j < rank; j++)
		from[j] = view->axis[order[j]];
	return is_identity(from, rank) ? view->name : transpose(x, view->name, rank, from, NULL);
}

/* ---- storage types ---- */

bool is_storage(enum dtype t) { return dtype_compute(t) != t; }

const char *to_compute(struct exporter *x, const char *name, enum dtype t)
{
	return is_storage(t) ? OUT_WITH(x, "Cast", NULL, (name), ATTR_I("to", dtype_compute(t)))
			     : name;
}

const char *from_compute(struct exporter *x, const char *computed, enum dtype t, const char *name)
{
	return is_storage(t) ? OUT_WITH(x, "Cast", name, (computed), ATTR_I("to", t)) : computed;
}

/* ---- sizes ---- */

static struct dim_source *find_source(struct exporter *x, int symbol)
{
	for (int i = 0; i < x->sources.count; i++)
		if (x->sources.at[i].symbol == symbol)
			return &x->sources.at[i];
	return NULL;
}

void dim_note(struct exporter *x, struct value *v)
{
	if (v->type.kind != TYPE_TENSOR || !view_of(x, v)->name)
		return;
	for (int i = 0; i < v->type.rank; i++) {
		dim d = v->type.dims[i];

		if (d->kind == DIM_SYMBOL && !find_source(x, (int)d->value))
			ARENA_PUSH(x->arena, &x->sources,
				   ((struct dim_source){(int)d->value, v, i, NULL}));
	}
}

void dim_bind(struct exporter *x, int symbol, const char *tensor)
{
	if (!find_source(x, symbol))
		ARENA_PUSH(x->arena, &x->sources, ((struct dim_source){symbol, NULL, 0, tensor}));
}

static const char *symbol_tensor(struct exporter *x, int symbol)
{
	struct dim_source *s = find_source(x, symbol);

	if (!s) {
		out_refuse(x, "the size %s, which no tensor has",
			   x->graph->dims.symbols[symbol].name);
		return NULL;
	}
	if (!s->value)
		return s->tensor;
	return OUT_WITH(x, "Shape", NULL, (value_plain(x, s->value)), ATTR_I("start", s->axis),
			ATTR_I("end", s->axis + 1));
}

static const char *int_tensor(struct exporter *x, int64_t value)
{
	return const_ints(x, 1, &value);
}

static const char *sum_tensor(struct exporter *x, dim d)
{
	const char *sum = NULL;

	for (int i = 0; i < d->count; i++) {
		const char *term = dim_tensor(x, d->arg[i]);

		if (d->coef[i] != 1)
			term = OUT(x, "Mul", NULL, term, int_tensor(x, d->coef[i]));
		sum = i ? OUT(x, "Add", NULL, sum, term) : term;
	}
	return d->value ? OUT(x, "Add", NULL, sum, int_tensor(x, d->value)) : sum;
}

static const char *product_tensor(struct exporter *x, dim d)
{
	const char *product = dim_tensor(x, d->arg[0]);

	for (int i = 1; i < d->count; i++)
		product = OUT(x, "Mul", NULL, product, dim_tensor(x, d->arg[i]));
	return product;
}

/* floor(a / b) = (a - a mod b) / b, where mod has the sign of b as in ONNX; ONNX divides toward 0. */
static const char *floor_tensor(struct exporter *x, const char *a, const char *b)
{
	return OUT(x, "Div", NULL, OUT(x, "Sub", NULL, a, OUT(x, "Mod", NULL, a, b)), b);
}

static const char *make_dim(struct exporter *x, dim d)
{
	const char *a, *b;

	switch (d->kind) {
	case DIM_CONST: return int_tensor(x, d->value);
	case DIM_SYMBOL: return symbol_tensor(x, (int)d->value);
	case DIM_SUM: return sum_tensor(x, d);
	case DIM_PRODUCT: return product_tensor(x, d);
	default: break;
	}
	a = dim_tensor(x, d->arg[0]);
	b = dim_tensor(x, d->arg[1]);
	switch (d->kind) {
	case DIM_FLOORDIV: return floor_tensor(x, a, b);
	case DIM_CEILDIV: return OUT(x, "Neg", NULL, floor_tensor(x, OUT(x, "Neg", NULL, a), b));
	case DIM_MOD: return OUT(x, "Mod", NULL, a, b);
	case DIM_MIN: return OUT(x, "Min", NULL, a, b);
	case DIM_MAX: return OUT(x, "Max", NULL, a, b);
	default:
		return OUT(x, "Where", NULL, OUT(x, "Equal", NULL, a, b), dim_tensor(x, d->arg[2]),
			   dim_tensor(x, d->arg[3]));
	}
}

const char *dim_tensor(struct exporter *x, dim d)
{
	const char **slot = d->id < x->dim_count ? &x->dims[d->id] : NULL;
	const char *made;

	if (slot && *slot)
		return *slot;
	made = make_dim(x, d);
	return slot ? keep(x, slot, made) : made;
}

const char *dims_tensor(struct exporter *x, int count, const dim *dims)
{
	const char **parts = ARENA_ARRAY(x->arena, const char *, count + 1);
	int64_t *values = ARENA_ARRAY(x->arena, int64_t, count + 1);
	bool all = true;

	for (int i = 0; i < count; i++) {
		all = all && dim_is_const(dims[i]);
		values[i] = dims[i]->value;
	}
	if (all)
		return const_ints(x, count, values);
	for (int i = 0; i < count; i++)
		parts[i] = dim_tensor(x, dims[i]);
	if (count == 1)
		return parts[0];
	return out_node(x, "Concat", NULL, count, parts, 1, (struct out_attr[]){ATTR_I("axis", 0)});
}
