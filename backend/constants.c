/* constants.c: the weights section: which constants are in it, in which form, and where. Equal data stands there
 * once; what nobody reads in a form is left out in that form. */
#include "backend/program.h"

#include <string.h>

static bool same_data(const struct tensor *x, const struct tensor *y)
{
	return x == y || (x->kind == TENSOR_BYTES && y->kind == TENSOR_BYTES && x->data == y->data);
}

static int find_constant(const struct program *p, const struct constant *c)
{
	for (int i = 0; i < p->constants->count; i++) {
		const struct constant *other = &p->constants->at[i];

		if (same_data(other->tensor, c->tensor) && other->bytes == c->bytes &&
		    other->type.dtype == c->type.dtype &&
		    !memcmp(&other->packing, &c->packing, sizeof(c->packing)))
			return i;
	}
	return -1;
}

int constant_keep(struct program *p, const struct constant *c)
{
	int at = find_constant(p, c);

	if (at >= 0)
		return at;
	ARENA_PUSH(p->arena, p->constants, *c);
	return p->constants->count - 1;
}

void constant_want(struct program *p, const struct value *v)
{
	if (p->places[v->id].kind == PLACE_CONST)
		p->constants->at[p->places[v->id].constant].used = true;
}

void constants_place(struct constants *all)
{
	for (int i = 0; i < all->count; i++) {
		struct constant *c = &all->at[i];

		if (!c->used)
			continue;
		c->offset = all->bytes;
		all->bytes += (c->bytes + 127) / 64 * 64; /* 64 bytes of slack after each */
	}
}

static bool write_constant(const struct constant *c,
			   bool (*write)(void *self, const void *data, int64_t size), void *self)
{
	struct arena scratch = {0};
	const void *data =
		tensor_bytes(c->tensor, c->type.dtype, type_count_const(&c->type), &scratch);
	bool ok = c->packing.buffer < 0 ? write(self, data, c->bytes)
					: packing_write(&c->packing, data, write, self);

	tensor_rest(c->tensor);
	arena_free(&scratch);
	return ok;
}

bool program_write_weights(const struct program *p,
			   bool (*write)(void *self, const void *data, int64_t size), void *self)
{
	static const unsigned char zeros[128];

	for (int i = 0; i < p->constants->count; i++) {
		const struct constant *c = &p->constants->at[i];

		if (c->used && (!write_constant(c, write, self) ||
				!write(self, zeros, (c->bytes + 127) / 64 * 64 - c->bytes)))
			return false;
	}
	return true;
}
