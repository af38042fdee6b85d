/* graph.h: the graph IR, what the model means.
 * A graph is one function: a region of nodes in an order that respects dominance (SSA). Nodes hold
 * regions of their own (if, loop, scan, group). Everything lives in the graph's arena and is freed
 * with it. docs/ir.md describes the text form; verify.h lists the invariants. */
#ifndef IR_GRAPH_H
#define IR_GRAPH_H

#include "ir/attrs.h"
#include "ir/diag.h"
#include "ir/dim.h"
#include "ir/dtype.h"
#include "ir/expr.h"

/* Operators: enum op_id {OP_const, OP_param, ...}. */
enum op_id {
#define OP(id, text, min, max, outs, regions, flags, doc) OP_##id,
#include "ir/ops.def"
#undef OP
	OP_COUNT
};

enum { OP_PURE = 1, OP_LOWERS = 2, OP_MOVES = 4, OP_EXPR = 8, OP_BINDS = 16 };

/* A tensor type. Sequences and optionals hold tensors of type *elem. */
enum type_kind { TYPE_TENSOR, TYPE_SEQUENCE, TYPE_OPTIONAL };
struct type {
	enum type_kind kind;
	enum dtype dtype;
	int rank;
	dim dims[HONE_MAX_RANK];
	const struct type *elem;
};

/* The data of a constant. */
enum tensor_kind {
	TENSOR_BYTES, /* data: C order, little endian, 4-bit types packed; into the mapped model or the arena */
	TENSOR_SPLAT,  /* every element is `splat` */
	TENSOR_RANDOM, /* tensor_random(seed): for tests */
};
struct tensor {
	enum tensor_kind kind;
	const void *data;
	int64_t size; /* bytes of data */
	const void *
		mapped; /* data itself, if it lies in a private mapping of a file that nobody writes to: see tensor_rest.
			     * A tensor that is given other data is no longer mapped. */
	union scalar splat;
	uint64_t seed;
};

/* Attributes: `struct attrs_conv { struct ints stride, dilation; int64_t group; }` and so on. */
enum attr_kind {
	ATTR_INT,
	ATTR_BOOL,
	ATTR_REAL,
	ATTR_INTS,
	ATTR_DIM,
	ATTR_DIMS,
	ATTR_ENUM,
	ATTR_DTYPE,
	ATTR_TEXT,
	ATTR_TENSOR
};
struct attr_row {
	enum op_id op;
	enum attr_kind kind;
	const char *name;
	size_t offset;               /* in the op's attrs struct */
	const char *initial, *names; /* default as text ("!": required), enum names joined by | */
};

struct graph;
struct node;
struct lowering;

struct op_row {
	const char *name, *doc;
	int min_in, max_in, outs, regions, flags;
	size_t attrs_size;
	int attr_count;
	const struct attr_row *attrs;
	/* Fills the types of n->out (and value.elems) from operands, attributes and regions; reports a
	 * mismatch. What cannot be decided statically becomes graph_require. */
	bool (*infer)(struct graph *g, struct node *n, struct diag *d);
	/* Adds the node's computation to a kernel (lower.h). NULL unless OP_LOWERS. */
	bool (*lower)(struct lowering *l, const struct node *n);
};
extern const struct op_row op_table[OP_COUNT];
/* OP_COUNT if there is none of that name. */
enum op_id op_by_name(const char *name, size_t length);

struct region;

struct value {
	int id;           /* unique in the graph */
	const char *name; /* without the %; unique in the graph; may be NULL: then "v<id>" */
	struct type type;
	struct node *def;      /* NULL: a parameter of `region` */
	struct region *region; /* of a parameter */
	int index;             /* result or parameter number */
	/* What is known of a small integer tensor's elements in C order (at most 64): shape arithmetic.
	 * NULL, or one dim for each element; single elements may be NULL. */
	const dim *elems;
	struct value *forward; /* set by value_replace until graph_resolve */
};

struct node {
	enum op_id op;
	int in_count, out_count, region_count, symbol_count;
	struct value **in, **out;
	void *attrs;             /* struct attrs_OP */
	const struct expr *expr; /* OP_EXPR: parameters are EXPR_PARAM 0.. */
	struct region **regions;
	int *symbols;   /* OP_BINDS: what it binds, in order */
	struct loc loc; /* the ONNX node it came from */
	struct node *prev, *next;
	struct region *parent;
};

struct region {
	struct value **params;
	int param_count, result_count;
	struct value **results;
	struct node *first, *last;
	struct node *owner; /* NULL: the function's body */
};

/* left == right must hold at run time. The message names the node it came from. */
struct require {
	dim left, right;
	const struct node *node;
	const char *what; /* e.g. "dims of axis 1 of operands 0 and 1" */
};

struct graph {
	struct arena *arena;
	struct dim_pool dims;
	struct expr_pool exprs;
	const char *name, *file;                  /* function name; model file, for messages */
	struct region *body;                      /* params: inputs; results: outputs */
	const char **input_names, **output_names; /* the interface's, as ONNX has them */
	int value_count;
	int stage_count; /* number of binding nodes made so far; symbols of the k-th have stage k */
	struct {
		struct require *at;
		int count, room;
	} requires;
};

/* ---- making ---- */

/* An empty graph in `a`, which also holds everything added later. */
struct graph *graph_new(struct arena *a, const char *name);
struct value *graph_input(struct graph *g, const char *name, const struct type *type);
/* The outputs; names[i] are the interface's. Each may be any value. */
void graph_set_outputs(struct graph *g, int count, struct value *const *values,
		       const char *const *names);

/* Where new nodes go: at the end of `region`, or before `before` when that is not NULL. */
struct builder {
	struct graph *graph;
	struct region *region;
	struct node *before;
	struct loc loc;
	struct diag *diag;
};

/* What graph_add needs beyond the builder. attrs: a pointer to the op's struct, copied (lists too);
 * NULL: all defaults. Regions are made before by region_new and filled through builders. */
struct node_spec {
	enum op_id op;
	int in_count, out_count; /* out_count: only for ops whose table says -1 */
	struct value *const *in;
	const void *attrs;
	const struct expr *expr;
	int region_count, symbol_count;
	struct region *const *regions;
	const int *symbols;
	const struct type *type; /* of a const: its result's type */
};
/* Adds a node, infers its results' types. NULL when inference failed (reported, and nothing is added). */
struct node *graph_add(struct builder *b, const struct node_spec *spec);
struct region *region_new(struct graph *g);
struct value *region_param(struct graph *g, struct region *r, const char *name,
			   const struct type *type);
void region_set_results(struct graph *g, struct region *r, int count, struct value *const *values);
/* A new symbol bound by the next node that lists it. Gets its stage when that node is added. */
int graph_symbol(struct graph *g, const char *name, int64_t max, dim bound);

/* Shorthands over graph_add; all return NULL when an operand is NULL or inference failed. */
struct value *add_const(struct builder *b, const struct type *type, const struct tensor *data);
struct value *add_ints(struct builder *b, enum dtype t, int count, const int64_t *at); /* rank 1 */
struct value *add_scalar_int(struct builder *b, enum dtype t, int64_t x);              /* rank 0 */
struct value *add_scalar_real(struct builder *b, enum dtype t, double x);
/* expr's parameter i is operand i; `type` DT_NONE: the expression's own. */
struct value *add_map(struct builder *b, const struct expr *e, enum dtype type, int count,
		      struct value *const *in);
/* The same from text, e.g. add_map_text(b, "(a, b) -> max(a + b, 0)", DT_NONE, 2, in): operand types are
 * the compute types of the operands. constants: named values for the text, e.g. {"alpha", 0.1}. */
struct named_real {
	const char *name;
	double value;
};
struct value *add_map_text(struct builder *b, const char *text, enum dtype type, int count,
			   struct value *const *in, int constant_count,
			   const struct named_real *constants);
struct value *add_unary(struct builder *b, enum expr_op op, struct value *x);
struct value *add_binary(struct builder *b, enum expr_op op, struct value *x, struct value *y);
struct value *add_cast(struct builder *b, struct value *x,
		       enum dtype t); /* also to storage types */
struct value *add_reshape(struct builder *b, struct value *x, int rank, const dim *dims);
struct value *add_transpose(struct builder *b, struct value *x, const int *perm);
struct value *add_expand(struct builder *b, struct value *x, int rank, const dim *dims);
struct value *add_slice(struct builder *b, struct value *x, const dim *at, const dim *size,
			const int64_t *step);
struct value *add_pad(struct builder *b, struct value *x, const dim *lo, const dim *hi,
		      double value);
struct value *add_concat(struct builder *b, int axis, int count, struct value *const *in);
struct value *add_reduce(struct builder *b, enum reduce_kind kind, struct value *x, int count,
			 const int64_t *axes, bool keep);
struct value *add_gather(struct builder *b, int kind, struct value *x, struct value *index,
			 int axis, int batch);
struct value *add_shape(struct builder *b, int count, const dim *dims);
/* Dims whose values are the elements of the integer vector x: from x->elems where known, else a bind
 * node is added (one for all unknown). False when reported. count: elements wanted. */
bool add_bind(struct builder *b, struct value *x, int count, dim *out);

/* ---- changing ---- */

/* All uses of `old` become `with` after graph_resolve; types must be equal. */
void value_replace(struct value *old, struct value *with);
/* v, or what it was replaced by. */
struct value *value_now(struct value *v);
void graph_resolve(struct graph *g);
void node_remove(struct node *n);
void node_move_before(struct node *n, struct node *before); /* also across regions */
/* A copy with the operands mapped by map[value id] where not NULL; regions are copied, new values
 * get fresh names; results' map entries are set. Binding nodes get fresh symbols: not allowed here. */
struct node *node_clone(struct builder *b, const struct node *n, struct value **map);
/* uses[value id] = number of reads, by nodes (in all regions) and region results. In arena `a`. */
int *graph_count_uses(struct graph *g, struct arena *a);
/* Calls fn for every node, outer before inner, in order. Stops at false. */
bool graph_walk(struct graph *g, bool (*fn)(struct node *n, void *self), void *self);

/* ---- asking ---- */
static inline struct node *value_def(struct value *v, enum op_id op)
{
	return v && v->def && v->def->op == op ? v->def : NULL;
}
struct type type_make(enum dtype t, int rank, const dim *dims);
bool type_equal(const struct type *a, const struct type *b);
/* "f32[N,8,8,3]" */
const char *type_text(const struct graph *g, struct arena *a, const struct type *t);
dim type_count(struct graph *g, const struct type *t); /* number of elements */
/* -1 when not all dims are constant. */
int64_t type_count_const(const struct type *t);
/* left == right: nothing to do when provably equal; an error when provably different; else a run-time check. */
bool graph_require(struct graph *g, struct diag *d, const struct node *n, dim left, dim right,
		   const char *what);

/* The element i (C order) of a constant as a number; for const nodes' data. */
union scalar tensor_element(const struct tensor *t, enum dtype type, int64_t i);
/* The bytes of a constant in C order, materialized into `a` if it is a splat or random. */
const void *tensor_bytes(const struct tensor *t, enum dtype type, int64_t count, struct arena *a);
/* Says that a constant is not read for a while: the memory of a mapped one goes back to the system, and the next read
 * takes the bytes from the file again. Called by whoever read all of it, so that a model and what is made of it are
 * never in memory as a whole at the same time. */
void tensor_rest(const struct tensor *t);
/* The constant behind v, or NULL. */
const struct tensor *value_const(const struct value *v);

#endif
