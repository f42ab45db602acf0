/**
 * The product in production mode, except for rate limits: requests are counted, but the limits are unreachable, because
 * the defaults would refuse the load after seconds.
 */

import { createOrganisation } from '../../../src/administration/organisations.ts';
import { createServer } from '../../../src/app/server.ts';
import { openStores } from '../../../src/bootstrap/stores.ts';
import { createLog } from '../../../src/common/log.ts';
import { Secret } from '../../../src/common/secret.ts';
import { readConfig } from '../../../src/config/read-config.ts';
import { withStartupLock } from '../../../src/database/startup-lock.ts';
import { firstOrganisation, hadOrganisation } from '../../../src/identity/organisations.ts';
import { defaultRates, type Rate } from '../../../src/rate-limits/defaults.ts';
import { announce } from './work/announce.ts';

const config = readConfig();
const log = createLog(config.logLevel);
const { database, vault, unlock, close } = await openStores(config, log);
await unlock();
await withStartupLock(database.asSystem(), async (em) => {
  if (!config.bootstrapApiKey || (await hadOrganisation(em))) return;
  await createOrganisation(em, { database, vault }, firstOrganisation(config.bootstrapApiKey));
  for (const key of process.env.OTHER_API_KEYS?.split(',') ?? []) {
    const organisation = { name: 'Bench', projectName: 'Bench', administratorKey: new Secret(key) };
    await createOrganisation(em, { database, vault }, organisation);
  }
});
const endless = ({ leaseSize }: Rate): Rate => ({ points: 1_000_000_000, leaseSize });
const server = await createServer(config, {
  ...{ database, vault, log },
  checkIntervalMs: Number(process.env.CHECK_INTERVAL_MS) || undefined,
  webhookIntervalMs: Number(process.env.WEBHOOK_INTERVAL_MS) || undefined,
  rates: {
    caller: endless(defaultRates.caller),
    organisation: endless(defaultRates.organisation),
    unauthenticated: endless(defaultRates.unauthenticated),
    failedAuthentication: endless(defaultRates.failedAuthentication),
    outbound: endless(defaultRates.outbound),
    outboundOfOrganisation: endless(defaultRates.outboundOfOrganisation),
    use: endless(defaultRates.use),
    useOfOrganisation: endless(defaultRates.useOfOrganisation),
    change: endless(defaultRates.change),
    changeOfOrganisation: endless(defaultRates.changeOfOrganisation),
  },
});
process.once('SIGTERM', async () => {
  await server.close();
  await close();
  process.exit(0);
});
announce(server.url);
