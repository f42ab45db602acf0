import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { OidcClientConfig } from '../auth/oidc-client-config.ts';

/** What the page is told by the server; see `src/dashboard/settings.ts`. */
export interface DashboardSettings {
  /** How to sign in with the identity provider, where there is one. */
  oidc?: OidcClientConfig | undefined;
}

/** The built dashboard. */
export interface DashboardHandler {
  /** Answers a request for one of its files with what `settings` says; false for anything else. */
  handle(
    request: IncomingMessage,
    response: ServerResponse,
    settings: () => Promise<DashboardSettings>,
  ): Promise<boolean>;
}

const builtFolder = fileURLToPath(new URL('../../dist/dashboard', import.meta.url));

/** How to get a dashboard that is not there. */
export const notBuilt = 'not built; "npm install --include=dev && npm run dashboard" builds it';

/** Whether there is a dashboard to serve. */
export function isBuilt(folder = builtFolder): boolean {
  return existsSync(join(folder, 'index.html'));
}

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** The encodings in which the build has left each file, the smallest first. */
const encodings = [
  { name: 'br', suffix: '.br' },
  { name: 'gzip', suffix: '.gz' },
] as const;

interface Asset {
  type: string;
  hash: string;
  /** By encoding; `identity` is always there. */
  bodies: ReadonlyMap<string, Buffer>;
}

/** Reads the files once: what is not there then is not served, whatever a path says. */
export function loadDashboard(folder = builtFolder): DashboardHandler {
  const page = isBuilt(folder) ? readFileSync(join(folder, 'index.html'), 'utf8') : undefined;
  const assets = page ? readAssets(join(folder, 'assets')) : new Map<string, Asset>();
  return {
    async handle(request, response, settings) {
      const path = request.url?.split('?', 1)[0] ?? '';
      const asset = assets.get(path);
      if (path !== '/' && !asset) return false;
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.writeHead(405, { allow: 'GET, HEAD' }).end();
      } else if (asset) {
        sendAsset(request, response, asset);
      } else if (page) {
        sendPage(response, page, await settings());
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
  // Their names hold a hash of their content.
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
  const given = String(header ?? '').split(',');
  const wanted = given.filter((part) => !/;\s*q=0(\.0*)?\s*$/.test(part));
  return new Set(wanted.map((part) => part.split(';', 1)[0]?.trim().toLowerCase() ?? ''));
}

function sendPage(response: ServerResponse, page: string, settings: DashboardSettings): void {
  // The component library makes style elements of its own, which carry it.
  const nonce = randomBytes(18).toString('base64');
  const json = JSON.stringify({ ...settings, nonce }).replaceAll('<', '\\u003c');
  const told = page.replace(
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
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(told);
}

/** Where the page asks for tokens. All else of the provider is gone to, which no policy is about. */
function tokenOrigins({ oidc }: DashboardSettings): string[] {
  return oidc?.provider ? [new URL(oidc.provider.token_endpoint).origin] : [];
}
