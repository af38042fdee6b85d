/* tensor_pb.c: reading and writing a TensorProto file. Follows onnx.proto and onnx-data.proto. */
#define _POSIX_C_SOURCE 200809L
#include "frontend/tensor_pb.h"
#include "frontend/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Copies what lies in the mapped file, which is about to go. */
static bool keep_data(struct reader *r, struct onnx_tensor *t)
{
	void *copy = reader_array(r, t->size, 1);

	if (!copy)
		return false;
	if (t->size)
		t->data = memcpy(copy, t->data, t->size);
	return true;
}

static bool unpack_tensor(struct reader *r, const uint8_t *bytes, size_t size,
			  struct onnx_tensor *out)
{
	ProtobufCMessage *p = reader_unpack(r, &onnx__tensor_proto__descriptor, bytes, size);
	const Onnx__TensorProto *t = (const Onnx__TensorProto *)p;

	if (t && t->segment)
		return diag_add(r->d, DIAG_FILE, r->at,
				"not a TensorProto, perhaps a SequenceProto or an OptionalProto");
	return t && read_tensor(r, t, out) && keep_data(r, out);
}

static bool read_one(struct reader *r, struct onnx_tensor *out)
{
	if (!wire_scan(r->wire.bytes, r->wire.size, WIRE_TENSOR, r->limit, &r->wire, r->at, r->d) ||
	    !unpack_tensor(r, r->wire.skeleton, r->wire.skeleton_size, out))
		return diag_add(r->d, DIAG_NOTE, r->at, "it was read as a TensorProto");
	return true;
}

static struct reader reader_of(const char *path, struct arena *a, struct onnx_mapping **mappings,
			       struct diag *d)
{
	return (struct reader){.arena = a,
			       .d = d,
			       .at = {.file = path},
			       .limit = UINT64_MAX / 2,
			       .mappings = mappings};
}

bool tensor_pb_read(const char *path, struct arena *a, struct onnx_tensor *out, struct diag *d)
{
	struct onnx_mapping *mappings = NULL;
	struct reader r = reader_of(path, a, &mappings, d);
	const struct onnx_mapping *file = file_map(path, a, &mappings, d);
	bool ok = false;

	if (file && !file->size) {
		diag_add(d, DIAG_FILE, r.at, "the file is empty");
	} else if (file) {
		r.wire.bytes = file->bytes;
		r.wire.size = (size_t)file->size;
		ok = read_one(&r, out);
		wire_free(&r.wire);
	}
	mappings_free(&mappings);
	return ok;
}

/* The tensors are the fields 3 of the skeleton, which wire_scan() made: it is well-formed. */
static bool read_list(struct reader *r, const struct onnx_tensor **out, int *count)
{
	const uint8_t *at = r->wire.skeleton, *end = at + r->wire.skeleton_size;
	struct onnx_tensor *list = READER_ARRAY(r, struct onnx_tensor, r->wire.tensors.count);
	uint64_t kind = 1, tag, value;

	*count = 0;
	*out = list;
	while (list && at < end) {
		if (!wire_varint(&at, end, &tag) || !wire_varint(&at, end, &value))
			return false;
		if (tag >> 3 == 2)
			kind = value;
		if (tag >> 3 == 3 && !unpack_tensor(r, at, (size_t)value, &list[(*count)++]))
			return false;
		if ((tag & 7) == 2)
			at += value;
	}
	if (kind != 1)
		return diag_add(r->d, DIAG_UNSUPPORTED, r->at,
				"a sequence of something other than tensors");
	return list;
}

bool sequence_pb_read(const char *path, struct arena *a, const struct onnx_tensor **out, int *count,
		      struct diag *d)
{
	struct onnx_mapping *mappings = NULL;
	struct reader r = reader_of(path, a, &mappings, d);
	const struct onnx_mapping *file = file_map(path, a, &mappings, d);
	static const uint8_t nothing;
	bool ok = false;

	if (file) { /* an empty file is an empty sequence */
		ok = wire_scan(file->size ? file->bytes : &nothing, (size_t)file->size,
			       WIRE_SEQUENCE, r.limit, &r.wire, r.at, d) &&
		     read_list(&r, out, count);
		wire_free(&r.wire);
	}
	mappings_free(&mappings);
	return ok || diag_add(d, DIAG_NOTE, r.at, "it was read as a SequenceProto");
}

static void write_varint(FILE *f, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		fputc((int)(v & 0x7f) | 0x80, f);
	fputc((int)v, f);
}

static void write_bytes(FILE *f, int field, const void *bytes, size_t size)
{
	write_varint(f, (uint64_t)field << 3 | 2);
	write_varint(f, size);
	if (size)
		fwrite(bytes, 1, size, f);
}

static void write_tensor(FILE *f, const struct onnx_tensor *t)
{
	for (int i = 0; i < t->rank; i++) {
		write_varint(f, 1 << 3);
		write_varint(f, (uint64_t)t->dims[i]);
	}
	write_varint(f, 2 << 3);
	write_varint(f, (uint64_t)t->dtype);
	for (int64_t i = 0; t->dtype == ONNX_STRING && i < t->count; i++)
		write_bytes(f, 6, t->strings[i].at, t->strings[i].size);
	if (t->name && *t->name)
		write_bytes(f, 8, t->name, strlen(t->name));
	if (t->dtype != ONNX_STRING)
		write_bytes(f, WIRE_RAW_DATA, t->data, t->size);
}

/* A new file beside `path`; what a dead process with our number left there is replaced. */
static int open_temporary(const char *temporary)
{
	unlink(temporary);
	return open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

bool tensor_pb_write(const char *path, const struct onnx_tensor *t, struct diag *d)
{
	struct arena scratch = {0};
	char *temporary = arena_printf(&scratch, "%s.%d.tmp", path, (int)getpid());
	int fd = open_temporary(temporary), error = errno;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
	bool ok = false;

	if (f) {
		write_tensor(f, t);
		ok = !ferror(f) && !fflush(f);
		error = errno;
		if (fclose(f) && ok) {
			ok = false;
			error = errno;
		}
		if (ok && rename(temporary, path)) {
			ok = false;
			error = errno;
		}
	}
	if (!f && fd >= 0)
		close(fd);
	if (!ok && fd >= 0)
		unlink(temporary);
	arena_free(&scratch);
	return ok || diag_add(d, DIAG_FILE, (struct loc){.file = path}, "cannot write: %s",
			      strerror(error));
}
