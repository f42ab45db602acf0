import { createPrivateKey, X509Certificate } from 'node:crypto';
import { watch } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer, type Server, type ServerOptions } from 'node:https';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import { readConfiguredFile } from '../common/configured-file.ts';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';

/** The files of the certificate (with its chain) and its private key, both in PEM. */
export interface TlsFiles {
  cert: string;
  key: string;
  /** Returns why a key file must not be used. Called for each certificate after the first. */
  findRisks?: ((keyFile: string) => string[]) | undefined;
}

/** A certificate and its private key. */
interface TlsContext {
  cert: Buffer;
  key: Buffer;
  minVersion: 'TLSv1.2';
}

// Shorter than the drain time of a stopping server.
const handshakeMs = 5_000;
const debounceMs = 100;
const pollMs = 10_000;

/**
 * Creates an HTTPS server. When the files change, new connections use the new certificate; open connections continue.
 *
 * @throws StartupError with the name of the variable, if the files cannot be read or do not match
 */
export function createTlsServer(
  files: TlsFiles,
  options: ServerOptions,
  log: Logger,
  serve: RequestListener,
): Server {
  const context = readFiles(files);
  checkContext(files, context);
  const server = createServer({ ...options, ...context, handshakeTimeout: handshakeMs }, serve);
  server.once('listening', () => {
    const watching = watchFiles(files, context, log, (next) => server.setSecureContext(next));
    server.once('close', () => watching.close());
  });
  return server;
}

/**
 * Calls `use` for each new pair of certificate and key that match. A pair that does not match, or cannot be read, is
 * logged once and not used.
 *
 * @param initial the pair that the server has
 */
function watchFiles(
  files: TlsFiles,
  initial: TlsContext,
  log: Logger,
  use: (context: TlsContext) => void,
): { close(): void } {
  let current: TlsContext | undefined = initial;
  let loggedRisk: string | undefined;
  const reload = (): void => {
    let loaded: TlsContext | undefined;
    try {
      loaded = readFiles(files);
      if (current?.cert.equals(loaded.cert) && current.key.equals(loaded.key)) return;
      checkContext(files, loaded);
      const [risk] = files.findRisks?.(files.key) ?? [];
      if (risk !== undefined) {
        // `current` is not updated: with other permissions, the same pair can be used.
        if (risk !== loggedRisk) log.warn({ reason: risk }, 'kept the current certificate');
        loggedRisk = risk;
        return;
      }
      loggedRisk = undefined;
      use(loaded);
      const { validTo, fingerprint256 } = new X509Certificate(loaded.cert);
      log.info({ validTo, fingerprint256 }, 'new connections use this certificate');
    } catch (error) {
      const reason = error instanceof StartupError ? error.message : safeErrorFields(error);
      if (loaded || current) log.warn({ reason }, 'kept the current certificate');
    }
    current = loaded;
  };

  // Debounced: writing two files, or swapping a link, causes several events.
  let debounce: NodeJS.Timeout | undefined;
  const onChange = (): void => {
    debounce ??= setTimeout(() => {
      debounce = undefined;
      reload();
    }, debounceMs).unref();
  };
  // Watches the folders, because a watched file does not report a file that is renamed over it.
  const watchers = [...new Set([dirname(files.cert), dirname(files.key)])].flatMap((folder) => {
    try {
      return [watch(folder, { persistent: false }, onChange).on('error', onChange)];
    } catch {
      return [];
    }
  });
  // Some changes cause no event: a replaced folder, a network file system, or a system without free watches.
  const poll = setInterval(reload, pollMs).unref();
  return {
    close: () => {
      clearInterval(poll);
      clearTimeout(debounce);
      for (const watcher of watchers) watcher.close();
    },
  };
}

function readFiles(files: TlsFiles): TlsContext {
  return {
    cert: readConfiguredFile('TLS_CERT', files.cert),
    key: readConfiguredFile('TLS_KEY', files.key),
    minVersion: 'TLSv1.2',
  };
}

function checkContext(files: TlsFiles, context: TlsContext): void {
  const certificate = wrapTlsError(
    () => new X509Certificate(context.cert),
    `TLS_CERT ${files.cert}: is not a certificate in PEM`,
  );
  const key = wrapTlsError(
    () => createPrivateKey(context.key),
    `TLS_KEY ${files.key}: is not a private key in PEM without a passphrase`,
  );
  if (!certificate.checkPrivateKey(key)) {
    throw new StartupError(`TLS_KEY ${files.key}: does not belong to the certificate in TLS_CERT`);
  }
  wrapTlsError(() => createSecureContext(context), `TLS_CERT ${files.cert}: cannot be used for TLS`);
}

function wrapTlsError<T>(parse: () => T, message: string): T {
  try {
    return parse();
  } catch (error) {
    const code = errorField(error, 'code');
    throw new StartupError(`${message}${code ? ` (${code})` : ''}`);
  }
}
