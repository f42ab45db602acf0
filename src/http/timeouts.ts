import type { ServerOptions } from 'node:http';

/** Timeouts of requests and connections, and the size limit of headers. */
export const httpTimeouts: ServerOptions = {
  // Protects against clients that hold connections by sending headers slowly (Slowloris).
  headersTimeout: 10_000,
  // Enough for the largest body (100 kB) at 40 kbit/s.
  requestTimeout: 20_000,
  // Longer than load balancers keep an idle connection (usually 60 s); otherwise they send requests over connections that
  // are about to close.
  keepAliveTimeout: 65_000,
  // The accuracy of the first two.
  connectionsCheckingInterval: 1_000,
  // An access token can have 8 kB.
  maxHeaderSize: 16_384,
};
