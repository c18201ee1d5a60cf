#include "services/run_monitor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "services/lag_clock.h"

enum {
    WATCH_MS = 250,
    LOOK_MS = 5000,         /* between two looks, or less where stalls are told sooner */
    QUIET_GRACE_MS = 12000, /* a quiet slot is moved on every ten seconds: until then it may be behind */
    LEAVE_BEHIND_S = 2      /* a look that hangs must not keep the process from ending */
};

struct dp_run_monitor {
    dp_run_monitor_options options;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool is_stopping;
    bool has_published;
    dp_run_picture picture;
    uint64_t read_count; /* as of quiet_us, as the next two */
    uint64_t high_watermark;
    uint64_t confirmed;
    int64_t quiet_us; /* since when none of them has moved though the slot is behind */
    dp_lag_clock lag_clock;
    bool is_look_running;
    pthread_t watch_thread;
    pthread_t look_thread;
};

/* Waits, with the lock, for the end or until the time has passed; true when it is the end. */
static bool wait_for_stop(dp_run_monitor *monitor, unsigned wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + (int64_t)wait_ms * 1000000;
    until.tv_sec += (time_t)(nanoseconds / 1000000000);
    until.tv_nsec = (long)(nanoseconds % 1000000000);
    int result = 0;
    while (!monitor->is_stopping && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&monitor->stopped, &monitor->lock, &until);
    }
    return monitor->is_stopping;
}

/* --- stalls --- */

/* A source that is being read, sends nothing, and whose slot stands still though there is something to send.
 */
static int64_t quiet_since(dp_run_monitor *monitor, int64_t now_us)
{
    const dp_run_picture *picture = &monitor->picture;
    bool is_behind = picture->has_look && picture->slot.lag_bytes > 0 && picture->slot.is_active;
    bool has_moved = picture->state.read_count != monitor->read_count ||
                     picture->state.high_watermark.value != monitor->high_watermark ||
                     picture->slot.confirmed.value != monitor->confirmed;
    monitor->read_count = picture->state.read_count;
    monitor->high_watermark = picture->state.high_watermark.value;
    monitor->confirmed = picture->slot.confirmed.value;
    if (!is_behind || has_moved) monitor->quiet_us = 0;
    if (is_behind && monitor->quiet_us == 0) monitor->quiet_us = now_us;
    bool is_long = monitor->quiet_us != 0 && now_us - monitor->quiet_us >= QUIET_GRACE_MS * 1000;
    return is_long ? monitor->quiet_us : 0;
}

static dp_stall_facts gather(dp_run_monitor *monitor, int64_t now_us)
{
    const dp_run_picture *picture = &monitor->picture;
    const dp_cdc_run_state *state = &picture->state;
    return (dp_stall_facts){
        .sink_since_us = state->sink_since_us,
        .source_since_us = state->source_since_us,
        .is_slot_held = state->is_slot_held,
        .open_since_us = state->open_since_us,
        .open_row_count = state->open_row_count,
        .quiet_since_us = quiet_since(monitor, now_us),
        .holder_pid = picture->has_look && picture->slot.is_active ? picture->slot.active_pid : 0,
        .lag_bytes = picture->slot.lag_bytes,
        .sink_trouble = state->sink_trouble,
        .source_trouble = state->source_trouble,
    };
}

/* What is to be said now, into `line`; false: nothing. */
static bool look_for_stall(dp_run_monitor *monitor, char *line, size_t line_bytes)
{
    int64_t now_us = dp_clock_monotonic_us();
    dp_stall_facts facts = gather(monitor, now_us);
    dp_stall_state now = dp_stall_judge(&facts, now_us, (int64_t)monitor->options.stall_seconds * 1000000);
    dp_stall_state *told = &monitor->picture.stall;
    if (now.stall == told->stall) return false;
    if (told->stall != DP_STALL_NONE) { /* one line at a time: what began is told at the next look */
        snprintf(line, line_bytes, "no longer stalled: %s, over after %lld s", dp_stall_label(told->stall),
                 (long long)((now_us - told->since_us) / 1000000));
        *told = (dp_stall_state){DP_STALL_NONE, 0};
        return true;
    }
    char text[DP_STALL_TEXT_BYTES];
    dp_stall_text(now, &facts, now_us, text);
    snprintf(line, line_bytes, "stalled: %s", text);
    monitor->picture.stall_counts[now.stall]++;
    *told = now;
    return true;
}

static void *watch(void *context)
{
    dp_run_monitor *monitor = context;
    char line[DP_STALL_TEXT_BYTES + 32];
    pthread_mutex_lock(&monitor->lock);
    while (!wait_for_stop(monitor, WATCH_MS)) {
        bool is_watched = monitor->has_published && monitor->options.stall_seconds > 0;
        if (!is_watched || !look_for_stall(monitor, line, sizeof line)) continue;
        pthread_mutex_unlock(&monitor->lock);
        monitor->options.say(monitor->options.say_context, line);
        pthread_mutex_lock(&monitor->lock);
    }
    pthread_mutex_unlock(&monitor->lock);
    return NULL;
}

/* --- looks --- */

static unsigned look_interval_ms(const dp_run_monitor_options *options)
{
    unsigned half_ms = options->stall_seconds * 500;
    return half_ms > 0 && half_ms < LOOK_MS ? half_ms : LOOK_MS;
}

static void keep_look(dp_run_monitor *monitor, dp_status status, const dp_slot_look *look)
{
    dp_run_picture *picture = &monitor->picture;
    picture->has_look = status == DP_STATUS_OK;
    if (!picture->has_look) return;
    picture->slot = *look;
    picture->lag_seconds =
        dp_lag_clock_look(&monitor->lag_clock, dp_clock_monotonic_us(), look->server_end, look->confirmed);
}

static void *look_again_and_again(void *context)
{
    dp_run_monitor *monitor = context;
    unsigned wait_ms = look_interval_ms(&monitor->options);
    pthread_mutex_lock(&monitor->lock);
    do {
        dp_slot_look look = {.exists = false};
        dp_error ignored = DP_ERROR_INIT; /* the run itself tells what is wrong with the source */
        pthread_mutex_unlock(&monitor->lock);
        dp_status status = monitor->options.look(monitor->options.look_context, &look, &ignored);
        pthread_mutex_lock(&monitor->lock);
        keep_look(monitor, status, &look);
    } while (!wait_for_stop(monitor, wait_ms));
    pthread_mutex_unlock(&monitor->lock);
    return NULL;
}

/* --- the outside --- */

void dp_run_monitor_publish(void *context, const dp_cdc_run_summary *summary, const dp_cdc_run_state *state)
{
    dp_run_monitor *monitor = context;
    pthread_mutex_lock(&monitor->lock);
    monitor->has_published = true;
    monitor->picture.summary = *summary;
    monitor->picture.state = *state;
    pthread_mutex_unlock(&monitor->lock);
}

void dp_run_monitor_picture(dp_run_monitor *monitor, dp_run_picture *picture)
{
    pthread_mutex_lock(&monitor->lock);
    *picture = monitor->picture;
    pthread_mutex_unlock(&monitor->lock);
}

static dp_run_monitor *new_monitor(const dp_run_monitor_options *options)
{
    dp_run_monitor *monitor = calloc(1, sizeof *monitor);
    if (monitor == NULL) return NULL;
    monitor->options = *options;
    monitor->picture.stall.stall = DP_STALL_NONE;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&monitor->lock, NULL);
    pthread_cond_init(&monitor->stopped, &attributes);
    pthread_condattr_destroy(&attributes);
    return monitor;
}

static void free_monitor(dp_run_monitor *monitor)
{
    pthread_cond_destroy(&monitor->stopped);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor);
}

dp_status dp_run_monitor_start(const dp_run_monitor_options *options, dp_run_monitor **monitor,
                               dp_error *error)
{
    dp_run_monitor *made = new_monitor(options);
    if (made == NULL) return dp_error_no_memory(error, "the monitor");
    /* Signals are the run's: a thread of ours must not take one that should wake it. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int fault = pthread_create(&made->watch_thread, NULL, watch, made);
    if (fault == 0 && options->look != NULL) {
        made->is_look_running = pthread_create(&made->look_thread, NULL, look_again_and_again, made) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (fault != 0) {
        free_monitor(made);
        return dp_error_set(error, DP_STATUS_IO, "unable to start a thread: %s", strerror(fault));
    }
    *monitor = made;
    return DP_STATUS_OK;
}

void dp_run_monitor_stop(dp_run_monitor *monitor)
{
    if (monitor == NULL) return;
    pthread_mutex_lock(&monitor->lock);
    monitor->is_stopping = true;
    pthread_cond_broadcast(&monitor->stopped);
    pthread_mutex_unlock(&monitor->lock);
    pthread_join(monitor->watch_thread, NULL);
    if (monitor->is_look_running) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += LEAVE_BEHIND_S;
        if (pthread_timedjoin_np(monitor->look_thread, NULL, &until) != 0) {
            pthread_detach(monitor->look_thread); /* it holds the monitor until the process ends */
            return;
        }
    }
    free_monitor(monitor);
}
