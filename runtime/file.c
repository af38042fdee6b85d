/* file.c: read to the end, write and rename. POSIX. */
#define _GNU_SOURCE
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLACK = 64, BLOCK = 1 << 16, LARGEST_WRITE = 1 << 30 };

bool rt_say(char *text, size_t text_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (text && text_size)
		vsnprintf(text, text_size, format, args);
	va_end(args);
	return false;
}

/* Reads to the end into *bytes, which grows; false with errno set. */
static bool read_all(int fd, size_t expected, unsigned char **bytes, size_t *size)
{
	size_t room = expected + 1; /* one more to see the end */

	for (*size = 0;;) {
		ssize_t got;
		unsigned char *more = *bytes;

		if (!more || *size == room) {
			room = more ? room * 2 : room;
			more = realloc(more, room + SLACK);
			if (!more)
				return false;
			*bytes = more;
		}
		got = read(fd, *bytes + *size, room - *size);
		if (got < 0 && errno != EINTR)
			return false;
		if (got == 0)
			return true;
		*size += got > 0 ? (size_t)got : 0;
	}
}

bool rt_file_read(const char *path, void **bytes, size_t *size, char *text, size_t text_size)
{
	unsigned char *data = NULL;
	struct stat s;
	size_t expected = BLOCK;
	bool ok;
	int fd = open(path, O_RDONLY | O_CLOEXEC), error;

	*bytes = NULL;
	*size = 0;
	if (fd < 0)
		return rt_say(text, text_size, "%s: %s", path, strerror(errno));
	if (!fstat(fd, &s) && S_ISREG(s.st_mode) && s.st_size >= 0)
		expected = (size_t)s.st_size;
	ok = read_all(fd, expected, &data, size);
	error = errno;
	close(fd);
	if (!ok) {
		free(data);
		return rt_say(text, text_size, "%s: %s", path, strerror(error));
	}
	*bytes = data;
	return true;
}

static bool write_all(int fd, const struct file_part *parts, int count)
{
	for (int i = 0; i < count; i++) {
		const unsigned char *at = parts[i].data;
		size_t left = parts[i].size;

		while (left) {
			ssize_t put = write(fd, at, left < LARGEST_WRITE ? left : LARGEST_WRITE);

			if (put < 0 && errno == EINTR)
				continue;
			if (put < 0)
				return false;
			at += put;
			left -= (size_t)put;
		}
	}
	return true;
}

bool rt_file_write(const char *path, const struct file_part *parts, int count, char *text,
		   size_t text_size)
{
	size_t length = strlen(path) + 32;
	char *name = malloc(length);
	struct stat s;
	bool direct = !stat(path, &s) && !S_ISREG(s.st_mode), ok;
	int fd, error;

	if (!name)
		return rt_say(text, text_size, "%s: out of memory", path);
	snprintf(name, length, direct ? "%s" : "%s.%ld.tmp", path, (long)getpid());
	fd = direct ? open(path, O_WRONLY | O_CLOEXEC)
		    : open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	ok = fd >= 0 && write_all(fd, parts, count);
	error = errno;
	if (fd >= 0 && close(fd) && ok) {
		ok = false;
		error = errno;
	}
	if (ok && !direct && rename(name, path)) {
		ok = false;
		error = errno;
	}
	if (!ok && fd >= 0 && !direct)
		unlink(name);
	free(name);
	return ok || rt_say(text, text_size, "%s: %s", path, strerror(error));
}
