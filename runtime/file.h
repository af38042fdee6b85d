/* file.h: whole files in and out. Errors are one line of text in the caller's buffer. */
#ifndef RUNTIME_FILE_H
#define RUNTIME_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Reads a file (also a pipe) to the end; the caller frees *bytes. The memory has 64 bytes of
 * slack. */
bool rt_file_read(const char *path, void **bytes, size_t *size, char *text, size_t text_size);

struct file_part {
	const void *data;
	size_t size;
};

/* Writes the parts to a temporary name beside `path` and renames it: after a failure (a full disk)
 * the old file, or none, is there. What exists and is no regular file is written directly. */
bool rt_file_write(const char *path, const struct file_part *parts, int count, char *text,
		   size_t text_size);

/* Puts a printf-like message into text; returns false. */
bool rt_say(char *text, size_t text_size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
