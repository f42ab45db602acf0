import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { readSmallFile, UnusableFile } from '../../common/configured-file.ts';
import { StartupError } from '../../common/errors.ts';
import { formatCount } from '../../common/format-count.ts';
import { Secret } from '../../common/secret.ts';
import { suggest } from '../../common/suggest.ts';
import { connectionName, description } from '../../connections/input-schemas.ts';
import { parseCsv } from './csv.ts';

/** The columns of a file of connections. */
const columns = ['name', 'project', 'instanceUrl', 'method', 'description', 'tokenEnv', 'tokenFile'] as const;

type Column = (typeof columns)[number];

/** A connection to create. */
export interface ConnectionRow {
  /** Where it is in the file: `line 2`, or `entry 1` of JSON. */
  place: string;
  name: string;
  /** The name or the id of a project; undefined for the organisation itself. */
  project: string | undefined;
  instanceUrl: string;
  description: string | undefined;
  token: Secret;
}

/** Why a connection cannot be created. */
export interface RowProblem {
  place: string;
  column?: string | undefined;
  message: string;
  remedy?: string | undefined;
}

const limit = { maxBytes: 16 * 1024 * 1024, remedy: 'import it in several parts' };

type Cells = Partial<Record<Column, string>>;

/**
 * Reads connections from CSV with a header, or from a JSON list of objects. Tokens are in environment variables or in files, never in the
 * file itself.
 *
 * @param environment the environment variables that `tokenEnv` names
 * @returns the rows without problems, and all problems
 * @throws StartupError if the file cannot be read, or its form is wrong
 */
export function readConnectionRows(
  file: string,
  environment: Readonly<Record<string, string | undefined>>,
): { rows: ConnectionRow[]; problems: RowProblem[] } {
  const text = readText(file);
  const entries = /^\s*[[{]/.test(text) ? parseJsonEntries(text) : parseCsvEntries(text);
  if (entries.length === 0) throw new StartupError('it has no connections');
  const rows: ConnectionRow[] = [];
  const problems: RowProblem[] = [];
  for (const { place, cells } of entries) {
    const add = (column: Column, message: string, remedy: string) =>
      problems.push({ place, column, message, remedy });
    const before = problems.length;
    checkCells(cells, add);
    const token = readToken(cells, environment, dirname(resolve(file)), add);
    const { name = '', instanceUrl = '', project, description: about } = cells;
    if (problems.length > before || !token) continue;
    rows.push({
      place,
      name: name.trim(),
      instanceUrl,
      token,
      project: project?.trim() || undefined,
      description: about || undefined,
    });
  }
  return { rows, problems: [...problems, ...findRepetitions(rows)] };
}

type AddProblem = (column: Column, message: string, remedy: string) => void;

function readText(file: string): string {
  try {
    // It removes a byte order mark.
    return new TextDecoder('utf-8', { fatal: true }).decode(readSmallFile(file, limit));
  } catch (error) {
    if (error instanceof UnusableFile) throw new StartupError(`it ${error.message}`);
    if (error instanceof TypeError)
      throw new StartupError('it is not encoded in UTF-8; save it as UTF-8, such as "CSV UTF-8" in Excel');
    throw error;
  }
}

interface Entry {
  place: string;
  cells: Cells;
}

function parseCsvEntries(text: string): Entry[] {
  const [header, ...records] = parseCsv(text);
  const names = header?.cells ?? [];
  for (const [index, name] of names.entries()) assertColumn(name, `column ${index + 1}`);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated) throw new StartupError(`the column ${repeated} is there twice; remove one`);
  return records.map(({ line, cells }) => {
    if (cells.length !== names.length)
      throw new StartupError(
        `line ${line} has ${formatCount(cells.length, 'cell')}, and the first line ${names.length}; quote cells with commas`,
      );
    return { place: `line ${line}`, cells: Object.fromEntries(names.map((name, at) => [name, cells[at]])) };
  });
}

const jsonEntries = z.array(z.record(z.string(), z.unknown()));

function parseJsonEntries(text: string): Entry[] {
  const { data } = jsonEntries.safeParse(tryParse(text));
  if (!data) throw new StartupError('it is neither CSV with a header nor a JSON list of objects');
  return data.map((entry, index) => {
    const place = `entry ${index + 1}`;
    for (const [name, value] of Object.entries(entry)) {
      assertColumn(name, `a member of ${place}`);
      if (value !== null && typeof value !== 'string')
        throw new StartupError(`${place}: the member ${name} must be a text`);
    }
    const texts = Object.entries(entry).filter(([, value]) => value !== null);
    return { place, cells: Object.fromEntries(texts) as Cells };
  });
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * @param where names the column in messages, if its name is not shown: a file without a header has values there, such as tokens
 * @throws StartupError
 */
function assertColumn(name: string, where: string): void {
  if (columns.some((each) => each === name)) return;
  const known = `The columns are ${columns.join(', ')}`;
  if (/[;\t|]/.test(name))
    throw new StartupError(
      `its first line has semicolons, tabs or bars; separate the cells by commas. ${known}`,
    );
  const letters = name.toLowerCase().replace(/[^a-z]/g, '');
  const shown =
    /^[A-Za-z]+([ _-][A-Za-z]+)*$/.test(name) && name.length <= 20 ? JSON.stringify(name) : undefined;
  if (/token|secret|password|privatekey|credential/.test(letters))
    throw new StartupError(
      `it has a column ${shown ?? 'for tokens'}: tokens must not be in the file; delete them there, put each into an environment variable or a file, and name it in tokenEnv or tokenFile`,
    );
  if (shown) throw new StartupError(`it has an unknown column ${shown}.${suggest(name, columns)} ${known}`);
  throw new StartupError(`${where} has an unknown name, and its first line may be missing. ${known}`);
}

function checkCells({ name, instanceUrl, method, description: about }: Cells, add: AddProblem): void {
  const check = (column: Column, schema: z.ZodType, value: string | undefined) => {
    for (const { message } of schema.safeParse(value).error?.issues ?? [])
      add(column, message, 'Correct the cell.');
  };
  check('name', connectionName, name);
  check('description', description, about);
  if (!instanceUrl)
    add(
      'instanceUrl',
      'The address is missing.',
      'Enter the address of the Okta organisation, such as https://example.okta.com.',
    );
  if (method && method !== 'api-token' && method !== 'API_TOKEN')
    add(
      'method',
      'Only api-token can be imported.',
      'Create connections of other methods in the dashboard or with the API.',
    );
}

function readToken(
  { tokenEnv, tokenFile }: Cells,
  environment: Readonly<Record<string, string | undefined>>,
  folder: string,
  add: AddProblem,
): Secret | undefined {
  if (!tokenEnv === !tokenFile) {
    add(
      'tokenEnv',
      'It needs either tokenEnv or tokenFile.',
      'Name an environment variable or a file that has the token.',
    );
    return undefined;
  }
  if (tokenFile) return readTokenFile(resolve(folder, tokenFile), add);
  const name = tokenEnv ?? '';
  const value = Object.hasOwn(environment, name) ? environment[name]?.trim() : undefined;
  if (value) return new Secret(value);
  // A token that was entered here by mistake is not repeated.
  const isName = /^[A-Z_][A-Z0-9_]*$/i.test(tokenEnv ?? '') && (tokenEnv?.length ?? 0) <= 40;
  add(
    'tokenEnv',
    isName && /_|^[A-Z]+$/.test(tokenEnv ?? '')
      ? `The variable ${tokenEnv} is not set.`
      : 'It names no variable that is set.',
    'Set the variable to the token for this command. The cell has its name, not the token.',
  );
  return undefined;
}

function readTokenFile(path: string, add: AddProblem): Secret | undefined {
  const remedy = 'Put only the token into the file. Its path is relative to the file of connections.';
  try {
    const token = readSmallFile(path).toString().trim();
    if (token !== '' && !/\s/.test(token)) return new Secret(token);
    add('tokenFile', token === '' ? 'The file is empty.' : 'The file has more than one word.', remedy);
  } catch (error) {
    if (!(error instanceof UnusableFile)) throw error;
    add('tokenFile', `The file ${error.message}.`, remedy);
  }
  return undefined;
}

/** The problem of a name that an earlier row has in the same project. */
export function repeatedName(earlier: string): Omit<RowProblem, 'place'> {
  const remedy = 'Choose another name.';
  return { column: 'name', message: `The name is used in ${earlier} too.`, remedy };
}

function findRepetitions(rows: readonly ConnectionRow[]): RowProblem[] {
  const places = new Map<string, string>();
  return rows.flatMap(({ place, name, project = '' }) => {
    const key = JSON.stringify([name, project]);
    const earlier = places.get(key);
    places.set(key, earlier ?? place);
    return earlier === undefined ? [] : [{ place, ...repeatedName(earlier) }];
  });
}
