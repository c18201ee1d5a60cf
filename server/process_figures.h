/* What the kernel says about this process, for /metrics: memory, CPU, files, threads. */
#ifndef DPONE_SERVER_PROCESS_FIGURES_H
#define DPONE_SERVER_PROCESS_FIGURES_H

#include "server/metrics.h"

/* Fills the process members; what cannot be read stays as it is. */
void dp_process_figures_read(dp_metric_gauges *gauges);

#endif
