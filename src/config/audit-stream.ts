import { domainToASCII, fileURLToPath } from 'node:url';
import type { AuditStreamTarget } from '../audit/stream-destination.ts';
import { StartupError } from '../common/errors.ts';
import { isLoopbackHost } from '../common/loopback.ts';
import { normalizeHost } from '../outbound/address.ts';
import { parsed } from './env-types.ts';

/** The rule of AUDIT_STREAM. */
export const auditStream = parsed(
  parseTarget,
  'must be file:///path, syslog+tls://host:port or syslog+tcp://host:port; syslog over UDP loses events',
);

function parseTarget(text: string): AuditStreamTarget | undefined {
  const url = URL.parse(text);
  if (!url || url.username || url.password || /[?#]/.test(text)) return undefined;
  if (url.protocol === 'file:') return parseFile(text, url);
  const isTls = url.protocol === 'syslog+tls:';
  const isIpv6 = url.hostname.startsWith('[');
  const host = isIpv6 ? normalizeHost(url.hostname) : domainToASCII(url.hostname);
  if (!(isTls || url.protocol === 'syslog+tcp:') || !host || !Number(url.port) || url.pathname.length > 1)
    return undefined;
  return { kind: 'syslog', host, port: Number(url.port), isTls };
}

/** A host of a file URL would be another machine, and is usually a forgotten third slash. */
function parseFile(text: string, url: URL): AuditStreamTarget | undefined {
  if (!/^file:\/\/\//i.test(text) || url.pathname.endsWith('/') || text.includes('%00')) return undefined;
  try {
    return { kind: 'file', path: fileURLToPath(url) };
  } catch {
    return undefined;
  }
}

/**
 * Refuses TCP without TLS to other machines in production.
 *
 * @throws StartupError
 */
export function checkAuditStream(target: AuditStreamTarget | undefined, production: boolean): void {
  if (production && target?.kind === 'syslog' && !target.isTls && !isLoopbackHost(target.host)) {
    throw new StartupError(
      'AUDIT_STREAM must start with syslog+tls:// when NODE_ENV=production, except for loopback addresses',
    );
  }
}
