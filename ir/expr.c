/* expr.c: interned scalar expressions and their constructors. */
#include "ir/expr.h"

#include <math.h>
#include <string.h>

const char *const reduce_names[REDUCE_KIND_COUNT + 1] = {
	"sum",    "prod",   "min",         "max",         "any", "all",
	"argmin", "argmax", "argmin_last", "argmax_last", NULL};

enum scalar_rule {
	RULE_ARITH,
	RULE_FLOAT,
	RULE_INTEGER,
	RULE_BITS,
	RULE_COMPARE,
	RULE_LOGIC,
	RULE_CHOOSE
};

static const struct {
	const char *text;
	int arity;
	enum scalar_rule rule;
} scalars[EXPR_SCALAR_COUNT] = {
#define SCALAR(id, text, arity, form, rule) {text, arity, RULE_##rule},
#include "ir/scalar.def"
#undef SCALAR
};

int scalar_arity(enum expr_op op)
{
	return op < EXPR_SCALAR_COUNT ? scalars[op].arity : op <= EXPR_BITS_CAST ? 1 : 0;
}

const char *scalar_text(enum expr_op op)
{
	return op < EXPR_SCALAR_COUNT ? scalars[op].text : NULL;
}

enum dtype scalar_result(enum expr_op op, const enum dtype *t)
{
	bool is_float = dtype_is_float(t[0]), is_int = dtype_is_int(t[0]),
	     is_bool = t[0] == DT_BOOL;

	if (op >= EXPR_SCALAR_COUNT || dtype_compute(t[0]) != t[0])
		return DT_NONE;
	if (scalars[op].arity == 2 && t[0] != t[1])
		return DT_NONE;
	switch (scalars[op].rule) {
	case RULE_ARITH:
		return is_float || is_int || (is_bool && (op == EXPR_MIN || op == EXPR_MAX))
			       ? t[0]
			       : DT_NONE;
	case RULE_FLOAT: return is_float ? t[0] : DT_NONE;
	case RULE_INTEGER: return is_int ? t[0] : DT_NONE;
	case RULE_BITS: return is_int || is_bool ? t[0] : DT_NONE;
	case RULE_COMPARE: return is_float || is_int || is_bool ? DT_BOOL : DT_NONE;
	case RULE_LOGIC: return is_bool ? DT_BOOL : DT_NONE;
	default: return is_bool && t[1] == t[2] ? t[1] : DT_NONE;
	}
}

/* ---- interning ---- */

struct expr_table {
	const struct expr **slot;
	int size;
};

void expr_pool_init(struct expr_pool *p, struct arena *a, struct dim_pool *dims)
{
	*p = (struct expr_pool){.arena = a, .dims = dims};
	p->table = ARENA_NEW(a, struct expr_table);
	p->table->size = 256;
	p->table->slot = ARENA_ARRAY(a, const struct expr *, 256);
}

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x9e3779b97f4a7c15u ^ (h >> 29); }

/* Hashes by ids, not by addresses, so that nothing depends on where memory lies. */
static uint64_t hash(const struct expr *e)
{
	uint64_t h = mix(e->op * 64u + e->type, (uint64_t)e->index);

	if (e->op == EXPR_DIM)
		h = mix(h, (uint64_t)e->size->id);
	else if (e->op == EXPR_LITERAL)
		h = mix(h, (uint64_t)e->i);
	for (int i = 0; e->op == EXPR_REDUCE && i < e->axis_count; i++)
		h = mix(h, (uint64_t)e->axes[i] + e->reduce);
	for (int i = 0; i < e->count; i++)
		h = mix(h, (uint64_t)e->arg[i]->id + 1);
	return h ^ h >> 32;
}

static bool same(const struct expr *a, const struct expr *b)
{
	if (a->op != b->op || a->type != b->type || a->index != b->index || a->count != b->count ||
	    a->reduce != b->reduce || a->axis_count != b->axis_count)
		return false;
	if (a->op == EXPR_REDUCE) {
		if (memcmp(a->axes, b->axes, a->axis_count * sizeof(*a->axes)))
			return false;
	} else if (a->i != b->i) { /* literals and dims: the same bits */
		return false;
	}
	return a->count == 0 || !memcmp(a->arg, b->arg, (size_t)a->count * sizeof(*a->arg));
}

static void grow_table(struct expr_pool *p)
{
	struct expr_table *t = p->table;
	const struct expr **old = t->slot;
	int size = t->size;

	t->size *= 2;
	t->slot = ARENA_ARRAY(p->arena, const struct expr *, t->size);
	for (int i = 0; i < size; i++) {
		uint64_t at;

		if (!old[i])
			continue;
		for (at = hash(old[i]); t->slot[at & (uint64_t)(t->size - 1)]; at++)
			;
		t->slot[at & (uint64_t)(t->size - 1)] = old[i];
	}
}

static const struct expr *intern(struct expr_pool *p, struct expr key)
{
	struct expr_table *t = p->table;
	uint64_t at = hash(&key);
	const struct expr *found;
	struct expr *e;

	for (; (found = t->slot[at & (uint64_t)(t->size - 1)]); at++)
		if (same(found, &key))
			return found;
	e = arena_copy(p->arena, &key, sizeof(key));
	e->id = p->count++;
	if (key.count)
		e->arg = arena_copy(p->arena, key.arg, (size_t)key.count * sizeof(*key.arg));
	if (key.op == EXPR_REDUCE)
		e->axes = arena_copy(p->arena, key.axes, key.axis_count * sizeof(*key.axes));
	t->slot[at & (uint64_t)(t->size - 1)] = e;
	if (p->count * 2 > t->size)
		grow_table(p);
	return e;
}

/* ---- leaves ---- */

static const struct expr *literal(struct expr_pool *p, enum dtype t, union scalar v)
{
	struct expr key = {.op = EXPR_LITERAL, .type = (uint8_t)t};

	if (dtype_is_float(t))
		key.f = v.f;
	else
		key.i = v.i;
	return intern(p, key);
}

const struct expr *expr_real(struct expr_pool *p, enum dtype t, double value)
{
	enum dtype from = DT_F64;
	union scalar v = {.f = value};

	if (t == DT_F64 || isnan(value))
		return literal(p, t, v);
	return literal(p, t, scalar_eval(EXPR_CAST, from, t, &v));
}

const struct expr *expr_int(struct expr_pool *p, enum dtype t, int64_t value)
{
	union scalar v = {.i = value};

	return literal(p, t, t == DT_I64 ? v : scalar_eval(EXPR_CAST, DT_I64, t, &v));
}

const struct expr *expr_index(struct expr_pool *p, int64_t value)
{
	return expr_int(p, DT_I64, value);
}

const struct expr *expr_param(struct expr_pool *p, enum dtype t, int index)
{
	return intern(p, (struct expr){.op = EXPR_PARAM, .type = (uint8_t)t, .index = index});
}

const struct expr *expr_dim(struct expr_pool *p, dim d)
{
	if (dim_is_const(d))
		return expr_index(p, d->value);
	return intern(p, (struct expr){.op = EXPR_DIM, .type = DT_I64, .size = d});
}

int axis_add(struct expr_pool *p, const char *name, dim extent)
{
	if (p->axis_count == p->axis_room)
		p->axes = arena_grow(p->arena, p->axes, &p->axis_room, sizeof(*p->axes));
	p->axes[p->axis_count] = (struct axis){arena_text(p->arena, name), extent};
	return p->axis_count++;
}

const struct expr *expr_axis(struct expr_pool *p, int axis)
{
	return intern(p, (struct expr){.op = EXPR_AXIS, .type = DT_I64, .index = axis});
}

const struct expr *expr_var(struct expr_pool *p, enum dtype t, int index)
{
	return intern(p, (struct expr){.op = EXPR_VAR, .type = (uint8_t)t, .index = index});
}

/* ---- operations ---- */

bool expr_is_literal(const struct expr *e, double value)
{
	if (e->op != EXPR_LITERAL)
		return false;
	return dtype_is_float(e->type) ? e->f == value && !(value == 0 && signbit(e->f))
				       : (double)e->i == value;
}

static const struct expr *operation(struct expr_pool *p, enum expr_op op, enum dtype type,
				    int count, const struct expr *const *arg)
{
	union scalar v[3];
	bool constant = true;

	for (int i = 0; i < count; i++) {
		constant &= arg[i]->op == EXPR_LITERAL;
		if (dtype_is_float(arg[i]->type))
			v[i].f = arg[i]->f;
		else
			v[i].i = arg[i]->i;
	}
	if (constant)
		return literal(p, type,
			       scalar_eval(op, arg[op == EXPR_SELECT ? 1 : 0]->type, type, v));
	return intern(
		p, (struct expr){
			   .op = (uint8_t)op, .type = (uint8_t)type, .count = count, .arg = arg});
}

const struct expr *expr_unary(struct expr_pool *p, enum expr_op op, const struct expr *a)
{
	enum dtype t = a->type;

	t = scalar_result(op, &t);
	return t ? operation(p, op, t, 1, &a) : NULL;
}

/* x + 0, x - 0, x * 1, x / 1 for any type but float x + 0 (it turns -0 into 0); x * 0 for integers. */
static const struct expr *identity(struct expr_pool *p, enum expr_op op, const struct expr *a,
				   const struct expr *b)
{
	bool integer = dtype_is_int(a->type);

	switch (op) {
	case EXPR_ADD:
		if (integer && expr_is_literal(a, 0))
			return b;
		return integer && expr_is_literal(b, 0) ? a : NULL;
	case EXPR_SUB: return expr_is_literal(b, 0) ? a : NULL;
	case EXPR_MUL:
		if (integer && (expr_is_literal(a, 0) || expr_is_literal(b, 0)))
			return expr_int(p, a->type, 0);
		if (expr_is_literal(a, 1))
			return b;
		return expr_is_literal(b, 1) ? a : NULL;
	case EXPR_DIV: return expr_is_literal(b, 1) ? a : NULL;
	case EXPR_MIN:
	case EXPR_MAX:
	case EXPR_AND:
	case EXPR_OR: return a == b ? a : NULL;
	default: return NULL;
	}
}

const struct expr *expr_binary(struct expr_pool *p, enum expr_op op, const struct expr *a,
			       const struct expr *b)
{
	enum dtype t[2] = {a->type, b->type}, type = scalar_result(op, t);
	const struct expr *arg[2] = {a, b}, *simple;

	if (!type)
		return NULL;
	simple = identity(p, op, a, b);
	return simple ? simple : operation(p, op, type, 2, arg);
}

const struct expr *expr_select(struct expr_pool *p, const struct expr *c, const struct expr *a,
			       const struct expr *b)
{
	const struct expr *arg[3] = {c, a, b};

	if (c->type != DT_BOOL || a->type != b->type)
		return NULL;
	if (a == b)
		return a;
	if (c->op == EXPR_LITERAL)
		return c->i ? a : b;
	return operation(p, EXPR_SELECT, a->type, 3, arg);
}

const struct expr *expr_cast(struct expr_pool *p, enum expr_op op, enum dtype t,
			     const struct expr *a)
{
	if (dtype_compute(t) != t || t == DT_STRING)
		return NULL;
	if (op == EXPR_BITS_CAST && dtype_bits(t) != dtype_bits(a->type))
		return NULL;
	return a->type == t ? a : operation(p, op, t, 1, &a);
}

const struct expr *expr_load(struct expr_pool *p, enum dtype t, int buffer, int count,
			     const struct expr *const *index)
{
	return intern(p, (struct expr){.op = EXPR_LOAD,
				       .type = (uint8_t)t,
				       .index = buffer,
				       .count = count,
				       .arg = index});
}

const struct expr *expr_check(struct expr_pool *p, const struct expr *index,
			      const struct expr *extent)
{
	const struct expr *arg[2] = {index, extent};
	int64_t low, high, least, most;

	if (expr_range(p, index, &low, &high) && expr_range(p, extent, &least, &most) && low >= 0 &&
	    high < least)
		return index;
	return intern(p, (struct expr){.op = EXPR_CHECK, .type = DT_I64, .count = 2, .arg = arg});
}

const struct expr *expr_reduce(struct expr_pool *p, enum reduce_kind kind, int count,
			       const int *axes, const struct expr *body)
{
	int32_t list[HONE_MAX_RANK * 2];

	if (count == 0 && kind < REDUCE_ARGMIN)
		return body;
	for (int i = 0; i < count; i++)
		list[i] = axes[i];
	return intern(p, (struct expr){.op = EXPR_REDUCE,
				       .type = kind >= REDUCE_ARGMIN ? DT_I64 : body->type,
				       .reduce = (uint8_t)kind,
				       .axis_count = (uint8_t)count,
				       .count = 1,
				       .axes = list,
				       .arg = &body});
}

const struct expr *expr_rebuild(struct expr_pool *p, const struct expr *e,
				const struct expr *const *arg)
{
	switch (e->op) {
	case EXPR_CAST:
	case EXPR_SAT_CAST:
	case EXPR_BITS_CAST: return expr_cast(p, e->op, e->type, arg[0]);
	case EXPR_LOAD: return expr_load(p, e->type, e->index, e->count, arg);
	case EXPR_CHECK: return expr_check(p, arg[0], arg[1]);
	case EXPR_REDUCE: return expr_reduce(p, e->reduce, e->axis_count, e->axes, arg[0]);
	case EXPR_SELECT: return expr_select(p, arg[0], arg[1], arg[2]);
	case EXPR_ADD:
	case EXPR_SUB:
	case EXPR_MUL:
		if (e->type == DT_I64)
			return e->op == EXPR_ADD   ? index_add(p, arg[0], arg[1])
			       : e->op == EXPR_SUB ? index_sub(p, arg[0], arg[1])
						   : index_mul(p, arg[0], arg[1]);
		return expr_binary(p, e->op, arg[0], arg[1]);
	case EXPR_DIV:
		return e->type == DT_I64 ? index_div(p, arg[0], arg[1])
					 : expr_binary(p, e->op, arg[0], arg[1]);
	case EXPR_REM:
		return e->type == DT_I64 ? index_rem(p, arg[0], arg[1])
					 : expr_binary(p, e->op, arg[0], arg[1]);
	default:
		if (e->count == 0)
			return e;
		return e->count == 1 ? expr_unary(p, e->op, arg[0])
				     : expr_binary(p, e->op, arg[0], arg[1]);
	}
}

/* ---- rewriting ---- */

struct rewrite {
	struct expr_pool *pool;
	expr_rewrite_fn *fn;
	void *self;
	const struct expr **memo; /* by id, for the expressions there were at the start */
	int count;
};

/* A node that its new operands simplify to one of them, or to a leaf, is rewritten already: a parameter bound
 * to another parameter must not be bound again. */
static const struct expr *rewrite(struct rewrite *r, const struct expr *e)
{
	const struct expr *small[8], **arg = small, *now = e, *other;
	bool changed = false, done;

	if (e->id < r->count && r->memo[e->id])
		return r->memo[e->id];
	if (e->count > 8)
		arg = ARENA_ARRAY(r->pool->arena, const struct expr *, e->count);
	for (int i = 0; i < e->count; i++) {
		arg[i] = rewrite(r, e->arg[i]);
		changed |= arg[i] != e->arg[i];
	}
	if (changed)
		now = expr_rebuild(r->pool, e, arg);
	done = changed && !now->count;
	for (int i = 0; i < e->count && changed; i++)
		done |= now == arg[i];
	other = done ? NULL : r->fn(r->pool, now, r->self);
	if (other)
		now = other;
	if (e->id < r->count)
		r->memo[e->id] = now;
	return now;
}

const struct expr *expr_rewrite(struct expr_pool *p, const struct expr *e, expr_rewrite_fn *fn,
				void *self)
{
	struct arena scratch = {0};
	struct rewrite r = {.pool = p, .fn = fn, .self = self, .count = e->id + 1};
	const struct expr *out;

	r.memo = ARENA_ARRAY(&scratch, const struct expr *, r.count);
	out = rewrite(&r, e);
	arena_free(&scratch);
	return out;
}

static const struct expr *bind_param(struct expr_pool *p, const struct expr *e, void *self)
{
	const struct expr *const *with = self;

	(void)p;
	return e->op == EXPR_PARAM ? with[e->index] : NULL;
}

const struct expr *expr_bind_params(struct expr_pool *p, const struct expr *e,
				    const struct expr *const *with)
{
	return expr_rewrite(p, e, bind_param, (void *)with);
}

struct axis_binding {
	int count;
	const int *axes;
	const struct expr *const *with;
};

static const struct expr *bind_axis(struct expr_pool *p, const struct expr *e, void *self)
{
	const struct axis_binding *b = self;

	(void)p;
	for (int i = 0; e->op == EXPR_AXIS && i < b->count; i++)
		if (b->axes[i] == e->index)
			return b->with[i];
	return NULL;
}

const struct expr *expr_bind_axes(struct expr_pool *p, const struct expr *e, int count,
				  const int *axes, const struct expr *const *with)
{
	struct axis_binding b = {count, axes, with};

	return expr_rewrite(p, e, bind_axis, &b);
}

/* ---- questions ---- */

struct search {
	bool (*test)(const struct expr *e, void *self);
	void *self;
	unsigned char *seen;
};

static bool search(struct search *s, const struct expr *e)
{
	if (s->seen[e->id])
		return false;
	s->seen[e->id] = 1;
	if (s->test(e, s->self))
		return true;
	for (int i = 0; i < e->count; i++)
		if (search(s, e->arg[i]))
			return true;
	return false;
}

bool expr_any(const struct expr *e, bool (*test)(const struct expr *e, void *self), void *self)
{
	struct arena scratch = {0};
	struct search s = {test, self, arena_alloc(&scratch, (size_t)e->id + 1)};
	bool found = search(&s, e);

	arena_free(&scratch);
	return found;
}

static bool is_axis(const struct expr *e, void *self)
{
	return e->op == EXPR_AXIS && e->index == *(const int *)self;
}

bool expr_uses_axis(const struct expr *e, int axis) { return expr_any(e, is_axis, &axis); }
