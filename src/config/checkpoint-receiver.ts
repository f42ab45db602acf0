import { readFileSync } from 'node:fs';
import type { CheckpointSink } from '../audit/checkpoint-sender.ts';
import { StartupError } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import { hostPort } from '../outbound/host-port.ts';
import { createOutbound } from '../outbound/outbound.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import type { HttpProxy } from '../outbound/proxy.ts';
import { bearerToken, type Environment } from './env-schema.ts';

/** Where checkpoints go by HTTP, and what lets them in there. */
export interface CheckpointReceiver {
  url: string;
  token: Secret | undefined;
  /** Absolute; it is read again each time. */
  tokenFile: string | undefined;
}

/** The operator's HTTP proxy, as in `Config`. */
interface Proxying {
  outboundProxy: HttpProxy | undefined;
  outboundProxyResolves: boolean;
}

/** A server that stops waits for it. */
const timeoutMs = 5_000;

/** @throws StartupError when the variables do not fit together */
export function parseCheckpointReceiver(
  data: Environment,
  production: boolean,
): CheckpointReceiver | undefined {
  const {
    AUDIT_CHECKPOINT_URL: url,
    AUDIT_CHECKPOINT_TOKEN: token,
    AUDIT_CHECKPOINT_TOKEN_FILE: tokenFile,
  } = data;
  if (token && tokenFile) {
    throw new StartupError(
      'AUDIT_CHECKPOINT_TOKEN and AUDIT_CHECKPOINT_TOKEN_FILE exclude each other; set only one of them',
    );
  }
  if (!url) {
    const given = token ? 'AUDIT_CHECKPOINT_TOKEN' : 'AUDIT_CHECKPOINT_TOKEN_FILE';
    if (token || tokenFile) throw new StartupError(`${given} needs AUDIT_CHECKPOINT_URL`);
    return undefined;
  }
  if (production && !url.startsWith('https:')) {
    throw new StartupError('AUDIT_CHECKPOINT_URL must start with https:// when NODE_ENV=production');
  }
  return { url, token, tokenFile };
}

/**
 * Opens the way there. The operator has named the URL, which may well be inside.
 *
 * @throws StartupError when the token cannot be read
 */
export function openCheckpointReceiver(
  { url: text, token, tokenFile }: CheckpointReceiver,
  { outboundProxy, outboundProxyResolves }: Proxying,
): CheckpointSink {
  const url = new URL(text);
  const readToken = () => (tokenFile ? readTokenFile(tokenFile) : token);
  readToken();
  const outbound = createOutbound({
    trustedHosts: new Set([hostPort(url)]),
    proxy: outboundProxy,
    proxyResolves: outboundProxyResolves,
    timeoutMs,
  });
  return {
    async send(lines) {
      const bearer = readToken();
      const { status } = await outbound.post(url, {
        headers: {
          'content-type': 'application/x-ndjson',
          ...(bearer && { authorization: `Bearer ${bearer.reveal()}` }),
        },
        body: lines,
      });
      if (status < 200 || status > 299) {
        throw new OutboundError('PROTOCOL', `it answered with status ${status}`);
      }
    },
    close: () => outbound.close(),
  };
}

function readTokenFile(file: string): Secret {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartupError(
      `AUDIT_CHECKPOINT_TOKEN_FILE ${file}: cannot be read (${code ?? 'unknown error'})`,
    );
  }
  if (bearerToken.test(text)) return new Secret(text);
  throw new StartupError(`AUDIT_CHECKPOINT_TOKEN_FILE ${file}: it does not contain a valid bearer token`);
}
