/* call_select.c: nonzero, nms. ONNX NonZero-13, NonMaxSuppression-11. */
#include "runtime/calls.h"
#include "runtime/element.h"
#include "runtime/sort.h"

#include <string.h>

static int64_t count_of(const struct hone_array *a)
{
	int64_t count = 1;

	for (int32_t i = 0; i < a->rank; i++)
		count *= a->dims[i];
	return count;
}

/* ---- nonzero ---- */

static bool is_zero(const struct hone_array *x, int64_t i)
{
	int64_t size = element_size(x->dtype);
	const char *bytes = (const char *)x->data + i * size;
	char any = 0;

	if (rt_is_float(x->dtype))
		return rt_load_double(x->dtype, x->data, i) == 0;
	for (int64_t k = 0; k < size; k++)
		any |= bytes[k];
	return !any;
}

/* Row r of the result: the coordinate of axis r, rows of `found` numbers. */
static void store_coordinates(const struct hone_array *x, int64_t linear, int64_t at, int64_t found,
			      int64_t *out)
{
	for (int32_t r = x->rank - 1; r >= 0; r--) {
		out[r * found + at] = linear % x->dims[r];
		linear /= x->dims[r];
	}
}

int32_t hone_call_nonzero(const struct hone_call *c)
{
	const struct hone_array *x = &c->in[0];
	struct hone_array *out = &c->out[0];
	int64_t count = count_of(x), found = 0, at = 0, *to = out->data;

	if (!rt_is_plain(x->dtype) ||
	    (out->rank != 1 && (out->rank != 2 || out->dims[0] != x->rank)))
		return HONE_FAIL_CALL;
	for (int64_t i = 0; i < count; i++)
		found += !is_zero(x, i);
	c->bound[0] = found;
	if (found > out->dims[out->rank - 1])
		return HONE_FAIL_CALL;
	out->dims[out->rank - 1] = found;
	for (int64_t i = 0; i < count && at < found; i++) {
		if (is_zero(x, i))
			continue;
		if (out->rank == 1)
			to[at] = i;
		else
			store_coordinates(x, i, at, found, to);
		at++;
	}
	return 0;
}

int64_t hone_scratch_nonzero(const struct hone_call *c)
{
	(void)c;
	return 0;
}

/* ---- nms ---- */

struct box {
	float y1, x1, y2, x2;
};

static struct box read_box(const float *b, bool center)
{
	struct box r;

	if (center) { /* x, y of the middle, width, height */
		r = (struct box){b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2,
				 b[0] + b[2] / 2};
		return r;
	}
	r.y1 = b[0] < b[2] ? b[0] : b[2];
	r.y2 = b[0] < b[2] ? b[2] : b[0];
	r.x1 = b[1] < b[3] ? b[1] : b[3];
	r.x2 = b[1] < b[3] ? b[3] : b[1];
	return r;
}

static float area(struct box b) { return (b.y2 - b.y1) * (b.x2 - b.x1); }

/* True if their intersection over union is above the threshold. */
static bool overlaps(struct box a, struct box b, float threshold)
{
	struct box both = {a.y1 > b.y1 ? a.y1 : b.y1, a.x1 > b.x1 ? a.x1 : b.x1,
			   a.y2 < b.y2 ? a.y2 : b.y2, a.x2 < b.x2 ? a.x2 : b.x2};
	float inside, all;

	if (!(both.y2 > both.y1) || !(both.x2 > both.x1))
		return false;
	inside = area(both);
	all = area(a) + area(b) - inside;
	return inside > 0 && area(a) > 0 && area(b) > 0 && all > 0 && inside / all > threshold;
}

struct limits {
	int64_t count;
	float iou, score;
	bool has_score, center;
};

static const struct hone_array *operand(const struct hone_call *c, int32_t i)
{
	const struct hone_array *a = i < c->in_count ? &c->in[i] : NULL;

	return a && a->rank >= 0 && count_of(a) == 1 ? a : NULL;
}

static bool read_limits(const struct hone_call *c, struct limits *l)
{
	const struct hone_array *count = operand(c, 2), *iou = operand(c, 3),
				*score = operand(c, 4);

	l->count = count ? rt_load_int(count->dtype, count->data, 0) : 0;
	l->iou = iou ? (float)rt_load_double(iou->dtype, iou->data, 0) : 0;
	l->has_score = score;
	l->score = score ? (float)rt_load_double(score->dtype, score->data, 0) : 0;
	l->center = c->attrs[0];
	return l->iou >= 0 && l->iou <= 1;
}

static bool score_before(const void *self, int64_t a, int64_t b)
{
	const float *scores = self;

	return scores[a] > scores[b];
}

/* Boxes of one class by decreasing score; NaN scores and those not above the threshold are left
 * out. */
static int64_t sort_candidates(const float *scores, int64_t boxes, const struct limits *l,
			       int64_t *order, int64_t *spare)
{
	int64_t count = 0;

	for (int64_t i = 0; i < boxes; i++) {
		if (scores[i] == scores[i] && (!l->has_score || scores[i] > l->score))
			order[count++] = i;
	}
	rt_sort(order, count, spare, score_before, scores);
	return count;
}

/* Moves the boxes that stay to the front of order[]; returns how many. */
static int64_t suppress(const float *boxes, const struct limits *l, int64_t *order, int64_t count)
{
	int64_t kept = 0;

	for (int64_t i = 0; i < count && kept < l->count; i++) {
		struct box b = read_box(boxes + order[i] * 4, l->center);
		int64_t k = 0;

		while (k < kept && !overlaps(read_box(boxes + order[k] * 4, l->center), b, l->iou))
			k++;
		if (k == kept)
			order[kept++] = order[i];
	}
	return kept;
}

int32_t hone_call_nms(const struct hone_call *c)
{
	const struct hone_array *boxes = &c->in[0], *scores = &c->in[1];
	struct hone_array *out = &c->out[0];
	int64_t *order = c->scratch, *to = out->data, found = 0, n, classes;
	struct limits l;

	c->bound[0] = 0;
	if (boxes->rank != 3 || scores->rank != 3 || boxes->dtype != HONE_F32 ||
	    scores->dtype != HONE_F32 || boxes->dims[2] != 4 || boxes->dims[0] != scores->dims[0] ||
	    boxes->dims[1] != scores->dims[2] || !read_limits(c, &l))
		return HONE_FAIL_CALL;
	n = boxes->dims[1];
	classes = scores->dims[1];
	for (int64_t i = 0; i < boxes->dims[0] * classes && n; i++) {
		const float *b = (const float *)boxes->data + i / classes * n * 4;
		int64_t count = sort_candidates((const float *)scores->data + i * n, n, &l, order,
						order + n);

		count = suppress(b, &l, order, count);
		if (found + count > out->dims[0])
			return HONE_FAIL_CALL;
		for (int64_t k = 0; k < count; k++, found++) {
			to[found * 3] = i / classes;
			to[found * 3 + 1] = i % classes;
			to[found * 3 + 2] = order[k];
		}
	}
	c->bound[0] = out->dims[0] = found;
	return 0;
}

int64_t hone_scratch_nms(const struct hone_call *c) { return 16 * c->in[0].dims[1]; }
