/**
 * Benchmarks of the server by itself: `npm run bench`, see bench/README.md.
 *
 * Each part prints tables. Servers are measured in turns, in many short rounds, and the ratios within a round
 * are the result, because the client, PostgreSQL and other processes share the machine.
 */

import { prepareFixture } from '../peers/fixture.ts';
import { connections } from '../peers/load.ts';
import { machine, machineLoad } from '../peers/summary.ts';
import { measureCapacity } from './capacity.ts';
import { measureCheckBursts, measureChecks } from './checks.ts';
import { measureEvents } from './event-latency.ts';
import { measureFeatures, measureOptimisations, measureTraces } from './feature-cost.ts';
import { measureMemory } from './memory.ts';
import { measureNoisy } from './noisy-neighbour.ts';
import { readOptions } from './options.ts';
import { measureOrganisations } from './organisations.ts';
import { measureProxy } from './proxy.ts';
import { measureGrowth } from './scale.ts';
import { measureServers } from './servers.ts';
import { measureStart } from './start.ts';
import { measureTail } from './tail-latency.ts';
import { measureWebhooks } from './webhook-delivery.ts';

const parts = {
  start: measureStart,
  scale: measureGrowth,
  capacity: measureCapacity,
  organisations: measureOrganisations,
  memory: measureMemory,
  'tail-latency': measureTail,
  'noisy-neighbour': measureNoisy,
  'event-latency': measureEvents,
  'webhook-delivery': measureWebhooks,
  checks: measureChecks,
  'check-bursts': measureCheckBursts,
  proxy: measureProxy,
  servers: measureServers,
  'feature-cost': measureFeatures,
  optimisations: measureOptimisations,
  traces: measureTraces,
};

const options = readOptions();
console.log(
  `${machine()}; ${connections} connections, ${options.rounds} rounds of ${options.seconds} s; ` +
    `load before: ${machineLoad()}`,
);
await using fixture = await prepareFixture();
for (const name of options.parts) {
  const started = performance.now();
  console.log(`\n## ${name}\n\n${await parts[name](fixture, options)}\n`);
  console.log(`${Math.round((performance.now() - started) / 1_000)} s; load after: ${machineLoad()}`);
}
