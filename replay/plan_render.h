/* Writes replay plans and gate results as JSON and Markdown. Pure; failures are the buffer's. */
#ifndef DPONE_REPLAY_PLAN_RENDER_H
#define DPONE_REPLAY_PLAN_RENDER_H

#include "base/json_writer.h"
#include "replay/commit_gate.h"
#include "replay/replay_planner.h"

/* {"backend":…,"token":…,"snapshot_complete":…}, or null for a NULL offset. */
void dp_offset_write_json(dp_json_writer *writer, const dp_offset *offset);

/* One indented object and a newline. The order of the keys is part of the contract. */
void dp_replay_plan_write_json(const dp_replay_plan *plan, dp_buffer *out);

/* A page for people: the verdict, the window, blockers and warnings with their meaning, the steps. Texts from
 * outside are shown as code spans, so that no name can change the page. */
void dp_replay_plan_write_markdown(const dp_replay_plan *plan, dp_buffer *out);

/* {"can_commit":…,"next_offset":…,"blockers":[…]}, indented, and a newline. */
void dp_gate_result_write_json(const dp_gate_result *result, dp_buffer *out);

#endif
