import type { IncomingHttpHeaders } from 'node:http';

/** The most characters of a label. */
const maxLength = 64;

/** So long a word with digits is rather a secret by mistake than a name: API keys, tokens of apps and parts of JWTs are. */
const possibleSecret = /(?=[\w-]*\d)[\w-]{40,}/;

/**
 * Reads what the program that sends a request calls itself: the header `X-App-Connections-Consumer`, or else the first product
 * of `User-Agent`, such as `okta-sdk-golang/4.1.0`. It has at most 64 of the characters `A-Z a-z 0-9 _ . : / @ + -`; others become
 * a hyphen. What could be a secret is left out.
 *
 * @returns empty if the request says nothing
 */
export function readConsumerLabel(headers: IncomingHttpHeaders): string {
  const [product = ''] = (headers['user-agent'] ?? '').trim().split(/[\s(;,]/, 1);
  return toLabel([headers['x-app-connections-consumer'] ?? ''].flat().join(' ')) || toLabel(product);
}

function toLabel(header: string): string {
  const text = header.slice(0, 2 * maxLength);
  if (possibleSecret.test(text)) return '';
  const safe = text.replace(/[^\w.:/@+-]+/g, '-').replace(/^-+/, '');
  return safe.slice(0, maxLength).replace(/-+$/, '');
}
