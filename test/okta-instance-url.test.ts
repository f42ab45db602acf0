import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { okta } from '../src/apps/okta/okta.ts';
import { Secret } from '../src/common/secret.ts';
import { hostPort } from '../src/outbound/host-port.ts';
import { times } from './testkit/stress.ts';

const trustedHosts = new Set(['127.0.0.1:8080', 'okta_mock:80', 'localhost:9443', '[::1]:8080']);
const fields = okta({ trustedHosts }).methods[0]?.fields ?? {};

/** Parses a value with the schema, and returns the result or all messages. */
function check(
  field: 'instanceUrl' | 'apiToken',
  value: unknown,
): { value: unknown } | { messages: string[] } {
  const result = fields[field]?.schema.safeParse(value);
  if (result === undefined) throw new Error('there is no such field');
  return result.success
    ? { value: result.data }
    : { messages: result.error.issues.map(({ message }) => message) };
}

function messages(field: 'instanceUrl' | 'apiToken', value: unknown): string {
  const outcome = check(field, value);
  return 'messages' in outcome ? outcome.messages.join('\n') : '';
}

describe('Okta instance URL', () => {
  test.each([
    ['https://example.okta.com', 'https://example.okta.com'],
    ['  https://example.okta.com/ \n', 'https://example.okta.com'],
    ['HTTPS://Example.OKTA.com:443', 'https://example.okta.com'],
    ['https://example.okta.com.', 'https://example.okta.com'],
    ['https://login.example.com:8443/', 'https://login.example.com:8443'],
    ['https://acme-admin.example.com', 'https://acme-admin.example.com'],
    ['https://bücher.example', 'https://xn--bcher-kva.example'],
    ['https://127.0.0.1', 'https://127.0.0.1'],
    ['https://0x7f.1:444', 'https://127.0.0.1:444'],
    ['https://[::1]', 'https://[::1]'],
    ['https://localhost', 'https://localhost'],
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
    ['http://okta_mock', 'http://okta_mock'],
    ['http://LOCALHOST:9443/', 'http://localhost:9443'],
    ['http://[::1]:8080', 'http://[::1]:8080'],
  ])('normalizes %j to %j', (given, origin) => {
    expect(check('instanceUrl', given)).toEqual({ value: origin });
  });

  test.each([
    [undefined, 'Give the address of your Okta organisation'],
    [42, 'Give the address of your Okta organisation'],
    ['', 'is empty'],
    [' \t ', 'is empty'],
    ['example', 'must start with https://. Write it like https://example.okta.com.'],
    ['acme.okta.com', 'Write https://acme.okta.com.'],
    ['Acme.OktaPreview.com/admin', 'Write https://acme.oktapreview.com.'],
    ['acme.okta.com:443', 'Write https://acme.okta.com.'],
    ['acme-admin.okta.com', 'https://acme.okta.com.'],
    ['login.example.com', 'Write it like https://example.okta.com.'],
    ['https:acme.okta.com', 'must start with https://'],
    ['//acme.okta.com', 'must start with https://'],
    ['ftp://acme.okta.com', 'must start with https://'],
    ['javascript://acme.okta.com', 'must start with https://'],
    ['http://acme.okta.com', 'Write https:// instead of http://.'],
    ['http://127.0.0.1:8081', 'Write https:// instead of http://.'],
    ['http://127.0.0.1', 'Write https:// instead of http://.'],
    ['https://acme.okta.com/api/v1', 'Remove the path'],
    ['https://acme.okta.com//', 'Remove the path'],
    ['https://acme.okta.com?', 'Remove the query'],
    ['https://acme.okta.com/?a=b', 'Remove the query'],
    ['https://acme.okta.com#', 'Remove the fragment'],
    ['https://acme.okta.com/#/app', 'Remove the fragment'],
    ['https://user:password@acme.okta.com', 'Remove the user name and password'],
    ['https://@acme.okta.com', 'Remove the user name and password'],
    ['https://acme.okta.com\\api', 'backslashes'],
    ['https://ac\tme.okta.com', 'spaces'],
    ['https://acme .okta.com', 'spaces'],
    ['https://acme.okta.com\u0000', 'control characters'],
    ['https://', 'not a web address'],
    ['https://acme.okta.com:99999', 'not a web address'],
    ['https://.', 'not a valid host name'],
    ['http://.', 'not a valid host name'],
    ['https://acme..okta.com', 'not a valid host name'],
    ['https://acme.okta.com..', 'not a valid host name'],
    ['https://acme,okta.com', 'not a valid host name'],
    [`https://${'a'.repeat(64)}.okta.com`, 'not a valid host name'],
    [`https://${'a.'.repeat(126)}com`, 'not a valid host name'],
    [`https://acme.okta.com/${'a'.repeat(3000)}`, 'too long'],
    ['https://acme-admin.okta.com', 'https://acme.okta.com.'],
    ['https://ACME-ADMIN.okta-emea.com:443', 'https://acme.okta-emea.com.'],
    ['https://acme-admin.oktapreview.com', 'https://acme.oktapreview.com.'],
    ['https://acme-admin.okta-gov.com', 'https://acme.okta-gov.com.'],
    ['https://acme-admin.okta.mil', 'https://acme.okta.mil.'],
    ['https://acme-admin.trexcloud.com', 'https://acme.trexcloud.com.'],
    ['https://-admin.okta.com', 'such as https://example.okta.com.'],
  ])('rejects %j: %s', (given, message) => {
    expect(messages('instanceUrl', given)).toContain(message);
  });

  test('reports every issue at once', () => {
    const outcome = check('instanceUrl', 'http://me@acme-admin.okta.com/api?a=b#c');
    expect(outcome).toHaveProperty('messages.length', 6);
  });
});

/** Text that is often almost a URL. */
const almostUrl = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.webUrl({ withQueryParameters: true, withFragments: true, validSchemes: ['http', 'https', 'ftp'] }),
  fc
    .array(
      fc.constantFrom(
        ...[
          'https://',
          'http://',
          'HTTPS:',
          '//',
          '/',
          '.',
          '..',
          '@',
          ':',
          ':443',
          ':80',
          ':8080',
          '?',
          '#',
          '\\',
        ],
        ...[
          'acme',
          'acme-admin',
          '-',
          '.okta.com',
          'localhost',
          '127.0.0.1',
          '0x7f',
          '[::1]',
          '%41',
          'ß',
          '。',
          ' ',
        ],
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join('')),
  fc.domain().map((host) => `https://${host}.`),
);

describe('arbitrary text as an instance URL', () => {
  test('is rejected, or normalized to an origin that the schema leaves unchanged', () => {
    fc.assert(
      fc.property(almostUrl, (text) => {
        const outcome = check('instanceUrl', text);
        if ('messages' in outcome) {
          expect(outcome.messages).not.toEqual([]);
          return;
        }
        const origin = String(outcome.value);
        expect(check('instanceUrl', origin)).toEqual({ value: origin });
        expect(new URL(origin).origin).toBe(origin);
        expect(origin).toBe(origin.toLowerCase());
        expect(origin.startsWith('https://') || trustedHosts.has(hostPort(new URL(origin)))).toBe(true);
      }),
      {
        numRuns: 3000 * times,
        examples: [['http://.'], ['https://a.b.'], ['https://0x7f.1.'], ['https://[::ffff:1.2.3.4]']],
      },
    );
  });

  test('is rejected when it is not a string', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        if (typeof value !== 'string') expect(check('instanceUrl', value)).toHaveProperty('messages');
        if (!(value instanceof Secret)) expect(check('apiToken', value)).toHaveProperty('messages');
      }),
    );
  });
});

const token = fc
  .tuple(
    fc.constantFrom('00', 'Canary', 'a.b-'),
    fc.string({ unit: fc.constantFrom(...'abcXYZ019-_'), minLength: 20, maxLength: 60 }),
  )
  .map(([start, rest]) => start + rest);

describe('error messages of credentials', () => {
  test('do not echo a token that was pasted into the URL', () => {
    const places = [
      '%',
      ' % ',
      '%.',
      'https//%',
      'a.com/%',
      'https://a.okta.com/%',
      'https://%@a.okta.com',
      '%@a.okta.com',
    ]
      .concat([
        'https://a:%@a.okta.com',
        'https://a.okta.com?%',
        'https://a.okta.com/#%',
        '%://a.okta.com',
        'a.okta.com/%',
      ])
      .concat([
        'https://a.okta.com:%',
        'https://%,okta.com',
        '%:443',
        'a.okta.com:%',
        'SSWS %',
        'http://%',
        '%.%.%',
      ]);
    fc.assert(
      fc.property(token, fc.constantFrom(...places), (secret, place) => {
        const result = fields.instanceUrl?.schema.safeParse(place.replaceAll('%', secret));
        const said = result?.success ? '' : `${result?.error.message}${JSON.stringify(result?.error.issues)}`;
        expect(said.toLowerCase()).not.toContain(secret.toLowerCase());
      }),
      { numRuns: 2000 * times },
    );
  });

  test('do not echo a token that the schema rejects', () => {
    fc.assert(
      fc.property(
        token,
        fc.constantFrom('SSWS %', 'ssws\t%', '% %', '%é', '%\u0000', 'Bearer %'),
        (secret, place) => {
          const result = fields.apiToken?.schema.safeParse(new Secret(place.replaceAll('%', secret)));
          expect(result?.success).toBe(false);
          expect(`${result?.error?.message}${JSON.stringify(result?.error?.issues)}`).not.toContain(secret);
        },
      ),
    );
  });
});

describe('Okta API token', () => {
  test.each([
    '00abc_DEF-123',
    '00QAr4FXQq74P-It8uynxHRBZPJ5E7K-b-IKgIjMFu',
    'a.b~c',
    ' \n00abc_DEF-123\t',
    '<YOUR-API-TOKEN>',
    'x'.repeat(256),
  ])('accepts %j', (given) => {
    const outcome = check('apiToken', new Secret(given));
    expect(outcome).toHaveProperty('value', expect.any(Secret));
    expect('value' in outcome && outcome.value instanceof Secret && outcome.value.reveal()).toBe(
      given.trim(),
    );
  });

  test.each([
    ['', 'is empty'],
    [' \n ', 'is empty'],
    ['SSWS 00abc', 'Leave out “SSWS”'],
    ['ssws\t00abc', 'Leave out “SSWS”'],
    ['SSWS ', 'Leave out “SSWS”'],
    ['00abc 00def', 'white space'],
    ['00abc\r\nx-evil: 1', 'white space'],
    ['00abcé', 'characters that Okta tokens do not have'],
    ['00abc\u0000', 'characters that Okta tokens do not have'],
    ['x'.repeat(257), 'longer than 256'],
    ['"00planted-token"', 'in quotation marks'],
    ["'00planted-token'", 'in quotation marks'],
    ['“00planted-token”', 'in quotation marks'],
    ['`00planted-token`', 'in quotation marks'],
    ['«00planted-token»', 'in quotation marks'],
    ['"00planted-token', 'in quotation marks'],
    ['00planted-token"', 'in quotation marks'],
    ['"SSWS 00planted-token"', 'in quotation marks'],
    ['Authorization: SSWS 00planted-token', 'Leave out “Authorization:”'],
    ['authorization:SSWS 00planted-token', 'Leave out “Authorization:”'],
    ['SSWS:00planted-token', 'Leave out “SSWS”'],
    ['SSWS=00planted-token', 'Leave out “SSWS”'],
    ['Bearer 00planted-token', 'Leave out the word before'],
    ['token 00planted-token', 'Leave out the word before'],
    ['Basic MDBwbGFudGVk', 'Leave out the word before'],
    ['OKTA_API_TOKEN=00planted-token', 'Leave out the name before'],
    ['OKTA_API_TOKEN = 00planted-token', 'Leave out the name before'],
    ['OKTA_API_TOKEN="00planted-token', 'Leave out the name before'],
    ['export OKTA_API_TOKEN=00planted-token', 'Leave out the name before'],
    ['set OKTA_API_TOKEN=00planted-token', 'Leave out the name before'],
    ['$env:OKTA_API_TOKEN=00planted-token', 'Leave out the name before'],
    ['okta.client.token=00planted-token', 'Leave out the name before'],
    ['apiToken: 00planted-token', 'Leave out the name before'],
    ['api-token:00planted-token', 'Leave out the name before'],
    ['{"apiToken":"00planted-token"}', 'This is JSON'],
    ['["00planted-token", ""]', 'This is JSON'],
    ['$OKTA_API_TOKEN', 'the name of a variable'],
    ['\u0024{OKTA_API_TOKEN}', 'the name of a variable'],
    ['\u0024{{ secrets.OKTA_API_TOKEN }}', 'the name of a variable'],
    ['{{ okta_api_token }}', 'the name of a variable'],
    ['$(OKTA_API_TOKEN)', 'the name of a variable'],
    ['%OKTA_API_TOKEN%', 'the name of a variable'],
    ['undefined', 'a placeholder for a missing or hidden value'],
    ['null', 'a placeholder for a missing or hidden value'],
    ['[object Object]', 'a placeholder for a missing or hidden value'],
    ['[secret]', 'a placeholder for a missing or hidden value'],
    ['********', 'when it is hidden'],
    ['••••••••', 'when it is hidden'],
    ['https://acme.okta.com', 'This is an address'],
    ['eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl', 'This is a JWT'],
    ['00planted-token\\n', 'written as \\n'],
    ['00planted-token,', 'a comma or semicolon'],
    ['00planted-token;', 'a comma or semicolon'],
    ['SSWS00planted-token', 'Leave out “SSWS”'],
    ['SSWS%2000planted-token', 'percent-encoded'],
    ['00planted%5Ftoken', 'percent-encoded'],
    ['ack_PlantedPlantedPlantedPlantedPlantedPlantedPla1234', 'an API key of this server'],
    ['ack_PlantedPlantedPlantedPlanted', 'an API key of this server'],
    ['var.okta_api_token', 'the name of a variable'],
    ['process.env.OKTA_API_TOKEN', 'the name of a variable'],
    ['secrets.OKTA_API_TOKEN', 'the name of a variable'],
    ['U1NXUyAwMHBsYW50ZWQtdG9rZW4=', 'encoded in base64'],
    ['U1NXUyAwMHBsYW50ZWQtdG9rZQ==', 'encoded in base64'],
    ['OKTA_API_TOKEN=', 'missing after a name'],
    ['00planted...', 'is cut off'],
    ['<00planted-token>', 'brackets or other signs'],
    ['<code>00planted-token</code>', 'brackets or other signs'],
    ['**00planted-token**', 'brackets or other signs'],
    ['(00planted-token)', 'brackets or other signs'],
    ['[00planted-token]', 'brackets or other signs'],
    ['{00planted-token', 'brackets or other signs'],
    ['=00planted-token', 'brackets or other signs'],
    [':00planted-token', 'brackets or other signs'],
    ['00planted-token|', 'brackets or other signs'],
    ['00planted\n-token', 'white space'],
    ['00planted\u00a0-token', 'white space'],
    ['00planted\u2028-token', 'white space'],
    ['00planted\u200b-token', 'invisible characters'],
    ['\u200b00planted-token', 'invisible characters'],
    ['00planted-token\u200d', 'invisible characters'],
    ['00plan\u00adted-token', 'invisible characters'],
    ['\u202e00planted-token', 'invisible characters'],
    ['00planted\ufeff-token', 'invisible characters'],
  ])('rejects %j: %s', (given, message) => {
    const said = messages('apiToken', new Secret(given));
    expect(said).toContain(message);
    expect(said).toMatch(/^\p{Lu}.*\.$/su);
    expect(said).not.toMatch(/planted/i);
  });

  test.each(['<YOUR-API-TOKEN>', '-00planted_', '_00planted-', '00a.b', 'any-token-will-do'])(
    'accepts %s unchanged',
    (token) => {
      expect(messages('apiToken', new Secret(token))).toBe('');
    },
  );

  test('is rejected as a bare string, which could already have been logged', () => {
    expect(messages('apiToken', '00abc')).toContain('Give the API token.');
  });
});
