import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { SecretMask } from '../src/connections/use/secret-mask.ts';
import { times } from './testkit/stress.ts';

const token = '00QCjAl4MlV-WPXM_A5B6C7D8E9F0GhIjKlMnOpQrS';
const mask = new SecretMask([new Secret(token)]);

const hex = Buffer.from(token).toString('hex');
const percent = hex.replace(/../g, '%$&');
const escapes = [...token].map((each) => `\\u00${each.charCodeAt(0).toString(16)}`).join('');
/** The token in each encoding that SECURITY.md names; base64 with other text around it, to the middle of its groups. */
const forms = [
  ...[token, token.toLowerCase(), token.toUpperCase()],
  ...[hex, hex.toUpperCase(), percent, percent.toUpperCase(), escapes],
  ...['', 'x', 'SSWS ', 'user:', 'ab'].map((before) => Buffer.from(`${before}${token}zz`).toString('base64')),
  ...['', 'x', 'xx'].map((before) => Buffer.from(`${before}${token}`).toString('base64url')),
];

/** The parts of these forms that do not depend on the text around the token. */
const cores = forms.map((form) => form.slice(8, -8));

function maskInChunks(body: Buffer, cuts: readonly number[], maskOfBody = mask): Buffer {
  const stream = maskOfBody.stream();
  const borders = [0, ...cuts.map((cut) => cut % (body.length + 1)).sort((a, b) => a - b), body.length];
  const passed = borders.slice(1).map((end, index) => stream.push(body.subarray(borders[index], end)));
  return Buffer.concat([...passed, stream.end()]);
}

/** Text that begins and ends like the token, so that a search can lose its way, between whole tokens. */
const piece = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...forms) },
  fc.constantFrom(...forms).chain((form) => fc.nat(form.length - 1).map((length) => form.slice(0, length))),
  fc.constantFrom(...forms).chain((form) => fc.nat(form.length).map((start) => form.slice(start + 1))),
  fc.string({ maxLength: 20 }),
);
const bodies = fc.array(piece, { maxLength: 8 }).map((pieces) => Buffer.from(pieces.join('')));
const cuts = fc.array(fc.nat(), { maxLength: 12 });

test('a masked body is the same in whatever chunks it arrives, as long as before, and contains no token', () => {
  fc.assert(
    fc.property(bodies, cuts, (body, cutsOfBody) => {
      const whole = maskInChunks(body, []);
      expect(maskInChunks(body, cutsOfBody).equals(whole)).toBe(true);
      expect(whole.length).toBe(body.length);
      for (const form of forms) expect(whole.includes(form)).toBe(false);
      const changed = [...body].filter((byte, index) => byte !== whole[index]);
      if (!cores.some((core) => body.includes(core))) expect(changed).toEqual([]);
    }),
    { numRuns: 2_000 * times },
  );
});

test.each([
  ['aaaaaaaaaaaa', 'a'],
  ['abababababab', 'ab'],
  ['abcabcabcabc', 'abc'],
])('the token %s is masked wherever it overlaps itself, in whatever chunks', (secret, period) => {
  const maskOfSecret = new SecretMask([new Secret(secret)]);
  const run = fc.nat(40).map((length) => period.repeat(40).slice(0, length));
  fc.assert(
    fc.property(fc.array(run, { maxLength: 5 }), cuts, (runs, cutsOfBody) => {
      const text = runs.join('|');
      const expected = Buffer.from(text);
      for (let at = text.indexOf(secret); at >= 0; at = text.indexOf(secret, at + 1))
        expected.fill('*', at, at + secret.length);
      const masked = maskInChunks(Buffer.from(text), cutsOfBody, maskOfSecret);
      expect(masked.toString()).toBe(expected.toString());
    }),
    { numRuns: 500 * times },
  );
});

test('a long chunk that has the token at each of its bytes is masked', () => {
  const maskOfSecret = new SecretMask([new Secret('a'.repeat(42))]);
  const body = Buffer.alloc(1024 * 1024, 'a');
  expect(maskInChunks(body, [], maskOfSecret).equals(Buffer.alloc(body.length, '*'))).toBe(true);
});

test('a body in chunks of one byte is masked, and nothing is held back that cannot be a token', () => {
  const stream = mask.stream();
  const passed = [...Buffer.from(`a${token}b`)].map((byte) => stream.push(Buffer.from([byte])).toString());
  expect(passed.join('') + stream.end()).toBe(`a${'*'.repeat(token.length)}b`);
  expect(passed[0]).toBe('a');
  expect(passed.at(-1)).toBe(`b`.padStart(1));
});

test.each(forms)('a header with %s is masked, and is as long as before', (form) => {
  const masked = mask.maskText(`before ${form} after`);
  expect(masked).toHaveLength(`before ${form} after`.length);
  expect(masked).toContain('***');
  for (const core of cores) expect(masked).not.toContain(core);
});

test('secrets of fewer than eight characters appear by accident, and stay', () => {
  const short = new SecretMask([new Secret('status')]);
  expect(short.stream().push(Buffer.from('{"status":1}')).toString()).toBe('{"status":1}');
});
