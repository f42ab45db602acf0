import { request as httpRequest } from 'node:http';

/** Returns the one-time code of a sign-in URL. */
export function parseSignInCode(link: string | undefined): string {
  const [, code] = /#code=([\w-]+)$/.exec(link ?? '') ?? [];
  if (code === undefined) throw new Error('The URL has no code.');
  return code;
}

/** The headers with which the server's own page exchanges a code. */
export const exchangeHeaders = { 'content-type': 'application/vnd.app-connections.sign-in-code+json' };

/** A response with its status, headers and text. */
export interface BrowserResponse {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  text: string;
}

/** Sends a request with the `Host` and `Sec-Fetch-` headers of a browser, which `fetch` does not allow to set. */
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
