import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { currentRequest, type Logger, RequestLogContext, safeErrorFields } from '../common/log.ts';
import { currentSpan, type Tracer } from '../common/tracing.ts';
import { findHeaderDefect, refuseMalformed } from './bad-requests.ts';
import { type AddressRange, clientIp } from './client-ip.ts';
import { LingeringConnections } from './lingering-close.ts';
import { givenRequestId, logRequest } from './request-log.ts';
import { startRequestSpan } from './request-span.ts';
import { securityHeaders } from './security-headers.ts';
import { serverUrl } from './server-url.ts';
import { httpTimeouts } from './timeouts.ts';
import { createTlsServer, type TlsFiles } from './tls.ts';

/** Configuration of the HTTP server. */
export interface HttpServerOptions {
  host: string;
  port: number;
  /** Absent: HTTP without TLS. */
  tls?: TlsFiles | undefined;
  /** The proxies whose `X-Forwarded-For` and `X-Request-Id` are used. */
  trustedProxies: readonly AddressRange[];
  /** Whether clients use TLS, also if a proxy terminates it. */
  isOverTls: boolean;
  log: Logger;
  /** Absent: requests are not traced. */
  tracer?: Tracer | undefined;
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** A listening HTTP server. */
export interface HttpServer {
  url: string;
  /** Stops accepting requests and waits up to `drainMs` milliseconds for those in flight. */
  close(drainMs: number): Promise<void>;
}

/**
 * Starts the HTTP server. Every response has the id of the request and the security headers; every request is logged once.
 *
 * @throws StartupError if it cannot listen on the port, or cannot use the certificate
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, tls, trustedProxies, log, tracer, handle } = options;
  const headers = securityHeaders(options);
  const headerEntries = Object.entries(headers);
  const inFlight = new InFlightResponses();
  const lingering = new LingeringConnections();
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    inFlight.add(response);
    lingering.watch(request, response);
    if (!http.listening) response.setHeader('connection', 'close');
    const record = new RequestLogContext(
      givenRequestId(request, trustedProxies) ?? randomUUID(),
      clientIp(request, trustedProxies),
      request.url,
    );
    for (const [name, value] of headerEntries) response.setHeader(name, value);
    response.setHeader('x-request-id', record.id);
    record.span = tracer && startRequestSpan(tracer, request);
    const run = () => {
      response.once('close', () => {
        inFlight.delete(response);
        // A response that was being sent when the server began to stop could not have `Connection: close`.
        if (!http.listening) http.closeIdleConnections();
        logRequest(log, record, response);
      });
      const defect = findHeaderDefect(request);
      if (defect) return sendText(response, 400, defect);
      handle(request, response).catch((error: unknown) => {
        log.error({ error: safeErrorFields(error) }, 'unexpected error');
        if (!response.headersSent) sendText(response, 500, `Internal server error. Request id: ${record.id}`);
        else response.destroy();
      });
    };
    const { span } = record;
    currentRequest.run(record, span ? () => currentSpan.run(span, run) : run);
  };
  const serverOptions = { ...httpTimeouts, requireHostHeader: false };
  const http = tls ? createTlsServer(tls, serverOptions, log, serve) : createServer(serverOptions, serve);
  // Node would respond with 417 itself, without the security headers. RFC 9110 allows to ignore unknown expectations.
  http.on('checkExpectation', serve);
  http.on('clientError', (error, socket) => {
    const requestId = randomUUID();
    const pending = inFlight.all().filter((response) => response.socket === socket);
    // The response to this request is already sent.
    if (lingering.has(socket)) return void socket.destroy();
    const status = refuseMalformed(error, socket, { ...headers, 'x-request-id': requestId }, pending, () =>
      lingering.discard(socket),
    );
    if (status) log.info({ requestId, status, outcome: `HTTP_${status}` }, 'request');
  });

  const listenOn = (address: string) =>
    new Promise<string>((resolve, reject) => {
      http.once('error', reject).listen(port, address, () => {
        http.off('error', reject);
        resolve(address);
      });
    });
  let address: string;
  try {
    address = await listenOn(host).catch((error: unknown) => {
      // On machines without IPv6, "::" (all addresses of both families) is not available.
      if (host !== '::' || !withoutIpv6.has(errorField(error, 'code') ?? '')) throw error;
      return listenOn('0.0.0.0');
    });
  } catch (error) {
    throw new StartupError(describeListenError(host, port, error));
  }

  return {
    url: serverUrl(http, tls ? 'https' : 'http', address),
    close: async (drainMs) => {
      const closed = new Promise((resolve) => http.close(resolve));
      // Without it, a client would send its next request over a connection that is about to close.
      for (const response of inFlight.all())
        if (!response.headersSent) response.setHeader('connection', 'close');
      const deadline = setTimeout(() => http.closeAllConnections(), drainMs);
      await closed;
      clearTimeout(deadline);
    },
  };
}

const withoutIpv6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

/**
 * The responses that have not ended. An array, not a `Set`: V8 rehashes a `Set` with many insertions and deletions, and
 * retains the old tables, with the responses in them, until a major garbage collection (0.161 → 0.132 ms per request).
 */
class InFlightResponses {
  readonly #responses: ServerResponse[] = [];

  add(response: ServerResponse): void {
    this.#responses.push(response);
  }

  delete(response: ServerResponse): void {
    // From the end, because the newest responses usually end first.
    const index = this.#responses.lastIndexOf(response);
    const last = this.#responses.pop();
    if (last && last !== response) this.#responses[index] = last;
  }

  all(): readonly ServerResponse[] {
    return this.#responses;
  }
}

/** Sends a plain-text response. */
export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}

function describeListenError(host: string, port: number, error: unknown): string {
  const code = errorField(error, 'code');
  if (code === 'EADDRINUSE') return `PORT ${port} is in use on ${host}; set PORT to another port`;
  if (code === 'EACCES')
    return `PORT ${port} needs privileges that this user does not have; set PORT to another port`;
  return `HOST ${host}: cannot listen on this address (${code ?? 'unknown error'})`;
}
