import { type CodeStore, generateSignInCode, type StoredCode, signInUrl } from '../auth/sign-in-codes.ts';
import { StartupError } from '../common/errors.ts';
import { isLoopbackHost } from '../common/loopback.ts';
import type { Config } from '../config/config.ts';
import { isBuilt } from '../http/dashboard-files.ts';
import type { DataDir } from './data-dir.ts';

const fileName = 'sign-in-code';

/** Returns the path of the page that accepts one-time codes; undefined without such a page. */
export function signInPath({ graphiql }: Config, dashboardFolder?: string): string | undefined {
  if (isBuilt(dashboardFolder)) return '/';
  return graphiql ? '/graphql' : undefined;
}

/** Stores the hash of one code in `DATA_DIR`: the shell writes it, and the server takes it. */
export function createCodeStore(dataDir: DataDir): CodeStore {
  return {
    read: () => {
      const text = dataDir.read(fileName)?.reveal();
      if (!text) return undefined;
      const [digest = '', expiresAt = ''] = text.split(' ');
      return /^[0-9a-f]{64}$/.test(digest) ? { digest, expiresAt: Number(expiresAt) } : undefined;
    },
    remove: () => dataDir.remove(fileName),
  };
}

/**
 * Creates a link that signs a browser in once, at the development server with the same settings.
 *
 * @throws StartupError if the settings allow no such links, or if no server uses `DATA_DIR`
 */
export function createSignInLink(config: Config, dataDir: DataDir): string {
  const { production, host, port, tls, basePath, databaseUrl } = config;
  const path = signInPath(config);
  if (production || !isLoopbackHost(host) || !path) {
    throw new StartupError('sign-in links need a development server that listens on a loopback address');
  }
  // A server with PostgreSQL does not lock the folder.
  if (!databaseUrl && !dataDir.isLocked()) {
    throw new StartupError(
      `no server is using DATA_DIR ${dataDir.path}; start the server, or run this command in its folder and with its settings`,
    );
  }
  const { code, stored } = generateSignInCode(Date.now());
  dataDir.replace(fileName, toLine(stored));
  const name = host.includes(':') ? `[${host}]` : host;
  return signInUrl(`${tls ? 'https' : 'http'}://${name}:${port}${basePath}${path}`, code);
}

function toLine({ digest, expiresAt }: StoredCode): string {
  return `${digest} ${expiresAt}`;
}
