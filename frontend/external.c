/* external.c: mapping files. Locations of external data come from an untrusted model, so each of
 * their parts is opened beneath the last without following links: nothing can be swapped between a
 * check and the use. Follows the ONNX external data specification (location, offset, length). */
#define _GNU_SOURCE
#include "frontend/external.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* Maps `fd` and closes it. */
static const struct onnx_mapping *map_fd(int fd, const char *what, const char *location,
					 struct arena *a, struct onnx_mapping **list, struct loc at,
					 struct diag *d)
{
	struct onnx_mapping *m = NULL;
	void *bytes = NULL;
	struct stat st;

	if (fstat(fd, &st)) {
		diag_add(d, DIAG_FILE, at, "cannot read %s: %s", what, strerror(errno));
		goto done;
	}
	if (!S_ISREG(st.st_mode)) {
		diag_add(d, DIAG_FILE, at, "%s is not a regular file", what);
		goto done;
	}
	if (st.st_size > 0)
		bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED) {
		diag_add(d, DIAG_FILE, at, "cannot map %s: %s", what, strerror(errno));
		goto done;
	}
	m = ARENA_NEW(a, struct onnx_mapping);
	*m = (struct onnx_mapping){*list, location ? arena_text(a, location) : NULL, bytes,
				   (uint64_t)st.st_size};
	*list = m;
done:
	close(fd);
	return m;
}

const struct onnx_mapping *file_map(const char *path, struct arena *a, struct onnx_mapping **list,
				    struct diag *d)
{
	struct loc at = {.file = path};
	int fd = open(path, OPEN_FLAGS);

	if (fd < 0) {
		diag_add(d, DIAG_FILE, at, "cannot open: %s", strerror(errno));
		return NULL;
	}
	return map_fd(fd, "it", NULL, a, list, at, d);
}

/* Opens the folder that holds the model. The user named the model, so links in its path are fine;
 * if the model itself is a link, its folder is the one the link lies in. */
static int open_folder(const char *model_path, struct arena *a)
{
	const char *slash = strrchr(model_path, '/');
	char *folder;

	if (!slash)
		return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	folder = arena_copy(a, model_path, (size_t)(slash - model_path) + 2);
	folder[slash - model_path + 1] = 0;
	return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool location_fits(const char *location, struct loc at, struct diag *d)
{
	size_t length;

	if (!*location)
		return diag_add(d, DIAG_FILE, at, "external data without a location");
	if (*location == '/')
		return diag_add(d, DIAG_FILE, at,
				"external data at the absolute path \"%s\"; it must lie in the "
				"model's folder",
				location);
	for (const char *p = location; *p; p += length + (p[length] == '/')) {
		length = strcspn(p, "/");
		if (length == 2 && p[0] == '.' && p[1] == '.')
			return diag_add(
				d, DIAG_FILE, at,
				"external data at \"%s\", which leads out of the model's folder",
				location);
	}
	return true;
}

/* Opens `location` beneath `fd`, which is closed; -1 with errno set. */
static int open_beneath(int fd, char *location)
{
	char *part = location;

	while (fd >= 0) {
		char *slash = strchr(part, '/');
		int next, error;

		if (slash)
			*slash = 0;
		next = *part ? openat(fd, part, OPEN_FLAGS | O_NOFOLLOW | (slash ? O_DIRECTORY : 0))
			     : openat(fd, ".", OPEN_FLAGS | O_DIRECTORY);
		error = errno;
		close(fd);
		errno = error;
		fd = next;
		if (!slash)
			break;
		part = slash + 1;
	}
	return fd;
}

const struct onnx_mapping *external_map(const char *model_path, const char *location,
					struct arena *a, struct onnx_mapping **list, struct loc at,
					struct diag *d)
{
	const char *what;
	int fd;

	for (const struct onnx_mapping *m = *list; m; m = m->next)
		if (m->location && !strcmp(m->location, location))
			return m;
	if (!location_fits(location, at, d))
		return NULL;
	fd = open_beneath(open_folder(model_path, a), arena_text(a, location));
	if (fd < 0) {
		/* O_NOFOLLOW answers ELOOP for a link at the end, O_DIRECTORY ENOTDIR for one before. */
		const char *reason = errno == ELOOP ? "it is a symbolic link" : strerror(errno);

		diag_add(d, DIAG_FILE, at, "cannot open external data \"%s\": %s%s", location,
			 reason, errno == ENOTDIR ? " (symbolic links are not followed)" : "");
		return NULL;
	}
	what = arena_printf(a, "external data \"%s\"", location);
	return map_fd(fd, what, location, a, list, at, d);
}

void mappings_free(struct onnx_mapping **list)
{
	for (struct onnx_mapping *m = *list; m; m = m->next)
		if (m->bytes)
			munmap((void *)(uintptr_t)m->bytes, (size_t)m->size);
	*list = NULL;
}
