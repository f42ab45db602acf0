/**
 * Compares the product with peers that do the same work: `npm run bench:peers`, see bench/README.md.
 *
 * Every server has a copy of the same database on one PostgreSQL, and all run all the time. They are measured in turns,
 * in many short rounds; the result is the median ratio within a round, because other processes share the machine.
 */
import { check } from './check.ts';
import { startServers } from './fixture.ts';
import { connections } from './load.ts';
import { readOptions } from './options.ts';
import { report, reportMemory } from './report.ts';
import { measure } from './rounds.ts';
import { machine, machineLoad } from './summary.ts';

const options = readOptions();
const started = performance.now();
console.log(
  `${machine()}; ${connections} connections, ${options.rounds} rounds of ${options.seconds} s; ` +
    `load before: ${machineLoad()}`,
);

await using servers = await startServers(options.servers);
await check(servers);
console.log(
  `all servers started with identical responses after ${Math.round((performance.now() - started) / 1_000)} s\n`,
);
const before = new Map(servers.running.map((server) => [server.name, server.residentMiB()]));
for (const operation of options.operations) {
  console.log(`${report(await measure(servers, operation, options))}\n`);
}
console.log(
  reportMemory(
    new Map(
      servers.running.map((server) => [
        server.name,
        { before: before.get(server.name) ?? Number.NaN, after: server.residentMiB() },
      ]),
    ),
  ),
);
console.log(
  `\n${Math.round((performance.now() - started) / 1_000)} s in total; load after: ${machineLoad()}`,
);
