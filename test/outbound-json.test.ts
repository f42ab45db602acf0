import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseJson, parseJsonInParts } from '../src/outbound/json.ts';
import { times } from './testkit/stress.ts';

/** Parses a text with JSON.parse alone; undefined if it is not JSON. */
function parseAtOnce(text: string): unknown {
  try {
    return JSON.parse(text, (_, value, context?: { source?: string }) => {
      const source = context?.source ?? '';
      const isRounded = typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(source);
      return isRounded ? source : value;
    });
  } catch {
    return undefined;
  }
}

const value = fc
  .json({ maxDepth: 3 })
  .map((text) => text.replaceAll('7', '77777777777777777777').replaceAll(',', ' ,\n'));
const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  removed: fc.nat(2),
  added: fc.constantFrom('', ',', ']', '[', '{', '}', '"', ':', '\\', '0', '-', ' ', 'x'),
});

test('parsing JSON in parts gives the value that JSON.parse gives, and refuses the same texts', async () => {
  let lists = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(value, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 4_000 }),
      fc.option(edit, { freq: 2 }),
      async (values, count, edited) => {
        const elements = Array.from({ length: count }, (_, index) => values[index % values.length]);
        let text = ` [ ${elements.join(' , ')}] `;
        if (edited) {
          const at = Math.floor(edited.at * text.length);
          text = text.slice(0, at) + edited.added + text.slice(at + edited.removed);
        }
        let turns = 0;
        const parsed = await parseJsonInParts(text, async () => {
          turns += 1;
        });
        if (turns > 1) lists += 1;
        expect(parsed).toEqual(parseAtOnce(text));
        expect(parseJson(text, { maxTokens: text.length })).toEqual(parsed);
      },
    ),
    { numRuns: 100 * times },
  );
  // The search has included lists of several parts.
  expect(lists).toBeGreaterThan(10);
});
