/** How often something may be done in a window. */
export interface Rate {
  points: number;
  /**
   * How many of the points a server takes at a time, to hand them out without asking again. What one server holds,
   * another cannot hand out: a caller who asks several may be told to wait so many points too early for each of them.
   */
  leaseSize: number;
}

/** Every limit on how often. */
export interface Rates {
  /** How long a window is. It starts with the first point that is taken of it, and is one for all servers. */
  windowSeconds: number;
  /** Requests of an API key, or of a subject of the identity provider. */
  caller: Rate;
  /** The same for all callers of an organisation together. */
  organisation: Rate;
  /** Requests of an address that come without a credential that has been good before. */
  unauthenticated: Rate;
  /** Credentials that let nobody in, by address. */
  failedAuthentication: Rate;
  /** Calls to a host that the caller names, by API key or subject. */
  outbound: Rate;
  /** The same for all callers of an organisation together. */
  outboundOfOrganisation: Rate;
  /** Changes that need no call to a host, by API key or subject: each leaves rows that are kept. */
  change: Rate;
  /** The same for all callers of an organisation together. */
  changeOfOrganisation: Rate;
  /** How many subscriptions an API key or a subject may hold open on one server. */
  subscriptions: number;
}

/** What is usual. */
export const defaultRates: Rates = {
  windowSeconds: 60,
  // 50 a second: a front end that serves many people with one key does not get there, and nor does a script that waits
  // for its answers. It is a tenth of what one server with a small PostgreSQL answers, so no caller takes it all.
  caller: { points: 3_000, leaseSize: 100 },
  // Four callers at their limit, as for calls to hosts: whoever makes more keys gets no more of the server.
  organisation: { points: 12_000, leaseSize: 200 },
  // An office behind one address signs in anew with some hundred credentials a minute, and not with more.
  unauthenticated: { points: 600, leaseSize: 30 },
  // Whoever has mistyped a key tries a few times, and a script that has an old one tries once.
  failedAuthentication: { points: 20, leaseSize: 1 },
  // A connection a second is more than people make, and what a move of some hundreds takes is minutes; looking for open
  // ports in this way takes days.
  outbound: { points: 60, leaseSize: 6 },
  outboundOfOrganisation: { points: 240, leaseSize: 12 },
  // Ten a second renames a thousand connections in under two minutes. Each change has an audit event, which stays, so this
  // bounds how fast one caller fills the database; a request alone may have 15 changes.
  change: { points: 600, leaseSize: 30 },
  changeOfOrganisation: { points: 2_400, leaseSize: 60 },
  // Each holds a socket and looks after its key every two seconds.
  subscriptions: 50,
};
