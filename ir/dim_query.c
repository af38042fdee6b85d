/* dim_query.c: bounds, values, substitution and text of dims. */
#include "ir/dim.h"
#include "ir/dim_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct range {
	int64_t low, high;
};

static int64_t min2(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max2(int64_t a, int64_t b) { return a > b ? a : b; }

static struct range range_mul(struct range a, struct range b)
{
	int64_t w = mul_sat(a.low, b.low), x = mul_sat(a.low, b.high);
	int64_t y = mul_sat(a.high, b.low), z = mul_sat(a.high, b.high);

	return (struct range){min2(min2(w, x), min2(y, z)), max2(max2(w, x), max2(y, z))};
}

/* Bounds of a/b; only for b > 0 anything is known. INT64_MAX stands for no bound and stays. */
static struct range range_div(struct range a, struct range b, int64_t round_up)
{
	int64_t low, high;

	if (b.low <= 0)
		return (struct range){a.low < 0 ? INT64_MIN : 0,
				      a.high == INT64_MAX ? a.high : max2(a.high, 0)};
	low = a.low == INT64_MIN ? a.low
	      : a.low >= 0       ? floor_div(a.low, b.high)
				 : floor_div(a.low, b.low);
	high = a.high == INT64_MAX
		       ? a.high
		       : add_sat(floor_div(a.high, a.high >= 0 ? b.low : b.high), round_up);
	return (struct range){low, high};
}

static struct range cached(dim d) { return (struct range){d->low, d->high}; }

static struct range range_sum(dim d)
{
	struct range r = {d->value, d->value};

	for (int i = 0; i < d->count; i++) {
		struct range c = {d->coef[i], d->coef[i]}, t = range_mul(cached(d->arg[i]), c);

		r.low = r.low == INT64_MIN || t.low == INT64_MIN ? INT64_MIN
								 : add_sat(r.low, t.low);
		r.high = r.high == INT64_MAX || t.high == INT64_MAX ? INT64_MAX
								    : add_sat(r.high, t.high);
	}
	return r;
}

static struct range range_of(const struct dim_pool *p, dim d)
{
	struct range a, b;

	switch (d->kind) {
	case DIM_CONST: return (struct range){d->value, d->value};
	case DIM_SYMBOL: return (struct range){p->symbols[d->value].min, p->symbols[d->value].max};
	case DIM_SUM: return range_sum(d);
	case DIM_PRODUCT:
		a = cached(d->arg[0]);
		for (int i = 1; i < d->count; i++)
			a = range_mul(a, cached(d->arg[i]));
		return a;
	case DIM_SELECT:
		a = cached(d->arg[2]);
		b = cached(d->arg[3]);
		return (struct range){min2(a.low, b.low), max2(a.high, b.high)};
	default: break;
	}
	a = cached(d->arg[0]);
	b = cached(d->arg[1]);
	switch (d->kind) {
	case DIM_MIN: return (struct range){min2(a.low, b.low), min2(a.high, b.high)};
	case DIM_MAX: return (struct range){max2(a.low, b.low), max2(a.high, b.high)};
	case DIM_FLOORDIV: return range_div(a, b, 0);
	case DIM_CEILDIV: return range_div(a, b, 1);
	default: /* DIM_MOD: 0 <= a mod b < b for b > 0 */
		if (b.low < 0)
			return (struct range){INT64_MIN, INT64_MAX};
		return (struct range){0, a.low >= 0 ? min2(a.high, add_sat(b.high, -(b.high > 0)))
						    : add_sat(b.high, -(b.high > 0))};
	}
}

void dim_summarize(const struct dim_pool *p, struct dim_node *d)
{
	struct range r = range_of(p, d);

	d->low = r.low;
	d->high = r.high;
	d->size = 1;
	d->stage = d->kind == DIM_SYMBOL ? p->symbols[d->value].stage : 0;
	for (int i = 0; i < d->count; i++) {
		if (d->arg[i]->stage > d->stage)
			d->stage = d->arg[i]->stage;
		d->size = d->size > 1 << 20 ? d->size : d->size + d->arg[i]->size;
	}
}

int64_t dim_eval(dim d, const int64_t *symbols)
{
	int64_t a, b;

	switch (d->kind) {
	case DIM_CONST: return d->value;
	case DIM_SYMBOL: return symbols[d->value];
	case DIM_SUM:
		a = d->value;
		for (int i = 0; i < d->count; i++)
			a = add_sat(a, mul_sat(d->coef[i], dim_eval(d->arg[i], symbols)));
		return a;
	case DIM_PRODUCT:
		a = 1;
		for (int i = 0; i < d->count; i++)
			a = mul_sat(a, dim_eval(d->arg[i], symbols));
		return a;
	default: break;
	}
	a = dim_eval(d->arg[0], symbols);
	b = dim_eval(d->arg[1], symbols);
	switch (d->kind) {
	case DIM_FLOORDIV: return floor_div(a, b);
	case DIM_CEILDIV: return b ? add_sat(floor_div(a, b), b != -1 && a % b != 0) : 0;
	case DIM_MOD: return b == 0 || b == -1 ? 0 : a - b * floor_div(a, b);
	case DIM_MIN: return min2(a, b);
	case DIM_MAX: return max2(a, b);
	default: return dim_eval(d->arg[a == b ? 2 : 3], symbols);
	}
}

static dim rebuild(struct dim_pool *p, dim d, const dim *arg)
{
	dim r;

	switch (d->kind) {
	case DIM_SUM:
		r = dim_const(p, d->value);
		for (int i = 0; i < d->count; i++)
			r = dim_add(p, r, dim_mul(p, dim_const(p, d->coef[i]), arg[i]));
		return r;
	case DIM_PRODUCT:
		r = arg[0];
		for (int i = 1; i < d->count; i++)
			r = dim_mul(p, r, arg[i]);
		return r;
	case DIM_FLOORDIV: return dim_floordiv(p, arg[0], arg[1]);
	case DIM_CEILDIV: return dim_ceildiv(p, arg[0], arg[1]);
	case DIM_MOD: return dim_mod(p, arg[0], arg[1]);
	case DIM_MIN: return dim_min(p, arg[0], arg[1]);
	case DIM_MAX: return dim_max(p, arg[0], arg[1]);
	default: return dim_select(p, arg[0], arg[1], arg[2], arg[3]);
	}
}

dim dim_substitute(struct dim_pool *p, dim d, const dim *with)
{
	dim arg[64];
	bool changed = false;

	if (d->kind == DIM_CONST)
		return d;
	if (d->kind == DIM_SYMBOL)
		return with[d->value] ? with[d->value] : d;
	for (int i = 0; i < d->count; i++) {
		arg[i] = dim_substitute(p, d->arg[i], with);
		changed |= arg[i] != d->arg[i];
	}
	return changed ? rebuild(p, d, arg) : d;
}

/* Bound of d from above (up) or below, over the node-bound symbols; NULL when there is none. */
static dim bound_of(struct dim_pool *p, dim d, bool up);

static dim bound_symbol(struct dim_pool *p, dim d, bool up)
{
	const struct symbol *s = &p->symbols[d->value];

	if (s->stage == 0)
		return d;
	if (!up)
		return dim_const(p, s->min);
	if (s->bound)
		return bound_of(p, s->bound, true);
	return s->max < (int64_t)1 << 40 ? dim_const(p, s->max) : NULL;
}

static dim bound_of(struct dim_pool *p, dim d, bool up)
{
	dim arg[64];

	if (d->kind == DIM_SYMBOL)
		return bound_symbol(p, d, up);
	if (dim_stage(d) == 0)
		return d;
	if (d->kind == DIM_SELECT && up) {
		dim a = bound_of(p, d->arg[2], true), b = bound_of(p, d->arg[3], true);

		return a && b ? dim_max(p, a, b) : NULL;
	}
	if (d->kind == DIM_MOD)
		return up ? bound_of(p, d->arg[1], true) : dim_const(p, 0);
	for (int i = 0; i < d->count; i++) {
		bool flip = (d->kind == DIM_SUM && d->coef[i] < 0) ||
			    (i == 1 && (d->kind == DIM_FLOORDIV || d->kind == DIM_CEILDIV));

		if (d->kind == DIM_PRODUCT && dim_lower(d->arg[i]) < 0)
			return NULL;
		if (flip && d->kind != DIM_SUM && dim_stage(d->arg[i]) > 0)
			return NULL;
		arg[i] = bound_of(p, d->arg[i], flip ? !up : up);
		if (!arg[i])
			return NULL;
	}
	return d->kind == DIM_SELECT ? NULL : rebuild(p, d, arg);
}

dim dim_static_bound(struct dim_pool *p, dim d) { return bound_of(p, d, true); }

/* ---- text ---- */

static const char *text(const struct dim_pool *p, struct arena *a, dim d, bool in_product);

/* The texts of d's operands, and their order by text: the text of a dim does not depend on the order in
 * which its parts were made. */
static const char **arg_texts(const struct dim_pool *p, struct arena *a, dim d, bool in_product,
			      int *order)
{
	const char **texts = ARENA_ARRAY(a, const char *, d->count);
	int at;

	for (int i = 0; i < d->count; i++) {
		texts[i] = text(p, a, d->arg[i], in_product);
		for (at = i; at > 0 && strcmp(texts[order[at - 1]], texts[i]) > 0; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	return texts;
}

static const char *sum_text(const struct dim_pool *p, struct arena *a, dim d)
{
	int *order = ARENA_ARRAY(a, int, d->count);
	const char **texts = arg_texts(p, a, d, true, order), *out = "";

	for (int i = 0; i < d->count; i++) {
		int64_t c = d->coef[order[i]];
		const char *join = i == 0 ? (c < 0 ? "-" : "") : c < 0 ? " - " : " + ";

		if (c == 1 || c == -1)
			out = arena_printf(a, "%s%s%s", out, join, texts[order[i]]);
		else
			out = arena_printf(a, "%s%s%s*%" PRIu64, out, join, texts[order[i]],
					   c < 0 ? -(uint64_t)c : (uint64_t)c);
	}
	if (d->value)
		out = arena_printf(a, "%s %c %" PRIu64, out, d->value < 0 ? '-' : '+',
				   d->value < 0 ? -(uint64_t)d->value : (uint64_t)d->value);
	return out;
}

/* Operands joined in the order of their texts. */
static const char *sorted_text(const struct dim_pool *p, struct arena *a, dim d, const char *join,
			       bool in_product)
{
	int *order = ARENA_ARRAY(a, int, d->count);
	const char **texts = arg_texts(p, a, d, in_product, order), *out = "";

	for (int i = 0; i < d->count; i++)
		out = arena_printf(a, "%s%s%s", out, i ? join : "", texts[order[i]]);
	return out;
}

/* Names that are no identifiers (ONNX allows any) stand in quotes. */
static const char *symbol_text(struct arena *a, const char *name)
{
	bool plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z');
	const char *out = "\"";

	for (const char *s = name; *s && plain; s++)
		plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			(*s >= '0' && *s <= '9') || *s == '_' || *s == '.';
	if (plain)
		return name;
	for (const char *s = name; *s; s++) {
		bool escape = *s == '"' || *s == '\\' || (unsigned char)*s < ' ';

		out = arena_printf(
			a, escape ? (unsigned char)*s < ' ' ? "%s\\x%02x" : "%s\\%c" : "%s%c", out,
			*s);
	}
	return arena_printf(a, "%s\"", out);
}

static const char *call_text(const struct dim_pool *p, struct arena *a, const char *name, dim d)
{
	const char *out = arena_printf(a, "%s(", name);

	for (int i = 0; i < d->count; i++)
		out = arena_printf(a, "%s%s%s", out, i ? ", " : "", text(p, a, d->arg[i], false));
	return arena_printf(a, "%s)", out);
}

static const char *text(const struct dim_pool *p, struct arena *a, dim d, bool in_product)
{
	const char *out = "";

	switch (d->kind) {
	case DIM_CONST: return arena_printf(a, "%" PRId64, d->value);
	case DIM_SYMBOL: return symbol_text(a, p->symbols[d->value].name);
	case DIM_SUM:
		out = sum_text(p, a, d);
		return in_product ? arena_printf(a, "(%s)", out) : out;
	case DIM_PRODUCT: return sorted_text(p, a, d, "*", true);
	case DIM_FLOORDIV: return call_text(p, a, "floordiv", d);
	case DIM_CEILDIV: return call_text(p, a, "ceildiv", d);
	case DIM_MOD: return call_text(p, a, "mod", d);
	case DIM_MIN: return arena_printf(a, "min(%s)", sorted_text(p, a, d, ", ", false));
	case DIM_MAX: return arena_printf(a, "max(%s)", sorted_text(p, a, d, ", ", false));
	default: return call_text(p, a, "select", d);
	}
}

const char *dim_text(const struct dim_pool *p, struct arena *a, dim d)
{
	return text(p, a, d, false);
}
