/* ops_matmul.c: products of matrices: MatMul, Gemm, Einsum. */
#include "frontend/site.h"

#include <string.h>

/* NumPy's matmul: vectors are made matrices for the product. */
static struct value *numpy_matmul(struct site *s, struct value *x, struct value *y)
{
	if (!x || !y)
		return NULL;
	if (rank_of(x) == 0 || rank_of(y) == 0) {
		site_invalid(s, "operands must have at least one axis");
		return NULL;
	}
	bool row = rank_of(x) == 1, column = rank_of(y) == 1;
	struct value *z =
		matmul(s, row ? insert_axis(s, x, 0) : x, column ? insert_axis(s, y, 1) : y);
	if (z && column)
		z = drop_axis(s, z, rank_of(z) - 1);
	if (z && row)
		z = drop_axis(s, z, rank_of(z) - (column ? 1 : 2));
	return z;
}

static bool import_matmul(struct site *s)
{
	return site_out(s, 0, numpy_matmul(s, s->in[0], s->in[1]));
}

static bool import_gemm(struct site *s)
{
	struct value *a = s->in[0], *b = s->in[1], *c = site_in(s, 2);
	enum dtype t = type_of(a);
	struct named_real k[2] = {{"alpha", attr_real(s, "alpha", 1)},
				  {"beta", attr_real(s, "beta", 1)}};
	if (rank_of(a) != 2 || rank_of(b) != 2)
		return site_invalid(s, "operands must be matrices");
	a = attr_int(s, "transA", 0) ? swap_axes(s, a, 0, 1) : a;
	b = attr_int(s, "transB", 0) ? swap_axes(s, b, 0, 1) : b;
	struct value *y = matmul(s, a, b);
	if (c && k[1].value != 0) {
		struct value *in[2] = {y, c};
		const char *text = k[0].value == 1   ? k[1].value == 1 ? "a + b" : "a + beta * b"
				   : k[1].value == 1 ? "alpha * a + b"
						     : "alpha * a + beta * b";
		y = map_n(s, text, t, 2, in, 2, k);
	} else if (k[0].value != 1) {
		y = map_n(s, "alpha * a", t, 1, &y, 1, k);
	}
	return site_out(s, 0, y);
}

/* ---- Einsum ---- */

/* An operand whose axes are named by letters, each once. Ellipsis axes are named '0'..'7', aligned
 * at the last. */
struct term {
	struct value *x;
	int count;
	char names[HONE_MAX_RANK + 1];
};

static bool read_term(struct site *s, const char **text, int rank, struct term *t)
{
	const char *at = *text;
	int letters = 0, dots = 0;
	for (; *at && *at != ',' && *at != '-'; at++) {
		if (*at == '.')
			dots++;
		else if (*at != ' ')
			letters++;
	}
	int more = rank - letters;
	if ((dots && dots != 3) || more < 0 || (!dots && more) || more > HONE_MAX_RANK)
		return site_invalid(s, "the equation does not fit an operand of rank %d", rank);
	for (t->count = 0; **text && **text != ',' && **text != '-'; ++*text) {
		char c = **text;
		if (c == '.') {
			for (int i = 0; i < more; i++)
				t->names[t->count++] = (char)('0' + HONE_MAX_RANK - more + i);
			*text += 2;
		} else if ((c | 32) >= 'a' && (c | 32) <= 'z') {
			t->names[t->count++] = c;
		} else if (c != ' ') {
			return site_invalid(s, "unexpected '%c' in the equation", c);
		}
	}
	t->names[t->count] = 0;
	return true;
}

static int name_at(const struct term *t, char c)
{
	const char *found = memchr(t->names, c, (size_t)t->count);
	return found ? (int)(found - t->names) : -1;
}

static void remove_name(struct term *t, int i)
{
	memmove(t->names + i, t->names + i + 1, (size_t)(t->count - i));
	t->count--;
}

/* A letter twice in one operand takes the diagonal: elsewhere 0, then summed. */
static void take_diagonals(struct site *s, struct term *t)
{
	for (int i = 0; i < t->count; i++) {
		for (int k = i + 1; k < t->count && t->x; k++) {
			if (t->names[k] != t->names[i])
				continue;
			struct value *in[4] = {t->x, iota_at(s, t->x->type.dims[i], t->count, i),
					       iota_at(s, t->x->type.dims[k], t->count, k),
					       int_scalar(s, type_of(t->x), 0)};
			struct value *kept =
				map_n(s, "b == c ? a : d", type_of(t->x), 4, in, 0, NULL);
			t->x = reduce_axes(s, REDUCE_SUM, kept, 1, &k, false);
			remove_name(t, k--);
		}
	}
}

/* Sums over the letters that neither `keep` nor `other` has. */
static void sum_others(struct site *s, struct term *t, const char *keep, const struct term *other)
{
	int axes[HONE_MAX_RANK] = {0}, count = 0;
	for (int i = 0; i < t->count; i++)
		if (!strchr(keep, t->names[i]) && (!other || name_at(other, t->names[i]) < 0))
			axes[count++] = i;
	t->x = reduce_axes(s, REDUCE_SUM, t->x, count, axes, false);
	while (count > 0)
		remove_name(t, axes[--count]);
}

/* Axes of t in the order of `order`, those it does not have of size 1. */
static struct value *arrange(struct site *s, const struct term *t, const char *order)
{
	int perm[HONE_MAX_RANK], n = 0;
	dim dims[HONE_MAX_RANK];
	if (!t->x)
		return NULL;
	for (int i = 0; order[i]; i++) {
		int at = name_at(t, order[i]);
		dims[i] = at < 0 ? dim_int(s, 1) : t->x->type.dims[at];
		if (at >= 0)
			perm[n++] = at;
	}
	return reshape(s, transpose(s, t->x, perm), (int)strlen(order), dims);
}

/* The product of the dims named, and of one axis of them. */
static dim extent_of(struct site *s, const struct term *a, const struct term *b, const char *names)
{
	dim n = dim_int(s, 1);
	for (; *names; names++) {
		int i = name_at(a, *names), k = name_at(b, *names);
		dim d = i >= 0 ? a->x->type.dims[i] : b->x->type.dims[k];
		if (i >= 0 && k >= 0)
			d = dim_broadcast(s->dims, d, b->x->type.dims[k]);
		n = dim_mul(s->dims, n, d);
	}
	return n;
}

static struct value *as_matrices(struct site *s, const struct term *t, const struct term *other,
				 const char *batch, const char *rows, const char *columns)
{
	char order[4 * HONE_MAX_RANK];
	dim dims[HONE_MAX_RANK];
	snprintf(order, sizeof(order), "%s%s%s", batch, rows, columns);
	struct value *x = arrange(s, t, order);
	if (!x)
		return NULL;
	/* batch letters that broadcast */
	memcpy(dims, x->type.dims, sizeof(dims));
	for (int i = 0; order[i]; i++)
		dims[i] = extent_of(s, t, other, (char[]){order[i], 0});
	x = expand_to(s, x, rank_of(x), dims);
	return reshape(s, x, 3,
		       (dim[]){extent_of(s, t, other, batch), extent_of(s, t, other, rows),
			       extent_of(s, t, other, columns)});
}

/* a times b, summed over the letters that are in both and not in `keep`. */
static bool contract(struct site *s, struct term *a, struct term *b, const char *keep,
		     struct term *out)
{
	char batch[HONE_MAX_RANK + 1] = "", left[HONE_MAX_RANK + 1] = "",
				   right[HONE_MAX_RANK + 1] = "", inner[HONE_MAX_RANK + 1] = "";
	sum_others(s, a, keep, b);
	sum_others(s, b, keep, a);
	if (!a->x || !b->x)
		return false;
	for (int i = 0; i < a->count; i++) {
		char *list = name_at(b, a->names[i]) < 0 ? left
			     : strchr(keep, a->names[i]) ? batch
							 : inner;
		strncat(list, &a->names[i], 1);
	}
	for (int i = 0; i < b->count; i++)
		if (name_at(a, b->names[i]) < 0)
			strncat(right, &b->names[i], 1);
	size_t rank = strlen(batch) + strlen(left) + strlen(right);
	if (rank > HONE_MAX_RANK || rank + strlen(inner) > HONE_MAX_RANK)
		return site_unsupported(s, "a product of more than %d axes", HONE_MAX_RANK);
	char names[4 * HONE_MAX_RANK];
	snprintf(names, sizeof(names), "%s%s%s", batch, left, right);
	struct value *y;
	if (!*inner) {
		y = map2(s, "a * b", type_of(a->x), arrange(s, a, names), arrange(s, b, names));
	} else {
		dim dims[HONE_MAX_RANK];
		for (int i = 0; names[i]; i++)
			dims[i] = extent_of(s, a, b, (char[]){names[i], 0});
		y = matmul(s, as_matrices(s, a, b, batch, left, inner),
			   as_matrices(s, b, a, batch, inner, right));
		y = reshape(s, y, (int)rank, dims);
	}
	out->x = y;
	out->count = (int)rank;
	memcpy(out->names, names, rank + 1);
	return y != NULL;
}

/* Letters still needed after operand i: those of later operands and of the result. */
static void needed_after(const struct term *terms, int i, int count, const char *result, char *out)
{
	size_t n = strlen(result);
	memcpy(out, result, n);
	for (int k = i + 1; k < count; k++) {
		memcpy(out + n, terms[k].names, (size_t)terms[k].count);
		n += (size_t)terms[k].count;
	}
	out[n] = 0;
}

/* Without "->" the result has the letters that occur once, in alphabetic order, after the ellipsis. */
static void implicit_result(const struct term *terms, int count, struct term *out)
{
	out->count = 0;
	for (int c = '0'; c <= 'z'; c++) {
		int times = 0;
		for (int i = 0; i < count; i++)
			for (int k = 0; k < terms[i].count; k++)
				times += terms[i].names[k] == c;
		bool kept = c < 'A' ? times > 0 : times == 1;
		if (kept && out->count < HONE_MAX_RANK)
			out->names[out->count++] = (char)c;
	}
	out->names[out->count] = 0;
}

static bool read_result(struct site *s, const char *text, const struct term *terms, int count,
			struct term *out)
{
	int dots = 0, rank = 0;
	if (text[0] != '-' || text[1] != '>') {
		implicit_result(terms, count, out);
		return true;
	}
	text += 2;
	for (int i = 0; i < count; i++) {
		int n = 0;
		for (int k = 0; k < terms[i].count; k++)
			n += terms[i].names[k] < 'A';
		dots = n > dots ? n : dots;
	}
	for (const char *c = text; *c; c++)
		rank += *c != ' ' && *c != '.';
	rank += strstr(text, "...") ? dots : 0;
	if (rank > HONE_MAX_RANK)
		return site_unsupported(s, "a result of more than %d axes", HONE_MAX_RANK);
	return read_term(s, &text, rank, out);
}

static bool import_einsum(struct site *s)
{
	const char *text = attr_text(s, "equation", "");
	struct term *terms = SITE_ARRAY(s, struct term, s->in_count), result, total;
	for (int i = 0; i < s->in_count; i++) {
		if (!s->in[i] || !read_term(s, &text, rank_of(s->in[i]), &terms[i]))
			return s->in[i] ? false : site_invalid(s, "operand %d is missing", i);
		terms[i].x = s->in[i];
		take_diagonals(s, &terms[i]);
		if (*text == ',' ? i + 1 == s->in_count : i + 1 < s->in_count)
			return site_invalid(s, "the equation is for another number of operands");
		text += *text == ',';
	}
	if (!read_result(s, text, terms, s->in_count, &result))
		return false;
	total = terms[0];
	char *keep = site_array(s, (s->in_count + 1) * (HONE_MAX_RANK + 1), 1);
	for (int i = 1; i < s->in_count; i++) {
		struct term product;
		needed_after(terms, i, s->in_count, result.names, keep);
		if (!contract(s, &total, &terms[i], keep, &product))
			return false;
		total = product;
	}
	sum_others(s, &total, result.names, NULL);
	for (int i = 0; i < result.count; i++)
		if (name_at(&total, result.names[i]) < 0)
			return site_invalid(s, "'%c' of the result is in no operand",
					    result.names[i]);
	return site_out(s, 0, arrange(s, &total, result.names));
}

const struct import_row ops_matmul[] = {
	{"", "MatMul", 1, 0, 2, 2, import_matmul, "", "product of matrices, in batches", NULL},
	{"", "Gemm", 1, 0, 2, 3, import_gemm, "alpha beta transA transB broadcast",
	 "alpha * A * B + beta * C", NULL},
	{"", "Einsum", 12, 0, 1, -1, import_einsum, "equation", "sums of products by an equation",
	 NULL},
	{0},
};
