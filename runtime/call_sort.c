/* call_sort.c: topk, sort, argsort, unique. Elements are compared as 64-bit keys (element.h),
 * whatever their type; what moves is positions. ONNX TopK-11, Unique-11. */
#include "runtime/calls.h"
#include "runtime/element.h"
#include "runtime/sort.h"

#include <string.h>

/* An array seen as outer x extent x inner around one axis. */
struct around {
	int64_t outer, extent, inner;
};

static bool look_around(const struct hone_array *x, int64_t axis, struct around *s)
{
	if (axis < 0)
		axis += x->rank;
	if (axis < 0 || (axis >= x->rank && !(x->rank == 0 && axis == 0)))
		return false;
	s->outer = s->extent = s->inner = 1;
	for (int32_t i = 0; i < x->rank; i++)
		*(i < axis ? &s->outer : i == axis ? &s->extent : &s->inner) *= x->dims[i];
	return true;
}

static bool is_present(const struct hone_array *a, int32_t count, int32_t i)
{
	return i < count && a[i].rank >= 0;
}

static bool key_before(const void *self, int64_t a, int64_t b)
{
	const uint64_t *keys = self;

	return keys[a] < keys[b];
}

/* keys[i] of one row; descending order is that of the inverted keys. */
static void load_row(const struct hone_array *x, const struct around *s, int64_t o, int64_t n,
		     bool invert, uint64_t *keys)
{
	for (int64_t i = 0; i < s->extent; i++) {
		uint64_t key = rt_load_key(x->dtype, x->data, (o * s->extent + i) * s->inner + n);

		keys[i] = invert ? ~key : key;
	}
}

/* Writes the elements at `from` of row o, n of x, and their positions, as the first ones of row
 * o, n of the results, which have `count` elements a row. Either result may be NULL. */
static void store_row(const struct hone_array *x, const struct around *s, int64_t o, int64_t n,
		      const int64_t *from, int64_t count, struct hone_array *values,
		      struct hone_array *positions)
{
	int64_t size = element_size(x->dtype);

	for (int64_t i = 0; i < count; i++) {
		int64_t to = (o * count + i) * s->inner + n;

		if (values)
			memcpy((char *)values->data + to * size,
			       (const char *)x->data +
				       ((o * s->extent + from[i]) * s->inner + n) * size,
			       (size_t)size);
		if (positions)
			((int64_t *)positions->data)[to] = from[i];
	}
}

static int32_t sort_rows(const struct hone_call *c, struct hone_array *values,
			 struct hone_array *positions)
{
	const struct hone_array *x = &c->in[0];
	struct around s;
	uint64_t *keys = c->scratch;
	int64_t *items, *spare;

	if (!rt_is_plain(x->dtype) || !look_around(x, c->attrs[0], &s))
		return HONE_FAIL_CALL;
	items = (int64_t *)(keys + s.extent);
	spare = items + s.extent;
	for (int64_t o = 0; o < s.outer; o++) {
		for (int64_t n = 0; n < s.inner; n++) {
			load_row(x, &s, o, n, c->attrs[1], keys);
			for (int64_t i = 0; i < s.extent; i++)
				items[i] = i;
			rt_sort(items, s.extent, spare, key_before, keys);
			store_row(x, &s, o, n, items, s.extent, values, positions);
		}
	}
	return 0;
}

int32_t hone_call_sort(const struct hone_call *c)
{
	return sort_rows(c, is_present(c->out, c->out_count, 0) ? &c->out[0] : NULL,
			 is_present(c->out, c->out_count, 1) ? &c->out[1] : NULL);
}

int64_t hone_scratch_sort(const struct hone_call *c)
{
	struct around s;

	return look_around(&c->in[0], c->attrs[0], &s) ? 24 * s.extent : 0;
}

int32_t hone_call_argsort(const struct hone_call *c) { return sort_rows(c, NULL, &c->out[0]); }

int64_t hone_scratch_argsort(const struct hone_call *c) { return hone_scratch_sort(c); }

/* ---- topk: a heap of k positions, the worst at its root ---- */

/* a comes after b in the result. */
static bool is_worse(const uint64_t *keys, int64_t a, int64_t b)
{
	return keys[a] != keys[b] ? keys[a] > keys[b] : a > b;
}

static void sift_down(const uint64_t *keys, int64_t *heap, int64_t count, int64_t at)
{
	for (;;) {
		int64_t child = 2 * at + 1, x = heap[at];

		if (child >= count)
			return;
		if (child + 1 < count && is_worse(keys, heap[child + 1], heap[child]))
			child++;
		if (!is_worse(keys, heap[child], x))
			return;
		heap[at] = heap[child];
		heap[child] = x;
		at = child;
	}
}

/* The k first positions in order of key, then position. */
static void select_first(const uint64_t *keys, int64_t count, int64_t k, int64_t *heap)
{
	for (int64_t i = 0; i < k; i++)
		heap[i] = i;
	for (int64_t i = k / 2 - 1; i >= 0; i--)
		sift_down(keys, heap, k, i);
	for (int64_t i = k; k && i < count; i++) {
		if (is_worse(keys, i, heap[0]))
			continue;
		heap[0] = i;
		sift_down(keys, heap, k, 0);
	}
	for (int64_t n = k - 1; n > 0; n--) {
		int64_t worst = heap[0];

		heap[0] = heap[n];
		heap[n] = worst;
		sift_down(keys, heap, n, 0);
	}
}

/* The dims of x with `count` along the axis have at most the elements that the result holds. */
static bool has_room(const struct hone_array *out, const struct around *s, int64_t count)
{
	int64_t room = 1;

	for (int32_t i = 0; i < out->rank; i++)
		room *= out->dims[i];
	return s->outer * s->inner * count <= room;
}

int32_t hone_call_topk(const struct hone_call *c)
{
	const struct hone_array *x = &c->in[0];
	struct hone_array *results[2];
	int64_t axis = c->attrs[0] < 0 ? c->attrs[0] + x->rank : c->attrs[0], k = c->attrs[3];
	uint64_t *keys = c->scratch;
	struct around s;

	if (!rt_is_plain(x->dtype) || axis < 0 || !look_around(x, axis, &s))
		return HONE_FAIL_CALL;
	for (int32_t i = 0; i < 2; i++) {
		results[i] = is_present(c->out, c->out_count, i) ? &c->out[i] : NULL;
		if (k < 0 && results[i] && axis < results[i]->rank)
			k = results[i]->dims[axis];
	}
	if (k < 0 || k > s.extent)
		return HONE_FAIL_CALL;
	for (int32_t i = 0; i < 2; i++) {
		if (results[i] && !has_room(results[i], &s, k))
			return HONE_FAIL_CALL;
		if (results[i] && axis < results[i]->rank)
			results[i]->dims[axis] = k;
	}
	for (int64_t o = 0; o < s.outer; o++) {
		for (int64_t n = 0; n < s.inner; n++) {
			load_row(x, &s, o, n, c->attrs[1], keys);
			select_first(keys, s.extent, k, (int64_t *)(keys + s.extent));
			store_row(x, &s, o, n, (int64_t *)(keys + s.extent), k, results[0],
				  results[1]);
		}
	}
	return 0;
}

int64_t hone_scratch_topk(const struct hone_call *c)
{
	struct around s;

	return look_around(&c->in[0], c->attrs[0], &s) ? 16 * s.extent : 0;
}

/* ---- unique: items are elements (flat) or slices across the axis ---- */

struct items {
	const uint64_t *keys; /* [item][length] */
	int64_t length;
};

static int compare_items(const struct items *s, int64_t a, int64_t b)
{
	const uint64_t *x = s->keys + a * s->length, *y = s->keys + b * s->length;

	for (int64_t i = 0; i < s->length; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

static bool item_before(const void *self, int64_t a, int64_t b)
{
	return compare_items(self, a, b) < 0;
}

/* Groups by their first item. */
static bool number_before(const void *self, int64_t a, int64_t b)
{
	const int64_t *first = self;

	return first[a] < first[b];
}

static bool view_items(const struct hone_array *x, int64_t axis, struct around *s)
{
	if (axis != UNIQUE_FLAT)
		return x->rank > 0 && look_around(x, axis, s);
	s->outer = s->inner = s->extent = 1;
	for (int32_t i = 0; i < x->rank; i++)
		s->extent *= x->dims[i];
	return true;
}

static void load_items(const struct hone_array *x, const struct around *s, uint64_t *keys)
{
	for (int64_t i = 0; i < s->extent; i++) {
		for (int64_t o = 0; o < s->outer; o++) {
			for (int64_t n = 0; n < s->inner; n++)
				*keys++ = rt_load_key(x->dtype, x->data,
						      (o * s->extent + i) * s->inner + n);
		}
	}
}

/* Scratch: keys [extent * length], then five arrays [extent]. */
struct groups {
	int64_t *order, *spare;
	int64_t *first, *count; /* of each group: its first item and how many there are */
	int64_t *group;         /* of each item */
	int64_t groups;
};

static void find_groups(const struct items *items, int64_t extent, struct groups *g)
{
	for (int64_t i = 0; i < extent; i++)
		g->order[i] = i;
	rt_sort(g->order, extent, g->spare, item_before, items);
	g->groups = 0;
	for (int64_t i = 0; i < extent; i++) {
		int64_t item = g->order[i];

		if (!i || compare_items(items, g->order[i - 1], item)) {
			g->first[g->groups] = item;
			g->count[g->groups++] = 0;
		}
		g->group[item] = g->groups - 1;
		g->count[g->groups - 1]++;
	}
}

static int64_t *result(const struct hone_call *c, int32_t i)
{
	return is_present(c->out, c->out_count, i) ? c->out[i].data : NULL;
}

/* Writes the groups in the order of g->order; g->spare becomes the rank of each group. */
static void store_groups(const struct hone_call *c, const struct around *s, struct groups *g)
{
	const struct hone_array *x = &c->in[0];
	int64_t size = element_size(x->dtype), *first = result(c, 1), *inverse = result(c, 2);
	int64_t *count = result(c, 3);
	char *y = is_present(c->out, c->out_count, 0) ? c->out[0].data : NULL;

	for (int64_t i = 0; i < g->groups; i++) {
		int64_t k = g->order[i], bytes = s->inner * size;

		g->spare[k] = i;
		if (first)
			first[i] = g->first[k];
		if (count)
			count[i] = g->count[k];
		for (int64_t o = 0; y && bytes && o < s->outer; o++)
			memcpy(y + (o * g->groups + i) * bytes,
			       (const char *)x->data + (o * s->extent + g->first[k]) * bytes,
			       (size_t)bytes);
	}
	for (int64_t i = 0; inverse && i < s->extent; i++)
		inverse[i] = g->spare[g->group[i]];
}

static bool fit_results(const struct hone_call *c, const struct around *s, int64_t groups)
{
	int64_t axis = c->attrs[0] == UNIQUE_FLAT ? 0 : c->attrs[0];

	if (axis < 0)
		axis += c->in[0].rank;
	for (int32_t i = 0; i < 4; i++) {
		const struct around flat = {1, 1, 1};
		int64_t rows = i == 2 ? s->extent : groups;

		if (!is_present(c->out, c->out_count, i))
			continue;
		if (!has_room(&c->out[i], i ? &flat : s, rows))
			return false;
		c->out[i].dims[i ? 0 : axis] = rows;
	}
	return true;
}

int32_t hone_call_unique(const struct hone_call *c)
{
	const struct hone_array *x = &c->in[0];
	struct around s;
	struct items items;
	struct groups g;

	if (!rt_is_plain(x->dtype) || !view_items(x, c->attrs[0], &s))
		return HONE_FAIL_CALL;
	items = (struct items){c->scratch, s.outer * s.inner};
	load_items(x, &s, c->scratch);
	g.order = (int64_t *)c->scratch + s.extent * items.length;
	g.spare = g.order + s.extent;
	g.first = g.spare + s.extent;
	g.count = g.first + s.extent;
	g.group = g.count + s.extent;
	find_groups(&items, s.extent, &g);
	c->bound[0] = g.groups;
	if (!fit_results(c, &s, g.groups))
		return HONE_FAIL_CALL;
	for (int64_t i = 0; i < g.groups; i++)
		g.order[i] = i;
	if (!c->attrs[1])
		rt_sort(g.order, g.groups, g.spare, number_before, g.first);
	store_groups(c, &s, &g);
	return 0;
}

int64_t hone_scratch_unique(const struct hone_call *c)
{
	struct around s;

	return view_items(&c->in[0], c->attrs[0], &s) ? 8 * s.extent * (s.outer * s.inner + 5) : 0;
}
