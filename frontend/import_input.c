/* import_input.c: the inputs of the graph. A dim is a number, a symbol shared by all inputs that
 * name it, or a symbol of its own, "input_axis"; options fix or bound them. */
#include "frontend/import_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct loc file_loc(const struct import *im)
{
	return (struct loc){.file = im->model->path};
}

/* A non-negative number that ends at one of `ends` or the text's end; moves *at there. */
static bool read_size(const char **at, const char *ends, int64_t *out)
{
	char *end;
	errno = 0;
	long long x = strtoll(*at, &end, 10);
	if (end == *at || errno || x < 0 || (*end && !strchr(ends, *end)))
		return false;
	*at = end;
	*out = x;
	return true;
}

/* The option "name=..." among `list`; the part behind "=". The last one counts. */
static const char *find_option(const char *const *list, int count, const char *name)
{
	size_t length = strlen(name);
	for (int i = count - 1; i >= 0; i--)
		if (!strncmp(list[i], name, length) && list[i][length] == '=')
			return list[i] + length + 1;
	return NULL;
}

/* "4" or "1..64" for the symbol called name. */
static bool symbol_range(struct import *im, const char *name, int64_t *min, int64_t *max)
{
	const struct import_options *o = im->options;
	const char *text = o ? find_option(o->dims, o->dim_count, name) : NULL, *at = text;
	if (!text)
		return true;
	bool ok = read_size(&at, ".", min);
	*max = *min;
	if (ok && *at) {
		ok = at[0] == '.' && at[1] == '.';
		at += 2;
		ok = ok && read_size(&at, "", max);
	}
	if (!ok || *max < *min)
		return diag_add(im->d, DIAG_USAGE, file_loc(im),
				"--dim %s=%s: expected a size, or a range such as 1..64", name,
				text);
	return true;
}

static dim symbol_dim(struct import *im, const char *name)
{
	struct name_entry *e = names_find(&im->symbols, name);
	if (e)
		return e->value;
	int64_t min = 0, max = INT64_MAX;
	if (!symbol_range(im, name, &min, &max))
		return NULL;
	struct symbol s = {.name = name_identifier(im->arena, name),
			   .min = min,
			   .max = max,
			   .binding = SYMBOL_INPUT};
	struct dim_pool *p = &im->graph->dims;
	dim d = min == max ? dim_const(p, min) : dim_symbol(p, symbol_add(p, &s));
	names_add(&im->symbols, name, (void *)(uintptr_t)d);
	return d;
}

/* Axis i of an input from "1x3x224x224"; *at moves past it. */
static dim shape_option(struct import *im, const struct onnx_value *v, const char **at,
			dim declared)
{
	struct loc loc = file_loc(im);
	int64_t size;
	if (**at == '?') {
		++*at;
		return declared;
	}
	if (!read_size(at, "x,", &size)) {
		diag_add(im->d, DIAG_USAGE, loc,
			 "--shape %s: expected sizes such as 1x3x224x224, or ?", v->name);
		return NULL;
	}
	if (declared && dim_is_const(declared) && declared->value != size) {
		diag_add(im->d, DIAG_USAGE, loc,
			 "--shape %s: the model fixes this axis to %lld, not %lld", v->name,
			 (long long)declared->value, (long long)size);
		return NULL;
	}
	return dim_const(&im->graph->dims, size);
}

static dim declared_axis(struct import *im, const struct onnx_value *v, int i)
{
	const struct onnx_dim *d = &v->type.dims[i];
	if (d->value >= 0)
		return dim_const(&im->graph->dims, d->value);
	if (d->symbol && *d->symbol)
		return symbol_dim(im, d->symbol);
	return symbol_dim(im, arena_printf(im->arena, "%s_%d", v->name, i));
}

static bool input_dims(struct import *im, const struct onnx_value *v, struct type *out)
{
	const struct import_options *o = im->options;
	const char *text = o ? find_option(o->shapes, o->shape_count, v->name) : NULL, *at = text;
	int rank = v->type.rank;
	if (rank < 0 && text) {
		rank = *text != 0;
		for (const char *c = text; *c; c++)
			rank += *c == 'x' || *c == ',';
	}
	if (rank < 0)
		return diag_add(im->d, DIAG_UNSUPPORTED, file_loc(im),
				"input \"%s\" has no shape; give one by --shape %s=..", v->name,
				v->name);
	if (rank > HONE_MAX_RANK)
		return diag_add(im->d, DIAG_UNSUPPORTED, file_loc(im),
				"input \"%s\" has %d axes (at most %d)", v->name, rank,
				HONE_MAX_RANK);
	out->rank = rank;
	for (int i = 0; i < rank; i++) {
		dim d = v->type.rank < 0
				? symbol_dim(im, arena_printf(im->arena, "%s_%d", v->name, i))
			: text ? NULL
			       : declared_axis(im, v, i);
		if (text) {
			/* the declared symbol is made only if it stays */
			bool keep = *at == '?' || (v->type.rank >= 0 && v->type.dims[i].value >= 0);
			d = shape_option(im, v, &at,
					 keep ? (v->type.rank < 0 ? d : declared_axis(im, v, i))
					      : NULL);
			bool last = i + 1 == rank;
			if (d && (last ? *at != 0 : *at != 'x' && *at != ','))
				return diag_add(im->d, DIAG_USAGE, file_loc(im),
						"--shape %s=%s: the input has %d axes", v->name,
						text, rank);
			at += !last;
		}
		if (!d)
			return false;
		out->dims[i] = d;
	}
	return true;
}

static bool import_input(struct import *im, struct scope *scope, const struct onnx_value *v)
{
	struct type type = {.kind = TYPE_TENSOR, .dtype = import_dtype(v->type.dtype)};
	if (v->type.kind != ONNX_KIND_TENSOR)
		return diag_add(im->d, DIAG_UNSUPPORTED, file_loc(im),
				"input \"%s\" is no tensor (sequences, optionals and maps are not "
				"supported)",
				v->name);
	if (type.dtype == DT_NONE)
		return diag_add(im->d, DIAG_UNSUPPORTED, file_loc(im),
				"input \"%s\" has element type %s", v->name,
				onnx_dtype_name(v->type.dtype));
	if (!input_dims(im, v, &type))
		return false;
	struct value *x = graph_input(im->graph, v->name, &type);
	x->name = names_claim(&im->taken, name_identifier(im->arena, v->name));
	names_add(&scope->values, v->name, x);
	return true;
}

static bool has_default(const struct onnx_graph *g, const char *name)
{
	for (int i = 0; i < g->initializer_count; i++)
		if (!strcmp(g->initializers[i].name, name))
			return true;
	for (int i = 0; i < g->sparse_count; i++)
		if (!strcmp(g->sparse[i].values.name, name))
			return true;
	return false;
}

/* Each --shape and --dim must mean something. */
static bool check_options(struct import *im)
{
	const struct import_options *o = im->options;
	bool ok = true;
	for (int i = 0; o && i < o->shape_count; i++) {
		bool found = false;
		for (int k = 0; k < im->model->graph.input_count; k++)
			found |= find_option(&o->shapes[i], 1, im->model->graph.inputs[k].name) !=
				 NULL;
		if (!found)
			ok = diag_add(im->d, DIAG_USAGE, file_loc(im), "--shape %s: no such input",
				      o->shapes[i]);
	}
	for (int i = 0; o && i < o->dim_count; i++) {
		bool found = false;
		for (int k = 0; k < im->symbols.entries.count; k++)
			found |=
				find_option(&o->dims[i], 1, im->symbols.entries.at[k].name) != NULL;
		if (!found)
			ok = diag_add(im->d, DIAG_USAGE, file_loc(im),
				      "--dim %s: no input has such a dim", o->dims[i]);
	}
	return ok;
}

bool import_inputs(struct import *im, struct scope *scope)
{
	const struct onnx_graph *g = &im->model->graph;
	bool ok = true;
	for (int i = 0; i < g->input_count; i++)
		if (!has_default(g, g->inputs[i].name))
			ok &= import_input(im, scope, &g->inputs[i]);
	return check_options(im) && ok;
}
