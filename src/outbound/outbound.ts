import type { Readable } from 'node:stream';
import type { OutboundResponse } from './buffered-response.ts';
import type { Requester } from './bulkhead.ts';
import type { Lookup } from './dns.ts';
import type { SeenCertificate } from './peer-certificates.ts';
import type { HttpProxy } from './proxy.ts';
import type { BodyTransform, StreamedResponse, StreamLimits } from './streamed-response.ts';

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
