/* site.h: what an importer works with: one ONNX node, its operands as values of the graph, and the
 * place where the core operators go. Private to the importers. */
#ifndef FRONTEND_SITE_H
#define FRONTEND_SITE_H

#include "frontend/import.h"

struct import;
struct scope;

/* One use of an operator. */
struct site {
	struct import *import;
	const struct scope *scope;
	const struct onnx_node *node;
	struct builder *b;
	struct graph *g;
	struct dim_pool *dims; /* the graph's */
	const struct import_row *row;
	int opset; /* version of the node's domain */
	int in_count, out_count;
	struct value **in;  /* NULL for absent ones */
	struct value **out; /* for the importer to fill; those not asked for may stay NULL */
};

/* A row of the table of operators. */
struct import_row {
	const char *domain, *op;
	int since, until;   /* opset versions it handles; until 0: to the newest */
	int min_in, max_in; /* operands; max -1: any */
	bool (*import)(struct site *s);
	const char *attrs; /* the attributes it knows, separated by blanks; any other is refused */
	const char *doc;
	const struct elementwise *map; /* rows of elementwise.def */
};

/* A row of elementwise.def. */
struct elementwise {
	char result;          /* 'a' 'b': the type of that operand; '-': the expression's own */
	const char *defaults; /* "alpha=0.01 beta=0.5": attributes and their defaults */
	const char *text;     /* expression over a, b, c */
};

/* ---- messages: both return false ---- */
bool site_unsupported(struct site *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool site_invalid(struct site *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- attributes; references of function bodies are resolved ---- */
const struct onnx_attr *site_attr(const struct site *s, const char *name);
int64_t attr_int(const struct site *s, const char *name, int64_t initial);
double attr_real(const struct site *s, const char *name, double initial);
const char *attr_text(const struct site *s, const char *name, const char *initial);
bool attr_text_is(const struct site *s, const char *name, const char *initial, const char *wanted);
/* count -1 when absent. */
struct ints attr_ints(const struct site *s, const char *name);
/* element i of a list, `initial` when absent or too short */
int64_t ints_or(struct ints list, int i, int64_t initial);

/* ---- operands and results ---- */
struct value *site_in(const struct site *s, int i); /* NULL when absent */
bool site_wants(const struct site *s, int i);       /* output i is asked for */
/* Sets output i; false when v is NULL (reported already). */
bool site_out(struct site *s, int i, struct value *v);
/* An axis in [-rank, rank) made non-negative. */
bool site_axis(struct site *s, int64_t axis, int rank, int *out);
/* The elements of an integer operand, known at compile time: false (not reported) if they are not.
 * At most `room`. */
bool value_ints(const struct value *v, int room, int64_t *out, int *count);
/* A number known at compile time, of any type. */
bool value_real(const struct value *v, double *out);
/* The number of elements of a vector or scalar; -1 when not constant. */
int64_t value_length(const struct value *v);
/* Axes from an operand (if that is present) or the attribute: sorted as given, made non-negative.
 * count -1: absent. Reports when they are only known at run time. */
bool site_axes(struct site *s, int operand, int rank, int *axes, int *count);
/* The declared dim of axis i of output o, or -1. */
int64_t declared_dim(const struct site *s, int o, int i);
/* The declared rank of output o, or -1; declared_const: all dims are numbers. */
int declared_rank(const struct site *s, int o);
bool declared_const(const struct site *s, int o);
/* Where a dim depends on data and output o declares a number, the number takes its place and is
 * checked at run time. */
bool declared_hint(struct site *s, int o, int rank, dim *dims);

/* ---- shorthands ---- */
static inline int rank_of(const struct value *v) { return v->type.rank; }
static inline enum dtype type_of(const struct value *v) { return v->type.dtype; }
dim dim_int(struct site *s, int64_t value);
struct value *real_scalar(struct site *s, enum dtype t, double x);
struct value *int_scalar(struct site *s, enum dtype t, int64_t x);
/* Map from the text of an expression over a, b, c, d, ... */
struct value *map1(struct site *s, const char *text, enum dtype t, struct value *a);
struct value *map2(struct site *s, const char *text, enum dtype t, struct value *a,
		   struct value *b);
struct value *map3(struct site *s, const char *text, enum dtype t, struct value *a, struct value *b,
		   struct value *c);
struct value *map_n(struct site *s, const char *text, enum dtype t, int count,
		    struct value *const *in, int constant_count,
		    const struct named_real *constants);
struct value *widen(struct site *s, struct value *x); /* f16 -> f32: its compute type */
struct value *cast_to(struct site *s, struct value *x, enum dtype t); /* x itself if it is t */
struct value *reshape(struct site *s, struct value *x, int rank, const dim *dims);
struct value *insert_axis(struct site *s, struct value *x, int axis); /* of size 1 */
struct value *drop_axis(struct site *s, struct value *x, int axis);   /* of size 1 */
struct value *iota(struct site *s, int rank, const dim *dims, int axis, enum dtype t);
struct value *iota_at(struct site *s, dim extent, int rank, int axis); /* i64, [1,..,extent,..,1] */
struct value *slice_axis(struct site *s, struct value *x, int axis, dim at, dim size);
struct value *flip_axis(struct site *s, struct value *x, int axis);
/* Pads (or, where lo or hi is negative, cuts) one axis. */
struct value *pad_axis(struct site *s, struct value *x, int axis, dim lo, dim hi, double value);
struct value *concat2(struct site *s, int axis, struct value *x, struct value *y);
struct value *expand_to(struct site *s, struct value *x, int rank, const dim *dims);
struct value *reduce_axes(struct site *s, enum reduce_kind kind, struct value *x, int count,
			  const int *axes, bool keep);
struct value *mean_axes(struct site *s, struct value *x, int count, const int *axes, bool keep);
struct value *argreduce(struct site *s, const char *kind, struct value *x, int axis, bool keep);
struct value *normalize(struct site *s, struct value *x, int count, const int *axes, double eps);
struct value *softmax(struct site *s, struct value *x, int axis, bool log);
struct value *matmul(struct site *s, struct value *x, struct value *y);
struct value *pool(struct site *s, struct value *x, enum reduce_kind kind, int count,
		   const int64_t *size, const int64_t *stride, const int64_t *dilation);
struct value *transpose(struct site *s, struct value *x, const int *perm);
struct value *swap_axes(struct site *s, struct value *x, int i, int j);
struct value *move_axis(struct site *s, struct value *x, int from, int to);
struct value *splat(struct site *s, enum dtype t, double x, int rank, const dim *dims);
enum { GATHER_TAKE, GATHER_ELEMENTS, GATHER_ND };
struct value *gather(struct site *s, int kind, struct value *x, struct value *index, int axis,
		     int batch);
struct value *scatter(struct site *s, int kind, struct value *x, struct value *index,
		      struct value *update, int axis, const char *combine);
/* Indices as i64, with extent added to negative ones. */
struct value *fix_index(struct site *s, struct value *index, dim extent);
/* Shape of x as i64 vector. */
struct value *shape_of(struct site *s, const struct value *x);
/* x as i64 vector whose elements become dims: known ones at compile time, others at run time. */
bool bind_dims(struct site *s, struct value *x, int count, dim *out);
/* Results of a node with the given operands, attributes and fresh symbols. */
struct node *add_node(struct site *s, enum op_id op, int count, struct value *const *in,
		      const void *attrs);
/* The number that stands for name in the op's ENUM attribute. */
int64_t enum_value(enum op_id op, const char *attr, const char *name);
/* A scratch array in the graph's arena. */
void *site_array(struct site *s, int count, size_t size);
#define SITE_ARRAY(s, type, count) ((type *)site_array((s), (count), sizeof(type)))

/* ---- the tables, one a family ---- */
extern const struct import_row ops_elementwise[], ops_shape[], ops_move[], ops_index[],
	ops_reduce[], ops_matmul[], ops_quant[], ops_conv[], ops_pool[], ops_norm[], ops_loss[],
	ops_resize[], ops_sample[], ops_rnn[], ops_control[], ops_signal[], ops_select[],
	ops_attention[];
/* The row for an operator at an opset version, or NULL; *known: it exists for other versions. */
const struct import_row *import_find(const char *domain, const char *op, int opset, bool *known);

/* ---- import.c ---- */
/* Imports a subgraph into `region`; inputs are the values of its inputs, out gets its outputs. */
bool import_subgraph(struct site *s, const struct onnx_graph *graph, struct region *region,
		     struct value *const *inputs, struct value **out);
/* A tensor of the model as constant. */
struct value *import_tensor(struct site *s, const struct onnx_tensor *t);
struct value *import_sparse(struct site *s, const struct onnx_sparse *sparse);
/* The core type of an ONNX element type, DT_NONE if there is none. */
enum dtype import_dtype(int32_t onnx);

#endif
