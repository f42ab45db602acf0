import { requestsOf, takeRound } from '../peers/rounds.ts';
import type { Ground } from '../peers/stage.ts';
import { table } from '../peers/summary.ts';
import type { Options } from './options.ts';

const samples = 10;

/** Measures the memory of one server while it creates many connections. */
export async function measureMemory(ground: Ground, { creates }: Pick<Options, 'creates'>): Promise<string> {
  const database = await ground.databases.copy('memory');
  await using server = await ground.serve('memory', database);
  const requests = requestsOf(ground, server.dialect, 'create');
  const seen = [{ made: 0, resident: server.residentMiB(), perSecond: Number.NaN }];
  for (let sample = 1; sample <= samples; sample += 1) {
    const made = Math.round((creates * sample) / samples);
    const amount = made - (seen.at(-1)?.made ?? 0);
    const { perSecond } = await takeRound(server, { amount }, requests);
    seen.push({ made, resident: server.residentMiB(), perSecond });
  }
  const resident = (sample: number) => seen[sample]?.resident ?? Number.NaN;
  const [half, end] = [resident(samples / 2), resident(samples)];
  return [
    table(
      ['creates', 'resident MiB', 'creates/s'],
      seen.map(({ made, resident, perSecond }) => [
        made.toLocaleString('en'),
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
