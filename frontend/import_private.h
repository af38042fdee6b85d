/* import_private.h: names in scope while a model is imported. For import.c, import_names.c,
 * import_input.c and site.c only. */
#ifndef FRONTEND_IMPORT_PRIVATE_H
#define FRONTEND_IMPORT_PRIVATE_H

#include "frontend/site.h"
#include "ir/names.h"

/* The names one graph or function body defines. A subgraph sees its parent's too. */
struct scope {
	const struct scope *parent; /* of a subgraph; NULL for the model's graph and functions */
	struct names values;        /* struct value *; NULL: its node failed, which was reported */
	struct names
		types; /* const struct onnx_type *, of value_info; in functions: absent operands */
	const struct onnx_graph *graph; /* for declared types; NULL in functions */
	const struct onnx_function *function;
	const struct onnx_node *call; /* of `function` */
	const struct scope *caller;
	int depth; /* of calls and subgraphs */
};

#define IMPORT_DEPTH 64

/* One import. */
struct import {
	const struct onnx_model *model;
	const struct import_options *options;
	struct arena *arena;
	struct graph *graph;
	struct diag *d;
	struct names taken;   /* names of values */
	struct names symbols; /* dim_param -> its symbol, as dim */
	int64_t node_count;   /* nodes made so far: functions that call functions multiply */
};

/* Looks outwards; NULL if it is not defined. */
struct name_entry *scope_find(const struct scope *scope, const char *name);
/* The attribute of a node, references resolved through the calls. NULL if absent. */
const struct onnx_attr *scope_attr(const struct scope *scope, const struct onnx_node *n,
				   const char *name);
/* The declared type of a name, or NULL. */
const struct onnx_type *scope_type(const struct scope *scope, const char *name);
/* An identifier of the text form made from any name. */
const char *name_identifier(struct arena *a, const char *name);

/* import_check.c: the dry pass: reports every node that no row of the table covers. */
bool import_check(const struct import *im);
/* The opset version of a domain in the model or function body that scope belongs to; 0: not
 * imported. */
int scope_opset(const struct import *im, const struct scope *scope, const char *domain);
const struct onnx_function *find_function(const struct onnx_model *m, const char *domain,
					  const char *op);

/* import_input.c: inputs of the graph, their dims from declarations and options. */
bool import_inputs(struct import *im, struct scope *scope);

#endif
