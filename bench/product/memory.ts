import type { Fixture } from '../peers/fixture.ts';
import { buildRequests, measureRound } from '../peers/rounds.ts';
import { table } from '../peers/summary.ts';
import type { Options } from './options.ts';

const sampleCount = 10;

/** Measures the memory of one server while it creates many connections. */
export async function measureMemory(
  fixture: Fixture,
  { creates }: Pick<Options, 'creates'>,
): Promise<string> {
  const database = await fixture.databases.copy('memory');
  await using server = await fixture.serve('memory', database);
  const requests = buildRequests(fixture, server.dialect, 'create');
  const samples = [{ created: 0, resident: server.residentMiB(), perSecond: Number.NaN }];
  for (let sample = 1; sample <= sampleCount; sample += 1) {
    const created = Math.round((creates * sample) / sampleCount);
    const amount = created - (samples.at(-1)?.created ?? 0);
    const { perSecond } = await measureRound(server, { amount }, requests);
    samples.push({ created, resident: server.residentMiB(), perSecond });
  }
  const resident = (sample: number) => samples[sample]?.resident ?? Number.NaN;
  const [half, end] = [resident(sampleCount / 2), resident(sampleCount)];
  return [
    table(
      ['creates', 'resident MiB', 'creates/s'],
      samples.map(({ created, resident, perSecond }) => [
        created.toLocaleString('en'),
        resident.toFixed(0),
        Number.isNaN(perSecond) ? '' : perSecond.toFixed(0),
      ]),
    ),
    table(
      ['resident MiB', 'at half', 'at the end', 'end ÷ half', 'target'],
      [
        [
          `${creates.toLocaleString('en')} creates`,
          half.toFixed(0),
          end.toFixed(0),
          (end / half).toFixed(2),
          '< 220, and flat',
        ],
      ],
    ),
  ].join('\n\n');
}
