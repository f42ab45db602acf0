/** The server that `bench/fuzz.ts` sends its requests to: as in development, but no host is to be found. */
import { firstOrganisation } from '../src/access/organisations.ts';
import { makeOrganisation } from '../src/administration/organisations.ts';
import { readConfig } from '../src/config.ts';
import { createLog } from '../src/log.ts';
import { createServer } from '../src/server.ts';
import { openStores } from '../src/stores.ts';
import { nowhere } from '../test/testkit/fuzz/ground.ts';

const config = readConfig();
const log = createLog('info');
const { database, vault, unlock, close } = await openStores(config, log);
await unlock();
const { bootstrapApiKey } = config;
if (!bootstrapApiKey) throw new Error('BOOTSTRAP_API_KEY is needed');
await database
  .forkAcross()
  .transactional((em) => makeOrganisation(em, { database, vault }, firstOrganisation(bootstrapApiKey)));
const server = await createServer(config, { database, vault, log, outbound: { lookup: nowhere } });
process.send?.(server.url);
process.once('SIGTERM', async () => {
  await server.close();
  await close();
  process.exit(0);
});
