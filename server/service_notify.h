/* Tells a service manager (systemd, Type=notify) about readiness: sd_notify(3)'s datagram, without its
 * library. Does nothing when NOTIFY_SOCKET is not set. */
#ifndef DPONE_SERVER_SERVICE_NOTIFY_H
#define DPONE_SERVER_SERVICE_NOTIFY_H

/* `state` is such as "READY=1". */
void dp_service_notify(const char *state);

#endif
