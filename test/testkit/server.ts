import { randomUUID } from 'node:crypto';
import { Writable } from 'node:stream';
import type { EntityManager } from '@mikro-orm/postgresql';
import { type ClientError, GraphQLClient } from 'graphql-request';
import { addOrganisation } from '../../src/administration/organisations.ts';
import { createServer } from '../../src/app/server.ts';
import type { ServerDeps } from '../../src/app/server-deps.ts';
import { addApiKey, generateApiKey, type NewApiKey } from '../../src/auth/api-keys.ts';
import { entities } from '../../src/bootstrap/entities.ts';
import { createLog } from '../../src/common/log.ts';
import { Secret } from '../../src/common/secret.ts';
import type { Config } from '../../src/config/config.ts';
import { readConfig } from '../../src/config/read-config.ts';
import { OrganisationChangeNotifier } from '../../src/database/change-notifications.ts';
import { parseConnectionString } from '../../src/database/connection-string.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { lazyScopedEntityManager, ownerSession } from '../../src/database/driver/session.ts';
import type { DatabaseLocation } from '../../src/database/location.ts';
import { parseKeyring } from '../../src/encryption/keyring.ts';
import { Vault } from '../../src/encryption/vault.ts';
import type { Scope } from '../../src/identity/caller.ts';
import { Project } from '../../src/identity/organisation.entity.ts';
import { prepareRowMacs } from '../../src/integrity/sign-rows.ts';
import { freshDatabase } from './database.ts';
import { rootKey as newRootKey } from './root-key.ts';

/** How a server under test differs from a development server on a free port. */
export interface TestServerOptions {
  config?: Partial<Config>;
  outbound?: ServerDeps['outbound'];
  apps?: ServerDeps['apps'];
  rates?: ServerDeps['rates'];
  scheduler?: ServerDeps['scheduler'];
  checkIntervalMs?: ServerDeps['checkIntervalMs'];
  revocationIntervalMs?: ServerDeps['revocationIntervalMs'];
  keyRotationIntervalMs?: ServerDeps['keyRotationIntervalMs'];
  expiryIntervalMs?: ServerDeps['expiryIntervalMs'];
  webhookIntervalMs?: ServerDeps['webhookIntervalMs'];
  streamIntervalMs?: ServerDeps['streamIntervalMs'];
  /** Another server whose database and keys this one shares. */
  beside?: TestServer;
  /** An open database, which is then not closed; to open one takes most of the time that a server takes to start. */
  database?: Database;
  /** An existing database, which is then not dropped; otherwise an empty one is made. */
  location?: DatabaseLocation | undefined;
  /** The API key that a one-time code returns. */
  signInKey?: Secret;
  signInCodes?: ServerDeps['signInCodes'];
  dashboardFolder?: string;
  /** The database configuration of the server. */
  wrap?: (database: Database) => Database;
  /** Root keys in the format of ENCRYPTION_KEYS; by default a new one. */
  rootKeys?: string;
}

/** An organisation for one test. */
export interface TestOrganisation {
  orgId: string;
  projectId: string;
  /** The administrator's API key. */
  apiKey: string;
  /** graphql-request with the administrator's key. */
  client: GraphQLClient;
  /** Creates an API key of this organisation with only these scopes. */
  newKey(
    scopes: readonly Scope[],
    limits?: Pick<NewApiKey, 'projectIds' | 'connectionIds' | 'expiresAt'>,
  ): Promise<string>;
  /** Creates another project and returns its id. */
  newProject(name: string): Promise<string>;
}

/** A real server on a free port and an empty database. */
export interface TestServer {
  url: string;
  graphqlUrl: string;
  /** Where the metrics are, if `config.metrics` turns them on. */
  metricsUrl: string | undefined;
  database: Database;
  /** An EntityManager that row-level security does not restrict. */
  asOwner(): EntityManager;
  vault: Vault;
  location: DatabaseLocation;
  /** The connection URL on PostgreSQL. */
  databaseName: string | undefined;
  /** The root keys in the format of ENCRYPTION_KEYS. */
  rootKey: string;
  /** A vault with empty caches, as after a restart; `newKeys` (`id:base64`) precede the current root keys. */
  restartedVault(...newKeys: string[]): Vault;
  /** Every log line so far, at level trace. */
  logs(): string;
  newOrganisation(): Promise<TestOrganisation>;
  /** A one-time sign-in URL, if the server offers sign-in codes. */
  signInLink(): string | undefined;
  clientFor(apiKey: string): GraphQLClient;
  /** Every row of every table, as text. */
  dump(): Promise<string>;
  close(): Promise<void>;
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const lines: string[] = [];
  const log = createLog(
    'trace',
    new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    }),
  );
  const given = options.location ?? options.beside?.location;
  const made = given ? undefined : await freshDatabase();
  const location = given ?? made?.location ?? { kind: 'embedded' };
  // A server closes the notifier of its database.
  const shared = options.database && { ...options.database, changes: new OrganisationChangeNotifier() };
  const database = shared ?? (await openDatabase(location, entities, log));
  const owner = () => lazyScopedEntityManager(() => database.asSystem().fork(), ownerSession);
  const rootKey = options.rootKeys ?? options.beside?.rootKey ?? newRootKey('test');
  const restartedVault = (...newKeys: string[]) =>
    new Vault(parseKeyring(new Secret([...newKeys, rootKey].join(','))), log);
  const vault = restartedVault();
  await prepareRowMacs({ database, vault });
  const config = {
    ...readConfig({ PORT: '0', OKTA_STAND_IN: 'on' }),
    auditCheckpointFile: undefined,
    ...options.config,
  };
  const server = await createServer(config, {
    database: options.wrap?.(database) ?? database,
    vault,
    log,
    signInKey: options.signInKey,
    signInCodes: options.signInCodes,
    dashboardFolder: options.dashboardFolder,
    outbound: options.outbound,
    apps: options.apps,
    rates: options.rates,
    scheduler: options.scheduler,
    checkIntervalMs: options.checkIntervalMs,
    revocationIntervalMs: options.revocationIntervalMs,
    keyRotationIntervalMs: options.keyRotationIntervalMs,
    expiryIntervalMs: options.expiryIntervalMs,
    webhookIntervalMs: options.webhookIntervalMs,
    streamIntervalMs: options.streamIntervalMs,
  });
  const graphqlUrl = `${server.url}/graphql`;
  const clientFor = (apiKey: string) =>
    new GraphQLClient(graphqlUrl, { headers: { authorization: `Bearer ${apiKey}` } });

  return {
    url: server.url,
    graphqlUrl,
    metricsUrl: server.metricsUrl,
    database,
    asOwner: owner,
    vault,
    location,
    databaseName:
      location.kind === 'postgresql' ? parseConnectionString(location.url.reveal()).database : undefined,
    rootKey,
    restartedVault,
    clientFor,
    signInLink: () => server.createSignInLink?.(),
    logs: () => lines.join(''),
    newOrganisation: async () => {
      const key = generateApiKey();
      const em = owner();
      const ids = await addOrganisation(em, vault, {
        name: 'Test organisation',
        projectName: 'Test project',
        administratorKey: key,
      });
      await em.flush();
      return {
        ...ids,
        apiKey: key.reveal(),
        client: clientFor(key.reveal()),
        newProject: async (name) => {
          const em = owner();
          const { id } = em.create(Project, {
            id: randomUUID(),
            orgId: ids.orgId,
            name,
            createdAt: new Date(),
          });
          await em.flush();
          return id;
        },
        newKey: async (scopes, limits) => {
          const another = generateApiKey();
          const em = owner();
          addApiKey(em, { orgId: ids.orgId, name: 'Another', key: another, scopes, ...limits });
          await em.flush();
          return another.reveal();
        },
      };
    },
    dump: async () => {
      const em = owner();
      const tables: { name: string }[] = await em.execute(
        "select table_name as name from information_schema.tables where table_schema = 'public'",
      );
      const rows = await Promise.all(
        tables.map(({ name }) => em.execute(`select t::text as row from "${name}" t`)),
      );
      return JSON.stringify(rows);
    },
    close: async () => {
      await server.close();
      if (!shared) await database.close();
      await made?.drop();
    },
  };
}

/** Returns the errors of a request that must fail. */
export async function errorsOf(request: Promise<unknown>): Promise<WireError[]> {
  const outcome = await request.then(
    (data) => ({ data }),
    (error: ClientError) => ({ errors: error.response?.errors as unknown as WireError[] | undefined, error }),
  );
  if ('errors' in outcome && outcome.errors) return outcome.errors;
  throw new Error('The request did not fail with GraphQL errors.', { cause: outcome });
}

/** A GraphQL error as a client sees it. */
export interface WireError {
  message: string;
  path?: (string | number)[];
  extensions: {
    code: string;
    issues?: { path: (string | number)[]; message: string }[];
    remedy?: string;
    requestId?: string;
    retryAt?: string;
  };
}
