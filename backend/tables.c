/* tables.c: the constant tables of a compiled model (hone_model, hone_program and what they point at) and its
 * entry points. Structs are built field by field in the order of runtime/hone.h and runtime/program.h with
 * LLVM's natural layout, which is C's. */
#include "backend/program.h"
#include "backend/run_emit.h"

#include <string.h>

struct tables {
	struct emitter *e;
	struct program *p;
	const struct emit_options *o;
};

/* ---- constants ---- */

static LLVMValueRef null(struct tables *t) { return LLVMConstNull(t->e->ptr); }

static LLVMValueRef global(struct tables *t, LLVMValueRef value)
{
	LLVMValueRef g = LLVMAddGlobal(t->e->module, LLVMTypeOf(value), "");

	LLVMSetInitializer(g, value);
	LLVMSetGlobalConstant(g, 1);
	LLVMSetLinkage(g, LLVMPrivateLinkage);
	return g;
}

static LLVMValueRef text(struct tables *t, const char *s)
{
	if (!s)
		return null(t);
	return global(t, LLVMConstStringInContext(t->e->context, s, (unsigned)strlen(s), 0));
}

static LLVMValueRef record(struct tables *t, int count, LLVMValueRef *fields)
{
	return LLVMConstStructInContext(t->e->context, fields, (unsigned)count, 0);
}

/* A global array of structs of one type; NULL when empty. */
static LLVMValueRef array(struct tables *t, int count, LLVMValueRef *rows)
{
	return count ? global(t, LLVMConstArray(LLVMTypeOf(rows[0]), rows, (unsigned)count))
		     : null(t);
}

static LLVMValueRef *rows_of(struct tables *t, int count)
{
	return ARENA_ARRAY(t->e->arena, LLVMValueRef, count + 1);
}

static LLVMValueRef i32(struct tables *t, int64_t x) { return const_i32(t->e, (int32_t)x); }
static LLVMValueRef i64(struct tables *t, int64_t x) { return const_i64(t->e, x); }
static LLVMValueRef f64(struct tables *t, double x) { return LLVMConstReal(t->e->f64, x); }

/* ---- inputs and outputs ---- */

static LLVMValueRef io_dims(struct tables *t, const struct type *type)
{
	const struct dim_pool *pool = &t->p->graph->dims;
	LLVMValueRef *rows = rows_of(t, type->rank);

	for (int i = 0; i < type->rank; i++) {
		dim d = type->dims[i];
		const char *name = dim_is_const(d) ? NULL : dim_text(pool, t->e->arena, d);
		int64_t low = dim_lower(d) < 0 ? 0 : dim_lower(d);
		LLVMValueRef fields[3] = {i64(t, low), i64(t, dim_upper(d)), text(t, name)};

		rows[i] = record(t, 3, fields);
	}
	return array(t, type->rank, rows);
}

static LLVMValueRef io_row(struct tables *t, const char *name, const struct type *type)
{
	LLVMValueRef fields[6] = {text(t, name),    i32(t, type->dtype), i32(t, type->rank),
				  io_dims(t, type), i32(t, -1),          null(t)};

	return record(t, 6, fields);
}

static LLVMValueRef inputs(struct tables *t)
{
	const struct region *r = t->p->graph->body;
	LLVMValueRef *rows = rows_of(t, r->param_count);

	for (int i = 0; i < r->param_count; i++)
		rows[i] = io_row(t, t->p->graph->input_names[i], &r->params[i]->type);
	return array(t, r->param_count, rows);
}

static LLVMValueRef outputs(struct tables *t)
{
	LLVMValueRef *rows = rows_of(t, t->p->output_count);

	for (int i = 0; i < t->p->output_count; i++)
		rows[i] = io_row(t, t->p->output_names[i], &t->p->results[i]->type);
	return array(t, t->p->output_count, rows);
}

static LLVMValueRef params(struct tables *t)
{
	LLVMValueRef *rows = rows_of(t, t->p->params.count);

	for (int i = 0; i < t->p->params.count; i++) {
		const struct attrs_param *a = t->p->params.at[i]->attrs;
		LLVMValueRef fields[4] = {text(t, a->name), f64(t, a->initial),
					  f64(t, -__builtin_inf()), f64(t, __builtin_inf())};

		rows[i] = record(t, 4, fields);
	}
	return array(t, t->p->params.count, rows);
}

/* ---- the program ---- */

static LLVMValueRef dim_ref(struct tables *t, dim d)
{
	int word = !d || dim_is_const(d) ? -1 : program_word(t->p, d);
	LLVMValueRef fields[3] = {i64(t, !d         ? -1
					 : word < 0 ? d->value
						    : 0),
				  i32(t, word), i32(t, 0)};

	return record(t, 3, fields);
}

static LLVMValueRef dim_refs(struct tables *t, const struct type *type, bool bound)
{
	LLVMValueRef *rows = rows_of(t, type->rank);

	for (int i = 0; i < type->rank; i++)
		rows[i] = dim_ref(t, bound ? dim_static_bound(&t->p->graph->dims, type->dims[i])
					   : type->dims[i]);
	return array(t, type->rank, rows);
}

static LLVMValueRef input_dims(struct tables *t)
{
	const struct region *r = t->p->graph->body;
	LLVMValueRef *rows = rows_of(t, r->param_count);

	for (int i = 0; i < r->param_count; i++)
		rows[i] = dim_refs(t, &r->params[i]->type, false);
	return array(t, r->param_count, rows);
}

static LLVMValueRef output_refs(struct tables *t)
{
	LLVMValueRef *rows = rows_of(t, t->p->output_count);

	for (int i = 0; i < t->p->output_count; i++) {
		const struct type *type = &t->p->results[i]->type;
		dim bytes = dim_static_bound(&t->p->graph->dims, program_bytes(t->p, type));
		LLVMValueRef fields[6] = {i32(t, t->p->outputs[i].stage),
					  i32(t, bytes ? program_word(t->p, bytes) : -1),
					  i32(t, t->p->outputs[i].direct),
					  i32(t, 0),
					  dim_refs(t, type, false),
					  dim_refs(t, type, true)};

		rows[i] = record(t, 6, fields);
	}
	return array(t, t->p->output_count, rows);
}

static LLVMValueRef slots(struct tables *t)
{
	LLVMValueRef *rows = rows_of(t, t->p->slots.count);

	for (int i = 0; i < t->p->slots.count; i++) {
		const struct slot *s = &t->p->slots.at[i];
		LLVMValueRef fields[6] = {i32(t, s->kind),  i32(t, s->io),   i32(t, s->bytes_word),
					  i32(t, s->first), i32(t, s->last), i32(t, s->per_worker)};

		rows[i] = record(t, 6, fields);
	}
	return array(t, t->p->slots.count, rows);
}

/* In word order: symbols of inputs first. */
static LLVMValueRef symbols(struct tables *t)
{
	const struct dim_pool *pool = &t->p->graph->dims;
	LLVMValueRef *rows = rows_of(t, pool->symbol_count);

	for (int i = 0; i < pool->symbol_count; i++) {
		const struct symbol *s = &pool->symbols[i];
		LLVMValueRef fields[3] = {text(t, s->name), i64(t, s->min), i64(t, s->max)};

		rows[t->p->symbol_word[i]] = record(t, 3, fields);
	}
	return array(t, pool->symbol_count, rows);
}

static LLVMValueRef checks(struct tables *t)
{
	const struct graph *g = t->p->graph;
	LLVMValueRef *rows = rows_of(t, g->requires.count);

	for (int i = 0; i < g->requires.count; i++) {
		const struct require *q = &g->requires.at[i];
		const char *op = q->node->loc.op ? q->node->loc.op : op_table[q->node->op].name;
		const char *what = arena_printf(
			t->e->arena, "%s%s%s(%s): %s: %s must be equal to %s",
			q->node->loc.node ? "node \"" : "",
			q->node->loc.node ? q->node->loc.node : "", q->node->loc.node ? "\" " : "",
			op, q->what, dim_text(&g->dims, t->e->arena, q->left),
			dim_text(&g->dims, t->e->arena, q->right));
		LLVMValueRef fields[3] = {text(t, what), i32(t, t->p->check_left[i]),
					  i32(t, t->p->check_right[i])};

		rows[i] = record(t, 3, fields);
	}
	return array(t, g->requires.count, rows);
}

static LLVMValueRef node_texts(struct tables *t)
{
	LLVMValueRef *rows = rows_of(t, t->p->nodes.count);

	for (int i = 0; i < t->p->nodes.count; i++)
		rows[i] = text(t, t->p->nodes.at[i]);
	return array(t, t->p->nodes.count, rows);
}

const char *weights_symbol(struct arena *a, const struct emit_options *o)
{
	return arena_printf(a, "%shone_weights_%s", o->prefix, o->name);
}

static LLVMValueRef weights(struct tables *t)
{
	LLVMValueRef g;

	if (!t->p->constants->bytes)
		return null(t);
	g = LLVMAddGlobal(t->e->module, t->e->i8, weights_symbol(t->e->arena, t->o));
	LLVMSetVisibility(g, LLVMHiddenVisibility);
	LLVMSetGlobalConstant(g, 1);
	LLVMSetAlignment(g, 64);
	return g;
}

static const char *program_symbol(struct tables *t, const char *level)
{
	return arena_printf(t->e->arena, "%shone_%s%s", t->o->prefix, t->o->name, level);
}

/* The program of the next level is in an object of its own. */
static LLVMValueRef next_program(struct tables *t)
{
	LLVMValueRef g;

	if (!t->o->next_level)
		return null(t);
	g = LLVMAddGlobal(t->e->module, t->e->i8, program_symbol(t, t->o->next_level));
	LLVMSetVisibility(g, LLVMHiddenVisibility);
	LLVMSetGlobalConstant(g, 1);
	return g;
}

static LLVMValueRef program(struct tables *t, LLVMValueRef setup, LLVMValueRef run)
{
	struct program *p = t->p;
	LLVMValueRef dims = input_dims(t), outs = output_refs(t); /* these may add words */
	LLVMValueRef fields[] = {i64(t, (int64_t)p->target->cpu_bits),
				 i32(t, p->words.count),
				 i32(t, p->graph->dims.symbol_count),
				 i32(t, p->slots.count),
				 i32(t, p->step_count),
				 i32(t, p->graph->requires.count),
				 i32(t, p->nodes.count),
				 i32(t, p->input_symbol_count),
				 i32(t, 0),
				 symbols(t),
				 slots(t),
				 checks(t),
				 node_texts(t),
				 dims,
				 outs,
				 weights(t),
				 setup,
				 run,
				 next_program(t)};
	LLVMValueRef g = global(t, record(t, sizeof(fields) / sizeof(*fields), fields));

	if (t->o->is_next) {
		LLVMSetValueName(g, program_symbol(t, t->o->level));
		LLVMSetLinkage(g, LLVMExternalLinkage);
		LLVMSetVisibility(g, LLVMHiddenVisibility);
	}
	return g;
}

/* ---- the model ---- */

static LLVMValueRef runtime_function(struct tables *t, const char *name)
{
	LLVMTypeRef type =
		LLVMFunctionType(t->e->void_, NULL, 0, 0); /* only its address is taken */
	LLVMValueRef f = LLVMAddFunction(t->e->module, name, type);

	LLVMSetVisibility(f, LLVMHiddenVisibility);
	return f;
}

static const char *json_text(struct arena *a, const char *s)
{
	const char *out = "\"";

	for (; *s; s++)
		out = (unsigned char)*s < 32 || *s == '"' || *s == '\\'
			      ? arena_printf(a, "%s\\u%04x", out, (unsigned char)*s)
			      : arena_printf(a, "%s%c", out, *s);
	return arena_printf(a, "%s\"", out);
}

static const char *json_io(struct tables *t, const char *out, const char *name,
			   const struct type *type)
{
	struct arena *a = t->e->arena;

	out = arena_printf(a, "%s{\"name\":%s,\"dtype\":\"%s\",\"dims\":[", out, json_text(a, name),
			   dtype_name(type->dtype));
	for (int i = 0; i < type->rank; i++) {
		const char *d = dim_text(&t->p->graph->dims, a, type->dims[i]);

		out = arena_printf(a, "%s%s%s", out, i ? "," : "",
				   dim_is_const(type->dims[i]) ? d : json_text(a, d));
	}
	return arena_printf(a, "%s]}", out);
}

static const char *signature(struct tables *t)
{
	struct arena *a = t->e->arena;
	const struct region *r = t->p->graph->body;
	const char *out = "{\"inputs\":[";

	for (int i = 0; i < r->param_count; i++)
		out = json_io(t, arena_printf(a, "%s%s", out, i ? "," : ""),
			      t->p->graph->input_names[i], &r->params[i]->type);
	out = arena_printf(a, "%s],\"outputs\":[", out);
	for (int i = 0; i < t->p->output_count; i++)
		out = json_io(t, arena_printf(a, "%s%s", out, i ? "," : ""), t->p->output_names[i],
			      &t->p->results[i]->type);
	out = arena_printf(a, "%s],\"params\":[", out);
	for (int i = 0; i < t->p->params.count; i++) {
		const struct attrs_param *q = t->p->params.at[i]->attrs;

		out = arena_printf(a, "%s%s{\"name\":%s,\"default\":%.17g}", out, i ? "," : "",
				   json_text(a, q->name), q->initial);
	}
	return arena_printf(a, "%s]}", out);
}

static LLVMValueRef model(struct tables *t, LLVMValueRef setup, LLVMValueRef run)
{
	struct emitter *e = t->e;
	const struct program *p = t->p;
	LLVMValueRef fields[] = {i32(t, sizeof(hone_model)),
				 i32(t, HONE_ABI_VERSION),
				 text(t, t->o->name),
				 text(t, signature(t)),
				 text(t, "hone " HONE_VERSION),
				 text(t, t->o->passes),
				 text(t, t->o->cpu ? t->o->cpu : p->target->spec),
				 text(t, t->o->hash),
				 i32(t, p->graph->body->param_count),
				 i32(t, p->output_count),
				 i32(t, p->params.count),
				 i32(t, 0),
				 inputs(t),
				 outputs(t),
				 params(t),
				 i64(t, p->constants->bytes),
				 runtime_function(t, "hone_rt_arena_bytes"),
				 runtime_function(t, "hone_rt_context_create"),
				 runtime_function(t, "hone_rt_output_dims"),
				 runtime_function(t, "hone_rt_run"),
				 runtime_function(t, "hone_rt_set_param"),
				 runtime_function(t, "hone_rt_error"),
				 runtime_function(t, "hone_rt_context_destroy"),
				 program(t, setup, run),
				 LLVMConstNull(LLVMArrayType(e->ptr, 4))};

	return global(t, record(t, sizeof(fields) / sizeof(*fields), fields));
}

static LLVMValueRef entry_point(struct tables *t, const char *name, LLVMValueRef table)
{
	struct emitter *e = t->e;
	LLVMValueRef f = emitter_function(e, name, LLVMFunctionType(e->ptr, NULL, 0, 0), true);

	LLVMSetVisibility(f, LLVMDefaultVisibility);
	LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
	LLVMBuildRet(e->builder, table);
	return f;
}

/* int main(int argc, char **argv) { return hone_exe_main(table, argc, argv); } */
static void main_function(struct tables *t, LLVMValueRef table)
{
	struct emitter *e = t->e;
	LLVMTypeRef outer[2] = {e->i32, e->ptr}, inner[3] = {e->ptr, e->i32, e->ptr};
	LLVMTypeRef type = LLVMFunctionType(e->i32, inner, 3, 0);
	LLVMValueRef callee = LLVMAddFunction(e->module, "hone_exe_main", type);
	LLVMValueRef f = emitter_function(e, "main", LLVMFunctionType(e->i32, outer, 2, 0), true),
		     args[3];

	LLVMSetVisibility(callee, LLVMHiddenVisibility);
	args[0] = table;
	args[1] = LLVMGetParam(f, 0);
	args[2] = LLVMGetParam(f, 1);
	LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
	LLVMBuildRet(e->builder, LLVMBuildCall2(e->builder, type, callee, args, 3, ""));
}

void emit_tables(struct emitter *e, struct program *p, const struct emit_options *o,
		 LLVMValueRef setup, LLVMValueRef run)
{
	struct tables t = {e, p, o};
	LLVMValueRef table;

	if (o->is_next) {
		program(&t, setup, run);
		return;
	}
	table = model(&t, setup, run);

	entry_point(&t, arena_printf(e->arena, "%shone_model_get", o->prefix), table);
	entry_point(&t, arena_printf(e->arena, "%shone_model_%s", o->prefix, o->name), table);
	if (o->executable)
		main_function(&t, table);
}
