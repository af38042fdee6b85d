/* expr.h: typed scalar expressions, shared by graph IR (the body of a map), kernel IR and passes.
 * Expressions are interned in a pool: equal pointers mean equal expressions, so they are compared,
 * memoized and joined by pointer. They are immutable.
 *
 * Every expression has a type; there is no implicit conversion. Types are compute types only
 * (dtype.h): a load of f16 has type f32. Index expressions have type i64. */
#ifndef IR_EXPR_H
#define IR_EXPR_H

#include "ir/dim.h"
#include "ir/dtype.h"

enum expr_op {
#define SCALAR(id, text, arity, form, rule) EXPR_##id,
#include "ir/scalar.def"
#undef SCALAR
	EXPR_SCALAR_COUNT,
	/* casts: arg[0] to `type` */
	EXPR_CAST = EXPR_SCALAR_COUNT,
	EXPR_SAT_CAST,
	EXPR_BITS_CAST,
	/* leaves */
	EXPR_LITERAL, /* i (integers, bool) or f (floats) */
	EXPR_PARAM,   /* operand number `index` of a map or attention body */
	EXPR_DIM,     /* the value of `size`, an i64 */
	EXPR_AXIS,    /* the value of axis `index` of the pool, an i64 */
	EXPR_VAR,     /* the value of kernel variable `index` (kernel.h, STMT_SET) */
	/* kernel IR only */
	EXPR_LOAD, /* kernel buffer `index` at arg[0..count) ; out-of-range gathers fail the run */
	EXPR_CHECK, /* arg[0] if 0 <= arg[0] < arg[1], else the run fails (index out of range) and it is 0 */
	EXPR_REDUCE, /* `reduce` over `axes` of arg[0]; empty: the kind's identity */
};

enum reduce_kind {
	REDUCE_SUM,
	REDUCE_PROD,
	REDUCE_MIN, /* NaN propagates; identity +inf or the type's largest value */
	REDUCE_MAX,
	REDUCE_ANY, /* bool */
	REDUCE_ALL,
	REDUCE_ARGMIN, /* i64: the position, linear over the axes; the first of equals; NaN never wins unless first */
	REDUCE_ARGMAX,
	REDUCE_ARGMIN_LAST, /* the last of equals */
	REDUCE_ARGMAX_LAST,
	REDUCE_KIND_COUNT
};
/* "sum", "prod", ... */
extern const char *const reduce_names[REDUCE_KIND_COUNT + 1];

struct expr {
	uint8_t op, type; /* enum expr_op, enum dtype */
	uint8_t reduce;   /* EXPR_REDUCE: enum reduce_kind */
	uint8_t axis_count;
	int32_t id; /* dense, in order of creation: operands have smaller ids */
	int32_t index;
	int32_t count;
	union {
		int64_t i;
		double f;
		dim size;
		const int32_t *axes; /* EXPR_REDUCE */
	};
	const struct expr *const *arg;
};

/* An axis of a kernel: `for name < extent`. Unique in its pool, so substitution never captures. */
struct axis {
	const char *name;
	dim extent;
};

struct expr_table;

struct expr_pool {
	struct arena *arena;
	struct dim_pool *dims;
	struct expr_table *table;
	int count; /* expressions so far: ids are below it */
	struct axis *axes;
	int axis_count, axis_room;
};

void expr_pool_init(struct expr_pool *p, struct arena *a, struct dim_pool *dims);

/* ---- constructors. They fold constants and apply x+0, x*1, x*0 (integers), c?a:a and the like. ---- */

const struct expr *expr_int(struct expr_pool *p, enum dtype t,
			    int64_t value); /* also for float types */
const struct expr *expr_real(struct expr_pool *p, enum dtype t, double value);
const struct expr *expr_index(struct expr_pool *p, int64_t value); /* i64 literal */
const struct expr *expr_param(struct expr_pool *p, enum dtype t, int index);
const struct expr *expr_dim(struct expr_pool *p, dim d);
int axis_add(struct expr_pool *p, const char *name, dim extent);
const struct expr *expr_axis(struct expr_pool *p, int axis);
const struct expr *expr_var(struct expr_pool *p, enum dtype t, int index);

const struct expr *expr_unary(struct expr_pool *p, enum expr_op op, const struct expr *a);
const struct expr *expr_binary(struct expr_pool *p, enum expr_op op, const struct expr *a,
			       const struct expr *b);
const struct expr *expr_select(struct expr_pool *p, const struct expr *c, const struct expr *a,
			       const struct expr *b);
/* EXPR_CAST, EXPR_SAT_CAST or EXPR_BITS_CAST to compute type t; a cast to its own type is the operand. */
const struct expr *expr_cast(struct expr_pool *p, enum expr_op op, enum dtype t,
			     const struct expr *a);
const struct expr *expr_load(struct expr_pool *p, enum dtype t, int buffer, int count,
			     const struct expr *const *index);
const struct expr *expr_check(struct expr_pool *p, const struct expr *index,
			      const struct expr *extent);
const struct expr *expr_reduce(struct expr_pool *p, enum reduce_kind kind, int count,
			       const int *axes, const struct expr *body);
/* Shorthands for i64 index arithmetic; `/` and rem of values known to be >= 0. */
const struct expr *index_add(struct expr_pool *p, const struct expr *a, const struct expr *b);
const struct expr *index_sub(struct expr_pool *p, const struct expr *a, const struct expr *b);
const struct expr *index_mul(struct expr_pool *p, const struct expr *a, const struct expr *b);
const struct expr *index_div(struct expr_pool *p, const struct expr *a, const struct expr *b);
const struct expr *index_rem(struct expr_pool *p, const struct expr *a, const struct expr *b);

/* The same node with other operands (arg has e->count entries). */
const struct expr *expr_rebuild(struct expr_pool *p, const struct expr *e,
				const struct expr *const *arg);

/* ---- questions ---- */

/* The type an operation gives for operand types, DT_NONE when they do not fit its rule. */
enum dtype scalar_result(enum expr_op op, const enum dtype *operands);
int scalar_arity(enum expr_op op);
const char *scalar_text(enum expr_op op); /* of scalar.def */
bool expr_is_literal(const struct expr *e, double value);

/* Bounds of an i64 expression over the axes' extents (all axes run from 0 to extent-1) and the symbols'
 * ranges; false when there are none. */
bool expr_range(const struct expr_pool *p, const struct expr *e, int64_t *low, int64_t *high);

/* e >= 0 and e < bound, proved symbolically for all axis values (so that (a*T + b) / T is a). */
bool expr_below(struct expr_pool *p, const struct expr *e, dim bound);

/* An i64 expression as constant + sum of coef[k] * term[k]; each term an axis, or an opaque i64
 * expression (a load, a division that does not simplify). */
#define AFFINE_MAX 16
struct affine {
	dim constant;
	int count;
	const struct expr *term[AFFINE_MAX];
	dim coef[AFFINE_MAX];
};
/* False only when it has more than AFFINE_MAX terms. */
bool expr_affine(struct expr_pool *p, const struct expr *e, struct affine *out);
const struct expr *affine_expr(struct expr_pool *p, const struct affine *a);
/* The coefficient of `axis` in e: a constant-per-run dim; NULL when e depends on it otherwise. */
dim affine_coef(struct expr_pool *p, const struct expr *e, int axis);

/* ---- substitution: bottom-up rewriting with memoization ---- */

/* Returns a replacement for e (whose operands are already rewritten), or NULL to keep it. */
typedef const struct expr *expr_rewrite_fn(struct expr_pool *p, const struct expr *e, void *self);
const struct expr *expr_rewrite(struct expr_pool *p, const struct expr *e, expr_rewrite_fn *fn,
				void *self);

/* EXPR_PARAM i becomes with[i]. */
const struct expr *expr_bind_params(struct expr_pool *p, const struct expr *e,
				    const struct expr *const *with);
/* EXPR_AXIS axes[i] becomes with[i]. */
const struct expr *expr_bind_axes(struct expr_pool *p, const struct expr *e, int count,
				  const int *axes, const struct expr *const *with);

/* Whether e reads the axis (outside of a reduce that binds it); whether a node satisfies a test. */
bool expr_uses_axis(const struct expr *e, int axis);
bool expr_any(const struct expr *e, bool (*test)(const struct expr *e, void *self), void *self);

/* ---- the scalar interpreter: the oracle (scalar.c) ---- */

/* A scalar value: i holds integers and bool (sign- or zero-extended), f floats. */
union scalar {
	int64_t i;
	double f;
};
/* One operation on operand values of type `operand`; result of type `result`. f32 results are rounded
 * to f32. Casts: op EXPR_CAST etc., from `operand` to `result`. */
union scalar scalar_eval(enum expr_op op, enum dtype operand, enum dtype result,
			 const union scalar *arg);

/* ---- text (expr_text.c) ---- */

/* Prints e in the scalar grammar. name(self, e) gives the text of leaves other than literals, and of
 * loads; it may return NULL to have `axis3`, `param0`, ... */
typedef const char *expr_name_fn(void *self, const struct expr *e);
const char *expr_text(struct arena *a, const struct expr_pool *p, const struct expr *e,
		      expr_name_fn *name, void *self);
/* The shortest text that reads back equal; always with a `.` or an exponent, or `inf`, `nan`, `-inf`. */
const char *real_text(struct arena *a, enum dtype t, double x);

#endif
