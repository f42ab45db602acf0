/** A limit on the number of requests in a window. */
export interface Rate {
  points: number;
  /**
   * The number of points that a server leases at a time and spends without a database query. Another server cannot spend
   * leased points, so a caller of several servers can be limited up to one lease per server too early.
   */
  leaseSize: number;
}

/** All rate limits of a server. */
export interface Rates {
  /** The length of a window. It starts with its first point, and all servers share it. */
  windowSeconds: number;
  /** Requests per API key or subject. */
  caller: Rate;
  /** The same per organisation. */
  organisation: Rate;
  /** Requests per client address without a credential that the server has accepted before. */
  unauthenticated: Rate;
  /** Rejected credentials per client address. */
  failedAuthentication: Rate;
  /** Calls to a host that the caller names, per API key or subject. */
  outbound: Rate;
  /** The same per organisation. */
  outboundOfOrganisation: Rate;
  /** Requests to apps through connections, per API key or subject. */
  use: Rate;
  /** The same per organisation. */
  useOfOrganisation: Rate;
  /** Changes without a call to a host, per API key or subject. They are limited because each adds rows. */
  change: Rate;
  /** The same per organisation. */
  changeOfOrganisation: Rate;
  /** The number of open subscriptions per API key or subject on one server. */
  subscriptions: number;
}

/** The default rate limits. */
export const defaultRates: Rates = {
  windowSeconds: 60,
  // 50 per second: more than a front end with one key for many users needs, and more than a script that waits for responses
  // reaches. It is a tenth of the throughput of one server with a small PostgreSQL, so no caller can use up all of it.
  caller: { points: 3_000, leaseSize: 100 },
  // Four callers at their limit, as for calls to hosts. More keys do not raise the limit.
  organisation: { points: 12_000, leaseSize: 200 },
  // An office behind one address starts to use some hundred credentials per minute at most.
  unauthenticated: { points: 600, leaseSize: 30 },
  // A user with a mistyped key makes a few attempts, and a script with a revoked one makes one.
  failedAuthentication: { points: 20, leaseSize: 1 },
  // One connection per second is more than users create, and a migration of some hundreds takes minutes. A port scan would
  // take days.
  outbound: { points: 60, leaseSize: 6 },
  outboundOfOrganisation: { points: 240, leaseSize: 12 },
  // 50 per second, as for other requests, from which they are counted apart: Okta accepts 10 per second for most paths.
  use: { points: 3_000, leaseSize: 100 },
  useOfOrganisation: { points: 12_000, leaseSize: 200 },
  // Ten per second rename a thousand connections in under two minutes. Each change adds an audit event that is never
  // deleted, so the limit bounds the growth of the database. One request can have 15 changes.
  change: { points: 600, leaseSize: 30 },
  changeOfOrganisation: { points: 2_400, leaseSize: 60 },
  // Each subscription holds a socket and re-authenticates every two seconds.
  subscriptions: 50,
};
