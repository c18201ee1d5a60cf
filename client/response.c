#include "client/response.h"

#include <stdlib.h>

static dp_client_response_memory *memory_new(void)
{
    dp_client_response_memory *memory = calloc(1, sizeof *memory);
    if (memory != NULL) memory->head.max_bytes = DP_RESPONSE_MAX_HEAD_BYTES;
    return memory;
}

bool dp_response_prepare(dp_client_response *response, size_t max_body_bytes)
{
    dp_client_response_memory *memory = response->memory == NULL ? memory_new() : response->memory;
    *response = (dp_client_response)DP_CLIENT_RESPONSE_INIT;
    response->memory = memory;
    if (memory == NULL) return false;
    memory->body.max_bytes = max_body_bytes;
    dp_buffer_clear(&memory->head);
    dp_buffer_clear(&memory->body);
    return true;
}

static bool reserve_fields(dp_client_response_memory *memory, size_t count)
{
    if (count <= memory->field_capacity) return true;
    size_t capacity = memory->field_capacity == 0 ? 16 : memory->field_capacity * 2;
    while (capacity < count) {
        capacity *= 2;
    }
    dp_client_field *fields = realloc(memory->fields, capacity * sizeof *fields);
    if (fields == NULL) return false;
    memory->fields = fields;
    memory->field_capacity = capacity;
    return true;
}

bool dp_response_finish(dp_client_response *response)
{
    dp_client_response_memory *memory = response->memory;
    dp_slice rest = dp_buffer_slice(&memory->head);
    size_t count = 0;
    while (rest.length > 0) {
        dp_slice line;
        dp_client_field field;
        if (!dp_slice_split(rest, '\n', &line, &rest)) rest = (dp_slice){NULL, 0};
        if (!dp_slice_split(line, ':', &field.name, &field.value)) continue;
        field.value = dp_slice_trim(field.value);
        if (!reserve_fields(memory, count + 1)) return false;
        memory->fields[count++] = field;
    }
    response->fields = memory->fields;
    response->field_count = count;
    response->body = dp_buffer_slice(&memory->body);
    return true;
}

dp_slice dp_client_response_header(const dp_client_response *response, const char *name)
{
    for (size_t i = 0; i < response->field_count; i++) {
        if (dp_slice_equal_ignoring_case(response->fields[i].name, dp_slice_of_text(name))) {
            return response->fields[i].value;
        }
    }
    return (dp_slice){NULL, 0};
}

void dp_client_response_release(dp_client_response *response)
{
    dp_client_response_memory *memory = response->memory;
    if (memory != NULL) {
        dp_buffer_release(&memory->head);
        dp_buffer_release(&memory->body);
        free(memory->fields);
        free(memory);
    }
    *response = (dp_client_response)DP_CLIENT_RESPONSE_INIT;
}
