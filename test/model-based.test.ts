import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { KeyedConnection, KeyModel, keySteps } from './testkit/key-model.ts';
import { startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { ReferenceModel, type Row } from './testkit/reference-model.ts';
import { restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';
import {
  type ChangeOperation,
  graphqlTransport,
  type Order,
  type ReadOperation,
  restTransport,
} from './testkit/transports.ts';

// Six runs of up to 100 steps each, and shrinking after a failure.
vi.setConfig({ testTimeout: 120_000 * times });

/** The tokens that Okta rejects, besides those that begin with `revoked`. */
const dead = new Set<string>();
const isDead = (token: string) => token.startsWith('revoked') || dead.has(token);

const trusted = new Set<string>();
let upstream: TestOkta;
let server: TestServer;
let standIn: OktaStandIn;
beforeAll(async () => {
  standIn = await startOktaStandIn();
  trusted.add(standIn.hostPort);
  upstream = await startOkta({
    handler: (request, response) => {
      const token = request.headers.authorization?.replace(/^SSWS /, '') ?? '';
      return (isDead(token) ? tokenRejected : handleFakeOkta)(request, response);
    },
  });
  trusted.add(upstream.hostPort);
  // Repeated refusals are counted, and the trail has the count a second later.
  server = await startTestServer({ config: { trustedInstanceHosts: trusted }, rates: { windowSeconds: 1 } });
});
afterAll(async () => {
  await server.close();
  await upstream.close();
  await standIn[Symbol.asyncDispose]();
});

/** The state of a run: one organisation, its clients and its model. */
class Real {
  readonly organisation: TestOrganisation;
  readonly graphql;
  readonly rest;

  constructor(organisation: TestOrganisation) {
    this.organisation = organisation;
    this.graphql = graphqlTransport(organisation.client, upstream.origin);
    this.rest = restTransport(restClient(server.url, organisation.apiKey), upstream.origin);
  }

  by(transport: 'graphql' | 'rest') {
    return transport === 'rest' ? this.rest : this.graphql;
  }
}

/** The number of occurrences of each operation and result over all runs, so that a test can require each. */
const met = new Map<string, number>();

function meet(what: string, answer: object): void {
  const outcome = 'code' in answer ? answer.code : 'OK';
  met.set(`${what} ${outcome}`, (met.get(`${what} ${outcome}`) ?? 0) + 1);
}

type Step = fc.AsyncCommand<ReferenceModel, Real>;

/** Builds a fast-check command from its precondition, its action and its text in a report. */
function step(
  description: string,
  run: (model: ReferenceModel, real: Real) => Promise<void>,
  check: (model: Readonly<ReferenceModel>) => boolean = () => true,
): Step {
  return { check, run, toString: () => description };
}

const transport = fc.constantFrom<('graphql' | 'rest')[]>('graphql', 'rest');
/** Few names, so that conflicts are frequent. They are in sort order: hyphens, digits, letters. */
const name = fc.constantFrom('a-1', 'a1', 'aa', 'b', 'b-2');
const token = fc.constantFrom('token-one', 'token-two', 'token-three', 'revoked-token');
const description = fc.constantFrom('One', 'Two');
const place = fc.constantFrom<('organisation' | 'project')[]>('organisation', 'organisation', 'project');
const keyed = fc.boolean();
/** Selects one of the connections so far, including deleted ones, as a fraction of their unknown number. */
const which = fc.nat({ max: 1_000 });
const seen = fc.constantFrom<('nothing' | 'current' | 'stale')[]>('nothing', 'current', 'stale');

function pick(model: Readonly<ReferenceModel>, index: number): Row | undefined {
  return model.rows[index % model.rows.length];
}

const hasRows = ({ rows }: Readonly<ReferenceModel>) => rows.length > 0;

function chooseVersion({ version }: Row, what: 'nothing' | 'current' | 'stale'): number | undefined {
  if (what === 'nothing') return undefined;
  if (what === 'current') return version;
  return version > 1 ? version - 1 : version + 1;
}

/** Sends a change, optionally with an idempotency key, and compares the response with the model. */
async function change(
  model: ReferenceModel,
  real: Real,
  way: 'graphql' | 'rest',
  what: ChangeOperation,
  key?: string,
) {
  const answer = await real.by(way).change(what, key);
  meet(what.kind === 'delete' && what.purge ? 'purge' : what.kind, answer);
  const isChanged = model.expectChange(what, answer);
  if (key !== undefined) model.lastRequest = { change: what, key, ...(isChanged && { answer }) };
}

const newIdempotencyKey = (isKeyed: boolean) => (isKeyed ? randomUUID() : undefined);

const creating = fc
  .record({
    transport,
    name,
    token,
    place: fc.oneof(
      { weight: 9, arbitrary: place },
      { weight: 1, arbitrary: fc.constant('unknown project') },
    ),
    description: fc.option(description, { nil: undefined }),
    keyed,
  })
  .map(({ transport, place, keyed, ...what }) =>
    step(`create ${JSON.stringify({ transport, place, keyed, ...what })}`, (model, real) => {
      const projectId =
        place === 'project' ? real.organisation.projectId : place === 'organisation' ? null : randomUUID();
      return change(model, real, transport, { kind: 'create', projectId, ...what }, newIdempotencyKey(keyed));
    }),
  );

const updating = fc
  .record({
    transport,
    which,
    seen,
    keyed,
    what: fc.record({ name, description: fc.option(description), token }, { requiredKeys: [] }),
  })
  .map(({ transport, which, seen, keyed, what }) =>
    step(
      `update ${JSON.stringify({ transport, which, seen, keyed, what })}`,
      async (model, real) => {
        const row = pick(model, which);
        if (!row) return;
        const version = chooseVersion(row, seen);
        const operation: ChangeOperation = {
          kind: 'update',
          id: row.id,
          ...(version && { version }),
          ...what,
        };
        await change(model, real, transport, operation, newIdempotencyKey(keyed));
      },
      hasRows,
    ),
  );

const deleting = fc
  .record({ transport, which, seen, keyed, purge: fc.nat({ max: 3 }).map((n) => n === 0) })
  .map(({ transport, which, seen, keyed, purge }) =>
    step(
      `delete ${JSON.stringify({ transport, which, seen, keyed, purge })}`,
      async (model, real) => {
        const row = pick(model, which);
        if (!row) return;
        const version = chooseVersion(row, seen);
        const operation: ChangeOperation = { kind: 'delete', id: row.id, ...(version && { version }), purge };
        await change(model, real, transport, operation, newIdempotencyKey(keyed));
      },
      hasRows,
    ),
  );

const restoring = fc.record({ which, name: fc.option(name, { nil: undefined }) }).map(({ which, name }) =>
  step(
    `restore ${JSON.stringify({ which, name })}`,
    async (model, real) => {
      const deleted = model.rows.filter(({ state }) => state === 'deleted');
      // Mostly a connection that can be restored.
      const row = which % 5 > 0 && deleted.length > 0 ? deleted[which % deleted.length] : pick(model, which);
      if (!row) return;
      const answer = await real.graphql.restore(row.id, name);
      meet('restore', answer);
      model.expectRestore(row.id, name, answer);
    },
    hasRows,
  ),
);

const verifying = fc.record({ which }).map(({ which }) =>
  step(
    `verify ${which}`,
    async (model, real) => {
      const row = pick(model, which);
      if (!row) return;
      const answer = await real.graphql.verify(row.id);
      model.expectVerification(row.id, answer);
      meet('verify', 'connection' in answer ? { code: answer.connection.status } : answer);
    },
    hasRows,
  ),
);

const revoking = fc.constantFrom('token-one', 'token-two').map((token) =>
  step(`Okta revokes or takes back ${token}`, async () => {
    if (!dead.delete(token)) dead.add(token);
  }),
);

const repeating = transport.map((transport) =>
  step(
    `repeat the last request with a key over ${transport}`,
    async (model, real) => {
      const named = model.lastRequest;
      if (!named) return;
      if (!named.answer) return change(model, real, transport, named.change, named.key);
      const answer = await real.by(transport).change(named.change, named.key);
      meet('repeat', answer);
      model.expectRetry(answer);
    },
    ({ lastRequest: named }) => named !== undefined,
  ),
);

const misnaming = fc.record({ transport, which, name }).map(({ transport, which, name }) =>
  step(
    `ask for something else under the last key ${JSON.stringify({ transport, which, name })}`,
    async (model, real) => {
      const row = pick(model, which);
      if (!row || !model.lastRequest) return;
      // No other step sets this description.
      const operation: ChangeOperation = { kind: 'update', id: row.id, name, description: 'Something else' };
      const answer = await real.by(transport).change(operation, model.lastRequest.key);
      meet('misname', answer);
      model.expectIdempotencyConflict(operation, answer);
    },
    ({ lastRequest: named }) => named?.answer !== undefined,
  ),
);

const reading = fc
  .record({ transport, which, name, place, by: fc.constantFrom<('by id' | 'by name')[]>('by id', 'by name') })
  .map(({ transport, which, name, place, by }) =>
    step(
      `read ${by} ${JSON.stringify({ transport, which, name, place })}`,
      async (model, real) => {
        const row = pick(model, which);
        if (!row) return;
        const projectId = place === 'project' ? real.organisation.projectId : null;
        const operation: ReadOperation =
          by === 'by id' ? { kind: by, id: row.id } : { kind: by, name, projectId };
        const answer = await real.by(transport).read(operation);
        meet(`read ${by}`, answer);
        model.expectRead(operation, answer);
      },
      hasRows,
    ),
  );

const placeToList = fc.constantFrom<('everywhere' | 'organisation' | 'project')[]>(
  'everywhere',
  'organisation',
  'project',
);
const order = fc.record<Order>({
  field: fc.constantFrom('NAME', 'CREATED_AT', 'UPDATED_AT'),
  direction: fc.constantFrom('ASC', 'DESC'),
});

const listing = fc
  .record({
    order: fc.option(order, { nil: undefined }),
    place: placeToList,
    pageSize: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ order, place, pageSize }) =>
    step(`list ${JSON.stringify({ order, place, pageSize })}`, async (model, real) => {
      const { projectId } = real.organisation;
      const where = { everywhere: undefined, organisation: null, project: projectId };
      const operation = { kind: 'list', projectId: where[place], pageSize } as const;
      // REST lists by name only, so other orders are tested over GraphQL.
      const answer = await real.graphql.list(operation, order);
      model.expectRead(operation, answer, order);
      if (!order) model.expectRead(operation, await real.rest.read(operation));
      meet('list', answer);
    }),
  );

/** Compares the final connections and the audit trail with the model. */
async function compareAll(model: ReferenceModel, real: Real): Promise<void> {
  const everything: ReadOperation = { kind: 'list', pageSize: 100 };
  model.expectRead(everything, await real.graphql.read(everything));
  model.expectRead(everything, await real.rest.read(everything));
  // The trail has changes in order, and the number of refusals.
  await expect
    .poll(() => readTrail(real))
    .toEqual({
      changes: model.events.filter(isChange),
      refusals: tally(model.events.filter((event) => !isChange(event)).map((event) => [event, 1])),
    });
}

type Told = [action: string, outcome: string];

const isChange = ([, outcome]: Told) => outcome === 'OK';

/** Counts equal entries. */
function tally(counted: readonly [told: Told, count: number][]): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const [told, count] of counted) totals[told.join(' ')] = (totals[told.join(' ')] ?? 0) + count;
  return totals;
}

/** Returns the changes of the organisation, the oldest first, and the number of refusals by kind. */
async function readTrail(real: Real): Promise<{ changes: Told[]; refusals: Record<string, number> }> {
  const query = gql`
    query ($after: String) {
      auditEvents(first: 100, after: $after) {
        nodes { action outcome count } pageInfo { hasNextPage endCursor }
      }
    }
  `;
  interface Page {
    nodes: { action: string; outcome: string; count: number }[];
    pageInfo: { hasNextPage: boolean; endCursor: string | null };
  }
  const events: [told: Told, count: number][] = [];
  for (let after: string | null = null, isMore = true; isMore; ) {
    const { auditEvents }: { auditEvents: Page } = await real.organisation.client.request(query, { after });
    for (const { action, outcome, count } of auditEvents.nodes) events.push([[action, outcome], count]);
    after = auditEvents.pageInfo.endCursor;
    isMore = auditEvents.pageInfo.hasNextPage;
  }
  return {
    changes: events
      .map(([told]) => told)
      .filter(isChange)
      .reverse(),
    refusals: tally(events.filter(([told]) => !isChange(told))),
  };
}

const steps = fc.commands(
  [
    ...[creating, creating, creating, updating, updating, updating, deleting, deleting, restoring, restoring],
    ...[verifying, verifying, revoking, repeating, misnaming, reading, reading, listing],
  ],
  { maxCommands: 100, size: 'max' },
);

/** Runs random steps from a seed. After a failure, fast-check prints the seed, the path and the steps to replay it. */
async function live(parameters: fc.Parameters<unknown>): Promise<void> {
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      dead.clear();
      const organisation = await server.newOrganisation();
      const model = new ReferenceModel(new Set([organisation.projectId]), isDead);
      const real = new Real(organisation);
      await fc.asyncModelRun(() => ({ model, real }), steps);
      await compareAll(model, real);
    }),
    parameters,
  );
}

const { MODEL_SEED: seed } = process.env;

test('the keys of a service app match a model for random rotations, verifications and conversions', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(keySteps, async (steps) => {
      runs += 1;
      const real = new KeyedConnection(
        await server.newOrganisation(),
        standIn,
        `0oamodelled${String(runs).padStart(9, '0')}`,
      );
      const model = new KeyModel();
      const { keys } = (await real.create()).credentials;
      model.keys = keys.map(({ keyId }) => ({ keyId, state: 'ACTIVE' }));
      await fc.asyncModelRun(() => ({ model, real }), steps);
    }),
    { numRuns: 4 * times, ...(seed && { seed: Number(seed) }) },
  );
});

test('connections match a reference model for random operations over GraphQL and REST', () =>
  live({ numRuns: 2 * times, ...(seed && { seed: Number(seed) }) }));

test('connections match the reference model in fixed sequences, which reach every outcome', async () => {
  met.clear();
  await live({ numRuns: 6, seed: 3 });
  expect([...met.keys()]).toEqual(
    expect.arrayContaining([
      ...['create OK', 'create NAME_TAKEN', 'create CREDENTIALS_REJECTED', 'create NOT_FOUND'],
      ...['update OK', 'update NAME_TAKEN', 'update VERSION_CONFLICT', 'update CREDENTIALS_REJECTED'],
      ...['update NOT_FOUND', 'delete OK', 'delete VERSION_CONFLICT', 'delete NOT_FOUND', 'purge OK'],
      ...['purge VERSION_CONFLICT', 'purge NOT_FOUND', 'restore OK', 'restore NAME_TAKEN'],
      ...['restore NOT_FOUND', 'verify VERIFIED', 'verify REJECTED', 'verify NOT_FOUND', 'repeat OK'],
      ...['misname IDEMPOTENCY_CONFLICT', 'read by id OK', 'read by id NOT_FOUND', 'list OK'],
      ...['read by name OK', 'read by name NOT_FOUND'],
    ]),
  );
});
