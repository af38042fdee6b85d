/* import_check.c: a dry pass over the model: operators, opsets, attributes and operand counts
 * against the table, so that everything unsupported is told at once, before any work is done. */
#include "frontend/import_private.h"

#include <string.h>

const struct onnx_function *find_function(const struct onnx_model *m, const char *domain,
					  const char *op)
{
	for (int i = 0; i < m->function_count; i++)
		if (!strcmp(m->functions[i].name, op) && !strcmp(m->functions[i].domain, domain))
			return &m->functions[i];
	return NULL;
}

int scope_opset(const struct import *im, const struct scope *scope, const char *domain)
{
	while (scope && scope->parent)
		scope = scope->parent;
	const struct onnx_function *f = scope ? scope->function : NULL;
	if (!f)
		return (int)model_opset(im->model, domain);
	for (int i = 0; i < f->opset_count; i++)
		if (!strcmp(f->opsets[i].domain, domain))
			return (int)f->opsets[i].version;
	return (int)model_opset(im->model, domain);
}

/* Whether `name` is one of the words of "alpha=0.01 axis ..". */
static bool listed(const char *words, const char *name)
{
	size_t length = strlen(name);
	while (words && *words) {
		size_t size = strcspn(words, " ="), whole = strcspn(words, " ");
		if (size == length && !memcmp(words, name, size))
			return true;
		words += whole + strspn(words + whole, " ");
	}
	return false;
}

static bool check_graph(const struct import *im, const struct scope *scope,
			const struct onnx_node *nodes, int count, int depth);

static bool check_row(const struct import *im, const struct onnx_node *n, int opset, struct loc at)
{
	bool known;
	const struct import_row *row = import_find(n->domain, n->op, opset, &known);
	if (!row && known)
		return diag_add(im->d, DIAG_UNSUPPORTED, at,
				"operator is not supported in opset %d (see `hone ops`)", opset);
	if (!row)
		return diag_add(im->d, DIAG_UNSUPPORTED, at,
				"operator is not supported (%s%sopset %d; see `hone ops`)",
				n->domain, *n->domain ? " " : "", opset);
	for (int i = 0; i < n->attr_count; i++)
		if (!listed(row->attrs, n->attrs[i].name))
			return diag_add(im->d, DIAG_UNSUPPORTED, at,
					"attribute \"%s\" is not supported (opset %d)",
					n->attrs[i].name, opset);
	if (n->input_count < row->min_in || (row->max_in >= 0 && n->input_count > row->max_in))
		return diag_add(im->d, DIAG_FILE, at, "%d operands, where %d to %d are expected",
				n->input_count, row->min_in, row->max_in);
	for (int i = 0; i < row->min_in; i++)
		if (!*n->inputs[i])
			return diag_add(im->d, DIAG_FILE, at, "operand %d is missing", i);
	return true;
}

static bool check_node(const struct import *im, const struct scope *scope,
		       const struct onnx_node *n, int depth)
{
	struct loc at = {.file = im->model->path, .node = n->name, .op = n->op};
	if (depth > IMPORT_DEPTH)
		return diag_add(im->d, DIAG_UNSUPPORTED, at,
				"functions or subgraphs are nested more than %d deep",
				IMPORT_DEPTH);
	if (find_function(im->model, n->domain, n->op))
		return true; /* bodies are checked by themselves */
	int opset = scope_opset(im, scope, n->domain);
	bool ok = check_row(im, n, opset, at);
	for (int i = 0; i < n->attr_count; i++) {
		const struct onnx_attr *a = &n->attrs[i];
		if (a->kind != ONNX_ATTR_GRAPH && a->kind != ONNX_ATTR_GRAPHS)
			continue;
		for (int k = 0; k < a->count; k++)
			ok &= check_graph(im, scope, a->graphs[k].nodes, a->graphs[k].node_count,
					  depth + 1);
	}
	return ok;
}

static bool check_graph(const struct import *im, const struct scope *scope,
			const struct onnx_node *nodes, int count, int depth)
{
	bool ok = true;
	for (int i = 0; i < count; i++)
		ok &= check_node(im, scope, &nodes[i], depth);
	return ok;
}

bool import_check(const struct import *im)
{
	const struct onnx_model *m = im->model;
	bool ok = check_graph(im, NULL, m->graph.nodes, m->graph.node_count, 0);
	for (int i = 0; i < m->function_count; i++) {
		struct scope scope = {.function = &m->functions[i]};
		ok &= check_graph(im, &scope, m->functions[i].nodes, m->functions[i].node_count, 0);
	}
	return ok;
}
