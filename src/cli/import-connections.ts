/** Creates connections from a list, with the API of a running server: `npm run import -- --connections FILE`. */

import { join } from 'node:path';
import { readSmallFile, UnusableFile } from '../common/configured-file.ts';
import { StartupError } from '../common/errors.ts';
import { formatCount } from '../common/format-count.ts';
import { isLoopbackHost } from '../common/loopback.ts';
import { Secret } from '../common/secret.ts';
import type { Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { UsageError } from './arguments.ts';
import { openApi } from './import-connections/api.ts';
import { importConnections, type RowResult } from './import-connections/import-connections.ts';
import { type ConnectionRow, type RowProblem, readConnectionRows } from './import-connections/read-rows.ts';
import type { Invocation } from './program.ts';

/** The options of the command. */
export interface ConnectionsOptions {
  /** The file with the list. */
  connections: string;
  /** The URL of the server. Absent: that of the server with this configuration. */
  url: string | undefined;
  /** The file with the API key. Absent: the one that the first start has written. */
  apiKeyFile: string | undefined;
  isDryRun: boolean;
  json: boolean;
}

/**
 * Imports a list of connections. If a row is wrong, nothing is sent.
 *
 * @returns the exit code
 * @throws StartupError, UsageError
 */
export async function runConnectionsImport(
  { connections, url, apiKeyFile, isDryRun, json }: ConnectionsOptions,
  { environment, terminal }: Invocation,
): Promise<number> {
  const { rows, problems } = readRows(connections, environment);
  if (problems.length > 0) {
    if (json) terminal.log(JSON.stringify({ rows: [], problems }));
    else for (const problem of problems) terminal.error(formatProblem(problem));
    throw new StartupError(
      `--connections ${connections}: ${formatCount(problems.length, 'wrong cell')}; nothing was sent; correct them, and run the command again`,
    );
  }
  const config = readConfig(environment);
  const key = readApiKey(apiKeyFile ?? join(config.dataDir, 'api-key'));
  const api = openApi(url === undefined ? findUrl(config) : parseUrl(url), key);
  const results: RowResult[] = [];
  try {
    const onResult = (result: RowResult) => {
      results.push(result);
      if (json) return;
      if (result.problem) terminal.error(formatProblem(result.problem));
      else terminal.log(formatResult(result));
    };
    await importConnections(api, rows, { isDryRun, onResult });
    const counts = countResults(results);
    if (!json) terminal.log(formatSummary(counts));
    return counts.failed > 0 ? 1 : 0;
  } finally {
    // Also if the server has stopped answering: what was created stays.
    if (json) terminal.log(JSON.stringify({ rows: results, problems: [] }));
    await api.close();
  }
}

function readRows(
  file: string,
  environment: Invocation['environment'],
): { rows: ConnectionRow[]; problems: RowProblem[] } {
  try {
    return readConnectionRows(file, environment);
  } catch (error) {
    throw error instanceof StartupError ? new StartupError(`--connections ${file}: ${error.message}`) : error;
  }
}

function readApiKey(file: string): Secret {
  try {
    const key = readSmallFile(file).toString().trim();
    if (/^[\x21-\x7e]+$/.test(key)) return new Secret(key);
    throw new UnusableFile('does not hold an API key');
  } catch (error) {
    if (!(error instanceof UnusableFile)) throw error;
    throw new StartupError(
      `the API key: ${file} ${error.message}; name a file that has only the key with --api-key-file`,
    );
  }
}

function findUrl({ tls, host, port, basePath }: Config): URL {
  const name = isLoopbackHost(host) ? host : '127.0.0.1';
  return new URL(`${tls ? 'https' : 'http'}://${name.includes(':') ? `[${name}]` : name}:${port}${basePath}`);
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.search && !url.hash) return url;
  throw new UsageError(
    'The option --url needs the URL of the server, such as https://connections.example.com.',
  );
}

const resultTexts = {
  created: 'created',
  creatable: 'can be created: Okta accepts the token',
  existing: 'exists already, and was not changed',
};

function formatResult({ place, name, project, result, id }: RowResult): string {
  const text = result === 'failed' ? result : resultTexts[result];
  return `${place}  ${[project, name].filter(Boolean).join('/')}  ${text}${id ? ` (${id})` : ''}`;
}

function formatProblem({ place, column, message, remedy }: RowProblem): string {
  return [`${place}${column ? `, column ${column}` : ''}: ${message}`, remedy].filter(Boolean).join(' ');
}

type Counts = Record<RowResult['result'], number>;

function countResults(results: readonly RowResult[]): Counts {
  const counts: Counts = { created: 0, creatable: 0, existing: 0, failed: 0 };
  for (const { result } of results) counts[result] += 1;
  return counts;
}

function formatSummary({ created, creatable, existing, failed }: Counts): string {
  const done = creatable > 0 ? `${creatable} can be created` : `${created} created`;
  return `${done}, ${existing} existed already, ${failed} failed`;
}
