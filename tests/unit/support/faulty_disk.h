/* A VFS for SQLite between the library and the real one: fails the n-th write or sync, says that the disk is
 * full, or cuts the power, after which only what was synced is there for certain.
 *
 * Writes go to real files; beside them each file has an image of what is durable and the list of what is not
 * yet. faulty_disk_cut_power makes every further call fail; faulty_disk_restore, after all connections are
 * closed, writes files as the disk might hold them: the durable image and a random part of the rest. Real
 * syncs are left out, so that the tests are fast. One process, one thread.
 */
#ifndef DPONE_TESTS_FAULTY_DISK_H
#define DPONE_TESTS_FAULTY_DISK_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAULTY_MAX_FILES 8
#define FAULTY_SECTOR    512

typedef struct faulty_change {
    bool is_truncate;
    sqlite3_int64 offset; /* or the new size */
    size_t length;
    unsigned char *bytes;
} faulty_change;

typedef struct faulty_image {
    char path[600];
    unsigned char *durable;
    size_t durable_size;
    size_t durable_capacity;
    faulty_change *pending;
    size_t pending_count;
    size_t pending_capacity;
} faulty_image;

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    faulty_image images[FAULTY_MAX_FILES];
    unsigned operations; /* writes, truncations and syncs so far */
    unsigned fail_at;    /* the operation that fails; 0: none */
    bool fail_from;      /* and every later one */
    int fail_code;       /* what a write answers; a sync answers SQLITE_IOERR_FSYNC unless it is FULL */
    bool is_cut;
} faulty;

typedef struct faulty_file {
    sqlite3_file base;
    faulty_image *image; /* NULL: not followed (temporary files) */
    sqlite3_file *real;  /* right behind this structure */
} faulty_file;

static inline sqlite3_file *faulty_real(sqlite3_file *file)
{
    return ((faulty_file *)file)->real;
}

static inline int faulty_step(bool is_sync)
{
    if (faulty.is_cut) return SQLITE_IOERR;
    faulty.operations++;
    bool fails = faulty.fail_at != 0 && (faulty.fail_from ? faulty.operations >= faulty.fail_at
                                                          : faulty.operations == faulty.fail_at);
    if (!fails) return SQLITE_OK;
    return is_sync && faulty.fail_code != SQLITE_FULL ? SQLITE_IOERR_FSYNC : faulty.fail_code;
}

static inline void faulty_apply(faulty_image *image, const faulty_change *change, size_t length)
{
    size_t end = (size_t)change->offset + (change->is_truncate ? 0 : length);
    if (change->is_truncate) {
        if (end < image->durable_size) image->durable_size = end;
        return;
    }
    if (end > image->durable_size) {
        if (end > image->durable_capacity) { /* by doubling: under a sanitizer every growth is a copy */
            image->durable_capacity = 2 * end;
            image->durable = realloc(image->durable, image->durable_capacity);
            if (image->durable == NULL) abort();
        }
        memset(image->durable + image->durable_size, 0, end - image->durable_size);
        image->durable_size = end;
    }
    memcpy(image->durable + change->offset, change->bytes, length);
}

static inline void faulty_forget(faulty_image *image)
{
    for (size_t i = 0; i < image->pending_count; i++) {
        free(image->pending[i].bytes);
    }
    image->pending_count = 0;
}

static inline void faulty_note(faulty_image *image, faulty_change change)
{
    if (image->pending_count == image->pending_capacity) {
        image->pending_capacity = image->pending_capacity == 0 ? 64 : image->pending_capacity * 2;
        image->pending = realloc(image->pending, image->pending_capacity * sizeof *image->pending);
        if (image->pending == NULL) abort();
    }
    image->pending[image->pending_count++] = change;
}

static int faulty_close(sqlite3_file *file)
{
    sqlite3_file *real = faulty_real(file);
    return real->pMethods == NULL ? SQLITE_OK : real->pMethods->xClose(real);
}

static int faulty_read(sqlite3_file *file, void *out, int length, sqlite3_int64 offset)
{
    if (faulty.is_cut) return SQLITE_IOERR_READ;
    return faulty_real(file)->pMethods->xRead(faulty_real(file), out, length, offset);
}

static int faulty_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 offset)
{
    faulty_image *image = ((faulty_file *)file)->image;
    int code = image == NULL ? SQLITE_OK : faulty_step(false);
    if (code != SQLITE_OK) return code;
    if (image != NULL) {
        faulty_change change = {.offset = offset, .length = (size_t)length, .bytes = malloc((size_t)length)};
        if (change.bytes == NULL) abort();
        memcpy(change.bytes, bytes, (size_t)length);
        faulty_note(image, change);
    }
    return faulty_real(file)->pMethods->xWrite(faulty_real(file), bytes, length, offset);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    faulty_image *image = ((faulty_file *)file)->image;
    int code = image == NULL ? SQLITE_OK : faulty_step(false);
    if (code != SQLITE_OK) return code;
    if (image != NULL) faulty_note(image, (faulty_change){.is_truncate = true, .offset = size});
    return faulty_real(file)->pMethods->xTruncate(faulty_real(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    faulty_image *image = ((faulty_file *)file)->image;
    (void)flags;
    if (image == NULL) return SQLITE_OK;
    int code = faulty_step(true);
    if (code != SQLITE_OK) return code;
    for (size_t i = 0; i < image->pending_count; i++) {
        faulty_apply(image, &image->pending[i], image->pending[i].length);
    }
    faulty_forget(image);
    return SQLITE_OK;
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size)
{
    if (faulty.is_cut) return SQLITE_IOERR_FSTAT;
    return faulty_real(file)->pMethods->xFileSize(faulty_real(file), size);
}

static int faulty_lock(sqlite3_file *file, int level)
{
    return faulty_real(file)->pMethods->xLock(faulty_real(file), level);
}

static int faulty_unlock(sqlite3_file *file, int level)
{
    return faulty_real(file)->pMethods->xUnlock(faulty_real(file), level);
}

static int faulty_check_lock(sqlite3_file *file, int *out)
{
    return faulty_real(file)->pMethods->xCheckReservedLock(faulty_real(file), out);
}

static int faulty_control(sqlite3_file *file, int operation, void *argument)
{
    return faulty_real(file)->pMethods->xFileControl(faulty_real(file), operation, argument);
}

static int faulty_sector(sqlite3_file *file)
{
    return faulty_real(file)->pMethods->xSectorSize(faulty_real(file));
}

static int faulty_device(sqlite3_file *file)
{
    return faulty_real(file)->pMethods->xDeviceCharacteristics(faulty_real(file));
}

static int faulty_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return faulty_real(file)->pMethods->xShmMap(faulty_real(file), page, size, extend, out);
}

static int faulty_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return faulty_real(file)->pMethods->xShmLock(faulty_real(file), offset, count, flags);
}

static void faulty_shm_barrier(sqlite3_file *file)
{
    faulty_real(file)->pMethods->xShmBarrier(faulty_real(file));
}

static int faulty_shm_unmap(sqlite3_file *file, int delete_it)
{
    return faulty_real(file)->pMethods->xShmUnmap(faulty_real(file), delete_it);
}

static const sqlite3_io_methods faulty_methods = {
    .iVersion = 2,
    .xClose = faulty_close,
    .xRead = faulty_read,
    .xWrite = faulty_write,
    .xTruncate = faulty_truncate,
    .xSync = faulty_sync,
    .xFileSize = faulty_size,
    .xLock = faulty_lock,
    .xUnlock = faulty_unlock,
    .xCheckReservedLock = faulty_check_lock,
    .xFileControl = faulty_control,
    .xSectorSize = faulty_sector,
    .xDeviceCharacteristics = faulty_device,
    .xShmMap = faulty_shm_map,
    .xShmLock = faulty_shm_lock,
    .xShmBarrier = faulty_shm_barrier,
    .xShmUnmap = faulty_shm_unmap,
};

static inline faulty_image *faulty_image_of(const char *path)
{
    for (size_t i = 0; i < FAULTY_MAX_FILES; i++) {
        if (faulty.images[i].path[0] == '\0') {
            snprintf(faulty.images[i].path, sizeof faulty.images[i].path, "%s", path);
        }
        if (strcmp(faulty.images[i].path, path) == 0) return &faulty.images[i];
    }
    abort();
}

static int faulty_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out_flags)
{
    faulty_file *self = (faulty_file *)file;
    (void)vfs;
    memset(self, 0, sizeof *self);
    self->real = (sqlite3_file *)(self + 1);
    if (faulty.is_cut) return SQLITE_IOERR;
    int code = faulty.real->xOpen(faulty.real, path, self->real, flags, out_flags);
    if (code != SQLITE_OK) return code;
    self->base.pMethods = &faulty_methods;
    bool followed =
        path != NULL && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    self->image = followed ? faulty_image_of(path) : NULL;
    return SQLITE_OK;
}

/* A deleted file is gone at once: SQLite syncs the directory where it matters. */
static int faulty_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    (void)vfs;
    if (faulty.is_cut) return SQLITE_IOERR_DELETE;
    faulty_image *image = faulty_image_of(path);
    faulty_forget(image);
    image->durable_size = 0;
    return faulty.real->xDelete(faulty.real, path, sync_directory);
}

/* Makes the disk the default VFS; every connection opened from now on uses it. */
static inline void faulty_disk_install(void)
{
    memset(&faulty, 0, sizeof faulty);
    faulty.real = sqlite3_vfs_find("unix");
    faulty.vfs = *faulty.real;
    faulty.vfs.zName = "faulty";
    faulty.vfs.szOsFile = (int)sizeof(faulty_file) + faulty.real->szOsFile;
    faulty.vfs.xOpen = faulty_open;
    faulty.vfs.xDelete = faulty_delete;
    sqlite3_vfs_register(&faulty.vfs, 1);
}

static inline void faulty_disk_remove(void)
{
    sqlite3_vfs_unregister(&faulty.vfs);
    sqlite3_vfs_register(faulty.real, 1);
    for (size_t i = 0; i < FAULTY_MAX_FILES; i++) {
        faulty_forget(&faulty.images[i]);
        free(faulty.images[i].pending);
        free(faulty.images[i].durable);
    }
    memset(&faulty.images, 0, sizeof faulty.images);
}

static inline void faulty_disk_fail(unsigned operations_from_now, bool also_later, int code)
{
    faulty.fail_at = faulty.operations + operations_from_now;
    faulty.fail_from = also_later;
    faulty.fail_code = code;
}

static inline void faulty_disk_heal(void)
{
    faulty.fail_at = 0;
}

/* The power goes off at the n-th operation from now: see faulty_step. */
static inline bool faulty_disk_failed(void)
{
    return faulty.fail_at != 0 && faulty.operations >= faulty.fail_at;
}

/* From here on nothing reaches the disk. */
static inline void faulty_disk_cut_power(void)
{
    faulty.is_cut = true;
}

/* What the disk holds when the power is back: of what was not synced, each write may be there, be missing, or
 * be torn at a sector. */
static inline void faulty_disk_restore(unsigned *seed)
{
    for (size_t i = 0; i < FAULTY_MAX_FILES && faulty.images[i].path[0] != '\0'; i++) {
        faulty_image *image = &faulty.images[i];
        char shm[620];
        for (size_t j = 0; j < image->pending_count; j++) {
            const faulty_change *change = &image->pending[j];
            unsigned chance = (unsigned)rand_r(seed) % 4;
            size_t sectors = change->length / FAULTY_SECTOR;
            if (chance < 2) faulty_apply(image, change, change->length);
            if (chance == 2 && sectors > 1) {
                faulty_apply(image, change, (1 + (size_t)rand_r(seed) % (sectors - 1)) * FAULTY_SECTOR);
            }
        }
        faulty_forget(image);
        FILE *file = image->durable_size == 0 ? NULL : fopen(image->path, "wb");
        if (file == NULL) unlink(image->path);
        if (file != NULL) {
            if (fwrite(image->durable, 1, image->durable_size, file) != image->durable_size) abort();
            fclose(file);
        }
        snprintf(shm, sizeof shm, "%s-shm", image->path);
        unlink(shm);
    }
    faulty.is_cut = false;
    faulty.fail_at = 0;
}

#endif
