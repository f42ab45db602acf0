import type { CheckpointSink } from '../audit/checkpoint-sender.ts';
import { readConfiguredFile } from '../common/configured-file.ts';
import { StartupError } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import { createOutbound } from '../outbound/create-outbound.ts';
import { hostPort } from '../outbound/host-port.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import type { ProxySettings } from '../outbound/proxy.ts';
import type { Environment } from './env-schema.ts';
import { bearerTokenPattern } from './env-types.ts';

/** The receiver of checkpoints, and its credentials. */
export interface CheckpointReceiver {
  url: string;
  token: Secret | undefined;
  /** An absolute path. The file is read before each delivery. */
  tokenFile: string | undefined;
}

/** A server that stops waits for the last delivery. */
const timeoutMs = 5_000;

/**
 * Reads the settings of the receiver.
 *
 * @throws StartupError if the variables contradict each other
 */
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
    const setting = token ? 'AUDIT_CHECKPOINT_TOKEN' : 'AUDIT_CHECKPOINT_TOKEN_FILE';
    if (token || tokenFile) throw new StartupError(`${setting} needs AUDIT_CHECKPOINT_URL`);
    return undefined;
  }
  if (production && !url.startsWith('https:')) {
    throw new StartupError('AUDIT_CHECKPOINT_URL must start with https:// when NODE_ENV=production');
  }
  return { url, token, tokenFile };
}

/**
 * Creates the client of the receiver. The operator configures the URL, which may have a private address.
 *
 * @throws StartupError if the token cannot be read
 */
export function openCheckpointReceiver(
  { url: text, token, tokenFile }: CheckpointReceiver,
  { outboundProxy, outboundProxyResolves }: ProxySettings,
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
  const text = readConfiguredFile('AUDIT_CHECKPOINT_TOKEN_FILE', file).toString().trim();
  if (bearerTokenPattern.test(text)) return new Secret(text);
  throw new StartupError(`AUDIT_CHECKPOINT_TOKEN_FILE ${file}: it does not contain a valid bearer token`);
}
