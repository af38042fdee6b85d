/* run.c: output_dims and run, and what a stopped run says. */
#include "runtime/context.h"
#include "runtime/table.h"

#include <string.h>

typedef long long ll; /* for %lld */

hone_status hone_rt_output_dims(hone_context *h, const hone_tensor *inputs, hone_tensor *outputs)
{
	struct context *c = (struct context *)h;
	const hone_model *m = h->model;
	hone_status status;

	c->text[0] = 0;
	status = rt_bind(c, inputs);
	if (status != HONE_OK)
		return status;
	if (m->output_count && !outputs)
		return rt_error(c, HONE_ERROR_ARGUMENT, "outputs is NULL");
	for (int32_t i = 0; i < m->output_count; i++) {
		const struct hone_output_ref *o = &c->program->outputs[i];

		rt_fill_dims(c, i, &outputs[i], o->dims_stage ? o->max_dims : o->dims);
		outputs[i].size = c->output_bytes[i];
	}
	return HONE_OK;
}

/* Makes the arena hold arena_size bytes; what it held is lost. */
static hone_status grow_arena(struct context *c)
{
	if (c->options.memory) {
		int64_t needed = c->header_bytes + c->arena_size;

		if (c->options.memory_size < needed)
			return rt_error(c, HONE_ERROR_MEMORY,
					"options.memory has %lld bytes, %lld are needed",
					(ll)c->options.memory_size, (ll)needed);
		c->arena = (unsigned char *)c->options.memory + c->header_bytes;
		c->arena_room = c->arena_size;
		rt_dynamic_drop(c); /* the chunks began where the arena ended */
		return HONE_OK;
	}
	if (c->arena_size <= c->arena_room)
		return HONE_OK;
	rt_release(c->arena);
	c->arena_room = 0;
	c->arena = rt_allocate(c->arena_size);
	if (!c->arena)
		return rt_error(c, HONE_ERROR_MEMORY,
				"no memory for the %lld bytes that these dims need",
				(ll)c->arena_size);
	c->arena_room = c->arena_size;
	return HONE_OK;
}

/* Places the arena slots for the bound dims. */
static hone_status place(struct context *c)
{
	const struct hone_program *p = c->program;
	hone_status status;

	c->arena_size = rt_place(p, c->frame.words, c->options.threads, &c->placement);
	if (c->arena_size < 0)
		return rt_error(c, HONE_ERROR_SHAPE, "these dims need too much memory");
	status = grow_arena(c);
	if (status != HONE_OK)
		return status;
	for (int32_t i = 0; i < p->slot_count; i++) {
		if (p->slots[i].kind == HONE_SLOT_ARENA)
			c->frame.values[i] = c->arena + c->placement.offsets[i];
	}
	c->placed = true;
	return HONE_OK;
}

/* Turns frame->fail into a status and a text. */
static hone_status explain(struct context *c, int32_t code)
{
	const struct hone_fail *f = &c->frame.fail;
	const struct hone_program *p = c->program;
	const char *node =
		f->node >= 0 && f->node < p->node_count ? p->nodes[f->node] : "the model";
	const struct hone_check *k;

	switch (code) {
	case HONE_FAIL_INDEX:
		if (f->bound <= 0)
			return rt_error(c, HONE_ERROR_DATA,
					"%s: index %lld is out of range: the axis is empty", node,
					(ll)f->found);
		return rt_error(c, HONE_ERROR_DATA, "%s: index %lld is out of range [%lld, %lld]",
				node, (ll)f->found, -(ll)f->bound, (ll)f->bound - 1);
	case HONE_FAIL_CHECK:
		if (f->node < 0 || f->node >= p->check_count)
			return rt_error(c, HONE_ERROR_DATA,
					"dims that were computed from data do not fit");
		k = &p->checks[f->node];
		if (k->left_word < 0 || k->right_word < 0)
			return rt_error(c, HONE_ERROR_DATA, "%s", k->text);
		return rt_error(c, HONE_ERROR_DATA, "%s (%lld and %lld)", k->text,
				(ll)c->frame.words[k->left_word],
				(ll)c->frame.words[k->right_word]);
	case HONE_FAIL_SYMBOL:
		return rt_error(c, HONE_ERROR_DATA,
				"%s: a size computed from data is %lld, expected 0..%lld", node,
				(ll)f->found, (ll)f->bound);
	case HONE_FAIL_MEMORY:
		return rt_error(c, HONE_ERROR_MEMORY, "%s: %s %lld bytes more", node,
				c->options.memory ? "options.memory has no room for"
						  : "no memory for",
				(ll)f->found);
	case HONE_FAIL_OUTPUT:
		node = f->node >= 0 && f->node < c->head.model->output_count
			       ? c->head.model->outputs[f->node].name
			       : "?";
		if (f->found < 0)
			return rt_error(
				c, HONE_ERROR_ARGUMENT,
				"output \"%s\": data is NULL and options.allocate is not set",
				node);
		return rt_error(c, HONE_ERROR_ARGUMENT,
				"output \"%s\": its buffer has %lld bytes, %lld are needed", node,
				(ll)f->found, (ll)f->bound);
	case HONE_FAIL_CALL:
		return rt_error(c, HONE_ERROR_DATA, "%s: the values of its inputs are not allowed",
				node);
	default: return rt_error(c, HONE_ERROR_DATA, "%s: failed with code %d", node, code);
	}
}

static void point_at_buffers(struct context *c, const hone_tensor *inputs,
			     const hone_tensor *outputs)
{
	for (int32_t i = 0; i < c->io_slot_count; i++) {
		const struct hone_slot *s = &c->program->slots[c->io_slots[i]];

		c->frame.values[c->io_slots[i]] =
			s->kind == HONE_SLOT_INPUT ? inputs[s->io].data : outputs[s->io].data;
	}
}

hone_status hone_rt_run(hone_context *h, const hone_tensor *inputs, hone_tensor *outputs)
{
	struct context *c = (struct context *)h;
	const struct hone_program *p = c->program;
	hone_status status;
	int32_t code;

	c->text[0] = 0;
	status = rt_take_inputs(c, inputs);
	if (status == HONE_OK && !c->placed)
		status = place(c);
	if (status == HONE_OK)
		status = rt_take_outputs(c, outputs);
	if (status != HONE_OK)
		return status;
	point_at_buffers(c, inputs, outputs);
	memset(&c->frame.fail, 0, sizeof(c->frame.fail));
	c->outputs = outputs;
	code = p->run(&c->frame);
	c->outputs = NULL;
	if (code)
		return explain(c, code);
	for (int32_t i = 0; i < h->model->output_count; i++) {
		if (p->outputs[i].dims_stage)
			rt_fill_dims(c, i, &outputs[i], p->outputs[i].dims);
	}
	return HONE_OK;
}

static int32_t fail(struct hone_frame *f, int32_t code, int32_t node, int64_t found, int64_t bound)
{
	f->fail = (struct hone_fail){code, node, found, bound};
	return code;
}

int32_t hone_rt_output(struct hone_frame *frame, int32_t io, const void *data, int64_t bytes)
{
	struct context *c = context_of(frame);
	hone_tensor *t = &c->outputs[io];

	if (!t->data && bytes) {
		if (!c->options.allocate)
			return fail(frame, HONE_FAIL_OUTPUT, io, -1, bytes);
		rt_fill_dims(c, io, t, c->program->outputs[io].dims);
		t->data = c->options.allocate(c->options.allocate_self, io, bytes);
		if (!t->data)
			return fail(frame, HONE_FAIL_MEMORY, -1, bytes, 0);
		t->size = bytes;
	}
	if (t->size < bytes)
		return fail(frame, HONE_FAIL_OUTPUT, io, t->size, bytes);
	if (bytes && t->data != data)
		memmove(t->data, data, (size_t)bytes);
	return HONE_OK;
}
