#include "base/json_scanner.h"

#include "base/utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum scanner_state {
    EXPECT_VALUE,
    EXPECT_FIRST_MEMBER,  /* after '{': a key or '}' */
    EXPECT_FIRST_ELEMENT, /* after '[': a value or ']' */
    AFTER_VALUE,
    FAILED
};

void dp_json_scanner_init(dp_json_scanner *scanner, dp_slice input)
{
    memset(scanner, 0, sizeof *scanner);
    scanner->input = input;
    scanner->state = EXPECT_VALUE;
}

static dp_json_kind fail(dp_json_scanner *scanner, size_t at, const char *fault)
{
    scanner->state = FAILED;
    scanner->fault_at = at;
    scanner->fault = fault;
    return DP_JSON_ERROR;
}

static inline void skip_space(dp_json_scanner *scanner)
{
    const char *data = scanner->input.data;
    size_t at = scanner->position;
    while (at < scanner->input.length &&
           (data[at] == ' ' || data[at] == '\n' || data[at] == '\r' || data[at] == '\t')) {
        at++;
    }
    scanner->position = at;
}

static bool in_object(const dp_json_scanner *scanner)
{
    return (scanner->is_object[scanner->depth / 8] >> (scanner->depth % 8) & 1) != 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Four hexadecimal digits at `at`, or -1. */
static int32_t hex_quad(dp_slice input, size_t at)
{
    if (input.length - at < 4) return -1;
    int32_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_digit(input.data[at + i]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Checks the escape whose backslash is at `at`; returns its length or 0. */
static size_t escape_length(dp_slice input, size_t at)
{
    if (input.length - at < 2) return 0;
    switch (input.data[at + 1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': return 2;
    case 'u': break;
    default: return 0;
    }
    int32_t unit = hex_quad(input, at + 2);
    if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) return 0;
    if (unit < 0xD800 || unit > 0xDBFF) return 6;
    if (input.length - at < 12 || input.data[at + 6] != '\\' || input.data[at + 7] != 'u') return 0;
    int32_t low = hex_quad(input, at + 8);
    return low >= 0xDC00 && low <= 0xDFFF ? 12 : 0;
}

#define ONES UINT64_C(0x0101010101010101)
#define HIGH UINT64_C(0x8080808080808080)

/* A bit at the top of each byte that is not plain: '"', '\\', a control character, or not ASCII. Bits above
 * the lowest one set may be wrong, because subtraction borrows upwards. */
static inline uint64_t stops_in(uint64_t word)
{
    uint64_t quote = word ^ (ONES * '"');
    uint64_t backslash = word ^ (ONES * '\\');
    uint64_t stops =
        ((word - ONES * 0x20) & ~word) | ((quote - ONES) & ~quote) | ((backslash - ONES) & ~backslash);
    return (stops | word) & HIGH;
}

#ifdef __SSE2__
/* One bit for each of sixteen bytes that is not plain; as signed numbers the bytes beyond ASCII are negative.
 */
static inline unsigned stops_in_16(const char *data)
{
    __m128i in = _mm_loadu_si128((const __m128i *)(const void *)data);
    __m128i stops = _mm_cmplt_epi8(in, _mm_set1_epi8(0x20));
    stops = _mm_or_si128(stops, _mm_cmpeq_epi8(in, _mm_set1_epi8('"')));
    stops = _mm_or_si128(stops, _mm_cmpeq_epi8(in, _mm_set1_epi8('\\')));
    return (unsigned)_mm_movemask_epi8(stops);
}
#endif

/* The first byte at or after `at` that is not plain, or the end. */
static inline size_t skip_plain(const char *data, size_t length, size_t at)
{
#ifdef __SSE2__
    while (length - at >= 16) {
        unsigned stops = stops_in_16(data + at);
        if (stops != 0) return at + (size_t)__builtin_ctz(stops);
        at += 16;
    }
#endif
    while (length - at >= 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        uint64_t stops = stops_in(word);
        if (stops != 0) return at + (size_t)__builtin_ctzll(stops) / 8;
        at += 8;
    }
    while (at < length && (unsigned char)data[at] >= 0x20 && (unsigned char)data[at] < 0x80 &&
           data[at] != '"' && data[at] != '\\') {
        at++;
    }
    return at;
}

/* Scans a string whose opening quote is at the position. */
static bool scan_string(dp_json_scanner *scanner, dp_json_token *token)
{
    const char *data = scanner->input.data;
    const size_t length = scanner->input.length;
    const size_t start = scanner->position + 1;
    size_t at = start;
    bool has_high_bytes = false;
    token->has_escapes = false;
    for (;;) {
        at = skip_plain(data, length, at);
        if (at >= length) {
            fail(scanner, length, "unterminated string");
            return false;
        }
        unsigned char byte = (unsigned char)data[at];
        if (byte == '"') break;
        if (byte == '\\') {
            size_t escape = escape_length(scanner->input, at);
            if (escape == 0) {
                fail(scanner, at, "invalid escape in string");
                return false;
            }
            token->has_escapes = true;
            at += escape;
            continue;
        }
        if (byte < 0x20) {
            fail(scanner, at, "control character in string");
            return false;
        }
        if (byte >= 0x80) has_high_bytes = true;
        at++;
    }
    token->text = (dp_slice){data + start, at - start};
    size_t fault_at;
    if (has_high_bytes && !dp_utf8_valid(token->text, &fault_at)) {
        fail(scanner, start + fault_at, "invalid UTF-8 in string");
        return false;
    }
    scanner->position = at + 1;
    return true;
}

static size_t skip_digits(dp_slice input, size_t at)
{
    while (at < input.length && input.data[at] >= '0' && input.data[at] <= '9') {
        at++;
    }
    return at;
}

/* RFC 8259 section 6: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static dp_json_kind scan_number(dp_json_scanner *scanner, dp_json_token *token)
{
    dp_slice input = scanner->input;
    size_t start = scanner->position;
    size_t at = start;
    if (input.data[at] == '-') at++;
    size_t digits = at;
    at = skip_digits(input, at);
    if (at == digits) return fail(scanner, start, "invalid number");
    if (input.data[digits] == '0' && at - digits > 1)
        return fail(scanner, start, "number with a leading zero");
    if (at < input.length && input.data[at] == '.') {
        size_t fraction = ++at;
        at = skip_digits(input, at);
        if (at == fraction) return fail(scanner, start, "number without digits after the point");
    }
    if (at < input.length && (input.data[at] == 'e' || input.data[at] == 'E')) {
        at++;
        if (at < input.length && (input.data[at] == '+' || input.data[at] == '-')) at++;
        size_t exponent = at;
        at = skip_digits(input, at);
        if (at == exponent) return fail(scanner, start, "number without digits in the exponent");
    }
    token->text = (dp_slice){input.data + start, at - start};
    scanner->position = at;
    scanner->state = AFTER_VALUE;
    return token->kind = DP_JSON_NUMBER;
}

static dp_json_kind scan_word(dp_json_scanner *scanner, dp_json_token *token, dp_slice word,
                              dp_json_kind kind)
{
    dp_slice rest = {scanner->input.data + scanner->position, scanner->input.length - scanner->position};
    if (!dp_slice_starts_with(rest, word)) return fail(scanner, scanner->position, "unexpected character");
    token->text = (dp_slice){rest.data, word.length};
    scanner->position += word.length;
    scanner->state = AFTER_VALUE;
    return token->kind = kind;
}

static dp_json_kind open_container(dp_json_scanner *scanner, dp_json_token *token, bool object)
{
    if (scanner->depth == DP_JSON_MAX_DEPTH) return fail(scanner, scanner->position, "nested too deeply");
    scanner->depth++;
    uint8_t bit = (uint8_t)(1u << (scanner->depth % 8));
    if (object) {
        scanner->is_object[scanner->depth / 8] |= bit;
    } else {
        scanner->is_object[scanner->depth / 8] &= (uint8_t)~bit;
    }
    token->text = (dp_slice){scanner->input.data + scanner->position, 1};
    scanner->position++;
    scanner->state = object ? EXPECT_FIRST_MEMBER : EXPECT_FIRST_ELEMENT;
    return token->kind = object ? DP_JSON_BEGIN_OBJECT : DP_JSON_BEGIN_ARRAY;
}

static dp_json_kind close_container(dp_json_scanner *scanner, dp_json_token *token)
{
    token->kind = in_object(scanner) ? DP_JSON_END_OBJECT : DP_JSON_END_ARRAY;
    token->text = (dp_slice){scanner->input.data + scanner->position, 1};
    scanner->position++;
    scanner->depth--;
    scanner->state = AFTER_VALUE;
    return token->kind;
}

static dp_json_kind scan_value(dp_json_scanner *scanner, dp_json_token *token)
{
    switch (scanner->input.data[scanner->position]) {
    case '{': return open_container(scanner, token, true);
    case '[': return open_container(scanner, token, false);
    case '"':
        if (!scan_string(scanner, token)) return DP_JSON_ERROR;
        scanner->state = AFTER_VALUE;
        return token->kind = DP_JSON_STRING;
    case 't': return scan_word(scanner, token, DP_SLICE_LITERAL("true"), DP_JSON_TRUE);
    case 'f': return scan_word(scanner, token, DP_SLICE_LITERAL("false"), DP_JSON_FALSE);
    case 'n': return scan_word(scanner, token, DP_SLICE_LITERAL("null"), DP_JSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return scan_number(scanner, token);
    default: return fail(scanner, scanner->position, "unexpected character");
    }
}

static dp_json_kind scan_key(dp_json_scanner *scanner, dp_json_token *token)
{
    if (scanner->input.data[scanner->position] != '"')
        return fail(scanner, scanner->position, "expected a member name");
    if (!scan_string(scanner, token)) return DP_JSON_ERROR;
    skip_space(scanner);
    if (scanner->position >= scanner->input.length || scanner->input.data[scanner->position] != ':') {
        return fail(scanner, scanner->position, "expected ':' after a member name");
    }
    scanner->position++;
    scanner->state = EXPECT_VALUE;
    return token->kind = DP_JSON_KEY;
}

/* Passes the comma between two members, or closes the container. */
static dp_json_kind after_value(dp_json_scanner *scanner, dp_json_token *token)
{
    char byte = scanner->input.data[scanner->position];
    if (byte == (in_object(scanner) ? '}' : ']')) return close_container(scanner, token);
    if (byte != ',')
        return fail(scanner, scanner->position, "expected ',' or the end of the object or array");
    scanner->position++;
    skip_space(scanner);
    if (scanner->position >= scanner->input.length)
        return fail(scanner, scanner->position, "unexpected end of input");
    token->at = scanner->position;
    return in_object(scanner) ? scan_key(scanner, token) : scan_value(scanner, token);
}

dp_json_kind dp_json_next(dp_json_scanner *scanner, dp_json_token *token)
{
    token->kind = DP_JSON_ERROR;
    token->has_escapes = false;
    if (scanner->state == FAILED) return DP_JSON_ERROR;
    skip_space(scanner);
    token->at = scanner->position;
    bool at_end = scanner->position >= scanner->input.length;
    if (scanner->state == AFTER_VALUE && scanner->depth == 0) {
        if (!at_end) return fail(scanner, scanner->position, "unexpected text after the value");
        return token->kind = DP_JSON_END;
    }
    if (at_end) return fail(scanner, scanner->position, "unexpected end of input");
    char byte = scanner->input.data[scanner->position];
    switch ((enum scanner_state)scanner->state) {
    case EXPECT_VALUE: return scan_value(scanner, token);
    case EXPECT_FIRST_ELEMENT:
        return byte == ']' ? close_container(scanner, token) : scan_value(scanner, token);
    case EXPECT_FIRST_MEMBER: return byte == '}' ? close_container(scanner, token) : scan_key(scanner, token);
    case AFTER_VALUE: return after_value(scanner, token);
    case FAILED: break;
    }
    return DP_JSON_ERROR;
}

bool dp_json_accept_key(dp_json_scanner *scanner, dp_slice name_and_colon)
{
    size_t at = scanner->position;
    if (scanner->state == AFTER_VALUE && scanner->depth > 0 && in_object(scanner)) {
        if (at >= scanner->input.length || scanner->input.data[at] != ',') return false;
        at++;
    } else if (scanner->state != EXPECT_FIRST_MEMBER) {
        return false;
    }
    if (scanner->input.length - at < name_and_colon.length ||
        memcmp(scanner->input.data + at, name_and_colon.data, name_and_colon.length) != 0) {
        return false;
    }
    scanner->position = at + name_and_colon.length;
    scanner->state = EXPECT_VALUE;
    return true;
}

/* The closing quote of a string that begins at `at`, or 0 when it must be scanned the careful way. */
static inline size_t string_end(dp_slice input, size_t at, bool may_have_escapes)
{
    const size_t start = at;
    bool has_high_bytes = false;
    for (;;) {
        at = skip_plain(input.data, input.length, at);
        if (at >= input.length) return 0;
        unsigned char byte = (unsigned char)input.data[at];
        if (byte == '"') break;
        if (byte >= 0x80) {
            has_high_bytes = true;
            at++;
        } else {
            size_t escape = byte == '\\' && may_have_escapes ? escape_length(input, at) : 0;
            if (escape == 0) return 0;
            at += escape;
        }
    }
    if (has_high_bytes && !dp_utf8_valid((dp_slice){input.data + start, at - start}, NULL)) return 0;
    return at;
}

/* The end of a word or of an integer that begins at `at`, or 0 for anything else. */
static inline size_t plain_value_end(dp_slice input, size_t at)
{
    const dp_slice rest = {input.data + at, input.length - at};
    switch (input.data[at]) {
    case 't': return dp_slice_starts_with(rest, DP_SLICE_LITERAL("true")) ? at + 4 : 0;
    case 'f': return dp_slice_starts_with(rest, DP_SLICE_LITERAL("false")) ? at + 5 : 0;
    case 'n': return dp_slice_starts_with(rest, DP_SLICE_LITERAL("null")) ? at + 4 : 0;
    }
    if (input.data[at] == '-') at++;
    size_t end = skip_digits(input, at);
    bool leading_zero = end - at > 1 && input.data[at] == '0';
    bool more = end < input.length && (input.data[end] == '.' || (input.data[end] | 0x20) == 'e');
    return end == at || leading_zero || more ? 0 : end;
}

static inline size_t flat_value_end(dp_slice input, size_t at)
{
    if (at >= input.length) return 0;
    if (input.data[at] != '"') return plain_value_end(input, at);
    size_t end = string_end(input, at + 1, true);
    return end == 0 ? 0 : end + 1;
}

size_t dp_json_flat_value_length(dp_slice input)
{
    return flat_value_end(input, 0);
}

size_t dp_json_scalar_at(dp_slice input, size_t at, dp_json_token *token)
{
    if (at >= input.length || input.data[at] == '{' || input.data[at] == '[') return 0;
    dp_json_scanner scanner; /* a scalar needs nothing of what is left undefined */
    scanner.input = input;
    scanner.position = at;
    token->at = at;
    token->has_escapes = false;
    return scan_value(&scanner, token) == DP_JSON_ERROR ? 0 : scanner.position;
}

/* One member `"name":value` at `at`: its end, or 0. */
static inline size_t flat_member_end(dp_slice input, size_t at, dp_slice *name)
{
    if (at >= input.length || input.data[at] != '"') return 0;
    size_t quote = string_end(input, at + 1, false);
    if (quote == 0 || quote + 1 >= input.length || input.data[quote + 1] != ':') return 0;
    *name = (dp_slice){input.data + at + 1, quote - at - 1};
    return flat_value_end(input, quote + 2);
}

bool dp_json_skip_flat_object(dp_json_scanner *scanner, dp_slice *names, size_t capacity, size_t *count)
{
    const dp_slice input = scanner->input;
    size_t at = scanner->position;
    size_t found = 0;
    if (scanner->state != EXPECT_FIRST_MEMBER || at >= input.length) return false;
    if (input.data[at] != '}') {
        for (;;) {
            if (found == capacity) return false;
            at = flat_member_end(input, at, &names[found++]);
            if (at == 0 || at >= input.length) return false;
            if (input.data[at] == '}') break;
            if (input.data[at++] != ',') return false;
        }
    }
    scanner->position = at + 1;
    scanner->depth--;
    scanner->state = AFTER_VALUE;
    *count = found;
    return true;
}

bool dp_json_skip_value(dp_json_scanner *scanner, const dp_json_token *first, dp_slice *source)
{
    size_t start = first->at;
    if (first->kind == DP_JSON_BEGIN_OBJECT || first->kind == DP_JSON_BEGIN_ARRAY) {
        unsigned outer = scanner->depth - 1;
        dp_json_token token;
        while (scanner->depth > outer) {
            if (dp_json_next(scanner, &token) == DP_JSON_ERROR) return false;
        }
    }
    if (scanner->state == FAILED) return false;
    *source = (dp_slice){scanner->input.data + start, scanner->position - start};
    return true;
}

static size_t unescape_one(dp_slice escaped, size_t *at, char out[4])
{
    char letter = escaped.data[*at + 1];
    *at += 2;
    switch (letter) {
    case 'b': out[0] = '\b'; return 1;
    case 'f': out[0] = '\f'; return 1;
    case 'n': out[0] = '\n'; return 1;
    case 'r': out[0] = '\r'; return 1;
    case 't': out[0] = '\t'; return 1;
    case 'u': break;
    default: out[0] = letter; return 1;
    }
    uint32_t unit = (uint32_t)hex_quad(escaped, *at);
    *at += 4;
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        uint32_t low = (uint32_t)hex_quad(escaped, *at + 2);
        *at += 6;
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    return dp_utf8_encode(unit, out);
}

size_t dp_json_unescape_into(dp_slice escaped, char *out)
{
    size_t length = 0;
    size_t at = 0;
    while (at < escaped.length) {
        const char *backslash = memchr(escaped.data + at, '\\', escaped.length - at);
        size_t plain = backslash == NULL ? escaped.length - at : (size_t)(backslash - escaped.data) - at;
        memmove(out + length, escaped.data + at, plain);
        length += plain;
        at += plain;
        if (at < escaped.length) {
            char decoded[4];
            size_t bytes = unescape_one(escaped, &at, decoded);
            memcpy(out + length, decoded, bytes);
            length += bytes;
        }
    }
    return length;
}

void dp_json_unescape(dp_slice escaped, dp_buffer *out)
{
    if (escaped.length == 0 || !dp_buffer_reserve(out, escaped.length)) return;
    out->length += dp_json_unescape_into(escaped, out->data + out->length);
}
