/* ops_index.c: operators that take and put elements by index. ONNX counts negative indices from the
 * end; core gather and scatter do not, so they are made non-negative first. */
#include "frontend/site.h"

#include <string.h>

static bool import_gather(struct site *s)
{
	int axis;
	struct value *x = s->in[0];
	if (!site_axis(s, attr_int(s, "axis", 0), rank_of(x), &axis))
		return false;
	if (rank_of(x) - 1 + rank_of(s->in[1]) > HONE_MAX_RANK)
		return site_unsupported(s, "a result of more than %d axes", HONE_MAX_RANK);
	struct value *index = fix_index(s, s->in[1], x->type.dims[axis]);
	return site_out(s, 0, gather(s, GATHER_TAKE, x, index, axis, 0));
}

static bool import_gather_elements(struct site *s)
{
	int axis;
	struct value *x = s->in[0];
	if (!site_axis(s, attr_int(s, "axis", 0), rank_of(x), &axis))
		return false;
	struct value *index = fix_index(s, s->in[1], x->type.dims[axis]);
	return site_out(s, 0, gather(s, GATHER_ELEMENTS, x, index, axis, 0));
}

/* Index tuples for axes batch.. of x, each part made non-negative by its own axis. */
static struct value *fix_tuples(struct site *s, struct value *index, const struct value *x,
				int batch)
{
	if (rank_of(index) < 1 || !dim_is_const(index->type.dims[rank_of(index) - 1])) {
		site_unsupported(s, "the length of index tuples is not known");
		return NULL;
	}
	int64_t n = index->type.dims[rank_of(index) - 1]->value;
	if (n < 0 || batch < 0 || batch + n > rank_of(x)) {
		site_invalid(s, "index tuples of length %lld for rank %d", (long long)n,
			     rank_of(x));
		return NULL;
	}
	struct value *extents = add_shape(s->b, (int)n, x->type.dims + batch);
	return map2(s, "i64(a) < 0 ? i64(a) + b : i64(a)", DT_I64, index, extents);
}

static bool import_gather_nd(struct site *s)
{
	int64_t batch = attr_int(s, "batch_dims", 0);
	if (batch < 0 || batch >= rank_of(s->in[0]))
		return site_invalid(s, "batch_dims is outside of rank %d", rank_of(s->in[0]));
	struct value *index = fix_tuples(s, s->in[1], s->in[0], (int)batch);
	return site_out(s, 0, gather(s, GATHER_ND, s->in[0], index, 0, (int)batch));
}

static const char *reduction(struct site *s)
{
	const char *text = attr_text(s, "reduction", "none");
	static const char *const names[][2] = {
		{"none", "none"}, {"add", "sum"}, {"mul", "prod"}, {"min", "min"}, {"max", "max"}};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i][0], text))
			return names[i][1];
	site_unsupported(s, "reduction \"%s\"", text);
	return NULL;
}

static bool import_scatter_elements(struct site *s)
{
	int axis;
	struct value *x = s->in[0];
	const char *combine = reduction(s);
	if (!combine || !site_axis(s, attr_int(s, "axis", 0), rank_of(x), &axis))
		return false;
	struct value *index = fix_index(s, s->in[1], x->type.dims[axis]);
	return site_out(s, 0, scatter(s, GATHER_ELEMENTS, x, index, s->in[2], axis, combine));
}

static bool import_scatter_nd(struct site *s)
{
	const char *combine = reduction(s);
	struct value *index = combine ? fix_tuples(s, s->in[1], s->in[0], 0) : NULL;
	return site_out(
		s, 0,
		scatter(s, GATHER_ND, s->in[0], index, s->in[2], 0, combine ? combine : "none"));
}

/* y[.., k, ..] = index == k ? on : off */
static bool import_one_hot(struct site *s)
{
	struct value *index = s->in[0], *depth = s->in[1], *values = s->in[2];
	int rank = rank_of(index) + 1, axis;
	dim n, dims[HONE_MAX_RANK + 1], one = dim_int(s, 1);
	double known;
	if (rank > HONE_MAX_RANK)
		return site_unsupported(s, "a result of more than %d axes", HONE_MAX_RANK);
	if (rank_of(values) != 1 || (value_length(values) >= 0 && value_length(values) != 2))
		return site_invalid(s, "operand 2 should hold the values for off and on");
	if (!site_axis(s, attr_int(s, "axis", -1), rank, &axis))
		return false;
	if (value_real(depth, &known)) {
		n = dim_int(s, (int64_t)known);
	} else {
		depth = reshape(s, cast_to(s, depth, DT_I64), 1, &one);
		if (!bind_dims(s, depth, 1, &n))
			return false;
		for (int i = 0, k = 0; i < rank; i++)
			dims[i] = i == axis ? n : index->type.dims[k++];
		if (!declared_hint(s, 0, rank, dims))
			return false;
		n = dims[axis];
	}
	index = fix_index(s, cast_to(s, index, DT_I64), n);
	index = insert_axis(s, index, axis);
	struct value *off = reshape(s, slice_axis(s, values, 0, dim_int(s, 0), one), 0, NULL);
	struct value *on = reshape(s, slice_axis(s, values, 0, one, one), 0, NULL);
	struct value *in[4] = {index, iota_at(s, n, rank, axis), on, off};
	return site_out(s, 0, map_n(s, "a == b ? c : d", type_of(values), 4, in, 0, NULL));
}

/* The first lens[b] steps of each batch entry reversed. */
static bool import_reverse_sequence(struct site *s)
{
	struct value *x = s->in[0], *lens = s->in[1];
	int rank = rank_of(x), batch, time;
	if (rank < 2)
		return site_invalid(s, "expected at least 2 axes");
	if (!site_axis(s, attr_int(s, "batch_axis", 1), rank, &batch) ||
	    !site_axis(s, attr_int(s, "time_axis", 0), rank, &time))
		return false;
	if (batch > 1 || time > 1 || batch == time)
		return site_invalid(s, "batch_axis and time_axis must be 0 and 1");
	bool swapped = time == 0;
	x = swapped ? swap_axes(s, x, 0, 1) : x;
	if (!x)
		return false;
	struct value *t = iota_at(s, x->type.dims[1], 2, 1);
	struct value *at =
		map2(s, "a < i64(b) ? i64(b) - 1 - a : a", DT_I64, t, insert_axis(s, lens, 1));
	x = gather(s, GATHER_ND, x, insert_axis(s, at, 2), 0, 1);
	return site_out(s, 0, swapped ? swap_axes(s, x, 0, 1) : x);
}

const struct import_row ops_index[] = {
	{"", "Gather", 1, 0, 2, 2, import_gather, "axis", "slices by index", NULL},
	{"", "GatherElements", 11, 0, 2, 2, import_gather_elements, "axis",
	 "elements by index along an axis", NULL},
	{"", "GatherND", 11, 0, 2, 2, import_gather_nd, "batch_dims", "slices by index tuples",
	 NULL},
	{"", "ScatterElements", 11, 0, 3, 3, import_scatter_elements, "axis reduction",
	 "elements put by index", NULL},
	{"", "Scatter", 9, 0, 3, 3, import_scatter_elements, "axis", "elements put by index", NULL},
	{"", "ScatterND", 11, 0, 3, 3, import_scatter_nd, "reduction", "slices put by index tuples",
	 NULL},
	{"", "OneHot", 9, 0, 3, 3, import_one_hot, "axis",
	 "one value at an index, another elsewhere", NULL},
	{"", "ReverseSequence", 10, 0, 2, 2, import_reverse_sequence, "batch_axis time_axis",
	 "sequences reversed up to their lengths", NULL},
	{0},
};
