import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

/** The response of a REST route. */
export interface RestResponse {
  status: number;
  headers: Headers;
  /** The JSON, parsed; undefined where there is none. */
  body: unknown;
  text: string;
}

/** Returns a member of a response by its path. */
export function at(body: unknown, ...names: (string | number)[]): unknown {
  return names.reduce<unknown>((value, name) => Object(value)[name], body);
}

/** A client with one API key, or none. */
export type RestClient = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<RestResponse>;

/** A client of the server at `url`. It sends a string body unchanged, and disconnects when `signal` aborts. */
export function restClient(url: string, apiKey?: string, signal?: AbortSignal): RestClient {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(new URL(path, url), {
      method,
      ...(signal && { signal }),
      headers: {
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.endsWith('json') && text !== '';
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : undefined,
    };
  };
}

/** Compares responses with the OpenAPI document of their server. */
export function createContractChecker(document: object) {
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(document, 'document');
  const compiled = new Map<string, ValidateFunction>();
  /** The checked pairs of operation and status. */
  const seen = new Set<string>();
  const check = (method: string, path: string, { status, headers, body }: RestResponse): void => {
    const pathname = path.replace(/\?.*/s, '');
    const candidates = Object.keys(Object(at(document, 'paths')));
    const pattern =
      candidates.find((each) => each === pathname) ??
      candidates.find((each) => new RegExp(`^${each.replace(/\{\w+\}/g, '[^/]+')}$`).test(pathname));
    if (!pattern) throw new Error(`The document has no path ${pathname}.`);
    const type = headers.get('content-type') ?? 'no type';
    const steps = [
      'paths',
      pattern,
      method.toLowerCase(),
      'responses',
      `${status}`,
      'content',
      type,
      'schema',
    ];
    if (!at(document, ...steps)) throw new Error(`The document has no ${steps.join(' ')}.`);
    const pointer = steps.map((step) => step.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
    const validate = compiled.get(pointer) ?? ajv.compile({ $ref: `document#/${encodeURI(pointer)}` });
    compiled.set(pointer, validate);
    if (!validate(body)) throw new Error(`${method} ${path} ${status}: ${ajv.errorsText(validate.errors)}`);
    seen.add(`${method} ${pattern} ${status}`);
  };
  return { check, seen };
}

/** A client that checks every response against the OpenAPI document of its server. */
export async function createCheckedClient(url: string, apiKey: string): Promise<RestClient> {
  const client = restClient(url, apiKey);
  const { body } = await client('GET', '/api/v1/openapi.json');
  const { check } = createContractChecker(Object(body));
  return async (method, path, ...rest) => {
    const answer = await client(method, path, ...rest);
    check(method, path, answer);
    return answer;
  };
}

/** Builds a body that the fake Okta accepts, with overrides. */
export function oktaBody(differing: Record<string, unknown> = {}, credentials: Record<string, unknown> = {}) {
  return {
    name: 'my-okta-connection',
    method: 'api-token',
    credentials: { instanceUrl: 'https://example.okta.com', apiToken: 'a-good-token', ...credentials },
    ...differing,
  };
}

/** Creates a connection to the built-in fake Okta, and returns it as the response shows it. */
export async function createConnectionOverRest(rest: RestClient, differing: Record<string, unknown> = {}) {
  return readCreated(await sendCreate(rest, differing));
}

/** Asks for a connection to the built-in fake Okta. */
export function sendCreate(rest: RestClient, differing: Record<string, unknown>): Promise<RestResponse> {
  return rest('POST', '/api/v1/app-connections/okta', oktaBody(differing));
}

/** The connection in the response to `sendCreate`. */
export function readCreated({ status, body, text }: RestResponse) {
  if (status !== 200) throw new Error(`The connection was not created: ${text}`);
  return Object(at(body, 'appConnection'));
}
