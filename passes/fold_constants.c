/* fold_constants: computes at compile time what depends on constants only.
 *   - values whose elements are known as constant dims become constants;
 *   - transposes of constants are copied here, at memory speed, and large weights are scaled;
 *   - all others that are foldable make up one small graph, which the engine runs once. When that fails
 *     (an index out of range must fail at run time, not here), they are tried one by one.
 * A result may have 64 KB, or twice the bytes of the operands. Inputs of the model are no constants. Bytes that a
 * contraction multiplies stay bytes. */
#include "passes/group.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_BYTES = 64 << 10, ELEMS_MAX = 64 };

struct fold {
	struct pass_context *c;
	bool *folds, *wants; /* by value id: a foldable node makes it; others read it */
	bool *factors;       /* a contraction or a gather reads it, perhaps moved */
	int id_count;
	struct {
		struct node **at;
		int count, room;
	} nodes; /* the foldable ones, in order */
	struct {
		struct value **at;
		int count, room;
	} wanted; /* their values that others read */
};

/* ---- known elements ---- */

static void write_integer(unsigned char *at, enum dtype t, int64_t i, int64_t x)
{
	int bits = dtype_bits(t);

	if (bits < 8)
		at[i * bits / 8] |= (unsigned char)((x & ((1 << bits) - 1)) << (i * bits % 8));
	else
		memcpy(at + i * (bits / 8), &x, (size_t)bits / 8); /* little endian */
}

/* %y: i64[2] = .. with elements known to be 3, 4   =>   const [3, 4] */
static struct value *fold_elems(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct value *v = n->out_count == 1 ? n->out[0] : NULL;
	int64_t count = v && v->elems ? type_count_const(&v->type) : -1;
	unsigned char *data;

	if (count < 0 || count > ELEMS_MAX || n->op == OP_const || !is_pure(n) || n->symbol_count)
		return NULL;
	for (int64_t i = 0; i < count; i++)
		if (!v->elems[i] || !dim_is_const(v->elems[i]))
			return NULL;
	data = arena_alloc(c->graph->arena, (size_t)type_bytes_const(&v->type) + 1);
	for (int64_t i = 0; i < count; i++)
		write_integer(data, v->type.dtype, i, v->elems[i]->value);
	return add_bytes(&b, &v->type, data);
}

/* ---- transposes ---- */

/* Copies `count` elements of `size` bytes to `to`, which is contiguous, from positions `step` bytes apart. */
static void copy_strided(unsigned char *to, const unsigned char *from, int64_t count, int64_t step,
			 int size)
{
	for (int64_t i = 0; i < count; i++, to += size, from += step)
		switch (size) {
		case 1: *to = *from; break;
		case 2: memcpy(to, from, 2); break;
		case 4: memcpy(to, from, 4); break;
		default: memcpy(to, from, 8); break;
		}
}

/* %y = transpose (const)                 =>   const */
static struct value *fold_transpose(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct tensor *t = value_const(n->in[0]);
	const struct type *x = &n->in[0]->type, *y = &n->out[0]->type;
	int size = dtype_bits(x->dtype) / 8, rank = x->rank;
	int64_t stride[HONE_MAX_RANK], at[HONE_MAX_RANK] = {0}, count = type_count_const(x),
				       step = size, inner;
	const unsigned char *from;
	unsigned char *data, *to;

	if (!t || t->kind != TENSOR_BYTES || count <= 0 || size == 0 || rank == 0)
		return NULL;
	for (int i = rank - 1; i >= 0; step *= x->dims[i]->value, i--)
		stride[i] = step;
	data = to = arena_alloc(c->graph->arena, (size_t)count * (size_t)size);
	inner = y->dims[rank - 1]->value;
	for (int64_t done = 0; done < count; done += inner, to += inner * size) {
		from = t->data;
		for (int i = 0; i < rank - 1; i++)
			from += at[i] * stride[ATTRS_OF(transpose, n)->perm.at[i]];
		copy_strided(to, from, inner, stride[ATTRS_OF(transpose, n)->perm.at[rank - 1]],
			     size);
		for (int i = rank - 2; i >= 0 && ++at[i] == y->dims[i]->value; i--)
			at[i] = 0;
	}
	tensor_rest(t);
	return add_bytes(&b, y, data);
}

/* ---- weights times a scale of the last axis ---- */

static bool is_scaling(const struct node *n)
{
	const struct expr *e = n->expr;
	const struct type *y = &n->out[0]->type;

	return n->op == OP_map && n->in_count == 2 && e->op == EXPR_MUL &&
	       e->arg[0]->op == EXPR_PARAM && e->arg[1]->op == EXPR_PARAM &&
	       e->arg[0]->index != e->arg[1]->index && y->dtype == DT_F32 &&
	       n->in[0]->type.dtype == DT_F32 && n->in[1]->type.dtype == DT_F32 &&
	       same_dims(&n->in[0]->type, y) && n->in[1]->type.rank == 1 &&
	       n->in[1]->type.dims[0] == y->dims[y->rank - 1] && type_bytes_const(y) > SMALL_BYTES;
}

/* %y = map(const w, const s) (w, s) -> w * s   =>   const */
static struct value *fold_scaling(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct tensor *w, *s;
	int64_t count, inner;
	const char *from;
	char *data;

	if (!is_scaling(n))
		return NULL;
	w = value_const(n->in[0]);
	s = value_const(n->in[1]);
	count = type_count_const(&n->out[0]->type);
	if (!w || !s || w->kind != TENSOR_BYTES || s->kind != TENSOR_BYTES)
		return NULL;
	inner = type_count_const(&n->in[1]->type);
	data = arena_alloc(c->graph->arena, (size_t)count * 4);
	from = w->data;
	for (int64_t i = 0; i < count; i += inner)
		for (int64_t k = 0; k < inner; k++) {
			float x, y; /* the model's bytes may be unaligned */

			memcpy(&x, from + (i + k) * 4, 4);
			memcpy(&y, (const char *)s->data + k * 4, 4);
			x *= y;
			memcpy(data + (i + k) * 4, &x, 4);
		}
	tensor_rest(w);
	return add_bytes(&b, &n->out[0]->type, data);
}

/* ---- weights side by side ---- */

/* Bytes of an operand of a concat from one index of the axes before the concat's own to the next. */
static int64_t concat_part(const struct type *t, int64_t axis)
{
	int64_t bytes = dtype_bits(t->dtype) / 8;

	for (int i = (int)axis; i < t->rank; i++)
		bytes *= t->dims[i]->value;
	return bytes;
}

/* %y = concat(const, const, ..)          =>   const */
static struct value *fold_concat(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct type *y = &n->out[0]->type;
	int64_t bytes = type_bytes_const(y), axis = ATTRS_OF(concat, n)->axis, at = 0, row = 0;
	char *data;

	if (bytes <= SMALL_BYTES || dtype_bits(y->dtype) < 8)
		return NULL;
	for (int i = 0; i < n->in_count; i++)
		if (!value_const(n->in[i]) || value_const(n->in[i])->kind != TENSOR_BYTES)
			return NULL;
	data = arena_alloc(c->graph->arena, (size_t)bytes);
	for (; at < bytes; row++)
		for (int i = 0; i < n->in_count; i++) {
			int64_t part = concat_part(&n->in[i]->type, axis);

			memcpy(data + at, (const char *)value_const(n->in[i])->data + row * part,
			       (size_t)part);
			at += part;
		}
	for (int i = 0; i < n->in_count; i++)
		tensor_rest(value_const(n->in[i]));
	return add_bytes(&b, y, data);
}

static struct value *fold_here(struct pass_context *c, struct node *n, void *self)
{
	struct value *v = fold_elems(c, n);

	(void)self;
	if (v)
		return v;
	return n->op == OP_transpose ? fold_transpose(c, n)
	       : n->op == OP_map     ? fold_scaling(c, n)
	       : n->op == OP_concat  ? fold_concat(c, n)
				     : NULL;
}

/* ---- by the engine ---- */

static bool is_const_or_folds(const struct fold *f, const struct value *v)
{
	return value_const(v) || (v->id < f->id_count && f->folds[v->id]);
}

static bool varies_expr(const struct expr *e, void *self)
{
	(void)self;
	return e->op == EXPR_DIM && !dim_is_const(e->size);
}

/* Whether n says something in dims that are known at run time only: `map() () -> K == 0`, a slice at [N - 1]. */
static bool varies(const struct node *n)
{
	for (int i = 0; i < op_table[n->op].attr_count; i++) {
		const struct attr_row *r = &op_table[n->op].attrs[i];
		const void *field = (const char *)n->attrs + r->offset;
		const struct dims *dims = field;

		if (r->kind == ATTR_DIM && *(const dim *)field &&
		    !dim_is_const(*(const dim *)field))
			return true;
		for (int k = 0; r->kind == ATTR_DIMS && k < dims->count; k++)
			if (!dim_is_const(dims->at[k]))
				return true;
	}
	return n->expr && expr_any(n->expr, varies_expr, NULL);
}

/* A weight of few bits that is made numbers for a contraction, which unpacks it by itself or computes in integers; or
 * a table of which a gather takes rows. */
static bool unpacks_factor(const struct fold *f, const struct node *n)
{
	const struct value *y = n->out[0];

	if (n->op != OP_map || y->id >= f->id_count || !f->factors[y->id] ||
	    !dtype_is_float(y->type.dtype))
		return false;
	for (int i = 0; i < n->in_count; i++)
		if (dtype_class(n->in[i]->type.dtype) != DTYPE_FLOAT &&
		    dtype_bits(n->in[i]->type.dtype) <= 8 && same_dims(&n->in[i]->type, &y->type))
			return true;
	return false;
}

static bool is_foldable(const struct fold *f, const struct node *n)
{
	int64_t bytes, in_bytes = 0;

	if (!is_pure(n) || !(op_table[n->op].flags & OP_LOWERS) || n->symbol_count ||
	    n->region_count || n->out_count != 1 || n->op == OP_shape || is_scaling(n) ||
	    node_is_byte_factor(n) || unpacks_factor(f, n) || varies(n))
		return false;
	bytes = type_bytes_const(&n->out[0]->type);
	for (int i = 0; i < n->in_count; i++) {
		if (!n->in[i] || !is_const_or_folds(f, n->in[i]) ||
		    type_bytes_const(&n->in[i]->type) < 0)
			return false;
		if (!value_const(n->in[i]) || value_const(n->in[i])->kind == TENSOR_BYTES)
			in_bytes += type_bytes_const(&n->in[i]->type);
	}
	return bytes >= 0 && (bytes <= SMALL_BYTES || bytes <= 2 * in_bytes);
}

static void want(struct fold *f, struct value *v)
{
	if (v->id >= f->id_count || !f->folds[v->id] || f->wants[v->id])
		return;
	f->wants[v->id] = true;
	ARENA_PUSH(f->c->scratch, &f->wanted, v);
}

/* Backwards, so that movement after a value is known. */
static void find_factors(struct fold *f, const struct region *r)
{
	for (const struct node *n = r->last; n; n = n->prev) {
		bool contracts = n->op == OP_matmul || n->op == OP_conv,
		     moves = n->op == OP_transpose || n->op == OP_reshape;

		for (int i = 0; i < n->region_count; i++)
			find_factors(f, n->regions[i]);
		if (n->op == OP_gather)
			f->factors[n->in[0]->id] = true;
		if (contracts || (moves && f->factors[n->out[0]->id]))
			for (int i = 0; i < n->in_count; i++)
				f->factors[n->in[i]->id] = true;
	}
}

static bool mark(struct node *n, void *self)
{
	struct fold *f = self;

	if (n->out_count == 1 && n->op != OP_const && is_foldable(f, n)) {
		f->folds[n->out[0]->id] = true;
		ARENA_PUSH(f->c->scratch, &f->nodes, n);
		return true;
	}
	for (int i = 0; i < n->in_count; i++)
		if (n->in[i])
			want(f, n->in[i]);
	return true;
}

static void want_results(struct fold *f, const struct region *r)
{
	for (int i = 0; i < r->result_count; i++)
		want(f, r->results[i]);
	for (const struct node *n = r->first; n; n = n->next)
		for (int i = 0; i < n->region_count; i++)
			want_results(f, n->regions[i]);
}

/* Copies what these values are made of into the region of b; map as in node_clone. */
static bool copy_closure(struct fold *f, struct builder *b, int count, struct value *const *values,
			 struct value **map)
{
	bool *needs = ARENA_ARRAY(f->c->scratch, bool, f->id_count + 1);

	for (int i = 0; i < count; i++)
		needs[values[i]->id] = true;
	for (int i = f->nodes.count - 1; i >= 0; i--)
		for (int k = 0; needs[f->nodes.at[i]->out[0]->id] && k < f->nodes.at[i]->in_count;
		     k++)
			if (f->nodes.at[i]->in[k]->id < f->id_count)
				needs[f->nodes.at[i]->in[k]->id] = true;
	for (int i = 0; i < f->nodes.count; i++) {
		struct node *n = f->nodes.at[i];

		if (!needs[n->out[0]->id])
			continue;
		for (int k = 0; k < n->in_count; k++)
			if (!map[n->in[k]->id] && !node_clone(b, n->in[k]->def, map))
				return false;
		if (!node_clone(b, n, map))
			return false;
	}
	return true;
}

/* A constant with a copy of the data; a splat where all elements are equal. */
static struct value *result_const(struct pass_context *c, struct value *v, const hone_tensor *t)
{
	struct builder b = build_before(c, v->def);
	int64_t count = type_count_const(&v->type), size = dtype_bits(v->type.dtype) / 8;
	const char *data = t->data;
	struct tensor out = {
		.kind = TENSOR_BYTES, .data = data, .size = type_bytes_const(&v->type)};

	if (size && count > 1 && !memcmp(data, data + size, (size_t)((count - 1) * size))) {
		out.splat = tensor_element(&out, v->type.dtype, 0);
		out.kind = TENSOR_SPLAT;
	} else {
		out.data = arena_copy(c->graph->arena, data, (size_t)out.size);
	}
	return add_const(&b, &v->type, &out);
}

/* Runs the computation of these values as a graph of its own: the graph's body is set aside meanwhile, as
 * the copy shares its dims and expressions. */
static bool run_values(struct fold *f, int count, struct value **values)
{
	struct pass_context *c = f->c;
	struct graph *g = c->graph, saved = *g;
	struct value **map = ARENA_ARRAY(c->scratch, struct value *, g->value_count + 1);
	hone_tensor *out = ARENA_ARRAY(c->scratch, hone_tensor, count);
	const char **names = ARENA_ARRAY(c->scratch, const char *, count);
	struct value **results = ARENA_ARRAY(c->scratch, struct value *, count);
	struct diag ignored = {0};
	struct builder b = {.graph = g, .diag = &ignored};
	struct engine_program *program = NULL;
	bool ok;

	g->body = b.region = region_new(g);
	g->requires.count = 0;
	g->requires.at = NULL;
	g->requires.room = 0;
	ok = copy_closure(f, &b, count, values, map);
	for (int i = 0; i < count; i++) {
		names[i] = "folded";
		results[i] = ok ? map[values[i]->id] : NULL;
	}
	if (ok) {
		graph_set_outputs(g, count, results, names);
		program = c->engine->compile(c->engine, g, 0, NULL, &ignored);
	}
	ok = program && c->engine->run(program, NULL, out, NULL, NULL, &ignored);
	if (program)
		c->engine->release(program);
	g->body = saved.body;
	g->requires.count = saved.requires.count;
	g->requires.at = saved.requires.at;
	g->requires.room = saved.requires.room;
	g->input_names = saved.input_names;
	g->output_names = saved.output_names;
	for (int i = 0; i < count; i++) {
		if (ok) {
			struct value *v = result_const(c, values[i], &out[i]);

			if (v && type_equal(&v->type, &values[i]->type)) {
				value_replace(values[i], v);
				c->changes++;
			}
		}
		free(out[i].data);
	}
	diag_reset(&ignored);
	return ok;
}

bool pass_fold_constants(struct pass_context *c)
{
	struct fold f = {.c = c};

	rewrite_graph(c, fold_here, NULL);
	if (!c->engine)
		return true;
	f.id_count = c->graph->value_count;
	f.folds = ARENA_ARRAY(c->scratch, bool, f.id_count + 1);
	f.wants = ARENA_ARRAY(c->scratch, bool, f.id_count + 1);
	f.factors = ARENA_ARRAY(c->scratch, bool, f.id_count + 1);
	find_factors(&f, c->graph->body);
	graph_walk(c->graph, mark, &f);
	want_results(&f, c->graph->body);
	if (f.wanted.count && !run_values(&f, f.wanted.count, f.wanted.at) && f.wanted.count > 1)
		for (int i = 0; i < f.wanted.count; i++)
			run_values(&f, 1, f.wanted.at + i);
	graph_resolve(c->graph);
	if (f.wanted.count)
		rewrite_graph(c, fold_here, NULL); /* what waited for those */
	return true;
}
