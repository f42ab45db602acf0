import type { ServerOptions } from 'node:http';

/** Timeouts of requests and connections, and the size limit of headers. */
export const httpTimeouts: ServerOptions = {
  // Protects against clients that hold connections by sending headers slowly (Slowloris).
  headersTimeout: 10_000,
  // Bodies have time limits of their own, where they are read: 20 s for JSON, and the configured ones for a body that is
  // streamed to an app. This one is for all that is left, such as bodies that no route reads.
  requestTimeout: 3_600_000,
  // Longer than load balancers keep an idle connection (usually 60 s); otherwise they send requests over connections that
  // are about to close.
  keepAliveTimeout: 65_000,
  // The accuracy of the first two.
  connectionsCheckingInterval: 1_000,
  // An access token can have 8 kB.
  maxHeaderSize: 16_384,
};
