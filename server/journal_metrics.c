#include "server/journal_metrics.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/metrics.h"

enum { MAX_AGE_US = 5000000, MAX_TEXT_BYTES = 4 << 20, MAX_OFFSETS = 10000 };

struct dp_journal_metrics {
    dp_worker_job job; /* first: the pool hands this back */
    dp_journal_api *journal;
    pthread_mutex_t lock;
    bool is_reading;
    int64_t read_us;
    dp_buffer text;
};

dp_journal_metrics *dp_journal_metrics_new(dp_journal_api *journal)
{
    dp_journal_metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics == NULL) return NULL;
    metrics->journal = journal;
    metrics->text.max_bytes = MAX_TEXT_BYTES;
    metrics->read_us = INT64_MIN / 2;
    pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

void dp_journal_metrics_free(dp_journal_metrics *metrics)
{
    if (metrics == NULL) return;
    pthread_mutex_destroy(&metrics->lock);
    dp_buffer_release(&metrics->text);
    free(metrics);
}

/* The number of a token: "A/B" as PostgreSQL's 64-bit position, "0x..." and decimal as they are. */
static double token_number(const char *token)
{
    unsigned high;
    unsigned low;
    if (sscanf(token, "%8X/%8X", &high, &low) == 2) return (double)((uint64_t)high << 32 | low);
    return strtod(token, NULL);
}

static void put_labelled(dp_buffer *out, const char *name, const char *const *labels, size_t count,
                         double value)
{
    dp_buffer_append_text(out, name);
    for (size_t i = 0; i < count; i++) {
        dp_buffer_append_format(out, "%s%s=\"", i == 0 ? "{" : ",", labels[2 * i]);
        dp_metrics_put_label(out, dp_slice_of_text(labels[2 * i + 1]));
        dp_buffer_append_byte(out, '"');
    }
    dp_buffer_append_format(out, "} %.17g\n", value);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

static json_t *parse(const dp_api_reply *reply)
{
    if (reply->http_status != 200) return NULL;
    return json_loadb(reply->body.data, reply->body.length, 0, NULL);
}

static void put_counts(dp_buffer *out, const json_t *pipelines, const char *name, const char *key,
                       const char *help)
{
    size_t index;
    json_t *one;
    dp_metrics_render_head(out, name, "gauge", help);
    json_array_foreach(pipelines, index, one)
    {
        const char *const labels[] = {"pipeline", text_of(one, "pipeline")};
        put_labelled(out, name, labels, 1, (double)json_integer_value(json_object_get(one, key)));
    }
}

/* Of every pipeline that has one, also of those whose events are elsewhere. */
static void put_offsets(dp_buffer *out, dp_journal_api *journal)
{
    size_t index;
    json_t *offset;
    dp_api_reply reply = DP_API_REPLY_INIT;
    dp_journal_api_list_offsets(journal, (dp_slice){NULL, 0}, &reply);
    json_t *document = parse(&reply);
    dp_metrics_render_head(out, "dpone_offset_position", "gauge", "Stored offset as a number.");
    json_array_foreach(json_object_get(document, "offsets"), index, offset)
    {
        if (index == MAX_OFFSETS) break;
        const char *const labels[] = {"backend",  text_of(offset, "backend"),
                                      "pipeline", text_of(offset, "pipeline"),
                                      "schema",   text_of(offset, "source_schema"),
                                      "table",    text_of(offset, "source_table")};
        put_labelled(out, "dpone_offset_position", labels, 4, token_number(text_of(offset, "token")));
    }
    json_decref(document);
    dp_api_reply_release(&reply);
}

static void read_figures(dp_worker_job *job)
{
    dp_journal_metrics *metrics = (dp_journal_metrics *)(void *)job;
    dp_api_reply reply = DP_API_REPLY_INIT;
    dp_buffer text = DP_BUFFER_INIT(MAX_TEXT_BYTES);
    dp_journal_api_list_pipelines(metrics->journal, &reply);
    json_t *document = parse(&reply);
    const json_t *pipelines = json_object_get(document, "pipelines");
    dp_metrics_render_head(&text, "dpone_journal_up", "gauge",
                           "Whether the journal could be read last time.");
    dp_buffer_append_format(&text, "dpone_journal_up %d\n", document != NULL);
    put_counts(&text, pipelines, "dpone_journal_events", "event_count", "Events in the journal.");
    put_counts(&text, pipelines, "dpone_journal_transactions", "transaction_count",
               "Transactions in the journal.");
    put_offsets(&text, metrics->journal);
    json_decref(document);
    dp_api_reply_release(&reply);
    pthread_mutex_lock(&metrics->lock);
    dp_buffer old = metrics->text;
    metrics->text = text;
    metrics->is_reading = false;
    pthread_mutex_unlock(&metrics->lock);
    dp_buffer_release(&old);
}

void dp_journal_metrics_refresh(dp_journal_metrics *metrics, dp_worker_pool *pool, int64_t now_us)
{
    pthread_mutex_lock(&metrics->lock);
    bool due = !metrics->is_reading && now_us - metrics->read_us > MAX_AGE_US;
    if (due) {
        metrics->is_reading = true;
        metrics->read_us = now_us;
    }
    pthread_mutex_unlock(&metrics->lock);
    if (!due) return;
    metrics->job.run = read_figures;
    if (dp_worker_pool_submit(pool, &metrics->job, false)) return;
    pthread_mutex_lock(&metrics->lock);
    metrics->is_reading = false;
    pthread_mutex_unlock(&metrics->lock);
}

void dp_journal_metrics_render(dp_journal_metrics *metrics, dp_buffer *out)
{
    pthread_mutex_lock(&metrics->lock);
    if (!metrics->text.failed) dp_buffer_append_slice(out, dp_buffer_slice(&metrics->text));
    pthread_mutex_unlock(&metrics->lock);
}
