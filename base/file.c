#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

const char *dp_file_display_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

static dp_status read_all(int descriptor, const char *name, size_t max_bytes, dp_buffer *out, dp_error *error)
{
    size_t total = 0;
    for (;;) {
        size_t room = out->max_bytes - out->length;
        if (!dp_buffer_reserve(out, room < 16384 ? room : 16384)) return dp_error_no_memory(error, name);
        if (out->capacity == out->length) {
            return dp_error_set(error, DP_STATUS_LIMIT, "%s is larger than %zu bytes", name, out->max_bytes);
        }
        ssize_t got = read(descriptor, out->data + out->length, out->capacity - out->length);
        if (got == 0) return DP_STATUS_OK;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return dp_error_set(error, DP_STATUS_IO, "unable to read '%s': %s", name, strerror(errno));
        out->length += (size_t)got;
        total += (size_t)got;
        if (total > max_bytes) {
            return dp_error_set(error, DP_STATUS_LIMIT, "%s is larger than %zu bytes", name, max_bytes);
        }
    }
}

dp_status dp_file_read(const char *path, size_t max_bytes, dp_buffer *out, dp_error *error)
{
    const char *name = dp_file_display_name(path);
    bool is_standard_input = strcmp(path, "-") == 0;
    int descriptor = is_standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return dp_error_set(error, DP_STATUS_IO, "unable to read '%s': %s", name, strerror(errno));
    }
    dp_status status = read_all(descriptor, name, max_bytes, out, error);
    if (!is_standard_input) close(descriptor);
    return status;
}
