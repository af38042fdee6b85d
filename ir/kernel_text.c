/* kernel_text.c: printing kernels (kernel.h shows one). Axes are numbered in the order they are met, so equal computations
 * print the same; as a key, buffers and the kernel have numbers instead of names, too. */
#include "ir/kernel.h"

#include <stdlib.h>
#include <string.h>

struct kernel_printer {
	FILE *out;
	struct arena *arena;
	const struct kernel *k;
	bool key;
	const char **axis_names; /* by axis id; NULL until met */
	int axis_count;
};

static bool is_taken(const struct kernel_printer *p, const char *name)
{
	for (int i = 0; i < p->k->exprs->axis_count; i++)
		if (p->axis_names[i] && !strcmp(p->axis_names[i], name))
			return true;
	return false;
}

static const char *axis_name(struct kernel_printer *p, int axis)
{
	const char *base = p->k->exprs->axes[axis].name, *name = base;

	if (p->axis_names[axis])
		return p->axis_names[axis];
	if (p->key)
		name = arena_printf(p->arena, "a%d", p->axis_count);
	for (int i = 1; !p->key && is_taken(p, name); i++)
		name = arena_printf(p->arena, "%s%d", base, i);
	p->axis_count++;
	p->axis_names[axis] = name;
	return name;
}

static const char *buffer_name(struct kernel_printer *p, int buffer)
{
	if (p->key)
		return arena_printf(p->arena, "%%b%d", buffer);
	return arena_printf(p->arena, "%%%s", p->k->buffers.at[buffer].name);
}

static const char *leaf_name(void *self, const struct expr *e)
{
	struct kernel_printer *p = self;

	switch (e->op) {
	case EXPR_AXIS: return axis_name(p, e->index);
	case EXPR_VAR: return arena_printf(p->arena, "%%s%d", e->index);
	case EXPR_LOAD: return buffer_name(p, e->index);
	default: return NULL;
	}
}

static void print_expr(struct kernel_printer *p, const struct expr *e)
{
	fputs(expr_text(p->arena, p->k->exprs, e, leaf_name, p), p->out);
}

static void print_indices(struct kernel_printer *p, int count, const struct expr *const *index)
{
	fputc('[', p->out);
	for (int i = 0; i < count; i++) {
		fputs(i ? "," : "", p->out);
		print_expr(p, index[i]);
	}
	fputc(']', p->out);
}

static const char *buffer_type(struct kernel_printer *p, const struct buffer *b)
{
	const struct dim_pool *dims = p->k->exprs->dims;
	const char *out = arena_printf(p->arena, "%s[", dtype_name(b->type.dtype));

	for (int i = 0; i < b->type.rank; i++)
		out = arena_printf(p->arena, "%s%s%s", out, i ? "," : "", dim_text(dims, p->arena, b->type.dims[i]));
	return arena_printf(p->arena, "%s]", out);
}

static void print_buffers(struct kernel_printer *p, enum buffer_role role)
{
	const char *join = "";

	for (int i = 0; i < p->k->buffers.count; i++) {
		const struct buffer *b = &p->k->buffers.at[i];

		if (b->role != role)
			continue;
		fprintf(p->out, "%s%s: %s", join, buffer_name(p, i), buffer_type(p, b));
		join = ", ";
	}
}

static void print_call(struct kernel_printer *p, const struct stmt *s)
{
	for (int i = 0; i < s->out_count; i++)
		fprintf(p->out, "%s%s", i ? ", " : "", buffer_name(p, s->out[i]));
	fprintf(p->out, " = call %s(", s->routine);
	for (int i = 0; i < s->in_count; i++)
		fprintf(p->out, "%s%s", i ? ", " : "", s->in[i] < 0 ? "none" : buffer_name(p, s->in[i]));
	fputs(") {", p->out);
	for (int i = 0; i < s->attr_count; i++)
		fprintf(p->out, "%s%s", i ? ", " : "", dim_text(p->k->exprs->dims, p->arena, s->attrs[i]));
	fputs("}\n", p->out);
}

static void print_body(struct kernel_printer *p, const struct stmt *s, int depth);

/* Nested loops that hold nothing else stand on one line: `for n < N par, h < 56 par {`. */
static void print_for(struct kernel_printer *p, const struct stmt *s, int depth)
{
	const char *join = "for ";

	for (;; s = s->body) {
		fprintf(p->out, "%s%s < %s%s", join, axis_name(p, s->axis), dim_text(p->k->exprs->dims, p->arena, p->k->exprs->axes[s->axis].extent),
			s->par ? " par" : "");
		if (!s->body || s->body->kind != STMT_FOR || s->body->next)
			break;
		join = ", ";
	}
	fputs(" {\n", p->out);
	print_body(p, s->body, depth + 1);
	fprintf(p->out, "%*s}\n", depth * 2, "");
}

static void print_store(struct kernel_printer *p, const struct stmt *s)
{
	fputs(buffer_name(p, s->buffer), p->out);
	print_indices(p, s->rank, s->index);
	if (s->combine >= 0)
		fprintf(p->out, " %s= ", reduce_names[s->combine]);
	else
		fputs(" = ", p->out);
	print_expr(p, s->value);
	fputc('\n', p->out);
}

static void print_body(struct kernel_printer *p, const struct stmt *s, int depth)
{
	for (; s; s = s->next) {
		fprintf(p->out, "%*s", depth * 2, "");
		switch (s->kind) {
		case STMT_FOR: print_for(p, s, depth); break;
		case STMT_STORE: print_store(p, s); break;
		case STMT_CALL: print_call(p, s); break;
		case STMT_SET:
			fprintf(p->out, "%%s%d: %s = ", s->var, dtype_name(p->k->vars.at[s->var]));
			print_expr(p, s->value);
			fputc('\n', p->out);
			break;
		case STMT_WHEN:
			fputs("when ", p->out);
			print_expr(p, s->value);
			fputs(" {\n", p->out);
			print_body(p, s->body, depth + 1);
			fprintf(p->out, "%*s}\n", depth * 2, "");
			break;
		}
	}
}

static void print_plan(struct kernel_printer *p)
{
	const struct plan *plan = &p->k->plan;

	fprintf(p->out, " plan %s", driver_names[plan->driver]);
	for (int i = 0; plan->driver == DRIVER_LOOPS && i < plan->loops.count; i++) {
		const struct loops_nest *n = &plan->loops.nests[i];

		fputs(" {", p->out);
		if (n->vector_axis < 0)
			fputs(" scalar", p->out);
		else
			fprintf(p->out, " vector=%s lanes=%d unroll=%d tail=%d", axis_name(p, n->vector_axis), n->lanes, n->unroll, n->tail_bits);
		if (n->block_axis >= 0)
			fprintf(p->out, " block=%s*%d", axis_name(p, n->block_axis), n->block);
		fputs(" }", p->out);
	}
}

static void print_kernel(struct kernel_printer *p)
{
	bool locals = false;

	fprintf(p->out, "kernel @%s(", p->key ? "k" : p->k->name);
	print_buffers(p, BUFFER_IN);
	fputs(") -> (", p->out);
	print_buffers(p, BUFFER_OUT);
	fputs(") {\n", p->out);
	for (int i = 0; i < p->k->buffers.count; i++)
		locals |= p->k->buffers.at[i].role == BUFFER_LOCAL;
	if (locals) {
		fputs("  local ", p->out);
		print_buffers(p, BUFFER_LOCAL);
		fputc('\n', p->out);
	}
	print_body(p, p->k->body, 1);
	fputc('}', p->out);
	if (p->k->plan.driver != DRIVER_NONE)
		print_plan(p);
	fputc('\n', p->out);
}

const char *kernel_text(struct arena *a, const struct kernel *k, bool key)
{
	struct arena scratch = {0};
	struct kernel_printer p = {.arena = &scratch, .k = k, .key = key};
	char *bytes = NULL, *text;
	size_t size = 0;

	p.axis_names = ARENA_ARRAY(&scratch, const char *, k->exprs->axis_count + 1);
	p.out = open_memstream(&bytes, &size);
	if (!p.out)
		BUG("no memory for the text of a kernel");
	print_kernel(&p);
	fclose(p.out);
	text = arena_copy(a, bytes, size + 1);
	free(bytes);
	arena_free(&scratch);
	return text;
}
