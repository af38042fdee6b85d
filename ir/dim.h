/* dim.h: sizes that may be symbolic.
 * A dim is an interned expression over symbols, kept as a polynomial in normal form: equal pointers
 * mean equal dims. Equality is sound, not complete: what it cannot prove becomes a check that is
 * compiled into setup() (graph.h, graph_require). */
#ifndef IR_DIM_H
#define IR_DIM_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stdint.h>

enum dim_kind {
	DIM_CONST,  /* value */
	DIM_SYMBOL, /* symbol number `value` */
	DIM_SUM, /* value + coef[0] * arg[0] + ...   (each arg a symbol, product or one of those below) */
	DIM_PRODUCT,  /* arg[0] * arg[1] * ...            (no sums, no constants) */
	DIM_FLOORDIV, /* floor(arg[0] / arg[1]) */
	DIM_CEILDIV,  /* ceil(arg[0] / arg[1]) */
	DIM_MOD,      /* arg[0] - arg[1] * floor(arg[0] / arg[1]) */
	DIM_MIN,
	DIM_MAX,
	DIM_SELECT, /* arg[0] == arg[1] ? arg[2] : arg[3] */
};

struct dim_node {
	enum dim_kind kind;
	int id; /* order of creation within its pool */
	int count;
	int64_t value;
	const int64_t *coef; /* DIM_SUM only */
	const struct dim_node *const *arg;
	int64_t low, high; /* bounds over the symbols' ranges; INT64_MIN and INT64_MAX: none */
	int stage;         /* the highest stage of its symbols */
	int size;          /* nodes when written as a tree; saturates */
};
typedef const struct dim_node *dim;

/* Who gives a symbol its value. */
enum symbol_binding { SYMBOL_INPUT, SYMBOL_NODE, SYMBOL_PARAM };

struct symbol {
	const char *name;
	int64_t min, max; /* max INT64_MAX: no bound */
	dim bound;        /* a symbolic upper bound (nonzero's K <= N), or NULL */
	enum symbol_binding binding;
	int stage; /* 0: known from the input dims; k > 0: after the k-th binding node */
};

struct dim_table; /* hash table of dim.c */

/* All dims and symbols of one module. Zero-initialize, then dim_pool_init. */
struct dim_pool {
	struct arena *arena;
	struct dim_table *table;
	struct symbol *symbols;
	int symbol_count, symbol_room, node_count;
};

void dim_pool_init(struct dim_pool *p, struct arena *a);

/* A new symbol; `name` is copied, and made unique by a suffix if it is taken. Range, bound (may be NULL) and
 * stage are fixed from here on: dims cache what follows from them. Returns its number. */
int symbol_add(struct dim_pool *p, const struct symbol *s);
/* -1 if there is none. */
int symbol_find(const struct dim_pool *p, const char *name);

dim dim_const(struct dim_pool *p, int64_t value);
dim dim_symbol(struct dim_pool *p, int symbol);
dim dim_add(struct dim_pool *p, dim a, dim b);
dim dim_sub(struct dim_pool *p, dim a, dim b);
dim dim_mul(struct dim_pool *p, dim a, dim b);
dim dim_floordiv(struct dim_pool *p, dim a, dim b); /* division by zero evaluates to 0 */
dim dim_ceildiv(struct dim_pool *p, dim a, dim b);
dim dim_mod(struct dim_pool *p, dim a, dim b);
dim dim_min(struct dim_pool *p, dim a, dim b);
dim dim_max(struct dim_pool *p, dim a, dim b);
dim dim_select(struct dim_pool *p, dim a, dim b, dim then,
	       dim otherwise); /* a == b ? then : otherwise */

/* The size of an axis where sizes a and b meet by broadcasting: equal, or one of them 1. */
dim dim_broadcast(struct dim_pool *p, dim a, dim b);

static inline bool dim_is_const(dim d) { return d->kind == DIM_CONST; }
bool dim_is(dim d, int64_t value);

/* Bounds that hold for all values of the symbols within their ranges; saturate at INT64_MIN/MAX. */
static inline int64_t dim_lower(dim d) { return d->low; }
static inline int64_t dim_upper(dim d) { return d->high; }

/* True when a % b == 0 is proved (b > 0). */
bool dim_divides(struct dim_pool *p, dim b, dim a);

/* An upper bound of d in which only symbols of stage 0 occur; NULL if there is none (an unbounded
 * node-bound symbol, or a form that is not monotonic in it). */
dim dim_static_bound(struct dim_pool *p, dim d);

/* The highest stage of the symbols in d; 0 for a constant. */
static inline int dim_stage(dim d) { return d->stage; }

/* The value for symbol values `symbols`; products saturate. */
int64_t dim_eval(dim d, const int64_t *symbols);

/* d with symbol i replaced by with[i] where that is not NULL (with has symbol_count entries). */
dim dim_substitute(struct dim_pool *p, dim d, const dim *with);

/* Text such as `N*2 + 1`, `max(N, 3)`, `floordiv(H + 1, 2)`; parsed back by the IR parser. */
const char *dim_text(const struct dim_pool *p, struct arena *a, dim d);

#endif
