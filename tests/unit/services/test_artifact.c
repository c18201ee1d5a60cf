/* Artifacts: what is written is read back and verified, and every fault of a manifest is named by its member.
 */
#include "tests/unit/support/cmocka_includes.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/sha256.h"
#include "services/artifact.h"
#include "services/source_compare.h"

#define EVENT                                                                                                \
    "{\"event_id\":\"0000000000000000000000000000000000000000000000000000000000000001\","                    \
    "\"operation\":\"insert\",\"source_schema\":\"s\",\"source_table\":\"t\",\"position\":\"0/10\","         \
    "\"transaction_id\":\"7\",\"sequence\":0,\"ordinal\":0,\"data\":{\"id\":1},\"before\":null,"             \
    "\"unchanged\":[]}"
#define COMMIT                                                                                               \
    "{\"type\":\"commit\",\"transaction_id\":\"7\",\"end_position\":\"0/20\",\"committed_at\":null,"         \
    "\"count\":1}"

static char directory[] = "/tmp/dpone-test-artifact-XXXXXX";
static char path[128];
static char manifest_path[160];

static dp_position position_of(const char *text)
{
    dp_position position = {0};
    assert_true(dp_position_parse(DP_BACKEND_POSTGRES_LOGICAL, dp_slice_of_text(text), &position));
    return position;
}

static void write_artifact(void)
{
    dp_artifact_writer *writer = NULL;
    dp_artifact_totals totals;
    dp_error error = DP_ERROR_INIT;
    const dp_artifact_write_options options = {
        .path = path,
        .stream = {DP_SLICE_LITERAL("orders"), DP_SLICE_LITERAL("7/shop"), DP_BACKEND_POSTGRES_LOGICAL,
                   DP_IDENTITY_V1, DP_SLICE_LITERAL("{\"unique_keys\":[\"s.t=id\"]}")},
        .has_from = true,
        .from = position_of("0/8"),
    };
    assert_int_equal(dp_artifact_writer_open(&options, &writer, &error), DP_STATUS_OK);
    assert_int_equal(dp_artifact_writer_put(writer, DP_SLICE_LITERAL(EVENT), &error), DP_STATUS_OK);
    assert_int_equal(dp_artifact_writer_put(writer, DP_SLICE_LITERAL(COMMIT), &error), DP_STATUS_OK);
    assert_int_equal(dp_artifact_writer_finish(writer, position_of("0/20"), &totals, &error), DP_STATUS_OK);
    assert_int_equal(totals.event_count, 1);
    dp_artifact_writer_free(writer);
}

static int make(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL) return -1;
    snprintf(path, sizeof path, "%s/artifact", directory);
    snprintf(manifest_path, sizeof manifest_path, "%s/manifest.json", path);
    write_artifact();
    return 0;
}

static int release(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static void what_is_written_is_read_back_and_verified(void **state)
{
    (void)state;
    dp_artifact *artifact = NULL;
    dp_artifact_verification result;
    dp_artifact_line line;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_artifact_open(path, &artifact, &error), DP_STATUS_OK);
    const dp_artifact_manifest *manifest = dp_artifact_manifest_of(artifact);
    assert_true(dp_slice_equal_text(manifest->stream.pipeline, "orders"));
    assert_int_equal(manifest->totals.event_count, 1);
    assert_int_equal(dp_artifact_verify(artifact, &result, &error), DP_STATUS_OK);
    assert_int_equal(result.finding_count, 0);
    assert_int_equal(dp_artifact_next(artifact, &line, &error), DP_STATUS_OK);
    assert_true(dp_slice_equal_text(line.text, EVENT));
    assert_int_equal(dp_artifact_next(artifact, &line, &error), DP_STATUS_OK);
    assert_true(dp_slice_equal_text(line.text, COMMIT));
    assert_int_equal(dp_artifact_next(artifact, &line, &error), DP_STATUS_OK);
    assert_null(line.text.data);
    dp_artifact_close(artifact);
}

static void the_unique_keys_of_the_stream_are_found_again(void **state)
{
    (void)state;
    dp_artifact *artifact = NULL;
    dp_error error = DP_ERROR_INIT;
    size_t count = 0;
    dp_unique_keys *keys = dp_unique_keys_new();
    assert_int_equal(dp_artifact_open(path, &artifact, &error), DP_STATUS_OK);
    assert_int_equal(dp_source_compare_keys(dp_artifact_manifest_of(artifact), keys, &error), DP_STATUS_OK);
    dp_unique_keys_find(keys, DP_SLICE_LITERAL("s"), DP_SLICE_LITERAL("t"), &count);
    assert_int_equal(count, 1);
    dp_unique_keys_free(keys);
    dp_artifact_close(artifact);
}

/* --- manifests that somebody else wrote --- */

static void write_file(const char *content, size_t length)
{
    FILE *file = fopen(manifest_path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, length, file), length);
    fclose(file);
}

/* As the writer ends it: the digest of all bytes before it is the last member. */
static void write_sealed(json_t *document)
{
    uint8_t digest[DP_SHA256_BYTES];
    char hex[DP_SHA256_HEX_LENGTH + 1] = "";
    json_object_del(document, "manifest_sha256");
    char *text = json_dumps(document, JSON_INDENT(2));
    assert_non_null(text);
    size_t length = strlen(text) - 2; /* the newline and the brace */
    dp_sha256 *hash = dp_sha256_new();
    assert_true(dp_sha256_digest(hash, dp_slice_make(text, length), digest));
    dp_sha256_free(hash);
    dp_hex_encode(digest, sizeof digest, hex);
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    dp_buffer_append(&out, text, length);
    dp_buffer_append_format(&out, ",\n  \"manifest_sha256\": \"%s\"\n}\n", hex);
    write_file(out.data, out.length);
    dp_buffer_release(&out);
    free(text);
}

static dp_status open_status(dp_error *error)
{
    dp_artifact *artifact = NULL;
    dp_status status = dp_artifact_open(path, &artifact, error);
    dp_artifact_close(artifact);
    return status;
}

typedef enum place { IN_ROOT, IN_WINDOW, IN_FILE } place;

static json_t *object_at(json_t *document, place where)
{
    if (where == IN_WINDOW) return json_object_get(document, "window");
    return where == IN_FILE ? json_array_get(json_object_get(document, "files"), 0) : document;
}

static void each_fault_of_a_sealed_manifest_is_named_by_its_member(void **state)
{
    (void)state;
    static const struct {
        place where;
        const char *member;
        const char *value; /* JSON; NULL: the member is not there */
    } rows[] = {
        {IN_ROOT, "schema", NULL},
        {IN_ROOT, "schema", "\"dpone.cdc.artifact.v2\""},
        {IN_ROOT, "pipeline", "7"},
        {IN_ROOT, "source", NULL},
        {IN_ROOT, "backend", "\"x\""},
        {IN_ROOT, "identity", "\"x\""},
        {IN_ROOT, "lines", "-1"},
        {IN_ROOT, "transactions", "1.5"},
        {IN_ROOT, "events", "\"1\""},
        {IN_ROOT, "first_position", "\"x\""},
        {IN_ROOT, "last_position", "7"},
        {IN_ROOT, "event_ids_sha256", "null"},
        {IN_ROOT, "created_at", NULL},
        {IN_ROOT, "files", "{}"},
        {IN_WINDOW, "from", "\"0/\""},
        {IN_WINDOW, "to", "null"},
        {IN_FILE, "name", "\"../x\""},
        {IN_FILE, "name", "\"a/b\""},
        {IN_FILE, "name", "\"\""},
        {IN_FILE, "index", "\"/etc/passwd\""},
        {IN_FILE, "compression", "\"gzip\""},
        {IN_FILE, "bytes", "-5"},
        {IN_FILE, "content_bytes", NULL},
        {IN_FILE, "sha256", "1"},
        {IN_FILE, "index_sha256", NULL},
        {IN_FILE, "lines", "true"},
    };
    json_t *original = json_load_file(manifest_path, 0, NULL);
    assert_non_null(original);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        json_t *changed = json_deep_copy(original);
        json_t *object = object_at(changed, rows[i].where);
        if (rows[i].value == NULL) {
            json_object_del(object, rows[i].member);
        } else {
            json_t *value = json_loads(rows[i].value, JSON_DECODE_ANY, NULL);
            assert_non_null(value);
            json_object_set_new(object, rows[i].member, value);
        }
        write_sealed(changed);
        if (open_status(&error) != DP_STATUS_DATA || strstr(error.message, rows[i].member) == NULL)
            fail_msg("%s = %s: %s", rows[i].member, rows[i].value, error.message);
        json_decref(changed);
    }
    dp_error error = DP_ERROR_INIT;
    write_sealed(original);
    assert_int_equal(open_status(&error), DP_STATUS_OK);
    json_decref(original);
}

static void every_cut_and_every_flipped_byte_of_a_manifest_is_refused(void **state)
{
    (void)state;
    dp_buffer text = DP_BUFFER_INIT(1 << 20);
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_file_read(manifest_path, 1 << 20, &text, &error), DP_STATUS_OK);
    for (size_t i = 0; i < text.length; i++) {
        dp_error fault = DP_ERROR_INIT;
        write_file(text.data, i);
        assert_int_equal(open_status(&fault), DP_STATUS_DATA);
        text.data[i] ^= 1;
        write_file(text.data, text.length);
        dp_error_clear(&fault);
        assert_int_equal(open_status(&fault), DP_STATUS_DATA);
        text.data[i] ^= 1;
    }
    write_file(text.data, text.length);
    assert_int_equal(open_status(&error), DP_STATUS_OK);
    dp_buffer_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back_and_verified),
        cmocka_unit_test(the_unique_keys_of_the_stream_are_found_again),
        cmocka_unit_test(each_fault_of_a_sealed_manifest_is_named_by_its_member),
        cmocka_unit_test(every_cut_and_every_flipped_byte_of_a_manifest_is_refused),
    };
    return cmocka_run_group_tests(tests, make, release);
}
