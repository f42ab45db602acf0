import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { closeServer } from './close-server.ts';
import { until } from './process.ts';

/** A span, as OTLP in JSON has it. */
export interface ReceivedSpan {
  traceId: string;
  spanId: string;
  /** Empty for the first span of a trace. */
  parentSpanId: string;
  name: string;
  /** 1: internal, 2: server, 3: client. */
  kind: number;
  attributes: Record<string, string | number>;
  resource: Record<string, string | number>;
  /** Whether it has failed. */
  hasFailed: boolean;
}

/** A receiver of traces over OTLP/HTTP. */
export interface OtlpReceiver extends AsyncDisposable {
  /** The value of OTEL_EXPORTER_OTLP_ENDPOINT. */
  url: string;
  /** The requests so far, with all of their bytes. */
  requests: { path: string; headers: IncomingHttpHeaders; body: Buffer }[];
  /** The spans of the requests in JSON. */
  spans(): ReceivedSpan[];
  /** Sets how it answers. By default, it accepts everything. */
  behave(answer: (response: ServerResponse) => void): void;
  /** Waits for the first span that fits. */
  waitFor(what: string, fits: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan>;
}

interface JsonAttribute {
  key: string;
  value: { stringValue?: string; intValue?: number | string; doubleValue?: number };
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const requests: OtlpReceiver['requests'] = [];
  let answer = (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  };
  const http = createServer(async (request, response) => {
    const { url: path = '', headers } = request;
    requests.push({ path, headers, body: await buffer(request) });
    answer(response);
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const spans = () =>
    requests
      .filter(({ headers }) => headers['content-type'] === 'application/json')
      .flatMap(({ body }) => readSpans(body));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    requests,
    spans,
    behave: (next) => {
      answer = next;
    },
    waitFor: (what, fits) => until(`the receiver has ${what}`, () => spans().find(fits)),
    [Symbol.asyncDispose]: () => closeServer(http),
  };
}

function readSpans(body: Buffer): ReceivedSpan[] {
  const { resourceSpans } = JSON.parse(body.toString());
  return resourceSpans.flatMap(
    (of: { resource: { attributes: JsonAttribute[] }; scopeSpans: { spans: JsonSpan[] }[] }) =>
      of.scopeSpans.flatMap(({ spans }) =>
        spans.map(({ traceId, spanId, parentSpanId = '', name, kind, attributes, status }) => ({
          ...{ traceId, spanId, parentSpanId, name, kind },
          attributes: readAttributes(attributes),
          resource: readAttributes(of.resource.attributes),
          hasFailed: status?.code === 2,
        })),
      ),
  );
}

interface JsonSpan extends Pick<ReceivedSpan, 'traceId' | 'spanId' | 'name' | 'kind'> {
  parentSpanId?: string;
  attributes: JsonAttribute[];
  status?: { code?: number };
}

function readAttributes(attributes: readonly JsonAttribute[]): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ?? value.doubleValue ?? Number(value.intValue),
    ]),
  );
}
