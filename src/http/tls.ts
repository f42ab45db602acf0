import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, watch } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer, type Server, type ServerOptions } from 'node:https';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import { StartupError } from '../common/errors.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';

/** The files of a certificate (with its chain) and of its private key, both in PEM. */
export interface TlsFiles {
  cert: string;
  key: string;
  /** Says why the file of a key must not be used, in sentences; asked of each pair but the first. */
  findRisks?: ((keyFile: string) => string[]) | undefined;
}

/** What a TLS server is given: a certificate and its private key. */
interface TlsContext {
  cert: Buffer;
  key: Buffer;
  minVersion: 'TLSv1.2';
}

// Shorter than what a server that stops waits for.
const handshakeMs = 5_000;
const settleMs = 100;
const lookAgainMs = 10_000;

/**
 * An HTTP server behind TLS. When other files come into the place of these, new connections get the new certificate,
 * and open ones go on.
 *
 * @throws StartupError that names the variable at fault when the files cannot be read, or do not belong together
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
    const watching = watchFiles(files, context, log, (another) => server.setSecureContext(another));
    server.once('close', () => watching.close());
  });
  return server;
}

/**
 * Hands over each new certificate and key that belong together. Whatever else is found in their place, half of a new
 * pair for one, is reported in the log once and otherwise left alone.
 *
 * @param inForce what was read before
 */
function watchFiles(
  files: TlsFiles,
  inForce: TlsContext,
  log: Logger,
  use: (context: TlsContext) => void,
): { close(): void } {
  let seen: TlsContext | undefined = inForce;
  let toldRisk: string | undefined;
  const look = (): void => {
    let found: TlsContext | undefined;
    try {
      found = readFiles(files);
      if (seen?.cert.equals(found.cert) && seen.key.equals(found.key)) return;
      checkContext(files, found);
      const [risk] = files.findRisks?.(files.key) ?? [];
      if (risk !== undefined) {
        // Not seen: with other permissions, the same pair can be used.
        if (risk !== toldRisk) log.warn({ reason: risk }, 'the certificate in force stays');
        toldRisk = risk;
        return;
      }
      toldRisk = undefined;
      use(found);
      const { validTo, fingerprint256 } = new X509Certificate(found.cert);
      log.info({ validTo, fingerprint256 }, 'new connections get this certificate');
    } catch (error) {
      const reason = error instanceof StartupError ? error.message : safeErrorFields(error);
      if (found || seen) log.warn({ reason }, 'the certificate in force stays');
    }
    seen = found;
  };

  // Writing a file, or swapping a link, is several events; the pair is looked at when it has had time to be whole.
  let settling: NodeJS.Timeout | undefined;
  const noticed = (): void => {
    settling ??= setTimeout(() => {
      settling = undefined;
      look();
    }, settleMs).unref();
  };
  // Not the files: one that is renamed into their place would not be seen.
  const watchers = [...new Set([dirname(files.cert), dirname(files.key)])].flatMap((folder) => {
    try {
      return [watch(folder, { persistent: false }, noticed).on('error', noticed)];
    } catch {
      return [];
    }
  });
  // What no event tells of: a folder that is itself swapped, a network's file system, a system out of watches.
  const lookingAgain = setInterval(look, lookAgainMs).unref();
  return {
    close: () => {
      clearInterval(lookingAgain);
      clearTimeout(settling);
      for (const watcher of watchers) watcher.close();
    },
  };
}

function readFiles(files: TlsFiles): TlsContext {
  return { cert: read('TLS_CERT', files.cert), key: read('TLS_KEY', files.key), minVersion: 'TLSv1.2' };
}

function read(variable: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartupError(`${variable} ${file}: cannot be read (${code ?? 'unknown error'})`);
  }
}

function checkContext(files: TlsFiles, context: TlsContext): void {
  const certificate = wrapTlsError(
    () => new X509Certificate(context.cert),
    `TLS_CERT ${files.cert}: holds no certificate in PEM`,
  );
  const key = wrapTlsError(
    () => createPrivateKey(context.key),
    `TLS_KEY ${files.key}: holds no private key in PEM that opens without a passphrase`,
  );
  if (!certificate.checkPrivateKey(key)) {
    throw new StartupError(`TLS_KEY ${files.key}: is not the private key of the certificate in TLS_CERT`);
  }
  wrapTlsError(() => createSecureContext(context), `TLS_CERT ${files.cert}: cannot be used for TLS`);
}

function wrapTlsError<T>(work: () => T, complaint: string): T {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartupError(`${complaint}${code ? ` (${code})` : ''}`);
  }
}
