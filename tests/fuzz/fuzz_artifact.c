/* Any bytes as parts of an artifact: its manifest (with a seal that fits, so that what is behind the seal is
 * reached), a file of lines and its index. Opening, verifying and reading end in order whatever they find,
 * and lines that verify are lines that can be read. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/sha256.h"
#include "services/artifact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64];

static void check(bool holds)
{
    if (!holds) abort();
}

static void write_file(const char *name, dp_slice content)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(file >= 0 && write(file, content.data, content.length) == (ssize_t)content.length);
    close(file);
}

static void hex_of(dp_slice text, char hex[DP_SHA256_HEX_LENGTH + 1])
{
    uint8_t digest[DP_SHA256_BYTES];
    dp_sha256 *hash = dp_sha256_new();
    check(hash != NULL && dp_sha256_digest(hash, text, digest));
    dp_sha256_free(hash);
    dp_hex_encode(digest, sizeof digest, hex);
    hex[DP_SHA256_HEX_LENGTH] = '\0';
}

static void write_sealed(dp_slice content)
{
    char hex[DP_SHA256_HEX_LENGTH + 1];
    dp_buffer out = DP_BUFFER_INIT(1 << 24);
    hex_of(content, hex);
    dp_buffer_append_slice(&out, content);
    dp_buffer_append_format(&out, ",\n  \"manifest_sha256\": \"%s\"\n}\n", hex);
    write_file("manifest.json", dp_buffer_slice(&out));
    dp_buffer_release(&out);
}

/* A manifest that fits the files, but for what only their lines can tell. */
static void write_manifest(bool is_compressed, dp_slice lines, dp_slice index)
{
    char lines_hex[DP_SHA256_HEX_LENGTH + 1];
    char index_hex[DP_SHA256_HEX_LENGTH + 1];
    dp_buffer out = DP_BUFFER_INIT(1 << 16);
    hex_of(lines, lines_hex);
    hex_of(index, index_hex);
    dp_buffer_append_format(
        &out,
        "{\"schema\":\"" DP_ARTIFACT_SCHEMA "\",\"pipeline\":\"p\",\"source\":\"s\",\"backend\":"
        "\"postgres_logical\",\"identity\":\"v1\",\"settings\":null,\"window\":{\"from\":null,\"to\":\"1/"
        "0\"},"
        "\"lines\":2,\"transactions\":1,\"events\":1,\"first_position\":\"0/20\",\"last_position\":\"0/20\","
        "\"event_ids_sha256\":\"%s\",\"created_at\":\"x\",\"files\":[{\"name\":\"lines\",\"index\":\"index\","
        "\"compression\":\"%s\",\"bytes\":%zu,\"content_bytes\":%zu,\"sha256\":\"%s\",\"index_sha256\":\"%"
        "s\","
        "\"lines\":2,\"transactions\":1,\"events\":1,\"first_position\":\"0/20\",\"last_position\":\"0/"
        "20\"}]",
        lines_hex, is_compressed ? "zstd" : "none", lines.length, lines.length, lines_hex, index_hex);
    write_sealed(dp_buffer_slice(&out));
    dp_buffer_release(&out);
}

static void read_all(dp_artifact *artifact)
{
    dp_artifact_line line;
    dp_error error = DP_ERROR_INIT;
    uint64_t lines = 0;
    while (dp_artifact_next(artifact, &line, &error) == DP_STATUS_OK && line.text.data != NULL &&
           lines < 10000) {
        check(memchr(line.text.data, '\n', line.text.length) == NULL);
        lines++;
    }
}

static void open_and_verify(void)
{
    dp_artifact *artifact = NULL;
    dp_artifact_verification result;
    dp_error error = DP_ERROR_INIT;
    if (dp_artifact_open(directory, &artifact, &error) != DP_STATUS_OK) {
        check(error.message[0] != '\0');
        return;
    }
    if (dp_artifact_verify(artifact, &result, &error) == DP_STATUS_OK) {
        check(result.finding_count > 0 ||
              result.totals.line_count == dp_artifact_manifest_of(artifact)->totals.line_count);
    }
    read_all(artifact);
    dp_artifact_close(artifact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (directory[0] == '\0') {
        snprintf(directory, sizeof directory, "/dev/shm/dpone-fuzz-XXXXXX");
        check(mkdtemp(directory) != NULL);
    }
    if (size == 0) return 0;
    dp_slice input = {(const char *)data + 1, size - 1};
    if ((data[0] & 1) == 0) {
        write_sealed(input);
    } else {
        dp_slice lines, index;
        const char *cut = memchr(input.data, 0, input.length);
        size_t length = cut == NULL ? input.length : (size_t)(cut - input.data);
        lines = dp_slice_make(input.data, length);
        index = cut == NULL ? dp_slice_make("", 0) : dp_slice_make(cut + 1, input.length - length - 1);
        write_file("lines", lines);
        write_file("index", index);
        write_manifest((data[0] & 2) != 0, lines, index);
    }
    open_and_verify();
    return 0;
}
