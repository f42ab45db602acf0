import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import { GraphQLDateTime } from 'graphql-scalars';
import { Secret } from '../common/secret.ts';

/**
 * Text that goes in and never comes out. A resolver gets a `Secret`; there is no way to answer with one.
 * Its errors say nothing of the value.
 */
export const SecretScalar = new GraphQLScalarType<Secret, never>({
  name: 'Secret',
  description:
    'A secret text, such as an API token or a password, that is accepted as input and never returned. Send it as a ' +
    'variable and not in the document, so that it stays out of the histories and logs of your own tools.',
  serialize() {
    throw new TypeError('A secret cannot be part of an answer.');
  },
  parseValue(value) {
    if (typeof value !== 'string') throw new GraphQLError('A secret is a string.');
    return new Secret(value);
  },
  parseLiteral(node) {
    if (node.kind !== Kind.STRING) throw new GraphQLError('A secret is a string.', { nodes: node });
    return new Secret(node.value);
  },
});

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * An id in the one spelling that the database gives back. Written here because the one of graphql-scalars lets
 * through what PostgreSQL refuses.
 */
export const UuidScalar = new GraphQLScalarType<string, string>({
  name: 'UUID',
  serialize: String,
  parseValue: parseUuid,
  parseLiteral: (node) => parseUuid(node.kind === Kind.STRING ? node.value : undefined),
});

/**
 * That of graphql-scalars, which answers with a `Date`. An answer with text in its place is written as JSON twice as fast.
 */
export const DateTimeScalar = new GraphQLScalarType<Date, string>({
  ...GraphQLDateTime.toConfig(),
  serialize: (value) => {
    const moment = GraphQLDateTime.serialize(value);
    const time = moment.getTime();
    if (time !== last.time) last = { time, text: moment.toISOString() };
    return last.text;
  },
});

/** The moments of one thing are often one and the same: when it was made, changed and checked. */
let last = { time: Number.NaN, text: '' };

function parseUuid(value: unknown): string {
  if (typeof value === 'string' && uuidPattern.test(value)) return value.toLowerCase();
  throw new GraphQLError(
    'An id is hexadecimal digits in five groups, such as 7ffbb072-2575-495a-b5b0-127f88caef78.',
  );
}
