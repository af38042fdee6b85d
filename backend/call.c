/* call.c: the call driver. The function builds a hone_call (runtime/program.h) on its stack and calls
 * hone_call_NAME; results whose dims the routine finds come with their capacity as dims. */
#include "backend/call.h"
#include "runtime/program.h"

#include <stddef.h>

enum { SYMBOLIC_MAX = 8 };

bool kernel_is_call(const struct kernel *k)
{
	return k->body && k->body->kind == STMT_CALL && !k->body->next;
}

/* The dim as the routine gets it: of a result that it finds itself, the largest it can be. */
static dim array_dim(const struct kernel *k, dim d, bool out)
{
	dim most =
		out && k->node && k->node->symbol_count ? dim_static_bound(k->exprs->dims, d) : d;

	return most ? most : d;
}

struct words {
	dim *at;
	int count, room;
};

static void add_word(struct arena *a, struct words *w, dim d)
{
	if (dim_is_const(d))
		return;
	for (int i = 0; i < w->count; i++) {
		if (w->at[i] == d)
			return;
	}
	ARENA_PUSH(a, w, d);
}

static void add_dims(const struct kernel *k, struct arena *a, struct words *w, int buffer, bool out)
{
	const struct type *t;

	if (buffer < 0)
		return;
	t = &k->buffers.at[buffer].type;
	for (int i = 0; i < t->rank; i++)
		add_word(a, w, array_dim(k, t->dims[i], out));
}

/* ---- scratch: the routine's function of the operands' dims is linear in each of them, so its values where
 * every symbolic dim is 1 or 2 give it as a polynomial ---- */

struct samples {
	const struct stmt *s;
	const struct kernel *k;
	const struct hone_call_row *row;
	dim symbolic[SYMBOLIC_MAX];
	int count;
};

static int symbolic_index(const struct samples *m, dim d)
{
	int i = 0;

	while (i < m->count && m->symbolic[i] != d)
		i++;
	return i;
}

static int64_t sample(const struct samples *m, unsigned corner, struct arena *a)
{
	struct hone_array *arrays =
		ARENA_ARRAY(a, struct hone_array, m->s->in_count + m->s->out_count + 1);
	int64_t *attrs = ARENA_ARRAY(a, int64_t, m->s->attr_count + 1);
	struct hone_call call = {.in = arrays,
				 .out = arrays + m->s->in_count,
				 .attrs = attrs,
				 .in_count = m->s->in_count,
				 .out_count = m->s->out_count};

	for (int i = 0; i < m->s->in_count + m->s->out_count; i++) {
		int buffer = i < m->s->in_count ? m->s->in[i] : m->s->out[i - m->s->in_count];
		const struct type *t = buffer < 0 ? NULL : &m->k->buffers.at[buffer].type;

		arrays[i].rank = t ? t->rank : -1;
		arrays[i].dtype = t ? (int32_t)t->dtype : 0;
		for (int j = 0; t && j < t->rank; j++)
			arrays[i].dims[j] =
				dim_is_const(t->dims[j])
					? t->dims[j]->value
					: 1 + (corner >> symbolic_index(m, t->dims[j]) & 1);
	}
	for (int i = 0; i < m->s->attr_count; i++)
		attrs[i] = dim_is_const(m->s->attrs[i]) ? m->s->attrs[i]->value : 1;
	return m->row->scratch(&call);
}

static dim scratch_bytes(struct samples *m, struct arena *a)
{
	struct dim_pool *p = m->k->exprs->dims;
	dim sum = dim_const(p, 0);

	for (unsigned corner = 0; corner < 1u << m->count; corner++) {
		dim term = dim_const(p, sample(m, corner, a));

		for (int i = 0; i < m->count; i++) {
			dim d = m->symbolic[i];

			term = dim_mul(p, term,
				       corner >> i & 1 ? dim_sub(p, d, dim_const(p, 1))
						       : dim_sub(p, dim_const(p, 2), d));
		}
		sum = dim_add(p, sum, term);
	}
	return sum;
}

bool call_words(const struct kernel *k, struct arena *a, int *count, const dim **words,
		dim *scratch)
{
	const struct stmt *s = k->body;
	struct samples m = {.s = s, .k = k, .row = hone_call_find(s->routine)};
	struct words w = {0};

	if (!m.row)
		BUG("kernel %s calls %s, which is no routine", k->name, s->routine);
	for (int i = 0; i < s->in_count; i++) {
		add_dims(k, a, &w, s->in[i], false);
		for (int j = 0; s->in[i] >= 0 && j < k->buffers.at[s->in[i]].type.rank; j++) {
			dim d = k->buffers.at[s->in[i]].type.dims[j];

			if (dim_is_const(d) || symbolic_index(&m, d) < m.count)
				continue;
			if (m.count == SYMBOLIC_MAX)
				return false;
			m.symbolic[m.count++] = d;
		}
	}
	for (int i = 0; i < s->out_count; i++)
		add_dims(k, a, &w, s->out[i], true);
	for (int i = 0; i < s->attr_count; i++)
		add_word(a, &w, s->attrs[i]);
	*scratch = scratch_bytes(&m, a);
	*count = w.count;
	*words = w.at;
	return true;
}

/* ---- emission ---- */

struct caller {
	struct emitter *e;
	const struct kernel *k;
	const struct kernel_abi *abi;
	LLVMValueRef frame, buffers, words, worker;
};

static LLVMValueRef num(struct caller *c, int64_t x)
{
	return LLVMConstInt(c->e->i64, (unsigned long long)x, 1);
}

static LLVMValueRef at(struct caller *c, LLVMValueRef base, int64_t bytes)
{
	LLVMValueRef by = num(c, bytes);

	return LLVMBuildGEP2(c->e->builder, c->e->i8, base, &by, 1, "");
}

static void put(struct caller *c, LLVMValueRef base, size_t offset, LLVMValueRef value)
{
	LLVMBuildStore(c->e->builder, value, at(c, base, (int64_t)offset));
}

static LLVMValueRef dim_value(struct caller *c, dim d)
{
	if (dim_is_const(d))
		return num(c, d->value);
	for (int i = 0; i < c->abi->word_count; i++) {
		if (c->abi->words[i] == d)
			return LLVMBuildLoad2(c->e->builder, c->e->i64, at(c, c->words, 8 * i), "");
	}
	BUG("kernel %s: a dim without a word", c->k->name);
}

static LLVMValueRef buffer(struct caller *c, int i)
{
	return LLVMBuildLoad2(c->e->builder, c->e->ptr,
			      at(c, c->buffers, (int64_t)sizeof(void *) * i), "");
}

static LLVMValueRef int32(struct caller *c, int64_t x)
{
	return LLVMConstInt(c->e->i32, (unsigned long long)x, 1);
}

static LLVMValueRef reserve(struct caller *c, size_t bytes)
{
	LLVMValueRef v =
		LLVMBuildAlloca(c->e->builder, LLVMArrayType2(c->e->i64, bytes / 8 + 1), "");

	LLVMSetAlignment(v, 8);
	return v;
}

static void put_array(struct caller *c, LLVMValueRef base, int which, bool out)
{
	const struct type *t = which < 0 ? NULL : &c->k->buffers.at[which].type;

	put(c, base, offsetof(struct hone_array, rank), int32(c, t ? t->rank : -1));
	put(c, base, offsetof(struct hone_array, dtype), int32(c, t ? (int64_t)t->dtype : 0));
	put(c, base, offsetof(struct hone_array, data),
	    t ? buffer(c, which) : LLVMConstNull(c->e->ptr));
	for (int i = 0; t && i < t->rank; i++)
		put(c, base, offsetof(struct hone_array, dims) + 8 * (size_t)i,
		    dim_value(c, array_dim(c->k, t->dims[i], out)));
}

static LLVMValueRef scratch(struct caller *c)
{
	LLVMBuilderRef b = c->e->builder;
	LLVMValueRef by, base;

	if (c->abi->scratch < 0)
		return LLVMConstNull(c->e->ptr);
	base = buffer(c, c->abi->scratch);
	by = LLVMBuildLoad2(b, c->e->i64, at(c, c->words, 8 * c->abi->scratch_stride_word), "");
	by = LLVMBuildMul(b, by, c->worker, "");
	return LLVMBuildGEP2(b, c->e->i8, base, &by, 1, "");
}

static LLVMValueRef make_call(struct caller *c)
{
	const struct stmt *s = c->k->body;
	LLVMValueRef in = reserve(c, sizeof(struct hone_array) * (size_t)(s->in_count + 1));
	LLVMValueRef out = reserve(c, sizeof(struct hone_array) * (size_t)(s->out_count + 1));
	LLVMValueRef attrs = reserve(c, 8 * (size_t)(s->attr_count + 1)),
		     call = reserve(c, sizeof(struct hone_call));

	for (int i = 0; i < s->in_count; i++)
		put_array(c, at(c, in, (int64_t)sizeof(struct hone_array) * i), s->in[i], false);
	for (int i = 0; i < s->out_count; i++)
		put_array(c, at(c, out, (int64_t)sizeof(struct hone_array) * i), s->out[i], true);
	for (int i = 0; i < s->attr_count; i++)
		put(c, attrs, 8 * (size_t)i, dim_value(c, s->attrs[i]));
	put(c, call, offsetof(struct hone_call, in), in);
	put(c, call, offsetof(struct hone_call, out), out);
	put(c, call, offsetof(struct hone_call, attrs), attrs);
	put(c, call, offsetof(struct hone_call, scratch), scratch(c));
	put(c, call, offsetof(struct hone_call, bound),
	    c->abi->bound < 0 ? LLVMConstNull(c->e->ptr) : buffer(c, c->abi->bound));
	put(c, call, offsetof(struct hone_call, in_count), int32(c, s->in_count));
	put(c, call, offsetof(struct hone_call, out_count), int32(c, s->out_count));
	return call;
}

static LLVMValueRef routine(struct caller *c, LLVMTypeRef type)
{
	char *name = arena_printf(c->e->arena, "hone_call_%s", c->k->body->routine);
	LLVMValueRef fn = LLVMGetNamedFunction(c->e->module, name);

	if (fn)
		return fn;
	fn = LLVMAddFunction(c->e->module, name, type);
	LLVMSetVisibility(fn, LLVMHiddenVisibility);
	return fn;
}

bool emit_call(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
	       LLVMValueRef fn, struct diag *d)
{
	struct caller c = {e,
			   k,
			   abi,
			   LLVMGetParam(fn, 0),
			   LLVMGetParam(fn, 1),
			   LLVMGetParam(fn, 2),
			   LLVMGetParam(fn, 5)};
	LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(e->context, fn, "entry");
	LLVMBasicBlockRef work = LLVMAppendBasicBlockInContext(e->context, fn, "work");
	LLVMBasicBlockRef failed = LLVMAppendBasicBlockInContext(e->context, fn, "failed");
	LLVMBasicBlockRef leave = LLVMAppendBasicBlockInContext(e->context, fn, "leave");
	LLVMTypeRef type = LLVMFunctionType(e->i32, &e->ptr, 1, 0);
	LLVMValueRef call, code, store;

	(void)d;
	LLVMPositionBuilderAtEnd(e->builder, entry);
	code = LLVMBuildICmp(e->builder, LLVMIntSLT, LLVMGetParam(fn, 3), LLVMGetParam(fn, 4), "");
	LLVMBuildCondBr(e->builder, code, work, leave);
	LLVMPositionBuilderAtEnd(e->builder, work);
	call = make_call(&c);
	code = LLVMBuildCall2(e->builder, type, routine(&c, type), &call, 1, "");
	LLVMBuildCondBr(e->builder, LLVMBuildICmp(e->builder, LLVMIntNE, code, int32(&c, 0), ""),
			failed, leave);
	LLVMPositionBuilderAtEnd(e->builder, failed);
	store = LLVMBuildStore(
		e->builder, code,
		at(&c, c.frame,
		   offsetof(struct hone_frame, fail) + offsetof(struct hone_fail, code)));
	LLVMSetAlignment(store, 4);
	LLVMSetOrdering(store, LLVMAtomicOrderingMonotonic);
	LLVMBuildBr(e->builder, leave);
	LLVMPositionBuilderAtEnd(e->builder, leave);
	LLVMBuildRetVoid(e->builder);
	return true;
}
