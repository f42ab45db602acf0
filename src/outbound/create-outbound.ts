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
import { withSystemLookup } from './dns.ts';
import { createDnsLookup } from './dns-lookup.ts';
import { hostPort } from './host-port.ts';
import { measured } from './measured.ts';
import type {
  Outbound,
  OutboundClient,
  OutboundPost,
  OutboundRequest,
  OutboundSettings,
} from './outbound.ts';
import { OutboundError } from './outbound-error.ts';
import { PeerCertificates } from './peer-certificates.ts';
import {
  bytesPerPiece,
  requestTooLarge,
  StreamedResponseHandler,
  type StreamLimits,
} from './streamed-response.ts';
import type { WireLimits } from './wire-limit.ts';

/** The limits of streamed exchanges: 10 MiB up, 100 MiB down, 30 seconds without a byte, five minutes in all. */
export const defaultStreamLimits: StreamLimits = {
  maxRequestBytes: 10 * 1024 * 1024,
  maxResponseBytes: 100 * 1024 * 1024,
  idleTimeoutMs: 30_000,
  timeoutMs: 300_000,
};

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
    if (closing.signal.aborted) throw aborted();
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
        signals: [signal],
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
          signals,
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
      closing.abort(aborted());
      const agents = [buffered, streamed].flatMap(({ agents: { guarded, trusted } }) => [guarded, trusted]);
      await Promise.all(agents.map((agent) => agent.destroy(aborted())));
    },
  };
}

function aborted(): OutboundError {
  return new OutboundError('ABORTED', 'the request was aborted');
}

/** @throws OutboundError `REQUEST_TOO_LARGE` if the headers announce a body that is too large */
function assertRequestSize(headers: readonly string[], maxBytes: number): void {
  const index = headers.findIndex((name, at) => at % 2 === 0 && name.toLowerCase() === 'content-length');
  if (index >= 0 && Number(headers[index + 1]) > maxBytes) throw requestTooLarge(maxBytes);
}
