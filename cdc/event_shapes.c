#include "cdc/event_shapes.h"

#include <stdlib.h>

#include "base/hex.h"
#include "base/json_scanner.h"

enum { SHAPES = 8, COLUMNS = 64 };

/* An object's members in their order: for each the name in quotes and the colon. */
typedef struct object_shape {
    bool known;
    size_t count;
    dp_slice heads[COLUMNS];
} object_shape;

typedef struct event_shape {
    dp_slice head; /* what stands between the id and the position */
    dp_operation operation;
    dp_slice source_schema;
    dp_slice source_table;
    object_shape data;
    object_shape before;
} event_shape;

struct dp_event_shapes {
    event_shape shapes[SHAPES];
    size_t count;
    size_t last; /* the shape that fitted last */
    size_t next; /* the one to be replaced when all are used */
};

dp_event_shapes *dp_event_shapes_new(void)
{
    return calloc(1, sizeof(dp_event_shapes));
}

void dp_event_shapes_free(dp_event_shapes *shapes)
{
    free(shapes);
}

void dp_event_shapes_clear(dp_event_shapes *shapes)
{
    shapes->count = shapes->last = shapes->next = 0;
}

/* --- pieces of a line ---------------------------------------------------------------------------------- */

typedef struct cursor {
    const char *at;
    const char *end;
} cursor;

static inline size_t left_in(const cursor *self)
{
    return (size_t)(self->end - self->at);
}

static inline bool accept(cursor *self, dp_slice text)
{
    if (left_in(self) < text.length || memcmp(self->at, text.data, text.length) != 0) return false;
    self->at += text.length;
    return true;
}

static inline bool take_digest(cursor *self, uint8_t out[DP_SHA256_BYTES])
{
    if (left_in(self) < DP_SHA256_HEX_LENGTH) return false;
    if (!dp_hex_decode_lower((dp_slice){self->at, DP_SHA256_HEX_LENGTH}, out)) return false;
    self->at += DP_SHA256_HEX_LENGTH;
    return true;
}

/* Up to the quote that ends a text of at most 20 bytes; what they are is for the caller to say. */
static inline bool take_short_text(cursor *self, dp_slice *text)
{
    const char *start = self->at;
    while (self->at < self->end && *self->at != '"' && self->at - start <= 20) {
        self->at++;
    }
    *text = (dp_slice){start, (size_t)(self->at - start)};
    return self->at < self->end && *self->at == '"' && text->length > 0 && text->length <= 20;
}

static inline bool take_number(cursor *self, uint64_t *value)
{
    const char *start = self->at;
    uint64_t result = 0;
    while (self->at < self->end && *self->at >= '0' && *self->at <= '9' && self->at - start < 18) {
        result = result * 10 + (uint64_t)(*self->at++ - '0');
    }
    *value = result;
    return self->at > start && (*start != '0' || self->at - start == 1);
}

static inline bool are_digits(dp_slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
    }
    return true;
}

/* An object with just the members of the shape. */
static bool take_object(cursor *self, const object_shape *shape, dp_slice *object)
{
    const char *start = self->at;
    if (!shape->known || !accept(self, DP_SLICE_LITERAL("{"))) return false;
    for (size_t i = 0; i < shape->count; i++) {
        if (i > 0 && !accept(self, DP_SLICE_LITERAL(","))) return false;
        if (!accept(self, shape->heads[i])) return false;
        size_t length = dp_json_flat_value_length((dp_slice){self->at, left_in(self)});
        if (length == 0) return false;
        self->at += length;
    }
    if (!accept(self, DP_SLICE_LITERAL("}"))) return false;
    *object = (dp_slice){start, (size_t)(self->at - start)};
    return true;
}

/* --- reading ------------------------------------------------------------------------------------------- */

static bool take_rest(cursor *self, const event_shape *shape, dp_event *event)
{
    dp_lsn lsn;
    if (!take_short_text(self, &event->position) || !dp_lsn_parse(event->position, &lsn)) return false;
    if (!accept(self, DP_SLICE_LITERAL("\",\"transaction_id\":\""))) return false;
    if (!take_short_text(self, &event->transaction_id) || !are_digits(event->transaction_id)) return false;
    if (!accept(self, DP_SLICE_LITERAL("\",\"sequence\":")) || !take_number(self, &event->sequence))
        return false;
    if (!accept(self, DP_SLICE_LITERAL(",\"ordinal\":")) || !take_number(self, &event->ordinal)) return false;
    if (!accept(self, DP_SLICE_LITERAL(",\"data\":")) || !take_object(self, &shape->data, &event->data)) {
        return false;
    }
    if (!accept(self, DP_SLICE_LITERAL(",\"before\":"))) return false;
    if (!accept(self, DP_SLICE_LITERAL("null")) && !take_object(self, &shape->before, &event->before)) {
        return false;
    }
    return accept(self, DP_SLICE_LITERAL(",\"unchanged\":[]}")) && self->at == self->end;
}

/* The shape whose head stands at the cursor, which is moved past it. */
static const event_shape *find_shape(dp_event_shapes *shapes, cursor *self)
{
    for (size_t tried = 0; tried < shapes->count; tried++) {
        const event_shape *shape = &shapes->shapes[shapes->last];
        if (accept(self, shape->head)) return shape;
        shapes->last = shapes->last + 1 < shapes->count ? shapes->last + 1 : 0;
    }
    return NULL;
}

bool dp_event_shapes_scan(dp_event_shapes *shapes, dp_slice line, uint64_t line_number, dp_event *event)
{
    cursor self = {line.data, line.data + line.length};
    *event = (dp_event){.has_id = true, .has_sequence = true, .line_number = line_number};
    if (shapes->count == 0 || !accept(&self, DP_SLICE_LITERAL("{\"event_id\":\""))) return false;
    if (!take_digest(&self, event->id.bytes)) return false;
    const event_shape *shape = find_shape(shapes, &self);
    if (shape == NULL || !take_rest(&self, shape, event)) return false;
    event->operation = shape->operation;
    event->source_schema = shape->source_schema;
    event->source_table = shape->source_table;
    return true;
}

/* --- learning ------------------------------------------------------------------------------------------ */

/* The names of an object that has been read: they are all different. */
static void learn_object(dp_slice object, object_shape *shape)
{
    dp_json_scanner scanner;
    dp_json_token token;
    shape->known = false;
    if (object.data == NULL) return;
    dp_json_scanner_init(&scanner, object);
    if (dp_json_next(&scanner, &token) != DP_JSON_BEGIN_OBJECT) return;
    shape->known = dp_json_skip_flat_object(&scanner, shape->heads, COLUMNS, &shape->count);
    for (size_t i = 0; shape->known && i < shape->count; i++) {
        shape->heads[i].data -= 1;   /* the quote */
        shape->heads[i].length += 3; /* and the other one and the colon */
    }
}

/* A name as it stands in the line, when that is how it reads. */
static bool accept_name(cursor *self, dp_slice name)
{
    return memchr(name.data, '\\', name.length) == NULL && self->at == name.data && accept(self, name);
}

/* Whether the line begins in the usual order, so that its head says all it seems to. */
static bool take_head(cursor *self, const dp_event *event, dp_slice *head)
{
    uint8_t id[DP_SHA256_BYTES];
    if (!accept(self, DP_SLICE_LITERAL("{\"event_id\":\"")) || !take_digest(self, id)) return false;
    const char *start = self->at;
    if (!accept(self, DP_SLICE_LITERAL("\",\"operation\":\""))) return false;
    if (!accept(self, dp_operation_text(event->operation))) return false;
    if (!accept(self, DP_SLICE_LITERAL("\",\"source_schema\":\""))) return false;
    if (!accept_name(self, event->source_schema)) return false;
    if (!accept(self, DP_SLICE_LITERAL("\",\"source_table\":\""))) return false;
    if (!accept_name(self, event->source_table)) return false;
    if (!accept(self, DP_SLICE_LITERAL("\",\"position\":\""))) return false;
    *head = (dp_slice){start, (size_t)(self->at - start)};
    return self->at == event->position.data;
}

void dp_event_shapes_learn(dp_event_shapes *shapes, dp_slice line, const dp_event *event)
{
    cursor self = {line.data, line.data + line.length};
    cursor after_id;
    dp_slice head;
    if (!take_head(&self, event, &head)) return;
    after_id = (cursor){head.data, line.data + line.length};
    event_shape *shape;
    if (find_shape(shapes, &after_id) != NULL) {
        shape = &shapes->shapes[shapes->last]; /* its columns are others now */
    } else if (shapes->count < SHAPES) {
        shape = &shapes->shapes[shapes->count++];
        *shape = (event_shape){.operation = event->operation};
    } else {
        shape = &shapes->shapes[shapes->next];
        shapes->next = (shapes->next + 1) % SHAPES;
        *shape = (event_shape){.operation = event->operation};
    }
    shapes->last = (size_t)(shape - shapes->shapes);
    shape->head = head;
    shape->operation = event->operation;
    shape->source_schema = event->source_schema;
    shape->source_table = event->source_table;
    learn_object(event->data, &shape->data);
    if (event->before.data != NULL) learn_object(event->before, &shape->before);
}
