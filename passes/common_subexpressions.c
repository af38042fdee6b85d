/* common_subexpressions: nodes that compute the same become one: equal operator, operands, attributes and
 * expression. Scopes follow dominance: what a region computes is forgotten at its end. Impure nodes, those
 * that bind symbols and those with regions stay. The bytes of large constants are not compared: they are
 * equal where they are the same bytes of the file. */
#include "passes/patterns.h"
#include "ir/attr_rows.h"

#include <string.h>

enum { SMALL_CONST = 4096 };

struct entry {
	struct node *n;
	uint64_t hash;
	int next; /* in the bucket */
};

struct common {
	struct pass_context *c;
	int *buckets, mask;
	struct {
		struct entry *at;
		int count, room;
	} entries;
};

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t mix_bytes(uint64_t h, const void *data, size_t size)
{
	const unsigned char *at = data;
	uint64_t x;

	for (; size >= 8; size -= 8, at += 8) {
		memcpy(&x, at, 8);
		h = mix(h, x);
	}
	x = size;
	memcpy(&x, at, size < 8 ? size : 0);
	return mix(h, x);
}

static uint64_t hash_tensor(uint64_t h, const struct tensor *t)
{
	h = mix(h, (uint64_t)t->kind);
	if (t->kind == TENSOR_SPLAT)
		return mix(h, (uint64_t)t->splat.i);
	if (t->kind == TENSOR_RANDOM)
		return mix(h, t->seed);
	if (t->size > SMALL_CONST)
		return mix(h, (uint64_t)(uintptr_t)t->data);
	return mix_bytes(h, t->data, (size_t)t->size);
}

static uint64_t hash_attrs(uint64_t h, const struct node *n)
{
	const struct op_row *o = &op_table[n->op];

	for (int i = 0; i < o->attr_count; i++) {
		const void *field = (const char *)n->attrs + o->attrs[i].offset;
		const struct ints *list = field;
		const char *text;

		switch (o->attrs[i].kind) {
		case ATTR_INTS:
		case ATTR_DIMS: /* interned: entries of 8 bytes */
			h = mix(h, (uint64_t)list->count);
			h = list->count ? mix_bytes(h, list->at, (size_t)list->count * 8) : h;
			break;
		case ATTR_TEXT:
			text = *(const char *const *)field;
			h = text ? mix_bytes(h, text, strlen(text)) : h;
			break;
		case ATTR_TENSOR: h = hash_tensor(h, *(const struct tensor *const *)field); break;
		default: h = mix_bytes(h, field, 8); break;
		}
	}
	return h;
}

static uint64_t hash_node(const struct node *n)
{
	uint64_t h = mix((uint64_t)n->op, (uint64_t)(uintptr_t)n->expr);

	for (int i = 0; i < n->in_count; i++)
		h = mix(h, (uint64_t)(n->in[i] ? n->in[i]->id : -1));
	if (n->op == OP_const) {
		const struct type *t = &n->out[0]->type;

		h = mix(h, (uint64_t)t->dtype);
		h = t->rank ? mix_bytes(h, t->dims, (size_t)t->rank * sizeof(dim)) : h;
	}
	return hash_attrs(h, n);
}

static bool large_const(const struct tensor *t)
{
	return t->kind == TENSOR_BYTES && t->size > SMALL_CONST;
}

static bool same(const struct node *m, const struct node *n)
{
	if (m->op != n->op || m->in_count != n->in_count || m->expr != n->expr ||
	    m->out_count != n->out_count)
		return false;
	for (int i = 0; i < n->in_count; i++)
		if (m->in[i] != n->in[i])
			return false;
	for (int i = 0; i < n->out_count; i++)
		if (!type_equal(&m->out[i]->type, &n->out[i]->type))
			return false;
	if (n->op == OP_const && large_const(value_const(n->out[0])) &&
	    (value_const(m->out[0])->kind != TENSOR_BYTES ||
	     value_const(m->out[0])->data != value_const(n->out[0])->data))
		return false;
	return attrs_equal(n->op, m->attrs, n->attrs);
}

static void join(struct common *s, struct region *r)
{
	int mark = s->entries.count;
	struct node *next;

	for (struct node *n = r->first; n; n = next) {
		uint64_t hash;
		int found;

		next = n->next;
		node_resolve(n);
		for (int i = 0; i < n->region_count; i++)
			join(s, n->regions[i]);
		if (!is_pure(n) || n->symbol_count || n->region_count)
			continue;
		hash = hash_node(n);
		found = s->buckets[hash & (uint64_t)s->mask] - 1;
		while (found >= 0 &&
		       (s->entries.at[found].hash != hash || !same(s->entries.at[found].n, n)))
			found = s->entries.at[found].next;
		if (found >= 0) {
			for (int i = 0; i < n->out_count; i++)
				value_replace(n->out[i], s->entries.at[found].n->out[i]);
			node_remove(n);
			s->c->changes++;
			continue;
		}
		ARENA_PUSH(s->c->scratch, &s->entries,
			   ((struct entry){n, hash, s->buckets[hash & (uint64_t)s->mask] - 1}));
		s->buckets[hash & (uint64_t)s->mask] = s->entries.count;
	}
	while (s->entries.count > mark) { /* the newest entry is at the head of its bucket */
		const struct entry *e = &s->entries.at[--s->entries.count];

		s->buckets[e->hash & (uint64_t)s->mask] = e->next + 1;
	}
}

bool pass_common_subexpressions(struct pass_context *c)
{
	struct common s = {.c = c, .mask = 1023};

	while (s.mask < c->graph->value_count)
		s.mask = s.mask * 2 + 1;
	s.buckets = ARENA_ARRAY(c->scratch, int, s.mask + 1);
	join(&s, c->graph->body);
	graph_resolve(c->graph);
	return true;
}
