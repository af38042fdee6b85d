/* kernel.c: building kernels, and two questions about them. */
#include "ir/kernel.h"

struct kernel *kernel_new(struct arena *a, struct expr_pool *p, const char *name)
{
	struct kernel *k = ARENA_NEW(a, struct kernel);

	k->arena = a;
	k->exprs = p;
	k->name = arena_text(a, name);
	return k;
}

int kernel_buffer(struct kernel *k, enum buffer_role role, struct value *v)
{
	struct buffer b = {.role = role, .type = v->type, .value = v};

	for (int i = 0; i < k->buffers.count; i++)
		if (k->buffers.at[i].role == role && k->buffers.at[i].value == v)
			return i;
	b.name = v->name ? v->name : arena_printf(k->arena, "v%d", v->id);
	ARENA_PUSH(k->arena, &k->buffers, b);
	return k->buffers.count - 1;
}

int kernel_local(struct kernel *k, const char *name, const struct type *type)
{
	struct buffer b = {.role = BUFFER_LOCAL, .type = *type};

	b.name = arena_printf(k->arena, "%s%d", name, k->buffers.count);
	ARENA_PUSH(k->arena, &k->buffers, b);
	return k->buffers.count - 1;
}

struct kernel_builder kernel_at_end(struct kernel *k)
{
	struct kernel_builder b = {k, &k->body};

	while (*b.end)
		b.end = &(*b.end)->next;
	return b;
}

/* Adds a statement at the cursor and moves the cursor behind it. */
static struct stmt *add(struct kernel_builder *b, enum stmt_kind kind)
{
	struct stmt *s = ARENA_NEW(b->kernel->arena, struct stmt);

	s->kind = kind;
	s->next = *b->end;
	*b->end = s;
	b->end = &s->next;
	return s;
}

struct kernel_builder k_for(struct kernel_builder *b, int axis, bool par)
{
	struct stmt *s = add(b, STMT_FOR);
	struct kernel_builder after = *b;

	s->axis = axis;
	s->par = par;
	b->end = &s->body;
	return after;
}

struct stmt *k_store(struct kernel_builder *b, int buffer, int rank,
		     const struct expr *const *index, const struct expr *value, int combine)
{
	struct stmt *s = add(b, STMT_STORE);

	s->buffer = buffer;
	s->rank = rank;
	s->index = ARENA_ARRAY(b->kernel->arena, const struct expr *, rank);
	for (int i = 0; i < rank; i++)
		s->index[i] = index[i];
	s->value = value;
	s->combine = combine;
	return s;
}

int k_var(struct kernel *k, enum dtype t)
{
	ARENA_PUSH(k->arena, &k->vars, t);
	return k->vars.count - 1;
}

void k_set(struct kernel_builder *b, int var, const struct expr *value)
{
	struct stmt *s = add(b, STMT_SET);

	s->var = var;
	s->value = value;
}

struct kernel_builder k_when(struct kernel_builder *b, const struct expr *condition)
{
	struct stmt *s = add(b, STMT_WHEN);
	struct kernel_builder after = *b;

	s->value = condition;
	b->end = &s->body;
	return after;
}

void k_call(struct kernel_builder *b, const char *routine, int in_count, const int *in,
	    int out_count, const int *out, int attr_count, const dim *attrs)
{
	struct arena *a = b->kernel->arena;
	struct stmt *s = add(b, STMT_CALL);

	s->routine = arena_text(a, routine);
	s->in_count = in_count;
	s->out_count = out_count;
	s->attr_count = attr_count;
	s->in = in_count ? arena_copy(a, in, (size_t)in_count * sizeof(*in)) : NULL;
	s->out = out_count ? arena_copy(a, out, (size_t)out_count * sizeof(*out)) : NULL;
	s->attrs = attr_count ? arena_copy(a, attrs, (size_t)attr_count * sizeof(dim)) : NULL;
}

static void map_exprs(struct stmt *s, const struct expr *(*fn)(const struct expr *e, void *self),
		      void *self)
{
	for (; s; s = s->next) {
		for (int i = 0; i < s->rank; i++)
			s->index[i] = fn(s->index[i], self);
		if (s->value)
			s->value = fn(s->value, self);
		map_exprs(s->body, fn, self);
	}
}

void kernel_map_exprs(struct kernel *k, const struct expr *(*fn)(const struct expr *e, void *self),
		      void *self)
{
	map_exprs(k->body, fn, self);
}

const struct stmt *kernel_pure_store(const struct kernel *k, int *axis_count, int *axes)
{
	const struct stmt *s = k->body;
	int count = 0;

	for (; s && s->kind == STMT_FOR && s->par && !s->next; s = s->body) {
		if (count == HONE_MAX_RANK)
			return NULL;
		axes[count++] = s->axis;
	}
	if (!s || s->kind != STMT_STORE || s->next || s->combine >= 0 || s->rank != count)
		return NULL;
	for (int i = 0; i < count; i++)
		if (s->index[i]->op != EXPR_AXIS || s->index[i]->index != axes[i])
			return NULL;
	*axis_count = count;
	return s;
}
