/* Numbers as Python prints them: json.dumps(float(text)), for the dpone-py identity. */
#ifndef DPONE_CDC_PYTHON_NUMBER_H
#define DPONE_CDC_PYTHON_NUMBER_H

#include "base/buffer.h"

/* float4 or float8: repr(float(text)); NaN, Infinity and -Infinity as json.dumps writes them. False when the
 * text is no number, or longer than 64 bytes. */
bool dp_python_put_float(dp_buffer *out, dp_slice text);

/* numeric: an integral value as the exact integer of any length, another as dp_python_put_float. */
bool dp_python_put_numeric(dp_buffer *out, dp_slice text);

#endif
