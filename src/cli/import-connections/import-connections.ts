import { commandLine } from '../../common/command-name.ts';
import { StartupError } from '../../common/errors.ts';
import { suggest } from '../../common/suggest.ts';
import type { Api, ApiError } from './api.ts';
import { type ConnectionRow, type RowProblem, repeatedName } from './read-rows.ts';

/** What was done with a row of a file, or would be. */
export interface RowResult {
  place: string;
  name: string;
  /** As in the file. */
  project: string | null;
  /** `existing`: the project has a connection of this name, which was not changed. */
  result: 'created' | 'creatable' | 'existing' | 'failed';
  /** The id of the connection, if there is one. */
  id: string | null;
  problem: RowProblem | null;
}

const projectsQuery = `query ($after: String) {
  projects(first: 100, after: $after) { nodes { id name } pageInfo { hasNextPage endCursor } }
}`;
const byNameQuery = `query ($name: String!, $projectId: UUID) {
  appConnectionByName(name: $name, projectId: $projectId) { id credentials { instanceUrl } }
}`;
const validateMutation = `mutation ($credentials: OktaCredentialsInput!) {
  validateOktaCredentials(credentials: $credentials) { status message remedy }
}`;
const createMutation = `mutation ($input: CreateOktaConnectionInput!) {
  createOktaConnection(input: $input) { appConnection { id } }
}`;

/** A longer text is not similar to the name of a project. */
const maxSuggestedLength = 200;

interface Project {
  id: string;
  name: string;
}

/**
 * Creates connections, one after the other, with the API of a server: with its rules, its verification with Okta and its audit trail.
 * A connection whose name is used in its project is left as it is, so the import can be repeated.
 *
 * @param isDryRun verifies the credentials with Okta, and stores nothing
 * @param onResult called with each result at once
 * @throws StartupError if the server does not answer, or refuses the API key; what was created stays
 */
export async function importConnections(
  api: Api,
  rows: readonly ConnectionRow[],
  { isDryRun, onResult }: { isDryRun: boolean; onResult: (result: RowResult) => void },
): Promise<void> {
  const projects = rows.some(({ project }) => project) ? await listProjects(api) : [];
  const places = new Map<string, string>();
  for (const row of rows) {
    const { place, name, project = null } = row;
    const outcome = await importRow(api, row, { projects, places, isDryRun });
    onResult({ place, name, project, id: null, problem: null, ...outcome });
  }
}

async function listProjects(api: Api): Promise<Project[]> {
  const projects: Project[] = [];
  for (let after: string | null = null; ; ) {
    type Page = {
      projects: { nodes: Project[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } };
    };
    const answer: { data: Page } | { error: ApiError } = await api.request<Page>(projectsQuery, { after });
    if ('error' in answer) throw new StartupError(`the projects cannot be read: ${answer.error.message}`);
    const { nodes, pageInfo }: Page['projects'] = answer.data.projects;
    projects.push(...nodes);
    if (!pageInfo.hasNextPage) return projects;
    after = pageInfo.endCursor;
  }
}

type Outcome = Pick<RowResult, 'result'> & Partial<RowResult>;

interface Context {
  projects: readonly Project[];
  /** Where the names of the rows before are, by project. */
  places: Map<string, string>;
  isDryRun: boolean;
}

async function importRow(
  api: Api,
  row: ConnectionRow,
  { projects, places, isDryRun }: Context,
): Promise<Outcome> {
  const project = projects.find(({ id, name }) => id === row.project?.toLowerCase() || name === row.project);
  if (row.project && !project) {
    const hint = suggest(
      row.project.slice(0, maxSuggestedLength),
      projects.map(({ name }) => name),
    );
    const remedy = `Create it, or leave the cell empty for a connection of the organisation.${hint}`;
    return fail(row, { column: 'project', message: 'There is no such project.', remedy });
  }
  const place = { name: row.name, projectId: project?.id ?? null };
  const key = JSON.stringify(place);
  const earlier = places.get(key);
  if (earlier !== undefined) return fail(row, repeatedName(earlier));
  places.set(key, row.place);
  type Found = {
    appConnectionByName: { id: string; credentials: { instanceUrl: string | null } } | null;
  };
  const found = await api.request<Found>(byNameQuery, place);
  if ('error' in found && found.error.extensions.code !== 'NOT_FOUND') return failWith(row, found.error);
  const existing = 'data' in found ? found.data.appConnectionByName : null;
  if (existing) {
    const { id, credentials } = existing;
    return isSameHost(row.instanceUrl, credentials.instanceUrl)
      ? { result: 'existing', id }
      : { ...fail(row, otherInstance(credentials.instanceUrl)), id };
  }
  const credentials = { instanceUrl: row.instanceUrl, apiToken: row.token };
  if (isDryRun) return validate(api, row, credentials);
  const input = { ...place, description: row.description ?? null, credentials };
  type Created = { createOktaConnection: { appConnection: { id: string } } };
  const created = await api.request<Created>(createMutation, { input });
  if ('error' in created) return failWith(row, created.error);
  return { result: 'created', id: created.data.createOktaConnection.appConnection.id };
}

/** The server stores addresses in lower case, without a slash or a dot at the end. */
function isSameHost(given: string, stored: string | null): boolean {
  return URL.parse(given.trim())?.host.replace(/\.$/, '') === URL.parse(stored ?? '')?.host;
}

function otherInstance(stored: string | null): Omit<RowProblem, 'place'> {
  return {
    column: 'instanceUrl',
    message: `The connection of this name is one to ${stored}, and was not changed.`,
    remedy: 'Give the row another name, or correct the address.',
  };
}

async function validate(api: Api, row: ConnectionRow, credentials: object): Promise<Outcome> {
  type Validated = {
    validateOktaCredentials: { status: string; message: string | null; remedy: string | null };
  };
  const validated = await api.request<Validated>(validateMutation, { credentials });
  if ('error' in validated) return failWith(row, validated.error);
  const { status, message, remedy } = validated.data.validateOktaCredentials;
  if (status === 'VERIFIED') return { result: 'creatable' };
  return fail(row, { message: message ?? status, remedy: remedy ?? undefined });
}

function fail({ place }: ConnectionRow, problem: Omit<RowProblem, 'place'>): Outcome {
  return { result: 'failed', problem: { place, ...problem } };
}

/** Names the column of the first rule that is broken, and adds what to do. */
function failWith(row: ConnectionRow, { message, extensions }: ApiError): Outcome {
  const { issues } = extensions;
  const remedy = extensions.remedy ?? `Correct the row, and run "${commandLine('import')}" again.`;
  const [issue] = issues ?? [];
  const member = String(issue?.path.at(-1) ?? '');
  const column = { apiToken: 'tokenEnv or tokenFile', projectId: 'project' }[member] ?? (member || undefined);
  return fail(row, { column, message: issue?.message ?? message, remedy });
}
