import { request as httpRequest } from 'node:http';

/** The one-time code of an address. */
export function parseSignInCode(link: string | undefined): string {
  const [, code] = /#code=([\w-]+)$/.exec(link ?? '') ?? [];
  if (code === undefined) throw new Error('The address has no code.');
  return code;
}

/** What the page of the server sends to exchange a code. */
export const exchangeHeaders = { 'content-type': 'application/vnd.app-connections.sign-in-code+json' };

/** An answer as it came over the wire. */
export interface BrowserResponse {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  text: string;
}

/** Asks as a browser would: with a `Host` and `Sec-Fetch-` headers, which `fetch` would not let us have. */
export function sendAsBrowser(
  url: string,
  {
    method = 'GET',
    headers = {},
    body,
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<BrowserResponse> {
  return new Promise((resolve, reject) => {
    httpRequest(url, { method, headers }, async (response) => {
      const text = Buffer.concat(await response.toArray()).toString();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
    })
      .on('error', reject)
      .end(body);
  });
}

/** Exchanges a code. */
export function exchange(url: string, code: string, headers: Record<string, string> = {}) {
  return sendAsBrowser(`${url}/sign-in/exchange`, {
    method: 'POST',
    headers: { ...exchangeHeaders, ...headers },
    body: JSON.stringify({ code }),
  });
}
