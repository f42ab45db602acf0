import { randomUUID } from 'node:crypto';
import {
  type EntityManager,
  type FilterQuery,
  UniqueConstraintViolationException,
} from '@mikro-orm/postgresql';
import type { Caller } from '../access/caller.ts';
import { Project } from '../access/organisation.entity.ts';
import type { App, Credentials, Diagnosis, FieldValue, Method } from '../apps/app.ts';
import type { Database } from '../database/database.ts';
import { Problem } from '../errors.ts';
import type { Outbound } from '../outbound/outbound.ts';
import { Secret } from '../secrets/secret.ts';
import type { SealBinding, Vault } from '../secrets/vault.ts';
import { AppConnection, nameIndexes } from './app-connection.entity.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import type { CreateConnection } from './input.ts';

/** Which connections to list. */
export interface ListConnections {
  /** A project's; null for those without a project; absent for all of the organisation. */
  projectId?: string | null | undefined;
  /** The id of an app; absent for every app. */
  app?: string | null | undefined;
  /** 1 to 100. */
  first: number;
  /** `endCursor` of the page before. */
  after?: string | null | undefined;
}

/** Part of a list, in order of name, then id. */
export interface ConnectionPage {
  nodes: AppConnection[];
  hasNextPage: boolean;
  endCursor: string | null;
  /** How many there are on all pages; a query of its own. */
  count(): Promise<number>;
}

/** What can be done with connections. Every method asserts that the caller may do it. */
export class ConnectionService {
  readonly #database: Database;
  readonly #vault: Vault;
  readonly #outbound: Outbound;

  constructor(parts: { database: Database; vault: Vault; outbound: Outbound }) {
    this.#database = parts.database;
    this.#vault = parts.vault;
    this.#outbound = parts.outbound;
  }

  /**
   * Verifies credentials with the app, seals them and keeps the connection.
   *
   * @throws Problem `FORBIDDEN`, `NOT_FOUND` (the project), `NAME_TAKEN`, or what the app's diagnosis says
   */
  async create(caller: Caller, app: App, input: CreateConnection): Promise<AppConnection> {
    caller.assertMay('connections:write');
    const em = this.#database.fork();
    const { orgId } = caller;
    const place: Place = { orgId, projectId: input.projectId ?? null };
    await assertProject(em, place);
    await assertNameFree(em, place, input.name);

    const method = methodOf(app, input.method);
    const credentials = part(method, input.credentials);
    const diagnosis = await method.verify(credentials, this.#outbound);
    assertWorthKeeping(diagnosis, input.onUnreachable);

    const id = randomUUID();
    const binding: SealBinding = {
      orgId,
      connectionId: id,
      app: app.id,
      method: method.id,
      host: hostOf(method, credentials),
    };
    const sealed = await this.#vault.seal(em, binding, credentials.secret);
    const now = new Date();
    const connection = em.create(AppConnection, {
      id,
      ...place,
      name: input.name,
      description: input.description ?? null,
      app: app.id,
      method: method.id,
      version: 1,
      createdAt: now,
      updatedAt: now,
      isPlatformManagedCredentials: false,
      credentialsHash: await this.#vault.fingerprint(em, orgId, {
        ...credentials.public,
        ...credentials.secret,
        app: app.id,
        method: method.id,
      }),
      publicCredentials: credentials.public,
      sealedCredentials: sealed.text,
      dataKeyId: sealed.dataKeyId,
      ...outcomeOf(diagnosis, now),
    });
    await em.flush().catch((error: unknown) => {
      throw isNameClash(error) ? nameTaken(place) : error;
    });
    return connection;
  }

  /** @throws Problem `NOT_FOUND`, `FORBIDDEN` */
  async get(caller: Caller, id: string): Promise<AppConnection> {
    return this.#find(caller, { id });
  }

  /**
   * @param projectId null for a connection without a project
   * @throws Problem `NOT_FOUND`, `FORBIDDEN`
   */
  async getByName(caller: Caller, name: string, projectId: string | null): Promise<AppConnection> {
    return this.#find(caller, { name, projectId });
  }

  /** @throws Problem `BAD_USER_INPUT` (the cursor), `FORBIDDEN` */
  async list(caller: Caller, options: ListConnections): Promise<ConnectionPage> {
    caller.assertMay('connections:read');
    const where: FilterQuery<AppConnection> = {
      orgId: caller.orgId,
      ...(options.projectId !== undefined && { projectId: options.projectId }),
      ...(options.app && { app: options.app }),
    };
    const after = options.after ? decodeCursor(options.after) : null;
    // "name >= ?" is implied by the rest, but it is what lets the index find the start of the page.
    const beyond: FilterQuery<AppConnection> = after
      ? { name: { $gte: after.name }, $or: [{ name: { $gt: after.name } }, { id: { $gt: after.id } }] }
      : {};
    const found = await this.#database
      .fork()
      .find(
        AppConnection,
        { $and: [where, beyond] },
        { orderBy: { name: 'asc', id: 'asc' }, limit: options.first + 1 },
      );
    const nodes = found.slice(0, options.first);
    const last = nodes.at(-1);
    return {
      nodes,
      hasNextPage: found.length > options.first,
      endCursor: last ? encodeCursor(last) : null,
      count: () => this.#database.fork().count(AppConnection, where),
    };
  }

  async #find(caller: Caller, where: FilterQuery<AppConnection>): Promise<AppConnection> {
    caller.assertMay('connections:read');
    const connection = await this.#database
      .fork()
      .findOne(AppConnection, { $and: [where, { orgId: caller.orgId }] });
    if (connection) return connection;
    throw new Problem('NOT_FOUND', 'There is no such connection.', {
      remedy: 'Check the id or the name, and that the API key belongs to the right organisation.',
    });
  }
}

/** Where a name must be unique: a project, or the organisation's connections without a project. */
interface Place {
  orgId: string;
  projectId: string | null;
}

async function assertProject(em: EntityManager, { orgId, projectId }: Place): Promise<void> {
  if (projectId === null || (await em.count(Project, { id: projectId, orgId })) > 0) return;
  const message = 'There is no such project.';
  throw new Problem('NOT_FOUND', message, {
    issues: [{ path: ['input', 'projectId'], message }],
    remedy: 'Check the project id, or leave it out for a connection of the organisation itself.',
  });
}

async function assertNameFree(em: EntityManager, place: Place, name: string): Promise<void> {
  if ((await em.count(AppConnection, { ...place, name })) > 0) throw nameTaken(place);
}

function nameTaken({ projectId }: Place): Problem {
  const where = projectId === null ? 'without a project' : 'in this project';
  const message = `Another connection ${where} has this name.`;
  return new Problem('NAME_TAKEN', message, {
    issues: [{ path: ['input', 'name'], message }],
    remedy: 'Choose another name.',
  });
}

function isNameClash(error: unknown): boolean {
  return (
    error instanceof UniqueConstraintViolationException &&
    nameIndexes.some((index) => index === (error as { constraint?: unknown }).constraint)
  );
}

function methodOf(app: App, id: string): Method {
  const method = app.methods.find((candidate) => candidate.id === id);
  if (!method) throw new TypeError(`The app ${app.id} has no method ${id}.`);
  return method;
}

/** Parts credentials into what may be shown and what may not. */
function part(method: Method, given: Readonly<Record<string, FieldValue>>): Credentials {
  const shown: Record<string, string> = {};
  const secret: Record<string, Secret> = {};
  for (const name of Object.keys(method.fields)) {
    const value = given[name];
    if (value instanceof Secret) secret[name] = value;
    else if (value != null) shown[name] = value;
  }
  return { public: shown, secret };
}

/** The host that the credentials are for: that of the method's URL field, or empty. */
function hostOf(method: Method, credentials: Credentials): string {
  const [name] = Object.entries(method.fields).find(([, field]) => field.kind === 'URL') ?? [];
  const url = name && credentials.public[name];
  return url ? new URL(url).host : '';
}

function assertWorthKeeping(diagnosis: Diagnosis, onUnreachable: CreateConnection['onUnreachable']): void {
  if (diagnosis.status === 'VERIFIED') return;
  if (diagnosis.status === 'UNREACHABLE' && onUnreachable === 'SAVE_UNVERIFIED') return;
  const { code, message, remedy, retryAt } = diagnosis;
  throw new Problem(code, message, { remedy, ...(retryAt && { retryAt }) });
}

function outcomeOf(diagnosis: Diagnosis, checkedAt: Date) {
  const failed = diagnosis.status === 'VERIFIED' ? null : diagnosis;
  return {
    verificationStatus: diagnosis.status,
    verificationCheckedAt: checkedAt,
    verificationCode: failed?.code ?? null,
    verificationMessage: failed?.message ?? null,
    verificationRemedy: failed?.remedy ?? null,
    upstreamRequestId: diagnosis.upstreamRequestId,
    account: diagnosis.status === 'VERIFIED' ? diagnosis.account : null,
  };
}
