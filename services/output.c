#include "services/output.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { FLUSH_BYTES = 64 * 1024 };

/* One event can be as large as PostgreSQL's largest message, escaped. */
#define PENDING_MAX_BYTES ((size_t)16 << 30)

dp_output dp_output_standard(void)
{
    return (dp_output){STDOUT_FILENO, "standard output", DP_BUFFER_INIT(PENDING_MAX_BYTES)};
}

dp_status dp_output_append_to(const char *path, dp_output *output, dp_error *error)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return dp_error_set(error, DP_STATUS_IO, "unable to open '%s' for writing: %s", path,
                            strerror(errno));
    *output = (dp_output){descriptor, path, DP_BUFFER_INIT(PENDING_MAX_BYTES)};
    return DP_STATUS_OK;
}

dp_status dp_output_flush(dp_output *output, dp_error *error)
{
    size_t written = 0;
    while (written < output->pending.length) {
        ssize_t count =
            write(output->descriptor, output->pending.data + written, output->pending.length - written);
        if (count > 0) {
            written += (size_t)count;
        } else if (errno != EINTR) {
            return dp_error_set(error, DP_STATUS_IO, "unable to write to %s: %s", output->name,
                                strerror(errno));
        }
    }
    dp_buffer_clear(&output->pending);
    return DP_STATUS_OK;
}

dp_status dp_output_flush_when_large(dp_output *output, dp_error *error)
{
    return output->pending.length < FLUSH_BYTES ? DP_STATUS_OK : dp_output_flush(output, error);
}

dp_status dp_output_sync(dp_output *output, dp_error *error)
{
    dp_status status = dp_output_flush(output, error);
    if (status == DP_STATUS_OK && fsync(output->descriptor) != 0 && errno != EINVAL && errno != EROFS) {
        return dp_error_set(error, DP_STATUS_IO, "unable to make %s durable: %s", output->name,
                            strerror(errno));
    }
    return status;
}

void dp_output_close(dp_output *output)
{
    dp_buffer_release(&output->pending);
    if (output->descriptor > STDERR_FILENO) close(output->descriptor);
    output->descriptor = -1;
}
