/* print.c: graphs as text. docs/ir.md has the grammar, parse.c reads it back. */
#include "ir/text.h"
#include "ir/attr_rows.h"
#include "ir/print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct printer {
	const struct graph *g;
	FILE *out;
	struct text_side *side;
	struct arena scratch;
	struct names taken;
	const char **names; /* by value id */
	int indent;
};

/* ---- names ---- */

const char *name_sanitize(struct arena *a, const char *name)
{
	char *text = arena_text(a, name && *name ? name : "_");

	for (char *c = text; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		      (*c >= '0' && *c <= '9') || *c == '.'))
			*c = '_';
	return text;
}

static void name_value(struct printer *p, const struct value *v)
{
	const char *name = v->name ? name_sanitize(&p->scratch, v->name)
				   : arena_printf(&p->scratch, "v%d", v->id);

	p->names[v->id] = names_claim(&p->taken, name);
}

/* In the order of the text, a node's results before what is in its regions. */
static void name_region(struct printer *p, const struct region *r)
{
	for (int i = 0; i < r->param_count; i++)
		name_value(p, r->params[i]);
	for (const struct node *n = r->first; n; n = n->next) {
		for (int i = 0; i < n->out_count; i++)
			name_value(p, n->out[i]);
		for (int i = 0; i < n->region_count; i++)
			name_region(p, n->regions[i]);
	}
}

const char **graph_value_names(const struct graph *g, struct arena *a)
{
	struct printer p = {.g = g, .names = ARENA_ARRAY(a, const char *, g->value_count + 1)};
	const char **names = p.names;

	p.taken.arena = a;
	name_region(&p, g->body);
	for (int i = 0; i < g->value_count; i++)
		names[i] = names[i] ? arena_text(a, names[i]) : NULL;
	arena_free(&p.scratch);
	return names;
}

void print_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else if (*c < ' ' || *c == 127)
			fprintf(out, "\\x%02x", *c);
		else
			fputc(*c, out);
	}
	fputc('"', out);
}

static void put_value(struct printer *p, const struct value *v)
{
	fprintf(p->out, "%%%s", v && p->names[v->id] ? p->names[v->id] : "?");
}

static void put_values(struct printer *p, int count, struct value *const *values)
{
	for (int i = 0; i < count; i++) {
		fputs(i ? ", " : "", p->out);
		put_value(p, values[i]);
	}
}

static void put_type(struct printer *p, const struct type *t)
{
	fputs(type_text(p->g, &p->scratch, t), p->out);
}

static void put_dim(struct printer *p, dim d)
{
	fputs(dim_text(&p->g->dims, &p->scratch, d), p->out);
}

/* ---- symbols ---- */

static void put_symbol(struct printer *p, int number)
{
	const struct symbol *s = &p->g->dims.symbols[number];

	if (s->binding == SYMBOL_PARAM)
		fputs("param ", p->out);
	if (s->min > 0)
		fprintf(p->out, "%" PRId64 " <= ", s->min);
	put_dim(p, &(struct dim_node){.kind = DIM_SYMBOL, .value = number});
	if (s->bound) {
		fputs(" <= ", p->out);
		put_dim(p, s->bound);
	}
	if (s->max != INT64_MAX)
		fprintf(p->out, " <= %" PRId64, s->max);
}

static void put_symbols(struct printer *p, int count, const int *symbols)
{
	fputs(" dims(", p->out);
	for (int i = 0; i < count; i++) {
		fputs(i ? ", " : "", p->out);
		put_symbol(p, symbols[i]);
	}
	fputc(')', p->out);
}

/* Whether the parser, finding the symbols in the types of inputs, makes the same ones in the same order:
 * then they need no clause. */
static bool symbols_follow(const struct graph *g, int count, const int *symbols)
{
	int next = 0;

	for (int i = 0; i < count; i++) {
		const struct symbol *s = &g->dims.symbols[symbols[i]];

		if (s->binding == SYMBOL_PARAM || s->min != 0 || s->max != INT64_MAX || s->bound)
			return false;
	}
	for (int i = 0; i < g->body->param_count; i++) {
		const struct type *t = &g->body->params[i]->type;

		if (t->kind != TYPE_TENSOR)
			return false;
		for (int k = 0; k < t->rank; k++) {
			if (dim_is_const(t->dims[k]))
				continue;
			if (t->dims[k]->kind != DIM_SYMBOL)
				return false;
			if (next < count && t->dims[k]->value == symbols[next])
				next++;
			else if (next == 0 || t->dims[k]->value > symbols[next - 1])
				return false;
		}
	}
	return next == count;
}

static void put_function_symbols(struct printer *p)
{
	int *symbols = ARENA_ARRAY(&p->scratch, int, p->g->dims.symbol_count + 1), count = 0;

	for (int i = 0; i < p->g->dims.symbol_count; i++)
		if (p->g->dims.symbols[i].binding != SYMBOL_NODE)
			symbols[count++] = i;
	if (count && !symbols_follow(p->g, count, symbols))
		put_symbols(p, count, symbols);
}

/* ---- constants ---- */

static void put_element(struct printer *p, enum dtype t, union scalar x)
{
	if (dtype_is_float(t))
		fputs(real_text(&p->scratch, t, x.f), p->out);
	else if (t == DT_BOOL)
		fputs(x.i ? "true" : "false", p->out);
	else if (dtype_class(t) == DTYPE_UNSIGNED)
		fprintf(p->out, "%" PRIu64, (uint64_t)x.i);
	else
		fprintf(p->out, "%" PRId64, x.i);
}

static void put_side(struct printer *p, const struct tensor *t)
{
	struct text_side *side = p->side;

	for (; side->offset % 64; side->offset++)
		fputc(0, side->out);
	fputs("file(", p->out);
	print_quoted(p->out, side->name);
	fprintf(p->out, ", %" PRId64 ", %" PRId64 ")", side->offset, t->size);
	fwrite(t->data, 1, (size_t)t->size, side->out);
	side->offset += t->size;
}

/* FNV-1a (Fowler, Noll, Vo), so that texts of different data differ. */
static uint64_t hash_bytes(const unsigned char *data, int64_t size)
{
	uint64_t h = 14695981039346656037u;

	for (int64_t i = 0; i < size; i++)
		h = (h ^ data[i]) * 1099511628211u;
	return h;
}

static void put_tensor(struct printer *p, const struct type *type, const struct tensor *t)
{
	int64_t count = type_count_const(type);

	if (t->kind == TENSOR_RANDOM) {
		fprintf(p->out, "random(%" PRIu64 ")", t->seed);
	} else if (t->kind == TENSOR_SPLAT) {
		fputs("splat(", p->out);
		put_element(p, type->dtype, t->splat);
		fputc(')', p->out);
	} else if (count >= 0 && count <= 64 && type->dtype != DT_STRING) {
		fputc('[', p->out);
		for (int64_t i = 0; i < count; i++) {
			fputs(i ? ", " : "", p->out);
			put_element(p, type->dtype, tensor_element(t, type->dtype, i));
		}
		fputc(']', p->out);
	} else if (p->side && type->dtype != DT_STRING) {
		put_side(p, t);
	} else {
		fprintf(p->out, "data(%" PRId64 " bytes, %016" PRIx64 ")", t->size,
			hash_bytes(t->data, t->size));
	}
}

/* ---- attributes ---- */

static void put_attr(struct printer *p, const struct attr_row *row, const void *field)
{
	const struct ints *ints = field;
	const struct dims *dims = field;
	const char *text;
	size_t length = 0;

	if (row->kind == ATTR_BOOL && *(const int64_t *)field == 1) {
		fputs(row->name, p->out);
		return;
	}
	fprintf(p->out, "%s=", row->name);
	switch (row->kind) {
	case ATTR_INT:
	case ATTR_BOOL: fprintf(p->out, "%" PRId64, *(const int64_t *)field); break;
	case ATTR_REAL:
		fputs(real_text(&p->scratch, DT_F64, *(const double *)field), p->out);
		break;
	case ATTR_DIM: put_dim(p, *(const dim *)field); break;
	case ATTR_DTYPE: fputs(dtype_name((enum dtype) * (const int64_t *)field), p->out); break;
	case ATTR_TEXT: print_quoted(p->out, *(const char *const *)field); break;
	case ATTR_ENUM:
		text = enum_name(row->names, (int)*(const int64_t *)field, &length);
		fprintf(p->out, "%.*s", (int)length, text ? text : "?");
		break;
	case ATTR_INTS:
	case ATTR_DIMS:
		fputc('[', p->out);
		for (int i = 0; i < (row->kind == ATTR_INTS ? ints->count : dims->count); i++) {
			fputs(i ? "," : "", p->out);
			if (row->kind == ATTR_INTS)
				fprintf(p->out, "%" PRId64, ints->at[i]);
			else
				put_dim(p, dims->at[i]);
		}
		fputc(']', p->out);
		break;
	case ATTR_TENSOR: break;
	}
}

bool attr_is_implied(enum op_id op, const struct attr_row *row)
{
	if (!strcmp(row->name, "dims"))
		return op == OP_iota || op == OP_random || op == OP_reshape || op == OP_expand;
	return !strcmp(row->name, "type") &&
	       (op == OP_iota || op == OP_random || op == OP_param || op == OP_map);
}

/* Whether the parser finds the value of the attribute in the type of the result. */
static bool is_told_by_type(const struct node *n, const struct attr_row *row, const void *field)
{
	const struct type *t = &n->out[0]->type;
	const struct dims *dims = field;

	if (!attr_is_implied(n->op, row))
		return false;
	if (row->kind == ATTR_DTYPE)
		return *(const int64_t *)field == (int64_t)t->dtype ||
		       *(const int64_t *)field == DT_NONE;
	for (int i = 0; i < dims->count && dims->count == t->rank; i++)
		if (dims->at[i] != t->dims[i])
			return false;
	return dims->count == t->rank;
}

static void put_attrs(struct printer *p, const struct node *n)
{
	const struct op_row *o = &op_table[n->op];
	const char *before = " {";

	for (int i = 0; i < o->attr_count; i++) {
		const struct attr_row *row = &o->attrs[i];
		const void *field = (const char *)n->attrs + row->offset;

		if (attr_is_default(row, n->attrs) || row->kind == ATTR_TENSOR ||
		    is_told_by_type(n, row, field) || n->op == OP_param)
			continue;
		fputs(before, p->out);
		put_attr(p, row, field);
		before = ", ";
	}
	if (*before == ',')
		fputc('}', p->out);
}

/* ---- expressions ---- */

struct param_names {
	struct arena *a;
	bool attention;
};

/* a, b, ..., z, p26, ...; of attention s, i, j and then a, b, ... */
static const char *param_name(const struct param_names *names, int index)
{
	static const char *const score[] = {"s", "i", "j"};

	if (names->attention && index < 3)
		return score[index];
	index -= names->attention ? 3 : 0;
	if (index < 26 - (names->attention ? 18 : 0))
		return arena_printf(names->a, "%c", 'a' + index);
	return arena_printf(names->a, "p%d", index);
}

static const char *leaf_name(void *self, const struct expr *e)
{
	return e->op == EXPR_PARAM ? param_name(self, e->index) : NULL;
}

static bool is_position(const struct expr *e, void *self)
{
	(void)self;
	return e->op == EXPR_PARAM && (e->index == 1 || e->index == 2);
}

static void put_expr(struct printer *p, const struct node *n)
{
	struct param_names names = {&p->scratch, n->op == OP_attention};
	int count = names.attention ? n->in_count : n->in_count;
	const char *before = "";

	fputs(" (", p->out);
	for (int i = 0; i < count; i++) {
		bool position = names.attention && (i == 1 || i == 2);
		enum dtype t = position ? DT_I64 : dtype_compute(n->in[i]->type.dtype);

		if (position && !expr_any(n->expr, is_position, NULL))
			continue;
		fprintf(p->out, "%s%s: %s", before, param_name(&names, i), dtype_name(t));
		before = ", ";
	}
	fputs(") -> ", p->out);
	expr_print(p->out, &p->g->exprs, n->expr, true, leaf_name, &names);
}

/* ---- nodes ---- */

static void put_region(struct printer *p, const struct region *r, const char *last);

static void put_params(struct printer *p, const struct region *r)
{
	for (int i = 0; i < r->param_count; i++) {
		fputs(i ? ", " : "", p->out);
		put_value(p, r->params[i]);
		fputs(": ", p->out);
		put_type(p, &r->params[i]->type);
	}
}

static void put_operands(struct printer *p, const struct node *n)
{
	const struct attrs_param *param = n->attrs;

	if (n->op == OP_const) {
		fputc(' ', p->out);
		put_tensor(p, &n->out[0]->type, ((const struct attrs_const *)n->attrs)->data);
	} else if (n->op == OP_param) {
		fputc('(', p->out);
		print_quoted(p->out, param->name);
		fprintf(p->out, ", %s)", real_text(&p->scratch, DT_F64, param->initial));
	} else if (n->op == OP_return_if) {
		fputc(' ', p->out);
		put_value(p, n->in[0]);
		fputs(" (", p->out);
		put_values(p, n->in_count - 1, n->in + 1);
		fputc(')', p->out);
	} else if (n->in_count || n->op == OP_map || n->op == OP_scan) {
		fputc('(', p->out);
		put_values(p, n->in_count, n->in);
		fputc(')', p->out);
	}
}

static void put_node(struct printer *p, const struct node *n)
{
	fprintf(p->out, "%*s", p->indent * 2, "");
	for (int i = 0; i < n->out_count; i++) {
		fputs(i ? ", " : "", p->out);
		put_value(p, n->out[i]);
		fputs(": ", p->out);
		put_type(p, &n->out[i]->type);
	}
	fprintf(p->out, "%s%s", n->out_count ? " = " : "", op_table[n->op].name);
	put_operands(p, n);
	put_attrs(p, n);
	if (n->expr)
		put_expr(p, n);
	if (n->symbol_count)
		put_symbols(p, n->symbol_count, n->symbols);
	for (int i = 0; i < n->region_count; i++) {
		fputs(i ? " else" : "", p->out);
		if (n->op == OP_loop || n->op == OP_scan) {
			fputs(" do (", p->out);
			put_params(p, n->regions[i]);
			fputc(')', p->out);
		}
		fputs(" {\n", p->out);
		put_region(p, n->regions[i], "yield");
		fprintf(p->out, "%*s}", p->indent * 2, "");
	}
	if (n->loc.node) {
		fputs(" !", p->out);
		print_quoted(p->out, n->loc.node);
	}
	fputc('\n', p->out);
}

static int compare_texts(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* What must hold at run time; sorted, for their order says nothing. */
static void put_requires(struct printer *p)
{
	int count = p->g->requires.count;
	const char **lines = ARENA_ARRAY(&p->scratch, const char *, count + 1);

	for (int i = 0; i < count; i++) {
		const struct require *r = &p->g->requires.at[i];
		char *text = NULL;
		size_t size = 0;
		FILE *out = open_memstream(&text, &size);

		if (!out) {
			out_of_memory(1);
			return;
		}
		fprintf(out, "  require %s", dim_text(&p->g->dims, &p->scratch, r->left));
		fprintf(out, " == %s", dim_text(&p->g->dims, &p->scratch, r->right));
		if (r->what) {
			fputc(' ', out);
			print_quoted(out, r->what);
		}
		if (r->node && r->node->loc.node) {
			fputs(" !", out);
			print_quoted(out, r->node->loc.node);
		}
		fclose(out);
		lines[i] = arena_text(&p->scratch, text);
		free(text);
	}
	qsort(lines, (size_t)count, sizeof(*lines), compare_texts);
	for (int i = 0; i < count; i++)
		fprintf(p->out, "%s\n", lines[i]);
}

static void put_region(struct printer *p, const struct region *r, const char *last)
{
	p->indent++;
	for (const struct node *n = r->first; n; n = n->next)
		put_node(p, n);
	if (!r->owner)
		put_requires(p);
	fprintf(p->out, "%*s%s%s", p->indent * 2, "", last, r->result_count ? " " : "");
	put_values(p, r->result_count, r->results);
	fputc('\n', p->out);
	p->indent--;
}

/* ---- the function ---- */

/* An input or output: its name in the text, and the interface's if that differs. */
static void put_interface(struct printer *p, const char *shown, const char *name,
			  const struct type *type)
{
	fprintf(p->out, "%%%s", shown);
	if (name && strcmp(name, shown)) {
		fputc(' ', p->out);
		print_quoted(p->out, name);
	}
	fputs(": ", p->out);
	put_type(p, type);
}

void graph_print(const struct graph *g, FILE *out, struct text_side *side)
{
	struct printer p = {.g = g, .out = out, .side = side};
	struct names outputs = {.arena = &p.scratch};
	const struct region *r = g->body;

	p.taken.arena = &p.scratch;
	p.names = ARENA_ARRAY(&p.scratch, const char *, g->value_count + 1);
	name_region(&p, r);
	fprintf(out, "func @%s(",
		name_sanitize(&p.scratch, g->name && *g->name ? g->name : "main"));
	for (int i = 0; i < r->param_count; i++) {
		fputs(i ? ", " : "", out);
		put_interface(&p, p.names[r->params[i]->id], g->input_names[i],
			      &r->params[i]->type);
	}
	fputs(") -> (", out);
	for (int i = 0; i < r->result_count; i++) {
		fputs(i ? ", " : "", out);
		put_interface(&p,
			      names_claim(&outputs, name_sanitize(&p.scratch, g->output_names[i])),
			      g->output_names[i], &r->results[i]->type);
	}
	fputc(')', out);
	put_function_symbols(&p);
	fputs(" {\n", out);
	put_region(&p, r, "return");
	fputs("}\n", out);
	arena_free(&p.scratch);
}

const char *graph_text(const struct graph *g, struct arena *a)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	const char *copy;

	if (!out) {
		out_of_memory(1);
		return "";
	}
	graph_print(g, out, NULL);
	fclose(out);
	copy = arena_copy(a, text, size + 1);
	free(text);
	return copy;
}
