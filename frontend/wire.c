/* wire.c: see wire.h. The schema is a list of the fields that matter, per message. */
#include "frontend/wire.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
enum message {
	MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SEGMENT, SPARSE, VALUE_INFO, TYPE, TYPE_TENSOR,
	TYPE_OF, TYPE_MAP, SHAPE, DIMENSION, OPSET, ENTRY, FUNCTION, SEQUENCE
};
/* clang-format on */

enum rule_kind {
	VARINT = 1,
	VARINTS, /* repeated, packed or not */
	FLOAT,
	FLOATS,
	STRING, /* no NUL within */
	BYTES,
	ONE,  /* a message, at most once */
	MANY, /* messages */
	DATA, /* contents of a tensor: varints, floats or bytes */
	DATA4,
	DATA8,
	DATA_RAW, /* at most once */
};

struct rule {
	uint8_t message, field, kind, child;
};

/* clang-format off */
/* Fields that are not here are left out of the skeleton. Of a segment only its being there counts:
 * a tensor with one is refused. */
static const struct rule rules[] = {
	{MODEL, 1, VARINT, 0}, {MODEL, 2, STRING, 0}, {MODEL, 3, STRING, 0}, {MODEL, 7, ONE, GRAPH},
	{MODEL, 8, MANY, OPSET}, {MODEL, 25, MANY, FUNCTION},
	{GRAPH, 1, MANY, NODE}, {GRAPH, 2, STRING, 0}, {GRAPH, 5, MANY, TENSOR},
	{GRAPH, 11, MANY, VALUE_INFO}, {GRAPH, 12, MANY, VALUE_INFO}, {GRAPH, 13, MANY, VALUE_INFO},
	{GRAPH, 15, MANY, SPARSE},
	{NODE, 1, STRING, 0}, {NODE, 2, STRING, 0}, {NODE, 3, STRING, 0}, {NODE, 4, STRING, 0},
	{NODE, 5, MANY, ATTRIBUTE}, {NODE, 7, STRING, 0},
	{ATTRIBUTE, 1, STRING, 0}, {ATTRIBUTE, 2, FLOAT, 0}, {ATTRIBUTE, 3, VARINT, 0},
	{ATTRIBUTE, 4, BYTES, 0}, {ATTRIBUTE, 5, ONE, TENSOR}, {ATTRIBUTE, 6, ONE, GRAPH},
	{ATTRIBUTE, 7, FLOATS, 0}, {ATTRIBUTE, 8, VARINTS, 0}, {ATTRIBUTE, 9, BYTES, 0},
	{ATTRIBUTE, 10, MANY, TENSOR}, {ATTRIBUTE, 11, MANY, GRAPH}, {ATTRIBUTE, 14, ONE, TYPE},
	{ATTRIBUTE, 15, MANY, TYPE}, {ATTRIBUTE, 20, VARINT, 0}, {ATTRIBUTE, 21, STRING, 0},
	{ATTRIBUTE, 22, ONE, SPARSE}, {ATTRIBUTE, 23, MANY, SPARSE},
	{TENSOR, 1, VARINTS, 0}, {TENSOR, 2, VARINT, 0}, {TENSOR, 3, MANY, SEGMENT},
	{TENSOR, 4, DATA4, 0}, {TENSOR, 5, DATA, 0}, {TENSOR, 6, BYTES, 0}, {TENSOR, 7, DATA, 0},
	{TENSOR, 8, STRING, 0}, {TENSOR, 9, DATA_RAW, 0}, {TENSOR, 10, DATA8, 0},
	{TENSOR, 11, DATA, 0}, {TENSOR, 13, MANY, ENTRY}, {TENSOR, 14, VARINT, 0},
	{SPARSE, 1, ONE, TENSOR}, {SPARSE, 2, ONE, TENSOR}, {SPARSE, 3, VARINTS, 0},
	{VALUE_INFO, 1, STRING, 0}, {VALUE_INFO, 2, ONE, TYPE},
	{TYPE, 1, ONE, TYPE_TENSOR}, {TYPE, 4, ONE, TYPE_OF}, {TYPE, 5, ONE, TYPE_MAP},
	{TYPE, 8, ONE, TYPE_TENSOR}, {TYPE, 9, ONE, TYPE_OF},
	{TYPE_TENSOR, 1, VARINT, 0}, {TYPE_TENSOR, 2, ONE, SHAPE},
	{TYPE_OF, 1, ONE, TYPE},
	{TYPE_MAP, 1, VARINT, 0}, {TYPE_MAP, 2, ONE, TYPE},
	{SHAPE, 1, MANY, DIMENSION},
	{DIMENSION, 1, VARINT, 0}, {DIMENSION, 2, STRING, 0},
	{OPSET, 1, STRING, 0}, {OPSET, 2, VARINT, 0},
	{ENTRY, 1, STRING, 0}, {ENTRY, 2, STRING, 0},
	{FUNCTION, 1, STRING, 0}, {FUNCTION, 4, STRING, 0}, {FUNCTION, 5, STRING, 0},
	{FUNCTION, 6, STRING, 0}, {FUNCTION, 7, MANY, NODE}, {FUNCTION, 9, MANY, OPSET},
	{FUNCTION, 10, STRING, 0}, {FUNCTION, 11, MANY, ATTRIBUTE},
	{SEQUENCE, 1, STRING, 0}, {SEQUENCE, 2, VARINT, 0}, {SEQUENCE, 3, MANY, TENSOR},
};
/* clang-format on */

enum wire_type { WT_VARINT, WT_8, WT_LENGTH, WT_GROUP, WT_END_GROUP, WT_4 };

/* One open message. */
struct frame {
	enum message message;
	const uint8_t *end;
	size_t length_at; /* where its length goes in the skeleton */
	uint32_t seen;    /* bit f: singular field f was met */
};

struct walk {
	struct wire *w;
	const uint8_t *at;
	struct frame stack[WIRE_NESTING];
	int depth;
	struct loc loc;
	struct diag *d;
};

/* One field: `tag` is where it starts; the value is [at, end), without its length if it has one. */
struct field {
	const uint8_t *tag, *at, *end;
	uint32_t number;
	enum wire_type type;
};

bool wire_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	const uint8_t *p = *at;
	uint64_t v = 0;

	for (int shift = 0; shift < 70 && p < end; shift += 7) {
		uint8_t b = *p++;

		if (shift == 63 && b > 1)
			return false;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*at = p;
			*value = v;
			return true;
		}
	}
	return false;
}

static bool bad(struct walk *k, const uint8_t *at, const char *text)
{
	return diag_add(k->d, DIAG_FILE, k->loc, "not a valid protobuf message: at byte %zu: %s",
			(size_t)(at - k->w->bytes), text);
}

/* Makes room for one more in a table of `count` of `size` bytes; NULL when refused. */
static void *grow(struct walk *k, void *old, size_t count, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : 64;
	void *at;

	if (count < *room)
		return old;
	k->w->used += (more - *room) * size;
	at = k->w->limit && k->w->used > k->w->limit ? NULL : realloc(old, more * size);
	if (!at) {
		diag_add(k->d, DIAG_FILE, k->loc,
			 "the structure of the file needs more than the limit of %zu bytes of "
			 "memory",
			 k->w->limit);
		return NULL;
	}
	*room = more;
	return at;
}

static bool put(struct walk *k, const void *bytes, size_t size)
{
	struct wire *w = k->w;

	while (w->skeleton_room - w->skeleton_size < size) {
		uint8_t *more = grow(k, w->skeleton, w->skeleton_room, &w->skeleton_room, 1);

		if (!more)
			return false;
		w->skeleton = more;
	}
	if (size)
		memcpy(w->skeleton + w->skeleton_size, bytes, size);
	w->skeleton_size += size;
	return true;
}

static bool put_varint(struct walk *k, uint64_t v)
{
	uint8_t bytes[10];
	int n = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (uint8_t)(v | 0x80);
	bytes[n++] = (uint8_t)v;
	return put(k, bytes, (size_t)n);
}

/* Lengths of messages are written when they end, in 5 bytes whatever they are. */
static void patch_length(struct wire *w, size_t at)
{
	size_t length = w->skeleton_size - at - 5;

	for (int i = 0; i < 5; i++)
		w->skeleton[at + (size_t)i] =
			(uint8_t)((length >> (7 * i) & 0x7f) | (i < 4 ? 0x80 : 0));
}

static bool read_length(struct walk *k, struct field *f, const uint8_t *end)
{
	uint64_t length;

	if (!wire_varint(&k->at, end, &length))
		return bad(k, f->tag, "a length that is no varint");
	if (length > (uint64_t)(end - k->at))
		return bad(k, f->tag,
			   "a length past the end of the enclosing message (truncated file?)");
	f->at = k->at;
	f->end = k->at + length;
	return true;
}

/* Reads the field at k->at, which lies before `end`, and moves past it. */
static bool read_field(struct walk *k, const uint8_t *end, struct field *f)
{
	uint64_t tag, ignored;

	*f = (struct field){.tag = k->at, .end = end};
	if (!wire_varint(&k->at, end, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
		return bad(k, f->tag, "a bad field number");
	f->number = (uint32_t)(tag >> 3);
	f->type = (enum wire_type)(tag & 7);
	f->at = k->at;
	switch (f->type) {
	case WT_VARINT:
		if (!wire_varint(&k->at, end, &ignored))
			return bad(k, f->tag, "a number that is no varint");
		break;
	case WT_8:
	case WT_4:
		if (end - k->at < (f->type == WT_8 ? 8 : 4))
			return bad(k, f->tag, "a number past the end of the message");
		k->at += f->type == WT_8 ? 8 : 4;
		break;
	case WT_LENGTH:
		if (!read_length(k, f, end))
			return false;
		k->at = f->end;
		break;
	default: return bad(k, f->tag, "a group or an unknown wire type");
	}
	f->end = k->at;
	return true;
}

static const struct rule *find_rule(enum message message, uint32_t field)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i].message == message && rules[i].field == field)
			return &rules[i];
	return NULL;
}

static bool type_fits(enum rule_kind kind, enum wire_type type)
{
	switch (kind) {
	case VARINT: return type == WT_VARINT;
	case VARINTS:
	case DATA: return type == WT_VARINT || type == WT_LENGTH;
	case FLOAT: return type == WT_4;
	case FLOATS:
	case DATA4: return type == WT_4 || type == WT_LENGTH;
	case DATA8: return type == WT_8 || type == WT_LENGTH;
	default: return type == WT_LENGTH;
	}
}

/* The contents of a packed or text field, before they are passed on. */
static bool check_contents(struct walk *k, const struct rule *r, const struct field *f)
{
	size_t size = (size_t)(f->end - f->at);
	const uint8_t *p = f->at;
	uint64_t ignored;

	if (f->type != WT_LENGTH)
		return true;
	if (r->kind == STRING && memchr(f->at, 0, size))
		return bad(k, f->tag, "a name with a NUL in it");
	if (((r->kind == FLOATS || r->kind == DATA4) && size % 4) || (r->kind == DATA8 && size % 8))
		return bad(k, f->tag,
			   "packed numbers of a length that is no multiple of their size");
	while (r->kind == VARINTS && p < f->end)
		if (!wire_varint(&p, f->end, &ignored))
			return bad(k, f->tag, "a packed number that is no varint");
	return true;
}

static bool copy_field(struct walk *k, const struct field *f)
{
	size_t size = (size_t)(f->end - f->at);

	return put_varint(k, (uint64_t)f->number << 3 | f->type) &&
	       (f->type != WT_LENGTH || put_varint(k, size)) && put(k, f->at, size);
}

/* Enters a span for the tensor that is open. */
static bool add_span(struct walk *k, const struct field *f)
{
	struct wire *w = k->w;
	struct wire_tensor *t = &w->tensors.at[w->tensors.count - 1];
	struct wire_span s = {.field = (enum wire_data)f->number, .packed = f->type == WT_LENGTH};
	const uint8_t *start = s.packed ? f->at : f->tag;
	struct wire_span *more, *last = t->count ? &w->spans.at[w->spans.count - 1] : NULL;

	s.at = (size_t)(start - w->bytes);
	s.size = (size_t)(f->end - start);
	if (last && !s.packed && !last->packed && last->field == s.field &&
	    last->at + last->size == s.at) {
		last->size += s.size;
		return true;
	}
	more = grow(k, w->spans.at, w->spans.count, &w->spans.room, sizeof(s));
	if (!more)
		return false;
	w->spans.at = more;
	w->spans.at[w->spans.count++] = s;
	t->count++;
	return true;
}

static bool open_tensor(struct walk *k)
{
	struct wire *w = k->w;
	struct wire_tensor *more =
		grow(k, w->tensors.at, w->tensors.count, &w->tensors.room, sizeof(*more));

	if (!more)
		return false;
	w->tensors.at = more;
	w->tensors.at[w->tensors.count++] = (struct wire_tensor){.first = w->spans.count};
	return true;
}

/* Gives the tensor that ends its index, in the place of raw_data. */
static bool close_tensor(struct walk *k)
{
	size_t index = k->w->tensors.count - 1;
	uint8_t field[6] = {WIRE_RAW_DATA << 3 | WT_LENGTH, 4};

	if (index > UINT32_MAX)
		return bad(k, k->at, "more tensors than hone can count");
	for (int i = 0; i < 4; i++)
		field[2 + i] = (uint8_t)(index >> (8 * i));
	return put(k, field, sizeof(field));
}

static bool open_message(struct walk *k, enum message message, const struct field *f)
{
	struct frame *top;

	if (k->depth == WIRE_NESTING)
		return bad(k, f->tag, "messages nested more than 64 deep");
	if (message == TENSOR && !open_tensor(k))
		return false;
	top = &k->stack[k->depth++];
	*top = (struct frame){.message = message, .end = f->end};
	k->at = f->at;
	if (k->depth == 1)
		return true;
	if (!put_varint(k, (uint64_t)f->number << 3 | WT_LENGTH))
		return false;
	top->length_at = k->w->skeleton_size;
	return put(k, (uint8_t[5]){0}, 5);
}

static bool close_message(struct walk *k)
{
	struct frame *top = &k->stack[--k->depth];

	if (top->message == TENSOR && !close_tensor(k))
		return false;
	if (k->depth)
		patch_length(k->w, top->length_at);
	return true;
}

static bool take_field(struct walk *k, struct frame *top)
{
	const struct rule *r;
	struct field f;

	if (!read_field(k, top->end, &f))
		return false;
	r = find_rule(top->message, f.number);
	if (!r)
		return true;
	if (!type_fits(r->kind, f.type))
		return bad(k, f.tag, "a field of another wire type than ONNX gives it");
	if (r->kind == ONE || r->kind == DATA_RAW) {
		if (top->seen >> f.number & 1)
			return bad(k, f.tag, "a field that may be given once is given twice");
		top->seen |= (uint32_t)1 << f.number;
	}
	if (!check_contents(k, r, &f))
		return false;
	switch (r->kind) {
	case ONE:
	case MANY: return open_message(k, r->child, &f);
	case DATA:
	case DATA4:
	case DATA8:
	case DATA_RAW: return add_span(k, &f);
	default: return copy_field(k, &f);
	}
}

bool wire_scan(const void *bytes, size_t size, enum wire_root root, size_t limit, struct wire *w,
	       struct loc at, struct diag *d)
{
	static const enum message roots[] = {MODEL, TENSOR, SEQUENCE};
	struct walk k = {.w = w, .at = bytes, .loc = at, .d = d};
	struct field all = {.at = bytes, .end = (const uint8_t *)bytes + size};
	bool ok;

	*w = (struct wire){.bytes = bytes, .size = size, .limit = limit};
	ok = open_message(&k, roots[root], &all);
	while (ok && k.depth) {
		struct frame *top = &k.stack[k.depth - 1];

		ok = k.at == top->end ? close_message(&k) : take_field(&k, top);
	}
	if (ok && w->skeleton_size > INT32_MAX)
		ok = bad(&k, k.at, "a structure of more than 2 GB");
	if (!ok)
		wire_free(w);
	return ok;
}

void wire_free(struct wire *w)
{
	free(w->skeleton);
	free(w->spans.at);
	free(w->tensors.at);
	w->skeleton = NULL;
	w->spans.at = NULL;
	w->tensors.at = NULL;
}
