import type { ServerOptions } from 'node:http';

/** How long a caller may take, and how much there may be before the body. */
export const httpTimeouts: ServerOptions = {
  // Headers come in one piece from everybody but those who would rather hold on to connections.
  headersTimeout: 10_000,
  // The largest body there may be, over a line of 40 kbit/s.
  requestTimeout: 20_000,
  // Longer than load balancers keep an idle connection, most of them for 60 s: else they send a request over one that is
  // about to be closed.
  keepAliveTimeout: 65_000,
  // How late the first two may be noticed.
  connectionsCheckingInterval: 1_000,
  // The longest credential has 8 kB.
  maxHeaderSize: 16_384,
};
