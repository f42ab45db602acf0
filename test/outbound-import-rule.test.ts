import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryFolder } from './testkit/process.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Returns the files in which the project's linter reports a network import. */
async function waysOutOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  using folder = temporaryFolder();
  for (const name of ['biome.json', '.config'])
    cpSync(join(root, name), join(folder.path, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder.path, 'node_modules'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder.path, name)), { recursive: true });
    writeFileSync(join(folder.path, name), `${text}\n`);
  }
  const report = await new Promise<string>((resolve) => {
    const options = ['lint', '--vcs-enabled=false', '--max-diagnostics=none', '--colors=off', 'src'];
    execFile(join(root, 'node_modules/.bin/biome'), options, { cwd: folder.path }, (_, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  expect(report).toContain(`Checked ${Object.keys(files).length} files`);
  const found = report.matchAll(/^(src\/\S+?\.ts):\d+:\d+ (?:plugin|lint\/style\/noRestrictedGlobals) /gm);
  return [...new Set([...found].map(([, name = '']) => name))].sort();
}

const waysOut = [
  "import { Agent } from 'undici';",
  "import type { Dispatcher } from 'undici';",
  "import 'undici';",
  "export { Pool } from 'undici';",
  "export const lazy = () => import('undici');",
  "import { request } from 'node:http';",
  "import { createServer, get } from 'http';",
  "import http from 'node:http';",
  "import * as http from 'node:http';",
  "import { type IncomingMessage, request } from 'node:http';",
  "import https from 'node:https';",
  "import { connect } from 'node:http2';",
  "import { connect } from 'node:net';",
  "import tls from 'node:tls';",
  "import dgram from 'node:dgram';",
  "import { lookup } from 'node:dns/promises';",
  "export const lazy = () => import('node:net');",
  "export const { request } = require('node:https');",
  "export const { request } = process.getBuiltinModule('node:https');",
  "await fetch('https://example.com');",
  "await globalThis.fetch('https://example.com');",
  "export const socket = new WebSocket('wss://example.com');",
];
const harmless = [
  "import { createServer as serve, type IncomingMessage, type ServerResponse } from 'node:http';",
  "import { STATUS_CODES } from 'node:http';",
  "import type { AddressInfo, Socket } from 'node:net';",
  "import { createOutbound } from './outbound/create-outbound.ts';",
  'export const { fetch } = server;',
];
const files = (folder: string, texts: readonly string[]) =>
  Object.fromEntries(texts.map((text, index) => [`${folder}/file-${index}.ts`, text]));

test('lint forbids network modules outside src/outbound', async () => {
  const elsewhere = files('src/apps/okta', waysOut);
  expect(
    await waysOutOf({ ...elsewhere, ...files('src', harmless), ...files('src/outbound', waysOut) }),
  ).toEqual(Object.keys(elsewhere).sort());
});
