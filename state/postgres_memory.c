#include "state/postgres_memory.h"

#include <stdlib.h>

/* --- remembering --- */

static dp_slice take_text(const char **at, dp_slice text)
{
    if (text.data == NULL) return text;
    dp_slice taken = {*at, text.length};
    *at += text.length;
    return taken;
}

void dp_pg_memory_save(dp_pg_session *session, const dp_stream *stream, int64_t partitioned_below)
{
    dp_pg_memory *memory = &session->memory;
    dp_buffer *texts = &memory->texts;
    memory->valid = false;
    memory->saved = false;
    if (!session->in_transaction) return;
    dp_buffer_clear(texts);
    dp_buffer_append_slice(texts, stream->key.pipeline);
    dp_buffer_append_slice(texts, stream->key.source);
    dp_buffer_append_slice(texts, stream->staged_transaction_id);
    dp_buffer_append_slice(texts, stream->settings);
    if (texts->failed) { /* too long to be worth it */
        dp_buffer_release(texts);
        return;
    }
    const char *at = texts->data;
    memory->stream = *stream;
    memory->stream.key.pipeline = take_text(&at, stream->key.pipeline);
    memory->stream.key.source = take_text(&at, stream->key.source);
    memory->stream.staged_transaction_id = take_text(&at, stream->staged_transaction_id);
    memory->stream.settings = take_text(&at, stream->settings);
    memory->partitioned_below = partitioned_below;
    memcpy(memory->marker, session->marker, sizeof memory->marker);
    memory->saved = true;
}

void dp_pg_memory_committed(dp_pg_session *session)
{
    dp_pg_memory *memory = &session->memory;
    if (!memory->saved) return;
    memory->saved = false;
    memory->valid = session->xid[0] != '\0';
    memory->xmin = (uint32_t)strtoull(session->xid, NULL, 10); /* a row has the lower half of the id */
}

void dp_pg_memory_rolled_back(dp_pg_session *session)
{
    session->memory.saved = false;
}

void dp_pg_memory_forget(dp_pg_session *session)
{
    session->memory.valid = false;
    session->memory.proven = false;
}

/* --- presuming --- */

void dp_pg_memory_compare(dp_pg_session *session, int64_t stream_id, dp_slice marker, uint32_t xmin)
{
    dp_pg_memory *memory = &session->memory;
    memory->proven = memory->valid && memory->stream.stream_id == stream_id && memory->xmin == xmin &&
                     dp_slice_equal_text(marker, memory->marker);
}

bool dp_pg_memory_may_presume(const dp_pg_session *session, const dp_stream_key *key)
{
    const dp_pg_memory *memory = &session->memory;
    const dp_stream_key *known = &memory->stream.key;
    return memory->valid && memory->proven && known->backend == key->backend &&
           dp_slice_equal(known->pipeline, key->pipeline) && dp_slice_equal(known->source, key->source);
}

void dp_pg_memory_add_claim(dp_pg_session *session, dp_pg_params *params)
{
    const dp_pg_memory *memory = &session->memory;
    dp_pg_add_i64(params, memory->stream.stream_id);
    dp_pg_add_text(params, dp_slice_of_text(memory->marker));
    dp_pg_add_u32(params, memory->xmin);
}

static bool keep(dp_arena *arena, dp_slice *text)
{
    if (text->data == NULL) return true;
    *text = dp_arena_copy(arena, *text);
    return text->data != NULL;
}

dp_status dp_pg_memory_recall(const dp_pg_session *session, dp_arena *arena, dp_stream *stream,
                              dp_error *error)
{
    dp_stream copy = session->memory.stream;
    if (!keep(arena, &copy.key.pipeline) || !keep(arena, &copy.key.source) ||
        !keep(arena, &copy.staged_transaction_id) || !keep(arena, &copy.settings)) {
        return dp_error_no_memory(error, "a row of the state database");
    }
    *stream = copy;
    return DP_STATUS_OK;
}
