#include "services/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is read, what is decoded of it and what is written should lie in the processor's cache together. */
enum { PIECE_BYTES = 64 * 1024 };

/* A DSN in the place of a file is not repeated: it may hold a password. */
static dp_status refuse_to_open(const char *name, int cause, dp_error *error)
{
    if (strcasestr(name, "password=") != NULL || strstr(name, "://") != NULL) {
        return dp_error_set(
            error, DP_STATUS_USAGE,
            "the source is no file and no DSN that is known here; expected a path, '-' for "
            "standard input, or postgresql://USER@HOST/DATABASE where a database can be read");
    }
    return dp_error_set(error, DP_STATUS_IO, "unable to open '%s': %s", name, strerror(cause));
}

dp_status dp_input_open(const char *path, dp_input *input, dp_error *error)
{
    dp_input result = {.descriptor = STDIN_FILENO, .name = path};
    if (strncmp(path, "file:", 5) == 0) result.name = path += 5;
    result.is_standard_input = strcmp(path, "-") == 0;
    if (result.is_standard_input) {
        result.name = "standard input";
    } else {
        result.descriptor = open(path, O_RDONLY | O_CLOEXEC);
    }
    struct stat properties;
    if (result.descriptor < 0 || fstat(result.descriptor, &properties) != 0) {
        return refuse_to_open(result.name, errno, error);
    }
    if (S_ISDIR(properties.st_mode)) {
        if (!result.is_standard_input) close(result.descriptor);
        return dp_error_set(error, DP_STATUS_USAGE, "'%s' is a directory; expected a file", result.name);
    }
    if (S_ISREG(properties.st_mode)) result.size_bytes = (uint64_t)properties.st_size;
    result.buffer = malloc(PIECE_BYTES);
    if (result.buffer == NULL) {
        if (!result.is_standard_input) close(result.descriptor);
        return dp_error_no_memory(error, result.name);
    }
    *input = result;
    return DP_STATUS_OK;
}

void dp_input_close(dp_input *input)
{
    free(input->buffer);
    if (!input->is_standard_input && input->buffer != NULL) close(input->descriptor);
    input->buffer = NULL;
}

dp_status dp_input_read(dp_input *input, dp_slice *piece, dp_error *error)
{
    for (;;) {
        ssize_t got = read(input->descriptor, input->buffer, PIECE_BYTES);
        if (got >= 0) {
            input->read_bytes += (uint64_t)got;
            *piece = (dp_slice){input->buffer, (size_t)got};
            return DP_STATUS_OK;
        }
        if (errno != EINTR) {
            return dp_error_set(error, DP_STATUS_IO, "unable to read '%s' at byte %llu: %s", input->name,
                                (unsigned long long)input->read_bytes, strerror(errno));
        }
    }
}
