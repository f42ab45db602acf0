import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StartupError } from '../common/errors.ts';
import { currentRequest, type Logger, type RequestLogContext, safeErrorFields } from '../common/log.ts';
import { findHeaderDefect, refuseMalformed } from './bad-requests.ts';
import { type AddressRange, clientIp } from './client-ip.ts';
import { LingeringConnections } from './lingering-close.ts';
import { securityHeaders } from './security-headers.ts';
import { httpTimeouts } from './timeouts.ts';
import { createTlsServer, type TlsFiles } from './tls.ts';

/** Where to listen, and what answers. */
export interface HttpServerOptions {
  host: string;
  port: number;
  /** Absent: HTTP without TLS. */
  tls?: TlsFiles | undefined;
  /** The proxies that are believed when they say whom they ask for. */
  trustedProxies: readonly AddressRange[];
  /** Whether whoever asks does so over TLS, be it that of a proxy. */
  isOverTls: boolean;
  log: Logger;
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** A port on which requests are answered. */
export interface HttpServer {
  url: string;
  /** Takes no more requests, and finishes those in flight, for which it waits `drainMs` milliseconds at most. */
  close(drainMs: number): Promise<void>;
}

/**
 * Listens. Every answer has its request's id and the headers that all have; every request leaves one line in the log.
 *
 * @throws StartupError when the port cannot be had, or the certificate cannot be used
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, tls, trustedProxies, log, handle } = options;
  const headers = securityHeaders(options);
  const common = Object.entries(headers);
  const unanswered = new InFlightResponses();
  const lingering = new LingeringConnections();
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    unanswered.add(response);
    lingering.watch(request, response);
    if (!http.listening) response.setHeader('connection', 'close');
    const record: RequestLogContext = { id: randomUUID(), address: clientIp(request, trustedProxies) };
    const start = performance.now();
    for (const [name, value] of common) response.setHeader(name, value);
    response.setHeader('x-request-id', record.id);
    currentRequest.run(record, () => {
      response.once('close', () => {
        unanswered.delete(response);
        // What was answered at length cannot have said that the connection is to be closed.
        if (!http.listening) http.closeIdleConnections();
        logRequest(log, record, response, start);
      });
      const flaw = findHeaderDefect(request);
      if (flaw) return sendText(response, 400, flaw);
      handle(request, response).catch((error: unknown) => {
        log.error({ error: safeErrorFields(error) }, 'unexpected error');
        if (!response.headersSent) sendText(response, 500, `Something went wrong on our side: ${record.id}`);
        else response.destroy();
      });
    });
  };
  const settings = { ...httpTimeouts, requireHostHeader: false };
  const http = tls ? createTlsServer(tls, settings, log, serve) : createServer(settings, serve);
  // Node would answer these itself, without our headers. What is expected beyond 100-continue may be left unheeded.
  http.on('checkExpectation', serve);
  http.on('clientError', (error, socket) => {
    const requestId = randomUUID();
    const pending = unanswered.all().filter((response) => response.socket === socket);
    // Its request has been answered already.
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
    address = await listenOn(host).catch((error: NodeJS.ErrnoException) => {
      // "::" is every address of both families, but for machines on which IPv6 is off.
      if (host !== '::' || !withoutIpv6.has(`${error.code}`)) throw error;
      return listenOn('0.0.0.0');
    });
  } catch (error) {
    throw new StartupError(describeListenError(host, port, error));
  }

  const bound = http.address() as AddressInfo;
  return {
    url: `${tls ? 'https' : 'http'}://${address.includes(':') ? `[${address}]` : address}:${bound.port}`,
    close: async (drainMs) => {
      const closed = new Promise((resolve) => http.close(resolve));
      // Else a client would send its next request over a connection that it has reason to think is kept.
      for (const response of unanswered.all())
        if (!response.headersSent) response.setHeader('connection', 'close');
      const deadline = setTimeout(() => http.closeAllConnections(), drainMs);
      await closed;
      clearTimeout(deadline);
    },
  };
}

const withoutIpv6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

/**
 * The answers that have not ended. A `Set` that things come into and go out of all the time is made anew every few of
 * them, and those that it was before keep alive what was in them until the next full collection of garbage: every request
 * would take part in one.
 */
class InFlightResponses {
  readonly #responses: ServerResponse[] = [];

  add(response: ServerResponse): void {
    this.#responses.push(response);
  }

  delete(response: ServerResponse): void {
    // What came last is mostly through first.
    const place = this.#responses.lastIndexOf(response);
    const last = this.#responses.pop();
    if (last && last !== response) this.#responses[place] = last;
  }

  all(): readonly ServerResponse[] {
    return this.#responses;
  }
}

/** Answers with a line of text. */
export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}

function logRequest(log: Logger, record: RequestLogContext, response: ServerResponse, start: number): void {
  const { address, operation, orgId, keyId, subject } = record;
  log.info(
    {
      requestId: record.id,
      address,
      method: response.req.method,
      status: response.statusCode,
      operation,
      orgId,
      keyId: keyId ?? undefined,
      subject: subject ?? undefined,
      ms: Math.round(performance.now() - start),
      outcome: record.outcome ?? describeOutcome(response),
    },
    'request',
  );
}

/** For answers that no error code speaks of. */
function describeOutcome({ writableFinished, statusCode }: ServerResponse): string {
  if (!writableFinished) return 'ABORTED';
  return statusCode < 400 ? 'OK' : `HTTP_${statusCode}`;
}

function describeListenError(host: string, port: number, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return `PORT ${port} is in use on ${host}; set PORT to another`;
  if (code === 'EACCES') return `PORT ${port} may not be used by this user; set PORT to another`;
  return `HOST ${host}: cannot listen there (${code ?? 'unknown error'})`;
}
