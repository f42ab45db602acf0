import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { OidcClientConfig } from '../auth/oidc-client-config.ts';

/** The settings in the page; `src/dashboard/settings.ts` reads them. */
export interface DashboardSettings {
  /** The OIDC client configuration; absent if no identity provider is configured. */
  oidc?: OidcClientConfig | undefined;
}

/** Serves the built dashboard. */
export interface DashboardHandler {
  /** Responds to a request for one of its files; returns false for any other path. */
  handle(
    request: IncomingMessage,
    response: ServerResponse,
    settings: () => Promise<DashboardSettings>,
  ): Promise<boolean>;
}

/** The path of the page of setup links. */
const setupPath = '/setup';

const builtFolder = fileURLToPath(new URL('../../dist/dashboard', import.meta.url));

/** The end of a message about a missing dashboard, with the remedy. */
export const notBuilt = 'not built; "npm install --include=dev && npm run dashboard" builds it';

/** Whether the dashboard is built. */
export function isBuilt(folder = builtFolder): boolean {
  return existsSync(join(folder, 'index.html'));
}

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** The encodings that the build writes, the smallest first. */
const encodings = [
  { name: 'br', suffix: '.br' },
  { name: 'gzip', suffix: '.gz' },
] as const;

interface Asset {
  type: string;
  hash: string;
  /** By encoding; always contains `identity`. */
  bodies: ReadonlyMap<string, Buffer>;
}

/** Reads the files once, at start. No path of a request reaches the file system. */
export function loadDashboard(folder = builtFolder): DashboardHandler {
  const page = isBuilt(folder) ? readFileSync(join(folder, 'index.html'), 'utf8') : undefined;
  const assets = page ? readAssets(join(folder, 'assets')) : new Map<string, Asset>();
  return {
    async handle(request, response, settings) {
      const path = request.url?.split('?', 1)[0] ?? '';
      const asset = assets.get(path);
      if (path !== '/' && path !== setupPath && !asset) return false;
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.writeHead(405, { allow: 'GET, HEAD' }).end();
      } else if (asset) {
        sendAsset(request, response, asset);
      } else if (page) {
        // A setup link needs no sign-in, and search engines must not list one that was published by mistake.
        if (path === setupPath) response.setHeader('x-robots-tag', 'noindex, nofollow');
        sendPage(response, page, path === setupPath ? {} : await settings());
      } else {
        const text = `The dashboard is ${notBuilt}. The API at /graphql works without it.\n`;
        response.writeHead(503, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
      }
      return true;
    },
  };
}

function readAssets(folder: string): Map<string, Asset> {
  const names = readdirSync(folder);
  const read = (name: string) => readFileSync(join(folder, name));
  return new Map(
    names.flatMap((name) => {
      const type = types[extname(name)];
      if (!type) return [];
      const identity = read(name);
      const compressed = encodings
        .filter(({ suffix }) => names.includes(name + suffix))
        .map((encoding) => [encoding.name, read(name + encoding.suffix)] as const);
      const hash = createHash('sha256').update(identity).digest('base64url');
      const asset = { type, hash, bodies: new Map([...compressed, ['identity', identity]]) };
      return [[`/assets/${name}`, asset]];
    }),
  );
}

function sendAsset({ headers }: IncomingMessage, response: ServerResponse, asset: Asset): void {
  const accepted = acceptedEncodings(headers['accept-encoding']);
  const [encoding, body] =
    [...asset.bodies].find(([name]) => name === 'identity' || accepted.has(name)) ?? [];
  const etag = `"${asset.hash}-${encoding}"`;
  // The name contains a hash of the content.
  response.setHeader('cache-control', 'public, max-age=31536000, immutable');
  response.setHeader('vary', 'accept-encoding');
  response.setHeader('etag', etag);
  if (headers['if-none-match'] === etag) {
    response.writeHead(304).end();
    return;
  }
  response.setHeader('content-type', asset.type);
  if (encoding && encoding !== 'identity') response.setHeader('content-encoding', encoding);
  response.writeHead(200, { 'content-length': body?.length }).end(body);
}

function acceptedEncodings(header: string | string[] | undefined): ReadonlySet<string> {
  const entries = String(header ?? '').split(',');
  const accepted = entries.filter((entry) => !/;\s*q=0(\.0*)?\s*$/.test(entry));
  return new Set(accepted.map((entry) => entry.split(';', 1)[0]?.trim().toLowerCase() ?? ''));
}

function sendPage(response: ServerResponse, page: string, settings: DashboardSettings): void {
  // Mantine adds style elements at run time and puts this nonce into them.
  const nonce = randomBytes(18).toString('base64');
  const json = JSON.stringify({ ...settings, nonce }).replaceAll('<', '\\u003c');
  const html = page.replace(
    '</head>',
    () => `<script type="application/json" id="settings">${json}</script></head>`,
  );
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self'",
    `connect-src ${["'self'", ...tokenOrigins(settings)].join(' ')}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  response.setHeader('content-security-policy', policy.join('; '));
  response.setHeader('referrer-policy', 'no-referrer');
  response.setHeader('cross-origin-opener-policy', 'same-origin');
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html);
}

/** The origin of the token endpoint. The page navigates to the other endpoints, which `connect-src` does not cover. */
function tokenOrigins({ oidc }: DashboardSettings): string[] {
  return oidc?.provider ? [new URL(oidc.provider.token_endpoint).origin] : [];
}
