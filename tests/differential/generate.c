/* generate.c: graphs, inputs and their data. */
#include "tests/differential/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/interp.h"

#define ELEMENTS_MAX 6000

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t draw(struct generator *g)
{
	uint64_t z = (g->random += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

int draw_below(struct generator *g, int n) { return n > 0 ? (int)(draw(g) % (uint64_t)n) : 0; }

bool draw_one_in(struct generator *g, int n) { return draw_below(g, n) == 0; }

int64_t draw_size(struct generator *g)
{
	static const int64_t sizes[] = {1,  2,  3,  4,  5,  7, 8, 11, 13, 15,
					16, 17, 31, 32, 33, 2, 3, 5,  6,  9};

	if (draw_one_in(g, 40))
		return 0;
	return sizes[draw_below(g, (int)(sizeof(sizes) / sizeof(*sizes)))];
}

dim constant(struct generator *g, int64_t x) { return dim_const(&g->graph->dims, x); }

int64_t size_of(const struct generator *g, dim d) { return dim_eval(d, g->symbols); }

int64_t count_of(const struct generator *g, const struct value *v)
{
	int64_t count = 1;

	for (int i = 0; i < v->type.rank; i++)
		count *= size_of(g, v->type.dims[i]);
	return count;
}

double exact_limit(enum dtype t)
{
	switch (t) {
	case DT_F32: return 0x1p22;
	case DT_F64: return 0x1p40;
	case DT_F16: return 1024;
	case DT_BF16: return 128;
	case DT_F8E4M3FN:
	case DT_F8E4M3FNUZ: return 8;
	case DT_F8E5M2:
	case DT_F8E5M2FNUZ: return 4;
	default: return INFINITY;
	}
}

/* ---- data ---- */

static union scalar draw_element(struct generator *g, enum dtype t, double mag)
{
	static const double special[] = {NAN, INFINITY, -INFINITY, -0.0};
	union scalar x = {.i = (int64_t)draw(g)};

	if (t == DT_BOOL) {
		x.i &= 1;
	} else if (!dtype_is_float(t)) {
		if (!draw_one_in(g, 4)) /* small ones are more telling than wild ones */
			x.i = draw_below(g, 21) - (dtype_class(t) == DTYPE_SIGNED ? 10 : 0);
	} else if (g->special && dtype_bits(t) >= 16 && draw_one_in(g, 12)) {
		x.f = special[draw_below(g, 4)];
	} else if (mag < 0) {
		x.f = g->low + (double)(draw(g) >> 11) * 0x1p-53 * (g->high - g->low);
	} else {
		x.f = (double)(draw_below(g, 2 * (int)mag + 1) - (int)mag);
	}
	return x;
}

static void *draw_data(struct generator *g, enum dtype t, int64_t count, double mag, int64_t below)
{
	unsigned char *data = arena_alloc(&g->arena, (size_t)dtype_bytes(t, count) + 1);

	for (int64_t i = 0; i < count; i++)
		element_store(t, data, i,
			      below ? (union scalar){.i = draw_below(g, (int)below)}
				    : draw_element(g, t, mag));
	return data;
}

static struct value *add_data(struct generator *g, enum dtype t, int rank, const dim *dims,
			      double mag, int64_t below)
{
	struct type type = type_make(t, rank, dims);
	int64_t count = 1, fixed = type_count_const(&type);
	hone_tensor *x = &g->inputs[g->graph->body->param_count];
	struct tensor data = {.kind = TENSOR_BYTES};

	for (int i = 0; i < rank; i++) {
		if (!dim_is_const(dims[i]) &&
		    (dims[i]->kind != DIM_SYMBOL || dim_stage(dims[i]) > 0))
			return NULL; /* the interface has constants and symbols of inputs only */
		count *= size_of(g, dims[i]);
	}
	if (count > ELEMENTS_MAX || g->graph->body->param_count >= MAX_INPUTS)
		return NULL;
	data.data = draw_data(g, t, count, mag, below);
	data.size = dtype_bytes(t, count);
	if (fixed >= 0 && fixed <= 32 && draw_one_in(g, 2))
		return add_const(&g->b, &type, &data);
	*x = (hone_tensor){.size = data.size, .rank = rank, .dtype = (int32_t)t};
	x->data = (void *)(uintptr_t)data.data;
	for (int i = 0; i < rank; i++)
		x->dims[i] = size_of(g, dims[i]);
	return graph_input(g->graph, arena_printf(&g->arena, "in%d", g->graph->body->param_count),
			   &type);
}

struct item add_input(struct generator *g, enum dtype t, int rank, const dim *dims, double mag)
{
	struct item item = {.mag = fabs(mag)};

	item.v = add_data(g, t, rank, dims, mag, 0);
	return item;
}

struct item add_weights(struct generator *g, enum dtype t, int rank, const dim *dims, double mag)
{
	struct type type = type_make(t, rank, dims);
	int64_t count = type_count_const(&type), width = rank ? size_of(g, dims[rank - 1]) : 1;
	struct tensor data = {.kind = TENSOR_BYTES, .size = dtype_bytes(t, count)};
	float *at;

	if (t != DT_F32 || count < 0 || count > 64 || !draw_one_in(g, 3))
		return add_input(g, t, rank, dims, mag);
	data.data = at = draw_data(g, t, count, mag, 0);
	for (int64_t i = 0; i < count; i++)
		if ((i / width * 7 + i % width / 16 * 5) % 12 > 3)
			at[i] = i % 3 ? 0 : -0.0F;
	return (struct item){.v = add_const(&g->b, &type, &data), .mag = fabs(mag)};
}

struct value *add_indices(struct generator *g, int rank, const dim *dims, int64_t below)
{
	return add_data(g, draw_one_in(g, 3) ? DT_I32 : DT_I64, rank, dims, 0, below);
}

/* ---- items ---- */

bool keep(struct generator *g, struct value *v, double mag)
{
	if (!v || g->count == MAX_ITEMS || count_of(g, v) > ELEMENTS_MAX)
		return false;
	if (dtype_is_float(v->type.dtype) && mag > exact_limit(v->type.dtype))
		return false;
	g->items[g->count] = (struct item){.v = v, .mag = mag};
	for (int i = 0; i < v->type.rank; i++)
		g->items[g->count].open |= dim_stage(v->type.dims[i]) > 0;
	g->count++;
	return true;
}

/* Mostly one of the last. */
struct item pick(struct generator *g)
{
	if (draw_one_in(g, 4))
		return g->items[draw_below(g, g->count)];
	return g->items[g->count - 1 - draw_below(g, g->count < 3 ? g->count : 3)];
}

static enum dtype draw_dtype(struct generator *g)
{
	static const enum dtype types[] = {
		DT_F32, DT_F32, DT_F32, DT_F32, DT_F32, DT_F32, DT_F64, DT_F16, DT_BF16, DT_I64,
		DT_I64, DT_I32, DT_I32, DT_I16, DT_I8,  DT_U64, DT_U32, DT_U16, DT_U8,   DT_BOOL,
	};

	return types[draw_below(g, (int)(sizeof(types) / sizeof(*types)))];
}

/* A first value, some of whose dims are symbols in some cases. */
static void first_item(struct generator *g)
{
	static const char *const names[] = {"N", "M", "T"};
	enum dtype t = draw_dtype(g);
	int rank = draw_below(g, 9) ? 1 + draw_below(g, 4) : draw_below(g, 6);
	bool symbolic = draw_one_in(g, 3);
	double mag = exact_limit(t) < 5 ? 2 : 5;
	dim dims[HONE_MAX_RANK];
	struct item item;

	for (int i = 0; i < rank; i++) {
		int64_t size = draw_size(g);
		int s;

		dims[i] = constant(g, size);
		if (!symbolic || !draw_one_in(g, 2) || i > 2)
			continue;
		s = symbol_add(&g->graph->dims,
			       &(struct symbol){.name = names[i],
						.max = draw_one_in(g, 2) ? 64 : INT64_MAX,
						.binding = SYMBOL_INPUT});
		g->symbols[s] = size;
		dims[i] = dim_symbol(&g->graph->dims, s);
	}
	item = add_input(g, t, rank, dims, mag);
	if (item.v)
		keep(g, item.v, item.mag);
}

static void set_outputs(struct generator *g)
{
	struct value *out[MAX_OUTPUTS];
	const char *names[MAX_OUTPUTS];
	int count = 0;

	if (g->count > 3)
		out[count++] = g->items[g->count / 2].v;
	if (g->count > 6)
		out[count++] = g->items[g->count - 3].v;
	out[count++] = g->items[g->count - 1].v;
	for (int i = 0; i < count; i++)
		names[i] = arena_printf(&g->arena, "out%d", i);
	graph_set_outputs(g->graph, count, out, names);
}

bool generate(struct generator *g, uint64_t seed, int steps)
{
	bool inexact;

	*g = (struct generator){.random = seed * 0x2545f4914f6cdd1d + 1};
	g->special = draw_one_in(g, 8);
	inexact = draw_one_in(g, 4);
	if (inexact)
		g->special = false;
	for (int tries = 0; !g->count; tries++) {
		if (tries == 20)
			return false;
		g->graph = graph_new(&g->arena, "main");
		g->b = (struct builder){
			.graph = g->graph, .region = g->graph->body, .diag = &g->diag};
		first_item(g);
	}
	for (int i = 0, tries = 0; i < steps && tries < steps * 10; tries++)
		i += step_any(g);
	if (inexact)
		step_inexact(g);
	if (g->count < 2)
		return false;
	set_outputs(g);
	return true;
}

void generate_free(struct generator *g)
{
	diag_reset(&g->diag);
	arena_free(&g->arena);
}
