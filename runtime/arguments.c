/* arguments.c: what the caller hands to a call is checked here, before anything is computed. */
#include "runtime/context.h"
#include "runtime/dtype.h"

#include <string.h>

typedef long long ll; /* for %lld */

/* The symbol's name with a space before and in parentheses, for a message; "" when it has none. */
static const char *symbol_text(const hone_dim *d, char text[48])
{
	size_t length = 0;

	text[0] = 0;
	while (d->symbol && length < 40 && d->symbol[length])
		length++;
	if (!length)
		return text;
	memcpy(text, " (", 2);
	memcpy(text + 2, d->symbol, length);
	memcpy(text + 2 + length, ")", 2);
	return text;
}

static bool same_dims(const struct context *c, const hone_tensor *inputs)
{
	const hone_model *m = c->head.model;

	for (int32_t i = 0; i < m->input_count; i++) {
		const int64_t *seen = c->seen + i * HONE_MAX_RANK;

		if (inputs[i].rank != m->inputs[i].rank)
			return false;
		for (int32_t k = 0; k < inputs[i].rank; k++) {
			if (inputs[i].dims[k] != seen[k])
				return false;
		}
	}
	return true;
}

/* Checks one dim against the constant or the symbol behind it; binds the symbol at its first
 * use. */
static hone_status bind_dim(struct context *c, int32_t input, int32_t axis, int64_t value)
{
	const hone_io *io = &c->head.model->inputs[input];
	const struct hone_dim_ref *r = &c->program->input_dims[input][axis];
	int64_t min = r->constant, max = r->constant, *word;
	char symbol[48];

	symbol_text(&io->dims[axis], symbol);
	if (r->word >= 0) {
		word = &c->frame.words[r->word];
		if (*word >= 0 && *word != value)
			return rt_error(
				c, HONE_ERROR_SHAPE,
				"input \"%s\": dim %d%s is %lld, expected %lld as elsewhere",
				io->name, axis, symbol, (ll)value, (ll)*word);
		min = c->program->symbols[r->word].min;
		max = c->program->symbols[r->word].max;
		if (min < io->dims[axis].min)
			min = io->dims[axis].min;
		if (max > io->dims[axis].max)
			max = io->dims[axis].max;
		if (min < 0)
			min = 0;
		if (max > MAX_DIM)
			max = MAX_DIM;
		*word = value;
	}
	if (value >= min && value <= max)
		return HONE_OK;
	if (min == max)
		return rt_error(c, HONE_ERROR_SHAPE,
				"input \"%s\": dim %d%s is %lld, expected %lld", io->name, axis,
				symbol, (ll)value, (ll)min);
	return rt_error(c, HONE_ERROR_SHAPE, "input \"%s\": dim %d%s is %lld, expected %lld..%lld",
			io->name, axis, symbol, (ll)value, (ll)min, (ll)max);
}

static hone_status bind_input(struct context *c, int32_t input, const hone_tensor *t)
{
	const hone_io *io = &c->head.model->inputs[input];

	if (t->rank != io->rank)
		return rt_error(c, HONE_ERROR_ARGUMENT, "input \"%s\": rank is %d, expected %d",
				io->name, t->rank, io->rank);
	for (int32_t k = 0; k < t->rank; k++) {
		hone_status status = bind_dim(c, input, k, t->dims[k]);

		if (status != HONE_OK)
			return status;
		c->seen[input * HONE_MAX_RANK + k] = t->dims[k];
	}
	c->input_bytes[input] = rt_tensor_bytes(io->dtype, t->rank, t->dims);
	if (c->input_bytes[input] < 0)
		return rt_error(c, HONE_ERROR_SHAPE, "input \"%s\": its dims are too large",
				io->name);
	return HONE_OK;
}

/* `node "x" (Add): dims of a and b must be equal (3 and 5)` */
static hone_status failed_check(struct context *c, int32_t index)
{
	const struct hone_check *k;

	if (index < 0 || index >= c->program->check_count)
		return rt_error(c, HONE_ERROR_SHAPE, "the dims of the inputs do not fit together");
	k = &c->program->checks[index];
	if (k->left_word < 0 || k->right_word < 0)
		return rt_error(c, HONE_ERROR_SHAPE, "%s", k->text);
	return rt_error(c, HONE_ERROR_SHAPE, "%s (%lld and %lld)", k->text,
			(ll)c->frame.words[k->left_word], (ll)c->frame.words[k->right_word]);
}

/* The largest bytes of each output for the bound dims. */
static hone_status size_outputs(struct context *c)
{
	const hone_model *m = c->head.model;

	for (int32_t i = 0; i < m->output_count; i++) {
		const struct hone_output_ref *o = &c->program->outputs[i];
		hone_tensor t = {0};

		if (o->bytes_word < 0 && o->dims_stage) {
			c->output_bytes[i] = -1;
			continue;
		}
		rt_fill_dims(c, i, &t, o->dims_stage ? o->max_dims : o->dims);
		c->output_bytes[i] = o->bytes_word >= 0 ? c->frame.words[o->bytes_word]
							: rt_tensor_bytes(t.dtype, t.rank, t.dims);
		if (c->output_bytes[i] < 0)
			return rt_error(c, HONE_ERROR_SHAPE,
					"output \"%s\": its dims would be too large",
					m->outputs[i].name);
	}
	return HONE_OK;
}

hone_status rt_bind(struct context *c, const hone_tensor *inputs)
{
	const hone_model *m = c->head.model;
	hone_status status;
	int32_t check;

	if (m->input_count && !inputs)
		return rt_error(c, HONE_ERROR_ARGUMENT, "inputs is NULL");
	if (c->bound && same_dims(c, inputs))
		return HONE_OK;
	c->bound = c->placed = false;
	for (int32_t i = 0; i < c->program->input_symbol_count; i++)
		c->frame.words[i] = -1;
	for (int32_t i = 0; i < m->input_count; i++) {
		status = bind_input(c, i, &inputs[i]);
		if (status != HONE_OK)
			return status;
	}
	check = c->program->setup(&c->frame, 0);
	if (check)
		return failed_check(c, check - 1);
	status = size_outputs(c);
	c->bound = status == HONE_OK;
	return status;
}

static hone_status check_form(struct context *c, const hone_io *io, const hone_tensor *t)
{
	if (t->reserved[0] || t->reserved[1])
		return rt_error(c, HONE_ERROR_ARGUMENT,
				"input \"%s\": the reserved fields are not zero", io->name);
	if (t->dtype != io->dtype)
		return rt_error(c, HONE_ERROR_ARGUMENT,
				"input \"%s\": dtype is %s (%d), expected %s (%d)", io->name,
				rt_dtype_name(t->dtype), t->dtype, rt_dtype_name(io->dtype),
				io->dtype);
	return HONE_OK;
}

hone_status rt_take_inputs(struct context *c, const hone_tensor *inputs)
{
	const hone_model *m = c->head.model;
	hone_status status;

	for (int32_t i = 0; inputs && i < m->input_count; i++) {
		status = check_form(c, &m->inputs[i], &inputs[i]);
		if (status != HONE_OK)
			return status;
	}
	status = rt_bind(c, inputs);
	if (status != HONE_OK)
		return status;
	for (int32_t i = 0; i < m->input_count; i++) {
		if (inputs[i].size < c->input_bytes[i])
			return rt_error(c, HONE_ERROR_ARGUMENT,
					"input \"%s\": its buffer has %lld bytes, %lld are needed",
					m->inputs[i].name, (ll)inputs[i].size,
					(ll)c->input_bytes[i]);
		if (!inputs[i].data && c->input_bytes[i])
			return rt_error(c, HONE_ERROR_ARGUMENT, "input \"%s\": data is NULL",
					m->inputs[i].name);
	}
	return HONE_OK;
}

void rt_fill_dims(const struct context *c, int32_t output, hone_tensor *t,
		  const struct hone_dim_ref *dims)
{
	const hone_io *io = &c->head.model->outputs[output];

	t->dtype = io->dtype;
	t->rank = io->rank;
	for (int32_t k = 0; k < io->rank; k++)
		t->dims[k] = dim_value(&dims[k], c->frame.words);
}

/* Finds a buffer for `output`, which a kernel writes directly. */
static hone_status take_buffer(struct context *c, int32_t output, hone_tensor *t)
{
	const char *name = c->head.model->outputs[output].name;
	int64_t bytes = c->output_bytes[output];

	if (bytes < 0)
		return rt_error(c, HONE_ERROR_SHAPE, "output \"%s\": its size has no bound", name);
	if (!t->data && bytes) {
		if (!c->options.allocate)
			return rt_error(
				c, HONE_ERROR_ARGUMENT,
				"output \"%s\": data is NULL and options.allocate is not set",
				name);
		t->data = c->options.allocate(c->options.allocate_self, output, bytes);
		if (!t->data)
			return rt_error(c, HONE_ERROR_MEMORY,
					"output \"%s\": options.allocate gave no %lld bytes", name,
					(ll)bytes);
		t->size = bytes;
	}
	if (t->size < bytes)
		return rt_error(c, HONE_ERROR_ARGUMENT,
				"output \"%s\": its buffer has %lld bytes, %lld are needed", name,
				(ll)t->size, (ll)bytes);
	return HONE_OK;
}

hone_status rt_take_outputs(struct context *c, hone_tensor *outputs)
{
	const hone_model *m = c->head.model;

	if (m->output_count && !outputs)
		return rt_error(c, HONE_ERROR_ARGUMENT, "outputs is NULL");
	for (int32_t i = 0; i < m->output_count; i++) {
		const struct hone_output_ref *o = &c->program->outputs[i];
		hone_status status;

		if (outputs[i].reserved[0] || outputs[i].reserved[1])
			return rt_error(c, HONE_ERROR_ARGUMENT,
					"output \"%s\": the reserved fields are not zero",
					m->outputs[i].name);
		rt_fill_dims(c, i, &outputs[i], o->dims_stage ? o->max_dims : o->dims);
		if (!o->direct)
			continue;
		status = take_buffer(c, i, &outputs[i]);
		if (status != HONE_OK)
			return status;
	}
	return HONE_OK;
}
