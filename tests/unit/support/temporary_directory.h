/* A directory of its own for each test, removed with everything in it. */
#ifndef DPONE_TESTS_TEMPORARY_DIRECTORY_H
#define DPONE_TESTS_TEMPORARY_DIRECTORY_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct temporary_directory {
    char path[256];
} temporary_directory;

static inline bool temporary_directory_make(temporary_directory *directory)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory->path, sizeof directory->path, "%s/dpone-test-XXXXXX", base == NULL ? "/tmp" : base);
    return mkdtemp(directory->path) != NULL;
}

static inline void temporary_directory_remove(const temporary_directory *directory)
{
    DIR *entries = opendir(directory->path);
    const struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", directory->path, entry->d_name);
        unlink(path);
    }
    if (entries != NULL) closedir(entries);
    rmdir(directory->path);
}

#endif
