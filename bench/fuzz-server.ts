/** The development server to which `bench/fuzz.ts` sends requests. It resolves only hostile hosts. */
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
if (!bootstrapApiKey) throw new Error('BOOTSTRAP_API_KEY is not set');
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
// For fuzz-delay.ts: the processor time of the thread, and the longest block of the event loop.
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
