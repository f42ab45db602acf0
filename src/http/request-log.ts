import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Logger, RequestLogContext } from '../common/log.ts';
import { requestMeasurements } from '../common/measurements.ts';
import { type AddressRange, isFromTrustedProxy } from './client-ip.ts';
import { endRequestSpan } from './request-span.ts';

const idShape = /^[A-Za-z0-9._-]{8,128}$/;

/** Returns the request id that a trusted proxy has given the request; undefined if there is none, or if it is unsafe to log. */
export function givenRequestId(
  request: IncomingMessage,
  trustedProxies: readonly AddressRange[],
): string | undefined {
  const given = request.headers['x-request-id'];
  if (typeof given !== 'string' || !idShape.test(given)) return undefined;
  return isFromTrustedProxy(request, trustedProxies) ? given : undefined;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const shortWord = /^[A-Za-z0-9._~-]{0,31}$/;
const maxPathLength = 200;

/**
 * Returns the path of a URL for the log, without its query. A client can put anything into a path: parts that are not ids and
 * as long as a secret, or have other characters, are replaced by `…`.
 */
function toLoggedPath(url = ''): string {
  const [path = ''] = url.split('?', 1);
  const parts = path.slice(0, maxPathLength).split('/');
  return parts.map((part) => (shortWord.test(part) || uuid.test(part) ? part : '…')).join('/');
}

/** Logs a request that has ended: probes at `debug`, others at `info`. */
export function logRequest(log: Logger, record: RequestLogContext, response: ServerResponse): void {
  const ms = performance.now() - record.startedAt;
  const outcome = record.outcome ?? describeOutcome(response);
  if (requestMeasurements.hasSubscribers && !record.isProbe) publish(record, outcome, ms);
  const {
    address,
    url,
    path = toLoggedPath(url),
    operation,
    orgId,
    keyId,
    subject,
    setupLinkId,
    database,
    pool,
    upstream,
    span,
  } = record;
  if (span) endRequestSpan(span, record, response, outcome);
  log[record.isProbe ? 'debug' : 'info'](
    {
      requestId: record.id,
      traceId: span?.traceId,
      spanId: span?.spanId,
      address,
      method: response.req.method,
      path,
      status: response.statusCode,
      operation,
      orgId,
      keyId: keyId ?? undefined,
      subject: subject ?? undefined,
      setupLinkId,
      ms: Math.round(ms),
      databaseMs: Math.round(database.ms),
      // Only a pool whose connections are all in use makes requests wait.
      poolMs: Math.round(pool.ms) || undefined,
      upstreamMs: Math.round(upstream.ms) || undefined,
      outcome,
    },
    'request',
  );
}

function publish(record: RequestLogContext, outcome: string, ms: number): void {
  const { surface, field, operation, database, upstream } = record;
  requestMeasurements.publish({
    surface,
    // Callers choose the names of GraphQL operations.
    operation: (surface === 'graphql' ? field : surface === 'other' ? undefined : operation) ?? 'other',
    outcome: outcome.replace(/^HTTP_(\d)\d\d$/, boundStatus),
    ms,
    databaseMs: database.ms,
    upstreamMs: upstream.ms,
  });
}

/** Returns the outcome of a status. An app can respond with any status, so those that are not registered share one per class. */
const boundStatus = (outcome: string, first: string) =>
  outcome.slice('HTTP_'.length) in STATUS_CODES ? outcome : `HTTP_${first}xx`;

/** The outcome of a response without an error code. */
function describeOutcome({ writableFinished, statusCode }: ServerResponse): string {
  if (!writableFinished) return 'ABORTED';
  return statusCode < 400 ? 'OK' : `HTTP_${statusCode}`;
}
