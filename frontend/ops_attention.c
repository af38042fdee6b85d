/* ops_attention.c: operators of transformers that no other family has.
 * Source: ONNX operator specification, RotaryEmbedding-23. */
#include "frontend/site.h"

/* cos or sin for every position, [B,S,1,half]: rows of the cache by position, or the cache itself. */
static struct value *rotary_angles(struct site *s, struct value *cache, dim half)
{
	struct value *positions = site_in(s, 3);

	if (positions) {
		if (rank_of(cache) != 2)
			return NULL;
		positions = fix_index(s, positions, cache->type.dims[0]);
		cache = positions ? gather(s, GATHER_TAKE, cache, positions, 0, 0) : NULL;
	}
	if (!cache || rank_of(cache) != 3 || cache->type.dims[2] != half)
		return NULL;
	return insert_axis(s, cache, 2);
}

/* The two halves of the rotated part of x [B,S,H,2*half]: even and odd elements, or first and second half. */
static struct value *rotary_half(struct site *s, struct value *x, dim half, bool interleaved,
				 int which)
{
	dim *d = x->type.dims;

	if (!interleaved)
		return slice_axis(s, x, 3, dim_mul(s->dims, dim_int(s, which), half), half);
	x = reshape(s, x, 5, (dim[]){d[0], d[1], d[2], half, dim_int(s, 2)});
	x = slice_axis(s, x, 4, dim_int(s, which), dim_int(s, 1));
	return drop_axis(s, x, 4);
}

static struct value *rotary_join(struct site *s, struct value *x1, struct value *x2,
				 bool interleaved)
{
	dim *d = x1->type.dims;
	struct value *y;

	if (!interleaved)
		return concat2(s, 3, x1, x2);
	y = concat2(s, 4, insert_axis(s, x1, 4), insert_axis(s, x2, 4));
	return reshape(s, y, 4, (dim[]){d[0], d[1], d[2], dim_mul(s->dims, d[3], dim_int(s, 2))});
}

/* y1 = cos*x1 - sin*x2, y2 = sin*x1 + cos*x2 over the first `rotary_embedding_dim` elements of each head; the
 * rest passes. x is [B,H,S,D], or [B,S,H*D] with num_heads. */
static bool import_rotary(struct site *s)
{
	struct value *x = s->in[0], *y, *cosine, *sine, *x1, *x2, *in[4];
	bool heads_first = rank_of(x) == 4, interleaved = attr_int(s, "interleaved", 0);
	int64_t heads = attr_int(s, "num_heads", 0),
		rotated = attr_int(s, "rotary_embedding_dim", 0);
	dim depth, half, *d = x->type.dims;

	if (!heads_first && (rank_of(x) != 3 || heads < 1))
		return site_invalid(s, "expected 4 axes, or 3 and num_heads");
	if (!heads_first && !dim_divides(s->dims, dim_int(s, heads), d[2]))
		return site_invalid(s, "num_heads does not divide the last axis");
	if (heads_first)
		x = swap_axes(s, x, 1, 2);
	else
		x = reshape(s, x, 4,
			    (dim[]){d[0], d[1], dim_int(s, heads),
				    dim_floordiv(s->dims, d[2], dim_int(s, heads))});
	depth = rotated ? dim_int(s, rotated) : x->type.dims[3];
	half = dim_floordiv(s->dims, depth, dim_int(s, 2));
	if (dim_lower(dim_sub(s->dims, x->type.dims[3], depth)) < 0 ||
	    !dim_divides(s->dims, dim_int(s, 2), depth))
		return site_invalid(s,
				    "rotary_embedding_dim must be even and no larger than a head");
	cosine = rotary_angles(s, s->in[1], half);
	sine = rotary_angles(s, s->in[2], half);
	if (!cosine || !sine)
		return site_invalid(s, "the caches must be [positions, half] with position_ids, or "
				       "[batch, length, half]");
	y = slice_axis(s, x, 3, dim_int(s, 0), depth);
	x1 = rotary_half(s, y, half, interleaved, 0);
	x2 = rotary_half(s, y, half, interleaved, 1);
	in[0] = cosine, in[1] = sine, in[2] = x1, in[3] = x2;
	y = rotary_join(s, map_n(s, "a * c - b * d", type_of(x), 4, in, 0, NULL),
			map_n(s, "b * c + a * d", type_of(x), 4, in, 0, NULL), interleaved);
	if (depth != x->type.dims[3])
		y = concat2(s, 3, y,
			    slice_axis(s, x, 3, depth, dim_sub(s->dims, x->type.dims[3], depth)));
	return site_out(s, 0, heads_first ? swap_axes(s, y, 1, 2) : reshape(s, y, 3, d));
}

const struct import_row ops_attention[] = {
	{"", "RotaryEmbedding", 23, 0, 3, 4, import_rotary,
	 "interleaved num_heads rotary_embedding_dim",
	 "rotates pairs of elements by the angle of their position", NULL},
	{0},
};
