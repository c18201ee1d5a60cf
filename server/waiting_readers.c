#include "server/waiting_readers.h"

#include <pthread.h>
#include <stdlib.h>

enum { BUCKET_COUNT = 64 };

typedef struct bucket {
    uint64_t generation; /* of all pipelines in it: a stranger's costs one reading more */
    dp_waiting_reader *first;
} bucket;

struct dp_waiting_readers {
    pthread_mutex_t lock;
    bool is_stopped;
    size_t max_waiting;
    size_t count;
    bucket buckets[BUCKET_COUNT];
};

dp_waiting_readers *dp_waiting_readers_new(size_t max_waiting)
{
    dp_waiting_readers *self = calloc(1, sizeof *self);
    if (self == NULL) return NULL;
    pthread_mutex_init(&self->lock, NULL);
    self->max_waiting = max_waiting;
    return self;
}

void dp_waiting_readers_free(dp_waiting_readers *self)
{
    if (self == NULL) return;
    pthread_mutex_destroy(&self->lock);
    free(self);
}

void dp_waiting_readers_configure(dp_waiting_readers *self, size_t max_waiting)
{
    pthread_mutex_lock(&self->lock);
    self->max_waiting = max_waiting;
    pthread_mutex_unlock(&self->lock);
}

/* FNV-1a; a name made to collide costs its sender's readers a comparison each. */
static bucket *bucket_of(dp_waiting_readers *self, dp_slice pipeline)
{
    uint32_t hash = 0x811c9dc5u;
    for (size_t i = 0; i < pipeline.length; i++) {
        hash = (hash ^ (unsigned char)pipeline.data[i]) * 0x01000193u;
    }
    return &self->buckets[hash % BUCKET_COUNT];
}

uint64_t dp_waiting_readers_generation(dp_waiting_readers *self, dp_slice pipeline)
{
    pthread_mutex_lock(&self->lock);
    uint64_t generation = bucket_of(self, pipeline)->generation;
    pthread_mutex_unlock(&self->lock);
    return generation;
}

static void link_reader(dp_waiting_readers *self, bucket *in, dp_waiting_reader *reader)
{
    reader->is_parked = true;
    reader->round = 0;
    reader->previous = NULL;
    reader->next = in->first;
    if (in->first != NULL) in->first->previous = reader;
    in->first = reader;
    self->count++;
}

static void unlink_reader(dp_waiting_readers *self, bucket *in, dp_waiting_reader *reader)
{
    *(reader->previous == NULL ? &in->first : &reader->previous->next) = reader->next;
    if (reader->next != NULL) reader->next->previous = reader->previous;
    reader->next = reader->previous = NULL;
    reader->is_parked = false;
    self->count--;
}

dp_waiting_outcome dp_waiting_readers_park(dp_waiting_readers *self, dp_waiting_reader *reader,
                                           dp_slice pipeline, uint64_t generation, uint64_t mark)
{
    dp_waiting_outcome outcome = DP_WAITING_PARKED;
    pthread_mutex_lock(&self->lock);
    bucket *in = bucket_of(self, pipeline);
    if (reader->is_over || self->is_stopped) {
        outcome = DP_WAITING_OVER;
    } else if (in->generation != generation) {
        outcome = DP_WAITING_CHANGED;
    } else if (self->count >= self->max_waiting) {
        outcome = DP_WAITING_FULL;
    } else {
        reader->pipeline = pipeline;
        reader->mark = mark;
        link_reader(self, in, reader);
    }
    pthread_mutex_unlock(&self->lock);
    return outcome;
}

bool dp_waiting_readers_expire(dp_waiting_readers *self, dp_waiting_reader *reader)
{
    pthread_mutex_lock(&self->lock);
    bool was_parked = reader->is_parked;
    reader->is_over = true;
    if (was_parked) unlink_reader(self, bucket_of(self, reader->pipeline), reader);
    pthread_mutex_unlock(&self->lock);
    return was_parked;
}

/* Moves one reader to the list that is given back. */
static void take(dp_waiting_readers *self, bucket *in, dp_waiting_reader *reader, dp_waiting_reader **list)
{
    unlink_reader(self, in, reader);
    reader->next = *list;
    *list = reader;
}

dp_waiting_reader *dp_waiting_readers_wake(dp_waiting_readers *self, dp_slice pipeline)
{
    dp_waiting_reader *list = NULL;
    dp_waiting_reader *next;
    pthread_mutex_lock(&self->lock);
    bucket *in = bucket_of(self, pipeline);
    in->generation++;
    for (dp_waiting_reader *reader = in->first; reader != NULL; reader = next) {
        next = reader->next;
        if (dp_slice_equal(reader->pipeline, pipeline)) take(self, in, reader, &list);
    }
    pthread_mutex_unlock(&self->lock);
    return list;
}

dp_waiting_reader *dp_waiting_readers_stop(dp_waiting_readers *self)
{
    dp_waiting_reader *list = NULL;
    pthread_mutex_lock(&self->lock);
    self->is_stopped = true;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        while (self->buckets[i].first != NULL) {
            take(self, &self->buckets[i], self->buckets[i].first, &list);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return list;
}

size_t dp_waiting_readers_count(dp_waiting_readers *self)
{
    pthread_mutex_lock(&self->lock);
    size_t count = self->count;
    pthread_mutex_unlock(&self->lock);
    return count;
}

static const dp_waiting_reader *find_unmet(const dp_waiting_readers *self, uint64_t round)
{
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        for (const dp_waiting_reader *reader = self->buckets[i].first; reader != NULL;
             reader = reader->next) {
            if (reader->round < round) return reader;
        }
    }
    return NULL;
}

bool dp_waiting_readers_next(dp_waiting_readers *self, uint64_t round, char *name, size_t capacity,
                             size_t *length)
{
    pthread_mutex_lock(&self->lock);
    const dp_waiting_reader *reader = find_unmet(self, round);
    bool found = reader != NULL && reader->pipeline.length <= capacity;
    if (found) {
        memcpy(name, reader->pipeline.data, reader->pipeline.length);
        *length = reader->pipeline.length;
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}

dp_waiting_reader *dp_waiting_readers_wake_changed(dp_waiting_readers *self, uint64_t round,
                                                   dp_slice pipeline, uint64_t mark)
{
    dp_waiting_reader *list = NULL;
    dp_waiting_reader *next;
    pthread_mutex_lock(&self->lock);
    bucket *in = bucket_of(self, pipeline);
    for (dp_waiting_reader *reader = in->first; reader != NULL; reader = next) {
        next = reader->next;
        if (!dp_slice_equal(reader->pipeline, pipeline)) continue;
        reader->round = round;
        if (reader->mark != mark) take(self, in, reader, &list);
    }
    pthread_mutex_unlock(&self->lock);
    return list;
}
