import { realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isLoopbackHost } from '../common/loopback.ts';
import { findApiKeyWeakness } from '../encryption/key-strength.ts';
import type { Config } from './config.ts';

const groupWrites = 0o020;
const othersRead = 0o004;
const othersWrite = 0o002;
const sticky = 0o1000;

/**
 * Finds insecure settings: guessable keys, and files that other users of the machine may read or replace. Production refuses
 * them; development logs warnings. No message contains a secret.
 */
export function findConfigWarnings(config: Config): string[] {
  const { bootstrapApiKey, auditCheckpointReceiver, dataDir, encryptionKeysFile, production, tls } = config;
  const { secretFiles } = config;
  const keyVariable = secretFiles.has('BOOTSTRAP_API_KEY') ? 'BOOTSTRAP_API_KEY_FILE' : 'BOOTSTRAP_API_KEY';
  const weakness = bootstrapApiKey && findApiKeyWeakness(bootstrapApiKey.reveal());
  return [
    ...config.environmentRisks,
    ...(weakness ? [`${keyVariable} ${weakness}; make one with "openssl rand -hex 32"`] : []),
    ...folderWarnings('DATA_DIR', dataDir),
    ...(production
      ? []
      : ['encryption-keys', 'api-key'].flatMap((name) => fileWarnings('DATA_DIR', join(dataDir, name)))),
    ...(encryptionKeysFile ? fileWarnings('ENCRYPTION_KEYS_FILE', encryptionKeysFile) : []),
    ...[...secretFiles].flatMap(([name, file]) => fileWarnings(`${name}_FILE`, file)),
    ...(auditCheckpointReceiver?.tokenFile
      ? fileWarnings('AUDIT_CHECKPOINT_TOKEN_FILE', auditCheckpointReceiver.tokenFile)
      : []),
    ...(tls ? findTlsRisks(tls.key) : []),
  ];
}

/** Checks the file of the TLS private key, which may be replaced while the server runs. */
export function findTlsRisks(keyFile: string): string[] {
  return fileWarnings('TLS_KEY', keyFile);
}

/** Finds settings of Node and the AWS SDK that leave keys unprotected in transit. */
export function findEnvironmentWarnings(variables: Readonly<Record<string, string | undefined>>): string[] {
  const endpoints = ['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_KMS'].filter((name) => {
    const url = URL.parse(variables[name] ?? '');
    return url?.protocol === 'http:' && !isLoopbackHost(url.hostname);
  });
  return [
    ...endpoints.map((name) => `${name} must start with https://, because it receives data keys`),
    ...(variables.NODE_TLS_REJECT_UNAUTHORIZED === '0'
      ? [
          'NODE_TLS_REJECT_UNAUTHORIZED=0 turns off certificate verification for the database and AWS KMS; unset it',
        ]
      : []),
  ];
}

function folderWarnings(variable: string, path: string): string[] {
  const mode = readMode(path);
  if (!(mode & (groupWrites | othersWrite))) return [];
  return [`${variable} ${path}: users other than its owner can write to it; run "chmod go-w" on it`];
}

function fileWarnings(variable: string, path: string): string[] {
  const mode = readMode(path);
  if (mode & (groupWrites | othersWrite)) {
    return [`${variable} ${path}: users other than its owner can write to it; run "chmod go-w" on it`];
  }
  if (mode & othersRead) return [`${variable} ${path}: every user can read it; run "chmod o-r" on it`];
  const folder = mode ? dirname(realpathSync(path)) : path;
  const around = mode ? readMode(folder) : 0;
  if (around & othersWrite && !(around & sticky)) {
    return [`${variable} ${path}: every user can replace it in its folder; run "chmod o-w" on ${folder}`];
  }
  return [];
}

/** Returns 0 for a missing file, which its reader reports, and on Windows, which has other permissions. */
function readMode(path: string): number {
  if (process.platform === 'win32') return 0;
  try {
    return statSync(path).mode;
  } catch {
    return 0;
  }
}
