import { findApiKey, generateApiKey } from './access/api-keys.ts';
import {
  addOrganisation,
  firstOrganisationId,
  firstProjectId,
  hasOrganisation,
} from './access/organisations.ts';
import { type Config, readConfig } from './config.ts';
import { DataDir } from './data-dir.ts';
import { atStart, type Database, openDatabase } from './database/database.ts';
import { entities } from './entities.ts';
import { StartError } from './errors.ts';
import { createLog, describeError } from './log.ts';
import { generateRootKey, parseKeyring } from './secrets/keyring.ts';
import type { Secret } from './secrets/secret.ts';
import { Vault } from './secrets/vault.ts';
import { createServer } from './server.ts';
import { welcome } from './welcome.ts';

const encryptionKeysFile = 'encryption-keys';
const apiKeyFile = 'api-key';

async function start(): Promise<void> {
  const config = readConfig();
  const log = createLog(config.logLevel);
  const dataDir = config.production ? undefined : new DataDir(config.dataDir);
  const lock = config.databaseUrl ? undefined : dataDir?.lock();

  const vault = new Vault(keyringOf(config, dataDir), log);
  const database = await openDatabase(
    config.databaseUrl
      ? { kind: 'postgresql', url: config.databaseUrl }
      : { kind: 'embedded', folder: `${config.dataDir}/database` },
    entities,
    log,
  );
  await vault.checkKeys(database.fork()).catch((error: Error) => {
    throw new StartError(`ENCRYPTION_KEYS: ${error.message}`);
  });
  const administrator = await bootstrap(config, database, vault, dataDir);

  const server = await createServer(config, { database, vault, log, graphiqlApiKey: administrator.key });
  // Before anybody is told that the server is ready, so that whoever was told can stop it gently.
  const stop = async (signal: string): Promise<void> => {
    log.debug({ signal }, 'stopping');
    await server.close();
    await database.close();
    lock?.release();
    process.exit(0);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);

  if (!config.production) {
    console.log(welcome(config, server.url, { ...administrator, file: dataDir?.fileOf(apiKeyFile) }));
  } else if (administrator.isNeeded) {
    log.warn('the database has no organisation yet; set BOOTSTRAP_API_KEY to make the first');
  } else {
    log.info({ url: server.url }, 'ready');
  }
}

function keyringOf(config: Config, dataDir: DataDir | undefined) {
  const keys = config.encryptionKeys ?? dataDir?.readOrMake(encryptionKeysFile, generateRootKey);
  try {
    if (!keys) throw new Error('there are none');
    return parseKeyring(keys);
  } catch (error) {
    const place = config.encryptionKeys ? 'ENCRYPTION_KEYS' : dataDir?.fileOf(encryptionKeysFile);
    throw new StartError(`${place}: ${(error as Error).message}`);
  }
}

/** The first administrator's key: known as long as it works; `isNew` when it was made just now. */
interface Administrator {
  key?: Secret;
  isNew?: boolean;
  /** There is no organisation, and no key to make the first with. */
  isNeeded?: boolean;
}

/** Makes the first organisation, project and administrator's key in a database that has none. */
async function bootstrap(
  config: Config,
  database: Database,
  vault: Vault,
  dataDir: DataDir | undefined,
): Promise<Administrator> {
  return atStart(database.fork(), async (em) => {
    const known = config.bootstrapApiKey ?? dataDir?.read(apiKeyFile);
    if (await hasOrganisation(em)) return known && (await findApiKey(em, known)) ? { key: known } : {};
    const key = known ?? dataDir?.readOrMake(apiKeyFile, () => generateApiKey().reveal());
    if (!key) return { isNeeded: true };
    await addOrganisation(em, vault, {
      id: firstOrganisationId,
      name: 'First organisation',
      projectId: firstProjectId,
      projectName: 'First project',
      administratorKey: key,
    });
    return { key, isNew: true };
  });
}

try {
  await start();
} catch (error) {
  // Written straight to the descriptor, because the process ends before a stream would have.
  if (error instanceof StartError) console.error(`Cannot start: ${error.message}`);
  else console.error('Cannot start:', describeError(error));
  process.exit(1);
}
