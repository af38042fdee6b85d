/* kernel_text.c: kernels as text:
 *	kernel @k2(%p: f32[N,58], %b: f32[64]) -> (%y: f32[N,56]) {
 *	  local %s: f32[56]
 *	  for n < N par, h < 56 par {
 *	    %y[n, h] = max(%p[n, h + 1] + %b[h], 0.0)
 *	  }
 *	} plan loops { vector=h*16 unroll=4 block=n*2 tail=32 }
 * Other statements: `v0: f32 = e`, `when e { ... }`, `%y[i] sum= e`, `call name(%x, _) -> (%y) [dims]`.
 * A key has %b0, %b1, ... for buffers (in the order of the kernel's list) and i0, i1, ... for axes. */
#include "ir/kernel.h"
#include "ir/print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct printer {
	const struct kernel *k;
	FILE *out;
	struct arena scratch;
	struct names taken, axes_taken;
	const char **buffers, **axes; /* names; of an axis, given when it is first seen */
	int axis_count, indent;
	bool key;
};

static const char *axis_name(struct printer *p, int axis)
{
	char *name;

	if (p->axes[axis])
		return p->axes[axis];
	if (p->key) {
		p->axes[axis] = arena_printf(&p->scratch, "i%d", p->axis_count++);
		return p->axes[axis];
	}
	name = (char *)name_sanitize(&p->scratch, p->k->exprs->axes[axis].name);
	if (*name >= 'A' && *name <= 'Z') /* upper case are symbols */
		*name = (char)(*name - 'A' + 'a');
	else if (*name < 'a' || *name > 'z')
		name = arena_printf(&p->scratch, "i%s", name);
	return p->axes[axis] = names_claim(&p->axes_taken, name);
}

static const char *leaf_name(void *self, const struct expr *e)
{
	struct printer *p = self;

	switch (e->op) {
	case EXPR_AXIS: return axis_name(p, e->index);
	case EXPR_VAR: return arena_printf(&p->scratch, "v%d", e->index);
	case EXPR_LOAD: return arena_printf(&p->scratch, "%%%s", p->buffers[e->index]);
	default: return NULL;
	}
}

static void put_expr(struct printer *p, const struct expr *e)
{
	expr_print(p->out, p->k->exprs, e, true, leaf_name, p);
}

static const char *dim_name(struct printer *p, dim d)
{
	return dim_text(p->k->exprs->dims, &p->scratch, d);
}

static void put_buffer(struct printer *p, int i)
{
	const struct type *t = &p->k->buffers.at[i].type;

	fprintf(p->out, "%%%s: %s[", p->buffers[i], dtype_name(t->dtype));
	for (int k = 0; k < t->rank; k++)
		fprintf(p->out, "%s%s", k ? "," : "", dim_name(p, t->dims[k]));
	fputc(']', p->out);
}

static void put_buffers(struct printer *p, enum buffer_role role)
{
	const char *before = "";

	fputc('(', p->out);
	for (int i = 0; i < p->k->buffers.count; i++) {
		if (p->k->buffers.at[i].role != role)
			continue;
		fputs(before, p->out);
		put_buffer(p, i);
		before = ", ";
	}
	fputc(')', p->out);
}

static void put_list(struct printer *p, int count, const int *buffers)
{
	fputc('(', p->out);
	for (int i = 0; i < count; i++) {
		fputs(i ? ", " : "", p->out);
		if (buffers[i] < 0)
			fputc('_', p->out);
		else
			fprintf(p->out, "%%%s", p->buffers[buffers[i]]);
	}
	fputc(')', p->out);
}

static void put_call(struct printer *p, const struct stmt *s)
{
	fprintf(p->out, "call %s", s->routine);
	put_list(p, s->in_count, s->in);
	fputs(" -> ", p->out);
	put_list(p, s->out_count, s->out);
	fputs(" [", p->out);
	for (int i = 0; i < s->attr_count; i++)
		fprintf(p->out, "%s%s", i ? ", " : "", dim_name(p, s->attrs[i]));
	fputc(']', p->out);
}

static void put_body(struct printer *p, const struct stmt *s);

/* Loops that hold nothing but the next loop share one `for`. */
static void put_for(struct printer *p, const struct stmt *s)
{
	fputs("for ", p->out);
	for (;;) {
		fprintf(p->out, "%s < %s%s", axis_name(p, s->axis),
			dim_name(p, p->k->exprs->axes[s->axis].extent), s->par ? " par" : "");
		if (!s->body || s->body->kind != STMT_FOR || s->body->next)
			break;
		s = s->body;
		fputs(", ", p->out);
	}
	put_body(p, s->body);
}

static void put_stmt(struct printer *p, const struct stmt *s)
{
	fprintf(p->out, "%*s", p->indent * 2, "");
	switch (s->kind) {
	case STMT_FOR: put_for(p, s); break;
	case STMT_STORE:
		fprintf(p->out, "%%%s[", p->buffers[s->buffer]);
		for (int i = 0; i < s->rank; i++) {
			fputs(i ? ", " : "", p->out);
			put_expr(p, s->index[i]);
		}
		fprintf(p->out, "] %s= ", s->combine < 0 ? "" : reduce_names[s->combine]);
		put_expr(p, s->value);
		break;
	case STMT_SET:
		fprintf(p->out, "v%d: %s = ", s->var, dtype_name(p->k->vars.at[s->var]));
		put_expr(p, s->value);
		break;
	case STMT_WHEN:
		fputs("when ", p->out);
		put_expr(p, s->value);
		put_body(p, s->body);
		break;
	case STMT_CALL: put_call(p, s); break;
	}
	fputc('\n', p->out);
}

static void put_body(struct printer *p, const struct stmt *s)
{
	fputs(" {\n", p->out);
	p->indent++;
	for (; s; s = s->next)
		put_stmt(p, s);
	p->indent--;
	fprintf(p->out, "%*s}", p->indent * 2, "");
}

static void put_nest(struct printer *p, const struct loops_nest *n)
{
	if (n->vector_axis < 0)
		fputs(" scalar", p->out);
	else
		fprintf(p->out, " vector=%s*%d unroll=%d tail=%d", axis_name(p, n->vector_axis),
			n->lanes, n->unroll, n->tail_bits);
	if (n->block_axis >= 0)
		fprintf(p->out, " block=%s*%d", axis_name(p, n->block_axis), n->block);
}

static void put_contract(struct printer *p)
{
	const struct contract_plan *plan = &p->k->plan.contract;

	if (plan->mac != MAC_F32)
		fprintf(p->out, " mac=%s", contract_mac_names[plan->mac]);
	fprintf(p->out, " tile=%dx%dx%d", plan->rows[0] * plan->rows[1], plan->vectors,
		plan->lanes);
	if (plan->rows[0] > 1)
		fprintf(p->out, " rows=%dx%d", plan->rows[0], plan->rows[1]);
	if (plan->packed >= 0)
		fprintf(p->out, " packed=%%%s", p->buffers[plan->packed]);
	if (plan->sparse)
		fputs(" sparse", p->out);
	if (plan->sparsity.kept < plan->sparsity.rows && !p->key)
		fprintf(p->out, " zeros=%.0f%%",
			100 - 100 * (double)plan->sparsity.kept / (double)plan->sparsity.rows);
	if (plan->unpack)
		fputs(" unpack", p->out);
	if (plan->k_step)
		fprintf(p->out, " k=%d", plan->k_step);
	if (plan->prefetch)
		fputs(" prefetch", p->out);
	if (plan->prefetch_results)
		fputs(" prefetch_results", p->out);
	if (plan->tile_epilogue)
		fputs(" epilogue=tile", p->out);
	for (int i = 0; i < plan->task_count; i++)
		fprintf(p->out, "%s%s*%lld", i ? "," : " tasks=", axis_name(p, plan->tasks[i].axis),
			(long long)plan->tasks[i].step);
}

static void put_attention(struct printer *p, const struct attention_plan *a)
{
	fprintf(p->out, " lanes=%d tile=%dx%d tail=%d%s keys=%d chunk=%d", a->lanes, a->rows,
		a->vectors, a->tail, a->direct ? " direct" : "", a->keys, a->chunk);
}

static void put_plan(struct printer *p)
{
	const struct plan *plan = &p->k->plan;

	if (plan->driver == DRIVER_NONE)
		return;
	fprintf(p->out, " plan %s {", driver_names[plan->driver]);
	for (int i = 0; plan->driver == DRIVER_LOOPS && i < plan->loops.count; i++) {
		fputs(i ? ";" : "", p->out);
		put_nest(p, &plan->loops.nests[i]);
	}
	if (plan->driver == DRIVER_CONTRACT)
		put_contract(p);
	if (plan->driver == DRIVER_ATTENTION)
		put_attention(p, &plan->attention);
	fputs(" }", p->out);
}

static void name_buffers(struct printer *p)
{
	p->buffers = ARENA_ARRAY(&p->scratch, const char *, p->k->buffers.count + 1);
	for (int i = 0; i < p->k->buffers.count; i++) {
		const char *name = p->k->buffers.at[i].name;

		if (p->key || !name)
			name = arena_printf(&p->scratch, "b%d", i);
		p->buffers[i] = names_claim(&p->taken, name_sanitize(&p->scratch, name));
	}
}

static void put_kernel(struct printer *p)
{
	if (p->key)
		fputs("kernel ", p->out);
	else
		fprintf(p->out, "kernel @%s", name_sanitize(&p->scratch, p->k->name));
	put_buffers(p, BUFFER_IN);
	fputs(" -> ", p->out);
	put_buffers(p, BUFFER_OUT);
	fputs(" {\n", p->out);
	for (int i = 0; i < p->k->buffers.count; i++) {
		if (p->k->buffers.at[i].role != BUFFER_LOCAL)
			continue;
		fputs("  local ", p->out);
		put_buffer(p, i);
		fputc('\n', p->out);
	}
	p->indent = 1;
	for (const struct stmt *s = p->k->body; s; s = s->next)
		put_stmt(p, s);
	fputc('}', p->out);
	put_plan(p);
	fputc('\n', p->out);
}

const char *kernel_text(struct arena *a, const struct kernel *k, bool key)
{
	struct printer p = {.k = k, .key = key};
	char *text = NULL;
	size_t size = 0;
	const char *copy;

	p.taken.arena = p.axes_taken.arena = &p.scratch;
	p.out = open_memstream(&text, &size);
	if (!p.out) {
		out_of_memory(1);
		return "";
	}
	p.axes = ARENA_ARRAY(&p.scratch, const char *, k->exprs->axis_count + 1);
	name_buffers(&p);
	put_kernel(&p);
	fclose(p.out);
	arena_free(&p.scratch);
	copy = arena_copy(a, text, size + 1);
	free(text);
	return copy;
}
