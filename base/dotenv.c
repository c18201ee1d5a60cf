#include "base/dotenv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"

enum { MAX_FILE_BYTES = 1 << 20 };

/* Some editors put it before a text. */
static const dp_slice byte_order_mark = {"\xEF\xBB\xBF", 3};

struct dp_dotenv {
    dp_buffer text; /* "NAME\0value\0" pairs */
};

static bool is_name(dp_slice name)
{
    if (name.length == 0 || (name.data[0] >= '0' && name.data[0] <= '9')) return false;
    for (size_t i = 0; i < name.length; i++) {
        char c = name.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && !(c >= '0' && c <= '9')) return false;
    }
    return true;
}

/* What may follow a closing quote: nothing but white space and a comment. */
static bool is_rest_empty(dp_slice rest)
{
    rest = dp_slice_trim(rest);
    return rest.length == 0 || rest.data[0] == '#';
}

/* What a backslash and `letter` stand for; false when the backslash stands for itself, as in a shell. */
static bool unescape(char letter, char *out)
{
    static const char letters[] = "nt\"\\$";
    static const char meanings[] = "\n\t\"\\$";
    const char *found = letter == '\0' ? NULL : strchr(letters, letter);
    if (found == NULL) return false;
    *out = meanings[found - letters];
    return true;
}

static const char *append_quoted(dp_buffer *out, dp_slice value)
{
    char quote = value.data[0];
    for (size_t i = 1; i < value.length; i++) {
        char c = value.data[i];
        if (c == quote) {
            dp_slice rest = {value.data + i + 1, value.length - i - 1};
            return is_rest_empty(rest) ? NULL : "text after the closing quote";
        }
        if (c == '\\' && quote == '"' && i + 1 < value.length) {
            if (unescape(value.data[i + 1], &c)) i++;
        }
        dp_buffer_append_byte(out, c);
    }
    return "a quote that is not closed";
}

static const char *append_value(dp_buffer *out, dp_slice value)
{
    value = dp_slice_trim(value);
    if (value.length > 0 && (value.data[0] == '"' || value.data[0] == '\'')) return append_quoted(out, value);
    for (size_t i = 1; i < value.length; i++) {
        if (value.data[i] == '#' && (value.data[i - 1] == ' ' || value.data[i - 1] == '\t')) {
            value.length = i;
            break;
        }
    }
    if (value.length > 0 && value.data[0] == '#') value.length = 0;
    dp_buffer_append_slice(out, dp_slice_trim(value));
    return NULL;
}

/* Appends the pair of one line; returns what is wrong, or NULL. */
static const char *parse_line(dp_dotenv *dotenv, dp_slice line)
{
    line = dp_slice_trim(line);
    if (line.length == 0 || line.data[0] == '#') return NULL;
    if (dp_slice_starts_with(line, DP_SLICE_LITERAL("export ")) ||
        dp_slice_starts_with(line, DP_SLICE_LITERAL("export\t")))
        line = (dp_slice){line.data + 7, line.length - 7};
    dp_slice name;
    dp_slice value;
    if (memchr(line.data, '\0', line.length) != NULL) return "a NUL byte";
    if (!dp_slice_split(line, '=', &name, &value)) return "no '='";
    name = dp_slice_trim(name);
    if (!is_name(name)) return "a name that is not letters, digits and '_'";
    dp_buffer_append_slice(&dotenv->text, name);
    dp_buffer_append_byte(&dotenv->text, '\0');
    const char *fault = append_value(&dotenv->text, value);
    dp_buffer_append_byte(&dotenv->text, '\0');
    return fault;
}

dp_status dp_dotenv_parse(dp_slice text, const char *source_name, dp_dotenv **dotenv, dp_error *error)
{
    dp_dotenv *result = calloc(1, sizeof *result);
    if (result == NULL) return dp_error_no_memory(error, source_name);
    result->text = (dp_buffer)DP_BUFFER_INIT(2 * MAX_FILE_BYTES);
    if (dp_slice_starts_with(text, byte_order_mark))
        text = (dp_slice){text.data + byte_order_mark.length, text.length - byte_order_mark.length};
    size_t line_number = 0;
    bool more = text.length > 0;
    while (more) {
        dp_slice line;
        more = dp_slice_split(text, '\n', &line, &text);
        line_number++;
        const char *fault = parse_line(result, line);
        if (fault != NULL) {
            dp_dotenv_free(result);
            return dp_error_set(error, DP_STATUS_USAGE, "%s, line %zu: %s; expected NAME=value", source_name,
                                line_number, fault);
        }
    }
    if (result->text.failed) {
        dp_dotenv_free(result);
        return dp_error_no_memory(error, source_name);
    }
    *dotenv = result;
    return DP_STATUS_OK;
}

/* Opens the file, but no pipe: one that nobody writes to would hold a server's start, reload or stop up. */
static FILE *open_file(const char *path)
{
    struct stat info;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) return NULL;
    bool is_pipe = fstat(descriptor, &info) == 0 && S_ISFIFO(info.st_mode);
    FILE *file = is_pipe ? NULL : fdopen(descriptor, "r");
    if (is_pipe) errno = ESPIPE;
    if (file == NULL) close(descriptor);
    return file;
}

dp_status dp_dotenv_load(const char *path, dp_dotenv **dotenv, dp_error *error)
{
    FILE *file = open_file(path);
    if (file == NULL) {
        if (errno == ENOENT) return dp_dotenv_parse((dp_slice){"", 0}, path, dotenv, error);
        const char *cause = errno == ESPIPE ? "it is a pipe, not a file" : strerror(errno);
        return dp_error_set(error, DP_STATUS_USAGE, "unable to read '%s': %s", path, cause);
    }
    char *text = malloc(MAX_FILE_BYTES + 1);
    size_t length = text == NULL ? 0 : fread(text, 1, MAX_FILE_BYTES + 1, file);
    bool failed = ferror(file) != 0;
    int cause = errno;
    fclose(file);
    dp_status status;
    if (text == NULL) {
        status = dp_error_no_memory(error, path);
    } else if (failed) {
        status = dp_error_set(error, DP_STATUS_USAGE, "unable to read '%s': %s", path, strerror(cause));
    } else if (length > MAX_FILE_BYTES) {
        status = dp_error_set(error, DP_STATUS_USAGE, "'%s' is larger than 1 MiB; expected NAME=value lines",
                              path);
    } else {
        status = dp_dotenv_parse((dp_slice){text, length}, path, dotenv, error);
    }
    free(text);
    return status;
}

void dp_dotenv_free(dp_dotenv *dotenv)
{
    if (dotenv == NULL) return;
    dp_buffer_release(&dotenv->text);
    free(dotenv);
}

const char *dp_dotenv_get(const dp_dotenv *dotenv, const char *name)
{
    const char *found = NULL;
    if (dotenv->text.length == 0) return NULL;
    const char *at = dotenv->text.data;
    const char *end = at + dotenv->text.length;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0) found = value;
        at = value + strlen(value) + 1;
    }
    return found;
}

const char *dp_dotenv_next_name(const dp_dotenv *dotenv, const char *name)
{
    if (dotenv->text.length == 0) return NULL;
    const char *at = dotenv->text.data;
    if (name != NULL) {
        const char *value = name + strlen(name) + 1;
        at = value + strlen(value) + 1;
    }
    return at < dotenv->text.data + dotenv->text.length ? at : NULL;
}
