#include "server/worker_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct dp_worker_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    dp_worker_job *first;
    dp_worker_job *last;
    size_t waiting;
    size_t max_waiting;
    bool stopping;
    unsigned thread_count;
    unsigned running; /* threads that have not ended */
    pthread_cond_t ended;
    pthread_t threads[];
};

static dp_worker_job *take(dp_worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->first == NULL && !pool->stopping) {
        pthread_cond_wait(&pool->wake, &pool->lock);
    }
    dp_worker_job *job = pool->first;
    if (job != NULL) {
        pool->first = job->next;
        if (pool->first == NULL) pool->last = NULL;
        pool->waiting--;
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *work(void *context)
{
    dp_worker_pool *pool = context;
    dp_worker_job *job;
    while ((job = take(pool)) != NULL) {
        job->run(job);
    }
    pthread_mutex_lock(&pool->lock);
    pool->running--;
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

dp_status dp_worker_pool_new(unsigned thread_count, size_t max_waiting, dp_worker_pool **out, dp_error *error)
{
    dp_worker_pool *pool = calloc(1, sizeof *pool + thread_count * sizeof(pthread_t));
    if (pool == NULL) return dp_error_no_memory(error, "the worker threads");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pool->running = thread_count;
    pool->max_waiting = max_waiting;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int fault = 0;
    while (pool->thread_count < thread_count && fault == 0) {
        fault = pthread_create(&pool->threads[pool->thread_count], NULL, work, pool);
        if (fault == 0) pool->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_lock(&pool->lock);
    pool->running -= thread_count - pool->thread_count; /* those that were not started */
    pthread_mutex_unlock(&pool->lock);
    if (fault != 0) {
        dp_worker_pool_free(pool);
        return dp_error_set(error, DP_STATUS_IO, "unable to start a worker thread: %s", strerror(fault));
    }
    *out = pool;
    return DP_STATUS_OK;
}

bool dp_worker_pool_end(dp_worker_pool *pool, int64_t give_up_us)
{
    const struct timespec until = {.tv_sec = give_up_us / 1000000, .tv_nsec = give_up_us % 1000000 * 1000};
    int fault = 0;
    if (pool == NULL) return true;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    while (pool->running > 0 && fault == 0) {
        fault = pthread_cond_timedwait(&pool->ended, &pool->lock, &until);
    }
    bool ended = pool->running == 0;
    pthread_mutex_unlock(&pool->lock);
    return ended;
}

void dp_worker_pool_free(dp_worker_pool *pool)
{
    if (pool == NULL) return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->ended);
    free(pool);
}

bool dp_worker_pool_submit(dp_worker_pool *pool, dp_worker_job *job, bool must)
{
    job->next = NULL;
    pthread_mutex_lock(&pool->lock);
    bool accepted = must || pool->waiting < pool->max_waiting;
    if (accepted) {
        *(pool->last == NULL ? &pool->first : &pool->last->next) = job;
        pool->last = job;
        pool->waiting++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    return accepted;
}
