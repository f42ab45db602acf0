import type { IncomingMessage, ServerResponse } from 'node:http';
import { execute, type GraphQLSchema, getNullableType, parse } from 'graphql';
import { createSchema } from '../../../src/app/schema.ts';
import { createApps } from '../../../src/apps/index.ts';
import { startFakeOkta } from '../../../src/apps/okta/fake-okta.ts';
import { RefusalRecorder } from '../../../src/audit/refusal-counter.ts';
import { Authenticator } from '../../../src/auth/authenticator.ts';
import { FairScheduler } from '../../../src/common/fair-scheduler.ts';
import { createLog } from '../../../src/common/log.ts';
import { RateBudgets } from '../../../src/connections/rate-budget/rate-budgets.ts';
import { UsageCounter } from '../../../src/connections/usage/usage-counter.ts';
import type { Context } from '../../../src/graphql/context.ts';
import { createErrorMasker } from '../../../src/graphql/error-masking.ts';
import { maskErrors } from '../../../src/graphql/plugins.ts';
import { oauth } from '../../../src/oauth/oauth.ts';
import { createOutbound } from '../../../src/outbound/create-outbound.ts';
import { unlimited } from '../../../src/rate-limits/rate-limits.ts';
import type { TestServer } from '../server.ts';
import { failingLookup } from './fixture.ts';
import { Random } from './random.ts';
import { type ValidRequest, validRequest } from './valid-document.ts';
import type { Examples } from './valid-values.ts';

/** A request that the server answers differently from graphql-js. */
export interface Difference extends ValidRequest {
  number: number;
  expected: string;
  actual: string;
}

/** The result of a comparison. */
export interface DifferenceReport {
  differences: Difference[];
  /** The number of documents that exceeded a document limit and were not compared. */
  refused: number;
  /** The number of responses with data and with errors. */
  withData: number;
  withErrors: number;
}

/** Compares a server with graphql-js over the same resolvers and data. */
export interface Comparison {
  /** Queries are sent with a key that may read everything. */
  readKey: string;
  /** Mutations are sent with a key without scopes, so that they change nothing. */
  powerlessKey: string;
  examples: Examples;
  seed: number;
  from: number;
  to: number;
}

/** The first time without a cache, then from the cache. */
const uses = 3;

/** The number of times that a different response is compared again. */
const maxAttempts = 5;

/** The number of documents compared concurrently. None of them changes what another reads. */
const concurrency = 4;

/**
 * Sends each random document several times, so that later requests use every cache, and compares each response with that
 * of graphql-js, byte for byte except for the order of errors.
 */
export async function compareWithGraphQLJs(
  server: TestServer,
  { readKey, powerlessKey, examples, seed, from, to }: Comparison,
): Promise<DifferenceReport> {
  await using stack = new AsyncDisposableStack();
  const fakeOkta = stack.adopt(await startFakeOkta(), (each) => each.close());
  const { schema, answer, listErrors } = await reference(server, fakeOkta.url);
  const report: DifferenceReport = { differences: [], refused: 0, withData: 0, withErrors: 0 };
  const suspects: {
    apiKey: string;
    request: ValidRequest;
    number: number;
    expected: string;
    actual: string;
  }[] = [];
  /**
   * Reads of an app change its lastUsedAt, and a refused one makes the server check the credentials and append an audit event,
   * after the response. A real difference occurs each time, also when nothing else is running.
   */
  const isLasting = async (request: ValidRequest, apiKey: string): Promise<boolean> => {
    for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
      const actual = withoutTimes(await send(server.graphqlUrl, apiKey, request));
      const expected = withoutTimes(await answer(apiKey, request));
      if (isSame(actual, expected)) return false;
      // Of several errors that leave no data, the response has the one that occurred first.
      if (hasNoData(actual) && hasNoData(expected)) {
        const possible = new Set((await listErrors(apiKey, request)).map(withoutTimes));
        if (errorsIn(actual).every((error) => possible.has(error))) return false;
      }
    }
    return true;
  };
  let next = from;
  const worker = async () => {
    for (let number = next++; number < to; number = next++) {
      const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
      const kind = random.isTrue(0.85) ? 'query' : 'mutation';
      const request = validRequest(random, schema, examples, kind);
      const apiKey = kind === 'query' ? readKey : powerlessKey;
      const first = await send(server.graphqlUrl, apiKey, request);
      if (isRefused(first)) {
        report.refused += 1;
        continue;
      }
      const expected = await answer(apiKey, request);
      if (/"data":\{/.test(expected)) report.withData += 1;
      if (/"errors":/.test(expected)) report.withErrors += 1;
      const cached = Array.from({ length: uses - 1 }, () => send(server.graphqlUrl, apiKey, request));
      for (const actual of [first, ...(await Promise.all(cached))]) {
        if (!isSame(actual, expected)) suspects.push({ apiKey, request, number, expected, actual });
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  for (const { apiKey, request, ...suspect } of suspects) {
    if (await isLasting(request, apiKey)) report.differences.push({ ...request, ...suspect });
  }
  return report;
}

/** graphql-js over the resolvers and the data of a server. */
async function reference({ database, vault }: TestServer, fakeOktaUrl: string) {
  const log = createLog('silent');
  const apps = createApps({ trustedHosts: new Set(), oauth });
  const schema = createSchema(apps);
  const shape = createErrorMasker(schema, log);
  const authenticator = new Authenticator(database, vault);
  const outbound = createOutbound({
    trustedHosts: new Set(),
    lookup: failingLookup,
    originOverrides: new Map([['https://example.okta.com', fakeOktaUrl]]),
  });
  const refusals = new RefusalRecorder({ database, vault, log }, 60_000);
  const connections = {
    apps,
    database,
    vault,
    outbound,
    limits: unlimited,
    scheduler: new FairScheduler(),
    deletedRetentionDays: 30,
    log,
    refusals,
    reads: refusals,
    usage: new UsageCounter({ database, log }),
    getPublicUrl: () => '',
    sendsMail: false,
    isRecipientAllowed: () => true,
    prepareOwnerNotice: async () => [],
    budgets: new RateBudgets({ database, log }),
  };
  const executeWith = async (
    chosen: GraphQLSchema,
    apiKey: string,
    { query, variables }: ValidRequest,
  ): Promise<string> => {
    const contextValue: Context = {
      caller: await authenticator.authenticate(`Bearer ${apiKey}`),
      req: { headers: {} } as IncomingMessage,
      res: {} as ServerResponse,
      connections,
      administration: { database, vault, authenticator, refusals, limits: unlimited },
      request: { signal: new AbortController().signal },
    };
    // JSON, as variables arrive from a client.
    const variableValues = JSON.parse(JSON.stringify(variables));
    const result = await execute({ schema: chosen, document: parse(query), contextValue, variableValues });
    const { errors, data } = maskErrors(result, shape);
    for (const { extensions } of errors ?? []) delete extensions.http;
    return JSON.stringify({ ...(errors && { errors }), ...(data !== undefined && { data }) });
  };
  const nullable = withNullableRootFields(createSchema(apps));
  return {
    schema,
    answer: (apiKey: string, request: ValidRequest) => executeWith(schema, apiKey, request),
    /** Lists the errors of all root fields, as JSON, also of those that another error leaves without data. */
    listErrors: async (apiKey: string, request: ValidRequest) =>
      errorsIn(await executeWith(nullable, apiKey, request)),
  };
}

/** Makes an error in a root field leave the data of the others. */
function withNullableRootFields(schema: GraphQLSchema): GraphQLSchema {
  for (const type of [schema.getQueryType(), schema.getMutationType()]) {
    for (const field of Object.values(type?.getFields() ?? {})) field.type = getNullableType(field.type);
  }
  return schema;
}

const hasNoData = (answer: string) => JSON.parse(answer).data === null;

function errorsIn(answer: string): string[] {
  const { errors = [] } = JSON.parse(answer) as { errors?: object[] };
  return errors.map((error) => JSON.stringify(error));
}

async function send(url: string, apiKey: string, request: ValidRequest): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(request),
  });
  return response.text();
}

function isSame(actual: string, expected: string): boolean {
  return actual === expected || withSortedErrors(actual) === withSortedErrors(expected);
}

/**
 * Sorts errors: fields are resolved concurrently, so the order of their errors depends on the database. If an error leaves no
 * data, graphql-js responds with it and with those before it, so only the last one is certain.
 */
function withSortedErrors(answer: string): string {
  const { errors, ...others } = JSON.parse(answer) as { errors?: object[] };
  const certain = Object(others).data === null ? errors?.slice(-1) : errors;
  const sorted = certain?.map((error) => JSON.stringify(error)).sort();
  return JSON.stringify({ ...(sorted && { errors: sorted }), ...others });
}

const withoutTimes = (answer: string) =>
  answer.replaceAll(/"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/g, '"(a time)"');

function isRefused(answer: string): boolean {
  return /^\{"errors":\[\{"message":"(Syntax Error: )?[^"]*(limit of|more than 10 times|requests to apps)/i.test(
    answer,
  );
}
