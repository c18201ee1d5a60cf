/* Whether two readings of one line say the same, down to where its parts lie. */
#ifndef DPONE_TESTS_SAME_EVENT_H
#define DPONE_TESTS_SAME_EVENT_H

#include "cdc/event_scanner.h"

static inline bool same_slice(dp_slice left, dp_slice right)
{
    return left.data == right.data && left.length == right.length;
}

/* The names are compared as text: one reading may take them from an earlier line. */
static inline bool same_event(const dp_event *left, const dp_event *right)
{
    return memcmp(&left->id, &right->id, sizeof left->id) == 0 && left->has_id == right->has_id &&
           left->has_sequence == right->has_sequence && left->operation == right->operation &&
           left->sequence == right->sequence && left->ordinal == right->ordinal &&
           left->line_number == right->line_number &&
           dp_slice_equal(left->source_schema, right->source_schema) &&
           dp_slice_equal(left->source_table, right->source_table) &&
           same_slice(left->position, right->position) &&
           same_slice(left->transaction_id, right->transaction_id) && same_slice(left->data, right->data) &&
           same_slice(left->before, right->before) && same_slice(left->unchanged, right->unchanged) &&
           same_slice(left->metadata, right->metadata);
}

#endif
