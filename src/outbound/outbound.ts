import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { isAllowedHost, matchesDomain, normalizeHost } from './address.ts';
import { lazyAgent } from './agent.ts';
import { BufferedResponseHandler, type OutboundResponse } from './buffered-response.ts';
import {
  Bulkhead,
  bufferedLimits,
  optionalLimits,
  type Requester,
  type Slot,
  streamedLimits,
} from './bulkhead.ts';
import { type Lookup, withSystemLookup } from './dns.ts';
import { createDnsLookup } from './dns-lookup.ts';
import { hostPort } from './host-port.ts';
import { measured } from './measured.ts';
import { OutboundError } from './outbound-error.ts';
import { PeerCertificates, type SeenCertificate } from './peer-certificates.ts';
import type { HttpProxy } from './proxy.ts';
import {
  type BodyTransform,
  bytesPerPiece,
  requestTooLarge,
  type StreamedResponse,
  StreamedResponseHandler,
  type StreamLimits,
} from './streamed-response.ts';
import type { WireLimits } from './wire-limit.ts';

export type { Lookup } from './dns.ts';

/** The settings of the client. */
export interface OutboundSettings {
  /** Hosts, as lower-case `host:port`, that may use http and private or loopback addresses. */
  trustedHosts: ReadonlySet<string>;
  /** The domains that other hosts must belong to: `okta.com`. Absent for any public host. */
  allowedHosts?: readonly string[] | undefined;
  /** Origins that are replaced by others, such as the fake Okta: `https://example.okta.com` → `http://127.0.0.1:12345`. */
  originOverrides?: ReadonlyMap<string, string>;
  /** The proxy for all connections that leave this machine. */
  proxy?: HttpProxy | undefined;
  /** Whether the proxy resolves names instead of this server. Default: false. */
  proxyResolves?: boolean;
  /** The time limit of a request: DNS, connection, TLS, headers and body. Default: 10,000. */
  timeoutMs?: number;
  /** The maximum size of a response body. Default: 64 KiB. */
  maxBytes?: number;
  /** Resolves host names. Default: the hosts file and DNS. */
  lookup?: Lookup;
  /** The limits of `forward`. Default: `defaultStreamLimits`. */
  streamLimits?: StreamLimits | undefined;
}

/** The limits of streamed exchanges: 10 MiB up, 100 MiB down, 30 seconds without a byte, five minutes in all. */
export const defaultStreamLimits: StreamLimits = {
  maxRequestBytes: 10 * 1024 * 1024,
  maxResponseBytes: 100 * 1024 * 1024,
  idleTimeoutMs: 30_000,
  timeoutMs: 300_000,
};

/** The options of a request. */
export interface OutboundRequest {
  headers: Record<string, string>;
  /** The maximum size of the body, compressed and decompressed. Default: that of the client. */
  maxBytes?: number;
  /** The time limit. Default, and maximum: that of the client. */
  timeoutMs?: number;
  /** Whether the sender can do without a response. Such requests have slots of their own, and never take one from others. */
  isOptional?: boolean;
  signal?: AbortSignal | undefined;
  /** Called when the request is about to be written to a connection. Without this call, the host has got nothing of it. */
  onSend?: (() => void) | undefined;
}

/** A request with a body. */
export interface OutboundPost extends OutboundRequest {
  body: string | Uint8Array;
  /** Whether the headers of the response are enough, if its body is too large or does not end. Default: false. */
  ignoresBody?: boolean;
}

/** A request that is streamed. */
export interface OutboundForward {
  method: string;
  /** Path and query. It is sent as it is. */
  path: string;
  /** Names and values in turn. They are sent as they are, so they must not have `Host` or headers of the connection. */
  headers: readonly string[];
  /** It is destroyed when the exchange ends. */
  body?: Readable | undefined;
  /** Called with the status of the response. */
  createTransform?: (status: number) => BodyTransform;
  /** Each of these aborts the exchange. */
  signals?: readonly (AbortSignal | undefined)[];
  /** As in `OutboundRequest`. */
  onSend?: (() => void) | undefined;
}

/** The HTTP client for hosts outside of this server. */
export interface Outbound {
  /**
   * Sends a GET request without retries; adds `User-Agent` and `Accept-Encoding`.
   *
   * @throws OutboundError without any header or body in it
   */
  get(url: URL, request: OutboundRequest): Promise<OutboundResponse>;
  /**
   * Sends a POST request, otherwise like `get`.
   *
   * @throws OutboundError as `get` does
   */
  post(url: URL, request: OutboundPost): Promise<OutboundResponse>;
  /**
   * Sends a DELETE request without a body, otherwise like `get`.
   *
   * @throws OutboundError as `get` does
   */
  delete(url: URL, request: OutboundRequest): Promise<OutboundResponse>;
  /**
   * Sends a request with any method without retries, and resolves when the headers of its response have arrived. Neither
   * body is buffered, and each is read only as fast as its receiver takes it. Adds no header except `Host`.
   *
   * @param origin the scheme, host and port; the rest of it is ignored
   * @throws OutboundError as `get` does; `body` of the response fails with one
   */
  forward(origin: URL, request: OutboundForward): Promise<StreamedResponse>;
  /**
   * Makes the checks of `get` that need no network.
   *
   * @throws OutboundError `HOST_NOT_ALLOWED`, `HOST_NOT_LISTED` or `BUSY`
   */
  assertCanGet(url: URL): void;
}

/** The client of the server, from which clients for callers are derived. */
export interface OutboundClient extends Outbound {
  /** A client whose requests count against the limits of a caller. */
  onBehalfOf(requester: Requester): Outbound;
  /** Lists the certificates of the hosts to which organisations have sent requests in the last two minutes. */
  listCertificates(): SeenCertificate[];
  /** Closes all connections; requests in flight fail with `ABORTED`. */
  close(): Promise<void>;
}

/** Creates the client. Certificates are always verified; there is no setting for that. */
export function createOutbound(settings: OutboundSettings): OutboundClient {
  const timeoutMs = settings.timeoutMs ?? 10_000;
  const maxBytes = settings.maxBytes ?? 64 * 1024;
  const lookup = settings.lookup ?? createDnsLookup();
  // The operator configures trusted hosts and the proxy, so the operating system may resolve them.
  const operatorLookup = settings.lookup ?? withSystemLookup(lookup);
  const closing = new AbortController();
  const certificates = new PeerCertificates();
  /** The slot of the request in `dispatch`; undici starts to connect before `dispatch` returns. */
  let dispatching: Slot | undefined;
  const shared = {
    proxy: settings.proxy,
    proxyLookup: operatorLookup,
    proxyResolves: settings.proxyResolves ?? false,
    timeoutMs,
    closing: closing.signal,
    onHandshake: certificates.addHandshake.bind(certificates),
    holdSlot: () => dispatching?.hold(),
  };
  const createAgents = (wireLimits: WireLimits) => ({
    guarded: lazyAgent({ ...shared, wireLimits, lookup, isGuarded: true }),
    trusted: lazyAgent({ ...shared, wireLimits, lookup: operatorLookup, isGuarded: false }),
  });
  const buffered = {
    // Chunks, headers and TLS can double a body, and a response without a body still has headers.
    agents: createAgents({ maxBytes: 2 * maxBytes + 32 * 1024 }),
    slots: new Bulkhead(bufferedLimits, timeoutMs),
    optionalSlots: new Bulkhead(optionalLimits, timeoutMs),
  };
  const streamLimits = settings.streamLimits ?? defaultStreamLimits;
  const streamed = {
    agents: createAgents({ maxBytes: 2 * streamLimits.maxResponseBytes + 32 * 1024, bytesPerPiece }),
    slots: new Bulkhead(streamedLimits, streamLimits.idleTimeoutMs),
  };

  /** Chooses the agent and origin for a URL, and checks addresses: lookups run only for names. */
  function route(url: URL): { agent: 'guarded' | 'trusted'; origin: string; isOverridden?: boolean } {
    const override = settings.originOverrides?.get(url.origin);
    if (override !== undefined) return { agent: 'trusted', origin: override, isOverridden: true };
    if (settings.trustedHosts.has(hostPort(url))) return { agent: 'trusted', origin: url.origin };
    if (settings.allowedHosts && !matchesDomain(url.hostname, settings.allowedHosts)) {
      throw new OutboundError('HOST_NOT_LISTED', 'the host is not in the list of allowed hosts');
    }
    if (url.protocol !== 'https:') {
      throw new OutboundError('HOST_NOT_ALLOWED', 'only https is allowed for this host');
    }
    if (!isAllowedHost(url.hostname)) {
      throw new OutboundError('HOST_NOT_ALLOWED', 'the host is a private or reserved address');
    }
    return { agent: 'guarded', origin: url.origin };
  }

  /** Acquires a slot. Overridden origins are inside this server and need none. */
  function acquireSlot(
    slots: Bulkhead,
    url: URL,
    isOverridden: boolean | undefined,
    requester: Requester | undefined,
  ) {
    if (isOverridden) return undefined;
    if (requester && url.protocol === 'https:') certificates.addRequest(url.origin, requester.orgId);
    return slots.acquire(normalizeHost(url.hostname), requester);
  }

  function clientFor(requester?: Requester): Outbound {
    const send = async (
      url: URL,
      method: 'GET' | 'POST' | 'DELETE',
      {
        headers,
        maxBytes: maxBodyBytes = maxBytes,
        timeoutMs: ownTimeoutMs = timeoutMs,
        isOptional,
        signal,
        body,
        onSend,
        ignoresBody,
      }: OutboundRequest & Partial<OutboundPost>,
    ): Promise<OutboundResponse> => {
      const { agent, origin, isOverridden } = route(url);
      const slots = isOptional ? buffered.optionalSlots : buffered.slots;
      using slot = acquireSlot(slots, url, isOverridden, requester);
      const handler = new BufferedResponseHandler({
        timeoutMs: Math.min(timeoutMs, ownTimeoutMs),
        maxBytes: maxBodyBytes,
        signals: [signal, closing.signal],
        onSend,
        ignoresBody,
      });
      dispatching = slot;
      handler.start(buffered.agents[agent].get(), {
        origin,
        path: url.pathname + url.search,
        method,
        headers: { ...headers, 'accept-encoding': 'identity', 'user-agent': 'app-connections' },
        ...(body !== undefined && { body }),
      });
      dispatching = undefined;
      return await handler.response;
    };
    return {
      get: (url, request) => measured('GET', url, url.pathname, () => send(url, 'GET', request)),
      post: (url, request) => measured('POST', url, url.pathname, () => send(url, 'POST', request)),
      delete: (url, request) => measured('DELETE', url, url.pathname, () => send(url, 'DELETE', request)),

      async forward(url, { method, path, headers, body, createTransform, signals = [], onSend }) {
        const { agent, origin, isOverridden } = route(url);
        assertRequestSize(headers, streamLimits.maxRequestBytes);
        const slot = acquireSlot(streamed.slots, url, isOverridden, requester);
        const handler = new StreamedResponseHandler({
          limits: streamLimits,
          createTransform,
          signals: [...signals, closing.signal],
          onSend,
          onEnd: () => slot?.[Symbol.dispose](),
        });
        dispatching = slot;
        handler.start(streamed.agents[agent].get(), {
          origin,
          path,
          method: method as Dispatcher.HttpMethod,
          headers: [...headers],
          body: body ?? null,
        });
        dispatching = undefined;
        return measured(method, url, path, () => handler.response);
      },

      assertCanGet(url) {
        using _ = acquireSlot(buffered.slots, url, route(url).isOverridden, requester);
      },
    };
  }

  return {
    ...clientFor(),
    onBehalfOf: clientFor,
    listCertificates: () => certificates.list(),
    async close() {
      closing.abort(new OutboundError('ABORTED', 'the request was aborted'));
      const agents = [buffered, streamed].flatMap(({ agents: { guarded, trusted } }) => [guarded, trusted]);
      await Promise.all(agents.map((agent) => agent.destroy()));
    },
  };
}

/** @throws OutboundError `REQUEST_TOO_LARGE` if the headers announce a body that is too large */
function assertRequestSize(headers: readonly string[], maxBytes: number): void {
  const index = headers.findIndex((name, at) => at % 2 === 0 && name.toLowerCase() === 'content-length');
  if (index >= 0 && Number(headers[index + 1]) > maxBytes) throw requestTooLarge(maxBytes);
}
