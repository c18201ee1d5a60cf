/* Answers for the parts of services/journal_api.h that are not there yet: 501. The build adds each only while
 * no file of services/ defines it. */
#include "services/journal_api.h"

#define DP_PENDING_REPLY(reply) dp_api_reply_error(reply, 501, "not_implemented", "Not implemented yet")

typedef int dp_journal_pending; /* a translation unit must not be empty */

#ifdef DP_PENDING_dp_journal_api_list_pipelines
void dp_journal_api_list_pipelines(dp_journal_api *api, dp_api_reply *reply)
{
    (void)api;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_show_pipeline
void dp_journal_api_show_pipeline(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply)
{
    (void)api;
    (void)pipeline;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_list_offsets
void dp_journal_api_list_offsets(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply)
{
    (void)api;
    (void)pipeline;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_get_offset
void dp_journal_api_get_offset(dp_journal_api *api, const dp_offset_name *name, dp_api_reply *reply)
{
    (void)api;
    (void)name;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_put_offset
void dp_journal_api_put_offset(dp_journal_api *api, const dp_offset_name *name, dp_slice body,
                               dp_api_reply *reply)
{
    (void)api;
    (void)name;
    (void)body;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_delete_offset
void dp_journal_api_delete_offset(dp_journal_api *api, const dp_offset_name *name, dp_slice body,
                                  dp_api_reply *reply)
{
    (void)api;
    (void)name;
    (void)body;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_put_source
void dp_journal_api_put_source(dp_journal_api *api, dp_slice pipeline, dp_slice body, dp_api_reply *reply)
{
    (void)api;
    (void)pipeline;
    (void)body;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_list_quarantine
void dp_journal_api_list_quarantine(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply)
{
    (void)api;
    (void)pipeline;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_plan_replay
void dp_journal_api_plan_replay(dp_journal_api *api, dp_slice body, dp_api_reply *reply)
{
    (void)api;
    (void)body;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_journal_api_decide_commit
void dp_journal_api_decide_commit(dp_journal_api *api, dp_slice body, dp_api_reply *reply)
{
    (void)api;
    (void)body;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_events_reader_open
void dp_events_reader_open(dp_journal_api *api, dp_slice pipeline, const dp_events_query *query,
                           dp_events_reader **reader, dp_api_reply *reply)
{
    (void)api;
    (void)pipeline;
    (void)query;
    (void)reader;
    DP_PENDING_REPLY(reply);
}
#endif
#ifdef DP_PENDING_dp_events_reader_read
dp_status dp_events_reader_read(dp_events_reader *reader, char *out, size_t capacity, size_t *length,
                                dp_error *error)
{
    (void)reader;
    (void)out;
    (void)capacity;
    *length = 0;
    (void)error;
    return DP_STATUS_OK;
}
#endif
#ifdef DP_PENDING_dp_events_reader_close
void dp_events_reader_close(dp_events_reader *reader)
{
    (void)reader;
}
#endif
