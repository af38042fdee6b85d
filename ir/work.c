/* work.c: operations and bytes of a kernel, from the axes that each expression depends on.
 *
 * Lowering is naive: a softmax has its exponentials twice, under an axis of the sum and under one of the result, and drivers
 * compute them once. So expressions that differ in axes of equal extents only are one. */
#include "ir/work.h"

#include <string.h>

enum { AXES_MAX = 64 }; /* of one statement and its loops: bits of a set */

/* The loops around the stores to a local, or around the sets of a variable: it has a value for each of their iterations. */
struct scope {
	int axes[AXES_MAX], count;
};

struct counter {
	const struct kernel *k;
	const int64_t *symbols;
	struct arena scratch;
	int axes[AXES_MAX], axis_count;
	uint64_t around; /* the loops around the statement */
	uint64_t *set;   /* by expression id: the axes it depends on */
	bool *is_known;  /* by expression id, in this statement */
	uint64_t *shape; /* by expression id: a hash that axes of equal extents do not change */
	double *touched; /* by buffer: elements */
	struct scope *locals, *vars; /* by buffer, by variable */
	double operations;
	struct {
		uint64_t *at;
		int count, room;
	} done; /* shapes of what was counted */
};

static uint64_t axis_bit(struct counter *c, int axis)
{
	int i = 0;

	while (i < c->axis_count && c->axes[i] != axis)
		i++;
	if (i == AXES_MAX)
		BUG("kernel %s: a statement with more than %d axes", c->k->name, AXES_MAX);
	c->axes[i] = axis;
	c->axis_count += i == c->axis_count;
	return (uint64_t)1 << i;
}

/* Points in the space of these axes. */
static double points(const struct counter *c, uint64_t set)
{
	double product = 1;

	for (int i = 0; i < c->axis_count; i++)
		if (set >> i & 1)
			product *=
				(double)dim_eval(c->k->exprs->axes[c->axes[i]].extent, c->symbols);
	return product;
}

static bool is_comparison(const struct expr *e)
{
	switch (e->op) {
	case EXPR_LT:
	case EXPR_LE:
	case EXPR_GT:
	case EXPR_GE:
	case EXPR_EQ:
	case EXPR_NE: return true;
	default: return false;
	}
}

static bool is_arithmetic(const struct expr *e)
{
	return e->op < EXPR_SCALAR_COUNT && e->op != EXPR_SELECT && !is_comparison(e);
}

/* Whether operand i of e is an address, or compared like one. */
static bool is_index(const struct expr *e, int i)
{
	return e->op == EXPR_LOAD || (e->op == EXPR_CHECK && i == 1) ||
	       (is_comparison(e) && e->arg[0]->type == DT_I64);
}

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x9e3779b97f4a7c15u ^ h >> 29; }

static uint64_t shape(struct counter *c, const struct expr *e)
{
	uint64_t h = mix(mix(e->op, e->type), e->reduce);

	if (c->shape[e->id])
		return c->shape[e->id];
	for (int i = 0; i < e->count; i++)
		h = mix(h, shape(c, e->arg[i]));
	if (e->op == EXPR_AXIS)
		h = mix(h, (uintptr_t)c->k->exprs->axes[e->index].extent);
	else if (e->op == EXPR_LOAD || e->op == EXPR_PARAM || e->op == EXPR_VAR)
		h = mix(h, (uint64_t)e->index);
	else if (e->op == EXPR_LITERAL || e->op == EXPR_DIM)
		h = mix(h, (uint64_t)e->id);
	for (int i = 0; e->op == EXPR_REDUCE && i < e->axis_count; i++)
		h = mix(h, (uintptr_t)c->k->exprs->axes[e->axes[i]].extent);
	return c->shape[e->id] = h | 1;
}

static void count_operation(struct counter *c, const struct expr *e, uint64_t set)
{
	uint64_t h = shape(c, e);

	for (int i = 0; i < c->done.count; i++)
		if (c->done.at[i] == h)
			return;
	ARENA_PUSH(&c->scratch, &c->done, h);
	c->operations += points(c, set);
}

/* The loops that are around both this statement and what gives the local or variable its values. */
static uint64_t common(struct counter *c, const struct scope *s)
{
	uint64_t set = 0;

	for (int i = 0; i < s->count; i++)
		set |= axis_bit(c, s->axes[i]);
	return set & c->around;
}

/* The axes that e depends on; counts its loads, and its operations unless it is index arithmetic. */
static uint64_t visit(struct counter *c, const struct expr *e, bool index)
{
	uint64_t set = 0, bound = 0;

	if (c->is_known[e->id])
		return c->set[e->id];
	for (int i = 0; i < e->count; i++)
		set |= visit(c, e->arg[i], index || is_index(e, i));
	for (int i = 0; e->op == EXPR_REDUCE && i < e->axis_count; i++)
		bound |= axis_bit(c, e->axes[i]);
	if (e->op == EXPR_AXIS)
		set = axis_bit(c, e->index);
	if (e->op == EXPR_VAR)
		set |= common(c, &c->vars[e->index]);
	if (e->op == EXPR_LOAD && c->k->buffers.at[e->index].role == BUFFER_LOCAL)
		set |= common(c, &c->locals[e->index]);
	if (e->op == EXPR_LOAD)
		c->touched[e->index] += points(c, set);
	if (!index && (e->op == EXPR_REDUCE || is_arithmetic(e)))
		count_operation(c, e, set | bound);
	c->is_known[e->id] = true;
	return c->set[e->id] = set & ~bound;
}

static void find_scopes(struct counter *c, const struct stmt *s, struct scope around)
{
	for (; s; s = s->next) {
		struct scope inside = around;

		if (s->kind == STMT_FOR && inside.count < AXES_MAX)
			inside.axes[inside.count++] = s->axis;
		if (s->kind == STMT_STORE)
			c->locals[s->buffer] = around;
		if (s->kind == STMT_SET)
			c->vars[s->var] = around;
		find_scopes(c, s->body, inside);
	}
}

static void count_store(struct counter *c, const struct stmt *s)
{
	uint64_t set = c->k->buffers.at[s->buffer].role == BUFFER_LOCAL ? c->around : 0;

	for (int i = 0; i < s->rank; i++)
		set |= visit(c, s->index[i], true);
	c->touched[s->buffer] += points(c, set);
	if (s->combine >= 0)
		c->operations += points(c, c->around);
}

/* Statements do not share what they know: an equal expression in another nest is computed again. */
static void count(struct counter *c, const struct stmt *s)
{
	for (; s; s = s->next) {
		uint64_t around = c->around;
		int axis_count = c->axis_count;

		if (s->kind == STMT_FOR)
			c->around |= axis_bit(c, s->axis);
		if (s->value || s->kind == STMT_STORE)
			memset(c->is_known, 0, (size_t)c->k->exprs->count * sizeof(*c->is_known));
		if (s->value)
			visit(c, s->value, s->kind == STMT_WHEN);
		if (s->kind == STMT_STORE)
			count_store(c, s);
		count(c, s->body);
		c->around = around;
		c->axis_count = axis_count;
	}
}

static double buffer_bytes(const struct counter *c, int i, double touched)
{
	const struct type *t = &c->k->buffers.at[i].type;
	double elements = 1;

	for (int d = 0; d < t->rank; d++)
		elements *= (double)dim_eval(t->dims[d], c->symbols);
	return (touched < elements ? touched : elements) * dtype_bits(t->dtype) / 8;
}

/* A routine reads and writes whole buffers. */
static void touch_call(struct counter *c, const struct stmt *s)
{
	for (; s; s = s->next)
		for (int i = 0; s->kind == STMT_CALL && i < s->in_count + s->out_count; i++) {
			int buffer = i < s->in_count ? s->in[i] : s->out[i - s->in_count];

			if (buffer >= 0)
				c->touched[buffer] = 1e300;
		}
}

struct kernel_work kernel_work_of(const struct kernel *k, const int64_t *symbols)
{
	struct counter c = {.k = k, .symbols = symbols};
	struct kernel_work w = {0};

	c.set = ARENA_ARRAY(&c.scratch, uint64_t, k->exprs->count + 1);
	c.is_known = ARENA_ARRAY(&c.scratch, bool, k->exprs->count + 1);
	c.shape = ARENA_ARRAY(&c.scratch, uint64_t, k->exprs->count + 1);
	c.touched = ARENA_ARRAY(&c.scratch, double, k->buffers.count + 1);
	c.locals = ARENA_ARRAY(&c.scratch, struct scope, k->buffers.count + 1);
	c.vars = ARENA_ARRAY(&c.scratch, struct scope, k->vars.count + 1);
	find_scopes(&c, k->body, (struct scope){.count = 0});
	count(&c, k->body);
	touch_call(&c, k->body);
	w.operations = c.operations;
	for (int i = 0; i < k->buffers.count; i++) {
		double bytes = buffer_bytes(&c, i, c.touched[i]);

		if (k->buffers.at[i].role == BUFFER_IN)
			w.in_bytes += bytes;
		else if (k->buffers.at[i].role == BUFFER_OUT)
			w.out_bytes += bytes;
	}
	arena_free(&c.scratch);
	return w;
}
