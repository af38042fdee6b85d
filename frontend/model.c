/* model.c: protobuf-c's messages to the structs of model.h.
 *
 *   file --mmap--> bytes --wire_scan--> skeleton --protobuf-c--> messages --here--> struct onnx_model
 *                    ^------------------- tensors' data: spans -------------------------'
 *
 * The messages stay in the model's arena, and names and number lists point into them. Recursion
 * follows the nesting of messages, which wire_scan() bounds. */
#include "frontend/reader.h"

#include <inttypes.h>
#include <string.h>

/* Packed numbers may grow eightfold when decoded; the rest is for the structure, of which
 * 200000 nodes take 70 MB. */
#define DEFAULT_LIMIT(size) (((uint64_t)1 << 30) + 8 * (uint64_t)(size))

bool reader_spend(struct reader *r, uint64_t bytes)
{
	if (bytes <= r->limit - r->used) {
		r->used += bytes;
		return true;
	}
	return diag_add(r->d, DIAG_FILE, r->at,
			"reading it needs more memory than the limit of %" PRIu64 " bytes",
			r->limit);
}

void *reader_array(struct reader *r, size_t count, size_t size)
{
	uint64_t bytes;

	if (__builtin_mul_overflow((uint64_t)count, (uint64_t)size, &bytes))
		bytes = UINT64_MAX;
	return reader_spend(r, bytes) ? arena_alloc(r->arena, (size_t)bytes) : NULL;
}

static void *message_alloc(void *reader, size_t size) { return reader_array(reader, size, 1); }

static void message_free(void *reader, void *at)
{
	(void)reader;
	(void)at; /* goes with the arena */
}

ProtobufCMessage *reader_unpack(struct reader *r, const ProtobufCMessageDescriptor *kind,
				const uint8_t *bytes, size_t size)
{
	ProtobufCAllocator allocator = {message_alloc, message_free, r};
	int errors = r->d->errors;
	ProtobufCMessage *m = protobuf_c_message_unpack(kind, &allocator, size, bytes);

	if (!m && r->d->errors == errors)
		diag_add(r->d, DIAG_FILE, r->at, "not a valid protobuf message (%s)", kind->name);
	return m;
}

static const char *read_domain(const char *domain)
{
	domain = text_or_empty(domain);
	return strcmp(domain, "ai.onnx") ? domain : "";
}

static bool read_names(struct reader *r, size_t n, char **names, const char *const **out,
		       int *count)
{
	const char **copy = READER_ARRAY(r, const char *, n);

	if (!copy)
		return false;
	for (size_t i = 0; i < n; i++)
		copy[i] = text_or_empty(names[i]);
	*out = copy;
	*count = (int)n;
	return true;
}

static bool read_shape(struct reader *r, const Onnx__TensorShapeProto *p, struct onnx_type *out)
{
	struct onnx_dim *dims;

	if (p->n_dim > ONNX_RANK_MAX)
		return diag_add(r->d, DIAG_UNSUPPORTED, r->at,
				"a value of rank %zu; the most is %d", p->n_dim, ONNX_RANK_MAX);
	dims = READER_ARRAY(r, struct onnx_dim, p->n_dim);
	if (!dims)
		return false;
	for (size_t i = 0; i < p->n_dim; i++) {
		const Onnx__TensorShapeProto__Dimension *x = p->dim[i];

		dims[i] = (struct onnx_dim){.value = -1};
		if (x->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
			if (x->dim_value < 0)
				return diag_add(r->d, DIAG_FILE, r->at,
						"dim %zu of a value is negative: %" PRId64, i,
						x->dim_value);
			dims[i].value = x->dim_value;
		} else if (x->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
			   x->dim_param && *x->dim_param) {
			dims[i].symbol = x->dim_param;
		}
	}
	out->rank = (int)p->n_dim;
	out->dims = dims;
	return true;
}

static bool read_type(struct reader *r, const Onnx__TypeProto *p, struct onnx_type *out);

static bool read_element(struct reader *r, const Onnx__TypeProto *p, struct onnx_type *out)
{
	struct onnx_type *element;

	if (!p)
		return true;
	element = READER_ARRAY(r, struct onnx_type, 1);
	out->element = element;
	return element && read_type(r, p, element);
}

static bool read_type(struct reader *r, const Onnx__TypeProto *p, struct onnx_type *out)
{
	*out = (struct onnx_type){.rank = -1};
	switch (p ? p->value_case : ONNX__TYPE_PROTO__VALUE__NOT_SET) {
	case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
		out->kind = ONNX_KIND_TENSOR;
		out->dtype = p->tensor_type->elem_type;
		return !p->tensor_type->shape || read_shape(r, p->tensor_type->shape, out);
	case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
		out->kind = ONNX_KIND_SPARSE;
		out->dtype = p->sparse_tensor_type->elem_type;
		return !p->sparse_tensor_type->shape ||
		       read_shape(r, p->sparse_tensor_type->shape, out);
	case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
		out->kind = ONNX_KIND_SEQUENCE;
		return read_element(r, p->sequence_type->elem_type, out);
	case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
		out->kind = ONNX_KIND_OPTIONAL;
		return read_element(r, p->optional_type->elem_type, out);
	case ONNX__TYPE_PROTO__VALUE_MAP_TYPE:
		out->kind = ONNX_KIND_MAP;
		out->dtype = p->map_type->key_type;
		return read_element(r, p->map_type->value_type, out);
	default: return true;
	}
}

static bool read_values(struct reader *r, size_t n, Onnx__ValueInfoProto **p,
			const struct onnx_value **out, int *count)
{
	struct onnx_value *values = READER_ARRAY(r, struct onnx_value, n);

	if (!values)
		return false;
	for (size_t i = 0; i < n; i++) {
		values[i].name = text_or_empty(p[i]->name);
		if (!read_type(r, p[i]->type, &values[i].type))
			return diag_add(r->d, DIAG_NOTE, r->at, "in the type of \"%s\"",
					values[i].name);
	}
	*out = values;
	*count = (int)n;
	return true;
}

static bool read_graph(struct reader *r, const Onnx__GraphProto *p, struct onnx_graph *out);

/* The attribute's kind; files of IR version 1 do not say it, so it is told by what is there. */
static enum onnx_attr_kind kind_of(const Onnx__AttributeProto *p)
{
	if (p->has_type && p->type)
		return (enum onnx_attr_kind)p->type;
	return p->has_f              ? ONNX_ATTR_FLOAT
	       : p->has_i            ? ONNX_ATTR_INT
	       : p->has_s            ? ONNX_ATTR_STRING
	       : p->t                ? ONNX_ATTR_TENSOR
	       : p->g                ? ONNX_ATTR_GRAPH
	       : p->n_floats         ? ONNX_ATTR_FLOATS
	       : p->n_ints           ? ONNX_ATTR_INTS
	       : p->n_strings        ? ONNX_ATTR_STRINGS
	       : p->n_tensors        ? ONNX_ATTR_TENSORS
	       : p->n_graphs         ? ONNX_ATTR_GRAPHS
	       : p->sparse_tensor    ? ONNX_ATTR_SPARSE_TENSOR
	       : p->n_sparse_tensors ? ONNX_ATTR_SPARSE_TENSORS
	       : p->tp               ? ONNX_ATTR_TYPE
	       : p->n_type_protos    ? ONNX_ATTR_TYPES
				     : ONNX_ATTR_UNDEFINED;
}

static bool read_attr_strings(struct reader *r, const Onnx__AttributeProto *p,
			      struct onnx_attr *out)
{
	struct onnx_text *strings = READER_ARRAY(r, struct onnx_text, p->n_strings);

	for (size_t i = 0; strings && i < p->n_strings; i++)
		if (!read_text(r, &p->strings[i], &strings[i]))
			return false;
	out->strings = strings;
	out->count = (int)p->n_strings;
	return strings;
}

/* Readers of lists of messages; a singular one is a list of one, or of none (an error later). */
#define READ_LIST(name, message, type, member, read)                                           \
	static bool name(struct reader *r, size_t n, message *const *p, struct onnx_attr *out) \
	{                                                                                      \
		type *list = READER_ARRAY(r, type, n);                                         \
                                                                                               \
		for (size_t i = 0; list && i < n; i++)                                         \
			if (!read(r, p[i], &list[i]))                                          \
				return false;                                                  \
		out->member = list;                                                            \
		out->count = (int)n;                                                           \
		return list;                                                                   \
	}
READ_LIST(read_tensors, Onnx__TensorProto, struct onnx_tensor, tensors, read_tensor)
READ_LIST(read_graphs, Onnx__GraphProto, struct onnx_graph, graphs, read_graph)
READ_LIST(read_sparses, Onnx__SparseTensorProto, struct onnx_sparse, sparse, read_sparse)
READ_LIST(read_types, Onnx__TypeProto, struct onnx_type, types, read_type)

static bool read_attr_value(struct reader *r, const Onnx__AttributeProto *p, struct onnx_attr *out)
{
	switch (out->kind) {
	case ONNX_ATTR_FLOAT: out->f = p->f; return true;
	case ONNX_ATTR_INT: out->i = p->i; return true;
	case ONNX_ATTR_STRING: return read_text(r, &p->s, &out->s);
	case ONNX_ATTR_FLOATS:
		out->floats = p->floats;
		out->count = (int)p->n_floats;
		return true;
	case ONNX_ATTR_INTS:
		out->ints = p->ints;
		out->count = (int)p->n_ints;
		return true;
	case ONNX_ATTR_STRINGS: return read_attr_strings(r, p, out);
	case ONNX_ATTR_TENSOR: return read_tensors(r, !!p->t, &p->t, out);
	case ONNX_ATTR_TENSORS: return read_tensors(r, p->n_tensors, p->tensors, out);
	case ONNX_ATTR_GRAPH: return read_graphs(r, !!p->g, &p->g, out);
	case ONNX_ATTR_GRAPHS: return read_graphs(r, p->n_graphs, p->graphs, out);
	case ONNX_ATTR_SPARSE_TENSOR:
		return read_sparses(r, !!p->sparse_tensor, &p->sparse_tensor, out);
	case ONNX_ATTR_SPARSE_TENSORS:
		return read_sparses(r, p->n_sparse_tensors, p->sparse_tensors, out);
	case ONNX_ATTR_TYPE: return read_types(r, !!p->tp, &p->tp, out);
	case ONNX_ATTR_TYPES: return read_types(r, p->n_type_protos, p->type_protos, out);
	default:
		return diag_add(r->d, DIAG_FILE, r->at,
				"attribute \"%s\" has no value of a known kind", out->name);
	}
}

static bool read_attr(struct reader *r, const Onnx__AttributeProto *p, struct onnx_attr *out)
{
	*out = (struct onnx_attr){.name = text_or_empty(p->name), .kind = kind_of(p)};
	if (!*out->name)
		return diag_add(r->d, DIAG_FILE, r->at, "an attribute without a name");
	if (p->ref_attr_name && *p->ref_attr_name) {
		out->ref = p->ref_attr_name;
		return r->in_function ||
		       diag_add(r->d, DIAG_FILE, r->at,
				"attribute \"%s\" refers to \"%s\" of a function, but is in none",
				out->name, out->ref);
	}
	if (!read_attr_value(r, p, out))
		return false;
	if (!out->count && (out->kind == ONNX_ATTR_TENSOR || out->kind == ONNX_ATTR_GRAPH ||
			    out->kind == ONNX_ATTR_SPARSE_TENSOR || out->kind == ONNX_ATTR_TYPE))
		return diag_add(r->d, DIAG_FILE, r->at, "attribute \"%s\" lacks its value",
				out->name);
	return true;
}

static bool read_attrs(struct reader *r, const Onnx__NodeProto *p, struct onnx_node *out)
{
	struct onnx_attr *attrs = READER_ARRAY(r, struct onnx_attr, p->n_attribute);

	for (size_t i = 0; attrs && i < p->n_attribute; i++)
		if (!read_attr(r, p->attribute[i], &attrs[i]))
			return false;
	out->attrs = attrs;
	out->attr_count = (int)p->n_attribute;
	return attrs;
}

static bool read_node(struct reader *r, const Onnx__NodeProto *p, size_t index,
		      struct onnx_node *out)
{
	struct loc outer = r->at;
	bool ok;

	out->op = text_or_empty(p->op_type);
	out->domain = read_domain(p->domain);
	out->name = text_or_empty(p->name);
	if (!*out->name) {
		if (!reader_spend(r, strlen(out->op) + 32))
			return false;
		out->name = arena_printf(r->arena, "%s_%zu", out->op, index);
	}
	r->at.node = out->name;
	r->at.op = out->op;
	if (!*out->op)
		return diag_add(r->d, DIAG_FILE, r->at, "node %zu names no operator", index);
	ok = read_names(r, p->n_input, p->input, &out->inputs, &out->input_count) &&
	     read_names(r, p->n_output, p->output, &out->outputs, &out->output_count) &&
	     read_attrs(r, p, out);
	r->at = outer;
	return ok;
}

static bool read_nodes(struct reader *r, size_t n, Onnx__NodeProto **p,
		       const struct onnx_node **out, int *count)
{
	struct onnx_node *nodes = READER_ARRAY(r, struct onnx_node, n);

	for (size_t i = 0; nodes && i < n; i++)
		if (!read_node(r, p[i], i, &nodes[i]))
			return false;
	*out = nodes;
	*count = (int)n;
	return nodes;
}

static bool read_constants(struct reader *r, const Onnx__GraphProto *p, struct onnx_graph *out)
{
	struct onnx_attr dense, sparse; /* only their lists are used */

	if (!read_tensors(r, p->n_initializer, p->initializer, &dense) ||
	    !read_sparses(r, p->n_sparse_initializer, p->sparse_initializer, &sparse))
		return false;
	out->initializers = dense.tensors;
	out->initializer_count = dense.count;
	out->sparse = sparse.sparse;
	out->sparse_count = sparse.count;
	return true;
}

static bool read_graph(struct reader *r, const Onnx__GraphProto *p, struct onnx_graph *out)
{
	out->name = text_or_empty(p->name);
	return read_values(r, p->n_input, p->input, &out->inputs, &out->input_count) &&
	       read_values(r, p->n_output, p->output, &out->outputs, &out->output_count) &&
	       read_values(r, p->n_value_info, p->value_info, &out->values, &out->value_count) &&
	       read_constants(r, p, out) &&
	       read_nodes(r, p->n_node, p->node, &out->nodes, &out->node_count);
}

static bool read_opsets(struct reader *r, size_t n, Onnx__OperatorSetIdProto **p,
			const struct onnx_opset **out, int *count)
{
	struct onnx_opset *opsets = READER_ARRAY(r, struct onnx_opset, n);

	for (size_t i = 0; opsets && i < n; i++) {
		opsets[i] = (struct onnx_opset){read_domain(p[i]->domain), p[i]->version};
		if (p[i]->version < 1)
			return diag_add(r->d, DIAG_FILE, r->at,
					"operator set \"%s\" of version %" PRId64, opsets[i].domain,
					p[i]->version);
	}
	*out = opsets;
	*count = (int)n;
	return opsets;
}

/* FunctionProto.attribute_proto (field 11, IR version 9) is newer than the oldest onnx.proto that we
 * build with: protobuf-c leaves it among the unknown fields, after its 5-byte length. */
static bool read_defaults(struct reader *r, const Onnx__FunctionProto *p, struct onnx_function *out)
{
	struct onnx_attr *attrs = READER_ARRAY(r, struct onnx_attr, p->base.n_unknown_fields);

	if (!attrs)
		return false;
	for (unsigned i = 0; i < p->base.n_unknown_fields; i++) {
		const ProtobufCMessageUnknownField *f = &p->base.unknown_fields[i];
		ProtobufCMessage *m;

		if (f->tag != 11 || f->len < 5)
			continue;
		m = reader_unpack(r, &onnx__attribute_proto__descriptor, f->data + 5, f->len - 5);
		if (!m || !read_attr(r, (Onnx__AttributeProto *)m, &attrs[out->default_count++]))
			return false;
	}
	out->defaults = attrs;
	return true;
}

static bool read_function(struct reader *r, const Onnx__FunctionProto *p, struct onnx_function *out)
{
	out->name = text_or_empty(p->name);
	out->domain = read_domain(p->domain);
	return read_names(r, p->n_input, p->input, &out->inputs, &out->input_count) &&
	       read_names(r, p->n_output, p->output, &out->outputs, &out->output_count) &&
	       read_names(r, p->n_attribute, p->attribute, &out->attrs, &out->attr_count) &&
	       read_opsets(r, p->n_opset_import, p->opset_import, &out->opsets,
			   &out->opset_count) &&
	       read_defaults(r, p, out) &&
	       read_nodes(r, p->n_node, p->node, &out->nodes, &out->node_count);
}

static bool read_functions(struct reader *r, const Onnx__ModelProto *p, struct onnx_model *m)
{
	struct onnx_function *functions = READER_ARRAY(r, struct onnx_function, p->n_functions);

	r->in_function = true;
	for (size_t i = 0; functions && i < p->n_functions; i++)
		if (!read_function(r, p->functions[i], &functions[i]))
			return diag_add(r->d, DIAG_NOTE, r->at, "in function \"%s\"",
					functions[i].name);
	r->in_function = false;
	m->functions = functions;
	m->function_count = (int)p->n_functions;
	return functions;
}

static bool read_model(struct reader *r, const Onnx__ModelProto *p, struct onnx_model *m)
{
	static const struct onnx_opset first = {"", 1};

	m->ir_version = p->ir_version;
	m->producer = text_or_empty(p->producer_name);
	m->producer_version = text_or_empty(p->producer_version);
	if (!p->has_ir_version || p->ir_version < 1)
		return diag_add(r->d, DIAG_FILE, r->at, "not an ONNX model: it has no ir_version");
	if (!p->graph)
		return diag_add(r->d, DIAG_FILE, r->at, "not an ONNX model: it has no graph");
	if (!read_opsets(r, p->n_opset_import, p->opset_import, &m->opsets, &m->opset_count))
		return false;
	if (!m->opset_count && p->ir_version >= 3)
		return diag_add(r->d, DIAG_FILE, r->at, "it imports no operator set");
	if (!m->opset_count) { /* IR versions 1 and 2 had none */
		m->opsets = &first;
		m->opset_count = 1;
	}
	return read_graph(r, p->graph, &m->graph) && read_functions(r, p, m) &&
	       model_check(m, r->d);
}

static bool read_bytes(struct reader *r, const void *bytes, size_t size, struct onnx_model *m)
{
	ProtobufCMessage *p;
	bool ok;

	if (!size)
		return diag_add(r->d, DIAG_FILE, r->at, "the file is empty");
	if (!r->limit)
		r->limit = DEFAULT_LIMIT(size);
	if (!wire_scan(bytes, size, WIRE_MODEL, r->limit, &r->wire, r->at, r->d))
		return false;
	r->used += r->wire.used;
	p = reader_unpack(r, &onnx__model_proto__descriptor, r->wire.skeleton,
			  r->wire.skeleton_size);
	ok = p && read_model(r, (Onnx__ModelProto *)p, m);
	wire_free(&r->wire);
	return ok;
}

static struct reader reader_for(const char *path, const struct model_options *options,
				struct arena *a, struct onnx_model *m, struct diag *d)
{
	uint64_t limit = options ? options->memory_limit : 0;

	m->path = arena_text(a, path);
	return (struct reader){.arena = a,
			       .d = d,
			       .at = {.file = m->path},
			       .limit = limit,
			       .mappings = &m->mappings};
}

bool model_read_bytes(const void *bytes, size_t size, const char *path,
		      const struct model_options *options, struct arena *a, struct onnx_model **out,
		      struct diag *d)
{
	struct onnx_model *m = ARENA_NEW(a, struct onnx_model);
	struct reader r = reader_for(path, options, a, m, d);

	*out = m;
	return read_bytes(&r, bytes, size, m);
}

bool model_read(const char *path, const struct model_options *options, struct arena *a,
		struct onnx_model **out, struct diag *d)
{
	struct onnx_model *m = ARENA_NEW(a, struct onnx_model);
	struct reader r = reader_for(path, options, a, m, d);
	const struct onnx_mapping *file = file_map(path, a, &m->mappings, d);

	*out = m;
	r.folder_of = m->path;
	r.mapped = true;
	if (file && read_bytes(&r, file->bytes, (size_t)file->size, m))
		return true;
	mappings_free(&m->mappings);
	return false;
}

void model_close(struct onnx_model *m)
{
	if (m)
		mappings_free(&m->mappings);
}

int64_t model_opset(const struct onnx_model *m, const char *domain)
{
	domain = read_domain(domain);
	for (int i = 0; i < m->opset_count; i++)
		if (!strcmp(m->opsets[i].domain, domain))
			return m->opsets[i].version;
	return 0;
}

const struct onnx_attr *node_attr(const struct onnx_node *n, const char *name)
{
	for (int i = 0; i < n->attr_count; i++)
		if (!strcmp(n->attrs[i].name, name))
			return &n->attrs[i];
	return NULL;
}
