import { Readable } from 'node:stream';
import type { App } from '../../apps/app.ts';
import type { UpstreamRateLimit } from '../../apps/use.ts';
import { AppError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import { parseJsonInParts } from '../../outbound/json.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { ConnectionDeps } from '../deps.ts';
import { findNextPage, type NextPage } from './next-link.ts';
import type { Header } from './response-headers.ts';
import type { SecretMask } from './secret-mask.ts';
import { useConnection } from './use-connection.ts';
import type { UseRequest, UseResponse } from './use-request.ts';

/** The largest body that is returned, in bytes. */
export const maxBodyBytes = 1024 * 1024;

/** A request to an app, with its body as text. */
export interface ExecuteRequest {
  method: string;
  path: string;
  /** Without a question mark. */
  query?: string | null | undefined;
  headers?: readonly { name: string; value: string }[] | null | undefined;
  body?: string | null | undefined;
  /** How long to wait if the rate budget of the connection is spent. */
  preferWaitSeconds?: number | null | undefined;
  label?: UseRequest['label'];
  authenticateAgain: UseRequest['authenticateAgain'];
}

/** The response of an app, with its body in memory. */
export interface ExecutedRequest {
  status: number;
  headers: readonly { name: string; value: string }[];
  /**
   * The JSON value if the response is JSON, complete, and within the limits of `parseJsonInParts`; otherwise the text; null if
   * it is empty.
   */
  body: unknown;
  /** Whether the body is longer than `maxBodyBytes`, and the rest is missing. */
  truncated: boolean;
  rateLimit: UpstreamRateLimit | null;
  /** Undefined on the last page. */
  next: NextPage | undefined;
  app: App;
}

/**
 * The response of an app, whose body stays outside of V8's heap until it is needed. As text or JSON it would be promoted to
 * the old generation while the request waits for its turn.
 */
export interface ReceivedResponse extends Omit<ExecutedRequest, 'body'> {
  /** Returns what `body` of `ExecutedRequest` is. Large lists are parsed in turns with other work. */
  parseBody(): Promise<unknown>;
}

/**
 * Sends a request to the app of a connection, and parses its response.
 *
 * @throws AppError as `useConnection` does
 */
export async function executeRequest(
  ...[deps, caller, target, request, signal]: Parameters<typeof receiveResponse>
): Promise<ExecutedRequest> {
  const { parseBody, ...response } = await receiveResponse(deps, caller, target, request, signal);
  return { ...response, body: await parseBody() };
}

/**
 * Sends a request to the app of a connection, and reads its response.
 *
 * @throws AppError as `useConnection` does
 */
export async function receiveResponse(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app: string },
  { method, path, query, headers, body, preferWaitSeconds, label, authenticateAgain }: ExecuteRequest,
  signal?: AbortSignal,
): Promise<ReceivedResponse> {
  const ownHeaders = (headers ?? []).filter(({ name }) => name.toLowerCase() !== 'content-length');
  const raw = ownHeaders.flatMap(({ name, value }) => [name, value]);
  const bytes = body == null ? undefined : Buffer.from(body);
  const request: UseRequest = {
    method,
    path,
    query: query ? `?${query}` : '',
    headers: bytes ? [...withContentType(raw), 'content-length', String(bytes.length)] : raw,
    ...(bytes && { body: Readable.from([bytes]) }),
    ...(preferWaitSeconds != null && { waitSeconds: preferWaitSeconds }),
    label,
    signal,
    authenticateAgain,
  };
  const response = await useConnection(deps, caller, target, request);
  const { received, truncated } = await readBody(response);
  const flat = Object.fromEntries(response.headers.map(([name, value]) => [name, [value].flat().join(', ')]));
  return {
    status: response.status,
    headers: response.headers.flatMap(toPairs),
    parseBody: async () => {
      const text = received.toString();
      const isJson = !truncated && /[/+]json\b/i.test(flat['content-type'] ?? '');
      if (!isJson || text === '') return text || null;
      const waitToContinue = () => deps.scheduler.waitToContinue(caller.orgId);
      return (await parseJsonInParts(text, waitToContinue, maskDecoded(text, response.mask))) ?? text;
    },
    truncated,
    rateLimit: response.opened.use.rateLimits?.read(flat) ?? null,
    next: findNextPage(flat.link, response.getUrl),
    app: response.opened.app,
  };
}

function withContentType(headers: readonly string[]): readonly string[] {
  const isGiven = headers.some((name, index) => index % 2 === 0 && name.toLowerCase() === 'content-type');
  return isGiven ? headers : [...headers, 'content-type', 'application/json'];
}

function toPairs([name, value]: Header): { name: string; value: string }[] {
  return [value].flat().map((each) => ({ name, value: each }));
}

async function readBody({
  body,
  opened,
  watch,
}: UseResponse): Promise<{ received: Buffer; truncated: boolean }> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxBodyBytes) break;
    }
  } catch (error) {
    watch.assertNotEnded();
    if (!(error instanceof OutboundError)) throw error;
    throw new AppError(
      'UPSTREAM_UNREACHABLE',
      `${opened.app.name} did not answer completely: ${error.message}.`,
      {
        remedy: 'Find out whether the request had an effect before you send it again.',
      },
    );
  }
  return {
    received: Buffer.concat(chunks, Math.min(length, maxBodyBytes)),
    truncated: length > maxBodyBytes,
  };
}

/** Masks what parsing has decoded. Without an escape, it decodes nothing, and the text is masked already. */
function maskDecoded(text: string, mask: SecretMask): ((part: unknown) => unknown) | undefined {
  return text.includes('\\') ? (part) => mask.maskJson(part) : undefined;
}
