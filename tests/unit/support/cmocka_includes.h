/* cmocka wants these headers before its own. */
#ifndef DPONE_TESTS_CMOCKA_INCLUDES_H
#define DPONE_TESTS_CMOCKA_INCLUDES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#endif
