/* export_private.h: between the files of the exporter.
 *   export.c        the walk over nodes and regions, the model's message
 *   export_value.c  tensors that stand for values, constants, dims as tensors
 *   export_map.c    scalar expressions as elementwise operators
 *   export_quant.c  those of quantized values
 *   export_move.c   movement, indexing and selection
 *   export_math.c   contractions, windows, reductions, attention
 *
 * Transposes and pads are not written where they stand: a value is a view of a tensor, with its axes in another order and
 * maybe padded, until somebody needs it in some order. So a channels-last convolution between its importer's transposes
 * is one Conv again, with its pads. */
#ifndef FRONTEND_EXPORT_PRIVATE_H
#define FRONTEND_EXPORT_PRIVATE_H

#include "frontend/export.h"
#include "frontend/proto.h"

#include "ir/names.h"

/* v's axis i is axis order[i] of what it is written in (or the other way round, as each function says). */
typedef int axis_order[HONE_MAX_RANK];

/* The tensor that holds a value, transposed, with leading axes of size 1 added: tensor axis j is axis order[j] of
 * the value after these were added. */
struct form {
	int rank;
	axis_order order;
	const char *name; /* NULL: gone with the region in which it was made */
	struct form *next;
};

struct view {
	const char *name;   /* the tensor; NULL: none yet, or a constant */
	const char *output; /* the name that it must have, as an output of the model; or NULL */
	bool output_made;   /* it has */
	const char *whole; /* of a padded view: the tensor with its border, if somebody needed it */
	axis_order axis;   /* the value's axis i is the tensor's axis axis[i] */
	bool padded;       /* then the tensor lacks a border of `fill` */
	int64_t lo[HONE_MAX_RANK], hi[HONE_MAX_RANK]; /* by axis of the value */
	double fill;
	struct node *later; /* a map of constants, written in the order in which it is needed */
	struct form *forms;
};

/* A graph being written: the model's, or a region's. */
struct body {
	struct proto nodes;
	struct body *outer;
	int slot_count, source_count; /* of x->slots and x->sources when it began */
};

struct exporter {
	struct graph *graph;
	struct arena *arena;
	struct diag *diag;
	struct exported *out;
	struct body *body;
	const struct node *node; /* being written; for names and messages */
	struct view *views;      /* by value id */
	int view_count;
	const char **dims; /* by dim id: an i64 tensor [1] */
	int dim_count;
	struct {
		const char ***at;
		int count, room;
	} slots; /* names to forget at the end of the region in which they were made */
	struct names names, node_names;
	struct {
		struct initializer *at;
		int count, room;
	} constants;
	struct {
		struct literal *at;
		int count, room;
	} literals;
	struct {
		struct int_vector *at;
		int count, room;
	} vectors;
	struct {
		struct ones *at;
		int count, room;
	} ones;
	int *uses;             /* by value id: how often it is read */
	struct node **readers; /* by value id: the node that alone reads it, once; or NULL */
	struct {
		struct dim_source *at;
		int count, room;
	} sources; /* tensors whose axis is a symbol */
	int opset;
};

struct initializer {
	struct proto head; /* of TensorProto, up to its data */
	const void *data;
	size_t size;
};

struct literal {
	enum dtype type;
	union scalar value;
	const char *name;
};

struct int_vector {
	int count;
	const int64_t *at;
	const char *name;
};

/* A constant of ones. */
struct ones {
	int rank;
	int64_t dims[HONE_MAX_RANK];
	const char *name;
};

struct dim_source {
	int symbol;
	struct value *value;
	int axis;
	const char *tensor; /* i64 [1], instead of the axis of a value; or NULL */
};

/* ---- nodes (export.c) ---- */

enum out_kind { OUT_INT, OUT_REAL, OUT_INTS, OUT_TEXT, OUT_GRAPH };
struct out_attr {
	const char *name;
	enum out_kind kind;
	int64_t i;
	double f;
	const int64_t *ints;
	int count;
	const char *text;
	const struct proto *graph;
};
#define ATTR_I(name, x) ((struct out_attr){(name), OUT_INT, .i = (x)})
#define ATTR_F(name, x) ((struct out_attr){(name), OUT_REAL, .f = (x)})
#define ATTR_L(name, n, x) ((struct out_attr){(name), OUT_INTS, .ints = (x), .count = (n)})
#define ATTR_S(name, x) ((struct out_attr){(name), OUT_TEXT, .text = (x)})
#define ATTR_G(name, x) ((struct out_attr){(name), OUT_GRAPH, .graph = (x)})

struct out_node {
	const char *op;
	int in_count, out_count, attr_count;
	const char *const *in, *const *out; /* "" for absent; in NULL: reported, nothing is added */
	const struct out_attr *attrs;
};
void out_add(struct exporter *x, const struct out_node *n);
/* A node of one result, which gets the name `name`, or a new one where that is NULL. */
const char *out_node(struct exporter *x, const char *op, const char *name, int in_count,
		     const char *const *in, int attr_count, const struct out_attr *attrs);
#define OUT(x, op, name, ...)                                                         \
	out_node(x, op, name, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
		 (const char *[]){__VA_ARGS__}, 0, NULL)
/* The same with attributes: in and attrs are parenthesized lists. */
#define OUT_LIST(...) __VA_ARGS__
#define OUT_WITH(x, op, name, in, ...)                                                \
	out_node(x, op, name, sizeof((const char *[]){OUT_LIST in}) / sizeof(char *), \
		 (const char *[]){OUT_LIST in},                                       \
		 sizeof((struct out_attr[]){__VA_ARGS__}) / sizeof(struct out_attr),  \
		 (struct out_attr[]){__VA_ARGS__})

/* Reports that x->node cannot be written. Always false. */
bool out_refuse(struct exporter *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The graph message of a region: its parameters are inputs where `has_inputs`. NULL: reported. */
const struct proto *out_region(struct exporter *x, struct region *r, const char *name,
			       bool has_inputs);

/* ---- values (export_value.c) ---- */

/* A name that no tensor has, like `hint`. */
const char *name_new(struct exporter *x, const char *hint);
/* The name under which the value itself is written. */
const char *name_of(struct exporter *x, const struct value *v);
/* The value is the tensor `name`, axis by axis; or the value's axis i is the tensor's axis[i]. */
void value_set(struct exporter *x, struct value *v, const char *name);
void value_set_view(struct exporter *x, struct value *v, const char *name, const int *axis);
struct view *view_of(struct exporter *x, const struct value *v);
/* The tensor of v. */
const char *value_plain(struct exporter *x, struct value *v);
/* A tensor whose axis j is axis order[j] of v with leading axes of size 1 up to `rank`. Scalars stay scalars. */
const char *value_in_order(struct exporter *x, struct value *v, int rank, const int *order);
/* Like value_in_order with all axes, of the tensor without its pending border. */
const char *value_unpadded(struct exporter *x, struct value *v, const int *order);
/* A tensor in the value's compute type (storage types such as bf16 are cast). */
const char *to_compute(struct exporter *x, const char *name, enum dtype t);
/* The other way: `computed` becomes the tensor `name` of type t. */
const char *from_compute(struct exporter *x, const char *computed, enum dtype t, const char *name);
bool is_storage(enum dtype t);
void order_identity(int *order, int rank);
void order_inverse(int *to, const int *order, int rank);

/* Constants: a scalar of type t; an i64 vector; any bytes, which must stay. */
const char *const_scalar(struct exporter *x, enum dtype t, union scalar value);
const char *const_real(struct exporter *x, enum dtype t, double value);
const char *const_ints(struct exporter *x, int count, const int64_t *at);
const char *const_bytes(struct exporter *x, const char *hint, enum dtype t, int rank,
			const int64_t *dims, const void *data, size_t size);
/* The elements of a constant of dims `dims` with its axes in another order: tensor axis j is axis order[j]. */
const void *bytes_in_order(struct exporter *x, const struct tensor *t, enum dtype type, int rank,
			   const int64_t *dims, const int *order);

/* Dims as tensors: one as i64 [1], several as i64 [count]. */
const char *dim_tensor(struct exporter *x, dim d);
const char *dims_tensor(struct exporter *x, int count, const dim *dims);
/* The value's axes are where the symbols of its dims can be read. */
void dim_note(struct exporter *x, struct value *v);
/* A symbol is the only element of a tensor. */
void dim_bind(struct exporter *x, int symbol, const char *tensor);

/* ---- maps (export_map.c, export_quant.c) ---- */
bool export_map(struct exporter *x, struct node *n);
/* QuantizeLinear or DequantizeLinear, with operands as map_in_order has them; NULL: the map is neither. */
const char *out_quantized(struct exporter *x, const struct node *n, const int *order,
			  const char *const *params, const char *name);
/* Writes a reshape of a map of quantized blocks as one node; false: it is none. */
bool export_blocks(struct exporter *x, struct node *n);
/* Writes a map of constants as a tensor whose axis j is axis order[j] of the result. */
const char *map_in_order(struct exporter *x, struct node *n, const int *order, const char *name);
/* An expression whose parameter i is the tensor params[i] of type types[i], broadcast; in its compute type. */
const char *out_expr(struct exporter *x, const struct expr *e, int count, const char *const *params,
		     const enum dtype *types, const char *name);

/* ---- rows of the table in export.c ---- */
typedef bool export_fn(struct exporter *x, struct node *n);
export_fn export_const, export_shape, export_bind, export_iota, export_reduce, export_argreduce,
	export_cumulate, export_softmax, export_normalize, export_matmul, export_conv, export_pool,
	export_attention, export_reshape, export_transpose, export_slice, export_expand, export_pad,
	export_concat, export_gather, export_scatter, export_nonzero, export_topk, export_if,
	export_loop, export_scan;

#define ATTRS_OF_NODE(id, n) ((const struct attrs_##id *)(n)->attrs)

#endif
