#include "client/retry_after.h"

#include <time.h>

enum { MAX_SECONDS_BITS = 40 };

static int64_t seconds_to_us(uint64_t seconds)
{
    const uint64_t most = UINT64_C(1) << MAX_SECONDS_BITS;
    return (int64_t)(seconds > most ? most : seconds) * 1000000;
}

/* A reader over fixed-width date fields: every function fails by setting `ok` to false. */
typedef struct date_reader {
    dp_slice rest;
    bool ok;
} date_reader;

static dp_slice take(date_reader *reader, size_t length)
{
    if (!reader->ok || reader->rest.length < length) {
        reader->ok = false;
        return (dp_slice){"", 0};
    }
    dp_slice taken = {reader->rest.data, length};
    reader->rest.data += length;
    reader->rest.length -= length;
    return taken;
}

static void expect(date_reader *reader, const char *text)
{
    if (!dp_slice_equal_text(take(reader, strlen(text)), text)) reader->ok = false;
}

static int number(date_reader *reader, size_t digits, int minimum, int maximum)
{
    uint64_t value = 0;
    if (!dp_slice_to_u64(take(reader, digits), (uint64_t)maximum, &value) || (int)value < minimum) {
        reader->ok = false;
        return minimum;
    }
    return (int)value;
}

static int month(date_reader *reader)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    dp_slice name = take(reader, 3);
    for (int i = 0; i < 12 && reader->ok; i++) {
        if (memcmp(names + 3 * i, name.data, 3) == 0) return i;
    }
    reader->ok = false;
    return 0;
}

static void time_of_day(date_reader *reader, struct tm *parts)
{
    parts->tm_hour = number(reader, 2, 0, 23);
    expect(reader, ":");
    parts->tm_min = number(reader, 2, 0, 59);
    expect(reader, ":");
    parts->tm_sec = number(reader, 2, 0, 60);
}

/* " 06 Nov 1994 08:49:37 GMT": what follows the comma of an IMF-fixdate. */
static bool read_fixdate(dp_slice text, struct tm *parts)
{
    date_reader reader = {text, true};
    expect(&reader, " ");
    parts->tm_mday = number(&reader, 2, 1, 31);
    expect(&reader, " ");
    parts->tm_mon = month(&reader);
    expect(&reader, " ");
    parts->tm_year = number(&reader, 4, 1900, 9999) - 1900;
    expect(&reader, " ");
    time_of_day(&reader, parts);
    expect(&reader, " GMT");
    return reader.ok && reader.rest.length == 0;
}

/* " 06-Nov-94 08:49:37 GMT": what follows the comma in the obsolete form of RFC 850. */
static bool read_rfc850(dp_slice text, struct tm *parts)
{
    date_reader reader = {text, true};
    expect(&reader, " ");
    parts->tm_mday = number(&reader, 2, 1, 31);
    expect(&reader, "-");
    parts->tm_mon = month(&reader);
    expect(&reader, "-");
    int year = number(&reader, 2, 0, 99);
    parts->tm_year = year < 70 ? year + 100 : year;
    expect(&reader, " ");
    time_of_day(&reader, parts);
    expect(&reader, " GMT");
    return reader.ok && reader.rest.length == 0;
}

/* "Sun Nov  6 08:49:37 1994": what C's asctime writes. */
static bool read_asctime(dp_slice text, struct tm *parts)
{
    date_reader reader = {text, true};
    take(&reader, 3);
    expect(&reader, " ");
    parts->tm_mon = month(&reader);
    expect(&reader, " ");
    bool one_digit = reader.rest.length > 0 && reader.rest.data[0] == ' ';
    if (one_digit) take(&reader, 1);
    parts->tm_mday = number(&reader, one_digit ? 1 : 2, 1, 31);
    expect(&reader, " ");
    time_of_day(&reader, parts);
    expect(&reader, " ");
    parts->tm_year = number(&reader, 4, 1900, 9999) - 1900;
    return reader.ok && reader.rest.length == 0;
}

int64_t dp_retry_after_us(dp_slice value, int64_t wall_now_us)
{
    dp_slice text = dp_slice_trim(value);
    uint64_t seconds;
    if (dp_slice_to_u64(text, UINT64_MAX, &seconds)) return seconds_to_us(seconds);
    bool all_digits = text.length > 0;
    for (size_t i = 0; i < text.length; i++) {
        all_digits = all_digits && text.data[i] >= '0' && text.data[i] <= '9';
    }
    if (all_digits) return seconds_to_us(UINT64_MAX); /* more digits than the type holds */

    struct tm parts = {0};
    dp_slice day;
    dp_slice date;
    bool has_comma = dp_slice_split(text, ',', &day, &date);
    if (!(has_comma ? read_fixdate(date, &parts) || read_rfc850(date, &parts) : read_asctime(text, &parts))) {
        return -1;
    }
    int64_t then_us = (int64_t)timegm(&parts) * 1000000;
    return then_us > wall_now_us ? then_us - wall_now_us : 0;
}
