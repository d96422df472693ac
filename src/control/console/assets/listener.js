// Where shippers send to.

const PORT = 8070;

// The address to show: over TLS if there is one. Of a server that does not say, the usual port of this host.
export function listenerUrl(settings) {
  const { http, https } = settings.listener ?? {};
  return https ?? http ?? `http://${location.hostname}:${PORT}`;
}
