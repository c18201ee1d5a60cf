#include "cdc/commit_time.h"

typedef struct cursor {
    dp_slice text;
    size_t at;
    bool failed;
} cursor;

/* Exactly `digits` digits; more are taken while `or_more` holds and the value stays small. */
static int64_t take_number(cursor *in, size_t digits, bool or_more)
{
    int64_t value = 0;
    size_t taken = 0;
    while (in->at < in->text.length && (taken < digits || or_more) && taken < 6) {
        char c = in->text.data[in->at];
        if (c < '0' || c > '9') break;
        value = value * 10 + (c - '0');
        in->at++;
        taken++;
    }
    if (taken < digits) in->failed = true;
    return value;
}

static bool take_byte(cursor *in, char byte)
{
    if (in->at >= in->text.length || in->text.data[in->at] != byte) return false;
    in->at++;
    return true;
}

static void expect_byte(cursor *in, char byte)
{
    if (!take_byte(in, byte)) in->failed = true;
}

/* A number of two digits, at most `maximum`. */
static int64_t take_field(cursor *in, int64_t maximum)
{
    int64_t value = take_number(in, 2, false);
    if (value > maximum) in->failed = true;
    return value;
}

static int64_t take_fraction_us(cursor *in)
{
    size_t start = in->at;
    int64_t value = take_number(in, 1, true);
    for (size_t digits = in->at - start; digits < 6; digits++) {
        value *= 10;
    }
    return value;
}

/* Seconds east of UTC. */
static int64_t take_zone_seconds(cursor *in)
{
    bool west = take_byte(in, '-');
    if (!west) expect_byte(in, '+');
    int64_t seconds = take_field(in, 15) * 3600;
    if (take_byte(in, ':')) seconds += take_field(in, 59) * 60;
    if (in->at < in->text.length && take_byte(in, ':')) seconds += take_field(in, 59);
    return west ? -seconds : seconds;
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March so that the
 * leap day is a year's last. */
static int64_t days_since_epoch(int64_t year, int64_t month, int64_t day)
{
    if (month <= 2) year--;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static bool is_day(int64_t year, int64_t month, int64_t day)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1 || month < 1 || month > 12 || day < 1) return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= lengths[month - 1] + (leap && month == 2 ? 1 : 0);
}

bool dp_commit_time_parse(dp_slice text, int64_t *microseconds)
{
    cursor in = {.text = text};
    int64_t year = take_number(&in, 4, true);
    expect_byte(&in, '-');
    int64_t month = take_field(&in, 12);
    expect_byte(&in, '-');
    int64_t day = take_field(&in, 31);
    expect_byte(&in, ' ');
    int64_t seconds = take_field(&in, 23) * 3600;
    expect_byte(&in, ':');
    seconds += take_field(&in, 59) * 60;
    expect_byte(&in, ':');
    seconds += take_field(&in, 60);
    int64_t fraction_us = take_byte(&in, '.') ? take_fraction_us(&in) : 0;
    seconds -= take_zone_seconds(&in);
    if (in.failed || in.at != text.length || !is_day(year, month, day)) return false;
    *microseconds = (days_since_epoch(year, month, day) * 86400 + seconds) * 1000000 + fraction_us;
    return true;
}
