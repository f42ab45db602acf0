/** The server that `bench/fuzz.ts` sends its requests to: as in development, but no host is to be found but hostile ones. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createOrganisation } from '../src/administration/organisations.ts';
import { createServer } from '../src/app/server.ts';
import { openStores } from '../src/bootstrap/stores.ts';
import { createLog } from '../src/common/log.ts';
import { readConfig } from '../src/config/read-config.ts';
import { firstOrganisation } from '../src/identity/organisations.ts';
import { hostileHosts } from '../test/testkit/fuzz/hostile-hosts.ts';

const config = readConfig();
const log = createLog('info');
const { database, vault, unlock, close } = await openStores(config, log);
await unlock();
const { bootstrapApiKey } = config;
if (!bootstrapApiKey) throw new Error('BOOTSTRAP_API_KEY is needed');
await database
  .asSystem()
  .transactional((em) => createOrganisation(em, { database, vault }, firstOrganisation(bootstrapApiKey)));
const server = await createServer(config, {
  database,
  vault,
  log,
  outbound: { lookup: hostileHosts, timeoutMs: 1_000 },
});
process.send?.(server.url);
// For the search for the slowest request: what the thread has worked, and how long the event loop was blocked at most.
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
let before = process.threadCpuUsage();
process.on('message', () => {
  const { user, system } = process.threadCpuUsage(before);
  process.send?.({ cpuMs: (user + system) / 1_000, delayMs: delay.max / 1_000_000 });
  delay.reset();
  before = process.threadCpuUsage();
});
process.once('SIGTERM', async () => {
  await server.close();
  await close();
  process.exit(0);
});
