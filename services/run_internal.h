/* What the files of the pipeline (services/cdc_run.h) share: the state of one run, and what each file does
 * with it. One thread; nothing here is for others.
 *
 * Below one another, each using only those above: run_notes.c tells whoever watches, run_waiting.c waits for
 * a sink that is down, run_offset.c judges receipts and saves the offset, run_delivery.c takes batches to
 * their end, run_batches.c makes them of records, cdc_run.c is the loop. What can be decided without the run
 * stands in run_decisions.h.
 */
#ifndef DPONE_SERVICES_RUN_INTERNAL_H
#define DPONE_SERVICES_RUN_INTERNAL_H

#include "services/batch_answer.h"
#include "services/cdc_run.h"

enum {
    RUN_TICK_MS = 500,                   /* how often a waiting pipeline looks after its source */
    RUN_HEADER_AND_TRAILER_BYTES = 16384 /* names of pipeline and source, escaped */
};

typedef enum run_flight_state {
    FLIGHT_SENT,
    FLIGHT_ANSWERED, /* the answer is kept until everything before it is done */
    FLIGHT_UNSENT    /* failed because of, or beside, one before it: sent again after that one */
} run_flight_state;

/* A batch that was handed to the sink, in the lane of its own number. */
typedef struct run_flight {
    run_flight_state state;
    /* Sent behind one that had no receipt yet: attempted once, and perhaps too early. */
    bool is_follower;
    dp_batch_body body;
    dp_batch_offsets offsets;
    uint64_t transaction_count;
    bool has_duplicates;
    dp_status answer_status;
    dp_batch_answer answer;
    dp_error answer_error;
} run_flight;

typedef struct cdc_run {
    const dp_cdc_run_options *options;
    const dp_change_source *source;
    const dp_batch_sink *sink;
    dp_cdc_run_summary *summary;
    dp_decoder *decoder; /* made for the first record, which shows its plugin */
    dp_sha256 *hash;
    dp_event_writer *poison_writer;
    int64_t stop_seen_at_us; /* 0: not told to stop */

    /* The batch that is being built. */
    dp_batch_limits limits; /* the options', or less where the sink takes less */
    dp_batch_writer *building;
    int64_t building_since_us; /* when the first line was put; 0: empty */
    bool has_end;              /* some transaction is complete in `building` */
    dp_lsn last_end;           /* of the last complete transaction in `building`, or an idle position */
    uint64_t building_transaction_count;
    bool building_continues; /* it begins inside a transaction whose first part was sent before */
    bool has_open_lines;     /* lines of the open transaction were put, here or in a batch sent before */

    /* The open transaction. */
    dp_batch_mark transaction_start;
    bool transaction_is_passed; /* its changes were left out, as its BEGIN told */
    bool transaction_is_whole;  /* all of its lines are in `building` */
    uint64_t transaction_poison_count;
    dp_lsn sent_end; /* the last next_offset handed to a batch; ends only ever grow within a run */
    const dp_poison_record *poison; /* on its way into quarantine */
    bool is_new_poison;             /* its answer */

    /* Batches in flight. */
    run_flight flights[DP_BATCH_LANES]; /* a ring: flight_count of them from first_flight, oldest first */
    unsigned first_flight;
    unsigned flight_count;
    bool keeps_order;      /* the sink has said that it does */
    bool sink_failed;      /* a delivery ended for good without a receipt that passed */
    size_t sink_max_bytes; /* what it takes as one batch, as far as is known; 0: it has not said */
    dp_batch_tally tally;

    /* Offsets. */
    bool has_stored; /* what the store held at the start, and later what was saved */
    dp_lsn stored;
    bool has_passed; /* passed the gate, perhaps not saved yet */
    dp_lsn passed;
    int64_t saved_at_us;
    bool has_high_watermark;
    dp_lsn high_watermark;

    /* For whoever watches. */
    dp_cdc_run_state state;
    int64_t reported_at_us;
    int64_t published_at_us;
    uint64_t seen_row_count; /* at the last look */
    uint64_t open_first_row; /* at the look before the open transaction */
    dp_lsn open_after;       /* the end before the open transaction */
} cdc_run;

/* --- run_notes.c --- */

bool run_is_inside_transaction(const cdc_run *run);
void run_publish(cdc_run *run);

/* Publishes and reports when it is time to, and always when there is trouble (NULL: none). */
void run_report(cdc_run *run, const dp_error *trouble);

void run_note_sink_asked(cdc_run *run);
void run_note_sink_answered(cdc_run *run);
void run_note_sink_trouble(cdc_run *run, const dp_error *trouble);
void run_note_source_works(cdc_run *run);
void run_note_source_trouble(cdc_run *run, const dp_error *trouble);

/* --- run_waiting.c --- */

bool run_is_stopping(const cdc_run *run);

/* An answer that is on its way is waited for a little when the pipeline is told to stop. */
bool run_is_grace_over(cdc_run *run);

/* Sleeps while the sink is down, looking after the source meanwhile. CANCELLED when told to stop. */
dp_status run_back_off(cdc_run *run, unsigned wait_ms, dp_error *error);

/* Repeats a small request for as long as the sink is down. When told to stop, the first failure ends it. */
dp_status run_insist(cdc_run *run, dp_status (*request)(cdc_run *run, dp_error *error), dp_error *error);

/* --- run_offset.c --- */

/* Reads the stored offset, for as long as that takes. */
dp_status run_load_offset(cdc_run *run, dp_error *error);

/* Saves what passed the gate, for as long as that takes, and tells the source. */
dp_status run_save_offset(cdc_run *run, dp_error *error);

/* The offset only lags while the sink is down, so a failure waits for the next time. */
dp_status run_save_offset_when_due(cdc_run *run, dp_error *error);

/* Counts an accepted batch and asks the gate. */
dp_status run_take_receipt(cdc_run *run, const dp_batch_body *body, const dp_batch_offsets *offsets,
                           bool has_duplicates, const dp_batch_answer *answer, dp_error *error);

/* --- run_delivery.c --- */

/* Asks the sink how large a batch and an event may be. */
dp_status run_learn_limits(cdc_run *run, dp_error *error);

/* Where the next batch is composed; there is a place when fewer than DP_BATCH_LANES are in flight. */
run_flight *run_next_flight(cdc_run *run);

/* Hands the batch in run_next_flight to the sink. */
dp_status run_launch(cdc_run *run, dp_error *error);

/* Moves the transfers on, without waiting, while the next batch is being built. */
void run_pump_flights(cdc_run *run);

/* Takes the receipts that are there, so that offsets move while the source is quiet. */
dp_status run_look_at_flights(cdc_run *run, dp_error *error);

/* Until no more than `left` batches are in flight. */
dp_status run_finish_flights(cdc_run *run, unsigned left, dp_error *error);

/* What is behind a batch that failed for good is forgotten: nothing of it was taken into account. */
void run_drop_flights(cdc_run *run);

/* --- run_batches.c --- */

/* Whether as many batches were sent as the options allow. */
bool run_is_enough(const cdc_run *run);

/* Decodes a record: a dp_record_sink's function, the run is its context. */
dp_status run_on_record(void *context, const dp_record *record, dp_error *error);

/* Nothing is left below the idle position: when nothing is open or unsent either, it is an offset of its own.
 */
void run_take_idle_position(cdc_run *run, dp_lsn position);

/* Sends what was built, when there is room for it; the source's next records are decoded meanwhile. CANCELLED
 * when enough was sent. */
dp_status run_send_batch(cdc_run *run, dp_error *error);

/* Leaves what is open out of the batch; parts of it that were sent stay staged until it is sent again. */
void run_leave_out_open_transaction(cdc_run *run);

/* Forgets what was read and not sent. */
void run_forget_unsent(cdc_run *run);

void run_free_decoder(cdc_run *run);

#endif
