/* header.c: a typed C header for one model: names and constants of its inputs and outputs, and its entry point. */
#include "backend/modules.h"

#include <ctype.h>
#include <inttypes.h>

static const char *upper(struct arena *a, const char *name)
{
	char *out = arena_text(a, name);

	for (char *c = out; *c; c++)
		*c = isalnum((unsigned char)*c) ? (char)toupper((unsigned char)*c) : '_';
	return out;
}

static const char *element_type(enum dtype t)
{
	switch (t) {
	case DT_F32: return "float";
	case DT_F64: return "double";
	case DT_I64: return "int64_t";
	case DT_I32: return "int32_t";
	case DT_I16: return "int16_t";
	case DT_I8: return "int8_t";
	case DT_U64: return "uint64_t";
	case DT_U32: return "uint32_t";
	case DT_U16:
	case DT_F16:
	case DT_BF16: return "uint16_t";
	default: return "uint8_t";
	}
}

static void write_dims(const struct program *p, struct arena *a, const struct type *t, FILE *out)
{
	for (int i = 0; i < t->rank; i++)
		fprintf(out, "%s%s", i ? ", " : "", dim_text(&p->graph->dims, a, t->dims[i]));
}

/* One input or output: its number, its element type, and a function that wraps a buffer as hone_tensor. */
static void write_io(const struct program *p, struct arena *a, const char *model, const char *kind,
		     int index, const char *name, const struct type *t, FILE *out)
{
	const char *id = upper(a, name);
	int64_t count = type_count_const(t);

	fprintf(out, "\n/* %s %d: %s [", kind, index, dtype_name(t->dtype));
	write_dims(p, a, t, out);
	fprintf(out, "] */\nenum { %s_%s_%s = %d };\n", upper(a, model),
		kind[0] == 'i' ? "IN" : "OUT", id, index);
	if (count >= 0)
		fprintf(out, "enum { %s_%s_%s_COUNT = %" PRId64 " };\n", upper(a, model),
			kind[0] == 'i' ? "IN" : "OUT", id, count);
	fprintf(out, "static inline hone_tensor %s_%s_%d(%s%s *data, int64_t size", model, kind,
		index, kind[0] == 'i' ? "const " : "", element_type(t->dtype));
	for (int i = 0; kind[0] == 'i' && i < t->rank; i++)
		if (!dim_is_const(t->dims[i]))
			fprintf(out, ", int64_t dim%d", i);
	fprintf(out,
		")\n{\n\thone_tensor t = {0};\n\n\tt.data = (void *)data;\n\tt.size = size;\n");
	for (int i = 0; kind[0] == 'i' && i < t->rank; i++) {
		if (dim_is_const(t->dims[i]))
			fprintf(out, "\tt.dims[%d] = %" PRId64 ";\n", i, t->dims[i]->value);
		else
			fprintf(out, "\tt.dims[%d] = dim%d;\n", i, i);
	}
	fprintf(out, "\tt.rank = %d;\n\tt.dtype = %d;\n\treturn t;\n}\n", t->rank, t->dtype);
}

bool header_write(const struct program *p, const struct emit_options *o, FILE *out)
{
	struct arena a = {0};
	const struct region *r = p->graph->body;
	const char *guard = upper(&a, o->name);

	fprintf(out,
		"/* %s: a model compiled by hone " HONE_VERSION
		". Generated; do not edit. Sizes are in bytes. */\n",
		o->name);
	fprintf(out, "#ifndef HONE_MODEL_%s_H\n#define HONE_MODEL_%s_H\n\n#include \"hone.h\"\n\n",
		guard, guard);
	fprintf(out,
		"#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n/* The model's table; never fails. "
		"*/\nconst hone_model *%shone_model_%s(void);\n",
		o->prefix, o->name);
	fprintf(out, "\nenum { %s_INPUTS = %d, %s_OUTPUTS = %d };\n", guard, r->param_count, guard,
		p->output_count);
	for (int i = 0; i < r->param_count; i++)
		write_io(p, &a, o->name, "input", i, p->graph->input_names[i], &r->params[i]->type,
			 out);
	for (int i = 0; i < p->output_count; i++)
		write_io(p, &a, o->name, "output", i, p->output_names[i], &p->results[i]->type,
			 out);
	fprintf(out, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
	arena_free(&a);
	return !ferror(out);
}
