import { Agent } from 'undici';
import { isAllowedHost, matchesDomain, normalizeHost } from './address.ts';
import { BufferedResponseHandler, type OutboundResponse } from './buffered-response.ts';
import { Bulkhead, type Requester, type Slot } from './bulkhead.ts';
import { type ConnectorSettings, createConnector } from './connector.ts';
import { type Lookup, withSystemLookup } from './dns.ts';
import { createDnsLookup } from './dns-lookup.ts';
import { hostPort } from './host-port.ts';
import { OutboundError } from './outbound-error.ts';
import type { HttpProxy } from './proxy.ts';

export type { Lookup } from './dns.ts';

/** Where the client may go and how much it takes. */
export interface OutboundSettings {
  /** `host:port`, lower case and always with the port, that may be http, loopback or private. */
  trustedHosts: ReadonlySet<string>;
  /** Names under which every host that is not trusted has to be: `okta.com`. Absent: any public host. */
  allowedHosts?: readonly string[] | undefined;
  /** Origins that are replaced by others, such as the fake Okta: `https://example.okta.com` → `http://127.0.0.1:12345`. */
  originOverrides?: ReadonlyMap<string, string>;
  /** Through which everything goes that leaves this machine. Absent: nothing is between. */
  proxy?: HttpProxy | undefined;
  /** Whether the proxy looks names up, and this server does not. Off if absent. */
  proxyResolves?: boolean;
  /** Milliseconds for the whole exchange: name, connection, TLS, headers and body. 10,000 if absent. */
  timeoutMs?: number;
  /** The most bytes of body that any request may ask for. 64 KiB if absent. */
  maxBytes?: number;
  /** Finds the addresses of a host name; in the hosts file and the DNS if absent. */
  lookup?: Lookup;
}

/** What to send, and how much may come back. */
export interface OutboundRequest {
  headers: Record<string, string>;
  /** The most bytes of body, also once it is decompressed. The most that the client allows if absent. */
  maxBytes?: number;
  signal?: AbortSignal | undefined;
}

/** A request that brings something. */
export interface OutboundPost extends OutboundRequest {
  body: string;
}

/** The one HTTP client that talks to other people's hosts. */
export interface Outbound {
  /**
   * Asks once, with our own `User-Agent` and `Accept-Encoding` added to the headers.
   *
   * @throws OutboundError whatever goes wrong, with nothing of the headers or the body in it
   */
  get(url: URL, request: OutboundRequest): Promise<OutboundResponse>;
  /**
   * Sends a text, as `get` asks.
   *
   * @throws OutboundError as `get` does
   */
  post(url: URL, request: OutboundPost): Promise<OutboundResponse>;
  /**
   * Refuses what `get` would refuse at once, without looking anything up.
   *
   * @throws OutboundError `HOST_NOT_ALLOWED`, `HOST_NOT_LISTED` or `BUSY`
   */
  assertCanGet(url: URL): void;
}

/** A client, and the clients for those who have requests sent. */
export interface OutboundClient extends Outbound {
  /** The same client for one caller, who may hold a share of its slots. */
  onBehalfOf(requester: Requester): Outbound;
  /** Ends every connection; exchanges still under way end as `ABORTED`. */
  close(): Promise<void>;
}

/** Makes the client. Certificates are always verified; there is no setting for that. */
export function createOutbound(settings: OutboundSettings): OutboundClient {
  const timeoutMs = settings.timeoutMs ?? 10_000;
  const maxBytes = settings.maxBytes ?? 64 * 1024;
  const lookup = settings.lookup ?? createDnsLookup();
  // The operator has named the trusted hosts and the proxy, so the operating system may be asked for them too.
  const operatorLookup = settings.lookup ?? withSystemLookup(lookup);
  const closing = new AbortController();
  /** The slot of the request that is being dispatched: undici starts to connect for it before that returns. */
  let dispatching: Slot | undefined;
  const shared = {
    proxy: settings.proxy,
    proxyLookup: operatorLookup,
    proxyResolves: settings.proxyResolves ?? false,
    timeoutMs,
    // Chunks, headers and TLS may double a body, and an answer without one still has headers.
    maxWireBytes: 2 * maxBytes + 32 * 1024,
    closing: closing.signal,
    holdSlot: () => dispatching?.hold(),
  };
  const guarded = createAgent({ ...shared, lookup, isGuarded: true });
  const trusted = createAgent({ ...shared, lookup: operatorLookup, isGuarded: false });
  const slots = new Bulkhead(timeoutMs);

  /** Who answers for a URL, and over which agent. Addresses are checked here: sockets look up names only. */
  function route(url: URL): { agent: Agent; origin: string; isOverridden?: boolean } {
    const override = settings.originOverrides?.get(url.origin);
    if (override !== undefined) return { agent: trusted, origin: override, isOverridden: true };
    if (settings.trustedHosts.has(hostPort(url))) return { agent: trusted, origin: url.origin };
    if (settings.allowedHosts && !matchesDomain(url.hostname, settings.allowedHosts)) {
      throw new OutboundError('HOST_NOT_LISTED', 'the host is not in the list of allowed hosts');
    }
    if (url.protocol !== 'https:') {
      throw new OutboundError('HOST_NOT_ALLOWED', 'only https is allowed for this host');
    }
    if (!isAllowedHost(url.hostname)) {
      throw new OutboundError('HOST_NOT_ALLOWED', 'the host is a private or reserved address');
    }
    return { agent: guarded, origin: url.origin };
  }

  /** Acquires a slot. Overridden origins are inside this server and need none. */
  function acquireSlot(url: URL, isOverridden: boolean | undefined, requester: Requester | undefined) {
    return isOverridden ? undefined : slots.acquire(normalizeHost(url.hostname), requester);
  }

  function clientFor(requester?: Requester): Outbound {
    const send = async (
      url: URL,
      method: 'GET' | 'POST',
      { headers, maxBytes: most = maxBytes, signal, body }: OutboundRequest & { body?: string },
    ): Promise<OutboundResponse> => {
      const { agent, origin, isOverridden } = route(url);
      using slot = acquireSlot(url, isOverridden, requester);
      const exchange = new BufferedResponseHandler({
        timeoutMs,
        maxBytes: most,
        signals: [signal, closing.signal],
      });
      dispatching = slot;
      exchange.start(agent, {
        ...{ origin, path: url.pathname + url.search, method },
        headers: { ...headers, 'accept-encoding': 'identity', 'user-agent': 'app-connections' },
        ...(body !== undefined && { body }),
      });
      dispatching = undefined;
      return await exchange.response;
    };
    return {
      get: (url, request) => send(url, 'GET', request),
      post: (url, request) => send(url, 'POST', request),

      assertCanGet(url) {
        using _ = acquireSlot(url, route(url).isOverridden, requester);
      },
    };
  }

  return {
    ...clientFor(),
    onBehalfOf: clientFor,
    async close() {
      closing.abort(new OutboundError('ABORTED', 'the request was aborted'));
      await Promise.all([guarded.destroy(), trusted.destroy()]);
    },
  };
}

function createAgent(settings: ConnectorSettings): Agent {
  return new Agent({
    allowH2: false,
    // The deadline of the exchange covers both.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16 * 1024,
    // The other side may ask for longer, but not for ten minutes.
    keepAliveMaxTimeout: 60_000,
    connect: createConnector(settings),
  });
}
