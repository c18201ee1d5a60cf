#include "server/process_figures.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t count_entries(const char *path)
{
    DIR *directory = opendir(path);
    uint64_t count = 0;
    if (directory == NULL) return 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.') count++;
    }
    closedir(directory);
    return count;
}

void dp_process_figures_read(dp_metric_gauges *gauges)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        gauges->cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                              (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) gauges->max_files = files.rlim_cur;
    gauges->open_files = count_entries("/proc/self/fd");
    if (gauges->open_files > 0) gauges->open_files--; /* the directory itself */
    gauges->threads = count_entries("/proc/self/task");
    FILE *memory = fopen("/proc/self/statm", "re");
    if (memory == NULL) return;
    unsigned long long total;
    unsigned long long resident;
    if (fscanf(memory, "%llu %llu", &total, &resident) == 2)
        gauges->resident_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    fclose(memory);
}
