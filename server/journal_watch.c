#include "server/journal_watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

enum {
    INTERVAL_US = 200000,
    /* A round that took long is followed by a longer pause, so that looking never takes more than a twentieth
     * of one connection's time. */
    PAUSE_FACTOR = 20,
    LONGEST_PAUSE_US = 5000000,
    MAX_NAME_BYTES = 1024
};

struct dp_journal_watch {
    dp_worker_job job; /* first: the pool hands this back */
    dp_journal_watch_options options;
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_stopping;
    bool is_looking; /* the job is the pool's */
    int64_t next_us;
    uint64_t round;
};

static void look(dp_worker_job *job)
{
    dp_journal_watch *self = (dp_journal_watch *)(void *)job;
    const dp_journal_watch_options *options = &self->options;
    char name[MAX_NAME_BYTES];
    size_t length;
    int64_t begin_us = dp_clock_monotonic_us();
    self->round++;
    while (dp_waiting_readers_next(options->readers, self->round, name, sizeof name, &length)) {
        dp_error error = DP_ERROR_INIT;
        uint64_t mark = 0;
        if (dp_journal_api_mark(options->journal, dp_slice_make(name, length), &mark, &error) != DP_STATUS_OK)
            break; /* the readers' own next reading says why */
        options->wake(options->context, dp_waiting_readers_wake_changed(options->readers, self->round,
                                                                        dp_slice_make(name, length), mark));
    }
    int64_t now_us = dp_clock_monotonic_us();
    int64_t pause_us = (now_us - begin_us) * PAUSE_FACTOR;
    if (pause_us > LONGEST_PAUSE_US) pause_us = LONGEST_PAUSE_US;
    pthread_mutex_lock(&self->lock);
    self->is_looking = false;
    self->next_us = now_us + (pause_us > INTERVAL_US ? pause_us : INTERVAL_US);
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}

static void wait_until(dp_journal_watch *self, int64_t at_us)
{
    const struct timespec at = {.tv_sec = at_us / 1000000, .tv_nsec = (long)(at_us % 1000000) * 1000};
    pthread_cond_timedwait(&self->wake, &self->lock, &at);
}

static void *run(void *context)
{
    dp_journal_watch *self = context;
    pthread_mutex_lock(&self->lock);
    while (!self->is_stopping) {
        if (self->is_looking || dp_waiting_readers_count(self->options.readers) == 0) {
            pthread_cond_wait(&self->wake, &self->lock);
        } else if (dp_clock_monotonic_us() < self->next_us) {
            wait_until(self, self->next_us);
        } else {
            self->is_looking = dp_worker_pool_submit(self->options.pool, &self->job, false);
            if (!self->is_looking) self->next_us = dp_clock_monotonic_us() + INTERVAL_US;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static dp_status start(dp_journal_watch *self, dp_error *error)
{
    pthread_condattr_t attributes;
    sigset_t all;
    sigset_t before;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int fault = pthread_create(&self->thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    self->thread_started = fault == 0;
    if (fault == 0) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_IO, "unable to start a thread: %s", strerror(fault));
}

dp_status dp_journal_watch_new(const dp_journal_watch_options *options, dp_journal_watch **watch,
                               dp_error *error)
{
    dp_journal_watch *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "the watch on the journal");
    self->job.run = look;
    self->options = *options;
    dp_status status = start(self, error);
    if (status != DP_STATUS_OK) {
        dp_journal_watch_free(self);
        return status;
    }
    *watch = self;
    return DP_STATUS_OK;
}

void dp_journal_watch_begin(dp_journal_watch *self)
{
    pthread_mutex_lock(&self->lock);
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}

void dp_journal_watch_stop(dp_journal_watch *self)
{
    if (self == NULL || !self->thread_started) return;
    pthread_mutex_lock(&self->lock);
    self->is_stopping = true;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    self->thread_started = false;
}

void dp_journal_watch_free(dp_journal_watch *self)
{
    if (self == NULL) return;
    dp_journal_watch_stop(self);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
