import { z } from 'zod';
import { hostPort } from '../../outbound/host-port.ts';
import type { AppSettings } from '../app.ts';

const example = 'https://example.okta.com';
const maxLength = 2_048;

/** Okta's own domains. Only there, `acme-admin` is the admin console of `acme`. */
const oktaDomain =
  /\.(okta|oktapreview|okta-emea|okta-gov|trexcloud|trex-govcloud|clouditude)\.com$|\.okta\.mil$/;

/**
 * The schema of an instance URL. It returns the origin in lower case, and accepts its own output unchanged. The outbound
 * client, not this schema, decides whether the address may be connected to.
 *
 * Messages repeat no more of the input than a host name under one of Okta's own domains: people paste tokens into
 * the wrong field.
 */
export function instanceUrlSchema(trustedHosts: AppSettings['trustedHosts']) {
  return z
    .string({ error: `Give the address of your Okta organisation, such as ${example}.` })
    .transform((input, context) => {
      const outcome = parseInstanceUrl(input, trustedHosts);
      if ('origin' in outcome) return outcome.origin;
      for (const message of outcome.messages) context.addIssue({ code: 'custom', message });
      return z.NEVER;
    });
}

type UrlParseResult = { origin: string } | { messages: readonly string[] };

function parseInstanceUrl(input: string, trustedHosts: AppSettings['trustedHosts']): UrlParseResult {
  const tooLong = `The instance URL is too long. Give only the address of your Okta organisation, such as ${example}.`;
  // Twice the maximum leaves room for white space. A longer text is not examined further.
  if (input.length > 2 * maxLength) return refuse(tooLong);
  const text = input.trim();
  if (text === '')
    return refuse(
      `The instance URL is empty. Give the address of your Okta organisation, such as ${example}.`,
    );
  if (text.length > maxLength) return refuse(tooLong);
  if (/[\s\p{Cc}\\]/u.test(text)) {
    return refuse(`The instance URL contains spaces, backslashes or control characters. Remove them.`);
  }
  // `URL` reads `acme.okta.com:443` as the scheme `acme.okta.com`, and `https:acme` as `https://acme`.
  const [, scheme, rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/i.exec(text) ?? [];
  if (scheme === undefined) return refuse(`The instance URL must start with https://. ${suggestUrl(rest)}`);
  if (!/^https?$/i.test(scheme))
    return refuse(`The instance URL must start with https://, such as ${example}.`);
  const url = URL.parse(text);
  if (url === null) return refuse(`The instance URL is not a web address. Write it like ${example}.`);

  const hostname = url.hostname.replace(/\.$/, '');
  const origin = `${url.protocol}//${hostname}${url.port && `:${url.port}`}`;
  const messages = [...findExtraParts(url, rest), ...findHostIssues(hostname)];
  if (
    url.protocol === 'http:' &&
    !trustedHosts.has(hostPort({ protocol: url.protocol, hostname, port: url.port }))
  ) {
    messages.push('The instance URL must use https. Write https:// instead of http://.');
  }
  return messages.length > 0 ? { messages } : { origin };
}

/** Lists the parts that an instance URL must not have. `rest` still has the empty parts that `URL` drops. */
function findExtraParts(url: URL, rest: string): string[] {
  const messages: string[] = [];
  if (/^[^/?#]*@/.test(rest)) {
    messages.push('Remove the user name and password before the @. The API token goes into its own field.');
  }
  if (url.pathname !== '/') messages.push('Remove the path after the host name, everything from the / on.');
  if (/^[^#]*\?/.test(rest)) messages.push('Remove the query, everything from the ? on.');
  if (rest.includes('#')) messages.push('Remove the fragment, everything from the # on.');
  return messages;
}

function findHostIssues(hostname: string): string[] {
  const isAddress = hostname.startsWith('[');
  if (!isAddress && !isHostName(hostname)) {
    return [`The host of the instance URL is not a valid host name. Write it like ${example}.`];
  }
  const [label = '', ...others] = hostname.split('.');
  const domain = `.${others.join('.')}`;
  if (!label.endsWith('-admin') || !oktaDomain.test(domain)) return [];
  const org = label.slice(0, -'-admin'.length);
  const right = org === '' ? `such as ${example}` : `https://${org}${domain}`;
  return [`This is the address of the Okta admin console. Use the one without “-admin”: ${right}.`];
}

/** Letters, digits, hyphens and underscores (container names): at most 63 between dots, 253 in total. */
function isHostName(hostname: string): boolean {
  return hostname.length <= 253 && hostname.split('.').every((label) => /^[a-z0-9_-]{1,63}$/.test(label));
}

function suggestUrl(rest: string): string {
  const host = /^[a-z0-9.-]+(?=$|[/?#:])/i.exec(rest)?.[0].toLowerCase() ?? '';
  if (!isHostName(host) || !oktaDomain.test(host)) return `Write it like ${example}.`;
  return findHostIssues(host)[0] ?? `Write https://${host}.`;
}

function refuse(message: string): UrlParseResult {
  return { messages: [message] };
}
