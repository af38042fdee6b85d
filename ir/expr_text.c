/* expr_text.c: printing scalar expressions, with as few parentheses as the grammar of expr_parse.c allows.
 * An expression that is large as a tree, or deep, is printed as a block that names its shared and its
 * deepest parts, so that the text is linear in the number of expressions:
 *	{ _0 = a * a; _1 = _0 * _0; _1 + _1 } */
#include "ir/expr.h"
#include "ir/parse.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TREE_MAX = 400, DEPTH_MAX = SCALAR_NESTING_MAX / 2 };

struct printer {
	FILE *out;
	struct arena scratch;
	const struct expr_pool *pool;
	expr_name_fn *name;
	void *self;
	int *named; /* by id: 1 + number of its name; NULL when the whole is small */
	int name_count;
};

static void print(struct printer *p, const struct expr *e, int level, bool known);
static void print_scope(struct printer *p, const struct expr *e, bool known);

const char *real_text(struct arena *a, enum dtype t, double x)
{
	char text[40];

	if (isnan(x))
		return "nan";
	if (isinf(x))
		return x < 0 ? "-inf" : "inf";
	for (int digits = 1; digits <= 17; digits++) {
		double back;

		snprintf(text, sizeof(text), "%.*g", digits, x);
		back = strtod(text, NULL);
		if (t == DT_F64 ? back == x : (float)back == (float)x)
			break;
	}
	if (!strpbrk(text, ".e"))
		return arena_printf(a, "%s.0", text);
	return arena_text(a, text);
}

/* ---- literals ---- */

/* Whether the parser finds e's type without being told. */
static bool typed(const struct printer *p, const struct expr *e)
{
	bool any = false;

	if (p->named && p->named[e->id])
		return true;
	if (e->op == EXPR_LITERAL)
		return e->type == DT_BOOL;
	if (e->op >= EXPR_SCALAR_COUNT && e->op != EXPR_REDUCE)
		return true;
	if (e->type == DT_BOOL || (e->op == EXPR_REDUCE && e->reduce >= REDUCE_ARGMIN))
		return true;
	for (int i = e->op == EXPR_SELECT ? 1 : 0; i < e->count && !any; i++)
		any = typed(p, e->arg[i]);
	return any;
}

static void print_literal(struct printer *p, const struct expr *e, bool known)
{
	enum dtype t = (enum dtype)e->type;
	bool wrap = !known && t != DT_BOOL;

	if (wrap)
		fprintf(p->out, "%s(", dtype_name(t));
	if (t == DT_BOOL)
		fputs(e->i ? "true" : "false", p->out);
	else if (dtype_is_float(t))
		fputs(real_text(&p->scratch, t, e->f), p->out);
	else if (dtype_class(t) == DTYPE_UNSIGNED)
		fprintf(p->out, "%" PRIu64, (uint64_t)e->i);
	else
		fprintf(p->out, "%" PRId64, e->i);
	if (wrap)
		fputc(')', p->out);
}

/* ---- operators ---- */

enum { LEVEL_ANY = 0, LEVEL_UNARY = 9 };

static int infix_level(int op)
{
	switch (op) {
	case EXPR_OR: return 1;
	case EXPR_XOR: return 2;
	case EXPR_AND: return 3;
	case EXPR_EQ:
	case EXPR_NE: return 4;
	case EXPR_LT:
	case EXPR_LE:
	case EXPR_GT:
	case EXPR_GE: return 5;
	case EXPR_SHL:
	case EXPR_SHR: return 6;
	case EXPR_ADD:
	case EXPR_SUB: return 7;
	case EXPR_MUL:
	case EXPR_DIV: return 8;
	default: return 0;
	}
}

static bool is_comparison(int op) { return op >= EXPR_LT && op <= EXPR_NE; }

/* known: whether the parser knows the type of e from around it. */
static void print_operation(struct printer *p, const struct expr *e, int level, bool known)
{
	const char *text = scalar_text((enum expr_op)e->op);
	int own = infix_level(e->op);
	bool select = e->op == EXPR_SELECT, open;

	known = known && !is_comparison(e->op);
	for (int i = select ? 1 : 0; i < e->count && !known; i++)
		known = typed(p, e->arg[i]);
	if (select || own) {
		open = level > own;
		if (open)
			fputc('(', p->out);
		print(p, e->arg[0], select ? 1 : own, select || known);
		fprintf(p->out, " %s ", text);
		print(p, e->arg[1], select ? LEVEL_ANY : own + 1, known);
		if (select) {
			fputs(" : ", p->out);
			print(p, e->arg[2], LEVEL_ANY, known);
		}
		if (open)
			fputc(')', p->out);
	} else if (text[0] >= 'a' && text[0] <= 'z') {
		fprintf(p->out, "%s(", text);
		for (int i = 0; i < e->count; i++) {
			fputs(i ? ", " : "", p->out);
			print(p, e->arg[i], LEVEL_ANY, known);
		}
		fputc(')', p->out);
	} else {
		fputs(text, p->out);
		print(p, e->arg[0], LEVEL_UNARY, known);
	}
}

/* ---- leaves and kernel expressions ---- */

/* A symbol is printed bare when no name of a parameter or axis can hide it: those are lower case. */
static void print_dim(struct printer *p, const char *text, bool symbol)
{
	if (symbol && text[0] >= 'A' && text[0] <= 'Z')
		fputs(text, p->out);
	else
		fprintf(p->out, "dim(%s)", text);
}

static void print_leaf(struct printer *p, const struct expr *e)
{
	static const char *const words[] = {[EXPR_PARAM] = "param",
					    [EXPR_AXIS] = "axis",
					    [EXPR_VAR] = "var",
					    [EXPR_LOAD] = "%b"};
	const char *name = p->name ? p->name(p->self, e) : NULL;

	if (name)
		fputs(name, p->out);
	else if (e->op == EXPR_DIM)
		print_dim(p, dim_text(p->pool->dims, &p->scratch, e->size),
			  e->size->kind == DIM_SYMBOL);
	else
		fprintf(p->out, "%s%d", words[e->op], e->index);
}

static void print_list(struct printer *p, const struct expr *e)
{
	for (int i = 0; i < e->count; i++) {
		fputs(i ? ", " : "", p->out);
		print(p, e->arg[i], LEVEL_ANY, true);
	}
}

static void print_reduce(struct printer *p, const struct expr *e, bool known)
{
	fputs(reduce_names[e->reduce], p->out);
	for (int i = 0; i < e->axis_count; i++) {
		const struct axis *axis = &p->pool->axes[e->axes[i]];
		struct expr leaf = {.op = EXPR_AXIS, .type = DT_I64, .index = e->axes[i]};

		fputs(i ? ", " : " ", p->out);
		print_leaf(p, &leaf);
		fprintf(p->out, " < %s", dim_text(p->pool->dims, &p->scratch, axis->extent));
	}
	fputs(" { ", p->out);
	print_scope(p, e->arg[0], known && e->reduce < REDUCE_ARGMIN);
	fputs(" }", p->out);
}

static void print(struct printer *p, const struct expr *e, int level, bool known)
{
	if (p->named && p->named[e->id]) {
		fprintf(p->out, "_%d", p->named[e->id] - 1);
		return;
	}
	switch (e->op) {
	case EXPR_LITERAL: print_literal(p, e, known); return;
	case EXPR_PARAM:
	case EXPR_DIM:
	case EXPR_AXIS:
	case EXPR_VAR: print_leaf(p, e); return;
	case EXPR_CAST:
	case EXPR_SAT_CAST:
	case EXPR_BITS_CAST:
		fprintf(p->out, "%s%s(",
			e->op == EXPR_SAT_CAST    ? "sat_"
			: e->op == EXPR_BITS_CAST ? "bits_"
						  : "",
			dtype_name((enum dtype)e->type));
		print(p, e->arg[0], LEVEL_ANY, false);
		fputc(')', p->out);
		return;
	case EXPR_LOAD:
		print_leaf(p, e);
		fputc('[', p->out);
		print_list(p, e);
		fputc(']', p->out);
		return;
	case EXPR_CHECK:
		fputs("check(", p->out);
		print_list(p, e);
		fputc(')', p->out);
		return;
	case EXPR_REDUCE: print_reduce(p, e, known); return;
	default: print_operation(p, e, level, known); return;
	}
}

/* ---- large expressions ---- */

/* Counts down; false when the tree has more than `left` nodes or is deeper than `depth`. */
static bool is_small(const struct expr *e, int *left, int depth)
{
	if (--*left < 0 || depth == 0)
		return false;
	for (int i = 0; i < e->count; i++)
		if (!is_small(e->arg[i], left, depth - 1))
			return false;
	return true;
}

/* The expressions below e, each once, operands first. */
struct order {
	struct {
		const struct expr **at;
		int count, room;
	} list, stack;
	unsigned char *seen; /* by id */
};

static void collect(struct printer *p, struct order *o, const struct expr *e)
{
	o->seen = arena_alloc(&p->scratch, (size_t)e->id + 1);
	ARENA_PUSH(&p->scratch, &o->stack, e);
	while (o->stack.count) {
		const struct expr *top = o->stack.at[o->stack.count - 1];
		bool ready = true;

		if (o->seen[top->id] == 2) {
			o->stack.count--;
			continue;
		}
		for (int i = 0; i < top->count && o->seen[top->id] == 0; i++)
			if (!o->seen[top->arg[i]->id]) {
				ARENA_PUSH(&p->scratch, &o->stack, top->arg[i]);
				ready = false;
			}
		o->seen[top->id] = 1;
		if (ready) {
			o->seen[top->id] = 2;
			o->stack.count--;
			ARENA_PUSH(&p->scratch, &o->list, top);
		}
	}
}

/* free[id]: the axes it reads that a reduction below the scope binds, one bit each (bit 63: all past the
 * 63rd). What reads such an axis can only be named inside of that reduction. */
static uint64_t *find_free(struct printer *p, const struct order *o, int size)
{
	uint64_t *free_axes = ARENA_ARRAY(&p->scratch, uint64_t, size);
	uint64_t *bit = ARENA_ARRAY(&p->scratch, uint64_t, p->pool->axis_count + 1);
	int count = 0;

	for (int k = 0; k < o->list.count; k++)
		for (int i = 0; o->list.at[k]->op == EXPR_REDUCE && i < o->list.at[k]->axis_count;
		     i++)
			if (!bit[o->list.at[k]->axes[i]])
				bit[o->list.at[k]->axes[i]] = 1ull << (count < 63 ? count++ : 63);
	for (int k = 0; k < o->list.count; k++) {
		const struct expr *e = o->list.at[k];

		free_axes[e->id] = e->op == EXPR_AXIS ? bit[e->index] : 0;
		for (int i = 0; i < e->count; i++)
			free_axes[e->id] |= free_axes[e->arg[i]->id];
		for (int i = 0; e->op == EXPR_REDUCE && i < e->axis_count; i++)
			if (bit[e->axes[i]] >> 63 == 0)
				free_axes[e->id] &= ~bit[e->axes[i]];
	}
	return free_axes;
}

static void print_scope(struct printer *p, const struct expr *e, bool known)
{
	int left = TREE_MAX, size = e->id + 1, first = p->name_count, *uses, *depth;
	struct order o = {0};
	uint64_t *free_axes;

	if (is_small(e, &left, DEPTH_MAX)) {
		print(p, e, LEVEL_ANY, known);
		return;
	}
	if (!p->named)
		p->named = ARENA_ARRAY(&p->scratch, int, p->pool->count);
	collect(p, &o, e);
	free_axes = find_free(p, &o, size);
	uses = ARENA_ARRAY(&p->scratch, int, size);
	depth = ARENA_ARRAY(&p->scratch, int, size);
	for (int k = 0; k < o.list.count; k++)
		for (int i = 0; i < o.list.at[k]->count; i++)
			uses[o.list.at[k]->arg[i]->id]++;
	fputs("{ ", p->out);
	for (int k = 0; k < o.list.count; k++) {
		const struct expr *x = o.list.at[k];

		for (int i = 0; i < x->count; i++)
			if (depth[x->arg[i]->id] >= depth[x->id])
				depth[x->id] = depth[x->arg[i]->id] + 1;
		if (x == e || x->count == 0 || free_axes[x->id] || p->named[x->id] ||
		    (uses[x->id] < 2 && depth[x->id] < DEPTH_MAX / 2))
			continue;
		fprintf(p->out, "_%d = ", p->name_count);
		print(p, x, LEVEL_ANY, false);
		fputs("; ", p->out);
		p->named[x->id] = ++p->name_count;
		depth[x->id] = 0;
	}
	print(p, e, LEVEL_ANY, known);
	fputs(" }", p->out);
	for (int k = 0; k < o.list.count; k++) /* names of this scope end with it */
		if (p->named[o.list.at[k]->id] > first)
			p->named[o.list.at[k]->id] = 0;
}

void expr_print(FILE *out, const struct expr_pool *pool, const struct expr *e, bool known,
		expr_name_fn *name, void *self)
{
	struct printer p = {.out = out, .pool = pool, .name = name, .self = self};

	print_scope(&p, e, known);
	arena_free(&p.scratch);
}

const char *expr_text(struct arena *a, const struct expr_pool *p, const struct expr *e,
		      expr_name_fn *name, void *self)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	const char *copy;

	if (!out) {
		out_of_memory(1);
		return "";
	}
	expr_print(out, p, e, true, name, self);
	fclose(out);
	copy = arena_text(a, text);
	free(text);
	return copy;
}
