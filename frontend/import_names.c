/* import_names.c: names in scope during an import, attributes of functions, names of values. */
#include "frontend/import_private.h"

#include <string.h>

struct name_entry *scope_find(const struct scope *scope, const char *name)
{
	for (; scope; scope = scope->parent) {
		struct name_entry *e = names_find(&scope->values, name);
		if (e)
			return e;
	}
	return NULL;
}

static const struct scope *function_scope(const struct scope *scope)
{
	while (scope->parent)
		scope = scope->parent;
	return scope;
}

const struct onnx_attr *scope_attr(const struct scope *scope, const struct onnx_node *n,
				   const char *name)
{
	const struct onnx_attr *a = node_attr(n, name);
	if (!a || !a->ref)
		return a;
	const struct scope *body = function_scope(scope);
	if (!body->function)
		return NULL;
	const struct onnx_attr *given = scope_attr(body->caller, body->call, a->ref);
	for (int i = 0; !given && i < body->function->default_count; i++)
		if (!strcmp(body->function->defaults[i].name, a->ref))
			given = &body->function->defaults[i];
	return given;
}

static const struct onnx_type *type_in(const struct onnx_value *values, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(values[i].name, name))
			return &values[i].type;
	return NULL;
}

const struct onnx_type *scope_type(const struct scope *scope, const char *name)
{
	const struct onnx_graph *g = scope->graph;
	if (!g)
		return NULL;
	const struct onnx_type *t = type_in(g->outputs, g->output_count, name);
	if (t || !g->value_count)
		return t;
	/* the reader sorts nothing: a table by name keeps long models linear */
	struct name_entry *e = names_find(&scope->types, name);
	return e ? e->value : NULL;
}

static bool plain(const char *name)
{
	if (!((*name | 32) >= 'a' && (*name | 32) <= 'z') && *name != '_')
		return false;
	if (*name == 'v' && name[1] && !name[1 + strspn(name + 1, "0123456789")])
		return false; /* the form of values without name */
	for (; *name; name++)
		if (!((*name | 32) >= 'a' && (*name | 32) <= 'z') &&
		    !(*name >= '0' && *name <= '9') && *name != '_')
			return false;
	return true;
}

const char *name_identifier(struct arena *a, const char *name)
{
	if (plain(name))
		return name;
	char *text = arena_printf(a, "x%s", name);
	for (char *c = text; *c; c++)
		if (!((*c | 32) >= 'a' && (*c | 32) <= 'z') && !(*c >= '0' && *c <= '9'))
			*c = '_';
	return plain(text + 1) ? text + 1 : text;
}
