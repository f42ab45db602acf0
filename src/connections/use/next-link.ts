import { AppError } from '../../common/errors.ts';
import { normalisePath } from '../use-policy/normalise-path.ts';
import type { UseResponse } from './use-request.ts';

/** The most characters of a query that callers can send, apart from the proxy. */
export const maxQueryLength = 8_192;

/** The next page of a list, as the app links to it: its path and query, or why they cannot be requested. */
export type NextPage = { url: string } | { fault: string; isOtherHost: boolean };

/** Finds the next page in a `Link` header. Undefined without a link to one. */
export function findNextPage(link: string | undefined, getRequestUrl: () => URL): NextPage | undefined {
  const target = findNextLink(link ?? '');
  if (target === undefined) return undefined;
  const request = getRequestUrl();
  const next = URL.parse(target, request);
  // The origin of a `blob:` URL is that of the URL in it.
  if (next?.origin !== request.origin || next.protocol !== request.protocol)
    return { fault: 'its link to the next page leads to another host', isOtherHost: true };
  const isUsable = isPath(next.pathname) && next.search.length <= maxQueryLength;
  if (isUsable) return { url: next.pathname + next.search };
  const fault = `its link to the next page has an ambiguous path, or a query of more than ${maxQueryLength} characters`;
  return { fault, isOtherHost: false };
}

/**
 * Checks the link to the next page, because the client would be blamed for what it leads to.
 *
 * @throws AppError `UPSTREAM_INVALID_RESPONSE`, after destroying the body
 */
export function assertNextPageUsable({
  headers,
  getUrl,
  body,
  opened,
}: Pick<UseResponse, 'headers' | 'getUrl' | 'body' | 'opened'>): void {
  const link = headers.find(([name]) => name === 'link')?.[1];
  const next = link && findNextPage([link].flat().join(', '), getUrl);
  if (!next || 'url' in next || next.isOtherHost) return;
  body.destroy();
  throw nextPageError(opened.app, next.fault);
}

/** The error for a link that cannot be followed. */
export function nextPageError({ name }: { name: string }, fault: string): AppError {
  return new AppError('UPSTREAM_INVALID_RESPONSE', `The response of ${name} cannot be used: ${fault}.`, {
    remedy: `Ask for the page in another way, and tell ${name}'s support.`,
  });
}

/**
 * A target and its parameters, whose quoted values may have commas. A quoted value without an end goes on to the end of the header, as in
 * RFC 8288, appendix B.3: otherwise every further link would look for the end again.
 */
const linkValue = /<([^<>]*)>((?:[^,"<]|"(?:[^"\\]|\\.)*(?:"|\\?$))*)/g;
const parameter = /;\s*([^\s=;"]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*)))?/g;

/**
 * Finds the target of the first link with the relation `next` in a `Link` header (RFC 8288, section 3). Takes time
 * proportional to its length.
 *
 * @returns a reference, which can be relative to the URL of the request; undefined without such a link
 */
function findNextLink(header: string): string | undefined {
  for (const [, target, parameters = ''] of header.matchAll(linkValue)) {
    const relations = [...parameters.matchAll(parameter)].find(([, name]) => name?.toLowerCase() === 'rel');
    const [, , quoted, token] = relations ?? [];
    if ((quoted ?? token ?? '').toLowerCase().split(/\s+/).includes('next')) return target;
  }
  return undefined;
}

/** Whether a path can be sent through a connection. */
function isPath(path: string): boolean {
  try {
    normalisePath(path);
    return true;
  } catch {
    return false;
  }
}
