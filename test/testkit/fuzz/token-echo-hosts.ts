import type { ResponseChunks } from '../raw-http-server.ts';

const inHex = (text: string) => Buffer.from(text).toString('hex');

/** Encodings of a token that a search might miss. */
const writings: Readonly<Record<string, (token: string) => string>> = {
  'as it is': (token) => token,
  backwards: (token) => [...token].reverse().join(''),
  'in base64': (token) => Buffer.from(token).toString('base64'),
  'in base64 with SSWS': (token) => Buffer.from(`SSWS ${token}`).toString('base64'),
  'in base64 with a user': (token) => Buffer.from(`user:${token}`).toString('base64url'),
  'in hexadecimal': inHex,
  'in percent escapes': (token) => inHex(token).replaceAll(/../g, '%$&'),
  'in JSON escapes': (token) => inHex(token).replaceAll(/../g, '\\u00$&'),
  'with hidden characters': (token) => [...token].join('\u200b'),
  'in full width': (token) =>
    [...token].map((character) => String.fromCharCode(character.charCodeAt(0) + 0xfee0)).join(''),
};

/** A host that echoes the token in this encoding in every field that the client reads. */
function echoing(write: (token: string) => string): ResponseChunks {
  return (request) => {
    const token = /^authorization: SSWS (\S+)/im.exec(request.toString('latin1'))?.[1] ?? '';
    const echo = write(token);
    const id = `00u${echo}`;
    const login = `${echo}@${echo}.example`;
    const body = `{"id":"${id.slice(0, 20)}","status":"${echo}","profile":{"login":"${login}"},"errorCode":"${echo}"}`;
    const ascii = Buffer.from(echo).toString('latin1');
    const headers = [
      'HTTP/1.1 200 OK',
      `content-length: ${Buffer.byteLength(body)}`,
      `x-okta-request-id: ${ascii}`,
      `retry-after: ${ascii}`,
      `x-rate-limit-reset: ${ascii}`,
      `date: ${ascii}`,
      '',
      '',
    ].join('\r\n');
    return [Buffer.concat([Buffer.from(headers, 'latin1'), Buffer.from(body)])];
  };
}

/** Hosts that echo the token, by encoding. */
export const echoes: Readonly<Record<string, ResponseChunks>> = Object.fromEntries(
  Object.entries(writings).map(([how, write]) => [`the token ${how}`, echoing(write)]),
);
